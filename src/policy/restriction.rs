//! The settings beside `SystemCallFilter=` that install a seccomp filter of their own, and what each filter does.
//! systemd.exec(5) "Sandboxing"; `apply_*()` in src/core/execute.c (from 255 on src/core/exec-invoke.c) and
//! `seccomp_*()` in src/shared/seccomp-util.c. What is said here was compared with the installed filters.

use super::answer::{Answer, Compare, ForArguments, Layer, Test};
use super::families::{AddressFamilies, Family};
use super::namespaces::{NamespaceType, Namespaces};
use super::{Action, Because, Decision, Token};
use crate::finding::Finding;
use crate::syscalls::{Arch, Call, Groups};
use crate::unit::{Unit, parse_boolean};

/// One setting with the filter it installs.
#[derive(Clone, Debug)]
pub struct Restriction {
    /// The word that turned it on.
    pub token: Token,
    /// What it forbids, in words.
    pub forbids: &'static str,
    /// Whether it is a seccomp filter that does, and not the kernel without one.
    pub filters: bool,
    rules: Vec<Rule>,
}

/// One rule of a filter: this call, with arguments like this, gets this action.
#[derive(Clone, Debug)]
pub(super) struct Rule {
    call: String,
    /// On these architectures; nothing: on all.
    archs: Option<&'static [Arch]>,
    when: Vec<Test>,
    action: Action,
    /// The word that decides, where it is another than that of the restriction.
    token: Option<Token>,
}

const EPERM: Action = Action::Errno(super::EPERM);
const EACCES: Action = Action::Errno(13);
pub(super) const ENOSYS: Action = Action::Errno(super::ENOSYS);
const EAFNOSUPPORT: Action = Action::Errno(97);

impl Rule {
    pub(super) fn new(call: &str, action: Action, when: &[Test]) -> Self {
        Rule { call: call.to_owned(), archs: None, when: when.to_vec(), action, token: None }
    }

    fn by(self, token: Option<&Token>) -> Self {
        Rule { token: token.cloned(), ..self }
    }

    pub(super) fn on(self, archs: &'static [Arch]) -> Self {
        Rule { archs: Some(archs), ..self }
    }

    fn applies(&self, arch: Arch, name: &str) -> bool {
        self.call == name && self.archs.is_none_or(|archs| archs.contains(&arch))
    }
}

impl Restriction {
    /// The settings of a unit that install a filter, in the order in which systemd installs them.
    pub(super) fn all(unit: &Unit, groups: &Groups, findings: &mut Vec<Finding>) -> Vec<Self> {
        let on = |setting, forbids, rules: Vec<Rule>| {
            let token = turned_on(unit, setting)?;
            Some(Restriction { token, forbids, filters: true, rules })
        };
        let group = |name| of_group(groups, name);
        [
            protect_hostname(unit, groups.systemd),
            restrict_address_families(
                &AddressFamilies::evaluate(unit, groups.systemd, findings),
                groups.systemd,
            ),
            on(
                "MemoryDenyWriteExecute",
                "making memory executable",
                memory_deny_write_execute(groups.systemd),
            )
            .map(|it| Restriction { filters: groups.systemd < KERNEL_DENIES_WRITE_EXECUTE_FROM, ..it }),
            on("RestrictRealtime", "real-time scheduling", restrict_realtime(groups.systemd)),
            set_user_id_bits(unit, groups),
            restrict_namespaces(&Namespaces::evaluate(unit, groups.systemd, findings), groups.systemd),
            on("ProtectKernelTunables", "the old sysctl call", protect_kernel_tunables()),
            on("ProtectKernelModules", "loading kernel modules", group("@module")),
            on("ProtectKernelLogs", "the kernel log", vec![Rule::new("syslog", EPERM, &[])]),
            on("ProtectClock", "setting the clock", group("@clock")),
            on("PrivateDevices", "raw access to devices", group("@raw-io")),
            on("LockPersonality", "other personalities", lock_personality(unit)),
        ]
        .into_iter()
        .flatten()
        .collect()
    }

