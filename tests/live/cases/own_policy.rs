//! The filter that unitfix computes from unit files is the one that the manager shows.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use unitfix::policy::Policy;
use unitfix::root::Root;
use unitfix::syscalls::Groups;
use unitfix::unit::{Unit, UnitName};

use crate::bed::Bed;
use crate::suites::not_run;

use super::Case;

pub const CASES: &[Case] = &[
    Case::new("own_policy::lines", lines),
    Case::new("own_policy::files", files),
    Case::new("own_policy::type_wide", type_wide),
];

/// The settings of units that consist of one file.
const LINES: &[&str] = &[
    "",
    "SystemCallFilter=",
    "SystemCallFilter=@system-service",
    "SystemCallFilter=~@privileged @resources",
    "SystemCallFilter=@system-service\nSystemCallFilter=~@resources @privileged",
    "SystemCallFilter=@system-service\nSystemCallFilter=~@resources\nSystemCallFilter=setrlimit",
    "SystemCallFilter=~@resources\nSystemCallFilter=setrlimit prlimit64",
    "SystemCallFilter=~@mount\nSystemCallFilter=@mount",
    "SystemCallFilter=~@mount\nSystemCallFilter=\nSystemCallFilter=@mount",
    "SystemCallFilter=@mount\nSystemCallFilter=\nSystemCallFilter=~@mount",
    "SystemCallFilter=@mount\nSystemCallFilter=",
    "SystemCallFilter=~",
    "SystemCallFilter=~\nSystemCallFilter=@system-service",
    "SystemCallFilter=~no_such_call\nSystemCallFilter=@system-service",
    "SystemCallFilter=no_such_call",
    "SystemCallFilter=@no-such-group",
    "SystemCallFilter=@no-such-group mount",
    "SystemCallFilter=no_such_call\nSystemCallFilter=~@default",
    "SystemCallFilter=mount\nSystemCallFilter=~mount @default",
    "SystemCallFilter=~setrlimit:EPERM",
    "SystemCallFilter=~setrlimit:eperm mount:ENOSYS @swap:EACCES",
    "SystemCallFilter=~setrlimit:1 mount:4095 umount2:0 swapon:4096 swapoff:-1",
    "SystemCallFilter=~setrlimit:kill mount:nonsense umount2:",
    "SystemCallFilter=~setrlimit:EPERM\nSystemCallFilter=setrlimit",
    "SystemCallFilter=~setrlimit:EPERM\nSystemCallFilter=~setrlimit",
    "SystemCallFilter=~setrlimit\nSystemCallFilter=~setrlimit:EPERM",
    "SystemCallFilter=~@resources:EPERM\nSystemCallFilter=~setrlimit:EACCES",
    "SystemCallFilter=~setrlimit:EPERM\nSystemCallFilter=setrlimit:EPERM",
    "SystemCallFilter=@system-service\nSystemCallFilter=~setrlimit:EPERM",
    "SystemCallFilter=@system-service\nSystemCallFilter=~@resources:EPERM\nSystemCallFilter=setrlimit",
    "SystemCallFilter=@system-service\nSystemCallFilter=mount:EPERM",
    "SystemCallFilter=mount:EPERM umount2",
    "SystemCallFilter=~setrlimit:EAGAIN mount:EWOULDBLOCK umount2:EDEADLOCK swapon:ENOTSUP swapoff:EOPNOTSUPP",
    "SystemCallFilter=~setrlimit:EHWPOISON mount:133 umount2:200 swapon:600",
    "SystemCallFilter=\"@mount\" swapon",
    "SystemCallFilter=~'setrlimit' mount",
    "SystemCallFilter=~swap\\on mo\\x75nt umount2\\",
    "SystemCallFilter=~mount   umount2\tswapon \t swapoff",
    "SystemCallFilter=~mount \\\n  umount2 \\\n  swapon",
    "SystemCallFilter=~mount \\\n# a comment\n; another\n  umount2",
    "SystemCallFilter=~mount \\\n\numount2",
    "SystemCallFilter = ~mount",
    "SystemCallFilter=~ mount umount2",
    "SystemCallFilter=~mount ~umount2",
    "SystemCallFilter=mount ~umount2",
    "SystemCallFilter=!mount",
    "SystemCallFilter=~~mount",
    "SystemCallFilter=~mount,umount2",
    "SystemCallFilter=~MOUNT Mount mount",
    "SystemCallFilter=~open openat stat64 socketcall _llseek arm_fadvise64_64 ppc_rtas s390_pci_mmio_read",
    "SystemCallFilter=~uretprobe riscv_hwprobe process_mrelease cachestat futex_wait map_shadow_stack file_getattr",
    "SystemCallFilter=@known\nSystemCallFilter=~@mount",
    "SystemCallFilter=~@default",
    "SystemCallFilter=~@file-system @network-io @process @io-event @ipc @signal @timer @sync @setuid @chown @aio",
    "SystemCallFilter=~@sandbox @pkey @obsolete @module @reboot @raw-io @debug @cpu-emulation @clock @keyring @memlock",
    "SystemCallFilter=~@ @@mount @MOUNT",
    "SystemCallFilter=~600 160",
    "SystemCallFilter=@basic-io\nSystemCallFilter=~write read",
    "[Unit]\nSystemCallFilter=~mount\n[Service]\nSystemCallFilter=~umount2",
    "[Unit]\nDescription=x\n[Service]\nsystemcallfilter=~mount\nX-SystemCallFilter=~umount2\nSystemCallFilter=~swapon",
    "SystemCallFilter=~mount\r\nSystemCallFilter=~umount2\r",
    "SystemCallErrorNumber=EPERM\nSystemCallFilter=~setrlimit:EPERM mount",
    "%n\nSystemCallFilter=~%p mount",
];

