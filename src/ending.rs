//! How a run ends, and why it can end without a repair.

use crate::evidence::{Denial, Untrusted};
use crate::plan::Needs;
use crate::replay::{Exit, Observation, Outcome};
use crate::subject::{Evidence, Subject};
use std::fmt::Write as _;

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// There is nothing to repair.
    NothingToDo(String),
    /// Repaired, and seen to work where that can be seen.
    Repaired(String),
    /// A repair is proposed and not applied.
    Proposed(String),
    /// No repair can be offered, or the failure has another cause.
    NoRepair(String),
}

impl Ending {
    /// The exit status.
    #[must_use]
    pub fn status(&self) -> u8 {
        match self {
            Ending::NothingToDo(_) | Ending::Repaired(_) => 0,
            Ending::Proposed(_) => 1,
            Ending::NoRepair(_) => 3,
        }
    }

    /// Calls of the unit fail, and it needs no repair.
    pub(crate) fn works_all_the_same() -> Self {
        let words = "Nothing to repair: calls of it fail, none is killed for one, and it works";
        Ending::NothingToDo(words.to_owned())
    }

    /// What to tell.
    #[must_use]
    pub fn words(&self) -> &str {
        match self {
            Ending::NothingToDo(w) | Ending::Repaired(w) | Ending::Proposed(w) | Ending::NoRepair(w) => w,
        }
    }
}

/// Whether the unit fails by itself, and does not where every call is let through.
pub(crate) fn helped(evidence: &Evidence, observation: Option<&Observation>) -> bool {
    evidence.works() == Some(false) && observation.is_some_and(Observation::works)
}

pub(crate) fn seen<'a>(
    evidence: &'a Evidence,
    observation: Option<&'a Observation>,
) -> impl Iterator<Item = &'a Denial> {
    let logged = evidence.denials.iter().filter(|d| d.is_ours());
    logged.chain(observation.into_iter().flat_map(|o| &o.denials))
}

/// The endings without a repair.
pub(crate) fn no_repair(
    subject: &dyn Subject,
    evidence: &Evidence,
    observation: Option<&Observation>,
    needs: &Needs,
) -> Option<Ending> {
    let failing = observation.map(Observation::works).or(evidence.works()) == Some(false);
    if needs.is_empty() && !needs.inexpressible.is_empty() {
        let calls: Vec<String> = needs.inexpressible.iter().map(|c| format!("{c} ({})", c.arch)).collect();
        let calls = calls.join(", ");
        return Some(Ending::NoRepair(format!(
            "No repair can be offered: the systemd or libseccomp of this system has no name for {calls}"
        )));
    }
    if needs.is_empty() && failing && !needs.settings.impossible.is_empty() {
        let why: Vec<String> =
            needs.settings.impossible.iter().map(|i| format!("{}: {}", i.call, i.why)).collect();
        return Some(Ending::NoRepair(format!("No repair can be offered: {}", why.join("; "))));
    }
    if needs.is_empty() {
        return Some(match (observation, failing) {
            (None, true) if evidence.sigsys => Ending::NoRepair(
                "It was killed for a forbidden call, but no record names the call: replay it to see"
                    .to_owned(),
            ),
            (None, false) if evidence.has_nobodys() => Ending::NoRepair(
                "No repair can be offered: calls were denied, but whose processes those were is not known. A replay, where the unit runs, \
                 shows it"
                    .to_owned(),
            ),
            (None, true) => may_be_denied(subject, evidence)
                .unwrap_or_else(|| other_cause(subject, evidence, observation)),
            (Some(_), true) => other_cause(subject, evidence, observation),
            (_, false) => nothing_denied(subject, evidence, observation, needs),
        });
    }
    if observation.is_some_and(|o| !o.works()) {
        let more = crate::plan::list(&needs.calls);
        let cause = other_cause(subject, evidence, observation);
        let (first, log) = cause.words().split_once('\n').unwrap_or((cause.words(), ""));
        let log = if log.is_empty() { String::new() } else { format!("\n{log}") };
        return Some(Ending::NoRepair(format!("{first}. Denied calls ({more}) are not what ends it{log}")));
    }
    soft_and_healthy(subject, evidence, observation)
}

/// Denials that only let calls fail, in a unit that works, need no repair.
fn soft_and_healthy(
    subject: &dyn Subject,
    evidence: &Evidence,
    observation: Option<&Observation>,
) -> Option<Ending> {
    let kills = |denial: &Denial| denial.kills(subject.policy());
    let works = evidence.works() == Some(true) && !evidence.sigsys;
    (works && !seen(evidence, observation).any(kills)).then(Ending::works_all_the_same)
}

