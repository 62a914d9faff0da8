//! Where systemd finds a unit file in a root folder, without a running manager: systemd.unit(5) "Unit File Load
//! Path", `unit_file_build_name_map()` and `unit_file_find_fragment()` in src/basic/unit-file.c.

use super::UnitName;
use crate::root::{Kind, Root};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};

/// The directories of the system manager, highest priority first, with the first version that does not look there.
const SEARCH_PATH: [(&str, u32); 13] = [
    ("/etc/systemd/system.control", u32::MAX),
    ("/run/systemd/system.control", u32::MAX),
    ("/run/systemd/transient", u32::MAX),
    ("/run/systemd/generator.early", u32::MAX),
    ("/etc/systemd/system", u32::MAX),
    ("/etc/systemd/system.attached", u32::MAX),
    ("/run/systemd/system", u32::MAX),
    ("/run/systemd/system.attached", u32::MAX),
    ("/run/systemd/generator", u32::MAX),
    ("/usr/local/lib/systemd/system", u32::MAX),
    // only where /usr is not merged, which 255 and later do not support
    ("/lib/systemd/system", 255),
    ("/usr/lib/systemd/system", u32::MAX),
    ("/run/systemd/generator.late", u32::MAX),
];

/// From this version on (seen on 252, not on 247), a unit file that is a link to a place outside of the search path
/// goes by the link's own name and not by its target's, and a directory of the search path may be a link itself.
const LINKS_KEEP_THEIR_NAME_FROM: u32 = 252;

/// From this version on (seen on 252, not on 247), the manager looks for the target of a link to a drop-in directory
/// as if it were in `/`.
const LINKED_FOLDERS_FROM_ROOT_FROM: u32 = 252;

/// From this version on (seen on 252, not on 247), an instance goes by the names that lead to that very instance of
/// its template, too.
const INSTANCES_HAVE_ALIASES_FROM: u32 = 252;

/// From this version on (seen on 252, not on 247), a directory named like a unit is passed over.
const FOLDERS_ARE_NO_UNITS_FROM: u32 = 252;

/// A chain of aliases longer than this is given up (`FOLLOW_MAX`).
const FOLLOW_MAX: usize = 8;

/// What the manager knows of the unit files and drop-in directories below a root: its name map and path cache.
/// Making it reads every directory of the search path once.
#[derive(Debug)]
pub struct NameMap {
    /// The root folder it was read from.
    pub(super) root: Root,
    /// The major version of systemd whose rules apply.
    pub(super) version: u32,
    /// What each file name leads to.
    targets: BTreeMap<String, Target>,
    /// Every name that leads to the file of this name, that included.
    names: BTreeMap<String, BTreeSet<String>>,
    /// Directories that can hold drop-ins.
    pub(super) folders: BTreeSet<PathBuf>,
    /// The names of all of these, and of the links below.
    pub(super) folder_names: BTreeSet<String>,
    /// Links to directories that the manager does not take for such.
    pub(super) ignored_links: BTreeSet<PathBuf>,
}

#[derive(Debug)]
enum Target {
    Path(PathBuf),
    Alias(String),
}

/// The kinds of unit names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum NameKind {
    Plain,
    Template,
    Instance,
}

/// Where a name leads.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Fragment {
    /// To this file.
    At(PathBuf),
    /// Nowhere.
    None,
    /// Round in a circle.
    Loop,
}

impl NameMap {
    /// Read the search path below a root as systemd of this major version does.
    #[must_use]
    pub fn read(root: &Root, version: u32) -> Self {
        let mut map = NameMap {
            root: root.clone(),
            version,
            targets: BTreeMap::new(),
            names: BTreeMap::new(),
            folders: BTreeSet::new(),
            folder_names: BTreeSet::new(),
            ignored_links: BTreeSet::new(),
        };
        let mut inside: Vec<PathBuf> = directories(version).map(Path::to_owned).collect();
        if version >= LINKS_KEEP_THEIR_NAME_FROM {
            inside.extend(directories(version).filter_map(|d| root.resolve(d)));
        }
        for directory in directories(version) {
            for file in root.list(directory).unwrap_or_default() {
                if let Some(file) = file.to_str() {
                    map.add(directory, file, &inside);
                }
            }
        }
        map.add_names();
        map
    }

