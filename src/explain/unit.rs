//! What a unit does with a call, and the line that says so.

use crate::policy::{Action, Answer, Because, Policy};
use crate::report::TokenRow;
use crate::syscalls::{Arch, Call};
use serde::Serialize;

/// What a unit does with a call, or with several that the same word decides.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "Verdict"))]
pub struct VerdictRow {
    /// The calls.
    pub calls: Vec<String>,
    /// Their architecture.
    pub architecture: Arch,
    /// Whether they are forbidden, softly or not.
    pub denied: bool,
    /// What becomes of them, in a sentence without a full stop.
    pub words: String,
    /// The word of the unit that decides.
    pub decided_by: Option<TokenRow>,
}

/// What a policy does with one call. `label` is how the unit is called.
#[must_use]
pub fn verdict(policy: &Policy, label: &str, call: Call) -> VerdictRow {
    let answer = policy.answer(call);
    VerdictRow {
        calls: vec![call.to_string()],
        architecture: call.arch,
        denied: answer.otherwise.denies(),
        words: words(label, &[call.to_string()], &answer),
        decided_by: TokenRow::of(&answer.otherwise, call),
    }
}

/// What a policy does with several calls, each word of the unit once.
pub(super) fn verdicts(policy: &Policy, label: &str, calls: impl Iterator<Item = Call>) -> Vec<VerdictRow> {
    let mut out: Vec<(Answer, VerdictRow)> = Vec::new();
    for call in calls {
        let answer = policy.answer(call);
        let same = |other: &Answer| {
            other.otherwise == answer.otherwise && for_arguments(other) == for_arguments(&answer)
        };
        match out.iter_mut().find(|(other, _)| same(other)) {
            Some((_, row)) => row.calls.push(call.to_string()),
            None => out.push((answer, verdict(policy, label, call))),
        }
    }
    let sentence = |(answer, mut row): (Answer, VerdictRow)| {
        row.words = words(label, &row.calls, &answer);
        row
    };
    let mut rows: Vec<VerdictRow> = out.into_iter().map(sentence).collect();
    rows.sort_by_key(|row| (!row.denied, std::cmp::Reverse(row.calls.len())));
    rows
}

/// The settings that treat a call otherwise for some arguments.
fn for_arguments(answer: &Answer) -> Vec<&'static str> {
    let mut settings: Vec<&str> = Vec::new();
    for token in answer.for_arguments.iter().filter_map(|entry| entry.decision.token()) {
        if !settings.contains(&token.setting) {
            settings.push(token.setting);
        }
    }
    settings
}

fn words(label: &str, calls: &[String], answer: &Answer) -> String {
    let decision = &answer.otherwise;
    let one = if calls.len() == 1 { "it" } else { "one" };
    let calls = match calls {
        [] => String::new(),
        [one] => one.clone(),
        few if few.len() <= 4 => crate::plan::list(few),
        many => format!("{} calls", many.len()),
    };
    let does = match decision.action {
        Action::Allow | Action::Log => format!("{label} allows {calls}"),
        Action::Errno(number) => {
            format!("{label} forbids {calls}, softly: {one} fails with {}", crate::policy::errno_name(number))
        }
        Action::Kill => format!("{label} forbids {calls}: whoever makes {one} is killed"),
    };
    let why = match &decision.because {
        Because::WriteAlways => ": this systemd always lets it through",
        Because::NoFilter => ": it has no system call filter",
        Because::Unknown => ": this systemd does not know it",
        Because::Listed(None) | Because::NotListed(None) => {
            ": so says its manager; its files do not tell why"
        }
        _ => "",
    };
    let settings = for_arguments(answer);
    let depends = match settings.as_slice() {
        [] => String::new(),
        settings => format!(
            "; for some arguments {}= decides otherwise (`unitfix policy` says for which)",
            crate::plan::list(settings)
        ),
    };
    does + why + &depends
}
