//! What is known of each call beyond its name and numbers: rules/calls/*.yaml. They are part of the program; the tests
//! below read every entry.

use super::names::{ErrnoName, Words};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::sync::OnceLock;

// CALLS: the name of every call, in order, and the JSON of what is known of it
include!(concat!(env!("OUT_DIR"), "/calls.rs"));

/// What was read of them.
static WORDS: [OnceLock<CallWords>; CALLS.len()] = [const { OnceLock::new() }; CALLS.len()];

/// What is known of one call.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CallWords {
    /// What it does, beginning with a verb, to follow its name: "sets a resource limit".
    pub does: Words,
    /// What allowing it lets a program do, to follow "lets a program", where that is not plain.
    pub lets: Option<Words>,
    /// Who commonly calls it, and when.
    #[serde(default)]
    pub callers: Vec<Words>,
    /// The errnos on which callers do without it, and who does what then.
    #[serde(default)]
    pub falls_back: BTreeMap<ErrnoName, Words>,
    /// The manual page, where it is not the call's name in section 2; `none` where there is no page.
    man: Option<Words>,
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

/// What is known of a call.
#[must_use]
pub(super) fn built_in(name: &str) -> Option<&'static CallWords> {
    let at = CALLS.binary_search_by_key(&name, |(call, _)| call).ok()?;
    let (_, json) = CALLS.get(at)?;
    WORDS.get(at).map(|words| words.get_or_init(|| super::compiled::read(json)))
}

/// The names of all calls of which something is known.
pub fn calls() -> impl Iterator<Item = &'static str> {
    CALLS.iter().map(|(name, _)| *name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::syscalls::{Arch, Groups};
    use std::collections::BTreeSet;

    use crate::rules::tests::every_call;

    fn words() -> impl Iterator<Item = (&'static str, &'static CallWords)> {
        calls().map(|name| (name, built_in(name).unwrap()))
    }

    #[test]
    fn every_entry_can_be_read_and_they_are_in_order() {
        for (name, json) in &CALLS {
            let read: CallWords = serde_json::from_str(json).unwrap();
            assert_eq!(built_in(name), Some(&read));
        }
        assert!(CALLS.is_sorted_by(|a, b| a.0 < b.0));
    }

    #[test]
    fn every_call_of_every_group_is_described_and_no_other() {
        let calls = every_call();
        let described: BTreeSet<String> = super::calls().map(str::to_owned).collect();
        assert_eq!(described.symmetric_difference(&calls).collect::<Vec<_>>(), Vec::<&String>::new());
    }

    #[test]
    fn every_call_of_the_kernels_tables_that_systemd_knows_is_described() {
        let known = Groups::from_rules(Groups::newest_version()).unwrap();
        for arch in [Arch::X86_64, Arch::Arm64] {
            let names = (0..600).filter_map(|number| arch.name(number));
            for name in names.filter(|name| known.members("@known").unwrap().contains(*name)) {
                assert!(built_in(name).is_some(), "{name}");
            }
        }
    }

    #[test]
    fn what_a_call_does_is_a_plain_sentence() {
        for (name, words) in words() {
            let verb = words.does.split(|c: char| !c.is_alphabetic()).next().unwrap();
            assert!(verb.ends_with('s') || words.does.starts_with("nothing"), "{name}: {}", words.does);
            let lower = |text: &str| text.starts_with(|c: char| c.is_lowercase());
            assert!(lower(&words.does) && words.lets.as_deref().is_none_or(lower), "{name}");
            assert!((10..=105).contains(&words.does.len()), "{name}: {} long", words.does.len());
            let texts = [&words.does].into_iter().chain(&words.lets).chain(&words.callers);
            for text in texts.chain(words.falls_back.values()) {
                assert!(!text.ends_with('.') && text.trim() == &**text && text.len() > 1, "{name}: {text}");
                assert!(text.len() <= 170, "{name}: {text}");
            }
        }
    }

    #[test]
    fn manual_pages_have_a_section() {
        for (name, words) in words() {
            let page = words.man(name);
            let section = |page: &str| page.contains("(2)") || page.contains("(3)");
            assert!(page.as_deref().is_none_or(section), "{name}: {page:?}");
            assert!(
                words.man.as_deref() != Some(format!("{name}(2)").as_str()),
                "{name}: this is so by itself"
            );
        }
    }

    #[test]
    fn calls_that_break_services_have_their_callers() {
        let callers = words().filter(|(_, words)| !words.callers.is_empty()).count();
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
            assert!(!built_in(name).unwrap().callers.is_empty(), "{name}");
        }
    }
}
