//! The package that owns a program file, and when it was last changed: as dpkg, rpm or pacman know it.

mod dpkg;
mod pacman;
mod rpm;

use crate::evidence::Untrusted;
use crate::root::Root;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::Serialize;
use std::path::{Path, PathBuf};

/// A package.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Package {
    /// Its name.
    pub name: Untrusted,
    /// The version that is installed.
    pub version: Untrusted,
    /// The last change, where that is on record.
    pub change: Option<Change>,
}

/// How the installed version came.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Change {
    /// When, in microseconds since the epoch.
    pub time: u64,
    /// The version before it; nothing: it was installed anew, or that is not on record.
    pub from: Option<Untrusted>,
}

/// The package of a program, whose path this is inside of the root. Nothing, where no package manager knows it.
#[must_use]
pub fn owner(root: &Root, program: &Path) -> Option<Package> {
    let paths = names(program);
    dpkg::owner(root, &paths).or_else(|| pacman::owner(root, &paths)).or_else(|| rpm::owner(root, &paths))
}

/// The names by which a package may know a file: in a merged /usr, those of /bin, /sbin and /lib, too.
fn names(program: &Path) -> Vec<PathBuf> {
    let mut out = vec![program.to_owned()];
    let text = program.to_string_lossy();
    if let Some(rest) = text.strip_prefix("/usr")
        && ["/bin/", "/sbin/", "/lib"].iter().any(|folder| rest.starts_with(folder))
    {
        out.push(PathBuf::from(rest));
    } else if ["/bin/", "/sbin/", "/lib"].iter().any(|folder| text.starts_with(folder)) {
        out.push(PathBuf::from(format!("/usr{text}")));
    }
    out
}

/// The zone of the times in logs below a root.
fn zone(root: &Root) -> TimeZone {
    let rules = root.read(Path::new("/etc/localtime")).ok();
    rules.and_then(|rules| TimeZone::tzif("localtime", &rules).ok()).unwrap_or(TimeZone::UTC)
}

/// Microseconds since the epoch.
fn micros(time: Timestamp) -> Option<u64> {
    u64::try_from(time.as_microsecond()).ok()
}

impl Package {
    /// What to say of it: `docker.io 20.10.24, upgraded from 20.10.5 on 2026-11-20, two days before the first kill`.
    /// `kill` is the time of the first kill on record, in microseconds since the epoch.
    #[must_use]
    pub fn words(&self, kill: Option<u64>, zone: &TimeZone) -> String {
        let head = format!("{} {}", self.name, self.version);
        let Some(change) = &self.change else { return head };
        let time = i64::try_from(change.time).ok().and_then(|time| Timestamp::from_microsecond(time).ok());
        let Some(time) = time else { return head };
        let what = match &change.from {
            Some(from) => format!("upgraded from {from}"),
            None => "installed".to_owned(),
        };
        let day = time.to_zoned_datetime(zone.clone()).date();
        let relation = kill.map(|kill| {
            let order = if kill < change.time { "after" } else { "before" };
            format!(", {} {order} the first kill", span(kill.abs_diff(change.time)))
        });
        format!("{head}, {what} on {day}{}", relation.unwrap_or_default())
    }
}

/// A length of time in its largest unit, rounded down.
fn span(microseconds: u64) -> String {
    const NUMBERS: [&str; 13] = [
        "no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven",
        "twelve",
    ];
    let seconds = microseconds / 1_000_000;
    let (count, unit) = match seconds {
        0..60 => return "less than a minute".to_owned(),
        60..3600 => (seconds / 60, "minute"),
        3600..86_400 => (seconds / 3600, "hour"),
        _ => (seconds / 86_400, "day"),
    };
    let plural = if count == 1 { "" } else { "s" };
    let number = usize::try_from(count).ok().and_then(|count| NUMBERS.get(count));
    number.map_or_else(|| format!("{count} {unit}{plural}"), |word| format!("{word} {unit}{plural}"))
}

/// What the tests of package managers have in common: files below a folder.
#[cfg(test)]
fn tree(files: &[(&str, &[u8])]) -> (tempfile::TempDir, Root) {
    let folder = tempfile::tempdir().unwrap();
    for (path, content) in files {
        let path = folder.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }
    let root = Root::new(folder.path());
    (folder, root)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn in_words() {
        const DAY: u64 = 86_400_000_000;
        let upgrade = 20_000 * DAY;
        let of = |change| Package { name: Untrusted::new("p"), version: Untrusted::new("2"), change };
        let upgraded = of(Some(Change { time: upgrade, from: Some(Untrusted::new("1\n")) }));
        let installed = of(Some(Change { time: upgrade, from: None }));
        let words = |package: &Package, kill| package.words(kill, &TimeZone::UTC);
        let expected = r"p 2, upgraded from 1\n on 2024-10-04, two days before the first kill";
        assert_eq!(words(&upgraded, Some(upgrade + 3 * DAY - 1)), expected);
        let expected = "p 2, installed on 2024-10-04, one hour after the first kill";
        assert_eq!(words(&installed, Some(upgrade - 3_600_000_000)), expected);
        let expected = "p 2, installed on 2024-10-04, 13 days before the first kill";
        assert_eq!(words(&installed, Some(upgrade + 13 * DAY)), expected);
        assert_eq!(words(&installed, None), "p 2, installed on 2024-10-04");
        assert_eq!(words(&of(None), Some(upgrade)), "p 2");
    }

    #[test]
    fn both_names_in_a_merged_usr() {
        let of =
            |path: &str| names(Path::new(path)).iter().map(|p| p.display().to_string()).collect::<Vec<_>>();
        assert_eq!(of("/usr/bin/x"), ["/usr/bin/x", "/bin/x"]);
        assert_eq!(of("/bin/x"), ["/bin/x", "/usr/bin/x"]);
        assert_eq!(of("/usr/lib/y/x"), ["/usr/lib/y/x", "/lib/y/x"]);
        assert_eq!(of("/usr/share/x"), ["/usr/share/x"]);
        assert_eq!(of("/opt/x"), ["/opt/x"]);
    }
}
