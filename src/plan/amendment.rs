//! What a drop-in of unitfix's adds to the settings of a unit, and how that is written.

use crate::policy::{Action, errno_name, parse_action};
use crate::syscalls::Arch;
use std::collections::{BTreeMap, BTreeSet};

const FILTER: &str = "SystemCallFilter=";
const ARCHITECTURES: &str = "SystemCallArchitectures=";

/// What is added to the settings of a unit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Amendment {
    /// Calls, and groups of them, that are allowed.
    pub allow: BTreeSet<String>,
    /// Calls that stay forbidden and fail with this errno, instead of what the filter does with them.
    pub soften: BTreeMap<String, u16>,
    /// Architectures that are let in.
    pub architectures: BTreeSet<Arch>,
    /// Lines of other settings.
    pub settings: Vec<String>,
}

impl Amendment {
    /// Whether it changes nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.lines().is_empty()
    }

    /// The lines of a drop-in, below `[Service]`.
    #[must_use]
    pub fn lines(&self) -> String {
        let mut out = String::new();
        if !self.allow.is_empty() {
            out.push_str(&line(FILTER, self.allow.iter().cloned()));
        }
        if !self.soften.is_empty() {
            let soft = self.soften.iter().map(|(name, errno)| format!("{name}:{}", errno_name(*errno)));
            out.push_str(&line(&format!("{FILTER}~"), soft));
        }
        if !self.architectures.is_empty() {
            out.push_str(&line(
                ARCHITECTURES,
                self.architectures.iter().map(|a| a.systemd_name().to_owned()),
            ));
        }
        out.extend(self.settings.iter().map(|line| format!("{line}\n")));
        out
    }

    /// Take in a line of an earlier drop-in of unitfix's, if it is one that these lines continue. What is new wins.
    pub(crate) fn take_in(&mut self, line: &str) -> bool {
        if let Some(value) = line.strip_prefix(FILTER) {
            return match value.strip_prefix('~') {
                Some(words) => self.take_in_soft(words),
                None => self.take_in_allowed(value),
            };
        }
        if self.settings.iter().any(|own| own == line) {
            return true;
        }
        let Some(value) = line.strip_prefix(ARCHITECTURES).filter(|value| !value.is_empty()) else {
            return false;
        };
        let known: Option<Vec<Arch>> = value.split_whitespace().map(Arch::from_systemd_name).collect();
        known.map(|known| self.architectures.extend(known)).is_some()
    }

    fn take_in_allowed(&mut self, value: &str) -> bool {
        let new = value.split_whitespace().filter(|name| !self.soften.contains_key(*name));
        let new: Vec<String> = new.map(str::to_owned).collect();
        self.allow.extend(new);
        !value.is_empty() // an empty one is a reset
    }

    fn take_in_soft(&mut self, words: &str) -> bool {
        let word = |word: &str| match word.split_once(':') {
            Some((name, errno)) => match parse_action(errno) {
                Some(Action::Errno(errno)) => Some((name.to_owned(), errno)),
                _ => None,
            },
            None => None,
        };
        let Some(soft) = words.split_whitespace().map(word).collect::<Option<Vec<_>>>() else {
            return false;
        };
        for (name, errno) in soft {
            if !self.allow.contains(&name) {
                self.soften.entry(name).or_insert(errno);
            }
        }
        true
    }
}

fn line(setting: &str, words: impl Iterator<Item = String>) -> String {
    format!("{setting}{}\n", words.collect::<Vec<_>>().join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_can_be_taken_in_again() {
        let amendment = Amendment {
            allow: ["@chown", "setrlimit"].map(str::to_owned).into(),
            soften: [("clone3".to_owned(), 38), ("mlock".to_owned(), 1)].into(),
            architectures: [Arch::X86].into(),
            settings: vec!["LockPersonality=no".to_owned()],
        };
        let lines = amendment.lines();
        assert_eq!(
            lines,
            "SystemCallFilter=@chown setrlimit\nSystemCallFilter=~clone3:ENOSYS mlock:EPERM\n\
             SystemCallArchitectures=x86\nLockPersonality=no\n"
        );
        let mut again = Amendment { settings: amendment.settings.clone(), ..Amendment::default() };
        assert!(lines.lines().all(|line| again.take_in(line)));
        assert_eq!(again, amendment);
    }

    #[test]
    fn what_is_new_wins() {
        let mut new = Amendment { allow: ["mlock".to_owned()].into(), ..Amendment::default() };
        new.soften.insert("chown".to_owned(), 1);
        assert!(new.take_in("SystemCallFilter=~mlock:EPERM") && new.take_in("SystemCallFilter=chown fchown"));
        assert_eq!(new.lines(), "SystemCallFilter=fchown mlock\nSystemCallFilter=~chown:EPERM\n");
        for other in ["SystemCallFilter=", "SystemCallFilter=~chown", "SystemCallArchitectures=", "User=x"] {
            assert!(!new.take_in(other), "{other}");
        }
    }
}
