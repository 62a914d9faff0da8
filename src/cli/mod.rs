//! The command line: what each command takes, and no more.

mod check;
pub mod complete;
mod explain;
mod policy;
mod repair;
mod report;
mod scan;
mod watch;

pub(crate) use check::command_line;
pub use check::{CheckOptions, Format};
pub use explain::Explain;
pub use policy::PolicyOptions;
pub use repair::{PatchForm, Repair, Risk};
pub use report::ReportOptions;
pub use scan::Scan;
pub use watch::Watch;

use crate::scope::Scope;
use crate::unit::shown_path;
use clap::{Arg, Args, Command, CommandFactory, FromArgMatches, Parser, Subcommand, ValueHint};
use clap_complete::engine::ArgValueCompleter;
use std::path::{Path, PathBuf};

/// How long a unit is watched, where nothing else is said.
const OBSERVE: u32 = 10;

/// Repair a systemd service whose own SystemCallFilter= kills it.
#[derive(Debug, Parser)]
#[command(
    version,
    args_conflicts_with_subcommands = true,
    arg_required_else_help = true,
    max_term_width = 80
)]
#[command(after_help = "Nothing is restarted or written without a yes. Exit status: 0 nothing to repair,\n\
or repaired; 1 proposed; 2 usage; 3 no repair; 4 rolled back; 5 not possible.")]
pub struct Cli {
    /// What to do, if not to repair
    #[command(subcommand)]
    pub command: Option<Task>,
    /// Repairing
    #[command(flatten)]
    pub repair: Repair,
}

/// What `-h` leaves to `--help`: what is seldom needed, and what those know who ask for the short one.
const SELDOM: [&str; 13] = [
    "unit",
    "patch",
    "allow_risk",
    "minimize",
    "check",
    "via",
    "observe",
    "blame",
    "log",
    "html",
    "root",
    "user",
    "json",
];

/// The command line of this run. For a mistake in it, or for help, the program ends here.
#[must_use]
pub fn parse() -> Cli {
    let asked = |help: &str| std::env::args_os().any(|word| word == help);
    let first = std::env::args_os().nth(1);
    let command = match Cli::command() {
        command if asked("-h") => brief(command),
        command if asked("--help") || first.is_none_or(|word| word == "help") => full(command),
        command => command,
    };
    Cli::from_arg_matches(&command.get_matches()).unwrap_or_else(|error| error.exit())
}

/// With the help of `--help`, on one screen: that there is a command `help` as well, who reads it does not need.
fn full(mut command: Command) -> Command {
    command.build();
    command.mut_subcommand("help", |help| help.hide(true))
}

/// With the help of `-h`: clap's own short one would make `--help` twice as long as it is.
fn brief(command: Command) -> Command {
    let seldom = |arg: Arg| if SELDOM.contains(&arg.get_id().as_str()) { arg.hide(true) } else { arg };
    let more = "--help shows more, and so does unitfix(1).";
    let brief = command.mut_args(seldom).disable_help_subcommand(true).after_help(more);
    // clap leaves out of the usage what is hidden
    let brief = brief.override_usage("unitfix [OPTIONS] [UNIT]\n       unitfix <COMMAND>");
    brief.mut_subcommands(|task| match task.get_after_help() {
        Some(_) => task.after_help(more),
        None => task,
    })
}

/// The other things that unitfix does.
#[derive(Debug, Subcommand)]
pub enum Task {
    /// Show what a unit's settings let every call do, and which line decides
    Policy(PolicyOptions),
    /// Run a unit file under its filter while tests run: for CI
    Check(CheckOptions),
    /// Say what an audit line, a system call or an @group means
    Explain(Explain),
    /// Watch a unit in complain mode while it works, then repair it
    Watch(Watch),
    /// Find every unit that was denied something: since boot, or in logs
    Scan(Scan),
    /// Write into the journal why a unit failed, and what repairs it
    Report(ReportOptions),
    /// Show what unitfix wrote, and what was left behind
    Status {
        /// Only this unit
        #[arg(add = ArgValueCompleter::new(complete::written))]
        unit: Option<String>,
        /// Where the system is
        #[command(flatten)]
        place: Place,
        /// Whose units they are
        #[command(flatten)]
        of: Of,
    },
    /// Take back what unitfix wrote for a unit
    Revert {
        /// The unit, or the path of a unit file
        #[arg(add = ArgValueCompleter::new(complete::written))]
        unit: String,
        /// Ask nothing
        #[arg(long)]
        yes: bool,
        /// Where unitfix wrote it, if not below /
        #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
        root: Option<PathBuf>,
        /// Whose unit it is
        #[command(flatten)]
        of: Of,
    },
}

/// What systemd did before is not known.
const OLDEST_SYSTEMD: u32 = 247;

/// A version of systemd, as `systemctl --version` and packages write it: `252`, `v252`, `252.38-1~deb12u1`.
fn systemd_version(text: &str) -> Result<u32, String> {
    let digits = text.trim_start_matches('v').split(|c: char| !c.is_ascii_digit()).next().unwrap_or_default();
    let version = digits.parse().ok().filter(|version| (OLDEST_SYSTEMD..10_000).contains(version));
    version
        .ok_or_else(|| format!("write a major version of systemd from {OLDEST_SYSTEMD} on, for example 252"))
}

/// The command line as it was typed, for who is root.
pub(crate) fn as_root() -> String {
    let words = std::env::args_os().skip(1).map(|word| as_typed(Path::new(&word)));
    std::iter::once("sudo unitfix".to_owned()).chain(words).collect::<Vec<_>>().join(" ")
}

/// A path in a command that somebody may type: as a shell takes it, and in one line whatever the path holds.
pub(crate) fn as_typed(path: &Path) -> String {
    quoted(&shown_path(path))
}

/// A word as a shell takes it.
pub(crate) fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "@%+=:,./_-".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', "'\\''"))
    }
}

/// Where the system is.
#[derive(Clone, Debug, Default, Args)]
pub struct Place {
    /// Work below DIR, without a service manager
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub root: Option<PathBuf>,
    /// Print one JSON object instead of text
    #[arg(long)]
    pub json: bool,
}

/// Whose units are meant.
#[derive(Clone, Debug, Default, Args)]
pub struct Of {
    /// A unit of your own service manager (systemctl --user)
    #[arg(long, conflicts_with = "root")]
    pub user: bool,
}

impl Of {
    /// The scope that is meant.
    #[must_use]
    pub fn scope(&self) -> Scope {
        if self.user { Scope::of_caller() } else { Scope::System }
    }
}
