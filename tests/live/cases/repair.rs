//! Every kind of service, under allow and deny lists: one replay, one verification, and exactly the calls that the
//! program makes.

use crate::bed::{Bed, Victim};

use super::Case;
use super::support::{Snapshot, assert_said};

/// A kind of service.
struct Kind {
    /// The unit file's name, and the unit's where it is an instance of that.
    file: &'static str,
    unit: &'static str,
    /// The unit file; `VICTIM` stands for the victim's path.
    text: &'static str,
    /// The calls that the repair must allow, sorted.
    calls: &'static str,
    /// Whether a working unit stays active.
    stays: bool,
}

/// Each kind, replayed in every way.
macro_rules! kinds {
    ($($name:ident: $kind:expr;)*) => {
        pub const CASES: &[Case] = &[$(
            Case::new(concat!("repair::", stringify!($name), "::log"), |bed| repair(bed, &$kind, "log")),
            Case::new(concat!("repair::", stringify!($name), "::notify"), |bed| notified(bed, &$kind)),
            Case::new(concat!("repair::", stringify!($name), "::strace"), |bed| repair(bed, &$kind, "strace")),
        )*];
    };
}

const fn service(text: &'static str, calls: &'static str, stays: bool) -> Kind {
    Kind { file: "v.service", unit: "v.service", text, calls, stays }
}

kinds! {
    simple_deny: service(
        "[Service]\nExecStart=VICTIM setrlimit sleep\nSystemCallFilter=~@privileged @resources\n",
        "setrlimit", true);
    simple_allow: service(
        "[Service]\nExecStart=VICTIM fchown mlock setrlimit sleep\nSystemCallFilter=@system-service\n\
         SystemCallFilter=~@chown @memlock\n",
        "fchown mlock", true);
    narrow_allow: service(
        "[Service]\nExecStart=VICTIM bpf swapon sleep\nSystemCallFilter=@system-service mprotect\n",
        "bpf swapon", true);
    oneshot: service(
        "[Service]\nType=oneshot\nExecStart=VICTIM setpriority\nExecStart=VICTIM chown\n\
         SystemCallFilter=~@resources @chown\n",
        "chown setpriority", false);
    notify: service(
        "[Service]\nType=notify\nExecStart=VICTIM setrlimit notify sleep\nSystemCallFilter=~@resources\n",
        "setrlimit", true);
    forking: service(
        "[Service]\nType=forking\nPIDFile=/run/v.pid\nExecStart=VICTIM forking pidfile=/run/v.pid setrlimit\n\
         SystemCallFilter=~@resources\n",
        "setrlimit", true);
    instance: Kind {
        file: "v@.service",
        unit: "v@one.service",
        text: "[Service]\nExecStart=VICTIM setrlimit sleep\nSyslogIdentifier=%i\nSystemCallFilter=~@resources\n",
        calls: "setrlimit",
        stays: true,
    };
    user: service(
        "[Service]\nUser=nobody\nExecStart=VICTIM chown sleep\nSystemCallFilter=~@chown\n",
        "chown", true);
    dynamic_user: service(
        "[Service]\nDynamicUser=yes\nExecStart=VICTIM lchown sleep\nSystemCallFilter=~@chown\n",
        "lchown", true);
    protect_system: service(
        "[Service]\nProtectSystem=strict\nPrivateTmp=yes\nProtectHome=yes\nNoNewPrivileges=yes\n\
         ExecStart=VICTIM setrlimit sleep\nSystemCallFilter=~@resources\n",
        "setrlimit", true);
    no_capabilities: service(
        "[Service]\nCapabilityBoundingSet=\nExecStart=VICTIM sched_setaffinity sleep\nSystemCallFilter=~@resources\n",
        "sched_setaffinity", true);
    start_pre: service(
        "[Service]\nExecStartPre=VICTIM setpriority\nExecStart=VICTIM uname sleep\nSystemCallFilter=~@resources\n",
        "setpriority", true);
    child: service(
        "[Service]\nExecStart=VICTIM child every=1 setrlimit sleep\nSystemCallFilter=~@resources\n",
        "setrlimit", true);
    five: service(
        "[Service]\nExecStart=VICTIM setrlimit setpriority chown mlock keyctl sleep\n\
         SystemCallFilter=~@resources @chown @memlock @keyring\n",
        "chown keyctl mlock setpriority setrlimit", true);
}

