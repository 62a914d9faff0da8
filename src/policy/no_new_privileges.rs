//! Whether a unit's processes can gain privileges by running a program: `NoNewPrivileges=`, and what implies it.
//! `context_has_no_new_privileges()` and `unit_patch_contexts()` in src/core/.

use super::restriction::turned_on;
use super::{Filter, Policy, Token};
use crate::unit::Unit;

/// The process flag `no_new_privs` (prctl(2)) is set: set-user-ID bits and file capabilities count for nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoNewPrivileges {
    /// `NoNewPrivileges=`, or `DynamicUser=`, which turns it on whatever the other says.
    Set(Token),
    /// The process may not install a filter otherwise. `AmbientCapabilities=` do not help: they become effective later.
    Implied {
        /// The setting that installs a filter.
        filter: Token,
        /// The `User=` that takes CAP_SYS_ADMIN away; nothing: the manager is that of a user, who has it not.
        user: Option<Token>,
    },
}

/// From this version on (seen on 257 and 262, not on 252), CAP_SYS_ADMIN is kept until the filters are installed, where
/// `SystemCallFilter=` lets it be dropped afterwards.
const KEEPS_PRIVILEGES_FROM: u32 = 256;

impl NoNewPrivileges {
    /// What a policy, complete but for this, implies. Of a command with the prefix `!` nothing is implied, for it
    /// keeps its privileges; one with `+` has no flag at all.
    pub(super) fn of(unit: &Unit, policy: &Policy) -> Option<Self> {
        if let Some(token) = turned_on(unit, "NoNewPrivileges").or_else(|| turned_on(unit, "DynamicUser")) {
            return Some(NoNewPrivileges::Set(token));
        }
        if unit.scope.owner().is_some_and(|owner| owner.uid != 0) {
            return Some(NoNewPrivileges::Implied { filter: installs_a_filter(policy)?, user: None });
        }
        let user = unit.last("User").filter(|user| !["", "root", "0"].contains(&user.value.text.as_str()))?;
        let keeps = policy.systemd >= KEEPS_PRIVILEGES_FROM && lets_drop_privileges(&policy.filter);
        if keeps {
            return None;
        }
        let user = Token { text: user.value.text.clone(), setting: "User", span: user.value.whole() };
        Some(NoNewPrivileges::Implied { filter: installs_a_filter(policy)?, user: Some(user) })
    }

    /// The tokens to point at.
    #[must_use]
    pub fn tokens(&self) -> Vec<&Token> {
        match self {
            NoNewPrivileges::Set(token) => vec![token],
            NoNewPrivileges::Implied { filter, user } => user.iter().chain([filter]).collect(),
        }
    }
}

/// `context_has_seccomp()`: a setting for which systemd may install a filter.
fn installs_a_filter(policy: &Policy) -> Option<Token> {
    let listed = |filter: &Filter| filter.exists().then(|| filter.first().cloned()).flatten();
    let restricted = || policy.restrictions.first().map(|restriction| restriction.token.clone());
    let architectures = || policy.architectures.as_ref().map(|(_, token)| token.clone());
    listed(&policy.filter).or_else(restricted).or_else(architectures).or_else(|| listed(&policy.log))
}

/// `seccomp_allows_drop_privileges()`
fn lets_drop_privileges(filter: &Filter) -> bool {
    let mut calls = ["capget", "capset", "prctl"].into_iter();
    match filter {
        filter if !filter.exists() => true,
        Filter::None => true,
        Filter::Allow(_) => calls.all(|call| filter.lists(call)),
        Filter::Deny(_) => !calls.any(|call| filter.lists(call)),
    }
}
