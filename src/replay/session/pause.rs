//! A pause of a unit: it is stopped while its commands run elsewhere, and goes on afterwards. If this process is killed
//! meanwhile, the manager has a timer that lets it go on; what the timer had not done yet, the next run does.

use super::switch::{escaped, name, program};
use super::{PATIENCE, is_gone};
use crate::change::Approval;
use crate::manager::{Manager, ManagerError, Patience, Timer};
use crate::report::output;
use crate::scope::Scope;
use crate::unit::UnitName;
use std::time::Duration;

/// So much longer than a run takes to start, be watched and end, the manager waits before it lets the unit go on.
const SLACK: Duration = Duration::from_mins(3);

/// A unit that is stopped for a while. Dropping this lets it go on.
pub struct Pause<'a> {
    manager: &'a dyn Manager,
    scope: &'a Scope,
    unit: &'a UnitName,
    /// What was stopped with it.
    others: Vec<String>,
    timer: String,
}

impl<'a> Pause<'a> {
    /// Stop a unit that runs, or waits to be started again, for a run of this length.
    pub fn begin(
        manager: &'a dyn Manager,
        scope: &'a Scope,
        unit: &'a UnitName,
        run: Duration,
        _approved: &Approval,
    ) -> Result<Self, ManagerError> {
        let timer = name(unit);
        let systemctl = program("systemctl")?;
        let manager_option = if scope.owner().is_some() { "--user" } else { "--system" };
        let others = manager.stopped_with(unit)?;
        let words = [&systemctl, manager_option, "--no-block", "start", "--", unit.as_str()];
        let words = words.into_iter().chain(others.iter().map(String::as_str)).map(escaped);
        manager.start_timer(&Timer {
            name: timer.clone(),
            description: format!("unitfix goes on with {unit}, which is started again if it does not"),
            deed: format!("unitfix: {unit} is started again, because the replay of it was killed"),
            delay: run.saturating_add(SLACK),
            commands: vec![(words.collect(), false)],
        })?;
        // from here on, dropping it takes back what was done
        let pause = Pause { manager, scope, unit, others, timer };
        manager.stop(unit, Patience::at_most(PATIENCE))?;
        Ok(pause)
    }

    /// Let the unit go on. Whether it starts is its own affair, as it was before.
    pub fn end(self) -> Result<(), ManagerError> {
        let ended = self.close();
        if ended.is_ok() {
            std::mem::forget(self); // there is nothing left to be done
        }
        ended
    }

    fn close(&self) -> Result<(), ManagerError> {
        go_on(self.manager, self.unit)?;
        for other in &self.others {
            self.manager.start(other)?;
        }
        self.manager.stop_timer(&self.timer)
    }
}

impl Drop for Pause<'_> {
    fn drop(&mut self) {
        if let Err(error) = self.close() {
            let (unit, systemctl) = (self.unit, self.scope.systemctl());
            output::message(&format!(
                "unitfix: {unit} COULD NOT BE STARTED AGAIN: {error}\n\
                 unitfix: its manager tries that in some minutes; `{systemctl} start {unit}` does it now\n"
            ));
        }
    }
}

fn go_on(manager: &dyn Manager, unit: &UnitName) -> Result<(), ManagerError> {
    if is_gone(manager, unit)? {
        return Ok(());
    }
    let _ = manager.reset_failed(unit); // earlier starts do not count against the start limit
    match manager.restart(unit, Patience::at_most(PATIENCE)) {
        Err(ManagerError::Late { .. }) => Ok(()), // it is on its way
        other => other.map(drop),
    }
}

/// Let a unit go on that a run was killed in the pause of. Whether there was one. Only for who holds the unit's lock.
pub fn recover_pause(manager: &dyn Manager, unit: &UnitName) -> Result<bool, ManagerError> {
    let timer = name(unit);
    // refused where there is no such timer; if this is killed as well, it runs later
    if manager.restart_timer(&timer).is_err() {
        return Ok(false);
    }
    if !manager.status(unit)?.is_up() {
        go_on(manager, unit)?;
    }
    // what was stopped with the unit, only the timer's service knows
    manager.start(&format!("{timer}.service"))?;
    manager.stop_timer(&timer)?;
    Ok(true)
}
