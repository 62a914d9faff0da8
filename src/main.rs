//! The unitfix command: parse, run, print one error, exit.
#![forbid(unsafe_code)]

use clap::Parser;
use std::process::ExitCode;
use unitfix::cli::Cli;

fn main() -> ExitCode {
    // a local replay starts this program again to begin a command under a filter
    if std::env::args_os().nth(1).is_some_and(|a| a == unitfix::replay::local::ARGUMENT) {
        return unitfix::replay::local::launch_main();
    }
    unitfix::run::run(Cli::parse())
}
