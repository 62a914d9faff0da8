//! `unitfix watch`.

use super::{OBSERVE, Of, Place, Repair, Risk, complete};
use crate::plan::Prefer;
use crate::span;
use crate::watch::Period;
use clap::Args;
use clap_complete::engine::ArgValueCompleter;
use std::path::PathBuf;
use std::time::Duration;

/// Watching a unit over a working period.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
unitfix watch docuum.service --for 1h            what is denied now and then\n  \
unitfix watch docuum.service --until-idle 15min  until nothing new comes\n\n\
The unit runs without its system call filter meanwhile. Ctrl-C ends the watch,\n\
and the repair follows. Exit status: that of unitfix UNIT.")]
pub struct Watch {
    /// A service of the running service manager
    #[arg(add = ArgValueCompleter::new(complete::units))]
    pub unit: String,
    /// How long at most: 90s, 15min, 1h30m; else until Ctrl-C
    #[arg(long = "for", value_name = "TIME", value_parser = span::parse)]
    pub limit: Option<Duration>,
    /// Until no new kind of call came for so long (5min)
    #[arg(long, value_name = "TIME", num_args = 0..=1, default_missing_value = "5min", value_parser = span::parse)]
    pub until_idle: Option<Duration>,
    /// End in the question whether to write the repair
    #[arg(long)]
    pub apply: bool,
    /// Answer every question with yes
    #[arg(long)]
    pub yes: bool,
    /// With --yes, also allow what hands over the system
    #[arg(long, value_enum, value_name = "high", hide_possible_values = true)]
    pub allow_risk: Option<Risk>,
    /// Not the smallest change: exact, soft, family or group
    #[arg(long, value_enum, value_name = "CHANGE", hide_possible_values = true)]
    pub prefer: Option<Prefer>,
    /// Also judge by COMMAND: status 0 means that it works
    #[arg(long, value_name = "COMMAND")]
    pub check: Option<String>,
    /// How long to watch the unit after the repair
    #[arg(long, value_name = "SECONDS", default_value_t = OBSERVE, value_parser = clap::value_parser!(u32).range(1..=86400))]
    pub observe: u32,
    /// Print what happens as JSON, one object a line
    #[arg(long)]
    pub json: bool,
    /// Also write the report as a page for browsers
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
    /// Refused with words that help
    #[arg(long, hide = true, value_name = "DIR")]
    pub root: Option<PathBuf>,
}

impl Watch {
    /// When it ends.
    #[must_use]
    pub fn period(&self) -> Period {
        Period { limit: self.limit, idle: self.until_idle }
    }

    /// What it has in common with a repair.
    #[must_use]
    pub fn repair(self) -> Repair {
        Repair {
            watch: Some(self.period()),
            unit: Some(self.unit),
            apply: self.apply,
            patch: None,
            yes: self.yes,
            allow_risk: self.allow_risk,
            prefer: self.prefer,
            minimize: false,
            check: self.check,
            no_replay: false,
            via: None,
            observe: self.observe,
            blame: false,
            log: None,
            html: self.html,
            of: Of::default(),
            place: Place { root: None, json: self.json },
        }
    }
}
