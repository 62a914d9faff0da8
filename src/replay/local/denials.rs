//! What a notification becomes: a denial with the process that made the call.

use crate::evidence::{Attribution, Denial, Effect, Process, Source, Untrusted};
use crate::syscalls::Call;
use std::collections::HashSet;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

/// More different denials than this tell nothing more, and somebody may be making up names.
const MAX: usize = 4096;
/// How many callers are remembered, so that a call that repeats costs one look and not four.
const REMEMBERED: usize = 65_536;

/// The denials of a replay: one for each program and call.
#[derive(Debug, Default)]
pub(super) struct Denials {
    pub(super) all: Vec<Denial>,
    /// Some were left out.
    pub(super) lossy: bool,
    /// Where our own program is, which is no program of the unit.
    launcher: PathBuf,
    callers: HashSet<(u32, Vec<u8>, Call)>,
    seen: HashSet<(Untrusted, Option<Untrusted>, Call, Effect)>,
}

impl Denials {
    pub(super) fn new(launcher: PathBuf) -> Self {
        Denials { launcher, ..Denials::default() }
    }

    /// Take one down. `waits` tells whether the caller is still the one that was looked at.
    pub(super) fn add(&mut self, call: Call, effect: Effect, thread: u32, waits: impl Fn() -> bool) {
        let comm = comm(thread).unwrap_or_default();
        let caller = (thread, comm, call);
        if self.callers.contains(&caller) {
            return;
        }
        let mut process = self.process(thread, &caller.1);
        if !waits() {
            process = Process { pid: thread, ..Process::default() };
        }
        if self.callers.len() >= REMEMBERED {
            self.callers.clear();
        }
        self.callers.insert(caller);
        if self.all.len() >= MAX {
            self.lossy = true;
            return;
        }
        if self.seen.insert((process.comm.clone(), process.exe.clone(), call, effect)) {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).ok();
            self.all.push(Denial {
                call,
                effect,
                process,
                time: now.and_then(|t| u64::try_from(t.as_micros()).ok()),
                source: Source::Notification,
                attribution: Some(Attribution::Replayed),
                arguments: Vec::new(),
            });
        }
    }

    fn process(&self, thread: u32, comm: &[u8]) -> Process {
        let exe = std::fs::read_link(format!("/proc/{thread}/exe")).ok();
        // before the exec it is we in the place of the manager's executor
        let exe = exe.filter(|path| !(comm.starts_with(b"(") && *path == self.launcher));
        // we stand in the place of the manager, which nobody wants to read of
        let parent = status(thread, "PPid:").filter(|parent| *parent != std::process::id());
        Process {
            pid: process_of(thread).unwrap_or(thread),
            comm: Untrusted::new(comm),
            exe: exe.map(|path| Untrusted::new(path.as_os_str().as_bytes())),
            parent: parent.and_then(self::comm).map(Untrusted::new),
            login: false, // this run began it
            user: None,
        }
    }
}

fn comm(thread: u32) -> Option<Vec<u8>> {
    let mut name = std::fs::read(format!("/proc/{thread}/comm")).ok()?;
    if name.last() == Some(&b'\n') {
        name.pop();
    }
    Some(name)
}

/// The process that a thread belongs to.
pub(super) fn process_of(thread: u32) -> Option<u32> {
    status(thread, "Tgid:")
}

/// A number of `/proc/PID/status`. The name in its first line has its line ends escaped.
fn status(thread: u32, key: &str) -> Option<u32> {
    let status = std::fs::read(format!("/proc/{thread}/status")).ok()?;
    let status = String::from_utf8_lossy(&status);
    status.lines().find_map(|line| line.strip_prefix(key))?.trim().parse().ok()
}
