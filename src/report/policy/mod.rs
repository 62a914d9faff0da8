//! `unitfix policy`: what a unit's settings let every call do, as one value.

mod asked;
mod change;
mod lint;
mod text;

pub use asked::{Asked, parse_call};
pub use change::{ChangedCall, Counts, PolicyChange};
pub use lint::Lint;

use super::{FindingRow, SCHEMA, TokenRow};
use crate::policy::{Action, Because, Decision, Filter, NoNewPrivileges, Policy, Restriction, Test};
use crate::subject::Judged;
use crate::syscalls::{Arch, Call};
use crate::unit::{Span, Unit};
use serde::Serialize;

/// The effective policy of a unit.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "Policy"))]
pub struct PolicyPage {
    /// The version of this format.
    #[cfg_attr(test, schemars(extend("const" = SCHEMA)))]
    pub schema: u32,
    /// The version of unitfix.
    pub unitfix: &'static str,
    /// The unit.
    pub unit: String,
    /// The unit file and the drop-ins, in load order.
    pub files: Vec<std::path::PathBuf>,
    /// The major version of systemd whose rules apply.
    pub systemd: u32,
    /// Where the contents of the groups come from.
    pub groups: String,
    /// `SystemCallFilter=`: `none`, `allow` (only what is listed runs) or `deny`.
    pub filter: &'static str,
    /// What is done with a forbidden call that has no errno of its own (`SystemCallErrorNumber=`).
    pub default_action: String,
    /// What of the native architecture the filter forbids, by the token that decided it.
    pub forbidden: Vec<ForbiddenRow>,
    /// `SystemCallArchitectures=`, if it is set: what is let in beside the native architecture, and where it says so.
    pub architectures: Option<ArchitecturesRow>,
    /// What other settings forbid.
    pub restrictions: Vec<RestrictionRow>,
    /// `SystemCallLog=`: how many calls of the native architecture are logged, and where it says so.
    pub logged: Option<LoggedRow>,
    /// What keeps the processes from gaining privileges (`NoNewPrivileges=`, or what implies it); empty: nothing.
    pub no_new_privileges: Vec<TokenRow>,
    /// Those that were asked for; in JSON, where none were, every call of this kernel's architectures that has a name.
    pub calls: Vec<CallRow>,
    /// What is wrong with the unit's files and its filter.
    pub findings: Vec<FindingRow>,
    #[serde(skip)]
    asked: bool,
}

/// Calls that one token of the filter forbids.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "Forbidden"))]
pub struct ForbiddenRow {
    /// What becomes of them.
    pub action: String,
    /// Their names.
    pub calls: Vec<String>,
    /// Why, where no token decided.
    #[serde(skip)]
    otherwise_because: &'static str,
    /// The groups that are forbidden as a whole, and the calls beside them.
    #[serde(skip)]
    summary: Vec<String>,
    /// The token; nothing where systemd itself decides.
    pub decided_by: Option<TokenRow>,
}

/// The architectures that are let in.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "Architectures"))]
pub struct ArchitecturesRow {
    /// In systemd's words.
    pub admitted: Vec<Arch>,
    /// Calls of these kill.
    pub killed: Vec<Arch>,
    /// Where it says so.
    pub decided_by: TokenRow,
}

/// Another setting that installs a seccomp filter.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "Restriction"))]
pub struct RestrictionRow {
    /// The setting.
    pub setting: &'static str,
    /// What it forbids, in words.
    pub forbids: &'static str,
    /// The calls of the native architecture that it forbids, whatever their arguments are.
    pub always: Vec<String>,
    /// The calls that it forbids for some arguments.
    pub for_some_arguments: Vec<String>,
    /// Where it says so.
    pub decided_by: TokenRow,
}

/// Calls that are logged.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "Logged"))]
pub struct LoggedRow {
    /// How many of the native architecture.
    pub calls: usize,
    /// Where it says so.
    pub decided_by: TokenRow,
}

/// What becomes of one call.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "CallAnswer"))]
pub struct CallRow {
    /// Its name, or `number N`.
    pub call: String,
    /// Its number on the architecture.
    pub number: u32,
    /// The architecture.
    pub architecture: Arch,
    #[serde(skip)]
    asked_for: bool,
    /// What becomes of it for some arguments; the first that holds counts.
    pub for_arguments: Vec<CaseRow>,
    /// What becomes of it otherwise.
    pub otherwise: CaseRow,
}