    fn add(&mut self, directory: &Path, file: &str, inside: &[PathBuf]) {
        let is_folder = file.strip_suffix(".d").is_some();
        let kind = name_kind(file);
        if !is_folder && (kind.is_none() || self.targets.contains_key(file)) {
            return; // a name in a directory above hides it
        }
        let path = directory.join(file);
        if is_folder {
            self.folder_names.insert(file.to_owned());
        }
        match self.root.kind(&path) {
            Some(Kind::Directory) if is_folder => {
                self.folders.insert(path);
            }
            Some(Kind::Link) if is_folder => self.add_linked_folder(path),
            // a directory fails to load
            Some(Kind::Directory) if kind.is_some() && self.version < FOLDERS_ARE_NO_UNITS_FROM => {
                self.targets.insert(file.to_owned(), Target::Path(path));
            }
            Some(Kind::File) if kind.is_some() => {
                self.targets.insert(file.to_owned(), Target::Path(path));
            }
            Some(Kind::Link) if kind.is_some() => {
                if let Some(target) = self.target(directory, file, inside) {
                    self.targets.insert(file.to_owned(), target);
                }
            }
            _ => {}
        }
    }

    fn add_linked_folder(&mut self, path: PathBuf) {
        if is_link_seen(&self.root, &path, self.version) {
            self.folders.insert(path);
        } else {
            self.ignored_links.insert(path);
        }
    }

    /// What a link is: another name of a unit of the search path, or a unit file elsewhere. Nothing where the manager
    /// passes over it: a link to itself, or to a name of another kind.
    fn target(&self, directory: &Path, file: &str, inside: &[PathBuf]) -> Option<Target> {
        let link = self.root.read_link(&directory.join(file))?;
        let destination = destination(&self.root, &directory.join(link))?;
        if !inside.iter().any(|d| destination.starts_with(d)) {
            let keeps = self.version >= LINKS_KEEP_THEIR_NAME_FROM;
            return Some(Target::Path(if keeps { directory.join(file) } else { destination }));
        }
        let alias = destination.file_name()?.to_str()?;
        let kinds = (name_kind(file)?, name_kind(alias)?);
        let fits = match kinds {
            (NameKind::Instance, NameKind::Instance) => instance(file) == instance(alias),
            (NameKind::Instance, NameKind::Template) => true,
            (own, other) => own == other,
        };
        (fits && alias != file).then(|| Target::Alias(alias.to_owned()))
    }

    /// Which names lead to which file; those of files that are masked or cannot be read have none.
    fn add_names(&mut self) {
        let mut names: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for name in self.targets.keys() {
            let Fragment::At(path) = self.follow(name) else { continue };
            let Some(file) = path.file_name().and_then(|f| f.to_str()) else { continue };
            if self.root.size(&path).is_none_or(|size| size == 0) || self.root.is_null(&path) {
                continue;
            }
            // an instance that is a link to a template is an alias of just that instance
            let real = match (name_kind(file), instance(name)) {
                (Some(NameKind::Template), Some(instance)) => with_instance(file, instance),
                _ => file.to_owned(),
            };
            names.entry(real).or_default().insert(name.clone());
        }
        self.names = names;
    }

    /// The file that a name itself leads to, through aliases.
    fn follow(&self, name: &str) -> Fragment {
        let mut wanted = name.to_owned();
        for step in 0..FOLLOW_MAX {
            let template = || template(&wanted).filter(|_| step > 0);
            match self.targets.get(&wanted).or_else(|| self.targets.get(&template()?)) {
                None => return Fragment::None,
                Some(Target::Path(path)) => return Fragment::At(path.clone()),
                Some(Target::Alias(next)) => wanted.clone_from(next),
            }
        }
        Fragment::Loop
    }

    /// The services that have a file of their own, without templates, which do not run.
    pub(crate) fn services(&self) -> impl Iterator<Item = UnitName> {
        let plain = self.targets.iter().filter(|(_, target)| matches!(target, Target::Path(_)));
        plain.filter_map(|(name, _)| UnitName::parse(name).ok())
    }

