//! The supervisor: one place that waits for everything at once, and answers forbidden calls.
//!
//! To prove a repair, the calls that it still forbids raise notifications too, and the supervisor carries out what
//! the policy says: it answers with the errno, or kills the process. The kernel could do that by itself, but then
//! nobody without privileges would see that a *child* was killed, or that a call failed. A call that the policy
//! forbids never runs. The kill is SIGKILL rather than SIGSYS: it cannot be caught, and leaves no core dump.

use super::denials::{Denials, identity, process_of};
use super::executable;
use super::notify::Notify;
use super::processes::timeout;
use super::{LocalError, Mode, Options};
use crate::evidence::{Effect, Process, Untrusted};
use crate::policy::{Action, ENOSYS, Policy};
use crate::replay::{Casualty, Exit};
use crate::seccomp::descriptors;
use crate::seccomp::kernel::{self, Listener, Notification};
use crate::syscalls::Call;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::Instant;

/// How much of the output is kept: its last lines, each cut.
const LINES: usize = 20;
const LINE_MAX: usize = 1024;

pub(super) struct Supervisor<'a> {
    policy: &'a Policy,
    mode: Mode,
    options: &'a Options,
    listeners: Vec<Listener>,
    pub(super) denials: Denials,
    pub(super) notify: Option<Notify>,
    /// Processes killed for a forbidden call.
    condemned: BTreeSet<i32>,
    /// Processes whose end the service itself judges.
    judged: BTreeSet<i32>,
    /// Processes that were refused a call.
    refused: BTreeMap<i32, Refused>,
    output: Output,
}

impl<'a> Supervisor<'a> {
    pub(super) fn new(
        policy: &'a Policy,
        mode: Mode,
        options: &'a Options,
        notify: Option<Notify>,
    ) -> Result<Self, LocalError> {
        let launcher = identity(&options.launcher);
        // what a proof denies is not blamed: it says that the repair does not do
        let denials = Denials::new(launcher, std::process::id(), options.blame && mode == Mode::Record);
        let output = Output::new()?;
        Ok(Supervisor {
            policy,
            mode,
            options,
            listeners: Vec::new(),
            denials,
            notify,
            condemned: BTreeSet::new(),
            judged: BTreeSet::new(),
            refused: BTreeMap::new(),
            output,
        })
    }

    /// The end of this process is judged by the service, so it need not be looked for here.
    pub(super) fn know(&mut self, pid: Pid) {
        self.judged.insert(pid.as_raw());
    }

    /// The processes that were refused a call and ended badly until now.
    pub(super) fn casualties(&self) -> Vec<Casualty> {
        let others = self.refused.iter().filter(|(pid, _)| !self.judged.contains(pid));
        others.filter_map(|(_, refused)| refused.casualty()).collect()
    }

    pub(super) fn listen(&mut self, listener: Listener) {
        self.listeners.push(listener);
    }

    /// Where a command's output goes.
    pub(super) fn output(&self) -> Result<OwnedFd, LocalError> {
        let end = self.output.write.as_fd().try_clone_to_owned();
        end.map_err(|e| LocalError::system("sharing the output socket")(errno(&e)))
    }

    /// The last lines that the unit's processes wrote.
    pub(super) fn log(&mut self) -> Vec<Untrusted> {
        self.output.read();
        self.output.tail.lines()
    }

    /// How a process ended, as its parent would have seen it under the kernel's own filter.
    pub(super) fn told(&self, pid: Pid, exit: Exit) -> Exit {
        match exit {
            Exit::Signal(libc::SIGKILL) if self.condemned.contains(&pid.as_raw()) => {
                Exit::Signal(libc::SIGSYS)
            }
            other => other,
        }
    }

