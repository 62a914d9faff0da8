use super::super::tests::unit;
use super::*;
use crate::policy::{Compare, Decision};
use crate::syscalls::{Arch, Groups, RULES_OF};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::sync::LazyLock;

static GROUPS: LazyLock<BTreeMap<u32, Groups>> = LazyLock::new(|| {
    RULES_OF.into_iter().map(|version| (version, Groups::from_rules(version).unwrap())).collect()
});

/// What a unit needs for a call: its lines, or why there are none.
fn needs(lines: &str, version: u32, call: &str, arguments: [u64; 6]) -> Result<Vec<String>, String> {
    let unit = unit(lines);
    let policy = Policy::evaluate(&unit, &GROUPS[&version]);
    let call = Call { arch: Arch::X86_64, number: Arch::X86_64.number(call).unwrap() };
    let lines = relax(&policy, &unit, call, &arguments).map_err(|impossible| impossible.why)?;
    Ok(lines.iter().map(Relaxation::line).collect())
}

const NEWUSER: u64 = 0x1000_0000;
const NEWNET: u64 = 0x4000_0000;
const NEWTIME: u64 = 0x80;

/// Each line was seen to be read as meant by the managers 247, 252, 257 and 262.
#[test]
fn the_narrowest_lines() {
    for (lines, call, arguments, expected) in [
        (
            "RestrictAddressFamilies=AF_UNIX",
            "socket",
            [16, 3, 0, 0, 0, 0],
            &["RestrictAddressFamilies=AF_NETLINK"][..],
        ),
        (
            "RestrictAddressFamilies=none",
            "socket",
            [16, 3, 0, 0, 0, 0],
            &["RestrictAddressFamilies=AF_NETLINK"],
        ),
        (
            "RestrictAddressFamilies=~AF_PACKET AF_KEY",
            "socket",
            [17, 0, 0, 0, 0, 0],
            &["RestrictAddressFamilies=AF_PACKET"],
        ),
        (
            "RestrictNamespaces=yes",
            "unshare",
            [NEWUSER | NEWNET, 0, 0, 0, 0, 0],
            &["RestrictNamespaces=net user"],
        ),
        (
            "RestrictNamespaces=net",
            "unshare",
            [NEWUSER | NEWNET, 0, 0, 0, 0, 0],
            &["RestrictNamespaces=user"],
        ),
        ("RestrictNamespaces=~user", "clone", [NEWUSER | 0x11, 0, 0, 0, 0, 0], &["RestrictNamespaces=user"]),
        ("RestrictNamespaces=yes", "setns", [5, NEWNET, 0, 0, 0, 0], &["RestrictNamespaces=net"]),
        // the type is not told: nothing narrower
        ("RestrictNamespaces=net", "setns", [5, 0, 0, 0, 0, 0], &["RestrictNamespaces=no"]),
        ("MemoryDenyWriteExecute=yes", "mmap", [0, 4096, 7, 0x22, 0, 0], &["MemoryDenyWriteExecute=no"]),
        ("RestrictRealtime=yes", "sched_setscheduler", [0, 1, 0, 0, 0, 0], &["RestrictRealtime=no"]),
        ("RestrictSUIDSGID=yes", "chmod", [0, 0o4755, 0, 0, 0, 0], &["RestrictSUIDSGID=no"]),
        ("RestrictSUIDSGID=yes", "openat2", [0; 6], &["RestrictSUIDSGID=no"]),
        ("LockPersonality=yes", "personality", [8, 0, 0, 0, 0, 0], &["LockPersonality=no"]),
        ("ProtectKernelModules=yes", "init_module", [0; 6], &["ProtectKernelModules=no"]),
        ("ProtectKernelLogs=yes", "syslog", [10, 0, 0, 0, 0, 0], &["ProtectKernelLogs=no"]),
        ("ProtectClock=yes", "settimeofday", [0; 6], &["ProtectClock=no"]),
        ("PrivateDevices=yes", "iopl", [0; 6], &["PrivateDevices=no"]),
        // only what denies it goes
        (
            "ProtectHostname=yes\nProtectClock=yes\nPrivateDevices=yes",
            "ioperm",
            [0; 6],
            &["PrivateDevices=no"],
        ),
        ("RestrictAddressFamilies=AF_UNIX", "socket", [1, 1, 0, 0, 0, 0], &[]),
    ] {
        for version in RULES_OF {
            assert_eq!(needs(lines, version, call, arguments).unwrap(), expected, "{lines} {call} {version}");
        }
    }
}

