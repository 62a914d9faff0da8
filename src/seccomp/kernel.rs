//! The kernel calls of seccomp and of starting a program under it that no safe crate carries.
//!
//! This is the one module with `unsafe` in it. Each function wraps one system call, keeps nothing, and can be
//! checked by itself: seccomp(2), seccomp_unotify(2), execve(2), close_range(2), sched_setscheduler(2), signal(2).
#![allow(unsafe_code)]

use crate::replay::Exit;
use libc::{c_char, c_int, c_long, c_uint, c_ulong, seccomp_notif, seccomp_notif_resp, sock_filter};
use nix::errno::Errno;
use std::ffi::CString;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr;

/// `SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP` (linux/seccomp.h, from Linux 6.6 on): the supervisor is woken on the
/// caller's processor, which makes a notification nine times as fast.
const SYNC_WAKE_UP: c_ulong = 1;

/// Put a filter on the calling thread. It needs CAP_SYS_ADMIN or no_new_privs. Other threads stay as they are.
///
/// The kernel makes the listener close-on-exec. A caught signal does not interrupt a call whose notification was
/// received, where the kernel can do that (5.19): Go's preemption would otherwise restart calls without end.
pub fn install_with_listener(program: &[sock_filter]) -> Result<OwnedFd, Errno> {
    let listener = libc::SECCOMP_FILTER_FLAG_NEW_LISTENER;
    let fd = match install(program, listener | libc::SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV) {
        Err(Errno::EINVAL) => install(program, listener)?,
        other => other?,
    };
    // SAFETY: with NEW_LISTENER a success is a new descriptor that nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Put a filter on the calling thread, without a listener. It needs CAP_SYS_ADMIN or no_new_privs.
pub fn install_filter(program: &[sock_filter]) -> Result<(), Errno> {
    install(program, 0).map(drop)
}

fn install(program: &[sock_filter], flags: c_ulong) -> Result<c_int, Errno> {
    let length = u16::try_from(program.len()).map_err(|_| Errno::E2BIG)?;
    let program = libc::sock_fprog { len: length, filter: program.as_ptr().cast_mut() };
    // SAFETY: the kernel reads `len` instructions from `filter` and writes nothing; both outlive the call.
    let result = unsafe {
        libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flags, ptr::from_ref(&program))
    };
    descriptor(result)
}

fn descriptor(result: c_long) -> Result<c_int, Errno> {
    Errno::result(result).and_then(|fd| c_int::try_from(fd).map_err(|_| Errno::EOVERFLOW))
}

/// A forbidden call that waits for an answer.
#[derive(Clone, Copy, Debug)]
pub struct Notification {
    /// The kernel's name for it.
    pub id: u64,
    /// The thread that called, in the PID namespace of the listener's holder.
    pub thread: u32,
    /// `AUDIT_ARCH_*`.
    pub arch: u32,
    /// The number, with the x32 bit.
    pub number: u32,
    /// The arguments, as registers.
    pub arguments: [u64; 6],
}

/// The end of a filter at which its notifications arrive.
#[derive(Debug)]
pub struct Listener {
    fd: OwnedFd,
    /// The size in 64-bit words of the kernel's `struct seccomp_notif`, which may be longer than ours.
    words: usize,
}

impl Listener {
    /// Take over the descriptor of a listener.
    pub fn new(fd: OwnedFd) -> Result<Self, Errno> {
        let mut sizes =
            libc::seccomp_notif_sizes { seccomp_notif: 0, seccomp_notif_resp: 0, seccomp_data: 0 };
        // SAFETY: the kernel writes one `struct seccomp_notif_sizes` to the place given.
        let result = unsafe {
            libc::syscall(libc::SYS_seccomp, libc::SECCOMP_GET_NOTIF_SIZES, 0, ptr::from_mut(&mut sizes))
        };
        Errno::result(result)?;
        let bytes = usize::from(sizes.seccomp_notif).max(size_of::<seccomp_notif>());
        // SAFETY: this request takes its argument by value. Kernels that do not know it refuse, and are slower.
        let _slower =
            unsafe { libc::ioctl(fd.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_SET_FLAGS, SYNC_WAKE_UP) };
        Ok(Listener { fd, words: bytes.div_ceil(size_of::<u64>()) })
    }

    /// The next notification. Call it when poll(2) says that there is one: else it waits.
    /// ENOENT: the caller died before it could be received.
    pub fn receive(&self) -> Result<Notification, Errno> {
        // the kernel insists on zeroes
        let mut buffer = vec![0_u64; self.words];
        // SAFETY: the kernel writes one `struct seccomp_notif` of its own size, for which the buffer has room; it is
        // aligned as the structure is.
        let result =
            unsafe { libc::ioctl(self.fd.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_RECV, buffer.as_mut_ptr()) };
        Errno::result(result)?;
        // SAFETY: the buffer is aligned, at least as long as the structure, and every bit pattern is a valid one.
        let raw = unsafe { ptr::read(buffer.as_ptr().cast::<seccomp_notif>()) };
        let number = raw.data.nr.cast_unsigned();
        let (arch, arguments) = (raw.data.arch, raw.data.args);
        Ok(Notification { id: raw.id, thread: raw.pid, arch, number, arguments })
    }

    /// Let the call run. ENOENT: the caller is gone.
    pub fn proceed(&self, id: u64) -> Result<(), Errno> {
        let flags = u32::try_from(libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE).unwrap_or(1);
        self.send(&mut seccomp_notif_resp { id, val: 0, error: 0, flags })
    }

