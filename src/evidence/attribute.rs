//! Whose a denial is. The kernel's record names a process and not its unit, and a killed process is gone by the
//! time anybody reads of it; so each reason to believe that it was the unit's is tried, the surest first.

use super::journal::{CoreDump, ManagerReport};
use super::{Attribution, Denial, Effect, Untrusted};
use crate::policy::{Action, Policy};
use crate::syscalls::Call;
use std::collections::BTreeMap;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

/// systemd-coredump may need a while under load, and gives the time of death in whole seconds.
pub(crate) const DUMP_WITHIN_US: u64 = 10_000_000;

/// The manager reports a dead child within milliseconds; this is for a busy one.
pub(crate) const REPORT_WITHIN_US: u64 = 2_000_000;

/// Process IDs come round again, on a small system within minutes.
const SAME_PROCESS_WITHIN_US: u64 = 60_000_000;

/// The kernel rounds the record's time to its clock tick.
const TICK_US: u64 = 10_000;

/// What is known about the unit.
pub struct UnitFacts<'a> {
    /// The main process; nothing where there is none, or where kernel records count processes differently.
    pub main_pid: Option<u32>,
    /// When it began and ended, in microseconds since the epoch; an end of 0: not yet.
    pub main_times: (u64, u64),
    /// The processes that wrote to the journal as this unit, and when they did so last.
    pub journal_pids: BTreeMap<u32, u64>,
    /// The programs of the unit's commands, as absolute paths; where they are links, also what they lead to.
    pub programs: Vec<PathBuf>,
    /// Whether processes of the unit run as this user.
    pub runs_as: &'a dyn Fn(u32) -> bool,
    /// The unit's program proves nothing where it is one that many run: a shell or an interpreter.
    pub doubts_interpreters: bool,
    /// What the unit forbids.
    pub policy: &'a Policy,
    /// Whether no other unit that was running with a filter forbids this call.
    pub only_candidate: &'a dyn Fn(Call) -> bool,
}

/// A process of the unit that died of SIGSYS, of which there is no kernel record: its call is not known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnnamedKill {
    /// The process.
    pub pid: u32,
    /// Its program, or its name where the program is not known.
    pub program: Untrusted,
    /// When, in microseconds since the epoch.
    pub time: u64,
}

/// Give each denial that has no attribution yet the first reason that holds; one that the unit's policy would not
/// deny gets none. Returns the kills that the core dumps tell of and no denial does.
pub fn attribute(
    denials: &mut [Denial],
    core_dumps: &[CoreDump],
    reports: &[ManagerReport],
    facts: &UnitFacts,
) -> Vec<UnnamedKill> {
    let unnamed = core_dumps.iter().filter(|dump| dump.signal == libc::SIGSYS);
    let unnamed =
        unnamed.filter(|dump| !denials.iter().any(|d| is_dump_of(dump, d))).map(|dump| UnnamedKill {
            pid: dump.pid,
            program: dump.exe.clone().unwrap_or_else(|| dump.comm.clone()),
            time: dump.time,
        });
    let unnamed = unnamed.collect();
    for denial in denials.iter_mut().filter(|d| d.attribution.is_none()) {
        denial.attribution = facts.sure(denial, core_dumps);
    }
    for report in reports.iter().filter(|report| report.sigsys) {
        facts.reported(denials, report);
    }
    for denial in denials.iter_mut().filter(|d| d.attribution.is_none()) {
        denial.attribution = facts.likely(denial);
    }
    unnamed
}

