//! The command line.

use crate::plan::Prefer;
use crate::replay::Via;
use crate::span;
use crate::unit::shown_path;
use crate::watch::Period;
use clap::{Args, Parser, Subcommand};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

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
#[command(after_help = "unitfix finds forbidden calls and the lines that forbid them, and proposes the\n\
smallest change as a drop-in. Nothing is restarted or written without a yes.\n\n\
Exit status: 0 nothing to repair, or repaired; 1 proposed; 2 usage; 3 no repair\n\
can be offered; 4 rolled back; 5 this system cannot do it. See also unitfix(1).")]
pub struct Cli {
    /// What to do, if not to repair
    #[command(subcommand)]
    pub command: Option<Task>,
    /// Repairing
    #[command(flatten)]
    pub repair: Repair,
}

/// The other things that unitfix does.
#[derive(Debug, Subcommand)]
pub enum Task {
    /// Show what a unit's settings let every call do, and which line decides
    Policy(PolicyOptions),
    /// Say what an audit line, a system call or an @group means
    Explain(Explain),
    /// Watch a unit in complain mode while it works, then repair it
    Watch(Watch),
    /// Find every unit that was denied something: since boot, or in logs
    Scan(Scan),
    /// Show what unitfix wrote, and what was left behind
    Status {
        /// Only this unit
        unit: Option<String>,
        /// Where the system is
        #[command(flatten)]
        place: Place,
    },
    /// Take back what unitfix wrote for a unit
    Revert {
        /// The unit, or the path of a unit file
        unit: String,
        /// Ask nothing
        #[arg(long)]
        yes: bool,
        /// Where unitfix wrote it, if not below /
        #[arg(long, value_name = "DIR")]
        root: Option<PathBuf>,
    },
}

