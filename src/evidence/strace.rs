//! What strace saw, as denials: every call that the policy forbids, with its arguments, its program and the parent
//! of the process. Run strace with `-f -n -ttt`: without `-n`, and written to a file, it does not tell calls of
//! another architecture apart (it announces a change of architecture on standard error only).

mod arguments;
mod line;
mod processes;

pub use line::{CallText, Event, What, read as read_line};

use super::log::{Kept, Line, Lines};
use super::{Attribution, Denial, Effect, Process, Source, Untrusted};
use crate::policy::Policy;
use crate::syscalls::Call;
use processes::{Pending, Processes, comm, forks, identify};
use std::collections::{BTreeMap, HashMap};
use std::io::{self, BufRead};
use std::path::Path;

/// So many names of calls that nobody knows are kept.
const UNKNOWN_MAX: usize = 1000;

/// So much of the arguments of a call that has not ended is kept.
const PENDING_MAX: usize = 8192;

/// So many lines that are not understood are kept, to be shown.
const NOT_UNDERSTOOD_MAX: usize = 10;

/// What strace saw.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StraceRead {
    /// The calls that the policy forbids. Their `exe` is the path that was given to execve.
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
}

/// Read strace's output to its end and keep what the policy forbids. `main_program` is what the first process runs
/// before its first execve, where that is known.
pub fn denials(reader: impl BufRead, policy: &Policy, main_program: Option<&Path>) -> io::Result<StraceRead> {
    let main = main_program.map(|path| path.as_os_str().as_encoded_bytes().to_vec());
    let mut reading = Reading {
        policy,
        decided: HashMap::new(),
        processes: Processes::new(main),
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
    processes: Processes,
    out: StraceRead,
}

impl Reading<'_> {
    fn line(&mut self, text: &[u8]) {
        self.out.lines += 1;
        let event = line::read(text);
        match event.what {
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
            What::Gone => {
                let pid = self.processes.key(event.pid);
                self.processes.gone(pid);
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
        let denial = self.begin(pid, event, call.name, call.arguments);
        if let Some(child) = call.attached {
            self.link(pid, child, call.arguments);
        }
        let text = call.arguments.get(..PENDING_MAX).unwrap_or(call.arguments);
        let pending = Pending { name: call.name.to_owned(), text: text.to_vec(), denial };
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
            let denial = self.begin(pid, event, name, b"");
            Pending { name: name.to_owned(), text: Vec::new(), denial }
        };
        let room = PENDING_MAX.saturating_sub(pending.text.len());
        pending.text.extend_from_slice(rest.get(..room).unwrap_or(rest));
        if let Some(denial) = pending.denial.and_then(|at| self.out.kept.denials.get_mut(at)) {
            denial.arguments = arguments::split(&pending.name, &pending.text);
        }
        self.finish(pid, &pending, result);
    }

    /// Count a call; keep it if the policy forbids it.
    fn begin(&mut self, pid: u32, event: &Event, name: &str, text: &[u8]) -> Option<usize> {
        self.out.calls += 1;
        let arch = self.processes.get(pid).arch;
        let Some(call) = identify(arch, event.number, name) else {
            let unknown = &mut self.out.unknown_calls;
            if unknown.len() < UNKNOWN_MAX || unknown.contains_key(name) {
                *unknown.entry(name.to_owned()).or_default() += 1;
            }
            return None;
        };
        self.processes.get(pid).arch = call.arch;
        let policy = self.policy;
        if !*self.decided.entry(call).or_insert_with(|| policy.decide(call).denies()) {
            return None;
        }
        let denial = Denial {
            call,
            effect: Effect::Recorded,
            process: self.process(pid),
            time: event.time_us,
            source: Source::Strace,
            attribution: Some(Attribution::Replayed),
            arguments: arguments::split(name, text),
        };
        let incomplete = denial.process.exe.is_none() || denial.process.parent.is_none();
        let at = self.out.kept.push(denial)?;
        if incomplete {
            self.processes.get(pid).unnamed.push(at);
        }
        Some(at)
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

    /// What a call that has returned means for the processes.
    fn finish(&mut self, pid: u32, call: &Pending, result: Option<&[u8]>) {
        let value = result.and_then(|r| r.split(|b| !b.is_ascii_digit()).next());
        let value: Option<u32> = value.and_then(|v| std::str::from_utf8(v).ok()?.parse().ok());
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
