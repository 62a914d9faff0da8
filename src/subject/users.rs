//! A unit of a user's own service manager. Nobody but root hears the kernel's records, so its commands are replayed here,
//! without the manager, which restarts it in the end to see whether the repair helps.

use super::running::{RunningUnit, failure};
use super::{Bench, Evidence, Failure, Judged, Subject, SubjectOptions, Verdict};
use crate::change::{Approval, Store};
use crate::evidence::Denial;
use crate::manager::{BusManager, Manager, Standing};
use crate::plan::{Candidate, DropIn};
use crate::replay::Observation;
use crate::replay::local::{self, LocalError};
use crate::replay::session::Pause;
use crate::root::Root;
use crate::scope::{Owner, Scope};
use crate::unit::UnitName;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// A unit of a user's own service manager.
pub struct UserUnit<'a> {
    running: RunningUnit<'a>,
}

impl<'a> UserUnit<'a> {
    /// Load a unit as the manager of the user who runs this program sees it.
    pub fn load(manager: &'a BusManager, asked: &UnitName, options: SubjectOptions) -> Result<Self, Failure> {
        let version = manager.version().map_err(failure)?;
        let environment = manager.environment().map_err(failure)?;
        let scope = Scope::User(Arc::new(Owner::caller().told(version, &environment, manager.umask())));
        Ok(UserUnit { running: RunningUnit::load(manager, &scope, asked, options)? })
    }

    fn name(&self) -> &UnitName {
        &self.running.judged.unit.name
    }

    fn scope(&self) -> &Scope {
        &self.running.judged.unit.scope
    }

    fn local(&self) -> local::Options {
        self.running.options.local()
    }

    /// Run commands of the unit here, while it is stopped if it runs.
    fn while_stopped(
        &self,
        approved: Option<&Approval>,
        run: impl FnOnce() -> Result<Observation, LocalError>,
    ) -> Result<Observation, Failure> {
        let Some(approved) = approved else {
            return Err(Failure::System("a replay stops the unit, which nobody agreed to".to_owned()));
        };
        let manager = self.running.manager;
        let runs = || manager.status(self.name()).map(|status| status.is_up()).map_err(failure);
        let pause = runs()?.then(|| Pause::begin(manager, self.scope(), self.name(), approved));
        let pause = pause.transpose().map_err(failure)?;
        let observation = run();
        let disturbed = runs()?;
        pause.map_or(Ok(()), Pause::end).map_err(failure)?;
        if self.running.options.interrupt.raised() {
            return Err(Failure::Interrupted);
        }
        let mut observation = observation.map_err(|error| Failure::System(error.to_string()))?;
        if disturbed {
            let name = self.name();
            observation
                .notes
                .push(format!("{name} itself was started meanwhile, and may have been in the way"));
        }
        Ok(observation)
    }

    fn seconds(&self) -> u64 {
        self.observe_time().as_secs()
    }
}

impl Subject for UserUnit<'_> {
    fn label(&self) -> String {
        self.name().to_string()
    }

    fn judged(&self) -> &Judged {
        &self.running.judged
    }

    fn root(&self) -> Root {
        Root::default()
    }

    fn drop_in_folder(&self) -> PathBuf {
        self.scope().drop_in_folder(self.name())
    }

    fn store(&self) -> Store {
        Store::of(self.scope())
    }

    fn undo_command(&self) -> String {
        format!("unitfix revert {}{}", self.name(), self.scope().option())
    }

    fn evidence(&self) -> Result<Evidence, Failure> {
        self.running.evidence()
    }

    fn replay_consequence(&self) -> Option<String> {
        let (name, seconds) = (self.name(), self.seconds());
        let runs = format!("runs its commands here for {seconds} s with forbidden calls let through");
        let again = "Each repair is run in the same way before it is offered.";
        let others = self.running.manager.stopped_with(name).unwrap_or_default();
        let others: Vec<String> = others.into_iter().map(|other| other.name).collect();
        Some(match self.running.standing() {
            Standing::Up if others.is_empty() => {
                format!("A replay stops {name}, {runs}, and starts it again. {again}")
            }
            Standing::Up => format!(
                "A replay stops {name}, and with it {}, {runs}, and starts them again. {again}",
                crate::plan::list(others)
            ),
            Standing::Failed | Standing::Down => {
                format!("{name} does not run. A replay {runs}; it stays as it is. {again}")
            }
        })
    }

    fn observe_time(&self) -> Duration {
        self.running.options.observe
    }

    fn replay_notice(&self) -> Result<String, String> {
        Ok(format!("Running the commands of {} here for at most {} s", self.name(), self.seconds()))
    }

    fn observe(&self, _seen: &[Denial], approved: Option<&Approval>) -> Result<Observation, Failure> {
        let Judged { unit, policy, .. } = &self.running.judged;
        self.while_stopped(approved, || local::record(unit, policy, &self.local()))
    }

    fn bench<'b>(&'b self, approved: Option<&'b Approval>) -> Result<Box<dyn Bench + 'b>, Failure> {
        Ok(Box::new(UserBench { unit: self, approved }))
    }

    fn proves_beforehand(&self) -> bool {
        true
    }

    fn trial_notice(&self, doing: &str) -> String {
        format!("Running the commands of {} here {doing}", self.name())
    }

    fn apply_question(&self) -> (String, String) {
        let (name, seconds) = (self.name(), self.seconds());
        (
            format!(
                "A yes writes this, reloads the manager, restarts {name} and watches it for {seconds} s."
            ),
            "Write this, reload and restart?".to_owned(),
        )
    }

    fn put_in_force(&self, candidate: &Candidate, drop_in: &DropIn) -> Result<Verdict, Failure> {
        self.running.put_in_force(candidate, drop_in)
    }

    fn standing(&self) -> Option<Standing> {
        Some(self.running.standing())
    }

    fn put_back(&self) -> Result<(), Failure> {
        self.running.put_back()
    }
}

/// Runs under amended settings, here.
struct UserBench<'b> {
    unit: &'b UserUnit<'b>,
    approved: Option<&'b Approval>,
}

impl Bench for UserBench<'_> {
    fn run(&mut self, drop_in: &DropIn, _seen: &[Denial]) -> Result<Observation, Failure> {
        let user = self.unit;
        let (unit, policy) = user.running.judged.with(drop_in);
        user.while_stopped(self.approved, || local::prove(&unit, &policy, &user.local()))
    }

    fn close(self: Box<Self>) -> Result<(), Failure> {
        Ok(()) // each run puts everything back
    }
}
