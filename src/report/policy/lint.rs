//! What is wrong with a unit, without what its settings do: for `--lint`, and beside what does not show it.

use super::place_in;
use crate::evidence::Untrusted;
use crate::finding::{Code, Finding, Severity};
use crate::report::people::{People, finding_text};
use crate::report::{FindingRow, SCHEMA};
use crate::subject::Judged;
use crate::syscalls::Origin;
use serde::Serialize;
use std::fmt::Write as _;

/// What is wrong with a unit.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Lint {
    /// The version of this format.
    #[cfg_attr(test, schemars(extend("const" = SCHEMA)))]
    pub schema: u32,
    /// The version of unitfix.
    pub unitfix: &'static str,
    /// The unit.
    pub unit: String,
    /// The major version of systemd whose rules apply.
    pub systemd: u32,
    /// What is wrong with its files and its filter.
    pub findings: Vec<FindingRow>,
    /// How the user named the unit.
    #[serde(skip)]
    asked_as: String,
    /// The option with which it is found.
    #[serde(skip)]
    option: &'static str,
    /// Whose groups were taken, where there are none of the very version.
    #[serde(skip)]
    guessed: Option<String>,
}

/// The findings of a unit and its policy, in the order of the files; those without a place come last.
pub(super) fn findings(judged: &Judged) -> Vec<FindingRow> {
    let Judged { unit, policy, .. } = judged;
    let mut findings: Vec<&Finding> = unit.findings.iter().chain(&policy.findings).collect();
    findings.sort_by_key(|finding| {
        let place = finding.span.as_ref().map(|span| place_in(unit, span));
        (place.is_none(), place)
    });
    FindingRow::all(findings)
}

impl Lint {
    /// What is wrong with a unit that the user named so.
    #[must_use]
    pub fn new(judged: &Judged, asked_as: &str) -> Self {
        let groups = &judged.groups;
        let guessed = matches!(groups.origin, Origin::Rules { version } if version != groups.systemd);
        Lint {
            schema: SCHEMA,
            unitfix: env!("CARGO_PKG_VERSION"),
            unit: judged.unit.name.to_string(),
            systemd: groups.systemd,
            findings: findings(judged),
            asked_as: Untrusted::new(asked_as).to_string(),
            option: judged.unit.scope.option(),
            guessed: guessed.then(|| groups.origin_words()),
        }
    }

    /// What somebody who is not shown the findings should know: what is wrong, and what was guessed.
    #[must_use]
    pub fn notices(&self) -> Vec<String> {
        let mut out: Vec<String> = Vec::new();
        // these say that the answers may be others
        let urgent = [Code::PolicyDiffers, Code::UnreadableDropIn, Code::MaskedUnit, Code::NoManager];
        let (urgent, others): (Vec<_>, Vec<_>) =
            self.findings.iter().partition(|finding| urgent.iter().any(|code| code.name() == finding.code));
        out.extend(urgent.into_iter().map(|finding| finding.message.clone()));
        let others = others.iter().filter(|finding| finding.severity > Severity::Note).count();
        if others > 0 {
            let noun = if others == 1 { "thing is" } else { "things are" };
            out.push(format!(
                "{others} {noun} wrong with its files: `unitfix policy {} --lint{}`",
                self.asked_as, self.option
            ));
        }
        out.extend(self.guessed.as_ref().map(|groups| format!("the groups are those of {groups}")));
        out
    }

    /// Whether something is wrong, rather than worth knowing.
    #[must_use]
    pub fn is_faulty(&self) -> bool {
        self.findings.iter().any(|finding| finding.severity > Severity::Note)
    }

    /// The findings for people.
    #[must_use]
    pub fn text(&self, people: &People) -> String {
        let mut out = String::new();
        for finding in &self.findings {
            let _ = writeln!(out, "{}", finding_text(finding, people.width).trim_start());
        }
        match self.findings.len() {
            0 => format!("{}: nothing is wrong with its filter.\n", self.unit),
            1 => out + "1 finding.\n",
            n => out + &format!("{n} findings.\n"),
        }
    }
}
