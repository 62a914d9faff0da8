//! What the filters of `SystemCallFilter=` and `SystemCallArchitectures=` do with a call.
//! `apply_syscall_filter()` in src/core/execute.c (from 255 on src/core/exec-invoke.c), and
//! `seccomp_load_syscall_filter_set_raw()` and `seccomp_restrict_archs()` in src/shared/seccomp-util.c.

use super::answer::{Compare, ForArguments, Layer, Test};
use super::restriction::ENOSYS;
use super::{Action, Answer, Because, Decision, Filter, Policy, Restriction};
use crate::syscalls::{Arch, Call};

/// From this version on `write` is let through whatever the list says (seen on 257 and 262): systemd writes to its own
/// file descriptors below the filter.
const WRITE_ALWAYS_FROM: u32 = 257;

impl Policy {
    /// What all settings of the unit together do with a call.
    #[must_use]
    pub fn answer(&self, call: Call) -> Answer {
        self.answer_of(call, |_| true)
    }

    /// What the seccomp filters of the unit together do with a call: without what the kernel refuses by itself
    /// (`MemoryDenyWriteExecute=` of newer systemd).
    #[must_use]
    pub fn answer_of_filters(&self, call: Call) -> Answer {
        self.answer_of(call, |restriction| restriction.filters)
    }

    /// What the settings beside `SystemCallFilter=` and `SystemCallArchitectures=` together do with a call.
    #[must_use]
    pub fn answer_of_settings(&self, call: Call) -> Answer {
        let layers: Vec<Layer> = self.restrictions.iter().filter_map(|r| r.layer(call)).collect();
        Answer::combine(call.arch, &layers)
    }

    /// What `SystemCallFilter=` and `SystemCallArchitectures=` do with a call, of which the arguments matter if it stands
    /// for many ([`Call::stands_for`]).
    #[must_use]
    pub fn answer_of_filter(&self, call: Call) -> Answer {
        self.answer_of(call, |_| false)
    }

    fn answer_of(&self, call: Call, counts: impl Fn(&Restriction) -> bool) -> Answer {
        let restrictions = self.restrictions.iter().filter(|restriction| counts(restriction));
        let mut layers: Vec<Layer> = restrictions.filter_map(|restriction| restriction.layer(call)).collect();
        layers.extend(self.log_layer(call));
        layers.push(self.filter_layer(call));
        layers.extend(self.foreign(call).map(Layer::always));
        Answer::combine(call.arch, &layers)
    }

    /// What `SystemCallFilter=` and `SystemCallArchitectures=` do with a call: what a repair can change. Of a call
    /// that stands for many ([`Call::stands_for`]), what they do with one that no line names.
    #[must_use]
    pub fn decide(&self, call: Call) -> Decision {
        self.foreign(call).unwrap_or_else(|| self.filter_alone(call))
    }

    /// What the filter does with a call whose architecture is let in.
    #[must_use]
    pub fn filter_alone(&self, call: Call) -> Decision {
        self.filter_layer(call).otherwise
    }

    /// What the filter does with a call of this name: of the native architecture, where that has it.
    #[must_use]
    pub fn action(&self, name: &str) -> Action {
        let arch = Arch::native();
        match arch.number(name) {
            Some(number) => self.filter_alone(Call { arch, number }).action,
            None => self.filter.decide(Some(name), self.default).action,
        }
    }

