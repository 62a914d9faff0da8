//! Tests of what a unit runs: beside it, outside of its filter, or in its place, under it.

use super::launch::{Spec, Streams};
use super::processes::timeout;
use super::service::{Over, Running, Service};
use super::supervisor::errno;
use super::{LocalError, Observation};
use crate::replay::{Casualty, CheckResult, Exit, Outcome};
use crate::seccomp::descriptors;
use nix::poll::{PollFd, PollFlags, poll};
use nix::sys::signal::{Signal, killpg};
use nix::sys::stat::{Mode, umask};
use nix::unistd::{AccessFlags, Pid, access};
use std::io::{self, IsTerminal};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long tests may take to end when they are asked to.
const STOP_PATIENCE: Duration = Duration::from_secs(2);
/// Longer than any tests take that have no limit.
const FOR_EVER: Duration = Duration::from_secs(u32::MAX as u64);

/// A command that tests what a unit runs.
#[derive(Clone, Debug)]
pub struct Tests {
    /// The command and its arguments, as they were given. Never empty.
    pub command: Vec<String>,
    /// It runs under the unit's filter, and nothing of the unit is started.
    pub under: bool,
    /// How long they may take.
    pub limit: Option<Duration>,
    program: PathBuf,
}

/// How tests ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// By themselves.
    So(Exit),
    /// They took longer than they may, and were stopped.
    Late,
}

/// What a check showed.
#[derive(Debug)]
pub struct Checked {
    /// What was seen of the unit; of tests that ran in its place, what was seen of them.
    pub observation: Observation,
    /// How the tests ended; nothing: there are none, or the unit did not come so far that they could run.
    pub tests: Option<Ended>,
}

impl Tests {
    /// Find the program, as a shell does. Nothing: there is none that can be executed.
    #[must_use]
    pub fn find(command: &[String], under: bool, limit: Option<Duration>) -> Option<Self> {
        let name = command.first()?;
        let executable = |path: &PathBuf| path.is_file() && access(path, AccessFlags::X_OK).is_ok();
        let program = if name.contains('/') {
            Some(PathBuf::from(name)).filter(executable)
        } else {
            let path = std::env::var_os("PATH")?;
            std::env::split_paths(&path).map(|folder| folder.join(name)).find(executable)
        };
        Some(Tests { command: command.to_vec(), under, limit, program: program? })
    }

    /// When tests that begin now have to be over.
    fn deadline(&self) -> Instant {
        Instant::now() + self.limit.unwrap_or(FOR_EVER)
    }

    /// What a launcher needs: everything as the caller has it, but the filter.
    fn spec(&self, no_new_privileges: bool, filter: Option<Vec<(u16, u8, u8, u32)>>) -> Spec {
        // a specification is text; what else a variable may hold, tests seldom look at
        let text = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
            Some(format!("{}={}", name.into_string().ok()?, value.into_string().ok()?))
        };
        let mask = umask(Mode::empty());
        umask(mask); // it can only be read by setting it
        Spec {
            path: self.program.display().to_string(),
            arguments: self.command.clone(),
            environment: std::env::vars_os().filter_map(text).collect(),
            told_its_pid: false,
            directory: ".".to_owned(),
            directory_optional: false,
            umask: mask.bits(),
            limits: Vec::new(),
            identity: None,
            no_new_privileges,
            nice: None,
            oom_score_adjust: None,
            ignore_sigpipe: false,
            filter,
        }
    }
}

