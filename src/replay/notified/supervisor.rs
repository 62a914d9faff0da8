//! The supervisor: a thread that takes the listeners of a unit's filters as its commands come to their gates, and
//! answers the calls that raise notifications: it records each, and lets it continue.

use super::Own;
use crate::evidence::Effect;
use crate::policy::Policy;
use crate::replay::ControlGroups;
use crate::replay::audit_socket::control_group;
use crate::replay::local::denials::{Denials, identity, number_of};
use crate::seccomp::descriptors;
use crate::seccomp::kernel::{GREETING, GREETING_WORD, Listener, Notification};
use crate::syscalls::Call;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use nix::unistd::Pid;
use std::collections::{HashMap, HashSet};
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How soon the thread sees that it shall end.
const GLANCE: Duration = Duration::from_millis(50);
/// How soon a process is looked for that is on its way to its gate, at first; each time after twice as long.
const AT_FIRST: Duration = Duration::from_millis(1);
/// How long it may take to end. It waits only if somebody else takes the notifications that it was told of.
const END_WITHIN: Duration = Duration::from_secs(2);
/// A unit has no more filters at a time, unless it makes them itself.
const LISTENERS_MAX: usize = 1024;
/// So often a call of one thread is looked at in each [`WINDOW`]: more are a flood, which tells nothing new.
const LOOKS: u32 = 64;
const WINDOW: Duration = Duration::from_millis(250);
/// What `/proc/PID/fd/` has for the listener of a filter (`init_listener()` in kernel/seccomp.c).
const LISTENER: &str = "anon_inode:seccomp notify";
/// The manager.
const MANAGER: u32 = 1;

/// What was seen until now.
#[derive(Default)]
pub(super) struct Seen {
    pub(super) denials: Denials,
    /// How many commands went through their gates.
    pub(super) begun: u64,
    /// Why it cannot go on.
    pub(super) failed: Option<String>,
}

#[derive(Default)]
struct Shared {
    ended: AtomicBool,
    seen: Mutex<Seen>,
}

impl Shared {
    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The thread. When it is dropped nobody listens any more: calls that the filters deny fail with ENOSYS.
pub(super) struct Supervisor {
    shared: Arc<Shared>,
    blame: bool,
    finished: Receiver<()>,
}

impl Supervisor {
    /// Listen to the gates of a unit that read their filter from this file.
    pub(super) fn start(
        policy: Policy,
        groups: ControlGroups,
        filter: &Path,
        own: &Own,
        blame: bool,
    ) -> Result<Self, Errno> {
        let openings = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)?;
        openings.add_watch(filter, AddWatchFlags::IN_OPEN | AddWatchFlags::IN_CLOSE_NOWRITE)?;
        let shared = Arc::new(Shared::default());
        let (finish, finished) = channel();
        let mut listening = Listening {
            policy,
            groups,
            own: own.identity,
            openings,
            coming: 0,
            pause: GLANCE,
            taken: HashSet::new(),
            listeners: Vec::new(),
            next: 0,
            looks: HashMap::new(),
            looks_since: Instant::now(),
            shared: Arc::clone(&shared),
        };
        let supervisor = Supervisor { shared, blame, finished };
        supervisor.begin_anew(own);
        std::thread::spawn(move || {
            let _moved = finish; // hangs up when the thread ends, however it does
            listening.run();
        });
        Ok(supervisor)
    }

    /// Forget what was seen until now.
    pub(super) fn begin_anew(&self, own: &Own) {
        let denials = Denials::new(Some(own.identity), MANAGER, self.blame);
        *self.shared.seen() = Seen { denials, ..Seen::default() };
    }

    /// Why it cannot go on, if it cannot.
    pub(super) fn failure(&self) -> Option<String> {
        self.shared.seen().failed.clone()
    }

    /// End, and tell what was seen.
    pub(super) fn end(self) -> Seen {
        self.stop();
        let in_time = self
            .finished
            .recv_timeout(END_WITHIN)
            .is_err_and(|e| e == std::sync::mpsc::RecvTimeoutError::Disconnected);
        let mut seen = std::mem::take(&mut *self.shared.seen());
        seen.denials.lossy |= !in_time;
        seen
    }

