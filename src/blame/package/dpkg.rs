//! dpkg: lists of files, the status, and the log (dpkg(1), FILES; deb-package's `Status:` and `Version:`).

use super::{Change, Package, micros, zone};
use crate::evidence::Untrusted;
use crate::root::Root;
use flate2::read::MultiGzDecoder;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

const INFO: &str = "/var/lib/dpkg/info";
const STATUS: &str = "/var/lib/dpkg/status";
const LOGS: &str = "/var/log";

/// No log is longer when it is unpacked.
const LOG_MAX: u64 = 64 << 20;

/// So many logs are looked through, the newest first; logrotate keeps twelve.
const LOGS_MAX: usize = 24;

pub(super) fn owner(root: &Root, paths: &[PathBuf]) -> Option<Package> {
    let name = listed(root, paths)?;
    let (name, architecture) = match name.iter().position(|b| *b == b':') {
        Some(at) => (name.get(..at)?, name.get(at + 1..)),
        None => (name.as_slice(), None),
    };
    let status = root.read(Path::new(STATUS)).ok()?;
    let version = installed(&status, name, architecture)?;
    let change = change(root, name, version);
    Some(Package { name: Untrusted::new(name), version: Untrusted::new(version), change })
}

/// The name of the package that lists one of these paths; behind a colon, the architecture, where dpkg keeps it.
fn listed(root: &Root, paths: &[PathBuf]) -> Option<Vec<u8>> {
    let paths: Vec<&[u8]> = paths.iter().map(|path| path.as_os_str().as_bytes()).collect();
    root.list(Path::new(INFO)).ok()?.into_iter().find_map(|file| {
        let package = file.as_bytes().strip_suffix(b".list")?;
        let list = root.read(&Path::new(INFO).join(&file)).ok()?;
        list.split(|b| *b == b'\n').any(|line| paths.contains(&line)).then(|| package.to_vec())
    })
}

/// The version of a package in the status file, if it is installed.
fn installed<'a>(status: &'a [u8], name: &[u8], architecture: Option<&[u8]>) -> Option<&'a [u8]> {
    let mut lines = status.split(|b| *b == b'\n');
    loop {
        let stanza: Vec<&[u8]> = lines.by_ref().take_while(|line| !line.is_empty()).collect();
        if stanza.is_empty() {
            // two empty lines in a row would be no end; dpkg does not write them
            return None;
        }
        let field = |key: &[u8]| stanza.iter().find_map(|line| line.strip_prefix(key)?.strip_prefix(b": "));
        let fits = field(b"Package") == Some(name)
            && architecture.is_none_or(|architecture| field(b"Architecture") == Some(architecture));
        if fits && field(b"Status").is_some_and(|status| status.ends_with(b" installed")) {
            return field(b"Version");
        }
    }
}

/// The newest change to this version that is in a log.
fn change(root: &Root, name: &[u8], version: &[u8]) -> Option<Change> {
    let zone = zone(root);
    logs(root).into_iter().take(LOGS_MAX).find_map(|path| {
        let mut text = root.read(&path).ok()?;
        if path.extension().is_some_and(|extension| extension == "gz") {
            let mut unpacked = Vec::new();
            // of a damaged log, what comes before the damage counts
            let _ = MultiGzDecoder::new(text.as_slice()).take(LOG_MAX).read_to_end(&mut unpacked);
            text = unpacked;
        }
        text.split(|b| *b == b'\n').rev().find_map(|line| entry(line, name, version, &zone))
    })
}

/// `dpkg.log`, and what logrotate made of it: `dpkg.log.1`, `dpkg.log.2.gz`, …, the newest first.
fn logs(root: &Root) -> Vec<PathBuf> {
    let names = root.list(Path::new(LOGS)).unwrap_or_default();
    let mut logs: Vec<(u32, PathBuf)> = names
        .iter()
        .filter_map(|name| {
            let rest = name.to_str()?.strip_prefix("dpkg.log")?;
            let age = rest.strip_prefix('.').map(|rest| rest.strip_suffix(".gz").unwrap_or(rest));
            let age = age.map_or(Ok(0), str::parse).ok().filter(|age| rest.is_empty() || *age > 0)?;
            Some((age, Path::new(LOGS).join(name)))
        })
        .collect();
    logs.sort();
    logs.into_iter().map(|(_, path)| path).collect()
}

