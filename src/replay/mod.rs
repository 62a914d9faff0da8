//! Replay: run the unit once with its forbidden calls let through and recorded. Only one thing changes: what
//! forbidden calls do.

pub mod local;

use crate::evidence::{Denial, Untrusted};
use std::fmt;
use std::time::Duration;

/// How a replay sees forbidden calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    /// Complain mode by the manager itself: the kernel logs the calls, the audit socket brings the records.
    Log,
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
    /// How long it was watched.
    pub watched: Duration,
    /// Whether records were lost, so that a call may be missing.
    pub lossy: bool,
    /// What a reader should know: what could not be imitated or seen, why this engine was taken.
    pub notes: Vec<String>,
    /// The last lines that the unit's processes wrote, where the engine sees them.
    pub log: Vec<Untrusted>,
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
