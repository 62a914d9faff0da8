//! Which drop-ins a unit has, and in which order: `unit_file_find_dropin_paths()` in src/shared/dropin.c.

use super::search::{NameMap, directories, is_link_seen};
use super::{SourceFile, UnitName, syntax};
use crate::finding::{Code, Finding};
use crate::root::{Kind, Root};
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Settings that install a seccomp filter, or change what one does: who sets one of these in a drop-in wants it read.
pub const SANDBOX: [&str; 18] = [
    "SystemCallFilter",
    "SystemCallErrorNumber",
    "SystemCallArchitectures",
    "SystemCallLog",
    "RestrictNamespaces",
    "RestrictAddressFamilies",
    "RestrictRealtime",
    "RestrictSUIDSGID",
    "MemoryDenyWriteExecute",
    "LockPersonality",
    "NoNewPrivileges",
    "PrivateDevices",
    "ProtectClock",
    "ProtectHostname",
    "ProtectKernelLogs",
    "ProtectKernelModules",
    "ProtectKernelTunables",
    "DynamicUser",
];

impl NameMap {
    /// The drop-ins of a unit, in the order in which they apply. For one file name the first directory wins, and
    /// whatever it holds there (an empty file, a dangling link, a directory) hides the others.
    pub(super) fn drop_ins(&self, name: &UnitName, aliases: &[UnitName]) -> (Vec<PathBuf>, Vec<Finding>) {
        let mut choice = Choice::new(&self.root, self.version);
        for directory in self.drop_in_directories(name, aliases) {
            if self.ignored_links.contains(&directory) {
                choice.ignore(&directory);
            } else if let Some(directory) = self.root.resolve(&directory) {
                choice.add(&directory);
            }
        }
        choice.finish()
    }

    /// Every directory that holds drop-ins of these names, highest priority first. For each directory of the
    /// search path: the unit's own, its template's, then ever shorter prefixes; the type's own come last.
    fn drop_in_directories(&self, name: &UnitName, aliases: &[UnitName]) -> Vec<PathBuf> {
        let (mut out, mut seen) = (Vec::new(), BTreeSet::new());
        let mut add = |names: Vec<String>| {
            let there: Vec<String> = names.into_iter().filter(|f| self.folder_names.contains(f)).collect();
            for path in directories(self.version).flat_map(|d| there.iter().map(move |f| d.join(f))) {
                let is_there = self.folders.contains(&path) || self.ignored_links.contains(&path);
                if is_there && seen.insert(path.clone()) {
                    out.push(path);
                }
            }
        };
        for name in std::iter::once(name).chain(aliases) {
            add(folders_of(name.prefix(), name.instance()));
        }
        add(vec!["service.d".to_owned()]);
        out
    }
}

/// The drop-ins in the directory beside a unit file that was given by its path.
pub(super) fn beside(root: &Root, directory: &Path, version: u32) -> (Vec<PathBuf>, Vec<Finding>) {
    let mut choice = Choice::new(root, version);
    if root.kind(directory) == Some(Kind::Link) && !is_link_seen(root, directory, version) {
        choice.ignore(directory);
    } else {
        choice.add(directory);
    }
    choice.finish()
}

/// The drop-ins that count of those in some directories, which are given in the order of their priority.
pub(super) fn of_directories(
    root: &Root,
    directories: impl IntoIterator<Item = PathBuf>,
    version: u32,
) -> Vec<PathBuf> {
    let mut choice = Choice::new(root, version);
    for directory in directories.into_iter().filter(|directory| root.is_directory(directory)) {
        choice.add(&directory);
    }
    choice.finish().0
}

/// The drop-ins that count, from directories in the order of their priority.
struct Choice<'a> {
    root: &'a Root,
    version: u32,
    /// Where each file name stands, highest priority first.
    paths: BTreeMap<OsString, Vec<PathBuf>>,
    findings: Vec<Finding>,
}

impl<'a> Choice<'a> {
    fn new(root: &'a Root, version: u32) -> Self {
        Choice { root, version, paths: BTreeMap::new(), findings: Vec::new() }
    }

    /// A directory that the manager passes over.
    fn ignore(&mut self, directory: &Path) {
        if self.root.list(directory).unwrap_or_default().iter().any(|file| is_drop_in(file)) {
            let message = format!(
                "{} is a relative link, which systemd ignores: the drop-ins in it are not read",
                directory.display()
            );
            self.findings.push(Finding::warning(Code::RelativeDropInDirectory, message, None));
        }
    }

