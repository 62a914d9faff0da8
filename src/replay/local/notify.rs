//! The manager's end of sd_notify(3). Every process of the unit is listened to, whatever `NotifyAccess=` says: the
//! socket is known to nobody else.

use super::LocalError;
use super::supervisor::errno;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// The socket, and what was said on it.
#[derive(Debug)]
pub(super) struct Notify {
    socket: UnixDatagram,
    path: PathBuf,
    /// `READY=1`
    pub(super) ready: bool,
    /// `MAINPID=`
    pub(super) main: Option<i32>,
    /// Takes the socket's file away when the replay is over.
    _folder: TempDir,
}

impl Notify {
    /// A socket that every user can send to.
    pub(super) fn new() -> Result<Self, LocalError> {
        let made = || {
            let folder = tempfile::Builder::new().prefix("unitfix-").tempdir()?;
            let path = folder.path().join("notify");
            let socket = UnixDatagram::bind(&path)?;
            socket.set_nonblocking(true)?;
            let mode = |path: &Path, mode| std::fs::set_permissions(path, PermissionsExt::from_mode(mode));
            mode(folder.path(), 0o711)?;
            mode(&path, 0o666)?;
            Ok(Notify { socket, path, ready: false, main: None, _folder: folder })
        };
        made().map_err(|e: std::io::Error| LocalError::system("making the notification socket")(errno(&e)))
    }

    /// The value of `NOTIFY_SOCKET`.
    pub(super) fn address(&self) -> String {
        self.path.display().to_string()
    }

    /// Take in one message. A descriptor that comes with it is closed by the kernel, as there is no room for it:
    /// that is all that a sender of `BARRIER=1` waits for.
    pub(super) fn read(&mut self) -> Result<(), LocalError> {
        let mut buffer = [0; 4096];
        match self.socket.recv(&mut buffer) {
            Ok(length) => self.take(&buffer[..length]),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(LocalError::system("reading the notification socket")(errno(&error))),
        }
        Ok(())
    }

    fn take(&mut self, message: &[u8]) {
        for line in String::from_utf8_lossy(message).lines() {
            match line.split_once('=') {
                Some(("READY", "1")) => self.ready = true,
                Some(("MAINPID", pid)) => self.main = pid.parse().ok(),
                _ => {}
            }
        }
    }
}

impl AsFd for Notify {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
