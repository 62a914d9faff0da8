//! A group of system calls: what it is for and what it holds.

use super::{Context, Kind, Topic, knowledge, unit};
use crate::syscalls::{Arch, Call, Groups, RULES_OF};
use serde::Serialize;
use std::collections::BTreeSet;
use std::sync::LazyLock;

/// What there is to say about a group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "ExplainedGroup"))]
pub struct GroupRow {
    /// Its name, with the `@`.
    pub name: String,
    /// What it is for.
    pub purpose: String,
    /// All calls that it holds.
    pub calls: Vec<String>,
    /// The groups that it holds whole, and that no other one of these holds.
    pub groups: Vec<String>,
    /// Those of its calls that stand in none of these groups.
    pub calls_beside_groups: Vec<String>,
    /// Those of its calls that hand over the system.
    pub high_risk: Vec<HighRisk>,
    /// Whose group this is.
    pub groups_of: String,
    /// Those of the versions of systemd that unitfix knows which have it.
    pub systemd: Vec<u32>,
}

/// Calls that hand over the system.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct HighRisk {
    /// What they let a program do.
    pub lets: String,
    /// The calls.
    pub calls: Vec<String>,
}

/// The names of the groups of each version of systemd that unitfix knows.
static GROUPS_OF: LazyLock<Vec<(u32, BTreeSet<String>)>> = LazyLock::new(|| {
    let rules = RULES_OF.into_iter().filter_map(|version| Groups::from_rules(version).ok());
    rules.map(|rules| (rules.systemd, rules.names().map(str::to_owned).collect())).collect()
});

fn versions_with(group: &str) -> Vec<u32> {
    GROUPS_OF.iter().filter(|(_, names)| names.contains(group)).map(|(version, _)| *version).collect()
}

/// Explain a group.
pub(super) fn group(name: &str, context: Context) -> Topic {
    let purpose = knowledge::group(name).unwrap_or_default();
    let versions = versions_with(name);
    let Some(members) = context.groups.members(name) else {
        let known: Vec<String> = versions.iter().map(u32::to_string).collect();
        let of = context.groups.systemd;
        return Topic::unknown(format!(
            "systemd {of} has no group {name} and ignores it in a filter; of the versions that unitfix knows, {} have it",
            crate::plan::list(known)
        ));
    };
    let count = match members.len() {
        1 => "1 system call".to_owned(),
        n => format!("{n} system calls"),
    };
    let mut topic = Topic::new(Kind::Group, format!("{name} is a group of {count}: {purpose}."));
    let groups = parts(name, members, context.groups);
    let within = |call: &String| {
        groups.iter().any(|g| context.groups.members(g).is_some_and(|members| members.contains(call)))
    };
    topic.group = Some(GroupRow {
        name: name.to_owned(),
        purpose: purpose.to_owned(),
        calls: members.iter().cloned().collect(),
        calls_beside_groups: members.iter().filter(|call| !within(call)).cloned().collect(),
        groups,
        high_risk: high_risk(members, context),
        groups_of: context.groups.origin_words(),
        systemd: versions,
    });
    if let Some((label, policy)) = context.unit {
        let native = Arch::native();
        let call = |name: &String| native.number(name).map(|number| Call { arch: native, number });
        topic.policy = unit::verdicts(policy, label, members.iter().filter_map(call));
    }
    topic
}

/// The groups that are whole within another one, without those that are within one of them.
fn parts(name: &str, members: &BTreeSet<String>, groups: &Groups) -> Vec<String> {
    let held =
        |group: &str| groups.members(group).filter(|m| m.len() < members.len() && m.is_subset(members));
    let inner: Vec<&str> = groups.names().filter(|group| *group != name && held(group).is_some()).collect();
    let covered = |group: &str| {
        let own = groups.members(group);
        inner.iter().any(|other| {
            let (own, other) = (own, groups.members(other));
            own.zip(other).is_some_and(|(own, other)| own.len() < other.len() && own.is_subset(other))
        })
    };
    inner.iter().filter(|group| !covered(group)).map(|group| (*group).to_owned()).collect()
}

fn high_risk(members: &BTreeSet<String>, context: Context) -> Vec<HighRisk> {
    let mut out: Vec<HighRisk> = Vec::new();
    for call in members {
        let risk = context.rules.risk(call, context.groups);
        if !risk.high {
            continue;
        }
        match out.iter_mut().find(|row| row.lets == risk.lets) {
            Some(row) => row.calls.push(call.clone()),
            None => out.push(HighRisk { lets: risk.lets, calls: vec![call.clone()] }),
        }
    }
    out
}
