//! The syntax of unit files: bytes to settings with places, plus findings. Pure; systemd.syntax(7) and
//! systemd's `config_parse()` (src/shared/conf-parser.c) are the sources of its rules.

use super::source::{SourceFile, Span, lines};
use crate::finding::{Code, Finding};
use std::ops::Range;
use std::sync::Arc;

/// systemd refuses longer lines (`LONG_LINE_MAX`, src/basic/fileio.h).
const LONG_LINE_MAX: usize = 1024 * 1024;

/// One `Key=value` of a unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// The section it stands in, without brackets.
    pub section: String,
    /// The name before the equals sign.
    pub key: String,
    /// What follows it.
    pub value: Value,
}

/// The value of a setting: its text with continuation lines joined, and where each part of it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Value {
    /// The text, stripped of white space at both ends.
    pub text: String,
    file: Arc<SourceFile>,
    pieces: Vec<Piece>,
    columns: Columns,
}

/// How many characters there are before each block of a text, so that a column is found in a long line, too.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Columns(Vec<u32>);

impl Columns {
    const BLOCK: usize = 512;

    fn of(text: &str) -> Self {
        let counts = text.as_bytes().chunks(Self::BLOCK).scan(0, |before, block| {
            let here = *before;
            *before += characters(block);
            Some(here)
        });
        Columns(counts.collect())
    }

    /// The characters before a byte offset of that text.
    fn before(&self, text: &str, offset: usize) -> u32 {
        let offset = offset.min(text.len());
        let block = (offset / Self::BLOCK).min(self.0.len().saturating_sub(1));
        let rest = text.as_bytes().get(block * Self::BLOCK..offset).unwrap_or_default();
        self.0.get(block).copied().unwrap_or_default() + characters(rest)
    }
}

/// The characters that begin in a piece of UTF-8.
fn characters(bytes: &[u8]) -> u32 {
    count(bytes.iter().filter(|byte| **byte & 0xc0 != 0x80).count())
}

/// From this byte of the text on, it stands at this line and column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Piece {
    offset: usize,
    line: u32,
    column: u32,
}

impl Value {
    /// Where a part of the text (byte offsets) stands. Only the part on its first line, if it spans several.
    #[must_use]
    pub fn span(&self, range: Range<usize>) -> Span {
        let index = self.pieces.partition_point(|p| p.offset <= range.start).saturating_sub(1);
        let piece = self.pieces.get(index).copied().unwrap_or(Piece { offset: 0, line: 1, column: 1 });
        let line_end = self.pieces.get(index + 1).map_or(self.text.len(), |next| next.offset);
        let before = |offset| self.columns.before(&self.text, offset);
        let chars = |from: usize, to: usize| before(to).saturating_sub(before(from));
        Span {
            file: Arc::clone(&self.file),
            line: piece.line,
            column: piece.column + chars(piece.offset, range.start),
            length: chars(range.start, range.end.min(line_end)).max(1),
        }
    }

    /// The file that it stands in.
    #[must_use]
    pub fn file(&self) -> &SourceFile {
        &self.file
    }

    /// The last line (from 1) that belongs to it: that of its last continuation, which may be empty.
    #[must_use]
    pub fn last_line(&self) -> u32 {
        self.pieces.last().map_or(1, |piece| piece.line)
    }

    /// Where the whole value stands (its first line).
    #[must_use]
    pub fn whole(&self) -> Span {
        self.span(0..self.text.len())
    }
}

/// What a file holds.
#[derive(Debug, Default)]
pub struct Parsed {
    /// Its settings in order.
    pub settings: Vec<Setting>,
    /// What is wrong with it.
    pub findings: Vec<Finding>,
    /// The manager stopped reading here: the rest of a drop-in is dropped, and a unit file fails to load.
    pub broken: bool,
}

/// From this version on (seen on 252, not on 247), a section's name may hold no quotes, backslashes or control
/// characters. Before, it is merely an unknown section.
const SAFE_SECTIONS_FROM: u32 = 252;

