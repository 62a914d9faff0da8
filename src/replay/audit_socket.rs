//! The kernel's audit records as they come: NETLINK_AUDIT, multicast group AUDIT_NLGRP_READLOG (linux/audit.h).
//! A process whose call was only logged lives on, so that its control group can be asked at once.

use super::ReplayError;
use super::audit_status::{AuditStatus, NETLINK_AUDIT};
use crate::evidence::{Denial, Effect, Source, Untrusted, record};
use crate::seccomp;
use crate::syscalls::Call;
use netlink_packet_core::NetlinkBuffer;
use netlink_sys::{Socket, SocketAddr};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{setsockopt, sockopt};
use std::collections::HashMap;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// AUDIT_NLGRP_READLOG of linux/audit.h.
const READLOG: u32 = 1;
/// AUDIT_SECCOMP of linux/audit.h.
const SECCOMP: u16 = 1326;
/// What the kernel may queue for this reader: some 500,000 records.
const BUFFER: usize = 128 << 20;
/// Different sounds that are kept apart; a service that makes more is flooding.
const SOUNDS_MAX: usize = 20_000;
/// So many records of one call by one program are a flood: it is known by then.
const FLOOD: u64 = 2_000;
/// For so long, a process with this ID and name is taken for the same, so that a flood costs no look at `/proc` each.
const SAME_PROCESS: Duration = Duration::from_millis(250);
/// From so many records on, the kernel has processes wait that make more (`audit_backlog_limit` of kernel/audit.c).
const BACKLOG: u64 = 64;
/// After such a flood, a silence as long as this may be processes that wait for nothing; see [`Waker`].
const SILENCE: Duration = Duration::from_millis(200);
/// So often in a row they are woken, each time after twice the silence: for the minute that the kernel has them wait.
const NUDGES: u32 = 9;
/// How long a record of one's own may take to arrive.
const ECHO_LIMIT: Duration = Duration::from_secs(2);

/// The name of the threads that make a record to wake others.
const NUDGE: &str = "unitfix-wakes";

/// What was heard on the socket.
#[derive(Clone, Debug, Default)]
pub struct Heard {
    /// The records, equal ones once.
    pub sounds: Vec<Sound>,
    /// The kernel, or this reader, dropped some.
    pub lossy: bool,
}

/// A record and what `/proc` said of its process when it came.
#[derive(Clone, Debug)]
pub struct Sound {
    /// The call.
    pub denial: Denial,
    /// The control group of the process; nothing where it was gone already.
    pub cgroup: Option<String>,
    /// How often it was heard.
    pub count: u64,
    /// When last, in microseconds since the epoch.
    pub last: Option<u64>,
}

impl Sound {
    fn again(&mut self, time: Option<u64>) {
        self.count += 1;
        self.last = self.last.max(time);
    }
}

/// The kernel's records carry the time of its last tick, which is at most so much earlier than their event
/// (`ktime_get_coarse_real_ts64()` in kernel/audit.c, at 100 ticks a second), and no more than milliseconds of it.
const TICK_US: u64 = 11_000;

impl Heard {
    /// Only what happened from this time on, in microseconds since the epoch.
    #[must_use]
    pub fn since(mut self, time: u64) -> Self {
        self.sounds.retain(|sound| sound.denial.time.is_none_or(|at| at + TICK_US >= time));
        self
    }
}

/// An open audit socket with a thread that reads it.
pub struct AuditSocket {
    shared: Arc<Shared>,
    /// What the kernel had lost before.
    before: Option<AuditStatus>,
    reader: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    ended: AtomicBool,
    heard: Mutex<Heard>,
    /// How often it was taken.
    taken: AtomicU32,
    /// Rung at every record.
    bell: Condvar,
}

