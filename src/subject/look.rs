//! A unit that is only looked at: nothing is locked, asked, recovered or changed.

use super::managed::{groups, load_failure, looked_at};
use super::{Failure, Judged, file, rooted};
use crate::manager::SystemManager;
use crate::root::Root;
use crate::syscalls::Groups;
use crate::unit::{Unit, UnitName};
use std::path::Path;

/// The groups of a version of systemd; without one, those of the systemd below the root, or of the installed one.
pub fn groups_at(root: Option<&Root>, systemd: Option<u32>) -> Result<Groups, Failure> {
    let from_rules =
        |version| Groups::from_rules(version).map_err(|error| Failure::System(error.to_string()));
    match (systemd, root) {
        (Some(version), _) => from_rules(version),
        (None, Some(root)) => from_rules(rooted::version_below(root).unwrap_or_else(Groups::newest_version)),
        (None, None) => match file::installed_version() {
            Some(version) => groups(version, &mut Vec::new()),
            None => from_rules(Groups::newest_version()),
        },
    }
}

/// A unit as it was asked for: a path with a slash, a name below a root, or a name for the running manager.
pub fn look_at(asked: &str, root: Option<&Root>, systemd: Option<u32>) -> Result<Judged, Failure> {
    if asked.contains('/') {
        if !Path::new(asked).exists() {
            return Err(Failure::Usage(format!("there is no file {asked}")));
        }
        let unit = Unit::at_path(Path::new(asked)).map_err(load_failure)?;
        return Judged::new(unit, groups_at(root, systemd)?);
    }
    let name = UnitName::parse(asked).map_err(|error| Failure::Usage(error.to_string()))?;
    if let Some(root) = root {
        let groups = groups_at(Some(root), systemd)?;
        let unit = Unit::find(root, &name, groups.systemd).map_err(load_failure)?;
        return Judged::new(unit, groups);
    }
    let manager = SystemManager::connect().map_err(|error| Failure::System(error.to_string()))?;
    let judged = looked_at(&manager, &name)?;
    match systemd {
        None => Ok(judged),
        // what another systemd would make of the same files
        Some(_) => Judged::new(judged.unit, groups_at(None, systemd)?),
    }
}