#[test]
fn what_depends_on_the_version() {
    let hostname = |version| needs("ProtectHostname=yes", version, "sethostname", [0; 6]).unwrap();
    assert_eq!([257, 262].map(hostname), [["ProtectHostname=no"], ["ProtectHostname=private"]]);
    let named = needs("ProtectHostname=yes:box", 262, "sethostname", [0; 6]);
    assert_eq!(named.unwrap(), ["ProtectHostname=private:box"]);
    // 252 and 257 do not count "time" among all types: where it alone is retained, setns(2) stays forbidden
    let time = |version| needs("RestrictNamespaces=yes", version, "setns", [5, NEWTIME, 0, 0, 0, 0]).unwrap();
    assert_eq!([252, 262].map(time), [["RestrictNamespaces=no"], ["RestrictNamespaces=time"]]);
    let unshare = |version| needs("RestrictNamespaces=yes", version, "unshare", [NEWTIME, 0, 0, 0, 0, 0]);
    assert_eq!(unshare(252).unwrap(), ["RestrictNamespaces=time"]);
    assert_eq!(unshare(247).unwrap(), [""; 0]);
}

#[test]
fn what_no_line_lets_through() {
    let why = |lines, version, call, arguments| needs(lines, version, call, arguments).unwrap_err();
    assert_eq!(
        why("DynamicUser=yes\nRestrictSUIDSGID=no", 252, "chmod", [0, 0o2755, 0, 0, 0, 0]),
        "DynamicUser= turns RestrictSUIDSGID= on, and no line takes that back"
    );
    let families = "RestrictAddressFamilies=AF_UNIX";
    assert_eq!(
        why(families, 262, "socket", [99, 1, 0, 0, 0, 0]),
        "systemd has no name for the address family 99"
    );
    assert_eq!(why(families, 247, "socket", [45, 2, 0, 0, 0, 0]), "systemd 247 does not know AF_MCTP");
}

fn denial(call: &str, errno: u16, raw_arguments: [u64; 6]) -> Denial {
    Denial {
        call: Call { arch: Arch::X86_64, number: Arch::X86_64.number(call).unwrap() },
        effect: crate::evidence::Effect::Failed(errno),
        process: crate::evidence::Process::default(),
        time: None,
        source: crate::evidence::Source::Strace,
        attribution: None,
        arguments: Vec::new(),
        raw_arguments: Some(raw_arguments),
        stack: crate::blame::Stack::default(),
    }
}

#[test]
fn lines_of_one_setting_are_joined() {
    let unit = unit("RestrictAddressFamilies=AF_UNIX\nRestrictNamespaces=yes\nUser=nobody\nDynamicUser=yes");
    let policy = Policy::evaluate(&unit, &GROUPS[&252]);
    let denials = [
        denial("socket", 97, [17, 0, 0, 0, 0, 0]),
        denial("socket", 97, [16, 0, 0, 0, 0, 0]),
        denial("unshare", 1, [NEWNET, 0, 0, 0, 0, 0]),
        denial("unshare", 1, [NEWUSER, 0, 0, 0, 0, 0]),
        denial("chmod", 1, [0, 0o4755, 0, 0, 0, 0]),
        // none of these is a setting's doing: another errno, allowed, clone3
        denial("socket", 1, [18, 0, 0, 0, 0, 0]),
        denial("socket", 97, [1, 0, 0, 0, 0, 0]),
        denial("clone3", 38, [0; 6]),
    ];
    let found = relaxations(&policy, &unit, &denials);
    assert_eq!(found.text(), ["RestrictAddressFamilies=AF_NETLINK AF_PACKET", "RestrictNamespaces=net user"]);
    let expected = "ask the kernel about the network and, with CAP_NET_ADMIN, change it and see and forge everything \
                    on the network, with CAP_NET_RAW";
    assert_eq!(found.lines[0].lets, expected);
    assert_eq!((found.lines[0].risk, found.lines[1].risk), (Tier::Network, Tier::System));
    let impossible: Vec<_> = found.impossible.iter().map(|it| it.token.setting).collect();
    assert_eq!(impossible, ["DynamicUser"]);
}

