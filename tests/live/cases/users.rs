//! Units of a user's own service manager (`--user`): repaired by that user, who hears no kernel record.

use std::collections::BTreeSet;

use crate::bed::{Bed, Output};
use crate::schema;
use crate::terminal::Terminal;

use super::Case;
use super::support::assert_said;

pub const CASES: &[Case] = &[
    Case::new("users::repaired", repaired),
    Case::new("users::rolled_back", rolled_back),
    Case::new("users::killed", killed),
    Case::new("users::as_the_manager_would", as_the_manager_would),
    Case::new("users::without_a_manager", without_a_manager),
];

const UNITS: &str = "/home/alice/.config/systemd/user";

/// Stays, after a child of it was killed.
const ACTIVE: &str =
    "[Service]\nExecStart=/bin/sh -c 'uname; exec sleep infinity'\nSystemCallFilter=~uname\n";

/// A user with a service manager, who is gone when this is dropped.
struct Alice<'a> {
    bed: &'a Bed,
    uid: String,
}

impl<'a> Alice<'a> {
    fn new(bed: &'a Bed) -> Self {
        bed.run(&["useradd", "--create-home", "--shell", "/bin/sh", "alice"]);
        let alice = Alice { bed, uid: bed.run(&["id", "-u", "alice"]) };
        bed.run(&["loginctl", "enable-linger", "alice"]);
        let bus = format!("/run/user/{}/bus", alice.uid);
        bed.wait_until("a message bus of the user's", |bed| bed.exec(&["test", "-S", &bus]).status == 0);
        bed.wait_until("a manager of the user's", |_| {
            alice.exec(&["systemctl", "--user", "show"]).status == 0
        });
        alice
    }

    /// A command as this user would run it.
    fn command(&self, command: &[&str]) -> Vec<String> {
        let runtime = format!("XDG_RUNTIME_DIR=/run/user/{}", self.uid);
        let alice = ["setpriv", "--reuid=alice", "--regid=alice", "--init-groups", "--", "env", "-i"];
        let variables = [runtime.as_str(), "HOME=/home/alice", "USER=alice", "PATH=/run/ut:/usr/bin:/bin"];
        [&alice[..], &variables, command].concat().into_iter().map(str::to_owned).collect()
    }

    fn exec(&self, command: &[&str]) -> Output {
        let command = self.command(command);
        self.bed.exec(&command.iter().map(String::as_str).collect::<Vec<_>>())
    }

    fn run(&self, command: &[&str]) -> String {
        let output = self.exec(command);
        assert_eq!(output.status, 0, "{command:?}: {output:?}");
        output.stdout.trim_end().to_owned()
    }

    fn unitfix(&self, arguments: &[&str]) -> Output {
        self.exec(&[&["unitfix"], arguments].concat())
    }

    fn terminal(&self, arguments: &[&str]) -> Terminal {
        let command = self.command(&[&["TERM=xterm", "unitfix"], arguments].concat());
        self.bed.terminal(&command.iter().map(String::as_str).collect::<Vec<_>>())
    }

    fn install(&self, name: &str, text: &str) {
        let script = r#"mkdir -p "$(dirname "$1")"; printf %s "$2" >"$1"; systemctl --user daemon-reload"#;
        self.run(&["sh", "-c", script, "sh", &format!("{UNITS}/{name}"), text]);
    }

    fn show(&self, unit: &str, property: &str) -> String {
        self.run(&["systemctl", "--user", "show", "--value", "--property", property, unit])
    }
}

impl Drop for Alice<'_> {
    fn drop(&mut self) {
        self.bed.exec(&["loginctl", "disable-linger", "alice"]);
        self.bed.exec(&["systemctl", "stop", &format!("user@{}.service", self.uid)]);
        self.bed.exec(&["userdel", "--force", "--remove", "alice"]);
    }
}

