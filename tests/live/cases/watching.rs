//! `unitfix watch`: complain mode over a working period.

use std::time::{Duration, Instant};

use serde_json::Value;
use unitfix::replay::session::LIMIT;

use crate::bed::{Bed, Output};

use super::Case;
use super::support::{ACTIVE, DROP_IN, FAILED, Snapshot, UNIT, assert_said, settings, start, start_killed};

pub const CASES: &[Case] = &[
    Case::new("watching::ended_by_the_manager", ended_by_the_manager).only_on(&["host", "bullseye"]),
    Case::new("watching::held_while_it_lives", held_while_it_lives).only_on(&["bookworm"]),
    Case::new("watching::late_call", late_call),
    Case::new("watching::restarted_meanwhile", restarted_meanwhile),
    Case::new("watching::stopped_and_started", stopped_and_started).only_on(&["host", "bookworm", "sid"]),
    Case::new("watching::started_by_its_timer", started_by_its_timer).only_on(&["host", "bullseye"]),
    Case::new("watching::interrupted", interrupted),
    Case::new("watching::terminated", terminated).only_on(&["host", "bookworm"]),
    Case::new("watching::declined", declined).only_on(&["host", "bookworm"]),
    Case::new("watching::until_idle", until_idle).only_on(&["host", "bookworm"]),
    Case::new("watching::json", json),
    Case::new("watching::nothing_denied", nothing_denied).only_on(&["host", "bookworm"]),
    Case::new("watching::found_by_the_next_run", found_by_the_next_run).only_on(&["host", "trixie"]),
    Case::new("watching::refused", refused).only_on(&["host"]),
    Case::new("watching::flood", flood).only_on(&["host"]).alone(),
];

/// Makes its call only after a replay would be over.
const LATE: &str = "[Service]\nExecStart=VICTIM after=4 setrlimit sleep\nSystemCallFilter=~@resources\n";
/// Never denied anything.
const QUIET: &str = "[Service]\nExecStart=VICTIM sleep\nSystemCallFilter=~@resources\n";

const TIMER: &str = "unitfix-replay-v.service.timer";

fn is_watched(bed: &Bed) -> bool {
    bed.tree("/run/systemd/system").keys().any(|path| path.ends_with("zz-unitfix-replay.conf"))
}

/// Begins a watch, and waits until the unit runs in it.
fn begin(bed: &Bed, arguments: &[&str]) -> crate::terminal::Terminal {
    let invocation = bed.show(UNIT, "InvocationID");
    let terminal = bed.unitfix_on_terminal(&[&["watch", UNIT], arguments].concat());
    bed.wait_until("the unit runs in the watch", |bed| {
        is_watched(bed)
            && bed.show(UNIT, "ActiveState") == "active"
            && bed.show(UNIT, "InvocationID") != invocation
    });
    terminal
}

/// A call that comes only with time is found and repaired; nothing is tried of it in runs that are too short for it.
fn late_call(bed: &Bed) {
    start_killed(bed, LATE);
    let arguments = ["watch", UNIT, "--for", "6s", "--observe", "1", "--apply", "--yes"];
    let output = bed.unitfix(&arguments);
    assert_said(
        &output,
        0,
        &["Watching v.service in complain mode for 6s", "1 call denied, nothing lost", "Repaired: "],
    );
    assert!(output.stdout.contains("  denied   "), "a line for the kind of call: {output:?}");
    assert!(!output.stderr.contains("to see whether it is enough"), "{output:?}");
    assert_eq!(settings(bed, DROP_IN), ["SystemCallFilter=setrlimit"]);
    assert_said(&bed.unitfix(&["revert", UNIT, "--yes"]), 0, &[]);
}

/// By the administrator, and by systemd after its main process was killed.
fn restarted_meanwhile(bed: &Bed) {
    let text = "[Service]\nExecStart=VICTIM after=1 child every=1 setrlimit sleep\nRestart=always\n\
                RestartSec=1\nSystemCallFilter=~@resources\n";
    let comm = start(bed, text);
    bed.wait_until("a record of the kill", |bed| !bed.seccomp_records(&comm).is_empty());
    let before = Snapshot::of(bed, UNIT);
    let mut terminal = begin(bed, &["--yes", "--for", "60s", "--prefer", "exact"]);
    terminal.expect("setrlimit");
    bed.run(&["systemctl", "restart", UNIT]);
    terminal.expect("v.service was "); // started or restarted, as it was seen
    bed.run(&["systemctl", "kill", "--signal=KILL", UNIT]);
    terminal.expect("v.service failed (signal, killed by SIGKILL); it is waited for");
    terminal.expect("v.service was started");
    terminal.interrupt();
    let (status, text) = terminal.wait();
    assert_eq!(status, 1, "{text}");
    assert!(text.contains("it was started again 2 times meanwhile"), "{text}");
    assert!(text.contains("+SystemCallFilter=setrlimit"), "{text}");
    before.assert_same(bed, UNIT, "restarted in a watch");
}