impl AuditSocket {
    /// Open the socket and begin to listen.
    pub fn open(proc_root: &Path) -> Result<Self, ReplayError> {
        let failed = |what: &str, error: std::io::Error| ReplayError::NoAudit(format!("{what}: {error}"));
        let mut socket = Socket::new(NETLINK_AUDIT).map_err(|e| failed("audit socket", e))?;
        socket.bind_auto().map_err(|e| failed("audit socket", e))?;
        // group membership needs CAP_AUDIT_READ
        socket.add_membership(READLOG).map_err(|e| failed("listening to audit records", e))?;
        let _ = setsockopt(&socket, sockopt::RcvBufForce, &BUFFER); // a smaller one is only lossier
        socket.set_non_blocking(true).map_err(|e| failed("audit socket", e))?;
        let shared = Arc::new(Shared::default());
        let reader = Reader {
            socket,
            proc_root: proc_root.to_owned(),
            shared: Arc::clone(&shared),
            seen: HashMap::new(),
            recent: HashMap::new(),
            recent_since: Instant::now(),
            waker: Waker::default(),
            taken: 0,
        };
        let before = AuditStatus::get();
        Ok(AuditSocket { shared, before, reader: Some(std::thread::spawn(move || reader.run())) })
    }

    /// Open the socket, and see that records arrive.
    pub fn listen(proc_root: &Path) -> Result<Self, ReplayError> {
        let mut socket = Self::open(proc_root)?;
        socket.check(proc_root)?;
        Ok(socket)
    }

    /// Whether records arrive at all: make one, and wait for it.
    pub fn check(&mut self, proc_root: &Path) -> Result<(), ReplayError> {
        match self.echo() {
            Some(pid) if pid == std::process::id() || proc_root != Path::new("/proc") => return Ok(()),
            Some(_) => {
                let why = "the kernel counts processes in another PID namespace (UNITFIX_PROC_ROOT names its /proc)";
                return Err(ReplayError::NoAudit(why.to_owned()));
            }
            None => {}
        }
        let why =
            "a call that was logged for a test left no record (audit=0, or not in the initial namespaces)";
        Err(ReplayError::NoAudit(why.to_owned()))
    }

    /// The calls with which processes of some control groups flood the kernel's audit, and how often they made them.
    #[must_use]
    pub fn floods(&self, owned: impl Fn(&str) -> bool) -> Vec<(Call, u64)> {
        let heard = self.shared.heard.lock().unwrap_or_else(PoisonError::into_inner);
        let loud = heard.sounds.iter().filter(|sound| sound.count >= FLOOD);
        let ours = loud.filter(|sound| sound.cgroup.as_deref().is_some_and(&owned));
        ours.map(|sound| (sound.denial.call, sound.count)).collect()
    }

    /// What was heard until now, which is then forgotten here: for who listens so long that it would be too much.
    #[must_use]
    pub fn take(&self) -> Heard {
        let mut heard = self.shared.heard.lock().unwrap_or_else(PoisonError::into_inner);
        self.shared.taken.fetch_add(1, Ordering::Relaxed); // the reader looks while it holds the lock
        std::mem::take(&mut *heard)
    }

    /// Everything heard until now: waits for a record of its own behind all others, then ends the thread.
    pub fn close(mut self) -> Heard {
        let complete = self.echo().is_some();
        self.end();
        let mut heard = self.shared.heard.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let now = self.before.and_then(|before| AuditStatus::get()?.lost_since(before));
        heard.lossy |= !complete || now.is_some_and(|lost| lost > 0);
        heard
    }

    fn end(&mut self) {
        self.shared.ended.store(true, Ordering::Relaxed);
        if let Some(reader) = self.reader.take() {
            let _ = reader.join(); // it does not panic, and if it did there is nothing left to save
        }
    }

