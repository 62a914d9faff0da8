//! What strace saw, as denials: every call that the policy forbids, with its arguments, its program and the parent
//! of the process. Run strace with `-f -n -ttt -X verbose`: without `-n`, and written to a file, it does not tell calls
//! of another architecture apart (it announces a change of architecture on standard error only); without `-X verbose`
//! arguments are no numbers, and a call that another setting than `SystemCallFilter=` denied is not recognised.

mod arguments;
mod distinct;
mod line;
mod numbers;
mod processes;
mod stack;

pub use distinct::{DistinctCalls, distinct_calls, distinct_calls_of_file};
pub use line::{CallText, Event, What, read as read_line};

use super::log::{Kept, Line, Lines};
use super::{Attribution, Denial, Effect, Process, Source, Untrusted};
use crate::blame::{FRAMES_MAX, Stack};
use crate::policy::{Action, Policy, parse_action};
use crate::replay::{Casualty, Exit};
use crate::syscalls::Call;
use processes::{Pending, Processes, comm, forks, identify};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::io::{self, BufRead};
use std::path::Path;

/// So many names of calls that nobody knows are kept.
const UNKNOWN_MAX: usize = 1000;

/// So much of the arguments of a call that has not ended is kept.
const PENDING_MAX: usize = 8192;

/// So many casualties are kept.
const CASUALTIES_MAX: usize = 100;

/// So many lines that are not understood are kept, to be shown.
const NOT_UNDERSTOOD_MAX: usize = 10;

/// What strace saw.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StraceRead {
    /// The calls that the policy forbids. Their `exe` is the path that was given to execve. A call that a setting beside
    /// `SystemCallFilter=` denied is one that failed, with arguments and with the errno that the policy says.
    pub kept: Kept,
    /// How many calls there were, forbidden or not.
    pub calls: u64,
    /// How many lines.
    pub lines: u64,
    /// Calls whose names are of no architecture of this kernel, counted: strace is newer than unitfix. Whether the
    /// policy forbids them is not known.
    pub unknown_calls: BTreeMap<String, u64>,
    /// The first lines that are nothing that strace prints.
    pub not_understood: Vec<Untrusted>,
    /// How many such lines there were.
    pub not_understood_total: u64,
    /// Processes that strace refused a call (`--inject`), and that then ended badly, with the time of that.
    pub casualties: Vec<(Option<u64>, Casualty)>,
}

/// Read strace's output to its end and keep what the policy forbids. `main_program` is what the first process runs
/// before its first execve, where that is known.
pub fn denials(reader: impl BufRead, policy: &Policy, main_program: Option<&Path>) -> io::Result<StraceRead> {
    let main = main_program.map(|path| path.as_os_str().as_encoded_bytes().to_vec());
    let mut reading = Reading {
        policy,
        decided: HashMap::new(),
        settings: HashMap::new(),
        processes: Processes::new(main),
        blamed: None,
        has_stack: HashSet::new(),
        out: StraceRead::default(),
    };
    let mut lines = Lines::new(reader);
    while let Some(Line::Whole(line) | Line::TooLong(line)) = lines.next_line()? {
        reading.line(line);
    }
    Ok(reading.out)
}

struct Reading<'a> {
    policy: &'a Policy,
    decided: HashMap<Call, bool>,
    /// The arguments that the settings beside `SystemCallFilter=` look at; nothing: they say nothing about the call.
    settings: HashMap<Call, Option<BTreeSet<u8>>>,
    processes: Processes,
    /// The denial whose line this was the last one of: frames of its stack may follow (`-k`).
    blamed: Option<usize>,
    /// The programs and calls whose stack is kept: once of each.
    has_stack: HashSet<(Option<Untrusted>, Call)>,
    out: StraceRead,
}

