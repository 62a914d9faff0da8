//! The cases. Each is a function that takes a bed and panics when something is not as it should be.

mod apply_errors;
mod blame;
mod denials;
mod evidence;
mod failure_points;
mod floods;
mod forged;
mod founding;
mod groups;
mod harness;
mod hostile;
mod incidents;
mod installed_filters;
mod journal_files;
mod killed;
mod ladder;
mod lasting;
mod lint;
mod minimum;
mod naming;
mod notified;
mod other_causes;
mod own_policy;
mod packaged;
mod patch;
mod policy;
mod prompts;
mod real_calls;
mod refused;
mod repair;
mod scanning;
mod settings;
mod shown;
mod support;
mod users;
mod watching;

use crate::bed::Bed;

/// One thing to be shown, on each suite that it makes sense on.
#[derive(Clone, Copy)]
pub struct Case {
    pub name: &'static str,
    pub run: fn(&Bed),
    /// Beside what every bed has; comma-separated.
    pub packages: &'static str,
    /// All of them, if there is none.
    pub only: &'static [&'static str],
    /// No other case runs meanwhile.
    pub alone: bool,
}

impl Case {
    pub const fn new(name: &'static str, run: fn(&Bed)) -> Self {
        Self { name, run, packages: "", only: &[], alone: false }
    }

    /// Restricts the case to some suites.
    pub const fn only_on(self, suites: &'static [&'static str]) -> Self {
        Self { only: suites, ..self }
    }

    /// Adds Debian packages to the bed. The suite `host` has what the host has.
    pub const fn with_packages(self, packages: &'static str) -> Self {
        Self { packages, ..self }
    }

    /// Nothing else runs meanwhile, because it would suffer: all beds have one kernel, and so one kernel log, and one
    /// machine.
    pub const fn alone(self) -> Self {
        Self { alone: true, ..self }
    }

    /// Whether it runs on a suite; if it names none, not on one that only repeats another.
    pub fn runs_on(&self, suite: &str, repeats: bool) -> bool {
        if self.only.is_empty() { !repeats } else { self.only.contains(&suite) }
    }
}

/// Every case, in the order in which they run.
pub fn all() -> Vec<Case> {
    [
        packaged::CASES, // of those that run alone, before the floods
        // the longest first, so that nobody waits for them in the end
        lasting::CASES,
        failure_points::CASES,
        killed::CASES,
        watching::CASES,
        harness::CASES,
        groups::CASES,
        founding::CASES,
        incidents::CASES,
        repair::CASES,
        ladder::CASES,
        minimum::CASES,
        settings::CASES,
        denials::CASES,
        other_causes::CASES,
        prompts::CASES,
        naming::CASES,
        users::CASES,
        refused::CASES,
        apply_errors::CASES,
        floods::CASES,
        notified::CASES,
        blame::CASES,
        evidence::CASES,
        journal_files::CASES,
        forged::CASES,
        hostile::CASES,
        own_policy::CASES,
        policy::CASES,
        scanning::CASES,
        patch::CASES,
        lint::CASES,
        installed_filters::CASES,
        real_calls::CASES,
        shown::CASES,
    ]
    .concat()
}
