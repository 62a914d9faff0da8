//! Records of which nobody can say whose process made them, because it was gone before its control group was read, and
//! which may be the unit's all the same. In complain mode they are few: only what is watched logs calls and lets them run.

use super::audit_socket::Sound;
use super::{Replay, Users};
use crate::evidence::{Attribution, Denial, Effect, Untrusted};
use crate::policy::Policy;
use crate::root::Root;
use std::collections::BTreeSet;
use std::path::Path;

impl Replay<'_> {
    /// Of these, which were heard in complain mode, those that the unit may have made.
    pub(crate) fn unclaimed(&self, sounds: &[Sound]) -> Vec<Denial> {
        let whose = self.attributions(sounds, &BTreeSet::new());
        // what is not there was run in a container
        let is_here = |exe: &Untrusted| Root::default().kind(Path::new(&exe.to_string())).is_some();
        unclaimed(sounds, &whose, self.policy, &self.users_among(sounds), is_here)
    }
}

/// Those of nobody's records that its policy denies, by one of its users, of a program that is here.
fn unclaimed(
    sounds: &[Sound],
    whose: &[Option<Attribution>],
    policy: &Policy,
    users: &Users,
    is_here: impl Fn(&Untrusted) -> bool,
) -> Vec<Denial> {
    let may_be = |denial: &&Denial| {
        let process = &denial.process;
        let of_its_user = !process.login && process.user.is_some_and(|user| users.include(user));
        let logged = denial.effect == Effect::Recorded && policy.decide(denial.call).denies();
        of_its_user && logged && process.exe.as_ref().is_some_and(&is_here)
    };
    let nobodys = sounds.iter().zip(whose).filter(|(sound, whose)| sound.cgroup.is_none() && whose.is_none());
    nobodys.map(|(sound, _)| &sound.denial).filter(may_be).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::watch::tests::{denial, policy};

    #[test]
    fn only_what_may_be_the_units_is_told() {
        let of = |user: Option<u32>, denial: Denial| {
            let process = crate::evidence::Process { user, ..denial.process };
            Sound { denial: Denial { process, ..denial }, cgroup: None, count: 1, last: None }
        };
        let gone = of(Some(0), denial("helper", "mlock"));
        let killed = Denial { effect: Effect::Killed, ..denial("killed", "mlock") };
        let mut of_a_login = of(Some(0), denial("shell", "mlock"));
        of_a_login.denial.process.login = true;
        let sounds = [
            gone.clone(),
            Sound { cgroup: Some("/system.slice/other.service".into()), ..gone.clone() },
            gone.clone(), // whose it is, is known by other means
            of(Some(0), denial("elsewhere", "mlock")),
            of(Some(1000), denial("other-user", "mlock")),
            of(None, denial("nobody-knows", "mlock")),
            of(Some(0), denial("allowed", "read")),
            of(Some(0), killed),
            of_a_login,
        ];
        let mut whose = vec![None; sounds.len()];
        whose[2] = Some(Attribution::OwnProgram);
        let users = Users { known: BTreeSet::from([0]), dynamic: false };
        let is_here = |exe: &Untrusted| exe.to_string() != "/usr/bin/elsewhere";
        assert_eq!(unclaimed(&sounds, &whose, &policy(), &users, is_here), [gone.denial]);
    }
}
