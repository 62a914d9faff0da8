//! A unit that is only looked at: nothing is locked, asked, replayed or written, and anybody may do it.

use super::meant::{Register, say_real_name};
use super::running::{self, adopt, failure, groups, load_failure};
use super::{Failure, Judged};
use crate::finding::{Code, Finding};
use crate::manager::{BusManager, Manager, ManagerError, UnitStatus};
use crate::root::Root;
use crate::scope::Scope;
use crate::syscalls::{Groups, RULES_OF};
use crate::unit::{Examined, LoadState, Unit, UnitName};
use std::cell::OnceCell;
use std::path::Path;

/// Where a unit is looked for, and by whose rules it is read.
#[derive(Clone, Debug, Default)]
pub struct Whereabouts {
    /// Below this folder, without a service manager.
    pub root: Option<Root>,
    /// By the rules of this major version of systemd, without a service manager.
    pub systemd: Option<u32>,
    /// Whose service manager is asked.
    pub scope: Scope,
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

/// The same for who explains and judges nothing: nothing is spawned where the groups of just the installed version come
/// with unitfix.
pub fn groups_to_explain(place: &Whereabouts) -> Result<Groups, Failure> {
    let installed = || super::rooted::version_below(&Root::default());
    match (&place.root, place.systemd) {
        (None, None) => {
            let systemd = installed().filter(|version| RULES_OF.contains(version));
            groups_at(&Whereabouts { systemd, ..place.clone() })
        }
        _ => groups_at(place),
    }
}

/// A unit as far as it could be loaded, judged.
pub struct Inspected {
    /// What became of loading it.
    pub state: LoadState,
    /// The unit with what its settings mean.
    pub judged: Judged,
    name: UnitName,
    /// There is no such unit, and why that may be.
    missing: Option<Failure>,
}

impl Inspected {
    fn of(state: LoadState, judged: Judged, name: UnitName, register: Register) -> Self {
        let unreadable = |f: &Finding| matches!(f.code, Code::AliasLoop | Code::UnreadableUnit);
        let missing = state == LoadState::NotFound && !judged.unit.findings.iter().any(unreadable);
        let missing = missing.then(|| register.not_found(name.as_str()));
        say_real_name(&name, &judged.unit.name);
        Inspected { state, judged, name, missing }
    }

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
        if let Some(missing) = self.missing {
            return Err(missing);
        }
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

/// Looks at units, one after the other: what they have in common is asked for once.
pub struct Inspector {
    place: Whereabouts,
    /// Whether there is a service manager, which is not asked where it does not matter.
    manager: OnceCell<Result<BusManager, ManagerError>>,
    /// The groups, without the manager or of its version, and what is wrong with them.
    groups: OnceCell<(Groups, Vec<Finding>)>,
}

impl Inspector {
    /// One that has asked nothing yet.
    #[must_use]
    pub fn new(place: Whereabouts) -> Self {
        Inspector { place, manager: OnceCell::new(), groups: OnceCell::new() }
    }

    /// Load a unit by name, or a unit file by its path (with a slash), and judge it.
    ///
    /// With a running manager its own list of files and its own groups count; `--root` and `--systemd` do without one.
    pub fn inspect(&self, asked: &str) -> Result<Inspected, Failure> {
        if asked.contains('/') {
            if !Path::new(asked).exists() {
                return Err(Failure::Usage(format!("there is no file {asked}")));
            }
            let groups = self.groups(|| Ok((groups_at(&self.place)?, Vec::new())))?.0;
            let Examined { state, mut unit } =
                Unit::at_path(Path::new(asked), groups.systemd).map_err(load_failure)?;
            unit.scope = self.place.scope.clone();
            let name = unit.name.clone();
            return Ok(Inspected { state, judged: Judged::of(unit, groups), name, missing: None });
        }
        if self.place.root.is_some() || self.place.systemd.is_some() {
            return self.of_files(asked);
        }
        match self.manager.get_or_init(|| BusManager::connect(&self.place.scope)) {
            Ok(manager) => self.of_manager(manager, asked),
            Err(error @ ManagerError::Unreachable(_)) => {
                let mut inspected = self.of_files(asked)?;
                let message = format!("{error}: judged by the files below / alone");
                inspected.judged.unit.findings.push(Finding::note(Code::NoManager, message, None));
                Ok(inspected)
            }
            Err(other) => Err(Failure::System(other.to_string())),
        }
    }

