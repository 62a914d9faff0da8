//! The time line: what happened to the unit, and what unitfix did about it.

use super::super::people::who;
use super::{Pages, counted, prose};
use crate::evidence::Untrusted;
use crate::report::{Deed, DenialRow, Report, Step};
use maud::{Markup, html};

/// So many denied calls are shown one by one; of more, what happened to each program.
const ONE_BY_ONE: usize = 8;

/// Something that happened.
struct Event {
    from: u64,
    to: u64,
    /// `bad`, `good` or nothing.
    class: &'static str,
    words: Markup,
}

impl Pages<'_> {
    /// What happened, day by day.
    pub(super) fn course(&self, report: &Report) -> Markup {
        let mut events = upgrades(&report.denials);
        events.extend(denials(&report.denials));
        events.extend(report.course.iter().map(step));
        events.sort_by_key(|event| event.from); // stable: what was done stays in order
        let mut days: Vec<(String, Vec<&Event>)> = Vec::new();
        for event in &events {
            let day = self.day(event.from);
            match days.last_mut() {
                Some((last, events)) if *last == day => events.push(event),
                _ => days.push((day, vec![event])),
            }
        }
        html! {
            ol.days {
                @for (day, events) in &days {
                    li.day {
                        h3 { (day) }
                        ol.events {
                            @for event in events {
                                li.(event.class) {
                                    div.at { (self.clocks(event.from, event.to)) }
                                    div.what { (event.words) }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// The last change of each program's package.
fn upgrades(rows: &[DenialRow]) -> Vec<Event> {
    let mut seen: Vec<&Untrusted> = Vec::new();
    let mut out = Vec::new();
    for package in rows.iter().filter_map(|row| row.package.as_ref()).map(|row| &row.package) {
        let Some(change) = package.change.as_ref().filter(|_| !seen.contains(&&package.name)) else {
            continue;
        };
        seen.push(&package.name);
        let words = html! {
            "Package " strong { (package.name) }
            @match &change.from {
                Some(from) => { " upgraded from " (from) " to " (package.version) },
                None => { " " (package.version) " installed" },
            }
        };
        out.push(Event { from: change.time, to: change.time, class: "", words });
    }
    out
}

/// What was denied by the unit's own filter; not what a replay let through.
fn denials(rows: &[DenialRow]) -> Vec<Event> {
    let rows: Vec<&DenialRow> =
        rows.iter().filter(|row| row.effect != "denied" && row.first.is_some()).collect();
    let programs = rows.len() > ONE_BY_ONE;
    let mut groups: Vec<Vec<&DenialRow>> = Vec::new();
    for row in rows {
        let same = |group: &&mut Vec<&DenialRow>| {
            programs
                && group.first().is_some_and(|first| (who(first), first.effect) == (who(row), row.effect))
        };
        match groups.iter_mut().find(same) {
            Some(group) => group.push(row),
            None => groups.push(vec![row]),
        }
    }
    groups.iter().filter_map(|group| event(group)).collect()
}

fn event(group: &[&DenialRow]) -> Option<Event> {
    let one = group.first()?;
    let from = group.iter().filter_map(|row| row.first).min()?;
    let to = group.iter().filter_map(|row| row.last).max()?;
    let count = group.iter().map(|row| row.count).sum();
    let times = counted(count, "time", "times");
    let words = html! {
        strong { (who(one)) }
        @if one.effect == "killed" { " was killed" } @else { " was denied" }
        @if count > 1 { " " (times) }
        @if group.len() == 1 { " for " code { (one.call) } } @else { " for " (group.len()) " different calls" }
    };
    Some(Event { from, to, class: if one.effect == "killed" { "bad" } else { "" }, words })
}

fn step(step: &Step) -> Event {
    let class = match step.deed {
        Deed::Verified => "good",
        Deed::TakenBack => "bad",
        _ => "",
    };
    let words = html! { strong { (step.deed.words()) } ": " (prose(&Untrusted::new(step.words.as_str()).to_string())) };
    Event { from: step.began, to: step.ended, class, words }
}