/// From this version on (seen on 262, not on 257), a section has to have a name.
const NAMED_SECTIONS_FROM: u32 = 262;

/// Parse one unit file as systemd of this major version does. Never fails: what the manager would refuse is a
/// finding.
#[must_use]
pub fn parse_as(file: &Arc<SourceFile>, version: u32) -> Parsed {
    let mut parser = Parser { file, version, section: None, out: Parsed::default() };
    let mut logical = Logical::default();
    let mut bom_seen = false;
    for (index, raw) in lines(&file.bytes).enumerate() {
        let number = count(index + 1);
        if raw.len() >= LONG_LINE_MAX {
            parser.break_off(Code::LineTooLong, "a line of 1 MiB or more", number);
            return parser.out;
        }
        if is_comment(raw) {
            continue; // also between continuation lines
        }
        // once in a file, and not only at its start
        let (raw, bom) = match raw.strip_prefix(b"\xef\xbb\xbf") {
            Some(rest) if !bom_seen => (rest, 1),
            _ => (raw, 0),
        };
        bom_seen |= bom == 1;
        if !logical.bytes.is_empty() && logical.length + raw.len() > LONG_LINE_MAX {
            parser.break_off(Code::LineTooLong, "a continued line of more than 1 MiB", number);
            return parser.out;
        }
        let indent = raw.iter().take_while(|b| is_space(**b)).count();
        logical.length += raw.len();
        logical.add(&raw[indent..], number, count(indent) + bom + 1);
        if logical.continues() {
            continue;
        }
        if !parser.line(&std::mem::take(&mut logical)) {
            return parser.out;
        }
    }
    if !logical.bytes.is_empty() {
        parser.line(&logical);
    }
    parser.out
}

/// A line with its continuation lines joined.
#[derive(Default)]
struct Logical {
    bytes: Vec<u8>,
    pieces: Vec<Piece>,
    /// With the white space at the start of each line, which is not among the bytes.
    length: usize,
}

impl Logical {
    fn add(&mut self, text: &[u8], line: u32, column: u32) {
        self.pieces.push(Piece { offset: self.bytes.len(), line, column });
        self.bytes.extend_from_slice(text);
    }

    /// An odd backslash at the end becomes a space, and the next line belongs to this one.
    fn continues(&mut self) -> bool {
        if !continues(&self.bytes) {
            return false;
        }
        if let Some(last) = self.bytes.last_mut() {
            *last = b' ';
        }
        true
    }
}

struct Parser<'a> {
    file: &'a Arc<SourceFile>,
    version: u32,
    section: Option<String>,
    out: Parsed,
}

