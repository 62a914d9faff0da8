//! Failures that the filter has nothing to do with, and units that are well: nothing is proposed.

use crate::bed::Bed;

use super::Case;
use super::support::{Snapshot, UNIT, assert_said, no_records_of_others, start};

pub const CASES: &[Case] = &[
    Case::new("other_causes::exit_status", |bed| {
        other_cause(
            bed,
            "/bin/sh -c 'echo the disk is on fire >&2; exit 1'",
            &["exit-code", "exit status 1", "the disk is on fire"],
        );
    }),
    Case::new("other_causes::missing_program", |bed| {
        other_cause(bed, "/nonexistent/program", &["exit-code", "exit status 203", "/nonexistent/program"]);
    }),
    Case::new("other_causes::read_only_file_system", |bed| {
        other_cause(
            bed,
            "/bin/sh -c 'echo x >/etc/unitfix-cannot-write-here'\nProtectSystem=strict",
            &["exit-code", "exit status 2", "Read-only file system"],
        );
    }),
    Case::new("other_causes::other_signal", |bed| {
        other_cause(bed, "/bin/sh -c 'echo about to fall; kill -SEGV $$$$'", &["SIGSEGV", "about to fall"]);
    }),
    Case::new("other_causes::healthy", healthy).alone(),
    Case::new("other_causes::soft_denials", soft_denials),
];

const FILTERS: [&str; 2] = [
    "SystemCallFilter=@system-service\nSystemCallFilter=~@resources\n",
    "SystemCallFilter=~@resources @mount\n",
];

fn other_cause(bed: &Bed, command: &str, words: &[&str]) {
    for filter in FILTERS {
        start(bed, &format!("[Service]\nExecStart={command}\n{filter}"));
        bed.wait_until("it has failed", |bed| bed.show(UNIT, "ActiveState") == "failed");
        let before = Snapshot::of(bed, UNIT);
        let output = bed.unitfix(&[UNIT, "--apply", "--yes", "--observe", "1"]);
        assert_said(&output, 3, words);
        assert!(!output.stdout.contains("Repair:"), "{output:?}");
        before.assert_same(bed, UNIT, "after a diagnosis");

        // and from the logs alone, without a restart
        let invocation = bed.show(UNIT, "InvocationID");
        let output = bed.unitfix(&[UNIT, "--apply", "--yes", "--no-replay"]);
        assert_said(&output, 3, &words[..1]);
        assert!(!output.stdout.contains("Repair:"), "{output:?}");
        before.assert_same(bed, UNIT, "after a diagnosis from the logs");
        assert_eq!(bed.show(UNIT, "InvocationID"), invocation, "it was not restarted");
    }
}

/// Units that no other case is about: what happened to `v.service` before is on record.
const HEALTHY: &str = "well.service";
const SOFT_DENIALS: &str = "soft.service";

fn start_as(bed: &Bed, unit: &str, text: &str) {
    let victim = bed.own_victim();
    bed.install_unit(unit, &text.replace("VICTIM", &victim.path));
    bed.run(&["systemctl", "start", unit]);
}

/// Each bed's journal also holds the records of other beds, so these filters are unlike any other case's.
fn healthy(bed: &Bed) {
    let _quiet = no_records_of_others();
    for filter in ["SystemCallFilter=@system-service\n", "SystemCallFilter=~kcmp quotactl\n"] {
        start_as(bed, HEALTHY, &format!("[Service]\nExecStart=VICTIM uname sleep\n{filter}"));
        let (before, invocation) = (Snapshot::of(bed, HEALTHY), bed.show(HEALTHY, "InvocationID"));
        let output = bed.unitfix(&[HEALTHY, "--apply", "--yes", "--observe", "1"]);
        assert_said(&output, 0, &["Nothing to repair"]);
        assert_eq!(bed.show(HEALTHY, "InvocationID"), invocation, "it was not restarted");
        // asked for by name, a replay takes place and finds nothing
        for via in ["log", "notify", "strace"] {
            let output = bed.unitfix(&[HEALTHY, "--apply", "--yes", "--observe", "1", "--via", via]);
            assert_said(&output, 0, &["Replaying", "Nothing to repair"]);
            before.assert_same(bed, HEALTHY, via);
        }
        bed.exec(&["systemctl", "stop", HEALTHY]);
    }
}

/// A denied call that fails with an errno, in a program that does not mind. No other case, and no other suite,
/// makes these calls.
fn soft_denials(bed: &Bed) {
    let _quiet = no_records_of_others();
    let [a, b, c] = match bed.suite {
        "host" => ["mbind", "getpriority", "sync"],
        "bullseye" => ["set_mempolicy", "ioprio_set", "sched_setscheduler"],
        "bookworm" => ["pkey_alloc", "pkey_mprotect", "mlockall"],
        "trixie" => ["userfaultfd", "add_key", "perf_event_open"],
        _ => ["unshare", "setns", "clock_settime"],
    };
    for (call, filter) in [
        (a, format!("SystemCallErrorNumber=EPERM\nSystemCallFilter=~{a}\n")),
        (
            b,
            format!("SystemCallErrorNumber=EPERM\nSystemCallFilter=@system-service\nSystemCallFilter=~{b}\n"),
        ),
        (c, format!("SystemCallFilter=~{c}:EPERM\n")),
    ] {
        start_as(bed, SOFT_DENIALS, &format!("[Service]\nExecStart=VICTIM {call} sleep\n{filter}"));
        let (before, invocation) = (Snapshot::of(bed, SOFT_DENIALS), bed.show(SOFT_DENIALS, "InvocationID"));
        let output = bed.unitfix(&[SOFT_DENIALS, "--apply", "--yes", "--observe", "1"]);
        assert_said(&output, 0, &["Nothing to repair"]);
        let now = bed.show(SOFT_DENIALS, "InvocationID");
        assert_eq!(now, invocation, "it was not restarted: {output:?}");
        for via in ["log", "notify", "strace"] {
            let output = bed.unitfix(&[SOFT_DENIALS, "--apply", "--yes", "--observe", "1", "--via", via]);
            assert_said(&output, 0, &["Replaying", call, "Nothing to repair"]);
            before.assert_same(bed, SOFT_DENIALS, via);
        }
        bed.exec(&["systemctl", "stop", SOFT_DENIALS]);
    }
}
