//! Calls that hand over the system: rules/risk.yaml.

use crate::syscalls::Groups;
use serde::Deserialize;

#[derive(Deserialize)]
struct Rules {
    high: Vec<Rule>,
}

#[derive(Deserialize)]
struct Rule {
    calls: Vec<String>,
    lets: String,
}

/// Those of these calls that hand over the system, with what each lets a program do.
#[must_use]
pub fn high<'a>(calls: impl IntoIterator<Item = &'a String>, groups: &Groups) -> Vec<(String, String)> {
    // the rules are part of the program, and a test reads them
    let rules = serde_yaml::from_str::<Rules>(include_str!("../../rules/risk.yaml"));
    let rules = rules.map(|rules| rules.high).unwrap_or_default();
    let names = |rule: &Rule, call: &String| {
        rule.calls.iter().any(|name| name == call || groups.members(name).is_some_and(|m| m.contains(call)))
    };
    let lets = |call: &String| rules.iter().find(|rule| names(rule, call)).map(|rule| rule.lets.clone());
    calls.into_iter().filter_map(|call| Some((call.clone(), lets(call)?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_hands_over_the_system_is_known() {
        let groups = Groups::from_rules(252).unwrap();
        let calls = ["bpf", "chown", "init_module", "mount", "ptrace", "reboot", "setrlimit", "swapon"];
        let found = high(&calls.map(str::to_owned), &groups);
        let names: Vec<&str> = found.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["bpf", "init_module", "mount", "ptrace", "reboot", "swapon"]);
        assert_eq!(found[1].1, "load code into the kernel");
    }
}
