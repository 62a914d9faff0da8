//! One unitfix at a time for each unit.

use super::own_folder;
use crate::root::Root;
use crate::scope::Scope;
use crate::trust;
use crate::unit::UnitName;
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg, OFlag, openat};
use nix::sys::stat::{Mode, fchmod};
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Held as long as a run changes anything at a unit; the kernel takes it back when the process ends.
#[derive(Debug)]
pub struct Lock {
    _file: Flock<File>,
}

/// Why the lock cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another run holds it.
    #[error("another unitfix (process {holder}) is working on {unit}: wait for it to end")]
    Held {
        /// The unit.
        unit: String,
        /// The other's process ID.
        holder: String,
    },
    /// Another run works below the same root.
    #[error("another unitfix is working below {}: wait for it to end", .0.display())]
    HeldBelow(PathBuf),
    /// Somebody but root could have made, or could change, what unitfix keeps on this system.
    #[error("{0}: nothing was changed")]
    NotOurs(String),
    /// It cannot be made.
    #[error("{}: {error}", path.display())]
    Io {
        /// The lock file.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
}

impl Lock {
    /// Take the lock of a unit of this system or of a user of it, or say who holds it.
    pub fn take(scope: &Scope, unit: &UnitName) -> Result<Self, LockError> {
        let folder = scope.locks();
        let path = folder.join(unit.as_str());
        let io = |error| LockError::Io { path: path.clone(), error };
        match scope.owner() {
            None => trust::own_folders().map_err(LockError::NotOurs)?,
            Some(owner) if !owner.runtime.is_dir() => {
                let (user, runtime) = (&owner.name, owner.runtime.display());
                return Err(LockError::NotOurs(format!(
                    "there is no {runtime}, which is there while {user} is logged in, or always after `sudo loginctl \
                     enable-linger {user}`"
                )));
            }
            Some(_) => {}
        }
        let file = open(&folder, &path, unit).map_err(io)?;
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(mut file) => {
                file.set_len(0).map_err(io)?;
                file.rewind().map_err(io)?;
                write!(file, "{}", std::process::id()).map_err(io)?;
                Ok(Lock { _file: file })
            }
            Err((mut file, Errno::EWOULDBLOCK)) => {
                let mut holder = String::new();
                let _ = file.read_to_string(&mut holder); // only for the message
                Err(LockError::Held { unit: unit.to_string(), holder })
            }
            Err((_, error)) => Err(io(error.into())),
        }
    }

    /// Take the lock of everything below a root folder: that of the folder itself, as a lock file would be left in
    /// whatever is made of it. Of the running system, that of the unit.
    pub fn below(root: &Root, unit: &UnitName) -> Result<Self, LockError> {
        if root.is_system() && nix::unistd::geteuid().is_root() {
            return Self::take(&Scope::System, unit);
        }
        let path = root.join(Path::new("/"));
        let io = |error| LockError::Io { path: path.clone(), error };
        let folder = OpenOptions::new().read(true).custom_flags(libc::O_DIRECTORY).open(&path).map_err(io)?;
        match Flock::lock(folder, FlockArg::LockExclusiveNonblock) {
            Ok(file) => Ok(Lock { _file: file }),
            Err((_, Errno::EWOULDBLOCK)) => Err(LockError::HeldBelow(path)),
            Err((_, error)) => Err(io(error.into())),
        }
    }
}

/// Open the file of a lock, making it if it is not there: nobody but root may be able to write it, or lock it for ever.
fn open(folder: &Path, path: &Path, unit: &UnitName) -> io::Result<File> {
    let folder = own_folder(folder)?;
    let flags = OFlag::O_RDWR | OFlag::O_CREAT | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
    let mode = Mode::from_bits_truncate(0o644);
    let file = File::from(openat(&folder, unit.as_str(), flags, mode)?);
    trust::opened(path, &file)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("this is not a regular file"));
    }
    fchmod(&file, mode)?; // whatever the umask is
    Ok(file)
}