    fn groups(
        &self,
        ask: impl FnOnce() -> Result<(Groups, Vec<Finding>), Failure>,
    ) -> Result<(Groups, Vec<Finding>), Failure> {
        if let Some(known) = self.groups.get() {
            return Ok(known.clone());
        }
        let known = ask()?;
        Ok(self.groups.get_or_init(|| known).clone())
    }

    /// Without a service manager.
    fn of_files(&self, asked: &str) -> Result<Inspected, Failure> {
        let groups = self.groups(|| Ok((groups_at(&self.place)?, Vec::new())))?.0;
        let root = self.place.root.clone().unwrap_or_default();
        let register = Register::Files(&root, groups.systemd);
        let name = register.service(asked)?;
        let Examined { state, unit } = Unit::examine(&root, &name, groups.systemd);
        Ok(Inspected::of(state, Judged::of(unit, groups), name, register))
    }

    fn of_manager(&self, manager: &dyn Manager, asked: &str) -> Result<Inspected, Failure> {
        let scope = &self.place.scope;
        let register = Register::Manager(manager, scope);
        let name = register.service(asked)?;
        let status: UnitStatus = manager.status(&name).map_err(failure)?;
        let version = manager.version().map_err(failure)?;
        let (groups, findings) = self.groups(|| {
            let mut findings = Vec::new();
            Ok((groups(version, &mut findings)?, findings))
        })?;
        let (state, judged) = of_manager(&status, scope, &name, groups, findings)?;
        Ok(Inspected::of(state, judged, name, register))
    }
}

/// A unit as a manager says that it is.
fn of_manager(
    status: &UnitStatus,
    scope: &Scope,
    name: &UnitName,
    groups: Groups,
    findings: Vec<Finding>,
) -> Result<(LoadState, Judged), Failure> {
    let version = groups.systemd;
    let loaded = status.load_state == "loaded";
    let Examined { state, mut unit } = match &status.fragment {
        Some(fragment) if loaded => {
            let real = UnitName::parse(&status.id).unwrap_or_else(|_| name.clone());
            let unit =
                running::load(scope, real, fragment, &status.drop_ins, version).map_err(load_failure)?;
            Examined { state: LoadState::Loaded, unit }
        }
        _ => not_loaded(name, scope, status, version),
    };
    unit.findings.extend(findings);
    let mut judged = Judged::of(unit, groups);
    if loaded {
        adopt(&mut judged, status);
    }
    if status.needs_reload {
        let message = format!(
            "the files were changed since systemd read them, and it still enforces the former ones: run `{} \
             daemon-reload`",
            scope.systemctl()
        );
        judged.unit.findings.push(Finding::warning(Code::PolicyDiffers, message, None));
    }
    Ok((state, judged))
}

/// A unit that the manager did not load: its files as far as they can be read, and the manager's word on it.
fn not_loaded(name: &UnitName, scope: &Scope, status: &UnitStatus, version: u32) -> Examined {
    let systemctl = scope.systemctl();
    let found = match scope {
        Scope::System => Unit::examine(&Root::default(), name, version),
        Scope::User(_) => Examined::without_file(name, Vec::new()), // what is found there is another unit
    };
    let state = match (status.load_state.as_str(), found.state) {
        ("not-found", _) => LoadState::NotFound,
        ("masked", _) => LoadState::Masked(status.fragment.clone().unwrap_or_default()),
        (bad @ ("bad-setting" | "error"), LoadState::Loaded | LoadState::NotFound) => {
            let message = format!("systemd does not load it ({bad}; `{systemctl} status {name}` tells why)");
            LoadState::Broken { place: name.to_string(), message }
        }
        (_, state) => state,
    };
    Examined { state, ..found }
}
