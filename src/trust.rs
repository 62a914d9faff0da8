//! What is believed, and written to, on the running system: only what nobody but root can have put there. Below another
//! root folder nothing is asked: that one's files are the user's word.

use crate::root::Root;
use crate::unit::shown_path;
use nix::unistd::{Uid, User, geteuid};
use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Bits of a mode: others than the owner may write; of a directory, only owners may rename and remove what is in it
/// (inode(7)).
const WRITABLE: u32 = 0o022;
const STICKY: u32 = 0o1000;

/// What unitfix keeps on the running system, a folder after those above it.
const OWN: [&str; 5] =
    ["/run/unitfix", "/run/unitfix/lock", "/run/unitfix/replay", "/run/unitfix/trace", "/var/lib/unitfix"];

/// Where only root may write on the running system: whoever else can, has the system's units in hand.
const OF_ROOT: [&str; 4] = ["/etc/systemd", "/run/systemd", "/run/unitfix", "/var/lib/unitfix"];

/// Whether a path, inside of the root, is one where only root may write.
pub(crate) fn is_of_root(root: &Root, path: &Path) -> bool {
    root.is_system() && OF_ROOT.iter().any(|folder| path.starts_with(folder))
}

/// Whether the folders that unitfix keeps on the running system, as far as they are there, are really its own.
pub(crate) fn own_folders() -> Result<(), String> {
    for folder in OWN.map(Path::new) {
        let meta = match std::fs::symlink_metadata(folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            other => other.map_err(|error| format!("{}: {error}", folder.display()))?,
        };
        if !meta.is_dir() {
            let what = if meta.is_symlink() { "a link, which is not followed" } else { "no directory" };
            return Err(format!("{} is {what}: remove it", folder.display()));
        }
        judge(folder, &meta, false)?;
    }
    Ok(())
}

/// Whether an open file or directory, reached by this path without any link, is one that only root can write.
pub(crate) fn opened(path: &Path, file: &File) -> io::Result<()> {
    judge(path, &file.metadata()?, false).map_err(io::Error::other)
}

/// Whether the files of a folder are those that root put there. Nothing is asked below another root, of which nobody
/// claims that its rules are this system's.
pub(crate) fn folder(root: &Root, path: &Path) -> Result<(), String> {
    if !root.is_system() {
        return Ok(());
    }
    let real = root.resolve(path).ok_or("it cannot be found")?;
    let meta = std::fs::metadata(&real).map_err(|error| error.to_string())?;
    judge(&real, &meta, false)?;
    above(&real)
}

/// Whether an open file, found at a path, is what root wrote. It is judged as it was opened: another one may stand at
/// the path by now.
pub(crate) fn file(root: &Root, path: &Path, file: &File) -> Result<(), String> {
    if !root.is_system() {
        return Ok(());
    }
    let real = root.resolve(path).ok_or("it cannot be found")?;
    judge(&real, &file.metadata().map_err(|error| error.to_string())?, false)?;
    above(&real)
}

/// The directories above: whoever can rename things there can put others in their place.
pub(crate) fn above(path: &Path) -> Result<(), String> {
    for folder in path.ancestors().skip(1) {
        let meta = std::fs::metadata(folder).map_err(|error| error.to_string())?;
        judge(folder, &meta, true)?;
    }
    Ok(())
}

/// Whether only root, or the user who runs this, can write something.
fn judge(path: &Path, meta: &Metadata, sticky_will_do: bool) -> Result<(), String> {
    let owner = Uid::from_raw(meta.uid());
    if !owner.is_root() && owner != geteuid() {
        let name = User::from_uid(owner).ok().flatten().map(|user| format!("{}, ", user.name));
        let name = name.unwrap_or_default();
        return Err(format!("{} belongs to {name}user {owner}, who is not trusted", shown_path(path)));
    }
    let sticky = sticky_will_do && meta.mode() & STICKY != 0;
    if meta.mode() & WRITABLE != 0 && !sticky {
        let path = shown_path(path);
        return Err(format!("{path} can be written by others than its owner: chmod go-w {path}"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{Permissions, set_permissions};
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn what_others_can_write_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.yaml");
        std::fs::write(&path, "").unwrap();
        let judged = |mode: u32, sticky: bool| {
            set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            judge(&path, &std::fs::metadata(&path).unwrap(), sticky)
        };
        let said = |what: &str| format!("{} {what}", path.display());
        assert_eq!(judged(0o644, false), Ok(()));
        let writable = said("can be written by others than its owner: chmod go-w ") + path.to_str().unwrap();
        assert_eq!(judged(0o664, false), Err(writable.clone()));
        assert_eq!(judged(0o1777, false), Err(writable));
        assert_eq!(judged(0o1777, true), Ok(()));
        if geteuid().is_root() {
            std::os::unix::fs::chown(&path, Some(65534), None).unwrap();
            let owner = said("belongs to nobody, user 65534, who is not trusted");
            assert_eq!(judged(0o644, false), Err(owner));
        }
    }
}
