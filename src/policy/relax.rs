//! What takes back least of a setting beside `SystemCallFilter=` that denies a call: the narrowest value to write in
//! a drop-in, and what it lets a program do. rules/settings-risk.yaml.
//!
//! No value is trusted that was not tried: each is put into the unit, the setting is read again, and must let the call
//! through.

mod risk;
#[cfg(test)]
mod tests;

use super::families::Family;
use super::namespaces::{NamespaceType, Namespaces};
use super::no_new_privileges::NoNewPrivileges;
use super::restriction::KERNEL_DENIES_WRITE_EXECUTE_FROM;
use super::{Action, Answer, Because, Policy, Restriction, Token};
use crate::evidence::Denial;
use crate::rules::Tier;
use crate::syscalls::Call;
use crate::unit::{SANDBOX, Setting, SourceFile, Unit, parse_boolean};
use std::collections::BTreeSet;

/// A line that takes back as little of a setting as lets a call through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Relaxation {
    /// The setting.
    pub setting: &'static str,
    /// What to write behind it, in a line of its own behind all others.
    pub value: String,
    /// The word that forbids the call now.
    pub token: Token,
    /// What it lets a program do, to follow "lets a program".
    pub lets: String,
    /// How much it gives away.
    pub risk: Tier,
    /// Whether it hands over the system.
    pub high: bool,
    /// Why nothing narrower can be written; nothing: it is as narrow as the call.
    pub narrower: Option<String>,
}

impl Relaxation {
    /// The line: `Setting=value`.
    #[must_use]
    pub fn line(&self) -> String {
        format!("{}={}", self.setting, self.value)
    }

    /// A line that somebody wrote, if it is of a setting beside `SystemCallFilter=` that forbids calls, and does not switch
    /// it on.
    #[must_use]
    pub fn written(line: &Setting) -> Option<Self> {
        let setting =
            SANDBOX.into_iter().find(|name| *name == line.key && !name.starts_with("SystemCall"))?;
        let value = match parse_boolean(&line.value.text) {
            Some(true) => return None,
            Some(false) => "no",
            None => line.value.text.as_str(),
        };
        let token = Token { text: line.value.text.clone(), setting, span: line.value.whole() };
        Some(Relaxation::new(setting, value, token))
    }

    fn new(setting: &'static str, value: &str, token: Token) -> Self {
        let rules: Vec<_> = value.split(' ').map(|word| risk::of(setting, word)).collect();
        let mut lets: Vec<String> = Vec::new();
        for rule in &rules {
            if !lets.contains(&rule.lets) {
                lets.push(rule.lets.clone());
            }
        }
        Relaxation {
            setting,
            value: value.to_owned(),
            token,
            lets: crate::plan::list(&lets),
            risk: rules.iter().map(|rule| rule.risk).max().unwrap_or(Tier::System),
            high: rules.iter().any(|rule| rule.high),
            narrower: rules.iter().find_map(|rule| rule.narrower.clone()),
        }
    }

    /// One line for two of the same setting.
    fn joined(&self, other: &Relaxation) -> Self {
        let words: BTreeSet<&str> = self.value.split(' ').chain(other.value.split(' ')).collect();
        // which holds all else that can be written
        let value = if words.contains("no") {
            "no".to_owned()
        } else {
            words.into_iter().collect::<Vec<_>>().join(" ")
        };
        Relaxation::new(self.setting, &value, self.token.clone())
    }
}

/// A denied call that no line can let through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Impossible {
    /// The call.
    pub call: Call,
    /// The word that forbids it.
    pub token: Token,
    /// Why, a sentence without a full stop.
    pub why: String,
}

/// What lets denied calls through.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Relaxations {
    /// One line for each setting.
    pub lines: Vec<Relaxation>,
    /// What no line lets through.
    pub impossible: Vec<Impossible>,
    /// `NoNewPrivileges=yes` has to be written beside the lines: the setting that goes implied it.
    pub keeps_no_new_privileges: bool,
}

impl Relaxations {
    /// The lines to write.
    #[must_use]
    pub fn text(&self) -> Vec<String> {
        let kept = self.keeps_no_new_privileges.then(|| "NoNewPrivileges=yes".to_owned());
        self.lines.iter().map(Relaxation::line).chain(kept).collect()
    }

