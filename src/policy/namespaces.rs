//! `RestrictNamespaces=`: the types of namespaces that a unit may make or join.
//! `config_parse_restrict_namespaces()` in src/core/load-fragment.c, src/shared/nsflags.c.

use super::Token;
use super::words::{Quotes, words};
use crate::finding::{Code, Finding};
use crate::unit::{Setting, Unit};
use std::collections::{BTreeMap, BTreeSet};

const SETTING: &str = "RestrictNamespaces";

/// From this version on, `time` is a namespace type (seen on 252, not on 247).
const TIME_FROM: u32 = 252;

/// From this version on (seen on 262, not on 257), `time` belongs to all types. Before, it can be named, but a value
/// that restricts nothing else does not count, and `~net` retains all but `net` and `time`.
const TIME_BELONGS_FROM: u32 = 262;

/// A type of namespaces, in the order in which the manager shows them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NamespaceType {
    /// Control groups.
    Cgroup,
    /// System V IPC and POSIX message queues.
    Ipc,
    /// The network.
    Net,
    /// Mount points.
    Mnt,
    /// Process IDs.
    Pid,
    /// Users and groups.
    User,
    /// Host and domain name.
    Uts,
    /// Boot and monotonic clocks.
    Time,
}

impl NamespaceType {
    /// Every type.
    pub const ALL: [NamespaceType; 8] = [
        NamespaceType::Cgroup,
        NamespaceType::Ipc,
        NamespaceType::Net,
        NamespaceType::Mnt,
        NamespaceType::Pid,
        NamespaceType::User,
        NamespaceType::Uts,
        NamespaceType::Time,
    ];

    /// The name in the setting.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            NamespaceType::Cgroup => "cgroup",
            NamespaceType::Ipc => "ipc",
            NamespaceType::Net => "net",
            NamespaceType::Mnt => "mnt",
            NamespaceType::Pid => "pid",
            NamespaceType::User => "user",
            NamespaceType::Uts => "uts",
            NamespaceType::Time => "time",
        }
    }

    /// The flag of clone(2), unshare(2) and setns(2): `CLONE_NEW*` of linux/sched.h.
    #[must_use]
    pub const fn clone_flag(self) -> u32 {
        match self {
            NamespaceType::Cgroup => 0x0200_0000,
            NamespaceType::Ipc => 0x0800_0000,
            NamespaceType::Net => 0x4000_0000,
            NamespaceType::Mnt => 0x0002_0000,
            NamespaceType::Pid => 0x2000_0000,
            NamespaceType::User => 0x1000_0000,
            NamespaceType::Uts => 0x0400_0000,
            NamespaceType::Time => 0x0000_0080,
        }
    }

    /// The name of [`NamespaceType::clone_flag`].
    #[must_use]
    pub const fn clone_flag_name(self) -> &'static str {
        match self {
            NamespaceType::Cgroup => "CLONE_NEWCGROUP",
            NamespaceType::Ipc => "CLONE_NEWIPC",
            NamespaceType::Net => "CLONE_NEWNET",
            NamespaceType::Mnt => "CLONE_NEWNS",
            NamespaceType::Pid => "CLONE_NEWPID",
            NamespaceType::User => "CLONE_NEWUSER",
            NamespaceType::Uts => "CLONE_NEWUTS",
            NamespaceType::Time => "CLONE_NEWTIME",
        }
    }

    /// The type of a name.
    #[must_use]
    pub fn from_name(name: &str, version: u32) -> Option<Self> {
        let found = NamespaceType::ALL.into_iter().find(|t| t.name() == name)?;
        (found != NamespaceType::Time || version >= TIME_FROM).then_some(found)
    }

    /// `NAMESPACE_FLAGS_ALL` of a version.
    fn all(version: u32) -> BTreeSet<Self> {
        let belongs = |t: &NamespaceType| *t != NamespaceType::Time || version >= TIME_BELONGS_FROM;
        NamespaceType::ALL.into_iter().filter(belongs).collect()
    }
}

/// The types of namespaces that a unit retains.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Namespaces {
    /// Nothing: not set.
    retained: Option<BTreeSet<NamespaceType>>,
    tokens: BTreeMap<NamespaceType, Token>,
    version: u32,
}

impl Namespaces {
    /// Read the setting as systemd of this major version does.
    #[must_use]
    pub fn evaluate(unit: &Unit, version: u32, findings: &mut Vec<Finding>) -> Self {
        let mut out = Namespaces { retained: None, tokens: BTreeMap::new(), version };
        for setting in unit.service(SETTING) {
            out.line(setting, findings);
        }
        out
    }

