//! Specifiers: `%n`, `%i` and their kin, which the manager replaces when it loads a unit.
//! systemd.unit(5) "Specifiers", `unit_full_printf()` in src/core/unit-printf.c.

use super::{Unit, UnitName};
use crate::root::Root;
use std::path::Path;

/// What specifiers tell of the system, as a manager of it would.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Host {
    /// The whole host name.
    pub name: String,
    /// The pretty host name; the host name where none is set.
    pub pretty_name: String,
    /// The machine ID, where there is one.
    pub machine_id: Option<String>,
    /// The boot ID, without dashes.
    pub boot_id: Option<String>,
    /// The kernel's release.
    pub release: String,
    /// The lines of os-release.
    os: Vec<(String, String)>,
}

impl Host {
    /// Read it from a root folder.
    #[must_use]
    pub fn read(root: &Root) -> Self {
        let text = |path: &str| {
            let bytes = root.read(Path::new(path)).ok()?;
            let text = String::from_utf8_lossy(&bytes).trim().to_owned();
            (!text.is_empty()).then_some(text)
        };
        let variables = |path: &str| super::environment::parse_file(&text(path).unwrap_or_default());
        let name = text("/proc/sys/kernel/hostname").or_else(|| text("/etc/hostname")).unwrap_or_default();
        let pretty = variables("/etc/machine-info").into_iter().find(|(key, _)| key == "PRETTY_HOSTNAME");
        let os = variables("/etc/os-release");
        Host {
            pretty_name: pretty.map_or_else(|| name.clone(), |(_, value)| value),
            name,
            machine_id: text("/etc/machine-id"),
            boot_id: text("/proc/sys/kernel/random/boot_id").map(|id| id.replace('-', "")),
            release: text("/proc/sys/kernel/osrelease").unwrap_or_default(),
            os: if os.is_empty() { variables("/usr/lib/os-release") } else { os },
        }
    }

    /// A line of os-release; an empty text where it is not there, as systemd does.
    fn os(&self, key: &str) -> String {
        self.os.iter().rev().find(|(k, _)| k == key).map(|(_, v)| v.clone()).unwrap_or_default()
    }
}

/// Replace the specifiers of a text. Those whose value cannot be known here stay, and are returned.
#[must_use]
pub fn expand(text: &str, unit: &Unit, host: &Host) -> (String, Vec<char>) {
    let (mut out, mut unknown) = (String::new(), Vec::new());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        // a lone % at the end is literal
        let Some(specifier) = chars.next() else {
            out.push('%');
            break;
        };
        if let Some(value) = value(specifier, unit, host) {
            out.push_str(&value);
        } else {
            out.extend(['%', specifier]);
            unknown.push(specifier);
        }
    }
    (out, unknown)
}

fn value(specifier: char, unit: &Unit, host: &Host) -> Option<String> {
    let name = &unit.name;
    Some(match specifier {
        '%' => "%".to_owned(),
        'n' => name.as_str().to_owned(),
        'N' => name.stem().to_owned(),
        'p' => name.prefix().to_owned(),
        'P' => unescape(name.prefix()),
        'i' => name.instance().unwrap_or_default().to_owned(),
        'I' => unescape(name.instance().unwrap_or_default()),
        'j' => last_part(name).to_owned(),
        'J' => unescape(last_part(name)),
        'f' => {
            let path = unescape(name.instance().unwrap_or(name.prefix()));
            if path.starts_with('/') { path } else { format!("/{path}") }
        }
        'y' => unit.fragment.path.display().to_string(),
        'Y' => unit.fragment.path.parent()?.display().to_string(),
        'T' => "/tmp".to_owned(),
        'V' => "/var/tmp".to_owned(),
        'H' => host.name.clone(),
        'l' => host.name.split('.').next().unwrap_or_default().to_owned(),
        'q' => host.pretty_name.clone(),
        'm' => host.machine_id.clone()?,
        'b' => host.boot_id.clone()?,
        'v' => host.release.clone(),
        'a' => crate::syscalls::Arch::native().systemd_name().to_owned(),
        'o' => host.os("ID"),
        'w' => host.os("VERSION_ID"),
        'W' => host.os("VARIANT_ID"),
        'B' => host.os("BUILD_ID"),
        'M' => host.os("IMAGE_ID"),
        'A' => host.os("IMAGE_VERSION"),
        // the control group (%c, %r), credentials (%d) have no value: the manager makes them
        other => return unit.scope.specifier(other),
    })
}

/// What stands behind the last dash of the prefix.
fn last_part(name: &UnitName) -> &str {
    name.prefix().rsplit('-').next().unwrap_or_default()
}

/// `unit_name_unescape()`: a dash is a slash, and `\x2d` a byte.
fn unescape(text: &str) -> String {
    let mut out = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        let escaped = tail.strip_prefix(b"x").and_then(|t| t.get(..2)).filter(|_| first == b'\\');
        let byte = escaped.and_then(|hex| u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok());
        out.push(byte.unwrap_or(if first == b'-' { b'/' } else { first }));
        rest = if byte.is_some() { &tail[3..] } else { tail };
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::unit::{SourceFile, syntax};

    fn unit(name: &str) -> Unit {
        let fragment = SourceFile::new("/etc/systemd/system/x@.service", "");
        let settings = syntax::parse_as(&fragment, u32::MAX).settings;
        let name = UnitName::parse(name).unwrap();
        Unit { settings, ..Unit::empty(name, fragment) }
    }

    #[test]
    fn of_the_name() {
        let unit = unit(r"foo-bar@dev-disk-by\x2dlabel.service");
        let all = "%n|%N|%p|%P|%i|%I|%j|%J|%f|%Y|%%|%";
        let stem = r"foo-bar@dev-disk-by\x2dlabel";
        let expected = format!(
            r"{stem}.service|{stem}|foo-bar|foo/bar|dev-disk-by\x2dlabel|dev/disk/by-label|bar|bar|/dev/disk/by-label|/etc/systemd/system|%|%"
        );
        assert_eq!(expand(all, &unit, &Host::default()), (expected, vec![]));
    }

    #[test]
    fn of_the_system() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("etc")).unwrap();
        std::fs::write(dir.path().join("etc/hostname"), "a.example\n").unwrap();
        std::fs::write(dir.path().join("etc/os-release"), "ID=debian\nVERSION_ID=\"12\"\n").unwrap();
        let host = Host::read(&Root::new(dir.path()));
        let (text, unknown) = expand("%H %l %o%w %W %t %u %m %d", &unit("x"), &host);
        assert_eq!(text, "a.example a debian12  /run root %m %d");
        assert_eq!(unknown, ['m', 'd']);
    }
}
