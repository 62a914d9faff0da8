//! `unitfix UNIT`.

use super::{OBSERVE, Of, Place, complete, quoted};
use crate::plan::Prefer;
use crate::replay::Via;
use crate::span;
use crate::watch::Period;
use clap::Args;
use clap_complete::engine::ArgValueCompleter;
use std::path::PathBuf;
use std::time::Duration;

/// How much a repair may give away without a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Risk {
    /// Calls that hand over the system.
    High,
}

/// What `--patch` prints.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum PatchForm {
    /// The diff alone.
    Diff,
    /// A commit message with the reason, then the diff.
    Message,
}

/// Repairing a unit.
#[derive(Debug, Default, Args)]
#[allow(clippy::struct_excessive_bools)] // each is an option of its own
pub struct Repair {
    /// A service, or a unit file (with a slash), replayed without systemd
    #[arg(add = ArgValueCompleter::new(complete::units))]
    pub unit: Option<String>,
    /// End in the question whether to write the repair
    #[arg(long)]
    pub apply: bool,
    /// Print a patch of the unit file; =message: as a commit
    #[arg(
        long,
        value_enum,
        value_name = "message",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "diff",
        hide_possible_values = true,
        requires = "unit",
        conflicts_with = "apply"
    )]
    pub patch: Option<PatchForm>,
    /// Answer every question with yes
    #[arg(long, requires = "unit")]
    pub yes: bool,
    /// With --yes, also allow what hands over the system
    #[arg(long, value_enum, value_name = "high", hide_possible_values = true)]
    pub allow_risk: Option<Risk>,
    /// Not the smallest change: exact, soft, family or group
    #[arg(long, value_enum, value_name = "CHANGE", hide_possible_values = true)]
    pub prefer: Option<Prefer>,
    /// Only what it does not work without (takes restarts)
    #[arg(long, conflicts_with = "no_replay")]
    pub minimize: bool,
    /// Also judge by COMMAND: status 0 means that it works
    #[arg(long, value_name = "COMMAND", conflicts_with = "root")]
    pub check: Option<String>,
    /// Judge from the logs alone; restart nothing
    #[arg(long, conflicts_with = "via")]
    pub no_replay: bool,
    /// How to see the calls: log, notify, strace, or auto
    #[arg(long, value_enum, value_name = "ENGINE", hide_possible_values = true)]
    pub via: Option<Via>,
    /// How long to watch the unit
    #[arg(long, value_name = "SECONDS", default_value_t = OBSERVE, value_parser = clap::value_parser!(u32).range(1..=86400))]
    pub observe: u32,
    /// Also show who made the calls: stacks, and the package
    #[arg(long)]
    pub blame: bool,
    /// Also read kernel records from FILE (-: stdin)
    #[arg(long, value_name = "FILE")]
    pub log: Option<PathBuf>,
    /// Also write the report as a page for browsers
    #[arg(long, value_name = "FILE", requires = "unit")]
    pub html: Option<PathBuf>,
    /// Where the system is
    #[command(flatten)]
    pub place: Place,
    /// Whose unit it is
    #[command(flatten)]
    pub of: Of,
    /// In the place of a replay, a watch
    #[arg(skip)]
    pub watch: Option<Period>,
}

impl Repair {
    /// The command line that does the same again.
    #[must_use]
    pub fn command(&self) -> String {
        let path = |path: &PathBuf| quoted(&path.to_string_lossy());
        let span = |name: &str, span: Duration| format!("{name} {}", span::shown(span).replace(' ', ""));
        let options = [
            self.watch.and_then(|watch| watch.limit).map(|limit| span("--for", limit)),
            self.watch.and_then(|watch| watch.idle).map(|idle| span("--until-idle", idle)),
            self.prefer.map(|prefer| format!("--prefer {}", prefer.name())),
            self.minimize.then(|| "--minimize".to_owned()),
            self.check.as_ref().map(|check| format!("--check {}", quoted(check))),
            self.no_replay.then(|| "--no-replay".to_owned()),
            self.via.map(|via| format!("--via {}", via.name())),
            (self.observe != OBSERVE).then(|| format!("--observe {}", self.observe)),
            self.blame.then(|| "--blame".to_owned()),
            self.allow_risk.map(|Risk::High| "--allow-risk high".to_owned()),
            self.log.as_ref().map(|log| format!("--log {}", path(log))),
            self.html.as_ref().map(|file| format!("--html {}", path(file))),
            self.of.user.then(|| "--user".to_owned()),
            self.place.root.as_ref().map(|root| format!("--root {}", path(root))),
        ];
        let unit = self.unit.as_deref().map(quoted);
        let task = if self.watch.is_some() { "unitfix watch" } else { "unitfix" };
        let words = std::iter::once(task.to_owned()).chain(unit).chain(options.into_iter().flatten());
        words.collect::<Vec<_>>().join(" ")
    }
}
