//! The matrix: who was denied which calls, and how risky those are. The riskiest stand first.

use super::palette::Shade;
use super::{Pages, drawing, table_box};
use crate::report::DenialRow;
use crate::syscalls::Arch;
use maud::{Markup, html};
use std::cmp::Reverse;
use std::collections::BTreeMap;

/// So many calls have a column of their own; those denied least often do not.
const COLUMNS: usize = 60;

/// With more columns it is printed small, on a page that lies.
const WIDE: usize = 10;

/// So many rows are shown.
const ROWS: usize = 200;

/// A row: who, and what was denied to it.
pub(super) struct Row<'a> {
    /// Who.
    pub label: Markup,
    /// What.
    pub denials: &'a [DenialRow],
    /// So many were killed for a call that is not on record.
    pub unknown: u64,
}

/// A column: a call.
type Column = (Reverse<Shade>, String);

/// How often what became of a call of somebody.
#[derive(Clone, Copy, Default)]
struct Cell {
    killed: usize,
    denied: usize,
    logged: usize,
}

impl Cell {
    fn add(&mut self, row: &DenialRow) {
        let count = match row.effect {
            "killed" => &mut self.killed,
            "logged" => &mut self.logged,
            _ => &mut self.denied,
        };
        *count = count.saturating_add(row.count);
    }

    fn shown(self) -> Markup {
        let signs = [("killed", self.killed), ("denied", self.denied), ("logged", self.logged)];
        html! {
            @for (effect, count) in signs.into_iter().filter(|(_, count)| *count > 0) {
                span.sign title=(format!("{effect} {}", super::counted(count, "time", "times"))) {
                    span.hidden { (effect) " " } (sign(effect)) (count) " "
                }
            }
        }
    }
}

/// What became of a call, as a drawing; a word stands beside it.
pub(super) fn sign(effect: &str) -> Markup {
    let (path, round) = match effect {
        "killed" => ("M3 3l10 10M13 3L3 13", false),
        "logged" => ("", true),
        _ => ("M4 12L12 4", true),
    };
    drawing(&html! {
        @if round { circle cx="8" cy="8" r="6" fill="none" stroke="currentColor" stroke-width="2" {} }
        path d=(path) fill="none" stroke="currentColor" stroke-width="2" {}
    })
}

/// A call as a column is headed: with its architecture, where that is another one than this system's.
pub(super) fn call_of(row: &DenialRow) -> String {
    if row.architecture == Arch::native() {
        row.call.clone()
    } else {
        format!("{} [{}]", row.call, row.architecture)
    }
}

impl Pages<'_> {
    fn column(&self, row: &DenialRow) -> Column {
        (Reverse(self.shade(&row.call)), call_of(row))
    }

    /// The columns, the riskiest first, and whether that is not all of them.
    fn columns(&self, rows: &[Row]) -> (Vec<Column>, usize) {
        let mut often: BTreeMap<Column, usize> = BTreeMap::new();
        for denial in rows.iter().flat_map(|row| row.denials) {
            *often.entry(self.column(denial)).or_default() += denial.count;
        }
        let mut columns: Vec<(Column, usize)> = often.into_iter().collect();
        columns.sort_by_key(|(_, count)| Reverse(*count)); // stable
        let more = columns.split_off(columns.len().min(COLUMNS)).len();
        let mut columns: Vec<Column> = columns.into_iter().map(|(column, _)| column).collect();
        columns.sort();
        (columns, more)
    }

    /// The matrix of these rows; `who` names what they are.
    pub(super) fn matrix(&self, who: &str, rows: &[Row]) -> Markup {
        let (columns, more) = self.columns(rows);
        let mut tiers: Vec<(Shade, usize)> = Vec::new();
        for (Reverse(shade), _) in &columns {
            match tiers.last_mut() {
                Some((last, count)) if last == shade => *count += 1,
                _ => tiers.push((*shade, 1)),
            }
        }
        let nameless = rows.iter().any(|row| row.unknown > 0);
        let table = html! {
            table {
                thead {
                    tr {
                        td {}
                        @for (shade, count) in &tiers {
                            th.{"tier " (shade.class())}.single[*count == 1] scope="colgroup" colspan=(count) {
                                span { (shade.word()) }
                            }
                        }
                        @if nameless { th.tier.plain.single scope="colgroup" { span { "unknown" } } }
                    }
                    tr {
                        th scope="col" { (who) }
                        @for (_, call) in &columns { th.call scope="col" { span { (call) } } }
                        @if nameless { th.call scope="col" { span { "not on record" } } }
                    }
                }
                tbody {
                    @for row in rows.iter().take(ROWS) {
                        tr {
                            th scope="row" { (row.label) }
                            (self.cells(row, &columns))
                            @if nameless { (unnamed(row)) }
                        }
                    }
                }
            }
        };
        html! {
            (table_box(&format!("{who} by calls"), if columns.len() > WIDE { "matrix wide" } else { "matrix" }, &table))
            ul.legend {
                @for (effect, words) in LEGEND.into_iter().filter(|(effect, _)| happened(rows, effect)) { li { span.sign { (sign(effect)) } " " (words) } }
            }
            ul.legend {
                @for (shade, _) in &tiers { li { (super::chip(*shade)) " lets a program " (shade.lets()) } }
            }
            @if more > 0 { p.muted { (super::counted(more, "more call is", "more calls are")) " not shown here." } }
            @if rows.len() > ROWS { p.muted { (rows.len() - ROWS) " more rows are not shown here." } }
        }
    }

    fn cells(&self, row: &Row, columns: &[Column]) -> Markup {
        let mut cells: BTreeMap<Column, Cell> = BTreeMap::new();
        for denial in row.denials {
            cells.entry(self.column(denial)).or_default().add(denial);
        }
        html! {
            @for column in columns {
                @match cells.get(column) {
                    Some(cell) => td.(column.0.0.class()) { (cell.shown()) },
                    None => td.none { span.hidden { "none" } },
                }
            }
        }
    }
}

/// The cell of those that were killed for a call that is not on record.
fn unnamed(row: &Row) -> Markup {
    let killed = usize::try_from(row.unknown).unwrap_or(usize::MAX);
    html! {
        @if killed > 0 {
            td.plain { (Cell { killed, ..Cell::default() }.shown()) }
        } @else {
            td.none { span.hidden { "none" } }
        }
    }
}

/// Whether a drawing is in the matrix.
fn happened(rows: &[Row], effect: &str) -> bool {
    let kind = |row: &DenialRow| match row.effect {
        known @ ("killed" | "logged") => known,
        _ => "denied",
    };
    let unnamed = effect == "killed" && rows.iter().any(|row| row.unknown > 0);
    unnamed || rows.iter().flat_map(|row| row.denials).any(|row| kind(row) == effect)
}

/// What the drawings stand for.
const LEGEND: [(&str, &str); 3] =
    [("killed", "killed, so often"), ("denied", "failed, or would be denied"), ("logged", "logged only")];
