//! Cleaning up behind a run that was killed in a replay, or after it. What has to be restarted for that is restarted
//! without a question: it belongs to what somebody agreed to, and the manager would do it anyway.

use super::note::Note;
use super::{SessionError, leave, restore, switch};
use crate::manager::{Manager, ManagerError, Standing, UnitStatus};
use crate::replay::traced;
use crate::unit::UnitName;

/// Put right what a session left behind, if there was one. Returns what there is to tell. Only for who holds the unit's
/// lock.
pub fn recover(manager: &dyn Manager, unit: &UnitName) -> Result<Option<String>, SessionError> {
    traced::clean_up(unit);
    let Some(note) = Note::read(unit)? else { return Ok(None) };
    if note.over {
        leave(manager, unit)?;
        return Ok(Some(
            "an earlier run was killed after its replay: the unit stands as failed again".to_owned(),
        ));
    }
    note.take_away()?;
    let restarted = if note.working {
        put_right_after_work(manager, unit, &note)?
    } else {
        put_right(manager, unit, note.standing, note.since)?
    };
    switch::disarm_leftover(manager, unit); // until here the manager would have finished this
    Note::forget(unit)?;
    Ok(Some(format!(
        "a replay of an earlier run that was killed was still in force, and was taken away{restarted}"
    )))
}

/// Have the manager read its files again, and make a unit stand as it did before a time (in microseconds since the
/// epoch) if it does not. Returns what was done, for the end of a sentence.
pub fn put_right(
    manager: &dyn Manager,
    unit: &UnitName,
    standing: Standing,
    since: u64,
) -> Result<&'static str, ManagerError> {
    manager.reload()?;
    if stands(&manager.status(unit)?, standing, since) {
        return Ok("");
    }
    restore(manager, unit, standing)?;
    Ok(done(standing))
}

/// The same after a working period, in which others may have started and stopped the unit.
fn put_right_after_work(
    manager: &dyn Manager,
    unit: &UnitName,
    note: &Note,
) -> Result<&'static str, ManagerError> {
    manager.reload()?;
    let due = note.due(&manager.status(unit)?);
    due.map_or(Ok(""), |standing| restore(manager, unit, standing).map(|()| done(standing)))
}

/// What was done to have a unit stand like this, for the end of a sentence.
fn done(standing: Standing) -> &'static str {
    match standing {
        Standing::Up => "; the unit was restarted under its own filter",
        Standing::Failed => "; the unit was restarted, to stand as failed as it did",
        Standing::Down => "; the unit was stopped, as it was before",
    }
}

fn stands(status: &UnitStatus, standing: Standing, since: u64) -> bool {
    let touched = status.began_since(since);
    match standing {
        Standing::Up => !touched,
        Standing::Failed => status.active_state == "failed" && !touched,
        Standing::Down => !status.is_up() || !touched,
    }
}