    /// Wait until something happens, and see to it. Returns which of `watched` are ready: none, when it was
    /// something else, or the time is up.
    pub(super) fn turn(
        &mut self,
        watched: &[BorrowedFd],
        deadline: Instant,
    ) -> Result<Vec<bool>, LocalError> {
        if self.options.interrupt.raised() {
            return Err(LocalError::Interrupted);
        }
        let own = [self.output.read.as_fd()].into_iter().chain(self.notify.as_ref().map(AsFd::as_fd));
        let listeners = self.listeners.iter().map(AsFd::as_fd);
        let all = watched.iter().copied().chain(listeners).chain(own);
        let mut fds: Vec<PollFd> = all.map(|fd| PollFd::new(fd, PollFlags::POLLIN)).collect();
        match poll(&mut fds, timeout(deadline)) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => return Err(LocalError::system("waiting")(error)),
        }
        let events: Vec<PollFlags> =
            fds.iter().map(|fd| fd.revents().unwrap_or(PollFlags::empty())).collect();
        let (watched, own) = events.split_at(watched.len());
        let (listeners, own) = own.split_at(self.listeners.len());
        if own.first().is_some_and(|e| !e.is_empty()) {
            self.output.read();
        }
        if own.get(1).is_some_and(|e| !e.is_empty()) {
            self.notify.as_mut().map_or(Ok(()), Notify::read)?;
        }
        self.serve(listeners)?;
        Ok(watched.iter().map(|e| !e.is_empty()).collect())
    }

    fn serve(&mut self, events: &[PollFlags]) -> Result<(), LocalError> {
        for (index, _) in events.iter().enumerate().filter(|(_, e)| e.contains(PollFlags::POLLIN)) {
            match self.listeners[index].receive() {
                Ok(notification) => self.answer(index, notification)?,
                // the caller died, or a signal came: nothing to answer
                Err(Errno::ENOENT | Errno::EINTR) => {}
                Err(error) => return Err(LocalError::system("receiving a notification")(error)),
            }
        }
        // nobody is left under a filter whose listener hangs up
        let mut events =
            events.iter().map(|e| e.contains(PollFlags::POLLHUP) && !e.contains(PollFlags::POLLIN));
        self.listeners.retain(|_| !events.next().unwrap_or(false));
        Ok(())
    }

    /// What the filter says of a call, and what other settings say.
    fn said(&self, call: Call, arguments: &[u64; 6], thread: u32) -> Said {
        let filter = self.policy.answer_of_filter(call).to(arguments).action;
        let setting = match self.policy.answer_of_settings(call).to(arguments).action {
            Action::Errno(number) if !executable::already(self.policy, call, arguments, thread) => {
                Some(number)
            }
            _ => None,
        };
        Said { filter, setting }
    }

    fn answer(&mut self, index: usize, notification: Notification) -> Result<(), LocalError> {
        let listener = &self.listeners[index];
        let (id, thread) = (notification.id, notification.thread);
        let call = Call::from_record(notification.arch, notification.number);
        let said = call.map(|call| self.said(call, &notification.arguments, thread));
        let effect = said.map_or(Effect::Killed, |said| said.effect(self.mode));
        if let (Some(call), Some(said)) = (call, said) {
            let waits = || listener.waits(id);
            if said.setting.is_some_and(|errno| effect == Effect::Failed(errno)) {
                self.denials.add_of_setting(
                    self.policy,
                    call,
                    &notification.arguments,
                    effect,
                    thread,
                    waits,
                );
            }
            if said.filter.denies() {
                let effect = if said.is_let_through(self.mode) { Effect::Recorded } else { effect };
                self.denials.add(call, effect, thread, waits);
                if let Effect::Failed(_) = effect {
                    self.refuse(call, thread);
                }
            }
        }
        let listener = &self.listeners[index];
        let answered = match effect {
            Effect::Recorded => listener.proceed(id),
            Effect::Failed(number) => listener.fail(id, number),
            Effect::Killed => {
                let process = process_of(notification.thread).and_then(|pid| i32::try_from(pid).ok());
                let killed = process.filter(|pid| listener.waits(id) && end(*pid));
                self.condemned.extend(killed);
                // no answer to the dead; but if it could not be killed, the call must at least not run
                if killed.is_some() { Ok(()) } else { listener.fail(id, ENOSYS) }
            }
        };
        match answered {
            Ok(()) | Err(Errno::ENOENT | Errno::EINTR) => Ok(()),
            Err(error) => Err(LocalError::Notification { errno: error }),
        }
    }
}

impl Supervisor<'_> {
    /// Remember who was refused a call, to see how it ends.
    fn refuse(&mut self, call: Call, thread: u32) {
        let Some(pid) = process_of(thread).and_then(|pid| i32::try_from(pid).ok()) else { return };
        if let Some(refused) = self.refused.get_mut(&pid) {
            refused.call = call;
        } else if self.refused.len() < REFUSED_MAX
            && let Ok(ends) = descriptors::open_process(Pid::from_raw(pid))
        {
            let process = self.denials.process_named(thread);
            self.refused.insert(pid, Refused { call, process, ends });
        }
    }
}

/// Of more processes that were refused a call it is not seen how they end.
const REFUSED_MAX: usize = 256;

/// A process that was refused a call.
struct Refused {
    call: Call,
    process: Process,
    ends: OwnedFd,
}