#[test]
fn no_new_privileges_are_kept() {
    let denials = [denial("sched_setscheduler", 1, [0, 1, 0, 0, 0, 0])];
    for (lines, version, expected) in [
        ("User=nobody\nRestrictRealtime=yes", 252, &["RestrictRealtime=no", "NoNewPrivileges=yes"][..]),
        ("User=nobody\nRestrictRealtime=yes\nLockPersonality=yes", 252, &["RestrictRealtime=no"]),
        ("User=nobody\nRestrictRealtime=yes\nNoNewPrivileges=yes", 252, &["RestrictRealtime=no"]),
        ("RestrictRealtime=yes", 252, &["RestrictRealtime=no"]),
        // it is not implied there
        ("User=nobody\nRestrictRealtime=yes", 262, &["RestrictRealtime=no"]),
    ] {
        let unit = unit(lines);
        let policy = Policy::evaluate(&unit, &GROUPS[&version]);
        assert_eq!(relaxations(&policy, &unit, &denials).text(), expected, "{lines} {version}");
    }
}

/// Lines of settings, several of a kind now and then.
const LINES: [&str; 24] = [
    "RestrictAddressFamilies=AF_UNIX AF_INET",
    "RestrictAddressFamilies=~AF_PACKET AF_NETLINK",
    "RestrictAddressFamilies=none",
    "RestrictAddressFamilies=AF_UNIX AF_FOO AF_VSOCK",
    "RestrictAddressFamilies=",
    "RestrictNamespaces=yes",
    "RestrictNamespaces=~user net",
    "RestrictNamespaces=uts time",
    "RestrictNamespaces=no",
    "MemoryDenyWriteExecute=yes",
    "RestrictRealtime=yes",
    "RestrictSUIDSGID=yes",
    "DynamicUser=yes",
    "LockPersonality=yes",
    "Personality=x86",
    "ProtectHostname=yes",
    "ProtectHostname=private",
    "ProtectHostname=yes:box",
    "ProtectKernelTunables=yes",
    "ProtectKernelModules=yes",
    "ProtectKernelLogs=yes",
    "ProtectClock=yes",
    "PrivateDevices=yes",
    "User=nobody",
];

/// Arguments for which any rule of the policy may hold.
fn telling(policy: &Policy, call: Call) -> Vec<[u64; 6]> {
    let mut out = vec![[0; 6]];
    for test in policy.answer_of_settings(call).for_arguments.iter().flat_map(|entry| &entry.when) {
        let value = test.compare.value();
        let other = if matches!(test.compare, Compare::Has(_)) { value | 1 } else { value + 1 };
        let more: Vec<[u64; 6]> = [value, other]
            .into_iter()
            .flat_map(|value| {
                out.iter().take(8).copied().map(move |mut arguments: [u64; 6]| {
                    arguments[usize::from(test.argument)] = value;
                    arguments
                })
            })
            .collect();
        out.extend(more);
    }
    out.sort_unstable();
    out.dedup();
    out
}

/// The names of the calls that any setting denies.
fn calls(policy: &Policy) -> Vec<Call> {
    let archs = Arch::of_this_kernel();
    let calls = archs.iter().flat_map(|arch| {
        let names = policy
            .restrictions
            .iter()
            .flat_map(|r| [true, false].map(|always| r.calls(*arch, always)).concat());
        names.filter_map(|name| Some(Call { arch: *arch, number: arch.number(name)? }))
    });
    let mut calls: Vec<Call> = calls.collect();
    calls.dedup();
    calls
}

