//! `unitfix check`.

use super::{OBSERVE, quoted, systemd_version};
use crate::evidence::one_line;
use clap::Args;

/// How a check reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// For people.
    Text,
    /// One JSON object.
    Json,
    /// SARIF 2.1.0, as code scanning takes it.
    Sarif,
    /// Workflow commands of GitHub Actions.
    Github,
}

/// Checking a unit file.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
unitfix check ./debian/foo.service -- ./run-my-tests\n  \
unitfix check ./debian/foo.service --systemd 252 --format github -- make check\n  \
unitfix check ./debian/foo.service --under -- ./tests-that-start-foo\n  \
unitfix check ./debian/foo.service           its commands alone, for 10 s\n\n\
No service manager and no root is needed. What the filter would kill for is let\n\
through and recorded, so that one run finds all of it.\n\n\
Exit status: 0 nothing is denied, and the tests pass; 1 something is denied;\n\
2 usage; 3 the tests, or the unit, fail or take too long, and nothing is\n\
denied; 5 this system cannot do it; 130 interrupted, and all that was started\n\
is stopped.")]
pub struct CheckOptions {
    /// The path of a unit file, with a slash
    #[arg(value_name = "FILE")]
    pub unit: String,
    /// The tests: run beside the unit, without its filter
    #[arg(last = true, value_name = "COMMAND")]
    pub tests: Vec<String>,
    /// Run the tests themselves under the filter, and nothing of the unit
    #[arg(long, requires = "tests")]
    pub under: bool,
    /// Stop tests that take longer, as failed
    #[arg(long, value_name = "SECONDS", requires = "tests", value_parser = clap::value_parser!(u32).range(1..))]
    pub timeout: Option<u32>,
    /// Judge by the rules of this major version of systemd
    #[arg(long, value_name = "VERSION", value_parser = systemd_version)]
    pub systemd: Option<u32>,
    /// How to report: text, json, sarif or github
    #[arg(long, value_enum, value_name = "FORMAT", default_value = "text", hide_possible_values = true)]
    pub format: Format,
    /// Without tests: how long to watch the unit
    #[arg(long, value_name = "SECONDS", default_value_t = OBSERVE, value_parser = clap::value_parser!(u32).range(1..=86400))]
    pub observe: u32,
}

/// A command line in one line, as a shell takes it.
#[must_use]
pub(crate) fn command_line(words: &[String]) -> String {
    let words: Vec<String> = words.iter().map(|word| quoted(&one_line(word))).collect();
    words.join(" ")
}
