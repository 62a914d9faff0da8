//! Whatever goes wrong after the yes: bytes and state are put back, and it is said what was wrong.

use std::time::Duration;

use crate::bed::{Bed, Output};

use super::Case;
use super::support::{
    DROP_IN, FAILED, Snapshot, UNIT, assert_said, records_of_every_call, start, start_killed,
};

pub const CASES: &[Case] = &[
    Case::new("apply_errors::name_that_systemd_ignores", name_that_systemd_ignores),
    Case::new("apply_errors::manager_reads_it_otherwise", manager_reads_it_otherwise),
    Case::new("apply_errors::call_without_a_name", call_without_a_name),
    Case::new("apply_errors::still_denied", |bed| does_not_help(bed, "mlock sleep", "still denied: mlock")),
    Case::new("apply_errors::fails_otherwise", |bed| does_not_help(bed, "exit=7", "exit status 7")),
    Case::new("apply_errors::interrupted_verification", interrupted_verification),
    Case::new("apply_errors::changed_in_between", changed_in_between),
    Case::new("apply_errors::read_only", read_only),
    Case::new("apply_errors::full_disk", full_disk),
    Case::new("apply_errors::no_room_for_receipts", no_room_for_receipts),
    Case::new("apply_errors::second_run", second_run),
    Case::new("apply_errors::full_run", full_run).only_on(&["host", "bookworm"]),
    Case::new("apply_errors::unit_vanishes", unit_vanishes),
    Case::new("apply_errors::manager_does_not_answer", manager_does_not_answer).only_on(&["host"]),
];

const YES: [&str; 5] = [UNIT, "--apply", "--yes", "--observe", "1"];

/// Runs unitfix in a mount namespace of its own that a script has changed before; `after` is run there at the end,
/// and what it prints comes behind a line `AFTER`.
fn in_namespace(bed: &Bed, before: &str, after: &str) -> Output {
    let script = format!(
        "{before} && {{ UNITFIX_PROC_ROOT=/run/hostproc /run/ut/unitfix {}; status=$?; echo AFTER; {after}; exit $status; }}",
        YES.join(" ")
    );
    bed.exec(&["unshare", "--mount", "--propagation", "private", "sh", "-c", &script])
}

/// A call with a name, of Linux 6.17, that the libseccomp of older systems does not know: the manager ignores it.
fn name_that_systemd_ignores(bed: &Bed) {
    // the same call of another bed's unit could be this one's, for all that its record says
    let _alone = records_of_every_call();
    bed.install_unit("probe.service", "[Service]\nExecStart=/bin/true\nSystemCallFilter=~file_getattr\n");
    let known = bed.show("probe.service", "SystemCallFilter").contains("file_getattr");
    bed.run(&["rm", "/etc/systemd/system/probe.service"]);
    start(
        bed,
        "[Service]\nExecStart=VICTIM nr=468 sleep\nSystemCallFilter=@system-service\nSystemCallFilter=~file_getattr\n",
    );
    let softly = bed.systemd_version() >= 257 && !known;
    let state = if softly { "active" } else { "failed" };
    bed.wait_until("it has started", |bed| bed.show(UNIT, "ActiveState") == state);
    let before = Snapshot::of(bed, UNIT);
    let output = bed.unitfix(&YES);
    if known {
        assert_said(&output, 0, &["+SystemCallFilter=~file_getattr:EPERM", "Repaired: "]);
        assert_said(&bed.unitfix(&["revert", UNIT, "--yes"]), 0, &[]);
        bed.run(&["systemctl", "stop", UNIT]);
    } else if softly {
        assert_said(&output, 0, &["Nothing to repair"]);
        before.assert_same(bed, UNIT, "a call that fails softly");
    } else {
        assert_said(&output, 3, &["No repair can be offered", "no name for file_getattr"]);
        before.assert_same(bed, UNIT, "a name that systemd ignores");
    }
}

/// Something else comes in between the plan and the reload: what the manager then has is not what was planned.
fn manager_reads_it_otherwise(bed: &Bed) {
    start_killed(bed, FAILED);
    let mut terminal = bed.unitfix_on_terminal(&[UNIT, "--apply", "--no-replay"]);
    terminal.expect("Write this");
    terminal.expect("[y/N");
    bed.write_file(
        "/run/systemd/system/v.service.d/zzz-late.conf",
        "[Service]\nSystemCallFilter=~setrlimit\n",
    );
    let before = Snapshot::of(bed, UNIT);
    terminal.send("y\r");
    let (status, text) = terminal.wait();
    assert_eq!(status, 4, "{text}");
    assert!(text.contains("read the change differently") && text.contains("setrlimit"), "{text}");
    before.assert_same(bed, UNIT, "the manager reads it otherwise");
}

