//! System calls: architectures, names, numbers and groups.

mod arch;
mod groups;
mod multiplexed;

pub use arch::Arch;
pub use groups::{GroupError, Groups, Origin, RULES_OF};

use std::fmt;

/// A system call of an architecture, as seccomp sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Call {
    /// The architecture that the calling code was compiled for.
    pub arch: Arch,
    /// The number on that architecture. For x32, without the bit that marks it.
    pub number: u32,
}

impl Call {
    /// From the words of a seccomp record: `AUDIT_ARCH_*` and the number as the kernel reports it.
    #[must_use]
    pub fn from_record(audit_arch: u32, number: u32) -> Option<Self> {
        match Arch::from_audit(audit_arch)? {
            // x32 calls come under the x86-64 architecture with bit 30 set (asm/unistd.h, __X32_SYSCALL_BIT);
            // for libseccomp all numbers from that bit on are x32 but -1, which a tracer sets to skip a call
            Arch::X86_64 if number >= arch::X32_BIT && number != u32::MAX => {
                Some(Call { arch: Arch::X32, number: number & !arch::X32_BIT })
            }
            arch => Some(Call { arch, number }),
        }
    }

    /// The call's name, if its number has one.
    #[must_use]
    pub fn name(self) -> Option<&'static str> {
        self.arch.name(self.number)
    }
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "number {}", self.number),
        }
    }
}
