//! The report of a check: what a unit, or tests under its filter, were denied, and what would let it in.

mod github;
mod sarif;
mod text;

use super::{DenialRow, FindingRow, RepairRow, SCHEMA, TokenRow, who};
use crate::cli::command_line;
use crate::evidence::{Effect, Untrusted, summary};
use crate::finding::Severity;
use crate::patch::{Naming, Patched};
use crate::plan::list;
use crate::policy::Policy;
use crate::replay::Exit;
use crate::replay::local::{Checked, Ended, Tests};
use serde::Serialize;

/// What a check showed.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "Check"))]
pub struct CheckReport {
    /// The version of this format.
    #[cfg_attr(test, schemars(extend("const" = SCHEMA)))]
    pub schema: u32,
    /// The version of unitfix.
    pub unitfix: &'static str,
    /// The unit file, as it was named.
    pub unit: String,
    /// The major version of systemd whose rules apply.
    pub systemd: u32,
    /// The calls for which the policy kills. They were let through, so that what follows on them was seen as well.
    pub denials: Vec<DenialRow>,
    /// The calls that failed, as the policy says.
    pub refused: Vec<DenialRow>,
    /// What is wrong with the unit's files and filter.
    pub findings: Vec<FindingRow>,
    /// What the unit did; nothing where the tests ran in its place.
    pub outcome: Option<String>,
    /// The tests, if there are any.
    pub tests: Option<TestsRow>,
    /// How long it all ran, in seconds.
    pub seconds: f64,
    /// Whether there were more denials than are kept.
    pub lossy: bool,
    /// What a reader should know: what of the unit was not imitated.
    pub notes: Vec<String>,
    /// The last lines that the unit's processes wrote.
    pub log: Vec<Untrusted>,
    /// What would let in all that is denied.
    pub repair: Option<RepairRow>,
    /// The same as a patch of the unit file, from the current folder; what is not UTF-8 in it is replaced.
    pub patch: Option<String>,
    /// Why there is no patch although something is denied.
    pub no_patch: Option<String>,
    /// How the check ended.
    pub ending: String,
    /// The exit status that goes with it.
    pub exit_status: u8,
    /// The files that the patch is about.
    #[serde(skip)]
    pub(crate) patched: Vec<Patched>,
    /// How files are called, for who reads of them elsewhere.
    #[serde(skip)]
    pub(crate) naming: Naming,
    #[serde(skip)]
    healthy: bool,
    /// The unit has something that could deny a call.
    #[serde(skip)]
    filtered: bool,
}

/// Tests, and what became of them.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "Tests"))]
pub struct TestsRow {
    /// The command and its arguments.
    pub command: Vec<String>,
    /// They ran under the unit's filter, in the place of the unit.
    pub under: bool,
    /// Whether they ended with status 0.
    pub passed: bool,
    /// Whether they were stopped because they took longer than they may.
    pub late: bool,
    /// How they ended, in words.
    pub ended: String,
}

impl TestsRow {
    fn new(tests: &Tests, ended: Option<Ended>) -> Self {
        let limit = tests.limit.map_or(0, |limit| limit.as_secs());
        TestsRow {
            command: tests.command.clone(),
            under: tests.under,
            passed: ended == Some(Ended::So(Exit::Status(0))),
            late: ended == Some(Ended::Late),
            ended: match ended {
                None => "did not run".to_owned(),
                Some(Ended::Late) => format!("did not end within {limit} s and were stopped"),
                Some(Ended::So(Exit::Status(0))) => "passed".to_owned(),
                Some(Ended::So(Exit::Status(status))) => format!("failed with status {status}"),
                Some(Ended::So(signal)) => format!("were {signal}"),
            },
        }
    }
}

/// One thing that a reader of the unit file is told, where it stands.
struct Remark<'a> {
    /// A stable name of what kind it is.
    rule: &'static str,
    severity: Severity,
    /// In a few words.
    title: String,
    message: String,
    token: Option<&'a TokenRow>,
}

/// The name of what the policy kills for.
const DENIED: (&str, &str) = ("denied-call", "Allow the call, or have the program do without it");
/// The name of what the policy lets fail.
const REFUSED: (&str, &str) =
    ("refused-call", "Allow the call, if the program does not do without it: it fails, as the unit says");

impl CheckReport {
    /// The report of a check, without a repair and an ending so far.
    #[must_use]
    pub(crate) fn new(
        unit: String,
        policy: &Policy,
        findings: Vec<FindingRow>,
        tests: Option<&Tests>,
        checked: &Checked,
        naming: Naming,
    ) -> Self {
        let seen = &checked.observation;
        let rows = |spared: bool| -> Vec<DenialRow> {
            let some = seen.denials.iter().filter(|d| (d.effect == Effect::Recorded) == spared);
            summary(some).iter().map(|sighting| DenialRow::new(sighting, policy)).collect()
        };
        let under = tests.is_some_and(|tests| tests.under);
        CheckReport {
            schema: SCHEMA,
            unitfix: env!("CARGO_PKG_VERSION"),
            unit,
            systemd: policy.systemd,
            denials: rows(true),
            refused: rows(false),
            findings,
            outcome: (!under).then(|| super::outcome_words(&seen.outcome)),
            tests: tests.map(|tests| TestsRow::new(tests, checked.tests)),
            seconds: seen.watched.as_secs_f64(),
            lossy: seen.lossy,
            notes: seen.notes.clone(),
            log: seen.log.clone(),
            repair: None,
            patch: None,
            no_patch: None,
            ending: String::new(),
            exit_status: 0,
            patched: Vec::new(),
            naming,
            healthy: seen.outcome.healthy(),
            filtered: policy.filter.exists()
                || policy.architectures.is_some()
                || !policy.restrictions.is_empty(),
        }
    }

