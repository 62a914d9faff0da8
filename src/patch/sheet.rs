//! A unit file as its author would edit it: bytes and settings with places in, new bytes out. Pure. Whatever is not
//! edited, comments and layout included, stays as it is.

use crate::policy::{Quotes, words};
use crate::unit::syntax::{continues, is_comment, is_space};
use crate::unit::{Setting, SourceFile, Unit, Value};
use std::ops::Range;
use std::path::Path;

/// One file of a unit, with its settings of `[Service]`.
pub(super) struct Sheet<'a> {
    file: &'a SourceFile,
    settings: Vec<&'a Setting>,
}

/// Bytes of a file that are replaced by others.
struct Edit {
    range: Range<usize>,
    new: Vec<u8>,
}

/// A word of a list, and where it stands.
struct Placed {
    text: String,
    line: u32,
    range: Range<usize>,
}

impl<'a> Sheet<'a> {
    /// A file of a unit.
    pub(super) fn of(unit: &'a Unit, path: &Path) -> Option<Self> {
        let mut files = std::iter::once(&unit.fragment).chain(&unit.drop_ins);
        let file = files.find(|file| file.path == path)?;
        let settings = unit.settings.iter().filter(|s| s.section == "Service" && s.value.file().path == path);
        Some(Sheet { file, settings: settings.collect() })
    }

    /// Whether it has a setting.
    pub(super) fn sets(&self, key: &str) -> bool {
        self.settings.iter().any(|setting| setting.key == key)
    }

