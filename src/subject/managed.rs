//! A unit of the running service manager.

use super::meant::{Register, say_real_name};
use super::{Bench, Evidence, Failure, Judged, Subject, Verdict, etc_folder, leftovers};
use crate::change::{Approval, Lock, Prompt, Store};
use crate::cli::as_root;
use crate::evidence::{Denial, Process, Untrusted, gather};
use crate::finding::{Code, Finding};
use crate::interrupt::Interrupt;
use crate::manager::{Confinement, Manager, ManagerError, Standing, UnitStatus};
use crate::plan::{Amendment, Candidate, DropIn, Plan};
use crate::policy::{Action, Because, Policy};
use crate::replay::session::{self, SessionError};
use crate::replay::{AuditSocket, Check, Observation, Outcome, Replay, ReplayError, Trial, Trials, Via};
use crate::root::Root;
use crate::syscalls::Groups;
use crate::system_program;
use crate::unit::{Examined, LoadError, LoadState, Unit, UnitName, shown_path};
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
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
    /// The user's own idea of "it works".
    pub check: Option<Check>,
    /// Ends the waiting.
    pub interrupt: Interrupt,
    /// Where kernel records' process IDs are found.
    pub proc_root: PathBuf,
    /// Find out who made the calls.
    pub blame: bool,
}

/// How long a unit that runs is given to pass the user's check before anything is done to it.
const CHECK_PATIENCE: Duration = Duration::from_secs(2);

/// A unit of the running service manager.
pub struct ManagedUnit<'a> {
    manager: &'a dyn Manager,
    judged: Judged,
    status: UnitStatus,
    options: SubjectOptions,
    /// Held by root only: nobody else can change anything.
    lock: Option<Lock>,
    /// The programs that were seen in the unit.
    programs: RefCell<BTreeSet<Untrusted>>,
}

