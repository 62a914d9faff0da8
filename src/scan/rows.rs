//! From what was counted to rows: one for each unit and host, and one for each program that is nobody's.

use super::inputs::Inputs;
use super::local::{AtHand, Local};
use super::tally::{Count, Counted, Seen};
use crate::cli::{Scan, as_typed, quoted};
use crate::evidence::{Effect, Sighting, Untrusted};
use crate::report::{DenialRow, Forbids, NobodysRow, Part, ScanReport, ScannedUnit};
use crate::unit::UnitName;
use std::collections::BTreeMap;

/// How a unit is repaired.
pub(super) struct Commands {
    sudo: &'static str,
    options: String,
}

impl Commands {
    /// With what the scan was given as well.
    pub(super) fn of(options: &Scan, inputs: &Inputs) -> Self {
        let Some(root) = &options.place.root else {
            return Commands { sudo: "sudo ", options: String::new() };
        };
        let log = inputs.single_log().map(|log| format!(" --log {}", as_typed(&log))).unwrap_or_default();
        Commands { sudo: "", options: format!(" --root {}{log}", as_typed(root)) }
    }

    fn repair(&self, unit: &UnitName, is_here: bool) -> String {
        let unit = quoted(unit.as_str());
        if is_here {
            format!("{}unitfix {unit}{}", self.sudo, self.options)
        } else {
            format!("sudo unitfix {unit}")
        }
    }
}

/// What happened to one unit of one host, or to a program.
#[derive(Default)]
struct Group {
    sightings: BTreeMap<Key, Sighting>,
    /// Deaths for calls that are not on record.
    unnamed: Count,
    possible: Vec<String>,
}

/// What is one sighting.
type Key = (Untrusted, Option<Untrusted>, crate::syscalls::Call, u32);

impl Group {
    fn add(&mut self, seen: &Seen) {
        for name in &seen.possible {
            if self.possible.len() < super::local::POSSIBLE_MAX && !self.possible.contains(name) {
                self.possible.push(name.clone());
            }
        }
        let Some(denial) = &seen.denial else {
            self.unnamed.add(seen.count);
            return;
        };
        let effect = match denial.effect {
            Effect::Killed => 0,
            Effect::Recorded => 1,
            Effect::Failed(errno) => 2 + u32::from(errno),
        };
        let key = (denial.process.comm.clone(), denial.process.exe.clone(), denial.call, effect);
        let Count { times, first, last } = seen.count;
        let times = usize::try_from(times).unwrap_or(usize::MAX);
        let sighting = self.sightings.entry(key).or_insert_with(|| Sighting {
            denial: denial.clone(),
            count: 0,
            first,
            last,
        });
        sighting.count = sighting.count.saturating_add(times);
        sighting.first = [sighting.first, first].into_iter().flatten().min();
        sighting.last = sighting.last.max(last);
    }

    /// The sightings, the most frequent first.
    fn sorted(&self) -> Vec<&Sighting> {
        let mut all: Vec<&Sighting> = self.sightings.values().collect();
        all.sort_by_key(|sighting| std::cmp::Reverse(sighting.count));
        all
    }

    /// Whether the unit forbids any of it now.
    fn is_forbidden(&self, at_hand: &AtHand) -> bool {
        let denied = |sighting: &Sighting| at_hand.policy.decide(sighting.denial.call).denies();
        self.unnamed.times > 0 || self.sightings.values().any(denied)
    }

    fn part(&self, row: impl Fn(&Sighting) -> DenialRow) -> Part {
        let mut part = Part { calls_unknown: self.unnamed.times, ..Part::default() };
        let mut all = self.unnamed;
        part.killed = self.unnamed.times;
        for sighting in self.sorted() {
            let times = u64::try_from(sighting.count).unwrap_or(u64::MAX);
            let mut row = row(sighting);
            let of_kind = match sighting.denial.effect {
                Effect::Killed => &mut part.killed,
                Effect::Failed(_) => &mut part.denied,
                Effect::Recorded => {
                    row.effect = "logged"; // in a log that is what it says: in a replay or for SystemCallLog=
                    &mut part.logged
                }
            };
            *of_kind = of_kind.saturating_add(times);
            all.add(Count { times, first: sighting.first, last: sighting.last });
            part.calls.push(row);
        }
        (part.first, part.last) = (all.first, all.last);
        part
    }
}

/// The rows of a report, what matters most first.
pub(super) fn report(counted: &Counted, local: &Local, commands: &Commands) -> ScanReport {
    let mut units: BTreeMap<(Untrusted, Option<Untrusted>), Group> = BTreeMap::new();
    let mut nobodys: BTreeMap<(Untrusted, Option<Untrusted>, Option<Untrusted>), Group> = BTreeMap::new();
    let mut report = ScanReport::new();
    for seen in &counted.seen {
        let host = local.host(seen.host.as_ref()).cloned();
        let process = seen.denial.as_ref().map(|denial| &denial.process);
        let logged = seen.denial.as_ref().is_some_and(|denial| denial.effect == Effect::Recorded);
        if let Some(unit) = &seen.unit {
            units.entry((unit.clone(), host)).or_default().add(seen);
        } else if process.is_some_and(|process| process.login) {
            report.of_logins += seen.count.times;
        } else if logged {
            report.only_logged += seen.count.times; // SystemCallLog=, or a replay: they ran
        } else if let Some(process) = process {
            nobodys.entry((process.comm.clone(), process.exe.clone(), host)).or_default().add(seen);
        }
    }
    for ((unit, host), group) in units {
        report.units.push(unit_row(&unit, host, &group, local, commands));
    }
    for ((program, exe, host), group) in nobodys {
        let part = group.part(DenialRow::of_nobody);
        let told_apart = local.is_told_apart(host.as_ref());
        let possible_units = group.possible;
        report.unattributed.push(NobodysRow { program, exe, host, part, possible_units, told_apart });
    }
    report.sort();
    report
}

fn unit_row(
    unit: &Untrusted,
    host: Option<Untrusted>,
    group: &Group,
    local: &Local,
    commands: &Commands,
) -> ScannedUnit {
    let is_here = local.is_here(host.as_ref());
    let name = std::str::from_utf8(unit.bytes()).ok().filter(|name| name.ends_with(".service"));
    let name = name.and_then(|name| UnitName::parse(name).ok());
    let at_hand = name.as_ref().filter(|_| is_here).and_then(|name| local.unit(name));
    let part = match &at_hand {
        Some(AtHand { policy, .. }) => group.part(|sighting| DenialRow::new(sighting, policy)),
        None => group.part(DenialRow::of_nobody),
    };
    let forbids = match &at_hand {
        None => Forbids::Unknown,
        Some(at_hand) if group.is_forbidden(at_hand) => Forbids::Now,
        Some(at_hand) if part.last.is_none_or(|last| at_hand.unit.changed() > last) => Forbids::NoLonger,
        Some(_) => Forbids::Not,
    };
    // what is not here to be loaded, is not here to be repaired
    let repairs = forbids == Forbids::Now || !is_here;
    let repair = name.as_ref().filter(|_| repairs).map(|name| commands.repair(name, is_here));
    let told_apart = local.is_told_apart(host.as_ref());
    ScannedUnit { unit: unit.clone(), host, part, forbids, repair, elsewhere: !is_here, told_apart }
}
