//! A unit of the running service manager.

use super::{Evidence, Failure, Judged, Subject, Verdict, etc_folder};
use crate::change::{Approval, Lock, Prompt, Store};
use crate::evidence::{Denial, Untrusted, gather};
use crate::finding::{Code, Finding};
use crate::interrupt::Interrupt;
use crate::manager::{Manager, ManagerError, UnitStatus};
use crate::plan::{DropIn, Plan};
use crate::policy::{Action, Because, Policy};
use crate::replay::session::{self, Standing};
use crate::replay::{AuditSocket, Observation, Outcome, Replay, ReplayError, Via};
use crate::root::Root;
use crate::syscalls::Groups;
use crate::unit::{Examined, LoadError, LoadState, Unit, UnitName};
use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// What a run was asked for, as far as a subject needs it.
#[derive(Clone, Debug)]
pub struct SubjectOptions {
    /// How long to watch.
    pub observe: Duration,
    /// How to replay.
    pub via: Via,
    /// A log that the user named; `-` is standard input.
    pub log: Option<PathBuf>,
    /// Whom to ask.
    pub prompt: Prompt,
    /// Ends the waiting.
    pub interrupt: Interrupt,
    /// Where kernel records' process IDs are found.
    pub proc_root: PathBuf,
}

/// A unit of the running service manager.
pub struct ManagedUnit<'a> {
    manager: &'a dyn Manager,
    judged: Judged,
    status: UnitStatus,
    options: SubjectOptions,
    /// Held by root only: nobody else can change anything.
    lock: Option<Lock>,
    /// A unit that had failed was stopped after its replay, and should stand as failed again.
    owed: Cell<bool>,
    /// The programs that were seen in the unit.
    programs: RefCell<BTreeSet<Untrusted>>,
}

impl<'a> ManagedUnit<'a> {
    /// Load a unit as the manager sees it.
    pub fn load(manager: &'a dyn Manager, name: &UnitName, options: SubjectOptions) -> Result<Self, Failure> {
        let status = manager.status(name).map_err(failure)?;
        let name = UnitName::parse(&status.id).unwrap_or_else(|_| name.clone());
        refuse(&name, &status)?;
        let root = nix::unistd::geteuid().is_root();
        let lock = root.then(|| Lock::take(&name)).transpose().map_err(|e| Failure::System(e.to_string()))?;
        let mut leftover = None;
        let mut status = status;
        if lock.is_some() && session::left_behind(&name) {
            let message = session::recover(manager, &name, &status, &options.prompt)
                .map_err(|e| Failure::System(e.to_string()))?;
            leftover = Some(Finding::warning(Code::LeftoverReplay, message, None));
            status = manager.status(&name).map_err(failure)?;
        }
        let Some(fragment) = &status.fragment else {
            return Err(Failure::Hopeless(format!("{name} has no unit file: {}", status.load_state)));
        };
        let version = manager.version().map_err(failure)?;
        let mut unit = load(name, fragment, &status.drop_ins, version).map_err(load_failure)?;
        unit.findings.extend(leftover);
        let groups = groups(version, &mut unit.findings)?;
        let mut judged = Judged::new(unit, groups)?;
        adopt(&mut judged, &status);
        Ok(ManagedUnit {
            manager,
            judged,
            status,
            options,
            lock,
            owed: Cell::new(false),
            programs: RefCell::default(),
        })
    }

    fn replay<'b>(&'b self, policy: &'b Policy, relax_architectures: bool) -> Replay<'b> {
        Replay {
            manager: self.manager,
            unit: &self.judged.unit,
            policy,
            status: &self.status,
            observe: self.options.observe,
            interrupt: &self.options.interrupt,
            proc_root: self.options.proc_root.clone(),
            relax_architectures,
        }
    }

    /// The names of the filter that the manager should show once a plan is in force.
    fn predicted(&self, plan: &Plan) -> BTreeSet<String> {
        let (allow, mut names) = self.status.filter.clone();
        if allow {
            names.extend(plan.needs.calls.iter().cloned());
        } else {
            names.retain(|n| !plan.needs.calls.contains(n.split(':').next().unwrap_or(n)));
        }
        names
    }

    /// What the manager made of the plan, if it is not what was meant.
    fn misread(&self, plan: &Plan, now: &UnitStatus) -> Option<String> {
        let wanted = self.predicted(plan);
        let (_, got) = &now.filter;
        let ignored: Vec<&String> = wanted.symmetric_difference(got).collect();
        let missing: Vec<&str> = plan
            .needs
            .architectures
            .iter()
            .map(|a| a.systemd_name())
            .filter(|a| !now.architectures.contains(*a))
            .collect();
        if ignored.is_empty() && missing.is_empty() {
            return None;
        }
        let names: Vec<&str> = ignored.iter().map(|n| n.as_str()).chain(missing).take(8).collect();
        Some(format!(
            "the manager read the change differently than predicted: it ignored, or changed, {}",
            crate::plan::list(names)
        ))
    }
}