/// What somebody stops stays so, and what somebody starts is watched.
fn stopped_and_started(bed: &Bed) {
    start_killed(bed, ACTIVE);
    let mut terminal = begin(bed, &["--yes", "--for", "60s", "--prefer", "exact"]);
    bed.run(&["systemctl", "stop", UNIT]);
    terminal.expect("v.service is not running any more");
    bed.run(&["systemctl", "start", UNIT]);
    terminal.expect("v.service was started");
    bed.run(&["systemctl", "stop", UNIT]);
    terminal.expect("v.service is not running any more");
    terminal.interrupt();
    let (status, text) = terminal.wait();
    assert_eq!(status, 1, "{text}");
    assert!(text.contains("+SystemCallFilter=setrlimit"), "{text}");
    assert!(!is_watched(bed));
    assert_eq!(bed.show(UNIT, "ActiveState"), "inactive", "it was stopped by somebody");
}

/// A unit that is down is not started, but watched once its timer does.
fn started_by_its_timer(bed: &Bed) {
    let victim = bed.own_victim();
    let text = format!(
        "[Service]\nType=oneshot\nExecStart={} child setrlimit\nSystemCallFilter=~@resources\n",
        victim.path
    );
    bed.install_unit(UNIT, &text);
    bed.install_unit("v.timer", "[Timer]\nOnActiveSec=3\nAccuracySec=100ms\n");
    let arguments = ["watch", UNIT, "--for", "60s", "--yes", "--prefer", "exact"];
    let mut terminal = bed.unitfix_on_terminal(&arguments);
    terminal.expect("A watch takes the system call filter of v.service away");
    bed.wait_until("it is watched", is_watched);
    assert_eq!(bed.show(UNIT, "ActiveState"), "inactive", "it was started");
    bed.run(&["systemctl", "start", "v.timer"]);
    terminal.expect("setrlimit");
    terminal.interrupt();
    let (status, text) = terminal.wait();
    assert_eq!(status, 1, "{text}");
    assert!(text.contains("+SystemCallFilter=setrlimit"), "{text}");
    assert_eq!(bed.show(UNIT, "ActiveState"), "inactive");
    assert!(!is_watched(bed));
}

/// Ctrl-C ends the watch, and not the run: the plan and the question follow.
fn interrupted(bed: &Bed) {
    for (unit, state) in [(ACTIVE, "active"), (FAILED, "failed")] {
        start_killed(bed, unit);
        let before = Snapshot::of(bed, UNIT);
        let mut terminal = bed.unitfix_on_terminal(&["watch", UNIT, "--observe", "1", "--prefer", "exact"]);
        terminal.expect("Watch it? [y/N]");
        terminal.send("y\r");
        terminal.expect("v.service in complain mode, ");
        terminal.expect("  CALL ");
        terminal.expect("setrlimit");
        terminal.interrupt();
        terminal.expect("ended because it was interrupted");
        terminal.expect("+SystemCallFilter=setrlimit");
        terminal.expect("Write this, reload and restart? [y/N");
        assert!(!is_watched(bed));
        terminal.interrupt();
        let (status, text) = terminal.wait();
        assert_eq!(status, 1, "{text}");
        assert!(!text.contains("panicked"), "{text}");
        before.assert_same(bed, UNIT, "after Ctrl-C");
        assert_eq!(bed.show(UNIT, "ActiveState"), state);
        assert_eq!(bed.show(TIMER, "ActiveState"), "inactive");

        let mut terminal = bed.unitfix_on_terminal(&["watch", UNIT, "--observe", "1", "--prefer", "exact"]);
        terminal.expect("Watch it? [y/N]");
        terminal.send("y\r");
        terminal.expect("setrlimit");
        terminal.expect("1 kind of call denied");
        terminal.interrupt();
        terminal.expect("Write this, reload and restart? [y/N");
        terminal.send("y\r");
        let (status, text) = terminal.wait();
        assert_eq!(status, 0, "{text}");
        assert_eq!(settings(bed, DROP_IN), ["SystemCallFilter=setrlimit"]);
        assert_said(&bed.unitfix(&["revert", UNIT, "--yes"]), 0, &[]);
        bed.exec(&["systemctl", "stop", UNIT]);
    }
}

