//! One way to repair a unit: what it changes, what that gives away, and what is known to speak for it.

use super::{Amendment, Ground, Needs, list};
use crate::policy::relax::Relaxation;
use crate::policy::{Action, Filter, Policy, Token, errno_name};
use crate::rules::{Power, Rules};
use crate::syscalls::{Arch, Groups};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// The kind of a repair.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "RepairKind"))]
#[serde(rename_all = "lowercase")]
pub enum Rung {
    /// Denied calls stay forbidden, and fail instead of killing.
    Soft,
    /// Exactly the calls that were denied are allowed.
    Exact,
    /// And the other calls that are doors to the same power.
    Family,
    /// Whole groups of systemd's.
    Group,
    /// What somebody made of it in an editor.
    Edited,
}

impl Rung {
    /// Its name on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Rung::Soft => "soft",
            Rung::Exact => "exact",
            Rung::Family => "family",
            Rung::Group => "group",
            Rung::Edited => "edited",
        }
    }
}

/// What speaks for a candidate, or against it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Proof {
    /// Nothing yet.
    None,
    /// It was seen to work; how.
    Shown(String),
    /// It was seen not to work; how.
    Refuted(String),
}

/// A wider change than the one proposed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wider {
    /// What people do, to follow "than".
    pub words: String,
    /// How many calls that opens.
    pub calls: usize,
}

/// One way to repair a unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Its kind.
    pub rung: Rung,
    /// What it changes.
    pub amendment: Amendment,
    /// The calls that it allows and that were forbidden, each with what that gives away.
    pub opens: Vec<Power>,
    /// What it takes back of other settings, each with what that gives away.
    pub relaxes: Vec<Relaxation>,
    /// What speaks for it.
    pub proof: Proof,
    /// The wider change that people make by hand, and how many calls it would open.
    pub instead: Option<Wider>,
}

impl Candidate {
    /// A candidate of which nothing is proven yet.
    pub(crate) fn new(
        rung: Rung,
        amendment: Amendment,
        policy: &Policy,
        groups: &Groups,
        rules: &Rules,
    ) -> Self {
        let names = amendment.allow.iter().flat_map(|word| match groups.members(word) {
            Some(members) => members.iter().filter(|name| groups.knows(name)).collect(),
            None => vec![word],
        });
        let opened: BTreeSet<&String> = names.filter(|name| policy.forbids(name)).collect();
        let power = |name: &&String| rules.power(name, |other| !policy.forbids(other), groups);
        let opens = opened.iter().map(power).collect();
        Candidate { rung, amendment, opens, relaxes: Vec::new(), proof: Proof::None, instead: None }
    }

    /// The same, but that one of the calls which it lets fail is allowed. Nothing, if it lets no other one fail.
    #[must_use]
    pub fn allowing(&self, call: &str, ground: Ground) -> Option<Self> {
        let mut amendment = self.amendment.clone();
        amendment.soften.remove(call)?;
        amendment.allow.insert(call.to_owned());
        let Ground { policy, groups, rules, .. } = ground;
        let relaxes = self.relaxes.clone();
        let firmer = || Candidate::new(self.rung, amendment.clone(), policy, groups, rules);
        (!amendment.soften.is_empty()).then(|| Candidate { relaxes, ..firmer() })
    }

    /// What somebody made of a drop-in: whatever the policy with it lets in that the one before did not.
    #[must_use]
    pub fn edited(before: &Policy, after: &Policy, groups: &Groups, rules: &Rules) -> Self {
        let names: BTreeSet<&String> = groups.calls().collect();
        let mut amendment = Amendment::default();
        for name in names {
            match after.action(name) {
                Action::Errno(errno) if before.action(name) != Action::Errno(errno) => {
                    amendment.soften.insert(name.clone(), errno);
                }
                action if before.forbids(name) && !action.denies() => {
                    amendment.allow.insert(name.clone());
                }
                _ => {}
            }
        }
        let admitted =
            Arch::of_this_kernel().iter().filter(|arch| after.admits(**arch) && !before.admits(**arch));
        amendment.architectures = admitted.copied().collect();
        Candidate::new(Rung::Edited, amendment, before, groups, rules)
    }

