//! Architectures as the kernel's audit records, systemd and seccomp call them.

use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::str::FromStr;
use std::sync::OnceLock;
use syscalls::{aarch64, arm, riscv64, x86, x86_64};

/// Set in the number of an x32 call (asm/unistd.h, `__X32_SYSCALL_BIT`).
pub(super) const X32_BIT: u32 = 0x4000_0000;

/// An architecture of system calls. The names are systemd's (`SystemCallArchitectures=` in systemd.exec(5)).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub enum Arch {
    /// 64-bit x86.
    #[serde(rename = "x86-64")]
    X86_64,
    /// x86-64 with 32-bit pointers.
    #[serde(rename = "x32")]
    X32,
    /// 32-bit x86.
    #[serde(rename = "x86")]
    X86,
    /// 64-bit ARM.
    #[serde(rename = "arm64")]
    Arm64,
    /// 32-bit ARM.
    #[serde(rename = "arm")]
    Arm,
    /// 64-bit RISC-V.
    #[serde(rename = "riscv64")]
    Riscv64,
}

impl Arch {
    /// Every architecture that unitfix knows.
    pub const ALL: [Arch; 6] = [Arch::X86_64, Arch::X32, Arch::X86, Arch::Arm64, Arch::Arm, Arch::Riscv64];

    /// The architecture that unitfix was built for, which is the system's own.
    #[must_use]
    pub const fn native() -> Arch {
        if cfg!(target_arch = "aarch64") {
            Arch::Arm64
        } else if cfg!(target_arch = "riscv64") {
            Arch::Riscv64
        } else if cfg!(target_arch = "arm") {
            Arch::Arm
        } else if cfg!(target_arch = "x86") {
            Arch::X86
        } else {
            Arch::X86_64
        }
    }

    /// The architectures whose calls a kernel of the native one accepts.
    #[must_use]
    pub fn of_this_kernel() -> &'static [Arch] {
        match Arch::native() {
            Arch::X86_64 | Arch::X32 => &[Arch::X86_64, Arch::X32, Arch::X86],
            Arch::Arm64 => &[Arch::Arm64, Arch::Arm],
            Arch::X86 => &[Arch::X86],
            Arch::Arm => &[Arch::Arm],
            Arch::Riscv64 => &[Arch::Riscv64],
        }
    }

    /// `AUDIT_ARCH_*` of linux/audit.h, the `arch=` of a record and the `arch` of `struct seccomp_data`.
    #[must_use]
    pub const fn audit(self) -> u32 {
        match self {
            Arch::X86_64 | Arch::X32 => 0xc000_003e,
            Arch::X86 => 0x4000_0003,
            Arch::Arm64 => 0xc000_00b7,
            Arch::Arm => 0x4000_0028,
            Arch::Riscv64 => 0xc000_00f3,
        }
    }

    /// The architecture of an `AUDIT_ARCH_*`; x32 cannot be told from x86-64 by it.
    #[must_use]
    pub fn from_audit(value: u32) -> Option<Arch> {
        Arch::ALL.into_iter().find(|a| a.audit() == value)
    }

    /// Whether its registers, as seccomp filters compare them, have 64 bits.
    #[must_use]
    pub const fn is_64_bit(self) -> bool {
        matches!(self, Arch::X86_64 | Arch::Arm64 | Arch::Riscv64)
    }

    /// systemd's name.
    #[must_use]
    pub const fn systemd_name(self) -> &'static str {
        match self {
            Arch::X86_64 => "x86-64",
            Arch::X32 => "x32",
            Arch::X86 => "x86",
            Arch::Arm64 => "arm64",
            Arch::Arm => "arm",
            Arch::Riscv64 => "riscv64",
        }
    }

    /// The architecture of a name in `SystemCallArchitectures=`.
    #[must_use]
    pub fn from_systemd_name(name: &str) -> Option<Arch> {
        match name {
            "native" => Some(Arch::native()),
            name => Arch::ALL.into_iter().find(|a| a.systemd_name() == name),
        }
    }

    /// The name of a call's number.
    #[must_use]
    pub fn name(self, number: u32) -> Option<&'static str> {
        let id = usize::try_from(number).ok()?;
        let name = match self {
            Arch::X86_64 => x86_64::Sysno::new(id).map(|s| s.name()),
            // from 512 on x32 has numbers of its own for calls whose structures differ (syscall_64.tbl, "x32")
            Arch::X32 if number < 512 => {
                x86_64::Sysno::new(id).map(|s| s.name()).filter(|name| !not_of_x32(name))
            }
            Arch::X32 => X32_OWN.get(id - 512).copied(),
            Arch::X86 => x86::Sysno::new(id).map(|s| s.name()),
            Arch::Arm64 => aarch64::Sysno::new(id).map(|s| s.name()),
            Arch::Arm => arm::Sysno::new(id).map(|s| s.name()),
            Arch::Riscv64 => riscv64::Sysno::new(id).map(|s| s.name()),
        };
        // the crate's name for the call `break`, which is a word of Rust
        let newer = || NEWER.iter().find(|(_, its)| *its == number).map(|(name, _)| *name);
        name.map(|n| n.strip_prefix("r#").unwrap_or(n)).or_else(newer)
    }

    /// The number of a call's name.
    #[must_use]
    pub fn number(self, name: &str) -> Option<u32> {
        let index = INDICES[self as usize].get_or_init(|| self.index());
        index.get(name).copied().or_else(|| match self {
            // ARM's own calls are far above all others (arch/arm/include/uapi/asm/unistd.h)
            Arch::Arm => u32::try_from(arm::Sysno::from_str(name).ok()?.id()).ok(),
            _ => None,
        })
    }

    /// The numbers of all calls by their names: to look at many calls of many units, the crate's own search is slow.
    fn index(self) -> HashMap<&'static str, u32> {
        // of a call that x32 has twice, the one that is its own comes last
        (0..NUMBERS_END).filter_map(|number| Some((self.name(number)?, number))).collect()
    }
}

