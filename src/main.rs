//! The unitfix command.
use std::process::ExitCode;
use unitfix::replay::local;

fn main() -> ExitCode {
    if std::env::args_os().nth(1).is_some_and(|first| first == local::ARGUMENT) {
        return local::launch_main();
    }
    ExitCode::SUCCESS
}
