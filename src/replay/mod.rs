//! Replay: run the unit once with its forbidden calls let through and recorded. Only one thing changes: what
//! forbidden calls do.

mod audit_socket;
mod audit_status;
mod check;
pub(crate) mod complain;
pub mod local;
pub mod notified;
pub mod session;
mod settings;
mod traced;
mod trial;
mod unclaimed;
mod via;

pub use audit_socket::{AuditSocket, Heard, Sound};
pub use check::{Check, CheckResult, Checking};
pub use trial::{Trial, Trials};
pub use via::{Via, observe, takes_strace};

use crate::evidence::{Attribution, Denial, Process, Sighting, Untrusted, gather, summary};
use crate::interrupt::Interrupt;
use crate::manager::{Manager, ManagerError, UnitStatus};
use crate::policy::Policy;
use crate::policy::relax::Relaxations;
use crate::root::Root;
use crate::scope::Scope;
use crate::syscalls::Call;
use crate::unit::Unit;
use std::collections::BTreeSet;
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

/// Everything a replay under the manager needs.
pub struct Replay<'a> {
    /// The manager.
    pub manager: &'a dyn Manager,
    /// The unit.
    pub unit: &'a Unit,
    /// What its settings forbid.
    pub policy: &'a Policy,
    /// How it stands now.
    pub status: &'a UnitStatus,
    /// How long to watch it.
    pub observe: Duration,
    /// The user's own idea of "it works".
    pub check: Option<&'a Check>,
    /// Ends the waiting.
    pub interrupt: &'a Interrupt,
    /// The proc folder in which the process IDs of kernel records are found: `/proc`, or in a PID namespace
    /// another one.
    pub proc_root: PathBuf,
    /// The manager's executor was seen being denied a call, before it became the unit's program.
    pub executor_denied: bool,
    /// Let calls of other architectures in as well, because one of them is known to be made.
    pub relax_architectures: bool,
    /// Have strace print the stacks of denied calls.
    pub blame: bool,
}

impl Replay<'_> {
    /// How the unit is watched.
    pub(crate) fn watch(&self) -> session::Watch<'_> {
        session::Watch {
            observe: self.observe,
            check: self.check,
            interrupt: self.interrupt,
            enough: &|| false,
        }
    }

    /// The system's service that it is; empty: a user's is none, though the system may have one of its name.
    fn service(&self) -> &str {
        if self.unit.scope == Scope::System { self.unit.name.as_str() } else { "" }
    }

    /// Whether a control group is the unit's, or below it.
    #[must_use]
    pub fn owns(&self, cgroup: &str) -> bool {
        is_of(&self.status.control_group, self.service(), cgroup)
    }

    /// The same to be asked elsewhere.
    fn control_groups(&self) -> ControlGroups {
        ControlGroups { known: self.status.control_group.clone(), unit: self.service().to_owned() }
    }

    /// The denials of the unit among what was heard.
    #[must_use]
    pub fn denials(&self, heard: &Heard, known: &BTreeSet<Untrusted>) -> Vec<Denial> {
        let whose = self.attributions(&heard.sounds, known);
        let ours = heard.sounds.iter().zip(whose).filter_map(|(sound, whose)| Some((sound, whose?)));
        ours.map(|(sound, why)| Denial { attribution: Some(why), ..sound.denial.clone() }).collect()
    }

    /// The users as whom its processes run, with those that were seen.
    fn users_among(&self, sounds: &[Sound]) -> Users {
        let owned = sounds.iter().filter(|sound| sound.cgroup.as_deref().is_some_and(|c| self.owns(c)));
        let mut users = Users::of(self.unit);
        users.known.extend(owned.filter_map(|sound| sound.denial.process.user));
        users
    }

    /// Of each of these, why it is believed to be a denial of the unit; nothing: it is not. A process that was gone
    /// before its control group could be read is the unit's if it descends from no login, ran as one of the unit's
    /// users, and ran a program that the unit runs: one of its commands, one that was seen in it, or one of `known`.
    pub(crate) fn attributions(
        &self,
        sounds: &[Sound],
        known: &BTreeSet<Untrusted>,
    ) -> Vec<Option<Attribution>> {
        let owned = |sound: &&Sound| sound.cgroup.as_deref().is_some_and(|c| self.owns(c));
        let commands = gather::programs(self.unit, &Root::default());
        let mut programs: BTreeSet<Untrusted> =
            commands.iter().map(|path| Untrusted::new(path.as_os_str().as_encoded_bytes())).collect();
        programs.extend(sounds.iter().filter(owned).filter_map(|s| s.denial.process.exe.clone()));
        programs.extend(known.iter().cloned());
        let users = self.users_among(sounds);
        let runs = |exe: &Option<Untrusted>| exe.as_ref().is_some_and(|exe| programs.contains(exe));
        let left_traces = |process: &Process| {
            !process.login && runs(&process.exe) && process.user.is_some_and(|user| users.include(user))
        };
        let attribution = |sound: &Sound| match &sound.cgroup {
            Some(cgroup) => self.owns(cgroup).then_some(Attribution::ControlGroup),
            None => left_traces(&sound.denial.process).then_some(Attribution::OwnProgram),
        };
        let denied = |sound: &Sound| self.policy.decide(sound.denial.call).denies();
        sounds.iter().map(|sound| attribution(sound).filter(|_| denied(sound))).collect()
    }
}

