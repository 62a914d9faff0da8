//! The `notify` engine: complain mode by seccomp user notifications (seccomp_unotify(2)), in the unit itself. The filter
//! of the manager is reset, and each command goes through a gate that installs the same policy as a filter whose denied
//! calls wait for the supervisor, which records them and lets them continue. Allowed calls run at full speed, nothing
//! is lost, no record is written anywhere, and every call has its process.
//!
//! Installing a filter takes no_new_privs or CAP_SYS_ADMIN. So this is for units that have either anyway: setting one of
//! them would change more than what forbidden calls do.

mod gate;
mod supervisor;

pub use gate::{ARGUMENT, gate_main};

use super::local::denials::identity;
use super::session::{Session, Watch, Watched};
use super::traced::{Folder, has_mount_namespace, runs_as_another};
use super::{Engine, Observation, Replay, ReplayError};
use crate::change::Approval;
use crate::evidence::one_line;
use crate::policy::{Filter, NoNewPrivileges, Policy};
use crate::seccomp::bpf::{self, OnDenied};
use crate::seccomp::kernel::GREETING;
use crate::unit::Unit;
use crate::unit::exec::{Command, Stage, first_word};
use std::fmt::Write as _;
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};
use supervisor::Supervisor;

/// CAP_SYS_ADMIN of linux/capability.h.
const CAP_SYS_ADMIN: u64 = 1 << 21;

/// How long a filter that is tried outside of the unit may take.
const TRIED_WITHIN: Duration = Duration::from_secs(10);

/// Run the unit with its forbidden calls let through, and record them.
pub(super) fn observe(replay: &Replay, approved: &Approval) -> Result<Observation, ReplayError> {
    possible(replay).map_err(ReplayError::NoNotify)?;
    let own = Own::find().map_err(ReplayError::NoNotify)?;
    let bound = binds(replay.unit, &own).map_err(ReplayError::NoNotify)?;
    let folder = Folder::make(replay.unit, 0o755).map_err(|error| no_folder(&error))?;
    let files = Files::of(&folder.0);

    let text = drop_in(replay.unit, replay.policy, &own.path, &files, bound);
    let session = Session::begin(replay.manager, &replay.unit.name, replay.status, &text, approved)?;
    files.write(replay.policy).map_err(|error| no_folder(&error))?; // from here on, its note tells of them
    let supervisor =
        Supervisor::start(replay.policy.clone(), replay.control_groups(), &files.filter, &own, replay.blame)
            .map_err(|errno| ReplayError::NoNotify(format!("inotify: {}", errno.desc())))?;
    try_outside(&supervisor, &own, &files.filter).map_err(ReplayError::NoNotify)?;
    supervisor.begin_anew(&own);
    let watched = watch(session, replay, &supervisor, &files)?;
    let seen = supervisor.end();
    if let Some(why) = seen.failed {
        return Err(ReplayError::NoNotify(why));
    }
    if seen.begun == 0 && !watched.outcome.healthy() {
        let why =
            "unitfix's own program does not get to install its filter inside the unit (its journal says why)";
        return Err(ReplayError::NoNotify(why.to_owned()));
    }
    let mut observation = Observation::of(Engine::Notify, watched);
    observation.denials = seen.denials.all;
    observation.lossy = seen.denials.lossy;
    Ok(observation)
}

/// Run the unit. However that ends, the supervisor listens until all of its processes are gone.
fn watch(
    session: Session,
    replay: &Replay,
    supervisor: &Supervisor,
    files: &Files,
) -> Result<Watched, ReplayError> {
    let enough = || supervisor.failure().is_some();
    let watched = session.run(Watch { enough: &enough, ..replay.watch() })?;
    files.remove(); // while the note still tells of them
    session.end()?;
    Ok(watched)
}

fn no_folder(error: &io::Error) -> ReplayError {
    ReplayError::NoNotify(format!("a folder for the filter: {error}"))
}

