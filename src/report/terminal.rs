//! What the terminal can show, and what whoever reads the text there can: its characters, its columns, and whether
//! anything can be drawn on it.

use console::{Term, measure_text_width};
use std::borrow::Cow;
use std::sync::OnceLock;

/// Columns of a terminal that does not tell how many it has, as one behind a serial line.
const COLUMNS: usize = 80;

/// What stands for characters outside of ASCII where there are no others. What is not among them becomes a `?` for
/// each column, so that what stands below it still does.
const SPELT: [(char, &str); 9] = [
    ('…', "..."),
    ('→', "->"),
    ('–', "-"),
    ('—', "-"),
    ('‘', "'"),
    ('’', "'"),
    ('“', "\""),
    ('”', "\""),
    ('µ', "u"),
];

/// Whether text is read as UTF-8. Otherwise only ASCII is printed, which every character set holds.
#[must_use]
pub(crate) fn reads_utf8() -> bool {
    static ANSWER: OnceLock<bool> = OnceLock::new();
    *ANSWER.get_or_init(|| is_utf8(|name| std::env::var(name).ok()))
}

/// The same, by the variables of locale(7), as systemd sees it (`is_locale_utf8()`, src/basic/locale-util.c): where
/// none of them says anything, it is.
fn is_utf8(variable: impl Fn(&str) -> Option<String>) -> bool {
    let set = |name| variable(name).filter(|value| !value.is_empty());
    let Some(locale) = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().find_map(set) else { return true };
    let locale = locale.split('@').next().unwrap_or_default();
    let codeset = locale.split_once('.').map_or("", |(_, codeset)| codeset);
    ["utf-8", "utf8"].iter().any(|name| codeset.eq_ignore_ascii_case(name))
}

/// A text as whoever reads it can: in ASCII where it is not read as UTF-8.
#[must_use]
pub(crate) fn readable(text: &str) -> Cow<'_, str> {
    if reads_utf8() { text.into() } else { in_ascii(text) }
}

fn in_ascii(text: &str) -> Cow<'_, str> {
    if text.is_ascii() {
        return text.into();
    }
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match SPELT.iter().find(|(spelt, _)| *spelt == c) {
            _ if c.is_ascii() => out.push(c),
            Some((_, instead)) => out.push_str(instead),
            None => out.extend(std::iter::repeat_n('?', measure_text_width(c.encode_utf8(&mut [0; 4])))),
        }
    }
    out.into()
}

/// What stands for what was cut off.
#[must_use]
pub(crate) fn ellipsis() -> &'static str {
    if reads_utf8() { "…" } else { "..." }
}

/// How many columns a line may have: those of the terminal; any, of what is no terminal.
#[must_use]
pub(crate) fn columns(term: &Term) -> usize {
    match term.size_checked() {
        Some((_, columns)) => columns.into(),
        None if term.is_term() => COLUMNS,
        None => usize::MAX,
    }
}

/// Whether the cursor can be moved there: it is a terminal, and none that only prints what it is sent (`TERM=dumb`, or
/// none at all).
#[must_use]
pub(crate) fn can_be_drawn_on(term: &Term) -> bool {
    let named = std::env::var("TERM").is_ok_and(|name| !name.is_empty() && name != "dumb");
    named && term.is_term()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locales_are_read_as_systemd_reads_them() {
        let with = |set: &[(&str, &str)]| {
            is_utf8(|name| set.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned()))
        };
        assert!(with(&[]));
        assert!(with(&[("LC_ALL", ""), ("LANG", "")]));
        assert!(with(&[("LANG", "C.UTF-8")]));
        assert!(with(&[("LANG", "de_DE.utf8@euro")]));
        assert!(with(&[("LC_ALL", "en_GB.UTF-8"), ("LANG", "C")]));
        assert!(!with(&[("LC_ALL", "C"), ("LANG", "en_GB.UTF-8")]));
        assert!(!with(&[("LC_CTYPE", "de_DE.ISO-8859-1"), ("LANG", "en_GB.UTF-8")]));
        assert!(!with(&[("LANG", "de_DE@euro")]));
        assert!(!with(&[("LANG", "POSIX")]));
    }

    #[test]
    fn everything_has_a_spelling() {
        assert_eq!(in_ascii("main → chown … “é” 漢\u{1b}[1m"), "main -> chown ... \"?\" ??\u{1b}[1m");
        assert!(matches!(in_ascii("plain"), Cow::Borrowed(_)));
    }
}
