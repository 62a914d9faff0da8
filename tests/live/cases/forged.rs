//! What a service writes, wherever it can write, is never taken for what the kernel, the manager or systemd-coredump
//! say; and what it calls itself is never printed as it is.

use crate::bed::{Bed, Output, Victim};

use super::Case;
use super::support::{DROP_IN, Snapshot, UNIT, assert_said, settings};

pub const CASES: &[Case] = &[
    Case::new("forged::stdout", stdout),
    Case::new("forged::syslog", syslog).only_on(&["host", "bullseye", "sid"]),
    Case::new("forged::native_socket", native_socket).only_on(&["host", "bullseye", "sid"]),
    Case::new("forged::core_dump", core_dump).only_on(&["host", "bullseye", "sid"]),
    Case::new("forged::manager_report", manager_report).only_on(&["host", "bullseye", "sid"]),
    Case::new("forged::manager_report_of_root", manager_report_of_root).only_on(&["host", "sid"]),
    Case::new("forged::kmsg", kmsg).only_on(&["host", "bullseye"]),
    Case::new("forged::names", names).only_on(&["host", "bookworm", "sid"]),
    Case::new("forged::program_files", program_files).only_on(&["host", "bookworm"]),
    Case::new("forged::audit_log", audit_log).only_on(&["host", "bookworm"]),
];

/// The service that forges; records name it as the program that made the call.
const FORGER: &str = "/usr/local/bin/v-forge";

/// A record as good as the kernel's, of the call mount, by the unit's own program and now.
const PREPARE: &str = r#"#!/bin/sh
task="auid=4294967295 uid=0 gid=0 ses=4294967295 subj=unconfined pid=$$ comm=\"v-forge\" exe=\"/usr/local/bin/v-forge\" sig=31 arch=c000003e syscall=165 compat=0 ip=0x7f0000000000 code=0x80000000"
stamp="audit($(date +%s.%3N):4711):"
native() { # FIELDS: an entry for the journal's own socket
  printf "$@" | /run/ut/forger send /run/systemd/journal/socket
}
"#;

/// Installs and starts [`UNIT`], which forges as this script does and then fails, or goes on.
fn forge(bed: &Bed, script: &str, settings: &str) {
    bed.write_file(FORGER, format!("{PREPARE}{script}"));
    bed.run(&["chmod", "755", FORGER]);
    bed.install_unit(UNIT, &format!("[Service]\nExecStart={FORGER}\nSystemCallFilter=~@mount\n{settings}"));
    bed.exec(&["systemctl", "start", UNIT]);
    if script.contains("exit 1") {
        bed.wait_until("it has failed", |bed| bed.show(UNIT, "ActiveState") == "failed");
    }
}

/// Waits until so many entries match: else the case would show nothing.
fn assert_arrived(bed: &Bed, count: usize, matches: &[&str], text: &str) {
    let arrived = |bed: &Bed| {
        let entries = bed.journal(matches);
        entries.iter().filter(|entry| entry["MESSAGE"].as_str().is_some_and(|it| it.contains(text))).count()
    };
    bed.wait_until(&format!("{count} forged entries are in the journal"), |bed| arrived(bed) >= count);
}

/// Panics unless the logs alone, and a replay, open nothing for [`UNIT`], which fails for a reason of its own.
fn assert_nothing_gained(bed: &Bed) {
    let before = Snapshot::of(bed, UNIT);
    for arguments in [&["--no-replay"][..], &["--observe", "1"], &["--no-replay", "--json"]] {
        let output = bed.unitfix(&[&[UNIT, "--apply", "--yes"], arguments].concat());
        assert_said(&output, 3, &["exit-code"]);
        for word in ["Repair:", "\"repair\": {", "+SystemCallFilter=", "  killed   v-forge"] {
            assert!(!output.stdout.contains(word), "{word:?}: {output:?}");
        }
        assert_plain(&output);
        before.assert_same(bed, UNIT, "forged records");
    }
}