    /// What it opens that hands over the system, calls and settings, with what each lets a program do.
    #[must_use]
    pub fn high_risk(&self) -> Vec<(String, String)> {
        let calls = self.opens.iter().filter(|power| power.risk.high);
        let calls = calls.map(|power| (power.call.clone(), power.risk.lets.clone()));
        let lines = self.relaxes.iter().filter(|line| line.high);
        calls.chain(lines.map(|line| (line.line(), line.lets.clone()))).collect()
    }

    /// Whether it gives nothing away.
    #[must_use]
    pub fn adds_no_power(&self) -> bool {
        let free = self.opens.iter().all(|power| power.adds.is_none());
        free && self.amendment.architectures.is_empty() && self.relaxes.is_empty()
    }

    /// What it does, to follow "to": `allow setrlimit`.
    #[must_use]
    pub fn deed(&self) -> String {
        let mut parts = Vec::new();
        if !self.amendment.allow.is_empty() {
            parts.push(format!("allow {}", few(&self.amendment.allow)));
        }
        let mut soft: BTreeMap<u16, Vec<&String>> = BTreeMap::new();
        for (name, errno) in &self.amendment.soften {
            soft.entry(*errno).or_default().push(name);
        }
        for (errno, names) in soft {
            parts.push(format!("let {} fail with {}", few(names), errno_name(errno)));
        }
        if !self.amendment.architectures.is_empty() {
            let names: Vec<_> = self.amendment.architectures.iter().map(|a| a.systemd_name()).collect();
            parts.push(format!("let in programs of the architecture {}", names.join(", ")));
        }
        if !self.amendment.settings.is_empty() {
            parts.push(format!("add {}", list(&self.amendment.settings)));
        }
        if parts.is_empty() { "change nothing".to_owned() } else { parts.join(" and ") }
    }

    /// The change in words: what it does and how much it opens.
    #[must_use]
    pub fn words(&self) -> String {
        let words = self.deed();
        let count = self.opens.len();
        let more = match count {
            0 if self.amendment.soften.is_empty() => return words,
            0 => "no call more".to_owned(),
            1 => "1 call more".to_owned(),
            n => format!("{n} calls more"),
        };
        let fewer = self.instead.as_ref().filter(|wider| wider.calls > count);
        let fewer = fewer.map(|wider| format!("; {} fewer than {}", wider.calls - count, wider.words));
        format!("{words} ({more}{})", fewer.unwrap_or_default())
    }
}

/// Names; of very many, only the first.
fn few<'a>(names: impl IntoIterator<Item = &'a String>) -> String {
    const SHOWN: usize = 12;
    let names: Vec<&String> = names.into_iter().collect();
    match names.get(..SHOWN).filter(|_| names.len() > SHOWN + 1) {
        Some(first) => {
            let first: Vec<&str> = first.iter().map(|name| name.as_str()).collect();
            format!("{} and {} others", first.join(", "), names.len() - SHOWN)
        }
        None => list(names),
    }
}

/// What people do by hand: take the deciding groups out of a deny list, or put whole groups on an allow list.
pub(super) fn wider(needs: &Needs, policy: &Policy, groups: &Groups) -> Option<Wider> {
    match &policy.filter {
        Filter::None => None,
        Filter::Deny(list_) => {
            let tokens: BTreeMap<String, &Token> = needs
                .calls
                .iter()
                .filter_map(|name| list_.token(name))
                .filter(|token| token.text.starts_with('@'))
                .map(|token| (token.text.clone(), token))
                .collect();
            let opened: usize = tokens.values().map(|token| list_.names_of(token)).sum();
            let words = format!("taking {} out of the deny list", list(tokens.keys()));
            (!tokens.is_empty()).then_some(Wider { words, calls: opened })
        }
        Filter::Allow(_) => {
            let names: BTreeSet<&str> = needs
                .calls
                .iter()
                .filter_map(|name| groups.holding(name).into_iter().find(|g| *g != "@known"))
                .collect();
            let members: BTreeSet<&String> =
                names.iter().filter_map(|g| groups.members(g)).flatten().collect();
            let opened = members.iter().filter(|m| groups.knows(m) && !policy.filter.lists(m)).count();
            (!names.is_empty()).then(|| Wider { words: format!("allowing {}", list(&names)), calls: opened })
        }
    }
}
