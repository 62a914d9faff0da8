//! What `systemctl show` prints of the settings that filter system calls, byte for byte, without a running manager.

use super::architectures::Architectures;
use super::errno::default_action;
use super::families::AddressFamilies;
use super::namespaces::Namespaces;
use super::{Action, Filter};
use crate::syscalls::Groups;
use crate::unit::Unit;
use std::fmt;

/// `SECCOMP_ERROR_NUMBER_KILL` of src/shared/seccomp-util.h, which is shown as it is: `INT_MAX - 1`.
const KILL_SHOWN: &str = "2147483646";

/// The settings in the order in which every version shows them, which is that of the manager's D-Bus interface.
pub const PROPERTIES: [&str; 6] = [
    "SystemCallFilter",
    "SystemCallArchitectures",
    "SystemCallErrorNumber",
    "SystemCallLog",
    "RestrictAddressFamilies",
    "RestrictNamespaces",
];

/// The settings of a unit as its manager shows them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// Name and value, in the order of [`PROPERTIES`].
    pub properties: Vec<(&'static str, String)>,
}

impl fmt::Display for Shown {
    /// The text of `systemctl show UNIT -p …`: lines of `Name=value`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.properties.iter().try_for_each(|(name, value)| writeln!(f, "{name}={value}"))
    }
}

/// What `systemctl show` prints of a unit: as systemd of the groups' version would.
#[must_use]
pub fn show(unit: &Unit, groups: &Groups) -> Shown {
    let version = groups.systemd;
    let mut unread = Vec::new();
    let filter = Filter::evaluate(unit, groups, &mut unread);
    let log = Filter::evaluate_log(unit, groups, &mut unread);
    let architectures = Architectures::evaluate(unit, version, &mut unread);
    let default = match default_action(unit, &mut unread) {
        Action::Errno(number) => number.to_string(),
        Action::Kill | Action::Allow | Action::Log => KILL_SHOWN.to_owned(),
    };
    let values = [
        list(&filter),
        architectures.names().collect::<Vec<_>>().join(" "),
        default,
        list(&log),
        AddressFamilies::evaluate(unit, version, &mut unread).shown(),
        Namespaces::evaluate(unit, version, &mut unread).shown(),
    ];
    Shown { properties: PROPERTIES.into_iter().zip(values).collect() }
}

/// A list of calls: a deny list, or none at all, begins with `~`.
fn list(filter: &Filter) -> String {
    let (allow, names) = filter.shown();
    let names: Vec<String> = names.into_iter().collect();
    format!("{}{}", if allow { "" } else { "~" }, names.join(" "))
}

#[cfg(test)]
mod tests {
    use super::super::tests::unit;
    use super::*;

    fn shown(lines: &str, version: u32) -> String {
        show(&unit(lines), &Groups::from_rules(version).unwrap()).to_string()
    }

    #[test]
    fn a_unit_that_sets_nothing() {
        let expected = "SystemCallFilter=~\nSystemCallArchitectures=\nSystemCallErrorNumber=2147483646\n\
                        SystemCallLog=~\nRestrictAddressFamilies=~\nRestrictNamespaces=no\n";
        assert_eq!(shown("", 247), expected);
        assert_eq!(shown("SystemCallFilter=~\nSystemCallLog=~\nSystemCallErrorNumber=0", 262), expected);
    }

    #[test]
    fn every_setting() {
        let lines = "SystemCallFilter=~mount:EPERM @swap umount2:kill bpf:0\nSystemCallErrorNumber=eacces\n\
                     SystemCallArchitectures=native x86\nSystemCallLog=@swap kcmp:EPERM mount\n\
                     RestrictAddressFamilies=AF_UNIX\nRestrictNamespaces=net\n";
        assert_eq!(
            shown(lines, 252),
            "SystemCallFilter=~bpf:0 mount:EPERM swapoff swapon umount2:kill\n\
             SystemCallArchitectures=native x86\nSystemCallErrorNumber=13\nSystemCallLog=mount swapoff swapon\n\
             RestrictAddressFamilies=AF_UNIX\nRestrictNamespaces=net\n"
        );
    }
}