/// Whether the unit's commands can install a filter themselves without any other change to it, or why not.
fn possible(replay: &Replay) -> Result<(), String> {
    let unit = replay.unit;
    let set = |keys: &[&'static str]| {
        keys.iter().copied().find(|key| unit.text(key).is_some_and(|text| !text.is_empty()))
    };
    if let Some(setting) = set(&["RootDirectory", "RootImage", "NoExecPaths"]) {
        return Err(format!("{setting}= keeps unitfix from being executed inside the unit"));
    }
    if let Some(setting) = set(&["AppArmorProfile", "SELinuxContext", "SmackProcessLabel"]) {
        return Err(format!("{setting}= would be for unitfix instead of the unit's program"));
    }
    if Path::new("/sys/fs/selinux/enforce").exists() {
        return Err("with SELinux, the unit's program would get another domain".to_owned());
    }
    let commands = || Stage::ALL.into_iter().flat_map(|stage| unit.commands(stage));
    if commands().any(|command| command.prefixes.shell) {
        return Err("a command with the prefix | cannot be wrapped".to_owned());
    }
    if set(&["ExecSearchPath"]).is_some() && commands().any(|command| !command.program().contains('/')) {
        return Err("ExecSearchPath= is only known to the manager".to_owned());
    }
    let elevated = commands().any(|command| command.prefixes.elevated);
    match &replay.policy.no_new_privileges {
        Some(NoNewPrivileges::Implied { .. }) if elevated => {
            Err("a command with the prefix ! has other privileges than the others".to_owned())
        }
        Some(_) => Ok(()),
        None if runs_as_another(unit) => {
            Err("it runs without CAP_SYS_ADMIN, and NoNewPrivileges= is not set: its processes may install no filter".to_owned())
        }
        None if set(&["SecureBits"]).is_some() => {
            Err("SecureBits= may take CAP_SYS_ADMIN away, and NoNewPrivileges= is not set".to_owned())
        }
        None if replay.status.bounding_set.is_some_and(|set| set & CAP_SYS_ADMIN != 0) => Ok(()),
        None => {
            Err("CapabilityBoundingSet= lacks CAP_SYS_ADMIN, and NoNewPrivileges= is not set: its processes may install no \
                 filter"
                .to_owned())
        }
    }
}

/// unitfix's own program.
struct Own {
    path: PathBuf,
    /// Its device and inode, by which it is known wherever it is seen.
    identity: (u64, u64),
}

impl Own {
    fn find() -> Result<Self, String> {
        const SELF: &str = "/proc/self/exe";
        let gone = || "the file of unitfix's own program is not there any more".to_owned();
        let path = std::fs::read_link(SELF).map_err(|_| gone())?;
        let here = identity(Path::new(SELF)).ok_or_else(gone)?;
        if identity(&path) != Some(here) {
            return Err(gone());
        }
        let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+".contains(c);
        if !path.to_str().is_some_and(|text| text.chars().all(plain)) {
            return Err(format!(
                "{} is no path that can be written in a unit as it is",
                crate::unit::shown_path(&path)
            ));
        }
        Ok(Own { path, identity: here })
    }
}

/// Whether the program has to be brought into the unit: where that has file systems of its own, or a user who cannot
/// reach it. An error: that user could not execute it.
fn binds(unit: &Unit, own: &Own) -> Result<bool, String> {
    let others_may = |path: &Path, mode: u32| {
        std::fs::metadata(path).is_ok_and(|meta| meta.permissions().mode() & mode == mode)
    };
    let another = runs_as_another(unit);
    if another && !others_may(&own.path, 0o005) {
        return Err(format!("others than root may not execute {}", crate::unit::shown_path(&own.path)));
    }
    let reached = || own.path.ancestors().skip(1).all(|folder| others_may(folder, 0o001));
    Ok(has_mount_namespace(unit) || (another && !reached()))
}

/// What the gates need.
struct Files {
    folder: PathBuf,
    /// The filter's program.
    filter: PathBuf,
    /// Where unitfix's program is brought, if it is.
    program: PathBuf,
}

impl Files {
    fn of(folder: &Path) -> Self {
        Files { folder: folder.to_owned(), filter: folder.join("filter"), program: folder.join("unitfix") }
    }

    fn remove(&self) {
        for file in [&self.filter, &self.program] {
            let _ = std::fs::remove_file(file); // the folder goes as well
        }
    }

    fn write(&self, policy: &Policy) -> io::Result<()> {
        std::fs::write(&self.filter, bpf::to_bytes(&filter(policy)))?;
        std::fs::write(&self.program, "")?;
        for file in [&self.filter, &self.program] {
            std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o644))?; // whatever the umask is
        }
        Ok(())
    }
}

/// The filter that takes the place of the manager's. What other settings forbid stays with the manager's own filters,
/// whose errno counts for more than a notification.
fn filter(policy: &Policy) -> Vec<libc::sock_filter> {
    let mut own = policy.clone();
    own.restrictions.clear();
    own.log = Filter::None;
    bpf::with_notified(GREETING, bpf::compile(&own, OnDenied::Notify))
}

/// Have a child of this process go through a gate: if that fails, it would fail in the unit as well.
fn try_outside(supervisor: &Supervisor, own: &Own, filter: &Path) -> Result<(), String> {
    let mut command = crate::system_program::command(&own.path);
    command.args([gate::ARGUMENT.as_ref(), filter.as_os_str(), gate::COMMAND.as_ref(), own.path.as_os_str()]);
    command.arg("--version").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|error| format!("starting unitfix again: {error}"))?;
    let ended = wait(&mut child, supervisor).map_err(|error| format!("waiting for unitfix: {error}"))?;
    if let Some(why) = supervisor.failure() {
        return Err(why);
    }
    let mut words = String::new();
    if let Some(said) = child.stderr.take() {
        let _unread = said.take(1024).read_to_string(&mut words); // then it says less
    }
    let words = words.trim();
    match ended {
        Some(true) => Ok(()),
        Some(false) if words.is_empty() => Err("a filter with a listener does not work here".to_owned()),
        Some(false) => Err(one_line(words.strip_prefix("unitfix: ").unwrap_or(words))),
        None => Err("nothing is heard of a filter that was tried".to_owned()),
    }
}

