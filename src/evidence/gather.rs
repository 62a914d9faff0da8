//! Gathering: what the system's logs say about one unit.

use super::attribute::{UnitFacts, attribute};
use super::journal::{Journal, JournalError};
use super::log::{self, LogRead};
use super::{Attribution, Denial, Effect, Source, Untrusted};
use crate::blame::dumps;
use crate::finding::{Code, Finding};
use crate::interrupt::Interrupt;
use crate::manager::{Manager, UnitStatus};
use crate::policy::Policy;
use crate::replay::{Exit, Outcome, Users};
use crate::root::Root;
use crate::scope::Scope;
use crate::subject::{Evidence, Failure, SubjectOptions};
use crate::syscalls::Call;
use crate::unit::Unit;
use crate::unit::exec::Stage;
use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fs::File;
use std::path::{Path, PathBuf};

/// The kernel stamps its records with the time of its last tick, cut to milliseconds (`audit_log_start()` in
/// kernel/audit.c), and the manager notes when a command began only after it has begun.
const CLOCKS_DIFFER: u64 = 50_000;

/// What the running system knows: the manager, the journal, auditd's log, and a log that the user named.
pub fn from_system(
    unit: &Unit,
    policy: &Policy,
    status: &UnitStatus,
    manager: &dyn Manager,
    options: &SubjectOptions,
) -> Result<Evidence, Failure> {
    let mut evidence = Evidence::default();
    let journal = match Journal::find(&options.interrupt) {
        Ok(journal) => Some(journal.of(&unit.scope)),
        Err(error) => {
            unread(&mut evidence, &error.to_string());
            None
        }
    };
    if let Some(journal) = &journal {
        let records = ask(&mut evidence, journal.kernel_records())?;
        evidence.denials.extend(records.kept.denials);
    }
    add_audit_log(&mut evidence, &Root::default());
    // what was denied before the unit was changed, was denied to another unit; process IDs of earlier boots too
    let mut since = unit.changed().max(boot_time().unwrap_or_default());
    if options.only_looks {
        since = since.max(status.run_began.saturating_sub(CLOCKS_DIFFER));
    }
    let of_this_unit = |d: &Denial| d.time.is_none_or(|time| time >= since) && policy.decide(d.call).denies();
    evidence.denials.retain(of_this_unit);
    // of a log that the user named, he knows why
    let mut named = Vec::new();
    add_named_log(&mut evidence, &mut named, options)?;
    own_programs(&mut named, unit, policy, &Root::default());
    evidence.denials.append(&mut named);
    // the same record may stand in the journal, in auditd's log and in the one that was named
    let mut seen = HashSet::new();
    evidence.denials.retain(|d| {
        d.time.is_none() || seen.insert((d.time.map(|t| t / 1000), d.process.pid, d.call, d.effect))
    });

    // in another PID namespace than the kernel's records, process IDs tell nothing
    let same_processes = options.proc_root == Path::new("/proc");
    let (dumps, reports, journal_pids) = match &journal {
        None => (Vec::new(), Vec::new(), BTreeMap::new()),
        Some(journal) => {
            let denials = evidence.denials.iter().filter(|_| same_processes);
            let pids: BTreeSet<u32> = denials.map(|d| d.process.pid).collect();
            (
                ask(&mut evidence, journal.core_dumps(&unit.name))?,
                ask(&mut evidence, journal.manager_reports(&unit.name))?,
                ask(&mut evidence, journal.pids_of_unit(&unit.name, &pids))?,
            )
        }
    };
    let others = OnceCell::new();
    let users = Users::of(unit);
    let facts = UnitFacts {
        main_pid: status.main_pid.filter(|_| same_processes),
        main_times: status.main_times,
        journal_pids,
        programs: programs(unit, &Root::default()),
        runs_as: &|user| users.include(user),
        doubts_interpreters: true,
        policy,
        only_candidate: &|call| {
            if unit.scope != Scope::System {
                return false; // services of the system may run as this user, too
            }
            let others = others.get_or_init(|| manager.filtered_services().unwrap_or_default());
            !others.iter().any(|other| other.id != status.id && forbids(other, call))
        },
    };
    // the kernel tells systemd-coredump the second only (`%t` of core(5))
    let dumps = newer(dumps, since - since % 1_000_000, |d| d.time);
    let reports = newer(reports, since, |r| r.time);
    let unnamed = attribute(&mut evidence.denials, &dumps, &reports, &facts);
    if let (Some(journal), true) = (&journal, options.blame) {
        let answer =
            dumps::add_stacks(&mut evidence.denials, &dumps, journal, &unit.name, &options.interrupt);
        if let Some(why) = ask(&mut evidence, answer)? {
            evidence.findings.push(Finding::note(
                Code::NoStack,
                format!("no stacks are on record: {why}"),
                None,
            ));
        }
    }
    let own = programs(unit, &Root::default());
    let main = unit.commands(Stage::Start).into_iter().next().map(|command| command.comm());
    for denial in evidence.denials.iter_mut().filter(|d| d.is_ours()) {
        name_parent(denial, &own, main.as_deref());
    }
    let failing = !status.outcome().healthy();
    let died = failing && status.main_exit == Some(Exit::Signal(libc::SIGSYS));
    evidence.sigsys = died || reports.iter().any(|report| report.sigsys) || !unnamed.is_empty();
    evidence.outcome = (status.is_up() || failing || status.ran).then(|| status.outcome());
    evidence.state = state(unit, status, &evidence);
    Ok(evidence)
}