fn repair(bed: &Bed, kind: &Kind, via: &str) {
    let victim = bed.own_victim();
    install(bed, kind, &victim);
    bed.exec(&["systemctl", "start", kind.unit]);
    if kind.file != kind.unit || kind.text.contains(" child ") {
        bed.wait_until("the first kill", |bed| !bed.seccomp_records(&victim.comm).is_empty());
    }
    let (etc, run) = (bed.tree("/etc/systemd/system"), bed.tree("/run/systemd/system"));

    let repair = [kind.unit, "--apply", "--yes", "--observe", "2", "--via", via, "--prefer", "exact"];
    if kind.calls.contains("bpf") {
        let output = bed.unitfix(&repair);
        assert_eq!(output.status, 1, "a call that hands over the system: {output:?}");
        assert_eq!(bed.tree("/etc/systemd/system"), etc, "nothing is written");
    }
    let output = bed.unitfix(&[&repair[..], &["--allow-risk", "high"]].concat());
    assert_eq!(output.status, 0, "{output:?}");
    assert_eq!(output.stderr.matches("Replaying").count(), 1, "{output:?}");
    assert!(!output.stderr.contains("repeated"), "{output:?}");

    let drop_in = bed.read_file(&format!("/etc/systemd/system/{}.d/zz-unitfix.conf", kind.unit));
    let lines: Vec<&str> = drop_in.lines().collect();
    let (reason, rest) = lines.split_first().unwrap();
    assert!(reason.starts_with("# Written by unitfix "), "{drop_in}");
    let undo = format!("# Undo: unitfix revert {}", kind.unit);
    assert_eq!(rest, [undo.as_str(), "[Service]", &format!("SystemCallFilter={}", kind.calls)], "{drop_in}");

    assert_eq!(bed.tree("/run/systemd/system"), run, "nothing of the replay is left");
    assert_eq!(bed.show(kind.unit, "ActiveState"), if kind.stays { "active" } else { "inactive" });
    assert_eq!(bed.show(kind.unit, "Result"), "success");

    let output = bed.unitfix(&["revert", kind.unit, "--yes"]);
    assert_eq!(output.status, 0, "{output:?}");
    assert_eq!(bed.tree("/etc/systemd/system"), etc, "reverted byte for byte");
    bed.exec(&["systemctl", "stop", kind.unit]);
}

/// By user notifications, unless the unit's processes may not install a filter.
fn notified(bed: &Bed, kind: &Kind) {
    let without = |setting| format!("{setting}, and NoNewPrivileges= is not set");
    let why = if kind.text.contains("CapabilityBoundingSet=\n") {
        without("CapabilityBoundingSet= lacks CAP_SYS_ADMIN")
    } else if kind.text.contains("User=nobody") && bed.systemd_version() >= 256 {
        // older ones imply NoNewPrivileges= here
        without("it runs without CAP_SYS_ADMIN")
    } else {
        return repair(bed, kind, "notify");
    };
    install(bed, kind, &bed.own_victim());
    let before = Snapshot::of(bed, kind.unit);
    let output = bed.unitfix(&[kind.unit, "--yes", "--via", "notify"]);
    assert_said(&output, 5, &["user notifications cannot be had here: ", &why]);
    before.assert_same(bed, kind.unit, "nothing was begun");
}

fn install(bed: &Bed, kind: &Kind, victim: &Victim) {
    bed.install_unit(kind.file, &kind.text.replace("VICTIM", &victim.path));
}
