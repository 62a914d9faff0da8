//! When a boot of the system was: what `--boot` means, as journalctl has it.

use super::range::Range;
use crate::evidence::gather::boot_time;
use crate::evidence::journal::{Journal, JournalError};
use crate::interrupt::Interrupt;
use crate::root::Root;
use crate::subject::Failure;
use std::path::{Path, PathBuf};

/// The time of a boot: from the last entry of the one before it to its own last entry.
pub(super) fn range(boot: &str, root: Option<&Root>, interrupt: &Interrupt) -> Result<Range, Failure> {
    let asked = parse(boot)?;
    if asked == Asked::Offset(0) && root.is_none() {
        return Ok(Range { since: boot_time(), until: None });
    }
    let folder = root.map(folder).transpose()?;
    let journal = Journal::find(interrupt).map_err(failure)?;
    let no_boots = |error| match error {
        JournalError::Empty | JournalError::Failed { .. } => no_boot(boot),
        other => failure(other),
    };
    let boots = journal.boots(folder.as_deref()).map_err(no_boots)?;
    let at = asked.among(&boots).ok_or_else(|| no_boot(boot))?;
    let last = |boot: &String| journal.last_time(boot, folder.as_deref()).map_err(failure);
    // the first boot that the journal has is not limited by another one
    let before = at.checked_sub(1).map(|at| last(&boots[at])).transpose()?.flatten();
    Ok(Range { since: before.map(|time| time + 1), until: last(&boots[at])? })
}

fn no_boot(asked: &str) -> Failure {
    Failure::Usage(format!(
        "the journal has no boot {asked}: `journalctl --list-boots` shows those that it has"
    ))
}

/// Where the journal of a root is: journalctl takes one directory.
fn folder(root: &Root) -> Result<PathBuf, Failure> {
    let inside = super::inputs::JOURNALS.map(Path::new).into_iter().find_map(|folder| root.resolve(folder));
    let inside = inside.ok_or_else(|| {
        Failure::Usage(
            "there is no journal below this root, which would know its boots: give --since".to_owned(),
        )
    })?;
    Ok(root.join(&inside))
}

fn failure(error: JournalError) -> Failure {
    match error {
        JournalError::Interrupted => Failure::Interrupted,
        other => Failure::System(other.to_string()),
    }
}

/// What `--boot` names.
#[derive(Debug, PartialEq, Eq)]
enum Asked {
    /// Of the boots up to the last one, which is 0; from 1 on, of all from the first one on.
    Offset(i32),
    /// The boot's ID.
    Id(String),
}

impl Asked {
    /// Which of the boots it is, of those from the oldest on.
    fn among(&self, boots: &[String]) -> Option<usize> {
        let at = match self {
            Asked::Id(id) => return boots.iter().position(|boot| boot == id),
            Asked::Offset(offset @ 1..) => usize::try_from(offset - 1).ok()?,
            Asked::Offset(offset) => {
                (boots.len()).checked_sub(1 + usize::try_from(offset.unsigned_abs()).ok()?)?
            }
        };
        (at < boots.len()).then_some(at)
    }
}

fn parse(text: &str) -> Result<Asked, Failure> {
    let plain: String = text.chars().filter(|c| *c != '-').collect();
    if plain.len() == 32 && plain.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Ok(Asked::Id(plain.to_ascii_lowercase()));
    }
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    let offset =
        text.parse().ok().filter(|_| !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()));
    offset.map(Asked::Offset).ok_or_else(|| {
        let shown: String = text.chars().take(60).collect();
        let message = format!(
            "'{}' is no boot: write its ID, or 0 for the last one, -1 for the one before it",
            shown.escape_debug()
        );
        Failure::Usage(message)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_three_boots() {
        let boots = ["a", "b", "c"].map(|digit| digit.repeat(32));
        let among = |text: &str| parse(text).unwrap().among(&boots);
        for (asked, at) in [("0", 2), ("-1", 1), ("-2", 0), ("1", 0), ("+2", 1), ("3", 2), (&boots[1], 1)] {
            assert_eq!(among(asked), Some(at), "{asked}");
        }
        for nowhere in ["-3", "4", &"d".repeat(32), "-2147483648"] {
            assert_eq!(among(nowhere), None, "{nowhere}");
        }
    }

    #[test]
    fn boots_as_journalctl_has_them() {
        let id = "0123456789abcdef0123456789abcdef";
        assert_eq!(parse("-1").unwrap(), Asked::Offset(-1));
        assert_eq!(parse("+2").unwrap(), Asked::Offset(2));
        assert_eq!(parse("0").unwrap(), Asked::Offset(0));
        assert_eq!(parse(id).unwrap(), Asked::Id(id.to_owned()));
        assert_eq!(parse("01234567-89AB-cdef-0123-456789abcdef").unwrap(), Asked::Id(id.to_owned()));
        for bad in ["", "-", "x", "--1", "1.5", "99999999999", "\u{1b}[2J"] {
            assert!(matches!(parse(bad), Err(Failure::Usage(_))), "{bad:?}");
        }
    }
}
