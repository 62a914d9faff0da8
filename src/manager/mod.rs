//! The service manager: what unitfix asks of it and has it do. One trait, so that faults which cannot be made
//! for real can be injected in tests.

pub mod confinement;
mod dbus;

pub use confinement::Confinement;
pub use dbus::BusManager;

use crate::replay::{Exit, Outcome};
use crate::unit::UnitName;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

/// Why the manager did not do, or say, something.
#[derive(Debug, thiserror::Error)]
pub enum ManagerError {
    /// There is none.
    #[error(
        "no systemd manager answers here ({0}); give unitfix the path of a unit file to replay it without one, \
         or --root DIR"
    )]
    Unreachable(String),
    /// The user has none.
    #[error(
        "no systemd manager of {user} answers here ({reason}): it runs while {user} is logged in, or always after \
         `sudo loginctl enable-linger {user}`"
    )]
    UserUnreachable {
        /// The user.
        user: String,
        /// What is in the way.
        reason: String,
    },
    /// It refused.
    #[error("systemd did not {action}: {reason}")]
    Refused {
        /// What it was asked to do.
        action: String,
        /// Its own words.
        reason: String,
    },
    /// It does not answer any more.
    #[error(
        "systemd did not finish to {action} within {} s: `{systemctl} list-jobs` shows what it waits for",
        limit.as_secs()
    )]
    Late {
        /// What it was asked to do.
        action: String,
        /// How long was waited.
        limit: Duration,
        /// How systemctl is called for it.
        systemctl: &'static str,
    },
    /// Nobody wanted to wait any longer.
    #[error("interrupted")]
    Interrupted,
}

/// What the manager knows of a unit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UnitStatus {
    /// The unit's real name, which differs from an alias.
    pub id: String,
    /// `LoadState=`: loaded, not-found, masked, bad-setting, error.
    pub load_state: String,
    /// `ActiveState=`: active, reloading, inactive, failed, activating, deactivating.
    pub active_state: String,
    /// `SubState=`.
    pub sub_state: String,
    /// `FragmentPath=`: the unit file.
    pub fragment: Option<PathBuf>,
    /// `DropInPaths=`, in load order.
    pub drop_ins: Vec<PathBuf>,
    /// `NeedDaemonReload=`: files on disk are newer than what is loaded.
    pub needs_reload: bool,
    /// `Result=` of the service.
    pub result: String,
    /// How the main process ended, if it did.
    pub main_exit: Option<Exit>,
    /// Whether the service ever ran since boot.
    pub ran: bool,
    /// `ExecMainPID=`: the main process, or the last one; nothing if there was none.
    pub main_pid: Option<u32>,
    /// `ControlGroup=`; empty when it does not run.
    pub control_group: String,
    /// When its last activation began (`InactiveExitTimestamp=`), in microseconds since the epoch; 0: never.
    pub activated: u64,
    /// When the first command of its latest run began, in microseconds since the epoch; 0: it never ran. Unlike
    /// `activated` it stays when a start is refused (`Result=start-limit-hit`).
    pub run_began: u64,
    /// When the main process began and ended, in microseconds since the epoch (`ExecMainStartTimestamp=`,
    /// `ExecMainExitTimestamp=`); 0: not yet.
    pub main_times: (u64, u64),
    /// `SystemCallFilter=`: whether it is an allow list, and its names.
    pub filter: (bool, BTreeSet<String>),
    /// `SystemCallArchitectures=`.
    pub architectures: BTreeSet<String>,
    /// `CapabilityBoundingSet=`, with bit n for the capability number n; nothing: it is not known.
    pub bounding_set: Option<u64>,
    /// The settings beside these that deny calls.
    pub confinement: Confinement,
}

impl UnitStatus {
    /// Whether a process of the unit should be running.
    #[must_use]
    pub fn is_up(&self) -> bool {
        let states = ["active", "reloading", "activating", "refreshing", "deactivating", "maintenance"];
        states.contains(&self.active_state.as_str())
    }

    /// Whether it, or its main process, began at this time or later, in microseconds since the epoch.
    #[must_use]
    pub fn began_since(&self, time: u64) -> bool {
        self.activated >= time || self.main_times.0 >= time
    }

    /// Whether it waits to be started again after a failure (`Restart=`).
    #[must_use]
    pub fn restarts_after_failure(&self) -> bool {
        self.sub_state.starts_with("auto-restart")
    }

