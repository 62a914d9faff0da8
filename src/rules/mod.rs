//! What is known of system calls: which are doors to the same power, what each lets a program do, how risky that is,
//! and on which errnos programs do without. From rules/, and from `/etc/unitfix/rules.d`.

mod calls;
pub(crate) mod compiled;
mod families;
mod names;
mod place;
mod risk;
mod user;

pub use calls::{CallWords, calls};
pub use families::Family;
pub use names::{CallName, CallOrGroup, ErrnoName, Words};
pub use risk::{Risk, RiskRule, Tier};
pub use user::{FOLDER, RulesError};

use crate::policy::{ENOSYS, EPERM};
use crate::root::Root;
use crate::syscalls::{Arch, Groups};
use compiled::compiled;
use serde::Serialize;
use std::path::Path;
use std::sync::LazyLock;
use user::UserRules;

/// What is known of system calls.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    user: UserRules,
}

/// What allowing a call adds to what is allowed already.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Power {
    /// The call.
    pub call: String,
    /// What it lets a program do that it could not before, to follow "lets a program"; nothing: no power.
    pub adds: Option<String>,
    /// Why it adds nothing; empty where it adds something.
    pub because: String,
    /// The risk of the call itself.
    pub risk: Risk,
}

// the rules are part of the program, and tests read them
static FAMILIES: LazyLock<Vec<Family>> = LazyLock::new(|| compiled::read(compiled!("families")));
static RISK: LazyLock<Vec<RiskRule>> = LazyLock::new(|| compiled::read(compiled!("risk")));

/// Whether the bytes of a file are rules; `path` is for what is said.
pub fn check(path: &Path, bytes: &[u8]) -> Result<(), RulesError> {
    user::check(path, bytes)
}

impl Rules {
    /// The rules that come with unitfix, and those of the administrator below a root.
    pub fn load(root: &Root) -> Result<Self, RulesError> {
        Ok(Rules { user: user::load(root)? })
    }

    /// The family of a call; no call is in more than one.
    #[must_use]
    pub fn family(&self, call: &str) -> Option<&Family> {
        self.user.families.iter().chain(FAMILIES.iter()).find(|family| family.holds(call))
    }

    /// What is known of a call in words.
    #[must_use]
    pub fn call(&self, call: &str) -> Option<&CallWords> {
        let own = self.user.calls.iter().find(|(name, _)| ***name == *call);
        own.map(|(_, words)| words).or_else(|| calls::built_in(call))
    }

    /// What allowing a call lets a program do, to follow "lets a program", where more is known than its risk says. Of the
    /// administrator, the words on the call come before those on its risk, and both before what unitfix brings along.
    #[must_use]
    pub fn lets(&self, call: &str, groups: &Groups) -> Option<&str> {
        let own = self.user.calls.iter().any(|(name, _)| **name == *call);
        let risk = self.user.risk.iter().any(|rule| rule.names(call, groups));
        self.call(call).filter(|_| own || !risk)?.lets.as_deref()
    }

    /// The risk of a call. What no rule names is taken for the worst.
    #[must_use]
    pub fn risk(&self, call: &str, groups: &Groups) -> Risk {
        let rule = self.user.risk.iter().chain(RISK.iter()).find(|rule| rule.names(call, groups));
        rule.map_or_else(
            || Risk {
                tier: Tier::System,
                lets: "do what unitfix does not know".to_owned(),
                source: String::new(),
                high: true,
            },
            RiskRule::risk,
        )
    }

