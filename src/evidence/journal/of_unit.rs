//! Questions about one unit: by the fields that name it, which are others for units of users.

use super::{Entry, Journal, JournalError};
use crate::scope::Scope;
use crate::unit::UnitName;

/// The fields that name a unit of the system's manager, or of a user's (systemd.journal-fields(7)): whose process wrote
/// an entry, what an entry of the manager is about, and whose core dump it is. With the latter goes the user's ID.
pub(super) const SYSTEMD_UNIT: [&str; 3] = ["_SYSTEMD_UNIT", "_SYSTEMD_USER_UNIT", "_UID"];
pub(super) const UNIT: [&str; 3] = ["UNIT", "USER_UNIT", "_UID"];
pub(super) const COREDUMP_UNIT: [&str; 3] = ["COREDUMP_UNIT", "COREDUMP_USER_UNIT", "COREDUMP_UID"];

/// What only entries of a user's manager have.
pub(super) const USER_MANAGER: &str = "_SYSTEMD_USER_UNIT=init.scope";

impl Journal {
    /// Units are those of this manager.
    #[must_use]
    pub fn of(mut self, scope: &Scope) -> Self {
        self.scope = scope.clone();
        self
    }

    /// The matches for a unit by one of these fields.
    pub(super) fn unit(&self, [of_system, of_user, user]: [&str; 3], unit: &UnitName) -> Vec<String> {
        match self.scope.owner() {
            None => vec![format!("{of_system}={unit}")],
            Some(owner) => vec![format!("{of_user}={unit}"), format!("{user}={}", owner.uid)],
        }
    }

    /// Ask about a unit of the manager's. A user may read what their own units wrote, and no more.
    pub(super) fn ask_of_unit(
        &self,
        more: &[&str],
        unit: &[String],
        fields: &str,
        mut each: impl FnMut(&Entry),
    ) -> Result<(), JournalError> {
        let matches = |own: Option<&'static str>| -> Vec<String> {
            let more = more.iter().copied().chain(own).map(str::to_owned);
            more.chain(unit.iter().cloned()).collect()
        };
        // root may read all
        let own = self.scope.owner().filter(|owner| owner.uid != 0).map(|_| "--user");
        match self.ask(&matches(own), fields, &mut each) {
            // without a lasting journal, users have none of their own
            Err(JournalError::Empty) if own.is_some() => self.ask(&matches(None), fields, each),
            answer => answer,
        }
    }
}
