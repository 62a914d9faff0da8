//! A unit that is only looked at: nothing is locked, asked, replayed or written, and anybody may do it.

use super::managed::{self, adopt, failure, groups, load_failure};
use super::{Failure, Judged};
use crate::finding::{Code, Finding};
use crate::manager::{Manager, ManagerError, SystemManager, UnitStatus};
use crate::root::Root;
use crate::syscalls::Groups;
use crate::unit::{Examined, LoadState, Unit, UnitName};
use std::path::Path;

/// Where a unit is looked for, and by whose rules it is read.
#[derive(Clone, Debug, Default)]
pub struct Whereabouts {
    /// Below this folder, without a service manager.
    pub root: Option<Root>,
    /// By the rules of this major version of systemd, without a service manager.
    pub systemd: Option<u32>,
}

/// The groups of the systemd that was named; else of the one below the root, or of the installed one.
pub fn groups_at(place: &Whereabouts) -> Result<Groups, Failure> {
    let version = match (&place.root, place.systemd) {
        (_, Some(version)) => Some(version),
        (Some(root), None) => super::rooted::version_below(root),
        (None, None) => {
            if let Some(version) = super::file::installed_version() {
                return groups(version, &mut Vec::new());
            }
            None
        }
    };
    let groups = Groups::from_rules(version.unwrap_or_else(Groups::newest_version));
    groups.map_err(|error| Failure::System(error.to_string()))
}

/// A unit as far as it could be loaded, judged.
pub struct Inspected {
    /// What became of loading it.
    pub state: LoadState,
    /// The unit with what its settings mean.
    pub judged: Judged,
    name: UnitName,
}

impl Inspected {
    /// The unit with all that is wrong with it: that systemd refuses it is a finding, too.
    pub fn faulted(mut self) -> Result<Judged, Failure> {
        let LoadState::Broken { place, message } = &self.state else {
            return self.judged();
        };
        let message = format!("{place}: {message}: systemd refuses to load the unit");
        self.judged.unit.findings.push(Finding::error(Code::BadSetting, message, None));
        Ok(self.judged)
    }

    /// The unit, if there is one to judge: also a masked one, which is then a finding.
    pub fn judged(mut self) -> Result<Judged, Failure> {
        if let LoadState::Masked(path) = &self.state {
            let message = format!("{} is masked by {}: it cannot run", self.name, path.display());
            self.judged.unit.findings.push(Finding::note(Code::MaskedUnit, message, None));
            return Ok(self.judged);
        }
        let Judged { unit, groups, policy } = self.judged;
        let unit = Examined { state: self.state, unit }.loaded(&self.name).map_err(load_failure)?;
        Ok(Judged { unit, groups, policy })
    }
}

/// Load a unit by name, or a unit file by its path (with a slash), and judge it.
///
/// With a running manager its own list of files and its own groups count; `--root` and `--systemd` do without one.
pub fn inspect(asked: &str, place: &Whereabouts) -> Result<Inspected, Failure> {
    if asked.contains('/') {
        if !Path::new(asked).exists() {
            return Err(Failure::Usage(format!("there is no file {asked}")));
        }
        let groups = groups_at(place)?;
        let Examined { state, unit } =
            Unit::at_path(Path::new(asked), groups.systemd).map_err(load_failure)?;
        let name = unit.name.clone();
        return Ok(Inspected { state, judged: Judged::of(unit, groups), name });
    }
    let name = UnitName::parse(asked).map_err(|e| Failure::Usage(e.to_string()))?;
    if place.root.is_some() || place.systemd.is_some() {
        return of_files(name, place);
    }
    match SystemManager::connect() {
        Ok(manager) => of_manager(&manager, name),
        Err(error @ ManagerError::Unreachable(_)) => {
            let mut inspected = of_files(name, place)?;
            let message = format!("{error}: judged by the files below / alone");
            inspected.judged.unit.findings.push(Finding::note(Code::NoManager, message, None));
            Ok(inspected)
        }
        Err(other) => Err(failure(other)),
    }
}

/// Without a service manager.
fn of_files(name: UnitName, place: &Whereabouts) -> Result<Inspected, Failure> {
    let groups = groups_at(place)?;
    let root = place.root.clone().unwrap_or_default();
    let Examined { state, unit } = Unit::examine(&root, &name, groups.systemd);
    Ok(Inspected { state, judged: Judged::of(unit, groups), name })
}

fn of_manager(manager: &dyn Manager, name: UnitName) -> Result<Inspected, Failure> {
    let status: UnitStatus = manager.status(&name).map_err(failure)?;
    let version = manager.version().map_err(failure)?;
    let loaded = status.load_state == "loaded";
    let Examined { state, mut unit } = match &status.fragment {
        Some(fragment) if loaded => {
            let real = UnitName::parse(&status.id).unwrap_or_else(|_| name.clone());
            let unit = managed::load(real, fragment, &status.drop_ins, version).map_err(load_failure)?;
            Examined { state: LoadState::Loaded, unit }
        }
        _ => not_loaded(&name, &status, version),
    };
    let groups = groups(version, &mut unit.findings)?;
    let mut judged = Judged::of(unit, groups);
    if loaded {
        adopt(&mut judged, &status);
    }
    if status.needs_reload {
        let message = "the files were changed since systemd read them, and it still enforces the former ones: \
                       run `systemctl daemon-reload`";
        judged.unit.findings.push(Finding::warning(Code::PolicyDiffers, message, None));
    }
    Ok(Inspected { state, judged, name })
}

/// A unit that the manager did not load: its files as far as they can be read, and the manager's word on it.
fn not_loaded(name: &UnitName, status: &UnitStatus, version: u32) -> Examined {
    let found = Unit::examine(&Root::default(), name, version);
    let state = match (status.load_state.as_str(), found.state) {
        ("not-found", _) => LoadState::NotFound,
        ("masked", _) => LoadState::Masked(status.fragment.clone().unwrap_or_default()),
        (bad @ ("bad-setting" | "error"), LoadState::Loaded | LoadState::NotFound) => {
            let message = format!("systemd does not load it ({bad}; `systemctl status {name}` tells why)");
            LoadState::Broken { place: name.to_string(), message }
        }
        (_, state) => state,
    };
    Examined { state, ..found }
}
