//! Descriptors of processes, and those that come through a socket.

use nix::errno::Errno;
use nix::unistd::Pid;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use rustix::process::{PidfdFlags, PidfdGetfdFlags, Signal, pidfd_getfd, pidfd_open, pidfd_send_signal};
use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{OwnedFd, RawFd};
use std::os::unix::net::UnixStream;

/// Receive one byte and the descriptor that may come with it. No byte: the other end is closed.
pub fn receive_with_fd(socket: &UnixStream) -> io::Result<Option<(u8, Option<OwnedFd>)>> {
    let mut byte = [0];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut buffers = [IoSliceMut::new(&mut byte)];
    let bytes = recvmsg(socket, &mut buffers, &mut control, RecvFlags::CMSG_CLOEXEC)?.bytes;
    let mut fd = None;
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(fds) = message {
            fd = fds.last();
        }
    }
    Ok((bytes > 0).then_some((byte[0], fd)))
}

/// A descriptor that becomes readable when the process ends.
pub fn open_process(pid: Pid) -> Result<OwnedFd, Errno> {
    let pid = rustix::process::Pid::from_raw(pid.as_raw()).ok_or(Errno::ESRCH)?;
    pidfd_open(pid, PidfdFlags::empty()).map_err(errno)
}

/// A copy of a descriptor of another process, by its number there. It needs what ptrace(2) needs.
pub fn take(process: &OwnedFd, number: RawFd) -> Result<OwnedFd, Errno> {
    pidfd_getfd(process, number, PidfdGetfdFlags::empty()).map_err(errno)
}

/// End a process at once. It may be gone already.
pub fn end_process(process: &OwnedFd) {
    let _gone = pidfd_send_signal(process, Signal::KILL);
}

/// The scheduling priority of this process.
pub fn set_nice(nice: i32) -> Result<(), Errno> {
    rustix::process::setpriority_process(None, nice).map_err(errno)
}

fn errno(error: rustix::io::Errno) -> Errno {
    Errno::from_raw(error.raw_os_error())
}
