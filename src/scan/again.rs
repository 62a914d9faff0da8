//! The same record in several logs: auditd's log, the journal and what dmesg prints may all have it. Each log has it as
//! often as it happened, so that it counts as often as in the one that has it most.

use crate::evidence::{Denial, Effect};
use crate::syscalls::Call;
use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::path::{Path, PathBuf};

/// So many records are remembered, and as many again of those before them.
const REMEMBERED: usize = 1 << 17;

/// A record.
#[derive(Clone, Copy, Debug, Default)]
struct Told {
    /// How often it counts.
    counted: u32,
    /// The log that told of it last; they are read one after the other.
    log: Option<u16>,
    /// How often that one did.
    times: u32,
}

/// The records that were met, in which log, and how often there more than in others.
#[derive(Default)]
pub(super) struct Again {
    hasher: RandomState,
    logs: Vec<PathBuf>,
    /// The file of the record before, and its log.
    last: Option<(PathBuf, u16)>,
    newer: HashMap<u64, Told>,
    older: HashMap<u64, Told>,
    /// So many were forgotten, so that some may count twice.
    forgotten: bool,
}

impl Again {
    /// Whether another log told of this record already. One without a time cannot be told apart from others.
    pub(super) fn is_known(&mut self, log: &Path, denial: &Denial) -> bool {
        let Some(time) = denial.time else { return false };
        let effect = match denial.effect {
            Effect::Killed => 1,
            Effect::Recorded => 2,
            Effect::Failed(errno) => 3 + u32::from(errno),
        };
        let Call { arch, number } = denial.call;
        // audit gives milliseconds, and the journal may have more
        let key = self.hasher.hash_one((time / 1000, denial.process.pid, arch, number, effect));
        let log = self.log(log);
        if self.newer.len() >= REMEMBERED {
            self.forgotten |= !self.older.is_empty();
            self.older = std::mem::take(&mut self.newer);
        }
        if let Some(entry) = self.older.remove(&key) {
            self.newer.insert(key, entry);
        }
        let told = self.newer.entry(key).or_default();
        told.times = if told.log == Some(log) { told.times.saturating_add(1) } else { 1 };
        told.log = Some(log);
        let known = told.times <= told.counted;
        told.counted = told.counted.max(told.times);
        known
    }

    /// Whether there were so many records that some may have counted twice.
    pub(super) fn has_forgotten(&self) -> bool {
        self.forgotten && self.logs.len() > 1
    }

    /// Files of one log, rotated or of one journal, hold each record once, and are as one.
    fn log(&mut self, path: &Path) -> u16 {
        if let Some((_, log)) = self.last.as_ref().filter(|(last, _)| last == path) {
            return *log;
        }
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let log = match name.find(".log") {
            _ if name.ends_with(".journal") || name.ends_with(".journal~") => PathBuf::from("journal"),
            Some(at) => path.with_file_name(name.get(..at).unwrap_or_default()),
            None => path.to_owned(),
        };
        let at = self.logs.iter().position(|known| *known == log).unwrap_or_else(|| {
            // of so many logs the rest are as one
            if self.logs.len() < usize::from(u16::MAX) {
                self.logs.push(log);
            }
            self.logs.len() - 1
        });
        let log = u16::try_from(at).unwrap_or(u16::MAX);
        self.last = Some((path.to_owned(), log));
        log
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evidence::{Source, record};

    fn denial(pid: u32, millisecond: u32) -> Denial {
        let line = format!(
            "audit(1.{millisecond:03}:3): auid=0 uid=0 gid=0 ses=1 pid={pid} comm=\"a\" exe=\"/a\" sig=31 \
             arch=c000003e syscall=92 compat=0 ip=0x1 code=0x80000000"
        );
        record::parse(line.as_bytes()).unwrap().unwrap().denial(Source::AuditSocket).unwrap()
    }

    #[test]
    fn as_often_as_in_the_log_that_has_it_most() {
        let mut again = Again::default();
        let (journal, rotated) = (Path::new("/j/system.journal"), Path::new("/j/system@1.journal"));
        let (audit, dmesg) = (Path::new("/a/audit.log"), Path::new("/tmp/dmesg.txt"));
        // a thread may be refused the same call twice in a millisecond
        assert!(!again.is_known(journal, &denial(1, 1)));
        assert!(!again.is_known(rotated, &denial(1, 1)));
        assert!(again.is_known(audit, &denial(1, 1)));
        assert!(again.is_known(Path::new("/a/audit.log.1.gz"), &denial(1, 1)));
        assert!(!again.is_known(audit, &denial(1, 1)));
        assert!(again.is_known(dmesg, &denial(1, 1)));
        assert!(!again.is_known(dmesg, &denial(1, 2)));
        assert!(!again.is_known(dmesg, &denial(2, 1)));
        let timeless = Denial { time: None, ..denial(1, 1) };
        assert!(!again.is_known(audit, &timeless) && !again.is_known(dmesg, &timeless));
    }

    #[test]
    fn a_flood_is_remembered_as_far_as_there_is_room() {
        let mut again = Again::default();
        let (journal, audit) = (Path::new("x.journal"), Path::new("audit.log"));
        for pid in 0..u32::try_from(3 * REMEMBERED).unwrap() {
            assert!(!again.is_known(journal, &denial(pid, 1)));
        }
        assert!(again.newer.len() + again.older.len() <= 2 * REMEMBERED && !again.has_forgotten());
        assert!(again.is_known(audit, &denial(u32::try_from(3 * REMEMBERED - 1).unwrap(), 1)));
        assert!(again.has_forgotten());
    }
}
