//! Lines that matter, found at the speed of memory: what they all hold is searched for in large pieces, and only the
//! lines around it are looked at. A line is never copied, and memory is bounded whatever is in the input.
//!
//! A regular file is cut into pieces, of which two threads each read every other one; a line belongs to the piece in
//! which it begins. So the pieces do not depend on each other, and their results come in order.

use memchr::memmem::Finder;
use memchr::{memchr, memchr_iter, memrchr};
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

/// So much is read and searched at once: it stays in a processor's own cache.
const PIECE: usize = 256 * 1024;

/// A file of fewer pieces is not worth a thread.
const PIECES_MIN: u64 = 16;

/// What is searched for, and how long a line may be.
pub(in crate::evidence) struct Search {
    /// Each line that matters holds one of these.
    holds: Vec<Finder<'static>>,
    /// Or it begins so.
    begins: Option<(&'static [u8], Finder<'static>)>,
    /// A line that is longer, in bytes, does not matter, whatever it holds.
    line_max: usize,
}

/// The lines of a piece that matter.
#[derive(Debug)]
pub(in crate::evidence) struct Batch<T> {
    /// How many bytes the piece has.
    pub(in crate::evidence) bytes: u64,
    /// How many lines.
    pub(in crate::evidence) lines: u64,
    /// How many of them are too long.
    pub(in crate::evidence) too_long: u64,
    /// What was made of those that matter, each with the number of lines before it in the piece.
    pub(in crate::evidence) found: Vec<(u64, T)>,
}

impl Search {
    /// Lines that hold one of these, none of which has an end of line in it.
    pub(in crate::evidence) fn new(holds: &'static [&'static str], line_max: usize) -> Self {
        Search { holds: holds.iter().map(|text| Finder::new(text)).collect(), begins: None, line_max }
    }

    /// And lines that begin so: this is the beginning, with the end of the line before it.
    pub(in crate::evidence) fn or_beginning(mut self, after_end: &'static str) -> Self {
        let after_end = after_end.as_bytes();
        self.begins = Some((after_end.get(1..).unwrap_or_default(), Finder::new(after_end)));
        self
    }

    /// Go through whole lines. `judge` says what a line means, and nothing where it does not matter.
    fn piece<T>(&self, text: &[u8], bytes: u64, judge: &impl Fn(&[u8]) -> Option<T>) -> Batch<T> {
        let mut out = Batch { bytes, lines: 0, too_long: 0, found: Vec::new() };
        // a line that is too long fills at least one of these
        let blocks = text.chunks_exact((self.line_max / 2).max(1));
        if blocks.into_iter().any(|block| memchr(b'\n', block).is_none()) {
            self.line_by_line(text, judge, &mut out);
            return out;
        }
        let mut hits = Hits::new(self, text);
        let (mut from, mut counted) = (0, 0);
        while let Some(hit) = hits.next(from) {
            let before = text.get(from..hit).unwrap_or_default();
            let begin = memrchr(b'\n', before).map_or(from, |at| from + at + 1);
            let after = text.get(hit..).unwrap_or_default();
            let end = memchr(b'\n', after).map_or(text.len(), |at| hit + at);
            out.lines += ends(text.get(counted..begin).unwrap_or_default());
            counted = begin;
            if let Some(meant) = judge(text.get(begin..end).unwrap_or_default()) {
                out.found.push((out.lines, meant));
            }
            from = (end + 1).min(text.len());
        }
        out.lines += ends(text.get(counted..).unwrap_or_default());
        out.lines += u64::from(text.last().is_some_and(|last| *last != b'\n'));
        out
    }

    fn line_by_line<T>(&self, text: &[u8], judge: &impl Fn(&[u8]) -> Option<T>, out: &mut Batch<T>) {
        for line in text.split_inclusive(|b| *b == b'\n') {
            let line = line.strip_suffix(b"\n").unwrap_or(line);
            if line.len() > self.line_max {
                out.too_long += 1;
            } else if let Some(meant) = judge(line) {
                out.found.push((out.lines, meant));
            }
            out.lines += 1;
        }
    }

    /// Go through a stream, piece by piece.
    pub(in crate::evidence) fn stream<T>(
        &self,
        mut reader: impl Read,
        judge: impl Fn(&[u8]) -> Option<T>,
        mut each: impl FnMut(Batch<T>) -> io::Result<()>,
    ) -> io::Result<()> {
        let mut buffer = vec![0; PIECE];
        let mut filled = 0;
        let mut taken = 0;
        // within a line that is too long, and was counted
        let mut beyond = false;
        loop {
            let read = match reader.read(buffer.get_mut(filled..).unwrap_or_default()) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                other => other?,
            };
            let known = filled;
            filled += read;
            taken += read as u64;
            if read > 0
                && filled < buffer.len()
                && memchr(b'\n', buffer.get(known..filled).unwrap_or_default()).is_none()
            {
                continue;
            }
            let mut begin = 0;
            let text = buffer.get(..filled).unwrap_or_default();
            if beyond {
                begin = memchr(b'\n', text).map_or(filled, |at| at + 1);
                beyond = begin == filled && text.last() != Some(&b'\n');
            }
            let end = if read == 0 { filled } else { memrchr(b'\n', text).map_or(begin, |at| at + 1) };
            let lines = text.get(begin..end.max(begin)).unwrap_or_default();
            each(self.piece(lines, std::mem::take(&mut taken), &judge))?;
            if read == 0 {
                return Ok(());
            }
            buffer.copy_within(end.max(begin)..filled, 0);
            filled -= end.max(begin);
            if filled > self.line_max {
                each(Batch { bytes: 0, lines: 1, too_long: 1, found: Vec::new() })?;
                (filled, beyond) = (0, true);
            } else if filled == buffer.len() {
                buffer.resize((2 * filled).min(self.line_max + 1), 0);
            }
        }
    }

    /// Go through a regular file, with two threads where there are two processors and it is long enough.
    pub(in crate::evidence) fn file<T: Send>(
        &self,
        file: &File,
        judge: impl Fn(&[u8]) -> Option<T> + Sync,
        mut each: impl FnMut(Batch<T>) -> io::Result<()>,
    ) -> io::Result<()> {
        let length = file.metadata()?.len();
        if length == 0 {
            // those of /proc do not tell
            return self.stream(file, judge, each);
        }
        let pieces = length.div_ceil(PIECE as u64);
        let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let mut own = Cut { search: self, file, length, buffer: Vec::new() };
        if processors < 2 || pieces < PIECES_MIN {
            return (0..pieces).try_for_each(|number| each(own.piece(number, &judge)?));
        }
        std::thread::scope(|scope| {
            let (send, receive): (SyncSender<_>, Receiver<io::Result<Batch<T>>>) = sync_channel(2);
            let judge = &judge;
            scope.spawn(move || {
                let mut own = Cut { search: self, file, length, buffer: Vec::new() };
                for number in (1..pieces).step_by(2) {
                    // nobody listens any more: the other thread has met an error
                    if send.send(own.piece(number, judge)).is_err() {
                        return;
                    }
                }
            });
            for number in 0..pieces {
                let batch = if number % 2 == 0 {
                    own.piece(number, judge)
                } else {
                    receive
                        .recv()
                        .unwrap_or_else(|_| Err(io::Error::other("a thread of this process ended early")))
                };
                each(batch?)?;
            }
            drop(receive);
            Ok(())
        })
    }
}

