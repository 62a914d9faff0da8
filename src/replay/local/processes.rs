//! The processes of a replay: who they are, how they ended, and that none of them stays behind.

use super::LocalError;
use crate::interrupt::GLANCE;
use crate::replay::Exit;
use crate::seccomp::descriptors;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::prctl;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use std::collections::BTreeSet;
use std::os::fd::AsFd;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Orphans come to this process as a whole, so only one replay at a time can tell which are its own.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// How long killed processes may take to be gone; longer only in an uninterruptible wait.
const KILLED_PATIENCE: Duration = Duration::from_secs(5);

/// Keeps the processes of one replay together: whatever they fork comes back to this process when it is orphaned
/// (`PR_SET_CHILD_SUBREAPER`), and whatever is left when this is dropped is killed. That holds for every way out.
#[derive(Debug)]
pub(super) struct Family {
    /// Children that were there before, or serve something else, which are no business of the replay.
    before: BTreeSet<i32>,
    was_subreaper: bool,
    _alone: MutexGuard<'static, ()>,
}

/// One line of the process table.
struct Entry {
    pid: i32,
    parent: i32,
    dead: bool,
}

impl Family {
    pub(super) fn gather() -> Result<Self, LocalError> {
        let alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
        let me = Pid::this().as_raw();
        let before = table().into_iter().filter(|e| e.parent == me).map(|e| e.pid).collect();
        let failed = LocalError::system("becoming the parent of orphans");
        let was_subreaper = prctl::get_child_subreaper().unwrap_or(false);
        prctl::set_child_subreaper(true).map_err(failed)?;
        Ok(Family { before, was_subreaper, _alone: alone })
    }

    /// A child that is no business of the replay, nor are its children while it lives.
    pub(super) fn leave_alone(&mut self, child: Pid) {
        self.before.insert(child.as_raw());
    }

    /// All processes of the replay that run.
    pub(super) fn running(&self) -> Vec<Pid> {
        self.entries().iter().filter(|e| !e.dead).map(|e| Pid::from_raw(e.pid)).collect()
    }

    /// Children, their children, and so on.
    fn entries(&self) -> Vec<Entry> {
        let mut rest = table();
        let mut found: Vec<Entry> = Vec::new();
        let mut parents = BTreeSet::from([Pid::this().as_raw()]);
        while !parents.is_empty() {
            let (children, others) = rest
                .into_iter()
                .filter(|e| !self.before.contains(&e.pid))
                .partition::<Vec<_>, _>(|e| parents.contains(&e.parent));
            parents = children.iter().map(|e| e.pid).collect();
            found.extend(children);
            rest = others;
        }
        found
    }

    /// Bury orphans that died. `spare`: somebody still wants to know how this one ended.
    pub(super) fn reap(&self, spare: Option<Pid>) {
        let me = Pid::this().as_raw();
        for dead in self.entries().iter().filter(|e| e.dead && e.parent == me) {
            let pid = Pid::from_raw(dead.pid);
            if spare != Some(pid) {
                let _gone = waitpid(pid, Some(WaitPidFlag::WNOHANG));
            }
        }
    }

    pub(super) fn signal(&self, signal: Signal) {
        for pid in self.running() {
            let _gone = kill(pid, signal);
        }
    }

    /// Kill what is left, until nothing is: what forks while it is killed is killed too.
    fn kill_all(&self) {
        let deadline = Instant::now() + KILLED_PATIENCE;
        while Instant::now() < deadline {
            self.reap(None);
            let running = self.running();
            let Some(first) = running.first() else { break };
            self.signal(Signal::SIGKILL);
            if let Ok(fd) = descriptors::open_process(*first) {
                let mut ends = [PollFd::new(fd.as_fd(), PollFlags::POLLIN)];
                let _again = poll(&mut ends, timeout(Instant::now() + GLANCE));
            }
        }
        self.reap(None);
    }
}

impl Drop for Family {
    fn drop(&mut self) {
        self.kill_all();
        let _same = prctl::set_child_subreaper(self.was_subreaper);
    }
}

/// A wait that ends in time, and looks at the interrupt now and then.
pub(super) fn timeout(deadline: Instant) -> PollTimeout {
    let left = deadline.saturating_duration_since(Instant::now()).min(GLANCE);
    // rounded up: else the last millisecond is spent spinning
    PollTimeout::try_from(left.as_micros().div_ceil(1000)).unwrap_or(PollTimeout::ZERO)
}

fn table() -> Vec<Entry> {
    let Ok(folder) = std::fs::read_dir("/proc") else { return Vec::new() };
    let pids = folder.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter_map(entry).collect()
}

/// From `/proc/PID/stat`; the name in it is in parentheses and may hold anything, parentheses too.
fn entry(pid: i32) -> Option<Entry> {
    let stat = std::fs::read(format!("/proc/{pid}/stat")).ok()?;
    let end = stat.iter().rposition(|b| *b == b')')?;
    let rest = String::from_utf8_lossy(stat.get(end + 1..)?).into_owned();
    let mut fields = rest.split_ascii_whitespace();
    let dead = matches!(fields.next()?, "Z" | "X");
    Some(Entry { pid, parent: fields.next()?.parse().ok()?, dead })
}

/// How a process ended; nothing: it runs.
pub(super) fn ended(pid: Pid) -> Option<Exit> {
    match waitpid(pid, Some(WaitPidFlag::WNOHANG)) {
        Ok(WaitStatus::Exited(_, status)) => Some(Exit::Status(status)),
        Ok(WaitStatus::Signaled(_, signal, _)) => Some(Exit::Signal(signal as i32)),
        // the child of another process of the unit: that one got to know how it ended
        Err(Errno::ECHILD) if kill(pid, None).is_err() => Some(Exit::Status(0)),
        _ => None,
    }
}
