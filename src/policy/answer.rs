//! What all settings of a unit together do with a call: an [`Answer`], which may depend on the call's arguments.
//!
//! Each setting that confines system calls installs a seccomp filter of its own, and the kernel asks all of them.
//! The strongest action wins; among errnos that of the filter that was installed last (`seccomp_run_filters()` in
//! kernel/seccomp.c).

use super::{Action, Because, Decision};
use crate::syscalls::Arch;
use std::collections::BTreeSet;
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
    /// Its lower half is this value.
    LowerHalf(u32),
    /// It is another value.
    NotEqual(u64),
    /// It is lower.
    Less(u64),
    /// It is higher.
    Greater(u64),
    /// All of these bits are set.
    Has(u64),
}

impl Compare {
    /// The value that the argument is compared with.
    #[must_use]
    pub fn value(self) -> u64 {
        match self {
            Compare::LowerHalf(value) => value.into(),
            Compare::Equal(value)
            | Compare::NotEqual(value)
            | Compare::Less(value)
            | Compare::Greater(value)
            | Compare::Has(value) => value,
        }
    }
}

impl Test {
    fn holds(&self, arch: Arch, arguments: &[u64; 6]) -> bool {
        let wide = arguments.get(usize::from(self.argument)).copied().unwrap_or_default();
        // of 32-bit architectures, x32 among them, libseccomp looks at the lower half alone
        let value = if arch.is_64_bit() { wide } else { wide & u64::from(u32::MAX) };
        match self.compare {
            Compare::Equal(other) => value == other,
            Compare::LowerHalf(other) => value & u64::from(u32::MAX) == u64::from(other),
            Compare::NotEqual(other) => value != other,
            Compare::Less(other) => value < other,
            Compare::Greater(other) => value > other,
            Compare::Has(bits) => value & bits == bits,
        }
    }

    /// What the words of the test follow: `argument 2 holds`.
    #[must_use]
    pub fn comparison(&self) -> String {
        let verb = match self.compare {
            Compare::Equal(_) | Compare::LowerHalf(_) => "is",
            Compare::NotEqual(_) => "is not",
            Compare::Less(_) => "is below",
            Compare::Greater(_) => "is above",
            Compare::Has(_) => "holds",
        };
        format!("argument {} {verb}", self.argument + 1)
    }
}

impl fmt::Display for Test {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.comparison(), self.words)
    }
}

/// What one filter does with a call.
#[derive(Clone, Debug)]
pub(super) struct Layer {
    /// For some arguments. The first entry whose tests all hold counts.
    pub(super) for_arguments: Vec<ForArguments>,
    /// Otherwise.
    pub(super) otherwise: Decision,
}

impl Layer {
    /// A filter that lets the call pass, but for some arguments.
    pub(super) fn passing(for_arguments: Vec<ForArguments>) -> Self {
        let otherwise = Decision { action: Action::Allow, because: Because::NoFilter };
        Layer { for_arguments, otherwise }
    }

    /// A filter that does the same for all arguments.
    pub(super) fn always(otherwise: Decision) -> Self {
        Layer { for_arguments: Vec::new(), otherwise }
    }

    /// What this filter does together with one that was installed later.
    fn below(&self, later: &Layer) -> Layer {
        let stronger = |one: &Decision, other: &Decision| {
            if one.action.strength() > other.action.strength() { one.clone() } else { other.clone() }
        };
        let always = |otherwise: &Decision| ForArguments { when: Vec::new(), decision: otherwise.clone() };
        let mut all: Vec<ForArguments> = Vec::new();
        for one in later.for_arguments.iter().chain([&always(&later.otherwise)]) {
            for other in self.for_arguments.iter().chain([&always(&self.otherwise)]) {
                let mut when = one.when.clone();
                when.extend(other.when.iter().filter(|test| !one.when.contains(test)));
                all.push(ForArguments { when, decision: stronger(&other.decision, &one.decision) });
            }
        }
        let otherwise = all.pop().map_or_else(|| later.otherwise.clone(), |entry| entry.decision);
        // an entry that no other stands behind, and that says what follows from none, says nothing
        while all.last().is_some_and(|entry| entry.decision == otherwise) {
            all.pop();
        }
        Layer { for_arguments: all, otherwise }
    }
}