/// Whether the child succeeded; nothing: it did not end in time, or the supervisor cannot go on.
fn wait(child: &mut Child, supervisor: &Supervisor) -> io::Result<Option<bool>> {
    let begun = Instant::now();
    while begun.elapsed() < TRIED_WITHIN && supervisor.failure().is_none() {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status.success()));
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    child.kill()?;
    child.wait().map(|_| None)
}

/// The drop-in: no filter of the manager's, and a gate before every command that one applies to.
fn drop_in(unit: &Unit, policy: &Policy, own: &Path, files: &Files, bound: bool) -> String {
    let mut text = String::from(
        "# Written by unitfix for a replay; it is taken away when the replay ends.\n\
         [Service]\nSystemCallFilter=\nSystemCallArchitectures=\n",
    );
    if policy.no_new_privileges.is_some() {
        text.push_str("NoNewPrivileges=yes\n"); // the filter that went may have implied it
    }
    let program = if bound { &files.program } else { own };
    if has_mount_namespace(unit) {
        let _ = writeln!(text, "BindReadOnlyPaths={}", files.folder.display());
    }
    if bound {
        let _ = writeln!(text, "BindReadOnlyPaths={}:{}", own.display(), files.program.display());
    }
    let ignores = unit.boolean("IgnoreSIGPIPE").is_none_or(|(on, _)| on);
    let sigpipe = if ignores { format!(" {}", gate::IGNORE_SIGPIPE) } else { String::new() };
    let gate = format!("{} {} {}{sigpipe}", program.display(), gate::ARGUMENT, files.filter.display());
    for stage in Stage::ALL {
        let commands = unit.commands(stage);
        if commands.is_empty() {
            continue;
        }
        let _ = writeln!(text, "{}=", stage.key());
        for command in commands {
            let _ = writeln!(text, "{}={}", stage.key(), through(&command, &gate));
        }
    }
    text
}

/// A command as it goes through its gate; one that no filter applies to stays as it is.
fn through(command: &Command, gate: &str) -> String {
    let Command { prefixes, prefix_text, text, .. } = command;
    if prefixes.privileged {
        return format!("{prefix_text}{text}");
    }
    let length = first_word(text).map_or(text.len(), |(_, length)| length);
    // the manager puts no variables into the path of a program, but does into its arguments
    let program = &text[..length];
    let program = if prefixes.no_variables { program.to_owned() } else { program.replace('$', "$$") };
    let argv0 = if prefixes.argv0 { format!(" {}", gate::ARGV0) } else { String::new() };
    format!("{}{gate}{argv0} {} {program}{}", prefix_text.replace('@', ""), gate::COMMAND, &text[length..])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::tests::unit;
    use crate::syscalls::Groups;

    fn dropped_in(lines: &str, bound: bool) -> String {
        let unit = unit(lines);
        let policy = Policy::evaluate(&unit, &Groups::from_rules(252).unwrap());
        let files = Files::of(Path::new("/run/f"));
        let text = drop_in(&unit, &policy, Path::new("/usr/bin/unitfix"), &files, bound);
        let (comment, rest) = text.split_once('\n').unwrap();
        assert!(comment.starts_with("# Written by unitfix for a replay"), "{comment}");
        rest.to_owned()
    }

    #[test]
    fn every_command_goes_through_a_gate() {
        let text = dropped_in(
            "ExecStartPre=-+/bin/a\nExecStart=-@/bin/b$c zero 'd  e' \\; ; :/bin/x$y ${z}\nExecReload=!!f g\n\
             IgnoreSIGPIPE=no\nSystemCallFilter=~@mount",
            false,
        );
        assert_eq!(
            text,
            "[Service]\nSystemCallFilter=\nSystemCallArchitectures=\n\
             ExecStartPre=\nExecStartPre=-+/bin/a\n\
             ExecStart=\n\
             ExecStart=-/usr/bin/unitfix __gate /run/f/filter argv0 -- /bin/b$$c zero 'd  e' \\;\n\
             ExecStart=:/usr/bin/unitfix __gate /run/f/filter -- /bin/x$y ${z}\n\
             ExecReload=\nExecReload=!!/usr/bin/unitfix __gate /run/f/filter -- f g\n"
        );
    }

    #[test]
    fn where_the_unit_has_file_systems_of_its_own() {
        let text =
            dropped_in("ExecStart=/bin/a\nUser=nobody\nPrivateTmp=yes\nSystemCallFilter=~@mount", true);
        assert_eq!(
            text,
            "[Service]\nSystemCallFilter=\nSystemCallArchitectures=\nNoNewPrivileges=yes\n\
             BindReadOnlyPaths=/run/f\nBindReadOnlyPaths=/usr/bin/unitfix:/run/f/unitfix\n\
             ExecStart=\nExecStart=/run/f/unitfix __gate /run/f/filter sigpipe -- /bin/a\n"
        );
    }
}
