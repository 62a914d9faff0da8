//! What was denied, as what has to be changed.

use crate::evidence::{Denial, Effect};
use crate::plan::Amendment;
use crate::policy::relax::Relaxations;
use crate::policy::{Action, Because, Policy};
use crate::syscalls::{Arch, Call, Groups};
use std::collections::BTreeSet;

/// What has to be let in, from what was denied.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// Calls by name, in the order in which they were seen first.
    pub calls: Vec<String>,
    /// Architectures.
    pub architectures: BTreeSet<Arch>,
    /// Denied calls that no setting of this system can let in.
    pub inexpressible: BTreeSet<Call>,
    /// Calls that the unit's author lets fail on purpose (`~name:EPERM`), which are left as they are.
    pub soft: BTreeSet<String>,
    /// Denied calls that the unit was seen to work without, which stay denied.
    pub spared: BTreeSet<String>,
    /// What has to be relaxed of other settings, as a replay with just that relaxed has shown.
    pub settings: Relaxations,
}

impl Needs {
    /// What these denials need under a policy. What the policy does not deny needs nothing.
    #[must_use]
    pub fn of<'a>(policy: &Policy, groups: &Groups, denials: impl IntoIterator<Item = &'a Denial>) -> Self {
        let mut needs = Needs::default();
        let mut denials: Vec<&Denial> = denials.into_iter().collect();
        denials.sort_by_key(|denial| denial.time); // stable: without a time, in the order of the source
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
            Some(name) if soft && denial.effect != Effect::Killed => {
                self.soft.insert(name.to_owned());
            }
            Some(name) if self.calls.iter().any(|known| known == name) => {}
            Some(name) => self.calls.push(name.to_owned()),
            None => {
                self.inexpressible.insert(call);
            }
        }
    }

    /// Let in what the unit's author lets fail on purpose as well: that is what ends it.
    pub fn insist(&mut self) {
        self.calls.extend(std::mem::take(&mut self.soft));
    }

    /// Only these calls have to be let in; the unit works without the others.
    pub fn spare_all_but(&mut self, needed: &BTreeSet<String>) {
        let (kept, spared) = self.calls.drain(..).partition(|call| needed.contains(call));
        self.calls = kept;
        self.spared.extend::<Vec<String>>(spared);
    }

    /// What every repair has to hold, beside the calls.
    #[must_use]
    pub fn beside_calls(&self) -> Amendment {
        Amendment {
            architectures: self.architectures.clone(),
            settings: self.settings.text(),
            ..Amendment::default()
        }
    }

    /// Whether nothing has to be let in.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.calls.is_empty() && self.architectures.is_empty() && self.settings.lines.is_empty()
    }
}
