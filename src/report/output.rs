//! Results go to standard output and messages to standard error. A reader that went away, or a terminal that was
//! closed, is no reason to stop half-way: `println!` would panic.
//!
//! Whatever a unit, a log, a file name or another program could smuggle into a text, no terminal is sent it: words that
//! are not trusted are escaped where they are taken in, and this is the last look at all of it. Nor is it sent
//! characters that whoever sits there does not have.

use super::fill::fill_words;
use super::{progress, terminal};
use crate::evidence::disturbs;
use console::measure_text_width;
use libc::EIO;
use std::borrow::Cow;
use std::io::{ErrorKind, Write as _};
use std::sync::OnceLock;

/// Print a result.
pub fn result(text: &str) {
    result_bytes(terminal::readable(&harmless(text, console::colors_enabled())).as_bytes());
}

/// Print a result that need not be UTF-8, as it is.
pub fn result_bytes(bytes: &[u8]) {
    progress::aside(|| {
        let mut out = std::io::stdout();
        match out.write_all(bytes).and_then(|()| out.flush()) {
            // EIO: the terminal was hung up
            Err(error) if error.kind() != ErrorKind::BrokenPipe && error.raw_os_error() != Some(EIO) => {
                let _ = UNWRITTEN.set(error.to_string()); // the first one is the one to tell
            }
            _ => {}
        }
    });
}

/// Why a result could not be printed; nothing: it was, or nobody reads it any more.
#[must_use]
pub fn unwritten() -> Option<&'static str> {
    UNWRITTEN.get().map(String::as_str)
}

static UNWRITTEN: OnceLock<String> = OnceLock::new();

/// Print a message.
pub fn message(text: &str) {
    let coloured = console::colors_enabled() || console::colors_enabled_stderr();
    progress::aside(|| {
        let text = harmless(text, coloured);
        let _ = std::io::stderr().write_all(terminal::readable(&text).as_bytes());
    });
}

/// Print a message in lines no longer than a terminal's, where it goes to one.
pub fn paragraph(text: &str) {
    message(&prose(text, terminal::columns(&console::Term::stderr())));
}

/// How many of the columns that there are prose takes.
pub(crate) fn prose_columns(columns: usize) -> usize {
    if columns == usize::MAX { columns } else { columns.min(80) }
}

/// A text in lines for so many columns, of which no more than 80 are easily read; text that is for no terminal has any.
/// What is indented is no prose, and stays as it is.
pub(crate) fn prose(text: &str, columns: usize) -> String {
    let columns = prose_columns(columns);
    let line = |line: &str| match line {
        line if line.starts_with(' ') || measure_text_width(line) <= columns => format!("{line}\n"),
        line => fill_words("", unbroken(line).into_iter(), columns, ""),
    };
    text.lines().map(line).collect()
}

/// The words of a line. A command to type is one of them, between backquotes or from a colon to the end, for half of it
/// could do harm.
fn unbroken(line: &str) -> Vec<&str> {
    let command = ["unitfix ", "sudo ", "git "].iter().filter_map(|program| {
        let at = line.find(&format!(": {program}"))?;
        Some(at + ": ".len())
    });
    let (text, command) = line.split_at(command.min().unwrap_or(line.len()));
    let mut quoted = false;
    let words = text.split(|c: char| {
        quoted ^= c == '`';
        c == ' ' && !quoted
    });
    words.chain([command]).filter(|word| !word.is_empty()).collect()
}

/// A text with everything escaped that is not just shown, but for colours where there may be some.
pub(crate) fn harmless(text: &str, coloured: bool) -> Cow<'_, str> {
    if !text.chars().any(disturbs) {
        return text.into();
    }
    let mut out = String::with_capacity(text.len() + 16);
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let length = colour(rest).filter(|_| coloured);
        if length.is_none() && disturbs(c) {
            out.extend(c.escape_default());
        } else {
            out.push_str(rest.get(..length.unwrap_or(c.len_utf8())).unwrap_or_default());
        }
        rest = rest.get(length.unwrap_or(c.len_utf8())..).unwrap_or_default();
    }
    out.into()
}

/// How long the colour is with which a text begins (SGR of console_codes(4)), if it begins with one.
fn colour(text: &str) -> Option<usize> {
    let numbers = text.strip_prefix("\u{1b}[")?;
    let end = numbers.find(|c: char| !c.is_ascii_digit() && c != ';')?;
    numbers.get(end..)?.starts_with('m').then_some("\u{1b}[".len() + end + "m".len())
}

/// A JSON text in which everything is escaped, as JSON has it, that a terminal would not just show, or does not have.
#[must_use]
pub fn harmless_json(text: &str) -> String {
    json_of(text, terminal::reads_utf8())
}

fn json_of(text: &str, utf8: bool) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if disturbs(c) || !(utf8 || c.is_ascii()) {
            let units = &mut [0; 2];
            out.extend(c.encode_utf16(units).iter().map(|unit| format!("\\u{unit:04x}")));
        } else {
            out.push(c);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_colours_pass() {
        let text = "\u{1b}[1;31mred\u{1b}[0m\t…\n\u{1b}[2J\u{1b}]0;x\u{7}\u{9b}31m\r\u{202e}é\u{7f}\u{1b}[31";
        let rest = "\t…\n\\u{1b}[2J\\u{1b}]0;x\\u{7}\\u{9b}31m\\r\\u{202e}é\\u{7f}\\u{1b}[31";
        assert_eq!(harmless(text, true), format!("\u{1b}[1;31mred\u{1b}[0m{rest}"));
        assert_eq!(harmless(text, false), format!("\\u{{1b}}[1;31mred\\u{{1b}}[0m{rest}"));
        assert!(matches!(harmless("plain – text\n", false), Cow::Borrowed(_)));
    }

    #[test]
    fn commands_stay_whole() {
        let text = "Repaired: it ran for 10 s and no call of it was denied; it is as it should be now.\n\
                    Undo: unitfix revert app.service --root '/somewhere/with a  space/that is far too long to fit in here'\n  \
                    | an indented line stays as it is, whatever   it has and however long it may be, or so\n\
                    it needs this: sudo unitfix app.service\n";
        assert_eq!(prose(text, usize::MAX), text);
        assert_eq!(
            prose(text, 200),
            "Repaired: it ran for 10 s and no call of it was denied; it is as it should be\nnow.\nUndo:\n\
             unitfix revert app.service --root '/somewhere/with a  space/that is far too long to fit in here'\n  \
             | an indented line stays as it is, whatever   it has and however long it may be, or so\n\
             it needs this: sudo unitfix app.service\n"
        );
        assert_eq!(
            prose("run `systemctl --user  daemon-reload`, please", 30),
            "run\n`systemctl --user  daemon-reload`,\nplease\n"
        );
    }

    #[test]
    fn json_means_the_same() {
        let value = serde_json::Value::from("\u{9b}31m\u{202e}\u{e0041}\u{7f}é\n");
        for utf8 in [true, false] {
            let text = json_of(&value.to_string(), utf8);
            assert!(!text.chars().any(disturbs), "{text}");
            assert!(utf8 || text.is_ascii(), "{text}");
            assert_eq!(serde_json::from_str::<serde_json::Value>(&text).unwrap(), value);
        }
    }
}
