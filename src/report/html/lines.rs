//! Lines of files: the word of a unit that decided, and what is changed.

use super::super::people::deciding;
use super::super::{DenialRow, TokenRow};
use maud::{Markup, html};

/// Each word that decided, in its line, with what it decided.
pub(super) fn decisions(rows: &[DenialRow]) -> Markup {
    html! {
        @for (token, words) in deciding(rows) {
            (place(token))
            p.small { (words) "." }
        }
    }
}

/// A word in its line, and where that is.
pub(super) fn place(token: &TokenRow) -> Markup {
    let length = usize::try_from(token.length).unwrap_or(1).max(1);
    let part = |from: usize, count: usize| token.text.chars().skip(from).take(count).collect::<String>();
    html! {
        p.place.small { code { (token.location()) } }
        pre { code {
            (part(0, token.caret)) mark.mark { (part(token.caret, length)) } (part(token.caret + length, usize::MAX))
        } }
    }
}

/// A unified diff. What a line does is said by its first character as well as by its colour.
pub(super) fn diff(text: &str) -> Markup {
    let class = |line: &str| match line.as_bytes().first() {
        _ if line.starts_with("+++") || line.starts_with("---") => "file",
        Some(b'+') => "add",
        Some(b'-') => "del",
        Some(b'@') => "hunk",
        _ => "same",
    };
    html! {
        pre.diff { code { @for line in text.lines() { span.(class(line)) { (line) "\n" } } } }
    }
}