impl UnitFacts<'_> {
    /// Reasons that name the process.
    fn sure(&self, denial: &Denial, dumps: &[CoreDump]) -> Option<Attribution> {
        let pid = denial.process.pid;
        if pid == 0 || denial.process.login || !self.policy.decide(denial.call).denies() {
            return None;
        }
        if dumps.iter().any(|dump| is_dump_of(dump, denial)) {
            Some(Attribution::CoreDump)
        } else if self.main_pid == Some(pid) && self.main_lived(denial) {
            Some(Attribution::MainProcess)
        } else if self.journal_pids.get(&pid).is_some_and(|time| is_near(denial, *time)) {
            Some(Attribution::JournalOfProcess)
        } else {
            None
        }
    }

    /// Process IDs are used again: only a record from the main process's own time is about it.
    fn main_lived(&self, denial: &Denial) -> bool {
        let (began, ended) = self.main_times;
        let end = if ended == 0 || ended < began { u64::MAX } else { ended.saturating_add(REPORT_WITHIN_US) };
        denial.time.is_some_and(|time| (began.saturating_sub(TICK_US)..=end).contains(&time))
    }

    /// The manager reaped one process of this unit: the one record before it that can be meant, if there is one.
    fn reported(&self, denials: &mut [Denial], report: &ManagerReport) {
        let near = |d: &Denial| d.time.is_some_and(|time| is_report_of(report.time, time));
        let killed = |d: &Denial| d.effect == Effect::Killed && !d.process.login && self.kills(d.call);
        let near: Vec<usize> =
            (0..denials.len()).filter(|at| denials.get(*at).is_some_and(|d| near(d) && killed(d))).collect();
        // the manager speaks once of each death, and a surer reason has told of this one already
        let told = near.iter().filter_map(|at| denials.get(*at)).any(|d| d.attribution.is_some());
        // other services die too: only a program of this unit can be meant
        let own = near.iter().copied().filter(|at| denials.get(*at).is_some_and(|d| self.is_own(d)));
        let own: Vec<usize> = own.collect();
        if let ([one], false) = (own.as_slice(), told)
            && let Some(denial) = denials.get_mut(*one)
        {
            denial.attribution = Some(Attribution::ManagerReport);
        }
    }

    /// Reasons that do not name the process.
    fn likely(&self, denial: &Denial) -> Option<Attribution> {
        let fits = match denial.effect {
            Effect::Killed => self.kills(denial.call),
            Effect::Recorded | Effect::Failed(_) => self.policy.decide(denial.call).denies(),
        };
        let own = self.is_own(denial);
        let user = denial.process.user.is_none_or(self.runs_as);
        if !fits || denial.process.login {
            None
        } else if own && user && self.main_lived(denial) && !(self.doubts_interpreters && interprets(denial))
        {
            Some(Attribution::OwnProgram)
        } else if (self.only_candidate)(denial.call) {
            Some(Attribution::OnlyCandidate)
        } else {
            None
        }
    }

    /// A call that this unit lets fail softly has not killed this unit's process.
    fn kills(&self, call: Call) -> bool {
        self.policy.decide(call).action == Action::Kill
    }

    /// Whether a process ran one of the unit's programs, or was about to.
    pub(crate) fn is_own(&self, denial: &Denial) -> bool {
        let Some(exe) = denial.process.exe.as_ref().map(Untrusted::bytes) else { return false };
        self.programs.iter().any(|program| {
            let program = program.as_os_str().as_bytes();
            program == exe || is_executor_of(exe, denial.process.comm.bytes(), program)
        })
    }
}

/// Before the program runs, systemd's executor is called `(name)`. Of a longer name it keeps the last 8 bytes (seen
/// on 247, 252 and 257) or the first 13 (262).
fn is_executor_of(exe: &[u8], comm: &[u8], program: &[u8]) -> bool {
    let executor = [&b"/lib/systemd/systemd"[..], b"/lib/systemd/systemd-executor"];
    let name = comm.strip_prefix(b"(").and_then(|rest| rest.strip_suffix(b")"));
    let short = |name: &[u8], base: &[u8]| match name.len() {
        8 => base.ends_with(name),
        13 => base.starts_with(name),
        _ => false,
    };
    let base = program.rsplit(|b| *b == b'/').next().unwrap_or_default();
    executor.iter().any(|path| exe.strip_prefix(b"/usr").unwrap_or(exe) == *path)
        && name.is_some_and(|name| name == base || short(name, base))
}

fn is_dump_of(dump: &CoreDump, denial: &Denial) -> bool {
    dump.signal == libc::SIGSYS
        && denial.effect == Effect::Killed
        && dump.pid == denial.process.pid
        && denial.time.is_some_and(|time| time.abs_diff(dump.time) <= DUMP_WITHIN_US)
}

/// A process that wrote to the journal about when it was denied something is the same process.
fn is_near(denial: &Denial, time: u64) -> bool {
    denial.time.is_some_and(|denied| denied.abs_diff(time) <= SAME_PROCESS_WITHIN_US)
}

