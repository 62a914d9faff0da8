//! The groups that unitfix ships are those of the running managers.

use std::process::Command;

use crate::bed::Bed;
use crate::suites::not_run;

use super::Case;

/// What `rules/generate --check` exits with when the suite has newer packages than the rules were made from.
const MOVED_ON: i32 = 4;

pub const CASES: &[Case] = &[Case::new("groups::are_the_managers", are_the_managers)
    .only_on(&["bullseye", "bookworm", "trixie", "sid"])];

fn are_the_managers(bed: &Bed) {
    let version = bed.systemd_version();
    let output = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/rules/generate"))
        .args(["--check", &version.to_string()])
        .output()
        .unwrap();
    let message =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    if bed.suite == "sid" && (output.status.code() == Some(MOVED_ON) || !shipped(version)) {
        eprintln!("{message}");
        not_run("sid::groups: sid has moved on, run rules/generate");
        return;
    }
    assert!(output.status.success(), "{message}");
}

fn shipped(version: u32) -> bool {
    let file = format!("{}/rules/groups/systemd-{version}.yaml", env!("CARGO_MANIFEST_DIR"));
    std::path::Path::new(&file).exists()
}