    /// The lines of a setting that no empty one takes back, in order.
    fn live<'s>(&'s self, key: &'s str) -> impl DoubleEndedIterator<Item = &'a Setting> + 's {
        let lines: Vec<&Setting> = self.settings.iter().filter(|s| s.key == key).copied().collect();
        let from = lines.iter().rposition(|s| s.value.text.is_empty()).map_or(0, |at| at + 1);
        lines.into_iter().skip(from)
    }

    /// With a line behind the last one of that setting; where there is none, behind the last setting of `[Service]`.
    pub(super) fn with_line(&self, key: &str, value: &str) -> Option<Vec<u8>> {
        let same = self.settings.iter().rfind(|setting| setting.key == key);
        let last = same.or(self.settings.last())?.value.last_line();
        let content = self.file.range(last)?;
        let mut end = self.line_end(last);
        let at = content.end + end.len();
        if end.is_empty() {
            end = self.line_end(1); // the file's last line
        }
        let end = if end.is_empty() { b"\n" } else { end };
        // without an empty line, the new one would continue a value that the end of the file cuts off
        let cut_off = continues(self.file.bytes.get(content.clone())?);
        let mut new = if cut_off { end.to_vec() } else { Vec::new() };
        if at == content.end {
            new.splice(0..0, end.iter().copied());
            new.extend(format!("{key}={value}").bytes());
        } else {
            new.extend(format!("{key}={value}").bytes());
            new.extend(end);
        }
        self.edited(vec![Edit { range: at..at, new }])
    }

    /// With words behind those of the last line of a setting that counts, if that line fits.
    pub(super) fn with_words(
        &self,
        key: &str,
        words: &[&str],
        fits: impl Fn(&str) -> bool,
    ) -> Option<Vec<u8>> {
        let value = &self.live(key).rfind(|setting| fits(&setting.value.text))?.value;
        let (last, c) = value.text.char_indices().last()?;
        let at = self.place(value, last)? + c.len_utf8();
        let new = words.iter().flat_map(|word| [" ", word]).flat_map(str::bytes).collect();
        self.edited(vec![Edit { range: at..at, new }])
    }

    /// With another value in the last line of a setting, if that fits.
    pub(super) fn with_value(&self, key: &str, new: &str, fits: impl Fn(&str) -> bool) -> Option<Vec<u8>> {
        let value = &self.live(key).next_back().filter(|setting| fits(&setting.value.text))?.value;
        let at = self.place(value, 0)?;
        self.edited(vec![Edit { range: at..at + value.text.len(), new: new.into() }])
    }

    /// With another word, or none, in the place of the last one of this name, whatever errno it carries, on a line
    /// that begins with `~`. A line that has no other word goes.
    pub(super) fn with_word_changed(&self, key: &str, name: &str, new: Option<&str>) -> Option<Vec<u8>> {
        let changes =
            |word: &Placed| word.text.split(':').next() == Some(name) && Some(word.text.as_str()) != new;
        let lines = self.live(key).filter(|setting| setting.value.text.starts_with('~'));
        let (setting, words, at) = lines.rev().find_map(|setting| {
            let words = self.words(&setting.value)?;
            let at = words.iter().rposition(changes)?;
            Some((setting, words, at))
        })?;
        match new {
            Some(new) => {
                let range = words.get(at)?.range.clone();
                self.edited(vec![Edit { range, new: new.into() }])
            }
            None if words.len() == 1 => self.without_setting(&setting.value),
            None => self.without_word(&setting.value, &words, at),
        }
    }

    /// The words of a value that begins with `~`.
    fn words(&self, value: &Value) -> Option<Vec<Placed>> {
        let placed = |word: crate::policy::Found| {
            let from = word.range.start + 1; // behind the ~
            let start = self.place(value, from)?;
            let range = start..start + word.range.len();
            Some(Placed { text: word.text, line: value.span(from..from + 1).line, range })
        };
        words(value.text.get(1..)?, Quotes::Literal).found.into_iter().map(placed).collect()
    }

    /// Without one of several words of a value, and without a continuation line that holds nothing else.
    fn without_word(&self, value: &Value, words: &[Placed], at: usize) -> Option<Vec<u8>> {
        let word = words.get(at)?;
        let here = |other: &&Placed| other.line == word.line;
        let range = &word.range;
        if let Some(before) = at.checked_sub(1).and_then(|at| words.get(at)).filter(here) {
            return self.edited(vec![Edit { range: before.range.end..range.end, new: Vec::new() }]);
        }
        if let Some(after) = words.get(at + 1).filter(here) {
            return self.edited(vec![Edit { range: range.start..after.range.start, new: Vec::new() }]);
        }
        let line = self.file.range(word.line)?;
        let content = self.file.bytes.get(line.clone())?;
        let goes_on = continues(content);
        let rest = [self.file.bytes.get(line.start..range.start)?, self.file.bytes.get(range.end..line.end)?];
        let rest = rest.concat();
        let rest = if goes_on { rest.split_last()?.1 } else { &rest };
        if !rest.iter().all(|byte| is_space(*byte)) {
            return self.edited(vec![Edit { range: range.clone(), new: Vec::new() }]); // the line has the name
        }
        let mut edits = vec![self.whole_line(word.line)?];
        if !goes_on {
            let before = self.line_before(word.line, value)?;
            edits.push(self.continuation(before)?);
        }
        self.edited(edits)
    }

    /// Without a setting: its line and those that continue it, but for comments between.
    fn without_setting(&self, value: &Value) -> Option<Vec<u8>> {
        let first = value.whole().line;
        let name = std::iter::successors(Some(first), |line| self.line_before(*line, value)).last()?;
        let lines = (name..=value.last_line()).filter(|line| {
            let content = self.file.range(*line).and_then(|range| self.file.bytes.get(range));
            content.is_some_and(|content| !is_comment(content) && !content.iter().all(|b| is_space(*b)))
        });
        self.edited(lines.map(|line| self.whole_line(line)).collect::<Option<_>>()?)
    }

    /// The line that a line of a value continues.
    fn line_before(&self, line: u32, value: &Value) -> Option<u32> {
        let content = |line: u32| self.file.range(line).and_then(|range| self.file.bytes.get(range));
        debug_assert!(line <= value.last_line());
        let before = (1..line).rev().find(|line| content(*line).is_some_and(|text| !is_comment(text)))?;
        content(before).is_some_and(continues).then_some(before)
    }

    fn whole_line(&self, line: u32) -> Option<Edit> {
        let range = self.file.range(line)?;
        Some(Edit { range: range.start..range.end + self.line_end(line).len(), new: Vec::new() })
    }

    /// The backslash at the end of a line with the white space before it, taken away.
    fn continuation(&self, line: u32) -> Option<Edit> {
        let range = self.file.range(line)?;
        let content = self.file.bytes.get(range.clone())?.strip_suffix(b"\\")?;
        let kept = content.iter().rposition(|byte| !is_space(*byte)).map_or(0, |at| at + 1);
        Some(Edit { range: range.start + kept..range.end, new: Vec::new() })
    }

    /// What ends a line.
    fn line_end(&self, line: u32) -> &[u8] {
        let next = self.file.range(line + 1).map_or(self.file.bytes.len(), |next| next.start);
        let end = self.file.range(line).map_or(next, |range| range.end);
        self.file.bytes.get(end..next).unwrap_or_default()
    }

    /// Where a byte of a value's text stands among the bytes of the file.
    fn place(&self, value: &Value, offset: usize) -> Option<usize> {
        let span = value.span(offset..offset + 1);
        let range = self.file.range(span.line)?;
        let line = std::str::from_utf8(self.file.bytes.get(range.clone())?).ok()?;
        let column = usize::try_from(span.column).ok()?.checked_sub(1)?;
        let (at, _) = line.char_indices().nth(column)?;
        Some(range.start + at)
    }

    /// The file's bytes with edits that do not overlap.
    fn edited(&self, mut edits: Vec<Edit>) -> Option<Vec<u8>> {
        edits.sort_by_key(|edit| edit.range.start);
        let mut out = Vec::with_capacity(self.file.bytes.len());
        let mut from = 0;
        for edit in edits {
            out.extend(self.file.bytes.get(from..edit.range.start)?);
            out.extend(edit.new);
            from = edit.range.end;
        }
        out.extend(self.file.bytes.get(from..)?);
        Some(out)
    }
}
