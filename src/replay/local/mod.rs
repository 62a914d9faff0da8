//! The local replay: a unit's commands run without a service manager, with or without root, in the environment
//! that the manager would give. Calls that the unit's filter denies raise a seccomp user notification
//! (seccomp_unotify(2)): the supervisor records each and lets it continue, or carries out what a repaired policy
//! still says about it. Allowed calls run at full speed, and nothing is lost.
//!
//! What only a manager or a namespace can give is not imitated, and a note of the observation names it.

mod arguments;
mod beside;
mod context;
pub(super) mod denials;
mod executable;
mod launch;
mod limits;
mod notify;
mod processes;
mod service;
mod supervisor;

pub use beside::{Checked, Ended, Tests};
pub(super) use context::find_program;
pub(super) use launch::executor_name;
pub use launch::{ARGUMENT, launch_main};

use crate::interrupt::Interrupt;
use crate::policy::Policy;
use crate::policy::relax::with;
use crate::replay::session::{Watched, now_us};
use crate::replay::settings::Search;
use crate::replay::{Check, Engine, Observation};
use crate::seccomp::bpf::{self, OnDenied};
use crate::unit::Unit;
use context::Context;
use nix::errno::Errno;
use notify::Notify;
use service::{Kind, Service};
use std::path::PathBuf;
use std::time::{Duration, Instant};
use supervisor::Supervisor;

/// How to replay.
#[derive(Clone, Debug)]
pub struct Options {
    /// How long a service that stays is watched. Panics if it ends beyond what the clock can hold.
    pub observe: Duration,
    /// How long a start may take, where the unit does not want it sooner.
    pub start: Duration,
    /// The user's own idea of "it works".
    pub check: Option<Check>,
    /// Ends the replay when it is raised.
    pub interrupt: Interrupt,
    /// The unitfix program, which each command is launched with.
    pub launcher: PathBuf,
    /// Unwind the stack of each denied call while its process waits.
    pub blame: bool,
}

impl Options {
    /// Watch for this long; everything else as usual.
    #[must_use]
    pub fn new(observe: Duration, interrupt: Interrupt) -> Self {
        // systemd waits 90 s for a start (DefaultTimeoutStartSec=)
        let start = Duration::from_secs(90);
        let launcher = PathBuf::from("/proc/self/exe");
        Options { observe, start, check: None, interrupt, launcher, blame: false }
    }
}

/// What becomes of the calls that `SystemCallFilter=` and `SystemCallArchitectures=` deny. Those that other settings deny
/// are recorded and fail in either case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    /// They run, and are recorded.
    Record,
    /// Those for which the policy kills run, and are recorded; those that it lets fail do fail.
    Spare,
    /// They are recorded, and denied as the policy says.
    Enforce,
}

/// Why a unit cannot be replayed locally.
#[derive(Debug, thiserror::Error)]
pub enum LocalError {
    /// The unit has nothing to run.
    #[error("the unit has no ExecStart=, so there is nothing to run")]
    NoCommand,
    /// A program is not installed.
    #[error("{place}: there is no program {program} here: install it, or replay where it is installed")]
    ProgramNotFound {
        /// As the unit names it.
        program: String,
        /// Where the unit names it.
        place: String,
    },
    /// The unit's user or group does not exist.
    #[error(
        "there is no {kind} '{name}' here: create it (systemd-sysusers, or {kind}add --system {name}), or replay \
         without root"
    )]
    NoSuchUser {
        /// Its name.
        name: String,
        /// `user` or `group`.
        kind: &'static str,
    },
    /// An environment file that must be there.
    #[error("EnvironmentFile={}: {error}: put one there to replay the unit", path.display())]
    EnvironmentFile {
        /// The file.
        path: PathBuf,
        /// Why it cannot be read.
        error: std::io::Error,
    },
    /// The kernel refuses the filter or its notifications.
    #[error("seccomp user notifications do not work here ({}): {}", errno.desc(), refusal(*errno))]
    Notification {
        /// What the kernel says.
        errno: Errno,
    },
    /// The launcher did not do its work.
    #[error("{} does not work as a launcher ({}): it must be unitfix itself", path.display(), errno.desc())]
    Launcher {
        /// The program.
        path: PathBuf,
        /// What went wrong.
        errno: Errno,
    },
    /// The command that tests what the unit runs does not.
    #[error("the tests do not run: {}: {error}", program.display())]
    Tests {
        /// Its program.
        program: PathBuf,
        /// Why not.
        error: std::io::Error,
    },
    /// Somebody wants an end.
    #[error("interrupted: all processes of the replay were stopped")]
    Interrupted,
    /// The system refuses something that should always work.
    #[error("{doing}: {}", errno.desc())]
    System {
        /// What was to be done.
        doing: &'static str,
        /// Why it could not.
        errno: Errno,
    },
}

