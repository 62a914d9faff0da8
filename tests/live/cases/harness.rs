//! The beds themselves: that they show what the other cases rely on.

use std::collections::BTreeMap;

use crate::bed::Bed;
use crate::cores::Cores;
use crate::tree::Node;

use super::Case;

pub const CASES: &[Case] = &[
    Case::new("harness::boots", boots),
    Case::new("harness::kill_is_recorded", kill_is_recorded),
    Case::new("harness::errno_is_silent", errno_is_silent),
    Case::new("harness::i386_call_has_its_architecture", i386_call_has_its_architecture),
    Case::new("harness::host_proc_names_the_unit", host_proc_names_the_unit),
    Case::new("harness::sandboxes_see_the_programs", sandboxes_see_the_programs),
    Case::new("harness::child_dies_and_service_lives", child_dies_and_service_lives),
    Case::new("harness::notify_and_forking", notify_and_forking),
    Case::new("harness::tree_shows_changes", tree_shows_changes),
    Case::new("harness::terminal", terminal),
    Case::new("harness::core_dump_names_the_unit", core_dump_names_the_unit)
        .with_packages("systemd-coredump"),
];

/// `SIGSYS`
const KILLED: &str = "31";

fn boots(bed: &Bed) {
    assert!(bed.systemd_version() >= 247, "systemd {}", bed.systemd_version());
    assert_eq!(bed.run(&["cat", "/proc/1/comm"]), "systemd");
    let output = bed.unitfix(&["--version"]);
    assert_eq!((output.status, output.stderr.as_str()), (0, ""));
    assert_eq!(bed.exec(&["sh", "-c", "echo out; echo err >&2; exit 7"]).status, 7);
    assert_eq!(bed.exec_with(&["cat"], b"to and fro").stdout, "to and fro");
}

fn kill_is_recorded(bed: &Bed) {
    let victim = bed.own_victim();
    bed.install_unit(
        "killed.service",
        &format!(
            "[Service]\nType=oneshot\nExecStart={} uname setrlimit\nSystemCallFilter=~setrlimit\n",
            victim.path
        ),
    );
    assert_ne!(bed.exec(&["systemctl", "start", "killed.service"]).status, 0);
    assert_eq!(bed.show("killed.service", "ExecMainStatus"), KILLED);
    bed.wait_until("a record of the kill", |bed| !bed.seccomp_records(&victim.comm).is_empty());
    let records = bed.seccomp_records(&victim.comm);
    assert_eq!(records.len(), 1, "{records:?}");
    assert!(records[0].contains(" sig=31 arch=c000003e syscall=160 "), "{records:?}");
    let said = bed.journal(&["--unit=killed.service", "_TRANSPORT=stdout"]);
    assert_eq!(said[0]["MESSAGE"], "uname = 0");
}

fn errno_is_silent(bed: &Bed) {
    let victim = bed.own_victim();
    let unit = |call| {
        format!(
            "[Service]\nType=oneshot\nExecStart={} {call}\nSystemCallFilter=~setrlimit:EPERM\n",
            victim.path
        )
    };
    bed.install_unit("soft.service", &unit("setrlimit"));
    bed.install_unit("hard.service", &unit("setrlimit!"));
    bed.run(&["systemctl", "start", "soft.service"]);
    assert_ne!(bed.exec(&["systemctl", "start", "hard.service"]).status, 0);
    assert_eq!(bed.show("hard.service", "ExecMainStatus"), "1");
    let said = bed.journal(&["--unit=soft.service", "_TRANSPORT=stdout"]);
    assert_eq!(said[0]["MESSAGE"], "setrlimit = -1 EPERM");
    assert_eq!(bed.seccomp_records(&victim.comm), [""; 0]);
}

fn i386_call_has_its_architecture(bed: &Bed) {
    let victim = bed.own_victim();
    bed.install_unit(
        "foreign.service",
        &format!(
            "[Service]\nType=oneshot\nExecStart={} i386 uname\nSystemCallArchitectures=native\n",
            victim.path
        ),
    );
    assert_ne!(bed.exec(&["systemctl", "start", "foreign.service"]).status, 0);
    bed.wait_until("a record of the kill", |bed| !bed.seccomp_records(&victim.comm).is_empty());
    let records = bed.seccomp_records(&victim.comm);
    assert!(records[0].contains(" sig=31 arch=40000003 syscall=122 "), "{records:?}");
}

/// The PIDs in the records are the host's; its `/proc` tells the unit as long as the process lives.
fn host_proc_names_the_unit(bed: &Bed) {
    let victim = bed.own_victim();
    bed.install_unit(
        "logged.service",
        &format!(
            "[Service]\nType=notify\nExecStart={} setrlimit notify sleep\nSystemCallLog=setrlimit\n",
            victim.path
        ),
    );
    bed.run(&["systemctl", "start", "logged.service"]);
    bed.wait_until("a record of the call", |bed| !bed.seccomp_records(&victim.comm).is_empty());
    let records = bed.seccomp_records(&victim.comm);
    let pid = records[0].split(' ').find_map(|field| field.strip_prefix("pid=")).unwrap();
    let cgroup = bed.run(&["cat", &format!("/run/hostproc/{pid}/cgroup")]);
    assert!(cgroup.contains("0::/system.slice/logged.service"), "{cgroup}");
}

