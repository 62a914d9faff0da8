//! The `log` engine: complain mode by the manager itself. The filter is reset and `SystemCallLog=` set to what it
//! denies; the kernel lets such a call pass and writes a record, which the audit socket brings at once.

use super::audit_socket::AuditSocket;
use super::session::{Session, Watch};
use super::{Engine, Observation, Replay, ReplayError};
use crate::change::Approval;
use crate::evidence::{Denial, Effect};
use crate::policy::{Because, Filter, Policy};
use crate::syscalls::Call;
use std::collections::BTreeSet;

/// `SystemCallLog=` came with this version. Before it, forbidden calls would pass unseen.
const SYSTEM_CALL_LOG_FROM: u32 = 247;

/// A lossy replay is repeated this often without the calls found so far.
const ROUNDS: usize = 3;

/// One that floods the kernel's log is ended at once and repeated without them, this often: each time it is known of
/// at least one more call.
pub(crate) const FLOODS: usize = 16;

/// Whether the unit's systemd can do it.
pub(crate) fn possible(policy: &Policy) -> Result<(), ReplayError> {
    if policy.systemd < SYSTEM_CALL_LOG_FROM {
        let why = format!("systemd {} has no SystemCallLog=", policy.systemd);
        return Err(ReplayError::NoAudit(why));
    }
    Ok(())
}

/// Run the unit in complain mode.
pub(super) fn observe(replay: &Replay, approved: &Approval) -> Result<Observation, ReplayError> {
    possible(replay.policy)?;
    let mut relax = replay.relax_architectures;
    let mut found: Vec<Denial> = Vec::new();
    let mut known = BTreeSet::new();
    let mut notes = Vec::new();
    let mut round = 0;
    loop {
        round += 1;
        let Round { mut observation, floods } = once(replay, relax, &known, approved)?;
        found.append(&mut observation.denials);
        let architecture_kill = found.iter().any(|d| killed_for_its_architecture(replay.policy, d));
        let why = if architecture_kill && !relax {
            relax = true;
            Some("with other architectures let in, because one of their calls ended it".to_owned())
        } else if !floods.is_empty() && round < FLOODS {
            let watched = observation.watched.as_secs_f32();
            let calls =
                floods.iter().map(|(call, count)| format!("{call} ({count} times in {watched:.1} s)"));
            let calls = crate::plan::list(calls.collect::<BTreeSet<_>>());
            Some(format!("without the calls found so far, because it floods the kernel's log with {calls}"))
        } else if observation.lossy && round < ROUNDS {
            Some("without the calls found so far, because records were lost".to_owned())
        } else {
            None
        };
        let Some(why) = why.filter(|_| !replay.interrupt.raised()) else {
            notes.append(&mut observation.notes);
            observation.lossy |= !floods.is_empty();
            return Ok(Observation { denials: found, notes, ..observation });
        };
        if observation.lossy || !floods.is_empty() {
            known.extend(found.iter().filter_map(|d| d.call.name()).map(str::to_owned));
        }
        notes.push(format!("repeated {why}"));
    }
}

/// Whether a process was killed because of the architecture of its call, which complain mode leaves forbidden unless one
/// is known to be used.
pub(crate) fn killed_for_its_architecture(policy: &Policy, denial: &Denial) -> bool {
    denial.effect == Effect::Killed && matches!(policy.decide(denial.call).because, Because::Architecture(_))
}

/// What one run showed.
struct Round {
    observation: Observation,
    /// The calls of which it made so many that it was ended before its time, and how many.
    floods: Vec<(Call, u64)>,
}

fn once(
    replay: &Replay,
    relax: bool,
    known: &BTreeSet<String>,
    approved: &Approval,
) -> Result<Round, ReplayError> {
    let socket = AuditSocket::listen(&replay.proc_root)?;
    let text = drop_in(replay.policy, relax, known);
    let session = Session::begin(replay.manager, &replay.unit.name, replay.status, &text, approved)?;
    let floods = || socket.floods(|cgroup| replay.owns(cgroup));
    let watched = session.run(Watch { enough: &|| !floods().is_empty(), ..replay.watch() })?;
    let floods = floods();
    if !floods.is_empty() {
        session.stop()?; // else the end of what was heard would not come
    }
    let heard = socket.close();
    session.end()?;
    let mut observation = Observation::of(Engine::Log, watched);
    observation.denials = replay.denials(&heard, &BTreeSet::new());
    observation.unclaimed = replay.unclaimed(&heard.sounds);
    observation.lossy = heard.lossy;
    Ok(Round { observation, floods })
}

/// The drop-in for complain mode: log what the policy denies, except what is known already.
pub(crate) fn drop_in(policy: &Policy, relax_architectures: bool, known: &BTreeSet<String>) -> String {
    let mut lines = vec![
        "# Written by unitfix for a replay; it is taken away when the replay ends.".to_owned(),
        "[Service]".to_owned(),
        "SystemCallFilter=".to_owned(),
        "SystemCallLog=".to_owned(),
    ];
    let (allow_list, shown) = policy.filter.shown();
    let names = shown.iter().map(|n| n.split(':').next().unwrap_or(n).to_owned());
    match &policy.filter {
        Filter::None => {}
        Filter::Allow(_) => {
            debug_assert!(allow_list);
            // an empty list would be a reset: `~` alone logs everything
            let mut passed: BTreeSet<String> = names.chain(known.iter().cloned()).collect();
            passed.extend(policy.allows("write").then(|| "write".to_owned()));
            lines.push(format!("SystemCallLog=~{}", join(&passed)));
        }
        Filter::Deny(_) => {
            let denied: BTreeSet<String> = names.filter(|n| !known.contains(n)).collect();
            if !denied.is_empty() {
                lines.push(format!("SystemCallLog={}", join(&denied)));
            }
        }
    }
    if relax_architectures {
        lines.push("SystemCallArchitectures=".to_owned());
    }
    lines.push(String::new());
    lines.join("\n")
}

fn join(names: &BTreeSet<String>) -> String {
    names.iter().map(String::as_str).collect::<Vec<_>>().join(" ")
}
