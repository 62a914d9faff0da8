//! Whether two units let every call do the same: what makes a patch as good as the repair that was proven.

use crate::finding::Severity;
use crate::policy::show::show;
use crate::policy::{Action, Answer, Policy, Test};
use crate::syscalls::{Arch, Call, Groups};
use crate::unit::Unit;
use std::collections::BTreeSet;

/// No architecture that unitfix runs on has a higher number: x32 has the highest (syscall_64.tbl). Calls without a number
/// here are all treated like the last one.
const NUMBERS: u32 = 600;

/// Whether a unit, edited, means what it should: every call of every architecture gets the same answer, the manager
/// shows the same lists, no setting but these differs, and nothing is wrong that was not before.
pub(super) fn same(edited: &Unit, wanted: &Unit, changed: &BTreeSet<String>, groups: &Groups) -> bool {
    let (after, before) = (Policy::evaluate(edited, groups), Policy::evaluate(wanted, groups));
    // a note is about nothing wrong: lines that mean no filter do so whether a reset or an empty list says it
    let codes = |policy: &Policy| {
        let wrong = policy.findings.iter().filter(|finding| finding.severity > Severity::Note);
        wrong.map(|finding| finding.code).collect::<BTreeSet<_>>()
    };
    show(edited, groups) == show(wanted, groups)
        && codes(&after).is_subset(&codes(&before))
        && after.no_new_privileges.is_some() == before.no_new_privileges.is_some()
        && others(edited, changed) == others(wanted, changed)
        && Arch::of_this_kernel().iter().all(|arch| {
            let answers = |policy: &Policy, number| meaning(&policy.answer(Call { arch: *arch, number }));
            let named = |number: &u32| arch.name(*number).is_some() || *number == NUMBERS - 1;
            let same = |number| answers(&after, number) == answers(&before, number);
            (0..NUMBERS).filter(named).all(same)
        })
}

/// An answer without the word that decided it.
fn meaning(answer: &Answer) -> (Vec<(Vec<Test>, Action)>, Action) {
    let entries = answer.for_arguments.iter().map(|entry| (entry.when.clone(), entry.decision.action));
    (entries.collect(), answer.otherwise.action)
}

/// The settings that are not to change, in their order.
fn others<'a>(unit: &'a Unit, changed: &BTreeSet<String>) -> Vec<(&'a str, &'a str, &'a str)> {
    let other = unit.settings.iter().filter(|s| s.section != "Service" || !changed.contains(&s.key));
    other.map(|s| (s.section.as_str(), s.key.as_str(), s.value.text.as_str())).collect()
}
