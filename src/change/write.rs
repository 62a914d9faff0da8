//! Writing: re-read and compare, stage beside the target, sync, rename, sync the folder. A file is always old or
//! new, never between, and what was there before is known.

use super::{Approval, Diff, FileChange};
use crate::root::Root;
use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, open, openat2};
use nix::sys::stat::{Mode, fchmod, mkdirat};
use nix::unistd::{UnlinkatFlags, unlinkat};
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

/// Why a change was not written. Nothing was changed then.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The file is not as it was when the diff was made.
    #[error("{} was changed by somebody else in the meantime: nothing was written, run unitfix again", .0.display())]
    ChangedMeanwhile(PathBuf),
    /// It cannot be read or written.
    #[error("{}: {error}: nothing was changed", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
}

/// Write a diff that somebody approved. All files, or none.
pub fn apply(root: &Root, diff: &Diff, _approved: &Approval) -> Result<(), WriteError> {
    write_all(root, diff)
}

/// Take back a diff that this run applied. Needs no approval: it restores what was there.
pub fn undo(root: &Root, diff: &Diff) -> Result<(), WriteError> {
    write_all(root, &diff.reversed())
}

fn write_all(root: &Root, diff: &Diff) -> Result<(), WriteError> {
    for file in &diff.files {
        compare(root, file)?;
    }
    let changed: Vec<&FileChange> = diff.files.iter().filter(|f| f.before != f.after).collect();
    for (index, file) in changed.iter().enumerate() {
        let Err(error) = replace(root, &file.path, file.after.as_deref(), file.own_folder) else { continue };
        for done in changed[..index].iter().rev() {
            // best effort: the error that is reported is the first one
            let _ = replace(root, &done.path, done.before.as_deref(), done.own_folder);
        }
        return Err(WriteError::Io { path: file.path.clone(), error });
    }
    Ok(())
}

/// Whether a file still is what the diff was made from.
fn compare(root: &Root, file: &FileChange) -> Result<(), WriteError> {
    let now = match root.read(&file.path) {
        Ok(bytes) => Some(bytes),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(WriteError::Io { path: file.path.clone(), error }),
    };
    // a dangling link reads as "not found", and must not be replaced either
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
    let folder = open_folder(root, parent, text.is_some())?;
    let Some(text) = text else {
        unlinkat(&folder, name, UnlinkatFlags::NoRemoveDir)?;
        sync(&folder)?;
        return if own_folder { remove_if_empty(root, parent) } else { Ok(()) };
    };
    let written = write_in(&folder, name, text);
    if written.is_err() && own_folder {
        let _ = remove_if_empty(root, parent); // it was made for this file; what went wrong is said anyway
    }
    written
}

/// Put a text in the place of a file in this folder.
fn write_in(folder: &OwnedFd, name: &OsStr, text: &str) -> io::Result<()> {
    // through the descriptor, so that the folder written to is the one that was opened
    let folder_path = PathBuf::from(format!("/proc/self/fd/{}", folder.as_raw_fd()));
    let mut staged = tempfile::Builder::new().prefix(".unitfix-").tempfile_in(&folder_path)?;
    staged.write_all(text.as_bytes())?;
    fchmod(staged.as_file(), Mode::from_bits_truncate(0o644))?;
    staged.as_file().sync_all()?;
    staged.persist(folder_path.join(name)).map_err(|e| e.error)?;
    sync(folder)
}

fn sync(folder: &OwnedFd) -> io::Result<()> {
    // a descriptor opened with O_PATH cannot be synced: this one is not
    File::from(folder.try_clone()?).sync_all()
}

/// Open a directory below the root, making what is missing; no component may be a symbolic link.
fn open_folder(root: &Root, folder: &Path, create: bool) -> io::Result<OwnedFd> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let no_links = OpenHow::new().flags(flags).resolve(
        ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_MAGICLINKS | ResolveFlag::RESOLVE_NO_SYMLINKS,
    );
    let mut here = open(&root.join(Path::new("/")), flags, Mode::empty())?;
    for component in folder.strip_prefix("/").unwrap_or(folder).components() {
        let name = component.as_os_str();
        let next = match openat2(&here, name, no_links) {
            Err(Errno::ENOENT) if create => {
                mkdirat(&here, name, Mode::from_bits_truncate(0o755))?;
                sync(&here)?;
                openat2(&here, name, no_links)
            }
            Err(Errno::ELOOP | Errno::EXDEV | Errno::ENOTDIR) => {
                let message =
                    format!("{} is reached through a link, which is not followed", folder.display());
                return Err(io::Error::other(message));
            }
            other => other,
        };
        here = next?;
    }
    Ok(here)
}

fn remove_if_empty(root: &Root, folder: &Path) -> io::Result<()> {
    let (Some(parent), Some(name)) = (folder.parent(), folder.file_name()) else {
        return Ok(());
    };
    let above = open_folder(root, parent, false)?;
    match unlinkat(&above, name, UnlinkatFlags::RemoveDir) {
        Ok(()) => sync(&above),
        Err(Errno::ENOTEMPTY | Errno::EEXIST | Errno::ENOENT) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
