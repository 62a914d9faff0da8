//! The plan: which change makes the unit work and opens the least.

mod drop_in;
mod risk;

pub use drop_in::{DropIn, HEADER};
pub use risk::high as high_risk;

use crate::evidence::{Denial, Effect};
use crate::policy::{Action, Because, Filter, Policy, Token};
use crate::syscalls::{Arch, Call, Groups};
use crate::unit::Unit;
use std::collections::{BTreeMap, BTreeSet};

/// What has to be let in, from what was denied.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// Calls by name.
    pub calls: BTreeSet<String>,
    /// Architectures.
    pub architectures: BTreeSet<Arch>,
    /// Denied calls that no setting of this system can let in.
    pub inexpressible: BTreeSet<Call>,
    /// Calls that the unit's author lets fail on purpose (`~name:EPERM`), which are left as they are.
    pub soft: BTreeSet<String>,
}

/// The change that is proposed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// What it lets in.
    pub needs: Needs,
    /// Those of the calls that hand over the system, with what each lets a program do.
    pub high_risk: Vec<(String, String)>,
    /// The wider change that people make by hand, and how many calls it would open.
    pub instead: Option<Wider>,
}

/// A wider change than the one proposed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wider {
    /// What people do, to follow "than".
    pub words: String,
    /// How many calls that opens.
    pub calls: usize,
}

impl Needs {
    /// What these denials need under a policy. What the policy does not deny needs nothing.
    #[must_use]
    pub fn of<'a>(policy: &Policy, groups: &Groups, denials: impl IntoIterator<Item = &'a Denial>) -> Self {
        let mut needs = Needs::default();
        for denial in denials {
            needs.add(policy, groups, denial);
        }
        needs
    }

    fn add(&mut self, policy: &Policy, groups: &Groups, denial: &Denial) {
        let call = denial.call;
        let decision = policy.decide(call);
        if !decision.denies() {
            return;
        }
        if let Because::Architecture(_) = decision.because {
            self.architectures.insert(call.arch);
            // the filter applies to the other architecture as well, once it is let in
            let beyond = policy.filter_alone(call);
            if !beyond.denies() {
                return;
            }
        }
        let soft = matches!(decision.because, Because::Listed(_))
            && decision.action != policy.default
            && matches!(decision.action, Action::Errno(_));
        match call.name().filter(|name| groups.knows(name)) {
            Some(name) if soft && denial.effect != Effect::Killed => self.soft.insert(name.to_owned()),
            Some(name) => self.calls.insert(name.to_owned()),
            None => self.inexpressible.insert(call),
        };
    }

    /// Let in what the unit's author lets fail on purpose as well: that is what ends it.
    pub fn insist(&mut self) {
        self.calls.append(&mut self.soft);
    }

    /// Whether nothing has to be let in.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.calls.is_empty() && self.architectures.is_empty()
    }
}

impl Plan {
    /// The smallest change: exactly what was denied, and nothing else. Nothing, if nothing has to be let in.
    #[must_use]
    pub fn smallest(needs: Needs, policy: &Policy, groups: &Groups) -> Option<Self> {
        if needs.is_empty() {
            return None;
        }
        let instead = wider(&needs, policy, groups);
        let high_risk = risk::high(&needs.calls, groups);
        Some(Plan { needs, high_risk, instead })
    }

    /// The change in words: what it does and what it opens.
    #[must_use]
    pub fn words(&self) -> String {
        let mut parts = Vec::new();
        if !self.needs.calls.is_empty() {
            parts.push(format!("allow {}", list(&self.needs.calls)));
        }
        if !self.needs.architectures.is_empty() {
            let names: Vec<_> = self.needs.architectures.iter().map(|a| a.systemd_name()).collect();
            parts.push(format!("let in programs of the architecture {}", names.join(", ")));
        }
        let count = self.needs.calls.len();
        let more = match count {
            0 => String::new(),
            1 => "1 call more".to_owned(),
            n => format!("{n} calls more"),
        };
        let fewer =
            self.instead.as_ref().filter(|wider| wider.calls > count).map_or(String::new(), |wider| {
                format!("; {} fewer than {}", wider.calls - count, wider.words)
            });
        if more.is_empty() { parts.join(" and ") } else { format!("{} ({more}{fewer})", parts.join(" and ")) }
    }

    /// The unit as it would be with a drop-in in the place of an earlier one of unitfix's own, read by the
    /// rules of this major version of systemd.
    #[must_use]
    pub fn applied(unit: &Unit, drop_in: &DropIn, version: u32) -> Unit {
        let mut after = unit.without_drop_in(drop_in.replaces.as_deref());
        after.add_drop_in(crate::unit::SourceFile::new(&drop_in.path, drop_in.text.as_bytes()), version);
        after
    }
}

/// Names, the last one joined by "and".
#[must_use]
pub fn list<T: AsRef<str>>(names: impl IntoIterator<Item = T>) -> String {
    let names: Vec<T> = names.into_iter().collect();
    let texts: Vec<&str> = names.iter().map(AsRef::as_ref).collect();
    match texts.split_last() {
        None => String::new(),
        Some((last, [])) => (*last).to_owned(),
        Some((last, rest)) => format!("{} and {last}", rest.join(", ")),
    }
}

/// What people do by hand: take the deciding groups out of a deny list, or put whole groups on an allow list.
fn wider(needs: &Needs, policy: &Policy, groups: &Groups) -> Option<Wider> {
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
