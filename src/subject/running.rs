//! A unit as a running service manager has it, the system's or a user's: loading it, judging it by the manager's word,
//! and seeing whether a repair that is written helps.

use super::meant::{Register, say_real_name};
use super::{Evidence, Failure, Judged, SubjectOptions, Verdict, leftovers};
use crate::change::{Lock, Store};
use crate::cli::as_root;
use crate::evidence::{Denial, Process, Untrusted, gather};
use crate::finding::{Code, Finding};
use crate::manager::{Confinement, Manager, ManagerError, Standing, UnitStatus};
use crate::plan::{Amendment, Candidate, DropIn, Plan};
use crate::policy::{Action, Because, Policy};
use crate::replay::session::{self, SessionError};
use crate::replay::{AuditSocket, Outcome, Replay, ReplayError};
use crate::root::Root;
use crate::scope::Scope;
use crate::syscalls::Groups;
use crate::system_program;
use crate::unit::{Examined, LoadError, LoadState, Unit, UnitName, shown_path};
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long a unit that runs is given to pass the user's check before anything is done to it.
const CHECK_PATIENCE: Duration = Duration::from_secs(2);

/// A unit of a running service manager.
pub(super) struct RunningUnit<'a> {
    pub(super) manager: &'a dyn Manager,
    pub(super) judged: Judged,
    pub(super) status: UnitStatus,
    pub(super) options: SubjectOptions,
    /// Held by those only who can change anything.
    pub(super) lock: Option<Lock>,
    /// The programs that were seen in the unit.
    pub(super) programs: RefCell<BTreeSet<Untrusted>>,
}

impl<'a> RunningUnit<'a> {
    /// Load a unit as its manager sees it. Who may change something at it locks it, and puts right what was left behind.
    pub(super) fn load(
        manager: &'a dyn Manager,
        scope: &Scope,
        asked: &UnitName,
        options: SubjectOptions,
    ) -> Result<Self, Failure> {
        let mut status = manager.status(asked).map_err(failure)?;
        let name = UnitName::parse(&status.id).unwrap_or_else(|_| asked.clone());
        say_real_name(asked, &name);
        let store = Store::of(scope);
        if !leftovers::are_there(&store, &name) {
            refuse(manager, scope, &name, &status)?; // without a lock file for what is no unit
        }
        let own = *scope != Scope::System || nix::unistd::geteuid().is_root();
        let lock = (own && !options.only_looks).then(|| Lock::take(scope, &name)).transpose();
        let lock = lock.map_err(|error| Failure::System(error.to_string()))?;
        let mut found = Vec::new();
        if lock.is_some() {
            found = leftovers::put_right(manager, &store, &name)?;
            if !found.is_empty() {
                status = manager.status(&name).map_err(failure)?;
            }
        }
        refuse(manager, scope, &name, &status)?;
        let Some(fragment) = &status.fragment else {
            return Err(Failure::Hopeless(format!("{name} has no unit file: {}", status.load_state)));
        };
        let version = manager.version().map_err(failure)?;
        let unreadable = |error: LoadError| match scope {
            Scope::System => load_failure(error),
            Scope::User(_) => Failure::System(error.to_string()), // root's manager has another unit
        };
        let mut unit = load(scope, name, fragment, &status.drop_ins, version).map_err(unreadable)?;
        unit.findings.extend(found);
        let groups = groups(version, &mut unit.findings)?;
        let mut judged = Judged::new(unit, groups)?;
        adopt(&mut judged, &status);
        Ok(RunningUnit { manager, judged, status, options, lock, programs: RefCell::default() })
    }

    /// How it stands from now on counts.
    pub(super) fn look_again(&mut self) -> Result<(), Failure> {
        self.status = self.manager.status(&self.judged.unit.name).map_err(failure)?;
        Ok(())
    }

    /// Whether one of these calls was of an architecture that it does not let in.
    fn makes_foreign_calls(&self, seen: &[Denial]) -> bool {
        seen.iter().any(|d| matches!(self.judged.policy.decide(d.call).because, Because::Architecture(_)))
    }

    /// A replay under a policy, of which these denials are known already.
    pub(super) fn replay<'b>(&'b self, policy: &'b Policy, seen: &[Denial]) -> Replay<'b> {
        let before_exec =
            |d: &Denial| d.is_ours() && Process::before_exec(&d.process.comm.to_string()).is_some();
        Replay {
            manager: self.manager,
            unit: &self.judged.unit,
            policy,
            status: &self.status,
            observe: self.options.observe,
            check: self.options.check.as_ref(),
            interrupt: &self.options.interrupt,
            proc_root: self.options.proc_root.clone(),
            executor_denied: seen.iter().any(before_exec),
            relax_architectures: self.makes_foreign_calls(seen),
            blame: self.options.blame,
        }
    }