    /// Let the call fail with this errno; 0 makes it succeed without having run. ENOENT: the caller is gone.
    pub fn fail(&self, id: u64, errno: u16) -> Result<(), Errno> {
        self.send(&mut seccomp_notif_resp { id, val: 0, error: -i32::from(errno), flags: 0 })
    }

    fn send(&self, response: &mut seccomp_notif_resp) -> Result<(), Errno> {
        // SAFETY: the kernel reads one `struct seccomp_notif_resp`, which has not grown since it exists.
        let result = unsafe {
            libc::ioctl(self.fd.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_SEND, ptr::from_mut(response))
        };
        Errno::result(result).map(drop)
    }

    /// Whether the caller still waits; then what was read of its thread meanwhile was really its own.
    pub fn waits(&self, id: u64) -> bool {
        // SAFETY: the kernel reads one 64-bit number.
        unsafe {
            libc::ioctl(self.fd.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_ID_VALID, ptr::from_ref(&id)) == 0
        }
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// `struct pidfd_info` as it was when it came (linux/pidfd.h, PIDFD_INFO_SIZE_VER0).
#[repr(C)]
#[derive(Default)]
struct PidfdInfo {
    mask: u64,
    cgroup: u64,
    ids: [u32; 11],
    exit_code: i32,
}

/// `PIDFD_GET_INFO`: `_IOWR(0xFF, 11, struct pidfd_info)` of 64 bytes.
const PIDFD_GET_INFO: c_ulong = 0xc040_ff0b;
/// `PIDFD_INFO_EXIT`, from Linux 6.15 on.
const PIDFD_INFO_EXIT: u64 = 1 << 3;

/// How a process ended that somebody else has waited for; nothing: it did not yet, or this kernel does not tell.
#[must_use]
pub fn exit_of(process: &OwnedFd) -> Option<Exit> {
    let mut info = PidfdInfo { mask: PIDFD_INFO_EXIT, ..PidfdInfo::default() };
    // SAFETY: the kernel writes at most the 64 bytes that the request says, which are those of the structure.
    let result = unsafe { libc::ioctl(process.as_raw_fd(), PIDFD_GET_INFO, ptr::from_mut(&mut info)) };
    if Errno::result(result).is_err() || info.mask & PIDFD_INFO_EXIT == 0 {
        return None;
    }
    let status = info.exit_code;
    Some(match status & 0x7f {
        0 => Exit::Status(status >> 8 & 0xff),
        signal => Exit::Signal(signal),
    })
}

/// The number of no system call, on any architecture: a filter can still raise a notification of it.
pub const GREETING: u32 = 0x0075_6678;

/// The first argument of [`greet`], "unitfix" in ASCII.
pub const GREETING_WORD: u64 = 0x0078_6966_7469_6e75;

/// Wait until whoever listens to this thread's filter says that it does. ENOSYS: the filter raises no notification.
pub fn greet() -> Result<(), Errno> {
    // SAFETY: there is no such system call; all that can come back is an answer.
    Errno::result(unsafe { libc::syscall(c_long::from(GREETING), GREETING_WORD) }).map(drop)
}

/// Every descriptor from this one on closes at exec: what a careless parent left open must not reach the program.
pub fn close_on_exec_from(first: c_uint) -> Result<(), Errno> {
    // SAFETY: takes numbers; sets a flag on descriptors and closes none.
    let result =
        unsafe { libc::syscall(libc::SYS_close_range, first, c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC) };
    Errno::result(result).map(drop)
}

/// Give every signal its default disposition, but SIGPIPE where it shall be ignored.
pub fn reset_signals(ignore_pipe: bool) {
    for signal in 1..=libc::SIGRTMAX() {
        let ignored = ignore_pipe && signal == libc::SIGPIPE;
        let handler = if ignored { libc::SIG_IGN } else { libc::SIG_DFL };
        // SAFETY: neither disposition runs any code of ours. The few signals that refuse are left alone.
        unsafe { libc::signal(signal, handler) };
    }
}

/// Have the calling thread run before all ordinary ones (SCHED_FIFO, lowest priority; sched(7)). Needs CAP_SYS_NICE.
pub fn hurry() -> Result<(), Errno> {
    let parameter = libc::sched_param { sched_priority: 1 };
    // SAFETY: the kernel reads one `struct sched_param`; 0 is the calling thread.
    Errno::result(unsafe { libc::sched_setscheduler(0, libc::SCHED_FIFO, ptr::from_ref(&parameter)) })
        .map(drop)
}

/// A program ready to be executed: all memory that execve(2) needs is laid out before, because under a filter not
/// even memory may be asked for.
#[derive(Debug)]
pub struct Program {
    path: CString,
    /// Point into the strings below, and end with null.
    argv: Vec<*const c_char>,
    envp: Vec<*const c_char>,
    _strings: [Vec<CString>; 2],
}

impl Program {
    /// Prepare it.
    #[must_use]
    pub fn new(path: CString, arguments: Vec<CString>, environment: Vec<CString>) -> Self {
        // the bytes of a CString stay where they are when the vector that holds it moves
        let pointers =
            |strings: &[CString]| strings.iter().map(|s| s.as_ptr()).chain([ptr::null()]).collect::<Vec<_>>();
        let (argv, envp) = (pointers(&arguments), pointers(&environment));
        Program { path, argv, envp, _strings: [arguments, environment] }
    }

    /// Execute it in the place of this process. Comes back only if that failed.
    pub fn execute(&self) -> Errno {
        // SAFETY: both arrays end with null, and each pointer leads to a string that `self` owns.
        unsafe { libc::execve(self.path.as_ptr(), self.argv.as_ptr(), self.envp.as_ptr()) };
        Errno::last()
    }
}
