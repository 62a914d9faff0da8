//! `unitfix scan`: which units were denied something, as the logs of a running system tell.

use crate::bed::Bed;
use crate::schema;
use serde_json::Value;

use super::Case;

pub const CASES: &[Case] = &[
    Case::new("scanning::two_units", two_units),
    Case::new("scanning::printed_by_journalctl", printed_by_journalctl),
    Case::new("scanning::healthy", healthy).alone(),
    Case::new("scanning::waited_for", waited_for),
    // where systemd-journal-remote is
    Case::new("scanning::many_hosts", many_hosts).only_on(&["host"]),
    Case::new("scanning::boots", boots).only_on(&["host"]),
];

/// Installs and starts a service that is killed for a call, and waits until it is on record. Returns its `comm`.
fn killed(bed: &Bed, unit: &str, call: &str, filter: &str) -> String {
    let victim = bed.own_victim();
    let text = format!("[Service]\nExecStart={} {call} sleep\nSystemCallFilter={filter}\n", victim.path);
    bed.install_unit(unit, &text);
    bed.exec(&["systemctl", "start", unit]);
    let comm = victim.comm;
    bed.wait_until("a record of the kill", |bed| !bed.seccomp_records(&comm).is_empty());
    comm
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// The row of a unit.
fn row<'a>(report: &'a Value, unit: &str) -> &'a Value {
    let rows = report["units"].as_array().unwrap();
    rows.iter().find(|row| row["unit"] == unit).unwrap_or_else(|| panic!("no {unit} in {report:#}"))
}

/// Each has its calls, as often as the journal has them, the line that decided, and the command.
fn two_units(bed: &Bed) {
    let one = killed(bed, "one.service", "setrlimit", "~@resources");
    let two = killed(bed, "two.service", "chown", "~@mount chown");
    bed.exec(&["systemctl", "restart", "one.service"]);
    bed.wait_until("a second record", |bed| bed.seccomp_records(&one).len() >= 2);

    let scanned = bed.unitfix(&["scan", "--json"]);
    assert_eq!(scanned.status, 1, "{scanned:?}");
    let report = json(&scanned.stdout);
    for (unit, comm, call, token) in
        [("one.service", &one, "setrlimit", "@resources"), ("two.service", &two, "chown", "chown")]
    {
        let row = row(&report, unit);
        let records = bed.seccomp_records(comm).len();
        assert_eq!(row["killed"], records, "{row:#}");
        assert_eq!(row["repair"], format!("sudo unitfix {unit}"), "{row:#}");
        let calls = row["calls"].as_array().unwrap();
        assert_eq!(calls.len(), 1, "{row:#}");
        assert_eq!(
            (&calls[0]["call"], &calls[0]["program"]),
            (&call.into(), &comm.as_str().into()),
            "{row:#}"
        );
        let place = &calls[0]["decided_by"];
        assert_eq!(place["file"], format!("/etc/systemd/system/{unit}"), "{row:#}");
        assert!(place["text"].as_str().unwrap().contains(token), "{row:#}");
    }
    let text = bed.unitfix(&["scan"]);
    assert_eq!((text.status, text.stderr.as_str()), (1, ""));
    for line in ["  repair   sudo unitfix one.service\n", "  repair   sudo unitfix two.service\n"] {
        assert!(text.stdout.contains(line), "{}", text.stdout);
    }
    assert!(text.stdout.lines().all(|line| line.chars().count() <= 80), "{}", text.stdout);
}

/// What journalctl prints of the same journal says the same.
fn printed_by_journalctl(bed: &Bed) {
    let comm = killed(bed, "printed.service", "setrlimit", "~@resources");
    let records = bed.seccomp_records(&comm).len();
    for output in ["json", "export"] {
        let pipe = format!("journalctl -b --no-pager -o {output} | /run/ut/unitfix scan --json");
        let scanned = bed.exec(&["sh", "-c", &pipe]);
        assert_eq!(scanned.status, 1, "{scanned:?}");
        assert_eq!(schema::check(&["scan"], &scanned.stdout), 1);
        let report = json(&scanned.stdout);
        assert_eq!(row(&report, "printed.service")["killed"], records, "{output}: {report:#}");
    }
}

/// A service that makes only calls that it may, is not shown.
fn healthy(bed: &Bed) {
    let since = format!("@{}", bed.run(&["date", "+%s"]));
    let victim = bed.own_victim();
    let text = format!("[Service]\nExecStart={} sleep\nSystemCallFilter=~@resources\n", victim.path);
    bed.install_unit("healthy.service", &text);
    bed.run(&["systemctl", "start", "healthy.service"]);
    let scanned = bed.unitfix(&["scan", "--since", &since]);
    assert_eq!((scanned.status, scanned.stderr.as_str()), (0, ""), "{}", scanned.stdout);
    assert!(scanned.stdout.starts_with("No service was denied a system call since "), "{}", scanned.stdout);
    let other = bed.unitfix(&["scan", "--boot=-7"]);
    assert_eq!(other.status, 2, "{other:?}");
}