impl Reading<'_> {
    fn line(&mut self, text: &[u8]) {
        self.out.lines += 1;
        let event = line::read(text);
        let blamed = self.blamed.take();
        match event.what {
            What::Frame(text) => {
                self.frame(blamed, text);
                self.blamed = blamed;
            }
            What::Other => {}
            What::NotUnderstood => {
                self.out.not_understood_total += 1;
                if self.out.not_understood.len() < NOT_UNDERSTOOD_MAX {
                    let cut = text.get(..200).unwrap_or(text);
                    self.out.not_understood.push(Untrusted::new(cut));
                }
            }
            What::Mode(arch) => {
                let pid = self.processes.key(event.pid);
                self.processes.get(pid).arch = arch;
            }
            What::Gone(exit) => {
                let pid = self.processes.key(event.pid);
                self.bury(pid, event.time_us, exit);
            }
            What::Superseded { by } => {
                let pid = self.processes.key(event.pid);
                self.processes.supersede(pid, by);
            }
            What::Call(ref call) => self.call(&event, call),
            What::Resumed { name, arguments, result } => self.resumed(&event, name, arguments, result),
        }
    }

    /// A call is counted where it begins: a process that is killed in it never ends it.
    fn call(&mut self, event: &Event, call: &CallText) {
        let pid = self.processes.key(event.pid);
        let (identified, denial) = self.begin(pid, event, call.name, call.arguments);
        if let Some(child) = call.attached {
            self.link(pid, child, call.arguments);
        }
        let text = call.arguments.get(..PENDING_MAX).unwrap_or(call.arguments);
        let time = event.time_us;
        let pending =
            Pending { name: call.name.to_owned(), call: identified, time, text: text.to_vec(), denial };
        if call.result.is_some() {
            self.finish(pid, &pending, call.result);
        } else {
            self.processes.get(pid).pending = Some(pending);
        }
    }

    fn resumed(&mut self, event: &Event, name: &str, rest: &[u8], result: Option<&[u8]>) {
        let pid = self.processes.key(event.pid);
        let begun = self.processes.get(pid).pending.take().filter(|p| p.name == name || name == "????");
        let mut pending = if let Some(begun) = begun {
            begun
        } else if name == "????" {
            return;
        } else {
            // its beginning was not seen
            let (call, denial) = self.begin(pid, event, name, b"");
            Pending { name: name.to_owned(), call, time: event.time_us, text: Vec::new(), denial }
        };
        let room = PENDING_MAX.saturating_sub(pending.text.len());
        pending.text.extend_from_slice(rest.get(..room).unwrap_or(rest));
        if let Some(denial) = pending.denial.and_then(|at| self.out.kept.denials.get_mut(at)) {
            denial.arguments = arguments::split(&pending.name, &pending.text);
        }
        self.finish(pid, &pending, result);
    }

    /// Count a call; keep it if `SystemCallFilter=` or `SystemCallArchitectures=` forbid it, which are not in force while
    /// strace runs.
    fn begin(&mut self, pid: u32, event: &Event, name: &str, text: &[u8]) -> (Option<Call>, Option<usize>) {
        self.out.calls += 1;
        let arch = self.processes.get(pid).arch;
        let Some(call) = identify(arch, event.number, name) else {
            let unknown = &mut self.out.unknown_calls;
            if unknown.len() < UNKNOWN_MAX || unknown.contains_key(name) {
                *unknown.entry(name.to_owned()).or_default() += 1;
            }
            return (None, None);
        };
        self.processes.get(pid).arch = call.arch;
        let policy = self.policy;
        if !*self.decided.entry(call).or_insert_with(|| policy.decide(call).denies()) {
            return (Some(call), None);
        }
        let arguments = arguments::split(name, text);
        (Some(call), self.keep(pid, call, Effect::Recorded, event.time_us, arguments, None))
    }

    fn keep(
        &mut self,
        pid: u32,
        call: Call,
        effect: Effect,
        time: Option<u64>,
        arguments: Vec<String>,
        raw_arguments: Option<[u64; 6]>,
    ) -> Option<usize> {
        let denial = Denial {
            call,
            effect,
            process: self.process(pid),
            time,
            source: Source::Strace,
            attribution: Some(Attribution::Replayed),
            arguments,
            raw_arguments,
            stack: Stack::default(),
        };
        let incomplete = denial.process.exe.is_none() || denial.process.parent.is_none();
        let at = self.out.kept.push(denial)?;
        if incomplete {
            self.processes.get(pid).unnamed.push(at);
        }
        Some(at)
    }

    /// Keep a call that failed as a setting beside `SystemCallFilter=`, which is in force, says: these arguments, and
    /// just this errno.
    fn restricted(&mut self, pid: u32, pending: &Pending, result: Option<&[u8]>) -> Option<usize> {
        let (call, errno) = (pending.call?, result.and_then(failure)?);
        let policy = self.policy;
        let looked_at = self.settings.entry(call).or_insert_with(|| {
            let silent = policy.answer_of_settings(call).is_silent();
            (!silent).then(|| policy.looks_at(call))
        });
        let raw = only(looked_at.as_ref()?, numbers::numbers(&pending.name, &pending.text))?;
        policy.restricted(call, &raw, errno)?;
        let arguments = arguments::split(&pending.name, &pending.text);
        self.keep(pid, call, Effect::Failed(errno), pending.time, arguments, Some(raw))
    }

    fn wants_stack(&self, at: usize) -> bool {
        let denial = self.out.kept.denials.get(at);
        denial.is_some_and(|d| !self.has_stack.contains(&(d.process.exe.clone(), d.call)))
    }

    fn frame(&mut self, blamed: Option<usize>, text: &[u8]) {
        let Some(denial) = blamed.and_then(|at| self.out.kept.denials.get_mut(at)) else { return };
        let frames = &mut denial.stack.frames;
        if frames.is_empty() {
            self.has_stack.insert((denial.process.exe.clone(), denial.call));
        }
        if frames.len() < FRAMES_MAX {
            frames.extend(stack::frame(text));
        }
    }

    fn process(&mut self, pid: u32) -> Process {
        let program = self.processes.get(pid).program.clone();
        let parent = self.processes.parent_program(pid).map(|program| comm(Some(program)));
        Process {
            pid,
            comm: comm(program.as_deref()),
            exe: program.map(Untrusted::new),
            parent,
            login: false,
            user: None,
        }
    }

    /// A process is gone: one that was refused a call and ended badly is a casualty.
    fn bury(&mut self, pid: u32, time: Option<u64>, exit: Option<Exit>) {
        let refused = self.processes.get(pid).refused;
        if let Some(call) = refused.filter(|_| exit != Some(Exit::Status(0)))
            && self.out.casualties.len() < CASUALTIES_MAX
        {
            let process = self.process(pid);
            self.out.casualties.push((time, Casualty { process, call, exit }));
        }
        self.processes.gone(pid);
    }

    /// What a call that has returned means: for the processes, and by itself.
    fn finish(&mut self, pid: u32, call: &Pending, result: Option<&[u8]>) {
        if let Some(denial) = call.denial.and_then(|at| self.out.kept.denials.get_mut(at))
            && let Some(errno) = result.and_then(injected)
        {
            denial.effect = Effect::Failed(errno);
            self.processes.get(pid).refused = Some(denial.call);
            return;
        }
        let restricted = self.restricted(pid, call, result);
        let value = result.and_then(|r| r.split(|b| !b.is_ascii_digit()).next());
        let value: Option<u32> = value.and_then(|v| std::str::from_utf8(v).ok()?.parse().ok());
        self.blamed = call.denial.or(restricted).filter(|at| self.wants_stack(*at));
        match value {
            Some(child) if forks(&call.name) && child > 0 => self.link(pid, child, &call.text),
            Some(0) if matches!(call.name.as_str(), "execve" | "execveat") => {
                if let Some(program) = executed(&call.name, &call.text) {
                    self.processes.get(pid).program = Some(program);
                }
            }
            _ => {}
        }
    }

    fn link(&mut self, parent: u32, child: u32, text: &[u8]) {
        for at in self.processes.link(parent, child, text) {
            let known = self.process(child);
            if let Some(denial) = self.out.kept.denials.get_mut(at) {
                let process = &mut denial.process;
                process.parent = process.parent.take().or(known.parent);
                if process.exe.is_none() {
                    (process.comm, process.exe) = (known.comm, known.exe);
                }
            }
        }
    }
}

