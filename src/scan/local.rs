//! The units that are at hand, those of the running system or below a root folder: what they forbid, and which of them
//! run a program. Only files are read, and no service manager is asked.

use super::tally::Seen;
use crate::evidence::attribute::{UnitFacts, interprets};
use crate::evidence::{Attribution, Denial, Effect, Untrusted, gather};
use crate::policy::{Action, Policy};
use crate::replay::Users;
use crate::root::Root;
use crate::subject::{Failure, Whereabouts, groups_at};
use crate::syscalls::Groups;
use crate::unit::{Examined, LoadState, NameMap, Unit, UnitName, started};
use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// So many units of one system are looked at.
const UNITS_MAX: usize = 5_000;

/// So many units that may be meant are named.
pub(super) const POSSIBLE_MAX: usize = 3;

/// A system whose units are at hand.
pub(super) struct Local {
    root: Root,
    host: Option<Untrusted>,
    groups: Groups,
    map: NameMap,
    units: OnceCell<Vec<AtHand>>,
}

/// A unit at hand.
pub(super) struct AtHand {
    pub unit: Unit,
    pub policy: Policy,
    programs: Vec<PathBuf>,
    /// The users that it runs as; those below a root are not known here.
    users: Option<Users>,
}

impl Local {
    /// The running system, or the one below a root.
    pub(super) fn new(root: Option<&Root>) -> Result<Self, Failure> {
        let groups = groups_at(&Whereabouts { root: root.cloned(), ..Whereabouts::default() })?;
        let map = NameMap::read(&root.cloned().unwrap_or_default(), groups.systemd);
        let host = match root {
            None => std::fs::read("/proc/sys/kernel/hostname").ok(),
            Some(root) => root.read_at_most(Path::new("/etc/hostname"), 4096).ok(),
        };
        let host = host.map(|name| Untrusted::new(name.trim_ascii()));
        let root = root.cloned().unwrap_or_default();
        Ok(Local { root, host: host.filter(|name| !name.is_empty()), groups, map, units: OnceCell::new() })
    }

    /// Whether a host is this one. A log that names none is taken for one of this system, and a root that has no name
    /// for that of its logs.
    pub(super) fn is_here(&self, host: Option<&Untrusted>) -> bool {
        host.is_none() || self.host.is_none() || host == self.host.as_ref()
    }

    /// A host by the name that it has in a report: this one's own, whether a log names it or not.
    pub(super) fn host<'a>(&'a self, named: Option<&'a Untrusted>) -> Option<&'a Untrusted> {
        self.host.as_ref().filter(|_| named.is_none()).or(named)
    }

    /// Whether a report has to say which host it is.
    pub(super) fn is_told_apart(&self, host: Option<&Untrusted>) -> bool {
        host != self.host.as_ref()
    }

    /// A unit of this system; nothing where it cannot be loaded.
    pub(super) fn unit(&self, name: &UnitName) -> Option<AtHand> {
        let Examined { state, unit } = Unit::examine_in(&self.map, name);
        if state != LoadState::Loaded {
            return None;
        }
        let policy = Policy::evaluate(&unit, &self.groups);
        let programs = gather::programs(&unit, &self.root);
        let users = self.root.is_system().then(|| Users::of(&unit));
        Some(AtHand { unit, policy, programs, users })
    }

    /// All of them.
    fn units(&self) -> &[AtHand] {
        self.units.get_or_init(|| {
            let mut units: BTreeMap<UnitName, AtHand> = BTreeMap::new();
            // a template is no unit, and its instances that run have no file
            let instances = started(&self.root).filter(|name| name.instance().is_some());
            for name in self.map.services().chain(instances).take(UNITS_MAX) {
                if let Some(at_hand) = self.unit(&name) {
                    units.entry(at_hand.unit.name.clone()).or_insert(at_hand); // an alias is no unit of its own
                }
            }
            units.into_values().collect()
        })
    }

    /// Find out whose the processes are that nobody told of.
    pub(super) fn claim(&self, seen: &mut [Seen]) {
        for seen in seen.iter_mut().filter(|seen| seen.unit.is_none()) {
            let Some(denial) = seen.denial.as_mut().filter(|denial| !denial.process.login) else { continue };
            if !self.is_here(seen.host.as_ref()) {
                continue;
            }
            let (owner, possible) = whose(denial, self.units());
            if let Some(owner) = owner {
                seen.unit = Some(Untrusted::new(owner.unit.name.as_str()));
                denial.attribution = Some(Attribution::OwnProgram);
            }
            seen.possible = possible;
        }
    }
}

/// The one unit whose process it was, if there is one; else those that may be meant.
fn whose<'a>(denial: &Denial, units: &'a [AtHand]) -> (Option<&'a AtHand>, Vec<String>) {
    let own: Vec<&AtHand> = units.iter().filter(|unit| unit.facts(|facts| facts.is_own(denial))).collect();
    let runs = own.iter().copied().filter(|unit| unit.runs_as(denial) && !interprets(denial));
    // one that was changed since may have forbidden it then
    let forbade =
        |unit: &&AtHand| unit.forbids(denial) || denial.time.is_some_and(|t| unit.unit.changed() > t);
    let runs: Vec<&AtHand> = runs.filter(forbade).collect();
    if let [one] = runs.as_slice() {
        return (Some(one), Vec::new());
    }
    let names = |units: Vec<&AtHand>| match units.len() {
        1..=POSSIBLE_MAX => units.iter().map(|unit| unit.unit.name.to_string()).collect(),
        _ => Vec::new(), // of very many, naming them tells nothing
    };
    if !own.is_empty() {
        let forbidding: Vec<&AtHand> = own.into_iter().filter(|unit| unit.forbids(denial)).collect();
        return (None, names(forbidding));
    }
    // a child of a service: one whose filter does this
    let able = units.iter().filter(|unit| unit.forbids(denial) && unit.runs_as(denial));
    (None, names(able.take(POSSIBLE_MAX + 1).collect()))
}

impl AtHand {
    /// Whether the unit does to this call what became of it.
    fn forbids(&self, denial: &Denial) -> bool {
        let decision = self.policy.decide(denial.call);
        match denial.effect {
            Effect::Killed => decision.action == Action::Kill,
            Effect::Recorded | Effect::Failed(_) => decision.denies(),
        }
    }

    fn runs_as(&self, denial: &Denial) -> bool {
        let Some(users) = &self.users else { return true };
        denial.process.user.is_none_or(|user| users.include(user))
    }

    fn facts(&self, ask: impl Fn(&UnitFacts) -> bool) -> bool {
        ask(&UnitFacts {
            main_pid: None,
            main_times: (0, 0),
            journal_pids: BTreeMap::new(),
            programs: self.programs.clone(),
            runs_as: &|user| self.users.as_ref().is_none_or(|users| users.include(user)),
            doubts_interpreters: true,
            policy: &self.policy,
            only_candidate: &|_| false,
        })
    }
}
