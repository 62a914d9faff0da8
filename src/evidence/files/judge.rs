//! What an entry of a journal says, if it is one that matters, and whether that was said before.

use super::{Place, Reading, Said};
use crate::evidence::Untrusted;
use crate::evidence::journal::{self, Fields};
use crate::evidence::record::Record;
use std::collections::{HashSet, VecDeque};
use std::hash::{BuildHasher, RandomState};

/// The journal's copies of one record, from audit and from the kernel's log, are not further apart than so many
/// records, also in files that were rotated in between.
const SEEN_MAX: usize = 1 << 16;

/// The records that were handed over last.
#[derive(Default)]
pub(super) struct Seen {
    hasher: RandomState,
    known: HashSet<u64>,
    order: VecDeque<u64>,
}

impl Seen {
    /// Whether a record is another one than those before. Its serial number and time name it, within one boot of one
    /// host.
    fn is_new(&mut self, boot: &[u8], record: &Record) -> bool {
        let time = if record.serial.is_some() { None } else { record.time_us };
        let hash = self.hasher.hash_one((boot, record.serial, time, record.pid, record.number));
        if !self.known.insert(hash) {
            return false;
        }
        self.order.push_back(hash);
        if self.order.len() > SEEN_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
        true
    }
}

impl Reading<'_> {
    /// Judge an entry of a journal by the fields that journald itself adds.
    pub(super) fn entry(&mut self, entry: &impl Fields, place: Place) {
        let host = entry.bytes("_HOSTNAME");
        let host = host.as_deref();
        if let Some((record, source)) = journal::audit_record(entry).or_else(|| journal::kernel_record(entry))
        {
            let Ok(record) = record else {
                return self.fault(place, "this is not a record as the kernel writes it");
            };
            let boot = entry.bytes("_BOOT_ID");
            if !self.seen.is_new(boot.as_deref().or(host).unwrap_or_default(), &record) {
                return;
            }
            match record.denial(source) {
                Some(denial) => self.hand_over(host, Said::Denied(denial)),
                None => self.out.foreign += 1,
            }
        } else if let Some(dump) = journal::core_dump(entry)
            && dump.signal == libc::SIGSYS
            && let Some(unit) = entry.bytes("COREDUMP_UNIT")
        {
            self.hand_over(host, Said::Dumped(dump, Untrusted::new(unit)));
        } else if let Some(report) = journal::manager_report(entry)
            && report.sigsys
            && let Some(unit) = entry.bytes("UNIT")
        {
            self.hand_over(host, Said::Reported(report, Untrusted::new(unit)));
        }
    }
}
