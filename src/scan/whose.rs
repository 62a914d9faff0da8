//! Whose process a record is about, of any unit of any host: systemd-coredump names the unit of the same process, or
//! the manager reports a death of the unit's right after it. The rules are those of [`crate::evidence::attribute`]; here
//! the unit need not be at hand.

use super::names::Name;
use super::tally::{Kind, Told, Waiting};
use crate::evidence::Effect;
use crate::evidence::attribute::{DUMP_WITHIN_US, REPORT_WITHIN_US, is_report_of};
use std::collections::HashMap;

/// Of more deaths at about the same time than this it is not asked which of them a report is about.
const NEAR_MAX: usize = 64;

/// A process of a unit that died of SIGSYS, as systemd-coredump saw it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Dump {
    pub host: Option<Name>,
    pub unit: Name,
    pub comm: Name,
    pub exe: Option<Name>,
    pub pid: u32,
    pub time: u64,
    /// A record tells of the same death.
    pub explained: bool,
}

/// A main or control process of a unit that the manager saw die of SIGSYS.
#[derive(Clone, Copy, Debug)]
pub(super) struct Report {
    pub host: Option<Name>,
    pub unit: Name,
    pub time: u64,
    /// A record, or a core dump, tells of the same death.
    pub explained: bool,
}

/// A process that was killed for a call that is not on record.
pub(super) fn unnamed(host: Option<Name>, unit: Option<(Name, Told)>) -> Kind {
    Kind { host, unit, comm: None, exe: None, user: None, login: false, call: None, effect: Effect::Killed }
}

/// Tell of records, sorted by time, whose they are, as far as that is said.
pub(super) fn tell(records: &mut [Waiting], dumps: &mut [Dump], reports: &mut [Report]) {
    by_dumps(records, dumps);
    explain_by_dumps(reports, dumps);
    by_reports(records, reports);
}

/// Hosts are the same, or one of two logs does not name its host, as auditd's does not.
fn same(one: Option<Name>, other: Option<Name>) -> bool {
    one.is_none() || other.is_none() || one == other
}

/// A process of a service that was killed.
fn is_death(record: &Waiting) -> bool {
    record.kind.effect == Effect::Killed && !record.kind.login
}

fn by_dumps(records: &mut [Waiting], dumps: &mut [Dump]) {
    if dumps.is_empty() {
        return;
    }
    let mut of_process: HashMap<u32, Vec<usize>> = HashMap::new();
    for (at, dump) in dumps.iter().enumerate() {
        of_process.entry(dump.pid).or_default().push(at);
    }
    for record in records.iter_mut().filter(|record| is_death(record)) {
        let (Some(time), Some(of_process)) = (record.time, of_process.get(&record.pid)) else { continue };
        let near = |dump: &Dump| dump.time.abs_diff(time) <= DUMP_WITHIN_US;
        let fits = |dump: &Dump| near(dump) && same(dump.host, record.kind.host);
        let fitting = of_process.iter().copied().filter(|at| dumps.get(*at).is_some_and(fits));
        let nearest = fitting.min_by_key(|at| dumps.get(*at).map(|dump| dump.time.abs_diff(time)));
        if let Some(dump) = nearest.and_then(|at| dumps.get_mut(at)) {
            dump.explained = true;
            record.kind.unit = Some((dump.unit, Told::Dump));
            record.kind.host = record.kind.host.or(dump.host);
        }
    }
}

/// The manager reports what systemd-coredump told of already.
fn explain_by_dumps(reports: &mut [Report], dumps: &[Dump]) {
    let mut of_units: HashMap<Name, Vec<&Dump>> = HashMap::new();
    for dump in dumps {
        of_units.entry(dump.unit).or_default().push(dump);
    }
    for dumps in of_units.values_mut() {
        dumps.sort_by_key(|dump| dump.time);
    }
    for report in reports.iter_mut().filter(|report| !report.explained) {
        let dumps = of_units.get(&report.unit).map(Vec::as_slice).unwrap_or_default();
        let from = dumps.partition_point(|dump| dump.time.saturating_add(DUMP_WITHIN_US) < report.time);
        let near = dumps.get(from..).unwrap_or_default().iter();
        let mut near = near.take_while(|dump| dump.time <= report.time.saturating_add(DUMP_WITHIN_US));
        report.explained = near.any(|dump| same(dump.host, report.host));
    }
}

