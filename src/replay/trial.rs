//! Trials under the manager: the unit run under amended settings, to see whether it works with them. One session with
//! a runtime drop-in serves all of them, so that each costs one restart.

use super::audit_socket::AuditSocket;
use super::session::{Session, Watch};
use super::traced::Refusing;
use super::{Engine, Observation, Replay, ReplayError};
use crate::change::Approval;
use crate::evidence::{Denial, Untrusted};
use crate::manager::Manager;
use crate::policy::{Action, Policy};
use crate::syscalls::Arch;
use crate::unit::UnitName;
use std::collections::{BTreeMap, BTreeSet};

/// Runs of a unit under amended settings. When it is dropped, everything is as it was.
pub struct Trials<'a> {
    manager: &'a dyn Manager,
    unit: &'a UnitName,
    approved: &'a Approval,
    session: Option<Session<'a>>,
}

/// What is tried.
pub struct Trial<'a> {
    /// The drop-in.
    pub text: &'a str,
    /// Denials that were seen when nothing was forbidden.
    pub seen: &'a [Denial],
    /// Programs that were seen in the unit.
    pub programs: &'a BTreeSet<Untrusted>,
}

impl Trial<'_> {
    /// The calls that were seen and fail with an errno now, if strace can refuse all that is denied.
    fn refused(&self, policy: &Policy) -> Option<BTreeMap<String, u16>> {
        let mut refused = BTreeMap::new();
        for call in self.seen.iter().map(|denial| denial.call) {
            match policy.decide(call).action {
                Action::Errno(errno) if call.arch == Arch::native() => {
                    refused.insert(call.name()?.to_owned(), errno);
                }
                Action::Allow | Action::Log => {}
                Action::Errno(_) | Action::Kill => return None,
            }
        }
        (!refused.is_empty()).then_some(refused)
    }
}

impl<'a> Trials<'a> {
    /// Nothing is changed until the first one.
    #[must_use]
    pub fn new(manager: &'a dyn Manager, unit: &'a UnitName, approved: &'a Approval) -> Self {
        Trials { manager, unit, approved, session: None }
    }

    /// Run the unit once. `replay` is that of the unit under the policy that is tried.
    ///
    /// Where calls fail softly, strace refuses them in the place of the filter: only so it is seen which processes are
    /// refused something, and what becomes of them. Else the drop-in is put in force itself.
    pub fn run(&mut self, replay: &Replay, trial: &Trial) -> Result<Observation, ReplayError> {
        if let Some(refused) = trial.refused(replay.policy) {
            match Refusing::new(replay, trial.text, &refused) {
                Ok(refusing) => {
                    let session = self.amend(replay, &refusing.text)?;
                    let watched = session.run(Watch { enough: &|| refusing.is_full(), ..replay.watch() })?;
                    session.stop()?; // ends the tracers, so that their files are whole
                    return refusing.read(replay, watched);
                }
                Err(ReplayError::NoStrace(_)) => {}
                Err(other) => return Err(other),
            }
        }
        let socket = AuditSocket::listen(&replay.proc_root);
        let watched = self.amend(replay, trial.text)?.run(replay.watch())?;
        let began = watched.began;
        let mut observation = Observation::of(Engine::Log, watched);
        match socket {
            Ok(socket) => {
                let heard = socket.close().since(began);
                observation.denials = replay.denials(&heard, trial.programs);
                observation.lossy = heard.lossy;
            }
            Err(error) => observation.notes.push(format!("{error}: the death of a child is not seen")),
        }
        Ok(observation)
    }

    /// Put a text in force.
    fn amend(&mut self, replay: &Replay, text: &str) -> Result<&Session<'a>, ReplayError> {
        let session = match self.session.take() {
            Some(session) => {
                session.change_to(text)?;
                session
            }
            None => Session::begin(self.manager, self.unit, replay.status, text, self.approved)?,
        };
        Ok(self.session.insert(session))
    }

    /// Put everything back, and say if that fails.
    pub fn close(self) -> Result<(), ReplayError> {
        self.session.map_or(Ok(()), |session| Ok(session.end()?))
    }
}