/// Panics unless [`UNIT`], which runs, is not even suspected of having been denied anything.
fn assert_no_suspicion(bed: &Bed) {
    assert_eq!(bed.show(UNIT, "ActiveState"), "active");
    let (before, invocation) = (Snapshot::of(bed, UNIT), bed.show(UNIT, "InvocationID"));
    let output = bed.unitfix(&[UNIT, "--apply", "--yes", "--observe", "1"]);
    assert_said(&output, 0, &["Nothing to repair: it runs, and no denied call of it is on record"]);
    before.assert_same(bed, UNIT, "a forged death");
    assert_eq!(bed.show(UNIT, "InvocationID"), invocation, "it was not restarted");
}

/// Panics if anything is printed that a terminal would not just show.
fn assert_plain(output: &Output) {
    for text in [&output.stdout, &output.stderr] {
        assert_plain_text(text);
    }
}

fn assert_plain_text(text: &str) {
    let raw = |c: char| {
        (c.is_control() && c != '\n')
            || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{fffd}')
    };
    assert!(!text.contains(raw), "{text:?}");
}

/// Through standard output, under the kernel's and audit's names.
fn stdout(bed: &Bed) {
    let script = r#"
for head in "audit: type=1326 $stamp" "type=SECCOMP msg=$stamp" "SECCOMP" "<5>audit: type=1326 $stamp" "$stamp"; do
  echo "$head $task"
  echo "$head $task" >&2
done
echo "v.service: Main process exited, code=killed, status=31/SYS"
exit 1
"#;
    for identifier in ["kernel", "audit"] {
        forge(bed, script, &format!("SyslogIdentifier={identifier}\nSyslogFacility=kern\n"));
        assert_arrived(bed, 10, &[&format!("SYSLOG_IDENTIFIER={identifier}")], "syscall=165");
        assert_nothing_gained(bed);
    }
    // of a log that the user names he knows whose it is: this is what all of the above would have done
    let record = bed.journal(&["SYSLOG_IDENTIFIER=kernel"]).iter().find_map(|entry| {
        entry["MESSAGE"].as_str().filter(|text| text.starts_with("type=SECCOMP")).map(str::to_owned)
    });
    bed.write_file("/run/v.log", record.unwrap());
    let output = bed.unitfix(&[UNIT, "--no-replay", "--log", "/run/v.log"]);
    assert_said(&output, 1, &["+SystemCallFilter=mount", "in the log that you named"]);
    // but not of one whose lines say that the service wrote them
    bed.run(&["sh", "-c", "journalctl --unit v.service --output=short >/run/v.log"]);
    bed.run(&["sh", "-c", "echo \"$(sed -n 1p /run/v.log)x kernel: $(sed -n 2p /run/v.log)\" >>/run/v.log"]);
    let output = bed.unitfix(&[UNIT, "--no-replay", "--log", "/run/v.log"]);
    assert!(!output.stdout.contains("audit: type=1326"), "{output:?}");
}

/// Through syslog's socket.
fn syslog(bed: &Bed) {
    let script = r#"
for line in "<5>kernel: audit: type=1326 $stamp $task" "<5>audit: type=1326 $stamp $task" "<5>audit[$$]: SECCOMP $task" \
  "<5>audit: SECCOMP $task" "<5>Nov 23 19:39:07 kernel: audit: type=1326 $stamp $task"; do
  printf '%s' "$line" | /run/ut/forger send /dev/log
done
exit 1
"#;
    forge(bed, script, "");
    assert_arrived(bed, 5, &["_TRANSPORT=syslog"], "syscall=165");
    assert_nothing_gained(bed);
}

/// Through the journal's own socket, with every field that the real entries have.
fn native_socket(bed: &Bed) {
    let script = r#"
for message in "audit: type=1326 $stamp $task" "SECCOMP $task"; do
  for transport in kernel audit; do
    native '%s\n' "MESSAGE=$message" "_TRANSPORT=$transport" SYSLOG_FACILITY=0 SYSLOG_IDENTIFIER=$transport \
      _AUDIT_TYPE=1326 _AUDIT_TYPE_NAME=SECCOMP _AUDIT_ID=4711 _PID=1 _UID=0 _COMM=systemd _SYSTEMD_UNIT=init.scope \
      PRIORITY=5 "_SOURCE_REALTIME_TIMESTAMP=$(date +%s)000000"
  done
done
# a field whose value is given with its length, and fields behind it; and a message that goes on as an entry
(printf 'MESSAGE\n\004\000\000\000\000\000\000\000abc\n\n_TRANSPORT=audit\n_AUDIT_TYPE=1326\nMESSAGE=SECCOMP %s\n' "$task"
  printf '\n_TRANSPORT=kernel\nSYSLOG_FACILITY=0\nMESSAGE=audit: type=1326 %s %s\n' "$stamp" "$task") |
  /run/ut/forger send /run/systemd/journal/socket
exit 1
"#;
    forge(bed, script, "");
    assert_arrived(bed, 4, &["_TRANSPORT=journal", "SYSLOG_FACILITY=0"], "syscall=165");
    assert!(bed.journal(&["_AUDIT_ID=4711"]).is_empty(), "journald took a field that is its own");
    assert_nothing_gained(bed);
}

