//! The package: what it installs works on every suite, diagnoses what fails, and goes without a trace but its repairs.

use std::collections::BTreeSet;

use unitfix::report::MESSAGE_ID;

use crate::bed::Bed;
use crate::package;

use super::Case;
use super::support::{DROP_IN, FAILED, Snapshot, UNIT, assert_said, start, start_killed};

const EVERYWHERE: &[&str] = &["host", "bullseye", "bookworm", "trixie", "sid"];

pub const CASES: &[Case] = &[
    Case::new("packaged::installed", installed).only_on(EVERYWHERE),
    Case::new("packaged::lintian", lintian).only_on(&["host"]),
    // all beds have one kernel log: records of other beds may be taken for those of its processes
    Case::new("packaged::reported", reported).only_on(EVERYWHERE).alone(),
    Case::new("packaged::nothing_denied", nothing_denied).only_on(&["host"]).alone(),
    Case::new("packaged::latest_run", latest_run).only_on(&["bullseye", "sid"]).alone(),
    Case::new("packaged::start_limit", start_limit).only_on(&["host", "trixie"]).alone(),
    Case::new("packaged::hostile_name", hostile_name).only_on(&["bullseye", "sid"]).alone(),
    Case::new("packaged::itself", itself).only_on(&["host", "sid"]),
    Case::new("packaged::after_an_upgrade", after_an_upgrade).only_on(&["host", "trixie"]).alone(),
];

/// The file that a service is started by when [`UNIT`] fails.
const TEMPLATE: &str = "/usr/lib/systemd/system/unitfix@.service";

/// Installs the package. In beds, processes of kernel records are found elsewhere.
fn install(bed: &Bed) {
    bed.run(&["dpkg", "--install", &package::deb()]);
    let environment = "[Service]\nEnvironment=UNITFIX_PROC_ROOT=/run/hostproc\n";
    bed.write_file("/run/systemd/system/unitfix@.service.d/bed.conf", environment);
    bed.run(&["systemctl", "daemon-reload"]);
}

fn purge(bed: &Bed) -> String {
    let output = bed.exec(&["dpkg", "--purge", "unitfix"]);
    assert_eq!(output.status, 0, "{output:?}");
    output.stderr
}

/// The entries that unitfix wrote about a unit, found as systemd's own tools find them.
fn reports(bed: &Bed, unit: &str) -> Vec<serde_json::Value> {
    bed.journal(&["--unit", unit, &format!("MESSAGE_ID={MESSAGE_ID}")])
}

/// Waits until the diagnosis of a unit is over; returns what it said in its own log the last time.
fn diagnosed(bed: &Bed, unit: &str) -> String {
    let name = format!("unitfix@{unit}.service");
    let own = |bed: &Bed| {
        let lines = bed.journal(&["--unit", &name, "SYSLOG_IDENTIFIER=unitfix", "_TRANSPORT=stdout"]);
        lines.iter().filter_map(|entry| entry["MESSAGE"].as_str().map(str::to_owned)).collect::<Vec<_>>()
    };
    bed.wait_until("the diagnosis is over", |bed| {
        !own(bed).is_empty() && ["inactive", "failed"].contains(&bed.show(&name, "ActiveState").as_str())
    });
    own(bed).pop().unwrap_or_default()
}

/// What is on the system and stays: paths with modes, owners, kinds and targets of links. On the host, other folders are
/// changed by whoever works there.
fn files(bed: &Bed) -> BTreeSet<String> {
    let command = ["find", "/etc", "/opt", "/usr", "/var", "-xdev", "-printf", "%p %m %U:%G %y %l\n"];
    let found = bed.run(&command);
    // what the package manager and the journal keep for themselves
    let own = ["/var/lib/dpkg/", "/var/log/", "/var/cache/", "/var/lib/systemd/coredump/", "/var/tmp/"];
    let kept = found.lines().filter(|line| !own.iter().any(|folder| line.starts_with(folder)));
    kept.map(str::to_owned).collect()
}

