//! Loading any unit that may or may not be there, as far as systemd itself gets: what `systemctl show` shows of it.

use super::search::{Fragment, NameMap};
use super::{LoadError, SourceFile, Span, Unit, UnitName, exec, shown_path, syntax};
use crate::finding::{Code, Finding};
use crate::root::Root;
use crate::scope::Scope;
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

/// The files of a unit, found or listed by the manager.
pub(super) struct Files<'a> {
    /// The unit's own name.
    pub name: UnitName,
    /// The unit file.
    pub fragment: &'a Path,
    /// The drop-ins in the order in which they apply.
    pub drop_ins: Vec<PathBuf>,
    /// What was noticed when the drop-ins were looked for.
    pub findings: Vec<Finding>,
    /// The manager has loaded the unit: it has refused nothing in the unit file, whatever unitfix thinks of it.
    pub is_loaded: bool,
}

impl Files<'_> {
    /// Read them as far as systemd of this major version does. Fails if the unit file cannot be read.
    pub(super) fn examine(self, root: &Root, version: u32) -> std::io::Result<Examined> {
        let fragment = self.fragment;
        let masked = root.is_null(fragment) || root.is_device(fragment);
        let bytes = match root.read(fragment) {
            Err(_) if masked => Vec::new(),
            other => other?,
        };
        let masked = masked || bytes.is_empty();
        let mut unit = Unit::empty(self.name, source(root, fragment, bytes));
        let parsed = syntax::parse_as(&unit.fragment, version);
        unit.settings = parsed.settings;
        unit.findings = parsed.findings;
        let refused = if self.is_loaded { None } else { super::first_refused(&unit.settings, version) };
        if let Some((at, why)) = refused {
            let place = unit.settings[at].value.whole().location();
            unit.settings.truncate(at);
            let message = format!("{why}: systemd reads this file no further");
            return Ok(Examined { state: LoadState::Broken { place, message }, unit });
        }
        if parsed.broken {
            let found = unit.findings.pop();
            let place = found.as_ref().and_then(|f| f.span.as_ref()).map(Span::location).unwrap_or_default();
            let message = found.map(|f| f.message).unwrap_or_default();
            return Ok(Examined { state: LoadState::Broken { place, message }, unit });
        }
        if !(masked && version >= MASK_HIDES_DROP_INS_FROM) {
            unit.findings.extend(self.findings);
            unit.add_drop_ins(root, &self.drop_ins, version);
        }
        unit.check_commands();
        let state = if masked { LoadState::Masked(fragment.to_owned()) } else { LoadState::Loaded };
        Ok(Examined { state, unit })
    }
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
        let (drop_ins, findings) = map.drop_ins(&real, &aliases);
        let files = Files { name: real, fragment: &fragment, drop_ins, findings, is_loaded: false };
        match files.examine(&map.root, map.version) {
            Ok(mut examined) => {
                if matches!(examined.state, LoadState::Broken { .. }) {
                    examined.unit.name = name.clone(); // it is not merged with the unit that it is an alias of
                }
                examined
            }
            Err(error) if map.root.is_directory(&fragment) => {
                let state = LoadState::Broken { place: shown_path(&fragment), message: error.to_string() };
                Examined { state, unit: Unit::empty(name.clone(), SourceFile::new(fragment, "")) }
            }
            Err(error) => {
                let message = format!("{}: {error}", fragment.display());
                let finding = Finding::error(Code::UnreadableUnit, message, None);
                Examined::without_file(name, vec![finding])
            }
        }
    }

    /// A unit of the system's manager, of which only this is known.
    pub(crate) fn empty(name: UnitName, fragment: Arc<SourceFile>) -> Self {
        Unit {
            name,
            scope: Scope::System,
            fragment,
            drop_ins: Vec::new(),
            settings: Vec::new(),
            findings: Vec::new(),
        }
    }

    /// Read drop-ins in this order; those that cannot be read are findings.
    fn add_drop_ins(&mut self, root: &Root, paths: &[PathBuf], version: u32) {
        for path in paths {
            match root.read(path) {
                Ok(bytes) => self.add_drop_in(source(root, path, bytes), version),
                Err(error) => {
                    let message = format!("{}: {error}", path.display());
                    self.findings.push(Finding::warning(Code::UnreadableDropIn, message, None));
                }
            }
        }
    }

    /// What is wrong with the command lines.
    fn check_commands(&mut self) {
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
            LoadState::Masked(path) => {
                let systemctl = self.unit.scope.systemctl();
                Err(LoadError::Masked { name: name.to_string(), path, systemctl })
            }
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

    /// There is no such unit file, or it cannot be read, as the findings say.
    pub(crate) fn without_file(name: &UnitName, findings: Vec<Finding>) -> Self {
        let mut unit = Unit::empty(name.clone(), SourceFile::new("", ""));
        unit.findings = findings;
        Examined { state: LoadState::NotFound, unit }
    }
}

/// A file of the unit, with the time of its last change.
fn source(root: &Root, path: &Path, bytes: Vec<u8>) -> Arc<SourceFile> {
    let changed = root.changed(path).unwrap_or_default();
    SourceFile::changed_at(path, bytes, changed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn names(unit: &Unit) -> Vec<String> {
        unit.drop_ins.iter().map(|f| f.path.file_name().unwrap().to_str().unwrap().to_owned()).collect()
    }

    #[test]
    fn by_its_path_a_unit_file_is_read_as_by_its_name() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.service");
        let put = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
        put("a.service", "[Service]\nExecStart=/bin/true\nSystemCallFilter=~mount\n");
        std::fs::create_dir_all(dir.path().join("real/3.conf")).unwrap();
        put("real/1.conf", "[Service]\nSystemCallFilter=~bpf\n");
        put("real/2.conf", "");
        symlink("/no/such", dir.path().join("real/4.conf")).unwrap();
        symlink("real", dir.path().join("a.service.d")).unwrap();
        let old = Unit::at_path(&path, 247).unwrap();
        assert_eq!((old.state, names(&old.unit)), (LoadState::Loaded, vec!["1.conf".to_owned()]));
        assert!(old.unit.findings.is_empty(), "{:?}", old.unit.findings);
        let new = Unit::at_path(&path, 252).unwrap().unit;
        assert!(names(&new).is_empty());
        assert_eq!(new.findings[0].code, Code::RelativeDropInDirectory);

        put("a.service", "[Service]\nRootDirectory=x\nSystemCallFilter=~mount\n");
        let refused = Unit::at_path(&path, 252).unwrap();
        assert!(matches!(refused.state, LoadState::Broken { .. }));
        assert!(refused.unit.settings.is_empty());
        // the manager has loaded it all the same
        let name = UnitName::parse("a").unwrap();
        let loaded = Unit::load(&Root::default(), name, &path, &[], 252).unwrap();
        assert_eq!(loaded.settings.len(), 2);

        put("a.service", "");
        assert_eq!(Unit::at_path(&path, 252).unwrap().state, LoadState::Masked(path.clone()));
        std::fs::remove_file(&path).unwrap();
        symlink("/dev/null", &path).unwrap();
        assert_eq!(Unit::at_path(&path, 252).unwrap().state, LoadState::Masked(path.clone()));
        std::fs::remove_file(&path).unwrap();
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert!(matches!(Unit::at_path(&path, 252), Err(LoadError::Read { .. })));
    }
}
