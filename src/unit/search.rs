//! Where systemd finds a unit and its drop-ins in a root folder, without a running manager:
//! systemd.unit(5) "Unit File Load Path", src/basic/unit-file.c, src/shared/dropin.c.

use super::{LoadError, UnitName};
use crate::finding::{Code, Finding};
use crate::root::{Kind, Root};
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// The directories of the system manager, highest priority first.
pub const SEARCH_PATH: [&str; 13] = [
    "/etc/systemd/system.control",
    "/run/systemd/system.control",
    "/run/systemd/transient",
    "/run/systemd/generator.early",
    "/etc/systemd/system",
    "/etc/systemd/system.attached",
    "/run/systemd/system",
    "/run/systemd/system.attached",
    "/run/systemd/generator",
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
    "/lib/systemd/system",
    "/run/systemd/generator.late",
];

/// From this version on, a drop-in directory that is a relative link is ignored (seen on 252, not on 247).
const RELATIVE_LINKS_IGNORED_FROM: u32 = 252;

/// The files that make up a unit, in load order.
#[derive(Debug, PartialEq, Eq)]
pub struct Files {
    /// The unit's own name, where it was asked for by an alias.
    pub name: UnitName,
    /// The unit file.
    pub fragment: PathBuf,
    /// The drop-ins, in the order in which they apply.
    pub drop_ins: Vec<PathBuf>,
    /// What was noticed on the way.
    pub findings: Vec<Finding>,
}

/// Find a unit's files in a root folder, as systemd of this major version would.
pub fn find(root: &Root, name: &UnitName, version: u32) -> Result<Files, LoadError> {
    let (fragment, real) = find_fragment(root, name)?;
    let names = names_of(root, name, &real);
    let (drop_ins, findings) = find_drop_ins(root, &names, version)?;
    Ok(Files { name: real, fragment, drop_ins, findings })
}

fn directories() -> impl Iterator<Item = &'static Path> {
    SEARCH_PATH.iter().map(Path::new)
}

/// The unit file and the unit's real name, which differs from the one asked for when that is an alias.
fn find_fragment(root: &Root, name: &UnitName) -> Result<(PathBuf, UnitName), LoadError> {
    let mut wanted = name.clone();
    for _ in 0..8 {
        // a chain of aliases longer than this is a loop
        let Some(path) = locate(root, wanted.as_str()).or_else(|| locate(root, &wanted.template()?)) else {
            return Err(LoadError::NotFound { name: name.to_string() });
        };
        if root.is_null(&path) || root.read(&path).is_ok_and(|bytes| bytes.is_empty()) {
            return Err(LoadError::Masked { name: name.to_string(), path });
        }
        match alias_target(root, &path, &wanted) {
            Some(target) => wanted = target,
            None => return Ok((path, wanted)),
        }
    }
    Err(LoadError::AliasLoop { name: name.to_string() })
}

fn locate(root: &Root, file: &str) -> Option<PathBuf> {
    directories().map(|d| d.join(file)).find(|path| root.kind(path).is_some())
}

/// The other unit that a link names, or nothing where the path holds the unit itself: a link to a file of the
/// same name elsewhere (`systemctl link`) is the unit itself.
fn alias_target(root: &Root, path: &Path, name: &UnitName) -> Option<UnitName> {
    let target = root.read_link(path)?;
    let file = target.file_name()?.to_str()?;
    let absolute = path.parent()?.join(&target);
    let in_search_path = absolute.parent().is_some_and(|p| directories().any(|d| same(p, d)));
    if !in_search_path || file == name.as_str() || Some(file) == name.template().as_deref() {
        return None;
    }
    // an alias of an instance to a template keeps the instance
    match (file.split_once("@."), name.instance()) {
        (Some((prefix, _)), Some(instance)) => UnitName::parse(&format!("{prefix}@{instance}.service")).ok(),
        _ => UnitName::parse(file).ok(),
    }
}

/// Whether two absolute paths name the same directory once `..` is taken out.
fn same(a: &Path, b: &Path) -> bool {
    let mut parts: Vec<_> = Vec::new();
    for part in a.components() {
        if part.as_os_str() == ".." {
            parts.pop();
        } else {
            parts.push(part);
        }
    }
    parts.into_iter().eq(b.components())
}

/// The real name first, then its aliases: every link in the search path that leads to it.
fn names_of(root: &Root, asked: &UnitName, real: &UnitName) -> Vec<UnitName> {
    let mut names = vec![real.clone()];
    if asked != real {
        names.push(asked.clone());
    }
    for directory in directories() {
        for file in root.list(directory).unwrap_or_default() {
            let Some(alias) =
                file.to_str().filter(|f| f.ends_with(".service")).and_then(|f| UnitName::parse(f).ok())
            else {
                continue;
            };
            let path = directory.join(&file);
            if root.kind(&path) == Some(Kind::Link)
                && alias_target(root, &path, &alias).as_ref() == Some(real)
                && !names.contains(&alias)
            {
                names.push(alias);
            }
        }
    }
    names
}

/// Drop-ins of all directories, merged by file name: for one name the first directory in the list wins, and
/// whatever it holds there (an empty file, a dangling link, a directory) hides the others.
fn find_drop_ins(
    root: &Root,
    names: &[UnitName],
    version: u32,
) -> Result<(Vec<PathBuf>, Vec<Finding>), LoadError> {
    let mut chosen: BTreeMap<OsString, PathBuf> = BTreeMap::new();
    let mut findings = Vec::new();
    for directory in drop_in_directories(names) {
        if version >= RELATIVE_LINKS_IGNORED_FROM
            && root.read_link(&directory).is_some_and(|target| target.is_relative())
        {
            let message = format!("{} is a relative link, which systemd ignores", directory.display());
            findings.push(Finding::warning(Code::RelativeDropInDirectory, message, None));
            continue;
        }
        let files =
            root.list(&directory).map_err(|error| LoadError::Read { path: directory.clone(), error })?;
        for file in files.into_iter().filter(|f| is_drop_in(f)) {
            chosen.entry(file.clone()).or_insert_with(|| directory.join(file));
        }
    }
    let usable = |path: &PathBuf| !root.is_null(path) && root.read(path).is_ok() && !root.is_directory(path);
    Ok((chosen.into_values().filter(usable).collect(), findings))
}

/// Whether a file of a drop-in directory counts: hidden ones do not (`dirent_is_file_with_suffix()`).
pub(super) fn is_drop_in(file: &OsStr) -> bool {
    file.as_bytes().ends_with(b".conf") && !file.as_bytes().starts_with(b".")
}

/// Every directory that can hold drop-ins of these names, highest priority first. For each directory of the
/// search path: the unit's own, its template's, then ever shorter prefixes; the type's own come last.
fn drop_in_directories(names: &[UnitName]) -> Vec<PathBuf> {
    let mut out = Vec::new();
    for name in names {
        let mut folders = vec![format!("{name}.d")];
        folders.extend(name.template().map(|template| format!("{template}.d")));
        let mut prefix = name.prefix();
        while let Some((shorter, _)) = prefix.trim_end_matches('-').rsplit_once('-') {
            folders.push(format!("{shorter}-.service.d"));
            prefix = shorter;
        }
        out.extend(directories().flat_map(|d| folders.iter().map(move |f| d.join(f))));
    }
    out.extend(directories().map(|d| d.join("service.d")));
    out
}
