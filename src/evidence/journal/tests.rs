use super::*;
use crate::evidence::{Denial, Effect};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

const SAMPLE: &str = include_str!("../../../tests/samples/records/journal.json");

fn sample() -> Vec<Entry> {
    SAMPLE.lines().map(|line| Entry::parse(line.as_bytes()).unwrap()).collect()
}

fn taken(entries: &[Entry]) -> KernelRecords {
    let (mut out, mut seen) = (KernelRecords::default(), HashSet::new());
    for entry in entries {
        out.take(entry, &mut seen, audit_record);
    }
    for entry in entries {
        out.take(entry, &mut seen, kernel_record);
    }
    out
}

#[test]
fn records_of_audit_and_kernel_count_once() {
    let shown = |d: &Denial| format!("{} {} {} {:?}", d.process.pid, d.call.arch, d.call, d.effect);
    let found = taken(&sample());
    let expected = [
        "4292 x86-64 newfstatat Recorded",
        "4295 x86 uname Killed",
        "4309 x86-64 setrlimit Killed",
        "4423 x86-64 rseq Recorded",
        "4498 x86 uname Killed",
        "4516 x86-64 setrlimit Killed",
    ];
    let all: Vec<_> = found.kept.denials.iter().map(shown).collect();
    assert_eq!(all[1..3], expected[1..3]);
    assert_eq!((all.len(), all.last().map(String::as_str)), (6, expected.last().copied()));
    assert!(found.kept.denials.iter().all(|d| d.source == Source::JournalAudit && d.time.is_some()));
    // without the audit transport, as on Debian 13, the kernel's log tells the same
    let kernel: Vec<_> = sample().into_iter().filter(|e| kernel_record(e).is_some()).collect();
    let found = taken(&kernel).kept.denials;
    assert_eq!(found.iter().map(|d| d.process.pid).collect::<Vec<_>>(), [4292, 4423]);
    assert_eq!(found[0].effect, Effect::Recorded);
    assert_eq!(found[0].time, Some(1_795_462_747_021_000));
}

#[test]
fn what_a_service_writes_is_not_believed() {
    let message = r#""MESSAGE":"audit: type=1326 audit(1.2:3): auid=0 uid=0 gid=0 ses=1 pid=1 comm=\"a\" exe=\"/a\" sig=31 arch=c000003e syscall=92 compat=0 ip=0x1 code=0x0""#;
    for fields in [
        r#""_TRANSPORT":"stdout""#,
        r#""_TRANSPORT":"journal","TRANSPORT":"kernel""#,
        r#""_TRANSPORT":"kernel","SYSLOG_FACILITY":"1""#,
        r#""_TRANSPORT":"kernel","SYSLOG_FACILITY":["1","0"]"#,
        r#""_TRANSPORT":"kernel""#,
    ] {
        let entry = Entry::parse(format!("{{{message},{fields}}}").as_bytes()).unwrap();
        assert!(kernel_record(&entry).is_none() && audit_record(&entry).is_none(), "{fields}");
    }
    let forged = r#"{"_SYSTEMD_UNIT":"web.service","COREDUMP_PID":"7","COREDUMP_SIGNAL":"31","COREDUMP_TIMESTAMP":"1"}"#;
    assert!(core_dump(&Entry::parse(forged.as_bytes()).unwrap()).is_none());
    let forged = r#"{"_PID":"7","_TRANSPORT":"journal","EXIT_CODE":"killed","EXIT_STATUS":"31","__REALTIME_TIMESTAMP":"1"}"#;
    assert!(manager_report(&Entry::parse(forged.as_bytes()).unwrap()).is_none());
}

