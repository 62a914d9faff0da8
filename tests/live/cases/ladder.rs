//! The ladder: the change that gives away the least is taken, and what a replay refutes is not offered.

use crate::bed::Bed;

use super::Case;
use super::support::{UNIT, assert_not_of_this_kind, assert_repaired, assert_said, start};

pub const CASES: &[Case] = &[
    Case::new("ladder::no_power", no_power),
    Case::new("ladder::soft", soft),
    Case::new("ladder::soft_refuted", soft_refuted),
    Case::new("ladder::soft_refuted_by_a_child", soft_refuted_by_a_child),
    Case::new("ladder::soft_in_part", soft_in_part),
    Case::new("ladder::the_errno_that_libraries_fall_back_on", fallback),
    Case::new("ladder::an_errno_instead_of_the_default_one", another_errno),
    Case::new("ladder::soft_needs_eyes", soft_needs_eyes).only_on(&["host"]),
    Case::new("ladder::preferred", preferred),
    Case::new("ladder::check", check),
    Case::new("ladder::high_risk", high_risk),
    Case::new("ladder::json", json).only_on(&["host", "bookworm"]),
];

const RESOURCES: &str =
    "[Service]\nExecStart=VICTIM CALLS sleep\nSystemCallFilter=~@privileged @resources @memlock\n";
const ALLOW_LIST: &str = "[Service]\nExecStart=VICTIM CALLS sleep\nSystemCallFilter=@system-service\n\
                          SystemCallFilter=~@chown @memlock\n";

/// From this version on a call on an allow list can fail with an errno of its own.
const ERRNO_ON_ALLOW_LISTS_FROM: u32 = 248;
/// From this version on what an allow list does not know fails with ENOSYS, which no call on it can be given.
const ENOSYS_IS_TAKEN_FROM: u32 = 257;

fn unit(text: &str, calls: &str) -> String {
    text.replace("CALLS", calls)
}

/// Says how often it was replayed and tried.
fn runs(said: &str) -> (usize, usize) {
    (said.matches("Replaying ").count(), said.matches("Restarting ").count())
}

fn no_power(bed: &Bed) {
    start(bed, &unit(RESOURCES, "setrlimit"));
    let output = assert_repaired(bed, &[], &["SystemCallFilter=setrlimit"]);
    let words = "  adds no power: prlimit64, which can do the same, is already allowed\n";
    assert_said(&output, 0, &["Repair: allow setrlimit (1 call more; ", words]);
    assert_eq!(runs(&output.stderr), (1, 0), "nothing can be better: {output:?}");
}

fn soft(bed: &Bed) {
    start(bed, &unit(RESOURCES, "setpriority mlock"));
    let softened = "SystemCallFilter=~mlock:EPERM setpriority:EPERM";
    let output = assert_repaired(bed, &[], &[softened]);
    assert_said(&output, 0, &["let mlock and setpriority fail with EPERM (no call more)", "it works\n"]);
    assert_eq!(runs(&output.stderr), (1, 1), "{output:?}");

    start(bed, &unit(ALLOW_LIST, "fchown mlock"));
    if bed.systemd_version() < ERRNO_ON_ALLOW_LISTS_FROM {
        let output = assert_repaired(bed, &[], &["SystemCallFilter=fchown mlock"]);
        assert_eq!(runs(&output.stderr), (1, 0), "nothing softer can be said: {output:?}");
        let output = bed.unitfix(&[UNIT, "--yes", "--prefer", "soft", "--observe", "1"]);
        assert_said(&output, 1, &["not as asked for: this systemd cannot let these calls fail"]);
        return;
    }
    let output = assert_repaired(bed, &[], &["SystemCallFilter=~fchown:EPERM mlock:EPERM"]);
    assert_said(&output, 0, &["no call of it was denied", "fchown and mlock fail softly"]);
}

fn soft_refuted(bed: &Bed) {
    start(bed, &unit(RESOURCES, "mlock! setpriority!"));
    let output = assert_repaired(bed, &[], &["SystemCallFilter=mlock setpriority"]);
    assert_said(&output, 0, &["it is not: ", "not offered, soft: ", "exit status 1"]);
    assert_eq!(runs(&output.stderr), (1, 2), "with all of them, and without the culprit: {output:?}");

    let output = bed.unitfix(&[UNIT, "--yes", "--prefer", "soft", "--observe", "1"]);
    assert_said(&output, 1, &["Repair: allow mlock and setpriority", "not offered, soft: "]);
}

