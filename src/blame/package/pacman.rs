//! pacman: its local database, a folder for each package (libalpm's lib/libalpm/be_local.c), and its log.

use super::{Change, Package, micros};
use crate::evidence::Untrusted;
use crate::root::Root;
use jiff::Timestamp;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

const LOCAL: &str = "/var/lib/pacman/local";
const LOG: &str = "/var/log/pacman.log";

pub(super) fn owner(root: &Root, paths: &[PathBuf]) -> Option<Package> {
    let wanted: Vec<&[u8]> =
        paths.iter().filter_map(|p| p.as_os_str().as_bytes().strip_prefix(b"/")).collect();
    root.list(Path::new(LOCAL)).ok()?.into_iter().find_map(|name| {
        let folder = Path::new(LOCAL).join(name);
        let files = root.read(&folder.join("files")).ok()?;
        if !section(&files, b"%FILES%").any(|line| wanted.contains(&line)) {
            return None;
        }
        let description = root.read(&folder.join("desc")).ok()?;
        let field = |key| section(&description, key).next();
        let (name, version) = (field(b"%NAME%")?, field(b"%VERSION%")?);
        let log = root.read(Path::new(LOG)).unwrap_or_default();
        let logged = log.split(|b| *b == b'\n').rev().find_map(|line| entry(line, name, version));
        let installed = || {
            let seconds: u64 = std::str::from_utf8(field(b"%INSTALLDATE%")?).ok()?.parse().ok()?;
            Some(Change { time: seconds.checked_mul(1_000_000)?, from: None })
        };
        let change = logged.or_else(installed);
        Some(Package { name: Untrusted::new(name), version: Untrusted::new(version), change })
    })
}

/// The lines below a heading, up to an empty one.
fn section<'a>(text: &'a [u8], heading: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
    let lines = text.split(|b| *b == b'\n').skip_while(move |line| *line != heading).skip(1);
    lines.take_while(|line| !line.is_empty())
}

/// `[2026-11-20T10:11:12+0000] [ALPM] upgraded docker (1:20.10.5-1 -> 1:20.10.24-1)`
fn entry(line: &[u8], name: &[u8], version: &[u8]) -> Option<Change> {
    let line = std::str::from_utf8(line).ok()?;
    let (time, rest) = line.strip_prefix('[')?.split_once("] [ALPM] ")?;
    let (action, rest) = rest.split_once(' ')?;
    let (package, versions) = rest.strip_suffix(')')?.split_once(" (")?;
    if package.as_bytes() != name {
        return None;
    }
    let (from, to) = match action {
        "upgraded" | "downgraded" => versions.split_once(" -> ").map(|(from, to)| (Some(from), to))?,
        "installed" | "reinstalled" => (None, versions),
        _ => return None,
    };
    let time = Timestamp::strptime("%Y-%m-%dT%H:%M:%S%z", time).ok()?;
    let from = from.map(Untrusted::new);
    (to.as_bytes() == version).then_some(Change { time: micros(time)?, from })
}

#[cfg(test)]
mod tests {
    use super::super::tree;
    use super::*;
    use jiff::tz::TimeZone;

    #[test]
    fn from_its_database_and_its_log() {
        let files: [(&str, &[u8]); 2] = [
            (
                "var/lib/pacman/local/docker-1:20.10.24-1/files",
                b"%FILES%\nusr/\nusr/bin/docker\n\n%BACKUP%\netc/x\n",
            ),
            (
                "var/lib/pacman/local/docker-1:20.10.24-1/desc",
                b"%NAME%\ndocker\n\n%VERSION%\n1:20.10.24-1\n\n%INSTALLDATE%\n1763633472\n\n",
            ),
        ];
        let log = b"[2025-11-20T11:11:12+0100] [ALPM] upgraded docker (1:20.10.5-1 -> 1:20.10.24-1)\n\
            [2025-11-20T11:11:13+0100] [ALPM] running '30-systemd-update.hook'...\n";
        let words = |root: &Root, path: &str| {
            let owner = super::super::owner(root, Path::new(path))?;
            Some(owner.words(Some(1_763_633_472_000_000 + 3_600_000_000), &TimeZone::UTC))
        };
        let (_folder, root) = tree(&files);
        let installed = "docker 1:20.10.24-1, installed on 2025-11-20, one hour before the first kill";
        assert_eq!(words(&root, "/usr/bin/docker").as_deref(), Some(installed));
        assert_eq!(words(&root, "/etc/x"), None);
        let (_folder, root) = tree(&[&files[..], &[("var/log/pacman.log", &log[..])]].concat());
        let upgraded =
            "docker 1:20.10.24-1, upgraded from 1:20.10.5-1 on 2025-11-20, one hour before the first kill";
        assert_eq!(words(&root, "/bin/docker").as_deref(), Some(upgraded));
    }

    proptest::proptest! {
        #[test]
        fn any_bytes(text in "(\\[2025-11-20T11:11:12\\+0100\\] )?(\\[ALPM\\] )?(upgraded )?(p )?.{0,40}") {
            let _ = entry(text.as_bytes(), b"p", b"2");
        }
    }
}
