//! The user's own idea of "it works": a command that is run while the unit is watched (`--check`). Exit status 0 means
//! healthy. A service may need a while until it answers, so the command is run again until it succeeds or the time
//! is up.

use super::Exit;
use crate::evidence::Untrusted;
use crate::interrupt::{GLANCE, Interrupt};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use std::fmt;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// How long one run of the command may take.
const LIMIT: Duration = Duration::from_secs(30);
/// How long to wait before it is run again.
const PAUSE: Duration = Duration::from_millis(250);
/// So much of the end of its output is looked at.
const TAIL: u64 = 4096;

/// A command that says whether the unit works.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// The command line, for `sh -c`.
    pub command: String,
}

/// What the last run of a check showed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CheckResult {
    /// It ended with status 0.
    Passed,
    /// It did not.
    Failed {
        /// How it ended; nothing: it did not end in time.
        exit: Option<Exit>,
        /// The last line that it wrote.
        said: Option<Untrusted>,
    },
}

impl CheckResult {
    /// Whether the unit works by it.
    #[must_use]
    pub fn passed(&self) -> bool {
        *self == CheckResult::Passed
    }
}

impl fmt::Display for CheckResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let CheckResult::Failed { exit, said } = self else { return f.write_str("the check passes") };
        match exit {
            Some(exit) => write!(f, "the check fails ({exit})")?,
            None => write!(f, "the check does not end within {} s", LIMIT.as_secs())?,
        }
        said.as_ref().map_or(Ok(()), |said| write!(f, ": {said}"))
    }
}

/// A check that is being made.
pub struct Checking {
    command: String,
    running: Option<Running>,
    next: Instant,
    last: Option<CheckResult>,
}

struct Running {
    child: Child,
    output: File,
    started: Instant,
}

impl Checking {
    /// Begin; nothing runs until the first [`Checking::turn`].
    #[must_use]
    pub fn new(check: &Check) -> Self {
        Checking { command: check.command.clone(), running: None, next: Instant::now(), last: None }
    }

    /// See to it: start the command, or take down how it ended. Call it every so often; it does not wait.
    pub fn turn(&mut self) {
        if self.last.as_ref().is_some_and(CheckResult::passed) {
            return;
        }
        let Some(running) = &mut self.running else {
            if Instant::now() >= self.next {
                match Running::start(&self.command) {
                    Ok(running) => self.running = Some(running),
                    Err(error) => self.take_down(cannot(&error)),
                }
            }
            return;
        };
        match running.child.try_wait() {
            Ok(Some(status)) => {
                let result = running.result(status);
                self.running = None;
                self.take_down(result);
            }
            Ok(None) if running.started.elapsed() >= LIMIT => {
                self.running = None; // stops it
                self.take_down(CheckResult::Failed { exit: None, said: None });
            }
            Ok(None) => {}
            Err(error) => {
                self.running = None;
                self.take_down(cannot(&error));
            }
        }
    }

    fn take_down(&mut self, result: CheckResult) {
        self.last = Some(result);
        self.next = Instant::now() + PAUSE;
    }

    /// What it shows at the end of a watch: what passed before is made once more, because what came later counts.
    #[must_use]
    pub fn end(mut self, interrupt: &Interrupt) -> CheckResult {
        if self.running.is_none() {
            (self.last, self.next) = (None, Instant::now());
            self.turn();
        }
        self.wait(interrupt)
    }

    /// What it showed. A run that goes on is waited for, at most as long as one may take, or until a signal comes.
    fn wait(mut self, interrupt: &Interrupt) -> CheckResult {
        while self.running.is_some() && !interrupt.raised() {
            std::thread::sleep(GLANCE);
            self.turn();
        }
        self.last.take().unwrap_or(CheckResult::Failed { exit: None, said: None })
    }
}

impl Check {
    /// Make it now: until it succeeds, or this long.
    #[must_use]
    pub fn now(&self, patience: Duration, interrupt: &Interrupt) -> CheckResult {
        let mut checking = Checking::new(self);
        let started = Instant::now();
        loop {
            checking.turn();
            let passed = checking.last.as_ref().is_some_and(CheckResult::passed);
            if passed || started.elapsed() >= patience || interrupt.raised() {
                return checking.wait(interrupt);
            }
            std::thread::sleep(GLANCE);
        }
    }
}

fn cannot(error: &io::Error) -> CheckResult {
    CheckResult::Failed { exit: None, said: Some(Untrusted::new(error.to_string())) }
}

impl Running {
    fn start(command: &str) -> io::Result<Self> {
        // a file without a name: whatever the command writes, it never waits for a reader
        let output = tempfile::tempfile()?;
        let child = Command::new("/bin/sh")
            .args(["-c", command])
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output.try_clone()?)
            .process_group(0) // so that all of it can be stopped, and Ctrl-C does not end it before us
            .spawn()?;
        Ok(Running { child, output, started: Instant::now() })
    }

    fn result(&mut self, status: ExitStatus) -> CheckResult {
        let exit = status.code().map(Exit::Status).or(status.signal().map(Exit::Signal));
        match exit {
            Some(Exit::Status(0)) => CheckResult::Passed,
            exit => CheckResult::Failed { exit, said: self.last_line() },
        }
    }

    fn last_line(&mut self) -> Option<Untrusted> {
        let length = self.output.seek(SeekFrom::End(0)).ok()?;
        self.output.seek(SeekFrom::Start(length.saturating_sub(TAIL))).ok()?;
        let mut text = Vec::new();
        self.output.by_ref().take(TAIL).read_to_end(&mut text).ok()?;
        let last = text.split(|b| *b == b'\n').rev().find(|line| !line.trim_ascii().is_empty())?;
        Some(Untrusted::new(last.get(..200).unwrap_or(last).trim_ascii()))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            if let Ok(group) = i32::try_from(self.child.id()) {
                let _ = killpg(Pid::from_raw(group), Signal::SIGKILL); // it may end by itself first
            }
            let _ = self.child.wait();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now(command: &str) -> CheckResult {
        Check { command: command.to_owned() }.now(Duration::from_millis(600), &Interrupt::default())
    }

    #[test]
    fn what_it_says() {
        assert_eq!(now("true"), CheckResult::Passed);
        assert_eq!(
            now("echo out; echo err >&2; echo; exit 7").to_string(),
            "the check fails (exit status 7): err"
        );
        assert_eq!(now("kill -9 $$").to_string(), "the check fails (killed by SIGKILL)");
    }

    #[test]
    fn it_is_tried_again_until_it_succeeds() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("second");
        let command = format!("test -e {0} || {{ touch {0}; exit 1; }}", file.display());
        assert_eq!(now(&command), CheckResult::Passed);
    }

    #[test]
    fn what_is_given_up_is_stopped_with_its_children() {
        let mut checking = Checking::new(&Check { command: "sleep 4711.5 & wait".to_owned() });
        checking.turn();
        let group = checking.running.as_ref().map(|running| running.child.id()).unwrap();
        drop(checking);
        let group = Pid::from_raw(i32::try_from(group).unwrap());
        let started = Instant::now();
        while killpg(group, None).is_ok() {
            assert!(started.elapsed() < Duration::from_secs(10), "it still runs");
            std::thread::sleep(GLANCE);
        }
    }
}
