//! Text in lines.

use super::terminal::readable;
use console::measure_text_width;

/// Words in lines of so many columns, those after the first indented.
pub(super) fn fill(text: &str, columns: usize, indent: &str) -> String {
    fill_from("", text, columns, indent)
}

/// The same, behind a head that is there already.
pub(super) fn fill_from(head: &str, text: &str, columns: usize, indent: &str) -> String {
    fill_words(head, text.split_whitespace(), columns, indent)
}

/// The same with words that are told apart already.
pub(super) fn fill_words<'a>(
    head: &str,
    words: impl Iterator<Item = &'a str>,
    columns: usize,
    indent: &str,
) -> String {
    let mut out = head.to_owned();
    let mut at = measure_text_width(head.trim_start_matches('\n'));
    let mut fresh = true; // nothing to part the word from
    for word in words {
        let width = measure_text_width(&readable(word));
        if !fresh && at + 1 + width > columns {
            out.push('\n');
            out.push_str(indent);
            at = indent.len();
            fresh = true;
        }
        if !fresh {
            out.push(' ');
            at += 1;
        }
        out.push_str(word);
        at += width;
        fresh = false;
    }
    out.push('\n');
    out
}