    fn line(&mut self, setting: &Setting, findings: &mut Vec<Finding>) {
        let value = &setting.value;
        let whole = || Token { text: value.text.clone(), setting: SETTING, span: value.whole() };
        if value.text.is_empty() {
            self.retained = None;
            self.tokens.clear();
            return;
        }
        if let Some(restrict) = crate::unit::parse_boolean(&value.text) {
            self.retained = Some(if restrict { BTreeSet::new() } else { NamespaceType::all(self.version) });
            self.tokens = NamespaceType::ALL.into_iter().map(|t| (t, whole())).collect();
            return;
        }
        let invert = value.text.starts_with('~');
        let offset = usize::from(invert);
        let words = words(&value.text[offset..], Quotes::Literal);
        if let Some(range) = words.broken {
            findings.push(super::broken_words(value, range.start + offset..range.end + offset));
            return;
        }
        let mut named = BTreeMap::new();
        for word in words.found {
            let span = value.span(word.range.start + offset..word.range.end + offset);
            let Some(found) = NamespaceType::from_name(&word.text, self.version) else {
                let message = format!(
                    "systemd {} knows no namespace '{}': the line is ignored",
                    self.version, word.text
                );
                findings.push(Finding::warning(Code::UnknownNamespace, message, Some(span)));
                return;
            };
            named.insert(found, Token { text: word.text, setting: SETTING, span });
        }
        if let Some(retained) = &mut self.retained {
            if invert {
                retained.retain(|t| !named.contains_key(t));
            } else {
                retained.extend(named.keys());
            }
        } else {
            let all = NamespaceType::all(self.version);
            self.retained = Some(if invert {
                all.into_iter().filter(|t| !named.contains_key(t)).collect()
            } else {
                named.keys().copied().collect()
            });
            self.tokens = NamespaceType::ALL.into_iter().map(|t| (t, whole())).collect();
        }
        self.tokens.extend(named);
    }

    /// Whether any type is forbidden, so that a seccomp filter is installed.
    #[must_use]
    pub fn restricts(&self) -> bool {
        let all = NamespaceType::all(self.version);
        self.retained.as_ref().is_some_and(|retained| !retained.is_superset(&all))
    }

    /// Whether a type that belongs to all types is retained; if none is, setns(2) is forbidden altogether.
    #[must_use]
    pub fn retains_some(&self) -> bool {
        let all = NamespaceType::all(self.version);
        self.retained.as_ref().is_none_or(|retained| !retained.is_disjoint(&all))
    }

    /// Whether namespaces of a type may be made and joined.
    #[must_use]
    pub fn allows(&self, namespace: NamespaceType) -> bool {
        // a version that does not know a type does not look for its flag
        let known = NamespaceType::from_name(namespace.name(), self.version).is_some();
        !self.restricts() || !known || self.retained.as_ref().is_some_and(|r| r.contains(&namespace))
    }

    /// The token that decides about a type; nothing where the setting is not in force.
    #[must_use]
    pub fn token(&self, namespace: NamespaceType) -> Option<&Token> {
        self.tokens.get(&namespace).filter(|_| self.restricts())
    }

    /// As `systemctl show` shows it.
    #[must_use]
    pub fn shown(&self) -> String {
        match &self.retained {
            Some(retained) => Namespaces::shown_of(retained, self.version),
            None => "no".to_owned(),
        }
    }

    /// How `systemctl show` of a version shows that these types are retained.
    #[must_use]
    pub fn shown_of(retained: &BTreeSet<NamespaceType>, version: u32) -> String {
        let all = NamespaceType::all(version);
        if retained.is_superset(&all) {
            return "no".to_owned();
        }
        if retained.is_disjoint(&all) {
            return "yes".to_owned();
        }
        let names: Vec<&str> = retained.iter().map(|t| t.name()).collect();
        names.join(" ")
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::unit;
    use super::*;

    fn shown(lines: &str, version: u32) -> String {
        Namespaces::evaluate(&unit(lines), version, &mut Vec::new()).shown()
    }

    /// Recorded from running managers.
    #[test]
    fn as_the_managers_show_it() {
        let set = |value: &str| format!("RestrictNamespaces={value}\n");
        for (lines, on_252, on_262) in [
            (set("time"), "yes", "time"),
            (set("net time"), "net time", "net time"),
            (set("~net"), "cgroup ipc mnt pid user uts", "cgroup ipc mnt pid user uts time"),
            (set("uts user pid mnt net ipc cgroup"), "no", "cgroup ipc net mnt pid user uts"),
            (set("yes") + &set("~net"), "yes", "yes"),
            (set("~"), "no", "no"),
            (set("net bogus"), "no", "no"),
            (set("\"net\""), "no", "no"),
            (set("uts") + &set("net"), "net uts", "net uts"),
            (set("no") + &set("~net ipc"), "cgroup mnt pid user uts", "cgroup mnt pid user uts time"),
            (set("~uts") + &set("uts"), "no", "no"),
            (set("uts") + &set("~uts") + &set(""), "no", "no"),
            (set("On"), "yes", "yes"),
        ] {
            assert_eq!(shown(&lines, 252), on_252, "{lines}");
            assert_eq!(shown(&lines, 262), on_262, "{lines}");
        }
        assert_eq!(shown("RestrictNamespaces=net time", 247), "no");
    }

    #[test]
    fn the_deciding_token_is_the_last_that_names_the_type() {
        let mut findings = Vec::new();
        let unit = unit("RestrictNamespaces=~net ipc\nRestrictNamespaces=ipc\nRestrictNamespaces=~uts foo\n");
        let found = Namespaces::evaluate(&unit, 252, &mut findings);
        let place = |t| found.token(t).map(|token| (token.text.as_str(), token.span.line));
        assert_eq!(place(NamespaceType::Net), Some(("net", 2)));
        assert_eq!(place(NamespaceType::Ipc), Some(("ipc", 3)));
        assert_eq!(place(NamespaceType::Uts), Some(("~net ipc", 2)));
        assert!(!found.allows(NamespaceType::Net) && found.allows(NamespaceType::Ipc));
        assert_eq!(findings.len(), 1);
        assert_eq!(findings[0].code, Code::UnknownNamespace);
    }
}
