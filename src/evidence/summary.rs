//! Denials grouped for people: who made which call, how often, first and last.

use super::log::Kept;
use super::{Attribution, Denial, Effect, Source, Untrusted};
use crate::syscalls::Call;
use std::cmp::Reverse;
use std::collections::HashMap;

/// The same call of the same program, however often.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sighting {
    /// The call.
    pub call: Call,
    /// The name of the process.
    pub comm: Untrusted,
    /// Its program.
    pub exe: Option<Untrusted>,
    /// The name of the parent, where any of the denials tells.
    pub parent: Option<Untrusted>,
    /// What became of the call: the worst of it.
    pub effect: Effect,
    /// How often it was seen.
    pub count: u64,
    /// The first time, in microseconds since the epoch.
    pub first: Option<u64>,
    /// The last time, among those that were kept whole.
    pub last: Option<u64>,
    /// Why it is believed to be the unit's: the surest reason that any of the denials has.
    pub attribution: Option<Attribution>,
    /// Where it was first read.
    pub source: Source,
    /// The arguments of the first denial that has any.
    pub arguments: Vec<String>,
}

/// Group denials; the most frequent come first, and of equally frequent ones by name.
#[must_use]
pub fn summarize(kept: &Kept) -> Vec<Sighting> {
    let mut out: Vec<Sighting> = Vec::new();
    let mut places = HashMap::new();
    for denial in &kept.denials {
        let process = &denial.process;
        let kind = (denial.call, &process.comm, process.exe.as_ref());
        let at = *places.entry(kind).or_insert(out.len());
        match out.get_mut(at) {
            Some(sighting) => sighting.add(denial),
            None => out.push(Sighting::first(denial)),
        }
    }
    for ((call, comm, exe), more) in &kept.more {
        let place = places.get(&(*call, comm, exe.as_ref()));
        if let Some(sighting) = place.and_then(|at| out.get_mut(*at)) {
            sighting.count += more;
        }
    }
    out.sort_by_cached_key(|s| (Reverse(s.count), s.call.to_string(), s.comm.clone(), s.exe.clone(), s.call));
    out
}

impl Sighting {
    fn first(denial: &Denial) -> Self {
        Sighting {
            call: denial.call,
            comm: denial.process.comm.clone(),
            exe: denial.process.exe.clone(),
            parent: denial.process.parent.clone(),
            effect: denial.effect,
            count: 1,
            first: denial.time,
            last: denial.time,
            attribution: denial.attribution.clone(),
            source: denial.source.clone(),
            arguments: denial.arguments.clone(),
        }
    }

    fn add(&mut self, denial: &Denial) {
        self.count += 1;
        self.first = self.first.into_iter().chain(denial.time).min();
        self.last = self.last.into_iter().chain(denial.time).max();
        if severity(denial.effect) > severity(self.effect) {
            self.effect = denial.effect;
        }
        self.attribution =
            self.attribution.take().into_iter().chain(denial.attribution.clone()).min_by_key(doubt);
        if self.parent.is_none() {
            self.parent.clone_from(&denial.process.parent);
        }
        if self.arguments.is_empty() {
            self.arguments.clone_from(&denial.arguments);
        }
    }
}

fn severity(effect: Effect) -> u8 {
    match effect {
        Effect::Recorded => 0,
        Effect::Failed(_) => 1,
        Effect::Killed => 2,
    }
}

/// How little a reason says, the surest 0.
fn doubt(attribution: &Attribution) -> u8 {
    match attribution {
        Attribution::Replayed => 0,
        Attribution::ControlGroup => 1,
        Attribution::CoreDump => 2,
        Attribution::MainProcess => 3,
        Attribution::JournalOfProcess => 4,
        Attribution::ManagerReport => 5,
        Attribution::OwnProgram => 6,
        Attribution::OnlyCandidate => 7,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evidence::Process;
    use crate::syscalls::Arch;

    fn denial(name: &str, comm: &str, time: u64) -> Denial {
        Denial {
            call: Call { arch: Arch::native(), number: Arch::native().number(name).unwrap() },
            effect: Effect::Recorded,
            process: Process { pid: 1, comm: Untrusted::new(comm), ..Process::default() },
            time: Some(time),
            source: Source::Strace,
            attribution: None,
            arguments: Vec::new(),
        }
    }

    #[test]
    fn grouped_and_sorted() {
        let killed = Denial {
            effect: Effect::Killed,
            attribution: Some(Attribution::OwnProgram),
            arguments: vec!["1".to_owned()],
            ..denial("umask", "b", 3)
        };
        let surer = Denial { attribution: Some(Attribution::CoreDump), ..denial("umask", "b", 9) };
        let denials =
            vec![denial("umask", "b", 5), denial("umask", "a", 1), denial("chdir", "a", 2), killed, surer];
        let first = &denials[1].process;
        let more = [((denials[1].call, first.comm.clone(), None), 1)].into_iter().collect();
        let kept = Kept { denials, more, uncounted: 0 };
        let shown: Vec<_> =
            summarize(&kept).iter().map(|s| format!("{} {} {}", s.comm, s.call, s.count)).collect();
        assert_eq!(shown, ["b umask 3", "a umask 2", "a chdir 1"]);
        let top = summarize(&kept).remove(0);
        assert_eq!((top.first, top.last, top.effect), (Some(3), Some(9), Effect::Killed));
        assert_eq!((top.attribution, top.arguments), (Some(Attribution::CoreDump), vec!["1".to_owned()]));
    }
}
