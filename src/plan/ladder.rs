//! The ladder: every way to repair a unit that there is, the one that gives away the least first.

use super::candidate::{Candidate, Rung, wider};
use super::{Amendment, Needs, Plan, cover};
use crate::policy::{Action, Policy};
use crate::rules::Rules;
use crate::syscalls::Groups;
use crate::unit::{SourceFile, Unit};
use std::collections::BTreeSet;
use std::path::Path;

/// What a plan is made from.
#[derive(Clone, Copy)]
pub struct Ground<'a> {
    /// The unit.
    pub unit: &'a Unit,
    /// What its settings let every call do.
    pub policy: &'a Policy,
    /// The groups of its systemd.
    pub groups: &'a Groups,
    /// What is known of calls.
    pub rules: &'a Rules,
}

/// What was asked for, where the smallest change is not what is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Prefer {
    /// Allow exactly what was denied.
    Exact,
    /// Let denied calls fail, where that is enough.
    Soft,
    /// Also allow their siblings.
    Family,
    /// Allow whole groups.
    Group,
}

impl Prefer {
    /// Its name on the command line, which is that of the rung.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.rung().name()
    }

    /// Whether a candidate is of this kind.
    #[must_use]
    pub fn is_kind_of(self, candidate: &Candidate) -> bool {
        candidate.rung == self.rung() || candidate.rung == Rung::Edited
    }

    fn rung(self) -> Rung {
        match self {
            Prefer::Exact => Rung::Exact,
            Prefer::Soft => Rung::Soft,
            Prefer::Family => Rung::Family,
            Prefer::Group => Rung::Group,
        }
    }
}

impl Plan {
    /// Every candidate, ranked: what adds no power, softer, exact, family, group; what is preferred before all.
    /// Nothing, if nothing has to be changed.
    #[must_use]
    pub fn ladder(needs: Needs, ground: Ground, prefer: Option<Prefer>) -> Option<Self> {
        if needs.is_empty() {
            return None;
        }
        let of = |rung, amendment| {
            let relaxes = needs.settings.lines.clone();
            let candidate = Candidate::new(rung, amendment, ground.policy, ground.groups, ground.rules);
            Candidate { relaxes, ..candidate }
        };
        let mut exact = of(Rung::Exact, exact(&needs));
        exact.instead = wider(&needs, ground.policy, ground.groups);
        // where allowing adds nothing, there is no reason to keep a call forbidden
        let free: BTreeSet<String> = match prefer {
            Some(Prefer::Soft) => BTreeSet::new(),
            _ => exact.opens.iter().filter(|p| p.adds.is_none()).map(|p| p.call.clone()).collect(),
        };
        let soft = soft(&needs, ground, &free).map(|amendment| of(Rung::Soft, amendment));
        let family = family(&needs, ground).map(|amendment| of(Rung::Family, amendment));
        let group = group(&needs, ground).map(|amendment| of(Rung::Group, amendment));
        let mut candidates = Vec::new();
        candidates.extend(soft);
        let at = if exact.adds_no_power() { 0 } else { candidates.len() };
        candidates.insert(at, exact);
        candidates.extend(family);
        candidates.extend(group);
        let mut note = None;
        if let Some(prefer) = prefer {
            match candidates.iter().position(|candidate| candidate.rung == prefer.rung()) {
                Some(at) => candidates[..=at].rotate_right(1),
                None => note = Some(missing(prefer, needs.calls.is_empty())),
            }
        }
        Some(Plan { needs, candidates, refuted: Vec::new(), note })
    }
}

/// Why there is no candidate of the kind that was asked for.
fn missing(prefer: Prefer, no_calls: bool) -> String {
    if no_calls {
        return "no call of it is denied by SystemCallFilter=".to_owned();
    }
    match prefer {
        Prefer::Exact => String::new(), // there always is one
        Prefer::Soft => "this systemd cannot let these calls fail with an errno that helps".to_owned(),
        Prefer::Family => "these calls have no siblings that are forbidden".to_owned(),
        Prefer::Group => "no group holds these calls".to_owned(),
    }
}

fn exact(needs: &Needs) -> Amendment {
    Amendment { allow: needs.calls.iter().cloned().collect(), ..needs.beside_calls() }
}

/// Let every call fail for which that can be said, but those that are free. Nothing, if that is none.
fn soft(needs: &Needs, ground: Ground, free: &BTreeSet<String>) -> Option<Amendment> {
    let mut amendment = exact(needs);
    for call in needs.calls.iter().filter(|call| !free.contains(*call)) {
        let errnos = ground.rules.soft_errnos(call).into_iter();
        if let Some(errno) = errnos.into_iter().find(|errno| is_expressible(call, *errno, ground)) {
            amendment.allow.remove(call);
            amendment.soften.insert(call.clone(), errno);
        }
    }
    (!amendment.soften.is_empty()).then_some(amendment)
}

/// Whether this systemd can let a call fail with an errno that is not what the filter does anyway. The words are tried
/// out on the unit: what the policy makes of them, and what it finds wrong with them, decides.
fn is_expressible(call: &str, errno: u16, ground: Ground) -> bool {
    if ground.policy.default == Action::Errno(errno) {
        return false;
    }
    let amendment = Amendment { soften: [(call.to_owned(), errno)].into(), ..Amendment::default() };
    let path = Path::new("/unitfix");
    let text = format!("[Service]\n{}", amendment.lines());
    let unit = ground.unit.with_drop_in(SourceFile::new(path, text), ground.groups.systemd);
    let after = Policy::evaluate(&unit, ground.groups);
    let complaint =
        |finding: &&crate::finding::Finding| finding.span.as_ref().is_some_and(|span| span.file.path == path);
    after.action(call) == Action::Errno(errno) && after.findings.iter().find(complaint).is_none()
}

/// Allow the siblings of the denied calls as well. Nothing, if there are none.
fn family(needs: &Needs, ground: Ground) -> Option<Amendment> {
    let mut amendment = exact(needs);
    let before = amendment.allow.len();
    for call in &needs.calls {
        let siblings = ground.rules.siblings(call, ground.groups).into_iter();
        amendment.allow.extend(siblings.filter(|sibling| ground.policy.forbids(sibling)));
    }
    (amendment.allow.len() > before).then_some(amendment)
}

/// Allow whole groups, so that the fewest calls are opened. Nothing, if no group holds any of them.
fn group(needs: &Needs, ground: Ground) -> Option<Amendment> {
    let allow = cover(&needs.calls, ground.policy, ground.groups)?;
    Some(Amendment { allow, ..exact(needs) })
}