    /// What the system's logs say of it, how it stands, and what the user's own check says of it now.
    pub(super) fn evidence(&self) -> Result<Evidence, Failure> {
        let Judged { unit, policy, .. } = &self.judged;
        let mut evidence = gather::from_system(unit, policy, &self.status, self.manager, &self.options)?;
        let ours = evidence.denials.iter().filter(|d| d.is_ours());
        self.programs.borrow_mut().extend(ours.filter_map(|d| d.process.exe.clone()));
        if let Some(check) = self.options.check.as_ref().filter(|_| self.status.is_up()) {
            let result = check.now(CHECK_PATIENCE, &self.options.interrupt);
            evidence.state = format!("{}; {result}.", evidence.state.trim_end_matches('.'));
            evidence.check = Some(result);
        }
        Ok(evidence)
    }

    /// How it stood.
    pub(super) fn standing(&self) -> Standing {
        Standing::of(&self.status)
    }

    /// The repair was taken back: make it stand as it did.
    pub(super) fn put_back(&self) -> Result<(), Failure> {
        session::restore(self.manager, &self.judged.unit.name, self.standing()).map_err(failure)
    }

    /// A repair is written: have the manager read it, restart the unit, and see whether it helps.
    pub(super) fn put_in_force(&self, candidate: &Candidate, drop_in: &DropIn) -> Result<Verdict, Failure> {
        let amendment = &candidate.amendment;
        let (_, mut policy) = self.judged.with(drop_in);
        let socket = AuditSocket::listen(&self.options.proc_root);
        self.manager.reload().map_err(failure)?;
        let now = self.manager.status(&self.judged.unit.name).map_err(failure)?;
        if let Some(words) = self.misread(amendment, drop_in, &now) {
            return Ok(Verdict::Ignored(words));
        }
        policy.filter.adopt(now.filter.0, &now.filter.1);
        let replay = self.replay(&policy, &[]);
        let watched = session::restart_and_watch(self.manager, &self.judged.unit.name, replay.watch());
        let watched = watched.map_err(failure)?;
        let seen_by = match socket {
            Ok(socket) => {
                let heard = socket.close().since(watched.began);
                let denied = replay.denials(&heard, &self.programs.borrow());
                if !denied.is_empty() {
                    return Ok(Verdict::StillDenied(denied));
                }
                let errnos = matches!(policy.default, Action::Errno(_)) || !amendment.settings.is_empty();
                if heard.lossy {
                    "no denied call of it was seen (but records were lost)"
                } else if errnos {
                    "is as it should be (calls that fail with an errno leave no record)"
                } else {
                    "no call of it was denied"
                }
            }
            Err(_) => "its main process was not killed (a child's death cannot be seen without kernel audit)",
        };
        if self.options.interrupt.raised() {
            return Err(Failure::Interrupted);
        }
        let name = &self.judged.unit.name;
        let mut how = match watched.outcome {
            Outcome::Failed { .. } => return Ok(Verdict::FailsOtherwise(watched.outcome)),
            Outcome::Running => {
                format!("{name} ran for {} s and {seen_by}", self.options.observe.as_secs())
            }
            Outcome::Finished => format!("{name} finished successfully and {seen_by}"),
        };
        if !amendment.soften.is_empty() {
            // seen on 248 and later: errnos on an allow list are left out
            let systemctl = self.judged.unit.scope.systemctl();
            let hidden = if self.status.filter.0 {
                format!(", which `{systemctl} show` does not list")
            } else {
                String::new()
            };
            let fail = if amendment.soften.len() == 1 { "fails" } else { "fail" };
            how = format!("{how}; {} {fail} softly{hidden}", crate::plan::list(amendment.soften.keys()));
        }
        match watched.check {
            Some(check) if !check.passed() => return Ok(Verdict::CheckFails(check)),
            Some(check) => how = format!("{how}; {check}"),
            None => {}
        }
        Ok(Verdict::Works(how))
    }

    /// The names of the filter that the manager should show with a drop-in: those that it shows now, changed as the
    /// files say.
    fn predicted(&self, drop_in: &DropIn) -> BTreeSet<String> {
        let (_, before) = Policy::evaluate(&self.judged.unit, &self.judged.groups).filter.shown();
        let (_, after) = self.judged.with(drop_in).1.filter.shown();
        let kept =
            self.status.filter.1.iter().filter(|name| after.contains(*name) || !before.contains(*name));
        kept.cloned().chain(after.difference(&before).cloned()).collect()
    }