/// A narrow line changes nothing else of its setting: other families and types stay what they were.
fn assert_nothing_else(before: &Policy, after: &Policy, line: &Relaxation) {
    let one = |policy: &Policy, call: &str, arguments: [u64; 6]| -> Decision {
        let call = Call { arch: Arch::X86_64, number: Arch::X86_64.number(call).unwrap() };
        policy.answer_of_settings(call).to(&arguments).clone()
    };
    let denies = |policy: &Policy, call: &str, arguments| one(policy, call, arguments).denies();
    for family in 0..50 {
        let named =
            Family::new(family).name().is_some_and(|name| line.value.split(' ').any(|word| word == name));
        let arguments = [family.into(), 0, 0, 0, 0, 0];
        if !(named && line.setting == "RestrictAddressFamilies") {
            assert_eq!(
                denies(before, "socket", arguments),
                denies(after, "socket", arguments),
                "{line:?} {family}"
            );
        }
    }
    for namespace in NamespaceType::ALL {
        let named = line.value == "no" || line.value.split(' ').any(|word| word == namespace.name());
        let arguments = [namespace.clone_flag().into(), 0, 0, 0, 0, 0];
        if !(named && line.setting == "RestrictNamespaces") {
            assert_eq!(denies(before, "unshare", arguments), denies(after, "unshare", arguments), "{line:?}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    /// Where lines are found, the unit with them lets the call through, and the policy that is predicted for them is
    /// the one that is evaluated.
    #[test]
    fn a_relaxed_policy_allows_the_call(
        lines in prop::sample::subsequence(LINES.to_vec(), 1..6),
        rotate in 0usize..6,
        version in prop::sample::select(RULES_OF.to_vec()),
    ) {
        let mut lines = lines;
        let by = rotate % lines.len();
        lines.rotate_left(by);
        let unit = unit(&lines.join("\n"));
        let policy = Policy::evaluate(&unit, &GROUPS[&version]);
        for call in calls(&policy) {
            for arguments in telling(&policy, call) {
                let denied = policy.answer_of_settings(call).to(&arguments).denies();
                let Ok(found) = relax(&policy, &unit, call, &arguments) else {
                    prop_assert!(denied);
                    continue;
                };
                prop_assert_eq!(denied, !found.is_empty());
                let relaxed = with(&unit, &found, version);
                let after = Policy::evaluate(&relaxed, &GROUPS[&version]);
                let settings = after.answer_of_settings(call);
                prop_assert!(!settings.to(&arguments).denies(), "{} {:?} {:?}", call, arguments, found);
                prop_assert_eq!(&settings, &policy.relaxed(&relaxed).answer_of_settings(call));
                if let [line] = &found[..] {
                    assert_nothing_else(&policy, &after, line);
                }
            }
        }
    }
}

/// A call with its arguments.
type Made = (&'static str, [u64; 6]);

/// Lines of one setting, and calls that it may deny.
const SETTINGS: &[(&[&str], &[Made])] = &[
    (
        &[
            "RestrictAddressFamilies=AF_UNIX",
            "RestrictAddressFamilies=~AF_NETLINK AF_INET6",
            "RestrictAddressFamilies=none",
            "RestrictAddressFamilies=AF_INET AF_PACKET\nRestrictAddressFamilies=~AF_INET",
        ],
        &[("socket", [16, 3, 0, 0, 0, 0]), ("socket", [10, 1, 0, 0, 0, 0]), ("socket", [17, 3, 0, 0, 0, 0])],
    ),
    (
        &["RestrictNamespaces=yes", "RestrictNamespaces=~net", "RestrictNamespaces=uts ipc"],
        &[
            ("unshare", [0x4000_0000, 0, 0, 0, 0, 0]),
            ("unshare", [0x1002_0000, 0, 0, 0, 0, 0]),
            ("setns", [5, 0x4000_0000, 0, 0, 0, 0]),
            ("clone", [0x1000_0011, 0, 0, 0, 0, 0]),
        ],
    ),
    (&["MemoryDenyWriteExecute=yes"], &[("mprotect", [0, 0, 4, 0, 0, 0]), ("mmap", [0, 0, 6, 0x22, 0, 0])]),
    (&["RestrictRealtime=on"], &[("sched_setscheduler", [0, 1, 0, 0, 0, 0])]),
    (
        &["RestrictSUIDSGID=1"],
        &[("chmod", [0, 0o4755, 0, 0, 0, 0]), ("openat2", [0; 6]), ("mkdirat", [0, 0, 0o2755, 0, 0, 0])],
    ),
    (&["LockPersonality=true"], &[("personality", [0x40000, 0, 0, 0, 0, 0])]),
    (&["ProtectHostname=yes"], &[("sethostname", [0; 6])]),
    (&["ProtectClock=yes"], &[("clock_settime", [0; 6])]),
    (&["ProtectKernelLogs=yes"], &[("syslog", [0; 6])]),
    (&["ProtectKernelModules=yes"], &[("init_module", [0; 6])]),
    (&["PrivateDevices=yes"], &[("iopl", [0; 6])]),
];

proptest! {
    /// What is written lets the call through, in a unit with whatever other settings, and takes nothing of them back.
    #[test]
    fn the_narrowest_value_lets_the_call_through(
        at in 0..SETTINGS.len(),
        line: prop::sample::Index,
        call: prop::sample::Index,
        version in prop::sample::select(RULES_OF.to_vec()),
        others: u32,
    ) {
        let (lines, calls) = SETTINGS[at];
        let (name, arguments) = calls[call.index(calls.len())];
        let mut text = lines[line.index(lines.len())].to_owned();
        for (number, (other, _)) in SETTINGS.iter().enumerate().filter(|(n, _)| *n != at && others >> n & 1 == 1) {
            text = format!("{text}\n{}", other[number % other.len()]);
        }
        let unit = unit(&text);
        let policy = Policy::evaluate(&unit, &Groups::from_rules(version).unwrap());
        let arch = Arch::native();
        let Some(number) = arch.number(name) else { return Ok(()) };
        let call = Call { arch, number };
        let before = policy.answer_of_settings(call).to(&arguments).clone();
        prop_assume!(before.denies());
        let found = relax(&policy, &unit, call, &arguments).unwrap();
        prop_assert!(!found.is_empty());
        let relaxed = policy.relaxed(&with(&unit, &found, version));
        prop_assert!(!relaxed.answer_of_settings(call).to(&arguments).denies(), "{text}\n{found:?}");
        // every other call of the table is denied as before, but where it is for the same reason
        let own: BTreeSet<&str> = found.iter().map(|line| line.setting).collect();
        for (name, arguments) in SETTINGS.iter().flat_map(|(_, calls)| *calls) {
            let Some(number) = arch.number(name) else { continue };
            let other = Call { arch, number };
            let answer = policy.answer_of_settings(other).to(arguments).clone();
            let kept = answer.token().is_some_and(|token| !own.contains(token.setting));
            if answer.denies() && kept {
                prop_assert!(relaxed.answer_of_settings(other).to(arguments).denies(), "{name}: {text}\n{found:?}");
            }
        }
    }
}

#[test]
fn one_word_more_and_no_other() {
    let text = "RestrictAddressFamilies=AF_UNIX\nRestrictNamespaces=yes\nProtectHostname=yes:here\n";
    for (version, hostname) in [(252, "ProtectHostname=yes:here"), (262, "ProtectHostname=private:here")] {
        let unit = unit(text);
        let policy = Policy::evaluate(&unit, &Groups::from_rules(version).unwrap());
        let lines = |name: &str, arguments: [u64; 6]| -> Vec<String> {
            let call = Call { arch: Arch::native(), number: Arch::native().number(name).unwrap() };
            relax(&policy, &unit, call, &arguments).unwrap().iter().map(Relaxation::line).collect()
        };
        assert_eq!(lines("socket", [16, 0, 0, 0, 0, 0]), ["RestrictAddressFamilies=AF_NETLINK"]);
        assert_eq!(lines("unshare", [0x1000_0000, 0, 0, 0, 0, 0]), ["RestrictNamespaces=user"]);
        assert_eq!(lines("unshare", [0x4400_0000, 0, 0, 0, 0, 0]), ["RestrictNamespaces=net uts"]);
        if version >= 258 {
            assert_eq!(lines("sethostname", [0; 6]), [hostname]);
        }
        let unnamed = Call { arch: Arch::native(), number: Arch::native().number("socket").unwrap() };
        let why = relax(&policy, &unit, unnamed, &[99, 0, 0, 0, 0, 0]).unwrap_err().why;
        assert_eq!(why, "systemd has no name for the address family 99");
    }
}

#[test]
fn lines_of_one_setting_join() {
    let unit = unit("RestrictNamespaces=yes\n");
    let policy = Policy::evaluate(&unit, &Groups::from_rules(252).unwrap());
    let call = Call { arch: Arch::native(), number: Arch::native().number("unshare").unwrap() };
    let mut out = Relaxations::default();
    for flags in [0x1000_0000, 0x4000_0000] {
        for line in relax(&policy, &unit, call, &[flags, 0, 0, 0, 0, 0]).unwrap() {
            out.add(&line);
        }
    }
    assert_eq!(out.text(), ["RestrictNamespaces=net user"]);
}
