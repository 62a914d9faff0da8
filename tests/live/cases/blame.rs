//! Who made the calls: stacks from core dumps, strace and the local replay, and the packages of programs.

use super::Case;
use super::support::assert_said;
use crate::bed::Bed;
use crate::cores::Cores;

pub const CASES: &[Case] = &[
    Case::new("blame::founding", founding).only_on(&["bookworm"]).with_packages("docker.io,systemd-coredump"),
    Case::new("blame::victim", victim).with_packages("systemd-coredump").alone(),
];

const FOUNDING: &str = "[Service]\nType=oneshot\nExecStart=/usr/bin/docker --version\nLimitCORE=infinity\n\
     SystemCallFilter=~@privileged @resources\n";

/// The stripped Docker CLI of Debian 12: its own function table has the names, and no debugger is there.
fn founding(bed: &Bed) {
    let called_by = "called by  os.init → syscall.Setrlimit (/usr/bin/docker)\n";
    let package = "from       docker.io 20.10.24+dfsg1-1+";
    let _cores = Cores::on();
    bed.install_unit("d.service", FOUNDING);
    bed.exec(&["systemctl", "start", "d.service"]);
    bed.wait_until("a core dump is kept", |bed| {
        let kept = bed.journal(&["MESSAGE_ID=fc2e22bc6ee647b6b90729ab34a250b1", "COREDUMP_UNIT=d.service"]);
        kept.iter().any(|entry| entry["COREDUMP_FILENAME"].is_string())
    });
    let output = bed.unitfix(&["d.service", "--blame", "--no-replay"]);
    assert_said(&output, 1, &["  killed   docker   setrlimit   ", called_by, package]);

    // without core dumps, by strace and by unitfix itself
    bed.run(&["sh", "-c", "rm /var/lib/systemd/coredump/*"]);
    let output = bed.unitfix(&["d.service", "--blame", "--yes", "--observe", "2"]);
    assert_said(&output, 1, &["note[no-stack]: ", "1 call denied, nothing lost", called_by, package]);
    let output = bed.unitfix(&["/etc/systemd/system/d.service", "--blame"]);
    assert_said(&output, 1, &["  denied   docker   setrlimit   ", called_by, package]);

    // and nobody is asked who did not want to know
    let output = bed.unitfix(&["/etc/systemd/system/d.service"]);
    assert!(!output.stdout.contains("called by") && !output.stdout.contains("from  "), "{output:?}");
}

/// A C program with symbols.
// alone: whose an entry of the journal is, journald asks /proc, where systemd-coredump is gone on a busy machine
fn victim(bed: &Bed) {
    let _cores = Cores::on();
    let victim = bed.own_victim();
    let text = format!(
        "[Service]\nExecStart={} setrlimit sleep\nLimitCORE=infinity\nSystemCallFilter=~@resources\n",
        victim.path
    );
    bed.install_unit("v.service", &text);
    bed.exec(&["systemctl", "start", "v.service"]);
    bed.wait_until("a core dump is kept", |bed| {
        let kept = bed.journal(&["MESSAGE_ID=fc2e22bc6ee647b6b90729ab34a250b1", "COREDUMP_UNIT=v.service"]);
        kept.iter().any(|entry| entry["COREDUMP_FILENAME"].is_string())
    });
    let called_by = format!("called by  main → make_all → syscall ({})\n", victim.path);
    let output = bed.unitfix(&["v.service", "--blame", "--no-replay"]);
    assert_said(&output, 1, &[&called_by]);
    let output = bed.unitfix(&["/etc/systemd/system/v.service", "--blame", "--observe", "1"]);
    assert_said(&output, 1, &[&called_by]);
}
