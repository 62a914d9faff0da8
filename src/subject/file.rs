//! A bare unit file: replayed here, without a service manager, and its repair proven before it is offered.

use super::managed::{groups, load_failure};
use super::{Evidence, Failure, Judged, Subject, SubjectOptions, Verdict, etc_folder};
use crate::change::{Approval, Store};
use crate::evidence::{Denial, gather};
use crate::plan::{DropIn, Plan};
use crate::policy::{Because, Policy};
use crate::replay::{Observation, local};
use crate::root::Root;
use crate::syscalls::Groups;
use crate::unit::{Unit, drop_in_folder};
use std::path::{Path, PathBuf};

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

    fn local(&self) -> local::Options {
        local::Options::new(self.options.observe, self.options.interrupt.clone())
    }
}

/// The major version of the systemd that is installed, whether it runs or not.
pub(super) fn installed_version() -> Option<u32> {
    let output = std::process::Command::new("systemctl")
        .arg("--version")
        .env_clear()
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .output()
        .ok()?;
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
            Some(_) => etc_folder(&self.judged.unit.name),
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
                    root.join(Path::new("/")).display()
                )
            }
            None => format!("unitfix revert {}", self.label()),
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

    fn replay_notice(&self) -> Result<String, String> {
        Ok(format!("Replaying {} for at most {} s", self.label(), self.options.observe.as_secs()))
    }

    fn observe(&self, _seen: &[Denial], _approved: Option<&Approval>) -> Result<Observation, Failure> {
        let observation = local::record(&self.judged.unit, &self.judged.policy, &self.local());
        self.interrupted()?;
        observation.map_err(|e| local_failure(&e))
    }

    fn prove(&self, plan: &Plan, drop_in: &DropIn) -> Result<Option<Verdict>, Failure> {
        let unit = Plan::applied(&self.judged.unit, drop_in, self.judged.groups.systemd);
        let policy = Policy::evaluate(&unit, &self.judged.groups);
        let observation = local::prove(&unit, &policy, &self.local());
        self.interrupted()?;
        let mut observation = observation.map_err(|e| local_failure(&e))?;
        // what fails softly, as the unit or systemd wants it, is no failure of the repair
        let soft = |d: &Denial| {
            let unknown = matches!(policy.decide(d.call).because, Because::Unknown);
            unknown || d.call.name().is_some_and(|name| plan.needs.soft.contains(name))
        };
        observation.denials.retain(|d| !soft(d));
        Ok(Some(if !observation.denials.is_empty() {
            Verdict::StillDenied(observation.denials)
        } else if observation.outcome.healthy() {
            let what = observation.outcome;
            Verdict::Works(format!(
                "a second run under the repaired filter: {what}, and no call of it was denied"
            ))
        } else {
            Verdict::FailsOtherwise(observation.outcome)
        }))
    }

    fn apply_question(&self) -> (String, String) {
        (String::new(), "Write this?".to_owned())
    }

    fn put_in_force(&self, _plan: &Plan, _drop_in: &DropIn) -> Result<Verdict, Failure> {
        Ok(Verdict::Works("proven by the second run".to_owned())) // before it was written
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
