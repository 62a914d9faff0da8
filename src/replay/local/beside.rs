//! Tests of what a unit runs: beside it, outside of its filter, or in its place, under it.

use super::launch::Spec;
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
/// Longer than any tests take.
const FOR_EVER: Duration = Duration::from_secs(u32::MAX as u64);

/// A command that tests what a unit runs.
#[derive(Clone, Debug)]
pub struct Tests {
    /// The command and its arguments, as they were given. Never empty.
    pub command: Vec<String>,
    /// It runs under the unit's filter, and nothing of the unit is started.
    pub under: bool,
    program: PathBuf,
}

/// What a check showed.
#[derive(Debug)]
pub struct Checked {
    /// What was seen of the unit; of tests that ran in its place, what was seen of them.
    pub observation: Observation,
    /// How the tests ended; nothing: there are none, or the unit did not come so far that they could run.
    pub tests: Option<Exit>,
}

impl Tests {
    /// Find the program, as a shell does. Nothing: there is none that can be executed.
    #[must_use]
    pub fn find(command: &[String], under: bool) -> Option<Self> {
        let name = command.first()?;
        let executable = |path: &PathBuf| path.is_file() && access(path, AccessFlags::X_OK).is_ok();
        let program = if name.contains('/') {
            Some(PathBuf::from(name)).filter(executable)
        } else {
            let path = std::env::var_os("PATH")?;
            std::env::split_paths(&path).map(|folder| folder.join(name)).find(executable)
        };
        Some(Tests { command: command.to_vec(), under, program: program? })
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
        let exit = loop {
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
                break exit;
            }
            let ends = main.iter().map(|running| running.ends.as_fd());
            let ends: Vec<_> = ends.chain([tester.ends.as_fd()]).collect();
            self.supervisor.turn(&ends, Instant::now() + FOR_EVER)?;
            if buried.elapsed() > Duration::from_secs(1) {
                self.family.reap(main.as_ref().map(|running| running.pid));
                buried = Instant::now();
            }
        };
        self.tested = Some(exit);
        let alive = main.is_some() || !self.family.running().is_empty();
        Ok(over.unwrap_or(if alive { Outcome::Running } else { Outcome::Finished }))
    }

    /// Run tests in the place of the unit, under its filter, until they end.
    pub(super) fn under(
        &mut self,
        tests: &Tests,
    ) -> Result<(Outcome, Option<CheckResult>, Vec<Casualty>), LocalError> {
        let spec = tests.spec(self.context.no_new_privileges, self.filter.clone());
        let (output, errors) = (standard_error()?, standard_error()?);
        let running = self.launch(&spec, &tests.command.join(" "), output, errors)?;
        self.tested = self.wait(&running, Instant::now() + FOR_EVER)?;
        let casualties = self.supervisor.casualties();
        self.stop()?;
        Ok((Outcome::Finished, None, casualties))
    }
}

/// Tests that run beside a unit. Whatever of them still runs when this is dropped is stopped.
struct Tester {
    child: Child,
    ends: OwnedFd,
}

impl Tester {
    fn start(tests: &Tests) -> Result<Self, LocalError> {
        let failed = |error| LocalError::Tests { program: tests.program.clone(), error };
        // the terminal is not for a process group in the background
        let input = if io::stdin().is_terminal() { Stdio::null() } else { Stdio::inherit() };
        let name = tests.command.first().map_or("", String::as_str);
        let child = Command::new(in_this_folder(&tests.program))
            .arg0(name)
            .args(tests.command.get(1..).unwrap_or_default())
            .stdin(input)
            .stdout(standard_error()?)
            .stderr(Stdio::inherit())
            .process_group(0) // so that all of them can be stopped, and Ctrl-C does not end them before us
            .spawn()
            .map_err(failed)?;
        let pid = Pid::from_raw(i32::try_from(child.id()).unwrap_or(-1));
        let ends = descriptors::open_process(pid).map_err(LocalError::system("watching the tests"))?;
        Ok(Tester { child, ends })
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.child.id()).unwrap_or(-1))
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
            let _gone = killpg(self.pid(), Signal::SIGTERM);
            let deadline = Instant::now() + STOP_PATIENCE;
            let mut ends = [PollFd::new(self.ends.as_fd(), PollFlags::POLLIN)];
            while Instant::now() < deadline && poll(&mut ends, timeout(deadline)) == Ok(0) {}
            let _gone = killpg(self.pid(), Signal::SIGKILL);
            let _gone = self.child.wait();
        }
    }
}

/// A program's path that is not looked for along PATH again.
fn in_this_folder(program: &Path) -> PathBuf {
    if program.components().count() == 1 { Path::new(".").join(program) } else { program.to_owned() }
}

fn standard_error() -> Result<OwnedFd, LocalError> {
    let end = io::stderr().as_fd().try_clone_to_owned();
    end.map_err(|e| LocalError::system("sharing standard error")(errno(&e)))
}
