//! Loading any unit that may or may not be there, as far as systemd itself gets: what `systemctl show` shows of it.

use super::search::{Fragment, NameMap};
use super::{LoadError, SourceFile, Span, Unit, UnitName, exec, shown_path, syntax};
use crate::finding::{Code, Finding};
use crate::root::Root;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// From this version on (seen on 257, not on 252), the drop-ins of a masked unit are not read.
const MASK_HIDES_DROP_INS_FROM: u32 = 257;

/// What became of loading a unit: `LoadState` of systemctl(1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LoadState {
    /// It is loaded.
    Loaded,
    /// There is no unit file that can be opened. Drop-ins are not read then.
    NotFound,
    /// It is masked by this file or link. Up to version 252 its drop-ins are read all the same.
    Masked(PathBuf),
    /// Its file is read up to this place (`error` and `bad-setting` of systemctl). Drop-ins are not read then.
    Broken {
        /// Where.
        place: String,
        /// Why.
        message: String,
    },
}

/// A unit as far as it could be loaded.
#[derive(Clone, Debug)]
pub struct Examined {
    /// What became of loading it.
    pub state: LoadState,
    /// What was read. A unit that was not found has a unit file without a path.
    pub unit: Unit,
}

impl Unit {
    /// Load a unit in a root folder as systemd of this major version would, whether it can run or not.
    #[must_use]
    pub fn examine(root: &Root, name: &UnitName, version: u32) -> Examined {
        Unit::examine_in(&NameMap::read(root, version), name)
    }

    /// The same, for many units of one root.
    #[must_use]
    pub fn examine_in(map: &NameMap, name: &UnitName) -> Examined {
        let fragment = match map.fragment(name) {
            Fragment::At(path) => path,
            Fragment::None => return Examined::without_file(name, Vec::new()),
            Fragment::Loop => {
                let message = format!("the links of {name} lead round in a circle");
                return Examined::without_file(name, vec![Finding::error(Code::AliasLoop, message, None)]);
            }
        };
        let (real, aliases) = map.names_of(name, Some(&fragment));
        let is_directory = map.root.is_directory(&fragment);
        let masked = map.root.is_null(&fragment) || map.root.is_device(&fragment);
        let bytes = match map.root.read(&fragment) {
            Ok(bytes) => bytes,
            Err(_) if masked => Vec::new(),
            Err(error) if is_directory => {
                let state = LoadState::Broken { place: shown_path(&fragment), message: error.to_string() };
                return Examined { state, unit: Unit::empty(name.clone(), SourceFile::new(fragment, "")) };
            }
            Err(error) => {
                let message = format!("{}: {error}", fragment.display());
                let finding = Finding::error(Code::UnreadableUnit, message, None);
                return Examined::without_file(name, vec![finding]);
            }
        };
        let masked = masked || bytes.is_empty();
        let mut unit = Unit::empty(real, source(&map.root, &fragment, bytes));
        let mut parsed = syntax::parse_as(&unit.fragment, map.version);
        unit.settings = parsed.settings;
        if let Some((at, why)) = super::first_refused(&unit.settings) {
            let place = unit.settings[at].value.whole().location();
            unit.settings.truncate(at);
            unit.findings = parsed.findings;
            unit.name = name.clone();
            let message = format!("{why}: systemd reads this file no further");
            return Examined { state: LoadState::Broken { place, message }, unit };
        }
        if parsed.broken {
            let found = parsed.findings.pop();
            unit.findings = parsed.findings;
            let place = found.as_ref().and_then(|f| f.span.as_ref()).map(Span::location).unwrap_or_default();
            let message = found.map(|f| f.message).unwrap_or_default();
            unit.name = name.clone(); // it is not merged with the unit that it is an alias of
            return Examined { state: LoadState::Broken { place, message }, unit };
        }
        unit.findings = parsed.findings;
        if !(masked && map.version >= MASK_HIDES_DROP_INS_FROM) {
            let (drop_ins, findings) = map.drop_ins(&unit.name, &aliases);
            unit.findings.extend(findings);
            unit.add_drop_ins(&map.root, &drop_ins, map.version);
        }
        unit.check_commands();
        let state = if masked { LoadState::Masked(fragment) } else { LoadState::Loaded };
        Examined { state, unit }
    }

    fn empty(name: UnitName, fragment: Arc<SourceFile>) -> Self {
        Unit { name, fragment, drop_ins: Vec::new(), settings: Vec::new(), findings: Vec::new() }
    }

    /// Read drop-ins in this order; those that cannot be read are findings.
    pub(super) fn add_drop_ins(&mut self, root: &Root, paths: &[PathBuf], version: u32) {
        for path in paths {
            match root.read(path) {
                Ok(bytes) => self.add_drop_in_as(source(root, path, bytes), version),
                Err(error) => {
                    let message = format!("{}: {error}", path.display());
                    self.findings.push(Finding::warning(Code::UnreadableDropIn, message, None));
                }
            }
        }
    }

    /// What is wrong with the command lines.
    pub(super) fn check_commands(&mut self) {
        for stage in exec::Stage::ALL {
            let found: Vec<_> =
                self.service(stage.key()).flat_map(|line| exec::parse(stage, line).1).collect();
            self.findings.extend(found);
        }
    }
}

impl Examined {
    /// The unit, if it is loaded. `name` is what was asked for.
    pub fn loaded(self, name: &UnitName) -> Result<Unit, LoadError> {
        match self.state {
            LoadState::Loaded => Ok(self.unit),
            LoadState::Masked(path) => Err(LoadError::Masked { name: name.to_string(), path }),
            LoadState::Broken { place, message } => Err(LoadError::Broken { place, message }),
            LoadState::NotFound if self.unit.findings.iter().any(|f| f.code == Code::AliasLoop) => {
                Err(LoadError::AliasLoop { name: name.to_string() })
            }
            LoadState::NotFound => match self.unit.findings.into_iter().next() {
                Some(finding) => Err(LoadError::Unreadable(finding.message)),
                None => Err(LoadError::NotFound { name: name.to_string() }),
            },
        }
    }

    fn without_file(name: &UnitName, findings: Vec<Finding>) -> Self {
        let mut unit = Unit::empty(name.clone(), SourceFile::new("", ""));
        unit.findings = findings;
        Examined { state: LoadState::NotFound, unit }
    }
}

/// A file of the unit, with the time of its last change.
pub(super) fn source(root: &Root, path: &Path, bytes: Vec<u8>) -> Arc<SourceFile> {
    let changed = root.changed(path).unwrap_or_default();
    SourceFile::changed_at(path, bytes, changed)
}
