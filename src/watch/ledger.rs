//! The ledger: every kind of call that would have been denied, counted. One kind is one call of one program.

use super::Flood;
use crate::evidence::{Attribution, Denial, Sighting, Untrusted};
use crate::policy::Policy;
use crate::replay::complain::killed_for_its_architecture;
use crate::replay::{Heard, Sound};
use crate::report::DenialRow;
use crate::syscalls::Call;
use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, Instant};

/// So many kinds are kept apart. A unit that has more makes up the names of its programs.
const KINDS_MAX: usize = 2_000;

/// So many records of one kind within [`FLOOD_WITHIN`] are a flood: some 50 MB an hour in the journal.
const FLOOD: u64 = 2_000;
const FLOOD_WITHIN: Duration = Duration::from_mins(1);

/// Where one kind floods, what is at least so close to it goes with it, so that each need not cost a restart.
const NEARLY: u64 = FLOOD / 10;

/// So many records of processes that were gone at once wait for their program to be seen in the unit.
const STRANGERS_MAX: usize = 1_000;

/// What makes two records the same kind.
type Key = (Untrusted, Option<Untrusted>, Call);

/// Of each of some records, why it is believed to be the unit's, with these programs known to run in it.
type Whose<'a> = dyn Fn(&[Sound], &BTreeSet<Untrusted>) -> Vec<Option<Attribution>> + 'a;

/// What was denied until now.
pub(super) struct Ledger<'a> {
    policy: &'a Policy,
    whose: Box<Whose<'a>>,
    kinds: Vec<Kind>,
    /// As they are shown, in the same order.
    rows: Vec<DenialRow>,
    known: HashMap<Key, usize>,
    /// The programs that were seen in the unit.
    programs: BTreeSet<Untrusted>,
    /// Records of which it is not known whose they are.
    pub(super) strangers: Vec<Sound>,
    /// Records of kinds beyond those that are kept.
    pub(super) uncounted: u64,
}

struct Kind {
    sighting: Sighting,
    /// Records since then.
    lately: (Instant, u64),
}

impl<'a> Ledger<'a> {
    pub(super) fn new(policy: &'a Policy, whose: Box<Whose<'a>>) -> Self {
        Ledger {
            policy,
            whose,
            kinds: Vec::new(),
            rows: Vec::new(),
            known: HashMap::new(),
            programs: BTreeSet::new(),
            strangers: Vec::new(),
            uncounted: 0,
        }
    }

    /// Take in what was heard. Returns the kinds that are new.
    pub(super) fn enter(&mut self, heard: Heard, now: Instant) -> Vec<usize> {
        if heard.sounds.is_empty() {
            return Vec::new();
        }
        let sounds = [std::mem::take(&mut self.strangers), heard.sounds].concat();
        let whose = (self.whose)(&sounds, &self.programs);
        let mut new = Vec::new();
        for (sound, whose) in sounds.into_iter().zip(whose) {
            match whose {
                Some(why) => new.extend(self.count(&sound, why, now)),
                None if sound.cgroup.is_none() && self.strangers.len() < STRANGERS_MAX => {
                    self.strangers.push(sound);
                }
                None => {}
            }
        }
        new
    }

    /// Count a record. The kind, if it is new.
    fn count(&mut self, sound: &Sound, why: Attribution, now: Instant) -> Option<usize> {
        let denial = Denial { attribution: Some(why), ..sound.denial.clone() };
        let process = &denial.process;
        let key = (process.comm.clone(), process.exe.clone(), denial.call);
        let count = usize::try_from(sound.count).unwrap_or(usize::MAX);
        if let Some(at) = self.known.get(&key).copied() {
            let (kind, row) = (self.kinds.get_mut(at)?, self.rows.get_mut(at)?);
            kind.sighting.add(&denial, count, sound.last);
            if now.duration_since(kind.lately.0) > FLOOD_WITHIN {
                kind.lately = (now, 0);
            }
            kind.lately.1 += sound.count;
            *row = DenialRow::new(&kind.sighting, self.policy);
            return None;
        }
        if self.kinds.len() >= KINDS_MAX {
            self.uncounted += sound.count;
            return None;
        }
        self.programs.extend(process.exe.clone());
        let sighting = Sighting { first: denial.time, last: sound.last, count, denial };
        let at = self.kinds.len();
        self.rows.push(DenialRow::new(&sighting, self.policy));
        self.kinds.push(Kind { sighting, lately: (now, sound.count) });
        self.known.insert(key, at);
        Some(at)
    }