/// Panics with every difference between what unitfix computes and what the manager shows.
fn compare(bed: &Bed, units: &[String]) {
    let version = bed.systemd_version();
    let listing = bed.run(&["systemd-analyze", "syscall-filter"]);
    let mut groups = vec![("the manager", Groups::from_listing(&listing, version).unwrap())];
    if shipped(version) {
        groups.push(("the rules", Groups::from_rules(version).unwrap()));
    } else {
        assert_eq!(bed.suite, "sid", "rules/generate does not know systemd {version}");
        not_run(&format!("{}::own_policy: no rules for systemd {version}, run rules/generate", bed.suite));
    }
    let root = Root::new(bed.root());
    let mut differences = String::new();
    for name in units {
        let shown = bed.run(&["systemctl", "show", "--property=SystemCallFilter", "--value", "--", name]);
        let (deny, list) = shown.strip_prefix('~').map_or((false, &*shown), |list| (true, list));
        let theirs: BTreeSet<String> = list.split_whitespace().map(str::to_owned).collect();
        let theirs = (!deny && (!theirs.is_empty() || allows_nothing(bed, name)), theirs);
        let unit = Unit::find(&root, &UnitName::parse(name).unwrap(), version)
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        for (from, groups) in &groups {
            let ours = Policy::evaluate(&unit, groups).filter.shown();
            if ours == theirs {
                continue;
            }
            let settings: Vec<String> =
                unit.service("SystemCallFilter").map(|s| s.value.text.clone()).collect();
            let only = |a: &BTreeSet<String>, b: &BTreeSet<String>| {
                a.difference(b).take(12).cloned().collect::<Vec<_>>().join(" ")
            };
            let _ = writeln!(
                differences,
                "{name}, groups of {from}, {settings:?}: allow list {} here, {} there; only unitfix has: {}; \
                 only the manager has: {}",
                ours.0,
                theirs.0,
                only(&ours.1, &theirs.1),
                only(&theirs.1, &ours.1)
            );
        }
    }
    assert!(differences.is_empty(), "systemd {version}:\n{differences}");
}

