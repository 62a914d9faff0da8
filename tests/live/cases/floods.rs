//! A denied call in a hot loop: it does not fill the journal, hold the service up for long, or hide other calls.

use std::time::Instant;

use crate::bed::{Bed, Output};

use super::Case;
use super::support::{DROP_IN, UNIT, assert_said, settings};

pub const CASES: &[Case] = &[
    Case::new("floods::own", own).only_on(&["host", "bullseye", "sid"]).alone(),
    Case::new("floods::of_several_calls", of_several_calls).only_on(&["host"]).alone(),
    Case::new("floods::of_another_unit", of_another_unit).only_on(&["host", "bullseye"]).alone(),
    Case::new("floods::under_strace", under_strace).only_on(&["host"]).alone(),
];

/// A unit of several processes; `VICTIM` stands for the victim's path. Returns its `comm`.
fn start(bed: &Bed, script: &str, filter: &str) -> String {
    let victim = bed.own_victim();
    bed.write_file(
        "/usr/local/bin/v-flood",
        format!("#!/bin/sh\n{}\n", script.replace("VICTIM", &victim.path)),
    );
    bed.run(&["chmod", "755", "/usr/local/bin/v-flood"]);
    bed.install_unit(UNIT, &format!("[Service]\nExecStart=/usr/local/bin/v-flood\n{filter}\n"));
    bed.exec(&["systemctl", "start", UNIT]);
    bed.wait_until("it has failed", |bed| bed.show(UNIT, "ActiveState") == "failed");
    victim.comm
}

/// Repairs [`UNIT`], which must help.
fn repair(bed: &Bed, via: &str, seconds: &str) -> Output {
    let arguments = [UNIT, "--apply", "--yes", "--observe", seconds, "--via", via, "--prefer", "exact"];
    let output = bed.unitfix(&arguments);
    assert_said(&output, 0, &["Repaired: "]);
    output
}

fn take_back(bed: &Bed) {
    assert_said(&bed.unitfix(&["revert", UNIT, "--yes"]), 0, &[]);
}

/// What is denied in a loop, and what is called only after it, are both found.
fn own(bed: &Bed) {
    let script = "VICTIM hot setpriority &\nVICTIM after=1 mlock! sleep";
    let comm = start(bed, script, "SystemCallFilter=~@resources @memlock");
    let before = bed.seccomp_records(&comm).len();
    let begun = Instant::now();
    let output = repair(bed, "log", "3");
    assert_said(
        &output,
        0,
        &["repeated without the calls found so far, because it floods the kernel's log with setpriority"],
    );
    assert_eq!(settings(bed, DROP_IN), ["SystemCallFilter=mlock setpriority"]);
    let records = bed.seccomp_records(&comm).len() - before;
    eprintln!("systemd {}: {records} records in {:.1?}", bed.systemd_version(), begun.elapsed());
    assert!(records < 50_000, "{records} records of a flood are in the journal");
    take_back(bed);
}

/// One flood begins where another ends.
fn of_several_calls(bed: &Bed) {
    let script = "VICTIM hot setpriority &\nVICTIM hot setrlimit &\nVICTIM hot ioprio_set mbind &\nVICTIM after=1 mlock! sleep";
    start(bed, script, "SystemCallFilter=~@resources @memlock");
    let output = repair(bed, "log", "3");
    assert_said(&output, 0, &["floods the kernel's log"]);
    assert_eq!(settings(bed, DROP_IN), ["SystemCallFilter=ioprio_set mbind mlock setpriority setrlimit"]);
    take_back(bed);
}

/// The records of one unit stay its own while another floods, with calls that this one is denied as well.
fn of_another_unit(bed: &Bed) {
    let noisy = bed.own_victim();
    bed.install_unit(
        "noisy.service",
        &format!(
            "[Service]\nExecStart={} hot setpriority chown\nSystemCallLog=setpriority chown\n",
            noisy.path
        ),
    );
    start(bed, "exec VICTIM setrlimit! mlock! sleep", "SystemCallFilter=~@resources @memlock @chown");
    bed.run(&["systemctl", "start", "noisy"]);
    let output = repair(bed, "log", "3");
    bed.run(&["systemctl", "stop", "noisy"]);
    assert!(!output.stderr.contains("floods"), "{output:?}");
    assert_eq!(settings(bed, DROP_IN), ["SystemCallFilter=mlock setrlimit"]);
    take_back(bed);
}

/// Under strace, which slows the loop down, both are found as well.
fn under_strace(bed: &Bed) {
    let script = "VICTIM hot setpriority &\nVICTIM after=1 mlock! sleep";
    start(bed, script, "SystemCallFilter=~@resources @memlock");
    repair(bed, "strace", "5");
    assert_eq!(settings(bed, DROP_IN), ["SystemCallFilter=mlock setpriority"]);
    take_back(bed);
}
