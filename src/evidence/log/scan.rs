//! Lines that matter, found at the speed of memory: what they all hold is searched for in large pieces, and only the
//! lines around it are looked at. A line is never copied.

use super::pieces;
use memchr::memmem::Finder;
use memchr::{memchr, memchr_iter, memrchr};
use std::fs::File;
use std::io::{self, Read};

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
        Search { holds: holds.iter().map(Finder::new).collect(), begins: None, line_max }
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

    /// Go through a stream.
    pub(in crate::evidence) fn stream<T>(
        &self,
        reader: impl Read,
        judge: impl Fn(&[u8]) -> Option<T>,
        each: impl FnMut(Batch<T>) -> io::Result<()>,
    ) -> io::Result<()> {
        pieces::of_stream(reader, self.line_max, |text, bytes| self.piece(text, bytes, &judge), each)
    }

    /// Go through a regular file.
    pub(in crate::evidence) fn file<T: Send>(
        &self,
        file: &File,
        judge: impl Fn(&[u8]) -> Option<T> + Sync,
        each: impl FnMut(Batch<T>) -> io::Result<()>,
    ) -> io::Result<()> {
        pieces::of_file(file, self.line_max, |text, bytes| self.piece(text, bytes, &judge), each)
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

#[cfg(test)]
mod tests;
