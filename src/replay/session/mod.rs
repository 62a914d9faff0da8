//! A session of a replay under the manager: a runtime drop-in is put in, the unit restarted and watched, the
//! drop-in taken away and the unit put back, on every way out. What a killed run left behind, the next one finds.

mod note;
mod pause;
mod recover;
mod switch;
mod watch;

pub use note::{Note, is_noted, sessions};
pub use pause::{Pause, paused, recover_pause};
pub use recover::{put_right, recover};
pub use switch::LIMIT;
pub use watch::{Watch, Watched, restart_and_watch};

use crate::change::{Approval, replace};
use crate::interrupt::GLANCE;
use crate::manager::{Manager, ManagerError, Patience, Standing, UnitStatus};
use crate::report::output;
use crate::root::Root;
use crate::unit::UnitName;
use note::remove;
use std::cell::Cell;
use std::io;
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use switch::Switch;

/// How long putting a unit back may take before that is said.
const PATIENCE: Duration = Duration::from_mins(2);

/// How long a unit that failed before is given to fail again.
const A_MOMENT: Duration = Duration::from_secs(2);

/// Why a replay did not come about.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// The manager.
    #[error(transparent)]
    Manager(#[from] ManagerError),
    /// The runtime drop-in.
    #[error("{}: {error}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
}

/// A runtime drop-in that is in force.
pub struct Session<'a> {
    manager: &'a dyn Manager,
    unit: &'a UnitName,
    note: Note,
    /// Ends the session if this run does not.
    switch: Option<Switch<'a>>,
    /// The drop-in is in.
    open: bool,
    /// The unit was restarted under it.
    disturbed: Cell<bool>,
    /// An earlier session has stopped it, and owes it something.
    stopped: bool,
}

impl<'a> Session<'a> {
    /// Put the drop-in in and have the manager read it. From here on, dropping the session takes it away again, and if
    /// this process is killed the manager does.
    pub fn begin(
        manager: &'a dyn Manager,
        unit: &'a UnitName,
        status: &UnitStatus,
        text: &str,
        approved: &Approval,
    ) -> Result<Self, SessionError> {
        Self::open(manager, unit, status, text, false, approved)
    }

    /// The same for a working period, in which others start and stop the unit: in the end it is only seen to that it
    /// does not go on without its filter.
    pub(crate) fn begin_work(
        manager: &'a dyn Manager,
        unit: &'a UnitName,
        status: &UnitStatus,
        text: &str,
        approved: &Approval,
    ) -> Result<Self, SessionError> {
        Self::open(manager, unit, status, text, true, approved)
    }

    fn open(
        manager: &'a dyn Manager,
        unit: &'a UnitName,
        status: &UnitStatus,
        text: &str,
        working: bool,
        _approved: &Approval,
    ) -> Result<Self, SessionError> {
        let names = status.drop_ins.iter().filter_map(|p| p.file_name()?.to_str());
        let file = last_name("zz-unitfix-replay", names);
        let drop_in = note::runtime_folder(unit).join(file);
        let former = Note::read(unit)?;
        let own_folder = Root::default().kind(&note::runtime_folder(unit)).is_none();
        let (standing, since, over) = (Standing::of(status), now_us(), false);
        let note = Note { drop_in, own_folder, standing, since, over, working };
        let stopped = former.is_some_and(|former| former.over);
        note.keep(unit)?; // first: what comes is found by it
        let disturbed = Cell::new(false);
        let mut session = Session { manager, unit, note, switch: None, open: true, disturbed, stopped };
        session.switch = Some(Switch::arm(manager, unit, &session.note, &Note::path(unit))?);
        session.write(text)?;
        manager.reload()?;
        Ok(session)
    }

    fn write(&self, text: &str) -> Result<(), SessionError> {
        replace(&Root::default(), &self.note.drop_in, Some(text), self.note.own_folder)
            .map_err(|error| SessionError::Io { path: self.note.drop_in.clone(), error })
    }

    /// Put another text into the drop-in and have the manager read it.
    pub fn change_to(&self, text: &str) -> Result<(), SessionError> {
        self.still_in_force()?;
        self.write(text)?;
        Ok(self.manager.reload()?)
    }

