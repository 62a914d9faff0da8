//! Writing: re-read and compare, stage beside the target, sync, rename, sync the folder. A file is always old or
//! new, never between, and what was there before is known.

use super::{Approval, Diff, FileChange};
use crate::failure_point;
use crate::root::{Kind, Root};
use crate::trust;
use crate::unit::shown_path;
use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, open, openat2};
use nix::sys::stat::{Mode, fchmod, mkdirat};
use nix::unistd::{UnlinkatFlags, unlinkat};
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

/// Why a change was not written. Nothing was changed then, except in the last case.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The file is not as it was when the diff was made.
    #[error("{} was changed by somebody else in the meantime: nothing was written, run unitfix again", shown_path(.0))]
    ChangedMeanwhile(PathBuf),
    /// It cannot be read or written.
    #[error("{}: {error}: nothing was changed", shown_path(path))]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// It was changed all the same, and cannot be put back.
    #[error("{}: {error}: IT WAS CHANGED, AND COULD NOT BE PUT BACK", shown_path(path))]
    NotPutBack {
        /// The file.
        path: PathBuf,
        /// Why it was to be put back.
        error: io::Error,
    },
}

impl WriteError {
    /// Whether somebody with more rights could have written it.
    #[must_use]
    pub fn is_for_root(&self) -> bool {
        matches!(self, WriteError::Io { error, .. } if error.kind() == io::ErrorKind::PermissionDenied)
    }
}

/// Write a diff that somebody approved. All files, or none.
pub fn apply(root: &Root, diff: &Diff, _approved: &Approval) -> Result<(), WriteError> {
    write_all(root, diff)
}

/// Take back a diff that this run applied. Needs no approval: it restores what was there.
pub fn undo(root: &Root, diff: &Diff) -> Result<(), WriteError> {
    write_all(root, &diff.reversed())
}

/// Take back what earlier runs have written, as somebody approved; a run that was killed may have begun it.
pub fn revert(root: &Root, files: &[FileChange], _approved: &Approval) -> Result<(), WriteError> {
    take_back(root, files)
}

/// Take back what a run that was killed may have changed, and may not. All files, or none if somebody else has changed
/// one in the meantime.
pub(super) fn take_back(root: &Root, files: &[FileChange]) -> Result<(), WriteError> {
    let (done, undone): (Vec<_>, Vec<_>) =
        files.iter().map(FileChange::reversed).rev().partition(|file| compare(root, file).is_ok());
    for file in &undone {
        compare(root, &file.reversed())?; // it was not made yet
        if file.own_folder && file.after.is_none() {
            let _ = replace(root, &file.path, None, true); // its folder may have been
        }
    }
    write_all(root, &Diff { files: done })
}

fn write_all(root: &Root, diff: &Diff) -> Result<(), WriteError> {
    for file in &diff.files {
        compare(root, file)?;
    }
    let changed: Vec<&FileChange> = diff.files.iter().filter(|f| f.before != f.after).collect();
    for (index, file) in changed.iter().enumerate() {
        let Err(error) = replace(root, &file.path, file.after.as_deref(), file.own_folder) else { continue };
        // what failed last may be that it lasts, when it was done already
        for done in changed[..=index].iter().rev().filter(|file| compare(root, file).is_err()) {
            let back = replace(root, &done.path, done.before.as_deref(), done.own_folder);
            if back.is_err() && compare(root, done).is_err() {
                return Err(WriteError::NotPutBack { path: done.path.clone(), error });
            }
        }
        return Err(WriteError::Io { path: file.path.clone(), error });
    }
    Ok(())
}

/// Whether a file still is what the diff was made from.
fn compare(root: &Root, file: &FileChange) -> Result<(), WriteError> {
    if root.kind(&file.path) == Some(Kind::Link) {
        let error = io::Error::other("this is a link, which is not followed");
        return Err(WriteError::Io { path: file.path.clone(), error });
    }
    let now = match root.read(&file.path) {
        Ok(bytes) => Some(bytes),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(WriteError::Io { path: file.path.clone(), error }),
    };
    // whatever cannot be read is there all the same, and must not be replaced
    let there = root.kind(&file.path).is_some();
    if now.as_deref() != file.before.as_deref().map(str::as_bytes) || there != file.before.is_some() {
        return Err(WriteError::ChangedMeanwhile(file.path.clone()));
    }
    Ok(())
}

/// Put a text in the place of a file, or take the file away. Missing directories are made; a file's own folder is
/// taken away with it if that leaves it empty.
pub(crate) fn replace(root: &Root, path: &Path, text: Option<&str>, own_folder: bool) -> io::Result<()> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::Error::other("this is not the path of a file"));
    };
    let Some(text) = text else {
        let removed = open_folder(root, parent, false).and_then(|folder| remove_in(&folder, name, path));
        return match removed {
            Ok(()) if own_folder => remove_if_empty(root, parent),
            Err(error) if own_folder && error.kind() == io::ErrorKind::NotFound => {
                remove_if_empty(root, parent).and(Err(error)) // as it may be left from a run that was killed
            }
            other => other,
        };
    };
    let written = open_folder(root, parent, true).and_then(|folder| write_in(&folder, name, text, path));
    if written.is_err() && own_folder {
        let _ = remove_if_empty(root, parent); // it was made for this file; what went wrong is said anyway
    }
    written
}