fn ends(text: &[u8]) -> u64 {
    memchr_iter(b'\n', text).count() as u64
}

/// Where something that is searched for stands next.
struct Hits<'a> {
    search: &'a Search,
    text: &'a [u8],
    /// Of each search, where it found something last; nothing: there is no more.
    next: Vec<Option<usize>>,
}

impl<'a> Hits<'a> {
    fn new(search: &'a Search, text: &'a [u8]) -> Self {
        let next = search.holds.iter().map(|finder| finder.find(text)).collect();
        let mut hits = Hits { search, text, next };
        if let Some((beginning, finder)) = &search.begins {
            let first = text.starts_with(beginning).then_some(0);
            hits.next.push(first.or_else(|| finder.find(text).map(|at| at + 1)));
        }
        hits
    }

    /// The first place from here on.
    fn next(&mut self, from: usize) -> Option<usize> {
        let begins = self.search.begins.as_ref().map(|(_, finder)| (finder, 1));
        let finders = self.search.holds.iter().map(|finder| (finder, 0)).chain(begins);
        for ((finder, ahead), next) in finders.zip(&mut self.next) {
            if next.is_some_and(|at| at < from) {
                // the end of the line before may be what is searched for
                let begin = from.saturating_sub(ahead);
                *next = finder.find(self.text.get(begin..)?).map(|at| begin + at + ahead);
            }
        }
        self.next.iter().flatten().min().copied()
    }
}

/// A file that is read in pieces.
struct Cut<'a> {
    search: &'a Search,
    file: &'a File,
    length: u64,
    buffer: Vec<u8>,
}

impl Cut<'_> {
    /// Go through the lines that begin in this piece.
    fn piece<T>(&mut self, number: u64, judge: &impl Fn(&[u8]) -> Option<T>) -> io::Result<Batch<T>> {
        let begin = number * PIECE as u64;
        let end = self.length.min(begin + PIECE as u64);
        let bytes = end - begin;
        // the byte before tells whether a line begins with the piece
        let before = u64::from(number > 0);
        self.buffer.clear();
        self.extend(begin - before, end)?;
        let first = if number == 0 { Some(0) } else { memchr(b'\n', &self.buffer).map(|at| at + 1) };
        let Some(first) = first.filter(|first| *first < self.buffer.len()) else {
            return Ok(Batch { bytes, lines: 0, too_long: 0, found: Vec::new() });
        };
        let mut last = memrchr(b'\n', &self.buffer).map_or(0, |at| at + 1).max(first);
        let mut at = end;
        // the last line may go on behind the piece, and further than it may be does not matter
        while last < self.buffer.len() && self.buffer.len() - last <= self.search.line_max && at < self.length
        {
            let more = self.length.min(at + 4096);
            let known = self.buffer.len();
            self.extend(at, more)?;
            let new = self.buffer.get(known..).unwrap_or_default();
            if new.is_empty() {
                break;
            }
            if let Some(found) = memchr(b'\n', new) {
                self.buffer.truncate(known + found + 1);
                last = self.buffer.len();
            }
            at = more;
        }
        Ok(self.search.piece(self.buffer.get(first..).unwrap_or_default(), bytes, judge))
    }

    fn extend(&mut self, from: u64, to: u64) -> io::Result<()> {
        let mut filled = self.buffer.len();
        let wanted = usize::try_from(to - from).unwrap_or_default();
        self.buffer.resize(filled + wanted, 0);
        let mut at = from;
        while at < to {
            match self.file.read_at(self.buffer.get_mut(filled..).unwrap_or_default(), at) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
                Ok(0) => break, // it was cut meanwhile
                Ok(read) => (filled, at) = (filled + read, at + read as u64),
            }
        }
        self.buffer.truncate(filled);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