/// The ending where a denied call may have ended a unit, although none is known to be its.
fn may_be_denied(subject: &dyn Subject, evidence: &Evidence) -> Option<Ending> {
    /// What a shell ends with when its command was killed by SIGSYS (`$?` of bash(1)).
    const KILLED: Exit = Exit::Status(128 + libc::SIGSYS);
    let why = match evidence.outcome {
        Some(Outcome::Failed { exit: Some(KILLED), .. }) => {
            "a shell ends so when a command of its was killed for a forbidden call"
        }
        _ if evidence.has_nobodys() => {
            "calls were denied at the time to processes of which it is not known whose they were"
        }
        _ => return None,
    };
    let outcome = evidence.outcome.as_ref().map(ToString::to_string).unwrap_or_default();
    Some(Ending::NoRepair(format!(
        "{} {}: {why}. Only a replay can tell whether a denied call is the cause",
        subject.label(),
        Untrusted::new(outcome)
    )))
}

/// Where to look further for what ends a unit: in its log, where a manager keeps one.
fn look_further(subject: &dyn Subject) -> String {
    subject
        .standing()
        .map(|_| format!("`{} -u {}` shows what it said", subject.unit().scope.journalctl(), subject.label()))
        .unwrap_or_default()
}

fn nothing_denied(
    subject: &dyn Subject,
    evidence: &Evidence,
    observation: Option<&Observation>,
    needs: &Needs,
) -> Ending {
    match (evidence.works(), observation) {
        (Some(true), _) if evidence.sigsys => Ending::NoRepair(
            "A process of it was killed for a forbidden call, and nothing showed which: --observe watches longer"
                .to_owned(),
        ),
        _ if !needs.soft.is_empty() => Ending::NothingToDo(format!(
            "Nothing to repair: the unit wants {} to fail, and it works all the same",
            crate::plan::list(&needs.soft)
        )),
        (_, None) => {
            let words = "Nothing to repair, as far as the logs know: no denied call of it is on record";
            Ending::NothingToDo(words.to_owned())
        }
        (before, Some(replayed)) if !replayed.unclaimed.is_empty() => {
            let words = format!(
                "{} may have been denied to it, but the processes were gone before it was seen whose they were. `unitfix \
                 {} --via strace` misses none",
                crate::plan::list(replayed.unclaimed_words()),
                subject.label()
            );
            match before {
                Some(true) => Ending::NothingToDo(format!("Nothing to repair is known: {words}")),
                _ => Ending::NoRepair(format!("No repair can be offered: {words}")),
            }
        }
        (Some(false), _) => {
            let cause = "It failed before, and worked in the replay without any denied call: the system call filter is \
                         not the cause";
            let further = look_further(subject);
            Ending::NoRepair(if further.is_empty() { cause.to_owned() } else { format!("{cause}. {further}") })
        }
        (_, Some(replayed)) if !replayed.denials.is_empty() => {
            let words = "Nothing to repair: calls of it are refused, and it works all the same";
            Ending::NothingToDo(words.to_owned())
        }
        _ => Ending::NothingToDo("Nothing to repair: no call of it is denied".to_owned()),
    }
}

fn other_cause(subject: &dyn Subject, evidence: &Evidence, observation: Option<&Observation>) -> Ending {
    let outcome = observation.map(|o| &o.outcome).or(evidence.outcome.as_ref());
    let check = observation.map_or(evidence.check.as_ref(), |o| o.check.as_ref()).filter(|c| !c.passed());
    let what = match (outcome, check) {
        (Some(Outcome::Running), Some(check)) => format!("ran, but {check}"),
        (Some(Outcome::Finished), Some(check)) => format!("finished successfully, but {check}"),
        (Some(outcome), _) => Untrusted::new(outcome.to_string()).to_string(),
        (None, _) => String::new(),
    };
    let mut words = match observation {
        Some(replayed) if replayed.settings.is_some() => format!(
            "Not a matter of the system call filter, nor of what other settings forbid: with every call let through, \
             it {what}"
        ),
        Some(_) => format!("Not a matter of the system call filter: with every call let through, it {what}"),
        None => format!("Not a denied call: it {what}"),
    };
    for line in observation.into_iter().flat_map(|o| &o.log) {
        let _ = write!(words, "\n  | {line}");
    }
    let further = look_further(subject);
    if !further.is_empty() {
        let _ = write!(words, "\n{further}");
    }
    Ending::NoRepair(words)
}
