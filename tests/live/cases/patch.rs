//! `--patch` of units of the manager: the patched unit works, and the manager shows the same of it as with the drop-in.

use std::io::{Seek, Write};
use std::process::Command;

use super::Case;
use super::support::{UNIT, assert_said, no_records_of_others, start_killed};
use crate::bed::Bed;

pub const CASES: &[Case] = &[
    Case::new("patch::group", |bed| {
        patched(bed, "SystemCallFilter=~@resources\n", &["SystemCallFilter=setrlimit"]);
    }),
    Case::new("patch::name", |bed| {
        patched(bed, "SystemCallFilter=~bpf \\\n# why\n  setrlimit \\\n  keyctl\n", &[]);
    }),
    Case::new("patch::order", |bed| {
        let filter = "SystemCallFilter=@system-service\nSystemCallFilter=~@resources\n";
        patched(bed, filter, &["SystemCallFilter=setrlimit"]);
    }),
    Case::new("patch::allow_list", |bed| {
        // all that the victim needs but for the one call
        let filter = "SystemCallFilter=@system-service\nSystemCallFilter=~@resources @clock\nSystemCallFilter=@clock\n";
        patched(bed, filter, &["SystemCallFilter=@clock setrlimit"]);
    }),
];

const PATH: &str = "/etc/systemd/system/v.service";

/// Prints the patch of a unit with this filter, applies it, and compares. `added` are the lines that the patch adds.
fn patched(bed: &Bed, filter: &str, added: &[&str]) {
    let _quiet = no_records_of_others();
    start_killed(bed, &format!("[Service]\nExecStart=VICTIM setrlimit sleep\n{filter}"));
    let before = bed.read_file(PATH);
    let arguments = [UNIT, "--yes", "--observe", "1", "--prefer", "exact"];
    let output = bed.unitfix(&[&arguments[..], &["--patch"]].concat());
    assert_said(&output, 1, &["Nothing was changed. This is a patch of etc/systemd/system/v.service: "]);
    assert_eq!(bed.read_file(PATH), before);

    let written = bed.unitfix(&[&arguments[..], &["--apply"]].concat());
    assert_said(&written, 0, &["Repaired: "]);
    let with_drop_in = shown(bed);
    assert_said(&bed.unitfix(&["revert", UNIT, "--yes"]), 0, &[]);
    // else it would be killed again only after the unit file was changed
    bed.wait_until("it has failed again", |bed| bed.show(UNIT, "ActiveState") == "failed");
    assert_ne!(shown(bed), with_drop_in);

    let after = applied(&before, &output.stdout);
    let lines = after.lines().filter(|line| before.lines().all(|old| old != *line));
    assert_eq!(lines.collect::<Vec<_>>(), added, "{}", output.stdout);
    bed.install_unit(UNIT, &after);
    bed.run(&["systemctl", "reset-failed", UNIT]);
    bed.run(&["systemctl", "restart", UNIT]);
    assert_eq!(bed.show(UNIT, "ActiveState"), "active");
    assert_eq!(shown(bed), with_drop_in);
    let output = bed.unitfix(&[UNIT, "--patch", "--yes"]);
    assert_said(&output, 0, &["Nothing to repair"]);
    assert_eq!(output.stdout, "");
}

fn shown(bed: &Bed) -> [String; 2] {
    ["SystemCallFilter", "SystemCallArchitectures"].map(|property| bed.show(UNIT, property))
}

/// The unit file with a patch, which git applies.
fn applied(before: &str, patch: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join(PATH.trim_start_matches('/'));
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    std::fs::write(&file, before).unwrap();
    let mut stdin = tempfile::tempfile().unwrap();
    stdin.write_all(patch.as_bytes()).unwrap();
    stdin.rewind().unwrap();
    let status = Command::new("git").arg("apply").current_dir(folder.path()).stdin(stdin).status().unwrap();
    assert!(status.success(), "{patch}");
    std::fs::read_to_string(&file).unwrap()
}
