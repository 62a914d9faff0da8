//! The settings beside `SystemCallFilter=` that forbid calls: named with their line, and repaired with the narrowest
//! value, by real programs.

use crate::bed::Bed;

use super::Case;
use super::support::{DROP_IN, UNIT, assert_repaired, assert_said, settings, start};

/// A unit that only one setting keeps from working.
struct Cause {
    /// Its command, and other lines that it needs; `VICTIM` stands for the victim's path.
    unit: &'static str,
    /// The line that forbids.
    line: &'static str,
    /// The call, as it is said.
    call: &'static str,
    /// The line of the repair.
    repaired: &'static str,
}

macro_rules! causes {
    ($($name:ident $(with $packages:literal)?: $cause:expr;)*) => {
        pub const CASES: &[Case] = &[
            $(Case::new(concat!("settings::", stringify!($name)), |bed| repaired(bed, &$cause))$(.with_packages($packages))?,)*
            Case::new("settings::no_family", no_family).with_packages("iproute2,python3"),
            Case::new("settings::hostname", hostname),
            Case::new("settings::implied", implied),
            Case::new("settings::refused_anyway", refused_anyway),
            Case::new("settings::several", several).with_packages("iproute2,python3"),
        ];
    };
}

causes! {
    address_family with "iproute2,python3": Cause {
        unit: "ExecStart=/bin/ip link show lo",
        line: "RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6",
        call: "socket(AF_NETLINK",
        repaired: "RestrictAddressFamilies=AF_NETLINK",
    };
    forbidden_family with "iproute2,python3": Cause {
        unit: "ExecStart=/bin/ip link show lo",
        line: "RestrictAddressFamilies=~AF_PACKET AF_NETLINK",
        call: "socket(AF_NETLINK",
        repaired: "RestrictAddressFamilies=AF_NETLINK",
    };
    namespaces: Cause {
        unit: "ExecStart=/usr/bin/unshare --user /bin/true",
        line: "RestrictNamespaces=yes",
        call: "unshare(CLONE_NEWUSER)",
        repaired: "RestrictNamespaces=user",
    };
    one_namespace: Cause {
        unit: "ExecStart=/usr/bin/unshare --net /bin/true",
        line: "RestrictNamespaces=~net user",
        call: "unshare(CLONE_NEWNET)",
        repaired: "RestrictNamespaces=net",
    };
    write_and_execute with "iproute2,python3": Cause {
        unit: "ExecStart=/usr/bin/python3 -c \"import mmap; mmap.mmap(-1, 4096, prot=7)\"",
        line: "MemoryDenyWriteExecute=yes",
        call: "mmap(NULL, 4096, PROT_READ|PROT_WRITE|PROT_EXEC",
        repaired: "MemoryDenyWriteExecute=no",
    };
    realtime: Cause {
        unit: "ExecStart=/usr/bin/chrt --fifo 5 /bin/true",
        line: "RestrictRealtime=yes",
        call: "sched_setscheduler(0, SCHED_FIFO",
        repaired: "RestrictRealtime=no",
    };
    set_user_id: Cause {
        unit: "ExecStartPre=/usr/bin/touch /run/suid\nExecStart=/bin/chmod u+s /run/suid\nExecStopPost=/bin/rm -f /run/suid",
        line: "RestrictSUIDSGID=yes",
        call: "fchmodat(AT_FDCWD, \"/run/suid\", 04644",
        repaired: "RestrictSUIDSGID=no",
    };
    // httpd with a tar that knows openat2 (systemd #43314)
    openat2: Cause {
        unit: "ExecStart=VICTIM openat2!!",
        line: "RestrictSUIDSGID=yes",
        call: "openat2(-1, \"victim\"",
        repaired: "RestrictSUIDSGID=no",
    };
    personality: Cause {
        unit: "ExecStart=/usr/bin/setarch --addr-no-randomize /bin/true",
        line: "LockPersonality=yes",
        call: "personality(",
        repaired: "LockPersonality=no",
    };
    clock: Cause {
        unit: "ExecStart=VICTIM clock_settime!",
        line: "ProtectClock=yes",
        call: "clock_settime(",
        repaired: "ProtectClock=no",
    };
    kernel_log: Cause {
        unit: "ExecStart=/bin/dmesg --syslog",
        line: "ProtectKernelLogs=yes",
        call: "syslog(",
        repaired: "ProtectKernelLogs=no",
    };
    kernel_modules: Cause {
        unit: "ExecStart=VICTIM delete_module!",
        line: "ProtectKernelModules=yes",
        call: "delete_module(\"no-such-module\"",
        repaired: "ProtectKernelModules=no",
    };
    devices: Cause {
        unit: "ExecStart=VICTIM iopl!",
        line: "PrivateDevices=yes",
        call: "iopl(0)",
        repaired: "PrivateDevices=no",
    };
}

const HEAD: &str = "[Service]\nType=oneshot\n";

fn failed(bed: &Bed, text: &str) {
    start(bed, text);
    assert_eq!(bed.show(UNIT, "ActiveState"), "failed", "{text}");
}