/// Load a unit that the manager has loaded, from the manager's own list of files. Where unitfix finds the same files and
/// can load them, what it noticed on the way (drop-ins that are not read) is kept.
pub(super) fn load(
    name: UnitName,
    fragment: &Path,
    drop_ins: &[PathBuf],
    version: u32,
) -> Result<Unit, LoadError> {
    let root = Root::default();
    let Examined { state, unit: found } = Unit::examine(&root, &name, version);
    let same = found.fragment.path == fragment && found.drop_ins.iter().map(|f| &f.path).eq(drop_ins);
    if same && state == LoadState::Loaded {
        Ok(found)
    } else {
        Unit::load(&root, name, fragment, drop_ins, version)
    }
}

/// Whether the manager loaded it, and if not, why nothing can be done.
fn refuse(name: &UnitName, status: &UnitStatus) -> Result<(), Failure> {
    match status.load_state.as_str() {
        "not-found" => Err(load_failure(LoadError::NotFound { name: name.to_string() })),
        "masked" => {
            let path = status.fragment.clone().unwrap_or_default();
            Err(load_failure(LoadError::Masked { name: name.to_string(), path }))
        }
        "loaded" if status.needs_reload => Err(Failure::Hopeless(format!(
            "the files of {name} were changed since systemd read them, and it still enforces the former ones: \
             run `systemctl daemon-reload` first"
        ))),
        "loaded" => Ok(()),
        other => Err(Failure::Hopeless(format!(
            "systemd cannot load {name} ({other}): `systemctl status {name}` tells why"
        ))),
    }
}

pub(super) fn load_failure(error: LoadError) -> Failure {
    match error {
        LoadError::NotFound { .. } | LoadError::Name(_) => Failure::Usage(error.to_string()),
        LoadError::Read { error: ref io, .. } if io.kind() == std::io::ErrorKind::PermissionDenied => {
            Failure::System(format!("{error}; run it with sudo"))
        }
        other => Failure::Hopeless(other.to_string()),
    }
}

pub(super) fn failure(error: ManagerError) -> Failure {
    match error {
        ManagerError::Interrupted => Failure::Interrupted,
        other => Failure::System(other.to_string()),
    }
}

/// The groups of this system's own systemd; where it does not tell, those of the rules.
pub(super) fn groups(version: u32, findings: &mut Vec<Finding>) -> Result<Groups, Failure> {
    let output = Command::new("systemd-analyze")
        .arg("syscall-filter")
        .env_clear()
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .env("SYSTEMD_COLORS", "0")
        .env("LC_ALL", "C.UTF-8")
        .output();
    let listed = output.ok().filter(|o| o.status.success()).and_then(|o| String::from_utf8(o.stdout).ok());
    if let Some(groups) = listed.and_then(|text| Groups::from_listing(&text, version).ok()) {
        return Ok(groups);
    }
    let groups = Groups::from_rules(version).map_err(|e| Failure::System(e.to_string()))?;
    let message =
        format!("systemd-analyze does not tell the groups: those of {} are taken", groups.origin_words());
    findings.push(Finding::note(Code::PolicyDiffers, message, None));
    Ok(groups)
}

/// The manager is right about what it enforces.
pub(super) fn adopt(judged: &mut Judged, status: &UnitStatus) {
    let findings = &mut judged.unit.findings;
    let (allow, names) = &status.filter;
    let (ours_alone, theirs_alone) = judged.policy.filter.adopt(*allow, names);
    let few = |names: &[String]| match names {
        few if few.len() <= 8 => crate::plan::list(few),
        many => format!("{} and {} more", many.get(..8).unwrap_or_default().join(", "), many.len() - 8),
    };
    for (names, what) in [
        (theirs_alone, "the manager's filter holds names that the unit files do not explain"),
        (ours_alone, "the manager's filter does not hold names that the unit files put there"),
    ] {
        if !names.is_empty() {
            let message = format!("{what}: {}", few(&names));
            findings.push(Finding::warning(Code::PolicyDiffers, message, None));
        }
    }
}

