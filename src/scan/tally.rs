//! What was denied, counted by host, unit, program and call, in bounded memory however much there is.
//!
//! A record waits until what comes after it has told whose process it was, or until there are so many that the oldest
//! have to be judged by what is known.

use super::names::{Full, Name, Names};
use super::range::Range;
use super::whose::{self, Dump, Report};
use crate::evidence::files::{Origin, Said};
use crate::evidence::journal::{CoreDump, ManagerReport};
use crate::evidence::{Attribution, Denial, Effect, Process, Source, Untrusted};
use crate::syscalls::Call;
use std::collections::HashMap;
use std::path::PathBuf;

/// So many records wait.
const WAITING_MAX: usize = 1 << 13;

/// Nothing that tells whose a record is comes later than so many microseconds after it.
const TELLS_WITHIN_US: u64 = 12_000_000;

/// So many core dumps, and so many reports of the manager, are kept.
const TOLD_MAX: usize = 1 << 15;

/// So many different things are counted of units, and as many of nobody's: whoever floods a log with names of his own
/// does not push a unit out.
const KINDS_MAX: usize = 10_000;

/// What is counted together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Kind {
    /// The host, where it is named.
    pub host: Option<Name>,
    /// The unit, and why it is believed to be that one's; nothing: nobody's.
    pub unit: Option<(Name, Told)>,
    /// The process's name.
    pub comm: Option<Name>,
    /// Its program.
    pub exe: Option<Name>,
    /// The user that it ran as.
    pub user: Option<u32>,
    /// It descends from somebody's login.
    pub login: bool,
    /// The call; nothing: a process was killed for a call that is not on record.
    pub call: Option<Call>,
    /// What became of it.
    pub effect: Effect,
}

/// Who told whose a process was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Told {
    /// systemd-coredump.
    Dump,
    /// The manager.
    Manager,
}

/// How often, and when.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Count {
    /// How often.
    pub times: u64,
    /// First, in microseconds since the epoch.
    pub first: Option<u64>,
    /// Last.
    pub last: Option<u64>,
}

impl Count {
    pub(crate) fn add(&mut self, other: Count) {
        self.times += other.times;
        self.first = [self.first, other.first].into_iter().flatten().min();
        self.last = self.last.max(other.last);
    }
}

/// A record that waits.
#[derive(Clone, Copy, Debug)]
pub(super) struct Waiting {
    pub kind: Kind,
    pub pid: u32,
    pub time: Option<u64>,
}

/// Something that was denied, as often as it was seen.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    /// The host, where it is named.
    pub host: Option<Untrusted>,
    /// The unit, where it is known.
    pub unit: Option<Untrusted>,
    /// The process and the call, for the first time; nothing: the call is not on record.
    pub denial: Option<Denial>,
    /// How often.
    pub count: Count,
    /// Where the unit is not known: those at hand that may be meant.
    pub possible: Vec<String>,
}

/// What a scan found.
#[derive(Clone, Debug, Default)]
pub(crate) struct Counted {
    /// By host, unit, program and call.
    pub seen: Vec<Seen>,
    /// Records of so many different programs that they are not kept.
    pub left_out: u64,
    /// Records without a time, where only those of a certain time count.
    pub timeless: u64,
    /// There were so many records that some may have counted twice.
    pub maybe_twice: bool,
}

/// Counts what is said.
pub(super) struct Tally {
    range: Range,
    names: Names,
    /// The same may stand in several logs.
    again: Option<super::again::Again>,
    waiting: Vec<Waiting>,
    dumps: Vec<Dump>,
    reports: Vec<Report>,
    units: HashMap<Kind, Count>,
    nobodys: HashMap<Kind, Count>,
    left_out: u64,
    timeless: u64,
}

