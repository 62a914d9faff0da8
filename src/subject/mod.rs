//! What is repaired: a unit of the running manager, a unit below a root folder, or a bare unit file.

mod file;
mod inspect;
pub(crate) mod leftovers;
mod managed;
mod meant;
mod options;
mod rooted;
mod running;
mod users;
mod watched;

pub use file::UnitFile;
pub use inspect::{Inspected, Inspector, Whereabouts, groups_at, groups_to_explain};
pub use managed::ManagedUnit;
pub use meant::Register;
pub use options::SubjectOptions;
pub use rooted::RootedUnit;
pub use users::UserUnit;

use crate::change::{Approval, Store};
use crate::evidence::{Denial, Effect, Untrusted, summary};
use crate::finding::Finding;
use crate::manager::Standing;
use crate::plan::{Candidate, DropIn, Plan};
use crate::policy::{Because, Policy};
use crate::replay::{Casualty, CheckResult, Observation, Outcome};
use crate::report::DenialRow;
use crate::root::Root;
use crate::syscalls::Groups;
use crate::unit::Unit;
use crate::unit::exec::Stage;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

/// Why a run cannot go on. Nothing was changed, or it was put back.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The command line asks for something that does not exist.
    #[error("{0}")]
    Usage(String),
    /// The unit is such that no repair can be offered.
    #[error("{0}")]
    Hopeless(String),
    /// This system cannot do it: no manager, no privilege, no audit and no strace.
    #[error("{0}")]
    System(String),
    /// It was applied, did not help and was taken back.
    #[error("{0}")]
    RolledBack(String),
    /// Ctrl-C or SIGTERM; everything was put back.
    #[error("interrupted: everything is as it was")]
    Interrupted,
}

/// What is known before any replay.
#[derive(Debug, Default)]
pub struct Evidence {
    /// Denials from the logs; those that are known to be the unit's carry an attribution.
    pub denials: Vec<Denial>,
    /// What the unit does now; nothing where it does not run anywhere.
    pub outcome: Option<Outcome>,
    /// That in a sentence.
    pub state: String,
    /// A process of the unit was killed by SIGSYS since its files were changed, whatever the call was.
    pub sigsys: bool,
    /// What the user's own check says of it now, where there is one and it runs.
    pub check: Option<CheckResult>,
    /// Logs could not be read: that nothing is on record says nothing.
    pub blind: bool,
    /// What could not be read, and what is odd.
    pub findings: Vec<Finding>,
}

/// What a proof or a verification showed.
#[derive(Clone, Debug)]
pub enum Verdict {
    /// It works; how this was seen.
    Works(String),
    /// Nothing shows it here; what is to be said instead.
    NotProvable(String),
    /// Calls of it are still denied.
    StillDenied(Vec<Denial>),
    /// It fails for another reason.
    FailsOtherwise(Outcome),
    /// Processes that were refused a call, as the repair has it, ended badly then.
    Casualties(Vec<Casualty>),
    /// The user's own check fails.
    CheckFails(CheckResult),
    /// The manager did not take the change as it was meant; how it reads.
    Ignored(String),
}

impl Evidence {
    /// Whether calls were denied of which it is not known whose they were.
    #[must_use]
    pub fn has_nobodys(&self) -> bool {
        self.denials.iter().any(|denial| !denial.is_ours())
    }

    /// Whether it works, as far as its state and the user's check tell; nothing where it does not run anywhere.
    #[must_use]
    pub fn works(&self) -> Option<bool> {
        let checked = self.check.as_ref().is_none_or(CheckResult::passed);
        self.outcome.as_ref().map(|outcome| outcome.healthy() && checked)
    }
}

impl Verdict {
    /// What a run under a policy shows, in which these calls may fail. `how` is what to say if it works.
    #[must_use]
    pub fn of(observation: Observation, policy: &Policy, may_fail: &BTreeSet<&str>, how: String) -> Self {
        // what systemd wants to fail softly is no failure of the repair
        let soft = |d: &Denial| {
            if d.raw_arguments.is_some() {
                return true; // what another setting refuses, the unit was seen to work without
            }
            let unknown = matches!(policy.decide(d.call).because, Because::Unknown);
            unknown
                || (d.effect != Effect::Killed && d.call.name().is_some_and(|name| may_fail.contains(name)))
        };
        let denied: Vec<Denial> = observation.denials.into_iter().filter(|d| !soft(d)).collect();
        if !denied.is_empty() {
            return Verdict::StillDenied(denied);
        }
        match (observation.outcome, observation.check) {
            (outcome @ Outcome::Failed { .. }, _) => Verdict::FailsOtherwise(outcome),
            (_, Some(check)) if !check.passed() => Verdict::CheckFails(check),
            (_, Some(_)) => Verdict::Works(how), // what the user calls healthy, is
            _ => match observation.casualties {
                Some(casualties) if !casualties.is_empty() => Verdict::Casualties(casualties),
                _ => Verdict::Works(how),
            },
        }
    }
}