/// Whether this is an allow list without a name on it, which `systemctl show` shows like no list at all.
fn allows_nothing(bed: &Bed, unit: &str) -> bool {
    let mut path = String::from("/org/freedesktop/systemd1/unit/");
    for byte in unit.bytes() {
        let _ = if byte.is_ascii_alphabetic() || byte.is_ascii_digit() && !path.ends_with('/') {
            write!(path, "{}", char::from(byte))
        } else {
            write!(path, "_{byte:02x}")
        };
    }
    let (manager, service) = ("org.freedesktop.systemd1", "org.freedesktop.systemd1.Service");
    let property = bed.run(&["busctl", "get-property", manager, &path, service, "SystemCallFilter"]);
    assert!(property.starts_with("(bas) "), "{property}");
    property.starts_with("(bas) true")
}

fn shipped(version: u32) -> bool {
    let file = format!("{}/rules/groups/systemd-{version}.yaml", env!("CARGO_MANIFEST_DIR"));
    std::path::Path::new(&file).exists()
}

fn lines(bed: &Bed) {
    let mut units = Vec::new();
    for (number, settings) in LINES.iter().enumerate() {
        let name = format!("policy{number}.service");
        bed.write_file(
            &format!("/etc/systemd/system/{name}"),
            format!("[Service]\nExecStart=/bin/true\n{settings}\n"),
        );
        units.push(name);
    }
    bed.run(&["systemctl", "daemon-reload"]);
    compare(bed, &units);
}

const UNITS: [&str; 10] = [
    "one.service",
    "two.service",
    "foo-a-b.service",
    "foo-c.service",
    "many@.service",
    "lib.service",
    "shadowed.service",
    "hidden.service",
    "broken.service",
    "linked.service",
];

