//! A unit below a root folder (`--root DIR`): judged from logs alone, for nothing of it runs here.

use super::meant::{Register, say_real_name};
use super::{Bench, Evidence, Failure, Judged, Subject, SubjectOptions, Verdict, leftovers};
use crate::change::{Approval, Lock, Store};
use crate::cli::as_typed;
use crate::evidence::{Denial, gather};
use crate::plan::{Candidate, DropIn};
use crate::replay::Observation;
use crate::root::Root;
use crate::scope::Scope;
use crate::syscalls::Groups;
use crate::unit::Unit;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A unit below a root folder.
pub struct RootedUnit {
    root: Root,
    judged: Judged,
    options: SubjectOptions,
    /// Nobody else changes anything below the root as long as this lives.
    _lock: Lock,
}

impl RootedUnit {
    /// Find and load a unit below a root folder.
    pub fn load(root: Root, asked: &str, options: SubjectOptions) -> Result<Self, Failure> {
        let version = version_below(&root).unwrap_or_else(Groups::newest_version);
        let register = Register::Files(&root, version);
        let name = register.service(asked)?;
        let lock = Lock::below(&root, &name).map_err(|e| Failure::System(e.to_string()))?;
        let leftovers = leftovers::put_right_below(&Store::new(&root), &name)?;
        let mut unit = Unit::find(&root, &name, version).map_err(|error| register.failure(error))?;
        say_real_name(&name, &unit.name);
        unit.findings.extend(leftovers);
        let groups = Groups::from_rules(version).map_err(|e| Failure::System(e.to_string()))?;
        Ok(RootedUnit { root, judged: Judged::new(unit, groups)?, options, _lock: lock })
    }

    fn folder(&self) -> PathBuf {
        self.root.join(Path::new("/"))
    }
}

/// The major version of the systemd below a root: its private library carries it in its name.
pub(super) fn version_below(root: &Root) -> Option<u32> {
    let folders =
        ["/usr/lib/systemd", "/lib/systemd", "/usr/lib64/systemd", "/usr/lib/x86_64-linux-gnu/systemd"];
    // looked for only where these have none
    let multiarch = std::iter::once_with(|| root.list(Path::new("/usr/lib")).unwrap_or_default()).flatten();
    let multiarch = multiarch.map(|name| Path::new("/usr/lib").join(name).join("systemd"));
    folders.into_iter().map(PathBuf::from).chain(multiarch).find_map(|folder| {
        let names = root.list(&folder).ok()?;
        names.iter().find_map(|name| {
            let rest = name.to_str()?.strip_prefix("libsystemd-shared-")?;
            rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
        })
    })
}

impl Subject for RootedUnit {
    fn label(&self) -> String {
        self.judged.unit.name.to_string()
    }

    fn judged(&self) -> &Judged {
        &self.judged
    }

    fn root(&self) -> Root {
        self.root.clone()
    }

    fn drop_in_folder(&self) -> PathBuf {
        Scope::System.drop_in_folder(&self.judged.unit.name)
    }

    fn store(&self) -> Store {
        Store::new(&self.root)
    }

    fn undo_command(&self) -> String {
        format!("unitfix revert {} --root {}", self.judged.unit.name, as_typed(&self.folder()))
    }

    fn evidence(&self) -> Result<Evidence, Failure> {
        gather::from_root(&self.root, &self.judged.unit, &self.judged.policy, &self.options)
    }

    fn replay_consequence(&self) -> Option<String> {
        None
    }

    fn observe_time(&self) -> Duration {
        self.options.observe
    }

    fn replay_notice(&self) -> Result<String, String> {
        Err(format!("nothing below {} runs here", self.folder().display()))
    }

    fn observe(&self, _seen: &[Denial], _approved: Option<&Approval>) -> Result<Observation, Failure> {
        Err(Failure::System(self.replay_notice().err().unwrap_or_default()))
    }

    fn bench<'b>(&'b self, _approved: Option<&'b Approval>) -> Result<Box<dyn Bench + 'b>, Failure> {
        Err(Failure::System(self.replay_notice().err().unwrap_or_default()))
    }

    fn trial_notice(&self, doing: &str) -> String {
        format!("Running {} {doing}", self.label())
    }

    fn apply_question(&self) -> (String, String) {
        (String::new(), format!("Write this below {}?", self.folder().display()))
    }

    fn put_in_force(&self, _candidate: &Candidate, drop_in: &DropIn) -> Result<Verdict, Failure> {
        let path = self.root.join(&drop_in.path);
        Ok(Verdict::NotProvable(format!(
            "{} is written. Whether it helps shows where the unit runs",
            path.display()
        )))
    }
}
