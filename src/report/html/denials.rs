//! The denied calls: a table, and the words of the unit that decided.

use super::super::people::who;
use super::matrix::{Row, call_of, sign};
use super::{Pages, breakable, chip, folded, lines, stacked};
use crate::report::DenialRow;
use maud::{Markup, html};
use std::collections::BTreeSet;

/// So many rows are read at a glance.
const AT_A_GLANCE: usize = 25;

impl Pages<'_> {
    /// The table of these rows, and below it the words that decided.
    pub(super) fn denials(&self, rows: &[DenialRow]) -> Markup {
        html! {
            (self.table(rows))
            (lines::decisions(rows))
        }
    }

    /// A row for each program and call.
    pub(super) fn table(&self, rows: &[DenialRow]) -> Markup {
        let shown = html! { @for row in rows { (self.row(row)) } };
        let heads = ["What became of it", "Program", "Call", "Times", "When"];
        let table = stacked("Denied calls", &heads, &shown);
        let summary = super::counted(rows.len(), "denied call", "denied calls");
        folded(rows.len() > AT_A_GLANCE, &summary, &table)
    }

    fn row(&self, row: &DenialRow) -> Markup {
        html! {
            tr role="row" {
                td.nowrap role="cell" { span.sign.bad-word { (sign(row.effect)) (row.effect) } }
                td.who role="cell" {
                    (who(row))
                    @if let Some(exe) = &row.exe { br; code.muted { (breakable(exe)) } }
                    @if let Some(stack) = row.stack.short() { br; span.muted.small { "called by " code { (stack) } } }
                    @if let Some(package) = &row.package { br; span.muted.small { "from " (package.words) } }
                }
                td.words role="cell" {
                    code { (call_of(row)) } " " (chip(self.shade(&row.call)))
                    @if !row.arguments.is_empty() { br; code.muted { (row.call) "(" (row.arguments.join(", ")) ")" } }
                    br; span.muted.small { "lets a program " (self.lets(&row.call)) }
                }
                td role="cell" data-label="Times:" { (row.count) }
                td role="cell" { (self.span(row.first, row.last)) }
            }
        }
    }

    /// Programs by calls, where there is more than one call of one program.
    pub(super) fn programs(&self, rows: &[DenialRow]) -> Option<Markup> {
        let mut names: Vec<String> = Vec::new();
        for row in rows {
            let name = who(row);
            if !names.contains(&name) {
                names.push(name);
            }
        }
        let calls: BTreeSet<&str> = rows.iter().map(|row| row.call.as_str()).collect();
        if names.len() < 2 && calls.len() < 2 {
            return None;
        }
        let of = |name: &String| rows.iter().filter(|row| who(row) == *name).cloned().collect::<Vec<_>>();
        let by_program: Vec<Vec<DenialRow>> = names.iter().map(of).collect();
        let rows: Vec<Row> = names
            .iter()
            .zip(&by_program)
            .map(|(name, denials)| Row { label: breakable(name), denials, unknown: 0 })
            .collect();
        Some(self.matrix("Program", &rows))
    }
}
