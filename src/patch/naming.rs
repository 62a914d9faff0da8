//! How a patch calls a file: so that it can be applied where the file lives.

use crate::unit::SourceFile;
use std::path::{Path, PathBuf};

/// How files are called.
#[derive(Clone, Debug)]
pub(crate) struct Naming {
    /// The folder from which they are called. Nothing: `/`.
    from: Option<PathBuf>,
}

impl Naming {
    /// Of files of a system: their paths without the leading slash.
    pub(crate) fn of_system() -> Self {
        Naming { from: None }
    }

    /// Of a unit file that was named by its path: from the current folder, for `git apply` and `patch -p1` there; for
    /// `git am`, which works from the top of the working tree, from there.
    pub(crate) fn of_path(file: &SourceFile, for_git_am: bool) -> Self {
        let real = real(&file.path);
        let mut above = real.ancestors().skip(1);
        let top = above.find(|folder| for_git_am && folder.join(".git").exists()).map(Path::to_owned);
        let current = || std::env::current_dir().ok();
        Naming { from: top.or_else(current).map(|folder| self::real(&folder)) }
    }

    /// The name of a file.
    pub(crate) fn name(&self, path: &Path) -> PathBuf {
        if self.from.is_none() {
            return without_slash(path);
        }
        self.below(path).unwrap_or_else(|| without_slash(&real(path)))
    }

    /// Its name, if it lies below the folder from which files are called.
    pub(crate) fn below(&self, path: &Path) -> Option<PathBuf> {
        let real = real(path); // a patch does not follow links
        real.strip_prefix(self.from.as_ref()?).ok().map(Path::to_owned)
    }
}

fn real(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.to_owned())
}

fn without_slash(path: &Path) -> PathBuf {
    path.strip_prefix("/").unwrap_or(path).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn from_the_top_of_a_working_tree() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("contrib");
        std::fs::create_dir_all(dir.path().join(".git")).unwrap();
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("a.service"), "").unwrap();
        let file = SourceFile::new(folder.join("a.service"), "");
        let name = |for_git_am| Naming::of_path(&file, for_git_am).name(&file.path);
        assert_eq!(name(true), Path::new("contrib/a.service"));
        // the current folder is another one
        assert_eq!(name(false), without_slash(&real(&file.path)));
        assert_eq!(Naming::of_system().name(Path::new("/lib/a.service")), Path::new("lib/a.service"));
    }
}