/// From installing to purging, with a repair in between that outlives the package.
fn installed(bed: &Bed) {
    let before = files(bed);
    install(bed);
    let new: BTreeSet<String> = files(bed).difference(&before).cloned().collect();
    let paths: Vec<&str> = new.iter().filter_map(|line| line.split(' ').next()).collect();
    let completion = "/usr/share/bash-completion/completions/unitfix";
    for path in ["/usr/bin/unitfix", TEMPLATE, "/usr/share/man/man1/unitfix.1.gz", completion] {
        assert!(paths.contains(&path), "{path} is not in {paths:#?}");
    }
    // all of it is the package's
    let owned = bed.run(&["dpkg", "--listfiles", "unitfix"]);
    let owned: BTreeSet<&str> = owned.lines().collect();
    let strange: Vec<&&str> = paths.iter().filter(|path| !owned.contains(**path)).collect();
    assert!(strange.is_empty(), "{strange:?}");
    let verified = bed.exec(&["systemd-analyze", "verify", "--man=no", TEMPLATE]);
    assert!(verified.status == 0 && !verified.stderr.contains("unitfix"), "{verified:?}");
    let manual = bed.run(&["sh", "-c", "gzip -dc /usr/share/man/man1/unitfix.1.gz"]);
    assert_eq!(manual.trim_end(), include_str!("../../../man/unitfix.1").trim_end());
    assert_eq!(bed.run(&["unitfix", "--version"]), concat!("unitfix ", env!("CARGO_PKG_VERSION")));

    let untouched = bed.tree("/etc/systemd/system");
    start_killed(bed, FAILED);
    let command =
        ["env", "UNITFIX_PROC_ROOT=/run/hostproc", "unitfix", UNIT, "--apply", "--yes", "--observe", "1"];
    assert_said(&bed.exec(&command), 0, &["Repaired: "]);
    let repaired = bed.read_file(DROP_IN);

    let said = purge(bed);
    let kept = "unitfix: the repair of v.service stays in force: \
                /etc/systemd/system/v.service.d/zz-unitfix.conf (its receipt: /var/lib/unitfix/v.service.json)";
    assert!(said.lines().any(|line| line == kept), "{said}");
    assert_eq!(bed.read_file(DROP_IN), repaired);
    bed.run(&["systemctl", "restart", UNIT]);
    assert_eq!(bed.show(UNIT, "ActiveState"), "active");

    install(bed);
    assert_said(&bed.exec(&["unitfix", "revert", UNIT, "--yes"]), 0, &[]);
    bed.run(&["systemctl", "stop", UNIT]);
    bed.run(&["rm", &format!("/etc/systemd/system/{UNIT}")]);
    assert_eq!(bed.tree("/etc/systemd/system"), untouched);
    let said = purge(bed);
    assert!(!said.contains("stays in force"), "{said}");
    let left: Vec<String> = files(bed).symmetric_difference(&before).cloned().collect();
    let left: Vec<&String> = left.iter().filter(|line| !line.starts_with("/usr/local/bin")).collect();
    assert!(left.is_empty(), "{left:#?}");
    assert_eq!(bed.exec(&["test", "-e", "/run/unitfix"]).status, 1);
}

/// Debian's own judgement of the package; what is overridden says why.
fn lintian(bed: &Bed) {
    let deb = package::deb();
    let output = bed.exec(&["lintian", "--allow-root", "--fail-on", "error,warning", &deb]);
    assert_eq!((output.status, output.stdout.as_str()), (0, ""), "{output:?}");
}

/// A service that is killed is reported in its own log, with the words of the catalog, and nothing else is changed.
fn reported(bed: &Bed) {
    install(bed);
    bed.run(&["rm", "-rf", "/run/unitfix"]); // of a case before this one
    let comm = start(bed, &format!("[Unit]\nOnFailure=unitfix@%n.service\n{FAILED}"));
    assert_eq!(diagnosed(bed, UNIT), "Reported: journalctl -x -u v.service");
    let after = Snapshot::of(bed, UNIT);
    assert_eq!(bed.show("unitfix@v.service.service", "Result"), "success");
    assert_eq!(bed.exec(&["test", "-e", "/run/unitfix"]).status, 1, "nothing was written");

    let entries = reports(bed, UNIT);
    assert_eq!(entries.len(), 1, "{entries:#?}");
    let field = |name: &str| entries[0][name].as_str().unwrap_or_default();
    let fields = ["PRIORITY", "SYSLOG_IDENTIFIER", "OBJECT_SYSTEMD_UNIT", "UNITFIX_CALL", "UNITFIX_REPAIR"];
    let values = fields.map(field);
    assert_eq!(values, ["4", "unitfix", UNIT, "setrlimit", "sudo unitfix v.service"], "{entries:#?}");
    assert_eq!(shown(bed, &comm), REPORTED);
    let status = bed.exec(&["systemctl", "status", "--no-pager", "--full", "--lines=50", UNIT]).stdout;
    assert!(status.contains(REPORTED.lines().next().unwrap()), "{status}");

    after.assert_same(bed, UNIT, "a report");

    // the same once more is not told again
    bed.exec(&["systemctl", "start", UNIT]);
    bed.wait_until("it says so", |bed| {
        diagnosed(bed, UNIT) == "Nothing new to report: journalctl -x -u v.service"
    });
    assert_eq!(reports(bed, UNIT).len(), 1);
    purge(bed);
}

