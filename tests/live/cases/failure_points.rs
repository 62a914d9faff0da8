//! unitfix fails, or is killed, at each of its failure points. Whatever happens, the configuration is the old or the
//! new one, byte for byte; the unit is in its former state, or in the new one that was verified; and what is left of
//! unitfix `status` says, and the next run puts right.

use std::collections::BTreeMap;

use crate::bed::{Bed, Output};
use crate::tree::Tree;

use super::Case;
use super::support::{ACTIVE, DROP_IN, FAILED, Snapshot, UNIT, assert_said, start_killed};

pub const CASES: &[Case] = &[
    Case::new("failure_points::repair", repair).only_on(&["host"]),
    Case::new("failure_points::replay", replay).only_on(&["host"]),
    Case::new("failure_points::repair_active", repair_active).only_on(&["host"]),
    Case::new("failure_points::trials", trials).only_on(&["host"]),
    Case::new("failure_points::roll_back", roll_back).only_on(&["host"]),
    Case::new("failure_points::second_repair", second_repair).only_on(&["host"]),
    Case::new("failure_points::revert", revert).only_on(&["host"]),
];

/// What is done, and fails.
struct Deed<'a> {
    arguments: &'a [&'a str],
    modes: &'a [&'a str],
    /// Makes everything as it was before the deed, from what the deed makes of it.
    again: &'a dyn Fn(&Bed),
    /// What makes it necessary, before each time.
    provoke: &'a dyn Fn(&Bed),
    /// What a run is told to do that comes after one that was killed.
    next: &'a [&'a str],
}

/// The point that is passed when the repair has its name.
const WRITTEN: &str = "sync the folder of /etc/systemd/system/v.service.d/zz-unitfix.conf";

/// The ways to fail: once, from then on, and by `kill -9`. What has many points is not failed in all of them.
const MODES: [&str; 3] = ["error", "errors", "kill"];

/// Everything below /etc/systemd/system that counts for the manager: what a killed run was writing does not.
fn configuration(bed: &Bed) -> Tree {
    let mut tree = bed.tree("/etc/systemd/system");
    tree.retain(|path, _| {
        let name = path.file_name().unwrap_or_default();
        name != "v.service.d" && !name.as_encoded_bytes().starts_with(b".unitfix-")
    });
    for node in tree.values_mut() {
        node.forget_lines_with("# Written by unitfix"); // on that day, which may be over before the case is
    }
    tree
}

/// How everything is once the unit has come to rest: a restarted one is active first, and killed then.
fn settled(bed: &Bed) -> Snapshot {
    let look = |bed: &Bed| ["ActiveState", "InvocationID"].map(|property| bed.show(UNIT, property));
    let (mut last, mut looks) = (look(bed), 0);
    bed.wait_until("it has come to rest", |bed| {
        let now = look(bed);
        looks = if now == last { looks + 1 } else { 0 };
        last = now;
        looks == 3
    });
    Snapshot::of(bed, UNIT)
}

/// Does it with a failure at each point, in each way.
fn at_every_point(bed: &Bed, what: &str, deed: &Deed) {
    bed.unitfix(deed.arguments); // folders are made only once
    (deed.again)(bed);
    let before = settled(bed);
    let old = configuration(bed);
    let list = "/run/failure-points";
    bed.exec(&["rm", "-f", list]);
    bed.unitfix_failing(&format!("list:{list}"), deed.arguments);
    let points = bed.run(&["cat", list]);
    let after = settled(bed);
    let mut allowed = vec![old, configuration(bed)];
    (deed.again)(bed);
    before.assert_same(bed, UNIT, what);
    if points.contains(WRITTEN) {
        // of what is rolled back, nothing is left in the end
        bed.unitfix_failing(&format!("kill:1:{WRITTEN}"), deed.arguments);
        allowed.push(configuration(bed));
        bed.unitfix(deed.next);
        if settled(bed) == after {
            (deed.again)(bed);
        }
        before.assert_same(bed, UNIT, what);
    }

    let mut passed: BTreeMap<&str, usize> = BTreeMap::new();
    let (mut runs, mut missed) = (0, 0);
    for point in points.lines() {
        let number = passed.entry(point).or_default();
        *number += 1;
        for mode in deed.modes {
            runs += 1;
            (deed.provoke)(bed);
            let failure = format!("{mode}:{number}:{point}");
            let output = bed.unitfix_failing(&failure, deed.arguments);
            let said = format!("{}{}", output.stdout, output.stderr);
            assert!(!said.contains("panicked"), "{what}: {failure}: {said}");
            assert!(allowed.contains(&configuration(bed)), "{what}: {failure}: between: {said}");
            if *mode == "kill" && output.status != 137 {
                missed += 1;
                // how often the manager is asked while the unit is watched is a matter of time
                assert!(
                    point.starts_with("have the manager describe"),
                    "{what}: {failure} was not passed: {said}"
                );
            }
            let quiet = settled(bed);
            if quiet == after {
                (deed.again)(bed);
            } else if quiet != before {
                put_right(bed, deed, &failure, &output, &before, &after);
            }
            before.assert_same(bed, UNIT, &format!("{what}: {failure}: {said}"));
        }
    }
    let points: usize = passed.values().sum();
    eprintln!("{what}: {points} failure points, {runs} runs ({missed} ended before theirs)");
}

