//! What a repair changes of a unit's policy: how many calls get which answer before and after, and which calls get
//! another one.

use super::{named_calls, people_words};
use crate::policy::{Action, Answer, Decision, Policy};
use crate::report::TokenRow;
use crate::syscalls::{Arch, Groups};

/// A policy, and what becomes of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyChange {
    /// The major version of systemd whose rules apply.
    pub systemd: u32,
    /// unitfix's own drop-in is counted on neither side: a patch is to stand in for it.
    pub own_left_out: bool,
    /// The calls of the native architecture before.
    pub before: Counts,
    /// The same after; nothing: no change is proposed.
    pub after: Option<Counts>,
    /// The calls that get another answer.
    pub changed: Vec<ChangedCall>,
}

/// How many calls get which answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// They run.
    pub allowed: usize,
    /// That depends on their arguments.
    pub depending: usize,
    /// They fail.
    pub failing: usize,
    /// They kill.
    pub killing: usize,
}

/// A call that gets another answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChangedCall {
    /// Its name.
    pub call: String,
    /// On these architectures.
    pub architectures: Vec<Arch>,
    /// What becomes of it before, as far as that differs.
    pub before: Vec<String>,
    /// What becomes of it after.
    pub after: Vec<String>,
    /// The smallest group that holds it, where one does.
    pub group: Option<String>,
    /// The token that decides before.
    pub decided_before: Option<TokenRow>,
    /// The token that decides after.
    pub decided_after: Option<TokenRow>,
}

impl PolicyChange {
    /// What differs between a policy and another one.
    #[must_use]
    pub fn between(before: &Policy, after: Option<&Policy>, groups: &Groups) -> Self {
        let changed = after.map(|after| changed(before, after, groups)).unwrap_or_default();
        PolicyChange {
            systemd: before.systemd,
            own_left_out: false,
            before: Counts::of(before),
            after: after.map(Counts::of),
            changed,
        }
    }
}

impl Counts {
    fn of(policy: &Policy) -> Self {
        let mut counts = Counts::default();
        for call in named_calls().filter(|call| call.arch == Arch::native()) {
            let answer = policy.answer(call);
            let count = match answer.otherwise.action {
                _ if !answer.for_arguments.is_empty() => &mut counts.depending,
                Action::Allow | Action::Log => &mut counts.allowed,
                Action::Errno(_) => &mut counts.failing,
                Action::Kill => &mut counts.killing,
            };
            *count += 1;
        }
        counts
    }
}

fn changed(before: &Policy, after: &Policy, groups: &Groups) -> Vec<ChangedCall> {
    let mut out: Vec<ChangedCall> = Vec::new();
    for call in named_calls() {
        let (old, new) = (before.answer(call), after.answer(call));
        let (old_cases, new_cases) = (cases(&old), cases(&new));
        if old_cases == new_cases {
            continue;
        }
        let only = |one: &[String], other: &[String]| -> Vec<String> {
            one.iter().filter(|case| !other.contains(case)).cloned().collect()
        };
        let row = ChangedCall {
            call: call.to_string(),
            architectures: vec![call.arch],
            before: only(&old_cases, &new_cases),
            after: only(&new_cases, &old_cases),
            group: smallest_group(&call.to_string(), groups),
            decided_before: TokenRow::of(strongest(&old), call),
            decided_after: TokenRow::of(strongest(&new), call),
        };
        let same = |other: &&mut ChangedCall| {
            other.call == row.call && other.before == row.before && other.after == row.after
        };
        match out.iter_mut().find(same) {
            Some(other) => other.architectures.push(call.arch),
            None => out.push(row),
        }
    }
    out.sort_by(|one, other| one.call.cmp(&other.call));
    out
}

/// What becomes of a call, in words: for some arguments, and otherwise.
fn cases(answer: &Answer) -> Vec<String> {
    let mut out = Vec::new();
    for entry in &answer.for_arguments {
        let when: Vec<String> = entry.when.iter().map(ToString::to_string).collect();
        out.push(format!("{} where {}", people_words(entry.decision.action), when.join(" and ")));
    }
    let otherwise = if out.is_empty() { "" } else { " otherwise" };
    out.push(format!("{}{otherwise}", people_words(answer.otherwise.action)));
    out
}

/// The decision that denies, where one does.
fn strongest(answer: &Answer) -> &Decision {
    let all = answer.for_arguments.iter().map(|entry| &entry.decision);
    let denying = all.chain([&answer.otherwise]).find(|decision| decision.denies());
    denying.unwrap_or(&answer.otherwise)
}

fn smallest_group(call: &str, groups: &Groups) -> Option<String> {
    let holding = groups.holding(call).into_iter().filter(|group| *group != "@known");
    let smallest = holding.min_by_key(|group| groups.members(group).map(std::collections::BTreeSet::len));
    smallest.map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::tests::unit;

    fn change(before: &str, after: &str) -> PolicyChange {
        let groups = Groups::from_rules(252).unwrap();
        let policy = |lines: &str| Policy::evaluate(&unit(lines), &groups);
        PolicyChange::between(&policy(before), Some(&policy(after)), &groups)
    }

    #[test]
    fn a_call_that_is_let_in() {
        let change = change(
            "SystemCallFilter=~@resources",
            "SystemCallFilter=~@resources\nSystemCallFilter=setrlimit",
        );
        let [row] = change.changed.as_slice() else { panic!("{change:?}") };
        assert_eq!((row.call.as_str(), row.group.as_deref()), ("setrlimit", Some("@resources")));
        assert!(row.architectures.contains(&Arch::native()) && row.architectures.len() > 1, "{row:?}");
        assert_eq!(
            (&row.before[..], &row.after[..]),
            (&["kills the process".into()][..], &["allowed".into()][..])
        );
        let place = |token: &Option<TokenRow>| token.as_ref().map(|token| (token.line, token.column));
        assert_eq!(place(&row.decided_before), Some((2, 19)));
        let after = change.after.unwrap();
        assert_eq!((after.killing + 1, after.allowed), (change.before.killing, change.before.allowed + 1));
    }

    #[test]
    fn a_setting_that_depends_on_arguments() {
        let change = change(
            "RestrictAddressFamilies=AF_UNIX",
            "RestrictAddressFamilies=AF_UNIX\nRestrictAddressFamilies=AF_NETLINK",
        );
        let row = change.changed.iter().find(|row| row.call == "socket").unwrap();
        assert!(row.before.iter().any(|case| case.contains(" where argument 1 ")), "{row:?}");
        assert_eq!(change.before.depending, change.after.unwrap().depending);
        assert!(change.before.depending > 0);
    }

    #[test]
    fn nothing_that_changes() {
        let change = change("SystemCallFilter=~mount", "SystemCallFilter=~mount\nUser=x");
        assert_eq!(change.changed, []);
        assert_eq!(Some(change.before), change.after);
    }
}