    /// As they are shown, in the order in which they were first seen.
    pub(super) fn rows(&self) -> &[DenialRow] {
        &self.rows
    }

    /// The calls that flood the kernel's log, except those that are left out of it already; nothing if none does.
    pub(super) fn floods(&self, left_out: &BTreeSet<String>) -> Vec<Flood> {
        let still = |kind: &&Kind| kind.call().name().is_none_or(|name| !left_out.contains(name));
        let loud = |least: u64| self.kinds.iter().filter(still).filter(move |kind| kind.lately.1 >= least);
        if loud(FLOOD).next().is_none() {
            return Vec::new();
        }
        loud(NEARLY).map(|kind| Flood { call: kind.call(), count: kind.lately.1 }).collect()
    }

    /// The unit was restarted, or other calls are logged: what was lately says nothing any more.
    pub(super) fn begin_anew(&mut self, now: Instant) {
        for kind in &mut self.kinds {
            kind.lately = (now, 0);
        }
    }

    /// Whether a process was killed for a call of another architecture.
    pub(super) fn foreign_kill(&self) -> bool {
        self.kinds.iter().any(|kind| killed_for_its_architecture(self.policy, &kind.sighting.denial))
    }

    /// The calls that were first seen only at this time, in microseconds since the epoch, or later.
    pub(super) fn later_than(&self, time: u64) -> BTreeSet<Call> {
        let early = |kind: &&Kind| kind.sighting.first.is_none_or(|first| first < time);
        let early: BTreeSet<Call> = self.kinds.iter().filter(early).map(Kind::call).collect();
        self.kinds.iter().map(Kind::call).filter(|call| !early.contains(call)).collect()
    }

    /// All of it, the most frequent first.
    pub(super) fn close(self) -> Vec<Sighting> {
        let mut sightings: Vec<Sighting> = self.kinds.into_iter().map(|kind| kind.sighting).collect();
        sightings.sort_by_key(|sighting| std::cmp::Reverse(sighting.count)); // stable
        sightings
    }
}