    /// What the filter does with a call, if it says something about it.
    pub(super) fn layer(&self, call: Call) -> Option<Layer> {
        let name = call.name()?;
        let mut for_arguments = Vec::new();
        for rule in self.rules.iter().filter(|rule| rule.applies(call.arch, name)) {
            let token = rule.token.as_ref().unwrap_or(&self.token);
            let because = Because::Restricted(token.clone());
            let decision = Decision { action: rule.action, because };
            if rule.when.is_empty() {
                return Some(Layer::always(decision)); // libseccomp drops the tests of other rules
            }
            for_arguments.push(ForArguments { when: rule.when.clone(), decision });
        }
        (!for_arguments.is_empty()).then(|| Layer::passing(for_arguments))
    }

    /// What is left of it where the unit's settings have changed; nothing: it is off.
    pub(super) fn again(&self, unit: &Unit, systemd: u32) -> Option<Self> {
        match self.token.setting {
            "RestrictAddressFamilies" => {
                restrict_address_families(&AddressFamilies::evaluate(unit, systemd, &mut Vec::new()), systemd)
            }
            "RestrictNamespaces" => {
                restrict_namespaces(&Namespaces::evaluate(unit, systemd, &mut Vec::new()), systemd)
            }
            "ProtectHostname" => protect_hostname(unit, systemd),
            boolean => turned_on(unit, boolean).map(|token| Restriction { token, ..self.clone() }),
        }
    }

    /// Whether it denies a call with these arguments, by itself.
    #[must_use]
    pub fn denies(&self, call: Call, arguments: &[u64; 6]) -> bool {
        let layer = self.layer(call);
        layer.is_some_and(|layer| Answer::combine(call.arch, &[layer]).to(arguments).denies())
    }

    /// The calls of an architecture that it denies whatever their arguments are, or for some arguments only, in the
    /// order of the rules.
    #[must_use]
    pub fn calls(&self, arch: Arch, always: bool) -> Vec<&str> {
        let on = |rule: &&Rule| {
            rule.action.denies()
                && rule.archs.is_none_or(|archs| archs.contains(&arch))
                && arch.number(&rule.call).is_some()
        };
        let rules: Vec<&Rule> = self.rules.iter().filter(on).collect();
        let all = |call: &str| rules.iter().any(|rule| rule.call == call && rule.when.is_empty());
        let mut calls: Vec<&str> = Vec::new();
        for call in rules.iter().map(|rule| rule.call.as_str()) {
            if all(call) == always && !calls.contains(&call) {
                calls.push(call);
            }
        }
        calls
    }
}

/// The word that turned a boolean setting on, if it is on: the last one that is a boolean counts
/// (`config_parse_bool()`).
pub(super) fn turned_on(unit: &Unit, setting: &'static str) -> Option<Token> {
    let (on, line) = unit.boolean(setting)?;
    on.then(|| Token { text: line.value.text.clone(), setting, span: line.value.whole() })
}

/// A test of the argument that is the `number`-th, from 1, as manuals count them.
const fn test(number: u8, compare: Compare, words: &'static str) -> Test {
    Test { argument: number - 1, compare, words }
}

/// Every call of a group gets EPERM.
fn of_group(groups: &Groups, name: &str) -> Vec<Rule> {
    let members = groups.members(name).into_iter().flatten();
    members.filter(|call| groups.knows(call)).map(|call| Rule::new(call, EPERM, &[])).collect()
}

/// From this version on (seen on 262, not on 257), `ProtectHostname=` also takes `private`, which installs no filter,
/// and a host name behind a colon.
const PRIVATE_HOSTNAME_FROM: u32 = 258;

