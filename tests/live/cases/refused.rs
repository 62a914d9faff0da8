//! What cannot be done: one clear message, the exit status of the manual, and nothing changed.

use crate::bed::{Bed, Output};

use super::Case;
use super::support::{DROP_IN, FAILED, Snapshot, UNIT, assert_said, settings, start, start_killed};

pub const CASES: &[Case] = &[
    Case::new("refused::units", units),
    Case::new("refused::not_root", not_root),
    Case::new("refused::no_manager", no_manager),
    Case::new("refused::no_audit", no_audit),
    Case::new("refused::no_strace", no_strace),
    Case::new("refused::bad_logs", bad_logs),
    Case::new("refused::record_on_standard_input", record_on_standard_input),
];

const ENVIRONMENT: [&str; 2] = ["env", "UNITFIX_PROC_ROOT=/run/hostproc"];

/// Runs unitfix in a mount namespace of its own that a script has changed before.
fn after(bed: &Bed, script: &str, arguments: &[&str]) -> Output {
    let script = format!("{script} && exec \"$@\"");
    let shell = ["unshare", "--mount", "--propagation", "private", "sh", "-c", &script, "sh"];
    bed.exec(&[&shell[..], &ENVIRONMENT, &["/run/ut/unitfix"], arguments].concat())
}

/// One message, and no more than the diagnosis before it.
fn assert_one_message(output: &Output) {
    let messages = output.stderr.lines().filter(|line| line.starts_with("unitfix: ")).count();
    assert_eq!(messages, 1, "{output:?}");
}

fn units(bed: &Bed) {
    bed.install_unit("masked.service", "[Service]\nExecStart=/bin/true\n");
    bed.run(&["ln", "-sf", "/dev/null", "/run/systemd/system/hidden.service"]);
    bed.install_unit("template@.service", "[Service]\nExecStart=/bin/true\n");
    bed.install_unit("some.socket", "[Socket]\nListenStream=/run/some.sock\n");
    bed.install_unit("some.service", "[Service]\nExecStart=/bin/true\n");
    bed.install_unit("stops.service", "[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStop=/bin/true\n");
    bed.install_unit("section.service", "[Service\nExecStart=/bin/true\nSystemCallFilter=~@mount\n");
    bed.install_unit("value.service", "[Service]\nExecStart=relative/path\nSystemCallFilter=~@mount\n");
    bed.run(&["systemctl", "daemon-reload"]);
    let before = bed.tree("/etc/systemd/system");
    for (unit, status, words) in [
        ("nonexistent.service", 2, "nonexistent.service"),
        ("nonexistent", 2, "nonexistent.service"),
        ("hidden.service", 3, "masked"),
        ("template@.service", 2, "template@"),
        ("template@", 2, "template@"),
        ("some.mount", 2, "some.mount"),
        ("no such/file.service", 2, "no such/file.service"),
        ("../../etc/passwd", 3, "passwd"),
        ("white space.service", 2, "white space"),
        ("", 2, "name"),
        ("stops.service", 3, "ExecStart="),
        ("section.service", 3, "section.service"),
        ("value.service", 3, "value.service"),
    ] {
        let output = bed.unitfix(&[unit, "--apply", "--yes", "--observe", "1"]);
        assert_said(&output, status, &[words]);
        assert_one_message(&output);
        assert_eq!(bed.tree("/etc/systemd/system"), before, "{unit}");
    }
    // neither are there receipts of such
    assert_said(&bed.unitfix(&["revert", "nonexistent.service", "--yes"]), 0, &["wrote nothing"]);
    // what starts a service stands for it
    let meant = "some.socket starts some.service, which is meant";
    assert_said(&bed.unitfix(&["some.socket", "--apply", "--yes", "--observe", "1"]), 0, &[meant]);
    assert_said(&bed.unitfix(&["revert", "some.socket", "--yes"]), 0, &[meant, "wrote nothing"]);
    assert_eq!(bed.tree("/etc/systemd/system"), before);
}