/// `2026-11-20 10:11:12 upgrade docker.io:amd64 20.10.5+dfsg1-1 20.10.24+dfsg1-1`
fn entry(line: &[u8], name: &[u8], version: &[u8], zone: &TimeZone) -> Option<Change> {
    let mut words = line.split(|b| *b == b' ');
    let (date, time, action) = (words.next()?, words.next()?, words.next()?);
    let (package, from, to) = (words.next()?, words.next()?, words.next()?);
    let package = package.split(|b| *b == b':').next()?;
    if !matches!(action, b"install" | b"upgrade") || package != name || to != version {
        return None;
    }
    let time = format!("{}T{}", std::str::from_utf8(date).ok()?, std::str::from_utf8(time).ok()?);
    let time = time.parse::<DateTime>().ok()?.to_zoned_datetime(zone.clone()).ok()?.timestamp();
    // a package of which only the configuration was left is installed over it
    let anew = action == b"install" || from == b"<none>" || from == version;
    Some(Change { time: micros(time)?, from: (!anew).then(|| Untrusted::new(from)) })
}

#[cfg(test)]
mod tests {
    use super::super::tree;
    use super::*;

    const STATUS: &[u8] = b"Package: libc6\nStatus: install ok installed\nArchitecture: i386\nVersion: 2.36-8\n\n\
        Package: libc6\nStatus: install ok installed\nArchitecture: amd64\nVersion: 2.36-9\nDescription: C\n Package: x\n\n\
        Package: gone\nStatus: deinstall ok config-files\nArchitecture: amd64\nVersion: 1\n\n\
        Package: docker.io\nStatus: install ok installed\nArchitecture: amd64\nVersion: 20.10.24\n";

    fn of(files: &[(&str, &[u8])], path: &str) -> Option<String> {
        let common: [(&str, &[u8]); 4] = [
            ("var/lib/dpkg/status", STATUS),
            ("var/lib/dpkg/info/docker.io.list", b"/.\n/usr/bin\n/usr/bin/docker\n"),
            ("var/lib/dpkg/info/gone.list", b"/usr/bin/gone\n"),
            ("var/lib/dpkg/info/libc6:amd64.list", b"/lib/x86_64-linux-gnu/libc.so.6\n"),
        ];
        let (_folder, root) = tree(&[&common[..], files].concat());
        Some(super::super::owner(&root, Path::new(path))?.words(Some(1_800_000_000_000_000), &TimeZone::UTC))
    }

    #[test]
    fn who_owns_what() {
        assert_eq!(of(&[], "/usr/bin/docker").as_deref(), Some("docker.io 20.10.24"));
        assert_eq!(of(&[], "/usr/lib/x86_64-linux-gnu/libc.so.6").as_deref(), Some("libc6 2.36-9"));
        assert_eq!(of(&[], "/usr/bin/gone"), None);
        assert_eq!(of(&[], "/usr/bin/dock"), None);
    }

    #[test]
    fn the_newest_change_to_this_version() {
        let log = b"2026-11-20 10:00:00 install docker.io:amd64 <none> 20.10.5\n\
            2026-11-20 10:01:00 status installed docker.io:amd64 20.10.5\n";
        let newer = b"2027-01-13 08:00:00 upgrade docker.io:amd64 20.10.5 20.10.24\n\
            2027-01-13 08:00:01 upgrade docker-compose:amd64 1 20.10.24\nshort line\n\
            2027-01-14 08:00:01 configure docker.io:amd64 20.10.24 <none>\n";
        let mut packed = Vec::new();
        let mut encoder = flate2::write::GzEncoder::new(&mut packed, flate2::Compression::default());
        std::io::Write::write_all(&mut encoder, newer).unwrap();
        encoder.finish().unwrap();
        let words = "docker.io 20.10.24, upgraded from 20.10.5 on 2027-01-13, two days before the first kill";
        for (name, text) in [("var/log/dpkg.log", &newer[..]), ("var/log/dpkg.log.2.gz", &packed)] {
            assert_eq!(
                of(&[("var/log/dpkg.log.3", log), (name, text)], "/usr/bin/docker").as_deref(),
                Some(words)
            );
        }
        // what is in the logs is not how this version came
        assert_eq!(
            of(&[("var/log/dpkg.log", log)], "/usr/bin/docker").as_deref(),
            Some("docker.io 20.10.24")
        );
    }

    proptest::proptest! {
        #[test]
        fn any_bytes(status: Vec<u8>, line in "(2026-11-20 )?(10:00:00 )?(upgrade )?(p:amd64 )?.{0,40}") {
            let _ = installed(&status, b"p", None);
            let _ = entry(line.as_bytes(), b"p", b"2", &TimeZone::UTC);
        }
    }
}