impl Verdict {
    /// What speaks against the repair; nothing, if nothing does. `with` says what was in force: "with it".
    #[must_use]
    pub fn against(&self, with: &str, policy: &Policy) -> Option<String> {
        match self {
            Verdict::Works(_) | Verdict::NotProvable(_) => None,
            Verdict::StillDenied(denials) => {
                let rows = summary(denials);
                let rows = rows.iter().map(|sighting| DenialRow::new(sighting, policy));
                let rows: Vec<String> = rows.map(|row| format!("{} ({})", row.call, row.program)).collect();
                Some(format!("{with}, calls are still denied: {}", rows.join(", ")))
            }
            Verdict::FailsOtherwise(outcome) => {
                Some(format!("{with}, the unit {}", Untrusted::new(outcome.to_string())))
            }
            Verdict::Casualties(casualties) => {
                let mut words: Vec<String> = casualties.iter().map(ToString::to_string).collect();
                words.dedup(); // the same child, again and again
                words.truncate(3);
                Some(words.join("; "))
            }
            Verdict::CheckFails(check) => Some(format!("{with}, {check}")),
            Verdict::Ignored(words) => Some(words.clone()),
        }
    }
}

/// Runs of a unit, each under another amendment of its settings. When it is dropped, everything is as it was.
pub trait Bench {
    /// Run the unit once under this drop-in. `seen` are the denials that were seen when nothing was forbidden.
    fn run(&mut self, drop_in: &DropIn, seen: &[Denial]) -> Result<Observation, Failure>;
    /// Put everything back, and say if that fails.
    fn close(self: Box<Self>) -> Result<(), Failure>;
}

/// A unit, and what its settings mean to its systemd.
pub struct Judged {
    /// The unit.
    pub unit: Unit,
    /// The groups of its systemd.
    pub groups: Groups,
    /// What its settings let every call do.
    pub policy: Policy,
}

impl Judged {
    /// Judge a unit by the groups of a systemd.
    fn of(unit: Unit, groups: Groups) -> Self {
        let policy = Policy::evaluate(&unit, &groups);
        Judged { unit, groups, policy }
    }

    /// Judge a unit that is to be repaired: one without a command has nothing that could be denied.
    fn new(unit: Unit, groups: Groups) -> Result<Self, Failure> {
        if unit.commands(Stage::Start).is_empty() {
            let message = format!("{} has no ExecStart=: nothing runs that could be denied", unit.name);
            return Err(Failure::Hopeless(message));
        }
        Ok(Judged::of(unit, groups))
    }

    /// The unit with a drop-in, and what its settings mean then.
    fn with(&self, drop_in: &DropIn) -> (Unit, Policy) {
        let unit = Plan::applied(&self.unit, drop_in, self.groups.systemd);
        let policy = Policy::evaluate(&unit, &self.groups);
        (unit, policy)
    }
}

/// A thing that can be repaired.
pub trait Subject {
    /// How the user named it.
    fn label(&self) -> String;
    /// The unit with what its settings mean.
    fn judged(&self) -> &Judged;
    /// The unit.
    fn unit(&self) -> &Unit {
        &self.judged().unit
    }
    /// What its settings let every call do.
    fn policy(&self) -> &Policy {
        &self.judged().policy
    }
    /// The groups of its systemd.
    fn groups(&self) -> &Groups {
        &self.judged().groups
    }
    /// The root below which its repair is written.
    fn root(&self) -> Root;
    /// The folder of its drop-ins, from inside that root.
    fn drop_in_folder(&self) -> PathBuf;
    /// Where its receipts are kept.
    fn store(&self) -> Store;
    /// The command that takes a repair back.
    fn undo_command(&self) -> String;
    /// Whether only root may replay and repair it, and this is somebody else.
    fn needs_root(&self) -> bool {
        false
    }
    /// The logs.
    fn evidence(&self) -> Result<Evidence, Failure>;
    /// What a replay does to the running system, in a sentence; nothing: it disturbs nothing.
    fn replay_consequence(&self) -> Option<String>;
    /// How long a run of it is watched.
    fn observe_time(&self) -> Duration;
    /// What to say while it goes on; nothing: it cannot be replayed, and why.
    fn replay_notice(&self) -> Result<String, String>;
    /// Run it once with forbidden calls let through. `seen` are the denials that are known already.
    fn observe(&self, seen: &[Denial], approved: Option<&Approval>) -> Result<Observation, Failure>;
    /// Runs under amended settings, one after the other. `approved`: somebody agreed to restarts.
    fn bench<'b>(&'b self, approved: Option<&'b Approval>) -> Result<Box<dyn Bench + 'b>, Failure>;
    /// Whether a run under an amendment disturbs nothing, so that every repair is proven before it is offered.
    fn proves_beforehand(&self) -> bool {
        false // what runs here is only disturbed for what cannot be known otherwise
    }
    /// What to say while the unit is run under an amendment.
    fn trial_notice(&self, doing: &str) -> String;
    /// The unit as it would be with a drop-in, and what its settings then mean.
    fn amended(&self, drop_in: &DropIn) -> Policy {
        self.judged().with(drop_in).1
    }
    /// What applying does, and the question before it.
    fn apply_question(&self) -> (String, String);
    /// The repair is written: put it in force and see whether it helps.
    fn put_in_force(&self, candidate: &Candidate, drop_in: &DropIn) -> Result<Verdict, Failure>;
    /// How the unit stands, where a manager runs it.
    fn standing(&self) -> Option<Standing> {
        None
    }
    /// The repair was taken back: make that true for the running unit as well.
    fn put_back(&self) -> Result<(), Failure> {
        Ok(()) // nothing of it runs
    }
    /// Nothing was applied: leave the unit as it was found.
    fn leave(&self) -> Result<(), Failure> {
        Ok(()) // it was not disturbed
    }
    /// It is repaired: nothing of the former state is owed to it any more.
    fn settled(&self) -> Result<(), Failure> {
        Ok(()) // nor was it before
    }
}