/// Whether a value of `ProtectHostname=` turns the filter on; nothing: it is no value.
pub(super) fn protects_hostname(text: &str, systemd: u32) -> Option<bool> {
    if systemd < PRIVATE_HOSTNAME_FROM {
        return parse_boolean(text);
    }
    match text.split_once(':').map_or(text, |(mode, _)| mode) {
        "" | "private" => Some(false),
        mode => parse_boolean(mode),
    }
}

/// `seccomp_protect_hostname()`
fn protect_hostname(unit: &Unit, systemd: u32) -> Option<Restriction> {
    let lines = unit.service("ProtectHostname").rev();
    let mut read = lines.filter_map(|line| Some((line, protects_hostname(&line.value.text, systemd)?)));
    let (line, _) = read.next().filter(|(_, on)| *on)?;
    let token = Token { text: line.value.text.clone(), setting: "ProtectHostname", span: line.value.whole() };
    Some(Restriction {
        token,
        forbids: "changing the host name",
        filters: true,
        rules: vec![Rule::new("sethostname", EPERM, &[]), Rule::new("setdomainname", EPERM, &[])],
    })
}

/// From this version on arguments of the type int are compared as such, without the upper half (seen on 262, not on
/// 257): the families of socket(2) and the type of setns(2) that are forbidden.
const INTS_FROM: u32 = 258;

fn equal(value: u32, systemd: u32) -> Compare {
    if systemd >= INTS_FROM { Compare::LowerHalf(value) } else { Compare::Equal(u64::from(value)) }
}

/// `seccomp_restrict_address_families()`. 32-bit x86 is left alone: there socket(2) may be a `socketcall`.
fn restrict_address_families(families: &AddressFamilies, systemd: u32) -> Option<Restriction> {
    const ARCHS: &[Arch] = &[Arch::X86_64, Arch::X32, Arch::Arm64, Arch::Arm, Arch::Riscv64];
    let rule = |compare: Option<Compare>, family: Family| {
        let test = compare.map(|compare| test(1, compare, family.name().unwrap_or("another")));
        let when: Vec<Test> = test.into_iter().collect();
        // beyond the listed ones it is the list that decides, and not its first or last word
        let edge = matches!(compare, Some(Compare::Less(_) | Compare::Greater(_)));
        let decides = if edge { Family::new(0) } else { family };
        Rule::new("socket", EAFNOSUPPORT, &when).on(ARCHS).by(families.token(decides))
    };
    let number = |family: Family| u64::from(family.number());
    let first = families.families().next();
    let rules: Vec<Rule> = match (families.allow, first, families.families().last()) {
        _ if !families.restricts() => return None,
        (false, ..) => families
            .families()
            .map(|family| rule(Some(equal(u32::from(family.number()), systemd)), family))
            .collect(),
        (true, Some(first), Some(last)) => {
            let between = (first.number()..last.number()).map(Family::new);
            let mut rules = vec![
                rule(Some(Compare::Less(number(first))), first),
                rule(Some(Compare::Greater(number(last))), last),
            ];
            let missing = between.filter(|family| !families.allows(*family));
            rules
                .extend(missing.map(|family| rule(Some(equal(u32::from(family.number()), systemd)), family)));
            rules
        }
        (true, ..) => vec![rule(None, Family::new(0))],
    };
    let token = families.token(Family::new(0))?.clone();
    Some(Restriction { token, forbids: "other kinds of sockets", filters: true, rules })
}

/// From this version on `clone3`, whose flags are behind a pointer, is said not to be there (seen on 252, not on 247).
const CLONE3_FROM: u32 = 248;