/// The run left something: that is said, and the next one puts it right.
fn put_right(bed: &Bed, deed: &Deed, failure: &str, output: &Output, before: &Snapshot, after: &Snapshot) {
    let status = bed.unitfix(&["status"]);
    let said = format!("{}{}", output.stdout, output.stderr);
    let nothing = "unitfix has written nothing here";
    assert!(!status.stdout.contains(nothing), "{failure}: nothing is said of what is left\n{said}");
    let next = bed.unitfix(deed.next);
    assert!(!format!("{next:?}").contains("panicked"), "{failure}: {next:?}");
    if settled(bed) == *after {
        (deed.again)(bed);
    }
    let words = format!(
        "{failure}\n{said}\n== status\n{}\n== the next run\n{}{}",
        status.stdout, next.stdout, next.stderr
    );
    before.assert_same(bed, UNIT, &words);
}

fn take_back(bed: &Bed) {
    assert_said(&bed.unitfix(&["revert", UNIT, "--yes"]), 0, &[]);
    fail_again(bed);
}

fn fail_again(bed: &Bed) {
    bed.exec(&["systemctl", "reset-failed", UNIT]);
    bed.exec(&["systemctl", "restart", UNIT]);
    bed.wait_until("it has failed again", |bed| bed.show(UNIT, "ActiveState") == "failed");
}

/// A repair that is made from the logs alone.
const REPAIR: [&str; 8] = [UNIT, "--apply", "--yes", "--observe", "1", "--no-replay", "--prefer", "exact"];
const LOOK: &[&str] = &[UNIT, "--no-replay"];

/// All of it, one after the other.
fn repair(bed: &Bed) {
    start_killed(bed, FAILED);
    let arguments = [UNIT, "--apply", "--yes", "--observe", "1", "--prefer", "exact"];
    let deed =
        Deed { arguments: &arguments, modes: &["kill"], provoke: &|_| (), again: &take_back, next: LOOK };
    at_every_point(bed, "repair", &deed);
}

fn replay(bed: &Bed) {
    start_killed(bed, ACTIVE);
    let arguments = [UNIT, "--yes", "--observe", "1", "--prefer", "exact"];
    let deed = Deed {
        arguments: &arguments,
        modes: &["error", "kill"],
        provoke: &|_| (),
        again: &|_| (),
        next: LOOK,
    };
    at_every_point(bed, "replay", &deed);
}

fn repair_active(bed: &Bed) {
    let comm = start_killed(bed, ACTIVE);
    let again = |bed: &Bed| assert_said(&bed.unitfix(&["revert", UNIT, "--yes"]), 0, &[]);
    // it may have been restarted just now, and only what is denied since then counts
    let provoke = |bed: &Bed| {
        let so_far = bed.seccomp_records(&comm).len();
        bed.wait_until("it is killed again", |bed| bed.seccomp_records(&comm).len() > so_far);
    };
    at_every_point(
        bed,
        "repair of an active unit",
        &Deed { arguments: &REPAIR, modes: &MODES, provoke: &provoke, again: &again, next: LOOK },
    );
}

/// A replay under strace, and trials, without a repair at the end.
fn trials(bed: &Bed) {
    start_killed(bed, "[Service]\nExecStart=VICTIM setpriority sleep\nSystemCallFilter=~@resources\n");
    let arguments = [UNIT, "--yes", "--observe", "1", "--via", "strace", "--prefer", "soft"];
    at_every_point(
        bed,
        "trials",
        &Deed { arguments: &arguments, modes: &["kill"], provoke: &|_| (), again: &|_| (), next: LOOK },
    );
}

/// With the repair, the unit fails otherwise.
fn roll_back(bed: &Bed) {
    start_killed(bed, "[Service]\nExecStart=VICTIM setrlimit exit=7\nSystemCallFilter=~@resources\n");
    let output = bed.unitfix(&REPAIR);
    assert_said(&output, 4, &["rolled back", "exit status 7"]);
    at_every_point(
        bed,
        "roll back",
        &Deed { arguments: &REPAIR, modes: &["error", "kill"], provoke: &|_| (), again: &|_| (), next: LOOK },
    );
}

/// A repair on top of another, which was made for a call that is made no more.
fn second_repair(bed: &Bed) {
    bed.write_file("/run/v.calls", "CALLS=setrlimit\n");
    start_killed(
        bed,
        "[Service]\nEnvironmentFile=/run/v.calls\nExecStart=VICTIM $CALLS sleep\nSystemCallFilter=~@resources @chown\n",
    );
    let first = |bed: &Bed| {
        bed.write_file("/run/v.calls", "CALLS=setrlimit\n");
        assert_said(&bed.unitfix(&REPAIR), 0, &["Repaired: "]);
        bed.write_file("/run/v.calls", "CALLS=setrlimit chown\n");
        fail_again(bed);
    };
    first(bed);
    let again = |bed: &Bed| {
        bed.write_file("/run/v.calls", "CALLS=setrlimit\n");
        assert_said(&bed.unitfix(&["revert", UNIT, "--yes"]), 0, &[]);
        // what was denied before the unit was changed does not count
        bed.run(&["touch", "/etc/systemd/system/v.service"]);
        bed.run(&["systemctl", "daemon-reload"]);
        fail_again(bed);
        first(bed);
    };
    at_every_point(
        bed,
        "second repair",
        &Deed { arguments: &REPAIR, modes: &["kill"], provoke: &fail_again, again: &again, next: LOOK },
    );
}

fn revert(bed: &Bed) {
    start_killed(bed, FAILED);
    let repair = |bed: &Bed| {
        assert_said(&bed.unitfix(&REPAIR), 0, &["Repaired: "]);
        assert!(bed.read_file(DROP_IN).contains("SystemCallFilter=setrlimit"));
    };
    repair(bed);
    let arguments = ["revert", UNIT, "--yes"];
    at_every_point(
        bed,
        "revert",
        &Deed { arguments: &arguments, modes: &MODES, provoke: &|_| (), again: &repair, next: &arguments },
    );
}
