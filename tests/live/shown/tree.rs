//! Trees of unit files: what is written below a bed's root, all at once.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

/// One thing at a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    File(Vec<u8>),
    Link(String),
    Directory,
}

/// What stands at which absolute path.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tree(pub BTreeMap<String, Entry>);

impl Tree {
    /// Put something at a path, unless something stands there or on the way.
    pub fn put(&mut self, path: &str, entry: Entry) -> bool {
        let blocked = self.0.iter().any(|(known, kind)| {
            known == path
                || path.strip_prefix(known.as_str()).is_some_and(|rest| rest.starts_with('/'))
                    && *kind != Entry::Directory
                || known.strip_prefix(path).is_some_and(|rest| rest.starts_with('/'))
        });
        if !blocked {
            self.0.insert(path.to_owned(), entry);
        }
        !blocked
    }

    /// The same with another stem in every name.
    pub fn renamed(&self, from: &str, to: &str) -> Self {
        let entry = |entry: &Entry| match entry {
            Entry::Link(target) => Entry::Link(target.replace(from, to)),
            other => other.clone(),
        };
        Tree(self.0.iter().map(|(path, kind)| (path.replace(from, to), entry(kind))).collect())
    }

    /// Everything below a folder. A directory that holds nothing but `.empty` is empty: git keeps none.
    pub fn read(folder: &Path) -> Self {
        let mut tree = Tree::default();
        tree.add(folder, "");
        tree
    }

    fn add(&mut self, folder: &Path, below: &str) {
        for entry in fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            let path = format!("{below}/{}", entry.file_name().to_str().unwrap());
            let kind = entry.file_type().unwrap();
            if kind.is_symlink() {
                let target = fs::read_link(entry.path()).unwrap().to_str().unwrap().to_owned();
                self.0.insert(path, Entry::Link(target));
            } else if kind.is_dir() {
                self.add(&entry.path(), &path);
            } else if entry.file_name() == ".empty" {
                self.0.insert(below.to_owned(), Entry::Directory);
            } else {
                self.0.insert(path, Entry::File(fs::read(entry.path()).unwrap()));
            }
        }
    }

    /// Write all of it below a folder. Returns what was made, for [`remove`].
    pub fn write(&self, root: &Path) -> Vec<PathBuf> {
        let mut made = Vec::new();
        for (path, entry) in &self.0 {
            let path = root.join(path.trim_start_matches('/'));
            make_parents(path.parent().unwrap(), &mut made);
            match entry {
                Entry::File(bytes) => fs::write(&path, bytes).unwrap(),
                Entry::Link(target) => symlink(target, &path).unwrap(),
                Entry::Directory => fs::create_dir(&path).unwrap(),
            }
            made.push(path);
        }
        made
    }
}

impl std::fmt::Display for Tree {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (path, entry) in &self.0 {
            match entry {
                Entry::File(bytes) => {
                    let mut text = String::new();
                    for line in bytes.split_inclusive(|b| *b == b'\n') {
                        let mut line = line.escape_ascii().to_string();
                        if line.len() > 300 {
                            line = format!("{} … ({} bytes)", &line[..40], line.len());
                        }
                        let _ = write!(text, "\n    {line}");
                    }
                    writeln!(f, "  {path}:{text}")?;
                }
                Entry::Link(target) => writeln!(f, "  {path} -> {target}")?,
                Entry::Directory => writeln!(f, "  {path}/")?,
            }
        }
        Ok(())
    }
}

fn make_parents(folder: &Path, made: &mut Vec<PathBuf>) {
    if !folder.exists() {
        make_parents(folder.parent().unwrap(), made);
        fs::create_dir(folder).unwrap();
        made.push(folder.to_owned());
    }
}

/// Take away what was made, the last first.
pub fn remove(made: &[PathBuf]) {
    for path in made.iter().rev() {
        let is_directory = fs::symlink_metadata(path).is_ok_and(|meta| meta.is_dir());
        let _ = if is_directory { fs::remove_dir(path) } else { fs::remove_file(path) };
    }
}