impl<'a> ManagedUnit<'a> {
    /// Load a unit as the manager sees it.
    pub fn load(
        manager: &'a dyn Manager,
        asked: &UnitName,
        options: SubjectOptions,
    ) -> Result<Self, Failure> {
        let mut status = manager.status(asked).map_err(failure)?;
        let name = UnitName::parse(&status.id).unwrap_or_else(|_| asked.clone());
        say_real_name(asked, &name);
        if !leftovers::are_there(&name) {
            refuse(manager, &name, &status)?; // without a lock file for what is no unit
        }
        let root = nix::unistd::geteuid().is_root();
        let lock = root.then(|| Lock::take(&name)).transpose().map_err(|e| Failure::System(e.to_string()))?;
        let mut found = Vec::new();
        if lock.is_some() {
            found = leftovers::put_right(manager, &name)?;
            if !found.is_empty() {
                status = manager.status(&name).map_err(failure)?;
            }
        }
        refuse(manager, &name, &status)?;
        let Some(fragment) = &status.fragment else {
            return Err(Failure::Hopeless(format!("{name} has no unit file: {}", status.load_state)));
        };
        let version = manager.version().map_err(failure)?;
        let mut unit = load(name, fragment, &status.drop_ins, version).map_err(load_failure)?;
        unit.findings.extend(found);
        let groups = groups(version, &mut unit.findings)?;
        let mut judged = Judged::new(unit, groups)?;
        adopt(&mut judged, &status);
        Ok(ManagedUnit { manager, judged, status, options, lock, programs: RefCell::default() })
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

    /// What a replay gave, with what this unit has to say to it; it is left as it was found.
    pub(super) fn observed(&self, result: Result<Observation, ReplayError>) -> Result<Observation, Failure> {
        if result.is_err() && !self.options.interrupt.raised() {
            let _ = self.leave(); // the first error is the one to tell
        }
        if self.options.interrupt.raised() {
            self.leave()?;
            return Err(Failure::Interrupted);
        }
        let mut observation = result.map_err(replay_failure)?;
        let programs = observation.denials.iter().filter_map(|d| d.process.exe.clone());
        self.programs.borrow_mut().extend(programs);
        if !observation.outcome.healthy() {
            observation.log = gather::last_lines(&self.judged.unit.name, 5);
        }
        Ok(observation)
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

    /// The names of the filter that the manager should show with a drop-in: those that it shows now, changed as the
    /// files say.
    fn predicted(&self, drop_in: &DropIn) -> BTreeSet<String> {
        let (_, before) = Policy::evaluate(&self.judged.unit, &self.judged.groups).filter.shown();
        let (_, after) = self.amended(drop_in).filter.shown();
        let kept =
            self.status.filter.1.iter().filter(|name| after.contains(*name) || !before.contains(*name));
        kept.cloned().chain(after.difference(&before).cloned()).collect()
    }

    /// What the manager made of a drop-in, if it is not what was meant.
    fn misread(&self, amendment: &Amendment, drop_in: &DropIn, now: &UnitStatus) -> Option<String> {
        // an errno on an allow list is not shown (seen on all): that the file is read is all that can be asked
        if !now.drop_ins.contains(&drop_in.path) {
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
fn refuse(manager: &dyn Manager, name: &UnitName, status: &UnitStatus) -> Result<(), Failure> {
    match status.load_state.as_str() {
        "not-found" => Err(Register::Manager(manager).not_found(name.as_str())),
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

    fn needs_root(&self) -> bool {
        self.lock.is_none()
    }

    fn evidence(&self) -> Result<Evidence, Failure> {
        let mut evidence = gather::from_system(
            &self.judged.unit,
            &self.judged.policy,
            &self.status,
            self.manager,
            &self.options,
        )?;
        let ours = evidence.denials.iter().filter(|d| d.is_ours());
        self.programs.borrow_mut().extend(ours.filter_map(|d| d.process.exe.clone()));
        if let Some(check) = self.options.check.as_ref().filter(|_| self.status.is_up()) {
            let result = check.now(CHECK_PATIENCE, &self.options.interrupt);
            evidence.state = format!("{}; {result}.", evidence.state.trim_end_matches('.'));
            evidence.check = Some(result);
        }
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
        let again = if self.judged.policy.restrictions.is_empty() {
            ""
        } else {
            " If it fails all the same, it is run again, with those of its other settings relaxed that deny it a call."
        };
        Some(format!(
            "A replay restarts {name}, runs it for {} s without its system call filter, {back}.{again}",
            self.options.observe.as_secs()
        ))
    }

    fn observe_time(&self) -> Duration {
        self.options.observe
    }

    fn replay_notice(&self) -> Result<String, String> {
        if self.lock.is_none() {
            return Err(format!("a replay needs root: {}", as_root()));
        }
        let strace = crate::replay::takes_strace(&self.judged.unit, self.options.via, self.options.blame);
        let ways = if strace { "under strace" } else { "in complain mode" };
        Ok(format!("Replaying {} {ways} for {} s", self.judged.unit.name, self.options.observe.as_secs()))
    }

    fn observe(&self, seen: &[Denial], approved: Option<&Approval>) -> Result<Observation, Failure> {
        let Some(approved) = approved else {
            return Err(Failure::System("a replay restarts the unit, which nobody agreed to".to_owned()));
        };
        let replay = self.replay(&self.judged.policy, seen);
        self.observed(crate::replay::observe(&replay, self.options.via, approved))
    }

    fn bench<'b>(&'b self, approved: Option<&'b Approval>) -> Result<Box<dyn Bench + 'b>, Failure> {
        let Some(approved) = approved else {
            return Err(Failure::System("a trial restarts the unit, which nobody agreed to".to_owned()));
        };
        Ok(Box::new(ManagedBench {
            unit: self,
            trials: Trials::new(self.manager, &self.judged.unit.name, approved),
        }))
    }

    fn trial_notice(&self, doing: &str) -> String {
        format!("Restarting {} {doing} for {} s", self.judged.unit.name, self.options.observe.as_secs())
    }

    fn apply_question(&self) -> (String, String) {
        let (name, seconds) = (&self.judged.unit.name, self.options.observe.as_secs());
        (
            format!("A yes writes this, reloads systemd, restarts {name} and watches it for {seconds} s."),
            "Write this, reload and restart?".to_owned(),
        )
    }

    fn put_in_force(&self, candidate: &Candidate, drop_in: &DropIn) -> Result<Verdict, Failure> {
        let amendment = &candidate.amendment;
        let mut policy = self.amended(drop_in);
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
            let hidden = if self.status.filter.0 { ", which `systemctl show` does not list" } else { "" };
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

    fn standing(&self) -> Option<Standing> {
        Some(Standing::of(&self.status))
    }

    fn put_back(&self) -> Result<(), Failure> {
        let (name, standing) = (&self.judged.unit.name, Standing::of(&self.status));
        session::restore(self.manager, name, standing).map_err(failure)?;
        if standing == Standing::Failed {
            session::settled(name).map_err(session_failure)?;
        }
        Ok(())
    }

    fn leave(&self) -> Result<(), Failure> {
        if self.lock.is_none() {
            return Ok(());
        }
        session::leave(self.manager, &self.judged.unit.name).map_err(session_failure)
    }

    fn settled(&self) -> Result<(), Failure> {
        session::settled(&self.judged.unit.name).map_err(session_failure)
    }
}

/// Runs of a unit of the manager under amended settings.
struct ManagedBench<'a> {
    unit: &'a ManagedUnit<'a>,
    trials: Trials<'a>,
}

impl Bench for ManagedBench<'_> {
    fn run(&mut self, drop_in: &DropIn, seen: &[Denial]) -> Result<Observation, Failure> {
        let unit = self.unit;
        let policy = unit.amended(drop_in);
        let replay = unit.replay(&policy, &[]);
        let programs = unit.programs.borrow();
        let trial = Trial { text: &drop_in.text, seen, programs: &programs };
        let observation = self.trials.run(&replay, &trial);
        if unit.options.interrupt.raised() {
            return Err(Failure::Interrupted); // dropping the trials puts everything back
        }
        observation.map_err(replay_failure)
    }

    fn close(self: Box<Self>) -> Result<(), Failure> {
        self.trials.close().map_err(replay_failure)
    }
}
