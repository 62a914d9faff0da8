//! Replays by user notifications: in every sandbox that they can be had in, with programs that see nothing of them.

use crate::bed::Bed;

use super::Case;
use super::support::{ACTIVE, Snapshot, UNIT, assert_said, start_killed};

pub const CASES: &[Case] = &[
    Case::new("notified::sandboxes", sandboxes),
    Case::new("notified::refused", refused),
    Case::new("notified::what_the_program_sees", what_the_program_sees),
    Case::new("notified::reloaded", reloaded),
    Case::new("notified::flood", flood).only_on(&["host"]).alone(),
    Case::new("notified::nobody_listens", nobody_listens).only_on(&["host", "sid"]),
];

/// A replay of [`UNIT`] that must see these calls, and leave everything as it was.
fn assert_seen(bed: &Bed, options: &[&str], calls: &str, when: &str) {
    let before = Snapshot::of(bed, UNIT);
    let fixed = [UNIT, "--yes", "--observe", "1", "--via", "notify", "--prefer", "exact"];
    let output = bed.unitfix(&[&fixed[..], options].concat());
    let line = format!("+SystemCallFilter={calls}\n");
    assert!(output.status == 1 && output.stdout.contains(&line), "{when}: {output:?}");
    let count = calls.split(' ').count();
    let seen = format!("{count} call{} denied, nothing lost", if count == 1 { "" } else { "s" });
    assert_said(&output, 1, &[&seen]);
    before.assert_same(bed, UNIT, when);
}

fn sandboxes(bed: &Bed) {
    for setting in [
        "PrivateTmp=yes",
        "ProtectSystem=strict",
        "ProtectHome=tmpfs",
        "PrivateDevices=yes",
        "PrivateNetwork=yes",
        "PrivateUsers=yes",
        "DynamicUser=yes",
        "User=nobody\nNoNewPrivileges=yes",
        "User=nobody\nNoNewPrivileges=yes\nProtectProc=invisible\nProcSubset=pid",
        "TemporaryFileSystem=/run",
        "CapabilityBoundingSet=\nNoNewPrivileges=yes",
        "RestrictAddressFamilies=AF_UNIX\nRestrictNamespaces=yes\nMemoryDenyWriteExecute=yes\nLockPersonality=yes",
        "RestrictSUIDSGID=yes\nProtectHostname=yes\nProtectClock=yes\nProtectKernelLogs=yes\nRestrictRealtime=yes",
        "SystemCallLog=@clock\nSystemCallArchitectures=native",
        "LimitNPROC=1\nLimitNOFILE=16\nUser=nobody\nNoNewPrivileges=yes",
    ] {
        start_killed(
            bed,
            &format!(
                "[Service]\nExecStart=VICTIM setrlimit sleep\nSystemCallFilter=~@resources\n{setting}\n"
            ),
        );
        assert_seen(bed, &[], "setrlimit", setting);
        bed.exec(&["systemctl", "stop", UNIT]);
    }
}

fn refused(bed: &Bed) {
    for (setting, why) in [
        ("CapabilityBoundingSet=~CAP_SYS_ADMIN", "CapabilityBoundingSet= lacks CAP_SYS_ADMIN"),
        ("SecureBits=noroot", "SecureBits= may take CAP_SYS_ADMIN away"),
        ("RootDirectory=/", "RootDirectory= keeps unitfix from being executed inside the unit"),
        ("NoExecPaths=/srv", "NoExecPaths= keeps unitfix from being executed inside the unit"),
    ] {
        let text = "[Service]\nExecStart=VICTIM setrlimit sleep\nSystemCallFilter=~@resources\n";
        start_killed(bed, &format!("{text}{setting}\n"));
        let before = Snapshot::of(bed, UNIT);
        let output = bed.unitfix(&[UNIT, "--yes", "--via", "notify"]);
        assert_said(&output, 5, &["no replay: user notifications cannot be had here: ", why]);
        before.assert_same(bed, UNIT, setting);
        bed.exec(&["systemctl", "stop", UNIT]);
    }
}

/// Everything that a program can see of how it was begun, but for what differs at every start and for the filter.
const SEES: &str = r#"#!/bin/sh
seen=/run/v-seen.$(cat /run/v-run)
[ ! -e "$seen" ] || exit 0 # another run than the first
exec >"$seen"
tr '\0' '\n' </proc/$$/cmdline
[ "$LISTEN_PID" = $$ ] && echo "LISTEN_FDS: $LISTEN_FDS"
[ "$SYSTEMD_EXEC_PID" = $$ ] && echo "SYSTEMD_EXEC_PID is its own"
env | grep -v -e INVOCATION_ID -e _PID -e JOURNAL_STREAM | sort
# read by the shell itself: while it starts another program, it blocks all signals
while read -r field value; do
    case $field in Name: | Umask: | Sig[!Q]* | Shd* | Cap* | NoNewPrivs:) echo "$field $value" ;; esac
