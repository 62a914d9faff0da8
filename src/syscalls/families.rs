//! Families: calls that are doors to the same power (rules/families.yaml).

use serde::Deserialize;
use std::sync::LazyLock;

/// Calls that are doors to the same power.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Family {
    /// What they are doors to, as a noun.
    pub power: String,
    /// The calls, oldest first.
    pub calls: Vec<String>,
    /// Whether the newest can do all that the others can, so that they add no power where it is allowed.
    #[serde(default = "yes")]
    pub covers: bool,
}

fn yes() -> bool {
    true
}

// the rules are part of the program, and a test reads them
static FAMILIES: LazyLock<Vec<Family>> =
    LazyLock::new(|| serde_yaml::from_str(include_str!("../../rules/families.yaml")).unwrap_or_default());

impl Family {
    /// All families.
    #[must_use]
    pub fn all() -> &'static [Family] {
        &FAMILIES
    }

    /// The family of a call; no call is in more than one.
    #[must_use]
    pub fn of(call: &str) -> Option<&'static Family> {
        FAMILIES.iter().find(|family| family.calls.iter().any(|member| member == call))
    }

    /// The newest form.
    #[must_use]
    pub fn newest(&self) -> Option<&str> {
        self.calls.last().map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::syscalls::Groups;
    use std::collections::BTreeSet;

    #[test]
    fn families_are_of_calls_that_exist_and_share_none() {
        assert!(Family::all().len() > 90);
        let groups = Groups::from_rules(Groups::newest_version()).unwrap();
        let mut seen = BTreeSet::new();
        for family in Family::all() {
            assert!(family.calls.len() > 1, "{family:?}");
            assert!(!family.power.is_empty() && !family.power.ends_with('.'), "{family:?}");
            for call in &family.calls {
                assert!(seen.insert(call), "{call} is in two families");
                assert!(groups.members("@known").unwrap().contains(call), "{call} is no call");
            }
        }
    }

    #[test]
    fn the_founding_case() {
        let family = Family::of("setrlimit").unwrap();
        assert_eq!(family.newest(), Some("prlimit64"));
        assert!(family.covers);
        assert_eq!(Family::of("reboot"), None);
    }
}
