//! Covering calls by groups, so that as few others as possible are opened.

use crate::policy::Policy;
use crate::syscalls::Groups;
use std::collections::BTreeSet;

/// Groups of systemd's that together hold these calls and open the fewest others. Calls that are in no group stand for
/// themselves. Nothing: no group holds any of them.
#[must_use]
pub fn cover(calls: &[String], policy: &Policy, groups: &Groups) -> Option<BTreeSet<String>> {
    let opened = |group: &str| -> BTreeSet<&str> {
        let members = groups.members(group).into_iter().flatten();
        members.filter(|name| groups.knows(name) && policy.forbids(name)).map(String::as_str).collect()
    };
    let mut choices: Vec<Choice> = Vec::new();
    let mut alone = BTreeSet::new();
    for call in calls {
        let holding: Vec<&str> =
            groups.holding(call).into_iter().filter(|group| *group != "@known").collect();
        if holding.is_empty() {
            alone.insert(call.clone());
        }
        for group in holding {
            if choices.iter().all(|choice| choice.group != group) {
                let size = groups.members(group).map_or(0, BTreeSet::len);
                choices.push(Choice { group, opens: opened(group), size });
            }
        }
    }
    if choices.is_empty() {
        return None;
    }
    let wanted: Vec<&str> = calls.iter().filter(|c| !alone.contains(*c)).map(String::as_str).collect();
    let mut search = Search { choices: &choices, best: None };
    search.go(&wanted, &mut Vec::new(), &BTreeSet::new(), 0);
    let (_, best) = search.best?;
    let names = best.into_iter().filter_map(|at| choices.get(at)).map(|choice| choice.group.to_owned());
    Some(names.chain(alone).collect())
}

struct Choice<'a> {
    group: &'a str,
    opens: BTreeSet<&'a str>,
    size: usize,
}

struct Search<'a> {
    choices: &'a [Choice<'a>],
    /// What the best cover costs, and its choices.
    best: Option<(Cost, Vec<usize>)>,
}

/// How many calls a cover opens; of as many, how much its groups hold, for who reads them has less to think of.
type Cost = (usize, usize);

impl<'a> Search<'a> {
    /// Cover the first call that is not covered yet in every way; what is dearer than the best is not followed.
    fn go(&mut self, wanted: &[&str], taken: &mut Vec<usize>, opened: &BTreeSet<&'a str>, size: usize) {
        let cost = (opened.len(), size);
        if self.best.as_ref().is_some_and(|(best, _)| cost >= *best) {
            return;
        }
        let Some(next) = wanted.iter().find(|call| !opened.contains(**call)) else {
            self.best = Some((cost, taken.clone()));
            return;
        };
        let choices = self.choices;
        for (at, choice) in choices.iter().enumerate().filter(|(_, choice)| choice.opens.contains(next)) {
            let wider: BTreeSet<&str> = opened.union(&choice.opens).copied().collect();
            taken.push(at);
            self.go(wanted, taken, &wider, size + choice.size);
            taken.pop();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::tests::unit;

    fn covered(filter: &str, calls: &[&str]) -> Vec<String> {
        let groups = Groups::from_rules(252).unwrap();
        let policy = Policy::evaluate(&unit(filter), &groups);
        let calls: Vec<String> = calls.iter().map(|c| (*c).to_owned()).collect();
        cover(&calls, &policy, &groups).unwrap_or_default().into_iter().collect()
    }

    #[test]
    fn the_fewest_calls_win() {
        // @resources alone holds it
        assert_eq!(covered("SystemCallFilter=~@resources @privileged", &["setpriority"]), ["@resources"]);
        // one group for both is cheaper than two
        assert_eq!(covered("SystemCallFilter=@basic-io", &["mlock", "munlock"]), ["@memlock"]);
        // both are in @system-service, which opens hundreds
        assert_eq!(covered("SystemCallFilter=@basic-io", &["mlock", "chown"]), ["@chown", "@memlock"]);
        // what opens nothing else, because the rest of the group is allowed, costs one
        assert_eq!(
            covered("SystemCallFilter=@system-service\nSystemCallFilter=~chown", &["chown"]),
            ["@chown"]
        );
        // of two covers that open the same, the smaller groups
        assert_eq!(
            covered("SystemCallFilter=~@chown @resources", &["chown", "setpriority"]),
            ["@chown", "@resources"]
        );
        // in no group but @known
        assert_eq!(covered("SystemCallFilter=@basic-io", &["vserver", "mlock"]).len(), 2);
    }
}
