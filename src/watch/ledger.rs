//! The ledger: every kind of call that would have been denied, counted. One kind is one call of one program.

use super::Flood;
use crate::evidence::{Attribution, Denial, Sighting, Untrusted};
use crate::replay::complain::killed_for_its_architecture;
use crate::replay::{Heard, Replay, Sound};
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

/// What was denied until now.
pub(super) struct Ledger<'a> {
    replay: &'a Replay<'a>,
    kinds: Vec<Kind>,
    /// As they are shown, in the same order.
    rows: Vec<DenialRow>,
    known: HashMap<Key, usize>,
    /// The programs that were seen in the unit.
    programs: BTreeSet<Untrusted>,
    /// Records of which it is not known whose they are.
    strangers: Vec<Sound>,
    /// Records of kinds beyond those that are kept.
    pub(super) uncounted: u64,
}

struct Kind {
    sighting: Sighting,
    /// Records since then.
    lately: (Instant, u64),
}

impl<'a> Ledger<'a> {
    pub(super) fn new(replay: &'a Replay<'a>) -> Self {
        Ledger {
            replay,
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
        let whose = self.replay.attributions(&sounds, &self.programs);
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
            *row = DenialRow::new(&kind.sighting, self.replay.policy);
            return None;
        }
        if self.kinds.len() >= KINDS_MAX {
            self.uncounted += sound.count;
            return None;
        }
        self.programs.extend(process.exe.clone());
        let sighting = Sighting { first: denial.time, last: sound.last, count, denial };
        let at = self.kinds.len();
        self.rows.push(DenialRow::new(&sighting, self.replay.policy));
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
        self.kinds.iter().any(|kind| killed_for_its_architecture(self.replay.policy, &kind.sighting.denial))
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
