//! rpm: its database has several formats, so rpm itself is asked.

use super::super::child;
use super::{Change, Package};
use crate::evidence::Untrusted;
use crate::root::Root;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// rpm answers within a second; this is for a sick disk.
const PATIENCE: Duration = Duration::from_secs(10);

pub(super) fn owner(root: &Root, paths: &[PathBuf]) -> Option<Package> {
    // dpkg systems may have an rpm, with no packages
    let folders = ["/usr/lib/sysimage/rpm", "/var/lib/rpm"].map(Path::new);
    if !folders.iter().any(|folder| root.list(folder).is_ok_and(|names| !names.is_empty())) {
        return None;
    }
    paths.iter().find_map(|path| {
        let mut arguments: Vec<OsString> = Vec::new();
        if !root.is_system() {
            arguments.extend(["--root".into(), root.join(Path::new("/")).into_os_string()]);
        }
        arguments
            .extend(["-qf", "--queryformat", "%{NAME}\\t%{EVR}\\t%{INSTALLTIME}\\n"].map(OsString::from));
        arguments.push(path.into());
        answer(&child::ask("rpm", &arguments, std::iter::empty(), PATIENCE)?)
    })
}

/// Name, version and time of installation; of several packages that own a file, the first.
fn answer(text: &[u8]) -> Option<Package> {
    let mut words = text.split(|b| *b == b'\n').next()?.split(|b| *b == b'\t');
    let (name, version, time) = (words.next()?, words.next()?, words.next()?);
    let seconds: u64 = std::str::from_utf8(time).ok()?.parse().ok()?;
    // what was there before, rpm does not keep
    let change = seconds.checked_mul(1_000_000).map(|time| Change { time, from: None });
    Some(Package { name: Untrusted::new(name), version: Untrusted::new(version), change })
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::tz::TimeZone;

    #[test]
    fn what_rpm_answers() {
        let package = answer(b"docker-ce\t3:20.10.24-3.fc40\t1763633472\n").unwrap();
        assert_eq!(
            package.words(None, &TimeZone::UTC),
            "docker-ce 3:20.10.24-3.fc40, installed on 2025-11-20"
        );
        assert_eq!(answer(b"file /usr/bin/x is not owned by any package\n"), None);
        assert_eq!(answer(b""), None);
    }
}