impl Kind {
    fn call(&self) -> Call {
        self.sighting.denial.call
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evidence::Effect;
    use crate::watch::tests::{denial, policy};

    const UNIT: &str = "/system.slice/v.service";

    fn sound(
        program: &str,
        call: &str,
        cgroup: Option<&str>,
        (first, last): (u64, u64),
        count: u64,
    ) -> Sound {
        let denial = Denial { time: Some(first), ..denial(program, call) };
        Sound { denial, cgroup: cgroup.map(str::to_owned), count, last: Some(last) }
    }

    /// A process that is gone is the unit's if its program was seen there.
    fn whose(sounds: &[Sound], known: &BTreeSet<Untrusted>) -> Vec<Option<Attribution>> {
        let seen = |sound: &Sound| sound.denial.process.exe.as_ref().is_some_and(|exe| known.contains(exe));
        let one = |sound: &Sound| match sound.cgroup.as_deref() {
            Some(UNIT) => Some(Attribution::ControlGroup),
            Some(_) => None,
            None => seen(sound).then_some(Attribution::OwnProgram),
        };
        sounds.iter().map(one).collect()
    }

    fn enter(ledger: &mut Ledger, sounds: Vec<Sound>, now: Instant) -> Vec<usize> {
        ledger.enter(Heard { sounds, lossy: false }, now)
    }

    #[test]
    fn a_kind_is_a_call_of_a_program() {
        let policy = policy();
        let (mut ledger, now) = (Ledger::new(&policy, Box::new(whose)), Instant::now());
        let ours = |program, call, times, count| sound(program, call, Some(UNIT), times, count);
        let first = vec![
            ours("a", "mlock", (5, 9), 3),
            ours("b", "mlock", (6, 6), 1),
            sound("c", "mlock", Some("/other.service"), (6, 6), 1),
        ];
        assert_eq!(enter(&mut ledger, first, now), [0, 1]);
        assert_eq!(
            enter(
                &mut ledger,
                vec![ours("a", "mlock", (10, 12), 2), ours("a", "setrlimit", (11, 11), 1)],
                now
            ),
            [2]
        );
        let rows: Vec<_> =
            ledger.rows().iter().map(|r| (r.call.as_str(), r.count, r.first, r.last)).collect();
        let expected = [
            ("mlock", 5, Some(5), Some(12)),
            ("mlock", 1, Some(6), Some(6)),
            ("setrlimit", 1, Some(11), Some(11)),
        ];
        assert_eq!(rows, expected);
        let late: Vec<_> = ledger.later_than(6).into_iter().filter_map(Call::name).collect();
        assert_eq!(late, ["setrlimit"]);
        assert_eq!(ledger.close().first().map(|sighting| sighting.count), Some(5));
    }

    #[test]
    fn a_process_that_was_gone_waits_for_its_program() {
        let policy = policy();
        let (mut ledger, now) = (Ledger::new(&policy, Box::new(whose)), Instant::now());
        assert!(enter(&mut ledger, vec![sound("a", "mlock", None, (1, 1), 1)], now).is_empty());
        assert_eq!(enter(&mut ledger, vec![sound("a", "setrlimit", Some(UNIT), (2, 2), 1)], now), [0]);
        assert_eq!(enter(&mut ledger, vec![sound("x", "mlock", Some("/"), (3, 3), 1)], now), [1]);
        assert_eq!(ledger.rows()[1].first, Some(1));
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let policy = policy();
        let (mut ledger, now) = (Ledger::new(&policy, Box::new(whose)), Instant::now());
        let many =
            |cgroup| (0..3_000).map(move |n| sound(&format!("p{n}"), "mlock", cgroup, (1, 1), 1)).collect();
        assert_eq!(enter(&mut ledger, many(Some(UNIT)), now).len(), KINDS_MAX);
        assert_eq!(ledger.uncounted, 1_000);
        let strangers = (0..3_000).map(|n| sound(&format!("q{n}"), "mlock", None, (1, 1), 1)).collect();
        enter(&mut ledger, strangers, now);
        assert_eq!(ledger.strangers.len(), STRANGERS_MAX);
    }

    #[test]
    fn a_flood_is_many_in_a_short_time() {
        let policy = policy();
        let (mut ledger, begun) = (Ledger::new(&policy, Box::new(whose)), Instant::now());
        let none = BTreeSet::new();
        let some = |call, count| sound("a", call, Some(UNIT), (1, 1), count);
        enter(
            &mut ledger,
            vec![some("mlock", FLOOD - 1), some("setrlimit", NEARLY), some("mbind", 1)],
            begun,
        );
        assert!(ledger.floods(&none).is_empty());
        let later = begun + FLOOD_WITHIN * 2;
        enter(&mut ledger, vec![some("mlock", FLOOD - 1)], later);
        assert!(ledger.floods(&none).is_empty(), "not within a minute");
        enter(&mut ledger, vec![some("mlock", 1)], later);
        let names =
            |floods: Vec<Flood>| floods.iter().filter_map(|flood| flood.call.name()).collect::<Vec<_>>();
        assert_eq!(names(ledger.floods(&none)), ["mlock", "setrlimit"]);
        assert!(ledger.floods(&BTreeSet::from(["mlock".to_owned()])).is_empty());
        ledger.begin_anew(later);
        assert!(ledger.floods(&none).is_empty());
    }

    #[test]
    fn calls_of_other_architectures_that_kill() {
        let policy = policy();
        let (mut ledger, now) = (Ledger::new(&policy, Box::new(whose)), Instant::now());
        let mut kill = sound("a", "mlock", Some(UNIT), (1, 1), 1);
        kill.denial.effect = Effect::Killed;
        enter(&mut ledger, vec![kill.clone()], now);
        assert!(!ledger.foreign_kill());
        kill.denial.call.arch = crate::syscalls::Arch::X86;
        enter(&mut ledger, vec![kill], now);
        assert!(ledger.foreign_kill());
    }
}
