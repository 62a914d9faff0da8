//! Logs of lines: auditd's, dmesg's, and what journalctl prints for people.

use super::{Place, Reading, Said};
use crate::evidence::log::scan::Batch;
use crate::evidence::log::{self, Meaning};
use crate::evidence::{Source, Untrusted};
use std::fs::File;
use std::io::{self, Read};

/// Read a regular file.
pub(super) fn read_file(reading: &mut Reading, file: &File) -> io::Result<()> {
    let (source, mut lines) = (reading.source(), 0);
    log::search().file(file, |line| meaning(line, &source), |batch| take(reading, &mut lines, batch))
}

/// Read a stream.
pub(super) fn read(reading: &mut Reading, stream: impl Read) -> io::Result<()> {
    let (source, mut lines) = (reading.source(), 0);
    log::search().stream(stream, |line| meaning(line, &source), |batch| take(reading, &mut lines, batch))
}

fn take(
    reading: &mut Reading,
    lines: &mut u64,
    batch: Batch<(Option<Untrusted>, Meaning)>,
) -> io::Result<()> {
    for (before, (host, meaning)) in batch.found {
        match meaning {
            Ok(Some(denial)) => {
                reading.hand_over(host.as_ref().map(Untrusted::bytes), Said::Denied(denial));
            }
            Ok(None) => reading.out.foreign += 1,
            Err(fault) => reading.fault(Place::Line(*lines + before + 1), fault.to_string()),
        }
    }
    *lines += batch.lines;
    reading.out.too_long += batch.too_long;
    reading.advance(batch.bytes)
}

fn meaning(line: &[u8], source: &Source) -> Option<(Option<Untrusted>, Meaning)> {
    log::meaning(line, source).map(|meaning| (node(line).map(Untrusted::new), meaning))
}

/// The host of a line of an audit.log that collects several (`node=HOST `).
fn node(line: &[u8]) -> Option<&[u8]> {
    line.strip_prefix(b"node=")?.split(|b| *b == b' ').next()
}
