//! A unit that is only looked at: nothing is locked, asked, replayed or written, and anybody may do it.

use super::managed::{adopt, failure, groups, load_failure};
use super::{Failure, Judged};
use crate::finding::{Code, Finding};
use crate::manager::{Manager, ManagerError, SystemManager, UnitStatus};
use crate::root::Root;
use crate::syscalls::Groups;
use crate::unit::{Unit, UnitName};
use std::path::Path;

/// Where a unit is looked for, and by whose rules it is read.
#[derive(Clone, Debug, Default)]
pub struct Whereabouts {
    /// Below this folder, without a service manager.
    pub root: Option<Root>,
    /// By the rules of this major version of systemd, without a service manager.
    pub systemd: Option<u32>,
}

/// Load a unit by name, or a unit file by its path (with a slash), and judge it.
///
/// With a running manager its own list of files and its own groups count; `--root` and `--systemd` do without one.
pub fn inspect(asked: &str, place: &Whereabouts) -> Result<Judged, Failure> {
    if asked.contains('/') {
        let unit = Unit::at_path(Path::new(asked)).map_err(load_failure)?;
        return by_rules(unit, place.systemd.or_else(super::file::installed_version));
    }
    let name = UnitName::parse(asked).map_err(|e| Failure::Usage(e.to_string()))?;
    if place.root.is_none() && place.systemd.is_none() {
        match SystemManager::connect() {
            Ok(manager) => return of_manager(&manager, &name),
            Err(error @ ManagerError::Unreachable(_)) => {
                let message = format!("{error}: judged by the files below / alone");
                let mut judged = below(&Root::default(), &name, None)?;
                judged.unit.findings.push(Finding::note(Code::NoManager, message, None));
                return Ok(judged);
            }
            Err(other) => return Err(failure(other)),
        }
    }
    below(&place.root.clone().unwrap_or_default(), &name, place.systemd)
}

fn below(root: &Root, name: &UnitName, systemd: Option<u32>) -> Result<Judged, Failure> {
    let version = systemd.or_else(|| super::rooted::version_below(root));
    let unit =
        Unit::find(root, name, version.unwrap_or_else(Groups::newest_version)).map_err(load_failure)?;
    by_rules(unit, version)
}

fn by_rules(unit: Unit, version: Option<u32>) -> Result<Judged, Failure> {
    let groups = Groups::from_rules(version.unwrap_or_else(Groups::newest_version));
    Ok(Judged::of(unit, groups.map_err(|e| Failure::System(e.to_string()))?))
}

fn of_manager(manager: &dyn Manager, name: &UnitName) -> Result<Judged, Failure> {
    let status: UnitStatus = manager.status(name).map_err(failure)?;
    let version = manager.version().map_err(failure)?;
    let name = UnitName::parse(&status.id).unwrap_or_else(|_| name.clone());
    let root = Root::default();
    let loaded = match (&status.fragment, status.load_state.as_str()) {
        (Some(fragment), "loaded") => Unit::load(&root, name, fragment, &status.drop_ins),
        _ => Unit::find(&root, &name, version),
    };
    let mut unit = loaded.map_err(load_failure)?;
    let groups = groups(version, &mut unit.findings)?;
    let mut judged = Judged::of(unit, groups);
    if status.load_state == "loaded" {
        adopt(&mut judged, &status);
    }
    if status.needs_reload {
        let message = "the files were changed since systemd read them, and it still enforces the former ones: \
                       run `systemctl daemon-reload`";
        judged.unit.findings.push(Finding::warning(Code::PolicyDiffers, message, None));
    }
    Ok(judged)
}