impl Refused {
    /// Nothing, if it is alive, or ended well.
    fn casualty(&self) -> Option<Casualty> {
        let mut ended = [PollFd::new(self.ends.as_fd(), PollFlags::POLLIN)];
        if poll(&mut ended, PollTimeout::ZERO) == Ok(0) {
            return None;
        }
        let exit = kernel::exit_of(&self.ends);
        let casualty = Casualty { process: self.process.clone(), call: self.call, exit };
        (exit != Some(Exit::Status(0))).then_some(casualty)
    }
}

/// What is said of a call.
#[derive(Clone, Copy)]
struct Said {
    /// By `SystemCallFilter=` and `SystemCallArchitectures=`.
    filter: Action,
    /// By other settings: the errno that it fails with.
    setting: Option<u16>,
}

impl Said {
    /// Whether the call may run although the filter denies it.
    fn is_let_through(self, mode: Mode) -> bool {
        mode == Mode::Record || (mode == Mode::Spare && self.filter == Action::Kill)
    }

    /// What becomes of it: the filter is the last one that systemd installs, so that its errno counts.
    fn effect(self, mode: Mode) -> Effect {
        match (mode, self.filter, self.setting) {
            (Mode::Enforce, Action::Kill, _) => Effect::Killed,
            (Mode::Enforce | Mode::Spare, Action::Errno(number), _) | (_, _, Some(number)) => {
                Effect::Failed(number)
            }
            _ => Effect::Recorded,
        }
    }
}

fn end(pid: i32) -> bool {
    kill(Pid::from_raw(pid), Signal::SIGKILL).is_ok()
}

pub(super) fn errno(error: &std::io::Error) -> Errno {
    error.raw_os_error().map_or(Errno::EIO, Errno::from_raw)
}

/// Standard output and error of the unit's processes: a socket, as the journal's is.
struct Output {
    read: UnixStream,
    write: UnixStream,
    tail: Tail,
}

impl Output {
    fn new() -> Result<Self, LocalError> {
        let made = UnixStream::pair().and_then(|(read, write)| {
            read.set_nonblocking(true)?;
            // programs write only, as to the journal
            write.shutdown(std::net::Shutdown::Read)?;
            Ok(Output { read, write, tail: Tail::default() })
        });
        made.map_err(|e| LocalError::system("making a socket for the output")(errno(&e)))
    }

    fn read(&mut self) {
        let mut buffer = [0; 16 * 1024];
        // what is there, and no more: a flood must not keep the supervisor from answering calls
        for _ in 0..16 {
            match self.read.read(&mut buffer) {
                Ok(0) | Err(_) => break,
                Ok(length) => self.tail.add(&buffer[..length]),
            }
        }
    }
}

/// The last lines of a stream of bytes.
#[derive(Default)]
struct Tail {
    lines: VecDeque<Vec<u8>>,
    unfinished: Vec<u8>,
}

impl Tail {
    fn add(&mut self, bytes: &[u8]) {
        // of a flood, only the end is worth the time
        let newlines = bytes.iter().enumerate().rev().filter(|(_, b)| **b == b'\n');
        let bytes = match newlines.map(|(at, _)| at).nth(LINES) {
            Some(at) => {
                self.unfinished.clear();
                &bytes[at + 1..]
            }
            None => bytes,
        };
        for piece in bytes.split_inclusive(|b| *b == b'\n') {
            let (text, whole) = piece.strip_suffix(b"\n").map_or((piece, false), |text| (text, true));
            let room = LINE_MAX.saturating_sub(self.unfinished.len()).min(text.len());
            self.unfinished.extend_from_slice(&text[..room]);
            if whole {
                self.lines.push_back(std::mem::take(&mut self.unfinished));
            }
            if self.lines.len() > LINES {
                self.lines.pop_front();
            }
        }
    }

    fn lines(&self) -> Vec<Untrusted> {
        let last = Some(&self.unfinished).filter(|line| !line.is_empty());
        let all: Vec<_> = self.lines.iter().chain(last).collect();
        all[all.len().saturating_sub(LINES)..].iter().map(|line| Untrusted::new(line.as_slice())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tail_is_bounded() {
        let mut tail = Tail::default();
        for number in 0..30 {
            tail.add(format!("line {number}\n").as_bytes());
        }
        tail.add("flood\n".repeat(1000).as_bytes());
        tail.add(b"but this stays\n");
        tail.add(&[b'x'; 5000]);
        let lines: Vec<String> = tail.lines().iter().map(ToString::to_string).collect();
        assert_eq!(lines.len(), LINES);
        assert_eq!(
            (lines[0].as_str(), lines[17].as_str(), lines[18].as_str()),
            ("flood", "flood", "but this stays")
        );
        assert_eq!(lines[19].len(), LINE_MAX);
    }
}
