//! The file that a page is written to. That it can be is known before anything is done to a unit. A link is never
//! followed on the way to it, and of what is there already only an empty file, or an earlier page, is replaced.

use crate::change::plain;
use crate::subject::Failure;
use crate::unit::shown_path;
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, OpenHow, ResolveFlag, openat2};
use std::ffi::OsString;
use std::fs::{OpenOptions, Permissions, symlink_metadata};
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use tempfile::NamedTempFile;

/// What a page says that made it; the version follows.
pub(super) const GENERATOR: &str = "unitfix ";

/// A page says that within so many bytes.
const HEAD: u64 = 512;

/// Where a page goes.
#[derive(Debug)]
pub struct PageFile {
    path: PathBuf,
    folder: OwnedFd,
    name: OsString,
}

impl PageFile {
    /// A file that a page can be written to. Nothing is left behind by finding that out.
    pub fn new(path: &Path) -> Result<Self, Failure> {
        let no = |why: String| {
            Failure::Usage(format!("no page can be written to {}: {why}; nothing was done", shown_path(path)))
        };
        if path == Path::new("-") {
            return Err(no("standard output has the report as text: name a file".to_owned()));
        }
        let file = PageFile::open(path).map_err(|error| no(error.to_string()))?;
        file.replaceable().and_then(|()| file.stage()).map_err(|error| no(error.to_string()))?;
        Ok(file)
    }

    /// Write it, whole or not at all, with the mode that any other program would give it.
    pub fn write(&self, page: &str) -> Result<(), Failure> {
        let write = || {
            self.replaceable()?;
            let mut staged = self.stage()?;
            staged.write_all(page.as_bytes())?;
            staged.as_file().sync_all()?;
            staged.persist(self.target()).map_err(|error| error.error)?;
            Ok(())
        };
        write().map_err(|error: io::Error| {
            Failure::System(format!("the page cannot be written to {}: {error}", shown_path(&self.path)))
        })
    }

    fn open(path: &Path) -> io::Result<Self> {
        let name = path.file_name().ok_or_else(|| io::Error::other("this is not the path of a file"))?;
        let parent = match path.parent() {
            Some(parent) if parent != Path::new("") => parent,
            _ => Path::new("."),
        };
        let no_links = OpenHow::new()
            .flags(OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC)
            .resolve(ResolveFlag::RESOLVE_NO_SYMLINKS | ResolveFlag::RESOLVE_NO_MAGICLINKS);
        let folder = match openat2(AT_FDCWD, parent, no_links) {
            Err(Errno::ELOOP) => {
                let message = format!(
                    "{} is reached through a link, which is not followed: name the folder that it leads to",
                    shown_path(parent)
                );
                return Err(io::Error::other(message));
            }
            opened => opened.map_err(|error| {
                let error = io::Error::from(error);
                io::Error::new(error.kind(), format!("{}: {error}", shown_path(parent)))
            })?,
        };
        Ok(PageFile { path: path.to_owned(), folder, name: name.to_owned() })
    }

    /// The folder, by its descriptor: the one written to is the one that was opened.
    fn folder(&self) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}", self.folder.as_raw_fd()))
    }

    fn target(&self) -> PathBuf {
        self.folder().join(&self.name)
    }

    /// A new file in the folder, which is gone when it is not kept.
    fn stage(&self) -> io::Result<NamedTempFile> {
        let mut builder = tempfile::Builder::new();
        builder.prefix(".unitfix-page-").permissions(Permissions::from_mode(0o666)); // less the umask
        builder.tempfile_in(self.folder()).map_err(plain)
    }

    /// Whether what is there may be replaced.
    fn replaceable(&self) -> io::Result<()> {
        let no = |why: &str| Err(io::Error::other(why));
        let meta = match symlink_metadata(self.target()) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            other => other?,
        };
        if meta.is_symlink() {
            return no("this is a link, which is not followed");
        }
        if !meta.is_file() {
            return no("this is no regular file");
        }
        let flags = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK;
        let file = OpenOptions::new().read(true).custom_flags(flags.bits()).open(self.target())?;
        let mut head = Vec::new();
        file.take(HEAD).read_to_end(&mut head)?;
        let generator = format!("<meta name=\"generator\" content=\"{GENERATOR}");
        if head.is_empty() || head.windows(generator.len()).any(|window| window == generator.as_bytes()) {
            return Ok(());
        }
        no("there is a file that is no page of unitfix's, which is not replaced")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    const PAGE: &str = "<!DOCTYPE html><html><meta name=\"generator\" content=\"unitfix 1\">";

    fn names(folder: &Path) -> Vec<OsString> {
        let mut names: Vec<_> =
            fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    }

    #[test]
    fn it_is_written_and_written_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("page.html");
        let file = PageFile::new(&path).unwrap();
        assert!(names(dir.path()).is_empty(), "nothing is left by looking");
        file.write(PAGE).unwrap();
        file.write(&format!("{PAGE}2")).unwrap();
        PageFile::new(&path).unwrap().write(&format!("{PAGE}3")).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), format!("{PAGE}3"));
        assert_eq!(names(dir.path()), ["page.html"]);
    }

    #[test]
    fn nothing_else_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::write(at("unit.service"), "[Service]\n").unwrap();
        fs::write(at("empty"), "").unwrap();
        fs::create_dir(at("folder")).unwrap();
        symlink(at("unit.service"), at("link")).unwrap();
        symlink(at("nowhere"), at("dangling")).unwrap();
        symlink(at("folder"), at("way")).unwrap();
        for (name, why) in [
            ("unit.service", "no page of unitfix's"),
            ("folder", "no regular file"),
            ("link", "a link"),
            ("dangling", "a link"),
            ("way/page.html", "reached through a link"),
            ("missing/page.html", "missing: "),
            ("unit.service/page.html", "unit.service: "),
        ] {
            let error = PageFile::new(&at(name)).unwrap_err().to_string();
            assert!(error.contains(why) && error.ends_with("nothing was done"), "{name}: {error}");
        }
        assert!(PageFile::new(Path::new("-")).is_err() && PageFile::new(Path::new("/")).is_err());
        PageFile::new(&at("empty")).unwrap().write(PAGE).unwrap();
        assert_eq!(fs::read_to_string(at("unit.service")).unwrap(), "[Service]\n");
        assert_eq!(names(dir.path()).len(), 6);
    }

    /// Whoever may write there can put a link, or another file, in its place while the unit is watched.
    #[test]
    fn what_was_put_there_meanwhile_stays() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("page.html");
        let file = PageFile::new(&path).unwrap();
        fs::write(dir.path().join("other"), "precious").unwrap();
        symlink(dir.path().join("other"), &path).unwrap();
        assert!(file.write(PAGE).unwrap_err().to_string().ends_with("a link, which is not followed"));
        assert_eq!(fs::read_to_string(dir.path().join("other")).unwrap(), "precious");
        assert_eq!(names(dir.path()), ["other", "page.html"]);
    }
}
