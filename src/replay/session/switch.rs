//! The dead man's switch: a transient timer of the manager that ends a replay whose run does not come back. What a
//! replay changes makes a service unprotected, and a run that was killed cannot put that right; the manager can.

use super::note::Note;
use crate::manager::{Manager, ManagerError, Standing, Timer};
use crate::replay::traced;
use crate::root::Root;
use crate::unit::UnitName;
use std::cell::{Cell, RefCell};
use std::path::Path;
use std::time::{Duration, Instant};

/// How long the manager waits for a sign of life. Longer than a slow reload, in which it answers nobody.
pub const LIMIT: Duration = Duration::from_mins(1);

/// How often it is given one.
pub(super) const BEAT: Duration = Duration::from_secs(15);

/// Where the programs are looked for that the manager runs. Fixed: nobody else's `PATH` counts for root.
const FOLDERS: [&str; 3] = ["/usr/bin", "/bin", "/run/current-system/sw/bin"];

/// A switch that is armed. Dropping it leaves it so.
pub(super) struct Switch<'a> {
    manager: &'a dyn Manager,
    name: String,
    held: Cell<Instant>,
    /// Why it could not be held any more.
    broken: RefCell<Option<ManagerError>>,
}

impl<'a> Switch<'a> {
    /// Arm it: from now on it has to be held.
    pub(super) fn arm(
        manager: &'a dyn Manager,
        unit: &UnitName,
        note: &Note,
        note_path: &Path,
    ) -> Result<Self, ManagerError> {
        let name = name(unit);
        let _ = manager.stop_timer(&name); // of a run that was killed; refused where there is none
        manager.start_timer(&Timer {
            name: name.clone(),
            description: format!("unitfix goes on with {unit}, which is put back if it does not"),
            deed: format!(
                "unitfix: {unit} back under its own system call filter, because the replay of it was killed"
            ),
            delay: LIMIT,
            commands: commands(unit, note, note_path)?,
        })?;
        Ok(Switch { manager, name, held: Cell::new(Instant::now()), broken: RefCell::default() })
    }

    /// Give a sign of life if it is time for one, as every wait does. False: the replay is not in force any more.
    pub(super) fn hold(&self, drop_in: &Path) -> bool {
        if self.broken.borrow().is_some() {
            return false;
        }
        if self.held.get().elapsed() >= BEAT
            && let Err(error) = self.push_out(drop_in)
        {
            self.broken.replace(Some(error));
            return false;
        }
        true
    }

    fn push_out(&self, drop_in: &Path) -> Result<(), ManagerError> {
        self.manager.restart_timer(&self.name)?;
        self.held.set(Instant::now());
        // it may have run before its time was let begin anew
        if Root::default().kind(drop_in).is_none() {
            return Err(ManagerError::Refused {
                action: "keep the replay".into(),
                reason: TAKEN_AWAY.into(),
            });
        }
        Ok(())
    }

    /// Give a sign of life now. An error: the replay is not in force any more.
    pub(super) fn hold_now(&self, drop_in: &Path) -> Result<(), ManagerError> {
        self.broken.take().map_or(Ok(()), Err)?;
        self.push_out(drop_in)
    }

    /// Disarm it: all is as it was.
    pub(super) fn disarm(&self) -> Result<(), ManagerError> {
        self.manager.stop_timer(&self.name)
    }
}

const TAKEN_AWAY: &str = "its drop-in was taken away in the middle of it";

/// Disarm the switch of a run that was killed. There may be none.
pub(super) fn disarm_leftover(manager: &dyn Manager, unit: &UnitName) {
    let _ = manager.stop_timer(&name(unit)); // refused where there is none
}

/// What the manager does in the place of a run that was killed: the same as [`super::Session::end`].
fn commands(
    unit: &UnitName,
    note: &Note,
    note_path: &Path,
) -> Result<Vec<(Vec<String>, bool)>, ManagerError> {
    let (rm, rmdir, systemctl) = (program("rm")?, program("rmdir")?, program("systemctl")?);
    let path = |path: &Path| path.display().to_string();
    let drop_in = path(&note.drop_in);
    let folder = note.drop_in.parent().filter(|_| note.own_folder).map(path);
    let traces = path(&traced::folders(unit));
    // a unit that had failed is killed once more, and so stands as it did
    let verb = match note.standing {
        _ if note.working => "try-restart", // what somebody has stopped stays so
        Standing::Down => "stop",
        Standing::Up | Standing::Failed => "restart",
    };
    let line = |words: &[&str], of_no_account| (words.iter().map(|w| escaped(w)).collect(), of_no_account);
    let mut lines = vec![line(&[&rm, "--force", "--", &drop_in], false)];
    lines.extend(folder.map(|folder| line(&[&rmdir, "--ignore-fail-on-non-empty", "--", &folder], true)));
    lines.extend([
        line(&[&systemctl, "daemon-reload"], false),
        line(&[&systemctl, "reset-failed", "--", unit.as_str()], true),
        line(&[&systemctl, "--no-block", verb, "--", unit.as_str()], false),
        line(&[&rm, "--force", "--recursive", "--", &path(note_path), &traces], false),
    ]);
    Ok(lines)
}

/// `$` begins a variable in the command lines of a unit; specifiers are not expanded in what comes over D-Bus.
pub(super) fn escaped(word: &str) -> String {
    word.replace('$', "$$")
}

pub(super) fn program(name: &str) -> Result<String, ManagerError> {
    let found =
        FOLDERS.iter().map(|folder| format!("{folder}/{name}")).find(|path| Path::new(path).is_file());
    found.ok_or_else(|| ManagerError::Refused {
        action: "guard the replay".to_owned(),
        reason: format!("there is no {name} in {}", FOLDERS.join(", ")),
    })
}

/// The name of the timer of a unit. An `@` would make it an instance of a template.
pub(super) fn name(unit: &UnitName) -> String {
    /// `UNIT_NAME_MAX` of systemd's src/basic/unit-name.h, without the longest suffix.
    const LONGEST: usize = 255 - ".service".len();
    let name = format!("unitfix-replay-{}", unit.as_str().replace('@', "\\x40"));
    if name.len() <= LONGEST {
        return name;
    }
    // FNV-1a: the same in every release, as a later one has to find it
    let hash = unit
        .as_str()
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3));
    format!("unitfix-replay-{hash:016x}")
}

/// The unit whose timer this is; nothing: it is none, or the unit's name was too long for it.
pub(super) fn unit_of(timer: &str) -> Option<String> {
    let unit = timer.strip_prefix("unitfix-replay-")?.strip_suffix(".timer")?.replace("\\x40", "@");
    UnitName::parse(&unit).is_ok().then_some(unit).filter(|unit| unit.ends_with(".service"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_units() {
        let named = |unit: &str| name(&UnitName::parse(unit).unwrap());
        for unit in ["v.service", "getty@tty1.service"] {
            assert_eq!(unit_of(&format!("{}.timer", named(unit))).as_deref(), Some(unit));
        }
        assert_eq!(unit_of("unitfix-replay-9705886def172433.timer"), None);
        assert_eq!(unit_of("v.timer"), None);
        assert_eq!(named("v.service"), "unitfix-replay-v.service");
        assert_eq!(named("getty@tty1.service"), "unitfix-replay-getty\\x40tty1.service");
        let long = format!("{}.service", "a".repeat(247));
        assert_eq!(named(&long), "unitfix-replay-9705886def172433");
    }
}