    /// Every name of a service that leads to a file, those of templates included.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.targets.keys().map(String::as_str)
    }

    /// The unit file of a name: its own, or that of its template.
    pub(super) fn fragment(&self, name: &UnitName) -> Fragment {
        match (self.follow(name.as_str()), name.template()) {
            (Fragment::None, Some(template)) => self.follow(&template),
            (found, _) => found,
        }
    }

    /// The unit's own name and all others that it goes by.
    pub(super) fn names_of(&self, name: &UnitName, fragment: Option<&Path>) -> (UnitName, Vec<UnitName>) {
        let file = fragment.and_then(|path| path.file_name()?.to_str());
        let mut found = BTreeSet::from([name.as_str().to_owned()]);
        let instances = self.version >= INSTANCES_HAVE_ALIASES_FROM;
        if instances || file == Some(name.as_str()) {
            self.add_aliases(&mut found, name, name.as_str(), None);
        }
        let real = file.map(|file| match (name_kind(file), name.instance()) {
            (Some(NameKind::Template), Some(instance)) => with_instance(file, instance),
            _ => file.to_owned(),
        });
        if let (Some(file), Some(real)) = (file, &real) {
            if self.version >= LINKS_KEEP_THEIR_NAME_FROM && name_kind(real).is_some() {
                found.insert(real.clone());
            }
            self.add_aliases(&mut found, name, file, Some(file));
            if instances {
                self.add_aliases(&mut found, name, real, Some(file));
            }
        }
        let real = real.filter(|real| found.contains(real)).and_then(|real| UnitName::parse(&real).ok());
        let real = real.unwrap_or_else(|| name.clone());
        let others = found.iter().filter(|other| *other != real.as_str());
        let others = others.filter_map(|other| UnitName::parse(other).ok()).collect();
        (real, others)
    }

    fn add_aliases(&self, found: &mut BTreeSet<String>, asked: &UnitName, of: &str, file: Option<&str>) {
        for alias in self.names.get(of).into_iter().flatten() {
            match (name_kind(alias), asked.instance()) {
                (Some(NameKind::Template), Some(instance)) => {
                    let alias = with_instance(alias, instance);
                    // an instance that has a file of its own is no alias
                    let elsewhere = match (self.follow(&alias), file) {
                        (Fragment::At(path), Some(file)) => path.file_name().is_some_and(|f| f != file),
                        _ => false,
                    };
                    if !elsewhere {
                        found.insert(alias);
                    }
                }
                (Some(NameKind::Template), None) => {}
                _ => {
                    found.insert(alias.clone());
                }
            }
        }
    }
}

/// The services that the system's manager has started since boot and still knows, also instances, and those without a
/// file: it notes under which invocation it did (`unit_export_invocation_id()` in src/core/unit.c).
pub(crate) fn started(root: &Root) -> impl Iterator<Item = UnitName> {
    const NOTES: &str = "/run/systemd/units";
    let notes = root.list(Path::new(NOTES)).unwrap_or_default().into_iter();
    notes.filter_map(|note| UnitName::parse(note.to_str()?.strip_prefix("invocation:")?).ok())
}

/// Whether the manager takes a link for a drop-in directory.
pub(super) fn is_link_seen(root: &Root, path: &Path, version: u32) -> bool {
    version < LINKED_FOLDERS_FROM_ROOT_FROM
        || root.read_link(path).is_some_and(|t| root.is_directory(&Path::new("/").join(t)))
}

/// The directories of the search path, highest priority first.
pub(crate) fn directories(version: u32) -> impl Iterator<Item = &'static Path> {
    SEARCH_PATH.iter().filter(move |(_, until)| version < *until).map(|(path, _)| Path::new(*path))
}

/// The kind of a service's name, if it is one (`unit_name_is_valid()`).
fn name_kind(name: &str) -> Option<NameKind> {
    let stem = name.strip_suffix(".service")?;
    let valid = |c: char| c.is_ascii_alphanumeric() || ":_.-\\@".contains(c);
    if stem.is_empty() || stem.starts_with('@') || name.len() > 255 || !stem.chars().all(valid) {
        return None;
    }
    Some(match stem.split_once('@') {
        None => NameKind::Plain,
        Some((_, "")) => NameKind::Template,
        Some(_) => NameKind::Instance,
    })
}

/// What stands between the `@` and the suffix, if anything does.
fn instance(name: &str) -> Option<&str> {
    name.strip_suffix(".service")?.split_once('@').map(|(_, instance)| instance).filter(|i| !i.is_empty())
}

/// The template of an instance's name.
fn template(name: &str) -> Option<String> {
    instance(name)?;
    name.split_once('@').map(|(prefix, _)| format!("{prefix}@.service"))
}

/// A template's name with an instance put in.
fn with_instance(template: &str, instance: &str) -> String {
    let prefix = template.split_once('@').map_or(template, |(prefix, _)| prefix);
    format!("{prefix}@{instance}.service")
}

/// Where a path leads when the links *on the way* are followed, but not the last one. It need not exist.
fn destination(root: &Root, path: &Path) -> Option<PathBuf> {
    let Some(Component::Normal(file)) = path.components().next_back() else {
        return None; // a directory
    };
    let parent = path.parent()?;
    let existing = parent.ancestors().find_map(|a| Some((a, root.resolve(a)?)));
    let (ancestor, resolved) = existing?;
    let missing = parent.strip_prefix(ancestor).ok()?;
    let plain = missing.components().all(|part| matches!(part, Component::Normal(_)));
    plain.then(|| resolved.join(missing).join(file))
}
