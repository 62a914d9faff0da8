//! The life of a service, as the manager would lead it: conditions, preparations, the main process by the unit's
//! type, what follows it, and the watch. systemd.service(5), src/core/service.c.

use super::context::Context;
use super::launch::{self, Failure, SECCOMP, Spec, Streams, send_spec};
use super::limits;
use super::processes::{Family, ended};
use super::supervisor::{Supervisor, errno};
use super::{Ended, LocalError, Options, Tests};
use crate::interrupt::GLANCE;
use crate::replay::{Casualty, CheckResult, Checking, Exit, Outcome};
use crate::seccomp::descriptors;
use crate::seccomp::kernel::Listener;
use crate::unit::Unit;
use crate::unit::exec::{Command, Stage};
use nix::errno::Errno;
use nix::sys::signal::Signal;
use nix::unistd::Pid;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

/// How long the launcher may take to set things up.
const LAUNCH_PATIENCE: Duration = Duration::from_secs(30);
/// How long processes may take to end when they are asked to.
const STOP_PATIENCE: Duration = Duration::from_secs(5);

/// A unit that runs.
pub(super) struct Service<'a> {
    /// First, so that its processes are dead before the listeners close, which would answer their calls.
    pub(super) family: Family,
    pub(super) unit: &'a Unit,
    pub(super) options: &'a Options,
    pub(super) context: Context<'a>,
    pub(super) filter: Option<Vec<(u16, u8, u8, u32)>>,
    pub(super) supervisor: Supervisor<'a>,
    pub(super) kind: Kind,
    /// What runs beside it, for as long as which it is watched.
    pub(super) tests: Option<&'a Tests>,
    /// How the tests ended.
    pub(super) tested: Option<Ended>,
}

/// `Type=`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Simple,
    Oneshot,
    Notify,
    Forking,
    Dbus,
}

impl Kind {
    pub(super) fn of(unit: &Unit) -> Self {
        match unit.text("Type") {
            Some("oneshot") => Kind::Oneshot,
            Some("notify" | "notify-reload") => Kind::Notify,
            Some("forking") => Kind::Forking,
            Some("dbus") => Kind::Dbus,
            None if unit.text("BusName").is_some() => Kind::Dbus,
            None if unit.commands(Stage::Start).is_empty() => Kind::Oneshot,
            _ => Kind::Simple,
        }
    }
}

/// Why the life of the service is over before its time.
pub(super) enum Over {
    Ended(Outcome),
    Error(LocalError),
}

impl From<LocalError> for Over {
    fn from(error: LocalError) -> Self {
        Over::Error(error)
    }
}

/// A process that was started, or that took over as the main one.
pub(super) struct Running {
    pub(super) pid: Pid,
    pub(super) ends: OwnedFd,
    command: String,
}