    /// What allowing a call adds to what is `allowed` already. Another call counts only if the programs that can make the
    /// call have that one as well: those of this machine's own architecture, or else those of the others that it runs.
    #[must_use]
    pub fn power(&self, call: &str, allowed: impl Fn(&str) -> bool, groups: &Groups) -> Power {
        let risk = self.risk(call, groups);
        let has = |arch: Arch, name: &str| arch.number(name).is_some();
        let native = [Arch::native()];
        let archs = if has(native[0], call) { &native[..] } else { Arch::of_this_kernel() };
        let there = |other: &str| archs.iter().all(|arch| has(*arch, other) || !has(*arch, call));
        let counts = |other: &&str| allowed(other) && there(other);
        let other = self.family(call).and_then(|family| family.stand_ins(call).find(counts));
        let because = match other {
            Some(other) => format!("{other}, which can do the same, is already allowed"),
            None if risk.tier == Tier::Harmless => format!("it lets a program {}", risk.lets),
            None => String::new(),
        };
        let adds = because.is_empty().then(|| risk.lets.clone());
        Power { call: call.to_owned(), adds, because, risk }
    }

    /// The errnos with which a call may fail softly, best first: those on which somebody is known to do without it,
    /// ENOSYS before all, as it says that there is no such call; and EPERM, which is what a sandbox says.
    #[must_use]
    pub fn soft_errnos(&self, call: &str) -> Vec<u16> {
        let known = self.call(call).into_iter().flat_map(|words| words.falls_back.keys());
        let mut errnos: Vec<u16> = known.map(|errno| errno.number).collect();
        errnos.sort_by_key(|errno| (*errno != ENOSYS, *errno != EPERM, *errno));
        if !errnos.contains(&EPERM) {
            errnos.push(EPERM);
        }
        errnos
    }

