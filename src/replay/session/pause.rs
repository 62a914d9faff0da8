//! A pause of a unit: it is stopped while its commands run elsewhere, and goes on afterwards. As in a session, the manager
//! has a timer that is held as long as this process lives; if it is killed, the timer lets the unit go on, or the next run
//! does.

use super::switch::{self, BEAT, LIMIT};
use super::{PATIENCE, is_gone};
use crate::change::Approval;
use crate::manager::{BusManager, Manager, ManagerError, Patience, StoppedWith, Timer};
use crate::plan::list;
use crate::report::output;
use crate::scope::Scope;
use crate::unit::UnitName;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};

/// A unit that is stopped for a while. Dropping this lets it go on.
pub struct Pause<'a> {
    manager: &'a dyn Manager,
    scope: &'a Scope,
    unit: &'a UnitName,
    /// What was stopped with it.
    others: Vec<String>,
    timer: String,
    over: bool,
    /// When it is dropped, the timer is not held any more.
    _held: Sender<()>,
}

impl<'a> Pause<'a> {
    /// Stop a unit that runs, or waits to be started again.
    pub fn begin(
        manager: &'a dyn Manager,
        scope: &'a Scope,
        unit: &'a UnitName,
        _approved: &Approval,
    ) -> Result<Self, ManagerError> {
        let others = can_be_paused(unit, manager.stopped_with(unit)?)?;
        let timer = switch::name(unit);
        let systemctl = switch::program("systemctl")?;
        let manager_option = if scope.owner().is_some() { "--user" } else { "--system" };
        let words = [&systemctl, manager_option, "--no-block", "start", "--", unit.as_str()];
        let words = words.into_iter().chain(others.iter().map(String::as_str)).map(switch::escaped);
        let heart = BusManager::connect(scope)?;
        manager.start_timer(&Timer {
            name: timer.clone(),
            description: format!("unitfix goes on with {unit}, which is started again if it does not"),
            deed: format!("unitfix: {unit} is started again, because the replay of it was killed"),
            delay: LIMIT,
            commands: vec![(words.collect(), false)],
        })?;
        let held = hold(heart, timer.clone());
        // from here on, dropping it takes back what was done
        let pause = Pause { manager, scope, unit, others, timer, over: false, _held: held };
        manager.stop(unit, Patience::at_most(PATIENCE))?;
        Ok(pause)
    }

    /// Let the unit go on. Whether it starts is its own affair, as it was before.
    pub fn end(mut self) -> Result<(), ManagerError> {
        self.over = true;
        self.close()
    }

    fn close(&self) -> Result<(), ManagerError> {
        go_on(self.manager, self.unit)?;
        let refused = |other: &&String| self.manager.start_soon(other).is_err();
        let refused: Vec<&String> = self.others.iter().filter(refused).collect();
        let _ = self.manager.stop_timer(&self.timer); // refused where it has run
        if refused.is_empty() {
            return Ok(());
        }
        let reason = format!("it was stopped with {}", self.unit);
        Err(ManagerError::Refused { action: format!("start {} again", list(refused)), reason })
    }
}

impl Drop for Pause<'_> {
    fn drop(&mut self) {
        if self.over {
            return;
        }
        if let Err(error) = self.close() {
            let (unit, systemctl) = (self.unit, self.scope.systemctl());
            output::message(&format!(
                "unitfix: {unit} COULD NOT BE STARTED AGAIN: {error}\n\
                 unitfix: its manager tries that within {} s; `{systemctl} start {unit}` does it now\n",
                LIMIT.as_secs()
            ));
        }
    }
}

/// The units that stop with a unit, if all of them can be started again.
fn can_be_paused(unit: &UnitName, others: Vec<StoppedWith>) -> Result<Vec<String>, ManagerError> {
    match others.iter().find(|other| !other.can_start) {
        None => Ok(others.into_iter().map(|other| other.name).collect()),
        Some(StoppedWith { name, .. }) => Err(ManagerError::Refused {
            action: format!("stop {unit} for a replay"),
            reason: format!(
                "{name} would stop with it, and nobody but systemd itself may start that one again"
            ),
        }),
    }
}

/// Hold a timer for as long as the answer lives.
fn hold(manager: BusManager, timer: String) -> Sender<()> {
    let (held, ends) = channel();
    std::thread::spawn(move || {
        while ends.recv_timeout(BEAT) == Err(RecvTimeoutError::Timeout) {
            let _ = manager.restart_timer(&timer); // what comes of it then is seen at the end
        }
    });
    held
}

fn go_on(manager: &dyn Manager, unit: &UnitName) -> Result<(), ManagerError> {
    if is_gone(manager, unit)? {
        return Ok(());
    }
    let _ = manager.reset_failed(unit); // earlier starts do not count against the start limit
    match manager.start(unit, Patience::at_most(PATIENCE)) {
        Err(ManagerError::Late { .. }) => Ok(()), // it is on its way
        other => other.map(drop),
    }
}

/// Let a unit go on that a run was killed in the pause of. Whether there was one. Only for who holds the unit's lock.
pub fn recover_pause(manager: &dyn Manager, unit: &UnitName) -> Result<bool, ManagerError> {
    let timer = switch::name(unit);
    // refused where there is no such timer; if this is killed as well, it runs later
    if manager.restart_timer(&timer).is_err() {
        return Ok(false);
    }
    go_on(manager, unit)?;
    // what was stopped with the unit, only the timer's service knows
    if let Ok(service) = UnitName::parse(&format!("{timer}.service")) {
        manager.start(&service, Patience::at_most(PATIENCE))?;
    }
    manager.stop_timer(&timer)?;
    Ok(true)
}

/// The units of a manager that are paused, or were left so.
pub fn paused(manager: &dyn Manager) -> Result<Vec<String>, ManagerError> {
    let units = manager.known_units()?;
    Ok(units.iter().filter_map(|unit| switch::unit_of(unit)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_can_start_again_is_not_stopped() {
        let unit = UnitName::parse("app.service").unwrap();
        let other = |name: &str, can_start| StoppedWith { name: name.to_owned(), can_start };
        let answer = |others| can_be_paused(&unit, others).map_err(|error| error.to_string());
        assert_eq!(answer(vec![other("a.service", true)]), Ok(vec!["a.service".to_owned()]));
        assert_eq!(
            answer(vec![other("a.service", true), other("graphical-session.target", false)]),
            Err("systemd did not stop app.service for a replay: graphical-session.target would stop with it, and nobody \
                 but systemd itself may start that one again"
                .to_owned())
        );
    }
}