/// A call that nothing has a name for. From systemd 257 on such a call fails, and kills nobody.
fn call_without_a_name(bed: &Bed) {
    start(bed, "[Service]\nExecStart=VICTIM nr=600 sleep\nSystemCallFilter=@system-service\n");
    let softly = bed.systemd_version() >= 257;
    let state = if softly { "active" } else { "failed" };
    bed.wait_until("it has started", |bed| bed.show(UNIT, "ActiveState") == state);
    let before = Snapshot::of(bed, UNIT);
    let output = bed.unitfix(&YES);
    if softly {
        assert_said(&output, 0, &["Nothing to repair"]);
    } else {
        assert_said(&output, 3, &["No repair can be offered", "600"]);
    }
    before.assert_same(bed, UNIT, "a call without a name");
}

/// A unit that works in the replay, and with the repair, on its next start, does something else.
fn does_not_help(bed: &Bed, later: &str, words: &str) {
    let victim = bed.own_victim();
    // starts: the first, the replay, and then the one that is to show that the repair helps
    let script = format!(
        "#!/bin/sh\nread starts </run/v.starts\ncase $starts in xxx) exec {0} setrlimit {later};; \
         *) exec {0} setrlimit sleep;; esac\n",
        victim.path
    );
    bed.write_file("/usr/local/bin/v-later", script);
    bed.run(&["chmod", "755", "/usr/local/bin/v-later"]);
    bed.write_file("/run/v.starts", "\n");
    bed.install_unit(
        UNIT,
        "[Service]\nExecStartPre=+/bin/sh -c 'read n </run/v.starts; echo x$$n >/run/v.starts'\n\
         ExecStart=/usr/local/bin/v-later\nSystemCallFilter=~@resources @memlock\n",
    );
    bed.exec(&["systemctl", "start", UNIT]);
    bed.wait_until("it has failed", |bed| bed.show(UNIT, "ActiveState") == "failed");
    let before = Snapshot::of(bed, UNIT);
    let output = bed.unitfix(&YES);
    assert_said(
        &output,
        4,
        &["+SystemCallFilter=setrlimit", "rolled back", words, "everything is as it was"],
    );
    before.assert_same(bed, UNIT, "a repair that does not help");
    assert_said(&bed.unitfix(&["status"]), 0, &["unitfix has written nothing here"]);
}

fn interrupted_verification(bed: &Bed) {
    start_killed(bed, FAILED);
    let before = Snapshot::of(bed, UNIT);
    let mut terminal = bed.unitfix_on_terminal(&[UNIT, "--apply", "--no-replay", "--observe", "20"]);
    terminal.expect("Write this");
    terminal.expect("[y/N");
    terminal.send("y\r");
    bed.wait_until("the repaired unit runs", |bed| bed.show(UNIT, "ActiveState") == "active");
    terminal.interrupt();
    let (status, text) = terminal.wait();
    assert_eq!(status, 130, "{text}");
    assert!(text.contains("everything is as it was"), "{text}");
    before.assert_same(bed, UNIT, "Ctrl-C in the verification");
}

/// A text of a terminal, which wraps it, as one line.
fn in_one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn changed_in_between(bed: &Bed) {
    start_killed(bed, FAILED);
    let others = "# somebody else's\n[Service]\nNice=1\n";
    let mut terminal = bed.unitfix_on_terminal(&[UNIT, "--apply", "--no-replay"]);
    terminal.expect("Write this");
    terminal.expect("[y/N");
    bed.write_file(DROP_IN, others);
    let before = Snapshot::of(bed, UNIT);
    let invocation = bed.show(UNIT, "InvocationID");
    terminal.send("y\r");
    let (status, text) = terminal.wait();
    assert_eq!(status, 5, "{text}");
    let words = in_one_line(&text);
    assert!(words.contains("changed by somebody else") && words.contains(DROP_IN), "{text}");
    assert_eq!(bed.read_file(DROP_IN), others);
    before.assert_same(bed, UNIT, "changed in between");
    assert_eq!(bed.show(UNIT, "InvocationID"), invocation, "it was not restarted");
}

fn read_only(bed: &Bed) {
    start_killed(bed, FAILED);
    let before = Snapshot::of(bed, UNIT);
    let output = in_namespace(bed, "mount --bind /etc /etc && mount -o remount,bind,ro /etc", "true");
    assert_said(&output, 5, &["+SystemCallFilter=setrlimit", "Read-only file system", "nothing was changed"]);
    before.assert_same(bed, UNIT, "/etc is read-only");
}

/// Room for a folder, and none for a file in it.
fn full_disk(bed: &Bed) {
    let victim = bed.own_victim();
    let text = FAILED.replace("VICTIM", &victim.path);
    bed.write_file("/run/systemd/system/v.service", text);
    bed.run(&["systemctl", "daemon-reload"]);
    bed.exec(&["systemctl", "start", UNIT]);
    bed.wait_until("it has failed", |bed| bed.show(UNIT, "ActiveState") == "failed");
    let before = Snapshot::of(bed, UNIT);
    let fill = "mount -t tmpfs -o mode=755,size=4k tmpfs /etc/systemd/system && head -c 4096 /dev/zero >/etc/systemd/system/filler";
    let output = in_namespace(bed, fill, "find /etc/systemd/system");
    assert_said(
        &output,
        5,
        &["+SystemCallFilter=setrlimit", "No space left on device", "nothing was changed"],
    );
    let (_, left) = output.stdout.split_once("AFTER\n").unwrap();
    assert_eq!(left, "/etc/systemd/system\n/etc/systemd/system/filler\n");
    before.assert_same(bed, UNIT, "the disk is full");
}