    /// What the manager made of a drop-in, if it is not what was meant.
    fn misread(&self, amendment: &Amendment, drop_in: &DropIn, now: &UnitStatus) -> Option<String> {
        // an errno on an allow list is not shown (seen on all): that the file is read is all that can be asked
        if !now.drop_ins.iter().any(|path| is_same(path, &drop_in.path)) {
            return Some(format!("the manager did not read {}", shown_path(&drop_in.path)));
        }
        let wanted = self.predicted(drop_in);
        let (_, got) = &now.filter;
        let ignored: Vec<&String> = wanted.symmetric_difference(got).collect();
        let missing: Vec<&str> = amendment
            .architectures
            .iter()
            .map(|a| a.systemd_name())
            .filter(|a| !now.architectures.contains(*a))
            .collect();
        let version = self.judged.groups.systemd;
        let unit = Plan::applied(&self.judged.unit, drop_in, version);
        let keys = amendment.settings.iter().filter_map(|line| line.split('=').next());
        let settings = keys.filter(|setting| {
            let got = now.confinement.shown(setting, version);
            got.is_some() && got != Confinement::predicted(&unit, setting, version)
        });
        let settings: Vec<&str> = settings.collect();
        if ignored.is_empty() && missing.is_empty() && settings.is_empty() {
            return None;
        }
        let words = ignored.iter().map(|n| n.as_str()).chain(missing).chain(settings);
        let names: Vec<&str> = words.take(8).collect();
        Some(format!(
            "the manager read the change differently than predicted: it ignored, or changed, {}",
            crate::plan::list(names)
        ))
    }
}

/// Whether the manager means this file, which it may reach through a link in a user's home.
fn is_same(path: &Path, file: &Path) -> bool {
    path == file || std::fs::canonicalize(path).is_ok_and(|real| real == file)
}

/// Load a unit that the manager has loaded, from the manager's own list of files. Where unitfix finds the same files and
/// can load them, what it noticed on the way (drop-ins that are not read) is kept.
pub(super) fn load(
    scope: &Scope,
    name: UnitName,
    fragment: &Path,
    drop_ins: &[PathBuf],
    version: u32,
) -> Result<Unit, LoadError> {
    let root = Root::default();
    if *scope != Scope::System {
        let unit = Unit::load(&root, name, fragment, drop_ins, version)?;
        return Ok(Unit { scope: scope.clone(), ..unit });
    }
    let Examined { state, unit: found } = Unit::examine(&root, &name, version);
    let same = found.fragment.path == fragment && found.drop_ins.iter().map(|f| &f.path).eq(drop_ins);
    if same && state == LoadState::Loaded {
        Ok(found)
    } else {
        Unit::load(&root, name, fragment, drop_ins, version)
    }
}

/// Whether the manager loaded it, and if not, why nothing can be done.
fn refuse(manager: &dyn Manager, scope: &Scope, name: &UnitName, status: &UnitStatus) -> Result<(), Failure> {
    let systemctl = scope.systemctl();
    match status.load_state.as_str() {
        "not-found" => Err(Register::Manager(manager, scope).not_found(name.as_str())),
        "masked" => {
            let path = status.fragment.clone().unwrap_or_default();
            Err(load_failure(LoadError::Masked { name: name.to_string(), path, systemctl }))
        }
        "loaded" if status.needs_reload => Err(Failure::Hopeless(format!(
            "the files of {name} were changed since systemd read them, and it still enforces the former ones: \
             run `{systemctl} daemon-reload` first"
        ))),
        "loaded" => Ok(()),
        other => Err(Failure::Hopeless(format!(
            "systemd cannot load {name} ({other}): `{systemctl} status {name}` tells why"
        ))),
    }
}

pub(super) fn load_failure(error: LoadError) -> Failure {
    match error {
        LoadError::NotFound { .. } | LoadError::Name(_) => Failure::Usage(error.to_string()),
        LoadError::Read { error: ref io, .. } if io.kind() == std::io::ErrorKind::PermissionDenied => {
            Failure::System(format!("{error}: {}", as_root()))
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

pub(super) fn session_failure(error: SessionError) -> Failure {
    match error {
        SessionError::Manager(error) => failure(error),
        other @ SessionError::Io { .. } => Failure::System(other.to_string()),
    }
}

pub(super) fn replay_failure(error: ReplayError) -> Failure {
    match error {
        ReplayError::Manager(error) | ReplayError::Session(SessionError::Manager(error)) => failure(error),
        other => Failure::System(format!("no replay: {other}")),
    }
}

/// The groups of this system's own systemd; where it does not tell, those of the rules.
pub(super) fn groups(version: u32, findings: &mut Vec<Finding>) -> Result<Groups, Failure> {
    let analyze = system_program::find("systemd-analyze");
    let output =
        analyze.and_then(|program| system_program::command(&program).arg("syscall-filter").output().ok());
    let listed = output.filter(|o| o.status.success()).and_then(|o| String::from_utf8(o.stdout).ok());
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
