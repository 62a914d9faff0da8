//! `unitfix revert` and `unitfix status`: taking back, and showing, what unitfix wrote.

use crate::change::{self, Answer, Diff, FileChange, Lock, Prompt, Receipt, Store};
use crate::ending::Ending;
use crate::manager::{Manager, ManagerError, Patience, SystemManager};
use crate::plan::HEADER;
use crate::replay::session;
use crate::report::{People, output};
use crate::root::Root;
use crate::subject::Failure;
use crate::unit::{UnitName, drop_in_folder};
use serde::Serialize;
use std::fmt::Write as _;
use std::io;
use std::path::Path;
use std::time::Duration;

/// Take back what was written for a unit of this system, or of a root folder.
pub fn revert(name: &UnitName, root: &Root, prompt: &Prompt) -> Result<Ending, Failure> {
    let system = |error: &dyn std::fmt::Display| Failure::System(error.to_string());
    if root.is_system() && !nix::unistd::geteuid().is_root() {
        return Err(Failure::System(format!("taking it back needs root: sudo unitfix revert {name}")));
    }
    let _lock = root.is_system().then(|| Lock::take(name)).transpose().map_err(|e| system(&e))?;
    let store = Store::new(root);
    let Some(receipt) = store.load(name).map_err(|e| system(&e))? else {
        return Ok(Ending::NothingToDo(format!("unitfix wrote nothing for {name}.")));
    };
    let diff = receipt.undo();
    if let Some(file) = diff.files.iter().find(|f| !is_as_written(root, f)) {
        return Ok(Ending::NoRepair(format!(
            "{} is not as unitfix wrote it: it is left alone. Take it away by hand, then {} as well",
            file.path.display(),
            root.join(&Store::path_of(name)).display()
        )));
    }
    let manager = root.is_system().then(SystemManager::connect).and_then(Result::ok);
    let running = manager.as_ref().and_then(|m| m.status(name).ok()).is_some_and(|s| s.is_up());
    output::result(&(People::default().diff(&diff.unified()) + "\n"));
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
    change::apply(root, &diff, &approval).map_err(|e| system(&e))?;
    store.remove(name).map_err(|e| system(&e))?;
    if let Some(manager) = manager {
        reload(&manager, name, running).map_err(|e| system(&e))?;
    }
    Ok(Ending::NothingToDo(format!("Taken back: {name} is as it was before unitfix.")))
}

fn reload(manager: &dyn Manager, name: &UnitName, running: bool) -> Result<(), ManagerError> {
    manager.reload()?;
    if running {
        let _ = manager.reset_failed(name); // refused when nothing failed
        manager.restart(name, Patience::AtMost(Duration::from_mins(2)))?;
    }
    Ok(())
}

/// Whether a file still holds what unitfix wrote, which a revert takes as its "before".
fn is_as_written(root: &Root, file: &FileChange) -> bool {
    match root.read(&file.path) {
        Ok(bytes) => file.before.as_deref().map(str::as_bytes) == Some(&bytes),
        Err(error) => error.kind() == io::ErrorKind::NotFound && file.before.is_none(),
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
        return Ok(Ending::NothingToDo(format!("unitfix wrote nothing in {}.", folder.display())));
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

/// What unitfix wrote for one unit, and whether it is still so.
#[derive(Debug, Serialize)]
pub struct StatusRow {
    /// The receipt.
    #[serde(flatten)]
    pub receipt: Receipt,
    /// `in place`, `changed` or `gone`.
    pub now: &'static str,
}

/// What `unitfix status` tells.
#[derive(Debug, Serialize)]
pub struct Status {
    /// Every repair.
    pub repairs: Vec<StatusRow>,
    /// Units with a replay that is going on, or was left behind by a run that was killed.
    pub replays: Vec<String>,
}

/// What unitfix wrote, on this system or below a root folder.
pub fn status(root: &Root, only: Option<&UnitName>) -> Result<Status, Failure> {
    let system = |e: io::Error| Failure::System(format!("the receipts cannot be read: {e}"));
    let wanted = |unit: &str| only.is_none_or(|name| name.as_str() == unit);
    let receipts = Store::new(root).all().map_err(system)?;
    let replays = if root.is_system() { session::sessions().map_err(system)? } else { Vec::new() };
    let row = |receipt: Receipt| {
        let undo = receipt.undo();
        let now = if undo.files.iter().all(|f| is_as_written(root, f)) {
            "in place"
        } else if undo.files.iter().any(|f| root.kind(&f.path).is_some()) {
            "changed"
        } else {
            "gone"
        };
        StatusRow { receipt, now }
    };
    Ok(Status {
        repairs: receipts.into_iter().filter(|r| wanted(&r.unit)).map(row).collect(),
        replays: replays.into_iter().filter(|r| wanted(r)).collect(),
    })
}

impl Status {
    /// As text for people.
    #[must_use]
    pub fn text(&self, root: &Root) -> String {
        let mut out = String::new();
        let place = if root.is_system() {
            String::new()
        } else {
            format!(" --root {}", root.join(Path::new("/")).display())
        };
        for row in &self.repairs {
            let receipt = &row.receipt;
            let proof = if receipt.verified { "seen to work" } else { "not verified" };
            let _ = writeln!(out, "{}  {}, {proof}, written {}", receipt.unit, row.now, receipt.written);
            for (file, why) in
                receipt.files.iter().zip(receipt.why.iter().map(Some).chain(std::iter::repeat(None)))
            {
                let _ = writeln!(out, "  {}", file.path.display());
                if let Some(why) = why {
                    let _ = writeln!(out, "  {why}");
                }
            }
            if !receipt.calls.is_empty() {
                let _ = writeln!(out, "  allows {}", crate::plan::list(&receipt.calls));
            }
            let _ = writeln!(out, "  undo: unitfix revert {}{place}", receipt.unit);
        }
        for unit in &self.replays {
            let _ = writeln!(
                out,
                "{unit}  a replay is going on, or was left behind by a run that was killed: \
                 `unitfix {unit}` cleans up"
            );
        }
        if out.is_empty() {
            out.push_str("unitfix has written nothing here.\n");
        }
        out
    }
}
