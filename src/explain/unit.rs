//! What a unit does with a call, and the line that says so.

use crate::policy::{Action, Because, Decision, Policy};
use crate::report::TokenRow;
use crate::syscalls::{Arch, Call};
use serde::Serialize;

/// What a unit does with a call, or with several that the same word decides.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
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
    let decision = policy.decide(call);
    VerdictRow {
        calls: vec![call.to_string()],
        architecture: call.arch,
        denied: decision.denies(),
        words: words(label, &[call.to_string()], &decision),
        decided_by: TokenRow::of(&decision, call),
    }
}

/// What a policy does with several calls, each word of the unit once.
pub(super) fn verdicts(policy: &Policy, label: &str, calls: impl Iterator<Item = Call>) -> Vec<VerdictRow> {
    let mut out: Vec<(Decision, VerdictRow)> = Vec::new();
    for call in calls {
        let decision = policy.decide(call);
        match out.iter_mut().find(|(d, _)| *d == decision) {
            Some((_, row)) => row.calls.push(call.to_string()),
            None => out.push((decision, verdict(policy, label, call))),
        }
    }
    let sentence = |(decision, mut row): (Decision, VerdictRow)| {
        row.words = words(label, &row.calls, &decision);
        row
    };
    let mut rows: Vec<VerdictRow> = out.into_iter().map(sentence).collect();
    rows.sort_by_key(|row| (!row.denied, std::cmp::Reverse(row.calls.len())));
    rows
}

fn words(label: &str, calls: &[String], decision: &Decision) -> String {
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
    does + why
}
