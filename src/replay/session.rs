//! A session of a replay under the manager: a runtime drop-in is put in, the unit restarted and watched, the
//! drop-in taken away and the unit put back, on every way out. What a killed run left behind, the next one finds.

use super::Outcome;
use crate::change::{Answer, Approval, Prompt, replace};
use crate::interrupt::{GLANCE, Interrupt};
use crate::manager::{Manager, ManagerError, Patience, UnitStatus};
use crate::report::output;
use crate::root::Root;
use crate::unit::UnitName;
use serde::{Deserialize, Serialize};
use std::cell::Cell;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Where a session notes what it put in, for the next run if this one is killed.
const NOTES: &str = "/run/unitfix/replay";

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
    #[error("{}: {error}: the replay did not begin", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
}

/// The state to which a unit is put back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Standing {
    /// It was running, or being started.
    Up,
    /// It had failed.
    Failed,
    /// It was not running.
    Down,
}

impl Standing {
    /// The standing of a unit in this state.
    #[must_use]
    pub fn of(status: &UnitStatus) -> Self {
        match status.active_state.as_str() {
            "failed" => Standing::Failed,
            _ if status.is_up() => Standing::Up,
            _ => Standing::Down,
        }
    }
}

/// What a session notes about itself.
#[derive(Debug, Serialize, Deserialize)]
struct Note {
    drop_in: PathBuf,
    standing: Standing,
    /// When it was put in, in microseconds since the epoch.
    since: u64,
}

/// A runtime drop-in that is in force.
pub struct Session<'a> {
    manager: &'a dyn Manager,
    unit: &'a UnitName,
    note: Note,
    /// The drop-in is in.
    open: bool,
    /// The unit was restarted under it.
    disturbed: Cell<bool>,
}

impl<'a> Session<'a> {
    /// Put the drop-in in and have the manager read it. From here on, dropping the session takes it away again.
    pub fn begin(
        manager: &'a dyn Manager,
        unit: &'a UnitName,
        status: &UnitStatus,
        text: &str,
        _approved: &Approval,
    ) -> Result<Self, SessionError> {
        let names = status.drop_ins.iter().filter_map(|p| p.file_name()?.to_str());
        let file = last_name("zz-unitfix-replay", names);
        let drop_in = Path::new("/run/systemd/system").join(format!("{unit}.d")).join(file);
        let note = Note { drop_in, standing: Standing::of(status), since: now() };
        let mut session = Session { manager, unit, note, open: true, disturbed: Cell::new(false) };
        if let Err(error) = session.write(text) {
            session.open = false;
            let _ = session.take_away().and_then(|()| session.forget()); // the first error is the one to tell
            return Err(SessionError::Io { path: session.note.drop_in.clone(), error });
        }
        manager.reload()?;
        Ok(session)
    }

    fn write(&self, text: &str) -> io::Result<()> {
        let note = serde_json::to_string(&self.note).map_err(io::Error::other)?;
        replace(&Root::default(), &note_path(self.unit), Some(&note), false)?;
        replace(&Root::default(), &self.note.drop_in, Some(text), true)
    }

    /// Restart the unit and watch it.
    pub fn run(&self, observe: Duration, interrupt: &Interrupt) -> Result<(Outcome, Duration), ManagerError> {
        self.disturbed.set(true);
        restart_and_watch(self.manager, self.unit, observe, interrupt)
    }

    /// Take the drop-in away and put the unit back to how it stood, except that a unit which had failed is only
    /// stopped: [`fail_again`] is owed then, unless something better follows.
    pub fn end(mut self) -> Result<(), SessionError> {
        self.close()
    }

    fn close(&mut self) -> Result<(), SessionError> {
        if !std::mem::take(&mut self.open) {
            return Ok(());
        }
        let drop_in = self.note.drop_in.clone();
        self.take_away().map_err(|error| SessionError::Io { path: drop_in, error })?;
        if self.disturbed.get() {
            put_back(self.manager, self.unit, self.note.standing)?;
        } else {
            self.manager.reload()?;
        }
        // last: until here the next run would have to finish this
        let path = note_path(self.unit);
        self.forget().map_err(|error| SessionError::Io { path, error })
    }

    fn take_away(&self) -> io::Result<()> {
        gone(replace(&Root::default(), &self.note.drop_in, None, true))
    }

    fn forget(&self) -> io::Result<()> {
        gone(replace(&Root::default(), &note_path(self.unit), None, false))
    }
}

impl Drop for Session<'_> {
    fn drop(&mut self) {
        if !self.open {
            return;
        }
        let failed_before = self.note.standing == Standing::Failed && self.disturbed.get();
        let mut result = self.close();
        if failed_before && result.is_ok() {
            result = fail_again(self.manager, self.unit).map_err(Into::into);
        }
        if let Err(error) = result {
            let unit = self.unit;
            let words = format!(
                "unitfix: {unit} COULD NOT BE PUT BACK and may run without its system call filter: {error}\n\
                 unitfix: `unitfix {unit}` tries again\n"
            );
            output::message(&words);
        }
    }
}