/// A report means the one process that died right before it; where several did, all of them if they ran one program,
/// as those of a service that is restarted again and again do. No other unit may have been reported then.
fn by_reports(records: &mut [Waiting], reports: &mut [Report]) {
    reports.sort_by_key(|report| report.time);
    for at in 0..reports.len() {
        let Some(report) = reports.get(at).copied().filter(|report| !report.explained) else { continue };
        let near = deaths_before(records, &report);
        let mut programs = near.iter().filter_map(|at| records.get(*at)).map(|r| (r.kind.comm, r.kind.exe));
        let first = programs.next();
        let one_program = first.is_some() && programs.all(|program| Some(program) == first);
        if one_program && is_alone(reports, at) {
            for at in near {
                let Some(Waiting { kind, .. }) = records.get_mut(at) else { continue };
                kind.unit = Some((report.unit, Told::Manager));
                kind.host = kind.host.or(report.host);
            }
        }
        if let Some(report) = reports.get_mut(at) {
            report.explained = first.is_some(); // whichever it was, it is on record
        }
    }
}

/// The deaths that a report can mean: what another unit is known to have died of, it cannot. None where there are too
/// many.
fn deaths_before(records: &[Waiting], report: &Report) -> Vec<usize> {
    let begin = report.time.saturating_sub(REPORT_WITHIN_US);
    let from = records.partition_point(|record| record.time.is_none_or(|time| time < begin));
    let near = records.iter().enumerate().skip(from);
    let until = |time: u64| is_report_of(report.time, time);
    let near = near.take_while(|(_, record)| record.time.is_some_and(until));
    let possible =
        |kind: &Kind| kind.unit.is_none_or(|(unit, _)| unit == report.unit) && same(kind.host, report.host);
    let deaths = near.filter(|(_, record)| is_death(record) && possible(&record.kind));
    let deaths: Vec<usize> = deaths.map(|(at, _)| at).take(NEAR_MAX + 1).collect();
    if deaths.len() > NEAR_MAX { Vec::new() } else { deaths }
}

/// Whether no other unit of the host was reported at about the same time.
fn is_alone(reports: &[Report], at: usize) -> bool {
    let Some(report) = reports.get(at) else { return false };
    let near = |other: &&Report| other.time.abs_diff(report.time) <= REPORT_WITHIN_US;
    let other = |other: &Report| other.unit != report.unit && same(other.host, report.host);
    let before = reports.get(..at).unwrap_or_default().iter().rev();
    let after = reports.get(at + 1..).unwrap_or_default().iter();
    !before.take_while(near).any(other) && !after.take_while(near).any(other)
}

#[cfg(test)]
mod tests {
    use super::super::names::Names;
    use super::*;
    use crate::evidence::Untrusted;

    const S: u64 = 1_000_000;