/// What the logs below a root folder know.
pub fn from_root(
    root: &Root,
    unit: &Unit,
    policy: &Policy,
    options: &SubjectOptions,
) -> Result<Evidence, Failure> {
    let mut evidence = Evidence::default();
    add_audit_log(&mut evidence, root);
    let mut denials = std::mem::take(&mut evidence.denials);
    add_named_log(&mut evidence, &mut denials, options)?;
    own_programs(&mut denials, unit, policy, root);
    evidence.denials = denials;
    if options.blame && !evidence.denials.is_empty() {
        let message = "no stacks are on record: those of a system that does not run are not looked for";
        evidence.findings.push(Finding::note(Code::NoStack, message, None));
    }
    evidence.state = format!("{} below {}.", unit.name, root.join(Path::new("/")).display());
    Ok(evidence)
}

/// Add the log that the user named, if there is one. Its denials are those of a bare unit where they ran one of its
/// programs.
fn add_named_log(
    evidence: &mut Evidence,
    into: &mut Vec<Denial>,
    options: &SubjectOptions,
) -> Result<(), Failure> {
    let Some(path) = &options.log else { return Ok(()) };
    let failed = |error: std::io::Error| Failure::Usage(format!("{}: {error}", path.display()));
    let source = Source::Log(path.clone());
    let read = if path == Path::new("-") {
        log::read_log(std::io::stdin().lock(), &source)
    } else {
        File::open(path).and_then(|file| log::read_log_file(&file, &source))
    };
    let read = read.map_err(failed)?;
    note_malformed(evidence, &path.display().to_string(), &read);
    if read.kept.total() == 0 {
        let lines = if read.lines == 1 { "line" } else { "lines" };
        let message =
            format!("{} holds no record of a forbidden call, in {} {lines}", path.display(), read.lines);
        evidence.findings.push(Finding::note(Code::NoRecord, message, None));
    }
    into.extend(read.kept.denials);
    Ok(())
}

/// The evidence on a unit file: only what a named log says of its programs.
pub fn from_named_log(
    evidence: &mut Evidence,
    unit: &Unit,
    policy: &Policy,
    options: &SubjectOptions,
) -> Result<(), Failure> {
    let mut named = Vec::new();
    add_named_log(evidence, &mut named, options)?;
    own_programs(&mut named, unit, policy, &Root::default());
    evidence.denials = named;
    Ok(())
}

fn newer<T>(entries: Vec<T>, since: u64, time: impl Fn(&T) -> u64) -> Vec<T> {
    entries.into_iter().filter(|entry| time(entry) >= since).collect()
}

/// When this system was booted, in microseconds since the epoch (`btime` of proc_stat(5)).
pub(crate) fn boot_time() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/stat").ok()?;
    let seconds = text.lines().find_map(|line| line.strip_prefix("btime "))?;
    seconds.trim().parse::<u64>().ok()?.checked_mul(1_000_000)
}

/// The last lines of the unit's log; none where the journal cannot be asked.
#[must_use]
pub fn last_lines(unit: &Unit, count: u16) -> Vec<Untrusted> {
    // asked on the way to an answer that is given anyway: a signal has nothing to end here
    let journal = Journal::find(&Interrupt::default()).map(|journal| journal.of(&unit.scope));
    let lines = journal.and_then(|journal| journal.last_lines(&unit.name, count));
    lines.unwrap_or_default().into_iter().map(|(_, text)| text).collect()
}

fn add_audit_log(evidence: &mut Evidence, root: &Root) {
    match log::audit_log(root) {
        Ok(None) => {}
        Ok(Some(read)) => {
            note_malformed(evidence, "auditd's log", &read);
            evidence.denials.extend(read.kept.denials);
        }
        Err(error) => unread(evidence, &error.to_string()),
    }
}