    /// Restart the unit and watch it.
    pub fn run(&self, watch: Watch) -> Result<Watched, ManagerError> {
        self.still_in_force()?;
        self.disturbed.set(true);
        let enough = || !self.hold() || (watch.enough)();
        let watched = restart_and_watch(self.manager, self.unit, Watch { enough: &enough, ..watch })?;
        self.still_in_force()?;
        Ok(watched)
    }

    /// Restart the unit, and wait for the job as long as `go_on` holds. A unit may take its time: what becomes of it
    /// after that is for who watches it.
    pub(crate) fn restart(&self, go_on: &dyn Fn() -> bool) -> Result<(), ManagerError> {
        self.still_in_force()?;
        self.disturbed.set(true);
        let _ = self.manager.reset_failed(self.unit); // earlier starts do not count against the start limit
        let go_on = || self.hold() && go_on();
        match self.manager.restart(self.unit, Patience { limit: None, go_on: &go_on }) {
            Err(ManagerError::Interrupted) => Ok(()),
            other => other.map(drop),
        }
    }

    /// Stop the unit; the drop-in stays.
    pub fn stop(&self) -> Result<(), ManagerError> {
        self.still_in_force()?;
        self.manager.stop(self.unit, Patience { limit: Some(PATIENCE), go_on: &self.holding() }).map(drop)
    }

    /// Give the manager a sign of life, if it is time for one. False: the replay is not in force any more.
    pub(crate) fn hold(&self) -> bool {
        self.switch.as_ref().is_none_or(|switch| switch.hold(&self.note.drop_in))
    }

    /// For a wait that nothing cuts short: it gives signs of life.
    fn holding(&self) -> impl Fn() -> bool {
        || {
            self.hold();
            true
        }
    }

    /// An error: it is not, and why.
    pub(crate) fn still_in_force(&self) -> Result<(), ManagerError> {
        self.switch.as_ref().map_or(Ok(()), |switch| switch.hold_now(&self.note.drop_in))
    }

    /// Take the drop-in away and put the unit back to how it stood, except that a unit which had failed is only
    /// stopped: [`leave`] is owed then, or [`settled`] if something better follows.
    pub fn end(mut self) -> Result<(), SessionError> {
        self.close()
    }

    fn close(&mut self) -> Result<(), SessionError> {
        if self.open {
            self.try_to_close()?; // if that fails, dropping tries once more, and says it loudly
            self.open = false;
        }
        Ok(())
    }

    fn try_to_close(&mut self) -> Result<(), SessionError> {
        self.note.take_away()?;
        let mut late = None;
        if let Some(standing) = self.due()? {
            let back = put_back(self.manager, self.unit, standing, &self.holding());
            match back {
                // it is on its way, under its own filter: not to be disturbed again
                Err(error @ ManagerError::Late { .. }) => {
                    self.open = false;
                    late = Some(error);
                }
                other => other?,
            }
        } else {
            self.manager.reload()?;
        }
        // last: until here the manager, or the next run, would have to finish this
        if let Some(switch) = &self.switch {
            switch.disarm()?;
        }
        if (self.disturbed.get() || self.stopped) && self.note.standing == Standing::Failed {
            self.note.over = true;
            self.note.keep(self.unit)?;
        } else {
            Note::forget(self.unit)?;
        }
        late.map_or(Ok(()), |error| Err(error.into()))
    }
}

impl Session<'_> {
    /// To what the unit is put back. Nothing: it was not disturbed, or goes on under its own filter.
    fn due(&self) -> Result<Option<Standing>, ManagerError> {
        if !self.note.working {
            return Ok(self.disturbed.get().then_some(self.note.standing));
        }
        let now = self.manager.status(self.unit)?;
        let touched = self.disturbed.get() || now.began_since(self.note.since);
        Ok(self.note.due(&now).filter(|_| touched))
    }
}

impl Note {
    fn take_away(&self) -> Result<(), SessionError> {
        if Root::default().kind(&self.drop_in).is_none() && !self.own_folder {
            return Ok(()); // a folder in which nothing was put need not be one to write in
        }
        remove(&self.drop_in, self.own_folder)
    }
}

