//! From the logs alone; a second repair, other people's drop-ins, and taking back.

use crate::bed::Bed;

use super::Case;
use super::support::{ACTIVE, DROP_IN, FAILED, Snapshot, UNIT, assert_said, settings, start_killed};

pub const CASES: &[Case] = &[
    Case::new("evidence::no_replay", no_replay),
    Case::new("evidence::second_repair", second_repair),
    Case::new("evidence::edited_by_hand", edited_by_hand),
    Case::new("evidence::denied_again_after_ours", denied_again_after_ours),
    Case::new("evidence::moved_behind_another", moved_behind_another),
];

const YES: [&str; 5] = [UNIT, "--apply", "--yes", "--observe", "1"];

fn no_replay(bed: &Bed) {
    for unit in [FAILED, ACTIVE] {
        start_killed(bed, unit);
        let (before, invocation) = (Snapshot::of(bed, UNIT), bed.show(UNIT, "InvocationID"));
        let output = bed.unitfix(&[UNIT, "--no-replay"]);
        assert_said(&output, 1, &["killed", "+SystemCallFilter=setrlimit", "Nothing was changed"]);
        assert!(!output.stderr.contains("Replaying"), "{output:?}");
        before.assert_same(bed, UNIT, "from the logs alone");
        assert_eq!(bed.show(UNIT, "InvocationID"), invocation, "it was not restarted");
        bed.exec(&["systemctl", "stop", UNIT]);
    }
}

/// The program, after an upgrade, makes another call: what is there already is kept.
fn second_repair(bed: &Bed) {
    bed.write_file("/run/v.calls", "CALLS=setrlimit\n");
    start_killed(
        bed,
        "[Service]\nEnvironmentFile=/run/v.calls\nExecStart=VICTIM $CALLS sleep\n\
         SystemCallFilter=~@resources @chown\n",
    );
    let before = bed.tree("/etc/systemd/system");
    assert_said(&bed.unitfix(&YES), 0, &["Repaired: "]);
    assert_eq!(settings(bed, DROP_IN), ["SystemCallFilter=setrlimit"]);

    bed.write_file("/run/v.calls", "CALLS=setrlimit chown\n");
    bed.exec(&["systemctl", "restart", UNIT]);
    bed.wait_until("it has failed", |bed| bed.show(UNIT, "ActiveState") == "failed");
    let output = bed.unitfix(&[&YES[..], &["--prefer", "exact"]].concat());
    assert_said(
        &output,
        0,
        &["Repaired: ", "-SystemCallFilter=setrlimit", "+SystemCallFilter=chown setrlimit"],
    );
    assert_eq!(settings(bed, DROP_IN), ["SystemCallFilter=chown setrlimit"]);
    assert_eq!(bed.tree("/etc/systemd/system/v.service.d").len(), 1);
    assert_said(
        &bed.unitfix(&["status"]),
        0,
        &["v.service", "in place", "seen to work", "chown and setrlimit"],
    );

    assert_said(&bed.unitfix(&["revert", UNIT, "--yes"]), 0, &["as it was before unitfix"]);
    assert_eq!(bed.tree("/etc/systemd/system"), before, "the state before the first");
    assert_said(&bed.unitfix(&["status"]), 0, &["unitfix has written nothing here"]);
}

fn edited_by_hand(bed: &Bed) {
    start_killed(bed, FAILED);
    assert_said(&bed.unitfix(&YES), 0, &["Repaired: "]);
    let edited = format!("{}# by hand\n", bed.read_file(DROP_IN));
    bed.write_file(DROP_IN, &edited);
    assert_said(&bed.unitfix(&["revert", UNIT, "--yes"]), 3, &[DROP_IN, "left alone"]);
    assert_eq!(bed.read_file(DROP_IN), edited);
    assert_said(&bed.unitfix(&["status", UNIT]), 0, &["changed"]);
    // what is there now is what the next repair begins with
    bed.run(&["systemctl", "daemon-reload"]);
    assert_said(&bed.unitfix(&YES), 0, &["Nothing to repair"]);
    assert_eq!(bed.read_file(DROP_IN), edited);

    bed.run(&["rm", DROP_IN]);
    assert_said(&bed.unitfix(&["status", UNIT]), 0, &["gone"]);
    let said = [DROP_IN, " is as it was before unitfix already", "Taken back"];
    assert_said(&bed.unitfix(&["revert", UNIT, "--yes"]), 0, &said);
    assert_said(&bed.unitfix(&["status"]), 0, &["unitfix has written nothing here"]);
}

/// Somebody's drop-in with a name behind ours denies the call: our file has to sort behind it.
fn denied_again_after_ours(bed: &Bed) {
    let theirs = "/etc/systemd/system/v.service.d/zzz-local.conf";
    let text = "[Service]\nSystemCallFilter=~setrlimit\n";
    bed.write_file(theirs, text);
    start_killed(bed, FAILED);
    let before = bed.tree("/etc/systemd/system");
    assert_said(&bed.unitfix(&YES), 0, &["Repaired: "]);
    let folder = bed.tree("/etc/systemd/system/v.service.d");
    let names: Vec<_> = folder.keys().map(|path| path.to_str().unwrap()).collect();
    assert!(
        names.len() == 2 && names[0] == "zzz-local.conf" && names[1].ends_with("unitfix.conf"),
        "{names:?}"
    );
    assert_eq!(bed.read_file(theirs), text);
    assert_said(&bed.unitfix(&["revert", UNIT, "--yes"]), 0, &[]);
    assert_eq!(bed.tree("/etc/systemd/system"), before);
}

/// The same, but their drop-in comes after a repair: our file moves.
fn moved_behind_another(bed: &Bed) {
    start_killed(bed, FAILED);
    let before = bed.tree("/etc/systemd/system");
    assert_said(&bed.unitfix(&YES), 0, &["Repaired: "]);
    let theirs = "/etc/systemd/system/v.service.d/zzz-local.conf";
    bed.write_file(theirs, "[Service]\nSystemCallFilter=~setrlimit\n");
    bed.run(&["systemctl", "daemon-reload"]);
    bed.exec(&["systemctl", "restart", UNIT]);
    bed.wait_until("it has failed", |bed| bed.show(UNIT, "ActiveState") == "failed");
    assert_said(&bed.unitfix(&YES), 0, &["Repaired: "]);
    let folder = bed.tree("/etc/systemd/system/v.service.d");
    let names: Vec<_> = folder.keys().map(|path| path.to_str().unwrap()).collect();
    assert!(
        names.len() == 2 && names[0] == "zzz-local.conf" && names[1].ends_with("unitfix.conf"),
        "{names:?}"
    );

    let output = bed.unitfix(&["revert", UNIT, "--yes"]);
    assert_said(&output, 0, &[]);
    let folder = bed.tree("/etc/systemd/system/v.service.d");
    assert_eq!(folder.len(), 1, "{folder:?}");
    bed.run(&["rm", "-r", "/etc/systemd/system/v.service.d"]);
    assert_eq!(bed.tree("/etc/systemd/system"), before);
    bed.run(&["systemctl", "daemon-reload"]);
}
