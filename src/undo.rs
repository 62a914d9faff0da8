//! `unitfix revert` and `unitfix status`: taking back, and showing, what unitfix wrote.

use crate::change::{self, Answer, Diff, FileChange, Lock, Prompt, Receipt, Store};
use crate::cli::{as_root, as_typed};
use crate::ending::Ending;
use crate::evidence::one_line;
use crate::explain::closest_unit;
use crate::manager::{BusManager, Manager, ManagerError, Standing};
use crate::plan::HEADER;
use crate::replay::session;
use crate::report::progress::Working;
use crate::report::{People, SCHEMA, output};
use crate::root::Root;
use crate::scope::Scope;
use crate::subject::{Failure, Register, leftovers};
use crate::trust;
use crate::unit::{UnitName, drop_in_folder, shown_path};
use serde::Serialize;
use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};

/// The service that is meant by a name: one that unitfix wrote for, or left something of, goes by just this name.
pub fn written_for(asked: &str, store: &Store) -> Result<UnitName, Failure> {
    let root = &root_of(store);
    // a system's is known by its files, without a manager
    let manager = store.scope().owner().and_then(|_| BusManager::connect(store.scope()).ok());
    let register = match &manager {
        Some(manager) => Register::Manager(manager, store.scope()),
        None if store.scope().owner().is_some() => {
            return UnitName::parse(asked).map_err(|error| Failure::Usage(error.to_string()));
        }
        None => Register::below(root),
    };
    let name = register.service(asked)?;
    let written = leftovers::are_there(store, &name) || root.kind(&store.path_of(&name)).is_some();
    Ok(if written { name } else { register.real_name(&name) })
}

/// Take back what was written for a unit of this system, of a user, or of a root folder.
pub fn revert(name: &UnitName, store: &Store, prompt: &Prompt) -> Result<Ending, Failure> {
    let (root, scope) = (&root_of(store), store.scope());
    let system = |error: &dyn std::fmt::Display| Failure::System(error.to_string());
    if root.is_system() && *scope == Scope::System && !nix::unistd::geteuid().is_root() {
        return Err(Failure::System(format!("taking it back needs root: {}", as_root())));
    }
    let lock = if scope.owner().is_some() { Lock::take(scope, name) } else { Lock::below(root, name) };
    let _lock = lock.map_err(|e| system(&e))?;
    let manager = root.is_system().then(|| BusManager::connect(scope)).and_then(Result::ok);
    let leftovers = match &manager {
        Some(manager) => leftovers::put_right(manager, store, name)?,
        None => leftovers::put_right_below(store, name)?,
    };
    for finding in leftovers {
        output::message(&format!("unitfix: {}\n", finding.message));
    }
    let Some(receipt) = store.load(name).map_err(|e| system(&e))? else {
        return Ok(Ending::NothingToDo(nothing_written(name, store)));
    };
    // somebody may have done it by hand, or a run that was killed may have begun
    let (done, rest): (Vec<_>, Vec<_>) =
        receipt.undo().files.into_iter().partition(|file| holds(root, file, file.after.as_deref()));
    let diff = Diff { files: rest };
    if let Some(file) = diff.files.iter().find(|file| !is_as_written(root, file)) {
        return Ok(Ending::NoRepair(format!(
            "{} is not as unitfix wrote it: it is left alone. Take it away by hand, then {} as well",
            shown_path(&file.path),
            shown_path(&root.join(&store.path_of(name)))
        )));
    }
    for file in &done {
        output::message(&format!(
            "unitfix: {} is as it was before unitfix already\n",
            shown_path(&file.path)
        ));
    }
    let status = manager.as_ref().map(|manager| manager.status(name)).transpose().map_err(|e| system(&e))?;
    let running = status.is_some_and(|status| status.is_up());
    if !diff.is_empty() {
        output::result(&(People::default().diff(&diff.unified()) + "\n"));
    }
    let question = match (&manager, running) {
        (None, _) => "Take this back?".to_owned(),
        (Some(_), false) => "Take this back and reload?".to_owned(),
        (Some(_), true) => format!("Take this back, reload and restart {name}?"),
    };
    let approval = match prompt.ask("", &question) {
        Answer::Approved(approval) => approval,
        Answer::Declined => return Ok(Ending::Proposed("Nothing was changed.".to_owned())),
        Answer::NobodyToAsk => {
            return Ok(Ending::Proposed(
                "Nothing was changed: there is no terminal to ask on, and no --yes.".into(),
            ));
        }
    };
    change::revert(root, &receipt.files, &approval).map_err(|e| system(&e))?;
    if let Some(manager) = manager {
        let _working = Working::on(format!("Reloading systemd and restarting {name} ..."), None);
        reload(&manager, name, running).map_err(|e| {
            Failure::System(format!(
                "{e}: the files are as they were before; `unitfix revert{} {name}` tries again",
                scope.option()
            ))
        })?;
    }
    // last: until here another run would have to finish this
    store.remove(name).map_err(|e| system(&e))?;
    Ok(Ending::NothingToDo(format!("Taken back: {name} is as it was before unitfix.")))
}