/// Put a text in the place of a file in this folder.
fn write_in(folder: &OwnedFd, name: &OsStr, text: &str, path: &Path) -> io::Result<()> {
    // through the descriptor, so that the folder written to is the one that was opened
    let folder_path = PathBuf::from(format!("/proc/self/fd/{}", folder.as_raw_fd()));
    failure_point::pass("stage", path.display())?;
    let staged = tempfile::Builder::new().prefix(&staged_prefix(name)).tempfile_in(&folder_path);
    let mut staged = staged.map_err(plain)?;
    failure_point::pass("write", path.display())?;
    staged.write_all(text.as_bytes())?;
    fchmod(staged.as_file(), Mode::from_bits_truncate(0o644))?;
    failure_point::pass("sync", path.display())?;
    staged.as_file().sync_all()?;
    failure_point::pass("rename", path.display())?;
    staged.persist(folder_path.join(name)).map_err(|e| e.error)?;
    sync(folder, path)
}

/// What the kernel says alone: the path that goes with an error of a temporary file tells nobody anything.
pub(crate) fn plain(error: io::Error) -> io::Error {
    // the tempfile crate puts it behind the words, and shows no other way to them
    let text = error.to_string();
    match text.split_once(" at path \"") {
        Some((words, _)) => io::Error::new(error.kind(), words.to_owned()),
        None => error,
    }
}

fn remove_in(folder: &OwnedFd, name: &OsStr, path: &Path) -> io::Result<()> {
    failure_point::pass("remove", path.display())?;
    unlinkat(folder, name, UnlinkatFlags::NoRemoveDir)?;
    sync(folder, path)
}

/// Make what was done in a folder to last.
fn sync(folder: &OwnedFd, path: &Path) -> io::Result<()> {
    failure_point::pass("sync the folder of", path.display())?;
    // a descriptor opened with O_PATH cannot be synced: this one is not
    File::from(folder.try_clone()?).sync_all()
}

/// How the names of the files begin that become the file of this name.
fn staged_prefix(name: &OsStr) -> String {
    let name: String = name.to_string_lossy().chars().take(STAGED_NAME_MAX).collect();
    format!("{STAGED}{name}-")
}

pub(super) const STAGED: &str = ".unitfix-";
/// More would not leave room for the rest (`NAME_MAX` of limits.h is 255).
const STAGED_NAME_MAX: usize = 200;

/// The files in a folder that a run which was killed had not renamed yet: those that would have become one of this
/// name, or any.
pub(crate) fn half_written(root: &Root, folder: &Path, name: Option<&OsStr>) -> io::Result<Vec<PathBuf>> {
    let prefix = name.map_or(STAGED.to_owned(), staged_prefix);
    let names = root.list(folder)?;
    let left = names.iter().filter(|name| name.as_encoded_bytes().starts_with(prefix.as_bytes()));
    Ok(left.map(|name| folder.join(name)).collect())
}

/// Open a directory of unitfix's own on the running system, making what is missing.
pub(crate) fn own_folder(folder: &Path) -> io::Result<OwnedFd> {
    open_folder(&Root::default(), folder, true)
}

/// Open a directory below the root, making what is missing; no component may be a symbolic link. Where only root may
/// write, none may be one that others can.
fn open_folder(root: &Root, folder: &Path, create: bool) -> io::Result<OwnedFd> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let no_links = OpenHow::new().flags(flags).resolve(
        ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_MAGICLINKS | ResolveFlag::RESOLVE_NO_SYMLINKS,
    );
    let mut here = open(&root.join(Path::new("/")), flags, Mode::empty())?;
    let guarded = trust::is_of_root(root, folder);
    let mut path = PathBuf::from("/");
    for component in folder.strip_prefix("/").unwrap_or(folder).components() {
        let name = component.as_os_str();
        path.push(name);
        let next = match openat2(&here, name, no_links) {
            Err(Errno::ENOENT) if create => {
                failure_point::pass("make a folder on the way to", folder.display())?;
                mkdirat(&here, name, Mode::from_bits_truncate(0o755))?;
                sync(&here, folder)?;
                // whatever the umask is
                openat2(&here, name, no_links).and_then(|made| {
                    fchmod(&made, Mode::from_bits_truncate(0o755))?;
                    Ok(made)
                })
            }
            Err(Errno::ELOOP | Errno::EXDEV | Errno::ENOTDIR) => {
                let message =
                    format!("{} is reached through a link, which is not followed", shown_path(folder));
                return Err(io::Error::other(message));
            }
            other => other,
        };
        here = next?;
        if guarded {
            trust::opened(&path, &File::from(here.try_clone()?))?;
        }
    }
    Ok(here)
}

fn remove_if_empty(root: &Root, folder: &Path) -> io::Result<()> {
    let (Some(parent), Some(name)) = (folder.parent(), folder.file_name()) else {
        return Ok(());
    };
    let above = open_folder(root, parent, false)?;
    failure_point::pass("remove the folder", folder.display())?;
    match unlinkat(&above, name, UnlinkatFlags::RemoveDir) {
        Ok(()) => sync(&above, folder),
        // EBUSY: something is mounted there
        Err(Errno::ENOTEMPTY | Errno::EEXIST | Errno::ENOENT | Errno::EBUSY) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_a_temporary_file_was_to_be_is_not_told() {
        let error = tempfile::NamedTempFile::new_in("/nowhere").unwrap_err();
        assert!(error.to_string().contains("/nowhere"));
        assert_eq!(plain(error).to_string(), "No such file or directory (os error 2)");
        assert_eq!(plain(io::Error::other("as it is")).to_string(), "as it is");
    }
}