/// Looking at a policy.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
unitfix policy docuum.service               all that is forbidden, and by what\n  \
unitfix policy docuum.service mount socket  what becomes of these calls\n  \
unitfix policy docuum.service --lint        what is wrong with its filter\n  \
unitfix policy ./*.service --lint           and with that of many\n  \
unitfix policy ./docuum.service --systemd 262\n\n\
Exit status: 0 shown; 1 --lint found something; 2 usage, or no such unit;\n\
3 systemd cannot load the unit; 5 its files cannot be read.")]
pub struct PolicyOptions {
    /// A service, or the path of a unit file (with a slash)
    pub unit: String,
    /// More of them (with a dot or a slash); and only these calls: a name or a number, also behind an architecture
    /// (x86:socketcall)
    #[arg(value_name = "UNIT|CALL")]
    pub more: Vec<String>,
    /// Print the settings as `systemctl show` of that systemd prints them
    #[arg(long, conflicts_with_all = ["lint", "json"])]
    pub show: bool,
    /// Print only what is wrong with the filter, with advice; exit 1 if something is
    #[arg(long)]
    pub lint: bool,
    /// Judge by the rules of this major version of systemd, without a service manager
    #[arg(long, value_name = "VERSION", value_parser = systemd_version)]
    pub systemd: Option<u32>,
    /// Where the system is
    #[command(flatten)]
    pub place: Place,
}

impl PolicyOptions {
    /// The units and the calls that were named. No name of a call holds a dot or a slash.
    #[must_use]
    pub fn named(&self) -> (Vec<&str>, Vec<&str>) {
        let (units, calls): (Vec<&str>, _) =
            self.more.iter().map(String::as_str).partition(|word| word.contains(['.', '/']));
        (std::iter::once(self.unit.as_str()).chain(units).collect(), calls)
    }
}

/// Explaining.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
unitfix explain setrlimit              a system call by its name\n  \
unitfix explain 160 arm64              or by its number\n  \
unitfix explain @resources             a group of them\n  \
unitfix explain 31/SYS                 how a process ended\n  \
unitfix explain setrlimit --unit docuum.service\n  \
journalctl -b -g 'type=1326|SECCOMP auid' | unitfix explain\n\n\
Exit status: 0 explained; 2 unknown, or usage.")]
pub struct Explain {
    /// An audit line, a line of systemd's, a call's name or number, a word of SystemCallFilter=, an @group, an exit
    /// status; - or nothing: standard input
    #[arg(value_name = "ARG")]
    pub pasted: Vec<OsString>,
    /// Also show which line of this unit (a service, or the path of a unit file) forbids it
    #[arg(long, value_name = "UNIT")]
    pub unit: Option<String>,
    /// Take the groups and the rules of this version of systemd
    #[arg(long, value_name = "VERSION", value_parser = systemd_version)]
    pub systemd: Option<u32>,
    /// Take the unit, and the version of systemd, from this folder instead of /
    #[arg(long, value_name = "DIR")]
    pub root: Option<PathBuf>,
    /// Print one JSON object instead of text
    #[arg(long)]
    pub json: bool,
}

impl Explain {
    /// The command that repairs the unit which was named.
    #[must_use]
    pub fn repair_command(&self) -> Option<String> {
        let unit = self.unit.as_deref()?;
        let root = self.root.as_ref().map(|root| format!(" --root {}", quoted(&root.to_string_lossy())));
        // neither a path nor what is below a root needs the service manager
        let sudo = if root.is_none() && !unit.contains('/') { "sudo " } else { "" };
        Some(format!("{sudo}unitfix {}{}", quoted(unit), root.unwrap_or_default()))
    }
}

/// Watching a unit over a working period.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
unitfix watch docuum.service --for 1h            what is denied now and then\n  \
unitfix watch docuum.service --until-idle 15min  until nothing new comes\n\n\
The unit runs without its system call filter meanwhile. Ctrl-C ends the watch,\n\
and the repair follows. Exit status: that of unitfix UNIT.")]
pub struct Watch {
    /// A service of the running service manager
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
            place: Place { root: None, json: self.json },
        }
    }
}

/// Scanning logs.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
unitfix scan                           this system, since it was booted\n  \
unitfix scan --since -2h               or in the last two hours\n  \
unitfix scan -D /var/log/journal/remote\n  \
unitfix scan /var/log/audit/audit.log* rotated and compressed ones, too\n  \
journalctl -k -o json | unitfix scan   what journalctl or dmesg printed\n\n\
Exit status: 0 nothing was denied; 1 something was; 2 usage; 5 nothing can be\n\
read; 130 interrupted: what was found until then is shown.")]
pub struct Scan {
    /// A log: of auditd, the kernel, or what journalctl printed (-o json, export, short); a journal file; -: standard
    /// input
    #[arg(value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Journal files in DIR, also of many hosts
    #[arg(short = 'D', long, value_name = "DIR")]
    pub directory: Vec<PathBuf>,
    /// Only this boot of the system: its ID, or 0 for the last, -1 for the one before it
    #[arg(
        long,
        value_name = "ID|OFFSET",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "0",
        conflicts_with_all = ["files", "directory"]
    )]
    pub boot: Option<String>,
    /// Only from TIME on: \"2026-11-26 10:00\", today, -2h, ...
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    pub since: Option<String>,
    /// Only until TIME
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    pub until: Option<String>,
    /// Where the system is
    #[command(flatten)]
    pub place: Place,
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
#[derive(Debug, Args)]
#[allow(clippy::struct_excessive_bools)] // each is an option of its own
pub struct Repair {
    /// A service, or a unit file (with a slash), replayed without systemd
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
    /// Where the system is
    #[command(flatten)]
    pub place: Place,
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
            self.place.root.as_ref().map(|root| format!("--root {}", path(root))),
        ];
        let unit = self.unit.as_deref().map(quoted);
        let task = if self.watch.is_some() { "unitfix watch" } else { "unitfix" };
        let words = std::iter::once(task.to_owned()).chain(unit).chain(options.into_iter().flatten());
        words.collect::<Vec<_>>().join(" ")
    }
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
    #[arg(long, value_name = "DIR")]
    pub root: Option<PathBuf>,
    /// Print one JSON object instead of text
    #[arg(long)]
    pub json: bool,
}
