//! What lies below a directory, byte for byte, to be compared with what lay there before.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Everything below a directory, by its path relative to it.
pub type Tree = BTreeMap<PathBuf, Node>;

#[derive(Clone, PartialEq, Eq)]
pub enum Node {
    Directory { mode: u32, owner: (u32, u32) },
    File { mode: u32, owner: (u32, u32), bytes: Vec<u8> },
    Link(OsString),
    Other,
}

impl Node {
    /// Takes the lines of a file away that hold these words.
    pub fn forget_lines_with(&mut self, words: &str) {
        if let Self::File { bytes, .. } = self {
            let text = String::from_utf8_lossy(bytes);
            let kept: Vec<&str> = text.lines().filter(|line| !line.contains(words)).collect();
            *bytes = kept.join("\n").into_bytes();
        }
    }

    /// The bytes of a file; of anything else, none.
    pub fn bytes(&self) -> &[u8] {
        match self {
            Self::File { bytes, .. } => bytes,
            _ => &[],
        }
    }
}

impl std::fmt::Debug for Node {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Directory { mode, owner } => write!(out, "directory {mode:o} {owner:?}"),
            Self::File { mode, owner, bytes } => {
                write!(out, "file {mode:o} {owner:?} {:?}", String::from_utf8_lossy(bytes))
            }
            Self::Link(target) => write!(out, "link to {}", target.display()),
            Self::Other => write!(out, "something else"),
        }
    }
}

/// What is not the same in two trees.
pub fn differences(before: &Tree, now: &Tree) -> Vec<String> {
    let paths: BTreeSet<_> = before.keys().chain(now.keys()).collect();
    let differ = paths.into_iter().filter(|path| before.get(*path) != now.get(*path));
    differ.map(|path| format!("{}: {:?}, {:?}", path.display(), before.get(path), now.get(path))).collect()
}

/// Reads the tree below `root`, or nothing if it is not there. Links are not followed.
pub fn read(root: &Path) -> Tree {
    let mut tree = Tree::new();
    let mut left = vec![PathBuf::new()];
    while let Some(directory) = left.pop() {
        let Ok(entries) = fs::read_dir(root.join(&directory)) else { continue };
        for entry in entries {
            let entry = entry.unwrap();
            let metadata = entry.path().symlink_metadata().unwrap();
            let (mode, owner) = (metadata.permissions().mode() & 0o7777, (metadata.uid(), metadata.gid()));
            let path = directory.join(entry.file_name());
            let node = if metadata.is_symlink() {
                Node::Link(fs::read_link(entry.path()).unwrap().into())
            } else if metadata.is_dir() {
                left.push(path.clone());
                Node::Directory { mode, owner }
            } else if metadata.is_file() {
                Node::File { mode, owner, bytes: fs::read(entry.path()).unwrap() }
            } else {
                Node::Other
            };
            tree.insert(path, node);
        }
    }
    tree
}
