//! The words of a setting that holds a list, as systemd's `extract_first_word()` finds them.

use std::ops::Range;

/// systemd's `WHITESPACE` (src/basic/string-util.h): narrower than what Rust or Unicode call white space.
const SPACE: [char; 4] = [' ', '\t', '\n', '\r'];

/// What quotation marks are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Quotes {
    /// Characters like any other: `SystemCallFilter=`, `SystemCallLog=`, `RestrictNamespaces=`.
    Literal,
    /// They hold a word together and vanish: `SystemCallArchitectures=`, `RestrictAddressFamilies=`.
    Removed,
}

/// A word of a list and its place in the text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) text: String,
    pub(crate) range: Range<usize>,
}

/// The words of a value, and where the manager stops reading: at a word whose quotation does not end, or that ends
/// in a backslash. What stands before it counts.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Words {
    pub(crate) found: Vec<Found>,
    pub(crate) broken: Option<Range<usize>>,
}

/// White space separates; a backslash vanishes and keeps the character behind it.
pub(crate) fn words(text: &str, quotes: Quotes) -> Words {
    let mut out = Words::default();
    let mut current: Option<Found> = None;
    let mut quote = None;
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        if quote.is_none() && SPACE.contains(&c) {
            out.found.extend(current.take());
            continue;
        }
        let word = current.get_or_insert_with(|| Found { text: String::new(), range: at..at });
        let mut end = at + c.len_utf8();
        if c == '\\' {
            let Some((next, escaped)) = chars.next() else {
                out.broken = Some(word.range.start..end);
                return out;
            };
            word.text.push(escaped);
            end = next + escaped.len_utf8();
        } else if quotes == Quotes::Removed && quote.is_none() && matches!(c, '\'' | '"') {
            quote = Some(c);
        } else if quote == Some(c) {
            quote = None;
        } else {
            word.text.push(c);
        }
        word.range.end = end;
    }
    match (quote, current) {
        (Some(_), Some(word)) => out.broken = Some(word.range),
        (_, current) => out.found.extend(current),
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(text: &str, quotes: Quotes) -> (Vec<String>, bool) {
        let words = words(text, quotes);
        (words.found.into_iter().map(|w| w.text).collect(), words.broken.is_some())
    }

    #[test]
    fn quotes_are_literal_or_removed() {
        let both = "\"a b\" 'c'd \"\" e\\ f";
        assert_eq!(split(both, Quotes::Literal).0, ["\"a", "b\"", "'c'd", "\"\"", "e f"]);
        assert_eq!(split(both, Quotes::Removed).0, ["a b", "cd", "", "e f"]);
    }

    #[test]
    fn what_comes_before_a_broken_word_counts() {
        assert_eq!(split("a \"b c", Quotes::Removed), (vec!["a".to_owned()], true));
        assert_eq!(split("a b\\", Quotes::Literal), (vec!["a".to_owned()], true));
    }

    #[test]
    fn white_space_is_that_of_systemd() {
        assert_eq!(split("a\u{a0}b\u{c}c\td", Quotes::Literal).0, ["a\u{a0}b\u{c}c", "d"]);
    }
}
