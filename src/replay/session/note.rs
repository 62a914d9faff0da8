//! What a session notes about itself, for the next run if this one is killed.

use super::SessionError;
use crate::change::replace;
use crate::manager::{Standing, UnitStatus};
use crate::root::Root;
use crate::unit::UnitName;
use serde::{Deserialize, Serialize};
use std::io;
use std::path::{Path, PathBuf};

/// Where the notes are.
const NOTES: &str = "/run/unitfix/replay";

/// The note of one unit's session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    /// The runtime drop-in.
    pub drop_in: PathBuf,
    /// Its folder is there only because of it.
    #[serde(default)]
    pub own_folder: bool,
    /// How the unit stood before.
    pub standing: Standing,
    /// When the drop-in was put in, in microseconds since the epoch.
    pub since: u64,
    /// It was taken away again; the unit, which had failed, is stopped, and owed a start that fails.
    #[serde(default)]
    pub over: bool,
    /// It is in for a working period, in which others start and stop the unit: what they made of it is how it is to
    /// stand then, but under its own filter.
    #[serde(default)]
    pub working: bool,
}

impl Note {
    pub(super) fn path(unit: &UnitName) -> PathBuf {
        Path::new(NOTES).join(format!("{unit}.json"))
    }

    /// To what a unit is put back that stands like this at the end. Nothing: it does not run without its filter.
    pub(super) fn due(&self, now: &UnitStatus) -> Option<Standing> {
        match self.standing {
            standing if !self.working => Some(standing),
            Standing::Failed => Some(Standing::Failed),
            _ if now.is_up() => now.began_since(self.since).then_some(Standing::Up),
            Standing::Up if now.active_state == "failed" => Some(Standing::Up),
            Standing::Up | Standing::Down => None,
        }
    }

    /// A note as it was kept, or what is wrong with it and where.
    pub fn parse(bytes: &[u8]) -> io::Result<Self> {
        serde_json::from_slice(bytes).map_err(io::Error::other)
    }

    /// The note of a unit, if there is one.
    pub(super) fn read(unit: &UnitName) -> Result<Option<Self>, SessionError> {
        let path = Self::path(unit);
        let bytes = match Root::default().read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            other => other.and_then(|bytes| Self::parse(&bytes)),
        };
        let note = bytes.and_then(|note: Self| {
            if note.drop_in.parent() == Some(&runtime_folder(unit)) {
                Ok(Some(note))
            } else {
                Err(io::Error::other("it names a file that no replay of this unit wrote"))
            }
        });
        note.map_err(|error| SessionError::Io { path, error })
    }

    /// Keep it.
    pub(super) fn keep(&self, unit: &UnitName) -> Result<(), SessionError> {
        let path = Self::path(unit);
        let text = serde_json::to_string(self).map_err(io::Error::other);
        text.and_then(|text| replace(&Root::default(), &path, Some(&text), false))
            .map_err(|error| SessionError::Io { path, error })
    }

    /// Forget the note of a unit, if there is one: nothing is left to be done.
    pub(super) fn forget(unit: &UnitName) -> Result<(), SessionError> {
        remove(&Self::path(unit), false)
    }
}

/// Where a unit's runtime drop-ins are.
pub(super) fn runtime_folder(unit: &UnitName) -> PathBuf {
    Path::new("/run/systemd/system").join(format!("{unit}.d"))
}

/// Take a file away, if it is there, and with it its folder if that is empty then and its own.
pub(super) fn remove(path: &Path, own_folder: bool) -> Result<(), SessionError> {
    match replace(&Root::default(), path, None, own_folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(SessionError::Io { path: path.to_owned(), error })
        }
        _ => Ok(()),
    }
}

/// Whether a session of this unit is open, or was left behind.
#[must_use]
pub fn is_noted(unit: &UnitName) -> bool {
    Root::default().kind(&Note::path(unit)).is_some()
}

/// The units with a session that is open, or was left behind.
pub fn sessions() -> io::Result<Vec<String>> {
    let names = Root::default().list(Path::new(NOTES))?;
    Ok(names.iter().filter_map(|n| Some(n.to_str()?.strip_suffix(".json")?.to_owned())).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn due(standing: Standing, working: bool, active_state: &str, activated: u64) -> Option<Standing> {
        let (drop_in, own_folder, over) = (PathBuf::new(), false, false);
        let note = Note { drop_in, own_folder, standing, since: 10, over, working };
        note.due(&UnitStatus { active_state: active_state.to_owned(), activated, ..UnitStatus::default() })
    }

    #[test]
    fn after_a_replay_it_stands_as_before() {
        for standing in [Standing::Up, Standing::Failed, Standing::Down] {
            for state in ["active", "failed", "inactive"] {
                assert_eq!(due(standing, false, state, 11), Some(standing));
            }
        }
    }

    #[test]
    fn after_a_working_period_it_stands_as_others_made_it() {
        assert_eq!(due(Standing::Up, true, "active", 11), Some(Standing::Up));
        assert_eq!(due(Standing::Up, true, "active", 9), None, "it was not restarted");
        assert_eq!(due(Standing::Up, true, "inactive", 11), None, "somebody stopped it");
        assert_eq!(due(Standing::Up, true, "failed", 11), Some(Standing::Up));
        assert_eq!(due(Standing::Down, true, "active", 11), Some(Standing::Up), "its timer started it");
        assert_eq!(due(Standing::Down, true, "inactive", 11), None);
        assert_eq!(due(Standing::Down, true, "failed", 11), None);
        assert_eq!(due(Standing::Failed, true, "active", 11), Some(Standing::Failed));
    }
}