    /// Add a line, joined with one of the same setting.
    pub fn add(&mut self, relaxation: &Relaxation) {
        match self.lines.iter_mut().find(|line| line.setting == relaxation.setting) {
            Some(line) => *line = line.joined(relaxation),
            None => self.lines.push(relaxation.clone()),
        }
    }
}

/// What lets these denials through: of those that a setting beside `SystemCallFilter=` made. `unit` is the one that
/// the policy is of.
#[must_use]
pub fn relaxations<'a>(
    policy: &Policy,
    unit: &Unit,
    denials: impl IntoIterator<Item = &'a Denial>,
) -> Relaxations {
    let mut out = Relaxations::default();
    for denial in denials {
        let Some(arguments) = denial.raw_arguments.filter(|_| denial.restricted_by(policy).is_some()) else {
            continue;
        };
        match relax(policy, unit, denial.call, &arguments) {
            Ok(lines) => lines.iter().for_each(|line| out.add(line)),
            Err(impossible) if out.impossible.contains(&impossible) => {}
            Err(impossible) => out.impossible.push(impossible),
        }
    }
    out.keeps_no_new_privileges = loses_no_new_privileges(policy, unit, &out.lines);
    out
}

/// Whether programs of the unit could gain privileges with these lines, and cannot without.
#[must_use]
pub fn loses_no_new_privileges(policy: &Policy, unit: &Unit, lines: &[Relaxation]) -> bool {
    let relaxed = || policy.relaxed(&with(unit, lines, policy.systemd));
    policy.no_new_privileges.is_some() && !lines.is_empty() && relaxed().no_new_privileges.is_none()
}

/// The lines that let a call with these arguments past every setting beside `SystemCallFilter=` that denies it.
pub fn relax(
    policy: &Policy,
    unit: &Unit,
    call: Call,
    arguments: &[u64; 6],
) -> Result<Vec<Relaxation>, Impossible> {
    let denying = policy.restrictions.iter().filter(|restriction| restriction.denies(call, arguments));
    denying.map(|restriction| narrowest(policy, unit, restriction, call, arguments)).collect()
}

fn narrowest(
    policy: &Policy,
    unit: &Unit,
    restriction: &Restriction,
    call: Call,
    arguments: &[u64; 6],
) -> Result<Relaxation, Impossible> {
    let token = policy.token_of(restriction, call, arguments);
    let setting = restriction.token.setting;
    let lets_through = |value: &String| {
        let relaxed = with_lines(unit, &[format!("{setting}={value}")], policy.systemd);
        restriction.again(&relaxed, policy.systemd).is_none_or(|left| !left.denies(call, arguments))
    };
    let value = values(setting, unit, call, arguments, policy.systemd).into_iter().find(lets_through);
    match value {
        Some(value) => Ok(Relaxation::new(setting, &value, token)),
        None => Err(Impossible { call, token, why: why_not(setting, arguments, policy.systemd) }),
    }
}

/// The values that may let a call through, the narrowest first.
fn values(setting: &'static str, unit: &Unit, call: Call, arguments: &[u64; 6], systemd: u32) -> Vec<String> {
    match setting {
        "RestrictAddressFamilies" => {
            family(arguments).and_then(Family::name).map(str::to_owned).into_iter().collect()
        }
        "RestrictNamespaces" => {
            let now = Namespaces::evaluate(unit, systemd, &mut Vec::new());
            let flags = arguments[usize::from(call.name() == Some("setns"))];
            let wanted = |t: &NamespaceType| flags & u64::from(t.clone_flag()) != 0 && !now.allows(*t);
            let names: Vec<&str> =
                NamespaceType::ALL.into_iter().filter(wanted).map(NamespaceType::name).collect();
            let names = (!names.is_empty()).then(|| names.join(" "));
            names.into_iter().chain(["no".to_owned()]).collect()
        }
        "ProtectHostname" => {
            // a name behind the colon stays
            let name = unit.text(setting).and_then(|text| text.split_once(':'));
            let private = name.map_or("private".to_owned(), |(_, name)| format!("private:{name}"));
            vec![private, "no".to_owned()]
        }
        "DynamicUser" => Vec::new(),
        _ => vec!["no".to_owned()],
    }
}

