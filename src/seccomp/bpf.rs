//! A policy as a classic BPF program, which the kernel runs for every system call (seccomp(2)).
//!
//! unitfix has its own compiler because a policy mixes what seccompiler cannot put in one program: several errnos,
//! several architectures (x86 and x32 beside x86-64), numbers that have no name, and user notifications.
//!
//! The program loads the architecture, jumps to that architecture's part, loads the number and finds, by binary
//! search, the range of numbers that holds it. What it answers is what [`Policy::answer_of_filters`] says, for every
//! number and all arguments.

use super::arguments;
use crate::policy::{Action, Decision, ForArguments, Policy};
use crate::syscalls::{Arch, Call};
use libc::sock_filter;

/// What the program answers for a call that the policy denies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnDenied {
    /// A user notification: the supervisor decides.
    Notify,
    /// What the policy says, by the kernel itself: an errno, or the death of the process.
    Enforce,
}

/// From this number on (and below the x32 bit) no architecture has calls with names, but for ARM's own few.
const NAMED_END: u32 = 1024;
/// ARM's private calls, `__ARM_NR_BASE` (arch/arm/include/uapi/asm/unistd.h).
const ARM_PRIVATE: std::ops::Range<u32> = 0x000f_0000..0x000f_0010;
/// `__X32_SYSCALL_BIT`.
const X32_BIT: u32 = 0x4000_0000;

/// Offsets in `struct seccomp_data` (linux/seccomp.h).
const OFFSET_NUMBER: u32 = 0;
const OFFSET_ARCH: u32 = 4;

/// From this number on, up to the next range, the program answers this.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Range {
    start: u32,
    answers: Answers,
}

/// What the program answers to a call.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Answers {
    arch: Arch,
    for_arguments: Vec<ForArguments>,
    otherwise: u32,
}

/// The program for a policy, for all architectures whose calls this kernel accepts.
#[must_use]
pub fn compile(policy: &Policy, denied: OnDenied) -> Vec<sock_filter> {
    compile_for(policy, denied, Arch::of_this_kernel())
}

fn compile_for(policy: &Policy, denied: OnDenied, archs: &[Arch]) -> Vec<sock_filter> {
    let mut values: Vec<u32> = Vec::new();
    for arch in archs {
        // x32 shares its value with x86-64
        if !values.contains(&arch.audit()) {
            values.push(arch.audit());
        }
    }
    let mut program = vec![load(OFFSET_ARCH)];
    for value in values {
        let mut part = vec![load(OFFSET_NUMBER)];
        part.extend(search(&ranges(policy, denied, value), denied));
        program.push(jump(libc::BPF_JEQ, value, 1, 0));
        program.push(jump_always(part.len()));
        program.append(&mut part);
    }
    // no other architecture can reach this kernel, but what it cannot judge must not pass a policy that names some
    let unknown = if policy.architectures.is_some() { libc::SECCOMP_RET_KILL_PROCESS } else { ALLOW };
    program.push(answer(unknown));
    program
}

/// A program that also raises a notification of a number, on every architecture, whatever else it says.
#[must_use]
pub fn with_notified(number: u32, program: Vec<sock_filter>) -> Vec<sock_filter> {
    let first =
        [load(OFFSET_NUMBER), jump(libc::BPF_JEQ, number, 0, 1), answer(libc::SECCOMP_RET_USER_NOTIF)];
    first.into_iter().chain(program).collect()
}

/// The program as bytes: instruction by instruction, as `struct sock_filter` of linux/filter.h is laid out.
#[must_use]
pub fn to_bytes(program: &[sock_filter]) -> Vec<u8> {
    let one = |i: &sock_filter| {
        let mut out = [0; 8];
        out[..2].copy_from_slice(&i.code.to_ne_bytes());
        (out[2], out[3]) = (i.jt, i.jf);
        out[4..].copy_from_slice(&i.k.to_ne_bytes());
        out
    };
    program.iter().flat_map(one).collect()
}

