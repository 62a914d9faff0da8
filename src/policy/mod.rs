//! The policy of a unit: what its settings let every system call do, and which token of which line decided it.
//! systemd.exec(5) "System Call Filtering"; `seccomp_parse_syscall_filter()` in src/shared/seccomp-util.c.

mod answer;
pub mod architectures;
mod enforced;
mod errno;
pub mod families;
mod filter;
mod lint;
pub mod namespaces;
mod no_new_privileges;
pub mod relax;
mod restriction;
pub mod show;
mod words;

pub use answer::{Answer, Compare, ForArguments, Test};
pub use errno::{ENOSYS, EPERM, errno_name, parse_action};
pub use filter::Filter;
pub use no_new_privileges::NoNewPrivileges;
pub use restriction::Restriction;
pub(crate) use words::{Found, Quotes, words};

use crate::finding::{Code, Finding};
use crate::syscalls::{Arch, Groups};
use crate::unit::{Span, Unit, Value};
use std::collections::BTreeSet;
use std::fmt;
use std::ops::Range;

/// What becomes of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Action {
    /// It runs.
    Allow,
    /// It runs, and the kernel writes a record of it.
    Log,
    /// It fails with this errno, and leaves no record.
    Errno(u16),
    /// The kernel kills the process with SIGSYS.
    Kill,
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Action::Allow => f.write_str("allowed"),
            Action::Log => f.write_str("allowed and logged"),
            Action::Errno(0) => f.write_str("does nothing and reports success"),
            Action::Errno(number) => write!(f, "fails with {}", errno_name(*number)),
            Action::Kill => f.write_str("kills"),
        }
    }
}

impl Action {
    /// How strong it is: of several filters, the strongest action wins (linux/seccomp.h).
    pub(crate) fn strength(self) -> u8 {
        match self {
            Action::Allow => 0,
            Action::Log => 1,
            Action::Errno(_) => 2,
            Action::Kill => 3,
        }
    }

    /// Whether the call does not run.
    #[must_use]
    pub fn denies(self) -> bool {
        matches!(self, Action::Errno(_) | Action::Kill)
    }
}

/// The token of a unit file that decided something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// As it is written, without `~`.
    pub text: String,
    /// The setting it stands in.
    pub setting: &'static str,
    /// Where.
    pub span: Span,
}

/// Why a call is treated as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Because {
    /// There is no filter.
    NoFilter,
    /// This token names the call, or a group that holds it. Nothing where only the manager knows.
    Listed(Option<Token>),
    /// No line names it; this token made the list one of what is allowed, or of what is denied.
    NotListed(Option<Token>),
    /// Calls of this architecture are not let in: `SystemCallArchitectures=`.
    Architecture(Token),
    /// On a list of what is allowed, this systemd lets calls that it does not know fail with ENOSYS.
    Unknown,
    /// This systemd itself needs `write` below the filter, and takes it off a list of what is denied.
    WriteAlways,
    /// Another setting than `SystemCallFilter=` forbids it, or logs it.
    Restricted(Token),
}

/// What becomes of one call, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// What becomes of it.
    pub action: Action,
    /// Why.
    pub because: Because,
}

impl Decision {
    /// Whether the call is denied, softly or not.
    #[must_use]
    pub fn denies(&self) -> bool {
        self.action.denies()
    }

    /// The token to point at, if there is one.
    #[must_use]
    pub fn token(&self) -> Option<&Token> {
        match &self.because {
            Because::Listed(token) | Because::NotListed(token) => token.as_ref(),
            Because::Architecture(token) | Because::Restricted(token) => Some(token),
            Because::NoFilter | Because::Unknown | Because::WriteAlways => None,
        }
    }
}

/// The effective system call policy of a unit.
#[derive(Clone, Debug)]
pub struct Policy {
    /// The calls by name.
    pub filter: Filter,
    /// What is done with a call that is denied without an errno of its own (`SystemCallErrorNumber=`).
    pub default: Action,
    /// The architectures let in besides the native one, with the token that says so; nothing: all.
    pub architectures: Option<(BTreeSet<Arch>, Token)>,
    /// The other settings that install seccomp filters, in the order in which systemd installs them.
    pub restrictions: Vec<Restriction>,
    /// `SystemCallLog=`: the calls that leave a record. On a list of what is allowed is what leaves one, on a list of
    /// what is denied what leaves none.
    pub log: Filter,
    /// Whether the unit's processes and their children can gain no privileges by running a program.
    pub no_new_privileges: Option<NoNewPrivileges>,
    /// The version of systemd whose rules apply.
    pub systemd: u32,
    /// What is wrong with the settings.
    pub findings: Vec<Finding>,
    known: Option<BTreeSet<String>>,
}

/// From this version on (seen on 257 and 262, not on 252), calls outside of `@known` get ENOSYS.
const ENOSYS_FOR_UNKNOWN_FROM: u32 = 257;

impl Policy {
    /// Evaluate the settings of a unit with the groups of a version of systemd.
    #[must_use]
    pub fn evaluate(unit: &Unit, groups: &Groups) -> Self {
        let mut findings = Vec::new();
        let filter = Filter::evaluate(unit, groups, &mut findings);
        let default = errno::default_action(unit, &mut findings);
        let architectures =
            architectures::Architectures::evaluate(unit, groups.systemd, &mut findings).admitted();
        let known = (groups.systemd >= ENOSYS_FOR_UNKNOWN_FROM).then(|| known(groups)).flatten();
        let restrictions = Restriction::all(unit, groups, &mut findings);
        let log = Filter::evaluate_log(unit, groups, &mut findings);
        let mut policy = Policy {
            filter,
            default,
            architectures,
            restrictions,
            log,
            no_new_privileges: None,
            systemd: groups.systemd,
            findings,
            known,
        };
        policy.no_new_privileges = NoNewPrivileges::of(unit, &policy);
        let found = lint::lint(unit, &policy);
        policy.findings.extend(found);
        policy
    }
}

/// The calls of `@known` as the filter has rules for them: systemd goes through the names in it, and not through the
/// group `@obsolete` that stands there too (`seccomp_load_syscall_filter_set_raw()`).
fn known(groups: &Groups) -> Option<BTreeSet<String>> {
    /// These are in `@known` by name, too (seen on 257 and 262).
    const NAMED_THOUGH_OBSOLETE: [&str; 2] = ["sysfs", "ustat"];
    let obsolete = groups.members("@obsolete");
    let counts = |name: &&String| {
        groups.knows(name)
            && (obsolete.is_none_or(|obsolete| !obsolete.contains(*name))
                || NAMED_THOUGH_OBSOLETE.contains(&name.as_str()))
    };
    Some(groups.members("@known")?.iter().filter(counts).cloned().collect())
}

/// The manager stops reading a list in the middle.
fn broken_words(value: &Value, range: Range<usize>) -> Finding {
    let message =
        "systemd reads this line no further: a quotation does not end, or nothing follows the backslash";
    Finding::warning(Code::BadQuoting, message, Some(value.span(range)))
}

#[cfg(test)]
pub(crate) mod tests {
    use crate::unit::{SourceFile, Unit, UnitName, syntax};

    /// A unit of one file, whose line 1 is the header of the section.
    pub(crate) fn unit(lines: &str) -> Unit {
        let fragment = SourceFile::new("/etc/systemd/system/x.service", format!("[Service]\n{lines}\n"));
        let settings = syntax::parse_as(&fragment, u32::MAX).settings;
        let name = UnitName::parse("x.service").unwrap();
        Unit { settings, ..Unit::empty(name, fragment) }
    }
}
