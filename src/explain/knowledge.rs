//! What is known of calls, groups and exit statuses beyond their names and numbers: rules/calls/*.yaml,
//! rules/groups.yaml, rules/exits.yaml. They are part of the program; the tests below read every entry.

use serde::Deserialize;
use std::collections::BTreeMap;
use std::sync::LazyLock;

const CALLS: [&str; 11] = [
    include_str!("../../rules/calls/descriptors.yaml"),
    include_str!("../../rules/calls/files.yaml"),
    include_str!("../../rules/calls/identity.yaml"),
    include_str!("../../rules/calls/ipc.yaml"),
    include_str!("../../rules/calls/memory.yaml"),
    include_str!("../../rules/calls/network.yaml"),
    include_str!("../../rules/calls/obsolete.yaml"),
    include_str!("../../rules/calls/processes.yaml"),
    include_str!("../../rules/calls/signals.yaml"),
    include_str!("../../rules/calls/system.yaml"),
    include_str!("../../rules/calls/time.yaml"),
];

/// What is known of one call.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CallWords {
    /// What it does, beginning with a verb, to follow its name: "sets a resource limit".
    pub does: String,
    /// What allowing it lets a program do, to follow "lets a program", where that is not plain.
    pub lets: Option<String>,
    /// Who commonly calls it, and when.
    #[serde(default)]
    pub callers: Vec<String>,
    /// The errnos on which callers do without it, and who does what then.
    #[serde(default)]
    pub falls_back: BTreeMap<String, String>,
    /// The manual page, where it is not the call's name in section 2; `none` where there is no page.
    man: Option<String>,
}

impl CallWords {
    /// The manual page to read.
    #[must_use]
    pub fn man(&self, call: &str) -> Option<String> {
        match self.man.as_deref() {
            Some("none") => None,
            Some(page) => Some(page.to_owned()),
            None => Some(format!("{call}(2)")),
        }
    }
}

/// What a group is for.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct GroupWords {
    r#for: String,
}

/// An exit status of systemd's own executor.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Exit {
    /// Its name in the journal, behind the slash.
    pub name: String,
    /// What the executor could not do.
    pub cannot: String,
    /// The setting that asked for it.
    pub setting: Option<String>,
    /// Whether it is about a system call filter.
    #[serde(default)]
    pub filter: bool,
}

static WORDS: LazyLock<BTreeMap<String, CallWords>> = LazyLock::new(|| {
    let files = CALLS.iter().filter_map(|text| serde_yaml::from_str(text).ok());
    files.flat_map(|file: BTreeMap<String, CallWords>| file).collect()
});

static GROUPS: LazyLock<BTreeMap<String, GroupWords>> =
    LazyLock::new(|| serde_yaml::from_str(include_str!("../../rules/groups.yaml")).unwrap_or_default());

static EXITS: LazyLock<BTreeMap<u8, Exit>> =
    LazyLock::new(|| serde_yaml::from_str(include_str!("../../rules/exits.yaml")).unwrap_or_default());

static SETTINGS: LazyLock<BTreeMap<String, String>> =
    LazyLock::new(|| serde_yaml::from_str(include_str!("../../rules/settings.yaml")).unwrap_or_default());

/// What a setting of [`crate::unit::SANDBOX`] does, to follow its name.
#[must_use]
pub fn setting(name: &str) -> Option<&'static str> {
    SETTINGS.get(name).map(String::as_str)
}

/// What is known of a call.
#[must_use]
pub fn call(name: &str) -> Option<&'static CallWords> {
    WORDS.get(name)
}

/// The names of all calls of which something is known.
pub fn calls() -> impl Iterator<Item = &'static str> {
    WORDS.keys().map(String::as_str)
}

/// What a group (with its `@`) is for.
#[must_use]
pub fn group(name: &str) -> Option<&'static str> {
    GROUPS.get(name).map(|words| words.r#for.as_str())
}

/// The names of all groups of all versions.
pub fn groups() -> impl Iterator<Item = &'static str> {
    GROUPS.keys().map(String::as_str)
}