/// A denied call of a service, as its host has it on record in a boot: what the kernel and the manager say.
fn sent(host: &str, boot: char, number: u32) -> String {
    let us = 1_767_600_000_000_000 + u64::from(number) * 1_000_000;
    let head = |us: u64| {
        let ids = [boot, host.chars().next().unwrap()].map(|digit| digit.to_string().repeat(32));
        format!(
            "__REALTIME_TIMESTAMP={us}\n__MONOTONIC_TIMESTAMP={}\n_BOOT_ID={}\n_MACHINE_ID={}\n_HOSTNAME={host}\n",
            us - 1_767_500_000_000_000,
            ids[0],
            ids[1]
        )
    };
    format!(
        "{}_TRANSPORT=kernel\nSYSLOG_FACILITY=0\nMESSAGE=audit: type=1326 audit({}.{:03}:{number}): auid=4294967295 \
         uid=0 gid=0 ses=4294967295 pid={} comm=\"sent\" exe=\"/usr/bin/sent\" sig=31 arch=c000003e syscall=160 \
         compat=0 ip=0x433079 code=0x80000000\n\n{}_TRANSPORT=journal\n_PID=1\nUNIT=sent.service\nEXIT_CODE=killed\n\
         EXIT_STATUS=31\nCOMMAND=ExecStart\nMESSAGE=sent.service: Main process exited, code=killed, status=31/SYS\n\n",
        head(us),
        us / 1_000_000,
        us / 1000 % 1000,
        1000 + number,
        head(us + 20_000),
    )
}

/// Has systemd-journal-remote write a journal file with these entries.
fn keep(bed: &Bed, file: &str, entries: &str) {
    let script =
        r#"mkdir -p "$(dirname "$1")" && exec /usr/lib/systemd/systemd-journal-remote --output="$1" -"#;
    let kept = bed.exec_with(&["sh", "-c", script, "sh", file], entries.as_bytes());
    assert_eq!(kept.status, 0, "{kept:?}");
}

/// How many records journalctl finds that match.
fn journalctl_counts(bed: &Bed, arguments: &[&str]) -> usize {
    let words = ["journalctl", "--quiet", "--no-pager", "--output=cat", "_TRANSPORT=kernel"];
    bed.run(&[&words[..], arguments].concat()).lines().count()
}

/// A directory as systemd-journal-remote fills it: a file for each host.
fn many_hosts(bed: &Bed) {
    let folder = "/run/many-hosts";
    for (host, times) in [("alpha", 3), ("beta", 5)] {
        let entries: String = (1..=times).map(|number| sent(host, '1', number * 20)).collect();
        keep(bed, &format!("{folder}/remote-{host}.journal"), &entries);
    }
    let scanned = bed.unitfix(&["scan", "-D", folder, "--json"]);
    assert_eq!((scanned.status, scanned.stderr.as_str()), (1, ""), "{}", scanned.stdout);
    let report = json(&scanned.stdout);
    let rows = report["units"].as_array().unwrap();
    assert_eq!(rows.len(), 2, "{report:#}");
    for row in rows {
        let host = row["host"].as_str().unwrap();
        let counted = journalctl_counts(bed, &["-D", folder, &format!("_HOSTNAME={host}")]);
        assert_eq!((&row["unit"], &row["killed"]), (&"sent.service".into(), &counted.into()), "{report:#}");
        assert_eq!(row["calls"][0]["call"], "setrlimit", "{report:#}");
    }
    bed.run(&["rm", "-r", folder]);
}

/// The boots that a journal has, by number and by ID.
fn boots(bed: &Bed) {
    let root = "/run/scanned-root";
    let folder = format!("{root}/var/log/journal/{}", "a".repeat(32));
    let of = |boot, numbers: std::ops::Range<u32>| -> String {
        numbers.map(|number| sent("alpha", boot, number * 20)).collect()
    };
    let entries = [of('1', 1..4), of('2', 10..15), of('3', 20..22)].concat();
    keep(bed, &format!("{folder}/system.journal"), &entries);
    bed.run(&["mkdir", "-p", &format!("{root}/usr/lib/systemd/system")]);
    bed.run(&["touch", &format!("{root}/usr/lib/systemd/libsystemd-shared-252.so")]);
    let ids = ["1", "2", "3"].map(|digit| digit.repeat(32));
    for (boot, id, times) in [("0", 2, 2), ("-1", 1, 5), ("-2", 0, 3), ("1", 0, 3), (ids[1].as_str(), 1, 5)] {
        let scanned = bed.unitfix(&["scan", "--root", root, &format!("--boot={boot}"), "--json"]);
        let report = json(&scanned.stdout);
        // its own --boot= takes numbers only in /var/log/journal
        let counted = journalctl_counts(bed, &["-D", &folder, &format!("_BOOT_ID={}", ids[id])]);
        assert_eq!(counted, times, "{boot}");
        assert_eq!(row(&report, "sent.service")["killed"], times, "{boot}: {report:#}");
    }
    let unknown = bed.unitfix(&["scan", "--root", root, "--boot=-3"]);
    let told = "unitfix: the journal has no boot -3: `journalctl --list-boots` shows those that it has\n";
    assert_eq!((unknown.status, unknown.stderr.as_str()), (2, told), "{unknown:?}");
    bed.run(&["rm", "-r", root]);
}

/// Somebody waits for a long input, sees how far it came, and has had enough.
fn waited_for(bed: &Bed) {
    let entries: String = (0..8000).map(|number| sent("alpha", '1', number)).collect();
    bed.write_file("/run/long", entries);
    let script = "trap : INT; (cat /run/long; sleep 1; cat /run/long; sleep 60) | /run/ut/unitfix scan";
    let mut terminal = bed.terminal(&["sh", "-c", script]);
    terminal.expect(" MiB, ");
    terminal.expect(" records");
    terminal.interrupt();
    let (status, text) = terminal.wait();
    assert_eq!(status, 130, "{text}");
    let told = "Interrupted: this is what was found until then, and there may be more.\n";
    assert!(text.ends_with(told), "{text}");
    assert!(text.contains("sent.service on alpha: killed "), "{text}");

    // nothing of the bar where nobody looks
    let quiet = bed.exec(&["sh", "-c", "(cat /run/long; sleep 1; cat /run/long) | /run/ut/unitfix scan"]);
    assert_eq!((quiet.status, quiet.stderr.as_str()), (1, ""), "{}", quiet.stdout);
}
