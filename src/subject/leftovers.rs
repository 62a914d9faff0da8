//! What runs left behind that were killed: half-written files, a replay, a repair that nobody has seen to help. The next
//! run for the unit puts it right before anything else, and says so. Only for who holds the unit's lock.

use super::Failure;
use super::running::{failure, session_failure};
use crate::change::{self, Pending, Store};
use crate::finding::{Code, Finding};
use crate::manager::{Manager, Standing};
use crate::replay::session;
use crate::root::Root;
use crate::scope::Scope;
use crate::unit::UnitName;
use std::io;

/// Whether there is anything of a unit of a system or a user.
pub(crate) fn are_there(store: &Store, name: &UnitName) -> bool {
    let runs_here = store.root().is_some_and(Root::is_system);
    let noted = runs_here && *store.scope() == Scope::System && session::is_noted(name);
    let pending = || store.load(name).is_ok_and(|receipt| receipt.is_some_and(|r| r.pending.is_some()));
    noted || pending() || change::half_written_of(store, name).is_ok_and(|files| !files.is_empty())
}

/// Put right what was left behind of a unit that a manager runs.
pub(crate) fn put_right(
    manager: &dyn Manager,
    store: &Store,
    name: &UnitName,
) -> Result<Vec<Finding>, Failure> {
    let mut findings = Vec::from_iter(half_written(store, name)?);
    let words = match store.scope() {
        Scope::System => session::recover(manager, name).map_err(session_failure)?,
        Scope::User(_) => session::recover_pause(manager, name).map_err(failure)?.then(|| {
            "an earlier run was killed in its replay, for which it had stopped the unit: it was started again"
                .to_owned()
        }),
    };
    findings.extend(words.map(|words| Finding::warning(Code::LeftoverReplay, words, None)));
    findings.extend(repair(store, name, |pending| {
        let standing = pending.standing.unwrap_or(Standing::Down);
        session::put_right(manager, name, standing, pending.since).map_err(failure)
    })?);
    Ok(findings)
}

/// Put right what was left behind of a unit below a root folder, of which nothing runs.
pub(crate) fn put_right_below(store: &Store, name: &UnitName) -> Result<Vec<Finding>, Failure> {
    let mut findings = Vec::from_iter(half_written(store, name)?);
    findings.extend(repair(store, name, |_| Ok(""))?);
    Ok(findings)
}

fn half_written(store: &Store, name: &UnitName) -> Result<Option<Finding>, Failure> {
    let words = change::sweep(store, name).map_err(|error| system(&error))?;
    Ok(words.map(|words| Finding::warning(Code::LeftoverRepair, words, None)))
}

/// Take a repair back that is not known to help; `put_right` makes that true for the running unit as well.
fn repair(
    store: &Store,
    name: &UnitName,
    put_right: impl FnOnce(&Pending) -> Result<&'static str, Failure>,
) -> Result<Option<Finding>, Failure> {
    let receipt = store.load(name).map_err(|error| system(&error))?;
    let pending = receipt.and_then(|receipt| receipt.pending);
    let (Some(pending), Some(root)) = (pending, store.root()) else { return Ok(None) };
    pending.take_back(root).map_err(|error| Failure::System(error.to_string()))?;
    let restarted = put_right(&pending)?;
    pending.forget(store, name).map_err(|error| system(&error))?;
    let words = format!(
        "an earlier run was killed before it had seen whether its repair helps: the repair was taken back{restarted}"
    );
    Ok(Some(Finding::warning(Code::LeftoverRepair, words, None)))
}

fn system(error: &io::Error) -> Failure {
    Failure::System(error.to_string())
}
