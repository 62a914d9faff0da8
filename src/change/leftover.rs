//! What a run left behind that was killed while it wrote: files that were not renamed yet, and a repair of which
//! nobody has seen whether it helps.

use super::write::{WriteError, half_written, replace, take_back};
use super::{FileChange, Receipt, Store};
use crate::manager::Standing;
use crate::root::Root;
use crate::unit::{UnitName, shown_path};
use serde::{Deserialize, Serialize};
use std::io;
use std::path::PathBuf;

/// A change that a run is about to make, or has made, until it has seen that it helps. It stands in the receipt, which
/// is written first, so that what was there before is known whatever happens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Pending {
    /// What this change does, which may be to a former repair.
    pub files: Vec<FileChange>,
    /// How the unit stood before; nothing: no manager runs it.
    pub standing: Option<Standing>,
    /// When this began, in microseconds since the epoch.
    pub since: u64,
    /// The receipt of the former repair.
    pub former: Option<Box<Receipt>>,
}

impl Pending {
    /// Take the change back, as far as it was made: every file is as it was before, or somebody else has changed it
    /// since and none is touched.
    pub fn take_back(&self, root: &Root) -> Result<(), WriteError> {
        take_back(root, &self.files)
    }

    /// Keep the receipt that there was before, or none: nothing is pending any more.
    pub fn forget(&self, store: &Store, unit: &UnitName) -> io::Result<()> {
        store.put_back(unit, self.former.as_deref())
    }
}

/// The files of a unit that are being written, or were when a run was killed. They do not count for anything.
pub fn half_written_of(store: &Store, unit: &UnitName) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let Some(root) = store.root() else { return Ok(found) };
    for folder in store.scope().unit_folders() {
        found.extend(half_written(root, &folder.join(format!("{unit}.d")), None)?);
    }
    for folder in store.scope().note_folders() {
        found.extend(half_written(root, &folder, Some(format!("{unit}.json").as_ref()))?);
    }
    Ok(found)
}

/// Those of all units, each with its unit.
pub fn all_half_written(store: &Store) -> io::Result<Vec<(UnitName, PathBuf)>> {
    let mut all = Vec::new();
    let Some(root) = store.root() else { return Ok(all) };
    for folder in store.scope().unit_folders() {
        for name in root.list(&folder)? {
            let unit = name.to_str().and_then(|name| UnitName::parse(name.strip_suffix(".d")?).ok());
            let Some(unit) = unit else { continue };
            let files = half_written(root, &folder.join(name), None)?;
            all.extend(files.into_iter().map(|path| (unit.clone(), path)));
        }
    }
    for folder in store.scope().note_folders() {
        let files = half_written(root, &folder, None)?;
        all.extend(files.into_iter().filter_map(|path| {
            let name = path.file_name()?.to_str()?.strip_prefix(super::write::STAGED)?;
            let unit = UnitName::parse(name.rsplit_once('-')?.0.strip_suffix(".json")?).ok()?;
            Some((unit, path))
        }));
    }
    all.sort_by(|(a, _), (b, _)| a.as_str().cmp(b.as_str()));
    Ok(all)
}

/// Take them away. Returns what there is to tell. Only for who holds the unit's lock.
pub fn sweep(store: &Store, unit: &UnitName) -> io::Result<Option<String>> {
    let Some(root) = store.root() else { return Ok(None) };
    let files = half_written_of(store, unit)?;
    for file in &files {
        replace(root, file, None, false)?;
    }
    let names: Vec<String> = files.iter().map(|file| shown_path(file)).collect();
    let words =
        || format!("an earlier run was killed while it wrote: {} was taken away", crate::plan::list(&names));
    Ok((!files.is_empty()).then(words))
}