/// An answer of the journal; where it cannot be had, that is a finding and nothing is known.
fn ask<T: Default>(evidence: &mut Evidence, answer: Result<T, JournalError>) -> Result<T, Failure> {
    match answer {
        Ok(known) => Ok(known),
        Err(JournalError::Interrupted) => Err(Failure::Interrupted),
        Err(error) => {
            unread(evidence, &error.to_string());
            Ok(T::default())
        }
    }
}

fn unread(evidence: &mut Evidence, message: &str) {
    evidence.blind = true;
    let finding = Finding::warning(Code::LogUnreadable, message, None);
    if !evidence.findings.contains(&finding) {
        evidence.findings.push(finding);
    }
}

fn note_malformed(evidence: &mut Evidence, log: &str, read: &LogRead) {
    if let Some((line, why)) = read.malformed.first() {
        let message = format!(
            "{log} holds records (in all {}) that are cut, or not as the kernel writes them, and count for nothing; \
             the first is line {line}: {why}",
            read.malformed_total
        );
        evidence.findings.push(Finding::warning(Code::LogDamaged, message, None));
    }
    if read.kept.uncounted > 0 {
        let message = format!(
            "{log} holds records of so many different programs that {} of them are not kept, and count for nothing",
            read.kept.uncounted
        );
        evidence.findings.push(Finding::warning(Code::RecordsLeftOut, message, None));
    }
}

/// Without a manager to ask, a denial is the unit's if it ran one of its programs.
fn own_programs(denials: &mut Vec<Denial>, unit: &Unit, policy: &Policy, root: &Root) {
    let facts = UnitFacts {
        main_pid: None,
        main_times: (0, 0),
        journal_pids: BTreeMap::new(),
        programs: programs(unit, root),
        runs_as: &|_| true,
        doubts_interpreters: false,
        policy,
        only_candidate: &|_| false,
    };
    denials.retain(|d| policy.decide(d.call).denies());
    attribute(denials, &[], &[], &facts);
    for denial in denials {
        // the user vouches for the log and names the unit
        if denial.attribution == Some(Attribution::OwnProgram) {
            denial.attribution = Some(Attribution::NamedLog);
        }
    }
}

/// The programs of the unit's commands, and what they lead to where they are links, as the kernel names them.
pub(crate) fn programs(unit: &Unit, root: &Root) -> Vec<PathBuf> {
    let commands = Stage::ALL.into_iter().flat_map(|stage| unit.commands(stage));
    let named = commands.map(|c| PathBuf::from(c.program()));
    named
        .flat_map(|path| {
            let real = root.resolve(&path);
            [Some(path), real].into_iter().flatten()
        })
        .collect()
}

/// Whether another service's filter would kill this call. Its names are those that the manager shows; one with an
/// errno is not killed for.
fn forbids(other: &UnitStatus, call: Call) -> bool {
    let Some(name) = call.name() else { return other.filter.0 };
    other.filter.1.contains(name) != other.filter.0
}

/// A process that ran none of the unit's own programs descends from one.
fn name_parent(denial: &mut Denial, own: &[PathBuf], main: Option<&str>) {
    let process = &mut denial.process;
    let exe = process.exe.as_ref().map(Untrusted::bytes);
    let runs_own = exe.is_none_or(|exe| own.iter().any(|p| p.as_os_str().as_encoded_bytes() == exe));
    let executor = process.comm.bytes().starts_with(b"(");
    if !runs_own && !executor && process.parent.is_none() {
        process.parent = main.map(Untrusted::new);
    }
}

/// What the unit does now, in a sentence.
fn state(unit: &Unit, status: &UnitStatus, evidence: &Evidence) -> String {
    let name = &unit.name;
    let killed = |sure: bool| {
        let mut of_it = evidence.denials.iter().filter(|d| d.attribution.is_some() && d.is_ours() == sure);
        of_it.any(|d| d.effect == Effect::Killed)
    };
    match &evidence.outcome {
        None => format!("{name} is not running, and was not started since boot."),
        Some(Outcome::Failed { .. }) if evidence.sigsys && status.restarts_after_failure() => {
            format!("{name} is restarted again and again: it is killed for a forbidden system call.")
        }
        Some(Outcome::Failed { .. }) if evidence.sigsys => {
            format!("{name} has failed: it was killed for a forbidden system call.")
        }
        Some(outcome @ Outcome::Failed { .. }) => format!("{name} {outcome}."),
        Some(Outcome::Running) if killed(true) || evidence.sigsys => {
            format!("{name} is {}, but its processes are being killed.", status.active_state)
        }
        Some(Outcome::Running) if killed(false) => {
            format!("{name} is {}, but processes are being killed that may be its.", status.active_state)
        }
        Some(Outcome::Running) => format!("{name} is {}.", status.active_state),
        Some(Outcome::Finished) => format!("{name} is not running; it ended well the last time."),
    }
}