/// `seccomp_restrict_namespaces()`
fn restrict_namespaces(namespaces: &Namespaces, systemd: u32) -> Option<Restriction> {
    let all = NamespaceType::ALL;
    let forbidden: Vec<NamespaceType> = all.into_iter().filter(|t| !namespaces.allows(*t)).collect();
    let token = namespaces.token(*forbidden.first()?)?.clone();
    let mut rules = Vec::new();
    if systemd >= CLONE3_FROM {
        rules.push(Rule::new("clone3", ENOSYS, &[]));
    }
    let retains_some = namespaces.retains_some();
    if retains_some {
        let any = test(2, equal(0, systemd), "0, any type of namespace");
        rules.push(Rule::new("setns", EPERM, &[any]));
    } else {
        rules.push(Rule::new("setns", EPERM, &[]));
    }
    for namespace in forbidden {
        let has = Compare::Has(u64::from(namespace.clone_flag()));
        let rule = |call, argument| {
            Rule::new(call, EPERM, &[test(argument, has, namespace.clone_flag_name())])
                .by(namespaces.token(namespace))
        };
        rules.extend([rule("unshare", 1), rule("clone", 1)]);
        if retains_some {
            rules.push(rule("setns", 2));
        }
    }
    Some(Restriction { token, forbids: "namespaces", filters: true, rules })
}

/// `seccomp_protect_sysctl()`
fn protect_kernel_tunables() -> Vec<Rule> {
    vec![Rule::new("_sysctl", EPERM, &[]).on(&[Arch::X86_64, Arch::X86, Arch::Arm])]
}

/// From this version on, and from Linux 6.3 on, the kernel itself refuses (`PR_SET_MDWE`, prctl(2)).
pub(super) const KERNEL_DENIES_WRITE_EXECUTE_FROM: u32 = 253;

/// `seccomp_memory_deny_write_execute()`, `map_deny_write_exec()` of include/linux/mman.h.
fn memory_deny_write_execute(systemd: u32) -> Vec<Rule> {
    let both = test(3, Compare::Has(PROT_WRITE | PROT_EXEC), "PROT_WRITE and PROT_EXEC");
    let shared = test(3, Compare::Has(SHM_EXEC), "SHM_EXEC");
    if systemd >= KERNEL_DENIES_WRITE_EXECUTE_FROM {
        let read_only = test(3, Compare::Has(SHM_EXEC | SHM_RDONLY), "SHM_EXEC and SHM_RDONLY");
        let gains = test(3, Compare::Has(PROT_EXEC), "PROT_EXEC and the memory is not executable yet");
        return vec![
            Rule::new("mmap", EACCES, &[both]).on(&[Arch::X86_64, Arch::X32, Arch::Arm64, Arch::Riscv64]),
            Rule::new("mmap2", EACCES, &[both]),
            Rule::new("mprotect", EACCES, &[gains]),
            Rule::new("pkey_mprotect", EACCES, &[gains]),
            // memory is attached to be written, unless it says otherwise (`do_shmat()` in ipc/shm.c)
            Rule::new("shmat", Action::Allow, &[read_only]),
            Rule::new("shmat", EACCES, &[shared]),
        ];
    }
    let executable = test(3, Compare::Has(PROT_EXEC), "PROT_EXEC");
    vec![
        Rule::new("mmap", EPERM, &[both]).on(&[Arch::X86_64, Arch::X32, Arch::Arm64, Arch::Riscv64]),
        Rule::new("mmap2", EPERM, &[both]).on(&[Arch::X86, Arch::Arm]),
        Rule::new("mmap", EPERM, &[]).on(&[Arch::X86]),
        Rule::new("mprotect", EPERM, &[executable]),
        Rule::new("pkey_mprotect", EPERM, &[executable]),
        Rule::new("shmat", EPERM, &[shared]).on(&[
            Arch::X86_64,
            Arch::X32,
            Arch::Arm64,
            Arch::Arm,
            Arch::Riscv64,
        ]),
    ]
}

/// asm-generic/mman-common.h, linux/shm.h
const PROT_WRITE: u64 = 2;
const PROT_EXEC: u64 = 4;
const SHM_EXEC: u64 = 0o100_000;
const SHM_RDONLY: u64 = 0o10_000;

