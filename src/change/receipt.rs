//! Receipts: what was written over what, so that it can be taken back byte for byte.

use super::{Diff, FileChange};
use crate::root::Root;
use crate::unit::UnitName;
use serde::{Deserialize, Serialize};
use std::io;
use std::path::{Path, PathBuf};

/// Where receipts are kept, from inside the root.
const FOLDER: &str = "/var/lib/unitfix";

/// What unitfix wrote for one unit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// The unit.
    pub unit: String,
    /// When it was last written, as a date and time of day.
    pub written: String,
    /// Why, a sentence for each repair.
    pub why: Vec<String>,
    /// The files: what each held before unitfix touched it first, and what it holds since.
    pub files: Vec<FileChange>,
    /// Whether the unit was seen to work with it.
    pub verified: bool,
    /// The calls that it allows.
    pub calls: Vec<String>,
}

impl Receipt {
    /// What takes everything back.
    #[must_use]
    pub fn undo(&self) -> Diff {
        Diff { files: self.files.clone() }.reversed()
    }

    /// This receipt, continued by a further change of the same unit: what was there first stays what is restored.
    #[must_use]
    pub fn continued(mut self, diff: &Diff) -> Self {
        for change in &diff.files {
            if let Some(file) = self.files.iter_mut().find(|f| f.path == change.path) {
                file.after.clone_from(&change.after);
                continue;
            }
            let mut file = change.clone();
            // the folder is there since the first repair
            file.own_folder |=
                self.files.iter().any(|f| f.own_folder && f.path.parent() == change.path.parent());
            self.files.push(file);
        }
        self.files.retain(|f| f.before != f.after); // what was only there between two repairs
        self
    }
}

/// The receipts of a system; or none, for unit files outside of one, whose drop-ins speak for themselves.
#[derive(Clone, Debug)]
pub struct Store {
    root: Option<Root>,
}

impl Store {
    /// The receipts below a root.
    #[must_use]
    pub fn new(root: &Root) -> Self {
        Store { root: Some(root.clone()) }
    }

    /// A store that keeps nothing.
    #[must_use]
    pub fn nowhere() -> Self {
        Store { root: None }
    }

    /// Where the receipt of a unit is kept, from inside the root.
    #[must_use]
    pub fn path_of(unit: &UnitName) -> PathBuf {
        Self::path(unit.as_str())
    }

    fn path(unit: &str) -> PathBuf {
        Path::new(FOLDER).join(format!("{unit}.json"))
    }

    /// The receipt of a unit, if unitfix wrote anything for it.
    pub fn load(&self, unit: &UnitName) -> io::Result<Option<Receipt>> {
        self.read(&Self::path(unit.as_str()))
    }

    fn read(&self, path: &Path) -> io::Result<Option<Receipt>> {
        let Some(root) = &self.root else { return Ok(None) };
        match root.read(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
            Ok(bytes) => serde_json::from_slice(&bytes).map(Some).map_err(|error| {
                io::Error::new(io::ErrorKind::InvalidData, format!("{}: {error}", path.display()))
            }),
        }
    }

    /// Every receipt, by unit.
    pub fn all(&self) -> io::Result<Vec<Receipt>> {
        let mut out = Vec::new();
        let Some(root) = &self.root else { return Ok(out) };
        for name in root.list(Path::new(FOLDER))? {
            if Path::new(&name).extension().is_some_and(|e| e == "json") {
                out.extend(self.read(&Path::new(FOLDER).join(name))?);
            }
        }
        Ok(out)
    }

    /// Keep a receipt.
    pub fn save(&self, receipt: &Receipt) -> io::Result<()> {
        let Some(root) = &self.root else { return Ok(()) };
        let mut text = serde_json::to_string_pretty(receipt).map_err(io::Error::other)?;
        text.push('\n');
        super::write::replace(root, &Self::path(&receipt.unit), Some(&text), false)
    }

    /// Forget a receipt.
    pub fn remove(&self, unit: &UnitName) -> io::Result<()> {
        let Some(root) = &self.root else { return Ok(()) };
        super::write::replace(root, &Self::path(unit.as_str()), None, false)
    }
}