impl Parser<'_> {
    /// Take in one logical line; false when the manager reads no further.
    fn line(&mut self, logical: &Logical) -> bool {
        let first = logical.pieces.first().map_or(1, |p| p.line);
        let utf8 = std::str::from_utf8(&logical.bytes).ok().filter(|text| !text.contains(is_noncharacter));
        let Some(text) = utf8 else {
            self.break_off(Code::InvalidUtf8, "this line is not UTF-8", first);
            return false;
        };
        let stripped = text.trim_matches(SPACE);
        if stripped.is_empty() {
            return true;
        }
        if let Some(header) = stripped.strip_prefix('[') {
            let Some(name) = header.strip_suffix(']') else {
                self.break_off(Code::BadSection, "this section header has no closing bracket", first);
                return false;
            };
            if self.version >= NAMED_SECTIONS_FROM && name.is_empty() {
                self.break_off(Code::BadSection, "this section header has no name", first);
                return false;
            }
            if self.version >= SAFE_SECTIONS_FROM && name.contains(is_unsafe) {
                self.break_off(
                    Code::BadSection,
                    "a section's name may hold no quotes, backslashes or control characters",
                    first,
                );
                return false;
            }
            self.section = Some(name.to_owned());
            return true;
        }
        let Some(equals) = text.find('=') else {
            self.finding(Code::BadLine, "this line has no equals sign and is ignored", first);
            return true;
        };
        if stripped.starts_with('=') {
            self.finding(Code::BadLine, "this line has no name before its equals sign and is ignored", first);
            return true;
        }
        let Some(section) = self.section.clone() else {
            self.finding(Code::NoSection, "this setting stands before any section and is ignored", first);
            return true;
        };
        let raw = &text[equals + 1..];
        let value = raw.trim_matches(SPACE);
        let start = equals + 1 + (raw.len() - raw.trim_start_matches(SPACE).len());
        self.out.settings.push(Setting {
            section,
            key: text[..equals].trim_matches(SPACE).to_owned(),
            value: Value {
                columns: Columns::of(value),
                text: value.to_owned(),
                file: Arc::clone(self.file),
                pieces: pieces_from(logical, text, start),
            },
        });
        true
    }

    fn span(&self, line: u32) -> Span {
        let length = count(self.file.line(line).chars().count()).max(1);
        Span { file: Arc::clone(self.file), line, column: 1, length }
    }

    fn finding(&mut self, code: Code, message: &str, line: u32) {
        let span = self.span(line);
        self.out.findings.push(Finding::warning(code, message, Some(span)));
    }

    fn break_off(&mut self, code: Code, message: &str, line: u32) {
        let span = self.span(line);
        let message = format!("{message}: systemd reads this file no further");
        self.out.findings.push(Finding::error(code, message, Some(span)));
        self.out.broken = true;
    }
}

/// The pieces of the part of a logical line that begins at `start`.
fn pieces_from(logical: &Logical, text: &str, start: usize) -> Vec<Piece> {
    let holding = logical.pieces.partition_point(|p| p.offset <= start).saturating_sub(1);
    let mut pieces = Vec::new();
    for (index, piece) in logical.pieces.iter().enumerate().skip(holding) {
        let mut piece = *piece;
        if index == holding {
            piece.column += text.get(piece.offset..start).map_or(0, |s| count(s.chars().count()));
            piece.offset = start;
        }
        pieces.push(Piece { offset: piece.offset - start, ..piece });
    }
    pieces
}

/// systemd's `WHITESPACE` (src/basic/string-util.h).
const SPACE: &[char] = &[' ', '\t', '\n', '\r'];

/// Code points that are no characters, which systemd does not take for UTF-8 (`unichar_is_valid()`).
fn is_noncharacter(c: char) -> bool {
    matches!(c, '\u{fdd0}'..='\u{fdef}') || u32::from(c) & 0xfffe == 0xfffe
}

/// `string_is_safe()` of src/basic/string-util.c.
fn is_unsafe(c: char) -> bool {
    matches!(c, '\u{1}'..='\u{1f}' | '"' | '\'' | '\\' | '\u{7f}')
}

/// Whether the next line belongs to this one: it ends in an odd number of backslashes.
pub(crate) fn continues(line: &[u8]) -> bool {
    line.iter().rev().take_while(|byte| **byte == b'\\').count() % 2 == 1
}

/// Whether a line is a comment.
pub(crate) fn is_comment(line: &[u8]) -> bool {
    line.iter().find(|byte| !is_space(**byte)).is_some_and(|byte| matches!(byte, b'#' | b';'))
}

/// Whether a byte is white space (`WHITESPACE` of systemd).
pub(crate) fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
}