    /// The calls that a wider repair allows along with a call: its family, as far as this machine and its systemd know
    /// it, but for what hands over the system.
    #[must_use]
    pub fn siblings(&self, call: &str, groups: &Groups) -> Vec<String> {
        let here = |name: &&CallName| {
            Arch::of_this_kernel().iter().any(|arch| arch.number(name).is_some()) && groups.knows(name)
        };
        let family = self.family(call).into_iter().flat_map(|family| &family.calls).filter(here);
        let others = family.filter(|name| ***name != *call && !self.risk(name, groups).high);
        others.map(|name| name.to_string()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::syscalls::RULES_OF;
    use std::collections::BTreeSet;

    /// The names of all calls in all groups of all versions.
    pub(super) fn every_call() -> BTreeSet<String> {
        let groups = RULES_OF.map(|version| Groups::from_rules(version).unwrap());
        groups.iter().flat_map(Groups::calls).cloned().collect()
    }

    #[test]
    fn families_share_no_call_and_name_their_source() {
        assert!(FAMILIES.len() > 90);
        let mut seen = BTreeSet::new();
        for family in FAMILIES.iter() {
            assert!(family.calls.len() > 1, "{family:?}");
            assert!(!family.power.is_empty() && !family.power.ends_with('.'), "{family:?}");
            assert!(family.source.contains(['(', '/']), "{family:?}");
            assert!(family.fault().is_none(), "{family:?}");
            assert!(family.calls.iter().all(|call| seen.insert(call)), "{family:?} shares a call");
        }
    }

    #[test]
    fn every_call_of_every_group_has_a_risk_with_a_source() {
        for version in RULES_OF {
            let groups = Groups::from_rules(version).unwrap();
            let calls = every_call().into_iter();
            let without = calls.filter(|call| !RISK.iter().any(|rule| rule.names(call, &groups)));
            assert_eq!(without.collect::<Vec<_>>(), Vec::<String>::new(), "on {version}");
        }
        for rule in RISK.iter() {
            assert!(rule.source.contains(['(', '/']), "{rule:?}");
            assert!(rule.lets.starts_with(char::is_lowercase) && !rule.lets.ends_with('.'), "{rule:?}");
            assert!((10..=100).contains(&rule.lets.len()), "{rule:?}");
        }
    }

    #[test]
    fn what_hands_over_the_system_is_known() {
        let rules = Rules::default();
        for version in RULES_OF {
            let groups = Groups::from_rules(version).unwrap();
            let of_groups = ["@module", "@reboot", "@raw-io", "@swap", "@debug", "@mount"];
            let members = of_groups.into_iter().flat_map(|group| groups.members(group).unwrap());
            let named =
                ["bpf", "ptrace", "kexec_load", "process_vm_writev", "pidfd_getfd", "open_by_handle_at"];
            for call in members.map(String::as_str).chain(named) {
                assert!(rules.risk(call, &groups).high, "{call} on {version}");
            }
            for call in ["setrlimit", "chown", "clone3", "pkey_alloc", "setpriority", "process_mrelease"] {
                assert!(!rules.risk(call, &groups).high, "{call} on {version}");
            }
        }
    }

    #[test]
    fn the_tiers_of_the_calls_that_broke_units() {
        let (rules, groups) = (Rules::default(), Groups::from_rules(252).unwrap());
        for (call, tier) in [
            ("setrlimit", Tier::Resources),
            ("pkey_alloc", Tier::Harmless),
            ("pkey_mprotect", Tier::ProcessControl),
            ("fchown", Tier::Ownership),
            ("getpriority", Tier::Harmless),
            ("setpriority", Tier::Resources),
            ("set_mempolicy", Tier::Resources),
            ("process_mrelease", Tier::Resources),
            ("openat2", Tier::Ownership),
            ("socket", Tier::Network),
            ("getdents64", Tier::Information),
            ("clock_settime", Tier::System),
        ] {
            assert_eq!(rules.risk(call, &groups).tier, tier, "{call}");
        }
    }

    /// What allowing a call adds where these are allowed.
    fn power(call: &str, allowed: &[&str]) -> Power {
        let groups = Groups::from_rules(252).unwrap();
        Rules::default().power(call, |name| allowed.contains(&name), &groups)
    }

    #[test]
    fn no_power_where_another_door_is_open() {
        for (call, by) in [
            ("setrlimit", "prlimit64"),
            ("clone3", "clone"),
            ("clone", "clone3"),
            ("fork", "clone"),
            ("vfork", "fork"),
            ("execve", "execveat"),
            ("openat2", "openat"),
            ("openat", "openat2"),
            ("open", "openat2"),
            ("creat", "open"),
            ("stat", "newfstatat"),
            ("fstat", "statx"),
            ("faccessat2", "faccessat"),
            ("fchown", "fchownat"),
            ("chown", "fchownat"),
            ("fchmod", "fchmodat2"),
            ("rename", "renameat2"),
            ("renameat2", "renameat"),
            ("unlink", "unlinkat"),
            ("pkey_mprotect", "mprotect"),
            ("sched_setparam", "sched_setscheduler"),
            ("tkill", "tgkill"),
            ("recvfrom", "recvmsg"),
            ("sendmmsg", "sendmsg"),
            ("accept4", "accept"),
            ("setuid", "setresuid"),
            ("adjtimex", "clock_adjtime"),
            ("mlock2", "mlock"),
            ("fsync", "sync"),
        ] {
            let because = format!("{by}, which can do the same, is already allowed");
            assert_eq!(
                (power(call, &[by]).adds, power(call, &[by]).because),
                (None, because),
                "{call} by {by}"
            );
        }
        let alone = power("setrlimit", &[]);
        assert_eq!((alone.adds.as_ref(), alone.because.as_str()), (Some(&alone.risk.lets), ""));
        assert_eq!(
            power("getpriority", &[]).because,
            "it lets a program read its own limits and priorities, and the kernel's version"
        );
    }

    #[test]
    fn what_cannot_do_the_same_opens_no_door() {
        for (call, by) in [
            ("prlimit64", "setrlimit"),
            ("clone", "fork"),
            ("clone3", "vfork"),
            // what is open already may be what no path leads to
            ("execveat", "execve"),
            ("openat", "open"),
            ("fchown", "chown"),
            ("fchownat", "fchown"),
            ("fchmodat", "fchmod"),
            ("mkdirat", "mkdir"),
            ("newfstatat", "fstat"),
            ("stat", "fstat"),
            ("statx", "newfstatat"),
            ("open", "creat"),
            ("link", "symlinkat"),
            ("sendto", "send"),
            ("unshare", "setns"),
            ("pidfd_send_signal", "kill"),
            ("settimeofday", "clock_settime"),
            ("init_module", "finit_module"),
            ("set_mempolicy", "mbind"),
            ("setresuid", "setuid"),
        ] {
            let power = power(call, &[by]);
            assert_eq!((power.adds, power.because), (Some(power.risk.lets), String::new()), "{call} by {by}");
        }
    }

    #[cfg(target_arch = "x86_64")]
    #[test]
    fn a_door_counts_where_it_can_be_reached() {
        // a program of 64 bits cannot make the calls that only one of 32 bits has
        assert!(power("setuid", &["setresuid32"]).adds.is_some());
        assert!(power("sched_setparam", &["sched_setattr"]).adds.is_none());
        // who makes this one is of 32 bits, and has that one as well
        assert!(power("chown32", &["fchownat"]).adds.is_none());
        assert!(power("setuid32", &["setresuid32"]).adds.is_none());
        assert!(power("setuid32", &["setresuid"]).adds.is_some(), "which has 16 bits there");
        assert!(power("fstat64", &["newfstatat"]).adds.is_some(), "which is not there");
    }

    #[test]
    fn the_errnos_that_callers_do_without() {
        let errnos = |call| Rules::default().soft_errnos(call);
        for call in
            ["clone3", "openat2", "faccessat2", "statx", "pkey_alloc", "close_range", "rseq", "epoll_pwait2"]
        {
            assert_eq!(
                (errnos(call).first(), errnos(call).contains(&EPERM)),
                (Some(&ENOSYS), true),
                "{call}"
            );
        }
        assert_eq!(errnos("setrlimit"), [EPERM]);
        assert_eq!(errnos("setpriority"), [EPERM, 13], "EACCES");
        assert_eq!(errnos("fallocate"), [95, EPERM], "EOPNOTSUPP");
        assert_eq!(errnos("pkey_alloc"), [ENOSYS, 28, EPERM], "ENOSPC");
        assert_eq!(errnos("no such call"), [EPERM]);
    }

    #[test]
    fn siblings_are_what_this_machine_has() {
        let (rules, groups) = (Rules::default(), Groups::from_rules(252).unwrap());
        assert_eq!(rules.siblings("setpriority", &groups), ["nice"]);
        assert!(rules.siblings("init_module", &groups).is_empty(), "all of them hand over the system");
        assert!(rules.siblings("openat", &groups).contains(&"openat2".to_owned()));
    }

    #[test]
    fn rules_of_the_administrator_come_first() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("etc/unitfix/rules.d");
        std::fs::create_dir_all(&folder).unwrap();
        let text = "families:\n- {power: keys, source: keyctl(2), calls: [add_key, keyctl]}\n\
                    risk:\n- {tier: harmless, calls: [\"@keyring\"], lets: use its own keys, source: ours}\n\
                    calls:\n  add_key: {does: adds a key, falls_back: {ENOSYS: it does without}}\n";
        std::fs::write(folder.join("ours.yaml"), text).unwrap();
        let (rules, groups) =
            (Rules::load(&Root::new(dir.path())).unwrap(), Groups::from_rules(252).unwrap());
        assert_eq!(rules.risk("keyctl", &groups).tier, Tier::Harmless);
        assert_eq!(&*rules.family("add_key").unwrap().power, "keys");
        assert_eq!(rules.soft_errnos("add_key"), [ENOSYS, EPERM]);
        assert_eq!(rules.lets("keyctl", &groups), None, "what the risk says");
        assert!(Rules::default().lets("keyctl", &groups).is_some());
    }
}
