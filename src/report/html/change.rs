//! The repair: what it does and gives away, the diff, what speaks for it, and what else is possible.

use super::super::repair::{CandidateRow, RepairRow, SUSPICION};
use super::palette::Shade;
use super::repair::{done, standing};
use super::{Pages, chip, folded, lines, prose, sentence, stacked};
use crate::plan::Proof;
use crate::report::{Deed, Report};
use crate::rules::Power;
use maud::{Markup, html};
use std::cmp::Reverse;

/// So many calls are read at a glance with what each gives away.
const AT_A_GLANCE: usize = 12;

impl Pages<'_> {
    /// What is changed.
    pub(super) fn repair(report: &Report) -> Markup {
        html! {
            @if let Some(row) = &report.repair {
                p.lead { strong { (sentence(&row.proposed.words)) "." } }
                @if let Some(words) = standing(report) { p { strong { (words) } } }
                (Self::powers(&row.proposed))
                (looks(row))
                (notes(row))
            }
            @if let Some(diff) = report.patch.as_ref().or(report.diff.as_ref()) {
                h3 { @if report.patch.is_some() { "As a patch of the unit" } @else { "As a diff" } }
                (lines::diff(diff))
            }
        }
    }

    /// What it gives away, the riskiest first.
    fn powers(row: &CandidateRow) -> Markup {
        let mut adding: Vec<&Power> = row.opens.iter().filter(|power| power.adds.is_some()).collect();
        adding.sort_by_key(|power| Reverse(Shade::from(&power.risk)));
        let free: Vec<&Power> = row.opens.iter().filter(|power| power.adds.is_none()).collect();
        let nothing = row.opens.is_empty() && row.settings.is_empty() && !row.softened.is_empty();
        let list = html! {
            ul {
                @for power in &adding {
                    li {
                        (chip(Shade::from(&power.risk))) " " code { (power.call) } " lets a program "
                        (power.adds.as_deref().unwrap_or_default())
                    }
                }
                @for setting in &row.settings {
                    li {
                        span.chip.{@if setting.high { "high" } @else { "plain" }} {
                            @if setting.high { "high risk" } @else { (setting.tier.word()) }
                        }
                        " " code { (setting.line) } " lets a program " (setting.lets)
                        @if let Some(why) = &setting.narrower { " (nothing narrower: " (why) ")" }
                    }
                }
                @for power in &free { li { "No power is added by " code { (power.call) } ": " (power.because) } }
                @if nothing { li { "No power is added: nothing is allowed that was forbidden" } }
            }
        };
        folded(row.opens.len() > AT_A_GLANCE, "What each call gives away", &list)
    }

    /// What was seen.
    pub(super) fn proof(report: &Report) -> Option<Markup> {
        let proof = report.repair.as_ref().map(|row| &row.proposed.proof);
        let refuted = report.repair.as_ref().map(|row| row.refuted.as_slice()).unwrap_or_default();
        let replay = report.replay.as_ref();
        if replay.is_none() && report.verdict.is_none() && report.repair.is_none() {
            return None;
        }
        Some(html! {
            dl.told {
                @if let Some(replay) = replay {
                    dt { strong { "Run with every call let through" } }
                    dd {
                        (super::counted(replay.denied, "call was", "calls were")) " denied in "
                        @if replay.seconds < 1.0 { "less than a second" } @else { (format!("{:.0} s", replay.seconds)) }
                        " (seen by: " (replay.engine) "), "
                        @if replay.lossy { span.bad-word { "records were lost" } } @else { "nothing was lost" }
                        "; the unit: " (replay.outcome) "."
                        @for note in &replay.notes { br; "Note: " (note) }
                    }
                }
                @match proof {
                    Some(Proof::Shown(how)) => {
                        dt { strong { @if done(report, Deed::TakenBack) { "Before it was written" } @else { "Proven" } } }
                        dd { (prose(&sentence(how))) "." }
                     },
                    Some(Proof::Refuted(why)) => { dt { strong { "Refuted" } } dd { (prose(&sentence(why))) "." } },
                    Some(Proof::None) if replay.is_none() => {
                        dt { strong { "Not proven" } }
                        dd { "The unit was not run: this was judged from the kernel's records alone." }
                    }
                    _ => {},
                }
                @if let Some(verdict) = report.verdict.as_ref().filter(|how| !matches!(proof, Some(Proof::Shown(same)) if same == *how)) {
                    dt { strong { "After it was written" } }
                    dd { (prose(&sentence(verdict))) "." }
                }
                @for row in refuted {
                    @if let Proof::Refuted(why) = &row.proof {
                        dt { strong { "Tried, and not offered: " } (row.deed) }
                        dd { (prose(&sentence(why))) "." }
                    }
                }
            }
        })
    }

    /// The other changes that are possible.
    pub(super) fn others(row: &RepairRow) -> Option<Markup> {
        if row.others.is_empty() {
            return None;
        }
        let shown = html! {
            @for other in &row.others {
                tr role="row" {
                    th scope="row" role="rowheader" { (other.kind.name()) }
                    td role="cell" data-label="Calls:" { "+" (other.opens.len()) }
                    td role="cell" data-label="Gives away:" {
                        @if other.high_risk.is_empty() {
                            (other.gives_away())
                        } @else {
                            span.chip.high { "high risk" }
                        }
                    }
                    td role="cell" data-label="Proof:" { (other.proof_word()) }
                    td.words role="cell" { (other.deed) }
                }
            }
        };
        let heads = ["Kind", "Calls", "Gives away", "Proof", "Change"];
        Some(html! {
            p { "Each can be asked for with " code { "--prefer" } " and its kind." }
            (stacked("Other changes that are possible", &heads, &shown))
        })
    }
}

/// Where to look, before a call that hands over the system is allowed.
fn looks(row: &RepairRow) -> Markup {
    html! {
        @if !row.proposed.high_risk.is_empty() {
            div.alert role="note" {
                p { strong { "High risk. " } (SUSPICION.split_whitespace().collect::<Vec<_>>().join(" ")) }
                ul { @for look in &row.look { li { code { (look.command) } " – " (look.tells) } } }
            }
        }
    }
}

fn notes(row: &RepairRow) -> Markup {
    let lists = [
        ("No setting of this system can allow", &row.inexpressible),
        ("Left to fail softly, as the unit says", &row.soft),
        ("Left forbidden, because it works without", &row.spared),
    ];
    html! {
        @for (words, calls) in lists.into_iter().filter(|(_, calls)| !calls.is_empty()) {
            p { (words) ": " code { (calls.join(", ")) } "." }
        }
        @if row.leaves_no_filter {
            p { "That is all that the filter forbids: with it, the unit has no filter any more." }
        }
        @if let Some(note) = &row.note { p { "Not as asked for: " (note) "." } }
    }
}
