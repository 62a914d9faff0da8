//! From a parsed command line to an exit status.

use crate::change::{Prompt, Yes};
use crate::cli::{Cli, Explain, PolicyOptions, Repair, Scan, Task, Watch};
use crate::ending::Ending;
use crate::evidence::one_line;
use crate::explain;
use crate::finding::Code;
use crate::interrupt::Interrupt;
use crate::manager::{Manager, SystemManager};
use crate::patch;
use crate::policy::show::show;
use crate::recipe::{Desk, repair, watch};
use crate::replay::{Check, Via};
use crate::report::{Lint, People, PolicyPage, Report, output, parse_call};
use crate::root::Root;
use crate::rules::Rules;
use crate::scan;
use crate::subject::{
    Failure, Inspector, Judged, ManagedUnit, RootedUnit, Subject, SubjectOptions, UnitFile, Whereabouts,
    groups_to_explain,
};
use crate::trust;
use crate::undo;
use crate::unit::{UnitName, shown_path};
use crate::watch::last_line;
use nix::sys::statfs::{PROC_SUPER_MAGIC, statfs};
use std::ffi::OsString;
use std::io::{IsTerminal, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

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

fn repair_unit(options: Repair, interrupt: Interrupt) -> Result<u8, Failure> {
    let asked = options.unit.clone().ok_or_else(|| Failure::Usage("name a unit".to_owned()))?;
    if asked.contains('/') && options.no_replay && options.log.is_none() {
        let message = "no log knows of a unit file's programs: --no-replay needs --log here";
        return Err(Failure::Usage(message.to_owned()));
    }
    let subject_options = subject_options(&options, interrupt)?;
    let prompt = subject_options.prompt.clone();
    let root = options.place.root.clone().map(Root::new);
    let rules = rules_of(root.as_ref())?;
    let people = if options.patch.is_some() { People::on_standard_error() } else { People::default() };
    let mut desk = Desk { prompt, report: Report::new(asked.clone()), people, rules, options };
    let connected;
    let subject: Box<dyn Subject> = match root {
        root if asked.contains('/') => Box::new(UnitFile::load(Path::new(&asked), root, subject_options)?),
        Some(root) => Box::new(RootedUnit::load(root, &name(&asked)?, subject_options)?),
        None => {
            let name = name(&asked)?;
            connected = SystemManager::connect().map_err(|e| Failure::System(e.to_string()))?;
            Box::new(ManagedUnit::load(&connected as &dyn Manager, &name, subject_options)?)
        }
    };
    let result = repair(subject.as_ref(), &mut desk);
    let result = result.map(|ending| patch::of_what_is_written(subject.as_ref(), ending, &mut desk));
    finish(result, &mut desk)
}

/// What a subject needs of the options.
fn subject_options(options: &Repair, interrupt: Interrupt) -> Result<SubjectOptions, Failure> {
    let yes = if options.yes { Yes::Given } else { Yes::NotGiven };
    Ok(SubjectOptions {
        observe: Duration::from_secs(options.observe.into()),
        via: options.via.unwrap_or(Via::Auto),
        log: options.log.clone(),
        prompt: Prompt { yes, interrupt: interrupt.clone() },
        check: options.check.clone().map(|command| Check { command }),
        interrupt,
        proc_root: proc_root()?,
        blame: options.blame,
    })
}

/// Watch a unit of the manager while it works, and repair it.
fn watch_unit(options: Watch, interrupt: Interrupt) -> Result<u8, Failure> {
    let asked = options.unit.clone();
    if asked.contains('/') {
        return Err(Failure::Usage(format!(
            "only what a service manager runs can be watched: `unitfix {asked}` replays a unit file"
        )));
    }
    if options.root.is_some() {
        return Err(Failure::Usage(format!(
            "nothing runs below a root folder that could be watched: `unitfix {asked} --root DIR` judges from its logs"
        )));
    }
    let (period, options) = (options.period(), options.repair());
    let subject_options = subject_options(&options, interrupt)?;
    let prompt = subject_options.prompt.clone();
    let (rules, people) = (rules_of(None)?, People::default());
    let mut desk = Desk { prompt, report: Report::new(asked.clone()), people, rules, options };
    let name = name(&asked)?;
    let manager = SystemManager::connect().map_err(|e| Failure::System(e.to_string()))?;
    let mut unit = ManagedUnit::load(&manager as &dyn Manager, &name, subject_options)?;
    let result = watch(&mut unit, &period, &mut desk);
    finish(result, &mut desk)
}

/// Where the processes of the kernel's records are found: what says there whose a process is, has to be a kernel's word.
fn proc_root() -> Result<PathBuf, Failure> {
    const VARIABLE: &str = "UNITFIX_PROC_ROOT";
    let Some(named) = std::env::var_os(VARIABLE) else { return Ok(PathBuf::from("/proc")) };
    let no = |why: &str| Failure::Usage(format!("{VARIABLE}={}: {why}", shown_path(Path::new(&named))));
    let path = std::fs::canonicalize(&named).map_err(|error| no(&error.to_string()))?;
    let kind = statfs(&path).map_err(|error| no(error.desc()))?.filesystem_type();
    if kind != PROC_SUPER_MAGIC {
        return Err(no("this is no proc file system"));
    }
    if nix::unistd::geteuid().is_root() {
        trust::above(&path).map_err(|why| no(&why))?;
    }
    Ok(path)
}

/// Print how it ended.
fn finish(result: Result<Ending, Failure>, desk: &mut Desk) -> Result<u8, Failure> {
    let (words, status) = match &result {
        Ok(ending) => (ending.words().to_owned(), ending.status()),
        Err(failure) => (failure.to_string(), failure.status()),
    };
    if desk.options.place.json {
        desk.report.ending.clone_from(&words);
        desk.report.exit_status = status;
        // of a watch, the last line of a stream
        let line = |report| last_line(report).map_err(unprintable);
        let watched = desk.options.watch.is_some();
        output::result(&if watched { line(&desk.report)? } else { json(&desk.report)? });
    } else if result.is_ok() {
        desk.show(&format!("\n{words}\n"));
    }
    result.map(|ending| ending.status())
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
            let only = unit.as_deref().map(name).transpose()?;
            let root = root_of(place.root);
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
                undo::revert(&name(&unit)?, &root_of(root), &prompt)?
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

/// What is wrong, where the result does not show it.
fn notices(lint: &Lint) {
    for notice in lint.notices() {
        output::message(&format!("unitfix: {notice}\n"));
    }
}

/// The policies of one or several units. Of several, one that cannot be shown does not keep the others from it.
fn show_policies(options: &PolicyOptions) -> Result<u8, Failure> {
    let (units, calls) = options.named();
    if !calls.is_empty() && (options.show || options.lint) {
        let message = format!("--show and --lint are about whole filters, not about {}", one_line(calls[0]));
        return Err(Failure::Usage(message));
    }
    let place = Whereabouts { root: options.place.root.clone().map(Root::new), systemd: options.systemd };
    let inspector = Inspector::new(place);
    let several = units.len() > 1;
    let mut status = 0;
    for (at, unit) in units.into_iter().enumerate() {
        if at > 0 && !options.place.json {
            output::result("\n");
        }
        status = status.max(match show_policy(unit, &calls, &inspector, options) {
            Err(failure) if several => {
                output::message(&format!("unitfix: {}: {failure}\n", one_line(unit)));
                failure.status()
            }
            shown => shown?,
        });
    }
    Ok(status)
}

fn show_policy(
    unit: &str,
    calls: &[&str],
    inspector: &Inspector,
    options: &PolicyOptions,
) -> Result<u8, Failure> {
    let inspected = inspector.inspect(unit)?;
    let groups = &inspected.judged.groups;
    let calls: Result<Vec<_>, String> = calls.iter().map(|text| parse_call(text, groups)).collect();
    let calls = calls.map_err(Failure::Usage)?.concat();
    if options.show {
        let Judged { unit: of, groups, .. } = &inspected.judged;
        output::result(&show(of, groups).to_string());
        notices(&Lint::new(&inspected.judged, unit));
        return inspected.judged().map(|_| 0); // what systemctl shows of a unit that is not there is no answer
    }
    let people = People::default();
    if options.lint {
        let lint = Lint::new(&inspected.faulted()?, unit);
        output::result(&if options.place.json { json(&lint)? } else { lint.text(&people) });
        return Ok(u8::from(lint.is_faulty()));
    }
    let judged = inspected.judged()?;
    let page = PolicyPage::new(&judged, &calls);
    let text =
        if options.place.json { json(&page.with_all_calls(&judged.policy))? } else { page.text(&people) };
    output::result(&text);
    if !calls.is_empty() {
        notices(&Lint::new(&judged, unit));
    }
    Ok(0)
}

/// So many things that are unknown are named: more of them are not what was meant to be pasted.
const UNKNOWN_SHOWN: usize = 3;

/// Explain what was pasted, as arguments or on standard input.
fn explain(options: &Explain) -> Result<u8, Failure> {
    let pasted = explain::parse::parse(&pasted_text(&options.pasted)?);
    if pasted.questions.is_empty() {
        let message =
            "nothing to explain: give an audit line, a system call or an @group (--help shows more)";
        return Err(Failure::Usage(message.to_owned()));
    }
    let place = Whereabouts { root: options.root.clone().map(Root::new), systemd: options.systemd };
    let judged = options
        .unit
        .as_deref()
        .map(|unit| Inspector::new(place.clone()).inspect(unit)?.judged())
        .transpose()?;
    let own;
    let groups = if let Some(judged) = &judged {
        &judged.groups
    } else {
        own = groups_to_explain(&place)?;
        &own
    };
    let rules = rules_of(place.root.as_ref())?;
    let label = judged.as_ref().map(|judged| judged.unit.name.to_string()).unwrap_or_default();
    let unit = judged.as_ref().map(|judged| (label.as_str(), &judged.policy));
    let repair = options.repair_command();
    let explanation = explain::explain(
        &pasted,
        explain::Context { groups, rules: &rules, unit, repair: repair.as_deref() },
    );
    let stale = |code: Code| matches!(code, Code::PolicyDiffers | Code::UnreadableDropIn);
    for finding in judged.iter().flat_map(|judged| &judged.unit.findings).filter(|f| stale(f.code)) {
        output::message(&format!("unitfix: {}\n", finding.message));
    }
    let unknown: Vec<_> = explanation.topics.iter().filter(|t| t.kind == explain::Kind::Unknown).collect();
    for topic in unknown.iter().take(UNKNOWN_SHOWN) {
        output::message(&format!("unitfix: {}\n", topic.summary));
    }
    if unknown.len() > UNKNOWN_SHOWN {
        output::message(&format!("unitfix: {} more are unknown\n", unknown.len() - UNKNOWN_SHOWN));
    }
    if options.json {
        output::result(&json(&explanation)?);
    } else {
        output::result(&People::default().explanation(&explanation));
    }
    Ok(explanation.exit_status)
}

/// The arguments, or standard input where there is none or only `-`. A shell has taken one line into words.
fn pasted_text(words: &[OsString]) -> Result<Vec<u8>, Failure> {
    if !words.is_empty() && words != ["-"] {
        let words: Vec<&[u8]> = words.iter().map(|word| word.as_bytes()).collect();
        return Ok(words.join(&b' '));
    }
    let input = std::io::stdin();
    if words.is_empty() && input.is_terminal() {
        return Ok(Vec::new());
    }
    let (text, cut) =
        last_of(input.lock()).map_err(|error| Failure::System(format!("standard input: {error}")))?;
    if cut {
        output::message("unitfix: only the newest 256 KiB count; --log of a repair reads whole logs\n");
    }
    Ok(text)
}

/// What is read last of a stream, from the start of a line; and whether anything before it was left out.
fn last_of(mut stream: impl Read) -> std::io::Result<(Vec<u8>, bool)> {
    const KEPT: usize = explain::parse::PASTE_MAX + 1; // what stands before tells whether a line starts
    let mut text = Vec::new();
    let step = u64::try_from(KEPT).unwrap_or(u64::MAX);
    while stream.by_ref().take(step).read_to_end(&mut text)? > 0 {
        text.drain(..text.len().saturating_sub(KEPT));
    }
    let cut = text.len() == KEPT;
    Ok((explain::parse::newest(&text).to_vec(), cut))
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

fn name(text: &str) -> Result<UnitName, Failure> {
    UnitName::parse(text).map_err(|e| Failure::Usage(e.to_string()))
}