/// A program from its bytes; nothing: they are none.
#[must_use]
pub fn from_bytes(bytes: &[u8]) -> Option<Vec<sock_filter>> {
    let (instructions, []) = bytes.as_chunks::<8>() else { return None };
    let one = |&[c0, c1, jt, jf, k0, k1, k2, k3]: &[u8; 8]| sock_filter {
        code: u16::from_ne_bytes([c0, c1]),
        jt,
        jf,
        k: u32::from_ne_bytes([k0, k1, k2, k3]),
    };
    Some(instructions.iter().map(one).collect())
}

/// A program that lets every call pass and has the kernel log one, by its native number.
#[must_use]
pub fn log_only(number: i64) -> Vec<sock_filter> {
    let number = u32::try_from(number).unwrap_or(u32::MAX);
    vec![load(OFFSET_NUMBER), jump(libc::BPF_JEQ, number, 0, 1), answer(libc::SECCOMP_RET_LOG), answer(ALLOW)]
}

const ALLOW: u32 = libc::SECCOMP_RET_ALLOW;

/// All numbers of an architecture as the ranges that get the same answer.
fn ranges(policy: &Policy, denied: OnDenied, audit_arch: u32) -> Vec<Range> {
    let named = (0..=NAMED_END).chain(ARM_PRIVATE.start..=ARM_PRIVATE.end);
    let x32 = X32_BIT..=X32_BIT + NAMED_END;
    // bit 31 beside or without the x32 bit, and -1, which is no x32 call although it has the bit
    let edges = [0x8000_0000, 0x8000_0000 | X32_BIT, u32::MAX];
    let mut out: Vec<Range> = Vec::new();
    for start in named.chain(x32).chain(edges) {
        let Some(call) = Call::from_record(audit_arch, start) else { continue };
        let answer = policy.answer_of_filters(call);
        let otherwise = encode(&answer.otherwise, denied);
        // the architecture matters to arguments alone
        let arch = if answer.for_arguments.is_empty() { Arch::native() } else { call.arch };
        let answers = Answers { arch, for_arguments: answer.for_arguments, otherwise };
        if out.last().is_none_or(|last| last.answers != answers) {
            out.push(Range { start, answers });
        }
    }
    out
}

fn encode(decision: &Decision, denied: OnDenied) -> u32 {
    match decision.action {
        Action::Allow => ALLOW,
        Action::Log => libc::SECCOMP_RET_LOG,
        _ if denied == OnDenied::Notify => libc::SECCOMP_RET_USER_NOTIF,
        Action::Errno(number) => libc::SECCOMP_RET_ERRNO | u32::from(number),
        Action::Kill => libc::SECCOMP_RET_KILL_PROCESS,
    }
}

/// Binary search for the number in the accumulator.
fn search(ranges: &[Range], denied: OnDenied) -> Vec<sock_filter> {
    let (below, from) = ranges.split_at(ranges.len() / 2);
    let (Some(_), Some(middle)) = (below.first(), from.first()) else {
        return ranges.iter().flat_map(|range| range.answers.program(denied)).collect();
    };
    let low = search(below, denied);
    // conditional jumps reach 255 instructions, unconditional ones any
    let mut out = match u8::try_from(low.len()) {
        Ok(length) => vec![jump(libc::BPF_JGE, middle.start, length, 0)],
        Err(_) => vec![jump(libc::BPF_JGE, middle.start, 0, 1), jump_always(low.len())],
    };
    out.extend(low);
    out.extend(search(from, denied));
    out
}

impl Answers {
    fn program(&self, denied: OnDenied) -> Vec<sock_filter> {
        let mut out = Vec::new();
        for entry in &self.for_arguments {
            let then = answer(encode(&entry.decision, denied));
            out.extend(arguments::if_all_hold(&entry.when, self.arch, then));
        }
        out.push(answer(self.otherwise));
        out
    }
}

