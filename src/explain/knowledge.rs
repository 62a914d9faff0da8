//! What is known of groups, settings and exit statuses beyond their names: rules/groups.yaml, rules/settings.yaml,
//! rules/exits.yaml. They are part of the program; the tests below read every entry. Of calls, [`crate::rules`] knows.

use crate::rules::compiled::{self, compiled};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::sync::LazyLock;

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

static GROUPS: LazyLock<BTreeMap<String, GroupWords>> = LazyLock::new(|| compiled::read(compiled!("groups")));

static EXITS: LazyLock<BTreeMap<u8, Exit>> = LazyLock::new(|| compiled::read(compiled!("exits")));

static SETTINGS: LazyLock<BTreeMap<String, String>> = LazyLock::new(|| compiled::read(compiled!("settings")));

/// What a setting of [`crate::unit::SANDBOX`] does, to follow its name.
#[must_use]
pub fn setting(name: &str) -> Option<&'static str> {
    SETTINGS.get(name).map(String::as_str)
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
    use crate::syscalls::{Groups, RULES_OF};
    use std::collections::BTreeSet;

    #[test]
    fn every_setting_of_the_sandbox_is_described_and_no_other() {
        let described: BTreeSet<&str> = SETTINGS.keys().map(String::as_str).collect();
        assert_eq!(described, crate::unit::SANDBOX.into_iter().collect());
        assert!(SETTINGS.values().all(|does| !does.ends_with('.') && does.len() > 20));
    }

    #[test]
    fn every_group_of_every_version_is_described_and_no_other() {
        let names =
            |version| Groups::from_rules(version).unwrap().names().map(str::to_owned).collect::<Vec<_>>();
        let groups: BTreeSet<String> = RULES_OF.into_iter().flat_map(names).collect();
        assert_eq!(GROUPS.keys().cloned().collect::<BTreeSet<_>>(), groups);
        for words in GROUPS.values() {
            assert!((10..=100).contains(&words.r#for.len()) && !words.r#for.ends_with('.'), "{words:?}");
        }
    }
}
