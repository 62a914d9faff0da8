//! `unitfix scan`.

use super::Place;
use clap::{Args, ValueHint};
use std::path::PathBuf;

/// Scanning logs.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
unitfix scan                           this system, since it was booted\n  \
unitfix scan --since -2h               or in the last two hours\n  \
unitfix scan -D /var/log/journal/remote\n  \
unitfix scan /var/log/audit/audit.log* rotated and compressed ones, too\n  \
journalctl -k -o json | unitfix scan   what journalctl or dmesg printed\n\n\
Exit status: 0 nothing was denied; 1 something was; 2 usage; 5 nothing can be\n\
read; 130 interrupted: what was found until then is shown.")]
pub struct Scan {
    /// A log: of auditd, the kernel, or what journalctl printed (-o json, export, short); a journal file; -: standard
    /// input
    #[arg(value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Journal files in DIR, also of many hosts
    #[arg(short = 'D', long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub directory: Vec<PathBuf>,
    /// Only this boot of the system: its ID, or 0 for the last, -1 for the one before it
    #[arg(
        long,
        value_name = "ID|OFFSET",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "0",
        conflicts_with_all = ["files", "directory"]
    )]
    pub boot: Option<String>,
    /// Only from TIME on: \"2026-11-26 10:00\", today, -2h, ...
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    pub since: Option<String>,
    /// Only until TIME
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    pub until: Option<String>,
    /// Also write what is found as a page for browsers
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
    /// Where the system is
    #[command(flatten)]
    pub place: Place,
}
