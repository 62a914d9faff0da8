//! Families: calls that are doors to the same power (rules/families.yaml).

use super::names::{CallName, Words};
use super::place::Step;
use serde::Deserialize;
use std::collections::BTreeMap;

/// Calls that are doors to the same power.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Family {
    /// What they are doors to, as a noun.
    pub power: Words,
    /// The calls, oldest first.
    pub calls: Vec<CallName>,
    /// Whether the newest can do all that the others can, so that they add no power where it is allowed.
    #[serde(default = "yes")]
    pub covers: bool,
    /// From this one on, each can do all that the others can.
    pub equal_from: Option<CallName>,
    /// Of those that cannot do all: which of the others each can stand in for.
    #[serde(default)]
    pub stands_in_for: BTreeMap<CallName, Vec<CallName>>,
    /// Where that is said: a section of the manual, or a file of the kernel.
    pub source: Words,
}

fn yes() -> bool {
    true
}

impl Family {
    /// Whether a call is one of them.
    #[must_use]
    pub fn holds(&self, call: &str) -> bool {
        self.calls.iter().any(|member| *member == *call)
    }

    /// Whether one of them can do all that another can.
    #[must_use]
    pub fn can(&self, member: &str, call: &str) -> bool {
        let of = |call: &str| self.calls.iter().position(|member| *member == *call);
        let (Some(at), Some(_)) = (of(member), of(call)) else { return false };
        let from = match &self.equal_from {
            Some(from) => of(from),
            None => self.covers.then(|| self.calls.len() - 1), // there is one: `at`
        };
        let named = self.stands_in_for.iter().find(|(able, _)| ***able == *member);
        from.is_some_and(|from| at >= from)
            || named.is_some_and(|(_, others)| others.iter().any(|other| *other == *call))
    }

    /// The members that can do all that a call can, the newest first.
    pub fn stand_ins<'a>(&'a self, call: &'a str) -> impl Iterator<Item = &'a str> {
        let members = self.calls.iter().rev().map(|member| &**member);
        members.filter(move |member| *member != call && self.can(member, call))
    }

    /// What contradicts itself, in words, and where that stands in the family.
    pub(super) fn fault(&self) -> Option<(Vec<Step<'_>>, String)> {
        let foreign = |call: &&CallName| !self.holds(call);
        let words = |call: &CallName| format!("{} is not among the calls of this family", &**call);
        if let Some(from) = self.equal_from.as_ref().filter(foreign) {
            return Some((vec![Step::Key("equal_from")], words(from)));
        }
        for (able, others) in &self.stands_in_for {
            if foreign(&able) {
                return Some((vec![Step::Key("stands_in_for"), Step::Name(able)], words(able)));
            }
            if let Some((at, other)) = others.iter().enumerate().find(|(_, other)| foreign(other)) {
                let steps = vec![Step::Key("stands_in_for"), Step::Key(able), Step::Item(at)];
                return Some((steps, words(other)));
            }
        }
        None
    }
}
