//! `unitfix report`.

use super::{OBSERVE, Place, Repair, complete};
use clap::Args;
use clap_complete::engine::ArgValueCompleter;

/// Reporting to the journal.
#[derive(Debug, Args)]
#[command(after_help = "A service that has OnFailure=unitfix@%n.service is reported when it fails. If a\n\
call was denied to it in its latest run, that is written into the journal, where\n\
`journalctl -x -u UNIT` shows it. Nothing else is written, restarted or asked.\n\n\
Exit status: 0 reported, or nothing to report; 2 usage, or no such unit; 3 there\n\
is nothing to judge; 5 this system cannot do it. See also unitfix(1).")]
pub struct ReportOptions {
    /// The service
    #[arg(add = ArgValueCompleter::new(complete::units))]
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
