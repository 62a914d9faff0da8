//! The policy of the unit before and after the repair.

use super::{Pages, chip, counted, folded, lines, stacked};
use crate::report::{ChangedCall, Counts, PolicyChange};
use crate::syscalls::Arch;
use maud::{Markup, html};

/// So many changed calls are read at a glance.
const AT_A_GLANCE: usize = 20;

impl Pages<'_> {
    /// How many calls get which answer, which get another one, and by which words; `standing` says that the repair is
    /// not in force.
    pub(super) fn policy(&self, change: &PolicyChange, standing: Option<&str>) -> Markup {
        let changed = &change.changed;
        html! {
            p {
                "What all settings of the unit together let the " (Arch::native().to_string())
                " system calls do, by the rules of systemd " (change.systemd) "."
                @if change.own_left_out { " The drop-in that unitfix wrote before is left out: the patch is to stand in for it." }
            }
            @if let Some(words) = standing.filter(|_| change.after.is_some()) {
                p { "“After” is with the repair. " (words) }
            }
            div.compare {
                (counts(if change.after.is_some() { "Before" } else { "Now" }, &change.before))
                @if let Some(after) = &change.after { (counts("After", after)) }
            }
            @if change.after.is_some() {
                p { strong {
                    @match changed.len() {
                        0 => "Every call gets the same answer as before.",
                        n => { (counted(n, "call gets", "calls get")) " another answer; all others get the same as before." }
                    }
                } }
            }
            @if !changed.is_empty() {
                (folded(changed.len() > AT_A_GLANCE, "All calls that get another answer", &self.changed(changed)))
                h3 { "The words that decide" }
                (words("Before", changed, |row| row.decided_before.as_ref()))
                (words("After", changed, |row| row.decided_after.as_ref()))
            }
        }
    }

    fn changed(&self, rows: &[ChangedCall]) -> Markup {
        let shown = html! {
            @for row in rows {
                tr role="row" {
                    th scope="row" role="rowheader" {
                        code { (row.call) }
                        @if row.architectures != [Arch::native()] {
                            br;
                            span.muted.small {
                                "on " (crate::plan::list(row.architectures.iter().map(ToString::to_string)))
                            }
                        }
                    }
                    td role="cell" data-label="Group:" {
                        @if let Some(group) = &row.group { code { (group) } } @else { "none" }
                    }
                    td role="cell" { (chip(self.shade(&row.call))) }
                    td role="cell" data-label="Before:" { (answers(&row.before)) }
                    td role="cell" data-label="After:" { (answers(&row.after)) }
                }
            }
        };
        stacked("Calls that get another answer", &["Call", "Group", "Risk", "Before", "After"], &shown)
    }
}

fn answers(cases: &[String]) -> Markup {
    html! {
        @for (at, case) in cases.iter().enumerate() { @if at > 0 { br; } (case) }
        @if cases.is_empty() { span.muted { "nothing more" } }
    }
}

fn counts(title: &str, counts: &Counts) -> Markup {
    let rows = [
        ("allowed", counts.allowed),
        ("allowed or not, by their arguments", counts.depending),
        ("fail with an errno", counts.failing),
        ("kill the process", counts.killing),
    ];
    html! {
        div {
            h3 { (title) }
            dl { @for (words, count) in rows { dt { (words) } dd { (count) } } }
        }
    }
}

/// Each word once, with how many of the calls it decides.
fn words<'r>(
    title: &str,
    rows: &'r [ChangedCall],
    token: impl Fn(&'r ChangedCall) -> Option<&'r crate::report::TokenRow>,
) -> Markup {
    let mut seen: Vec<(&crate::report::TokenRow, Vec<&str>)> = Vec::new();
    for row in rows {
        let Some(token) = token(row) else { continue };
        let place = |t: &crate::report::TokenRow| (t.file.clone(), t.line, t.column);
        match seen.iter_mut().find(|(other, _)| place(other) == place(token)) {
            Some((_, calls)) => calls.push(&row.call),
            None => seen.push((token, vec![&row.call])),
        }
    }
    html! {
        h4 { (title) }
        @if seen.is_empty() { p.muted.small { "No word of the unit: nothing names these calls." } }
        @for (token, calls) in &seen {
            (lines::place(token))
            @match calls.as_slice() {
                [one] => p.small { "decides about " code { (one) } },
                several => p.small { "decides about " (several.len()) " of them" },
            }
        }
    }
}