/// SIGTERM and a hang-up end all of it.
fn terminated(bed: &Bed) {
    start_killed(bed, ACTIVE);
    let before = Snapshot::of(bed, UNIT);
    for hang_up in [false, true] {
        let mut terminal = begin(bed, &["--apply", "--yes"]);
        if hang_up {
            terminal.hang_up();
        } else {
            bed.run(&["sh", "-c", "kill -TERM $(cat /run/unitfix/lock/v.service)"]);
        }
        let (status, text) = terminal.wait();
        assert_eq!(status, 130, "{text}");
        before.assert_same(bed, UNIT, "after a signal");
        assert_eq!(bed.show(TIMER, "ActiveState"), "inactive");
    }
}

fn declined(bed: &Bed) {
    start_killed(bed, ACTIVE);
    let before = Snapshot::of(bed, UNIT);
    let invocation = bed.show(UNIT, "InvocationID");
    let mut terminal = bed.unitfix_on_terminal(&["watch", UNIT, "--for", "1h"]);
    terminal.expect("A watch restarts v.service, runs it without");
    terminal.expect("Watch it? [y/N]");
    terminal.send("\r");
    assert_eq!(terminal.wait().0, 1);
    assert_said(&bed.unitfix(&["watch", UNIT, "--for", "1h"]), 1, &["there is no terminal to ask on"]);
    before.assert_same(bed, UNIT, "declined");
    assert_eq!(bed.show(UNIT, "InvocationID"), invocation, "it was restarted");
}

fn until_idle(bed: &Bed) {
    start_killed(bed, ACTIVE);
    let before = Snapshot::of(bed, UNIT);
    let begun = Instant::now();
    let output = bed.unitfix(&["watch", UNIT, "--until-idle", "3s", "--yes", "--prefer", "exact"]);
    let words = ["ended because no new kind of call came for 3s", "+SystemCallFilter=setrlimit"];
    assert_said(&output, 1, &words);
    assert!(begun.elapsed() >= Duration::from_secs(3));
    let again = "To write it: unitfix watch v.service --until-idle 3s --prefer exact --apply";
    assert_said(&output, 1, &[again]);
    before.assert_same(bed, UNIT, "until it was idle");
}