    fn stop(&self) {
        self.shared.ended.store(true, Ordering::Relaxed);
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        self.stop();
    }
}

/// What the thread works with.
struct Listening {
    policy: Policy,
    groups: ControlGroups,
    /// The device and inode of unitfix's program.
    own: (u64, u64),
    /// Somebody opens the filter's file, or closes it.
    openings: Inotify,
    /// So many processes are on their way to their gates.
    coming: usize,
    /// When they are looked for next.
    pause: Duration,
    /// The processes whose listener was taken and that have not become their command yet.
    taken: HashSet<u32>,
    listeners: Vec<Listener>,
    /// The listener that is asked first, so that each has its turn.
    next: usize,
    /// How often a call of a thread was looked at lately.
    looks: HashMap<(u32, Call), u32>,
    looks_since: Instant,
    shared: Arc<Shared>,
}

impl Listening {
    fn run(&mut self) {
        while !self.shared.ended.load(Ordering::Relaxed) {
            if let Err(errno) = self.turn() {
                self.fail(format!("listening to the unit's filters: {}", errno.desc()));
                return; // the calls that wait fail now
            }
        }
    }

    fn fail(&self, why: String) {
        self.shared.seen().failed.get_or_insert(why);
    }

    /// Wait until something happens, and see to it.
    fn turn(&mut self) -> Result<(), Errno> {
        let wait = if self.coming > 0 { self.pause } else { GLANCE };
        let all = std::iter::once(self.openings.as_fd()).chain(self.listeners.iter().map(AsFd::as_fd));
        let mut fds: Vec<PollFd> = all.map(|fd| PollFd::new(fd, PollFlags::POLLIN)).collect();
        match poll(&mut fds, PollTimeout::try_from(wait).unwrap_or(PollTimeout::ZERO)) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno),
        }
        let events: Vec<PollFlags> =
            fds.iter().map(|fd| fd.revents().unwrap_or(PollFlags::empty())).collect();
        let (openings, listeners) = events.split_at(1);
        if openings.iter().any(|e| !e.is_empty()) {
            self.come_and_go()?;
        }
        // One, and then all are asked again: two descriptors may be of the same listener, and reading from one that has
        // nothing any more would not end.
        let count = listeners.len();
        let ready = |at: &usize| listeners[*at].contains(PollFlags::POLLIN);
        if let Some(at) = (0..count).map(|step| (self.next + step) % count).find(ready) {
            self.next = at + 1;
            self.serve(at)?;
        }
        // nobody is left under a filter whose listener hangs up
        let mut hung_up = listeners.iter().map(|e| *e == PollFlags::POLLHUP);
        self.listeners.retain(|_| !hung_up.next().unwrap_or(false));
        if self.coming > 0 {
            self.look_for_gates();
        }
        Ok(())
    }

    /// The filter's file was opened or closed.
    fn come_and_go(&mut self) -> Result<(), Errno> {
        let events = match self.openings.read_events() {
            Err(Errno::EAGAIN | Errno::EINTR) => return Ok(()),
            events => events?,
        };
        for event in events {
            if event.mask.contains(AddWatchFlags::IN_OPEN) {
                self.coming += 1;
                self.pause = AT_FIRST;
            } else if event.mask.contains(AddWatchFlags::IN_CLOSE_NOWRITE) {
                self.coming = self.coming.saturating_sub(1);
            }
        }
        Ok(())
    }

    /// Take the listeners of the processes that wait at their gates.
    fn look_for_gates(&mut self) {
        self.pause = (self.pause * 2).min(GLANCE);
        let at_gates: HashSet<u32> = processes().filter(|pid| self.is_gate(*pid)).collect();
        self.taken.retain(|pid| at_gates.contains(pid));
        for pid in at_gates {
            if self.taken.contains(&pid) {
                continue;
            }
            let Some(process) =
                i32::try_from(pid).ok().and_then(|p| descriptors::open_process(Pid::from_raw(p)).ok())
            else {
                continue;
            };
            // the one that is held now may be another one than the one that was looked at
            let Some(number) = self.is_gate(pid).then(|| listener_of(pid)).flatten() else { continue };
            match self.take(&process, number) {
                Ok(listener) => {
                    self.taken.insert(pid);
                    self.listeners.push(listener);
                }
                Err(Errno::ESRCH | Errno::EBADF) => {} // it is gone
                Err(errno) => {
                    self.fail(format!("the listener of a filter cannot be taken: {}", errno.desc()));
                    descriptors::end_process(&process); // it would wait for ever
                }
            }
        }
    }

    fn take(&self, process: &OwnedFd, number: RawFd) -> Result<Listener, Errno> {
        if self.listeners.len() >= LISTENERS_MAX {
            return Err(Errno::EMFILE);
        }
        let fd = descriptors::take(process, number)?;
        let link = std::fs::read_link(format!("/proc/self/fd/{}", fd.as_raw_fd()));
        if link.is_ok_and(|link| link.as_os_str() == LISTENER) {
            Listener::new(fd)
        } else {
            Err(Errno::EBADF)
        }
    }

    /// Whether a process of the unit, or a child of this one, runs unitfix's program.
    fn is_gate(&self, pid: u32) -> bool {
        let own = std::process::id();
        let ours =
            || control_group(Path::new(&format!("/proc/{pid}"))).is_some_and(|c| self.groups.include(&c));
        pid != own && self.runs_unitfix(pid) && (number_of(pid, "PPid:") == Some(own) || ours())
    }

    fn runs_unitfix(&self, pid: u32) -> bool {
        identity(&PathBuf::from(format!("/proc/{pid}/exe"))) == Some(self.own)
    }

    /// Answer one notification.
    fn serve(&mut self, at: usize) -> Result<(), Errno> {
        let notification = match self.listeners[at].receive() {
            Ok(notification) => notification,
            // the caller died, or a signal came: nothing to answer
            Err(Errno::ENOENT | Errno::EINTR) => return Ok(()),
            Err(errno) => return Err(errno),
        };
        let greeting = notification.number == GREETING
            && notification.arguments[0] == GREETING_WORD
            && self.runs_unitfix(notification.thread);
        let answered = if greeting {
            self.shared.seen().begun += 1;
            self.listeners[at].fail(notification.id, 0)
        } else {
            self.record(at, &notification);
            self.listeners[at].proceed(notification.id)
        };
        match answered {
            Ok(()) | Err(Errno::ENOENT | Errno::EINTR) => Ok(()),
            Err(errno) => Err(errno),
        }
    }

    fn record(&mut self, at: usize, notification: &Notification) {
        let Some(call) = Call::from_record(notification.arch, notification.number) else { return };
        if self.looks_since.elapsed() > WINDOW {
            self.looks.clear();
            self.looks_since = Instant::now();
        }
        let looks = self.looks.entry((notification.thread, call)).or_default();
        *looks += 1;
        if *looks > LOOKS {
            return;
        }
        let denied = self.policy.answer_of_filter(call).to(&notification.arguments).action.denies();
        // what the gate does beside executing the command is none of the unit's doing
        let executes = matches!(call.name(), Some("execve"));
        if denied && (executes || !self.runs_unitfix(notification.thread)) {
            let waits = || self.listeners[at].waits(notification.id);
            self.shared.seen().denials.add(call, Effect::Recorded, notification.thread, waits);
        }
    }
}

fn processes() -> impl Iterator<Item = u32> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// The number of the descriptor that a process has of its filter's listener.
fn listener_of(pid: u32) -> Option<RawFd> {
    let entries = std::fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    let mut listeners = entries
        .filter(|entry| std::fs::read_link(entry.path()).is_ok_and(|link| link.as_os_str() == LISTENER));
    listeners.next()?.file_name().to_str()?.parse().ok()
}