fn count(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(text: &[u8]) -> Vec<String> {
        let parsed = parse_as(&SourceFile::new("x.service", text), u32::MAX);
        let shown = parsed.settings.iter().map(|s| {
            let span = s.value.whole();
            format!("[{}] {}={}|{}:{}", s.section, s.key, s.value.text, span.line, span.column)
        });
        let found = parsed
            .findings
            .iter()
            .map(|f| format!("{}@{}", f.code.name(), f.span.as_ref().map_or(0, |s| s.line)));
        shown.chain(found).collect()
    }

    #[test]
    fn places_survive_continuation_and_comments() {
        let text =
            b"\xef\xbb\xbf[Service]\nSystemCallFilter = ~@privileged \\\n# why\n  @resources \\\n\nX=1\n";
        let parsed = parse_as(&SourceFile::new("x.service", &text[..]), u32::MAX);
        let value = &parsed.settings[0].value;
        assert_eq!(value.text, "~@privileged  @resources");
        let at = value.text.find("@resources").unwrap();
        let span = value.span(at..at + 10);
        assert_eq!((span.line, span.column, span.length), (4, 3, 10));
        assert_eq!((value.whole().line, value.whole().column), (2, 20));
        assert_eq!(parsed.settings[1].value.text, "1");
    }

    #[test]
    fn what_the_manager_drops_is_a_finding() {
        assert_eq!(
            settings(b"A=1\n[Service]\nB=2\nnonsense\nC = 3 \n"),
            ["[Service] B=2|3:3", "[Service] C=3|5:5", "no-section@1", "bad-line@4"]
        );
        assert_eq!(settings(b"[Service]\nA=1\n[Service\nB=2\n"), ["[Service] A=1|2:3", "bad-section@3"]);
        assert_eq!(settings(b"[Service]\nA=1\nB=\xff\nC=2\n"), ["[Service] A=1|2:3", "invalid-utf8@3"]);
    }

    #[test]
    fn headers_of_sections_by_version() {
        let read = |text: &str, version| {
            let parsed = parse_as(&SourceFile::new("x.service", text), version);
            (parsed.settings.len(), parsed.broken)
        };
        for (header, on_247, on_252, on_262) in [
            ("[Serv\"ice]", (1, false), (0, true), (0, true)),
            ("[Serv\\ice]", (1, false), (0, true), (0, true)),
            ("[]", (1, false), (1, false), (0, true)),
            ("[ Service ]", (1, false), (1, false), (1, false)),
            ("[", (0, true), (0, true), (0, true)),
        ] {
            let text = format!("{header}\n[Service]\nA=1\n");
            assert_eq!(read(&text, 247), on_247, "{header}");
            assert_eq!(read(&text, 252), on_252, "{header}");
            assert_eq!(read(&text, 262), on_262, "{header}");
        }
    }

    #[test]
    fn byte_order_marks_noncharacters_and_long_lines() {
        assert_eq!(settings("[S]\nA=1\n\u{feff}B=2\n\u{feff}C=3\n".as_bytes()).len(), 3);
        assert_eq!(
            settings("[S]\n\u{feff}B=2\n\u{feff}C=3\n".as_bytes()),
            ["[S] B=2|2:4", "[S] \u{feff}C=3|3:4"]
        );
        assert_eq!(settings("[S]\n\u{feff}# A=1\n".as_bytes()), ["[S] # A=1|2:6"]);
        assert_eq!(settings("[S]\nA=\u{fffe}\nB=1\n".as_bytes()), ["invalid-utf8@2"]);
        let line = |length: usize| settings(format!("[S]\n#{}\nB=1\n", "a".repeat(length - 1)).as_bytes());
        assert_eq!(line(LONG_LINE_MAX - 1), ["[S] B=1|3:3"]);
        assert_eq!(line(LONG_LINE_MAX), ["line-too-long@2"]);
    }

    #[test]
    fn carriage_return_nul_and_unfinished_continuation_end_a_line() {
        assert_eq!(settings(b"[S]\rA=1\0B=2\r\nC=3\\"), ["[S] A=1|2:3", "[S] B=2|3:3", "[S] C=3|4:3"]);
    }

    proptest::proptest! {
        #[test]
        fn never_panics_and_every_span_lies_in_its_file(bytes: Vec<u8>) {
            let mut text = b"[Service]\n".to_vec();
            text.extend(bytes);
            let file = SourceFile::new("x.service", text);
            for setting in parse_as(&file, u32::MAX).settings {
                let span = setting.value.whole();
                proptest::prop_assert!(span.line as usize <= lines(&file.bytes).count());
            }
        }
    }
}