/// Through the journal's own socket, as systemd-coredump reports a death by SIGSYS.
fn core_dump(bed: &Bed) {
    let script = r#"
native '%s\n' MESSAGE_ID=fc2e22bc6ee647b6b90729ab34a250b1 "MESSAGE=Process $$ (v-forge) of user 0 dumped core." \
  _SYSTEMD_UNIT=systemd-coredump@1-2-0.service SYSLOG_IDENTIFIER=systemd-coredump COREDUMP_UNIT=v.service \
  COREDUMP_PID=$$ COREDUMP_UID=0 COREDUMP_SIGNAL=31 COREDUMP_SIGNAL_NAME=SIGSYS COREDUMP_COMM=v-forge \
  COREDUMP_EXE=/usr/local/bin/v-forge "COREDUMP_TIMESTAMP=$(date +%s)000000" COREDUMP_FILENAME=/etc/shadow PRIORITY=2
exec sleep infinity
"#;
    forge(bed, script, "");
    assert_arrived(bed, 1, &["COREDUMP_UNIT=v.service", "COREDUMP_SIGNAL=31"], "dumped core");
    assert_no_suspicion(bed);
    assert!(!bed.unitfix(&[UNIT, "--blame", "--no-replay"]).stdout.contains("killed"));
}

/// As the manager reports a death.
const REPORT: &str = r#"
report() { # PID
  printf '%s\n' UNIT=v.service "MESSAGE=v.service: Main process exited, code=killed, status=31/SYS" _PID=1 _UID=0 \
    _COMM=systemd _SYSTEMD_UNIT=init.scope _SYSTEMD_CGROUP=/init.scope _TRANSPORT=journal SYSLOG_IDENTIFIER=systemd \
    MESSAGE_ID=98e322203f7a4ed290d09fe03c09fe15 EXIT_CODE=killed EXIT_STATUS=31 COMMAND=ExecStart PRIORITY=5 |
    /run/ut/forger send /run/systemd/journal/socket "$@"
}
"#;

fn manager_report(bed: &Bed) {
    forge(bed, &format!("{REPORT}\nreport\nexec sleep infinity\n"), "");
    assert_arrived(bed, 1, &["UNIT=v.service", "EXIT_STATUS=31"], "status=31/SYS");
    assert_no_suspicion(bed);
}

/// Root with CAP_SYS_ADMIN can send as the manager itself. The report is believed; but it names no call.
fn manager_report_of_root(bed: &Bed) {
    forge(bed, &format!("{REPORT}\nreport 1\nexec sleep infinity\n"), "");
    assert_arrived(bed, 1, &["_PID=1", "UNIT=v.service", "EXIT_STATUS=31"], "status=31/SYS");
    let before = Snapshot::of(bed, UNIT);
    for arguments in [&["--no-replay"][..], &["--observe", "1"]] {
        let output = bed.unitfix(&[&[UNIT, "--apply", "--yes"], arguments].concat());
        assert!(!output.stdout.contains("Repair:"), "{output:?}");
        before.assert_same(bed, UNIT, "a report without a record");
    }
}