impl Service<'_> {
    /// Run tests until they end, while the unit runs, and say what it did meanwhile.
    pub(super) fn beside(&mut self, mut main: Option<Running>, tests: &Tests) -> Result<Outcome, Over> {
        let mut tester = Tester::start(tests)?;
        self.family.leave_alone(tester.pid());
        let (mut over, mut buried) = (None, Instant::now());
        let mut deadline = tests.deadline();
        let ended = loop {
            if let Some(running) = &main
                && let Some(end) = self.main_end(running)
            {
                main = None;
                over = Some(match end {
                    Ok(()) => Outcome::Finished,
                    Err(Over::Ended(outcome)) => outcome,
                    Err(error) => return Err(error),
                });
            }
            if let Some(exit) = tester.ended()? {
                break if tester.asked { Ended::Late } else { Ended::So(exit) };
            }
            if Instant::now() >= deadline {
                if tester.asked {
                    break Ended::Late;
                }
                tester.ask();
                deadline = Instant::now() + STOP_PATIENCE;
            }
            let ends = main.iter().map(|running| running.ends.as_fd());
            let ends: Vec<_> = ends.chain([tester.ends.as_fd()]).collect();
            self.supervisor.turn(&ends, deadline)?;
            if buried.elapsed() > Duration::from_secs(1) {
                self.family.reap(main.as_ref().map(|running| running.pid));
                buried = Instant::now();
            }
        };
        drop(tester);
        self.tested = Some(ended);
        let alive = main.is_some() || !self.family.running().is_empty();
        Ok(over.unwrap_or(if alive { Outcome::Running } else { Outcome::Finished }))
    }

    /// Run tests in the place of the unit, under its filter, until they end.
    pub(super) fn under(
        &mut self,
        tests: &Tests,
    ) -> Result<(Outcome, Option<CheckResult>, Vec<Casualty>), LocalError> {
        let spec = tests.spec(self.context.no_new_privileges, self.filter.clone());
        let streams = Streams { input: input()?, output: standard_error()?, errors: standard_error()? };
        let running = self.launch(&spec, &tests.command.join(" "), streams)?;
        self.tested = Some(self.wait(&running, tests.deadline())?.map_or(Ended::Late, Ended::So));
        let casualties = self.supervisor.casualties();
        self.stop()?;
        Ok((Outcome::Finished, None, casualties))
    }
}

/// Tests that run beside a unit. Whatever of them still runs when this is dropped is stopped.
struct Tester {
    child: Child,
    ends: OwnedFd,
    /// They were asked to end.
    asked: bool,
}

impl Tester {
    fn start(tests: &Tests) -> Result<Self, LocalError> {
        let failed = |error| LocalError::Tests { program: tests.program.clone(), error };
        let name = tests.command.first().map_or("", String::as_str);
        let child = Command::new(in_this_folder(&tests.program))
            .arg0(name)
            .args(tests.command.get(1..).unwrap_or_default())
            .stdin(input()?.map_or_else(Stdio::null, Stdio::from))
            .stdout(standard_error()?)
            .stderr(Stdio::inherit())
            .process_group(0) // so that all of them can be stopped, and Ctrl-C does not end them before us
            .spawn()
            .map_err(failed)?;
        let pid = Pid::from_raw(i32::try_from(child.id()).unwrap_or(-1));
        let ends = descriptors::open_process(pid).map_err(LocalError::system("watching the tests"))?;
        Ok(Tester { child, ends, asked: false })
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.child.id()).unwrap_or(-1))
    }

    /// Ask all of them to end. Only while the first one was not waited for.
    fn ask(&mut self) {
        let _gone = killpg(self.pid(), Signal::SIGTERM);
        self.asked = true;
    }

    /// How they ended; nothing: they run.
    fn ended(&mut self) -> Result<Option<Exit>, LocalError> {
        let failed = |e| LocalError::system("waiting for the tests")(errno(&e));
        let status = self.child.try_wait().map_err(failed)?;
        Ok(status.and_then(|status| status.code().map(Exit::Status).or(status.signal().map(Exit::Signal))))
    }
}

impl Drop for Tester {
    fn drop(&mut self) {
        // a group's number stays its own until its first process was waited for
        if let Ok(None) = self.child.try_wait() {
            if !self.asked {
                self.ask();
                let deadline = Instant::now() + STOP_PATIENCE;
                let mut ends = [PollFd::new(self.ends.as_fd(), PollFlags::POLLIN)];
                while Instant::now() < deadline && poll(&mut ends, timeout(deadline)) == Ok(0) {}
            }
            let _gone = killpg(self.pid(), Signal::SIGKILL);
            let _gone = self.child.wait();
        }
    }
}

/// A program's path that is not looked for along PATH again.
fn in_this_folder(program: &Path) -> PathBuf {
    if program.components().count() == 1 { Path::new(".").join(program) } else { program.to_owned() }
}

/// The caller's standard input; nothing for a terminal, which is not for processes in the background.
fn input() -> Result<Option<OwnedFd>, LocalError> {
    let input = io::stdin();
    let end = (!input.is_terminal()).then(|| input.as_fd().try_clone_to_owned()).transpose();
    end.map_err(|e| LocalError::system("sharing standard input")(errno(&e)))
}

fn standard_error() -> Result<OwnedFd, LocalError> {
    let end = io::stderr().as_fd().try_clone_to_owned();
    end.map_err(|e| LocalError::system("sharing standard error")(errno(&e)))
}