impl Service<'_> {
    /// Start it, watch it, and say what it did. Whatever it left running is stopped afterwards.
    pub(super) fn run(&mut self) -> Result<(Outcome, Option<CheckResult>, Vec<Casualty>), LocalError> {
        let mut checking = self.options.check.as_ref().map(Checking::new);
        let outcome = match self.live(checking.as_mut()) {
            Ok(outcome) | Err(Over::Ended(outcome)) => outcome,
            Err(Over::Error(error)) => return Err(error),
        };
        let checking = checking.filter(|_| outcome.healthy());
        let check = checking.map(|checking| checking.end(&self.options.interrupt));
        let casualties = self.supervisor.casualties();
        self.stop()?;
        Ok((outcome, check, casualties))
    }

    fn live(&mut self, checking: Option<&mut Checking>) -> Result<Outcome, Over> {
        self.condition()?;
        self.control(Stage::StartPre)?;
        let main = match self.kind {
            Kind::Oneshot => self.oneshot()?,
            Kind::Forking => self.forking()?,
            Kind::Notify => self.notifying()?,
            Kind::Simple | Kind::Dbus => self.first_start()?,
        };
        if let Some(main) = &main {
            self.context.set("MAINPID", main.pid.to_string());
        }
        self.control(Stage::StartPost)?;
        match self.tests {
            Some(tests) => self.beside(main, tests),
            None => self.watch(main, checking),
        }
    }

    /// `ExecCondition=`: from 1 to 254 means that the unit shall not run, which is no failure.
    fn condition(&mut self) -> Result<(), Over> {
        for command in self.unit.commands(Stage::Condition) {
            match self.run_to_end(&command)? {
                Some(Exit::Status(status @ 1..=254)) if !command.prefixes.ignore_failure => {
                    let text = &command.text;
                    let note = format!("{text} ended with {status}, so the unit does not run here");
                    self.context.notes.push(note);
                    return Err(Over::Ended(Outcome::Finished));
                }
                exit => self.judge(&command, exit, false)?,
            }
        }
        Ok(())
    }

    /// Commands around the main process: all must end with 0.
    fn control(&mut self, stage: Stage) -> Result<(), Over> {
        for command in self.unit.commands(stage) {
            let exit = self.run_to_end(&command)?;
            self.judge(&command, exit, false)?;
        }
        Ok(())
    }

    fn oneshot(&mut self) -> Result<Option<Running>, Over> {
        for command in self.unit.commands(Stage::Start) {
            let Some(running) = self.start(&command)? else { continue };
            // a oneshot may take as long as it likes, but nobody can watch it for ever
            let Some(exit) = self.wait(&running, self.start_deadline())? else {
                self.context.notes.push(format!("{} was still at work, and was stopped", command.text));
                return Err(Over::Ended(Outcome::Running));
            };
            self.judge(&command, Some(exit), true)?;
        }
        Ok(None)
    }

    /// The main process of every other type.
    fn first_start(&mut self) -> Result<Option<Running>, Over> {
        match self.unit.commands(Stage::Start).first() {
            Some(command) => self.start(command),
            None => Ok(None),
        }
    }

    fn notifying(&mut self) -> Result<Option<Running>, Over> {
        let Some(mut running) = self.first_start()? else { return Ok(None) };
        let deadline = self.start_deadline();
        loop {
            let notify = self.supervisor.notify.as_ref();
            if notify.is_some_and(|n| n.ready) {
                let other = notify.and_then(|n| n.main).map(Pid::from_raw).filter(|pid| *pid != running.pid);
                if let Some(main) = other.and_then(|pid| self.adopt(pid, &running.command)) {
                    running = main;
                }
                return Ok(Some(running));
            }
            if let Some(exit) = self.ended(&running) {
                let result = if exit == Exit::Status(0) { "protocol" } else { word(exit) };
                return Err(failed(result, Some(exit), &running.command));
            }
            if Instant::now() >= deadline {
                self.context.notes.push("it did not send READY=1 in time".to_owned());
                return Err(failed("timeout", None, &running.command));
            }
            self.supervisor.turn(&[running.ends.as_fd()], deadline)?;
        }
    }

    /// The first process must end well, and leave the main one behind.
    fn forking(&mut self) -> Result<Option<Running>, Over> {
        let Some(command) = self.unit.commands(Stage::Start).first().cloned() else { return Ok(None) };
        let Some(parent) = self.start(&command)? else { return Ok(None) };
        let deadline = self.start_deadline();
        let Some(exit) = self.wait(&parent, deadline)? else {
            self.context.notes.push("its first process did not end, as Type=forking demands".to_owned());
            return Err(failed("timeout", None, &command.text));
        };
        self.judge(&command, Some(exit), false)?;
        let Some(path) = self.unit.text("PIDFile") else {
            let running = self.family.running();
            let [only] = running[..] else { return Ok(None) };
            return Ok(self.adopt(only, &command.text));
        };
        let path = Path::new("/run").join(path);
        loop {
            let pid = std::fs::read_to_string(&path).ok().and_then(|text| text.trim().parse().ok());
            // the file may be an old one, or that of the real service
            if let Some(main) = pid.map(Pid::from_raw).and_then(|pid| self.adopt(pid, &command.text)) {
                return Ok(Some(main));
            }
            if Instant::now() >= deadline || self.family.running().is_empty() {
                self.context.notes.push(format!("{} does not name its main process", path.display()));
                return Err(failed("protocol", None, &command.text));
            }
            self.supervisor.turn(&[], deadline.min(Instant::now() + GLANCE))?;
        }
    }

    /// Another process of the unit becomes the main one.
    fn adopt(&self, pid: Pid, command: &str) -> Option<Running> {
        let ours = self.family.running().contains(&pid);
        let ends = ours.then(|| descriptors::open_process(pid).ok()).flatten()?;
        Some(Running { pid, ends, command: command.to_owned() })
    }

    /// Look at the unit until the time is up, or it is over.
    fn watch(&mut self, main: Option<Running>, mut checking: Option<&mut Checking>) -> Result<Outcome, Over> {
        let deadline = Instant::now() + self.options.observe;
        let stays = self.unit.flag("RemainAfterExit");
        let mut buried = Instant::now();
        let mut main = main;
        loop {
            if let Some(running) = &main
                && let Some(end) = self.main_end(running)
            {
                end?;
                main = None;
                // with its main process the service ends, and all the others with it
                if !stays {
                    return Ok(Outcome::Finished);
                }
            }
            if Instant::now() >= deadline {
                let alive = main.is_some() || !self.family.running().is_empty();
                return Ok(if alive { Outcome::Running } else { Outcome::Finished });
            }
            // without a main process the service lasts as long as any of its processes
            let over = main.is_none() && self.family.running().is_empty();
            if over || (main.is_none() && self.kind == Kind::Oneshot && !stays) {
                return Ok(Outcome::Finished);
            }
            let ends: Vec<_> = main.iter().map(|running| running.ends.as_fd()).collect();
            let mut until = deadline;
            if let Some(checking) = &mut checking {
                checking.turn();
                until = until.min(Instant::now() + GLANCE);
            }
            self.supervisor.turn(&ends, until)?;
            if buried.elapsed() > Duration::from_secs(1) {
                self.family.reap(main.as_ref().map(|running| running.pid));
                buried = Instant::now();
            }
        }
    }

    /// Whether the main process has ended, and whether well.
    pub(super) fn main_end(&self, running: &Running) -> Option<Result<(), Over>> {
        let exit = self.ended(running)?;
        let first = self.unit.commands(Stage::Start).into_iter().next();
        let ignored = first.is_some_and(|command| command.prefixes.ignore_failure);
        let well = ignored || self.clean(exit, true);
        Some(if well { Ok(()) } else { Err(failed(word(exit), Some(exit), &running.command)) })
    }

    /// Ask all processes to end, still answering their calls; what does not listen is killed.
    pub(super) fn stop(&mut self) -> Result<(), LocalError> {
        let deadline = Instant::now() + STOP_PATIENCE;
        self.family.signal(Signal::SIGTERM);
        self.family.signal(Signal::SIGCONT);
        loop {
            self.family.reap(None);
            let running = self.family.running();
            if running.is_empty() || Instant::now() >= deadline {
                return Ok(()); // what is left dies with the family
            }
            let ends: Vec<OwnedFd> =
                running.iter().filter_map(|p| descriptors::open_process(*p).ok()).collect();
            let ends: Vec<_> = ends.iter().map(AsFd::as_fd).collect();
            self.supervisor.turn(&ends, deadline)?;
        }
    }

    fn run_to_end(&mut self, command: &Command) -> Result<Option<Exit>, Over> {
        let Some(running) = self.start(command)? else { return Ok(Some(Exit::Status(0))) };
        Ok(self.wait(&running, self.start_deadline())?)
    }

    /// How a process ended; nothing when the time was up before.
    pub(super) fn wait(&mut self, running: &Running, deadline: Instant) -> Result<Option<Exit>, LocalError> {
        loop {
            if let Some(exit) = self.ended(running) {
                return Ok(Some(exit));
            }
            if Instant::now() >= deadline {
                return Ok(None);
            }
            self.supervisor.turn(&[running.ends.as_fd()], deadline)?;
        }
    }

    fn ended(&self, running: &Running) -> Option<Exit> {
        ended(running.pid).map(|exit| self.supervisor.told(running.pid, exit))
    }

    /// When a start takes too long: what the unit says, if that is sooner than what the caller wants to wait.
    fn start_deadline(&self) -> Instant {
        let text = self.unit.text("TimeoutStartSec").or_else(|| self.unit.text("TimeoutSec"));
        let own = text.and_then(limits::seconds).filter(|time| !time.is_zero());
        Instant::now() + own.unwrap_or(self.options.start).min(self.options.start)
    }

    /// Whether the unit goes on after a command that ended so; `main`: the unit's own idea of success counts.
    fn judge(&self, command: &Command, exit: Option<Exit>, main: bool) -> Result<(), Over> {
        match exit {
            None => Err(failed("timeout", None, &command.text)),
            Some(exit) if command.prefixes.ignore_failure || self.clean(exit, main) => Ok(()),
            Some(exit) => Err(failed(word(exit), Some(exit), &command.text)),
        }
    }

    /// `is_clean_exit()`: 0, or what the unit says; for a daemon, also the signals that end daemons.
    fn clean(&self, exit: Exit, main: bool) -> bool {
        let daemon = main && self.kind != Kind::Oneshot;
        let usual = match exit {
            Exit::Status(status) => status == 0,
            Exit::Signal(signal) => {
                daemon && [libc::SIGHUP, libc::SIGINT, libc::SIGTERM, libc::SIGPIPE].contains(&signal)
            }
        };
        let words = || {
            let lines: Vec<&str> =
                self.unit.service("SuccessExitStatus").map(|s| s.value.text.as_str()).collect();
            let reset = lines.iter().rposition(|line| line.is_empty()).map_or(0, |at| at + 1);
            lines[reset..].iter().flat_map(|line| line.split_whitespace()).any(|word| names(word, exit))
        };
        usual || (main && words())
    }

    /// Start a command, and come back when its program runs. Nothing: it is not there, and need not be.
    fn start(&mut self, command: &Command) -> Result<Option<Running>, Over> {
        if let Some(notify) = &self.supervisor.notify {
            let address = notify.address();
            self.context.set("NOTIFY_SOCKET", address);
        }
        let Some(spec) = self.context.spec(command, self.filter.clone()) else {
            if command.prefixes.ignore_failure {
                return Ok(None);
            }
            let (program, place) = (command.program().to_owned(), command.span.location());
            return Err(LocalError::ProgramNotFound { program, place }.into());
        };
        let (output, errors) = (self.supervisor.output()?, self.supervisor.output()?);
        Ok(Some(self.launch(&spec, &command.text, Streams { input: None, output, errors })?))
    }

    /// Have a launcher become a program.
    pub(super) fn launch(
        &mut self,
        spec: &Spec,
        text: &str,
        streams: Streams,
    ) -> Result<Running, LocalError> {
        let broken = |doing| move |e: std::io::Error| LocalError::system(doing)(errno(&e));
        let (mut control, theirs) = UnixStream::pair().map_err(broken("making a socket"))?;
        #[allow(clippy::zombie_processes)] // the family buries it
        let child = std::process::Command::new(&self.options.launcher)
            .arg(launch::ARGUMENT)
            .env_clear()
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(Stdio::from(streams.output))
            .stderr(Stdio::from(streams.errors))
            .spawn()
            .map_err(|e| LocalError::Launcher { path: self.options.launcher.clone(), errno: errno(&e) })?;
        let pid = Pid::from_raw(i32::try_from(child.id()).unwrap_or(-1));
        let ends = descriptors::open_process(pid).map_err(LocalError::system("watching a process"))?;
        let running = Running { pid, ends, command: text.to_owned() };
        self.supervisor.know(pid);
        let not_ours = |e: std::io::Error| self.no_launcher(errno(&e));
        send_spec(&mut control, spec, streams.input.as_ref()).map_err(not_ours)?;
        self.see_off(&mut control, &running, spec.filter.is_some())?;
        Ok(running)
    }

    /// Talk to the launcher until it has become the program, or has failed to.
    fn see_off(
        &mut self,
        control: &mut UnixStream,
        running: &Running,
        filtered: bool,
    ) -> Result<(), LocalError> {
        let deadline = Instant::now() + LAUNCH_PATIENCE;
        let mut listening = !filtered;
        loop {
            if Instant::now() >= deadline {
                return Err(self.no_launcher(Errno::ETIMEDOUT));
            }
            let ready = self.supervisor.turn(&[control.as_fd(), running.ends.as_fd()], deadline)?;
            match ready[..] {
                [false, false] => continue,
                [false, true] => return Ok(()), // it died; how, is found out by whoever waits for it
                _ => {}
            }
            let message = descriptors::receive_with_fd(control)
                .map_err(|e| LocalError::system("launching")(errno(&e)))?;
            match message {
                Some((launch::LISTENER, Some(fd))) => {
                    let errno = |errno| LocalError::Notification { errno };
                    self.supervisor.listen(Listener::new(fd).map_err(errno)?);
                    listening = true;
                    // if it is gone, the next turn shows that
                    let _gone = control.write_all(&[launch::GO]);
                }
                Some((launch::FAILED, _)) => return self.failed_launch(control),
                // its end of the socket closed when the program was executed
                None if listening => return Ok(()),
                _ => return Err(self.no_launcher(Errno::EPROTO)),
            }
        }
    }

    /// The command could not be executed: it ends with systemd's exit status for that, and a note says why.
    fn failed_launch(&mut self, control: &mut UnixStream) -> Result<(), LocalError> {
        let mut text = Vec::new();
        let read = control.read_to_end(&mut text).ok().and_then(|_| serde_json::from_slice(&text).ok());
        let Some(Failure { status, what, errno }) = read else {
            return Err(self.no_launcher(Errno::EPROTO));
        };
        let errno = Errno::from_raw(errno);
        if status == SECCOMP {
            return Err(LocalError::Notification { errno });
        }
        self.context.notes.push(format!("{what}: {}", errno.desc()));
        Ok(())
    }

    fn no_launcher(&self, errno: Errno) -> LocalError {
        LocalError::Launcher { path: PathBuf::from(&self.options.launcher), errno }
    }
}