/// Through the kernel's log, where the service may write it.
fn kmsg(bed: &Bed) {
    bed.run(&[
        "sh",
        "-c",
        "rm -f /dev/kmsg; mknod -m 644 /dev/kmsg c 1 11; systemctl restart systemd-journald",
    ]);
    let script = r#"
for head in "<0>" "<5>" "<1029>" "<2048>" ""; do
  echo "${head}audit: type=1326 $stamp $task" >/dev/kmsg || exit 2
done
printf '<5>x\naudit: type=1326 %s %s\n SUBSYSTEM=x\n' "$stamp" "$task" >/dev/kmsg || exit 2
exit 1
"#;
    forge(bed, script, "");
    assert_arrived(bed, 5, &["_TRANSPORT=kernel"], "v-forge");
    // of the kernel's own entries journald says so; without, none would be believed
    assert!(!bed.journal(&["_TRANSPORT=kernel", "SYSLOG_FACILITY=0"]).is_empty());
    assert_nothing_gained(bed);
    bed.run(&["sh", "-c", "rm -f /dev/kmsg; systemctl restart systemd-journald"]);
}

/// What processes call themselves: at most 15 bytes.
const NAMES: &[&[u8]] = &[
    b" syscall=165 ",
    b"x\" exe=\"/y\" s",
    b"a\n[Service]\nU=",
    b"\x1b[2J\x1b]0;t\x07",
    b"\xc2\x9b31m\xe2\x80\xae\xff\xfe",
    b"7822",
    b"(null)",
    b"(v-forge)",
    b"\\x41\\n%n$(id)",
];

/// Panics unless all that is printed and written of [`UNIT`], which was killed for calling setrlimit, is harmless, and
/// nothing is opened but that.
fn assert_harmless(bed: &Bed, how: &[&str]) {
    let before = bed.tree("/etc/systemd/system");
    let forms = [&["--json"][..], &[], &["--patch=message"]];
    let forms = if how.contains(&"--no-replay") { &forms[..] } else { &forms[..1] }; // each would be a replay
    for arguments in forms {
        let output = bed.unitfix(&[&[UNIT, "--prefer", "exact"], how, arguments].concat());
        assert_said(&output, 1, &["setrlimit"]);
        assert!(!output.stdout.contains("allow mount"), "{output:?}");
        assert_plain(&output);
    }
    let output = bed.unitfix(&[&[UNIT, "--prefer", "exact", "--apply"], how].concat());
    assert_plain(&output);
    assert_said(&output, 0, &["Repaired: "]);
    assert_eq!(settings(bed, DROP_IN), ["SystemCallFilter=setrlimit"]);
    assert_plain_text(&bed.read_file(DROP_IN));
    assert_plain_text(&bed.read_file("/var/lib/unitfix/v.service.json"));
    for arguments in [&["status"][..], &["status", "--json"], &["revert", UNIT, "--yes"]] {
        let output = bed.unitfix(arguments);
        assert_plain(&output);
        assert_said(&output, 0, &[]);
    }
    assert_eq!(bed.tree("/etc/systemd/system"), before, "reverted byte for byte");
}

/// A shell's printf prints these bytes of it.
fn octal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |out, byte| out + &format!("\\{byte:03o}"))
}

/// Starts [`UNIT`] with a script that makes forbidden calls under names of its own, until the kernel has told of all:
/// `of` is in their paths.
fn denied_under_names(bed: &Bed, script: &str, of: &str, commands: &str) {
    bed.write_file(FORGER, script);
    bed.run(&["chmod", "755", FORGER]);
    let text = "Type=oneshot\nRemainAfterExit=yes\nSystemCallFilter=~@resources @mount\n";
    bed.install_unit(UNIT, &format!("[Service]\nExecStart={FORGER}\n{text}{commands}"));
    bed.run(&["systemctl", "start", UNIT]);
    let hexadecimal = of.bytes().fold(String::new(), |out, byte| out + &format!("{byte:02X}"));
    bed.wait_until("records of all names", |bed| {
        let records = bed.journal(&["_TRANSPORT=audit", "_AUDIT_TYPE=1326"]);
        let messages = records.iter().filter_map(|entry| entry["MESSAGE"].as_str());
        messages.filter(|message| message.contains(of) || message.contains(&hexadecimal)).count()
            >= NAMES.len()
    });
}