done <"/proc/$$/status"
ls /proc/$$/fd
cat /proc/$$/oom_score_adj /proc/$$/limits
"#;

fn what_the_program_sees(bed: &Bed) {
    let victim = bed.own_victim();
    bed.write_file("/usr/local/bin/v-sees", SEES);
    bed.run(&["chmod", "755", "/usr/local/bin/v-sees"]);
    bed.install_unit("v.socket", "[Socket]\nListenStream=/run/v.sock\n");
    for (number, settings) in
        ["IgnoreSIGPIPE=no\nUMask=077", "LimitCORE=1\nOOMScoreAdjust=7"].iter().enumerate()
    {
        // no variables for the first word; others as they are, and words quoted
        bed.install_unit(
            UNIT,
            &format!(
                "[Unit]\nRequires=v.socket\n[Service]\nType=oneshot\nEnvironment=A=b 'C=d e'\n{settings}\n\
                 ExecStart=@/bin//sh zero /usr/local/bin/v-sees $A \"${{C}}\" $$A %n 'x \"y\"' \\x41 \\;\n\
                 ExecStart=-:{} setpriority\nSystemCallFilter=~@resources\n",
                victim.path
            ),
        );
        bed.run(&["systemctl", "restart", "v.socket"]);
        bed.write_file("/run/v-run", format!("own{number}"));
        bed.exec(&["systemctl", "start", UNIT]);
        bed.write_file("/run/v-run", format!("replay{number}"));
        assert_seen(bed, &[], "setpriority", settings);
        let seen = |run| bed.read_file(&format!("/run/v-seen.{run}{number}"));
        assert_eq!(seen("own"), seen("replay"), "{settings}");
        assert!(seen("replay").contains("LISTEN_FDS: 1\n"), "{}", seen("replay"));
        bed.run(&["sh", "-c", "rm /run/v-seen.*"]);
    }
    bed.run(&["systemctl", "stop", "v.socket", UNIT]);
}

/// Several gates after each other, and one beside another: before the start, the start, a reload.
fn reloaded(bed: &Bed) {
    start_killed(
        bed,
        "[Service]\nExecStartPre=VICTIM setpriority\nExecStart=VICTIM uname child every=1 setrlimit sleep\n\
         ExecReload=VICTIM mlock\nSystemCallFilter=~@resources @memlock\n",
    );
    let invocation = bed.show(UNIT, "InvocationID");
    let arguments = [UNIT, "--yes", "--observe", "10", "--via", "notify", "--prefer", "exact"];
    let terminal = bed.unitfix_on_terminal(&arguments);
    bed.wait_until("the unit runs in the replay", |bed| {
        bed.show(UNIT, "ActiveState") == "active" && bed.show(UNIT, "InvocationID") != invocation
    });
    bed.run(&["systemctl", "reload", UNIT]);
    let (status, text) = terminal.wait();
    assert!(status == 1 && text.contains("+SystemCallFilter=mlock setpriority setrlimit\n"), "{text}");
    assert!(text.contains("3 calls denied, nothing lost"), "{text}");
}

/// A call in a hot loop hides no other, and leaves no record.
fn flood(bed: &Bed) {
    let comm =
        start_killed(bed, "[Service]\nExecStart=VICTIM hot setpriority\nSystemCallFilter=~@resources\n");
    let before = bed.seccomp_records(&comm).len();
    assert_seen(bed, &[], "setpriority", "a flood");
    // the unit failed before: it was let fail again
    assert!(bed.seccomp_records(&comm).len() <= before + 1);
}

/// unitfix is killed: what is denied fails then, and does not run.
fn nobody_listens(bed: &Bed) {
    start_killed(bed, ACTIVE);
    let before = Snapshot::of(bed, UNIT);
    let invocation = bed.show(UNIT, "InvocationID");
    let terminal = bed.unitfix_on_terminal(&[UNIT, "--yes", "--observe", "60", "--via", "notify"]);
    bed.wait_until("the unit runs in the replay", |bed| {
        bed.show(UNIT, "ActiveState") == "active" && bed.show(UNIT, "InvocationID") != invocation
    });
    let said = |bed: &Bed, words: &str| {
        let entries = bed.journal(&["--unit=v.service", "_TRANSPORT=stdout"]);
        entries.iter().any(|entry| entry["MESSAGE"] == words)
    };
    bed.wait_until("a call is let through", |bed| said(bed, "setrlimit = 0"));
    bed.run(&["sh", "-c", "kill -KILL $(cat /run/unitfix/lock/v.service)"]);
    assert_eq!(terminal.wait().0, 128 + 9);
    bed.wait_until("a call fails", |bed| said(bed, "setrlimit = -1 ENOSYS"));
    let output = bed.unitfix(&[UNIT, "--no-replay"]);
    // whether it was killed again by then is a matter of time
    let status = if output.status == 3 { 3 } else { 1 };
    assert_said(&output, status, &["restarted under its own filter"]);
    before.assert_same(bed, UNIT, "put right");
}