/// The root below which what was written is.
fn root_of(store: &Store) -> Root {
    store.root().cloned().unwrap_or_default()
}

/// That nothing was written for a unit, and for which it was that may be meant.
fn nothing_written(name: &UnitName, store: &Store) -> String {
    let others = store.all().unwrap_or_default(); // which are not what was asked for
    let others: Vec<&str> = others.iter().map(|receipt| receipt.unit.as_str()).collect();
    match closest_unit(name.as_str(), others.iter().copied()) {
        Some(meant) => format!("unitfix wrote nothing for {name}: did you mean {meant}?"),
        None => format!("unitfix wrote nothing for {name}."),
    }
}

fn reload(manager: &dyn Manager, name: &UnitName, running: bool) -> Result<(), ManagerError> {
    if running { session::put_back(manager, name, Standing::Up, &|| true) } else { manager.reload() }
}

/// Whether a file still holds what unitfix wrote, which a revert takes as its "before".
fn is_as_written(root: &Root, file: &FileChange) -> bool {
    holds(root, file, file.before.as_deref())
}

/// Whether a file holds this, or is not there if there is nothing to hold.
fn holds(root: &Root, file: &FileChange, text: Option<&str>) -> bool {
    match root.read(&file.path) {
        Ok(bytes) => text.map(str::as_bytes) == Some(&bytes),
        Err(error) => error.kind() == io::ErrorKind::NotFound && text.is_none(),
    }
}

/// Take back what was written beside a unit file: the drop-ins there that say that they are unitfix's.
pub fn revert_file(path: &Path, prompt: &Prompt) -> Result<Ending, Failure> {
    let root = Root::default();
    let folder = std::path::absolute(drop_in_folder(path)).map_err(|e| Failure::System(e.to_string()))?;
    let names = root.list(&folder).map_err(|e| Failure::System(e.to_string()))?;
    let files = names.iter().filter_map(|name| {
        let path = folder.join(name);
        let text = String::from_utf8(root.read(&path).ok()?).ok()?;
        let own_folder = names.len() == 1;
        text.starts_with(HEADER).then_some(FileChange { path, before: Some(text), after: None, own_folder })
    });
    let diff = Diff { files: files.collect() };
    if diff.is_empty() {
        return Ok(Ending::NothingToDo(format!("unitfix wrote nothing in {}.", shown_path(&folder))));
    }
    output::result(&(People::default().diff(&diff.unified()) + "\n"));
    match prompt.ask("", "Take this back?") {
        Answer::Approved(approval) => {
            change::apply(&root, &diff, &approval).map_err(|e| Failure::System(e.to_string()))?;
            Ok(Ending::NothingToDo("Taken back.".to_owned()))
        }
        Answer::Declined | Answer::NobodyToAsk => Ok(Ending::Proposed("Nothing was changed.".to_owned())),
    }
}

/// A file is there, and is not what was written.
const CHANGED: &str = "changed";

/// What unitfix wrote for one unit, and whether it is still so.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "WrittenRepair"))]
pub struct StatusRow {
    /// The receipt.
    #[serde(flatten)]
    pub receipt: Receipt,
    /// `in place`, `changed` or `gone`.
    pub now: &'static str,
}

/// A file that does not count for anything yet.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct HalfWritten {
    /// The unit.
    pub unit: String,
    /// The file.
    pub path: PathBuf,
}

/// What `unitfix status` tells.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Status {
    /// The version of this format.
    #[cfg_attr(test, schemars(extend("const" = SCHEMA)))]
    pub schema: u32,
    /// The version of unitfix.
    pub unitfix: &'static str,
    /// Every repair.
    pub repairs: Vec<StatusRow>,
    /// Units with a replay that is going on, or was left behind by a run that was killed.
    pub replays: Vec<String>,
    /// Files that are being written, or that a run was writing when it was killed.
    pub half_written: Vec<HalfWritten>,
}