/// An exit status of systemd's own executor.
#[must_use]
pub fn exit(status: u8) -> Option<&'static Exit> {
    EXITS.get(&status)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::syscalls::{Arch, Groups};
    use std::collections::BTreeSet;

    const VERSIONS: [u32; 4] = [247, 252, 257, 262];

    /// The names of groups, and of all calls in them, of all versions.
    fn everything() -> (BTreeSet<String>, BTreeSet<String>) {
        let mut groups = BTreeSet::new();
        let mut calls = BTreeSet::new();
        for version in VERSIONS {
            let rules = Groups::from_rules(version).unwrap();
            for name in rules.names() {
                groups.insert(name.to_owned());
                calls.extend(rules.members(name).unwrap().iter().cloned());
            }
        }
        (groups, calls)
    }

    #[test]
    fn every_file_can_be_read_and_no_call_is_in_two() {
        let files = CALLS.map(|text| serde_yaml::from_str::<BTreeMap<String, CallWords>>(text).unwrap());
        assert_eq!(files.iter().map(BTreeMap::len).sum::<usize>(), WORDS.len());
        assert!(GROUPS.len() > 25 && EXITS.len() > 40);
    }

    #[test]
    fn every_setting_of_the_sandbox_is_described_and_no_other() {
        let described: BTreeSet<&str> = SETTINGS.keys().map(String::as_str).collect();
        assert_eq!(described, crate::unit::SANDBOX.into_iter().collect());
        assert!(SETTINGS.values().all(|does| !does.ends_with('.') && does.len() > 20));
    }

    #[test]
    fn every_call_of_every_group_is_described_and_no_other() {
        let (_, calls) = everything();
        let described: BTreeSet<String> = WORDS.keys().cloned().collect();
        assert_eq!(described.symmetric_difference(&calls).collect::<Vec<_>>(), Vec::<&String>::new());
    }

    #[test]
    fn every_call_of_the_kernels_tables_that_systemd_knows_is_described() {
        let known = Groups::from_rules(Groups::newest_version()).unwrap();
        for arch in [Arch::X86_64, Arch::Arm64] {
            let names = (0..600).filter_map(|number| arch.name(number));
            for name in names.filter(|name| known.members("@known").unwrap().contains(*name)) {
                assert!(call(name).is_some(), "{name}");
            }
        }
    }

    #[test]
    fn what_a_call_does_is_a_plain_sentence() {
        for (name, words) in WORDS.iter() {
            let verb = words.does.split(|c: char| !c.is_alphabetic()).next().unwrap();
            assert!(verb.ends_with('s') || words.does.starts_with("nothing"), "{name}: {}", words.does);
            let lower = |text: &str| text.starts_with(|c: char| c.is_lowercase());
            assert!(lower(&words.does) && words.lets.as_deref().is_none_or(lower), "{name}");
            assert!((10..=105).contains(&words.does.len()), "{name}: {} long", words.does.len());
            let texts = [&words.does].into_iter().chain(&words.lets).chain(&words.callers);
            for text in texts.chain(words.falls_back.values()) {
                assert!(!text.ends_with('.') && text.trim() == text && text.len() > 1, "{name}: {text}");
                assert!(text.len() <= 170, "{name}: {text}");
            }
        }
    }

    #[test]
    fn errnos_exist() {
        for (name, words) in WORDS.iter() {
            for errno in words.falls_back.keys() {
                assert!(crate::policy::parse_action(errno).is_some(), "{name}: {errno}");
                assert!(errno.starts_with('E'), "{name}: {errno}");
            }
        }
    }

    #[test]
    fn manual_pages_have_a_section() {
        for (name, words) in WORDS.iter() {
            let page = words.man(name);
            let section = |page: &str| page.contains("(2)") || page.contains("(3)");
            assert!(page.as_deref().is_none_or(section), "{name}: {page:?}");
            assert!(words.man.as_deref() != Some(&format!("{name}(2)")), "{name}: this is so by itself");
        }
    }

    #[test]
    fn calls_that_break_services_have_their_callers() {
        let callers = WORDS.values().filter(|words| !words.callers.is_empty()).count();
        assert!(callers >= 80, "{callers}");
        // from the reports of units that broke
        for name in [
            "setrlimit",
            "prlimit64",
            "pkey_alloc",
            "pkey_mprotect",
            "fchown",
            "chown",
            "getpriority",
            "setpriority",
            "set_mempolicy",
            "process_mrelease",
            "uretprobe",
            "openat2",
            "clone3",
            "rseq",
        ] {
            assert!(!call(name).unwrap().callers.is_empty(), "{name}");
        }
    }

    #[test]
    fn every_group_of_every_version_is_described_and_no_other() {
        let (groups, _) = everything();
        assert_eq!(GROUPS.keys().cloned().collect::<BTreeSet<_>>(), groups);
        for words in GROUPS.values() {
            assert!((10..=100).contains(&words.r#for.len()) && !words.r#for.ends_with('.'), "{words:?}");
        }
    }
}