    /// Whether the filter forbids a call of this name, softly or not.
    #[must_use]
    pub fn forbids(&self, name: &str) -> bool {
        self.action(name).denies()
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

    /// The kernel's answer to a call of an architecture that is not let in.
    fn foreign(&self, call: Call) -> Option<Decision> {
        let (_, token) = self.architectures.as_ref().filter(|_| !self.admits(call.arch))?;
        Some(Decision { action: Action::Kill, because: Because::Architecture(token.clone()) })
    }

    fn filter_layer(&self, call: Call) -> Layer {
        self.by_name(call, |name| self.rule(name), || self.without_a_rule(call))
    }

    /// What `SystemCallLog=` does with a call (`apply_syscall_log()`).
    fn log_layer(&self, call: Call) -> Option<Layer> {
        let actions = match &self.log {
            log if !log.exists() => return None,
            Filter::Allow(_) => [Action::Allow, Action::Log],
            _ => [Action::Log, Action::Allow],
        };
        let because = |name| match self.log.decide(name, Action::Allow).token() {
            Some(token) => Because::Restricted(token.clone()),
            None => Because::NoFilter,
        };
        let listed = |name| {
            let decision = || Decision { action: actions[1], because: because(Some(name)) };
            self.log.lists(name).then(decision)
        };
        let otherwise = || Decision { action: actions[0], because: because(None) };
        Some(self.by_name(call, listed, otherwise))
    }

    /// A filter that has rules for names.
    fn by_name(
        &self,
        call: Call,
        rule: impl Fn(&'static str) -> Option<Decision>,
        otherwise: impl Fn() -> Decision,
    ) -> Layer {
        if let Some(decision) = self.name(call).and_then(&rule) {
            return Layer::always(decision); // whatever is said about the calls that it stands for
        }
        let stands_for = call.stands_for().iter().filter_map(|(name, value)| {
            let test = Test { argument: 0, compare: Compare::Equal(u64::from(*value)), words: name };
            Some(ForArguments { when: vec![test], decision: rule(name)? })
        });
        Layer { for_arguments: stands_for.collect(), otherwise: otherwise() }
    }

    /// The name that has this number in libseccomp's tables.
    fn name(&self, call: Call) -> Option<&'static str> {
        // x32 has no map_shadow_stack; libseccomp 2.6 gives it a number all the same (seen with 257 and 262)
        let misnamed = call == Call { arch: Arch::X32, number: 453 } && self.systemd >= 257;
        if misnamed { Some("map_shadow_stack") } else { call.name() }
    }

    /// What the filter's rule for a name does, if there is one.
    fn rule(&self, name: &str) -> Option<Decision> {
        if name == "write" && self.filter.exists() && self.lets_write_through() {
            return Some(Decision { action: Action::Allow, because: Because::WriteAlways });
        }
        // beside the list, the filter has rules for what systemd knows, so that the rest can get ENOSYS
        let known = || {
            let known = self.known.as_ref().filter(|_| matches!(self.filter, Filter::Allow(_)))?;
            (known.contains(name) && Arch::native().number(name).is_some()).then_some(())
        };
        (self.filter.lists(name) || known().is_some()).then(|| self.filter.decide(Some(name), self.default))
    }

    /// The action that libseccomp takes for a call without a rule, where that denies: no rule may have the same.
    pub(super) fn libseccomp_default(&self) -> Option<Action> {
        match (&self.filter, &self.known) {
            (Filter::Allow(_), Some(_)) => Some(ENOSYS),
            (Filter::Allow(_), None) => Some(self.default),
            _ => None,
        }
    }

    /// Whether any rule of the installed filter carries the action of `SystemCallErrorNumber=`.
    pub(super) fn uses_default(&self) -> bool {
        match (&self.filter, &self.known) {
            (Filter::Allow(_), Some(known)) => known.iter().any(|name| !self.filter.lists(name)),
            (Filter::Allow(_), None) => true,
            (filter, _) => filter.has_plain_entry(),
        }
    }

    /// Whether systemd lets `write` through, whatever the list says.
    pub(super) fn lets_write_through(&self) -> bool {
        self.systemd >= WRITE_ALWAYS_FROM
    }

    /// What the filter does with a call for which it has no rule.
    fn without_a_rule(&self, call: Call) -> Decision {
        if self.known.is_some() && matches!(self.filter, Filter::Allow(_)) {
            return Decision { action: ENOSYS, because: Because::Unknown };
        }
        self.filter.decide(call.name(), self.default)
    }
}