/// `seccomp_restrict_realtime()`: only SCHED_OTHER (0), SCHED_BATCH (3) and SCHED_IDLE (5) pass (linux/sched.h).
fn restrict_realtime(systemd: u32) -> Vec<Rule> {
    let denied = [
        (Compare::Equal(1), "SCHED_FIFO"),
        (Compare::Equal(2), "SCHED_RR"),
        (Compare::Equal(4), "4"),
        (Compare::Greater(5), "SCHED_IDLE"),
    ];
    let mut rules: Vec<Rule> = denied
        .map(|(compare, words)| Rule::new("sched_setscheduler", EPERM, &[test(2, compare, words)]))
        .into();
    if systemd >= SCHED_SETATTR_FROM {
        rules.push(Rule::new("sched_setattr", EPERM, &[])); // its policy is behind a pointer
    }
    rules
}

/// From this version on `RestrictRealtime=` forbids `sched_setattr` (seen on 262, not on 257).
const SCHED_SETATTR_FROM: u32 = 258;

/// `DynamicUser=` turns `RestrictSUIDSGID=` on, whatever it says itself (`unit_patch_contexts()`).
fn set_user_id_bits(unit: &Unit, groups: &Groups) -> Option<Restriction> {
    let token = turned_on(unit, "DynamicUser").or_else(|| turned_on(unit, "RestrictSUIDSGID"))?;
    Some(Restriction {
        token,
        forbids: "set-user-ID and set-group-ID files",
        filters: true,
        rules: restrict_suid_sgid(groups),
    })
}

/// `seccomp_restrict_sxid()`
fn restrict_suid_sgid(groups: &Groups) -> Vec<Rule> {
    let bits = [(0o4000, "S_ISUID"), (0o2000, "S_ISGID")];
    let calls: [(&str, u8, Option<u8>); 10] = [
        ("chmod", 2, None),
        ("fchmod", 2, None),
        ("fchmodat", 3, None),
        ("mkdir", 2, None),
        ("mkdirat", 3, None),
        ("mknod", 2, None),
        ("mknodat", 3, None),
        ("open", 3, Some(2)),
        ("openat", 4, Some(3)),
        ("creat", 2, None),
    ];
    let mut rules = Vec::new();
    for (bit, words) in bits {
        for (call, mode, flags) in calls {
            let creates = flags.map(|flags| test(flags, Compare::Has(O_CREAT), "O_CREAT"));
            let when: Vec<Test> = creates.into_iter().chain([test(mode, Compare::Has(bit), words)]).collect();
            rules.push(Rule::new(call, EPERM, &when));
        }
        if groups.knows("fchmodat2") {
            rules.push(Rule::new("fchmodat2", EPERM, &[test(3, Compare::Has(bit), words)]));
        }
    }
    // its mode is behind a pointer
    let openat2 = if groups.systemd >= OPENAT2_IS_MISSING_FROM { ENOSYS } else { EPERM };
    rules.push(Rule::new("openat2", openat2, &[]));
    if !groups.knows("fchmodat2") && groups.systemd >= 252 {
        rules.push(Rule::new("fchmodat2", ENOSYS, &[])); // its libseccomp cannot test the mode
    }
    rules
}

/// From this version on `openat2` is said not to be there, so that programs fall back; before, it is forbidden
/// (seen on 252 and on 247).
const OPENAT2_IS_MISSING_FROM: u32 = 248;

/// asm-generic/fcntl.h
const O_CREAT: u64 = 0o100;

/// `seccomp_lock_personality()`: the value of `Personality=`, or that of the system (linux/personality.h).
fn lock_personality(unit: &Unit) -> Vec<Rule> {
    const PER_LINUX32: u64 = 8;
    let foreign = unit.text("Personality").and_then(Arch::from_systemd_name).is_some_and(|arch| {
        arch != Arch::native() && Arch::of_this_kernel().contains(&arch) && arch != Arch::X32
    });
    let (value, words) = if foreign { (PER_LINUX32, "PER_LINUX32") } else { (0, "PER_LINUX") };
    vec![Rule::new("personality", EPERM, &[test(1, Compare::NotEqual(value), words)])]
}