pub(super) fn load(offset: u32) -> sock_filter {
    instruction(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, offset)
}

fn answer(value: u32) -> sock_filter {
    instruction(libc::BPF_RET | libc::BPF_K, 0, 0, value)
}

pub(super) fn jump(test: u32, value: u32, if_true: u8, if_false: u8) -> sock_filter {
    instruction(libc::BPF_JMP | test | libc::BPF_K, if_true, if_false, value)
}

fn jump_always(by: usize) -> sock_filter {
    // a program has 4096 instructions at the most, so this always fits; if not, the kernel refuses the program
    instruction(libc::BPF_JMP | libc::BPF_JA, 0, 0, u32::try_from(by).unwrap_or(u32::MAX))
}

pub(super) fn instruction(code: u32, jt: u8, jf: u8, k: u32) -> sock_filter {
    sock_filter { code: u16::try_from(code).unwrap_or(u16::MAX), jt, jf, k }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::tests::unit;
    use crate::syscalls::Groups;

    /// What the kernel would answer: the few instructions that seccomp programs use.
    fn run(program: &[sock_filter], arch: u32, number: u32, arguments: &[u64; 6]) -> u32 {
        let (mut at, mut accumulator) = (0, 0);
        loop {
            let i = program[at];
            at += 1;
            let test = |holds: bool| usize::from(if holds { i.jt } else { i.jf });
            at += match u32::from(i.code) {
                c if c == libc::BPF_LD | libc::BPF_W | libc::BPF_ABS => {
                    let half = |bytes: &[u8]| u32::from_le_bytes(bytes.try_into().unwrap());
                    accumulator = match i.k {
                        OFFSET_NUMBER => number,
                        OFFSET_ARCH => arch,
                        offset => {
                            let argument = arguments[(offset as usize - 16) / 8].to_le_bytes();
                            half(&argument[offset as usize % 8..][..4])
                        }
                    };
                    0
                }
                c if c == libc::BPF_ALU | libc::BPF_AND | libc::BPF_K => {
                    accumulator &= i.k;
                    0
                }
                c if c == libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K => test(accumulator == i.k),
                c if c == libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K => test(accumulator >= i.k),
                c if c == libc::BPF_JMP | libc::BPF_JGT | libc::BPF_K => test(accumulator > i.k),
                c if c == libc::BPF_JMP | libc::BPF_JA => i.k as usize,
                c if c == libc::BPF_RET | libc::BPF_K => return i.k,
                c => panic!("instruction {c:#x}"),
            };
        }
    }

    fn policy(settings: &str, systemd: u32) -> Policy {
        Policy::evaluate(&unit(settings), &Groups::from_rules(systemd).unwrap())
    }

    const POLICIES: [&str; 13] = [
        "",
        "SystemCallFilter=~@privileged @resources",
        "SystemCallFilter=@system-service\nSystemCallFilter=~chown:EPERM @mount:ENOSYS\nSystemCallErrorNumber=EPERM",
        "SystemCallFilter=read write exit_group",
        "SystemCallFilter=~uname:0 setpriority:kill clone3:ENOSYS\nSystemCallErrorNumber=EACCES",
        "SystemCallArchitectures=native\nSystemCallFilter=@system-service",
        "SystemCallArchitectures=x86 x32\nSystemCallFilter=~@clock",
        "SystemCallFilter=@default socket bind semop\nSystemCallFilter=~shmat:EPERM",
        "SystemCallFilter=~socket:EACCES socketcall semop\nSystemCallLog=~@basic-io",
        "RestrictNamespaces=net\nRestrictAddressFamilies=AF_UNIX AF_INET AF_NETLINK\nSystemCallFilter=~setns:EACCES",
        "RestrictAddressFamilies=~AF_PACKET AF_VSOCK\nRestrictNamespaces=~user time\nSystemCallLog=@mount",
        "RestrictSUIDSGID=yes\nRestrictRealtime=yes\nLockPersonality=yes\nMemoryDenyWriteExecute=yes\nProtectClock=yes",
        "RestrictSUIDSGID=yes\nRestrictRealtime=yes\nLockPersonality=yes\nSystemCallFilter=@system-service",
    ];

    #[test]
    fn the_program_says_what_the_policy_says() {
        for (settings, systemd) in POLICIES.iter().flat_map(|s| [(s, 252), (s, 262)]) {
            let policy = policy(settings, systemd);
            for denied in [OnDenied::Enforce, OnDenied::Notify] {
                let program = compile_for(&policy, denied, &Arch::ALL);
                assert!(program.len() <= 4096, "{}", program.len());
                for arch in Arch::ALL {
                    check(&program, &policy, denied, arch.audit());
                }
                let unknown = run(&program, 0x1234_5678, 0, &[0; 6]);
                assert_eq!(unknown == ALLOW, policy.architectures.is_none());
            }
        }
    }

    fn check(program: &[sock_filter], policy: &Policy, denied: OnDenied, arch: u32) {
        let bases = [0, X32_BIT, 0x8000_0000, 0xc000_0000, ARM_PRIVATE.start - 100, u32::MAX - 1200];
        let spread = (0..u32::MAX).step_by(7_654_321);
        let numbers = bases.into_iter().flat_map(|b| b..b + 1200).chain(spread).chain([u32::MAX]);
        for number in numbers {
            let answer = policy.answer_of_filters(Call::from_record(arch, number).unwrap());
            for arguments in telling(&answer.for_arguments) {
                let decision = answer.to(&arguments);
                let ours = run(program, arch, number, &arguments);
                assert_eq!(
                    ours,
                    encode(decision, denied),
                    "{arch:#x} {number:#x} {arguments:x?} {decision:?}"
                );
            }
        }
    }

    /// Arguments around those that are tested, in both halves.
    fn telling(entries: &[ForArguments]) -> Vec<[u64; 6]> {
        let mut out = vec![[0; 6]];
        for test in entries.iter().flat_map(|entry| &entry.when) {
            let value = test.compare.value();
            let values = [value, value + 1, value.wrapping_sub(1), value | 1 << 32, value << 32, 1 << 32];
            for values in [&values[..], &[0, u64::MAX]].concat() {
                let with = |mut arguments: [u64; 6]| {
                    arguments[usize::from(test.argument)] = values;
                    arguments
                };
                let all: Vec<[u64; 6]> = out.iter().take(12).copied().map(with).collect();
                out.extend(all);
            }
        }
        out.sort_unstable();
        out.dedup();
        out
    }

    #[test]
    fn a_number_is_notified_whatever_the_policy_says() {
        let policy = policy(POLICIES[3], 252);
        let plain = compile_for(&policy, OnDenied::Notify, &Arch::ALL);
        let program = with_notified(0x0075_6678, plain.clone());
        for arch in Arch::ALL.map(Arch::audit) {
            let said = run(&program, arch, 0x0075_6678, &[0; 6]);
            assert_eq!(said, libc::SECCOMP_RET_USER_NOTIF, "{arch:#x}");
            for number in 0..500 {
                let [with, without] = [&program, &plain].map(|p| run(p, arch, number, &[0; 6]));
                assert_eq!(with, without, "{arch:#x} {number}");
            }
        }
        let bytes = to_bytes(&program);
        assert_eq!(to_bytes(&from_bytes(&bytes).unwrap()), bytes);
        assert_eq!(bytes[..8], [0x20, 0, 0, 0, 0, 0, 0, 0], "BPF_LD|BPF_W|BPF_ABS of the number");
        assert!(from_bytes(&bytes[1..]).is_none());
    }

    #[test]
    fn no_filter_is_a_short_program() {
        assert!(compile(&policy("", 252), OnDenied::Notify).len() < 12);
    }
}
