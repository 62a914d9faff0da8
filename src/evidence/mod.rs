//! Evidence: which forbidden calls were really seen. Records are believed only from the kernel, and what a
//! process says of itself (`comm=`, `exe=`) is shown, escaped, and never trusted.

pub mod attribute;
pub mod files;
pub mod gather;
pub mod journal;
pub mod journal_file;
pub mod log;
pub mod record;
pub mod strace;
mod summary;
mod untrusted;
pub use summary::{Sighting, summary};

pub use untrusted::Untrusted;
pub(crate) use untrusted::{disturbs, one_line};

use crate::blame::Stack;
use crate::policy::{Action, Policy, Token};
use crate::syscalls::Call;
use std::path::PathBuf;

/// One forbidden call that was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denial {
    /// The call.
    pub call: Call,
    /// What became of it.
    pub effect: Effect,
    /// Who made it.
    pub process: Process,
    /// When, in microseconds since the epoch, where the source tells.
    pub time: Option<u64>,
    /// Where this was read.
    pub source: Source,
    /// Why it is believed to be a process of the unit; nothing: whose it is, is not known.
    pub attribution: Option<Attribution>,
    /// The call's arguments in words, where they were seen.
    pub arguments: Vec<String>,
    /// Of a call that a setting beside `SystemCallFilter=` denied: those of its arguments that the unit's settings look
    /// at, as numbers; the others are 0.
    pub raw_arguments: Option<[u64; 6]>,
    /// What had called what when it was made, where that was asked for and could be seen.
    pub stack: Stack,
}

/// What became of a forbidden call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Effect {
    /// The process was killed.
    Killed,
    /// The call ran, and was recorded because the policy forbids it (complain mode, strace, notification).
    Recorded,
    /// It failed with this errno.
    Failed(u16),
}

/// The process that made a call.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Process {
    /// The process ID as the source gives it: the initial PID namespace's in kernel records; 0 where unknown.
    pub pid: u32,
    /// The name that the process had (`comm`), at most 15 bytes.
    pub comm: Untrusted,
    /// The user it ran as, where the source tells.
    pub user: Option<u32>,
    /// The program it ran.
    pub exe: Option<Untrusted>,
    /// The name of its parent, where that could be seen.
    pub parent: Option<Untrusted>,
    /// It descends from somebody's login, as processes of system services do not. The kernel keeps this, and a
    /// process cannot take it off: whoever logged in can run a service's program under a filter of his own.
    pub login: bool,
}

/// Where a denial was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// The journal's copy of the kernel's audit record (`_TRANSPORT=audit`).
    JournalAudit,
    /// The journal's copy of the kernel's log (`_TRANSPORT=kernel`).
    JournalKernel,
    /// systemd-coredump's entry in the journal.
    CoreDump,
    /// auditd's log, or a file or stream that the user named.
    Log(PathBuf),
    /// The kernel's audit socket, during a replay or a verification.
    AuditSocket,
    /// strace, during a replay.
    Strace,
    /// A seccomp user notification, during a local replay.
    Notification,
}

/// The reason for which a denial is believed to be one of the unit's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Attribution {
    /// `/proc/PID/cgroup` named the unit while the process lived.
    ControlGroup,
    /// systemd-coredump recorded the unit of the same process.
    CoreDump,
    /// The process ID is that of the unit's main process, as the manager knows it.
    MainProcess,
    /// The same process wrote to the journal as this unit.
    JournalOfProcess,
    /// The manager reported, right after the record, that this unit's main or control process died of SIGSYS.
    ManagerReport,
    /// While the unit ran, a process of no login and of the unit's user ran a program of the unit that is not one that
    /// many run, and the unit forbids the call.
    OwnProgram,
    /// The user named the unit and this log, and it ran a program that the unit runs.
    NamedLog,
    /// No other unit that was running forbids the call.
    OnlyCandidate,
    /// unitfix, or the manager for it, ran the process itself.
    Replayed,
}

impl Process {
    /// The program that systemd's own executor was about to become: its name stands in brackets until then.
    #[must_use]
    pub fn before_exec(comm: &str) -> Option<&str> {
        comm.strip_prefix('(').and_then(|c| c.strip_suffix(')'))
    }
}

impl Denial {
    /// Whether its process was killed for it, or is under this policy.
    #[must_use]
    pub fn kills(&self, policy: &Policy) -> bool {
        self.effect == Effect::Killed || policy.decide(self.call).action == Action::Kill
    }

    /// The word of a setting beside `SystemCallFilter=` and `SystemCallArchitectures=` that denied the call: one that,
    /// under this policy, lets it fail with just the errno that it failed with.
    #[must_use]
    pub fn restricted_by(&self, policy: &Policy) -> Option<Token> {
        let Effect::Failed(errno) = self.effect else { return None };
        policy.restricted(self.call, &self.raw_arguments?, errno)
    }

    /// Whether it is known to be one of the unit's.
    #[must_use]
    pub fn is_ours(&self) -> bool {
        self.attribution.as_ref().is_some_and(Attribution::is_sure)
    }
}

impl Attribution {
    /// Whether this is more than a guess. Only then a denial counts towards a repair.
    #[must_use]
    pub fn is_sure(&self) -> bool {
        *self != Attribution::OnlyCandidate
    }

    /// The reason in words, to follow "because".
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Attribution::ControlGroup => "its control group is the unit's",
            Attribution::CoreDump => "systemd-coredump names the unit",
            Attribution::MainProcess => "it was the unit's main process",
            Attribution::JournalOfProcess => "the same process wrote to the journal as this unit",
            Attribution::ManagerReport => "the manager reported a process of this unit killed at that moment",
            Attribution::OwnProgram => "it ran a program that the unit runs",
            Attribution::NamedLog => "it ran a program that the unit runs, in the log that you named",
            Attribution::OnlyCandidate => "no other running unit forbids this call",
            Attribution::Replayed => "it ran in the replay",
        }
    }
}