/// What is gone already need not be taken away.
fn gone(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

fn now() -> u64 {
    let elapsed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX)
}

/// Have the manager read its files again and put a unit back to how it stood; one that had failed is stopped.
pub fn put_back(manager: &dyn Manager, unit: &UnitName, standing: Standing) -> Result<(), ManagerError> {
    manager.reload()?;
    let _ = manager.reset_failed(unit); // refused when nothing failed
    match standing {
        Standing::Up => manager.restart(unit, Patience::AtMost(PATIENCE))?,
        Standing::Failed | Standing::Down => manager.stop(unit, Patience::AtMost(PATIENCE))?,
    };
    Ok(())
}

/// Start a unit that had failed before the replay, so that it stands as failed again; that may take it a moment.
pub fn fail_again(manager: &dyn Manager, unit: &UnitName) -> Result<(), ManagerError> {
    manager.restart(unit, Patience::AtMost(PATIENCE))?;
    let started = Instant::now();
    while started.elapsed() < A_MOMENT && manager.status(unit)?.is_up() {
        manager.wait_for_change(GLANCE);
    }
    Ok(())
}

/// Restart a unit, wait for the job and watch the unit for a time, or until it ends for good or a signal comes.
pub fn restart_and_watch(
    manager: &dyn Manager,
    unit: &UnitName,
    observe: Duration,
    interrupt: &Interrupt,
) -> Result<(Outcome, Duration), ManagerError> {
    let _ = manager.reset_failed(unit); // earlier starts do not count against the start limit
    let begun = Instant::now();
    let job = manager.restart(unit, Patience::UntilInterrupted(interrupt))?;
    let mut failure = (job != "done").then_some(job);
    let mut worst: Option<Outcome> = None;
    let started = Instant::now();
    loop {
        let status = manager.status(unit)?;
        let now = status.outcome();
        if !now.healthy() {
            failure = None; // the unit's own result says more than the job's
            worst.get_or_insert_with(|| now.clone());
        }
        let over = !status.is_up() || started.elapsed() >= observe || interrupt.raised();
        if over {
            let job_failed = failure.map(|result| Outcome::Failed { result, exit: None, command: None });
            return Ok((worst.or(job_failed).unwrap_or(now), begun.elapsed()));
        }
        manager.wait_for_change(observe.saturating_sub(started.elapsed()).min(Duration::from_millis(250)));
    }
}

fn note_path(unit: &UnitName) -> PathBuf {
    Path::new(NOTES).join(format!("{unit}.json"))
}

/// Whether a session of this unit was left behind by a run that was killed. Ask while holding the unit's lock.
#[must_use]
pub fn left_behind(unit: &UnitName) -> bool {
    Root::default().kind(&note_path(unit)).is_some()
}

/// The units with a session that is open, or was left behind.
pub fn sessions() -> io::Result<Vec<String>> {
    let names = Root::default().list(Path::new(NOTES))?;
    Ok(names.iter().filter_map(|n| Some(n.to_str()?.strip_suffix(".json")?.to_owned())).collect())
}

/// Clean up behind a run that was killed: take its drop-in away, and where the unit was started under it, restart it
/// under its own filter, if somebody agrees. Returns what there is to tell.
pub fn recover(
    manager: &dyn Manager,
    unit: &UnitName,
    status: &UnitStatus,
    prompt: &Prompt,
) -> Result<String, SessionError> {
    let path = note_path(unit);
    let io = |error| SessionError::Io { path: path.clone(), error };
    let bytes = Root::default().read(&path).map_err(io)?;
    let note: Note = serde_json::from_slice(&bytes).map_err(|e| io(io::Error::other(e)))?;
    let session = Session { manager, unit, note, open: false, disturbed: Cell::new(false) };
    session.take_away().map_err(io)?;
    super::traced::clean_up(unit);
    manager.reload()?;
    let found = "a replay of an earlier run that was killed was still in force, and was taken away";
    if !status.is_up() || status.main_times.0 < session.note.since {
        if session.note.standing == Standing::Failed && status.active_state == "inactive" {
            fail_again(manager, unit)?;
        }
        session.forget().map_err(io)?;
        return Ok(found.to_owned());
    }
    let consequence = format!("{unit} still runs without its system call filter, because {found}.");
    match prompt.ask(&consequence, "Restart it under its own filter?") {
        Answer::Approved(_) => {
            let _ = manager.reset_failed(unit); // refused when nothing failed
            fail_again(manager, unit)?;
            session.forget().map_err(io)?;
            Ok(format!("{found}; the unit was restarted under its own filter"))
        }
        // the note stays, so that the next run asks again
        Answer::Declined | Answer::NobodyToAsk => Ok(format!(
            "{found}, but {unit} STILL RUNS WITHOUT ITS SYSTEM CALL FILTER: systemctl restart {unit}"
        )),
    }
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
