//! What unitfix says that a unit's settings do with a call is what happens when a process of the unit makes it:
//! every call of x86-64, and of i386 through `int $0x80`, that can be made without harm (tests/bed/prober.c).

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;

use unitfix::policy::{Action, Policy};
use unitfix::root::Root;
use unitfix::syscalls::{Arch, Call};
use unitfix::unit::{Unit, UnitName};

use crate::bed::Bed;

use super::Case;
use super::installed_filters::groups;
use super::support::records_of_every_call;

pub const CASES: &[Case] = &[
    Case::new("real_calls::x86_64", |bed| calls(bed, Arch::X86_64)),
    Case::new("real_calls::i386", |bed| calls(bed, Arch::X86)),
    Case::new("real_calls::memory", memory),
];

/// What the prober itself needs is allowed by all of them. EL2HLT is an errno that no call gives by itself.
const POLICIES: &[&str] = &[
    "SystemCallFilter=@file-system",
    "SystemCallFilter=~@mount @resources @clock @privileged @network-io @ipc @obsolete",
    "SystemCallFilter=@system-service\nSystemCallErrorNumber=EL2HLT",
    "SystemCallFilter=~@known:EL2HLT @mount:kill @ipc:0",
    "SystemCallFilter=@system-service\nSystemCallFilter=~@setuid:EL2HLT @timer:kill\nSystemCallErrorNumber=EDOM",
    "SystemCallArchitectures=native",
    "RestrictNamespaces=yes\nRestrictAddressFamilies=none\nRestrictRealtime=yes\nRestrictSUIDSGID=yes\n\
     LockPersonality=yes",
];

const SIGSYS: i32 = 31;
/// What the prober's processes exit with where the call did not fail.
const RAN: i32 = 200;

/// What came of each call: the signal, and the exit status.
type Outcomes = BTreeMap<u32, (i32, i32)>;

/// Runs the prober in a unit with these settings.
fn probe(bed: &Bed, name: &str, settings: &str, mode: &str) -> Outcomes {
    let own = if settings.contains("SystemCallFilter=") {
        "SystemCallFilter=@default clone wait4 alarm write exit_group execve\n"
    } else {
        ""
    };
    bed.install_unit(
        &format!("{name}.service"),
        // with a limit of 1, the dying leave no core (core_pattern in core(5))
        &format!(
            "[Service]\nType=oneshot\nLimitCORE=1\nExecStart=/run/ut/prober {mode}\n\
             StandardOutput=file:/run/{name}\n{settings}\n{own}"
        ),
    );
    let records = records_of_every_call();
    bed.run(&["systemctl", "start", name]);
    drop(records);
    let printed = fs::read_to_string(bed.root().join("run").join(name)).unwrap();
    printed
        .lines()
        .map(|line| {
            let words: Vec<i32> = line.split(' ').map(|word| word.parse().unwrap()).collect();
            (words[0].cast_unsigned(), (words[1], words[2]))
        })
        .collect()
}

fn policy(bed: &Bed, name: &str) -> Policy {
    let version = bed.systemd_version();
    let unit =
        Unit::find(&Root::new(bed.root()), &UnitName::parse(&format!("{name}.service")).unwrap(), version);
    Policy::evaluate(&unit.unwrap(), &groups(bed))
}

fn calls(bed: &Bed, arch: Arch) {
    let (mode, argument) =
        if arch == Arch::X86 { ("i386", u64::from(u32::MAX)) } else { ("x86-64", u64::MAX) };
    let free = probe(bed, "free", "", mode);
    let mut differences = String::new();
    for (at, settings) in POLICIES.iter().enumerate() {
        let name = format!("probed{at}");
        let outcomes = probe(bed, &name, settings, mode);
        assert_eq!(outcomes.len(), free.len(), "{settings}");
        let policy = policy(bed, &name);
        for (number, seen) in outcomes {
            let call = Call { arch, number };
            let action = policy.answer(call).to(&[argument; 6]).action;
            let expected = match action {
                Action::Kill => (SIGSYS, 0),
                Action::Errno(0) => (0, RAN),
                Action::Errno(errno) => (0, errno.into()),
                Action::Allow | Action::Log => free[&number],
            };
            if seen != expected {
                let _ = writeln!(
                    differences,
                    "{settings:?}: {arch} {number} {call}: {action:?}, seen {seen:?}, free {:?}",
                    free[&number]
                );
            }
        }
    }
    eprintln!(
        "systemd {}: {} calls of {arch} made under {} policies",
        bed.systemd_version(),
        free.len(),
        POLICIES.len()
    );
    assert!(differences.is_empty(), "systemd {}:\n{differences}", bed.systemd_version());
}

/// What the prober tries with memory: the call, and the argument that says what is wanted. As in its `try_memory()`.
const MEMORY: [(&str, u64); 9] = [
    ("mmap", 3),
    ("mmap", 5),
    ("mmap", 7),
    ("mprotect", 5),
    ("mprotect", 1),
    ("pkey_mprotect", 5),
    ("shmat", 0),
    ("shmat", 0o100_000),
    ("shmat", 0o110_000),
];

/// `MemoryDenyWriteExecute=`, which from 257 on is no filter.
fn memory(bed: &Bed) {
    let free = probe(bed, "free", "", "memory");
    assert!(free.values().all(|outcome| *outcome == (0, RAN)), "{free:?}");
    let denied = probe(bed, "denied", "MemoryDenyWriteExecute=yes", "memory");
    let policy = policy(bed, "denied");
    let mut differences = String::new();
    for (at, (name, wanted)) in (0..).zip(MEMORY) {
        let call = Call { arch: Arch::X86_64, number: Arch::X86_64.number(name).unwrap() };
        let expected = match policy.answer(call).to(&[0, 0, wanted, 0, 0, 0]).action {
            Action::Errno(errno) => (0, i32::from(errno)),
            _ => (0, RAN),
        };
        if denied[&at] != expected {
            let _ = writeln!(differences, "{name} {wanted:#o}: {expected:?}, seen {:?}", denied[&at]);
        }
    }
    assert!(differences.is_empty(), "systemd {}:\n{differences}", bed.systemd_version());
}
