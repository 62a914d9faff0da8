//! Which of the settings beside `SystemCallFilter=` have to be relaxed for a unit to work, found by running it.
//!
//! They are in force in a replay, so that a call they deny really fails. That a failure has the errno which a setting
//! would give proves nothing: the kernel may refuse the call as well. So the unit is run again with just that setting
//! relaxed, until it works or nothing new fails; and where several were relaxed at once, without each of them.

use super::{Observation, Outcome};
use crate::evidence::{Denial, Effect};
use crate::interrupt::Interrupt;
use crate::policy::relax::{Impossible, Relaxation, Relaxations, loses_no_new_privileges, relax, with};
use crate::policy::{ENOSYS, Policy};
use crate::unit::Unit;

/// So often a unit is run to find what has to be relaxed, beside the first run.
const ROUNDS: usize = 8;

/// What is looked for in which unit.
pub(super) struct Search<'a> {
    pub(super) policy: &'a Policy,
    pub(super) unit: &'a Unit,
    pub(super) interrupt: &'a Interrupt,
}

impl Search<'_> {
    /// Run the unit with `once`, as it is and then with settings relaxed. `once` gives the denials by the unit's own
    /// policy, whatever is relaxed.
    pub(super) fn run<E>(
        &self,
        mut once: impl FnMut(&Relaxations) -> Result<Observation, E>,
    ) -> Result<Observation, E> {
        let mut observation = once(&Relaxations::default())?;
        let mut seen = std::mem::take(&mut observation.denials);
        let mut latest = seen.clone();
        let mut relaxed: Vec<Relaxation> = Vec::new();
        let mut impossible = Vec::new();
        let mut notes = std::mem::take(&mut observation.notes);
        for _ in 0..ROUNDS {
            if observation.works() || self.interrupt.raised() {
                break;
            }
            let found = self.found(&latest, &relaxed, &mut impossible);
            if found.is_empty() {
                break;
            }
            if relaxed.is_empty() {
                notes.push(format!("as it is, it {}", ended(&observation)));
            }
            relaxed.extend(found);
            observation = self.again(&relaxed, &mut once, &mut notes)?;
            latest = std::mem::take(&mut observation.denials);
            add_new(&mut seen, &latest);
            self.refused_anyway(&latest, &relaxed, &mut seen, &mut notes);
        }
        if observation.works() {
            self.shrink(&mut relaxed, &mut observation, &mut once, &mut notes)?;
        } else {
            relaxed.clear(); // it does not help
        }
        let settings = Some(Relaxations { impossible, ..self.joined(&relaxed) });
        Ok(Observation { denials: seen, notes, settings, ..observation })
    }

    /// The lines that the denials of a run ask for, beside those that are relaxed already.
    fn found(
        &self,
        denials: &[Denial],
        relaxed: &[Relaxation],
        impossible: &mut Vec<Impossible>,
    ) -> Vec<Relaxation> {
        let unit = with(self.unit, relaxed, self.policy.systemd);
        let policy = self.policy.relaxed(&unit);
        let mut found: Vec<(bool, Relaxation)> = Vec::new();
        for denial in denials.iter().filter(|denial| denial.restricted_by(&policy).is_some()) {
            let Some(arguments) = denial.raw_arguments else { continue };
            // where a setting cannot look at the arguments, the call is said not to be there
            let gentle = denial.effect == Effect::Failed(ENOSYS);
            match relax(&policy, &unit, denial.call, &arguments) {
                Ok(lines) => {
                    for line in lines {
                        if found.iter().all(|(_, other)| *other != line) {
                            found.push((gentle, line));
                        }
                    }
                }
                Err(error) if impossible.contains(&error) => {}
                Err(error) => impossible.push(error),
            }
        }
        // what programs do without is the last thing to be suspected
        let all_gentle = found.iter().all(|(gentle, _)| *gentle);
        found.into_iter().filter(|(gentle, _)| all_gentle || !gentle).map(|(_, line)| line).collect()
    }

    fn joined(&self, lines: &[Relaxation]) -> Relaxations {
        let mut out = Relaxations::default();
        for line in lines {
            out.add(line);
        }
        out.keeps_no_new_privileges = loses_no_new_privileges(self.policy, self.unit, &out.lines);
        out
    }

    fn again<E>(
        &self,
        relaxed: &[Relaxation],
        once: &mut impl FnMut(&Relaxations) -> Result<Observation, E>,
        notes: &mut Vec<String>,
    ) -> Result<Observation, E> {
        let joined = self.joined(relaxed);
        let mut observation = once(&joined)?;
        // each run says the same of itself
        let new = observation.notes.drain(..).filter(|note| !notes.contains(note));
        let new: Vec<String> = new.collect();
        notes.extend(new);
        let did = match &observation.outcome {
            outcome if outcome.healthy() && !observation.works() => "the check fails",
            Outcome::Running => "it runs",
            Outcome::Finished => "it finishes successfully",
            Outcome::Failed { .. } => "it fails",
        };
        notes.push(format!("run again with {}: {did}", joined.text().join(" and ")));
        Ok(observation)
    }

    /// Calls that fail in the same way when no setting forbids them any more: the setting was not to blame.
    fn refused_anyway(
        &self,
        latest: &[Denial],
        relaxed: &[Relaxation],
        seen: &mut Vec<Denial>,
        notes: &mut Vec<String>,
    ) {
        let policy = self.policy.relaxed(&with(self.unit, relaxed, self.policy.systemd));
        let anyway = latest.iter().filter(|d| d.restricted_by(&policy).is_none());
        for (denial, token) in anyway.filter_map(|d| Some((d, d.restricted_by(self.policy)?))) {
            let same = |d: &Denial| {
                (d.call, d.effect, d.raw_arguments) == (denial.call, denial.effect, denial.raw_arguments)
            };
            seen.retain(|d| !same(d));
            let note = format!(
                "{} fails in the same way without {}=: the kernel refuses it",
                denial.call, token.setting
            );
            if !notes.contains(&note) {
                notes.push(note);
            }
        }
    }

    /// Take back each line without which the unit works all the same.
    fn shrink<E>(
        &self,
        relaxed: &mut Vec<Relaxation>,
        observation: &mut Observation,
        once: &mut impl FnMut(&Relaxations) -> Result<Observation, E>,
        notes: &mut Vec<String>,
    ) -> Result<(), E> {
        for at in (0..relaxed.len()).rev() {
            if relaxed.len() == 1 || self.interrupt.raised() {
                break;
            }
            let mut fewer = relaxed.clone();
            fewer.remove(at);
            let shorter = self.again(&fewer, once, notes)?;
            if shorter.works() {
                (*relaxed, *observation) = (fewer, shorter);
            }
        }
        Ok(())
    }
}

