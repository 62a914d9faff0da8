//! A bare unit file: replayed here, without a service manager, and its repair proven before it is offered.

use super::running::{groups, load_failure};
use super::{Bench, Evidence, Failure, Judged, Subject, SubjectOptions, Verdict};
use crate::change::{Approval, Store};
use crate::cli::as_typed;
use crate::evidence::{Denial, gather};
use crate::plan::{Candidate, DropIn, Proof};
use crate::replay::{Observation, local};
use crate::root::Root;
use crate::scope::Scope;
use crate::syscalls::Groups;
use crate::system_program;
use crate::unit::{Unit, directories, drop_in_folder};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A bare unit file.
pub struct UnitFile {
    path: PathBuf,
    /// Where a repair is written: below this root, or beside the file.
    below: Option<Root>,
    judged: Judged,
    options: SubjectOptions,
}

impl UnitFile {
    /// Load a unit file.
    pub fn load(path: &Path, below: Option<Root>, options: SubjectOptions) -> Result<Self, Failure> {
        if !path.exists() {
            return Err(Failure::Usage(format!("there is no file {}", path.display())));
        }
        let version = installed_version().unwrap_or_else(Groups::newest_version);
        let examined = Unit::at_path(path, version).map_err(load_failure)?;
        let name = examined.unit.name.clone();
        let mut unit = examined.loaded(&name).map_err(load_failure)?;
        let groups = groups(version, &mut unit.findings)?;
        Ok(UnitFile { path: path.to_owned(), below, judged: Judged::new(unit, groups)?, options })
    }
}

impl UnitFile {
    /// What is still to be done where a manager on this system reads the file, for the end of a sentence.
    fn counts_after(&self) -> String {
        let file = &self.judged.unit.fragment.path;
        let folder = file.parent().unwrap_or(Path::new("/"));
        let systemctl = match self.below {
            None if directories(self.judged.groups.systemd).any(|known| known == folder) => "systemctl",
            None if folder.ends_with("systemd/user") => "systemctl --user",
            _ => return String::new(),
        };
        let name = &self.judged.unit.name;
        format!("; what runs takes it after `{systemctl} daemon-reload` and `{systemctl} restart {name}`")
    }
}

/// The major version of the systemd that is installed, whether it runs or not.
pub(super) fn installed_version() -> Option<u32> {
    let systemctl = system_program::find("systemctl")?;
    let output = system_program::command(&systemctl).arg("--version").output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let word = text.split_whitespace().nth(1)?; // "systemd 252 (252.38-1~deb12u1)"
    word.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

impl Subject for UnitFile {
    fn label(&self) -> String {
        self.path.display().to_string()
    }

    fn judged(&self) -> &Judged {
        &self.judged
    }

    fn root(&self) -> Root {
        self.below.clone().unwrap_or_default()
    }

    fn drop_in_folder(&self) -> PathBuf {
        match &self.below {
            Some(_) => Scope::System.drop_in_folder(&self.judged.unit.name),
            None => drop_in_folder(&self.judged.unit.fragment.path),
        }
    }

    fn store(&self) -> Store {
        self.below.as_ref().map_or_else(Store::nowhere, Store::new)
    }

    fn undo_command(&self) -> String {
        match &self.below {
            Some(root) => {
                format!(
                    "unitfix revert {} --root {}",
                    self.judged.unit.name,
                    as_typed(&root.join(Path::new("/")))
                )
            }
            None => format!("unitfix revert {}", as_typed(&self.path)),
        }
    }

    fn evidence(&self) -> Result<Evidence, Failure> {
        let mut evidence = Evidence {
            state: format!("{} is a unit file, replayed here without a service manager.", self.label()),
            ..Evidence::default()
        };
        gather::from_named_log(&mut evidence, &self.judged.unit, &self.judged.policy, &self.options)?;
        Ok(evidence)
    }

    fn replay_consequence(&self) -> Option<String> {
        None
    }

    fn observe_time(&self) -> Duration {
        self.options.observe
    }

    fn replay_notice(&self) -> Result<String, String> {
        Ok(format!("Replaying {} for at most {} s", self.label(), self.options.observe.as_secs()))
    }

    fn observe(&self, _seen: &[Denial], _approved: Option<&Approval>) -> Result<Observation, Failure> {
        let observation = local::record(&self.judged.unit, &self.judged.policy, &self.options.local());
        self.interrupted()?;
        observation.map_err(|e| local_failure(&e))
    }

    fn bench<'b>(&'b self, _approved: Option<&'b Approval>) -> Result<Box<dyn Bench + 'b>, Failure> {
        Ok(Box::new(FileBench(self)))
    }

    fn proves_beforehand(&self) -> bool {
        true
    }

    fn trial_notice(&self, doing: &str) -> String {
        format!("Running {} {doing}", self.label())
    }

    fn apply_question(&self) -> (String, String) {
        (String::new(), "Write this?".to_owned())
    }

    fn put_in_force(&self, candidate: &Candidate, _drop_in: &DropIn) -> Result<Verdict, Failure> {
        Ok(match candidate.proof {
            Proof::Shown(_) => {
                Verdict::Works(format!("proven by a run before it was written{}", self.counts_after()))
            }
            _ => Verdict::NotProvable(format!(
                "It is written, and nothing has run under it{}",
                self.counts_after()
            )),
        })
    }
}

/// Runs under amended settings, here.
struct FileBench<'a>(&'a UnitFile);

impl Bench for FileBench<'_> {
    fn run(&mut self, drop_in: &DropIn, _seen: &[Denial]) -> Result<Observation, Failure> {
        let file = self.0;
        let (unit, policy) = file.judged.with(drop_in);
        let observation = local::prove(&unit, &policy, &file.options.local());
        file.interrupted()?;
        observation.map_err(|e| local_failure(&e))
    }

    fn close(self: Box<Self>) -> Result<(), Failure> {
        Ok(()) // nothing was changed
    }
}

impl UnitFile {
    fn interrupted(&self) -> Result<(), Failure> {
        if self.options.interrupt.raised() { Err(Failure::Interrupted) } else { Ok(()) }
    }
}

fn local_failure(error: &local::LocalError) -> Failure {
    Failure::System(error.to_string())
}