fn no_room_for_receipts(bed: &Bed) {
    start_killed(bed, FAILED);
    let before = Snapshot::of(bed, UNIT);
    let fill = "mount -t tmpfs -o mode=755,size=4k tmpfs /var/lib && head -c 4096 /dev/zero >/var/lib/filler";
    let output = in_namespace(bed, fill, "find /var/lib -type f");
    assert_said(&output, 5, &["receipt", "No space left on device", "nothing was changed"]);
    let (_, left) = output.stdout.split_once("AFTER\n").unwrap();
    assert_eq!(left, "/var/lib/filler\n");
    before.assert_same(bed, UNIT, "there is no room for the receipt");
}

/// No room for the note of a replay, and none for its drop-in.
fn full_run(bed: &Bed) {
    start_killed(bed, FAILED);
    let before = Snapshot::of(bed, UNIT);
    for folder in ["/run/unitfix/replay", "/run/systemd/system/v.service.d"] {
        let fill = format!(
            "mkdir -p {folder} && mount -t tmpfs -o size=4k,mode=755 tmpfs {folder} && head -c 4096 /dev/zero >{folder}/filler"
        );
        let output = in_namespace(bed, &fill, &format!("ls {folder}"));
        assert_said(&output, 5, &["no replay: ", "No space left on device"]);
        let (_, left) = output.stdout.split_once("AFTER\n").unwrap();
        assert_eq!(left, "filler\n");
        bed.exec(&["rmdir", "/run/systemd/system/v.service.d"]);
        before.assert_same(bed, UNIT, folder);
        assert_said(&bed.unitfix(&["status"]), 0, &["unitfix has written nothing here"]);
    }
}

/// Somebody removes the unit at one of the questions.
fn unit_vanishes(bed: &Bed) {
    for (question, arguments) in
        [("Replay it?", &[UNIT, "--observe", "1"][..]), ("Write this", &[UNIT, "--no-replay"])]
    {
        start_killed(bed, FAILED);
        let mut terminal = bed.unitfix_on_terminal(arguments);
        terminal.expect(question);
        terminal.expect("[y/N");
        bed.run(&["rm", "/etc/systemd/system/v.service"]);
        bed.run(&["systemctl", "daemon-reload"]);
        let before = (bed.tree("/etc/systemd/system"), bed.tree("/run/systemd/system"));
        terminal.send("y\r");
        let (status, text) = terminal.wait();
        assert!(matches!(status, 3..=5), "{status}: {text}");
        assert!(!text.contains("panicked") && text.contains("v.service"), "{text}");
        assert_eq!((bed.tree("/etc/systemd/system"), bed.tree("/run/systemd/system")), before, "{text}");
        assert_said(&bed.unitfix(&["status"]), 0, &["unitfix has written nothing here"]);
    }
}

/// PID 1 hangs when the repair is written, and for longer than anybody waits.
fn manager_does_not_answer(bed: &Bed) {
    start_killed(bed, FAILED);
    let before = Snapshot::of(bed, UNIT);
    let mut terminal = bed.unitfix_on_terminal(&[UNIT, "--apply", "--no-replay"]);
    terminal.expect("Write this");
    terminal.expect("[y/N");
    bed.signal_manager("STOP");
    terminal.send("y\r");
    let (status, text) = terminal.wait_for(Duration::from_mins(6));
    bed.signal_manager("CONT");
    assert_eq!(status, 5, "{text}");
    assert!(text.contains("systemd did not reload its unit files"), "{text}");
    let words = in_one_line(&text);
    assert!(words.contains("the files are as they were, but v.service may not be"), "{text}");
    // the files are as they were; whether systemd has read the others is not known
    assert_eq!(bed.exec(&["test", "-e", DROP_IN]).status, 1);
    assert_said(&bed.unitfix(&["status"]), 0, &[UNIT, "left behind by a run that was killed"]);
    let output = bed.unitfix(&[UNIT, "--no-replay"]);
    assert_said(&output, 1, &["leftover-repair", "the repair was taken back"]);
    before.assert_same(bed, UNIT, "the manager does not answer");
}

/// While the first waits at a question.
fn second_run(bed: &Bed) {
    start_killed(bed, FAILED);
    let before = Snapshot::of(bed, UNIT);
    let mut terminal = bed.unitfix_on_terminal(&[UNIT]);
    terminal.expect("[y/N");
    let holder = bed.run(&["cat", "/run/unitfix/lock/v.service"]);
    for arguments in [&YES[..], &[UNIT, "--no-replay"], &["revert", UNIT, "--yes"]] {
        assert_said(&bed.unitfix(arguments), 5, &["another unitfix", &format!("process {holder}"), UNIT]);
    }
    terminal.send("n\r");
    terminal.expect("Write this");
    terminal.send("n\r");
    assert_eq!(terminal.wait().0, 1);
    before.assert_same(bed, UNIT, "two at once");
}
