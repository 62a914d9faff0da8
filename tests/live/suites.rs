//! Which systems the live tests run on.

use std::process::Command;

use crate::bed::testbed;

struct Suite {
    name: &'static str,
    mandatory: bool,
}

const SUITES: [Suite; 5] = [
    Suite { name: "host", mandatory: true },
    Suite { name: "bullseye", mandatory: false },
    Suite { name: "bookworm", mandatory: true },
    Suite { name: "trixie", mandatory: false },
    Suite { name: "sid", mandatory: false },
];

/// What `testbed fetch` exits with when the suite itself cannot be had.
const UNFETCHABLE: i32 = 3;

/// The suites that can be booted here, or why the tests cannot run at all.
pub fn available() -> Result<Vec<&'static str>, String> {
    if !nix::unistd::geteuid().is_root() {
        return Err("they need root".into());
    }
    let mut suites = Vec::new();
    for suite in &SUITES {
        let output = Command::new(testbed())
            .args(["fetch", suite.name])
            .output()
            .map_err(|error| format!("{}: {error}", testbed().display()))?;
        match output.status.code() {
            Some(0) => suites.push(suite.name),
            Some(UNFETCHABLE) if !suite.mandatory => {
                eprint!("{}", String::from_utf8_lossy(&output.stderr));
            }
            _ => return Err(String::from_utf8_lossy(&output.stderr).into_owned()),
        }
    }
    report_not_run(&suites);
    Ok(suites)
}

/// Says which suites are missing, at the start and again at the end, where it is read.
pub fn report_not_run(available: &[&str]) {
    for suite in SUITES.iter().filter(|suite| !available.contains(&suite.name)) {
        eprintln!("NOT RUN: suite {} could not be fetched", suite.name);
    }
}