fn failed(result: &str, exit: Option<Exit>, command: &str) -> Over {
    Over::Ended(Outcome::Failed { result: result.to_owned(), exit, command: Some(command.to_owned()) })
}

/// systemd's word for a failure (`Result=`).
fn word(exit: Exit) -> &'static str {
    match exit {
        Exit::Status(_) => "exit-code",
        Exit::Signal(_) => "signal",
    }
}

/// Whether a word of `SuccessExitStatus=` names this end.
fn names(word: &str, exit: Exit) -> bool {
    // sysexits.h, from 64 on
    const NAMES: [&str; 15] = [
        "USAGE",
        "DATAERR",
        "NOINPUT",
        "NOUSER",
        "NOHOST",
        "UNAVAILABLE",
        "SOFTWARE",
        "OSERR",
        "OSFILE",
        "CANTCREAT",
        "IOERR",
        "TEMPFAIL",
        "PROTOCOL",
        "NOPERM",
        "CONFIG",
    ];
    match exit {
        Exit::Status(status) => {
            let named = NAMES.iter().zip(64..).any(|(name, number)| *name == word && number == status);
            named || word.parse() == Ok(status)
        }
        Exit::Signal(signal) => {
            let full = if word.starts_with("SIG") { word.to_owned() } else { format!("SIG{word}") };
            full.parse::<Signal>().is_ok_and(|s| s as i32 == signal)
        }
    }
}
