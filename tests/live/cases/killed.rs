//! unitfix is killed, where nothing can clean up behind it: the next run does, or the manager itself.

use std::time::{Duration, Instant};

use unitfix::replay::session::LIMIT;

use crate::bed::Bed;

use super::Case;
use super::support::{ACTIVE, FAILED, Snapshot, UNIT, assert_said, start_killed};

pub const CASES: &[Case] = &[
    Case::new("killed::found_by_the_next_run", found_by_the_next_run),
    Case::new("killed::ended_by_the_manager", ended_by_the_manager).only_on(&["host", "bullseye", "sid"]),
    Case::new("killed::held_while_it_lives", held_while_it_lives).only_on(&["bullseye", "sid"]),
];

const TIMER: &str = "unitfix-replay-v.service.timer";

/// Begins a replay, and kills the run in the middle of it.
fn kill_in_the_replay(bed: &Bed, via: &str) {
    let invocation = bed.show(UNIT, "InvocationID");
    let terminal = bed.unitfix_on_terminal(&[UNIT, "--yes", "--observe", "60", "--via", via]);
    bed.wait_until("the unit runs in the replay", |bed| {
        bed.show(UNIT, "ActiveState") == "active" && bed.show(UNIT, "InvocationID") != invocation
    });
    bed.run(&["sh", "-c", "kill -KILL $(cat /run/unitfix/lock/v.service)"]);
    assert_eq!(terminal.wait().0, 128 + 9);
}

fn found_by_the_next_run(bed: &Bed) {
    for (unit, words) in
        [(FAILED, "restarted, to stand as failed as it did"), (ACTIVE, "restarted under its own filter")]
    {
        for via in ["log", "notify", "strace"] {
            start_killed(bed, unit);
            let before = Snapshot::of(bed, UNIT);
            kill_in_the_replay(bed, via);
            assert_ne!(bed.tree("/run/systemd/system"), before.run(), "the replay is still in force");
            assert_said(&bed.unitfix(&["status"]), 0, &[UNIT, "left behind", "unitfix v.service"]);
            assert_eq!(bed.show(TIMER, "ActiveState"), "active");

            let output = bed.unitfix(&[UNIT, "--no-replay"]);
            // whether it was killed again by then is a matter of time
            let status = if output.status == 3 { 3 } else { 1 };
            assert_said(&output, status, &["was killed was still in force, and was taken away", words]);
            before.assert_same(bed, UNIT, via);
            assert_eq!(bed.show(TIMER, "ActiveState"), "inactive");
            assert_said(&bed.unitfix(&["status"]), 0, &["unitfix has written nothing here"]);
            bed.exec(&["systemctl", "stop", UNIT]);
        }
    }
}

/// Nobody comes: the dead man's switch.
fn ended_by_the_manager(bed: &Bed) {
    for (unit, via) in [(FAILED, "strace"), (ACTIVE, "log")] {
        start_killed(bed, unit);
        let before = Snapshot::of(bed, UNIT);
        kill_in_the_replay(bed, via);
        let killed = Instant::now();
        let invocation = bed.show(UNIT, "InvocationID");
        while bed.show(UNIT, "InvocationID") == invocation {
            let since = killed.elapsed();
            assert!(since < LIMIT + Duration::from_secs(30), "{via}: after {since:?} the replay goes on");
            std::thread::sleep(Duration::from_millis(200));
        }
        bed.wait_until("the timer's service has ended", |bed| {
            bed.show("unitfix-replay-v.service.service", "ActiveState") == "inactive"
        });
        before.assert_same(bed, UNIT, via);
        assert_said(&bed.unitfix(&["status"]), 0, &["unitfix has written nothing here"]);
        let told = bed.journal(&["_PID=1", "UNIT=unitfix-replay-v.service.service"]);
        assert!(
            told.iter()
                .any(|entry| entry.to_string().contains("v.service back under its own system call filter")),
            "{told:?}"
        );
        bed.exec(&["systemctl", "stop", UNIT]);
    }
}

/// A replay that takes longer than the manager waits for a sign of life is not ended by it.
fn held_while_it_lives(bed: &Bed) {
    start_killed(bed, FAILED);
    let before = Snapshot::of(bed, UNIT);
    let seconds = (LIMIT + Duration::from_secs(10)).as_secs().to_string();
    let output = bed.unitfix(&[UNIT, "--yes", "--observe", &seconds, "--prefer", "exact"]);
    let words =
        format!("Replaying v.service in complain mode for {seconds} s ... 1 call denied, nothing lost");
    assert_said(&output, 1, &[&words, "+SystemCallFilter=setrlimit"]);
    before.assert_same(bed, UNIT, "a long replay");
    assert_eq!(bed.show(TIMER, "ActiveState"), "inactive");
}
