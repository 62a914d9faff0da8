//! The page of a scan: units by calls, when, and what can be done about each.

use super::matrix::Row;
use super::repair::findings;
use super::spans::Span;
use super::{Pages, Section, State, breakable, counted, lines, page};
use crate::evidence::Untrusted;
use crate::report::{DenialRow, Forbids, NobodysRow, Part, ScanReport, ScannedUnit};
use maud::{Markup, html};

/// So many units are unfolded from the start.
const UNFOLDED: usize = 3;

/// So many programs that are nobody's are shown.
const PROGRAMS: usize = 50;

impl Pages<'_> {
    /// The page of what a scan found, made at this time (microseconds since the epoch).
    #[must_use]
    pub fn of_scan(&self, report: &ScanReport, made: u64) -> String {
        let mut sections = Vec::new();
        let mut add = |id, title, body: Option<Markup>| {
            sections.extend(body.map(|body| Section { id, title, body }));
        };
        add("matrix", "Units by calls", report.found_something().then(|| self.units_by_calls(report)));
        add("time", "Time line", self.when(report));
        add("units", "Units", (!report.units.is_empty()).then(|| self.units(&report.units)));
        add("nobodys", "Programs of unknown units", self.nobodys(&report.unattributed));
        add("beside", "Beside that", beside(report));
        add("findings", "Findings", findings(&report.findings));
        if sections.is_empty() {
            let body = html! { p { "Nothing that was read holds a record of a denied call." } };
            sections.push(Section { id: "nothing", title: "Nothing", body });
        }
        let lead = html! {
            p.lead { (report.what()) (self.range(report)) "." }
            @if report.incomplete { p { strong { "Interrupted: this is what was found until then, and there may be more." } } }
        };
        let made = html! {
            "Made by unitfix " (report.unitfix) " on " (self.with_zone(made)) " from "
            (counted(usize::try_from(report.read.denials).unwrap_or(usize::MAX), "record", "records"))
            " of denied calls. Times are those of the zone of this system then."
        };
        page("Scan for denied system calls", state(report), &lead, &sections, &made)
    }

    fn range(&self, report: &ScanReport) -> Markup {
        html! {
            @match (report.since, report.until) {
                (None, None) => {},
                (Some(since), None) => { " since " (self.full(since)) },
                (None, Some(until)) => { " until " (self.full(until)) },
                (Some(since), Some(until)) => { " from " (self.full(since)) " to " (self.full(until)) },
            }
        }
    }

    fn units_by_calls(&self, report: &ScanReport) -> Markup {
        let units = report.units.iter().enumerate().map(|(at, unit)| Row {
            label: html! { a href={"#unit-" (at + 1)} { (breakable(&unit.unit)) } (on(unit.host.as_ref(), unit.told_apart)) },
            denials: &unit.part.calls,
            unknown: unit.part.calls_unknown,
        });
        let nobodys = report.unattributed.iter().map(|row| Row {
            label: html! { em { "unknown unit: " } (breakable(&row.program)) (on(row.host.as_ref(), row.told_apart)) },
            denials: &row.part.calls,
            unknown: row.part.calls_unknown,
        });
        self.matrix("Unit", &units.chain(nobodys).collect::<Vec<_>>())
    }

    fn when(&self, report: &ScanReport) -> Option<Markup> {
        let span = |label: Markup, part: &Part| Some(Span { label, first: part.first?, last: part.last? });
        let units = report.units.iter();
        let units = units.filter_map(|unit| {
            span(html! { (unit.unit) (on(unit.host.as_ref(), unit.told_apart)) }, &unit.part)
        });
        let nobodys = report.unattributed.iter();
        let nobodys = nobodys.filter_map(|row| {
            span(
                html! { em { "unknown unit: " } (row.program) (on(row.host.as_ref(), row.told_apart)) },
                &row.part,
            )
        });
        let spans = self.spans(units.chain(nobodys).collect())?;
        Some(html! { p { "From the first to the last denied call of each." } (spans) })
    }

    fn units(&self, units: &[ScannedUnit]) -> Markup {
        html! {
            @for (at, unit) in units.iter().enumerate() {
                details id={"unit-" (at + 1)} open[at < UNFOLDED || units.len() <= 2 * UNFOLDED] {
                    summary {
                        h3 { (unit.unit) (on(unit.host.as_ref(), unit.told_apart)) }
                        " " span.muted { (totals(&unit.part)) @if !unit.is_open() { ", nothing to repair" } }
                    }
                    div.inside { (self.unit(unit)) }
                }
            }
        }
    }

    fn unit(&self, unit: &ScannedUnit) -> Markup {
        let decided: Vec<DenialRow> = unit.part.calls.iter().filter(|_| unit.is_open()).cloned().collect();
        html! {
            @match unit.forbids {
                Forbids::Unknown if !unit.elsewhere => p { "This unit cannot be loaded here." },
                Forbids::Now | Forbids::Unknown => {},
                Forbids::NoLonger => p { strong { "Repaired: " } "it was changed since, and allows this now." },
                Forbids::Not => p { "Denied by a filter of the program's own: the unit does not forbid it." },
            }
            @if !unit.part.calls.is_empty() { (self.table(&unit.part.calls)) }
            @if unit.part.calls_unknown > 0 {
                p { "Killed for a call that is not on record: " (unit.part.calls_unknown) " of them." }
            }
            (lines::decisions(&decided))
            @if let Some(command) = &unit.repair {
                p.small { "To repair it" @if unit.elsewhere { ", on that host" } ":" }
                pre.command { code { (command) } }
            }
        }
    }

    fn nobodys(&self, rows: &[NobodysRow]) -> Option<Markup> {
        if rows.is_empty() {
            return None;
        }
        Some(html! {
            p { "Whose processes these were is not known; a replay of a unit that may be meant tells." }
            @for row in rows.iter().take(PROGRAMS) {
                h3 { (row.exe.as_ref().unwrap_or(&row.program)) (on(row.host.as_ref(), row.told_apart)) }
                @if !row.possible_units.is_empty() { p { "May be " (crate::plan::list(&row.possible_units)) "." } }
                (self.table(&row.part.calls))
            }
            @if rows.len() > PROGRAMS { p.muted { "And " (rows.len() - PROGRAMS) " more programs." } }
        })
    }
}

