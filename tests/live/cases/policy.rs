//! The commands `policy` and `explain` beside a running manager.

use crate::bed::Bed;

use super::Case;

pub const CASES: &[Case] = &[
    Case::new("policy::shows_what_systemctl_shows", shows_what_systemctl_shows),
    Case::new("policy::stale_unit", stale_unit),
    Case::new("policy::calls", calls),
];

const PROPERTIES: [&str; 6] = [
    "--property=SystemCallFilter",
    "--property=SystemCallArchitectures",
    "--property=SystemCallErrorNumber",
    "--property=SystemCallLog",
    "--property=RestrictAddressFamilies",
    "--property=RestrictNamespaces",
];

const NOBODY: [&str; 5] = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--"];

fn systemctl(bed: &Bed, unit: &str) -> String {
    bed.run(&[&["systemctl", "show"], &PROPERTIES[..], &["--", unit]].concat())
}

/// The loaded services of the suite itself, as root and as anybody.
fn shows_what_systemctl_shows(bed: &Bed) {
    let listing =
        bed.run(&["systemctl", "list-units", "--all", "--type=service", "--plain", "--no-legend", "--full"]);
    let mut compared = 0;
    for line in listing.lines() {
        let mut words = line.split_whitespace();
        let (Some(unit), Some("loaded")) = (words.next(), words.next()) else { continue };
        let shown = bed.unitfix(&["policy", unit, "--show"]);
        assert_eq!((shown.status, shown.stderr.as_str()), (0, ""), "{unit}");
        assert_eq!(shown.stdout.trim_end(), systemctl(bed, unit), "{unit}");
        compared += 1;
    }
    assert!(compared >= 5, "{listing}");
    let user =
        bed.exec(&[&NOBODY[..], &["/run/ut/unitfix", "policy", "systemd-journald", "--show"]].concat());
    assert_eq!((user.status, user.stderr.as_str()), (0, ""));
    assert_eq!(user.stdout.trim_end(), systemctl(bed, "systemd-journald.service"));
}

/// The manager still enforces what it read, and both commands say so.
fn stale_unit(bed: &Bed) {
    let text = |filter: &str| {
        format!(
            "[Service]\nExecStart=/bin/true\nSystemCallFilter={filter}\nType=oneshot\nRemainAfterExit=yes\n"
        )
    };
    bed.install_unit("stale.service", &text("~mount"));
    // what is not active is forgotten, and read anew when somebody asks
    bed.run(&["systemctl", "start", "stale.service"]);
    let enforced = bed.unitfix(&["policy", "stale", "mount", "swapon"]);
    let page = |line: &str| {
        format!(
            "mount: kills the process\n  because  /etc/systemd/system/stale.service:3:19\n             \
             {line}\n                               ^^^^^ mount is named here\n\nswapon: allowed\n  because  \
             /etc/systemd/system/stale.service:3:18\n             {line}\n                              ^^^^^^ \
             swapon is not on this list of what is forbidden\n"
        )
    };
    assert_eq!((enforced.status, enforced.stdout), (0, page("SystemCallFilter=~mount")));
    // systemd compares times of change, which are those of the clock's last tick
    bed.run(&["sleep", "0.1"]);
    bed.write_file("/etc/systemd/system/stale.service", text("~swapon"));
    assert_eq!(bed.show("stale.service", "NeedDaemonReload"), "yes");
    let shown = bed.unitfix(&["policy", "stale", "--show"]);
    assert!(shown.stderr.contains("run `systemctl daemon-reload`"), "{shown:?}");
    let linted = bed.unitfix(&["policy", "stale", "--lint"]);
    assert_eq!(linted.status, 1, "{linted:?}");
    assert!(linted.stdout.contains("warning[policy-differs]"), "{linted:?}");
}

fn calls(bed: &Bed) {
    bed.install_unit(
        "asked.service",
        "[Service]\nExecStart=/bin/true\nSystemCallFilter=@system-service\nSystemCallFilter=~setrlimit:EPERM\n\
         RestrictAddressFamilies=AF_UNIX\n",
    );
    let told = bed.unitfix(&["explain", "setrlimit", "--unit", "asked"]);
    assert_eq!(told.status, 0, "{told:?}");
    // systemd 247 forgets the errno
    let soft = bed.systemd_version() >= 248;
    let words = if soft {
        "asked.service forbids setrlimit, softly: it fails with EPERM."
    } else {
        "asked.service forbids setrlimit: whoever makes it is killed."
    };
    let expected = format!(
        "{words}\n  because  /etc/systemd/system/asked.service:4:19\n             SystemCallFilter=~setrlimit:EPERM\n"
    );
    assert!(told.stdout.contains(&expected), "{told:?}\n{expected}");
    let asked = bed.unitfix(&["policy", "asked", "socket"]);
    let expected = "socket: it depends on the arguments\n  fails with EAFNOSUPPORT where\n";
    assert!(asked.status == 0 && asked.stdout.starts_with(expected), "{asked:?}");
    let absent = bed.unitfix(&["policy", "no-such-unit"]);
    assert_eq!(
        (absent.status, absent.stderr.as_str()),
        (
            2,
            "unitfix: there is no unit no-such-unit.service (systemctl list-unit-files shows those that exist)\n"
        )
    );
}
