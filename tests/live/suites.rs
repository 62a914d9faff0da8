//! Which systems the live tests run on.

use std::collections::BTreeSet;
use std::process::Command;
use std::sync::{Mutex, PoisonError};

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
pub const UNFETCHABLE: i32 = 3;

/// What was not run, to be said again at the end, where it is read.
static NOT_RUN: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

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
                not_run(&format!("suite {} could not be fetched", suite.name));
            }
            _ => return Err(String::from_utf8_lossy(&output.stderr).into_owned()),
        }
    }
    Ok(suites)
}

/// Whether a suite has the same major version of systemd as the host, on which the same cases run.
pub fn repeats_host(name: &str) -> bool {
    const OF_BOOKWORM: &str = "systemd 252 ";
    let output = Command::new("systemctl").arg("--version").output();
    name == "bookworm" && output.is_ok_and(|output| output.stdout.starts_with(OF_BOOKWORM.as_bytes()))
}

/// The suites beside that of the machine take turns, as the whole has to be over in half an hour.
const IN_TURNS: [&str; 3] = ["bullseye", "trixie", "sid"];

/// Whether it is not this suite's turn to run the case of this number, but another one's.
pub fn is_turn_of_another(name: &str, number: usize) -> bool {
    let at = IN_TURNS.iter().position(|suite| *suite == name);
    !all_turns() && at.is_some_and(|at| number % IN_TURNS.len() != at)
}

/// Whether every case was asked for on every suite.
pub fn all_turns() -> bool {
    std::env::var_os("UNITFIX_LIVE_ALL").is_some_and(|value| value == "1")
}

/// Whether this suite, with whatever packages, has to work.
pub fn is_mandatory(name: &str) -> bool {
    SUITES.iter().any(|suite| suite.name == name && suite.mandatory)
}

/// Says that something was not run, now and at the end.
pub fn not_run(what: &str) {
    eprintln!("NOT RUN: {what}");
    NOT_RUN.lock().unwrap_or_else(PoisonError::into_inner).insert(what.to_owned());
}

/// Says all of it again.
pub fn report_not_run() {
    for what in NOT_RUN.lock().unwrap_or_else(PoisonError::into_inner).iter() {
        eprintln!("NOT RUN: {what}");
    }
}