/// The errno of a call that strace refused: `-1 EPERM (Operation not permitted) (INJECTED)`.
fn injected(result: &[u8]) -> Option<u16> {
    failure(result.trim_ascii_end().strip_suffix(b"(INJECTED)")?)
}

/// The arguments that are looked at, the others 0; nothing where one of them is no number.
fn only(looked_at: &BTreeSet<u8>, numbers: [Option<u64>; 6]) -> Option<[u64; 6]> {
    let mut out = [0; 6];
    for at in looked_at.iter().copied().map(usize::from) {
        *out.get_mut(at)? = numbers.get(at).copied()??;
    }
    Some(out)
}

/// The errno of a result: `-1 EPERM (Operation not permitted)`, `-1 (errno 524)`.
fn failure(result: &[u8]) -> Option<u16> {
    let text = std::str::from_utf8(result.strip_prefix(b"-1 ")?).ok()?;
    let word = text.strip_prefix("(errno ").unwrap_or(text);
    match parse_action(word.split([' ', ')']).next()?)? {
        Action::Errno(number) => Some(number),
        _ => None,
    }
}

/// The path that execve or execveat was given.
fn executed(name: &str, text: &[u8]) -> Option<Vec<u8>> {
    if name == "execve" {
        return arguments::unquote(text);
    }
    let parts = text.windows(3).position(|w| w == b", \"")?;
    let path = arguments::unquote(text.get(parts + 2..)?)?;
    if !path.is_empty() {
        return Some(path);
    }
    // AT_EMPTY_PATH: the file descriptor's own path, which only -y shows
    let open = text.iter().position(|b| *b == b'<')?;
    let close = text.iter().position(|b| *b == b'>')?;
    text.get(open + 1..close).map(<[u8]>::to_vec)
}

#[cfg(test)]
#[path = "strace/tests.rs"]
mod tests;