fn events(output: &Output) -> Vec<Value> {
    output.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// One object a line, and nothing else on standard output.
fn json(bed: &Bed) {
    let comm = start_killed(bed, ACTIVE);
    let arguments = ["watch", UNIT, "--for", "4s", "--yes", "--prefer", "exact", "--json"];
    let output = bed.unitfix(&arguments);
    let events = events(&output);
    let named = |name: &str| events.iter().filter(|event| event["event"] == name).collect::<Vec<_>>();
    assert_eq!((events[0]["event"].as_str(), events[0]["seconds"].as_u64()), (Some("begun"), Some(4)));
    let denied = named("denied");
    assert_eq!((&denied[0]["call"], &denied[0]["program"]), (&"setrlimit".into(), &comm.as_str().into()));
    assert!(denied.iter().all(|event| event["kind"] == 1), "{output:?}");
    let last = denied.last().unwrap();
    assert!(last["count"].as_u64().unwrap() >= 2, "it is made every second: {output:?}");
    assert_eq!(named("ended")[0]["because"], "time");
    let report = events.last().unwrap();
    assert_eq!((&report["event"], &report["exit_status"]), (&"report".into(), &1.into()));
    assert_eq!(report["replay"]["engine"], "log");
    assert!(report["diff"].as_str().unwrap().contains("+SystemCallFilter=setrlimit"), "{report}");
    assert_eq!(output.status, 1);
}

fn nothing_denied(bed: &Bed) {
    start(bed, QUIET);
    let before = Snapshot::of(bed, UNIT);
    let output = bed.unitfix(&["watch", UNIT, "--for", "2s", "--yes", "--apply"]);
    assert_said(
        &output,
        0,
        &["0 calls denied, nothing lost; running", "Nothing to repair: no call of it is denied"],
    );
    before.assert_same(bed, UNIT, "nothing denied");
}

fn kill(bed: &Bed, terminal: crate::terminal::Terminal) {
    bed.run(&["sh", "-c", "kill -KILL $(cat /run/unitfix/lock/v.service)"]);
    assert_eq!(terminal.wait().0, 128 + 9);
}

fn found_by_the_next_run(bed: &Bed) {
    for stopped in [false, true] {
        start_killed(bed, ACTIVE);
        let before = Snapshot::of(bed, UNIT);
        let terminal = begin(bed, &["--yes"]);
        if stopped {
            bed.run(&["systemctl", "stop", UNIT]);
        }
        kill(bed, terminal);
        assert!(is_watched(bed));
        let output = bed.unitfix(&[UNIT, "--no-replay"]);
        assert_said(&output, output.status, &["was killed was still in force, and was taken away"]);
        assert!(!is_watched(bed));
        if stopped {
            assert_eq!(bed.show(UNIT, "ActiveState"), "inactive", "somebody stopped it");
        } else {
            before.assert_same(bed, UNIT, "found by the next run");
        }
        bed.exec(&["systemctl", "stop", UNIT]);
    }
}

/// Nobody comes: the dead man's switch.
fn ended_by_the_manager(bed: &Bed) {
    start_killed(bed, ACTIVE);
    let before = Snapshot::of(bed, UNIT);
    let terminal = begin(bed, &["--yes"]);
    let invocation = bed.show(UNIT, "InvocationID");
    kill(bed, terminal);
    let killed = Instant::now();
    while bed.show(UNIT, "InvocationID") == invocation {
        let since = killed.elapsed();
        assert!(since < LIMIT + Duration::from_secs(30), "after {since:?} the watch goes on");
        std::thread::sleep(Duration::from_millis(200));
    }
    bed.wait_until("the timer's service has ended", |bed| {
        bed.show("unitfix-replay-v.service.service", "ActiveState") == "inactive"
    });
    before.assert_same(bed, UNIT, "ended by the manager");
}

/// A watch that takes longer than the manager waits for a sign of life is not ended by it.
fn held_while_it_lives(bed: &Bed) {
    start_killed(bed, ACTIVE);
    let before = Snapshot::of(bed, UNIT);
    let seconds = format!("{}s", (LIMIT + Duration::from_secs(10)).as_secs());
    let output = bed.unitfix(&["watch", UNIT, "--for", &seconds, "--yes", "--prefer", "exact"]);
    assert_said(&output, 1, &["ended because the time is up", "+SystemCallFilter=setrlimit"]);
    before.assert_same(bed, UNIT, "a long watch");
    assert_eq!(bed.show(TIMER, "ActiveState"), "inactive");
}

fn refused(bed: &Bed) {
    let victim = bed.own_victim();
    bed.install_unit(UNIT, &format!("[Service]\nExecStart={} sleep\n", victim.path));
    assert_said(&bed.unitfix(&["watch", UNIT, "--yes"]), 3, &["has no SystemCallFilter=", "--via strace"]);
    assert_said(&bed.unitfix(&["watch", "./v.service", "--yes"]), 2, &["only what a service manager runs"]);
    assert_said(&bed.unitfix(&["watch", UNIT, "--root", "/"]), 2, &["nothing runs below a root folder"]);
    assert_said(&bed.unitfix(&["watch", UNIT, "--for", "soon"]), 2, &["write a span of time"]);
    assert_said(&bed.unitfix(&["watch", "none.service", "--yes"]), 2, &["none.service"]);
}

/// What floods is found, and not recorded any more; what comes later is found as well.
fn flood(bed: &Bed) {
    let victim = bed.own_victim();
    let script = format!("#!/bin/sh\n{0} hot setpriority &\n{0} after=2 mlock! sleep\n", victim.path);
    bed.write_file("/usr/local/bin/v-flood", script);
    bed.run(&["chmod", "755", "/usr/local/bin/v-flood"]);
    bed.install_unit(
        UNIT,
        "[Service]\nExecStart=/usr/local/bin/v-flood\nSystemCallFilter=~@resources @memlock\n",
    );
    bed.exec(&["systemctl", "start", UNIT]);
    bed.wait_until("it has failed", |bed| bed.show(UNIT, "ActiveState") == "failed");
    let before = bed.seccomp_records(&victim.comm).len();
    let output = bed.unitfix(&[
        "watch",
        UNIT,
        "--for",
        "6s",
        "--yes",
        "--apply",
        "--observe",
        "3",
        "--prefer",
        "exact",
    ]);
    assert_said(
        &output,
        0,
        &["not recorded any more is what floods the kernel's log: setpriority", "Repaired: "],
    );
    assert_eq!(settings(bed, DROP_IN), ["SystemCallFilter=mlock setpriority"]);
    let records = bed.seccomp_records(&victim.comm).len() - before;
    assert!(records < 50_000, "{records} records of a flood are in the journal");
    assert_said(&bed.unitfix(&["revert", UNIT, "--yes"]), 0, &[]);
}