    /// What is told of records `(pid, program, time)` by core dumps `(pid, unit, time)` and reports `(unit, time)`:
    /// the units of the records, and how many of the others remain unexplained.
    fn told(
        records: &[(u32, &str, u64)],
        dumps: &[(u32, &str, u64)],
        reports: &[(&str, u64)],
    ) -> (Vec<String>, usize, usize) {
        let mut names = Names::default();
        let mut name = |text: &str| names.number(&Untrusted::new(text)).unwrap();
        let mut records: Vec<Waiting> = records
            .iter()
            .map(|(pid, program, time)| {
                let kind = Kind { comm: Some(name(program)), ..unnamed(None, None) };
                Waiting { kind, pid: *pid, time: Some(*time) }
            })
            .collect();
        let dumped = dumps.iter().map(|(pid, unit, time)| {
            let (unit, comm) = (name(unit), name("p"));
            Dump { host: None, unit, comm, exe: None, pid: *pid, time: *time, explained: false }
        });
        let mut dumps: Vec<Dump> = dumped.collect();
        let reported = reports.iter().map(|(unit, time)| Report {
            host: None,
            unit: name(unit),
            time: *time,
            explained: false,
        });
        let mut reports: Vec<Report> = reported.collect();
        tell(&mut records, &mut dumps, &mut reports);
        let unit = |record: &Waiting| match record.kind.unit {
            Some((unit, Told::Dump)) => format!("dump of {}", names.name(unit)),
            Some((unit, Told::Manager)) => format!("report of {}", names.name(unit)),
            None => "nobody's".to_owned(),
        };
        let open = (
            dumps.iter().filter(|dump| !dump.explained).count(),
            reports.iter().filter(|report| !report.explained).count(),
        );
        (records.iter().map(unit).collect(), open.0, open.1)
    }

    fn units(
        records: &[(u32, &str, u64)],
        dumps: &[(u32, &str, u64)],
        reports: &[(&str, u64)],
    ) -> Vec<String> {
        told(records, dumps, reports).0
    }

    #[test]
    fn a_dump_is_of_the_same_process_and_time() {
        let records = [(9, "p", 100 * S), (10, "p", 100 * S), (9, "p", 200 * S)];
        let (units, dumps, reports) =
            told(&records, &[(9, "a", 101 * S), (9, "b", 300 * S)], &[("a", 100 * S)]);
        assert_eq!(units, ["dump of a", "nobody's", "nobody's"]);
        assert_eq!((dumps, reports), (1, 0), "of b no record tells, and the report is of the dump's death");
    }

    #[test]
    fn a_report_means_the_one_death_before_it() {
        assert_eq!(units(&[(1, "p", 100 * S)], &[], &[("a", 101 * S)]), ["report of a"]);
        assert_eq!(units(&[(1, "p", 100 * S)], &[], &[("a", 103 * S)]), ["nobody's"], "too late");
        assert_eq!(units(&[(1, "p", 100 * S)], &[], &[("a", 99 * S)]), ["nobody's"], "before it");
        let two = [(1, "p", 100 * S), (2, "q", 100 * S)];
        assert_eq!(units(&two, &[], &[("a", 101 * S)]), ["nobody's", "nobody's"], "two that could be meant");
        assert_eq!(units(&two, &[(1, "b", 100 * S)], &[("a", 101 * S)]), ["dump of b", "report of a"]);
        let both = [("a", 101 * S), ("b", 101 * S)];
        assert_eq!(units(&two[..1], &[], &both), ["nobody's"], "two units that could be meant");
    }

    #[test]
    fn one_service_restarted_again_and_again() {
        let records: Vec<_> = (0..10).map(|n| (n, "p", (100 * S) + u64::from(n) * 300_000)).collect();
        let reports: Vec<_> = records.iter().map(|(_, _, time)| ("a", time + 1000)).collect();
        let (units, _, open) = told(&records, &[], &reports);
        assert!(units.iter().all(|unit| unit == "report of a"), "{units:?}");
        assert_eq!(open, 0);
    }

    #[test]
    fn a_death_without_a_record_stays_unexplained() {
        assert_eq!(told(&[], &[(1, "a", 100 * S)], &[("b", 100 * S)]), (vec![], 1, 1));
    }

    #[test]
    fn nobody_who_logged_in_is_a_service() {
        let mut names = Names::default();
        let unit = names.number(&Untrusted::new("a")).unwrap();
        let kind = Kind { login: true, ..unnamed(None, None) };
        let mut records = [Waiting { kind, pid: 1, time: Some(S) }];
        let mut reports = [Report { host: None, unit, time: S, explained: false }];
        tell(&mut records, &mut [], &mut reports);
        assert_eq!((records[0].kind.unit, reports[0].explained), (None, false));
    }
}
