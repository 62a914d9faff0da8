//! A root folder: every reader of the system goes through one, so that `--root DIR` and test cases are folders.
//! Links are followed inside of it and never out of it (openat2(2), `RESOLVE_IN_ROOT`).

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, OpenHow, ResolveFlag, open, openat2, readlinkat};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat, fstatat};
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// No unit file, receipt, or file of a package manager is larger; what is, is refused rather than read.
const SIZE_MAX: u64 = 16 << 20;

/// So often a path is opened anew that changed, as far as the kernel could tell, while it was followed.
const TRIES: u32 = 1000;

/// A folder that stands for `/`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Root(PathBuf);

/// What a path is, without following it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Link,
    /// Anything else.
    Other,
}

impl Default for Root {
    fn default() -> Self {
        Root(PathBuf::from("/"))
    }
}

impl Root {
    /// The folder itself; `/` for the running system.
    #[must_use]
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Root(folder.into())
    }

    /// Whether this is the running system's own root.
    #[must_use]
    pub fn is_system(&self) -> bool {
        self.0 == Path::new("/")
    }

    /// A path of the root as this process would name it.
    #[must_use]
    pub fn join(&self, path: &Path) -> PathBuf {
        self.0.join(path.strip_prefix("/").unwrap_or(path))
    }

    pub(crate) fn open(&self, path: &Path, flags: OFlag) -> nix::Result<OwnedFd> {
        let folder = open(&self.0, OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())?;
        let how = OpenHow::new().flags(flags | OFlag::O_CLOEXEC).resolve(ResolveFlag::RESOLVE_IN_ROOT);
        // a rename or a mount anywhere in the system may come between `..` and its folder (openat2(2), EAGAIN)
        for _ in 0..TRIES {
            match openat2(&folder, path, how) {
                Err(Errno::EAGAIN) => {}
                opened => return opened,
            }
        }
        Err(Errno::EAGAIN)
    }

    /// The bytes of a regular file (or nothing, of `/dev/null`), links followed.
    pub fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        self.read_at_most(path, SIZE_MAX)
    }

    /// The same, of a file that is larger than so many bytes only if something is wrong with it.
    pub fn read_at_most(&self, path: &Path, most: u64) -> io::Result<Vec<u8>> {
        if is_null_device(&fstat(self.open(path, OFlag::O_PATH)?)?) {
            return Ok(Vec::new());
        }
        // a file may grow, or not tell its size: it is read, and never further than that
        let mut bytes = Vec::new();
        self.open_file(path)?.take(most + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > most {
            return Err(io::Error::other(format!("this file is larger than {} MiB", most >> 20)));
        }
        Ok(bytes)
    }

    /// A regular file of any size, open for reading, links followed.
    pub fn open_file(&self, path: &Path) -> io::Result<File> {
        // a FIFO or a device is not even opened
        let irregular = || io::Error::other("this is not a regular file");
        if file_type(&fstat(self.open(path, OFlag::O_PATH)?)?) != SFlag::S_IFREG {
            return Err(irregular());
        }
        let file = File::from(self.open(path, OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_NOCTTY)?);
        if file.metadata()?.is_file() { Ok(file) } else { Err(irregular()) }
    }

    /// How many bytes the regular file holds that a path leads to, if it leads to one.
    #[must_use]
    pub fn size(&self, path: &Path) -> Option<u64> {
        let stat = self.open(path, OFlag::O_PATH).and_then(fstat).ok()?;
        (file_type(&stat) == SFlag::S_IFREG).then(|| u64::try_from(stat.st_size).unwrap_or_default())
    }

    /// When the file that a path leads to was last changed or put there (ctime), in microseconds since the epoch.
    #[must_use]
    pub fn changed(&self, path: &Path) -> Option<u64> {
        let stat = self.open(path, OFlag::O_PATH).and_then(fstat).ok()?;
        let (seconds, nanoseconds) =
            (u64::try_from(stat.st_ctime).ok()?, u64::try_from(stat.st_ctime_nsec).ok()?);
        seconds.checked_mul(1_000_000)?.checked_add(nanoseconds / 1000)
    }

    /// Whether the path leads to `/dev/null`, as a link that masks does; also in a root without a `/dev`.
    #[must_use]
    pub fn is_null(&self, path: &Path) -> bool {
        path == Path::new("/dev/null")
            || self.read_link(path).is_some_and(|target| target == Path::new("/dev/null"))
            || self.open(path, OFlag::O_PATH).and_then(fstat).is_ok_and(|stat| is_null_device(&stat))
    }

    /// Whether the path leads to a device, which systemd takes for a mask like `/dev/null`.
    #[must_use]
    pub fn is_device(&self, path: &Path) -> bool {
        let kind = self.open(path, OFlag::O_PATH).and_then(fstat).map(|stat| file_type(&stat));
        kind.is_ok_and(|kind| kind == SFlag::S_IFCHR || kind == SFlag::S_IFBLK)
    }

    /// What stands at a path itself, if anything.
    #[must_use]
    pub fn kind(&self, path: &Path) -> Option<Kind> {
        let (parent, name) = (path.parent()?, path.file_name()?);
        let folder = self.open(parent, OFlag::O_PATH | OFlag::O_DIRECTORY).ok()?;
        let stat = fstatat(&folder, name, AtFlags::AT_SYMLINK_NOFOLLOW).ok()?;
        Some(match file_type(&stat) {
            SFlag::S_IFREG => Kind::File,
            SFlag::S_IFDIR => Kind::Directory,
            SFlag::S_IFLNK => Kind::Link,
            _ => Kind::Other,
        })
    }

    /// Whether a path leads to a directory, links followed.
    #[must_use]
    pub fn is_directory(&self, path: &Path) -> bool {
        self.open(path, OFlag::O_PATH | OFlag::O_DIRECTORY).is_ok()
    }

    /// Where a link points, word for word.
    #[must_use]
    pub fn read_link(&self, path: &Path) -> Option<PathBuf> {
        let (parent, name) = (path.parent()?, path.file_name()?);
        let folder = self.open(parent, OFlag::O_PATH | OFlag::O_DIRECTORY).ok()?;
        readlinkat(&folder, name).ok().map(PathBuf::from)
    }

    /// The path, inside of this root, that another one leads to through links.
    #[must_use]
    pub fn resolve(&self, path: &Path) -> Option<PathBuf> {
        let real = |fd: &OwnedFd| std::fs::read_link(format!("/proc/self/fd/{}", fd.as_raw_fd())).ok();
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let folder = open(&self.0, flags, Mode::empty()).ok()?;
        let file = self.open(path, OFlag::O_PATH).ok()?;
        Some(Path::new("/").join(real(&file)?.strip_prefix(real(&folder)?).ok()?))
    }

    /// The names in a directory, sorted by bytes. A directory that is not there has none.
    pub fn list(&self, path: &Path) -> io::Result<Vec<OsString>> {
        let folder = match self.open(path, OFlag::O_RDONLY | OFlag::O_DIRECTORY) {
            Err(Errno::ENOENT | Errno::ENOTDIR) => return Ok(Vec::new()),
            other => other?,
        };
        let mut names = Vec::new();
        for entry in Dir::from_fd(folder)?.iter() {
            let entry = entry?;
            let name = std::ffi::OsStr::from_bytes(entry.file_name().to_bytes());
            if name != "." && name != ".." {
                names.push(name.to_owned());
            }
        }
        names.sort();
        Ok(names)
    }
}

