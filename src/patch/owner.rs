//! Whose a file of a unit is: what the unit's author can change, and what only the administrator of this system can.

use crate::unit::{Unit, drop_in_folder};
use std::path::Path;

/// Whose a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Owner {
    /// The unit's author's: the unit file, what is beside it, and what packages install for this unit.
    Author,
    /// A drop-in that packages install for several units at once.
    Shared,
    /// The administrator's.
    Administrator,
}

/// Where packages install units (systemd.unit(5), "Unit File Load Path").
const PACKAGES: [&str; 3] =
    ["/usr/lib/systemd/system", "/lib/systemd/system", "/usr/local/lib/systemd/system"];

impl Owner {
    /// Whose one of a unit's files is.
    pub(super) fn of(path: &Path, unit: &Unit) -> Self {
        let fragment = &unit.fragment.path;
        let folder = path.parent();
        if path == fragment || folder == Some(drop_in_folder(fragment).as_path()) {
            return Owner::Author;
        }
        if !PACKAGES.iter().any(|place| path.starts_with(place)) {
            return Owner::Administrator;
        }
        let name = folder.and_then(Path::file_name).and_then(|name| name.to_str()).unwrap_or_default();
        if is_shared(name) { Owner::Shared } else { Owner::Author }
    }
}

/// Whether a drop-in directory is that of a whole type (`service.d`) or of a prefix (`foo-.service.d`).
fn is_shared(folder: &str) -> bool {
    let Some(name) = folder.strip_suffix(".service.d") else { return true };
    name.split('@').next().is_some_and(|prefix| prefix.ends_with('-'))
}

/// Whether a generator, or a program at run time, made the unit file: it is made anew, or gone, after a reboot.
pub(super) fn is_generated(fragment: &Path) -> bool {
    fragment.starts_with("/run/systemd")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::unit::SourceFile;

    #[test]
    fn by_the_folder() {
        let mut unit = crate::policy::tests::unit("");
        let owner = |path: &str, unit: &Unit| Owner::of(Path::new(path), unit);
        unit.fragment = SourceFile::new("/usr/lib/systemd/system/a@.service", "");
        for (path, expected) in [
            ("/usr/lib/systemd/system/a@.service", Owner::Author),
            ("/usr/lib/systemd/system/a@.service.d/1.conf", Owner::Author),
            ("/lib/systemd/system/a@x.service.d/1.conf", Owner::Author),
            ("/usr/lib/systemd/system/service.d/1.conf", Owner::Shared),
            ("/usr/lib/systemd/system/a-.service.d/1.conf", Owner::Shared),
            ("/usr/lib/systemd/system/a-@x.service.d/1.conf", Owner::Shared),
            ("/etc/systemd/system/a@.service.d/1.conf", Owner::Administrator),
            ("/run/systemd/system/a@x.service.d/1.conf", Owner::Administrator),
            ("/etc/systemd/system.control/a@x.service.d/1.conf", Owner::Administrator),
        ] {
            assert_eq!(owner(path, &unit), expected, "{path}");
        }
        unit.fragment = SourceFile::new("/home/me/a.service", "");
        assert_eq!(owner("/home/me/a.service.d/1.conf", &unit), Owner::Author);
        assert!(is_generated(Path::new("/run/systemd/generator/a.service")));
    }
}