/// The control groups of a unit.
struct ControlGroups {
    known: String,
    unit: String,
}

impl ControlGroups {
    fn include(&self, cgroup: &str) -> bool {
        is_of(&self.known, &self.unit, cgroup)
    }
}

/// Whether a control group is that of a unit, or below it, whose control group is known as that; empty: it is not.
fn is_of(known: &str, unit: &str, cgroup: &str) -> bool {
    let known = known.trim_end_matches('/');
    let below =
        |path: &str| path.strip_prefix(known).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    (!known.is_empty() && below(cgroup)) || names_service(cgroup, unit)
}

/// The users as whom processes of a unit run: that of the manager, whose executor begins them, and the unit's own.
pub(crate) struct Users {
    known: BTreeSet<u32>,
    dynamic: bool,
}

/// The users that `DynamicUser=` takes (systemd's UIDS-GIDS: 0xEF00 to 0xFFEF).
const DYNAMIC_USERS: std::ops::RangeInclusive<u32> = 61184..=65519;

impl Users {
    pub(crate) fn of(unit: &Unit) -> Self {
        let named = unit.text("User").and_then(|user| match user.parse() {
            Ok(number) => Some(number),
            Err(_) => nix::unistd::User::from_name(user).ok()?.map(|u| u.uid.as_raw()),
        });
        let of_manager = unit.scope.owner().map_or(0, |owner| owner.uid);
        Users { known: [of_manager].into_iter().chain(named).collect(), dynamic: unit.flag("DynamicUser") }
    }

    pub(crate) fn include(&self, user: u32) -> bool {
        self.known.contains(&user) || (self.dynamic && DYNAMIC_USERS.contains(&user))
    }
}

/// Whether a control group is that of a system service: slices, then the service, then anything. A user's own
/// service of the same name lies below `user@1000.service`, and is not it.
fn names_service(cgroup: &str, name: &str) -> bool {
    let mut parts = cgroup.split('/').filter(|p| !p.is_empty());
    parts.find(|part| part.strip_suffix(".slice").is_none()) == Some(name)
}

/// Why a replay did not come about, or was broken off. The unit is as it was.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// The kernel's records do not arrive.
    #[error("complain mode cannot be had here: {0}")]
    NoAudit(String),
    /// User notifications cannot be had.
    #[error("user notifications cannot be had here: {0}")]
    NoNotify(String),
    /// strace cannot do it.
    #[error("strace cannot do it: {0}")]
    NoStrace(String),
    /// None of them can.
    #[error(
        "user notifications cannot be had here: {notify}; nor can complain mode by the kernel's log: {audit}; and \
         strace cannot do it: {strace}"
    )]
    None {
        /// Why not user notifications.
        notify: String,
        /// Why not the kernel's records.
        audit: String,
        /// Why not strace.
        strace: String,
    },
    /// Its output.
    #[error("the output of strace: {0}")]
    Trace(io::Error),
    /// The session under the manager.
    #[error(transparent)]
    Session(#[from] session::SessionError),
    /// The manager.
    #[error(transparent)]
    Manager(#[from] ManagerError),
}

/// How a replay sees forbidden calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    /// Complain mode by the manager itself: the kernel logs the calls, the audit socket brings the records.
    Log,
    /// Complain mode by seccomp user notifications, inside the unit.
    Notify,
    /// The unit's commands run under strace.
    Strace,
    /// unitfix runs the commands itself under a filter that raises seccomp user notifications.
    Local,
}

impl Engine {
    /// The engine's name on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Engine::Log => "log",
            Engine::Notify => "notify",
            Engine::Strace => "strace",
            Engine::Local => "local",
        }
    }
}