fn why_not(setting: &str, arguments: &[u64; 6], systemd: u32) -> String {
    match (setting, family(arguments).and_then(Family::name)) {
        ("DynamicUser", _) => {
            "DynamicUser= turns RestrictSUIDSGID= on, and no line takes that back".to_owned()
        }
        ("RestrictAddressFamilies", Some(name)) => format!("systemd {systemd} does not know {name}"),
        ("RestrictAddressFamilies", None) => {
            format!("systemd has no name for the address family {}", arguments[0])
        }
        _ => format!("no value of {setting}= lets it through"),
    }
}

/// The family that socket(2) is asked for.
fn family(arguments: &[u64; 6]) -> Option<Family> {
    u16::try_from(arguments[0]).ok().map(Family::new)
}

/// A unit with these lines behind all others.
#[must_use]
pub fn with(unit: &Unit, lines: &[Relaxation], version: u32) -> Unit {
    let lines: Vec<String> = lines.iter().map(Relaxation::line).collect();
    with_lines(unit, &lines, version)
}

fn with_lines(unit: &Unit, lines: &[String], version: u32) -> Unit {
    let text = format!("[Service]\n{}\n", lines.join("\n"));
    unit.with_drop_in(SourceFile::new("/run/relaxed.conf", text), version)
}

impl Policy {
    /// The policy as it is where lines that relax its settings were added to the unit. `SystemCallFilter=` and
    /// `SystemCallArchitectures=` stay.
    #[must_use]
    pub fn relaxed(&self, unit: &Unit) -> Policy {
        let mut policy = self.clone();
        let left = self.restrictions.iter().filter_map(|restriction| restriction.again(unit, self.systemd));
        policy.restrictions = left.collect();
        policy.no_new_privileges = NoNewPrivileges::of(unit, &policy);
        policy
    }

    /// The arguments of a call, from 0, that its settings look at, or have to look at once they are relaxed.
    #[must_use]
    pub fn looks_at(&self, call: Call) -> BTreeSet<u8> {
        let all_forbidden = match call.name() {
            Some("socket") => Some(0),
            Some("setns") => Some(1),
            _ => None,
        };
        self.answer_of_settings(call).tested().into_iter().chain(all_forbidden).collect()
    }

    /// Whether the kernel itself sees to `MemoryDenyWriteExecute=`, and looks at what memory is.
    #[must_use]
    pub fn kernel_denies_write_execute(&self) -> bool {
        self.systemd >= KERNEL_DENIES_WRITE_EXECUTE_FROM
    }

    /// The policy with what the kernel denies by itself as one more filter, for who cannot have the kernel do it.
    #[must_use]
    pub fn with_filters_only(&self) -> Policy {
        let mut policy = self.clone();
        policy.restrictions.iter_mut().for_each(|restriction| restriction.filters = true);
        policy
    }

    /// The word of a setting beside `SystemCallFilter=` that lets a call with these arguments fail with just this
    /// errno. That of `clone3` is none to repair: libraries fall back on `clone`, whose flags can be seen.
    #[must_use]
    pub fn restricted(&self, call: Call, arguments: &[u64; 6], errno: u16) -> Option<Token> {
        let answer = self.answer_of_settings(call);
        restricting(&answer, arguments, errno).filter(|_| call.name() != Some("clone3")).cloned()
    }

    fn token_of(&self, restriction: &Restriction, call: Call, arguments: &[u64; 6]) -> Token {
        let alone = Policy { restrictions: vec![restriction.clone()], ..self.clone() };
        let answer = alone.answer_of_settings(call);
        answer.to(arguments).token().unwrap_or(&restriction.token).clone()
    }
}

/// The word that lets a call with these arguments fail with just this errno.
fn restricting<'a>(answer: &'a Answer, arguments: &[u64; 6], errno: u16) -> Option<&'a Token> {
    let decision = answer.to(arguments);
    match &decision.because {
        Because::Restricted(token) if decision.action == Action::Errno(errno) => Some(token),
        _ => None,
    }
}