    /// Make a record of one's own, and wait until it comes back: with this process's ID as the kernel counts.
    fn echo(&self) -> Option<u32> {
        static COUNTER: AtomicU32 = AtomicU32::new(0);
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        let token = format!("ufx{:x}.{number:x}", std::process::id()); // at most 15 bytes: TASK_COMM_LEN
        if seccomp::log_one_call(&token).is_err() {
            return None;
        }
        let deadline = Instant::now() + ECHO_LIMIT;
        let arrived = |heard: &Heard| {
            let own = heard.sounds.iter().find(|s| s.denial.process.comm.bytes() == token.as_bytes());
            own.map(|s| s.denial.process.pid)
        };
        let mut heard = self.shared.heard.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(pid) = arrived(&heard) {
                return Some(pid);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return None;
            }
            heard = self.shared.bell.wait_timeout(heard, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl Drop for AuditSocket {
    fn drop(&mut self) {
        self.end();
    }
}

/// What makes two records the same sound.
type Key = (Call, Effect, (Untrusted, Option<Untrusted>, Option<String>));

struct Reader {
    socket: Socket,
    proc_root: PathBuf,
    shared: Arc<Shared>,
    /// Which of the sounds it is.
    seen: HashMap<Key, usize>,
    /// The same by process.
    recent: HashMap<(u32, Call, Effect, Untrusted), usize>,
    recent_since: Instant,
    waker: Waker,
    /// How often the sounds were taken that these two know.
    taken: u32,
}

/// Wakes processes that the kernel holds up for no reason. While its backlog is full it lets one that makes a record wait
/// for up to a minute (`audit_log_start()` in kernel/audit.c), and wakes one more for each record that it hands on. If
/// the last was handed on just as another began to wait, all of them wait and nobody wakes them: but for one more record.
#[derive(Default)]
struct Waker {
    /// How many records came since it was last sure that nobody waits: whether it is a flood.
    heard: u64,
    /// When the last one came.
    last: Option<Instant>,
    nudges: u32,
}

impl Waker {
    fn heard(&mut self, own: bool) {
        self.last = Some(Instant::now());
        if !own {
            self.heard += 1;
            self.nudges = 0;
        }
    }

    /// Nothing came for a moment: make a record, if that is suspicious.
    fn silence(&mut self) {
        let silence = SILENCE * 2_u32.pow(self.nudges);
        let silent = self.last.is_some_and(|last| last.elapsed() >= silence);
        if silent && self.nudges == NUDGES {
            *self = Waker::default(); // the flood has simply ended
        } else if silent && self.heard >= BACKLOG {
            self.nudges += 1;
            self.last = Some(Instant::now());
            // on a thread of its own, because it may have to wait as well
            let _ = std::thread::Builder::new().spawn(|| seccomp::log_one_call(NUDGE));
        }
    }
}

impl Reader {
    fn run(mut self) {
        // a process may end right after its call: the sooner this runs, the sooner its control group is read
        let _ = seccomp::kernel::hurry(); // without, more often than not it is still soon enough
        let mut buffer: Vec<u8> = Vec::with_capacity(64 * 1024);
        while !self.shared.ended.load(Ordering::Relaxed) {
            let mut ready = [PollFd::new(self.socket.as_fd(), PollFlags::POLLIN)];
            if !matches!(poll(&mut ready, PollTimeout::from(50u8)), Ok(n) if n > 0) {
                self.waker.silence();
                continue;
            }
            buffer.clear();
            match self.socket.recv_from(&mut buffer, 0) {
                Ok((_, from)) if is_kernel(&from) => self.message(&buffer),
                Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => self.lost(),
                _ => {} // somebody else's message, or nothing there after all
            }
        }
    }

    fn lost(&self) {
        self.shared.heard.lock().unwrap_or_else(PoisonError::into_inner).lossy = true;
    }

    /// The sounds are locked: forget those that were taken.
    fn forget_what_was_taken(&mut self) {
        let taken = self.shared.taken.load(Ordering::Relaxed);
        if taken != self.taken {
            self.taken = taken;
            self.seen.clear();
            self.recent.clear();
        }
    }

    fn message(&mut self, bytes: &[u8]) {
        let Ok(message) = NetlinkBuffer::new_checked(bytes) else { return };
        if message.message_type() != SECCOMP {
            return;
        }
        // the kernel leaves the length of its audit records without their header: take all that came
        let payload = bytes.get(16..).unwrap_or_default();
        let Ok(Some(record)) = record::parse(payload) else { return };
        let Some(mut denial) = record.denial(Source::AuditSocket) else { return };
        self.waker.heard(denial.process.comm.bytes() == NUDGE.as_bytes());
        if self.recent_since.elapsed() > SAME_PROCESS {
            self.recent.clear();
            self.recent_since = Instant::now();
        }
        let process = &denial.process;
        let same = (process.pid, denial.call, denial.effect, process.comm.clone());
        let shared = Arc::clone(&self.shared);
        let lock = || shared.heard.lock().unwrap_or_else(PoisonError::into_inner);
        let mut heard = lock();
        self.forget_what_was_taken();
        if let Some(sound) = self.recent.get(&same).and_then(|sound| heard.sounds.get_mut(*sound)) {
            return sound.again(denial.time);
        }
        drop(heard); // nobody waits for files
        let folder = self.proc_root.join(process.pid.to_string());
        let cgroup = control_group(&folder);
        let who = (process.comm.clone(), process.exe.clone(), cgroup.clone());
        let key = (denial.call, denial.effect, who);
        heard = lock();
        self.forget_what_was_taken();
        if let Some(at) = self.seen.get(&key).copied()
            && let Some(sound) = heard.sounds.get_mut(at)
        {
            self.recent.insert(same, at);
            return sound.again(denial.time);
        }
        if self.seen.len() >= SOUNDS_MAX {
            heard.lossy = true;
            return;
        }
        denial.process.parent = cgroup.as_deref().and_then(|own| parent(&folder, &self.proc_root, own));
        self.seen.insert(key, heard.sounds.len());
        self.recent.insert(same, heard.sounds.len());
        let last = denial.time;
        heard.sounds.push(Sound { denial, cgroup, count: 1, last });
        self.shared.bell.notify_all();
    }
}

/// Only the kernel has the netlink address 0.
fn is_kernel(from: &SocketAddr) -> bool {
    from.port_number() == 0
}

/// The path of a process in the unified hierarchy, or in systemd's own one of cgroup v1.
pub(super) fn control_group(process: &Path) -> Option<String> {
    let text = std::fs::read_to_string(process.join("cgroup")).ok()?;
    let of = |start: &str| text.lines().find_map(|line| line.strip_prefix(start)).filter(|path| *path != "/");
    // the order matters where both exist: with cgroup v1, systemd puts processes into its named hierarchy
    let named = text.lines().find_map(|line| line.split_once(":name=systemd:")).map(|(_, path)| path);
    // of a zombie, whose group was removed after it (Documentation/admin-guide/cgroup-v2.rst, "Processes")
    let path = of("0::").or(named)?;
    Some(path.strip_suffix(" (deleted)").unwrap_or(path).to_owned())
}

/// The name of a process's parent, if that is in the same control group: else it is the manager.
fn parent(process: &Path, proc_root: &Path, cgroup: &str) -> Option<Untrusted> {
    let status = std::fs::read(process.join("status")).ok()?;
    let line = status.split(|b| *b == b'\n').find_map(|l| l.strip_prefix(b"PPid:"))?;
    let pid: u32 = std::str::from_utf8(line).ok()?.trim().parse().ok().filter(|pid| *pid != 0)?;
    let folder = proc_root.join(pid.to_string());
    let comm = std::fs::read(folder.join("comm"))
        .ok()
        .filter(|_| control_group(&folder).as_deref() == Some(cgroup))?;
    Some(Untrusted::new(comm.strip_suffix(b"\n").unwrap_or(&comm)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_silence_after_a_flood_is_suspicious_and_not_for_ever() {
        let long_ago = Instant::now().checked_sub(2 * SILENCE);
        let mut waker = Waker { last: long_ago, ..Waker::default() };
        waker.silence();
        assert_eq!(waker.nudges, 0, "one record is no flood");
        waker.heard = BACKLOG;
        for expected in (1..=NUDGES).chain([0, 0]) {
            waker.last = Instant::now().checked_sub(2 * SILENCE * 2_u32.pow(waker.nudges));
            waker.silence();
            waker.heard(true);
            assert_eq!(waker.nudges, expected);
        }
        for _ in 0..BACKLOG {
            waker.heard(false);
        }
        waker.silence();
        assert_eq!(waker.nudges, 0, "something came just now");
    }

    #[test]
    fn the_control_group_of_a_process() {
        let folder = tempfile::tempdir().unwrap();
        let read = |text: &str| {
            std::fs::write(folder.path().join("cgroup"), text).unwrap();
            control_group(folder.path())
        };
        let unit = Some("/system.slice/v.service".to_owned());
        assert_eq!(read("0::/system.slice/v.service\n"), unit);
        // a zombie, whose unit has ended
        assert_eq!(read("0::/system.slice/v.service (deleted)\n"), unit);
        assert_eq!(read("5:devices:/\n1:name=systemd:/system.slice/v.service\n0::/\n"), unit);
        assert_eq!(read("0::/\n"), None);
        assert_eq!(control_group(Path::new("/nonexistent")), None);
    }
}
