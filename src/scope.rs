//! Whose service manager runs a unit: the system's, or a user's own (systemd calls this the runtime scope). It decides
//! where drop-ins and receipts are, what specifiers stand for, and which fields of the journal name the unit.

use crate::unit::UnitName;
use nix::unistd::{Gid, Group, Uid, User, geteuid};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// From this version on, `%S` and `%L` of a user's units lead below `$XDG_STATE_HOME` (systemd's NEWS of 254).
const STATE_HOME_FROM: u32 = 254;

/// The umask where nothing else is said (systemd.exec(5), `UMask=`).
pub(crate) const UMASK: u32 = 0o022;

/// Whose service manager it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Scope {
    /// That of the system, which is PID 1.
    #[default]
    System,
    /// That of a user, `user@UID.service`.
    User(Arc<Owner>),
}

/// A user with a service manager.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// The user's ID.
    pub uid: u32,
    gid: u32,
    /// The user's name; where there is none, the ID.
    pub name: String,
    /// The home directory.
    pub home: PathBuf,
    shell: PathBuf,
    /// Where the user's unit files, unitfix's receipts and its locks are, without the links on the way there.
    units: PathBuf,
    receipts: PathBuf,
    locks: PathBuf,
    /// `$XDG_RUNTIME_DIR`, where the manager's message bus is.
    pub runtime: PathBuf,
    /// What the manager hands on to every service; empty until it was asked.
    pub environment: Vec<(String, String)>,
    /// The umask that the manager hands on.
    pub umask: u32,
    /// The manager's major version; 0 until it was asked.
    systemd: u32,
}

impl Owner {
    /// The user who runs this program. Root is not told by variables, which sudo may have kept of somebody else, where
    /// its own files are.
    #[must_use]
    pub fn caller() -> Self {
        let uid = geteuid();
        let variable = |name: &str| std::env::var_os(name).filter(|_| !uid.is_root()).map(PathBuf::from);
        let absolute = |name: &str| variable(name).filter(|path| path.is_absolute());
        let user = User::from_uid(uid).ok().flatten();
        let home = absolute("HOME").or_else(|| Some(user.as_ref()?.dir.clone()));
        let home = home.unwrap_or_else(|| PathBuf::from("/"));
        let config = absolute("XDG_CONFIG_HOME").unwrap_or_else(|| home.join(".config"));
        let state = absolute("XDG_STATE_HOME").unwrap_or_else(|| home.join(".local/state"));
        let runtime = absolute("XDG_RUNTIME_DIR");
        let runtime = runtime.unwrap_or_else(|| PathBuf::from(format!("/run/user/{uid}")));
        Owner {
            uid: uid.as_raw(),
            gid: user.as_ref().map_or(nix::unistd::getegid(), |user| user.gid).as_raw(),
            name: user.as_ref().map_or_else(|| uid.to_string(), |user| user.name.clone()),
            shell: user.map_or_else(|| PathBuf::from("/bin/sh"), |user| user.shell),
            units: real(&config.join("systemd/user")),
            receipts: real(&state.join("unitfix")),
            locks: real(&runtime.join("unitfix/lock")),
            runtime,
            home,
            environment: Vec::new(),
            umask: UMASK,
            systemd: 0,
        }
    }

    /// The same, with what the user's manager tells: its major version, the lines of its environment, and its umask.
    #[must_use]
    pub fn told(self, systemd: u32, environment: &[String], umask: Option<u32>) -> Self {
        let lines = environment.iter().filter_map(|line| line.split_once('='));
        let environment = lines.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        Owner { environment, umask: umask.unwrap_or(UMASK), systemd, ..self }
    }

    /// A directory of the user's as the manager sees it, and where it is if no variable says so.
    fn directory(&self, variable: &str, usual: &str) -> PathBuf {
        let named = self.environment.iter().find(|(name, _)| name == variable);
        named.map_or_else(|| self.home.join(usual), |(_, path)| PathBuf::from(path))
    }

    fn specifier(&self, specifier: char) -> Option<String> {
        let config = || self.directory("XDG_CONFIG_HOME", ".config");
        let state = || match self.systemd {
            STATE_HOME_FROM.. => self.directory("XDG_STATE_HOME", ".local/state"),
            _ => config(),
        };
        let group = || Group::from_gid(Gid::from_raw(self.gid)).ok().flatten();
        let path = match specifier {
            't' => self.runtime.clone(),
            'S' => state(),
            'C' => self.directory("XDG_CACHE_HOME", ".cache"),
            'L' => state().join("log"),
            'E' => config(),
            'h' => self.home.clone(),
            's' => self.shell.clone(),
            'u' => return Some(self.name.clone()),
            'U' => return Some(self.uid.to_string()),
            'g' => return Some(group().map_or_else(|| self.gid.to_string(), |group| group.name)),
            'G' => return Some(self.gid.to_string()),
            _ => return None,
        };
        Some(path.to_string_lossy().into_owned())
    }
}

impl Scope {
    /// The manager of the user who runs this program.
    #[must_use]
    pub fn of_caller() -> Self {
        Scope::User(Arc::new(Owner::caller()))
    }

    /// The user whose manager it is.
    #[must_use]
    pub fn owner(&self) -> Option<&Owner> {
        match self {
            Scope::System => None,
            Scope::User(owner) => Some(owner),
        }
    }