impl Subject for ManagedUnit<'_> {
    fn label(&self) -> String {
        self.judged.unit.name.to_string()
    }

    fn judged(&self) -> &Judged {
        &self.judged
    }

    fn root(&self) -> Root {
        Root::default()
    }

    fn drop_in_folder(&self) -> PathBuf {
        etc_folder(&self.judged.unit.name)
    }

    fn store(&self) -> Store {
        Store::new(&Root::default())
    }

    fn undo_command(&self) -> String {
        format!("unitfix revert {}", self.judged.unit.name)
    }

    fn evidence(&self) -> Result<Evidence, Failure> {
        let evidence = gather::from_system(
            &self.judged.unit,
            &self.judged.policy,
            &self.status,
            self.manager,
            &self.options,
        )?;
        let ours = evidence.denials.iter().filter(|d| d.is_ours());
        self.programs.borrow_mut().extend(ours.filter_map(|d| d.process.exe.clone()));
        Ok(evidence)
    }

    fn replay_consequence(&self) -> Option<String> {
        let name = &self.judged.unit.name;
        let back = match Standing::of(&self.status) {
            Standing::Up => "then restarts it under its own",
            Standing::Failed => {
                "then stops it; unless it is repaired, it is started once more, to stand as failed"
            }
            Standing::Down => "then stops it",
        };
        Some(format!(
            "A replay restarts {name}, runs it for {} s without its system call filter, {back}.",
            self.options.observe.as_secs()
        ))
    }

    fn replay_notice(&self) -> Result<String, String> {
        if self.lock.is_none() {
            return Err(format!("a replay needs root: sudo unitfix {}", self.judged.unit.name));
        }
        let ways = if self.options.via == Via::Strace { "under strace" } else { "in complain mode" };
        Ok(format!("Replaying {} {ways} for {} s", self.judged.unit.name, self.options.observe.as_secs()))
    }

    fn observe(&self, seen: &[Denial], approved: Option<&Approval>) -> Result<Observation, Failure> {
        let Some(approved) = approved else {
            return Err(Failure::System("a replay restarts the unit, which nobody agreed to".to_owned()));
        };
        let foreign = seen
            .iter()
            .any(|d| matches!(self.judged.policy.decide(d.call).because, Because::Architecture(_)));
        let result =
            crate::replay::observe(&self.replay(&self.judged.policy, foreign), self.options.via, approved);
        if result.is_ok() {
            self.owed.set(Standing::of(&self.status) == Standing::Failed);
        }
        if self.options.interrupt.raised() {
            self.leave()?;
            return Err(Failure::Interrupted);
        }
        let mut observation = result.map_err(|error| match error {
            ReplayError::Manager(error) => failure(error),
            other => Failure::System(format!("no replay: {other}")),
        })?;
        let programs = observation.denials.iter().filter_map(|d| d.process.exe.clone());
        self.programs.borrow_mut().extend(programs);
        if !observation.outcome.healthy() {
            observation.log = gather::last_lines(&self.judged.unit.name, 5);
        }
        Ok(observation)
    }

    fn prove(&self, _plan: &Plan, _drop_in: &DropIn) -> Result<Option<Verdict>, Failure> {
        Ok(None) // the manager can only prove it by running it: after it is written
    }

    fn apply_question(&self) -> (String, String) {
        let (name, seconds) = (&self.judged.unit.name, self.options.observe.as_secs());
        (
            format!("A yes writes this, reloads systemd, restarts {name} and watches it for {seconds} s."),
            "Write this, reload and restart?".to_owned(),
        )
    }

    fn put_in_force(&self, plan: &Plan, drop_in: &DropIn) -> Result<Verdict, Failure> {
        let unit = Plan::applied(&self.judged.unit, drop_in, self.judged.groups.systemd);
        let mut policy = Policy::evaluate(&unit, &self.judged.groups);
        let socket = AuditSocket::open(&self.options.proc_root)
            .and_then(|mut socket| socket.check(&self.options.proc_root).map(|()| socket));
        self.manager.reload().map_err(failure)?;
        let now = self.manager.status(&self.judged.unit.name).map_err(failure)?;
        if let Some(words) = self.misread(plan, &now) {
            return Ok(Verdict::Ignored(words));
        }
        policy.filter.adopt(now.filter.0, &now.filter.1);
        let (outcome, _) = session::restart_and_watch(
            self.manager,
            &self.judged.unit.name,
            self.options.observe,
            &self.options.interrupt,
        )
        .map_err(failure)?;
        let seen_by = match socket {
            Ok(socket) => {
                let heard = socket.close();
                let denied = self.replay(&policy, false).denials(&heard, &self.programs.borrow());
                if !denied.is_empty() {
                    return Ok(Verdict::StillDenied(denied));
                }
                match (policy.default, heard.lossy) {
                    (_, true) => "no denied call of it was seen (but records were lost)",
                    (Action::Errno(_), _) => {
                        "is as it should be (calls that fail with an errno leave no record)"
                    }
                    _ => "no call of it was denied",
                }
            }
            Err(_) => "its main process was not killed (a child's death cannot be seen without kernel audit)",
        };
        if self.options.interrupt.raised() {
            return Err(Failure::Interrupted);
        }
        let name = &self.judged.unit.name;
        Ok(match outcome {
            Outcome::Failed { .. } => Verdict::FailsOtherwise(outcome),
            Outcome::Running => {
                Verdict::Works(format!("{name} ran for {} s and {seen_by}", self.options.observe.as_secs()))
            }
            Outcome::Finished => Verdict::Works(format!("{name} finished successfully and {seen_by}")),
        })
    }

    fn put_back(&self) -> Result<(), Failure> {
        session::put_back(self.manager, &self.judged.unit.name, Standing::of(&self.status))
            .map_err(failure)?;
        self.owed.set(Standing::of(&self.status) == Standing::Failed);
        Ok(())
    }

    fn leave(&self) -> Result<(), Failure> {
        if self.owed.take() {
            session::fail_again(self.manager, &self.judged.unit.name).map_err(failure)
        } else {
            Ok(())
        }
    }
}
