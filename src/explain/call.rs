//! A system call: what it does, what it lets a program do, how risky that is, who makes it.

use super::{Context, Kind, Place, Topic, architectures, call_of, unit};
use crate::rules::{ErrnoName, Family, Risk, Rules, Words};
use crate::syscalls::{Arch, Call, Groups};
use serde::Serialize;
use std::collections::BTreeSet;

/// What there is to say about a call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "ExplainedCall"))]
pub struct CallRow {
    /// Its name.
    pub name: String,
    /// What it does, to follow its name.
    pub does: Option<String>,
    /// What allowing it lets a program do, to follow "lets a program".
    pub lets: Option<String>,
    /// How risky it is to allow it.
    pub risk: RiskRow,
    /// Who commonly calls it.
    pub callers: Vec<String>,
    /// The errnos on which callers do without it.
    pub falls_back: Vec<Fallback>,
    /// The calls that are doors to the same power.
    pub family: Option<FamilyRow>,
    /// The groups that hold it, smallest first.
    pub groups: Vec<GroupSize>,
    /// Whose groups these are.
    pub groups_of: String,
    /// Its numbers; not there where an architecture does not have it.
    pub numbers: Vec<NumberRow>,
    /// The manual page to read.
    pub manual: Option<String>,
}

/// How risky it is to allow a call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "RiskOfCall"))]
pub struct RiskRow {
    /// How much it lets a program do.
    #[serde(flatten)]
    pub risk: Risk,
    /// Who makes it anyway, in a sentence.
    pub because: String,
}

/// An errno on which callers do without a call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Fallback {
    /// The errno.
    pub errno: String,
    /// Who does what then.
    pub then: String,
}

/// Calls that are doors to the same power.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "Family"))]
pub struct FamilyRow {
    /// What they are doors to.
    pub power: String,
    /// The others, oldest first.
    pub others: Vec<String>,
    /// The newest of all.
    pub newest: String,
    /// Whether the newest can do all that the others can.
    pub newest_covers: bool,
}

/// A group and how much it holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct GroupSize {
    /// Its name.
    pub name: String,
    /// How many calls it holds.
    pub calls: usize,
}

/// A number of a call on an architecture.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "Number"))]
pub struct NumberRow {
    /// The architecture.
    pub architecture: Arch,
    /// The number.
    pub number: u32,
    /// The name that it has there.
    pub call: String,
}

impl CallRow {
    /// What there is to say about a call of this name.
    #[must_use]
    pub fn new(name: &str, groups: &Groups, rules: &Rules) -> Self {
        let words = rules.call(name);
        let holding = groups.holding(name);
        let size = |group: &&str| GroupSize {
            name: (*group).to_owned(),
            calls: groups.members(group).map_or(0, BTreeSet::len),
        };
        let number = |arch: Arch| {
            let number = arch.number(name)?;
            Some(NumberRow { architecture: arch, number, call: name.to_owned() })
        };
        CallRow {
            name: name.to_owned(),
            does: words.map(|words| words.does.to_string()),
            lets: rules.lets(name, groups).map(str::to_owned),
            risk: RiskRow { risk: rules.risk(name, groups), because: because(name, groups).to_owned() },
            callers: words.iter().flat_map(|words| &words.callers).map(ToString::to_string).collect(),
            falls_back: words.into_iter().flat_map(|words| &words.falls_back).map(Fallback::from).collect(),
            family: rules.family(name).map(|family| FamilyRow::new(name, family)),
            groups: holding.iter().map(size).collect(),
            groups_of: groups.origin_words(),
            numbers: architectures().into_iter().filter_map(number).collect(),
            manual: words.and_then(|words| words.man(name)),
        }
    }

    /// What it does, as a sentence.
    #[must_use]
    pub fn sentence(&self) -> String {
        match self.does.as_deref() {
            Some(does) if does.starts_with("nothing") => format!("{} does {does}.", self.name),
            Some(does) => format!("{} {does}.", self.name),
            None => format!("{} is a system call of which unitfix knows no more than the name.", self.name),
        }
    }
}

impl From<(&ErrnoName, &Words)> for Fallback {
    fn from((errno, then): (&ErrnoName, &Words)) -> Self {
        Fallback { errno: errno.to_string(), then: then.to_string() }
    }
}

impl FamilyRow {
    fn new(name: &str, family: &Family) -> Self {
        // forms that only other architectures have are of no use to who reads this
        let here = |call: &&str| {
            let native = Arch::native();
            *call != name && (native.number(call).is_some() || native.number(name).is_none())
        };
        let calls = || family.calls.iter().map(|call| &**call);
        let newest = calls().rev().find(|call| here(call) || *call == name).unwrap_or_default();
        let others = || calls().filter(here).chain([name]).filter(|call| *call != newest);
        FamilyRow {
            power: family.power.to_string(),
            others: calls().filter(here).map(str::to_owned).collect(),
            newest: newest.to_owned(),
            newest_covers: others().all(|other| family.can(newest, other)),
        }
    }
}