impl Tally {
    /// Count what happened in this range, told by so many logs.
    pub(super) fn new(range: Range, logs: usize) -> Self {
        Tally {
            range,
            names: Names::default(),
            again: (logs > 1).then(Default::default),
            waiting: Vec::new(),
            dumps: Vec::new(),
            reports: Vec::new(),
            units: HashMap::new(),
            nobodys: HashMap::new(),
            left_out: 0,
            timeless: 0,
        }
    }

    /// Take in one thing that a log says.
    pub(super) fn take(&mut self, origin: &Origin, said: Said) {
        let taken = match said {
            Said::Denied(denial) => self.denied(origin, &denial),
            Said::Dumped(dump, unit) => self.dumped(origin, &dump, &unit),
            Said::Reported(report, unit) => self.reported(origin, &report, &unit),
        };
        self.left_out += u64::from(taken.is_err());
    }

    fn denied(&mut self, origin: &Origin, denial: &Denial) -> Result<(), Full> {
        match denial.time {
            None if self.range.is_limited() => {
                self.timeless += 1;
                return Ok(());
            }
            Some(time) if !self.range.holds(time) => return Ok(()),
            _ => {}
        }
        if self.again.as_mut().is_some_and(|again| again.is_known(&origin.path, denial)) {
            return Ok(());
        }
        let process = &denial.process;
        let kind = Kind {
            host: self.names.number_of(origin.host.as_ref())?,
            unit: None,
            comm: Some(self.names.number(&process.comm)?),
            exe: self.names.number_of(process.exe.as_ref())?,
            user: process.user,
            login: process.login,
            call: Some(denial.call),
            effect: denial.effect,
        };
        self.waiting.push(Waiting { kind, pid: process.pid, time: denial.time });
        if self.waiting.len() >= WAITING_MAX {
            self.settle(false);
        }
        Ok(())
    }

    fn dumped(&mut self, origin: &Origin, dump: &CoreDump, unit: &Untrusted) -> Result<(), Full> {
        if self.dumps.len() >= TOLD_MAX {
            self.settle(false);
            self.let_dumps_go(TOLD_MAX / 2);
        }
        self.dumps.push(Dump {
            host: self.names.number_of(origin.host.as_ref())?,
            unit: self.names.number(unit)?,
            comm: self.names.number(&dump.comm)?,
            exe: self.names.number_of(dump.exe.as_ref())?,
            pid: dump.pid,
            time: dump.time,
            explained: false,
        });
        Ok(())
    }

    fn reported(&mut self, origin: &Origin, report: &ManagerReport, unit: &Untrusted) -> Result<(), Full> {
        if self.reports.len() >= TOLD_MAX {
            self.settle(false);
            self.let_reports_go(TOLD_MAX / 2);
        }
        self.reports.push(Report {
            host: self.names.number_of(origin.host.as_ref())?,
            unit: self.names.number(unit)?,
            time: report.time,
            explained: false,
        });
        Ok(())
    }

    /// Judge what waits: all of it, or what nothing more can be said about.
    fn settle(&mut self, all: bool) {
        self.waiting.sort_by_key(|waiting| waiting.time);
        let last = self.waiting.last().and_then(|waiting| waiting.time).unwrap_or_default();
        let early =
            |waiting: &Waiting| waiting.time.is_none_or(|time| time.saturating_add(TELLS_WITHIN_US) < last);
        let mut ready = if all { self.waiting.len() } else { self.waiting.partition_point(early) };
        if !all && ready < WAITING_MAX / 2 {
            ready = self.waiting.len(); // a flood: nothing can wait for long
        }
        let mut records: Vec<Waiting> = self.waiting.drain(..ready).collect();
        whose::tell(&mut records, &mut self.dumps, &mut self.reports);
        for Waiting { kind, time, .. } in records {
            self.count(kind, time);
        }
    }

    fn count(&mut self, kind: Kind, time: Option<u64>) {
        let counts = if kind.unit.is_some() { &mut self.units } else { &mut self.nobodys };
        let one = Count { times: 1, first: time, last: time };
        if let Some(count) = counts.get_mut(&kind) {
            count.add(one);
        } else if counts.len() < KINDS_MAX {
            counts.insert(kind, one);
        } else {
            self.left_out += 1;
        }
    }

