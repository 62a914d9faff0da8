//! The logs in a directory.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// The logs in a directory, sorted by path: journal files as `journalctl -D` would take them (`*.journal` and what was
/// put aside as `*.journal~`, there and in the directories below it that are named after a machine), and auditd's log
/// with its rotated files, oldest first. Links are not followed.
pub fn files_in(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut refused = None;
    for (path, kind) in listed(folder)? {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if kind.is_file() && (is_journal(&name) || rotation(&name).is_some()) {
            found.push(path);
        } else if kind.is_dir() && is_machine(&name) {
            let inner = listed(&path).unwrap_or_else(|error| {
                refused = Some(error);
                Vec::new()
            });
            let journals = inner.into_iter().filter(|(path, kind)| {
                kind.is_file() && is_journal(&path.file_name().unwrap_or_default().to_string_lossy())
            });
            found.extend(journals.map(|(path, _)| path));
        }
    }
    // one that cannot be listed holds nothing that could be read: that matters where there is nothing else
    if let Some(error) = refused.filter(|_| found.is_empty()) {
        return Err(error);
    }
    found.sort_by_cached_key(|path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        (path.parent().map(Path::to_owned), std::cmp::Reverse(rotation(&name)), path.clone())
    });
    Ok(found)
}

fn listed(folder: &Path) -> io::Result<Vec<(PathBuf, fs::FileType)>> {
    fs::read_dir(folder)?
        .map(|entry| entry.and_then(|entry| Ok((entry.path(), entry.file_type()?))))
        .collect()
}

fn is_journal(name: &str) -> bool {
    name.ends_with(".journal") || name.ends_with(".journal~")
}

/// `MACHINE-ID`, or `MACHINE-ID.NAMESPACE` (systemd.exec(5), `LogNamespace=`).
fn is_machine(name: &str) -> bool {
    let id = name.split('.').next().unwrap_or_default();
    id.len() == 32 && id.bytes().all(|b| b.is_ascii_hexdigit())
}

/// How often auditd's log was rotated: 0 for `audit.log`, N for `audit.log.N`, also compressed.
fn rotation(name: &str) -> Option<u32> {
    let rest = name.strip_prefix("audit.log")?;
    let rest = [".gz", ".zst", ".xz", ".bz2"].iter().find_map(|end| rest.strip_suffix(end)).unwrap_or(rest);
    match rest {
        "" => Some(0),
        suffix => suffix.strip_prefix('.')?.parse().ok(),
    }
}
