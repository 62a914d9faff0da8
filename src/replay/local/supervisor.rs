//! The supervisor: one place that waits for everything at once, and answers forbidden calls.
//!
//! To prove a repair, the calls that it still forbids raise notifications too, and the supervisor carries out what
//! the policy says: it answers with the errno, or kills the process. The kernel could do that by itself, but then
//! nobody without privileges would see that a *child* was killed, or that a call failed. A call that the policy
//! forbids never runs. The kill is SIGKILL rather than SIGSYS: it cannot be caught, and leaves no core dump.

use super::denials::{Denials, process_of};
use super::notify::Notify;
use super::processes::timeout;
use super::{LocalError, Mode, Options};
use crate::evidence::{Effect, Untrusted};
use crate::policy::{Action, Policy};
use crate::replay::Exit;
use crate::seccomp::kernel::{Listener, Notification};
use crate::syscalls::Call;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, poll};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::collections::{BTreeSet, VecDeque};
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
    output: Output,
}

impl<'a> Supervisor<'a> {
    pub(super) fn new(
        policy: &'a Policy,
        mode: Mode,
        options: &'a Options,
        notify: Option<Notify>,
    ) -> Result<Self, LocalError> {
        let launcher = std::fs::canonicalize(&options.launcher).unwrap_or_default();
        let denials = Denials::new(launcher);
        let output = Output::new()?;
        let (listeners, condemned) = (Vec::new(), BTreeSet::new());
        Ok(Supervisor { policy, mode, options, listeners, denials, notify, condemned, output })
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

    fn action(&self, call: Call, notification: &Notification) -> Action {
        self.policy.answer_of_filters(call).to(&notification.arguments).action
    }

    fn answer(&mut self, index: usize, notification: Notification) -> Result<(), LocalError> {
        let listener = &self.listeners[index];
        let id = notification.id;
        let call = Call::from_record(notification.arch, notification.number);
        let effect = match (self.mode, call.map(|call| self.action(call, &notification))) {
            (Mode::Record, _) | (_, Some(Action::Allow | Action::Log)) => Effect::Recorded,
            (Mode::Enforce, Some(Action::Errno(number))) => Effect::Failed(number),
            (Mode::Enforce, Some(Action::Kill) | None) => Effect::Killed,
        };
        if let Some(call) = call {
            self.denials.add(call, effect, notification.thread, || listener.waits(id));
        }
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

const ENOSYS: u16 = 38;

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
