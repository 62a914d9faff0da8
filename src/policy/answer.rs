//! What all settings of a unit together do with a call: an [`Answer`], which may depend on the call's arguments.
//!
//! Each setting that confines system calls installs a seccomp filter of its own, and the kernel asks all of them.
//! The strongest action wins; among errnos that of the filter that was installed last (`seccomp_run_filters()` in
//! kernel/seccomp.c).

use super::{Action, Because, Decision, Token};
use crate::syscalls::Arch;
use std::cmp::Reverse;
use std::fmt;

/// What becomes of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// What becomes of it for some arguments. The first entry whose tests all hold counts.
    pub for_arguments: Vec<ForArguments>,
    /// What becomes of it otherwise.
    pub otherwise: Decision,
    arch: Arch,
}

/// What becomes of a call for some arguments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForArguments {
    /// All of these have to hold.
    pub when: Vec<Test>,
    /// What becomes of it then.
    pub decision: Decision,
}

/// A test of one argument, as a seccomp filter makes it: unsigned, without looking behind pointers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Test {
    /// Which argument, from 0.
    pub argument: u8,
    /// The comparison.
    pub compare: Compare,
    /// The value in words: `CLONE_NEWNET`, `AF_PACKET`, …
    pub words: &'static str,
}

/// How an argument is compared (`enum scmp_compare` of libseccomp).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compare {
    /// It is this value.
    Equal(u64),
    /// It is another value.
    NotEqual(u64),
    /// It is lower.
    Less(u64),
    /// It is higher.
    Greater(u64),
    /// All of these bits are set.
    Has(u64),
}

impl Test {
    fn holds(&self, arch: Arch, arguments: &[u64; 6]) -> bool {
        let wide = arguments.get(usize::from(self.argument)).copied().unwrap_or_default();
        // of 32-bit architectures, x32 among them, libseccomp looks at the lower half alone
        let value = if arch.is_64_bit() { wide } else { wide & u64::from(u32::MAX) };
        match self.compare {
            Compare::Equal(other) => value == other,
            Compare::NotEqual(other) => value != other,
            Compare::Less(other) => value < other,
            Compare::Greater(other) => value > other,
            Compare::Has(bits) => value & bits == bits,
        }
    }
}

impl fmt::Display for Test {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (verb, words) = match self.compare {
            Compare::Equal(_) => ("is", self.words),
            Compare::NotEqual(_) => ("is not", self.words),
            Compare::Less(_) => ("is below", self.words),
            Compare::Greater(_) => ("is above", self.words),
            Compare::Has(_) => ("holds", self.words),
        };
        write!(f, "argument {} {verb} {words}", self.argument + 1)
    }
}

/// What one of the filters does with a call, for some arguments or for all (no tests).
pub(super) struct Ruling {
    pub(super) when: Vec<Test>,
    pub(super) action: Action,
    pub(super) token: Token,
}

impl Answer {
    /// Put together what the filters do, in the order in which they are installed, and what `SystemCallFilter=` and
    /// `SystemCallArchitectures=`, installed last, do.
    pub(super) fn combine(arch: Arch, rulings: Vec<Ruling>, last: Decision) -> Self {
        let because = |token| Because::Restricted(token);
        let mut all: Vec<ForArguments> = rulings
            .into_iter()
            .map(|r| ForArguments {
                when: r.when,
                decision: Decision { action: r.action, because: because(r.token) },
            })
            .collect();
        all.push(ForArguments { when: Vec::new(), decision: last });
        all.reverse();
        all.sort_by_key(|entry| Reverse(entry.decision.action.strength())); // stable: the latest stay first
        let always = all.iter().position(|entry| entry.when.is_empty()).unwrap_or_default();
        all.truncate(always + 1);
        let otherwise = all
            .pop()
            .map_or(Decision { action: Action::Allow, because: Because::NoFilter }, |entry| entry.decision);
        Answer { for_arguments: all, otherwise, arch }
    }

    /// What becomes of the call with these arguments.
    #[must_use]
    pub fn to(&self, arguments: &[u64; 6]) -> &Decision {
        let holds = |entry: &&ForArguments| entry.when.iter().all(|test| test.holds(self.arch, arguments));
        self.for_arguments.iter().find(holds).map_or(&self.otherwise, |entry| &entry.decision)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::unit::{SourceFile, Span};

    fn token(setting: &'static str) -> Token {
        let span = Span { file: SourceFile::new("/x", ""), line: 1, column: 1, length: 1 };
        Token { text: "yes".into(), setting, span }
    }

    fn ruling(setting: &'static str, action: Action, has: Option<u64>) -> Ruling {
        let test = |bits| Test { argument: 0, compare: Compare::Has(bits), words: "FLAG" };
        Ruling { when: has.map(test).into_iter().collect(), action, token: token(setting) }
    }

    #[test]
    fn the_strongest_action_wins_and_among_errnos_the_last_filter() {
        let first = ruling("First", Action::Errno(1), Some(1));
        let second = ruling("Second", Action::Errno(2), Some(2));
        let third = ruling("Third", Action::Log, None);
        let allowed = Decision { action: Action::Allow, because: Because::NoFilter };
        let answer = Answer::combine(Arch::X86_64, vec![first, second, third], allowed);
        let action = |argument| answer.to(&[argument, 0, 0, 0, 0, 0]).action;
        assert_eq!(
            [0, 1, 2, 3, 4].map(action),
            [Action::Log, Action::Errno(1), Action::Errno(2), Action::Errno(2), Action::Log]
        );
    }

    #[test]
    fn a_kill_leaves_nothing_to_ask() {
        let soft = ruling("First", Action::Errno(1), Some(1));
        let killed = Decision { action: Action::Kill, because: Because::NotListed(None) };
        let answer = Answer::combine(Arch::X86_64, vec![soft], killed.clone());
        assert_eq!((answer.for_arguments.len(), answer.otherwise), (0, killed));
    }

    #[test]
    fn of_32_bit_architectures_the_lower_half_counts() {
        let rule = || vec![ruling("First", Action::Errno(1), Some(1 << 40))];
        let allowed = || Decision { action: Action::Allow, because: Because::NoFilter };
        let high = [1 << 40, 0, 0, 0, 0, 0];
        assert_eq!(Answer::combine(Arch::X86_64, rule(), allowed()).to(&high).action, Action::Errno(1));
        assert_eq!(Answer::combine(Arch::X86, rule(), allowed()).to(&high).action, Action::Allow);
    }
}
