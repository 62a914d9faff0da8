//! A unit of the system's service manager.

use super::running::{RunningUnit, replay_failure, session_failure};
use super::{Bench, Evidence, Failure, Judged, Subject, SubjectOptions, Verdict};
use crate::change::{Approval, Store};
use crate::cli::as_root;
use crate::evidence::{Denial, gather};
use crate::manager::{Manager, Standing};
use crate::plan::{Candidate, DropIn};
use crate::policy::Policy;
use crate::replay::session;
use crate::replay::{Observation, Replay, ReplayError, Trial, Trials};
use crate::root::Root;
use crate::scope::Scope;
use crate::unit::UnitName;
use std::path::PathBuf;
use std::time::Duration;

/// A unit of the system's service manager.
pub struct ManagedUnit<'a> {
    running: RunningUnit<'a>,
}

impl<'a> ManagedUnit<'a> {
    /// Load a unit as the manager sees it.
    pub fn load(
        manager: &'a dyn Manager,
        asked: &UnitName,
        options: SubjectOptions,
    ) -> Result<Self, Failure> {
        Ok(ManagedUnit { running: RunningUnit::load(manager, &Scope::System, asked, options)? })
    }

    /// How it stands from now on counts.
    pub(super) fn look_again(&mut self) -> Result<(), Failure> {
        self.running.look_again()
    }

    /// A replay under a policy, of which these denials are known already.
    pub(super) fn replay<'b>(&'b self, policy: &'b Policy, seen: &[Denial]) -> Replay<'b> {
        self.running.replay(policy, seen)
    }

    /// What a replay gave, with what this unit has to say to it; it is left as it was found.
    pub(super) fn observed(&self, result: Result<Observation, ReplayError>) -> Result<Observation, Failure> {
        if result.is_err() && !self.running.options.interrupt.raised() {
            let _ = self.leave(); // the first error is the one to tell
        }
        if self.running.options.interrupt.raised() {
            self.leave()?;
            return Err(Failure::Interrupted);
        }
        let mut observation = result.map_err(replay_failure)?;
        let programs = observation.denials.iter().filter_map(|d| d.process.exe.clone());
        self.running.programs.borrow_mut().extend(programs);
        if !observation.outcome.healthy() {
            observation.log = gather::last_lines(&self.running.judged.unit, 5);
        }
        Ok(observation)
    }
}

impl Subject for ManagedUnit<'_> {
    fn label(&self) -> String {
        self.running.judged.unit.name.to_string()
    }

    fn judged(&self) -> &Judged {
        &self.running.judged
    }

    fn root(&self) -> Root {
        Root::default()
    }

    fn drop_in_folder(&self) -> PathBuf {
        Scope::System.drop_in_folder(&self.running.judged.unit.name)
    }

    fn store(&self) -> Store {
        Store::new(&Root::default())
    }

    fn undo_command(&self) -> String {
        format!("unitfix revert {}", self.running.judged.unit.name)
    }

    fn needs_root(&self) -> bool {
        self.running.lock.is_none()
    }

    fn evidence(&self) -> Result<Evidence, Failure> {
        self.running.evidence()
    }

    fn replay_consequence(&self) -> Option<String> {
        let name = &self.running.judged.unit.name;
        let back = match self.running.standing() {
            Standing::Up => "then restarts it under its own",
            Standing::Failed => {
                "then stops it; unless it is repaired, it is started once more, to stand as failed"
            }
            Standing::Down => "then stops it",
        };
        let again = if self.running.judged.policy.restrictions.is_empty() {
            ""
        } else {
            " If it fails all the same, it is run again, with those of its other settings relaxed that deny it a call."
        };
        Some(format!(
            "A replay restarts {name}, runs it for {} s without its system call filter, {back}.{again}",
            self.running.options.observe.as_secs()
        ))
    }

    fn observe_time(&self) -> Duration {
        self.running.options.observe
    }

    fn replay_notice(&self) -> Result<String, String> {
        if self.running.lock.is_none() {
            return Err(format!("a replay needs root: {}", as_root()));
        }
        let strace = crate::replay::takes_strace(
            &self.running.judged.unit,
            self.running.options.via,
            self.running.options.blame,
        );
        let ways = if strace { "under strace" } else { "in complain mode" };
        Ok(format!(
            "Replaying {} {ways} for {} s",
            self.running.judged.unit.name,
            self.running.options.observe.as_secs()
        ))
    }

    fn observe(&self, seen: &[Denial], approved: Option<&Approval>) -> Result<Observation, Failure> {
        let Some(approved) = approved else {
            return Err(Failure::System("a replay restarts the unit, which nobody agreed to".to_owned()));
        };
        let replay = self.replay(&self.running.judged.policy, seen);
        self.observed(crate::replay::observe(&replay, self.running.options.via, approved))
    }

    fn bench<'b>(&'b self, approved: Option<&'b Approval>) -> Result<Box<dyn Bench + 'b>, Failure> {
        let Some(approved) = approved else {
            return Err(Failure::System("a trial restarts the unit, which nobody agreed to".to_owned()));
        };
        Ok(Box::new(ManagedBench {
            unit: self,
            trials: Trials::new(self.running.manager, &self.running.judged.unit.name, approved),
        }))
    }

    fn trial_notice(&self, doing: &str) -> String {
        format!(
            "Restarting {} {doing} for {} s",
            self.running.judged.unit.name,
            self.running.options.observe.as_secs()
        )
    }

    fn apply_question(&self) -> (String, String) {
        let (name, seconds) = (&self.running.judged.unit.name, self.running.options.observe.as_secs());
        (
            format!("A yes writes this, reloads systemd, restarts {name} and watches it for {seconds} s."),
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
        self.running.put_back()?;
        if self.running.standing() == Standing::Failed { self.settled() } else { Ok(()) }
    }

    fn leave(&self) -> Result<(), Failure> {
        if self.running.lock.is_none() {
            return Ok(());
        }
        session::leave(self.running.manager, &self.running.judged.unit.name).map_err(session_failure)
    }

    fn settled(&self) -> Result<(), Failure> {
        session::settled(&self.running.judged.unit.name).map_err(session_failure)
    }
}

/// Runs of a unit of the manager under amended settings.
struct ManagedBench<'a> {
    unit: &'a ManagedUnit<'a>,
    trials: Trials<'a>,
}

impl Bench for ManagedBench<'_> {
    fn run(&mut self, drop_in: &DropIn, seen: &[Denial]) -> Result<Observation, Failure> {
        let unit = self.unit;
        let policy = unit.amended(drop_in);
        let replay = unit.replay(&policy, &[]);
        let programs = unit.running.programs.borrow();
        let trial = Trial { text: &drop_in.text, seen, programs: &programs };
        let observation = self.trials.run(&replay, &trial);
        if unit.running.options.interrupt.raised() {
            return Err(Failure::Interrupted); // dropping the trials puts everything back
        }
        observation.map_err(replay_failure)
    }

    fn close(self: Box<Self>) -> Result<(), Failure> {
        self.trials.close().map_err(replay_failure)
    }
}