impl Drop for Session<'_> {
    fn drop(&mut self) {
        if !self.open {
            return;
        }
        let result = self.close().and_then(|()| leave(self.manager, self.unit));
        self.open = false;
        if let Err(error) = result {
            let unit = self.unit;
            let words = format!(
                "unitfix: {unit} COULD NOT BE PUT BACK and may run without its system call filter: {error}\n\
                 unitfix: systemd itself tries that within {} s; `unitfix {unit}` tries again\n",
                LIMIT.as_secs()
            );
            output::message(&words);
        }
    }
}

/// Now, in microseconds since the epoch.
pub(crate) fn now_us() -> u64 {
    let elapsed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX)
}

/// Have the manager read its files again and put a unit back to how it stood; one that had failed is stopped.
pub fn put_back(
    manager: &dyn Manager,
    unit: &UnitName,
    standing: Standing,
    go_on: &dyn Fn() -> bool,
) -> Result<(), ManagerError> {
    manager.reload()?;
    if is_gone(manager, unit)? {
        return Ok(());
    }
    let _ = manager.reset_failed(unit); // refused when nothing failed
    let patience = Patience { limit: Some(PATIENCE), go_on };
    match standing {
        Standing::Up => manager.restart(unit, patience)?,
        Standing::Failed | Standing::Down => manager.stop(unit, patience)?,
    };
    Ok(())
}

/// The same, but a unit that had failed stands as failed again.
pub fn restore(manager: &dyn Manager, unit: &UnitName, standing: Standing) -> Result<(), ManagerError> {
    put_back(manager, unit, standing, &|| true)?;
    if standing == Standing::Failed { fail_again(manager, unit) } else { Ok(()) }
}

/// Whether somebody has removed a unit in the meantime, of which nothing can be put back then.
fn is_gone(manager: &dyn Manager, unit: &UnitName) -> Result<bool, ManagerError> {
    Ok(manager.status(unit)?.load_state == "not-found")
}

/// Start a unit that had failed before the replay, so that it stands as failed again; that may take it a moment.
pub fn fail_again(manager: &dyn Manager, unit: &UnitName) -> Result<(), ManagerError> {
    if is_gone(manager, unit)? {
        return Ok(());
    }
    manager.restart(unit, Patience::at_most(PATIENCE))?;
    let started = Instant::now();
    while started.elapsed() < A_MOMENT && manager.status(unit)?.is_up() {
        manager.wait_for_change(GLANCE);
    }
    Ok(())
}

/// Pay what a session owes that ended: a unit that had failed before it stands as failed again.
pub fn leave(manager: &dyn Manager, unit: &UnitName) -> Result<(), SessionError> {
    if Note::read(unit)?.is_some_and(|note| note.over) {
        if manager.status(unit)?.active_state == "inactive" {
            fail_again(manager, unit)?;
        }
        settled(unit)?;
    }
    Ok(())
}

/// The unit works now: it is owed nothing any more.
pub fn settled(unit: &UnitName) -> Result<(), SessionError> {
    Note::forget(unit)
}

/// A file name for a drop-in that sorts behind all of these.
#[must_use]
pub fn last_name<'a>(stem: &str, names: impl Iterator<Item = &'a str>) -> String {
    let wanted = format!("{stem}.conf");
    match names.max() {
        Some(last) if *last >= *wanted => {
            let more_z =
                format!("{}{stem}.conf", "z".repeat(last.bytes().take_while(|b| *b == b'z').count()));
            if *more_z > *last { more_z } else { format!("{last}-{stem}.conf") }
        }
        _ => wanted,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_name_sorts_last() {
        for names in [
            &["10-a.conf"][..],
            &["zz-unitfix.conf"],
            &["zzz.conf", "a.conf"],
            &["~x.conf"],
            &["é.conf"],
            &[],
        ] {
            let name = last_name("zz-unitfix", names.iter().copied());
            assert!(names.iter().all(|n| *n < name.as_str()), "{names:?} {name}");
        }
        assert_eq!(last_name("zz-unitfix", ["50-x.conf"].into_iter()), "zz-unitfix.conf");
        assert_eq!(
            last_name("zz-unitfix-replay", ["zz-unitfix.conf"].into_iter()),
            "zzzz-unitfix-replay.conf"
        );
    }
}
