//! The unitfix command: parse, run, print one error, exit.
#![forbid(unsafe_code)]

use std::process::ExitCode;
use unitfix::cli;

fn main() -> ExitCode {
    // shells ask what can follow; replays start this program again to begin a command under a filter
    if let Some(first) = std::env::args_os().nth(1) {
        if first == cli::complete::ARGUMENT {
            return cli::complete::complete_main();
        }
        if first == unitfix::replay::local::ARGUMENT {
            return unitfix::replay::local::launch_main();
        }
        if first == unitfix::replay::notified::ARGUMENT {
            return unitfix::replay::notified::gate_main();
        }
    }
    unitfix::run::run(cli::parse())
}
