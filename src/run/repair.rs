//! `unitfix UNIT` and `unitfix watch UNIT`.

use super::{json, rules_of, unprintable};
use crate::change::{Prompt, Yes};
use crate::cli::{Repair, Watch};
use crate::ending::Ending;
use crate::interrupt::Interrupt;
use crate::manager::{BusManager, Manager};
use crate::patch;
use crate::recipe::{Desk, repair, watch};
use crate::replay::session::now_us;
use crate::replay::{Check, Via};
use crate::report::{PageFile, Pages, People, Report, output};
use crate::root::Root;
use crate::scope::Scope;
use crate::subject::{
    Failure, ManagedUnit, Register, RootedUnit, Subject, SubjectOptions, UnitFile, UserUnit,
};
use crate::trust;
use crate::unit::shown_path;
use crate::watch::last_line;
use nix::sys::statfs::{PROC_SUPER_MAGIC, statfs};
use std::path::{Path, PathBuf};
use std::time::Duration;

pub(super) fn repair_unit(options: Repair, interrupt: Interrupt) -> Result<u8, Failure> {
    let asked = options
        .unit
        .clone()
        .ok_or_else(|| Failure::Usage("name a unit: unitfix docuum.service".to_owned()))?;
    if asked.contains('/') && options.of.user {
        return Err(Failure::Usage(format!(
            "--user is for a unit that your manager has, named without a path: {asked} is replayed without a manager"
        )));
    }
    if let Some(via) = options.via.filter(|via| options.of.user && *via != Via::Auto) {
        return Err(Failure::Usage(format!(
            "--via {} needs the system's manager: with --user, commands are replayed without one",
            via.name()
        )));
    }
    if asked.contains('/') && options.no_replay && options.log.is_none() {
        let message = "no log knows of a unit file's programs: --no-replay needs --log here";
        return Err(Failure::Usage(message.to_owned()));
    }
    let page = page_file(&options)?;
    let subject_options = subject_options(&options, interrupt)?;
    let prompt = subject_options.prompt.clone();
    let root = options.place.root.clone().map(Root::new);
    let rules = rules_of(root.as_ref())?;
    let people = if options.patch.is_some() { People::on_standard_error() } else { People::default() };
    let mut desk = Desk { prompt, report: Report::new(asked.clone()), people, rules, options };
    let scope = desk.options.of.scope();
    let connected;
    let subject: Box<dyn Subject> = match root {
        root if asked.contains('/') => Box::new(UnitFile::load(Path::new(&asked), root, subject_options)?),
        Some(root) => Box::new(RootedUnit::load(root, &asked, subject_options)?),
        None => {
            connected = BusManager::connect(&scope).map_err(|e| Failure::System(e.to_string()))?;
            let name = Register::Manager(&connected, &scope).service(&asked)?;
            match scope {
                Scope::System => Box::new(ManagedUnit::load(&connected, &name, subject_options)?),
                Scope::User(_) => Box::new(UserUnit::load(&connected, &name, subject_options)?),
            }
        }
    };
    let result = repair(subject.as_ref(), &mut desk);
    let result = result.map(|ending| patch::of_what_is_written(subject.as_ref(), ending, &mut desk));
    finish(result, subject.as_ref(), page.as_ref(), &mut desk)
}

/// Where the page goes, if there is to be one: that it can be written is known before anything is done.
fn page_file(options: &Repair) -> Result<Option<PageFile>, Failure> {
    options.html.as_deref().map(PageFile::new).transpose()
}

/// What a subject needs of the options.
pub(super) fn subject_options(options: &Repair, interrupt: Interrupt) -> Result<SubjectOptions, Failure> {
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
        only_looks: false,
    })
}

/// Watch a unit of the manager while it works, and repair it.
pub(super) fn watch_unit(options: Watch, interrupt: Interrupt) -> Result<u8, Failure> {
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
    let page = page_file(&options)?;
    let subject_options = subject_options(&options, interrupt)?;
    let prompt = subject_options.prompt.clone();
    let (rules, people) = (rules_of(None)?, People::default());
    let mut desk = Desk { prompt, report: Report::new(asked.clone()), people, rules, options };
    let manager = BusManager::connect(&Scope::System).map_err(|e| Failure::System(e.to_string()))?;
    let manager: &dyn Manager = &manager;
    let name = Register::Manager(manager, &Scope::System).service(&asked)?;
    let mut unit = ManagedUnit::load(manager, &name, subject_options)?;
    let result = watch(&mut unit, &period, &mut desk);
    finish(result, &unit, page.as_ref(), &mut desk)
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

/// Print how it ended, and write the page.
fn finish(
    result: Result<Ending, Failure>,
    subject: &dyn Subject,
    page: Option<&PageFile>,
    desk: &mut Desk,
) -> Result<u8, Failure> {
    let (words, status) = match &result {
        Ok(ending) => (ending.words().to_owned(), ending.status()),
        Err(failure) => (failure.to_string(), failure.status()),
    };
    desk.report.ending.clone_from(&words);
    desk.report.exit_status = status;
    if desk.options.place.json {
        // of a watch, the last line of a stream
        let line = |report| last_line(report).map_err(unprintable);
        let watched = desk.options.watch.is_some();
        output::result(&if watched { line(&desk.report)? } else { json(&desk.report)? });
    } else if result.is_ok() {
        desk.show(&format!("\n{}", output::prose(&words, desk.people.width)));
    }
    let written = page.map_or(Ok(()), |page| {
        let pages = Pages { rules: &desk.rules, groups: subject.groups(), zone: desk.people.zone() };
        page.write(&pages.of_unit(&desk.report, now_us()))
    });
    // how the run ended comes first
    let status = result?.status();
    written.map(|()| status)
}
