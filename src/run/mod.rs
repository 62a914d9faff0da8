//! From a parsed command line to an exit status.

mod check;
mod explain;
mod policy;
mod repair;
mod report;

use crate::change::{Prompt, Store, Yes};
use crate::cli::{Cli, Of, Scan, Task};
use crate::interrupt::Interrupt;
use crate::replay::session::now_us;
use crate::report::{PageFile, Pages, People, output};
use crate::root::Root;
use crate::rules::Rules;
use crate::scan;
use crate::subject::{Failure, Whereabouts, groups_to_explain};
use crate::undo;
use check::check;
use explain::explain;
use policy::show_policies;
use repair::{repair_unit, watch_unit};
use report::report_to_journal;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Do what the command line says; the exit status is that of the manual.
#[must_use]
pub fn run(cli: Cli) -> ExitCode {
    if nix::unistd::geteuid().is_root() {
        // TMPDIR may be somebody else's folder; a second override is refused, and this is the first
        let _ = tempfile::env::override_temp_dir(Path::new("/tmp"));
    }
    let result = match cli.command {
        Some(task) => other_task(task),
        None => interrupt().and_then(|interrupt| repair_unit(cli.repair, interrupt)),
    };
    let status = result.unwrap_or_else(|failure| {
        output::paragraph(&format!("unitfix: {failure}"));
        failure.status()
    });
    if let Some(why) = output::unwritten() {
        let failure = Failure::System(format!("not all of it could be printed: {why}"));
        output::paragraph(&format!("unitfix: {failure}"));
        return ExitCode::from(failure.status());
    }
    ExitCode::from(status)
}

impl Failure {
    /// The exit status.
    #[must_use]
    pub fn status(&self) -> u8 {
        match self {
            Failure::Usage(_) => 2,
            Failure::Hopeless(_) => 3,
            Failure::RolledBack(_) => 4,
            Failure::System(_) => 5,
            Failure::Interrupted => 130, // as a shell shows an end by SIGINT
        }
    }
}

/// Catch signals, so that what was begun is put back; commands that only look end by them.
fn interrupt() -> Result<Interrupt, Failure> {
    Interrupt::install().map_err(|e| Failure::System(format!("signals cannot be caught: {e}")))
}

fn other_task(task: Task) -> Result<u8, Failure> {
    match task {
        Task::Policy(options) => show_policies(&options),
        Task::Check(options) => check(&options, &interrupt()?),
        Task::Explain(options) => explain(&options),
        Task::Watch(options) => watch_unit(options, interrupt()?),
        Task::Scan(options) => scan(&options),
        Task::Report(options) => report_to_journal(options, &interrupt()?),
        Task::Status { unit, place, of } => {
            let store = store_of(place.root, &of);
            let only = unit.as_deref().map(|unit| undo::written_for(unit, &store)).transpose()?;
            let status = undo::status(&store, only.as_ref())?;
            if place.json {
                output::result(&json(&status)?);
            } else {
                output::result(&status.text(&store));
            }
            Ok(0)
        }
        Task::Revert { unit, yes, root, of } => {
            let prompt =
                Prompt { yes: if yes { Yes::Given } else { Yes::NotGiven }, interrupt: interrupt()? };
            if unit.contains('/') && of.user {
                let message = "--user is for a unit that your manager has, named without a path";
                return Err(Failure::Usage(message.to_owned()));
            }
            let ending = if unit.contains('/') {
                undo::revert_file(Path::new(&unit), &prompt)?
            } else {
                let store = store_of(root, &of);
                undo::revert(&undo::written_for(&unit, &store)?, &store, &prompt)?
            };
            output::result(&output::prose(ending.words(), People::default().width));
            Ok(ending.status())
        }
    }
}

/// A value as `--json` prints it.
fn json(value: &impl serde::Serialize) -> Result<String, Failure> {
    let text = serde_json::to_string_pretty(value).map_err(unprintable)?;
    Ok(output::harmless_json(&text) + "\n")
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn unprintable(error: serde_json::Error) -> Failure {
    Failure::System(format!("the report cannot be written: {error}"))
}

/// Show every unit that was denied something.
fn scan(options: &Scan) -> Result<u8, Failure> {
    let page = options.html.as_deref().map(PageFile::new).transpose()?;
    let report = scan::scan(options, &interrupt()?)?;
    let people = People::default();
    output::result(&if options.place.json { json(&report)? } else { report.text(&people) });
    if let Some(page) = page {
        let root = options.place.root.clone().map(Root::new);
        let rules = rules_of(root.as_ref())?;
        let groups = groups_to_explain(&Whereabouts { root, ..Whereabouts::default() })?;
        let pages = Pages { rules: &rules, groups: &groups, zone: people.zone() };
        page.write(&pages.of_scan(&report, now_us()))?;
    }
    Ok(report.exit_status)
}

/// What is known of calls, with the rules of the administrator below a root.
fn rules_of(root: Option<&Root>) -> Result<Rules, Failure> {
    Rules::load(&root.cloned().unwrap_or_default()).map_err(|error| Failure::System(error.to_string()))
}

/// Where what was written is on record.
fn store_of(folder: Option<PathBuf>, of: &Of) -> Store {
    folder.map_or_else(|| Store::of(&of.scope()), |folder| Store::new(&Root::new(folder)))
}