    fn add(&mut self, directory: &Path) {
        match self.root.list(directory) {
            Ok(files) => {
                for file in files.into_iter().filter(|f| is_drop_in(f)) {
                    let path = directory.join(&file);
                    self.paths.entry(file).or_default().push(path);
                }
            }
            Err(error) => {
                let message = format!("{}: {error}", directory.display());
                self.findings.push(Finding::warning(Code::UnreadableDropIn, message, None));
            }
        }
    }

    fn finish(mut self) -> (Vec<PathBuf>, Vec<Finding>) {
        let mut drop_ins = Vec::new();
        for paths in std::mem::take(&mut self.paths).into_values() {
            let Some((first, hidden)) = paths.split_first() else { continue };
            match self.mask(first) {
                None => drop_ins.push(first.clone()),
                Some(mask) => {
                    let finding = self.masked(first, mask, hidden);
                    self.findings.extend(finding);
                }
            }
        }
        (drop_ins, self.findings)
    }

    /// Why nothing can be read from a drop-in, or nothing where it can.
    fn mask(&self, path: &Path) -> Option<&'static str> {
        if self.root.is_null(path) {
            return Some("a link to /dev/null");
        }
        if self.root.is_directory(path) {
            return Some("a directory");
        }
        match self.root.read(path) {
            Ok(bytes) if bytes.is_empty() => Some("an empty file"),
            Err(error)
                if error.kind() != std::io::ErrorKind::PermissionDenied
                    && self.root.kind(path) == Some(Kind::Link) =>
            {
                Some("a link that leads nowhere")
            }
            _ => None, // reading it may fail, and say why
        }
    }

    /// A drop-in that is hidden by a mask is worth a word where it sets something of the sandbox. Masks that are
    /// meant as such are noted; others are most likely a mistake.
    fn masked(&self, mask: &Path, what: &str, hidden: &[PathBuf]) -> Option<Finding> {
        let path = hidden.iter().find(|path| *path != mask)?;
        let file = SourceFile::new(path, self.root.read(path).ok()?);
        let parsed = syntax::parse_as(&file, self.version);
        let setting =
            parsed.settings.iter().find(|s| s.section == "Service" && SANDBOX.contains(&s.key.as_str()))?;
        let message = format!("this drop-in is not read, because {} is {what}", mask.display());
        let span = Some(setting.value.whole());
        Some(if what.contains("null") || what.contains("empty") {
            Finding::note(Code::MaskedDropIn, message, span)
        } else {
            Finding::warning(Code::MaskedDropIn, message, span)
        })
    }
}

/// The directories of a name: its own, those of its template, then those of ever shorter prefixes; first those without
/// the instance, then those with it, each followed by its template's.
fn folders_of(prefix: &str, instance: Option<&str>) -> Vec<String> {
    let instance = instance.filter(|instance| !instance.is_empty());
    let shorter: Vec<&str> = std::iter::successors(shorter(prefix), |prefix| self::shorter(prefix)).collect();
    let plain = shorter.iter().map(|prefix| format!("{prefix}.service.d"));
    let Some(instance) = instance else {
        return std::iter::once(format!("{prefix}.service.d")).chain(plain).collect();
    };
    let both = |prefix: &str| [format!("{prefix}@{instance}.service.d"), format!("{prefix}@.service.d")];
    both(prefix).into_iter().chain(plain).chain(shorter.iter().flat_map(|prefix| both(prefix))).collect()
}

/// The prefix up to its last dash, that included. A dash at its end is passed over once; one at its start ends it.
fn shorter(prefix: &str) -> Option<&str> {
    let dash = prefix.rfind('-').filter(|dash| *dash > 0)?;
    if dash + 1 < prefix.len() {
        return Some(&prefix[..=dash]);
    }
    let dash = prefix[..dash].rfind('-').filter(|dash| *dash > 0)?;
    Some(&prefix[..=dash])
}

/// Whether a file of a drop-in directory counts: hidden ones do not (`hidden_or_backup_file()`).
fn is_drop_in(file: &OsStr) -> bool {
    file.as_bytes().ends_with(b".conf") && !file.as_bytes().starts_with(b".")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folders(name: &str) -> Vec<String> {
        let name = UnitName::parse(name).unwrap();
        folders_of(name.prefix(), name.instance())
            .iter()
            .map(|f| f.trim_end_matches(".service.d").to_owned())
            .collect()
    }

    #[test]
    fn prefixes() {
        assert_eq!(folders("foo-a-b"), ["foo-a-b", "foo-a-", "foo-"]);
        assert_eq!(folders("foo--bar"), ["foo--bar", "foo--", "foo-"]);
        assert_eq!(folders("-foo"), ["-foo"]);
        assert_eq!(folders("foo-"), ["foo-"]);
        assert_eq!(folders("a-b@x-y"), ["a-b@x-y", "a-b@", "a-", "a-@x-y", "a-@"]);
    }
}
