//! Which engine a replay takes: the one that was asked for, or the first that is possible here.

use super::{Engine, Observation, Replay, ReplayError, complain, notified, traced};
use crate::change::Approval;
use crate::evidence::Denial;
use crate::unit::Unit;
use std::collections::BTreeSet;

/// Which engine to take.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Via {
    /// Complain mode by user notifications where they can be had, else by the kernel's log where its records arrive, else
    /// strace; strace as well where that leaves a failure unexplained that another setting may be the cause of.
    Auto,
    /// Complain mode: the kernel lets forbidden calls pass and logs them.
    Log,
    /// Complain mode: forbidden calls wait for unitfix, which lets them pass.
    Notify,
    /// The unit's commands under strace.
    Strace,
}

impl Via {
    /// Its name on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Via::Auto => "auto",
            Via::Log => "log",
            Via::Notify => "notify",
            Via::Strace => "strace",
        }
    }
}

/// Whether a replay of a unit begins with strace: where that is asked for, or where stacks are and it prints them.
#[must_use]
pub fn takes_strace(unit: &Unit, via: Via, blame: bool) -> bool {
    via == Via::Strace || (via == Via::Auto && blame && traced::prints_stacks(unit).is_ok())
}

/// Replay a unit under the manager.
pub fn observe(replay: &Replay, via: Via, approved: &Approval) -> Result<Observation, ReplayError> {
    let mut observation = observe_via(replay, via, approved)?;
    if replay.blame
        && !observation.denials.is_empty()
        && observation.denials.iter().all(|d| d.stack.is_empty())
    {
        let why = match (observation.engine, traced::prints_stacks(replay.unit)) {
            (Engine::Notify, _) => "those of the processes that waited could not be read".to_owned(),
            (_, Err(error)) => error.to_string(),
            (Engine::Strace, Ok(())) => "strace printed none".to_owned(),
            _ => "complain mode has none (--via strace has)".to_owned(),
        };
        observation.notes.push(format!("no stacks were seen: {why}"));
    }
    Ok(observation)
}

fn observe_via(replay: &Replay, via: Via, approved: &Approval) -> Result<Observation, ReplayError> {
    match via {
        Via::Log => complain::observe(replay, approved),
        Via::Notify => notified::observe(replay, approved),
        Via::Strace => traced::observe(replay, approved),
        Via::Auto if takes_strace(replay.unit, via, replay.blame) => traced::observe(replay, approved),
        Via::Auto if !replay.leaves_records() => match traced::observe(replay, approved) {
            Err(ReplayError::NoStrace(_)) => complain::observe(replay, approved),
            other => other,
        },
        Via::Auto => {
            let seen = first_possible(replay, approved)?;
            let strace = seen.engine == Engine::Strace; // which has seen what the settings deny
            if !strace && replay.settings_may_be_to_blame(&seen) {
                return look_closer(replay, seen, approved);
            }
            Ok(seen)
        }
    }
}

/// User notifications, else the kernel's log, else strace, and a note that says why.
fn first_possible(replay: &Replay, approved: &Approval) -> Result<Observation, ReplayError> {
    let notified = if replay.executor_denied {
        let why = "systemd's own executor was denied a call, before the unit's program ran";
        Err(ReplayError::NoNotify(why.to_owned()))
    } else {
        notified::observe(replay, approved)
    };
    let notify = match notified {
        Err(ReplayError::NoNotify(why)) if !replay.interrupt.raised() => why,
        other => return other,
    };
    let (mut observation, taken) = match complain::observe(replay, approved) {
        Err(ReplayError::NoAudit(audit)) => match traced::observe(replay, approved) {
            Err(ReplayError::NoStrace(strace)) => return Err(ReplayError::None { notify, audit, strace }),
            traced => (traced?, format!("strace was taken, because there is no kernel's log ({audit}), nor")),
        },
        logged => (logged?, "the kernel's log was taken, because there are no".to_owned()),
    };
    observation.notes.push(format!("{taken} user notifications: {notify}"));
    Ok(observation)
}

impl Replay<'_> {
    /// Whether the unit has a setting whose denials the kernel can be had to log.
    fn leaves_records(&self) -> bool {
        self.policy.filter.exists()
            || self.policy.architectures.is_some()
            || self.policy.restrictions.is_empty()
    }

    /// Whether a unit fails although every call that leaves a record was let through, and has settings whose denials
    /// leave none.
    fn settings_may_be_to_blame(&self, logged: &Observation) -> bool {
        !logged.works() && !self.policy.restrictions.is_empty() && !self.interrupt.raised()
    }
}

/// Replay under strace as well, which sees what the settings beside `SystemCallFilter=` deny.
fn look_closer(
    replay: &Replay,
    mut logged: Observation,
    approved: &Approval,
) -> Result<Observation, ReplayError> {
    let names: BTreeSet<&str> = replay.policy.restrictions.iter().map(|r| r.token.setting).collect();
    let names = crate::plan::list(names.iter().map(|name| format!("{name}=")));
    let traced = match traced::observe(replay, approved) {
        Err(ReplayError::NoStrace(why)) => {
            logged.notes.push(format!("what {names} deny was not seen, because strace cannot do it: {why}"));
            return Ok(logged);
        }
        other => other?,
    };
    logged
        .notes
        .push(format!("strace was taken as well, because it fails all the same: it sees what {names} deny"));
    let known: BTreeSet<_> = logged.denials.iter().map(|d| (d.call, d.process.comm.clone())).collect();
    let new = |d: &Denial| d.raw_arguments.is_some() || !known.contains(&(d.call, d.process.comm.clone()));
    logged.denials.extend(traced.denials.into_iter().filter(new));
    logged.notes.extend(traced.notes);
    Ok(Observation {
        lossy: logged.lossy || traced.lossy,
        denials: logged.denials,
        notes: logged.notes,
        ..traced
    })
}
