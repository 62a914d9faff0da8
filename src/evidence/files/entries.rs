//! Entries as journalctl prints them for programs (`-o json`), one a line.

use super::{Place, Reading};
use crate::evidence::journal::{MESSAGE_COREDUMP, Name, Picked, bytes_of};
use crate::evidence::log::scan::{Batch, Search};
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};
use std::fs::File;
use std::io::{self, Read};

/// systemd-coredump's entries hold the maps of a process, its mounts and open files.
const LINE_MAX: usize = 4 << 20;

/// What a line has to hold to matter: a record of audit, one in the kernel's log, a core dump, an end that the manager
/// tells of. journalctl escapes nothing of this.
fn search() -> Search {
    Search::new(&["\"1326\"", "type=1326 ", MESSAGE_COREDUMP, "\"EXIT_STATUS\""], LINE_MAX)
}

/// Read a regular file.
pub(super) fn read_file(reading: &mut Reading, file: &File) -> io::Result<()> {
    let mut lines = 0;
    search().file(file, pick, |batch| take(reading, &mut lines, batch))
}

/// Read a stream.
pub(super) fn read(reading: &mut Reading, stream: impl Read) -> io::Result<()> {
    let mut lines = 0;
    search().stream(stream, pick, |batch| take(reading, &mut lines, batch))
}

fn take(reading: &mut Reading, lines: &mut u64, batch: Batch<Picked>) -> io::Result<()> {
    for (before, entry) in batch.found {
        reading.entry(&entry, Place::Line(*lines + before + 1));
    }
    *lines += batch.lines;
    reading.out.too_long += batch.too_long;
    reading.advance(batch.bytes)
}

/// The fields of a line that are looked at; nothing where it is no entry.
fn pick(line: &[u8]) -> Option<Picked> {
    serde_json::Deserializer::from_slice(line).deserialize_map(Picking).ok()
}

struct Picking;

impl<'de> Visitor<'de> for Picking {
    type Value = Picked;

    fn expecting(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.write_str("an entry of the journal")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Picked, A::Error> {
        let mut picked = Picked::default();
        while let Some(name) = map.next_key::<std::borrow::Cow<str>>()? {
            if let Some(name) = Name::of(name.as_bytes()) {
                let value: serde_json::Value = map.next_value()?;
                if let Some(bytes) = bytes_of(&value) {
                    picked.put(name, &bytes);
                }
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(picked)
    }
}
