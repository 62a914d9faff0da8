//! What is repaired: a unit of the running manager, a unit below a root folder, or a bare unit file.

mod file;
mod inspect;
mod managed;
mod rooted;

pub use file::UnitFile;
pub use inspect::{Inspected, Whereabouts, groups_at, inspect};
pub use managed::{ManagedUnit, SubjectOptions};
pub use rooted::RootedUnit;

use crate::change::{Approval, Store};
use crate::evidence::Denial;
use crate::finding::Finding;
use crate::plan::{DropIn, Plan};
use crate::policy::Policy;
use crate::replay::{Observation, Outcome};
use crate::root::Root;
use crate::syscalls::Groups;
use crate::unit::exec::Stage;
use crate::unit::{Unit, UnitName};
use std::path::PathBuf;

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
    /// The manager did not take the change as it was meant; how it reads.
    Ignored(String),
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
    /// The logs.
    fn evidence(&self) -> Result<Evidence, Failure>;
    /// What a replay does to the running system, in a sentence; nothing: it disturbs nothing.
    fn replay_consequence(&self) -> Option<String>;
    /// What to say while it goes on; nothing: it cannot be replayed, and why.
    fn replay_notice(&self) -> Result<String, String>;
    /// Run it once with forbidden calls let through. `seen` are the denials that are known already.
    fn observe(&self, seen: &[Denial], approved: Option<&Approval>) -> Result<Observation, Failure>;
    /// Show that a repair works without writing it, where that is possible.
    fn prove(&self, plan: &Plan, drop_in: &DropIn) -> Result<Option<Verdict>, Failure>;
    /// What applying does, and the question before it.
    fn apply_question(&self) -> (String, String);
    /// The repair is written: put it in force and see whether it helps.
    fn put_in_force(&self, plan: &Plan, drop_in: &DropIn) -> Result<Verdict, Failure>;
    /// The repair was taken back: make that true for the running unit as well.
    fn put_back(&self) -> Result<(), Failure> {
        Ok(()) // nothing of it runs
    }
    /// Nothing was applied: leave the unit as it was found.
    fn leave(&self) -> Result<(), Failure> {
        Ok(()) // it was not disturbed
    }
}

/// The drop-in folder of a unit in /etc, where administrators' own drop-ins live (systemd.unit(5)).
#[must_use]
pub fn etc_folder(unit: &UnitName) -> PathBuf {
    PathBuf::from("/etc/systemd/system").join(format!("{unit}.d"))
}