/// Drop-ins of every directory and kind.
fn files(bed: &Bed) {
    for unit in UNITS {
        let folder = if unit == "lib.service" { "/usr/lib/systemd/system" } else { "/etc/systemd/system" };
        bed.write_file(
            &format!("{folder}/{unit}"),
            "[Service]\nExecStart=/bin/true\nSystemCallFilter=~mount umount2\n",
        );
    }
    let service = |text: &str| format!("[Service]\n{text}\n");
    for (path, text) in [
        // merged by name, whatever the directory
        ("/etc/systemd/system/one.service.d/20-b.conf", service("SystemCallFilter=~swapoff")),
        (
            "/run/systemd/system/one.service.d/10-a.conf",
            service("SystemCallFilter=\nSystemCallFilter=~swapon"),
        ),
        ("/usr/lib/systemd/system/one.service.d/30-c.conf", service("SystemCallFilter=swapon")),
        // the same name hides
        ("/etc/systemd/system/two.service.d/10-a.conf", service("SystemCallFilter=~swapoff")),
        ("/run/systemd/system/two.service.d/10-a.conf", service("SystemCallFilter=~swapon")),
        ("/usr/lib/systemd/system/two.service.d/10-a.conf", service("SystemCallFilter=~bpf")),
        ("/usr/lib/systemd/system/two.service.d/20-off.conf", service("SystemCallFilter=~kcmp")),
        ("/etc/systemd/system/two.service.d/20-off.conf", String::new()),
        ("/etc/systemd/system/two.service.d/README", service("SystemCallFilter=~chroot")),
        ("/etc/systemd/system/two.service.d/.hidden.conf", service("SystemCallFilter=~ptrace")),
        ("/etc/systemd/system/two.service.d/back~", service("SystemCallFilter=~ptrace")),
        // prefixes
        ("/etc/systemd/system/foo-.service.d/10-a.conf", service("SystemCallFilter=~swapoff")),
        ("/usr/lib/systemd/system/foo-a-.service.d/10-a.conf", service("SystemCallFilter=~swapon")),
        ("/usr/lib/systemd/system/foo-a-b.service.d/10-a.conf", service("SystemCallFilter=~bpf")),
        ("/run/systemd/system/foo-a-.service.d/20-b.conf", service("SystemCallFilter=~kcmp")),
        // templates and instances
        ("/etc/systemd/system/many@.service.d/10-a.conf", service("SystemCallFilter=~swapoff")),
        ("/usr/lib/systemd/system/many@x.service.d/10-a.conf", service("SystemCallFilter=~swapon")),
        ("/run/systemd/system/many@x.service.d/20-b.conf", service("SystemCallFilter=umount2")),
        ("/etc/systemd/system/many@x-y.service.d/20-b.conf", service("SystemCallFilter=~bpf")),
        // a unit of the lower directory
        (
            "/etc/systemd/system/lib.service.d/10-a.conf",
            service("SystemCallFilter=\nSystemCallFilter=@system-service"),
        ),
        ("/usr/lib/systemd/system/lib.service.d/20-b.conf", service("SystemCallFilter=~@chown")),
        (
            "/usr/lib/systemd/system/shadowed.service",
            service("ExecStart=/bin/true\nSystemCallFilter=~chroot"),
        ),
        ("/usr/lib/systemd/system/shadowed.service.d/10-a.conf", service("SystemCallFilter=~kcmp")),
        ("/usr/lib/systemd/system/hidden.service.d/10-a.conf", service("SystemCallFilter=~swapon")),
        ("/usr/lib/systemd/system/hidden.service.d/20-b.conf", service("SystemCallFilter=~swapoff")),
        // a broken drop-in counts up to where it breaks
        (
            "/etc/systemd/system/broken.service.d/10-a.conf",
            "[Service]\nSystemCallFilter=~swapon\n[Serv\nSystemCallFilter=~bpf\n".into(),
        ),
        (
            "/etc/systemd/system/broken.service.d/20-b.conf",
            "SystemCallFilter=~kcmp\n[Service]\nSystemCallFilter=~swapoff\n".into(),
        ),
        (
            "/etc/systemd/system/broken.service.d/30-c.conf",
            "\u{feff}[Service]\nno equals sign\nSystemCallFilter=~chroot\n".into(),
        ),
        ("/usr/local/lib/systemd/system/broken.service.d/40-d.conf", service("SystemCallFilter=~ptrace")),
    ] {
        bed.write_file(path, text);
    }
    bed.write_file(
        "/etc/systemd/system/broken.service.d/50-e.conf",
        b"[Service]\nSystemCallFilter=~reboot\n# \xff\xfe\nSystemCallFilter=~quotactl\n",
    );
    for (target, link) in [
        ("/dev/null", "/etc/systemd/system/hidden.service.d/10-a.conf"),
        ("/nonexistent", "/run/systemd/system/hidden.service.d/20-b.conf"),
        ("/etc/systemd/system/one.service.d", "/etc/systemd/system/linked.service.d"),
        ("linked.service", "/etc/systemd/system/alias.service"),
    ] {
        bed.run(&["mkdir", "-p", link.rsplit_once('/').unwrap().0]);
        bed.run(&["ln", "-sfn", target, link]);
    }
    bed.run(&["systemctl", "daemon-reload"]);
    let mut units: Vec<String> =
        UNITS.iter().filter(|unit| !unit.contains('@')).map(|unit| (*unit).to_owned()).collect();
    units
        .extend(["many@x.service", "many@x-y.service", "many@z.service", "alias.service"].map(str::to_owned));
    compare(bed, &units);
}

/// Drop-ins for every service, which lose to those of the unit itself.
fn type_wide(bed: &Bed) {
    for unit in ["wide.service", "foo-wide.service", "wide@.service"] {
        bed.write_file(
            &format!("/etc/systemd/system/{unit}"),
            "[Service]\nExecStart=/bin/true\nSystemCallFilter=~mount umount2\n",
        );
    }
    let service = |text: &str| format!("[Service]\n{text}\n");
    for (path, text) in [
        ("/etc/systemd/system/service.d/10-all.conf", service("SystemCallFilter=~quotactl")),
        ("/usr/lib/systemd/system/service.d/20-all.conf", service("SystemCallFilter=~kcmp")),
        ("/usr/lib/systemd/system/wide.service.d/10-all.conf", service("SystemCallFilter=~swapon")),
        ("/usr/lib/systemd/system/foo-.service.d/10-all.conf", service("SystemCallFilter=~swapoff")),
        ("/etc/systemd/system/wide@x.service.d/20-all.conf", service("SystemCallFilter=~bpf")),
    ] {
        bed.write_file(path, text);
    }
    bed.run(&["systemctl", "daemon-reload"]);
    compare(
        bed,
        &["wide.service", "foo-wide.service", "wide@x.service", "wide@y.service"].map(str::to_owned),
    );
}