fn file_type(stat: &FileStat) -> SFlag {
    SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT
}

/// `/dev/null` is character device 1:3 (Documentation/admin-guide/devices.txt).
fn is_null_device(stat: &FileStat) -> bool {
    file_type(stat) == SFlag::S_IFCHR && stat.st_rdev == nix::sys::stat::makedev(1, 3)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn a_file_is_read_whole_or_not_at_all() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::new(dir.path());
        std::fs::write(dir.path().join("x"), vec![b'x'; 2 << 20]).unwrap();
        let read = |most| root.read_at_most(Path::new("/x"), most).map(|bytes| bytes.len());
        assert_eq!(read(2 << 20).unwrap(), 2 << 20);
        assert_eq!(read((2 << 20) - 1).unwrap_err().to_string(), "this file is larger than 1 MiB");
    }

    #[test]
    fn links_stay_inside() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("etc/systemd")).unwrap();
        std::fs::write(dir.path().join("etc/hostname"), "inside").unwrap();
        symlink("/etc/hostname", dir.path().join("etc/systemd/absolute")).unwrap();
        symlink("../../../../../etc/hostname", dir.path().join("etc/systemd/climbing")).unwrap();
        symlink("/dev/null", dir.path().join("etc/systemd/mask")).unwrap();
        let root = Root::new(dir.path());
        assert_eq!(root.read(Path::new("/etc/systemd/absolute")).unwrap(), b"inside");
        assert_eq!(root.read(Path::new("/etc/systemd/climbing")).unwrap(), b"inside");
        assert!(root.is_null(Path::new("/etc/systemd/mask")));
        let resolved = |path| root.resolve(Path::new(path));
        assert_eq!(resolved("/etc/systemd/absolute"), Some("/etc/hostname".into()));
        assert_eq!(resolved("/etc/systemd/nothing"), None);
        assert_eq!(root.kind(Path::new("/etc/systemd/mask")), Some(Kind::Link));
        assert_eq!(root.list(Path::new("/etc")).unwrap(), ["hostname", "systemd"]);
        assert!(root.list(Path::new("/nowhere")).unwrap().is_empty());
    }
}
