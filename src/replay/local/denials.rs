//! What a notification becomes: a denial with the process that made the call.

use super::arguments;
use crate::blame;
use crate::evidence::{Attribution, Denial, Effect, Process, Source, Untrusted};
use crate::policy::Policy;
use crate::syscalls::Call;
use std::collections::HashSet;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

/// More different denials than this tell nothing more, and somebody may be making up names.
const MAX: usize = 4096;
/// How many callers are remembered, so that a call that repeats costs one look and not four.
const REMEMBERED: usize = 65_536;

/// The arguments that the unit's settings look at, of a call that one of them let fail.
type LookedAt = Option<[u64; 6]>;

/// What makes a denial another one.
type Seen = (Untrusted, Option<Untrusted>, Call, Effect, LookedAt);

/// The denials of a replay: one for each program and call.
#[derive(Default)]
pub(super) struct Denials {
    pub(super) all: Vec<Denial>,
    /// Some were left out.
    pub(super) lossy: bool,
    /// Where our own program is, which is no program of the unit.
    launcher: PathBuf,
    /// The programs that were unwound, where stacks are wanted.
    blame: Option<blame::Known>,
    callers: HashSet<(u32, Vec<u8>, Call, LookedAt)>,
    seen: HashSet<Seen>,
}

impl Denials {
    pub(super) fn new(launcher: PathBuf, blame: bool) -> Self {
        Denials { launcher, blame: blame.then(blame::Known::default), ..Denials::default() }
    }

    /// Take one down. `waits` tells whether the caller is still the one that was looked at.
    pub(super) fn add(&mut self, call: Call, effect: Effect, thread: u32, waits: impl Fn() -> bool) {
        self.keep(call, effect, (Vec::new(), None), thread, &waits);
    }

    /// Take one down that another setting than the filter let fail, with the arguments for which it does.
    pub(super) fn add_of_setting(
        &mut self,
        policy: &Policy,
        call: Call,
        arguments: &[u64; 6],
        effect: Effect,
        thread: u32,
        waits: impl Fn() -> bool,
    ) {
        let looked_at = arguments::looked_at(policy, call, arguments);
        let Effect::Failed(errno) = effect else { return };
        if policy.restricted(call, &looked_at, errno).is_some() {
            let shown = arguments::shown(policy, call, &looked_at);
            self.keep(call, effect, (shown, Some(looked_at)), thread, &waits);
        }
    }

    fn keep(
        &mut self,
        call: Call,
        effect: Effect,
        (arguments, raw_arguments): (Vec<String>, LookedAt),
        thread: u32,
        waits: &impl Fn() -> bool,
    ) {
        let comm = comm(thread).unwrap_or_default();
        let caller = (thread, comm, call, raw_arguments);
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
        if self.seen.insert((process.comm.clone(), process.exe.clone(), call, effect, raw_arguments)) {
            let stack = self.blame.as_mut().map(|known| blame::live::stack_of(thread, known));
            let now = SystemTime::now().duration_since(UNIX_EPOCH).ok();
            self.all.push(Denial {
                call,
                effect,
                process,
                time: now.and_then(|t| u64::try_from(t.as_micros()).ok()),
                source: Source::Notification,
                attribution: Some(Attribution::Replayed),
                arguments,
                raw_arguments,
                stack: stack.filter(|_| waits()).unwrap_or_default(),
            });
        }
    }

    /// The process of a thread that waits for an answer.
    pub(super) fn process_named(&self, thread: u32) -> Process {
        self.process(thread, &comm(thread).unwrap_or_default())
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
