//! The page of a unit.

use super::super::FindingRow;
use super::{Pages, Section, State, lines, page, prose, sentence};
use crate::evidence::Untrusted;
use crate::finding::Severity;
use crate::report::{Deed, Report};
use maud::{Markup, html};

/// So many records that are nobody's are shown.
const MANY: usize = 20;

impl Pages<'_> {
    /// The page of what a run found and did, made at this time (microseconds since the epoch).
    #[must_use]
    pub fn of_unit(&self, report: &Report, made: u64) -> String {
        let mut sections = vec![
            Section { id: "denied", title: "Denied calls", body: self.denied(report) },
            Section { id: "time", title: "Time line", body: self.course(report) },
        ];
        let mut add = |id, title, body: Option<Markup>| {
            sections.extend(body.map(|body| Section { id, title, body }));
        };
        let compared = report.policy.as_ref().is_some_and(|change| change.after.is_some());
        let changed = report.repair.is_some() || report.patch.is_some() || report.diff.is_some();
        add("repair", "The repair", changed.then(|| Self::repair(report)));
        add("proof", "Proof", Self::proof(report));
        add(
            "policy",
            if compared { "Policy before and after" } else { "Policy" },
            report.policy.as_ref().map(|change| self.policy(change, standing(report))),
        );
        add("others", "Also possible", report.repair.as_ref().and_then(Self::others));
        add("findings", "Findings", findings(&report.findings));
        let systemd = report.policy.as_ref().map(|change| change.systemd);
        let made = html! {
            "Made by unitfix " (report.unitfix) " on " (self.with_zone(made))
            @if let Some(systemd) = systemd { ", by the rules of systemd " (systemd) }
            ", with exit status " (report.exit_status) ". Times are those of the zone of this system then."
        };
        page(
            &Untrusted::new(report.unit.as_str()).to_string(),
            state(report),
            &ending(report),
            &sections,
            &made,
        )
    }

    fn denied(&self, report: &Report) -> Markup {
        let (ours, nobodys) = (&report.denials, &report.unattributed);
        let mut reasons: Vec<&str> = ours.iter().filter_map(|row| row.attributed_because).collect();
        reasons.dedup();
        html! {
            p { (report.state) }
            @if ours.is_empty() { p { "No denied call is known to be one of this unit's." } }
            @if let Some(matrix) = self.programs(ours) { (matrix) }
            @if !ours.is_empty() { (self.denials(ours)) }
            @for reason in reasons { p.muted.small { "Known to be the unit's: " (reason) "." } }
            @if !nobodys.is_empty() {
                h3 { "Whose processes these were is not known" }
                (self.denials(nobodys.get(..MANY).unwrap_or(nobodys)))
                @if nobodys.len() > MANY { p.muted { "And " (nobodys.len() - MANY) " more." } }
            }
        }
    }
}

/// How the run ended: what is to be done stands in a line of its own.
fn ending(report: &Report) -> Markup {
    let mut lines = report.ending.lines();
    let first = lines.next().unwrap_or_default();
    let rest: Vec<&str> = lines.collect();
    html! {
        p.lead { (prose(&sentence(first))) }
        @for line in rest.iter().filter(|line| !line.trim_start().starts_with('|')) {
            @match line.split_once(": ") {
                Some(("Undo", command)) => { p.small { "To take it back:" } pre.command { code { (command) } } },
                _ => p { (prose(line)) },
            }
        }
        @let log: Vec<&str> = rest.iter().filter_map(|line| line.trim_start().strip_prefix('|')).collect();
        @if !log.is_empty() { pre { code { (log.iter().map(|line| line.trim_start()).collect::<Vec<_>>().join("\n")) } } }
    }
}

/// Whether unitfix did this.
pub(super) fn done(report: &Report, deed: Deed) -> bool {
    report.course.iter().any(|step| step.deed == deed)
}

/// Why nothing of the repair that is shown is in force, where that is so.
pub(super) fn standing(report: &Report) -> Option<&'static str> {
    match report.exit_status {
        4 if done(report, Deed::TakenBack) => Some("It was taken back: nothing of it is in force."),
        1 if !done(report, Deed::Written) && report.repair.is_some() => {
            Some("It is only proposed: nothing of it is in force.")
        }
        _ => None,
    }
}

fn state(report: &Report) -> State {
    let done = |deed| done(report, deed);
    let (word, class) = match report.exit_status {
        0 if done(Deed::Verified) => ("Repaired", "good"),
        0 if done(Deed::Written) => ("Written, not yet seen to help", "warn"),
        0 => ("Nothing to repair", "good"),
        1 if report.repair.is_some() => ("Repair proposed", "warn"),
        1 => ("Nothing was changed", "warn"),
        4 => ("Rolled back", "bad"),
        130 => ("Interrupted", "bad"),
        _ => ("No repair", "bad"),
    };
    State { word, class }
}

/// What is wrong with the unit's files, and what could not be seen.
pub(super) fn findings(rows: &[FindingRow]) -> Option<Markup> {
    let word = |severity| match severity {
        Severity::Note => "Note",
        Severity::Warning => "Warning",
        Severity::Error => "Error",
    };
    (!rows.is_empty()).then(|| {
        html! {
            @for row in rows {
                h3 { (word(row.severity)) ": " (row.message) }
                @if let Some(token) = &row.token {
                    (lines::place(token))
                } @else if let Some(place) = &row.place {
                    p.place.small { code { (place) } }
                }
                p.small { (row.advice) ". " span.muted { "(" (row.code) ")" } }
            }
        }
    })
}
