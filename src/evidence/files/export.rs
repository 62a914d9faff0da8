//! Entries in the Journal Export Format (`journalctl -o export`, and what systemd-journal-remote passes on): lines
//! `FIELD=TEXT`, or `FIELD`, a length and so many bytes; an empty line ends an entry
//! (<https://systemd.io/JOURNAL_EXPORT_FORMATS>). Every length is followed, so that nothing that a service logged can
//! be taken for a field.

use super::{Place, Reading};
use crate::evidence::journal::{Name, Picked};
use memchr::memchr;
use std::io::{self, BufRead};

/// So much of a value, or of a line, is kept: longer ones are of no field that matters.
const VALUE_MAX: usize = 64 * 1024;

pub(super) fn read(reading: &mut Reading, stream: impl BufRead) -> io::Result<()> {
    let mut source = Pieces { stream, kept: Vec::new(), taken: 0 };
    let mut entry = Picked::default();
    let mut number = 1;
    let mut any = false;
    loop {
        let mut binary = None;
        let more = source.line(|text| {
            if text.is_empty() {
                return false;
            }
            match memchr(b'=', text) {
                Some(at) => {
                    if let Some(name) = Name::of(text.get(..at).unwrap_or_default()) {
                        entry.put(name, text.get(at + 1..).unwrap_or_default());
                    }
                }
                None => binary = Some(Name::of(text)),
            }
            true
        })?;
        if let Some(name) = binary {
            let value = source.value()?;
            if let Some(name) = name {
                entry.put(name, value);
            }
        }
        any |= more == Some(true);
        if more != Some(true) {
            if any {
                reading.entry(&entry, Place::Entry(number));
                number += 1;
                entry.clear();
            }
            any = false;
            reading.advance(std::mem::take(&mut source.taken))?;
        }
        if more.is_none() {
            return Ok(());
        }
    }
}

/// A stream that is taken apart into lines and values of a given length.
struct Pieces<R> {
    stream: R,
    kept: Vec<u8>,
    taken: u64,
}

impl<R: BufRead> Pieces<R> {
    /// What somebody makes of the next line, without its end; nothing at the end.
    fn line<T>(&mut self, take: impl FnOnce(&[u8]) -> T) -> io::Result<Option<T>> {
        let buffer = fill(&mut self.stream)?;
        if buffer.is_empty() {
            return Ok(None);
        }
        if let Some(end) = memchr(b'\n', buffer) {
            let made = take(buffer.get(..end).unwrap_or_default());
            self.stream.consume(end + 1);
            self.taken += end as u64 + 1;
            return Ok(Some(made));
        }
        // a line that the buffer does not hold whole
        self.kept.clear();
        loop {
            let buffer = fill(&mut self.stream)?;
            let end = memchr(b'\n', buffer);
            let piece = buffer.get(..end.unwrap_or(buffer.len())).unwrap_or_default();
            let room = VALUE_MAX.saturating_sub(self.kept.len());
            self.kept.extend_from_slice(piece.get(..room).unwrap_or(piece));
            let used = piece.len() + usize::from(end.is_some());
            let over = end.is_some() || buffer.is_empty();
            self.stream.consume(used);
            self.taken += used as u64;
            if over {
                return Ok(Some(take(&self.kept)));
            }
        }
    }

    /// A value: a length of 64 bits, little endian, so many bytes, and the end of the line.
    fn value(&mut self) -> io::Result<&[u8]> {
        let mut length = [0; 8];
        self.stream.read_exact(&mut length)?;
        let mut left = u64::from_le_bytes(length);
        self.kept.clear();
        while left > 0 {
            let buffer = fill(&mut self.stream)?;
            if buffer.is_empty() {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let used = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
            let piece = buffer.get(..used).unwrap_or_default();
            let room = VALUE_MAX.saturating_sub(self.kept.len());
            self.kept.extend_from_slice(piece.get(..room).unwrap_or(piece));
            self.stream.consume(used);
            self.taken += used as u64;
            left -= used as u64;
        }
        let mut end = [0];
        self.stream.read_exact(&mut end)?;
        self.taken += 9;
        if end == *b"\n" { Ok(&self.kept) } else { Err(io::Error::other("a value is longer than it says")) }
    }
}

fn fill(stream: &mut impl BufRead) -> io::Result<&[u8]> {
    // borrowed twice, as what is in the buffer cannot be given back from within a loop
    loop {
        match stream.fill_buf() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
            Ok(_) => break,
        }
    }
    stream.fill_buf()
}
