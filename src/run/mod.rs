//! From a parsed command line to an exit status.

mod explain;
mod policy;
mod repair;

use crate::change::{Prompt, Yes};
use crate::cli::{Cli, Scan, Task};
use crate::interrupt::Interrupt;
use crate::report::{People, output};
use crate::root::Root;
use crate::rules::Rules;
use crate::scan;
use crate::subject::Failure;
use crate::undo;
use explain::explain;
use policy::show_policies;
use repair::{repair_unit, watch_unit};
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
        output::message(&format!("unitfix: {failure}\n"));
        failure.status()
    });
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
        Task::Explain(options) => explain(&options),
        Task::Watch(options) => watch_unit(options, interrupt()?),
        Task::Scan(options) => scan(&options),
        Task::Status { unit, place } => {
            let root = root_of(place.root);
            let only = unit.as_deref().map(|unit| undo::written_for(unit, &root)).transpose()?;
            let status = undo::status(&root, only.as_ref())?;
            if place.json {
                output::result(&json(&status)?);
            } else {
                output::result(&status.text(&root));
            }
            Ok(0)
        }
        Task::Revert { unit, yes, root } => {
            let prompt =
                Prompt { yes: if yes { Yes::Given } else { Yes::NotGiven }, interrupt: interrupt()? };
            let ending = if unit.contains('/') {
                undo::revert_file(Path::new(&unit), &prompt)?
            } else {
                let root = root_of(root);
                undo::revert(&undo::written_for(&unit, &root)?, &root, &prompt)?
            };
            output::result(&format!("{}\n", ending.words()));
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
    let report = scan::scan(options, &interrupt()?)?;
    let people = People::default();
    output::result(&if options.place.json { json(&report)? } else { report.text(&people) });
    Ok(report.exit_status)
}

/// What is known of calls, with the rules of the administrator below a root.
fn rules_of(root: Option<&Root>) -> Result<Rules, Failure> {
    Rules::load(&root.cloned().unwrap_or_default()).map_err(|error| Failure::System(error.to_string()))
}

fn root_of(folder: Option<PathBuf>) -> Root {
    folder.map(Root::new).unwrap_or_default()
}
