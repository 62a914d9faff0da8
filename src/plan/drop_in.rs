//! unitfix's own drop-in: the one file that it ever writes for a unit, and edits again.

use super::Amendment;
use crate::change::{Diff, FileChange};
use crate::evidence::one_line;
use crate::replay::session::last_name;
use crate::root::Root;
use crate::unit::{SourceFile, Unit};
use std::path::{Path, PathBuf};

/// How unitfix's own drop-ins begin.
pub const HEADER: &str = "# Written by unitfix ";

/// A drop-in that is to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DropIn {
    /// Where.
    pub path: PathBuf,
    /// What.
    pub text: String,
    /// unitfix's own earlier drop-in that it takes the place of.
    pub replaces: Option<PathBuf>,
    before: Option<String>,
    own_folder: bool,
}

/// Whether a drop-in says that it is unitfix's.
#[must_use]
pub fn is_own(file: &SourceFile) -> bool {
    file.bytes.starts_with(HEADER.as_bytes())
}

impl DropIn {
    /// The drop-in for an amendment, in this folder, merged with unitfix's own earlier one if there is one there.
    /// `date` is that of the comment, `why` the reason in it, `undo` the command that takes it back.
    #[must_use]
    pub fn new(amendment: &Amendment, unit: &Unit, folder: &Path, date: &str, why: &str, undo: &str) -> Self {
        let own = unit.drop_ins.iter().find(|f| f.path.parent() == Some(folder) && is_own(f));
        let before = own.and_then(|f| String::from_utf8(f.bytes.clone()).ok());
        let others = unit.drop_ins.iter().filter(|f| Some(&f.path) != own.map(|o| &o.path));
        let names: Vec<&str> = others.filter_map(|f| f.path.file_name()?.to_str()).collect();
        // the own file keeps its name as long as that sorts last
        let path = match own.and_then(|f| f.path.file_name()?.to_str()) {
            Some(name) if names.iter().all(|other| *other < name) => folder.join(name),
            _ => folder.join(last_name("zz-unitfix", names.into_iter())),
        };
        // both stand in comments, which end with the line
        let (why, undo) = (one_line(why), one_line(undo));
        let headline = format!("{HEADER}{} on {date}: {why}.", env!("CARGO_PKG_VERSION"));
        let text = match &before {
            Some(old) => merged(old, &headline, amendment),
            None => format!("{headline}\n# Undo: {undo}\n[Service]\n{}", amendment.lines()),
        };
        let replaces = own.map(|f| f.path.clone());
        DropIn { path, text, replaces, before, own_folder: !folder.is_dir() }
    }

    /// The same drop-in below a root, where its folder may be there already.
    #[must_use]
    pub fn below(self, root: &Root) -> Self {
        let own_folder = !self.path.parent().is_some_and(|folder| root.is_directory(folder));
        DropIn { own_folder, ..self }
    }

    /// The same drop-in with another text.
    #[must_use]
    pub fn edited(&self, text: String) -> Self {
        DropIn { text, ..self.clone() }
    }

    /// The change of files that writes it.
    #[must_use]
    pub fn diff(&self) -> Diff {
        let moved = self.replaces.as_ref().filter(|old| **old != self.path);
        let change = |path: &Path, before: Option<&String>, after: Option<&String>| FileChange {
            path: path.to_owned(),
            before: before.cloned(),
            after: after.cloned(),
            own_folder: self.own_folder,
        };
        let mut files = Vec::new();
        match moved {
            Some(old) => {
                files.push(change(&self.path, None, Some(&self.text)));
                files.push(change(old, self.before.as_ref(), None));
            }
            None => files.push(change(&self.path, self.before.as_ref(), Some(&self.text))),
        }
        Diff { files }
    }
}

/// The earlier text with the new reason behind the earlier ones and the settings joined; all else stays.
fn merged(old: &str, headline: &str, amendment: &Amendment) -> String {
    let mut joined = amendment.clone();
    let mut kept: Vec<&str> = old.lines().filter(|line| !joined.take_in(line)).collect();
    let reasons = kept.iter().take_while(|line| line.starts_with(HEADER)).count();
    kept.insert(reasons, headline);
    kept.join("\n") + "\n" + &joined.lines()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::syscalls::Arch;

    fn allow(calls: &[&str], architectures: &[Arch]) -> Amendment {
        Amendment {
            allow: calls.iter().map(|c| (*c).to_owned()).collect(),
            architectures: architectures.iter().copied().collect(),
            ..Amendment::default()
        }
    }

    fn unit(drop_ins: &[(&str, &str)]) -> Unit {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.service");
        std::fs::write(&path, "[Service]\nExecStart=/bin/true\n").unwrap();
        let mut unit = Unit::at_path(&path, 252).unwrap().unit;
        for (path, text) in drop_ins {
            unit.add_drop_in(crate::unit::SourceFile::new(*path, text.as_bytes()), 252);
        }
        unit
    }

    const OWN: &str = "# Written by unitfix 0.1.0 on 2026-01-01: a was killed for calling chown.\n\
                       # Undo: unitfix revert a.service\n[Service]\nSystemCallFilter=chown\n";

    #[test]
    fn a_second_repair_joins_the_first() {
        let unit = unit(&[("/d/zz-unitfix.conf", OWN)]);
        let drop_in = DropIn::new(
            &allow(&["setrlimit"], &[Arch::X86]),
            &unit,
            Path::new("/d"),
            "2026-02-02",
            "why",
            "u",
        );
        assert_eq!(drop_in.path, Path::new("/d/zz-unitfix.conf"));
        let version = env!("CARGO_PKG_VERSION");
        assert_eq!(
            drop_in.text,
            format!(
                "# Written by unitfix 0.1.0 on 2026-01-01: a was killed for calling chown.\n\
                 # Written by unitfix {version} on 2026-02-02: why.\n\
                 # Undo: unitfix revert a.service\n[Service]\n\
                 SystemCallFilter=chown setrlimit\nSystemCallArchitectures=x86\n"
            )
        );
        assert_eq!(drop_in.diff().files.len(), 1);
    }

    #[test]
    fn a_comment_stays_one() {
        let (why, undo) = ("a\n[Service]\rUser=x", "unitfix revert 'a\n[Service]'");
        let drop_in = DropIn::new(&allow(&["chown"], &[]), &unit(&[]), Path::new("/d"), "D", why, undo);
        let lines: Vec<&str> = drop_in.text.lines().filter(|line| !line.starts_with('#')).collect();
        assert_eq!(lines, ["[Service]", "SystemCallFilter=chown"]);
        assert!(!drop_in.text.contains('\r'));
    }

    #[test]
    fn it_moves_behind_whatever_was_added_later() {
        let unit = unit(&[("/d/zz-unitfix.conf", OWN), ("/d/zzz.conf", "")]);
        let drop_in =
            DropIn::new(&allow(&["setrlimit"], &[]), &unit, Path::new("/d"), "2026-02-02", "why", "u");
        assert_eq!(drop_in.path, Path::new("/d/zzzzz-unitfix.conf"));
        let files = drop_in.diff().files;
        assert_eq!(files[0].path, Path::new("/d/zzzzz-unitfix.conf"));
        assert_eq!(
            (files[1].path.as_path(), files[1].after.as_ref()),
            (Path::new("/d/zz-unitfix.conf"), None)
        );
    }
}