/// Who makes a call anyway.
fn because(name: &str, groups: &Groups) -> &'static str {
    let in_group = |group: &str| groups.members(group).is_some_and(|members| members.contains(name));
    if in_group("@default") {
        "every program needs such calls, and every allow list contains them (@default)"
    } else if in_group("@obsolete") {
        "a program of today has little reason to make it (@obsolete)"
    } else if in_group("@system-service") && in_group("@privileged") {
        "ordinary services make it (@system-service), but as root it can do much (@privileged)"
    } else if in_group("@privileged") {
        "it needs privileges to be of much use (@privileged); root has them"
    } else if in_group("@system-service") {
        "ordinary services make it; systemd's usual allow list has it (@system-service)"
    } else {
        "it is not among what ordinary services need (@system-service)"
    }
}

/// Explain a number.
pub(super) fn number(number: u32, place: &Place, context: Context) -> Topic {
    let shown = if number == u32::MAX { "-1".to_owned() } else { number.to_string() };
    if number == u32::MAX {
        return Topic::unknown(format!(
            "{shown} is no system call: a tracer puts it there to have one skipped"
        ));
    }
    let on = |arch: Arch| {
        Call::from_record(arch.audit(), number).filter(|_| arch != Arch::X32).or(Some(Call { arch, number }))
    };
    match place {
        Place::Foreign(arch) => Topic::unknown(format!(
            "number {shown} of the architecture {arch}, of which unitfix knows no calls"
        )),
        Place::On(arch) => match on(*arch).and_then(|call| Some((call, call.name()?))) {
            None => {
                Topic::unknown(format!("no system call of {arch} that unitfix knows has the number {shown}"))
            }
            Some((call, name)) => {
                let mut topic = about(call, name, context);
                topic.summary = format!("Number {} of {} is {name}.", call.number, call.arch);
                topic
            }
        },
        Place::Anywhere => {
            let meanings: Vec<(Call, &str)> = architectures()
                .into_iter()
                .filter_map(on)
                .filter_map(|call| Some((call, call.name()?)))
                .collect();
            let Some(((call, name), others)) = meanings.split_first() else {
                return Topic::unknown(format!("no system call that unitfix knows has the number {shown}"));
            };
            let mut topic = about(*call, name, context);
            let own = if call.arch == Arch::native() { ", this machine's architecture" } else { "" };
            topic.summary = format!("Number {} is {name} on {}{own}.", call.number, call.arch);
            let row = |(call, name): &(Call, &str)| NumberRow {
                architecture: call.arch,
                number: call.number,
                call: (*name).to_owned(),
            };
            topic.elsewhere = others.iter().map(row).collect();
            topic.notes.extend(not_a_call(number).map(str::to_owned));
            topic
        }
    }
}

/// What a bare number may be as well.
fn not_a_call(number: u32) -> Option<&'static str> {
    match number {
        31 => Some("As a signal, 31 is SIGSYS: unitfix explain SIGSYS."),
        159 => Some("As an exit status, 159 is how a shell reports SIGSYS: unitfix explain status=159."),
        228 => Some("As an exit status of a service, 228 is SECCOMP: unitfix explain 228/SECCOMP."),
        _ => None,
    }
}

/// Explain a name.
pub(super) fn name(name: &str, place: &Place, context: Context) -> Topic {
    match (call_of(name, place), place) {
        (Some(call), _) => about(call, name, context),
        (None, Place::On(arch)) => Topic::unknown(format!("{name} is no system call of {arch}")),
        // of an architecture for which unitfix has no numbers
        (None, _) => {
            let row = CallRow::new(name, context.groups, context.rules);
            let mut topic = Topic::new(Kind::Call, row.sentence());
            topic.call = Some(row);
            topic
        }
    }
}

/// What there is to say about a call, whatever was asked.
pub(super) fn about(call: Call, name: &str, context: Context) -> Topic {
    let row = CallRow::new(name, context.groups, context.rules);
    let mut topic = Topic::new(Kind::Call, row.sentence());
    if !context.groups.knows(name) {
        topic.notes.push(format!(
            "The systemd {} that these groups are of, or its libseccomp, does not know this name: a filter that names \
             it has no effect there.",
            context.groups.systemd
        ));
    }
    topic.call = Some(row);
    topic.policy.extend(context.unit.map(|(label, policy)| unit::verdict(policy, label, call)));
    topic
}
