//! `--html`: the report as one page that needs nothing else, for a browser, a telephone, a printer, or whoever maintains
//! the package. It is made of the same values as people's text and `--json`.
//!
//! Whatever stands in it is escaped: maud writes no text that a browser would take for markup, and [`harmless`] has the
//! last look at the whole, as it has at what goes to a terminal. The page holds no script, and its Content-Security-Policy
//! lets a browser load nothing.

mod change;
mod clock;
mod course;
mod denials;
mod file;
mod lines;
mod matrix;
mod palette;
mod policy;
mod repair;
mod scan;
mod spans;

pub use file::PageFile;

use super::output::harmless;
use crate::rules::Rules;
use crate::syscalls::Groups;
use jiff::tz::TimeZone;
use maud::{DOCTYPE, Markup, PreEscaped, html};
use palette::Shade;

/// Writes pages.
pub struct Pages<'a> {
    /// What is known of calls.
    pub rules: &'a Rules,
    /// The groups of the systemd that it is about.
    pub groups: &'a Groups,
    /// The zone in which times are shown.
    pub zone: TimeZone,
}

/// A part of a page, with a title.
struct Section {
    id: &'static str,
    title: &'static str,
    body: Markup,
}

/// How it stands, in a word.
#[derive(Clone, Copy)]
struct State {
    word: &'static str,
    /// `good`, `bad` or `warn` of the style sheet.
    class: &'static str,
}

impl Pages<'_> {
    /// How risky a call is.
    fn shade(&self, call: &str) -> Shade {
        Shade::from(&self.rules.risk(call, self.groups))
    }

    /// What a call lets a program do.
    fn lets(&self, call: &str) -> String {
        let known = self.rules.lets(call, self.groups).map(str::to_owned);
        known.unwrap_or_else(|| self.rules.risk(call, self.groups).lets)
    }
}

/// A page: what it is about, how that stands, and its sections.
fn page(title: &str, state: State, lead: &Markup, sections: &[Section], made: &Markup) -> String {
    let markup = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                (PreEscaped("\n"))
                meta name="generator" content=(format!("{}{}", file::GENERATOR, env!("CARGO_PKG_VERSION")));
                meta http-equiv="Content-Security-Policy"
                    content="default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="referrer" content="no-referrer";
                title { (title) " – " (state.word) " – unitfix" }
                (PreEscaped("\n<style>\n"))
                (PreEscaped(palette::properties()))
                (PreEscaped(include_str!("style.css")))
                (PreEscaped("</style>\n"))
            }
            body {
                header {
                    p.kicker { "Report of unitfix " (env!("CARGO_PKG_VERSION")) }
                    h1 { (title) }
                    p { span.{"state " (state.class)} { (mark(state.class)) (state.word) } }
                    (lead)
                    @if sections.len() > 1 {
                        nav aria-label="On this page" {
                            ul { @for section in sections { li { a href={"#" (section.id)} { (section.title) } } } }
                        }
                    }
                }
                (PreEscaped("\n"))
                main {
                    @for section in sections {
                        section aria-labelledby=(section.id) {
                            h2 id=(section.id) { (section.title) }
                            (section.body)
                        }
                        (PreEscaped("\n"))
                    }
                }
                footer {
                    p { (made) }
                    p {
                        "Colours only repeat what words say. This page holds no script, and loads nothing. Names that "
                        "programs chose themselves are escaped: " code { "\\u{202e}" } " stands for a character that "
                        "would not just be shown."
                    }
                }
            }
        }
    };
    harmless(&markup.into_string(), false).into_owned() + "\n"
}

/// A drawing beside a word, which says nothing that the word does not.
fn mark(class: &str) -> Markup {
    let path = match class {
        "good" => "M2 9l4 4 8-10",
        "bad" => "M3 3l10 10M13 3L3 13",
        _ => "M8 2v8M8 13v1",
    };
    drawing(&html! {
        path d=(path) fill="none" stroke="currentColor" stroke-width="2.5" {}
    })
}

fn drawing(inside: &Markup) -> Markup {
    html! { svg viewBox="0 0 16 16" aria-hidden="true" focusable="false" { (inside) } }
}

/// A table that scrolls in a box of its own, where it is wider than the page.
fn table_box(label: &str, class: &str, table: &Markup) -> Markup {
    html! { div.{"box " (class)} role="region" aria-label=(label) tabindex="0" { (table) } }
}

/// A table of texts, whose rows stand among each other where there is little room: what it is has to be said then.
fn stacked(label: &str, heads: &[&str], rows: &Markup) -> Markup {
    let table = html! {
        table role="table" {
            thead role="rowgroup" {
                tr role="row" { @for head in heads { th scope="col" role="columnheader" { (head) } } }
            }
            tbody role="rowgroup" { (rows) }
        }
    };
    table_box(label, "stack", &table)
}

/// How risky, as a word on its colour.
fn chip(shade: Shade) -> Markup {
    html! { span.{"chip " (shade.class())} { (shade.word()) } }
}

/// Things behind a summary, where they are so many that they would bury the rest.
fn folded(many: bool, summary: &str, inside: &Markup) -> Markup {
    html! {
        @if many {
            details { summary { (summary) } div.inside { (inside) } }
        } @else {
            (inside)
        }
    }
}

/// `1 call`, `3 calls`.
fn counted(count: usize, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

/// A text in which what stands between backquotes is code.
fn prose(text: &str) -> Markup {
    let parts: Vec<&str> = text.split('`').collect();
    html! {
        @if parts.len().is_multiple_of(2) {
            (text) // one of them is alone
        } @else {
            @for (at, part) in parts.iter().enumerate() {
                @if at % 2 == 0 { (part) } @else { code { (part) } }
            }
        }
    }
}

/// A name or a path that may go on in a new line after each of its parts.
fn breakable(name: &impl ToString) -> Markup {
    let name = name.to_string();
    html! {
        @for (at, part) in name.split_inclusive(['/', '.', '@', '_']).enumerate() {
            @if at > 0 { wbr; }
            (part)
        }
    }
}

/// A text whose first letter is a capital one, unless it begins with a name.
fn sentence(text: &str) -> String {
    let word = text.split(' ').next().unwrap_or_default();
    if !word.chars().all(char::is_alphabetic) {
        return text.to_owned();
    }
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}

#[cfg(test)]
mod tests;
