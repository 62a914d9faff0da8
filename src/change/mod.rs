//! Changing the configuration: the diff that is shown is the diff that is applied, byte for byte, and nothing is
//! written without an [`Approval`].

mod approval;
mod choose;
mod leftover;
mod lock;
mod receipt;
mod write;

pub(crate) use approval::KEYS;
pub use approval::{Answer, Approval, Prompt, Reply, Yes};
pub use leftover::{Pending, all_half_written, half_written_of, sweep};
pub use lock::{Lock, LockError};
pub use receipt::{Receipt, Store};
pub use write::{WriteError, apply, revert, undo};
pub(crate) use write::{own_folder, plain, replace};

use crate::unit::shown_path;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// What becomes of one file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct FileChange {
    /// Its path, as seen from inside the root.
    pub path: PathBuf,
    /// What it holds now; nothing: it is not there.
    pub before: Option<String>,
    /// What it will hold; nothing: it will not be there.
    pub after: Option<String>,
    /// Its folder is there only because of it, and goes with it.
    pub own_folder: bool,
}

/// Every file that changes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Diff {
    /// The files, in the order in which they are written.
    pub files: Vec<FileChange>,
}

impl FileChange {
    fn reversed(&self) -> Self {
        FileChange { before: self.after.clone(), after: self.before.clone(), ..self.clone() }
    }
}

impl Diff {
    /// Whether there is nothing to do.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.files.iter().all(|f| f.before == f.after)
    }

    /// The same change backwards.
    #[must_use]
    pub fn reversed(&self) -> Self {
        Diff { files: self.files.iter().rev().map(FileChange::reversed).collect() }
    }

    /// As a unified diff, which `patch -p0` understands.
    #[must_use]
    pub fn unified(&self) -> String {
        let mut out = String::new();
        for file in self.files.iter().filter(|f| f.before != f.after) {
            let side = |text: &Option<String>| match text {
                Some(_) => file.path.as_path(),
                None => Path::new("/dev/null"),
            };
            let (old, new) = (file.before.as_deref().unwrap_or(""), file.after.as_deref().unwrap_or(""));
            let text = similar::TextDiff::from_lines(old, new);
            let (from, to) = (shown_path(side(&file.before)), shown_path(side(&file.after)));
            out.push_str(&text.unified_diff().context_radius(3).header(&from, &to).to_string());
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_file_and_back() {
        let after = Some("[Service]\nA=1\n".into());
        let file = FileChange { path: "/etc/x.conf".into(), before: None, after, own_folder: false };
        let diff = Diff { files: vec![file] };
        assert_eq!(diff.unified(), "--- /dev/null\n+++ /etc/x.conf\n@@ -0,0 +1,2 @@\n+[Service]\n+A=1\n");
        assert_eq!(
            diff.reversed().unified(),
            "--- /etc/x.conf\n+++ /dev/null\n@@ -1,2 +0,0 @@\n-[Service]\n-A=1\n"
        );
        assert_eq!(diff.reversed().reversed(), diff);
        assert!(Diff::default().is_empty());
    }
}