impl LocalError {
    fn system(doing: &'static str) -> impl Fn(Errno) -> LocalError {
        move |errno| LocalError::System { doing, errno }
    }
}

/// What to do when the kernel refuses notifications: seccomp(2), seccomp_unotify(2).
fn refusal(errno: Errno) -> &'static str {
    match errno {
        Errno::EBUSY => {
            "another supervisor already listens to this process, as some containers do: run unitfix outside of it"
        }
        Errno::EPERM | Errno::EACCES => {
            "this container or sandbox forbids seccomp(2): allow it, or run unitfix outside"
        }
        _ => "they need Linux 5.5 or later: run unitfix on a newer kernel, or replay with another engine",
    }
}

/// Run a unit with the calls let through that `SystemCallFilter=` and `SystemCallArchitectures=` forbid, and record
/// them. What other settings forbid fails as they say, and is recorded, too; where it ends the unit, it is run again
/// with as little of them relaxed as makes it work.
pub fn record(unit: &Unit, policy: &Policy, options: &Options) -> Result<Observation, LocalError> {
    Search { policy, unit, interrupt: &options.interrupt }.run(|relaxed| {
        let unit = with(unit, &relaxed.lines, policy.systemd);
        replay(&unit, &policy.relaxed(&unit), options, Mode::Record)
    })
}

/// Run a unit under a repaired policy. Whatever that still denies is really denied, and reported.
pub fn prove(unit: &Unit, repaired: &Policy, options: &Options) -> Result<Observation, LocalError> {
    replay(unit, repaired, options, Mode::Enforce)
}

/// Run a unit under its policy while tests run, or tests in its place. What the policy would kill for is let through and
/// recorded, so that one run finds all of it; what it lets fail does fail, and is recorded as well.
pub fn check(
    unit: &Unit,
    policy: &Policy,
    tests: Option<&Tests>,
    options: &Options,
) -> Result<Checked, LocalError> {
    run(unit, policy, options, Mode::Spare, tests)
}

fn replay(unit: &Unit, policy: &Policy, options: &Options, mode: Mode) -> Result<Observation, LocalError> {
    run(unit, policy, options, mode, None).map(|checked| checked.observation)
}

fn run(
    unit: &Unit,
    policy: &Policy,
    options: &Options,
    mode: Mode,
    tests: Option<&Tests>,
) -> Result<Checked, LocalError> {
    let (kind, under) = (Kind::of(unit), tests.filter(|tests| tests.under));
    let stages = &crate::unit::exec::Stage::ALL[..4];
    if under.is_none() && !stages.iter().any(|stage| !unit.commands(*stage).is_empty()) {
        return Err(LocalError::NoCommand);
    }
    let policy = &policy.with_filters_only();
    let filtered =
        policy.filter.exists() || policy.architectures.is_some() || !policy.restrictions.is_empty();
    let context =
        if under.is_some() { Context::of_caller(unit, filtered) } else { Context::of(unit, filtered)? };
    let notifies = kind == Kind::Notify || unit.text("NotifyAccess").is_some_and(|access| access != "none");
    let notify = (notifies && under.is_none()).then(Notify::new).transpose()?;
    let program = bpf::compile(policy, OnDenied::Notify);
    let mut service = Service {
        unit,
        options,
        context,
        filter: filtered.then(|| program.iter().map(|i| (i.code, i.jt, i.jf, i.k)).collect()),
        supervisor: Supervisor::new(policy, mode, options, notify)?,
        family: processes::Family::gather()?,
        kind,
        tests: tests.filter(|tests| !tests.under),
        tested: None,
    };
    let (started, began) = (Instant::now(), now_us());
    let (outcome, check, casualties) = match under {
        Some(tests) => service.under(tests)?,
        None => service.run()?,
    };
    let watched = Watched { outcome, check, time: started.elapsed(), began, ended: now_us() };
    let Service { context, mut supervisor, family, tested, .. } = service;
    drop(family); // whatever still ran is gone now, and has said its last word
    let mut observation = Observation::of(Engine::Local, watched);
    observation.notes = context.notes;
    if kind == Kind::Dbus && under.is_none() {
        observation.notes.push("not imitated: the bus name that Type=dbus waits for".to_owned());
    }
    observation.notes.extend(context::not_imitated(unit).filter(|_| under.is_none()));
    observation.log = supervisor.log();
    observation.casualties = Some(casualties);
    observation.denials = supervisor.denials.all;
    observation.lossy = supervisor.denials.lossy;
    Ok(Checked { observation, tests: tested })
}
