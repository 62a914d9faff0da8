//! The policy of a unit: what its settings let every system call do, and which token of which line decided it.
//! systemd.exec(5) "System Call Filtering"; `seccomp_parse_syscall_filter()` in src/shared/seccomp-util.c.

mod filter;

pub use filter::{Filter, parse_action};

use crate::finding::{Code, Finding};
use crate::syscalls::{Arch, Call, Groups};
use crate::unit::{Span, Unit};
use std::collections::BTreeSet;
use std::fmt;

/// What becomes of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Action {
    /// It runs.
    Allow,
    /// It fails with this errno, and leaves no record.
    Errno(u16),
    /// The kernel kills the process with SIGSYS.
    Kill,
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Action::Allow => f.write_str("allowed"),
            Action::Errno(number) => write!(f, "fails with {}", errno_name(*number)),
            Action::Kill => f.write_str("kills"),
        }
    }
}

/// The name of an errno, or its number where it has none.
#[must_use]
pub fn errno_name(number: u16) -> String {
    match nix::errno::Errno::from_raw(number.into()) {
        nix::errno::Errno::UnknownErrno => number.to_string(),
        known => format!("{known:?}"),
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
    /// This systemd lets calls that it does not know fail with ENOSYS.
    Unknown,
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
        self.action != Action::Allow
    }

    /// The token to point at, if there is one.
    #[must_use]
    pub fn token(&self) -> Option<&Token> {
        match &self.because {
            Because::Listed(token) | Because::NotListed(token) => token.as_ref(),
            Because::Architecture(token) => Some(token),
            Because::NoFilter | Because::Unknown => None,
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
        let default = default_action(unit, &mut findings);
        let architectures = architectures(unit, &mut findings);
        let known = groups.members("@known").filter(|_| groups.systemd >= ENOSYS_FOR_UNKNOWN_FROM).cloned();
        Policy { filter, default, architectures, systemd: groups.systemd, findings, known }
    }

    /// What becomes of a call.
    #[must_use]
    pub fn decide(&self, call: Call) -> Decision {
        if let Some((_, token)) = self.architectures.as_ref().filter(|_| !self.admits(call.arch)) {
            return Decision { action: Action::Kill, because: Because::Architecture(token.clone()) };
        }
        self.filter_alone(call)
    }

    /// What the filter does with a call whose architecture is let in.
    #[must_use]
    pub fn filter_alone(&self, call: Call) -> Decision {
        let name = call.name();
        let unknown = self.known.as_ref().is_some_and(|known| !name.is_some_and(|n| known.contains(n)));
        if unknown && self.filter.exists() && !name.is_some_and(|n| self.filter.lists(n)) {
            let because = Because::Unknown;
            return Decision { action: Action::Errno(errno_enosys()), because };
        }
        self.filter.decide(name, self.default)
    }

    /// Whether a call of the native architecture is allowed, by name.
    #[must_use]
    pub fn allows(&self, name: &str) -> bool {
        let arch = Arch::native();
        arch.number(name).is_some_and(|number| !self.decide(Call { arch, number }).denies())
    }

    /// Whether calls of this architecture get past `SystemCallArchitectures=`.
    #[must_use]
    pub fn admits(&self, arch: Arch) -> bool {
        arch == Arch::native()
            || self.architectures.as_ref().is_none_or(|(allowed, _)| allowed.contains(&arch))
    }
}

fn errno_enosys() -> u16 {
    u16::try_from(libc::ENOSYS).unwrap_or(38)
}

/// `SystemCallErrorNumber=`: the last line counts; empty or `kill` kills.
fn default_action(unit: &Unit, findings: &mut Vec<Finding>) -> Action {
    let mut action = Action::Kill;
    for setting in unit.service("SystemCallErrorNumber") {
        match filter::parse_action(&setting.value.text) {
            _ if setting.value.text.is_empty() => action = Action::Kill,
            Some(parsed) => action = parsed,
            None => {
                let message = format!("'{}' is no errno: the line is ignored", setting.value.text);
                findings.push(Finding::warning(Code::BadErrno, message, Some(setting.value.whole())));
            }
        }
    }
    action
}

/// `SystemCallArchitectures=`: the lines add up; an empty one takes all back.
fn architectures(unit: &Unit, findings: &mut Vec<Finding>) -> Option<(BTreeSet<Arch>, Token)> {
    let mut out: Option<(BTreeSet<Arch>, Token)> = None;
    for setting in unit.service("SystemCallArchitectures") {
        if setting.value.text.is_empty() {
            out = None;
        }
        for word in filter::words(&setting.value.text) {
            let span = setting.value.span(word.range.clone());
            let token = Token { text: word.text.clone(), setting: "SystemCallArchitectures", span };
            match Arch::from_systemd_name(&word.text) {
                Some(arch) => {
                    let (set, last) = out.get_or_insert_with(|| (BTreeSet::new(), token.clone()));
                    set.insert(arch);
                    *last = token;
                }
                None if KNOWN_ELSEWHERE.contains(&word.text.as_str()) => {
                    out.get_or_insert_with(|| (BTreeSet::new(), token));
                }
                None => {
                    let message =
                        format!("'{}' is no architecture that systemd knows: it is ignored", word.text);
                    findings.push(Finding::warning(Code::UnknownArchitecture, message, Some(token.span)));
                }
            }
        }
    }
    out
}

/// Architectures that systemd knows and whose calls unitfix has no names for (`seccomp_arch_from_string()`).
const KNOWN_ELSEWHERE: [&str; 14] = [
    "mips",
    "mips64",
    "mips64-n32",
    "mips-le",
    "mips64-le",
    "mips64-le-n32",
    "loongarch64",
    "parisc",
    "parisc64",
    "ppc",
    "ppc64",
    "ppc64-le",
    "s390",
    "s390x",
];