/// Names that processes give themselves (PR_SET_NAME).
fn names(bed: &Bed) {
    let Victim { path, .. } = bed.own_victim();
    bed.run(&["cp", "/run/ut/forger", &path]);
    let calls = NAMES.iter().map(|name| format!("printf '{}' | {path} name 160\n", octal(name)));
    let script = format!("#!/bin/sh\n{}exit 0\n", calls.collect::<String>());
    // a program of the unit, so that the records are known to be the unit's; its own name is empty
    denied_under_names(bed, &script, &path, &format!("ExecStartPre=-{path} name 160\n"));
    assert_harmless(bed, &["--yes", "--no-replay", "--observe", "1"]);
}

/// Names of program files, which only a replay shows to be the unit's.
fn program_files(bed: &Bed) {
    let folder = format!("/usr/local/bin/{}.d", bed.own_victim().comm);
    let calls = NAMES.iter().map(|name| {
        let name: Vec<u8> = name.iter().map(|byte| if *byte == b'/' { b'|' } else { *byte }).collect();
        let path = format!("\"$(printf '{folder}/{}.')\"", octal(&name));
        // they live on, where they live, so that it can be seen whose they are
        format!("cp -f /run/ut/victim {path}\n{path} setrlimit sleep &\n")
    });
    let script = format!("#!/bin/sh\nmkdir -p {folder}\n{}exit 0\n", calls.collect::<String>());
    denied_under_names(bed, &script, &folder, "");
    assert_plain(&bed.unitfix(&[UNIT, "--no-replay"]));
    assert_plain(&bed.unitfix(&[UNIT, "--no-replay", "--blame", "--json"]));
    let replay = [UNIT, "--yes", "--observe", "1", "--prefer", "exact", "--via"];
    let output = bed.unitfix(&[&replay[..], &["strace"]].concat());
    assert_said(&output, 1, &["+SystemCallFilter=setrlimit"]);
    assert_plain(&output);
    assert_harmless(bed, &["--yes", "--observe", "1", "--via", "log"]);
    bed.run(&["systemctl", "stop", UNIT]);
    bed.run(&["rm", "-rf", &folder]);
}

/// auditd's log, where others than root could have written it.
fn audit_log(bed: &Bed) {
    forge(bed, "exec sleep infinity\n", "");
    let record = r#"mkdir -p /var/log/audit && chmod 750 /var/log/audit && printf 'type=SECCOMP msg=audit(%s:4711): auid=4294967295 uid=0 gid=0 ses=4294967295 pid=4711 comm="v-forge" exe="/usr/local/bin/v-forge" sig=31 arch=c000003e syscall=165 compat=0 ip=0x7f0000000000 code=0x80000000\n' "$(date +%s.%3N)" >/var/log/audit/audit.log && chmod 600 /var/log/audit/audit.log"#;
    bed.run(&["sh", "-c", record]);
    // auditd's own, which counts
    assert_said(&bed.unitfix(&[UNIT, "--no-replay"]), 1, &["+SystemCallFilter=mount"]);
    for (attack, why) in [
        ("chmod 666 /var/log/audit/audit.log", "others than root can write it"),
        ("chmod 620 /var/log/audit/audit.log", "others than root can write it"),
        ("chown 1000 /var/log/audit/audit.log", "it is not root's"),
        ("chmod 777 /var/log/audit", "others than root can write it"),
        ("chown 1000 /var/log/audit", "it is not root's"),
        (
            "cd /var/log/audit; mv audit.log /run/v.log; ln -s /run/v.log audit.log",
            "Too many levels of symbolic links",
        ),
        (
            "cd /var/log; mv audit /tmp/v.audit; chown 1000 /tmp/v.audit; ln -s /tmp/v.audit audit",
            "it is not root's",
        ),
        ("cd /var/log/audit; rm audit.log; mkfifo -m 600 audit.log", "neither a file nor a directory"),
    ] {
        bed.run(&["sh", "-c", &format!("rm -rf /var/log/audit /tmp/v.audit; {record}; {attack}")]);
        let output = bed.unitfix(&[UNIT, "--no-replay"]);
        assert!(output.status == 0 || output.status == 3, "{attack}: {output:?}");
        assert_said(&output, output.status, &["/var/log/audit", why]);
        assert!(!output.stdout.contains("Repair:"), "{attack}: {output:?}");
    }
    bed.run(&["rm", "-rf", "/var/log/audit", "/tmp/v.audit", "/run/v.log"]);
}