/// What one replay showed.
#[derive(Clone, Debug)]
pub struct Observation {
    /// How it was seen.
    pub engine: Engine,
    /// Every forbidden call of the unit's processes.
    pub denials: Vec<Denial>,
    /// What the unit did.
    pub outcome: Outcome,
    /// What the user's own check said, where there is one.
    pub check: Option<CheckResult>,
    /// Processes that were refused a call and ended badly then; nothing where that cannot be seen.
    pub casualties: Option<Vec<Casualty>>,
    /// How long it was watched.
    pub watched: Duration,
    /// When the watch ended, in microseconds since the epoch.
    pub ended: u64,
    /// Whether records were lost, so that a call may be missing.
    pub lossy: bool,
    /// What a reader should know: what could not be imitated or seen, why this engine was taken.
    pub notes: Vec<String>,
    /// The last lines that the unit's processes wrote, where unitfix ran them itself.
    pub log: Vec<Untrusted>,
    /// What had to be relaxed of the settings beside `SystemCallFilter=` for the unit to work, and was in the last run;
    /// nothing: what they deny could not be seen.
    pub settings: Option<Relaxations>,
    /// Of a watch over a working period: the denials by program and call, with how often and when each was seen.
    pub counted: Vec<Sighting>,
    /// Of such a watch: calls that came only after the time for which a replay watches, so that none would show
    /// anything of them.
    pub late: BTreeSet<Call>,
    /// In complain mode: calls that were let through and would have been denied to the unit, by processes that were gone
    /// before it could be seen whose they were.
    pub unclaimed: Vec<Denial>,
}

impl Observation {
    /// An observation of a unit that was watched, of whose calls nothing is known yet.
    pub(crate) fn of(engine: Engine, watched: session::Watched) -> Self {
        Observation {
            engine,
            denials: Vec::new(),
            outcome: watched.outcome,
            check: watched.check,
            casualties: None,
            watched: watched.time,
            ended: watched.ended,
            lossy: false,
            notes: Vec::new(),
            log: Vec::new(),
            settings: None,
            counted: Vec::new(),
            late: BTreeSet::new(),
            unclaimed: Vec::new(),
        }
    }

    /// The denials by program and call, the most frequent first.
    #[must_use]
    pub fn sightings(&self) -> Vec<Sighting> {
        if self.counted.is_empty() { summary(&self.denials) } else { self.counted.clone() }
    }

    /// The calls that are nobody's, each with its program, in words.
    #[must_use]
    pub fn unclaimed_words(&self) -> Vec<String> {
        let sightings = summary(&self.unclaimed);
        sightings.iter().map(|s| format!("{} ({})", s.denial.call, s.denial.process.comm)).collect()
    }

    /// Whether the unit works, by its state and the user's check.
    #[must_use]
    pub fn works(&self) -> bool {
        self.outcome.healthy() && self.check.as_ref().is_none_or(CheckResult::passed)
    }
}

/// A process that was refused a call and then ended badly.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Casualty {
    /// The process.
    pub process: Process,
    /// The call that it was refused last.
    pub call: Call,
    /// How it ended; nothing: that cannot be seen here.
    pub exit: Option<Exit>,
}

impl fmt::Display for Casualty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, which was refused {}, ", self.process.comm, self.call)?;
        match self.exit {
            Some(Exit::Status(status)) => write!(f, "ended with status {status}"),
            Some(signal) => write!(f, "was {signal}"),
            None => f.write_str("may have failed for it, which cannot be seen here"),
        }
    }
}

/// What the unit did while it was watched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was running at the end.
    Running,
    /// It ended, and successfully.
    Finished,
    /// It failed.
    Failed {
        /// systemd's word for it: `exit-code`, `signal`, `timeout`, … (`Result=`).
        result: String,
        /// How the process that failed ended, where known.
        exit: Option<Exit>,
        /// The command that failed, where known.
        command: Option<String>,
    },
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// With this status.
    Status(i32),
    /// By this signal.
    Signal(i32),
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Exit::Status(status) => write!(f, "exit status {status}"),
            Exit::Signal(number) => match nix::sys::signal::Signal::try_from(*number) {
                Ok(signal) => write!(f, "killed by {}", signal.as_str()),
                Err(_) => write!(f, "killed by signal {number}"),
            },
        }
    }
}

impl Outcome {
    /// Whether this is what a healthy unit does.
    #[must_use]
    pub fn healthy(&self) -> bool {
        !matches!(self, Outcome::Failed { .. })
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Outcome::Running => f.write_str("running"),
            Outcome::Finished => f.write_str("finished successfully"),
            Outcome::Failed { result, exit, command } => {
                write!(f, "failed ({result}")?;
                if let Some(exit) = exit {
                    write!(f, ", {exit}")?;
                }
                if let Some(command) = command {
                    write!(f, ", {command}")?;
                }
                f.write_str(")")
            }
        }
    }
}