/// No architecture has a number from here on, but for ARM's own.
const NUMBERS_END: u32 = 1024;

/// Of each architecture, in their order.
static INDICES: [OnceLock<HashMap<&str, u32>>; Arch::ALL.len()] =
    [const { OnceLock::new() }; Arch::ALL.len()];

impl std::fmt::Display for Arch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.systemd_name())
    }
}

/// The x32 calls from 512 on, in order (arch/x86/entry/syscalls/syscall_64.tbl of Linux 6.18).
const X32_OWN: [&str; 36] = [
    "rt_sigaction",
    "rt_sigreturn",
    "ioctl",
    "readv",
    "writev",
    "recvfrom",
    "sendmsg",
    "recvmsg",
    "execve",
    "ptrace",
    "rt_sigpending",
    "rt_sigtimedwait",
    "rt_sigqueueinfo",
    "sigaltstack",
    "timer_create",
    "mq_notify",
    "kexec_load",
    "waitid",
    "set_robust_list",
    "get_robust_list",
    "vmsplice",
    "move_pages",
    "preadv",
    "pwritev",
    "rt_tgsigqueueinfo",
    "recvmmsg",
    "sendmmsg",
    "process_vm_readv",
    "process_vm_writev",
    "setsockopt",
    "getsockopt",
    "io_setup",
    "io_submit",
    "execveat",
    "preadv2",
    "pwritev2",
];

/// Calls that are newer than the tables of the crate `syscalls`. Since Linux 5.1 a new call has the same number on every
/// architecture (scripts/syscall.tbl of Linux 6.19).
const NEWER: [(&str, u32); 2] = [("listns", 470), ("rseq_slice_yield", 471)];

/// The calls that x32 does not share with x86-64 (syscall_64.tbl, "64").
fn not_of_x32(name: &str) -> bool {
    const OTHERS: [&str; 12] = [
        "_sysctl",
        "create_module",
        "epoll_ctl_old",
        "epoll_wait_old",
        "get_kernel_syms",
        "get_thread_area",
        "map_shadow_stack",
        "nfsservctl",
        "query_module",
        "set_thread_area",
        "uselib",
        "vserver",
    ];
    X32_OWN.contains(&name) || OTHERS.contains(&name)
}

#[cfg(test)]
mod tests {
    use super::super::Call;
    use super::*;

    #[test]
    fn records_of_every_architecture() {
        let named = |arch, number| Call::from_record(arch, number).map(|c| (c.arch, c.name()));
        assert_eq!(named(0xc000_003e, 160), Some((Arch::X86_64, Some("setrlimit"))));
        assert_eq!(named(0xc000_003e, X32_BIT + 160), Some((Arch::X32, Some("setrlimit"))));
        assert_eq!(named(0xc000_003e, X32_BIT + 520), Some((Arch::X32, Some("execve"))));
        assert_eq!(named(0x4000_0003, 75), Some((Arch::X86, Some("setrlimit"))));
        assert_eq!(named(0xc000_00b7, 164), Some((Arch::Arm64, Some("setrlimit"))));
        assert_eq!(named(0xc000_003e, 600), Some((Arch::X86_64, None)));
        assert_eq!(named(0x1234_5678, 1), None);
    }

    #[test]
    fn names_and_numbers_agree() {
        for arch in Arch::ALL {
            for number in 0..1024 {
                if let Some(name) = arch.name(number) {
                    let back = arch.number(name);
                    assert!(back == Some(number) || arch == Arch::X32, "{arch} {number} {name} {back:?}");
                }
            }
        }
    }
}