/// The unit stays active, whatever becomes of its children.
fn soft_refuted_by_a_child(bed: &Bed) {
    let comm = start(bed, &unit(RESOURCES, "child every=1 setpriority!"));
    bed.wait_until("a child is killed", |bed| !bed.seccomp_records(&comm).is_empty());
    let output = assert_repaired(bed, &[], &["SystemCallFilter=setpriority"]);
    assert_said(
        &output,
        0,
        &[&format!("it is not: {comm}, which was refused setpriority, ended with status 1")],
    );
}

fn soft_in_part(bed: &Bed) {
    start(bed, &unit(RESOURCES, "setpriority mlock!"));
    let output =
        assert_repaired(bed, &[], &["SystemCallFilter=mlock", "SystemCallFilter=~setpriority:EPERM"]);
    assert_eq!(runs(&output.stderr), (1, 2), "{output:?}");
}

fn fallback(bed: &Bed) {
    // EPERM would end it
    start(bed, "[Service]\nExecStart=VICTIM pkey_alloc! sleep\nSystemCallFilter=~@pkey\n");
    let soft = ["--prefer", "soft"]; // allowing it would add no power
    assert_repaired(bed, &soft, &["SystemCallFilter=~pkey_alloc:ENOSYS"]);

    start(
        bed,
        "[Service]\nExecStart=VICTIM pkey_alloc! sleep\nSystemCallFilter=@system-service\n\
         SystemCallFilter=~pkey_alloc\n",
    );
    let softened = match bed.systemd_version() {
        ..ERRNO_ON_ALLOW_LISTS_FROM => return assert_not_of_this_kind(bed),
        ERRNO_ON_ALLOW_LISTS_FROM..ENOSYS_IS_TAKEN_FROM => "SystemCallFilter=~pkey_alloc:ENOSYS",
        _ => "SystemCallFilter=~pkey_alloc:ENOSPC", // the next best of those that it is known to be done without on
    };
    assert_repaired(bed, &soft, &[softened]);
}

/// A call that fails with the unit's default errno is not let fail with the same again.
fn another_errno(bed: &Bed) {
    let text = "[Service]\nExecStart=VICTIM pkey_alloc! setpriority! sleep\nSystemCallFilter=~@pkey @resources\n\
                SystemCallErrorNumber=EPERM\n";
    start(bed, text);
    bed.wait_until("it has failed", |bed| bed.show(UNIT, "ActiveState") == "failed");
    let output = assert_repaired(
        bed,
        &["--prefer", "soft"],
        &["SystemCallFilter=setpriority", "SystemCallFilter=~pkey_alloc:ENOSYS"],
    );
    assert_said(&output, 0, &["Repair: allow setpriority and let pkey_alloc fail with ENOSYS"]);
}

/// Without strace nobody sees what becomes of a child that is refused a call, so that is not offered; the user's check
/// is as good.
fn soft_needs_eyes(bed: &Bed) {
    start(bed, &unit(RESOURCES, "setpriority"));
    let hide = "mount --bind /dev/null /usr/bin/strace && \"$@\"";
    let run = |arguments: &[&str]| {
        let unitfix = ["unshare", "-m", "sh", "-c", hide, "sh", "env", "UNITFIX_PROC_ROOT=/run/hostproc"];
        let repair = ["/run/ut/unitfix", UNIT, "--yes", "--observe", "1"];
        bed.exec(&[&unitfix[..], &repair, arguments].concat())
    };
    let output = run(&[]);
    assert_said(&output, 1, &["that is only seen with --via strace or --check", "Repair: allow setpriority"]);
    let output = run(&["--check", "true"]);
    assert_said(&output, 1, &["it works\n", "Repair: let setpriority fail with EPERM"]);
}