    /// What the unit does, in the terms of a replay.
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        // Restart=always also restarts what ended well
        let ending = self.restarts_after_failure() || self.active_state == "deactivating";
        let failed = self.active_state == "failed" || (ending && self.result != "success");
        match self.active_state.as_str() {
            _ if failed => {
                Outcome::Failed { result: self.result.clone(), exit: self.main_exit, command: None }
            }
            _ if self.is_up() => Outcome::Running,
            _ => Outcome::Finished,
        }
    }
}

/// The state to which a unit is put back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Standing {
    /// It was running, or being started.
    Up,
    /// It had failed.
    Failed,
    /// It was not running.
    Down,
}

impl Standing {
    /// The standing of a unit in this state.
    #[must_use]
    pub fn of(status: &UnitStatus) -> Self {
        match status.active_state.as_str() {
            "failed" => Standing::Failed,
            _ if status.is_up() => Standing::Up,
            _ => Standing::Down,
        }
    }
}

/// How to wait for a job.
#[derive(Clone, Copy)]
pub struct Patience<'a> {
    /// No longer than this; nothing: as long as it takes.
    pub limit: Option<Duration>,
    /// Asked every so often ([`GLANCE`](crate::interrupt::GLANCE)); false: wait no longer.
    pub go_on: &'a dyn Fn() -> bool,
}

impl Patience<'_> {
    /// Whatever comes, but no longer than this: for cleaning up.
    #[must_use]
    pub fn at_most(limit: Duration) -> Self {
        Patience { limit: Some(limit), go_on: &|| true }
    }
}

/// Commands that the manager runs itself once a time is over: a transient timer and its service (systemd-run(1)).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timer {
    /// Its name and that of the service, without a suffix.
    pub name: String,
    /// What it is for, as the journal has it whenever it is started anew.
    pub description: String,
    /// What its service does, as the journal has it when it runs.
    pub deed: String,
    /// When it runs, counted from when it is started, or was last started anew.
    pub delay: Duration,
    /// The command lines; whether a failure of one is of no account.
    pub commands: Vec<(Vec<String>, bool)>,
}

/// A unit that is stopped when another one is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoppedWith {
    /// Its name.
    pub name: String,
    /// Whether it can be started by who asks for it (`CanStart`).
    pub can_start: bool,
}

/// What unitfix needs of the service manager.
pub trait Manager {
    /// systemd's major version.
    fn version(&self) -> Result<u32, ManagerError>;
    /// What it knows of a unit.
    fn status(&self, unit: &UnitName) -> Result<UnitStatus, ManagerError>;
    /// The services that run and have a system call filter, with it.
    fn filtered_services(&self) -> Result<Vec<UnitStatus>, ManagerError>;
    /// The units that a socket, timer or path starts; nothing: there is no such unit.
    fn triggers(&self, unit: &str) -> Result<Option<Vec<String>>, ManagerError>;
    /// The names of all units that have a file or are loaded.
    fn known_units(&self) -> Result<Vec<String>, ManagerError>;
    /// Read all unit files again.
    fn reload(&self) -> Result<(), ManagerError>;
    /// Restart a unit and wait for the job: its result is `done`, `failed`, `timeout`, `dependency`, …
    fn restart(&self, unit: &UnitName, patience: Patience) -> Result<String, ManagerError>;
    /// Stop a unit and wait for the job.
    fn stop(&self, unit: &UnitName, patience: Patience) -> Result<String, ManagerError>;
    /// The units that run and are stopped with this one, which nobody starts again with it (systemd.unit(5),
    /// `Requires=`, `BindsTo=` and `PartOf=`).
    fn stopped_with(&self, unit: &UnitName) -> Result<Vec<StoppedWith>, ManagerError>;
    /// Start a unit that does not run, and wait for the job.
    fn start(&self, unit: &UnitName, patience: Patience) -> Result<String, ManagerError>;
    /// Have a unit of any kind started, without waiting for it.
    fn start_soon(&self, unit: &str) -> Result<(), ManagerError>;
    /// Forget that the unit failed, and how often it was started.
    fn reset_failed(&self, unit: &UnitName) -> Result<(), ManagerError>;
    /// Start a timer.
    fn start_timer(&self, timer: &Timer) -> Result<(), ManagerError>;
    /// Let the time of a timer that runs begin anew.
    fn restart_timer(&self, name: &str) -> Result<(), ManagerError>;
    /// Stop a timer, so that its commands do not run.
    fn stop_timer(&self, name: &str) -> Result<(), ManagerError>;
    /// Wait until something changes at a unit, or this long. Whether something did.
    fn wait_for_change(&self, limit: Duration) -> bool;
}