/// What `journalctl -x` prints of it, without what differs each time.
const REPORTED: &str = "\
v.service is denied setrlimit by its own settings. To repair it: sudo unitfix v.service

v.service has failed: it was killed for a forbidden system call.

  killed   VICTIM   setrlimit   at TIME
  because  /etc/systemd/system/v.service:5:19
             SystemCallFilter=~@resources
                               ^^^^^^^^^^ @resources contains setrlimit
  (known to be the unit's: REASON)

Repair: allow setrlimit (1 call more; N fewer than taking @resources out of the
  deny list)
  adds no power: prlimit64, which can do the same, is already allowed
░░ Subject: v.service was denied system calls by its own settings
░░ Defined-By: unitfix
░░ Documentation: man:unitfix(1)
░░
░░ In its latest run, v.service made system calls that its own settings
░░ forbid, such as SystemCallFilter=. The message says which, who made them, and
░░ which word of which line of the unit decided that.
░░
░░ Nothing was changed. This shows what would repair it, and asks before anything
░░ is restarted or written:
░░
░░     sudo unitfix v.service
░░
░░ Often the program was upgraded, and needs more than the unit's author knew of.
░░ But a service that suddenly wants other calls may also have been taken over:
░░ read what the repair gives away before you agree to it.
";

/// The report and its explanation, as `journalctl -x -u` prints them.
fn shown(bed: &Bed, comm: &str) -> String {
    let matches = format!("MESSAGE_ID={MESSAGE_ID}");
    let text =
        bed.run(&["journalctl", "--quiet", "--no-hostname", "-o", "short-unix", "-x", "-u", UNIT, &matches]);
    let head = text.find("]: ").unwrap_or_default() + "]: ".len();
    let mut out = String::new();
    let mut goes_on = false; // the reason takes a second line
    for line in text[head..].lines() {
        // lines behind the first are indented as far as that begins
        let body = line.get(..head).filter(|indent| indent.trim().is_empty()).map_or(line, |_| &line[head..]);
        // how many calls @resources has, differs
        let body = body
            .replace(comm, "VICTIM")
            .replace("; 11 fewer", "; N fewer")
            .replace("; 12 fewer", "; N fewer");
        if std::mem::take(&mut goes_on) {
            continue;
        }
        goes_on = body.contains("(known to be the unit's: ") && !body.trim_end().ends_with(')');
        let body = match (body.split_once("   at "), body.split_once("(known to be the unit's: ")) {
            (Some((before, _)), _) => format!("{before}   at TIME"),
            (_, Some((before, _))) => format!("{before}(known to be the unit's: REASON)"),
            _ => body,
        };
        out.push_str(body.trim_end());
        out.push('\n');
    }
    out
}

/// Installs and starts a service of its own name, as what was reported of one is not reported again. Returns the
/// victim's `comm`.
fn start_as(bed: &Bed, unit: &str, text: &str) -> String {
    let victim = bed.own_victim();
    bed.install_unit(unit, &text.replace("VICTIM", &victim.path));
    bed.exec(&["systemctl", "start", unit]);
    victim.comm
}

/// A failure of another kind leaves nothing in the log of the service.
fn nothing_denied(bed: &Bed) {
    install(bed);
    let text = "[Unit]\nOnFailure=unitfix@%n.service\n[Service]\nExecStart=VICTIM exit=3\nSystemCallFilter=~@resources\n";
    start_as(bed, "quiet.service", text);
    let said = "Nothing to report: no denied call of quiet.service is on record since its latest run began.";
    assert_eq!(diagnosed(bed, "quiet.service"), said);
    assert_eq!(reports(bed, "quiet.service"), Vec::<serde_json::Value>::new());
    purge(bed);
}

/// What was denied to an earlier run is no reason for a later failure.
fn latest_run(bed: &Bed) {
    install(bed);
    let comm = start_killed(bed, FAILED);
    bed.run(&["systemctl", "reset-failed", UNIT]);
    let text = bed.read_file(&format!("/etc/systemd/system/{UNIT}"));
    // the unit stays the same one: only what its program does has changed
    let program = format!("/usr/local/bin/{comm}");
    bed.run(&["mv", &program, &format!("{program}-before")]);
    bed.write_file(&program, "#!/bin/sh\nexit 3\n");
    bed.run(&["chmod", "755", &program]);
    assert_eq!(bed.read_file(&format!("/etc/systemd/system/{UNIT}")), text);
    bed.exec(&["systemctl", "start", UNIT]);
    bed.wait_until("it fails", |bed| bed.show(UNIT, "ActiveState") == "failed");
    let report = bed.exec(&["env", "UNITFIX_PROC_ROOT=/run/hostproc", "unitfix", "report", UNIT]);
    assert_said(&report, 0, &["Nothing to report: no denied call of v.service is on record"]);
    // the kill is on record all the same
    let all = bed.unitfix(&[UNIT, "--no-replay"]);
    assert!(all.stdout.contains("setrlimit"), "{all:?}");
    bed.run(&["rm", &format!("{program}-before")]);
    purge(bed);
}

/// A service that is started again and again fails when it was started too often: no new run began then.
fn start_limit(bed: &Bed) {
    install(bed);
    let text = "[Unit]\nOnFailure=unitfix@%n.service\nStartLimitBurst=3\nStartLimitIntervalSec=60\n\
                [Service]\nExecStartPre=/bin/true\nExecStart=VICTIM setrlimit\nSystemCallFilter=~@resources\n\
                Restart=on-failure\nRestartSec=300ms\n";
    let unit = "again.service";
    let comm = start_as(bed, unit, text);
    bed.wait_until("it is not started any more", |bed| {
        bed.seccomp_records(&comm).len() == 3 && bed.show(unit, "ActiveState") == "failed"
    });
    // from systemd 254 on it is told each time
    bed.wait_until("it is diagnosed", |bed| !reports(bed, unit).is_empty());
    let said = diagnosed(bed, unit);
    assert!(["Reported: ", "Nothing new to report: "].iter().any(|it| said.starts_with(it)), "{said}");
    let entries = reports(bed, unit);
    assert_eq!(entries.len(), 1, "{entries:#?}");
    let message = entries[0]["MESSAGE"].as_str().unwrap_or_default();
    assert!(
        message.contains(&format!("  killed   {comm}   setrlimit   at ")),
        "only the last counts: {message}"
    );
    purge(bed);
}

/// What a program calls itself is not printed as it is.
fn hostile_name(bed: &Bed) {
    install(bed);
    bed.run(&["cp", "/run/ut/victim", "/usr/local/bin/v\u{1b}[31m\nred"]);
    let link = "/usr/local/bin/v-hostile";
    bed.write_file(link, "#!/bin/sh\nexec \"$(printf '/usr/local/bin/v\\033[31m\\nred')\" setrlimit\n");
    bed.run(&["chmod", "755", link]);
    let unit = "hostile.service";
    bed.install_unit(
        unit,
        &format!("[Unit]\nOnFailure=unitfix@%n.service\n[Service]\nExecStart={link}\nSystemCallFilter=~@resources\n"),
    );
    bed.exec(&["systemctl", "start", unit]);
    assert_eq!(diagnosed(bed, unit), "Reported: journalctl -x -u hostile.service");
    let entries = reports(bed, unit);
    let message = entries[0]["MESSAGE"].as_str().unwrap_or_default();
    assert!(message.contains(r"  killed   v\u{1b}[31m\nred   setrlimit"), "{message}");
    bed.run(&["rm", "/usr/local/bin/v\u{1b}[31m\nred"]);
    purge(bed);
}

/// A drop-in for every service is one for `unitfix@.service` as well, and what fails there ends there.
fn itself(bed: &Bed) {
    install(bed);
    let every = "[Unit]\nOnFailure=unitfix@%n.service\n";
    bed.write_file("/etc/systemd/system/service.d/unitfix.conf", every);
    bed.run(&["systemctl", "daemon-reload"]);
    bed.exec(&["systemctl", "start", "unitfix@gone.service.service"]);
    let begun = |bed: &Bed| {
        let begun = bed.journal(&["_PID=1", "JOB_TYPE=start"]);
        let units = begun.iter().filter_map(|entry| entry["UNIT"].as_str().map(str::to_owned));
        units.filter(|unit| unit.contains("gone.service")).collect::<BTreeSet<String>>()
    };
    // later ones than systemd 247 see to that themselves
    let unit = "unitfix@gone.service.service";
    let second = format!("unitfix@{unit}.service");
    let expected = if bed.systemd_version() < 252 { vec![unit, &second] } else { vec![unit] };
    bed.wait_until("it fails", |bed| begun(bed).iter().eq(expected.iter().copied()));
    bed.run(&["systemctl", "start", &second]);
    assert_eq!(begun(bed), BTreeSet::from([unit.to_owned(), second]));
    assert_eq!(diagnosed(bed, unit), "Nothing to report: this is unitfix itself.");
    // and if the program is gone, nothing fails at all
    bed.run(&["mv", "/usr/bin/unitfix", "/usr/bin/unitfix-gone"]);
    bed.run(&["systemctl", "start", "unitfix@other.service.service"]);
    bed.run(&["mv", "/usr/bin/unitfix-gone", "/usr/bin/unitfix"]);
    purge(bed);
}

/// A package of a service: an upgrade to version 2 brings a program that makes a forbidden call.
const UPGRADED: &str = r#"set -e
for version in 1 2; do
  folder=/run/package/$version
  mkdir -p $folder/DEBIAN $folder/usr/bin $folder/usr/lib/systemd/system
  printf 'Package: upgraded\nVersion: %s\nArchitecture: all\nMaintainer: Nobody <nobody@nowhere>\nDescription: test\n' \
    $version >$folder/DEBIAN/control
  # the new one is killed before the package manager is done
  while='while systemctl is-active --quiet upgraded.service; do sleep 0.1; done'
  [ $version = 2 ] || while=:
  printf '#!/bin/sh\nsystemctl daemon-reload\nsystemctl restart upgraded.service || :\n%s\n' "$while" \
    >$folder/DEBIAN/postinst
  chmod 755 $folder/DEBIAN/postinst
  cp /run/ut/victim $folder/usr/bin/COMM
  calls='sleep'
  [ $version = 1 ] || calls='setrlimit sleep'
  printf '[Service]\nExecStart=/usr/bin/COMM %s\nSystemCallFilter=~@resources\n' "$calls" \
    >$folder/usr/lib/systemd/system/upgraded.service
  dpkg-deb --build $folder /run/package/$version.deb >/dev/null
done
"#;

/// With the hook, apt says which services were denied something since the upgrade began, and nothing else.
fn after_an_upgrade(bed: &Bed) {
    install(bed);
    let comm = format!("u{}", std::process::id());
    bed.run(&["sh", "-c", &UPGRADED.replace("COMM", &comm)]);
    bed.run(&["cp", "/usr/share/doc/unitfix/examples/apt/80unitfix", "/etc/apt/apt.conf.d/"]);
    let apt = |package: &str| {
        let options = ["--yes", "--quiet=2", "--allow-downgrades"];
        let output = bed.exec(&[&["apt-get", "install"], &options[..], &[package]].concat());
        assert_eq!(output.status, 0, "{output:?}");
        output.stdout
    };
    let said = apt("/run/package/1.deb");
    assert!(!said.contains("unitfix:"), "{said}");
    let said = apt("/run/package/2.deb");
    let told = "unitfix: since this upgrade began, services were denied system calls:\n";
    let (_, told) = said.split_once(told).unwrap_or_else(|| panic!("{said}"));
    for words in ["upgraded.service", "setrlimit", "  repair   sudo unitfix upgraded.service\n"] {
        assert!(told.contains(words), "{words:?} is not in\n{said}");
    }
    assert_eq!(bed.exec(&["test", "-e", "/run/unitfix/upgrade-began"]).status, 1);

    // without the program, or with one that fails, an upgrade goes on
    purge(bed);
    let said = apt("/run/package/1.deb");
    assert!(!said.contains("unitfix"), "{said}");
    bed.run(&["rm", "/etc/apt/apt.conf.d/80unitfix"]);
    bed.run(&["dpkg", "--purge", "upgraded"]);
    bed.run(&["rm", "-r", "/run/package"]);
}
