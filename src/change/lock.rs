//! One unitfix at a time for each unit.

use crate::unit::UnitName;
use nix::fcntl::{Flock, FlockArg};
use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Where locks live on the running system.
const FOLDER: &str = "/run/unitfix/lock";

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
    /// Take the lock of a unit, or say who holds it.
    pub fn take(unit: &UnitName) -> Result<Self, LockError> {
        let path = Path::new(FOLDER).join(unit.as_str());
        let io = |error| LockError::Io { path: path.clone(), error };
        std::fs::create_dir_all(FOLDER).map_err(io)?;
        let mut options = OpenOptions::new();
        let file = options
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o644)
            .custom_flags(libc::O_NOFOLLOW)
            .open(&path)
            .map_err(io)?;
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(mut file) => {
                file.set_len(0).map_err(io)?;
                file.rewind().map_err(io)?;
                write!(file, "{}", std::process::id()).map_err(io)?;
                Ok(Lock { _file: file })
            }
            Err((mut file, nix::errno::Errno::EWOULDBLOCK)) => {
                let mut holder = String::new();
                let _ = file.read_to_string(&mut holder); // only for the message
                Err(LockError::Held { unit: unit.to_string(), holder })
            }
            Err((_, error)) => Err(io(error.into())),
        }
    }
}