impl Answer {
    /// Put together what the filters do, in the order in which they were installed.
    pub(super) fn combine(arch: Arch, layers: &[Layer]) -> Self {
        let none = Layer::passing(Vec::new());
        let Layer { for_arguments, otherwise } = layers.iter().fold(none, |below, layer| below.below(layer));
        Answer { for_arguments, otherwise, arch }
    }

    /// Whether nothing is said about the call.
    #[must_use]
    pub fn is_silent(&self) -> bool {
        self.for_arguments.is_empty() && self.otherwise.because == Because::NoFilter
    }

    /// The arguments that decide, from 0, without repetition.
    #[must_use]
    pub fn tested(&self) -> BTreeSet<u8> {
        self.for_arguments.iter().flat_map(|entry| &entry.when).map(|test| test.argument).collect()
    }

    /// The tests that hold of these arguments and decide about them.
    #[must_use]
    pub fn holding(&self, arguments: &[u64; 6]) -> &[Test] {
        self.entry(arguments).map_or(&[], |entry| &entry.when)
    }

    fn entry(&self, arguments: &[u64; 6]) -> Option<&ForArguments> {
        let holds = |entry: &&ForArguments| entry.when.iter().all(|test| test.holds(self.arch, arguments));
        self.for_arguments.iter().find(holds)
    }

    /// What becomes of the call with these arguments.
    #[must_use]
    pub fn to(&self, arguments: &[u64; 6]) -> &Decision {
        self.entry(arguments).map_or(&self.otherwise, |entry| &entry.decision)
    }
}

#[cfg(test)]
mod tests {
    use super::super::Token;
    use super::*;
    use crate::unit::{SourceFile, Span};

    fn token(setting: &'static str) -> Token {
        let span = Span { file: SourceFile::new("/x", ""), line: 1, column: 1, length: 1 };
        Token { text: "yes".into(), setting, span }
    }

    fn layer(setting: &'static str, action: Action, has: Option<u64>) -> Layer {
        let decision = Decision { action, because: Because::Restricted(token(setting)) };
        match has {
            None => Layer::always(decision),
            Some(bits) => {
                let test = Test { argument: 0, compare: Compare::Has(bits), words: "FLAG" };
                Layer::passing(vec![ForArguments { when: vec![test], decision }])
            }
        }
    }

    #[test]
    fn the_strongest_action_wins_and_among_errnos_the_last_filter() {
        let first = layer("First", Action::Errno(1), Some(1));
        let second = layer("Second", Action::Errno(2), Some(2));
        let third = layer("Third", Action::Log, None);
        let answer = Answer::combine(Arch::X86_64, &[first, second, third]);
        let action = |argument| answer.to(&[argument, 0, 0, 0, 0, 0]).action;
        assert_eq!(
            [0, 1, 2, 3, 4].map(action),
            [Action::Log, Action::Errno(1), Action::Errno(2), Action::Errno(2), Action::Log]
        );
    }

    #[test]
    fn a_kill_leaves_nothing_to_ask() {
        let soft = layer("First", Action::Errno(1), Some(1));
        let killed = layer("Second", Action::Kill, None);
        let answer = Answer::combine(Arch::X86_64, &[soft, killed]);
        assert_eq!((answer.for_arguments.len(), answer.otherwise.action), (0, Action::Kill));
    }

    #[test]
    fn of_one_filter_the_first_entry_counts_though_it_is_weaker() {
        let mut filter = layer("Filter", Action::Allow, Some(1));
        filter.otherwise.action = Action::Kill;
        let log = layer("Log", Action::Log, None);
        let answer = Answer::combine(Arch::X86, &[log, filter]);
        let action = |argument| answer.to(&[argument, 0, 0, 0, 0, 0]).action;
        assert_eq!([0, 1].map(action), [Action::Kill, Action::Log]);
    }

    #[test]
    fn of_32_bit_architectures_the_lower_half_counts() {
        let rule = [layer("First", Action::Errno(1), Some(1 << 40))];
        let high = [1 << 40, 0, 0, 0, 0, 0];
        assert_eq!(Answer::combine(Arch::X86_64, &rule).to(&high).action, Action::Errno(1));
        assert_eq!(Answer::combine(Arch::X86, &rule).to(&high).action, Action::Allow);
    }
}