/// One thing that can become of a call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "Answer"))]
pub struct CaseRow {
    /// `allow`, `log`, `errno` or `kill`.
    pub action: &'static str,
    /// The errno's name, or its number.
    pub errno: Option<String>,
    /// In words.
    pub words: String,
    /// For which arguments, in words; empty: for all others.
    pub when: String,
    /// The token that decided.
    pub decided_by: Option<TokenRow>,
    /// A single test, as its comparison and its words.
    #[serde(skip)]
    single: Option<(String, &'static str)>,
}

impl PolicyPage {
    /// Everything there is to say, and the answers for these calls.
    #[must_use]
    pub fn new(judged: &Judged, asked: &[Asked]) -> Self {
        let Judged { unit, groups, policy } = judged;
        PolicyPage {
            schema: SCHEMA,
            unitfix: env!("CARGO_PKG_VERSION"),
            unit: unit.name.to_string(),
            files: std::iter::once(&unit.fragment).chain(&unit.drop_ins).map(|f| f.path.clone()).collect(),
            systemd: groups.systemd,
            groups: groups.origin_words(),
            filter: match &policy.filter {
                filter if !filter.exists() => "none",
                Filter::Allow(_) => "allow",
                _ => "deny",
            },
            default_action: policy.default.to_string(),
            forbidden: forbidden(judged),
            architectures: architectures(policy),
            restrictions: policy.restrictions.iter().map(RestrictionRow::from).collect(),
            logged: logged(policy),
            no_new_privileges: no_new_privileges(policy),
            calls: asked.iter().map(|asked| CallRow::new(policy, asked)).collect(),
            findings: lint::findings(judged),
            asked: !asked.is_empty(),
        }
    }

