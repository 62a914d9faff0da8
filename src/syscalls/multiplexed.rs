//! The two calls of 32-bit x86 that stand for many: which one is meant, the first argument says.
//!
//! libseccomp turns a rule for `socket` into one for the call's own number and one for `socketcall` with SYS_SOCKET
//! (src/arch-x86.c). linux/net.h, linux/ipc.h.

use super::{Arch, Call};

const SOCKETCALL: [(&str, u32); 20] = [
    ("socket", 1),
    ("bind", 2),
    ("connect", 3),
    ("listen", 4),
    ("accept", 5),
    ("getsockname", 6),
    ("getpeername", 7),
    ("socketpair", 8),
    ("send", 9),
    ("recv", 10),
    ("sendto", 11),
    ("recvfrom", 12),
    ("shutdown", 13),
    ("setsockopt", 14),
    ("getsockopt", 15),
    ("sendmsg", 16),
    ("recvmsg", 17),
    ("accept4", 18),
    ("recvmmsg", 19),
    ("sendmmsg", 20),
];

const IPC: [(&str, u32); 12] = [
    ("semop", 1),
    ("semget", 2),
    ("semctl", 3),
    ("semtimedop", 4),
    ("msgsnd", 11),
    ("msgrcv", 12),
    ("msgget", 13),
    ("msgctl", 14),
    ("shmat", 21),
    ("shmdt", 22),
    ("shmget", 23),
    ("shmctl", 24),
];

impl Call {
    /// The calls that this one stands for, each with the first argument that means it; of most calls none.
    #[must_use]
    pub fn stands_for(self) -> &'static [(&'static str, u32)] {
        match (self.arch, self.name()) {
            (Arch::X86, Some("socketcall")) => &SOCKETCALL,
            (Arch::X86, Some("ipc")) => &IPC,
            _ => &[],
        }
    }
}
