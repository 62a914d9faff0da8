//! Receipts: what was written over what, so that it can be taken back byte for byte.

use super::{Diff, FileChange, Pending};
use crate::evidence::Untrusted;
use crate::plan::Amendment;
use crate::policy::errno_name;
use crate::root::Root;
use crate::scope::Scope;
use crate::trust;
use crate::unit::{UnitName, shown_path};
use nix::unistd::geteuid;
use serde::{Deserialize, Serialize};
use std::io;
use std::path::{Path, PathBuf};

/// What unitfix wrote for one unit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
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
    /// The calls that it lets fail, as `name:errno`.
    #[serde(default)]
    pub softened: Vec<String>,
    /// A run is writing it, or was killed before it had seen that it helps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pending: Option<Pending>,
}

impl Receipt {
    /// A receipt as it was kept at a path, or what is wrong with it and where.
    pub fn parse(path: &Path, bytes: &[u8]) -> io::Result<Self> {
        serde_json::from_slice(bytes).map_err(|error| {
            let (line, column) = (error.line(), error.column());
            let message = error.to_string();
            // the place is said before
            let message = message.split(" at line ").next().unwrap_or_default();
            let place = format!("{}:{line}:{column}", shown_path(path));
            io::Error::new(io::ErrorKind::InvalidData, format!("{place}: {}", Untrusted::new(message)))
        })
    }

    /// Whether this can be the receipt at this path. Below another root somebody else may have written it: nothing but
    /// drop-ins of the unit is taken back.
    fn is_of(&self, store: &Store, path: &Path) -> Result<(), String> {
        let unit = UnitName::parse(&self.unit).ok().filter(|unit| store.path_of(unit) == path);
        let folder = store.scope.drop_in_folder(&unit.ok_or("this is the receipt of another unit")?);
        let is_drop_in = |path: &Path| {
            path.parent() == Some(&folder) && path.extension().is_some_and(|extension| extension == "conf")
        };
        let pending = self.pending.iter().flat_map(|pending| &pending.files);
        if let Some(file) = self.files.iter().chain(pending).find(|file| !is_drop_in(&file.path)) {
            return Err(format!("{} is not one of the unit's drop-ins", shown_path(&file.path)));
        }
        let former = self.pending.as_ref().and_then(|pending| pending.former.as_ref());
        former.map_or(Ok(()), |former| former.is_of(store, path))
    }

    /// Take in what a further repair allows, or lets fail.
    pub fn allow(&mut self, amendment: &Amendment) {
        let name = |softened: &String| softened.split(':').next().unwrap_or_default().to_owned();
        self.softened.retain(|word| !amendment.allow.contains(&name(word)));
        self.softened
            .extend(amendment.soften.iter().map(|(name, errno)| format!("{name}:{}", errno_name(*errno))));
        self.calls.extend(amendment.allow.iter().cloned());
        for names in [&mut self.calls, &mut self.softened] {
            names.sort();
            names.dedup();
        }
    }

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

/// The receipts of a system or of a user; or none, for unit files outside of one, whose drop-ins speak for themselves.
#[derive(Clone, Debug)]
pub struct Store {
    root: Option<Root>,
    scope: Scope,
}

impl Store {
    /// The receipts below a root.
    #[must_use]
    pub fn new(root: &Root) -> Self {
        Store { root: Some(root.clone()), scope: Scope::System }
    }

    /// The receipts of this system, or of a user of it.
    #[must_use]
    pub fn of(scope: &Scope) -> Self {
        Store { root: Some(Root::default()), scope: scope.clone() }
    }

    /// A store that keeps nothing.
    #[must_use]
    pub fn nowhere() -> Self {
        Store { root: None, scope: Scope::System }
    }

    /// The root below which they are, and the drop-ins that they are of; nothing: there are none.
    #[must_use]
    pub fn root(&self) -> Option<&Root> {
        self.root.as_ref()
    }

    /// Whose units they are of.
    #[must_use]
    pub fn scope(&self) -> &Scope {
        &self.scope
    }

    /// Where the receipt of a unit is kept, from inside the root.
    #[must_use]
    pub fn path_of(&self, unit: &UnitName) -> PathBuf {
        self.path(unit.as_str())
    }

    fn path(&self, unit: &str) -> PathBuf {
        self.scope.receipts().join(format!("{unit}.json"))
    }

    /// The receipt of a unit, if unitfix wrote anything for it.
    pub fn load(&self, unit: &UnitName) -> io::Result<Option<Receipt>> {
        self.read(&self.path_of(unit))
    }

    fn read(&self, path: &Path) -> io::Result<Option<Receipt>> {
        let Some(root) = &self.root else { return Ok(None) };
        let bytes = match root.read(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            other => other?,
        };
        let invalid =
            |what: &str| io::Error::new(io::ErrorKind::InvalidData, format!("{}: {what}", shown_path(path)));
        // a user's own folders are a user's own affair; root writes nothing by what others may have written
        if self.scope == Scope::System || geteuid().is_root() {
            trust::file(root, path, &root.open_file(path)?).map_err(|why| invalid(&why))?;
        }
        let receipt = Receipt::parse(path, &bytes)?;
        receipt.is_of(self, path).map_err(|why| invalid(&why))?;
        Ok(Some(receipt))
    }

    /// Every receipt, by unit.
    pub fn all(&self) -> io::Result<Vec<Receipt>> {
        let mut out = Vec::new();
        let Some(root) = &self.root else { return Ok(out) };
        let folder = self.scope.receipts();
        for name in root.list(&folder)? {
            if Path::new(&name).extension().is_some_and(|e| e == "json") {
                out.extend(self.read(&folder.join(name))?);
            }
        }
        Ok(out)
    }

    /// The units that have one, whatever it holds.
    pub fn units(&self) -> io::Result<Vec<UnitName>> {
        let folder = self.scope.receipts();
        let names = self.root.iter().map(|root| root.list(&folder)).collect::<io::Result<Vec<_>>>()?;
        let unit = |name: &std::ffi::OsString| UnitName::parse(name.to_str()?.strip_suffix(".json")?).ok();
        Ok(names.iter().flatten().filter_map(unit).collect())
    }

    /// Keep a receipt.
    pub fn save(&self, receipt: &Receipt) -> io::Result<()> {
        let Some(root) = &self.root else { return Ok(()) };
        let mut text = serde_json::to_string_pretty(receipt).map_err(io::Error::other)?;
        text.push('\n');
        super::write::replace(root, &self.path(&receipt.unit), Some(&text), false)
    }

    /// Keep the receipt that there was before, or none.
    pub fn put_back(&self, unit: &UnitName, former: Option<&Receipt>) -> io::Result<()> {
        match former {
            Some(former) => self.save(former),
            None => self.remove(unit),
        }
    }

    /// Forget a receipt.
    pub fn remove(&self, unit: &UnitName) -> io::Result<()> {
        let Some(root) = &self.root else { return Ok(()) };
        super::write::replace(root, &self.path_of(unit), None, false)
    }
}