    /// Let the oldest core dumps go; those that no record tells of are deaths of their own.
    fn let_dumps_go(&mut self, many: usize) {
        let many = many.min(self.dumps.len());
        let gone: Vec<Dump> = self.dumps.drain(..many).collect();
        let range = self.range;
        for dump in gone.into_iter().filter(|dump| !dump.explained && range.holds(dump.time)) {
            let unit = Some((dump.unit, Told::Dump));
            let kind = Kind { comm: Some(dump.comm), exe: dump.exe, ..whose::unnamed(dump.host, unit) };
            self.count(kind, Some(dump.time));
        }
    }

    /// The same of what the manager reported.
    fn let_reports_go(&mut self, many: usize) {
        let many = many.min(self.reports.len());
        let gone: Vec<Report> = self.reports.drain(..many).collect();
        let range = self.range;
        for report in gone.into_iter().filter(|report| !report.explained && range.holds(report.time)) {
            self.count(whose::unnamed(report.host, Some((report.unit, Told::Manager))), Some(report.time));
        }
    }

    /// There is nothing more.
    pub(super) fn counted(mut self) -> Counted {
        self.settle(true);
        self.let_dumps_go(usize::MAX);
        self.let_reports_go(usize::MAX);
        let kinds = std::mem::take(&mut self.units).into_iter().chain(std::mem::take(&mut self.nobodys));
        let seen: Vec<Seen> = kinds.map(|(kind, count)| self.named(kind, count)).collect();
        let maybe_twice = self.again.as_ref().is_some_and(super::again::Again::has_forgotten);
        Counted { seen, left_out: self.left_out, timeless: self.timeless, maybe_twice }
    }

