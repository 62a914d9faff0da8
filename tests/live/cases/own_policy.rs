//! The filter that unitfix computes from unit files is the one that the manager shows.

use crate::bed::Bed;
use crate::shown::Comparison;

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
    Comparison::new(bed).assert_same(&units);
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
    Comparison::new(bed).assert_same(&units);
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
    let units = ["wide.service", "foo-wide.service", "wide@x.service", "wide@y.service"].map(str::to_owned);
    Comparison::new(bed).assert_same(&units);
}