    /// The same with the answers for all calls, where none was asked for.
    #[must_use]
    pub fn with_all_calls(mut self, policy: &Policy) -> Self {
        if !self.asked {
            let all = named_calls().map(|call| Asked { call, of_its_architecture: false });
            self.calls = all.map(|asked| CallRow::new(policy, &asked)).collect();
        }
        self
    }
}

/// Every call of this kernel's architectures that has a name.
fn named_calls() -> impl Iterator<Item = Call> {
    let numbers = |arch: Arch| (0..1024).map(move |number| Call { arch, number });
    let archs = Arch::of_this_kernel().iter().copied();
    archs.flat_map(numbers).filter(|call| call.name().is_some())
}

/// What the filter forbids of the native architecture, one row for each token and action, in the order of the files.
fn forbidden(judged: &Judged) -> Vec<ForbiddenRow> {
    let mut rows: Vec<(Decision, Vec<String>)> = Vec::new();
    for call in named_calls().filter(|call| call.arch == Arch::native()) {
        let decision = judged.policy.filter_alone(call);
        if !decision.denies() {
            continue;
        }
        match rows.iter_mut().find(|(other, _)| *other == decision) {
            Some((_, calls)) => calls.push(call.to_string()),
            None => rows.push((decision, vec![call.to_string()])),
        }
    }
    rows.sort_by_key(|(decision, _)| decision.token().map(|token| place_in(&judged.unit, &token.span)));
    rows.into_iter()
        .map(|(decision, mut calls)| {
            calls.sort_unstable();
            ForbiddenRow {
                action: decision.action.to_string(),
                otherwise_because: match decision.because {
                    Because::Unknown => "this systemd does not know these calls",
                    _ => "the manager says so, and the files do not tell why",
                },
                summary: summary(judged, &calls),
                decided_by: token_row(&decision, &calls),
                calls,
            }
        })
        .collect()
}

/// Where a place comes among the files of a unit, in load order: by file, line and column.
fn place_in(unit: &Unit, span: &Span) -> (usize, u32, u32) {
    let drop_in = unit.drop_ins.iter().position(|file| file.path == span.file.path);
    (drop_in.map_or(0, |at| at + 1), span.line, span.column)
}

fn token_row(decision: &Decision, calls: &[String]) -> Option<TokenRow> {
    let token = decision.token()?;
    let count = if calls.len() == 1 { "1 call".to_owned() } else { format!("{} calls", calls.len()) };
    let verb = if matches!(decision.because, Because::NotListed(_)) { "does not hold" } else { "forbids" };
    Some(TokenRow { words: format!("{verb} {count}"), ..TokenRow::place(&token.span) })
}

/// So many names are read at a glance.
const AT_A_GLANCE: usize = 12;

/// Names, with the groups that they hold as a whole in place of their members.
fn summary(judged: &Judged, calls: &[String]) -> Vec<String> {
    if calls.len() <= AT_A_GLANCE {
        return calls.to_vec();
    }
    let native = |name: &&String| Arch::native().number(name).is_some();
    let mut rest: Vec<&String> = calls.iter().collect();
    let mut groups = Vec::new();
    for (name, members) in judged.groups.largest_first() {
        let members: Vec<&String> = members.iter().filter(native).collect();
        let whole = members.len() > 1 && members.iter().all(|m| calls.contains(m));
        if whole && name != "@known" && members.iter().any(|m| rest.contains(m)) {
            rest.retain(|call| !members.contains(call));
            groups.push(name.to_owned());
        }
    }
    groups.sort_unstable();
    groups.extend(rest.into_iter().cloned());
    groups
}

fn architectures(policy: &Policy) -> Option<ArchitecturesRow> {
    let (_, token) = policy.architectures.as_ref()?;
    let archs = || Arch::of_this_kernel().iter().copied();
    Some(ArchitecturesRow {
        admitted: archs().filter(|arch| policy.admits(*arch)).collect(),
        killed: archs().filter(|arch| !policy.admits(*arch)).collect(),
        decided_by: TokenRow::place(&token.span),
    })
}

fn logged(policy: &Policy) -> Option<LoggedRow> {
    let token = policy.log.first().filter(|_| policy.log.exists())?;
    let native = named_calls().filter(|call| call.arch == Arch::native());
    // what is forbidden is not logged: the stronger action wins
    let calls = native.filter(|call| policy.answer(*call).otherwise.action == Action::Log).count();
    Some(LoggedRow { calls, decided_by: TokenRow::place(&token.span) })
}

fn no_new_privileges(policy: &Policy) -> Vec<TokenRow> {
    let tokens = policy.no_new_privileges.iter().flat_map(NoNewPrivileges::tokens);
    tokens.map(|token| TokenRow::place(&token.span)).collect()
}

impl From<&Restriction> for RestrictionRow {
    fn from(restriction: &Restriction) -> Self {
        let names =
            |always| restriction.calls(Arch::native(), always).into_iter().map(str::to_owned).collect();
        RestrictionRow {
            setting: restriction.token.setting,
            forbids: restriction.forbids,
            always: names(true),
            for_some_arguments: names(false),
            decided_by: TokenRow::place(&restriction.token.span),
        }
    }
}

impl CallRow {
    fn new(policy: &Policy, asked: &Asked) -> Self {
        let call = asked.call;
        let answer = policy.answer(call);
        let case = |decision: &Decision, tests: &[Test]| CaseRow::new(decision, call, tests);
        let entries = answer.for_arguments.iter();
        CallRow {
            call: call.to_string(),
            number: call.number,
            architecture: call.arch,
            asked_for: asked.of_its_architecture,
            for_arguments: entries.map(|entry| case(&entry.decision, &entry.when)).collect(),
            otherwise: case(&answer.otherwise, &[]),
        }
    }
}

/// What becomes of a call, said of the call.
fn people_words(action: Action) -> String {
    match action {
        Action::Kill => "kills the process".to_owned(),
        other => other.to_string(),
    }
}

impl CaseRow {
    fn new(decision: &Decision, call: Call, tests: &[Test]) -> Self {
        let (action, errno) = match decision.action {
            Action::Allow => ("allow", None),
            Action::Log => ("log", None),
            Action::Errno(number) => ("errno", Some(crate::policy::errno_name(number))),
            Action::Kill => ("kill", None),
        };
        let words = match &decision.because {
            Because::Unknown => format!("{}, as systemd does not know it", decision.action),
            Because::WriteAlways => "allowed, as systemd itself needs it".to_owned(),
            Because::Listed(None) | Because::NotListed(None) => {
                format!("{}, says the manager; the files do not tell why", people_words(decision.action))
            }
            _ => people_words(decision.action),
        };
        let when = tests.iter().map(ToString::to_string).collect::<Vec<_>>().join(" and ");
        let single = match tests {
            [test] => Some((test.comparison(), test.words)),
            _ => None,
        };
        CaseRow { action, errno, words, when, decided_by: TokenRow::of(decision, call), single }
    }
}
