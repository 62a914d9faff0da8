//! What the kernel's audit says of itself (AUDIT_GET of linux/audit.h): whether it lost records before anybody could
//! read them.

use netlink_sys::Socket;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::io;
use std::os::fd::AsFd;

/// NETLINK_AUDIT of linux/netlink.h.
pub(super) const NETLINK_AUDIT: isize = 9;
/// AUDIT_GET of linux/audit.h, which is asked for and answered with.
const AUDIT_GET: u16 = 1000;
/// NLM_F_REQUEST of linux/netlink.h.
const REQUEST: u16 = 1;
/// The length of a `struct nlmsghdr`.
const HEADER: usize = 16;

/// The fields of `struct audit_status` that tell of losses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct AuditStatus {
    enabled: bool,
    /// auditd's process ID; 0: there is none.
    auditd: u32,
    /// Records that were lost since boot.
    lost: u32,
}

impl AuditStatus {
    /// Ask. Nothing, where it does not answer: it does so only with CAP_AUDIT_CONTROL, in the initial PID namespace
    /// (`audit_netlink_ok()` in kernel/audit.c).
    pub(super) fn get() -> Option<Self> {
        let ask = || -> io::Result<Vec<u8>> {
            let mut socket = Socket::new(NETLINK_AUDIT)?;
            socket.bind_auto()?;
            socket.set_non_blocking(true)?;
            let length = u32::try_from(HEADER).unwrap_or_default().to_ne_bytes();
            let (kind, flags) = (AUDIT_GET.to_ne_bytes(), REQUEST.to_ne_bytes());
            let request = [&length[..], &kind, &flags, &1_u32.to_ne_bytes(), &0_u32.to_ne_bytes()].concat();
            socket.send(&request, 0)?;
            let mut ready = [PollFd::new(socket.as_fd(), PollFlags::POLLIN)];
            poll(&mut ready, PollTimeout::from(250_u8))?;
            let mut answer = Vec::with_capacity(1024);
            socket.recv(&mut answer, 0)?;
            Ok(answer)
        };
        Self::parse(&ask().ok()?)
    }

    fn parse(answer: &[u8]) -> Option<Self> {
        let kind = answer.get(4..6).and_then(|bytes| Some(u16::from_ne_bytes(bytes.try_into().ok()?)));
        let field = |at: usize| {
            let bytes = answer.get(HEADER + 4 * at..)?.get(..4)?;
            Some(u32::from_ne_bytes(bytes.try_into().ok()?))
        };
        (kind? == AUDIT_GET).then_some(())?;
        Some(AuditStatus { enabled: field(1)? != 0, auditd: field(3)?, lost: field(6)? })
    }

    /// How many records were lost since an earlier answer. Nothing, where that cannot be told: enabled without an
    /// auditd, the kernel counts those as lost that nobody but listeners like this process took
    /// (`kauditd_hold_skb()`).
    pub(super) fn lost_since(self, earlier: Self) -> Option<u32> {
        let counts_all = self.enabled && self.auditd == 0;
        (!counts_all).then(|| self.lost.wrapping_sub(earlier.lost))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What Linux 6.x answered, without auditd.
    #[test]
    fn an_answer_is_read() {
        let words: [u32; 15] = [60, 1000, 1, 20024, 0, 0, 1, 0, 0, 64, 3, 0, 127, 15000, 32];
        let answer: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
        let status = AuditStatus::parse(&answer).unwrap();
        assert_eq!(status, AuditStatus { enabled: false, auditd: 0, lost: 3 });
        assert_eq!(status.lost_since(AuditStatus { lost: 1, ..status }), Some(2));
        assert_eq!(AuditStatus { enabled: true, ..status }.lost_since(status), None);
        assert_eq!(AuditStatus { enabled: true, auditd: 1, ..status }.lost_since(status), Some(0));
        assert_eq!(AuditStatus::parse(&answer[..40]), None);
        assert_eq!(AuditStatus::parse(&[]), None);
    }
}
