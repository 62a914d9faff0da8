//! A unit of the manager, watched over a working period.

use super::{Failure, ManagedUnit, Subject};
use crate::change::Approval;
use crate::cli::as_root;
use crate::evidence::Denial;
use crate::manager::Standing;
use crate::replay::{Observation, ReplayError};
use crate::watch::{self, Onlooker, Period};

impl ManagedUnit<'_> {
    /// Whether it can be watched, before anybody is asked; else what to do instead.
    pub fn can_be_watched(&self) -> Result<(), Failure> {
        let (name, policy) = (&self.unit().name, self.policy());
        if self.needs_root() {
            return Err(Failure::System(format!("a watch needs root: {}", as_root())));
        }
        if !policy.filter.exists() && policy.architectures.is_none() {
            return Err(Failure::Hopeless(format!(
                "{name} has no SystemCallFilter= and no SystemCallArchitectures=: there is nothing that a watch in \
                 complain mode could show. What other settings deny, unitfix {name} --via strace shows"
            )));
        }
        watch::can_watch(&self.replay(policy, &[])).map_err(|error| match error {
            ReplayError::NoAudit(why) => Failure::System(format!(
                "it cannot be watched, because complain mode cannot be had here: {why}. unitfix {name} --via strace \
                 replays it without, for as long as --observe says"
            )),
            other => super::running::replay_failure(other),
        })
    }

    /// What a watch does to the running system, in a sentence or two.
    #[must_use]
    pub fn watch_consequence(&self, period: &Period) -> String {
        let (name, words) = (&self.unit().name, period.words());
        let flood = "It is restarted in between only if it floods the kernel's log with a call.";
        match self.standing() {
            Some(Standing::Down) => format!(
                "A watch takes the system call filter of {name} away {words}, and records what it would have denied. It \
                 does not run now, and is not started; if it runs in the end, it is restarted under its own. {flood}"
            ),
            Some(Standing::Failed) => format!(
                "A watch starts {name} without its system call filter, records {words} what that would have denied, \
                 then stops it; unless it is repaired, it is started once more, to stand as failed. {flood}"
            ),
            _ => format!(
                "A watch restarts {name}, runs it without its system call filter {words}, records what that would have \
                 denied, then restarts it under its own. {flood}"
            ),
        }
    }

    /// Watch it. `seen` are the denials that are known already. From then on it counts how others left it.
    pub fn watch(
        &mut self,
        period: &Period,
        onlooker: &mut dyn Onlooker,
        seen: &[Denial],
        approved: &Approval,
    ) -> Result<Observation, Failure> {
        let replay = self.replay(self.policy(), seen);
        let observation = self.observed(watch::over(&replay, period, onlooker, approved))?;
        // one that had failed is only stopped now, and still owed that it stands as failed
        if self.standing() != Some(Standing::Failed) {
            self.look_again()?;
        }
        Ok(observation)
    }
}
