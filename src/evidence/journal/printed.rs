//! What journalctl printed (`-o json`), whatever was asked: every entry as all that it may be.

use super::ask::Entry;
use super::{CoreDump, KeptCore, KernelRecords, ManagerReport};
use crate::evidence::log::{Line, Lines};
use std::collections::HashSet;
use std::io::{self, BufRead};

/// What entries say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Printed {
    /// The kernel's records, each once.
    pub records: KernelRecords,
    /// What systemd-coredump saw.
    pub dumps: Vec<CoreDump>,
    /// What it kept of that.
    pub cores: Vec<KeptCore>,
    /// What the manager said.
    pub reports: Vec<ManagerReport>,
}

/// Read entries to their end. A line that is none is passed over, and so is one that is too long.
pub fn printed(output: impl BufRead) -> io::Result<Printed> {
    let (mut out, mut seen) = (Printed::default(), HashSet::new());
    let mut lines = Lines::new(output);
    while let Some(line) = lines.next_line()? {
        let Line::Whole(line) = line else { continue };
        let Some(entry) = Entry::parse(line) else { continue };
        out.records.take(&entry, &mut seen, super::audit_record);
        out.records.take(&entry, &mut seen, super::kernel_record);
        out.dumps.extend(super::core_dump(&entry));
        out.cores.extend(super::kept_core(&entry));
        out.reports.extend(super::manager_report(&entry));
    }
    Ok(out)
}
