//! Units: every setting of a service in load order, each with file, line and column.

mod drop_ins;
pub mod environment;
mod examine;
pub mod exec;
mod name;
mod refused;
mod search;
mod source;
pub mod specifiers;
pub mod syntax;
mod trigger;

pub use drop_ins::SANDBOX;
use examine::Files;
pub use examine::{Examined, LoadState};
pub use name::{BadName, UnitName};
pub use search::NameMap;
pub(crate) use search::{directories, started};
pub use source::{SourceFile, Span, shown_path};
pub use syntax::{Setting, Value};
pub use trigger::{Triggered, enabled_instances, template_of_connections, trigger_stem};

use crate::finding::{Code, Finding};
use crate::root::Root;
use crate::scope::Scope;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A service unit as it is on disk.
#[derive(Clone, Debug)]
pub struct Unit {
    /// Its name. For a unit file given by path: the file's name.
    pub name: UnitName,
    /// Whose manager runs it. For a unit file given by path: the system's would.
    pub scope: Scope,
    /// The unit file.
    pub fragment: Arc<SourceFile>,
    /// The drop-ins, in the order in which they apply.
    pub drop_ins: Vec<Arc<SourceFile>>,
    /// Every setting, in load order over all files.
    pub settings: Vec<Setting>,
    /// What is wrong with the files.
    pub findings: Vec<Finding>,
}

/// Why a unit cannot be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// No such unit file anywhere.
    #[error("there is no unit {name} (systemctl list-unit-files shows those that exist)")]
    NotFound {
        /// The name asked for.
        name: String,
    },
    /// The unit is masked.
    #[error(
        "{name} is masked by {}: it cannot run, and unitfix changes nothing ({systemctl} unmask {name} lifts that)",
        shown_path(path)
    )]
    Masked {
        /// The name asked for.
        name: String,
        /// The file or link that masks it.
        path: PathBuf,
        /// How systemctl is called for it.
        systemctl: &'static str,
    },
    /// Links that lead round in a circle.
    #[error("the links of {name} lead round in a circle: take one of them away")]
    AliasLoop {
        /// The name asked for.
        name: String,
    },
    /// A file that cannot be read.
    #[error("{}: {error}", shown_path(path))]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// There is a unit file, but it cannot be opened: a link that leads nowhere, or no permission.
    #[error("{0}")]
    Unreadable(String),
    /// The unit file itself is so broken that systemd refuses it.
    #[error("{place}: {message}, and refuses to load the unit")]
    Broken {
        /// Where.
        place: String,
        /// What.
        message: String,
    },
    /// The unit's name.
    #[error(transparent)]
    Name(#[from] BadName),
}

impl Unit {
    /// Find and load a unit in a root folder, without a manager, as systemd of this major version would.
    pub fn find(root: &Root, name: &UnitName, version: u32) -> Result<Self, LoadError> {
        Unit::examine(root, name, version).loaded(name)
    }

    /// Load a unit *file* and the drop-ins in the `.d` directory beside it, as systemd of this major version would.
    pub fn at_path(path: &Path, version: u32) -> Result<Examined, LoadError> {
        let root = Root::default();
        let read = |error| LoadError::Read { path: path.to_owned(), error };
        let path = std::path::absolute(path).map_err(read)?;
        let file_name = path.file_name().and_then(|n| n.to_str()).unwrap_or_default();
        // a template file runs as an instance of that name
        let name = match UnitName::parse(file_name) {
            Err(BadName::Template(_, instance)) => UnitName::parse(&instance)?,
            other => other?,
        };
        let (drop_ins, findings) = drop_ins::beside(&root, &drop_in_folder(&path), version);
        let files = Files { name, fragment: &path, drop_ins, findings, is_loaded: false };
        files.examine(&root, version).map_err(read)
    }

    /// Load a unit that a manager has loaded, from the manager's own list of files.
    pub fn load(
        root: &Root,
        name: UnitName,
        fragment: &Path,
        drop_ins: &[PathBuf],
        version: u32,
    ) -> Result<Self, LoadError> {
        let asked = name.clone();
        let files =
            Files { name, fragment, drop_ins: drop_ins.to_vec(), findings: Vec::new(), is_loaded: true };
        let read = |error| LoadError::Read { path: fragment.to_owned(), error };
        files.examine(root, version).map_err(read)?.loaded(&asked)
    }

    /// Add a drop-in behind all others, by the rules of this major version.
    pub fn add_drop_in(&mut self, file: Arc<SourceFile>, version: u32) {
        let mut parsed = syntax::parse_as(&file, version);
        if let Some((at, why)) = first_refused(&parsed.settings, version) {
            let message = format!("{why}: systemd reads this drop-in no further");
            let span = Some(parsed.settings[at].value.whole());
            parsed.findings.push(Finding::error(Code::BadSetting, message, span));
            parsed.settings.truncate(at);
        }
        self.settings.extend(parsed.settings);
        self.findings.extend(parsed.findings);
        self.drop_ins.push(file);
    }