/// How a run ended, to follow "it".
fn ended(observation: &Observation) -> String {
    match &observation.outcome {
        Outcome::Running => "runs, and the check fails".to_owned(),
        Outcome::Finished => "finishes successfully, and the check fails".to_owned(),
        failed @ Outcome::Failed { .. } => failed.to_string(),
    }
}

/// Add what was not seen before: another program, call, end or arguments.
fn add_new(seen: &mut Vec<Denial>, latest: &[Denial]) {
    let same = |a: &Denial, b: &Denial| {
        (a.call, a.effect, a.raw_arguments, &a.process.comm, &a.process.exe)
            == (b.call, b.effect, b.raw_arguments, &b.process.comm, &b.process.exe)
    };
    let new: Vec<Denial> =
        latest.iter().filter(|d| seen.iter().all(|other| !same(d, other))).cloned().collect();
    seen.extend(new);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evidence::{Attribution, Process, Source};
    use crate::policy::tests::unit;
    use crate::replay::Engine;
    use crate::replay::session::Watched;
    use crate::syscalls::{Arch, Call, Groups};
    use std::convert::Infallible;
    use std::time::Duration;

    /// A call of a made-up program.
    #[derive(Clone, Copy)]
    struct Made {
        call: &'static str,
        arguments: [u64; 6],
        /// It ends if this fails.
        matters: bool,
        /// The kernel refuses it with this errno, whatever the settings say.
        kernel: Option<u16>,
    }

    const fn made(call: &'static str, argument: u64, matters: bool) -> Made {
        Made { call, arguments: [argument, 0, 0, 0, 0, 0], matters, kernel: None }
    }

    /// The program runs under the unit's settings, with lines that relax them. Returns what was found, and the lines of
    /// every run.
    fn search(lines: &str, program: &[Made]) -> (Observation, Vec<String>) {
        let unit = unit(lines);
        let policy = Policy::evaluate(&unit, &Groups::from_rules(252).unwrap());
        let interrupt = Interrupt::default();
        let mut runs = Vec::new();
        let search = Search { policy: &policy, unit: &unit, interrupt: &interrupt };
        let seen = search.run(|relaxed| {
            runs.push(relaxed.text().join(", "));
            let now = policy.relaxed(&with(&unit, &relaxed.lines, 252));
            Ok::<_, Infallible>(observe(&policy, &now, program))
        });
        let Ok(seen) = seen;
        (seen, runs)
    }

    fn observe(policy: &Policy, now: &Policy, program: &[Made]) -> Observation {
        let (outcome, check, time) = (Outcome::Running, None, Duration::ZERO);
        let watched = Watched { outcome, check, time, began: 0, ended: 0 };
        let mut observation =
            Observation { notes: vec!["of itself".to_owned()], ..Observation::of(Engine::Strace, watched) };
        for made in program {
            let call = Call { arch: Arch::X86_64, number: Arch::X86_64.number(made.call).unwrap() };
            let errno = match now.answer_of_settings(call).to(&made.arguments).action {
                crate::policy::Action::Errno(errno) => Some(errno),
                _ => made.kernel,
            };
            let Some(errno) = errno else { continue };
            // as a reader does: what the unit's own policy does not say is nobody's
            if policy.restricted(call, &made.arguments, errno).is_some() {
                observation.denials.push(Denial {
                    call,
                    effect: Effect::Failed(errno),
                    process: Process::default(),
                    time: None,
                    source: Source::Strace,
                    attribution: Some(Attribution::Replayed),
                    arguments: Vec::new(),
                    raw_arguments: Some(made.arguments),
                    stack: crate::blame::Stack::default(),
                });
            }
            if made.matters {
                let result = "exit-code".to_owned();
                observation.outcome = Outcome::Failed { result, exit: None, command: None };
                break;
            }
        }
        observation
    }

    const UNIT: &str = "RestrictAddressFamilies=AF_UNIX\nRestrictRealtime=yes\nProtectHostname=yes\n\
                        RestrictSUIDSGID=yes\nRestrictNamespaces=yes";

    fn lines(observation: &Observation) -> Vec<String> {
        observation.settings.as_ref().unwrap().text()
    }

    #[test]
    fn a_unit_that_works_needs_nothing() {
        let (seen, runs) = search(UNIT, &[made("socket", 16, false), made("sethostname", 0, false)]);
        assert_eq!((lines(&seen), runs.len(), seen.denials.len()), (vec![], 1, 2));
    }

    #[test]
    fn one_after_the_other() {
        let program = [made("socket", 16, true), made("sethostname", 0, true), made("socket", 17, true)];
        let (seen, runs) = search(UNIT, &program);
        let all = ["RestrictAddressFamilies=AF_NETLINK AF_PACKET", "ProtectHostname=no"];
        assert_eq!((lines(&seen), seen.denials.len()), (all.map(str::to_owned).to_vec(), 3));
        assert_eq!(
            runs[..4].join("; "),
            format!(
                "; RestrictAddressFamilies=AF_NETLINK; RestrictAddressFamilies=AF_NETLINK, ProtectHostname=no; {}",
                all.join(", ")
            )
        );
        assert_eq!(seen.notes.iter().filter(|note| *note == "of itself").count(), 1);
    }

    #[test]
    fn what_does_not_matter_is_taken_back() {
        let program = [made("socket", 17, false), made("sethostname", 0, false), made("socket", 16, true)];
        let (seen, _) = search(UNIT, &program);
        assert_eq!(lines(&seen), ["RestrictAddressFamilies=AF_NETLINK"]);
        assert_eq!(seen.outcome, Outcome::Running);
    }

    #[test]
    fn what_the_kernel_refuses_is_nobodys_doing() {
        let refused = Made { kernel: Some(1), ..made("sethostname", 0, true) };
        let (seen, runs) = search(UNIT, &[refused]);
        assert_eq!((lines(&seen), seen.denials.len()), (vec![], 0));
        assert_eq!(runs, ["", "ProtectHostname=no"]);
        let expected = "sethostname fails in the same way without ProtectHostname=: the kernel refuses it";
        assert_eq!(seen.notes.last().unwrap(), expected);
    }

    #[test]
    fn calls_that_are_said_not_to_be_there_are_suspected_last() {
        let openat2 = |matters| made("openat2", 0, matters);
        let (seen, runs) = search(UNIT, &[openat2(false), made("socket", 16, true)]);
        assert_eq!(lines(&seen), ["RestrictAddressFamilies=AF_NETLINK"]);
        assert_eq!(runs.len(), 2);
        let (seen, _) = search(UNIT, &[openat2(true)]);
        assert_eq!(lines(&seen), ["RestrictSUIDSGID=no"]);
        // libraries fall back on clone, whose flags can be seen
        let (seen, runs) = search(UNIT, &[made("clone3", 0, true)]);
        assert_eq!((lines(&seen), runs.len()), (vec![], 1));
    }

    #[test]
    fn what_no_line_lets_through_is_told() {
        let (seen, runs) = search(UNIT, &[made("socket", 99, true)]);
        let impossible = &seen.settings.as_ref().unwrap().impossible;
        assert_eq!((impossible.len(), runs.len()), (1, 1));
        assert_eq!(impossible[0].why, "systemd has no name for the address family 99");
    }
}
