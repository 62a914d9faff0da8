//! Restarting a unit and watching what becomes of it.

use crate::interrupt::{GLANCE, Interrupt};
use crate::manager::{Manager, ManagerError, Patience};
use crate::replay::{Check, CheckResult, Checking, Outcome};
use crate::unit::UnitName;
use std::time::{Duration, Instant};

/// Changes of a unit's state wake a watch; everything else is looked at this often.
const AT_A_TIME: Duration = Duration::from_millis(250);

/// How a unit is watched.
#[derive(Clone, Copy)]
pub struct Watch<'a> {
    /// For how long.
    pub observe: Duration,
    /// With this command as the judge of whether it works, too.
    pub check: Option<&'a Check>,
    /// Ends it.
    pub interrupt: &'a Interrupt,
    /// Asked every so often: true ends it as well, with what was seen until then.
    pub enough: &'a dyn Fn() -> bool,
}

/// What was seen of a unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watched {
    /// What it did.
    pub outcome: Outcome,
    /// What the check said, where there is one and the unit did not fail anyway.
    pub check: Option<CheckResult>,
    /// How long it was watched, its start included.
    pub time: Duration,
    /// When the activation that was watched began, in microseconds since the epoch: what was earlier, was of a process
    /// of before.
    pub began: u64,
    /// When the watch ended.
    pub ended: u64,
}

/// Restart a unit, wait for the job and watch the unit for a time, or until it ends for good or a signal comes.
pub fn restart_and_watch(
    manager: &dyn Manager,
    unit: &UnitName,
    watch: Watch,
) -> Result<Watched, ManagerError> {
    let _ = manager.reset_failed(unit); // earlier starts do not count against the start limit
    let begun = Instant::now();
    let go_on = || !watch.interrupt.raised() && !(watch.enough)();
    let mut failure = match manager.restart(unit, Patience { limit: None, go_on: &go_on }) {
        Err(ManagerError::Interrupted) if !watch.interrupt.raised() => None, // enough was seen of its start
        job => Some(job?).filter(|job| job != "done"),
    };
    let mut worst: Option<Outcome> = None;
    let mut checking = watch.check.map(Checking::new);
    let started = Instant::now();
    loop {
        let status = manager.status(unit)?;
        let now = status.outcome();
        if !now.healthy() {
            failure = None; // the unit's own result says more than the job's
            worst.get_or_insert_with(|| now.clone());
        }
        if let Some(checking) = &mut checking {
            checking.turn();
        }
        if !status.is_up() || started.elapsed() >= watch.observe || !go_on() {
            let job_failed = failure.map(|result| Outcome::Failed { result, exit: None, command: None });
            let outcome = worst.or(job_failed).unwrap_or(now);
            let ended = super::now_us();
            let checking = checking.filter(|_| outcome.healthy());
            let check = checking.map(|checking| checking.end(watch.interrupt));
            return Ok(Watched { outcome, check, time: begun.elapsed(), began: status.activated, ended });
        }
        let next = Instant::now() + watch.observe.saturating_sub(started.elapsed()).min(AT_A_TIME);
        while Instant::now() < next && go_on() && !manager.wait_for_change(GLANCE) {}
    }
}