/// What unitfix wrote, on this system or below a root folder.
pub fn status(store: &Store, only: Option<&UnitName>) -> Result<Status, Failure> {
    let (root, scope) = (&root_of(store), store.scope());
    let of_system = root.is_system() && *scope == Scope::System;
    let system = |e: io::Error| Failure::System(format!("the receipts cannot be read: {e}"));
    if of_system {
        trust::own_folders().map_err(Failure::System)?;
    }
    let wanted = |unit: &str| only.is_none_or(|name| name.as_str() == unit);
    let receipts = store.all().map_err(system)?;
    let replays = match scope {
        Scope::System if of_system => session::sessions().map_err(system)?,
        Scope::System => Vec::new(),
        // without a manager there is nothing that it has stopped
        Scope::User(_) => {
            let manager = BusManager::connect(scope);
            manager.and_then(|manager| session::paused(&manager)).unwrap_or_default()
        }
    };
    let half_written = change::all_half_written(store).map_err(system)?;
    let row = |receipt: Receipt| {
        let undo = receipt.undo();
        let now = if undo.files.iter().all(|f| is_as_written(root, f)) {
            "in place"
        } else if undo.files.iter().any(|f| root.kind(&f.path).is_some()) {
            CHANGED
        } else {
            "gone"
        };
        StatusRow { receipt, now }
    };
    Ok(Status {
        schema: SCHEMA,
        unitfix: env!("CARGO_PKG_VERSION"),
        repairs: receipts.into_iter().filter(|r| wanted(&r.unit)).map(row).collect(),
        replays: replays.into_iter().filter(|r| wanted(r)).collect(),
        half_written: half_written
            .into_iter()
            .filter(|(unit, _)| wanted(unit.as_str()))
            .map(|(unit, path)| HalfWritten { unit: unit.to_string(), path })
            .collect(),
    })
}

impl Status {
    /// As text for people.
    #[must_use]
    pub fn text(&self, store: &Store) -> String {
        let (mut out, root) = (String::new(), root_of(store));
        let place = if root.is_system() {
            store.scope().option().to_owned()
        } else {
            format!(" --root {}", as_typed(&root.join(Path::new("/"))))
        };
        for row in &self.repairs {
            let receipt = &row.receipt;
            let proof = if receipt.pending.is_some() {
                "being written, or left behind by a run that was killed"
            } else if receipt.verified {
                "seen to work"
            } else {
                "not verified"
            };
            let _ = writeln!(
                out,
                "{}  {}, {proof}, written {}",
                receipt.unit,
                row.now,
                one_line(&receipt.written)
            );
            for (file, why) in
                receipt.files.iter().zip(receipt.why.iter().map(Some).chain(std::iter::repeat(None)))
            {
                let _ = writeln!(out, "  {}", shown_path(&file.path));
                if let Some(why) = why {
                    let _ = writeln!(out, "  {}", one_line(why));
                }
            }
            if !receipt.calls.is_empty() {
                let _ = writeln!(out, "  allows {}", one_line(&crate::plan::list(&receipt.calls)));
            }
            if !receipt.softened.is_empty() {
                let _ = writeln!(out, "  lets fail {}", one_line(&crate::plan::list(&receipt.softened)));
            }
            if receipt.pending.is_some() {
                let _ = writeln!(
                    out,
                    "  `unitfix {}{place}` takes it back, unless that run goes on",
                    receipt.unit
                );
            } else if row.now == CHANGED {
                let _ = writeln!(
                    out,
                    "  it is not as unitfix wrote it, so revert leaves it alone: take it away by hand"
                );
            } else {
                let _ = writeln!(out, "  undo: unitfix revert {}{place}", receipt.unit);
            }
        }
        for unit in &self.replays {
            let _ = writeln!(
                out,
                "{unit}  a replay is going on, or was left behind by a run that was killed: \
                 `unitfix {unit}{place}` cleans up"
            );
        }
        for HalfWritten { unit, path } in &self.half_written {
            let _ = writeln!(
                out,
                "{unit}  {} is being written, or was by a run that was killed: `unitfix {unit}{place}` cleans up",
                shown_path(path)
            );
        }
        if out.is_empty() {
            out.push_str("unitfix has written nothing here.\n");
        }
        out
    }
}