    /// Whether the unit and the tests did what they should.
    #[must_use]
    pub fn works(&self) -> bool {
        self.healthy && self.tests.as_ref().is_none_or(|tests| tests.passed)
    }

    /// Whether calls that the policy lets fail may be why it does not work.
    #[must_use]
    pub fn refusals_count(&self) -> bool {
        !self.works() && !self.refused.is_empty()
    }

    /// Say how it ended.
    pub fn conclude(&mut self) {
        let (denied, works) = (calls(&self.denials), self.works());
        let head = match (denied.len(), self.refusals_count()) {
            (0, false) if works && !self.filtered => {
                "Nothing is denied, as the unit has no filter; ".to_owned()
            }
            (0, false) if works => "Nothing is denied; ".to_owned(),
            (0, false) => "Nothing is denied, but ".to_owned(),
            (0, true) => {
                let refused = list(calls(&self.refused));
                format!("It fails, perhaps because calls are refused, as the unit says: {refused}; ")
            }
            (1, _) => format!("1 call is denied: {}; ", denied[0]),
            (n, _) => format!("{n} calls are denied: {}; ", list(&denied)),
        };
        let unit = self.outcome.iter().filter(|_| !self.healthy).map(|outcome| format!("the unit {outcome}"));
        let them = if denied.len() == 1 { "it" } else { "them" };
        let spared = |tests: &TestsRow| match (denied.is_empty(), tests.passed) {
            (true, _) => String::new(),
            (false, true) => format!(" with {them} let through"),
            (false, false) => format!(", even with {them} let through"),
        };
        let tests = self.tests.iter().map(|tests| format!("the tests {}{}", tests.ended, spared(tests)));
        let rest: Vec<String> = unit.chain(tests).collect();
        self.ending = (head + &rest.join("; ")).trim_end_matches("; ").to_owned() + ".";
        let speaks_against = !denied.is_empty() || self.refusals_count();
        self.exit_status = if speaks_against {
            1
        } else if works {
            0
        } else {
            3
        };
    }

    /// What there is to say about places in the unit's files.
    fn remarks(&self) -> Vec<Remark<'_>> {
        let severity = if self.refusals_count() { Severity::Warning } else { Severity::Note };
        let denied =
            remarks_of(&self.denials, DENIED.0, Severity::Error, "is denied", "is killed for calling");
        let refused = remarks_of(&self.refused, REFUSED.0, severity, "fails", "is refused");
        let findings = self.findings.iter().map(|finding| Remark {
            rule: finding.code,
            severity: finding.severity,
            title: finding.code.to_owned(),
            message: format!("{}. {}.", finding.message, finding.advice),
            token: finding.token.as_ref(),
        });
        denied.into_iter().chain(refused).chain(findings).collect()
    }
}

/// The names of the calls, each once.
fn calls(rows: &[DenialRow]) -> Vec<String> {
    let mut names: Vec<String> = rows.iter().map(|row| row.call.clone()).collect();
    names.sort();
    names.dedup();
    names
}

/// One remark for each call and word that decided about it, whoever made it.
fn remarks_of<'a>(
    rows: &'a [DenialRow],
    rule: &'static str,
    severity: Severity,
    title: &str,
    deed: &str,
) -> Vec<Remark<'a>> {
    let mut seen: Vec<(&DenialRow, Vec<String>)> = Vec::new();
    for row in rows {
        let same = |other: &DenialRow| {
            (&other.call, other.architecture, &other.decided_by)
                == (&row.call, row.architecture, &row.decided_by)
        };
        match seen.iter_mut().find(|(other, _)| same(other)) {
            Some((_, programs)) => programs.push(who(row)),
            None => seen.push((row, vec![who(row)])),
        }
    }
    let remark = |(row, programs): (&'a DenialRow, Vec<String>)| {
        let because = row.decided_by.as_ref().map(|token| format!(": {}", token.words));
        let deed = if programs.len() > 1 { deed.replacen("is ", "are ", 1) } else { deed.to_owned() };
        Remark {
            rule,
            severity,
            title: format!("{} {title}", row.call),
            message: format!("{} {deed} {}{}.", list(&programs), row.call, because.unwrap_or_default()),
            token: row.decided_by.as_ref(),
        }
    };
    seen.into_iter().map(remark).collect()
}

impl TestsRow {
    /// The command in one line.
    #[must_use]
    pub fn line(&self) -> String {
        command_line(&self.command)
    }
}