fn preferred(bed: &Bed) {
    start(bed, &unit(RESOURCES, "setpriority"));
    for (kind, expected) in [
        ("exact", "SystemCallFilter=setpriority"),
        ("soft", "SystemCallFilter=~setpriority:EPERM"),
        ("family", "SystemCallFilter=nice setpriority"),
        ("group", "SystemCallFilter=@resources"),
    ] {
        let output = assert_repaired(bed, &["--prefer", kind], &[expected]);
        let tried = usize::from(kind == "soft");
        assert_eq!(runs(&output.stderr), (1, tried), "{output:?}");
    }
    // what adds no power is kept forbidden as well, if that is asked for
    start(bed, &unit(RESOURCES, "setrlimit"));
    assert_repaired(bed, &["--prefer", "soft"], &["SystemCallFilter=~setrlimit:EPERM"]);
}

/// A unit that runs, while what it is there for does not work: only the user's check shows that.
fn check(bed: &Bed) {
    let text = "[Service]\nExecStartPre=/bin/rm -f /run/rotated\nExecStart=/bin/sh -c \
                'VICTIM setpriority! && touch /run/rotated; sleep infinity'\nSystemCallFilter=~@resources\n\
                SystemCallErrorNumber=EPERM\n";
    start(bed, text);
    let works = ["--via", "strace", "--check", "test -e /run/rotated"];
    let output = bed.unitfix(&[UNIT, "--yes", "--observe", "1"]);
    assert_said(&output, 0, &["Nothing to repair"]);
    let output = assert_repaired(bed, &works, &["SystemCallFilter=setpriority"]);
    assert_said(&output, 0, &["the check fails (exit status 1)", "; the check passes."]);
    // a check that never passes has another cause
    // strace misses no child, however short it lives
    let never = ["--via", "strace", "--check", "echo no such luck; exit 9"];
    let output = bed.unitfix(&[&[UNIT, "--yes", "--observe", "1"][..], &never].concat());
    assert_said(
        &output,
        3,
        &["with every call let through, it ran, but the check fails (exit status 9): no such luck"],
    );
    bed.run(&["rm", "-f", "/run/rotated"]);
}

fn high_risk(bed: &Bed) {
    let comm = start(bed, "[Service]\nExecStart=VICTIM init_module! sleep\nSystemCallFilter=~@module\n");
    let before = bed.tree("/etc/systemd/system");
    let output = bed.unitfix(&[UNIT, "--apply", "--yes", "--observe", "1"]);
    let program = format!("stat /usr/local/bin/{comm}");
    assert_said(
        &output,
        1,
        &[
            "high risk: init_module lets a program",
            "may be compromised rather than\n  broken. Before you say yes, look:\n",
            &program,
            "journalctl --unit v.service",
            "which --yes alone does not agree to (--allow-risk high does)",
        ],
    );
    assert_eq!(bed.tree("/etc/systemd/system"), before);
    assert_repaired(bed, &["--allow-risk", "high"], &["SystemCallFilter=init_module"]);
    // what is only let fail hands over nothing
    start(bed, "[Service]\nExecStart=VICTIM init_module sleep\nSystemCallFilter=~@module\n");
    assert_repaired(bed, &[], &["SystemCallFilter=~init_module:EPERM"]);
}

fn json(bed: &Bed) {
    start(bed, &unit(RESOURCES, "setpriority mlock!"));
    let output = bed.unitfix(&[UNIT, "--yes", "--observe", "1", "--json"]);
    assert_eq!(output.status, 1, "{output:?}");
    let report: serde_json::Value = serde_json::from_str(&output.stdout).unwrap();
    let repair = &report["repair"];
    assert_eq!(repair["kind"], "soft");
    assert_eq!(repair["calls"], serde_json::json!(["mlock"]));
    assert_eq!(repair["softened"], serde_json::json!({"setpriority": "EPERM"}));
    assert_eq!(repair["adds_no_power"], false);
    assert_eq!(repair["opens"][0]["call"], "mlock");
    let kinds = |name: &str| -> Vec<String> {
        repair[name].as_array().unwrap().iter().map(|row| row["kind"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(kinds("others"), ["exact", "family", "group"]);
    assert_eq!(kinds("refuted"), ["soft"]);
    assert!(repair["refuted"][0]["proof"]["refuted"].is_string(), "{repair}");
}
