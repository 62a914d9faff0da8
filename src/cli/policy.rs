//! `unitfix policy`.

use super::{Of, Place, complete, systemd_version};
use clap::Args;
use clap_complete::engine::ArgValueCompleter;

/// Looking at a policy.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
unitfix policy docuum.service               all that is forbidden, and by what\n  \
unitfix policy docuum.service mount socket  what becomes of these calls\n  \
unitfix policy docuum.service --lint        what is wrong with its filter\n  \
unitfix policy ./*.service --lint           and with that of many\n  \
unitfix policy ./docuum.service --systemd 262\n\n\
Exit status: 0 shown; 1 --lint found something; 2 usage, or no such unit;\n\
3 systemd cannot load the unit; 5 its files cannot be read.")]
pub struct PolicyOptions {
    /// A service, or the path of a unit file (with a slash)
    #[arg(add = ArgValueCompleter::new(complete::units))]
    pub unit: String,
    /// More of them (with a dot or a slash); and only these calls: a name or a number, also behind an architecture
    /// (x86:socketcall)
    #[arg(value_name = "UNIT|CALL", add = ArgValueCompleter::new(complete::units_and_calls))]
    pub more: Vec<String>,
    /// Print the settings as `systemctl show` of that systemd prints them
    #[arg(long, conflicts_with_all = ["lint", "json"])]
    pub show: bool,
    /// Print only what is wrong with the filter, with advice; exit 1 if something is
    #[arg(long)]
    pub lint: bool,
    /// Judge by the rules of this major version of systemd, without a service manager
    #[arg(long, value_name = "VERSION", value_parser = systemd_version, conflicts_with = "user", add = ArgValueCompleter::new(complete::versions))]
    pub systemd: Option<u32>,
    /// Where the system is
    #[command(flatten)]
    pub place: Place,
    /// Whose units they are
    #[command(flatten)]
    pub of: Of,
}

impl PolicyOptions {
    /// The units and the calls that were named. No name of a call holds a dot or a slash.
    #[must_use]
    pub fn named(&self) -> (Vec<&str>, Vec<&str>) {
        let (units, calls): (Vec<&str>, _) =
            self.more.iter().map(String::as_str).partition(|word| word.contains(['.', '/']));
        (std::iter::once(self.unit.as_str()).chain(units).collect(), calls)
    }
}