fn repaired(bed: &Bed, cause: &Cause) {
    failed(bed, &format!("{HEAD}{}\n{}\n", cause.line, cause.unit));
    let (setting, value) = cause.line.split_once('=').unwrap();
    let before = bed.tree("/etc/systemd/system");
    if ["ProtectKernelModules", "PrivateDevices"].contains(&setting) {
        let output = bed.unitfix(&[UNIT, "--apply", "--yes", "--observe", "1"]);
        assert_said(&output, 1, &["high risk: ", "would hand over the system"]);
        assert_eq!(bed.tree("/etc/systemd/system"), before, "nothing is written");
    }
    let output = assert_repaired(bed, &["--allow-risk", "high"], &[cause.repaired]);
    let place = format!(
        "  because  /etc/systemd/system/v.service:3:{}\n             {}\n",
        setting.len() + 2,
        cause.line
    );
    // of a list, the word or the whole
    let place = if value.contains(' ') { format!("\n             {}\n", cause.line) } else { place };
    assert_said(&output, 0, &[cause.call, &place, &format!("{setting}= makes "), " fail with E"]);
    assert!(output.stdout.contains(&format!("Repair: add {}\n", cause.repaired)), "{output:?}");
}

/// A unit that may open no sockets at all.
fn no_family(bed: &Bed) {
    failed(bed, &format!("{HEAD}RestrictAddressFamilies=none\nExecStart=/bin/ip link show lo\n"));
    if bed.systemd_version() < 249 {
        return; // "none" is no word there, and the setting has no effect
    }
    assert_repaired(bed, &[], &["RestrictAddressFamilies=AF_NETLINK"]);
}

/// Where systemd can give the unit a host name of its own, that is the narrower change.
fn hostname(bed: &Bed) {
    failed(bed, &format!("{HEAD}ProtectHostname=yes\nExecStart=/bin/hostname other\n"));
    let private = bed.systemd_version() >= 258;
    let expected = if private { "ProtectHostname=private" } else { "ProtectHostname=no" };
    let name = bed.run(&["hostname"]);
    assert_repaired(bed, &[], &[expected]);
    if private {
        assert_eq!(bed.run(&["hostname"]), name);
    }
    bed.run(&["hostname", &name]);
}

/// What a setting implies that is not to be taken back, no line lets through.
fn implied(bed: &Bed) {
    failed(
        bed,
        &format!(
            "{HEAD}DynamicUser=yes\nRuntimeDirectory=v\nExecStartPre=/usr/bin/touch /run/v/suid\n\
             ExecStart=/bin/chmod u+s /run/v/suid\n"
        ),
    );
    let output = bed.unitfix(&[UNIT, "--apply", "--yes", "--observe", "1"]);
    let why = "No repair can be offered: fchmodat: DynamicUser= turns RestrictSUIDSGID= on, and no line takes that back";
    assert_said(&output, 3, &[why, "DynamicUser=yes\n"]);
}

/// A call that the kernel refuses as well: the setting is not to blame.
fn refused_anyway(bed: &Bed) {
    failed(bed, &format!("{HEAD}ProtectHostname=yes\nUser=nobody\nExecStart=/bin/hostname other\n"));
    let before = bed.tree("/etc/systemd/system");
    let output = bed.unitfix(&[UNIT, "--apply", "--yes", "--observe", "1"]);
    assert_said(
        &output,
        3,
        &[
            "sethostname fails in the same way without ProtectHostname=: the kernel refuses it",
            "Not a matter of the system call filter, nor of what other settings forbid",
        ],
    );
    assert_eq!(bed.tree("/etc/systemd/system"), before);
}

/// Several causes in one unit are repaired together.
fn several(bed: &Bed) {
    failed(
        bed,
        &format!(
            "{HEAD}SystemCallFilter=~@resources\nRestrictAddressFamilies=AF_UNIX\nMemoryDenyWriteExecute=yes\n\
             ExecStart=VICTIM setrlimit\nExecStart=/bin/ip link show lo\n\
             ExecStart=/usr/bin/python3 -c \"import mmap; mmap.mmap(-1, 4096, prot=7)\"\n"
        ),
    );
    let lines =
        ["SystemCallFilter=setrlimit", "RestrictAddressFamilies=AF_NETLINK", "MemoryDenyWriteExecute=no"];
    let output = assert_repaired(bed, &[], &lines);
    assert_said(&output, 0, &["strace was taken as well, because it fails all the same"]);

    // and where the unit file is run here, too
    let text = bed.read_file("/etc/systemd/system/v.service");
    bed.write_file("/run/local/v.service", text);
    let output = bed.unitfix(&["/run/local/v.service", "--apply", "--yes", "--observe", "1"]);
    assert_said(&output, 0, &["Proven: "]);
    assert_eq!(settings(bed, "/run/local/v.service.d/zz-unitfix.conf"), lines);
    assert_eq!(bed.exec(&["test", "-e", DROP_IN]).status, 1);
}