/// Whether a process ran a shell or an interpreter, as those of many services do.
pub(crate) fn interprets(denial: &Denial) -> bool {
    const MANY_RUN: [&str; 12] =
        ["ash", "bash", "busybox", "dash", "env", "java", "node", "perl", "php", "python", "ruby", "sh"];
    let exe = denial.process.exe.as_ref().map(Untrusted::bytes).unwrap_or_default();
    let name = exe.rsplit(|b| *b == b'/').next().unwrap_or_default();
    let letters = name.iter().take_while(|b| b.is_ascii_alphabetic()).count();
    MANY_RUN.iter().any(|known| name.get(..letters) == Some(known.as_bytes()))
}

/// The report follows the record.
pub(crate) fn is_report_of(report: u64, record: u64) -> bool {
    (record.saturating_sub(TICK_US)..=record.saturating_add(REPORT_WITHIN_US)).contains(&report)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blame::Stack;
    use crate::evidence::{Process, Source};
    use crate::policy::tests::unit;
    use crate::syscalls::{Arch, Groups};

    fn policy(lines: &str) -> Policy {
        Policy::evaluate(&unit(lines), &Groups::from_rules(252).unwrap())
    }

    fn kill(pid: u32, exe: &str, call: &str, time: u64) -> Denial {
        let number = Arch::native().number(call).unwrap();
        let comm = Untrusted::new(exe.rsplit('/').next().unwrap_or_default());
        Denial {
            call: Call { arch: Arch::native(), number },
            effect: Effect::Killed,
            process: Process {
                pid,
                comm,
                exe: Some(Untrusted::new(exe)),
                parent: None,
                login: false,
                user: Some(0),
            },
            time: Some(time),
            source: Source::JournalAudit,
            attribution: None,
            arguments: Vec::new(),
            raw_arguments: None,
            stack: Stack::default(),
        }
    }

    fn dump(pid: u32, time: u64) -> CoreDump {
        let (comm, exe) = (Untrusted::new("p"), Some(Untrusted::new("/bin/p")));
        CoreDump { time, pid, signal: libc::SIGSYS, comm, exe, command: None }
    }

    fn report(time: u64) -> ManagerReport {
        ManagerReport { time, sigsys: true, command: None, what: Untrusted::default() }
    }

    fn facts(policy: &Policy) -> UnitFacts<'_> {
        UnitFacts {
            main_pid: Some(10),
            main_times: (0, 0),
            journal_pids: BTreeMap::from([(12, 100 * S)]),
            programs: vec!["/bin/p".into(), "/bin/a-rather-long-name".into()],
            runs_as: &|user| user == 0,
            doubts_interpreters: true,
            policy,
            only_candidate: &|_| false,
        }
    }

    const S: u64 = 1_000_000;

    fn attributed(
        denials: &[Denial],
        reports: &[ManagerReport],
        facts: &UnitFacts,
    ) -> Vec<Option<Attribution>> {
        let mut denials = denials.to_vec();
        attribute(&mut denials, &[dump(9, 100 * S)], reports, facts);
        denials.into_iter().map(|d| d.attribution).collect()
    }

    #[test]
    fn the_surest_reason_wins() {
        let policy = policy("SystemCallFilter=~chown");
        let at = |pid, exe| kill(pid, exe, "chown", 100 * S);
        let denials = [at(9, "/bin/c"), at(10, "/bin/c"), at(12, "/bin/c"), at(13, "/bin/p")];
        let expected = [
            Some(Attribution::CoreDump),
            Some(Attribution::MainProcess),
            Some(Attribution::JournalOfProcess),
            Some(Attribution::OwnProgram),
        ];
        assert_eq!(attributed(&denials, &[], &facts(&policy)), expected);
        let only = UnitFacts { only_candidate: &|_| true, ..facts(&policy) };
        assert_eq!(attributed(&[at(14, "/bin/c")], &[], &only), [Some(Attribution::OnlyCandidate)]);
        assert_eq!(attributed(&[at(14, "/bin/c")], &[], &facts(&policy)), [None]);
    }

    #[test]
    fn whoever_logged_in_can_run_the_program_too() {
        let policy = policy("SystemCallFilter=~chown");
        let only = UnitFacts { only_candidate: &|_| true, ..facts(&policy) };
        let mut forged = kill(14, "/bin/p", "chown", 100 * S);
        forged.process.login = true;
        assert_eq!(attributed(&[forged], &[report(100 * S)], &only), [None]);
    }

    #[test]
    fn a_program_that_many_run_proves_nothing() {
        let policy = policy("SystemCallFilter=~chown");
        let shell = UnitFacts { programs: vec!["/usr/bin/python3.11".into()], ..facts(&policy) };
        assert_eq!(attributed(&[kill(14, "/usr/bin/python3.11", "chown", 100 * S)], &[], &shell), [None]);
        let mut other_user = kill(14, "/bin/p", "chown", 100 * S);
        other_user.process.user = Some(1000);
        assert_eq!(attributed(&[other_user], &[], &facts(&policy)), [None]);
        let later = UnitFacts { main_times: (200 * S, 0), ..facts(&policy) };
        assert_eq!(attributed(&[kill(14, "/bin/p", "chown", 100 * S)], &[], &later), [None]);
    }

    #[test]
    fn what_the_policy_allows_is_not_the_units() {
        let allows = policy("SystemCallFilter=~setrlimit");
        let only = UnitFacts { only_candidate: &|_| true, ..facts(&allows) };
        let denials = [9, 10, 12, 14].map(|pid| kill(pid, "/bin/p", "chown", 100 * S));
        assert_eq!(attributed(&denials, &[report(100 * S)], &only), [None, None, None, None]);
        // and what it lets fail softly has not killed anybody
        let soft = policy("SystemCallFilter=~chown:EPERM");
        let only = UnitFacts { only_candidate: &|_| true, ..facts(&soft) };
        assert_eq!(attributed(&denials[3..], &[report(100 * S)], &only), [None]);
    }

    #[test]
    fn a_dump_must_be_near_in_time_and_else_names_a_kill_of_its_own() {
        let policy = policy("SystemCallFilter=~chown");
        let mut denials = [kill(9, "/bin/c", "chown", 100 * S)];
        let dumps = [dump(9, 111 * S), dump(77, 100 * S), CoreDump { signal: 11, ..dump(78, 100 * S) }];
        let unnamed = attribute(&mut denials, &dumps, &[], &facts(&policy));
        assert_eq!(denials[0].attribution, None);
        assert_eq!(unnamed.iter().map(|u| (u.pid, u.time / S)).collect::<Vec<_>>(), [(9, 111), (77, 100)]);
        assert_eq!(unnamed[0].program, Untrusted::new("/bin/p"));
    }

    #[test]
    fn a_report_means_the_one_record_before_it() {
        let policy = policy("SystemCallFilter=~chown");
        let other = |time| kill(20, "/bin/c", "chown", time);
        let own = kill(21, "/bin/p", "chown", 100 * S);
        let with = |denials: &[Denial], time| attributed(denials, &[report(time)], &facts(&policy));
        let (own_only, late) = ([own.clone()], Some(Attribution::OwnProgram));
        assert_eq!(with(&own_only, 101 * S), [Some(Attribution::ManagerReport)]);
        assert_eq!(with(&own_only, 103 * S), std::slice::from_ref(&late));
        assert_eq!(with(&own_only, 99 * S), [late]);
        assert_eq!(with(&[other(100 * S)], 101 * S), [None], "another service's");
        assert_eq!(with(&[other(100 * S), own], 101 * S), [None, Some(Attribution::ManagerReport)]);
        // two that could be meant: neither
        assert_eq!(with(&[other(100 * S), other(101 * S)], 101 * S), [None, None]);
        // told of already by a surer reason
        let main = kill(10, "/bin/p", "chown", 100 * S);
        let expected = [Some(Attribution::MainProcess), None];
        assert_eq!(with(&[main, other(100 * S)], 101 * S), expected);
    }

    #[test]
    fn the_executor_is_the_program_about_to_run() {
        let policy = policy("SystemCallFilter=~execve");
        let executor = |comm: &str, exe: &str| {
            let mut denial = kill(30, exe, "execve", 100 * S);
            denial.process.comm = Untrusted::new(comm);
            attributed(&[denial], &[], &facts(&policy)) == [Some(Attribution::OwnProgram)]
        };
        assert!(executor("(p)", "/lib/systemd/systemd"));
        assert!(executor("(p)", "/usr/lib/systemd/systemd-executor"));
        assert!(executor("(ong-name)", "/usr/lib/systemd/systemd-executor"));
        assert!(executor("(a-rather-long)", "/usr/lib/systemd/systemd-executor"));
        assert!(!executor("(ame)", "/usr/lib/systemd/systemd-executor"));
        assert!(!executor("(p)", "/tmp/lib/systemd/systemd"));
        assert!(!executor("p", "/usr/lib/systemd/systemd"));
    }
}