/// What was killed and denied, in words.
fn totals(part: &Part) -> String {
    let count = |count: u64| counted(usize::try_from(count).unwrap_or(usize::MAX), "time", "times");
    let all = [("killed", part.killed), ("denied", part.denied), ("logged", part.logged)];
    let words = all
        .into_iter()
        .filter(|(_, times)| *times > 0)
        .map(|(word, times)| format!("{word} {}", count(times)));
    words.collect::<Vec<_>>().join(", ")
}

fn on(host: Option<&Untrusted>, told_apart: bool) -> Markup {
    html! { @if let Some(host) = host.filter(|_| told_apart) { " on " (host) } }
}

fn state(report: &ScanReport) -> State {
    let open = report.units.iter().filter(|unit| unit.is_open()).count() + report.unattributed.len();
    let (word, class) = match open {
        _ if report.incomplete => ("Interrupted", "bad"),
        0 if report.units.is_empty() => ("Nothing denied", "good"),
        0 => ("Nothing to repair", "good"),
        _ => ("Calls are denied", "warn"),
    };
    State { word, class }
}

/// What was seen and counts for no unit.
fn beside(report: &ScanReport) -> Option<Markup> {
    let rows = [
        (report.of_logins, "of processes of somebody who logged in, and not of services"),
        (report.only_logged, "of calls that were logged and not denied"),
    ];
    let words: Vec<String> = rows
        .into_iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, what)| {
            let count = usize::try_from(count).unwrap_or(usize::MAX);
            format!("{} {what}.", counted(count, "record is", "records are"))
        })
        .collect();
    (!words.is_empty()).then(|| html! { @for words in &words { p { (words) } } })
}