    /// The unit as it would be with a drop-in behind all others.
    #[must_use]
    pub fn with_drop_in(&self, file: Arc<SourceFile>, version: u32) -> Self {
        let mut unit = self.clone();
        unit.add_drop_in(file, version);
        unit
    }

    /// When its files were last changed, in microseconds since the epoch: what was denied before that, was denied
    /// to another unit.
    #[must_use]
    pub fn changed(&self) -> u64 {
        self.drop_ins.iter().map(|f| f.changed).max().unwrap_or_default().max(self.fragment.changed)
    }

    /// The unit as it would be without one of its drop-ins.
    #[must_use]
    pub fn without_drop_in(&self, path: Option<&Path>) -> Self {
        let mut unit = self.clone();
        if let Some(path) = path {
            unit.drop_ins.retain(|f| f.path != path);
            unit.settings.retain(|s| s.value.file().path != path);
            unit.findings.retain(|f| f.span.as_ref().is_none_or(|s| s.path() != path));
        }
        unit
    }

    /// The unit as it would be with another text in one of its files, by the rules of this major version.
    #[must_use]
    pub fn with_file(&self, file: &Arc<SourceFile>, version: u32) -> Self {
        let mut unit = Unit { drop_ins: Vec::new(), settings: Vec::new(), ..self.clone() };
        unit.findings.retain(|f| f.span.as_ref().is_none_or(|s| s.path() != file.path));
        let kept = |old: &SourceFile| {
            let settings = self.settings.iter().filter(|s| s.value.file().path == old.path);
            settings.cloned().collect::<Vec<_>>()
        };
        if self.fragment.path == file.path {
            unit.settings = syntax::parse_as(file, version).settings;
            unit.fragment = Arc::clone(file);
        } else {
            unit.settings = kept(&self.fragment);
        }
        for drop_in in &self.drop_ins {
            if drop_in.path == file.path {
                unit.add_drop_in(Arc::clone(file), version);
            } else {
                unit.settings.extend(kept(drop_in));
                unit.drop_ins.push(Arc::clone(drop_in));
            }
        }
        unit
    }

    /// Every assignment of a setting in `[Service]`, in load order.
    pub fn service<'a>(&'a self, key: &'a str) -> impl DoubleEndedIterator<Item = &'a Setting> {
        self.settings.iter().filter(move |s| s.section == "Service" && s.key == key)
    }

    /// The value that counts of a setting in `[Service]` that holds one value: the last one.
    #[must_use]
    pub fn last(&self, key: &str) -> Option<&Setting> {
        self.settings.iter().rev().find(|s| s.section == "Service" && s.key == key)
    }

    /// The text of the last value of a setting in `[Service]`, if it is set and not empty.
    #[must_use]
    pub fn text(&self, key: &str) -> Option<&str> {
        self.last(key).map(|s| s.value.text.as_str()).filter(|text| !text.is_empty())
    }

    /// Whether a boolean of `[Service]` is on; false where it is not set.
    #[must_use]
    pub fn flag(&self, key: &str) -> bool {
        self.boolean(key).is_some_and(|(on, _)| on)
    }

    /// A boolean of `[Service]` with the line that set it: the last that is a boolean (`config_parse_bool()`).
    #[must_use]
    pub fn boolean<'a>(&'a self, key: &'a str) -> Option<(bool, &'a Setting)> {
        self.service(key).rev().find_map(|setting| Some((parse_boolean(&setting.value.text)?, setting)))
    }
}

/// The first setting that the manager refuses, and why.
fn first_refused(settings: &[Setting], version: u32) -> Option<(usize, &'static str)> {
    settings.iter().enumerate().find_map(|(at, setting)| Some((at, refused::why(setting, version)?)))
}

/// systemd's booleans (`parse_boolean()`, src/basic/parse-util.c).
#[must_use]
pub fn parse_boolean(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "1" | "yes" | "y" | "true" | "t" | "on" => Some(true),
        "0" | "no" | "n" | "false" | "f" | "off" => Some(false),
        _ => None,
    }
}

/// The directory that holds the drop-ins of a unit file given by path: `some.service.d` beside it.
#[must_use]
pub fn drop_in_folder(unit_file: &Path) -> PathBuf {
    let mut name = unit_file.file_name().unwrap_or_default().to_owned();
    name.push(".d");
    unit_file.with_file_name(name)
}