    fn named(&self, kind: Kind, count: Count) -> Seen {
        let name = |number: Option<Name>| number.map(|number| self.names.name(number));
        let attribution = kind.unit.map(|(_, told)| match told {
            Told::Dump => Attribution::CoreDump,
            Told::Manager => Attribution::ManagerReport,
        });
        let process = Process {
            pid: 0, // of several
            comm: name(kind.comm).unwrap_or_default(),
            user: kind.user,
            exe: name(kind.exe),
            parent: None,
            login: kind.login,
        };
        let denial = kind.call.map(|call| Denial {
            call,
            effect: kind.effect,
            process,
            time: count.last,
            source: Source::Log(PathBuf::new()),
            attribution,
            arguments: Vec::new(),
            raw_arguments: None,
            stack: crate::blame::Stack::default(),
        });
        Seen {
            host: name(kind.host),
            unit: name(kind.unit.map(|(unit, _)| unit)),
            denial,
            count,
            possible: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evidence::record;

    const S: u64 = 1_000_000;

    fn denial(pid: u32, comm: &str, time: u64) -> Denial {
        let line = format!(
            "audit({}.{:03}:3): auid=4294967295 uid=0 gid=0 ses=1 pid={pid} comm=\"{comm}\" exe=\"/{comm}\" sig=31 \
             arch=c000003e syscall=92 compat=0 ip=0x1 code=0x80000000",
            time / S,
            time % S / 1000
        );
        record::parse(line.as_bytes()).unwrap().unwrap().denial(Source::AuditSocket).unwrap()
    }

    fn origin(host: &str) -> Origin {
        Origin { path: "journal".into(), host: Some(Untrusted::new(host)) }
    }

    fn dump(pid: u32, time: u64) -> CoreDump {
        let comm = Untrusted::new("p");
        CoreDump { time, pid, signal: libc::SIGSYS, comm, exe: None, command: None }
    }

    fn report(time: u64) -> ManagerReport {
        ManagerReport { time, sigsys: true, command: None, what: Untrusted::default() }
    }

    /// Host, unit, program and how often, sorted.
    fn rows(counted: &Counted) -> Vec<String> {
        let name = |name: &Option<Untrusted>| name.as_ref().map_or("-".to_owned(), ToString::to_string);
        let row = |seen: &Seen| {
            let program = seen.denial.as_ref().map_or("?".to_owned(), |d| d.process.comm.to_string());
            format!("{} {} {program} {}", name(&seen.host), name(&seen.unit), seen.count.times)
        };
        let mut rows: Vec<String> = counted.seen.iter().map(row).collect();
        rows.sort();
        rows
    }

    #[test]
    fn by_host_unit_and_program() {
        let mut tally = Tally::new(Range::default(), 1);
        let a = Untrusted::new("a.service");
        for (host, time) in [("h1", 100 * S), ("h2", 100 * S), ("h2", 200 * S)] {
            tally.take(&origin(host), Said::Denied(denial(9, "p", time)));
        }
        tally.take(&origin("h2"), Said::Dumped(dump(9, 200 * S), a.clone()));
        tally.take(&origin("h2"), Said::Dumped(dump(77, 300 * S), a.clone()));
        tally.take(&origin("h1"), Said::Reported(report(100 * S + 5000), a.clone()));
        tally.take(&origin("h1"), Said::Reported(report(500 * S), a));
        let expected =
            ["h1 a.service ? 1", "h1 a.service p 1", "h2 - p 1", "h2 a.service ? 1", "h2 a.service p 1"];
        assert_eq!(rows(&tally.counted()), expected);
    }

    #[test]
    fn only_what_lies_in_the_range() {
        let range = Range { since: Some(100 * S), until: Some(200 * S) };
        let mut tally = Tally::new(range, 1);
        for time in [99 * S, 100 * S, 200 * S, 201 * S] {
            tally.take(&origin("h"), Said::Denied(denial(1, "p", time)));
            tally.take(&origin("h"), Said::Dumped(dump(5, time + 50 * S), Untrusted::new("a")));
        }
        tally.take(&origin("h"), Said::Denied(Denial { time: None, ..denial(1, "p", S) }));
        let counted = tally.counted();
        assert_eq!(rows(&counted), ["h - p 2", "h a ? 2"]);
        assert_eq!(counted.timeless, 1);
    }

    #[test]
    fn floods_take_bounded_memory_and_units_keep_their_place() {
        let mut tally = Tally::new(Range::default(), 1);
        let many = 3 * WAITING_MAX as u64;
        for number in 0..many {
            let time = 100 * S + number * 1000;
            let comm = format!("n{}", number % 20_000);
            tally.take(&origin("h"), Said::Denied(denial(1000, &comm, time)));
            assert!(tally.waiting.len() <= WAITING_MAX && tally.nobodys.len() <= KINDS_MAX);
        }
        let end = 100 * S + many * 1000;
        tally.take(&origin("h"), Said::Denied(denial(9, "p", end)));
        tally.take(&origin("h"), Said::Dumped(dump(9, end), Untrusted::new("a.service")));
        let counted = tally.counted();
        assert!(rows(&counted).contains(&"h a.service p 1".to_owned()));
        let kept: u64 = counted.seen.iter().map(|seen| seen.count.times).sum();
        assert_eq!(kept + counted.left_out, many + 1);
        assert!(counted.left_out > 0);
    }

    #[test]
    fn more_dumps_than_are_kept_are_counted() {
        let mut tally = Tally::new(Range::default(), 1);
        let many = TOLD_MAX as u64 + 10;
        for number in 0..many {
            let pid = u32::try_from(number).unwrap() + 1;
            let time = 100 * S + number * S;
            tally.take(&origin("h"), Said::Denied(denial(pid, "p", time)));
            if number % 2 == 0 {
                tally.take(&origin("h"), Said::Dumped(dump(pid, time), Untrusted::new("a")));
            }
            assert!(tally.dumps.len() <= TOLD_MAX);
        }
        assert_eq!(rows(&tally.counted()), [format!("h - p {}", many / 2), format!("h a p {}", many / 2)]);
    }
}
