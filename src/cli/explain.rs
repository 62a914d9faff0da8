//! `unitfix explain`.

use super::{complete, quoted, systemd_version};
use clap::{Args, ValueHint};
use clap_complete::engine::ArgValueCompleter;
use std::ffi::OsString;
use std::path::PathBuf;

/// Explaining.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
unitfix explain setrlimit              a system call by its name\n  \
unitfix explain 160 arm64              or by its number\n  \
unitfix explain @resources             a group of them\n  \
unitfix explain 31/SYS                 how a process ended\n  \
unitfix explain setrlimit --unit docuum.service\n  \
journalctl -b -g 'type=1326|SECCOMP auid' | unitfix explain\n\n\
Exit status: 0 explained; 2 unknown, or usage.")]
pub struct Explain {
    /// An audit line, a line of systemd's, a call's name or number, a word of SystemCallFilter=, an @group, an exit
    /// status; - or nothing: standard input
    #[arg(value_name = "ARG", add = ArgValueCompleter::new(complete::calls_and_groups))]
    pub pasted: Vec<OsString>,
    /// Also show which line of this unit (a service, or the path of a unit file) forbids it
    #[arg(long, value_name = "UNIT", add = ArgValueCompleter::new(complete::units))]
    pub unit: Option<String>,
    /// Take the groups and the rules of this version of systemd
    #[arg(long, value_name = "VERSION", value_parser = systemd_version, add = ArgValueCompleter::new(complete::versions))]
    pub systemd: Option<u32>,
    /// Take the unit, and the version of systemd, from this folder instead of /
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub root: Option<PathBuf>,
    /// Print one JSON object instead of text
    #[arg(long)]
    pub json: bool,
}

impl Explain {
    /// The command that repairs the unit which was named.
    #[must_use]
    pub fn repair_command(&self) -> Option<String> {
        let unit = self.unit.as_deref()?;
        let root = self.root.as_ref().map(|root| format!(" --root {}", quoted(&root.to_string_lossy())));
        // neither a path nor what is below a root needs the service manager
        let sudo = if root.is_none() && !unit.contains('/') { "sudo " } else { "" };
        Some(format!("{sudo}unitfix {}{}", quoted(unit), root.unwrap_or_default()))
    }
}
