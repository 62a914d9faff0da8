//! Denials grouped for people: one sighting for each program and call, counted.

use super::{Denial, Effect, Untrusted};
use crate::syscalls::Call;
use std::collections::BTreeMap;

/// A forbidden call of a program, as often as it was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sighting {
    /// One of the denials: a killed one before others, one whose unit is known before others.
    pub denial: Denial,
    /// How many there were.
    pub count: usize,
    /// The first time, in microseconds since the epoch.
    pub first: Option<u64>,
    /// The last time.
    pub last: Option<u64>,
}

/// Group denials by program and call: the most frequent first.
#[must_use]
pub fn summary<'a>(denials: impl IntoIterator<Item = &'a Denial>) -> Vec<Sighting> {
    let mut groups: BTreeMap<(&Untrusted, Option<&Untrusted>, Call), Sighting> = BTreeMap::new();
    for denial in denials {
        let key = (&denial.process.comm, denial.process.exe.as_ref(), denial.call);
        groups.entry(key).and_modify(|sighting| sighting.add(denial, 1, denial.time)).or_insert_with(|| {
            Sighting { denial: denial.clone(), count: 1, first: denial.time, last: denial.time }
        });
    }
    let mut sightings: Vec<Sighting> = groups.into_values().collect();
    sightings.sort_by_key(|s| std::cmp::Reverse(s.count)); // stable: equal counts stay in order of names
    sightings
}

impl Sighting {
    /// Add the same call of the same program: so often, this one first, and last at `last`.
    pub(crate) fn add(&mut self, denial: &Denial, count: usize, last: Option<u64>) {
        self.count += count;
        let stack = if self.denial.stack.is_empty() { &denial.stack } else { &self.denial.stack }.clone();
        self.first = [self.first, denial.time].into_iter().flatten().min();
        self.last = self.last.max(last);
        let weight =
            |d: &Denial| (d.effect == Effect::Killed, d.attribution.is_some(), d.process.parent.is_some());
        if weight(denial) > weight(&self.denial) {
            self.denial = denial.clone();
        }
        self.denial.stack = stack;
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Process, Source};
    use super::*;
    use crate::blame::Stack;
    use crate::syscalls::Arch;

    #[test]
    fn counted_by_program_and_call() {
        let denial = |comm: &str, number, time, effect| Denial {
            call: Call { arch: Arch::X86_64, number },
            effect,
            process: Process { comm: Untrusted::new(comm), ..Process::default() },
            time: Some(time),
            source: Source::AuditSocket,
            attribution: None,
            arguments: Vec::new(),
            raw_arguments: None,
            stack: Stack::default(),
        };
        let seen = [
            denial("b", 160, 5, Effect::Recorded),
            denial("a", 160, 1, Effect::Killed),
            denial("b", 160, 3, Effect::Killed),
        ];
        let sightings = summary(&seen);
        assert_eq!(sightings.len(), 2);
        assert_eq!((sightings[0].count, sightings[0].first, sightings[0].last), (2, Some(3), Some(5)));
        assert_eq!(sightings[0].denial.effect, Effect::Killed);
        assert_eq!(sightings[1].denial.process.comm.bytes(), b"a");
    }
}