/// From the unit that its children are killed in, over its repair, to how it was.
fn repaired(bed: &Bed) {
    let alice = Alice::new(bed);
    alice.install("app.service", ACTIVE);
    alice.run(&["systemctl", "--user", "start", "app"]);
    let home = bed.tree("/home/alice/.config");

    let looked = alice.unitfix(&["--user", "app"]);
    assert_said(
        &looked,
        0,
        &[
            "app.service is active.",
            "is not readable for alice, so a replay has to show the calls",
            "Not replayed, because there is no terminal to ask on",
        ],
    );
    assert_eq!(bed.tree("/home/alice/.config"), home);

    let before = alice.show("app", "InvocationID");
    let applied = alice.unitfix(&["--user", "app", "--apply", "--yes", "--observe", "1"]);
    assert_said(
        &applied,
        0,
        &[
            "Running the commands of app.service here for at most 1 s ... 1 call denied, nothing lost; running",
            "denied   uname (child of sh)   uname",
            "+++ /home/alice/.config/systemd/user/app.service.d/zz-unitfix.conf",
            "Proven: a second run under the repaired filter: running, and no call of it was denied.",
            "Repaired: app.service ran for 1 s",
            "Undo: unitfix revert app.service --user",
        ],
    );
    assert_eq!(alice.show("app", "DropInPaths"), format!("{UNITS}/app.service.d/zz-unitfix.conf"));
    assert_eq!(
        (alice.show("app", "ActiveState"), alice.show("app", "SystemCallFilter")),
        ("active".into(), "~".into())
    );
    assert_ne!(alice.show("app", "InvocationID"), before);
    // what it wrote is the user's, and of the system nothing was touched
    assert_eq!(alice.run(&["find", UNITS, "-not", "-user", "alice"]), "");
    for folder in [
        "/etc/systemd/system/app.service.d",
        "/run/unitfix/lock/app.service",
        "/var/lib/unitfix/app.service.json",
    ] {
        assert_ne!(bed.exec(&["test", "-e", folder]).status, 0, "{folder}");
    }

    let status = alice.unitfix(&["status", "--user"]);
    assert_said(
        &status,
        0,
        &["app.service  in place, seen to work", "undo: unitfix revert app.service --user"],
    );
    assert_said(&alice.unitfix(&["status"]), 0, &["unitfix has written nothing here."]);
    let json = alice.unitfix(&["status", "--user", "app", "--json"]);
    schema::check(&["status", "--json"], &json.stdout);
    assert_eq!(alice.run(&["unitfix", "policy", "--user", "app", "uname"]), "uname: allowed");
    assert_said(
        &alice.unitfix(&["policy", "--user", "appp"]),
        2,
        &["there is no unit appp.service: did you mean app.service?"],
    );
    assert_said(&alice.unitfix(&["app"]), 2, &["unitfix --user app"]);

    assert_said(&alice.unitfix(&["revert", "app", "--user", "--yes"]), 0, &["Taken back: app.service"]);
    assert_eq!(bed.tree("/home/alice/.config"), home);
    assert_eq!(
        (alice.show("app", "ActiveState"), alice.show("app", "SystemCallFilter")),
        ("active".into(), "~uname".into())
    );
}

/// What does not help under the manager is taken back, and a unit that had failed stands so again.
fn rolled_back(bed: &Bed) {
    let alice = Alice::new(bed);
    // with the drop-in there, it is well here and fails under its manager, of which it can tell
    let command = "/bin/sh -c 'uname || exit; test -z \"$INVOCATION_ID\" -o ! -e %E/systemd/user/%n.d'";
    alice.install(
        "odd.service",
        &format!("[Service]\nType=oneshot\nExecStart={command}\nSystemCallFilter=~uname\n"),
    );
    alice.exec(&["systemctl", "--user", "start", "odd"]);
    let home = bed.tree("/home/alice/.config");
    assert_eq!(alice.show("odd", "ActiveState"), "failed");
    let applied = alice.unitfix(&["--user", "odd", "--apply", "--yes", "--observe", "1"]);
    assert_said(&applied, 4, &["rolled back, because with it, the unit failed"]);
    assert_eq!(bed.tree("/home/alice/.config"), home);
    assert_eq!(alice.show("odd", "ActiveState"), "failed");
    assert_said(&alice.unitfix(&["status", "--user"]), 0, &["unitfix has written nothing here."]);
}