    /// How systemctl(1) is called for it.
    #[must_use]
    pub fn systemctl(&self) -> &'static str {
        match self {
            Scope::System => "systemctl",
            Scope::User(_) => "systemctl --user",
        }
    }

    /// How journalctl(1) is called for it.
    #[must_use]
    pub fn journalctl(&self) -> &'static str {
        match self {
            Scope::System => "journalctl",
            Scope::User(_) => "journalctl --user",
        }
    }

    /// What follows a command of unitfix's that is about it, with a space before.
    #[must_use]
    pub fn option(&self) -> &'static str {
        match self {
            Scope::System => "",
            Scope::User(_) => " --user",
        }
    }

    /// The folders with the drop-in folders that unitfix writes to, from inside the root; the lasting one first.
    #[must_use]
    pub fn unit_folders(&self) -> Vec<PathBuf> {
        match self {
            Scope::System => vec!["/etc/systemd/system".into(), "/run/systemd/system".into()],
            Scope::User(owner) => vec![owner.units.clone()],
        }
    }

    /// The folder of a unit's own drop-ins that lasts, where those of administrators and users live (systemd.unit(5)).
    #[must_use]
    pub fn drop_in_folder(&self, unit: &UnitName) -> PathBuf {
        self.unit_folders().swap_remove(0).join(format!("{unit}.d"))
    }

    /// The folders with a file for each unit that unitfix works on, from inside the root.
    #[must_use]
    pub fn note_folders(&self) -> Vec<PathBuf> {
        match self {
            Scope::System => vec!["/run/unitfix/replay".into(), self.receipts()],
            Scope::User(_) => vec![self.receipts()],
        }
    }

    /// Where receipts are kept, from inside the root.
    #[must_use]
    pub fn receipts(&self) -> PathBuf {
        match self {
            Scope::System => "/var/lib/unitfix".into(),
            Scope::User(owner) => owner.receipts.clone(),
        }
    }

    /// Where the locks of units are, on the running system.
    #[must_use]
    pub fn locks(&self) -> PathBuf {
        match self {
            Scope::System => "/run/unitfix/lock".into(),
            Scope::User(owner) => owner.locks.clone(),
        }
    }

    /// What a specifier stands for that tells of the manager and its user, whatever `User=` says; nothing: it tells of
    /// something else. systemd.unit(5), "Specifiers".
    #[must_use]
    pub fn specifier(&self, specifier: char) -> Option<String> {
        let Scope::System = self else { return self.owner()?.specifier(specifier) };
        Some(match specifier {
            't' => "/run".to_owned(),
            'S' => "/var/lib".to_owned(),
            'C' => "/var/cache".to_owned(),
            'L' => "/var/log".to_owned(),
            'E' => "/etc".to_owned(),
            'u' | 'g' => "root".to_owned(),
            'U' | 'G' => "0".to_owned(),
            'h' => "/root".to_owned(),
            's' => User::from_uid(Uid::from_raw(0)).ok()??.shell.to_str()?.to_owned(),
            _ => return None,
        })
    }
}

/// A path with the links followed that are on the way, as far as it is there.
fn real(path: &Path) -> PathBuf {
    let there = path.ancestors().find_map(|above| Some((above, std::fs::canonicalize(above).ok()?)));
    let below = there.and_then(|(above, real)| Some(real.join(path.strip_prefix(above).ok()?)));
    // joined with nothing, a path ends in a slash
    below.map_or_else(|| path.to_owned(), |path| path.components().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner(systemd: u32, environment: &[&str]) -> Owner {
        let owner = Owner {
            uid: 1000,
            gid: 4_000_000_000,
            name: "alice".into(),
            home: "/home/alice".into(),
            shell: "/bin/zsh".into(),
            units: "/home/alice/.config/systemd/user".into(),
            receipts: "/home/alice/.local/state/unitfix".into(),
            locks: "/run/user/1000/unitfix/lock".into(),
            runtime: "/run/user/1000".into(),
            environment: Vec::new(),
            umask: UMASK,
            systemd: 0,
        };
        let lines: Vec<String> = environment.iter().map(ToString::to_string).collect();
        owner.told(systemd, &lines, None)
    }

    #[test]
    fn specifiers_tell_of_the_user() {
        let all = |owner: &Owner| {
            let values = "tSCLEhsuUgGn".chars().map(|c| owner.specifier(c).unwrap_or_default());
            values.collect::<Vec<_>>().join(" ")
        };
        assert_eq!(
            all(&owner(252, &[])),
            "/run/user/1000 /home/alice/.config /home/alice/.cache /home/alice/.config/log /home/alice/.config \
             /home/alice /bin/zsh alice 1000 4000000000 4000000000 "
        );
        assert_eq!(
            all(&owner(257, &["XDG_STATE_HOME=/s", "XDG_CONFIG_HOME=/c", "LANG=C"])),
            "/run/user/1000 /s /home/alice/.cache /s/log /c /home/alice /bin/zsh alice 1000 4000000000 4000000000 "
        );
    }

    #[test]
    fn links_on_the_way_are_followed() {
        let dir = tempfile::tempdir().unwrap();
        let here = std::fs::canonicalize(dir.path()).unwrap();
        std::fs::create_dir(here.join("dotfiles")).unwrap();
        std::os::unix::fs::symlink("dotfiles", here.join("config")).unwrap();
        assert_eq!(real(&here.join("config/systemd/user")), here.join("dotfiles/systemd/user"));
        assert_eq!(real(&here.join("config")), here.join("dotfiles"));
        assert_eq!(real(Path::new("/nowhere/at/all")), PathBuf::from("/nowhere/at/all"));
    }
}