fn sandboxes_see_the_programs(bed: &Bed) {
    bed.install_unit(
        "confined@.service",
        "[Service]\nType=oneshot\nExecStart=/run/ut/victim setrlimit prlimit64 chown uname\n\
         ExecStart=/run/ut/unitfix --version\n",
    );
    let settings = [
        "PrivateTmp=yes",
        "ProtectSystem=strict",
        "DynamicUser=yes",
        "PrivateDevices=yes",
        "ProtectHome=tmpfs",
        "PrivateUsers=yes",
        "NoNewPrivileges=yes",
        "User=nobody",
        "CapabilityBoundingSet=",
        "PrivateNetwork=yes",
    ];
    for (number, setting) in settings.iter().enumerate() {
        let unit = format!("confined@{number}.service");
        bed.write_file(
            &format!("/etc/systemd/system/{unit}.d/confine.conf"),
            format!("[Service]\n{setting}\n"),
        );
    }
    bed.run(&["systemctl", "daemon-reload"]);
    for (number, setting) in settings.iter().enumerate() {
        let output = bed.exec(&["systemctl", "start", &format!("confined@{number}.service")]);
        assert_eq!(output.status, 0, "{setting}: {output:?}");
    }
}

fn child_dies_and_service_lives(bed: &Bed) {
    bed.install_unit(
        "parent.service",
        "[Service]\nExecStart=/run/ut/victim child every=1 setrlimit\nSystemCallFilter=~setrlimit\n",
    );
    bed.run(&["systemctl", "start", "parent.service"]);
    bed.wait_until("two children die", |bed| {
        let said = bed.journal(&["--unit=parent.service", "_TRANSPORT=stdout"]);
        said.iter().filter(|entry| entry["MESSAGE"] == "child: signal 31").count() >= 2
    });
    assert_eq!(bed.show("parent.service", "ActiveState"), "active");
    assert_eq!(bed.show("parent.service", "NRestarts"), "0");
}

fn notify_and_forking(bed: &Bed) {
    bed.install_unit(
        "notify.service",
        "[Service]\nType=notify\nExecStart=/run/ut/victim setpriority notify sleep\n",
    );
    bed.install_unit(
        "forking.service",
        "[Service]\nType=forking\nPIDFile=/run/forking.pid\n\
         ExecStart=/run/ut/victim forking pidfile=/run/forking.pid setpriority\n",
    );
    for unit in ["notify.service", "forking.service"] {
        bed.run(&["systemctl", "start", unit]);
        assert_eq!(bed.show(unit, "ActiveState"), "active", "{unit}");
    }
    assert_eq!(bed.show("forking.service", "MainPID") + "\n", bed.read_file("/run/forking.pid"));
}

fn tree_shows_changes(bed: &Bed) {
    let before = bed.tree("/etc/systemd/system");
    bed.write_file("/etc/systemd/system/a.service.d/50-b.conf", b"[Service]\n\xff");
    let after = bed.tree("/etc/systemd/system");
    let new: BTreeMap<_, _> = after.iter().filter(|(path, _)| !before.contains_key(*path)).collect();
    assert_eq!(new.len(), 2, "{new:?}");
    let file = &after[std::path::Path::new("a.service.d/50-b.conf")];
    assert_eq!(file.bytes(), b"[Service]\n\xff");
    assert!(matches!(file, Node::File { mode: 0o644, owner: (0, 0), .. }), "{file:?}");
    bed.run(&["rm", "-r", "/etc/systemd/system/a.service.d"]);
    assert_eq!(bed.tree("/etc/systemd/system"), before);
}

/// What waits here must not catch signals: a shell's trap comes too late for one that arrives just before
/// it reads.
fn terminal(bed: &Bed) {
    let asked = || {
        let script = r"tty; stty size; printf '\033[31mgo?\033[0m '; exec cat";
        let mut terminal = bed.terminal(&["sh", "-c", script]);
        let text = terminal.expect("go? ");
        assert!(text.starts_with("/dev/pts/") && text.ends_with("\n50 120\ngo? "), "{text:?}");
        terminal
    };

    let mut answered = asked();
    answered.send("yes\r");
    answered.expect("yes\nyes\n"); // typed, and from cat
    answered.end_of_input();
    assert_eq!(answered.wait().0, 0);

    let mut interrupted = asked();
    interrupted.interrupt();
    let (exit, text) = interrupted.wait();
    assert_eq!(exit, 128 + 2);
    assert!(text.ends_with("go? ^C"), "{text:?}");

    let mut hung_up = asked();
    hung_up.hang_up();
    assert_eq!(hung_up.wait().0, 128 + 1);

    assert_eq!(bed.terminal(&["sh", "-c", "exit 9"]).wait().0, 9);
}

fn core_dump_names_the_unit(bed: &Bed) {
    let _cores = Cores::on();
    bed.install_unit(
        "dumped.service",
        "[Service]\nType=oneshot\nExecStart=/run/ut/victim setrlimit\nSystemCallFilter=~setrlimit\n",
    );
    assert_ne!(bed.exec(&["systemctl", "start", "dumped.service"]).status, 0);
    let matches = ["MESSAGE_ID=fc2e22bc6ee647b6b90729ab34a250b1", "COREDUMP_UNIT=dumped.service"];
    bed.wait_until("systemd-coredump reports it", |bed| !bed.journal(&matches).is_empty());
    assert_eq!(bed.journal(&matches)[0]["COREDUMP_SIGNAL"], KILLED);
}
