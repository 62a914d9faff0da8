//! `unitfix report`.

use super::{OBSERVE, Place, Repair};
use clap::Args;

/// Reporting to the journal.
#[derive(Debug, Args)]
#[command(
    after_help = "For a service's OnFailure=unitfix@%n.service, see unitfix(1). Nothing is asked, restarted\n\
or written but an entry in the journal, and that only if a call was denied to the\nunit in its latest run: \
`journalctl -x -u UNIT` shows it.\n\n\
Exit status: 0 reported, or nothing to report; 2 usage, or no such unit; 3 systemd\ndoes not load the unit; \
5 this system cannot do it."
)]
pub struct ReportOptions {
    /// The service
    pub unit: String,
}

impl ReportOptions {
    /// What it has in common with a repair: one that judges from the logs, and has nobody to ask.
    #[must_use]
    pub fn repair(self) -> Repair {
        Repair {
            unit: Some(self.unit),
            no_replay: true,
            observe: OBSERVE,
            // nothing is printed on the way
            place: Place { root: None, json: true },
            ..Repair::default()
        }
    }
}
