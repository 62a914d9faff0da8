//! What several cases need: a unit that is killed, and everything that unitfix could change for it.

use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::bed::{Bed, Output};
use crate::tree::Tree;

pub const UNIT: &str = "v.service";
/// Where the repair of [`UNIT`] is written.
pub const DROP_IN: &str = "/etc/systemd/system/v.service.d/zz-unitfix.conf";

/// Killed at its start; `VICTIM` stands for the victim's path.
pub const FAILED: &str = "[Service]\nExecStart=VICTIM setrlimit sleep\nSystemCallFilter=~@resources\n";
/// Active, while its children are killed.
pub const ACTIVE: &str =
    "[Service]\nExecStart=VICTIM child every=1 setrlimit sleep\nSystemCallFilter=~@resources\n";

/// All beds hear the records of one kernel. Who makes records of every call there is holds this for writing, and who
/// counts on there being none for reading.
static RECORDS: RwLock<()> = RwLock::new(());

/// As long as this is held, no other case makes records of calls that it was not meant to.
pub fn no_records_of_others() -> RwLockReadGuard<'static, ()> {
    RECORDS.read().unwrap_or_else(PoisonError::into_inner)
}

/// As long as this is held, records of any call may be made.
pub fn records_of_every_call() -> RwLockWriteGuard<'static, ()> {
    RECORDS.write().unwrap_or_else(PoisonError::into_inner)
}

/// Installs [`UNIT`] with a victim of its own and starts it, whatever comes of it. Returns the victim's `comm`.
pub fn start(bed: &Bed, text: &str) -> String {
    let victim = bed.own_victim();
    bed.install_unit(UNIT, &text.replace("VICTIM", &victim.path));
    bed.exec(&["systemctl", "start", UNIT]);
    victim.comm
}

/// Like [`start`], for a unit that is killed: waits for the record.
pub fn start_killed(bed: &Bed, text: &str) -> String {
    let comm = start(bed, text);
    bed.wait_until("a record of the kill", |bed| !bed.seccomp_records(&comm).is_empty());
    if text != ACTIVE {
        bed.wait_until("it has failed", |bed| bed.show(UNIT, "ActiveState") == "failed");
    }
    comm
}

/// Everything that unitfix could change for a unit.
#[derive(Debug, PartialEq, Eq)]
pub struct Snapshot {
    etc: Tree,
    run: Tree,
    /// Notes of replays, traces, and whatever else but locks.
    own: Tree,
    receipts: Tree,
    state: String,
    result: String,
    filter: String,
    architectures: String,
}

impl Snapshot {
    pub fn of(bed: &Bed, unit: &str) -> Self {
        let mut own = bed.tree("/run/unitfix");
        own.retain(|path, node| {
            !path.starts_with("lock") && !matches!(node, crate::tree::Node::Directory { .. })
        });
        let mut receipts = bed.tree("/var/lib/unitfix");
        receipts.retain(|_, node| !matches!(node, crate::tree::Node::Directory { .. }));
        for node in receipts.values_mut() {
            node.forget_lines_with("\"written\":");
        }
        Self {
            etc: bed.tree("/etc/systemd/system"),
            run: bed.tree("/run/systemd/system"),
            own,
            receipts,
            state: bed.show(unit, "ActiveState"),
            // whether a core is written is the kernel's affair: another case may just have its setting changed
            result: bed.show(unit, "Result").replace("core-dump", "signal"),
            filter: bed.show(unit, "SystemCallFilter"),
            architectures: bed.show(unit, "SystemCallArchitectures"),
        }
    }

    /// What was below `/run/systemd/system`.
    pub fn run(&self) -> Tree {
        self.run.clone()
    }

    /// Panics if anything is not as it was.
    pub fn assert_same(&self, bed: &Bed, unit: &str, when: &str) {
        // a unit that is put back to "failed" is started again, and may need a moment for it
        bed.wait_until(&format!("{when}: it is {} again", self.state), |bed| {
            bed.show(unit, "ActiveState") == self.state
        });
        let now = Self::of(bed, unit);
        assert!(now.own.is_empty(), "{when}: left behind in /run/unitfix: {:?}", now.own);
        let differences = self.differences(&now);
        assert!(differences.is_empty(), "{when}: before, and now:\n{}", differences.join("\n"));
    }

    /// What is not the same.
    fn differences(&self, now: &Self) -> Vec<String> {
        let mut out = Vec::new();
        for (before, now) in [
            (&self.etc, &now.etc),
            (&self.run, &now.run),
            (&self.own, &now.own),
            (&self.receipts, &now.receipts),
        ] {
            out.extend(crate::tree::differences(before, now));
        }
        for (before, now) in [
            (&self.state, &now.state),
            (&self.result, &now.result),
            (&self.filter, &now.filter),
            (&self.architectures, &now.architectures),
        ] {
            out.extend((before != now).then(|| format!("{before}, {now}")));
        }
        out
    }
}

/// Panics unless unitfix ended with this status, without a panic of its own, and said all of this.
pub fn assert_said(output: &Output, status: i32, words: &[&str]) {
    let said = format!("{}{}", output.stdout, output.stderr);
    assert_eq!(output.status, status, "{said}");
    assert!(!said.contains("panicked"), "{said}");
    for word in words {
        assert!(said.contains(word), "{word:?} is not in\n{said}");
    }
}

/// The settings in a drop-in of unitfix's: its lines without comments and the section.
pub fn settings(bed: &Bed, path: &str) -> Vec<String> {
    let text = bed.read_file(path);
    assert!(text.starts_with("# Written by unitfix "), "{text}");
    let lines =
        text.lines().filter(|line| !line.starts_with('#') && *line != "[Service]" && !line.is_empty());
    lines.map(str::to_owned).collect()
}

/// Panics unless unitfix repairs [`UNIT`] with exactly these settings and takes all of it back again. Returns what the
/// repair said.
pub fn assert_repaired(bed: &Bed, arguments: &[&str], expected: &[&str]) -> Output {
    let before = bed.tree("/etc/systemd/system");
    let output = bed.unitfix(&[&[UNIT, "--apply", "--yes", "--observe", "1"], arguments].concat());
    assert_said(&output, 0, &["Repaired: "]);
    assert_eq!(settings(bed, DROP_IN), expected, "{output:?}");
    let reverted = bed.unitfix(&["revert", UNIT, "--yes"]);
    assert_said(&reverted, 0, &[]);
    assert_eq!(bed.tree("/etc/systemd/system"), before, "reverted byte for byte");
    output
}

/// There is no such repair: what there is instead is shown, and not written although nobody is asked.
pub fn assert_not_of_this_kind(bed: &Bed) {
    let before = bed.tree("/etc/systemd/system");
    let output = bed.unitfix(&[UNIT, "--apply", "--yes", "--prefer", "soft", "--observe", "1"]);
    let words = "Nothing was changed: this is not the kind of change that was asked for (--prefer soft)";
    assert_said(&output, 1, &["Repair: allow ", words]);
    assert_eq!(bed.tree("/etc/systemd/system"), before);
}
