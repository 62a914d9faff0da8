//! Only what is needed: the smallest set of denied calls without which a unit does not work.

use crate::bed::Bed;

use super::Case;
use super::support::{UNIT, assert_repaired, assert_said, start};

pub const CASES: &[Case] = &[
    Case::new("minimum::two_of_ten", two_of_ten),
    Case::new("minimum::two_of_ten_without_strace", two_of_ten_without_strace).only_on(&["host", "bookworm"]),
    Case::new("minimum::errnos_that_do_not_matter", do_not_matter),
    Case::new("minimum::asked_for", asked_for),
    Case::new("minimum::declined", declined).only_on(&["host", "bookworm"]),
];

/// Ten calls fail; the two with an exclamation mark end it.
const TEN: &str = "[Service]\nExecStart=VICTIM fchown chown setpriority! mlock mlockall sched_setaffinity lchown! keyctl \
                   ioprio_set mbind sleep\nSystemCallFilter=~@chown @memlock @resources @keyring\n\
                   SystemCallErrorNumber=EPERM\n";

/// How often the unit was started, from its journal: the program's first line comes once each time.
fn starts(bed: &Bed) -> usize {
    let own = bed.journal(&[&format!("--unit={UNIT}")]);
    own.iter().filter(|entry| entry["MESSAGE"].as_str().is_some_and(|m| m.starts_with("fchown = "))).count()
}

fn two_of_ten(bed: &Bed) {
    start(bed, TEN);
    bed.wait_until("it has failed", |bed| bed.show(UNIT, "ActiveState") == "failed");
    let before = starts(bed);
    let output = bed.unitfix(&[UNIT, "--apply", "--yes", "--observe", "1"]);
    let restarts = starts(bed) - before;
    assert_said(
        &output,
        0,
        &[
            "Which of the 10 denied calls it needs takes at most 8 more runs to find out",
            "1 of at most 8: allowing nothing ... does not work",
            "It needs setpriority and lchown.",
            "left forbidden, because it works without: chown, fchown, ioprio_set, keyctl,\n    mbind, mlock, mlockall, \
             sched_setaffinity",
        ],
    );
    let drop_in = super::support::settings(bed, super::support::DROP_IN);
    assert_eq!(drop_in, ["SystemCallFilter=lchown setpriority"], "{output:?}");
    assert!((4..=8).contains(&restarts), "{restarts} restarts, the replay and the verification included");
}

/// The errnos leave no trace then, so that halving has to find them.
fn two_of_ten_without_strace(bed: &Bed) {
    start(bed, TEN);
    bed.wait_until("it has failed", |bed| bed.show(UNIT, "ActiveState") == "failed");
    let hide = "mount --bind /dev/null /usr/bin/strace && \"$@\"";
    let output = bed.exec(&[
        "unshare",
        "-m",
        "sh",
        "-c",
        hide,
        "sh",
        "env",
        "UNITFIX_PROC_ROOT=/run/hostproc",
        "/run/ut/unitfix",
        UNIT,
        "--yes",
        "--observe",
        "1",
        "--json",
    ]);
    assert_eq!(output.status, 1, "{output:?}");
    assert!(output.stderr.matches(" of at most 8: ").count() <= 8, "{output:?}");
    let report: serde_json::Value = serde_json::from_str(&output.stdout).unwrap();
    let calls: Vec<&str> =
        report["repair"]["calls"].as_array().unwrap().iter().map(|c| c.as_str().unwrap()).collect();
    assert!(calls.contains(&"lchown") && calls.contains(&"setpriority") && calls.len() <= 4, "{calls:?}");
}

fn do_not_matter(bed: &Bed) {
    start(bed, &TEN.replace('!', ""));
    let before = bed.tree("/etc/systemd/system");
    for arguments in [&[][..], &["--via", "auto"]] {
        let output = bed.unitfix(&[&[UNIT, "--apply", "--yes", "--observe", "1"][..], arguments].concat());
        assert_said(&output, 0, &["Nothing to repair"]);
    }
    assert_eq!(bed.tree("/etc/systemd/system"), before);
}

/// In a unit whose calls kill, each call that is made is needed, unless it is made in vain.
fn asked_for(bed: &Bed) {
    let text = "[Service]\nType=oneshot\nExecStart=-VICTIM mlock\nExecStart=VICTIM setpriority!\n\
                SystemCallFilter=~@memlock @resources\n";
    start(bed, text);
    let exact = ["--prefer", "exact"];
    assert_repaired(bed, &exact, &["SystemCallFilter=mlock setpriority"]);
    let output = assert_repaired(
        bed,
        &["--minimize", "--prefer", "exact", "--check", "true"],
        &["SystemCallFilter=mlock setpriority"],
    );
    assert_said(&output, 0, &["Which of the 2 denied calls it needs takes at most 3 more runs to find out"]);
}

fn declined(bed: &Bed) {
    start(bed, TEN);
    bed.wait_until("it has failed", |bed| bed.show(UNIT, "ActiveState") == "failed");
    let before = starts(bed);
    let mut terminal = bed.unitfix_on_terminal(&[UNIT, "--observe", "1", "--prefer", "exact"]);
    terminal.expect("Replay it?");
    terminal.send("y\r");
    terminal.expect("Find out?");
    terminal.send("n\r");
    terminal.expect("Write this, reload and restart?");
    terminal.send("n\r");
    let (status, said) = terminal.wait();
    assert_eq!(status, 1, "{said}");
    bed.wait_until("it has failed again", |bed| bed.show(UNIT, "ActiveState") == "failed");
    assert_eq!(starts(bed) - before, 2, "the replay, and once more to stand as failed: {said}");
}
