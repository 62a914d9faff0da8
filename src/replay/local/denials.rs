//! What a notification becomes: a denial with the process that made the call.

use super::arguments;
use crate::blame;
use crate::evidence::{Attribution, Denial, Effect, Process, Source, Untrusted};
use crate::policy::Policy;
use crate::syscalls::Call;
use std::collections::HashSet;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
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
pub(in crate::replay) struct Denials {
    pub(in crate::replay) all: Vec<Denial>,
    /// Some were left out.
    pub(in crate::replay) lossy: bool,
    /// The device and inode of our own program, which is no program of the unit.
    launcher: Option<(u64, u64)>,
    /// Who begins the processes of the unit, and is not shown as the parent of one.
    manager: u32,
    /// The programs that were unwound, where stacks are wanted.
    blame: Option<blame::Known>,
    callers: HashSet<(u32, Vec<u8>, Call, LookedAt)>,
    seen: HashSet<Seen>,
}

impl Denials {
    /// `launcher` is the device and inode of unitfix's own program, `manager` the process that begins those of the unit.
    pub(in crate::replay) fn new(launcher: Option<(u64, u64)>, manager: u32, blame: bool) -> Self {
        Denials { launcher, manager, blame: blame.then(blame::Known::default), ..Denials::default() }
    }

    /// Take one down. `waits` tells whether the caller is still the one that was looked at.
    pub(in crate::replay) fn add(
        &mut self,
        call: Call,
        effect: Effect,
        thread: u32,
        waits: impl Fn() -> bool,
    ) {
        self.keep(call, effect, (Vec::new(), None), thread, &waits);
    }

    /// Take one down that another setting than the filter let fail, with the arguments for which it does.
    pub(in crate::replay) fn add_of_setting(
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
    pub(in crate::replay) fn process_named(&self, thread: u32) -> Process {
        self.process(thread, &comm(thread).unwrap_or_default())
    }

    fn process(&self, thread: u32, comm: &[u8]) -> Process {
        let exe = std::fs::read_link(format!("/proc/{thread}/exe")).ok();
        // before the exec it is we in the place of the manager's executor
        let own = || {
            self.launcher.is_some()
                && identity(&PathBuf::from(format!("/proc/{thread}/exe"))) == self.launcher
        };
        let exe = exe.filter(|_| !(comm.starts_with(b"(") && own()));
        // nobody wants to read of the manager
        let parent = number_of(thread, "PPid:").filter(|parent| *parent != self.manager);
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
pub(in crate::replay) fn process_of(thread: u32) -> Option<u32> {
    number_of(thread, "Tgid:")
}

/// The device and inode of a file, by which a program is known wherever it is seen.
pub(in crate::replay) fn identity(path: &Path) -> Option<(u64, u64)> {
    std::fs::metadata(path).ok().map(|meta| (meta.dev(), meta.ino()))
}

/// A number of `/proc/PID/status`. The name in its first line has its line ends escaped.
pub(in crate::replay) fn number_of(thread: u32, key: &str) -> Option<u32> {
    let status = std::fs::read(format!("/proc/{thread}/status")).ok()?;
    let status = String::from_utf8_lossy(&status);
    status.lines().find_map(|line| line.strip_prefix(key))?.trim().parse().ok()
}
