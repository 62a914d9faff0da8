//! Risk: what allowing a call lets a program do, and how much that is (rules/risk.yaml).

use super::names::{CallOrGroup, Words};
use crate::syscalls::Groups;
use serde::{Deserialize, Serialize};

/// How much a call lets a program do, the least first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Tier {
    /// Nothing that could be misused.
    Harmless,
    /// Read what others keep.
    Information,
    /// Take more of what all share.
    Resources,
    /// Make, change and remove files; run as another user.
    Ownership,
    /// Talk to others over sockets.
    Network,
    /// Start, stop, watch and steer processes.
    ProcessControl,
    /// Change what the whole system is and does.
    System,
}

impl Tier {
    /// The word for people.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Tier::Harmless => "harmless",
            Tier::Information => "information",
            Tier::Resources => "resources",
            Tier::Ownership => "ownership",
            Tier::Network => "network",
            Tier::ProcessControl => "process control",
            Tier::System => "system",
        }
    }
}

/// How risky it is to allow a call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Risk {
    /// How much it lets a program do.
    pub tier: Tier,
    /// What, to follow "lets a program".
    pub lets: String,
    /// Where that is said: a section of the manual, or a file of the kernel.
    pub source: String,
    /// It hands over the system.
    pub high: bool,
}

/// One entry of the rules: the risk of some calls.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RiskRule {
    /// How much these let a program do.
    pub tier: Tier,
    /// The calls, and groups of them.
    pub calls: Vec<CallOrGroup>,
    /// What, to follow "lets a program".
    pub lets: Words,
    /// Where that is said.
    pub source: Words,
    /// They hand over the system.
    #[serde(default)]
    pub high: bool,
}

impl RiskRule {
    /// Whether it names a call, itself or by a group.
    #[must_use]
    pub fn names(&self, call: &str, groups: &Groups) -> bool {
        self.calls
            .iter()
            .any(|name| **name == *call || groups.members(name).is_some_and(|m| m.contains(call)))
    }

    /// The risk of one of its calls.
    #[must_use]
    pub fn risk(&self) -> Risk {
        Risk {
            tier: self.tier,
            lets: self.lets.to_string(),
            source: self.source.to_string(),
            high: self.high,
        }
    }
}