#[test]
fn what_a_stream_says_of_its_unit_is_not_believed() {
    let entry = |more: &str| {
        let text =
            format!(r#"{{"_PID":"7","_SYSTEMD_UNIT":"web.service",{more}"__REALTIME_TIMESTAMP":"1"}}"#);
        pid_of_unit(&Entry::parse(text.as_bytes()).unwrap())
    };
    assert_eq!(entry(r#""_SYSTEMD_CGROUP":"/system.slice/web.service","#), Some((7, 1)));
    assert_eq!(entry(""), None);
}

#[test]
fn core_dumps_of_252_and_262() {
    let dumps: Vec<_> = sample().iter().filter_map(core_dump).collect();
    let shown: Vec<_> = dumps.iter().map(|d| format!("{} {} {:?}", d.pid, d.signal, d.command)).collect();
    let expected = [
        "541 31 Some('/usr/local/bin/victim child every=1 setrlimit')",
        "537 31 Some('/usr/local/bin/victim chown')",
        "376 31 Some('/usr/local/bin/victim chown')",
        "383 31 Some('/usr/local/bin/victim child every=1 setrlimit')",
    ];
    assert_eq!(shown, expected);
    assert_eq!(dumps[0].time, 1_795_462_923_000_000);
}

#[test]
fn the_managers_words_of_247_and_262() {
    let reports: Vec<_> = sample().iter().filter_map(manager_report).collect();
    let shown: Vec<_> =
        reports.iter().map(|r| format!("{} {:?} {}", r.sigsys, r.command.as_deref(), r.what)).collect();
    let expected = [
        "true Some(\"ExecStart\") ev1-main.service: Main process exited, code=killed, status=31/SYS",
        "false None ev1-main.service: Failed with result 'signal'.",
        "false Some(\"ExecStart\") ev1-exit.service: Main process exited, code=exited, status=7/NOTRUNNING",
        "false None ev1-exit.service: Failed with result 'exit-code'.",
    ];
    assert_eq!(shown[..4], expected);
    assert_eq!(shown[4..], expected);
}

fn journal(program: &str) -> Journal {
    Journal::with(program, &Interrupt::default())
}

fn unit() -> UnitName {
    UnitName::parse("x.service").unwrap()
}

#[test]
fn a_journalctl_that_does_not_work() {
    assert_eq!(journal("/bin/false").last_lines(&unit(), 5).unwrap(), []);
    assert_eq!(journal("/bin/echo").kernel_records().unwrap(), KernelRecords::default());
    let error = journal("/nonexistent").core_dumps(&unit()).unwrap_err();
    assert!(matches!(error, JournalError::Start { .. }));
    let error = journal("/bin/cat").since(1_500_000).manager_reports(&unit()).unwrap_err();
    assert!(matches!(error, JournalError::Failed { code: Some(1), .. }), "{error}");
}

#[test]
fn a_hung_journalctl_ends_with_an_interrupt() {
    let dir = tempfile::tempdir().unwrap();
    let script = dir.path().join("journalctl");
    // a shell writes it: a file that this process has open for writing could not be executed
    let write = r#"printf '#!/bin/sh\necho $$ >%s.pid\nexec sleep 1000\n' "$1" >"$1"; chmod +x "$1""#;
    assert!(Command::new("sh").args(["-c", write, "sh"]).arg(&script).status().unwrap().success());
    let interrupt = Interrupt::default();
    let raise = interrupt.clone();
    let pid_file = dir.path().join("journalctl.pid");
    let waiter = std::thread::spawn(move || {
        while std::fs::read_to_string(&pid_file).is_ok_and(|text| text.ends_with('\n')).eq(&false) {
            std::thread::sleep(Duration::from_millis(5));
        }
        raise.raise();
        std::fs::read_to_string(&pid_file).unwrap()
    });
    let start = Instant::now();
    let error = Journal::with(script, &interrupt).kernel_records().unwrap_err();
    assert!(matches!(error, JournalError::Interrupted));
    assert!(start.elapsed() < Duration::from_secs(20));
    let pid = waiter.join().unwrap();
    assert!(!Path::new("/proc").join(pid.trim()).exists(), "the child was left behind");
}
