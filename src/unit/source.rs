//! Unit files as bytes with places: which file, line and column a thing was read from.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// One unit file or drop-in, as it was read.
#[derive(Debug, PartialEq, Eq)]
pub struct SourceFile {
    /// Where it was read from, as the manager names it (without `--root`).
    pub path: PathBuf,
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// When it last changed, or was put there, in microseconds since the epoch; 0 where that is not known.
    pub changed: u64,
    /// Where its lines stand among the bytes.
    lines: Vec<Range<usize>>,
}

impl SourceFile {
    /// A file with this path and these bytes.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>, bytes: impl Into<Vec<u8>>) -> Arc<Self> {
        SourceFile::changed_at(path, bytes, 0)
    }

    /// The same, of a file that was last changed at this time (microseconds since the epoch).
    #[must_use]
    pub fn changed_at(path: impl Into<PathBuf>, bytes: impl Into<Vec<u8>>, changed: u64) -> Arc<Self> {
        let bytes = bytes.into();
        let ranges = lines(&bytes).map(|line| {
            let start = line.as_ptr().addr() - bytes.as_ptr().addr(); // it lies in the bytes
            start..start + line.len()
        });
        let lines = ranges.collect();
        Arc::new(SourceFile { path: path.into(), bytes, changed, lines })
    }

    /// Where a line (from 1) stands among the bytes, without what ends it.
    #[must_use]
    pub fn range(&self, number: u32) -> Option<Range<usize>> {
        let index = usize::try_from(number).ok()?.checked_sub(1)?;
        self.lines.get(index).cloned()
    }

    /// The text of a line (from 1), for people: what is not UTF-8 is replaced.
    #[must_use]
    pub fn line(&self, number: u32) -> String {
        let bytes = self.range(number).and_then(|range| self.bytes.get(range));
        bytes.map(|line| String::from_utf8_lossy(line).into_owned()).unwrap_or_default()
    }
}

/// A run of characters on one line of a file.
#[derive(Clone, PartialEq, Eq)]
pub struct Span {
    /// The file.
    pub file: Arc<SourceFile>,
    /// The line, from 1.
    pub line: u32,
    /// The first character, from 1.
    pub column: u32,
    /// How many characters.
    pub length: u32,
}

impl Span {
    /// `path:line:column`, as compilers print it.
    #[must_use]
    pub fn location(&self) -> String {
        format!("{}:{}:{}", shown_path(&self.file.path), self.line, self.column)
    }

    /// The file's path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.file.path
    }
}

impl std::fmt::Debug for Span {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}+{}", self.location(), self.length)
    }
}

/// A path as it is printed: what could disturb a terminal, or a reader of lines, is escaped.
#[must_use]
pub fn shown_path(path: &Path) -> String {
    let mut out = String::new();
    for c in path.to_string_lossy().chars() {
        if c.is_ascii_graphic() || c == ' ' || c.is_alphanumeric() {
            out.push(c);
        } else {
            out.extend(c.escape_default());
        }
    }
    out
}

/// Split into lines as systemd's `read_line()` does: `\n`, `\r` and NUL end a line, and different ones of `\n`
/// and `\r` that follow each other are one end (src/basic/fileio.c).
pub(super) fn lines(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let end = rest.iter().position(|b| matches!(b, b'\n' | b'\r' | 0)).unwrap_or(rest.len());
        let line = &rest[..end];
        let next = match (rest.get(end), rest.get(end + 1)) {
            (Some(b'\n'), Some(b'\r')) | (Some(b'\r'), Some(b'\n')) => {
                // A NUL right behind belongs to the same end of line.
                if rest.get(end + 2) == Some(&0) { end + 3 } else { end + 2 }
            }
            (Some(b'\n' | b'\r'), Some(0)) => end + 2,
            (Some(_), _) => end + 1,
            (None, _) => end,
        };
        rest = &rest[next..];
        Some(line)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_ends_are_those_of_systemd() {
        let split = |text: &'static str| {
            lines(text.as_bytes()).map(|l| String::from_utf8_lossy(l).into_owned()).collect::<Vec<_>>()
        };
        assert_eq!(split("a\nb\r\nc\rd\0e"), ["a", "b", "c", "d", "e"]);
        assert_eq!(split("a\n\nb"), ["a", "", "b"]);
        assert_eq!(split("a\n"), ["a"]);
        assert_eq!(split(""), Vec::<String>::new());
    }
}
