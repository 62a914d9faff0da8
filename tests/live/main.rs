//! Live tests: unitfix against the real systemd of several Debian releases, each booted in a bed.
//!
//! ```text
//! UNITFIX_LIVE=1 cargo test --locked --test live                       # everything
//! UNITFIX_LIVE=1 cargo test --locked --test live -- bookworm::harness  # what matches, as ever
//! ```
//!
//! Each [case](cases) runs on every suite, as a trial named `SUITE::CASE`. A case has a bed for
//! itself while it runs; [`bed::Pool`] hands beds on from one case to the next and stops them all at the end.
//! On a host with bookworm's systemd, only what names bookworm runs there, and what names no suite runs on one of
//! bullseye, trixie and sid, unless a filter asks for more, or `UNITFIX_LIVE_ALL=1`.
//! Nothing is skipped silently: the suites `host` and `bookworm` must work, and each other suite that
//! cannot be fetched, with the packages that a case needs, is reported as NOT RUN. This needs root, and what `tests/bed/testbed` needs.

#![forbid(unsafe_code)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::must_use_candidate,
    clippy::missing_panics_doc,
    missing_docs,
    unreachable_pub
)]

mod bed;
mod binaries;
mod bpf;
mod cases;
mod confinements;
mod cores;
mod package;
#[path = "../schema/mod.rs"]
mod schema;
mod shown;
mod suites;
mod terminal;
mod tree;

use std::process::ExitCode;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use libtest_mimic::{Arguments, Completion, Failed, Trial};

use bed::Pool;
use cases::Case;

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    if std::env::var_os("UNITFIX_LIVE").is_none_or(|value| value != "1") {
        eprintln!("NOT RUN: the live tests need UNITFIX_LIVE=1, root, and what tests/bed/testbed needs");
        return ExitCode::SUCCESS;
    }
    let suites = match suites::available() {
        Ok(suites) => suites,
        Err(why) => {
            eprintln!("the live tests cannot run: {why}");
            return ExitCode::FAILURE;
        }
    };
    if !arguments.list {
        binaries::directory();
        bed::stop_left_behind();
        bed::stop_on_signals();
    }

    std::panic::set_hook(Box::new(|info| eprintln!("{info}"))); // where and what, without a backtrace
    let pool = Arc::new(Pool::default());
    let everything = arguments.filter.is_none();
    let conclusion = libtest_mimic::run(&arguments, trials(&suites, &pool, everything, false));
    let one_by_one = Arguments { test_threads: Some(1), ..arguments };
    let of_the_rest = libtest_mimic::run(&one_by_one, trials(&suites, &pool, everything, true));
    pool.stop();
    report_slowest();
    if everything && !suites::all_turns() {
        suites::not_run(
            "cases that name no suite, on more than one of bullseye, trixie and sid each (UNITFIX_LIVE_ALL=1 runs them on all)",
        );
    }
    suites::report_not_run();
    if conclusion.has_failed() { conclusion.exit_code() } else { of_the_rest.exit_code() }
}

/// Those of the cases that run alone, or the others. Where everything is run, a case that names no suite does not run
/// on bookworm as well if the host has the same systemd.
fn trials(suites: &[&'static str], pool: &Arc<Pool>, everything: bool, alone: bool) -> Vec<Trial> {
    let mut trials = Vec::new();
    for &suite in suites {
        let repeats = everything && suites::repeats_host(suite);
        let runs = |case: &Case| case.alone == alone && case.runs_on(suite, repeats);
        let all = cases::all().into_iter().enumerate();
        for (number, case) in all.filter(|(_, case)| runs(case)) {
            if everything && case.only.is_empty() && suites::is_turn_of_another(suite, number) {
                continue;
            }
            let pool = Arc::clone(pool);
            let name = format!("{suite}::{}", case.name);
            trials.push((number, Trial::ignorable_test(name, move || run(&case, suite, &pool))));
        }
    }
    if alone {
        // one on all suites, then the next: floods come late, as the journals of all beds take a while to read them
        trials.sort_by_key(|(number, _)| *number);
    }
    trials.into_iter().map(|(_, trial)| trial).collect()
}

/// How long each case took, that of its bed's boot not counted.
static TIMES: Mutex<Vec<(Duration, String)>> = Mutex::new(Vec::new());

/// What to look at when the whole takes too long.
fn report_slowest() {
    let mut times = TIMES.lock().unwrap();
    times.sort_unstable_by(|one, other| other.cmp(one));
    for (time, name) in times.iter().take(20) {
        eprintln!("{:>5.0} s  {name}", time.as_secs_f64());
    }
}

fn run(case: &Case, suite: &'static str, pool: &Pool) -> Result<Completion, Failed> {
    match pool.take(suite, case.packages) {
        Ok(bed) => {
            let begun = Instant::now();
            (case.run)(&bed);
            TIMES.lock().unwrap().push((begun.elapsed(), format!("{suite}::{}", case.name)));
            Ok(Completion::Completed)
        }
        Err(why) if suites::is_mandatory(suite) => Err(why.to_string().into()),
        Err(why) => {
            suites::not_run(&format!("{suite}::{}: {}", case.name, why.summary()));
            Ok(Completion::ignored_with(why.summary()))
        }
    }
}