fn not_root(bed: &Bed) {
    let nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--"];
    let unitfix =
        |arguments: &[&str]| bed.exec(&[&nobody[..], &ENVIRONMENT, &["/run/ut/unitfix"], arguments].concat());
    start_killed(bed, FAILED);
    let (before, invocation) = (Snapshot::of(bed, UNIT), bed.show(UNIT, "InvocationID"));
    let group = "sudo usermod -aG systemd-journal";
    for arguments in ["v", "v --yes", "v.service --apply --yes", "v.service --via strace --yes --json"] {
        let output = unitfix(&arguments.split(' ').collect::<Vec<_>>());
        assert_said(&output, 5, &[group, "needs root"]);
        let last = output.stderr.lines().last().unwrap_or_default();
        assert!(last.ends_with(&format!("root: sudo unitfix {arguments}")), "{last}");
    }
    assert_said(
        &unitfix(&["watch", "v", "--for", "1h"]),
        5,
        &["needs root: sudo unitfix watch v --for 1h\n"],
    );
    assert_said(
        &unitfix(&["revert", UNIT, "--yes"]),
        5,
        &["needs root: sudo unitfix revert v.service --yes\n"],
    );
    assert_said(&unitfix(&["status"]), 0, &["unitfix has written nothing here."]);
    let path = "/etc/systemd/system/v.service";
    assert_said(
        &unitfix(&[path, "--apply", "--yes", "--observe", "1"]),
        5,
        &[&format!("nothing was changed: sudo unitfix {path} --apply --yes --observe 1\n")],
    );
    assert_said(&unitfix(&["policy", UNIT, "setrlimit"]), 0, &["setrlimit: kills the process"]);
    assert_said(&unitfix(&["explain", "setrlimit", "--unit", UNIT]), 0, &["v.service forbids setrlimit"]);
    assert_said(&unitfix(&["scan"]), 5, &[group]);

    // who may read the journal is shown what it says, and what root would do
    let reader = ["setpriv", "--reuid=65534", "--regid=systemd-journal", "--clear-groups", "--"];
    let unitfix =
        |arguments: &[&str]| bed.exec(&[&reader[..], &ENVIRONMENT, &["/run/ut/unitfix"], arguments].concat());
    let shown = ["killed ", "+SystemCallFilter=setrlimit"];
    let output = unitfix(&[UNIT, "--prefer", "exact"]);
    let command = "replay and writing the repair need root: sudo unitfix v.service --prefer exact\n";
    assert_said(&output, 5, &[&shown[..], &[command]].concat());
    let output = unitfix(&[UNIT, "--no-replay", "--apply", "--yes"]);
    let command = "writing it needs root: sudo unitfix v.service --no-replay --apply --yes\n";
    assert_said(&output, 5, &[&shown[..], &[command]].concat());
    let output = unitfix(&[UNIT, "--no-replay"]);
    let command = "To write it, as root: sudo unitfix v.service --no-replay --apply\n";
    assert_said(&output, 1, &[&shown[..], &[command]].concat());
    before.assert_same(bed, UNIT, "not root");
    assert_eq!(bed.show(UNIT, "InvocationID"), invocation, "it was not restarted");
}

fn no_manager(bed: &Bed) {
    start(bed, FAILED);
    bed.run(&["cp", "/run/ut/unitfix", "/usr/local/bin/unitfix-elsewhere"]);
    let script = "mount -t tmpfs tmpfs /run";
    let shell = format!("{script} && exec /usr/local/bin/unitfix-elsewhere \"$@\"");
    for arguments in [&[UNIT][..], &[UNIT, "--apply", "--yes"], &[UNIT, "--no-replay"]] {
        let output = bed.exec(
            &[&["unshare", "--mount", "--propagation", "private", "sh", "-c", &shell, "sh"], arguments]
                .concat(),
        );
        assert_said(&output, 5, &["no systemd manager answers here", "--root"]);
        assert_one_message(&output);
    }
    bed.run(&["rm", "/usr/local/bin/unitfix-elsewhere"]);
}

/// In another network namespace than the initial one, the kernel's records do not arrive.
fn no_audit(bed: &Bed) {
    start_killed(bed, FAILED);
    let before = Snapshot::of(bed, UNIT);
    let unitfix = |arguments: &[&str]| {
        let shell = ["unshare", "--net"];
        bed.exec(
            &[&shell[..], &ENVIRONMENT, &["/run/ut/unitfix", UNIT, "--yes", "--observe", "1"], arguments]
                .concat(),
        )
    };
    let output = unitfix(&["--apply", "--via", "log"]);
    assert_said(&output, 5, &["audit"]);
    before.assert_same(bed, UNIT, "--via log without audit");
    let output = unitfix(&["--via", "notify", "--prefer", "exact"]);
    assert_said(&output, 1, &["1 call denied, nothing lost", "+SystemCallFilter=setrlimit"]);
    before.assert_same(bed, UNIT, "--via notify without audit");

    let output = unitfix(&["--apply"]);
    assert_said(&output, 0, &["Repaired: ", "cannot be seen without kernel audit"]);
    assert_eq!(settings(bed, DROP_IN), ["SystemCallFilter=setrlimit"]);
    assert_said(&bed.unitfix(&["revert", UNIT, "--yes"]), 0, &[]);

    // may not install a filter
    bed.run(&["systemctl", "stop", UNIT]);
    start_killed(bed, &format!("{FAILED}CapabilityBoundingSet=~CAP_SYS_ADMIN\n"));
    let output = unitfix(&["--apply"]);
    let why = "nor user notifications: CapabilityBoundingSet= lacks CAP_SYS_ADMIN";
    assert_said(&output, 0, &["strace was taken", "audit", why, "Repaired: "]);
    assert_eq!(settings(bed, DROP_IN), ["SystemCallFilter=setrlimit"]);
    assert_said(&bed.unitfix(&["revert", UNIT, "--yes"]), 0, &[]);
    bed.run(&["systemctl", "stop", UNIT]);
}

