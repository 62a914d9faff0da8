//! Denials that are no plain kill: those with an errno, and those of another architecture.

use crate::bed::Bed;

use super::Case;
use super::support::{UNIT, assert_repaired, start};

/// Each way of denying, replayed in every way.
macro_rules! cases {
    ($($name:literal: $text:expr => $expected:expr;)*) => {
        pub const CASES: &[Case] = &[$(
            Case::new(concat!($name, "::log"), |bed| repaired(bed, $text, "log", $expected)),
            Case::new(concat!($name, "::notify"), |bed| repaired(bed, $text, "notify", $expected)),
            Case::new(concat!($name, "::strace"), |bed| repaired(bed, $text, "strace", $expected)),
        )*];
    };
}

cases! {
    "errno::deny":
        "ExecStart=VICTIM setrlimit! sleep\nSystemCallErrorNumber=EPERM\nSystemCallFilter=~@resources\n"
        => &["SystemCallFilter=setrlimit"];
    "errno::allow":
        "ExecStart=VICTIM fchown setrlimit! sleep\nSystemCallErrorNumber=EPERM\n\
         SystemCallFilter=@system-service\nSystemCallFilter=~@resources\n"
        => &["SystemCallFilter=setrlimit"];
    // what the unit's author lets fail on purpose is what ends it
    "errno::listed":
        "ExecStart=VICTIM setrlimit! sleep\nSystemCallFilter=~@resources:EPERM\n"
        => &["SystemCallFilter=setrlimit"];
    "architecture::alone":
        "ExecStart=VICTIM i386 uname sleep\nSystemCallArchitectures=native\n"
        => &["SystemCallArchitectures=x86"];
    "architecture::filter_allows_the_call":
        "ExecStart=VICTIM i386 uname sleep\nSystemCallArchitectures=native\nSystemCallFilter=~@resources\n"
        => &["SystemCallArchitectures=x86"];
    "architecture::deny":
        "ExecStart=VICTIM i386 setpriority sleep\nSystemCallArchitectures=native\nSystemCallFilter=~@resources\n"
        => &["SystemCallFilter=setpriority", "SystemCallArchitectures=x86"];
    "architecture::allow":
        "ExecStart=VICTIM i386 mlock sleep\nSystemCallArchitectures=native\nSystemCallFilter=@system-service\n\
         SystemCallFilter=~@memlock\n"
        => &["SystemCallFilter=mlock", "SystemCallArchitectures=x86"];
}

fn repaired(bed: &Bed, text: &str, via: &str, expected: &[&str]) {
    start(bed, &format!("[Service]\n{text}"));
    bed.wait_until("it has failed", |bed| bed.show(UNIT, "ActiveState") == "failed");
    assert_repaired(bed, &["--via", via], expected);
}