/// A run that is killed while the unit is stopped for it: the manager has a timer, and the next run is sooner.
fn killed(bed: &Bed) {
    let alice = Alice::new(bed);
    alice.install("app.service", ACTIVE);
    // it is stopped with that one, and not started again by it
    alice
        .install("needs.service", "[Unit]\nRequires=app.service\n[Service]\nExecStart=/bin/sleep infinity\n");
    alice.run(&["systemctl", "--user", "start", "app", "needs"]);
    let state = || [alice.show("app", "ActiveState"), alice.show("needs", "ActiveState")];
    let consequence =
        "A replay stops app.service, and with it needs.service, runs its commands here\nfor 1 s";
    let mut terminal = alice.terminal(&["--user", "app", "--observe", "1"]);
    terminal.expect(consequence);
    terminal.expect("Replay it? [y/N]");
    terminal.send("y\r");
    terminal.expect("1 call denied");
    terminal.expect("Write this, reload and restart?");
    terminal.send("n\r");
    assert_eq!(terminal.wait().0, 1);
    bed.wait_until("both run again", |_| state() == ["active", "active"]);
    let kill_in_the_middle = || {
        let run = "unitfix --user app --yes --observe 30 & sleep 2; kill -KILL $!; wait";
        alice.exec(&["sh", "-c", run]);
        assert_eq!(state(), ["inactive", "inactive"]);
    };
    kill_in_the_middle();
    let timers = alice.run(&["systemctl", "--user", "list-timers", "--all", "--no-legend"]);
    assert!(timers.contains("unitfix-replay-app.service.timer"), "{timers}");
    let left = "app.service  a replay is going on, or was left behind by a run that was killed: `unitfix app.service --user` \
                cleans up\n";
    assert_eq!(alice.unitfix(&["status", "--user"]).stdout, left);
    // what the timer does once its time is over
    alice.run(&["systemctl", "--user", "start", "unitfix-replay-app.service.service"]);
    bed.wait_until("the manager starts them again", |_| state() == ["active", "active"]);
    alice.run(&["systemctl", "--user", "stop", "unitfix-replay-app.service.timer"]);

    kill_in_the_middle();
    let next = alice.unitfix(&["--user", "app"]);
    assert_said(&next, 0, &["leftover-replay", "it was started again", "app.service is active."]);
    bed.wait_until("both run again", |_| state() == ["active", "active"]);
    let timers = alice.run(&["systemctl", "--user", "list-timers", "--all", "--no-legend"]);
    assert!(!timers.contains("unitfix"), "{timers}");
}

/// The commands find the same here as under the manager.
fn as_the_manager_would(bed: &Bed) {
    let alice = Alice::new(bed);
    let look = "{ pwd; umask; ulimit -Sn; id; grep NoNewPrivs /proc/self/status; \
                echo %h %t %S %C %L %E %u %U %g %G %s %T %V; env | sort; } >%h/seen-$$$$";
    let unit = "[Service]\nType=oneshot\nEnvironment=A=%h\nSystemCallFilter=~@reboot\n";
    alice.install(
        "look.service",
        &format!("{unit}ExecStart=/bin/sh -c '{look}; uname'\nSystemCallFilter=~uname\n"),
    );
    alice.exec(&["systemctl", "--user", "start", "look"]);
    // what each run has of its own, or only a manager can give
    let own = [
        "INVOCATION_ID",
        "JOURNAL_STREAM",
        "SYSTEMD_EXEC_PID",
        "MANAGERPID",
        "MANAGERPIDFDID",
        "MEMORY_PRESSURE_WATCH",
        "MEMORY_PRESSURE_WRITE",
    ];
    let seen = || {
        let text = alice.run(&["sh", "-c", "cat /home/alice/seen-*; rm /home/alice/seen-*"]);
        let lines = text.lines().filter(|line| !own.iter().any(|name| line.starts_with(&format!("{name}="))));
        lines.map(str::to_owned).collect::<BTreeSet<_>>()
    };
    let by_the_manager = seen();
    assert!(by_the_manager.contains("A=/home/alice"), "{by_the_manager:?}");
    let output = alice.unitfix(&["--user", "look", "--yes", "--observe", "1"]);
    assert_said(&output, 1, &["1 call denied", "To write it: unitfix look --observe 1 --user --apply"]);
    assert_eq!(seen(), by_the_manager);
}

/// Who has no manager is told how to come by one.
fn without_a_manager(bed: &Bed) {
    let nobody =
        ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--", "env", "-i", "/run/ut/unitfix"];
    let path = bed.exec(&[&nobody[..], &["--user", "./app.service"]].concat());
    assert_said(&path, 2, &["--user is for a unit that your manager has, named without a path"]);
    for arguments in [&["--user", "app"][..], &["policy", "--user", "app"]] {
        let output = bed.exec(&[&nobody[..], arguments].concat());
        assert_said(
            &output,
            5,
            &[
                "no systemd manager of nobody answers here (/run/user/65534: No such file or directory (os error 2))",
                "or always after `sudo loginctl enable-linger nobody`",
            ],
        );
    }
    assert_said(
        &bed.exec(&[&nobody[..], &["status", "--user"]].concat()),
        0,
        &["unitfix has written nothing here."],
    );
}