fn no_strace(bed: &Bed) {
    start_killed(bed, FAILED);
    let before = Snapshot::of(bed, UNIT);
    let hide = "mount --bind /dev/null /usr/bin/strace";
    let output = after(bed, hide, &[UNIT, "--apply", "--yes", "--observe", "1", "--via", "strace"]);
    assert_said(&output, 5, &["strace is not installed", "apt install strace"]);
    assert_one_message(&output);
    before.assert_same(bed, UNIT, "without strace");
    // and where there is no audit, and the unit may install no filter
    bed.run(&["systemctl", "stop", UNIT]);
    start_killed(bed, &format!("{FAILED}CapabilityBoundingSet=~CAP_SYS_ADMIN\n"));
    let before = Snapshot::of(bed, UNIT);
    let hide_both = format!("{hide} && exec unshare --net \"$@\"");
    let output = after(bed, &hide_both, &[UNIT, "--apply", "--yes", "--observe", "1"]);
    assert_said(
        &output,
        5,
        &["strace is not installed", "audit", "CapabilityBoundingSet= lacks CAP_SYS_ADMIN"],
    );
    before.assert_same(bed, UNIT, "with none of them");
}

/// Whatever is in a log that the user names, it is read to its end, and believed only where it holds records.
fn bad_logs(bed: &Bed) {
    start_killed(bed, FAILED);
    let before = Snapshot::of(bed, UNIT);
    let record = bed.seccomp_records(&killed(bed)).remove(0);
    let garbage: Vec<u8> = (0..200_000_u32).map(|n| n.wrapping_mul(2_654_435_761).to_be_bytes()[1]).collect();
    let mut huge = b"type=SECCOMP msg=audit(1700000000.123:4): ".to_vec();
    huge.resize(20_000_000, b'A');
    let cut = record.as_bytes()[..record.len() / 2].to_vec();
    for (name, bytes) in [
        ("garbage", garbage),
        ("empty", Vec::new()),
        ("huge line", huge),
        ("cut", cut),
        ("nul", vec![0; 100_000]),
        ("gzip", b"\x1f\x8b\x08\0\0\0\0\0\0\x03\x01\0\0\xff\xff\0\0\0\0\0\0\0\0".to_vec()),
    ] {
        bed.write_file("/run/v.log", &bytes);
        let output = bed.unitfix(&[UNIT, "--no-replay", "--log", "/run/v.log"]);
        // the journal still tells of the kill
        assert_said(
            &output,
            1,
            &["/run/v.log holds no record of a forbidden call", "+SystemCallFilter=setrlimit"],
        );
        let output = bed.exec_with(
            &[&ENVIRONMENT[..], &["/run/ut/unitfix", UNIT, "--no-replay", "--log", "-"]].concat(),
            &bytes,
        );
        assert_said(&output, 1, &["+SystemCallFilter=setrlimit"]);
        before.assert_same(bed, UNIT, name);
    }
    for path in ["/nonexistent/log", "/run", "/run/ut"] {
        let output = bed.unitfix(&[UNIT, "--no-replay", "--log", path]);
        assert_said(&output, 2, &[path]);
        assert_one_message(&output);
    }
}

/// The program that [`UNIT`] runs.
fn killed(bed: &Bed) -> String {
    let unit = bed.read_file("/etc/systemd/system/v.service");
    let path = unit.split_once("ExecStart=").unwrap().1.split_whitespace().next().unwrap().to_owned();
    path.rsplit('/').next().unwrap().to_owned()
}

fn record_on_standard_input(bed: &Bed) {
    // never started here: only the log that is given knows of it
    let victim = bed.own_victim();
    bed.install_unit(
        UNIT,
        &format!("[Service]\nExecStart={} chown sleep\nSystemCallFilter=~@chown\n", victim.path),
    );
    let before = Snapshot::of(bed, UNIT);
    let now = bed.run(&["date", "+%s"]); // of what was before the unit file, nothing counts
    let record = format!(
        "type=SECCOMP msg=audit({now}.999:4): auid=4294967295 uid=0 gid=0 ses=4294967295 subj=unconfined \
         pid=77 comm=\"{}\" exe=\"{}\" sig=31 arch=c000003e syscall=92 compat=0 ip=0x7f0000000000 code=0x80000000\n",
        victim.comm, victim.path
    );
    let unitfix = |input: &str| {
        let command = [&ENVIRONMENT[..], &["/run/ut/unitfix", UNIT, "--no-replay", "--log", "-"]].concat();
        bed.exec_with(&command, input.as_bytes())
    };
    assert_said(&unitfix(&record), 1, &["chown", "+SystemCallFilter=chown", "Nothing was changed"]);
    // somebody else's call is not this unit's
    let output = unitfix(&record.replace(&victim.comm, "other"));
    assert!(!output.stdout.contains("Repair:"), "{output:?}");
    before.assert_same(bed, UNIT, "from standard input");
    assert_eq!(bed.show(UNIT, "InvocationID"), "", "it was not started");
}
