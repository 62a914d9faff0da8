//! The `strace` engine: the commands of the unit run under strace, with the filter reset. Gives arguments, and
//! works where there is no kernel audit.

use super::session::Session;
use super::{Engine, Observation, Replay, ReplayError, Users};
use crate::change::Approval;
use crate::evidence::strace;
use crate::policy::{Filter, Policy};
use crate::unit::exec::{Command, Stage};
use crate::unit::{Unit, UnitName};
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::{self, BufReader};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Where strace is looked for.
const PLACES: [&str; 3] = ["/usr/bin/strace", "/bin/strace", "/usr/local/bin/strace"];

/// Calls that tell which program a process runs and who its parent is.
const LINEAGE: [&str; 6] = ["clone", "clone3", "execve", "execveat", "fork", "vfork"];

/// Run the unit under strace.
pub(super) fn observe(replay: &Replay, approved: &Approval) -> Result<Observation, ReplayError> {
    let strace = possible(replay.unit)?;
    let folder = Folder::make(&replay.unit.name)?;
    let (text, programs) = drop_in(replay.unit, replay.policy, strace, &folder.0);
    let session = Session::begin(replay.manager, &replay.unit.name, replay.status, &text, approved)?;
    let (outcome, watched) = session.run(replay.observe, replay.interrupt)?;
    let owners = Users::of(replay.unit);
    session.end()?; // ends the tracers too, so that their files are whole
    let mut denials = Vec::new();
    let mut notes = Vec::new();
    let mut lossy = false;
    for (number, program) in programs.iter().enumerate() {
        let Some(file) = folder.open(number, &owners).map_err(ReplayError::Trace)? else {
            continue; // this command did not run
        };
        let program = Some(Path::new(program));
        let read =
            strace::denials(BufReader::new(file), replay.policy, program).map_err(ReplayError::Trace)?;
        lossy |= read.not_understood_total > 0 || read.kept.uncounted > 0;
        denials.extend(read.kept.denials);
        for (name, count) in read.unknown_calls {
            notes.push(format!("strace saw a call that unitfix does not know: {name}, {count} times"));
        }
    }
    Ok(Observation { engine: Engine::Strace, denials, outcome, watched, lossy, notes, log: Vec::new() })
}

/// Whether the unit can run under strace at all: the program to take, or why not.
fn possible(unit: &Unit) -> Result<&'static Path, ReplayError> {
    let refused = |why: &str| Err(ReplayError::NoStrace(why.to_owned()));
    let Some(strace) = PLACES.iter().map(Path::new).find(|p| p.is_file()) else {
        return refused("strace is not installed (apt install strace)");
    };
    if let Some(setting) =
        ["RootDirectory", "RootImage", "NoExecPaths"].into_iter().find(|k| unit.text(k).is_some())
    {
        return refused(&format!("{setting}= keeps strace from being executed inside the unit"));
    }
    if unit.text("Type") == Some("forking") && unit.text("PIDFile").is_none() {
        return refused("Type=forking without PIDFile= loses its main process under strace");
    }
    let shell = Stage::ALL.into_iter().flat_map(|s| unit.commands(s)).any(|c| c.prefixes.shell);
    if shell { refused("a command with the prefix | cannot be wrapped") } else { Ok(strace) }
}

/// Where strace's output goes.
const FOLDERS: &str = "/run/unitfix";

/// How the names of the folders of a unit begin; what follows has no dash.
fn prefix(unit: &UnitName) -> String {
    format!("trace-{unit}-")
}

/// Take away the folders that a run which was killed left behind. Only for who holds the unit's lock.
pub(super) fn clean_up(unit: &UnitName) {
    let prefix = prefix(unit);
    for entry in std::fs::read_dir(FOLDERS).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let rest = name.to_str().and_then(|name| name.strip_prefix(&prefix));
        if rest.is_some_and(|rest| !rest.contains('-')) {
            let _ = std::fs::remove_dir_all(entry.path()); // in /run: gone at the next boot at the latest
        }
    }
}

/// A folder that every user may write to, so that strace can write whatever user it runs as. Gone when dropped.
struct Folder(PathBuf);

impl Folder {
    fn make(unit: &UnitName) -> Result<Self, ReplayError> {
        let make = || -> io::Result<PathBuf> {
            std::fs::create_dir_all(FOLDERS)?;
            let path = tempfile::Builder::new().prefix(&prefix(unit)).tempdir_in(FOLDERS)?.keep();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o1733))?;
            Ok(path)
        };
        make().map(Folder).map_err(ReplayError::Trace)
    }

    fn path(folder: &Path, number: usize) -> PathBuf {
        folder.join(number.to_string())
    }

    /// Open one strace output. A link, anything but a file, or the file of a user as whom the unit does not run, is
    /// not strace's: somebody put it there.
    fn open(&self, number: usize, owners: &Users) -> io::Result<Option<std::fs::File>> {
        let mut options = std::fs::OpenOptions::new();
        options.read(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK);
        match options.open(Self::path(&self.0, number)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
            Ok(file) => {
                let meta = file.metadata()?;
                if meta.is_file() && owners.include(meta.uid()) {
                    return Ok(Some(file));
                }
                Err(io::Error::other("somebody else put a file in its place, which is not believed"))
            }
        }
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0); // in /run: gone at the next boot at the latest
    }
}

/// The drop-in that wraps every command which the filter applies to, and the programs of those commands.
fn drop_in(unit: &Unit, policy: &Policy, strace: &Path, folder: &Path) -> (String, Vec<String>) {
    let mut text = String::from(
        "# Written by unitfix for a replay; it is taken away when the replay ends.\n\
         [Service]\nSystemCallFilter=\nSystemCallLog=\nSystemCallArchitectures=\n",
    );
    if has_mount_namespace(unit) {
        let _ = writeln!(text, "BindPaths={}", folder.display());
    }
    if implies_no_new_privileges(unit) {
        text.push_str("NoNewPrivileges=yes\n");
    }
    let fast = if unit.flag("NoNewPrivileges") { " --seccomp-bpf" } else { "" };
    let mut programs = Vec::new();
    for stage in Stage::ALL.into_iter().filter(|stage| *stage != Stage::Reload) {
        let commands = unit.commands(stage);
        if commands.is_empty() {
            continue;
        }
        let _ = writeln!(text, "{}=", stage.key());
        for command in commands {
            let (prefixes, body) = unwrapped(&command);
            if command.prefixes.privileged {
                let _ = writeln!(text, "{}={}{}", stage.key(), command.prefix_text, command.text);
                continue; // no filter applies to it
            }
            let _ = writeln!(
                text,
                "{}={prefixes}{} -f -n -ttt -D -qq{fast} -s 64 -o {} -e trace={} -- {body}",
                stage.key(),
                strace.display(),
                Folder::path(folder, programs.len()).display(),
                traced(policy),
            );
            programs.push(command.program().to_owned());
        }
    }
    (text, programs)
}

/// The prefixes and the words of a command without `@` and the name it gives, which would be strace's.
fn unwrapped(command: &Command) -> (String, String) {
    if !command.prefixes.argv0 {
        return (command.prefix_text.clone(), command.text.clone());
    }
    let skip = |text: &str| crate::unit::exec::first_word(text).map_or(text.len(), |(_, length)| length);
    let program = skip(&command.text);
    let rest = command.text[program..].trim_start();
    let arguments = &rest[skip(rest)..];
    (command.prefix_text.replace('@', ""), format!("{}{arguments}", &command.text[..program]))
}

/// What strace has to show: the calls that the policy denies, and those that tell who is who. `?` lets names pass
/// that strace does not know.
fn traced(policy: &Policy) -> String {
    if policy.architectures.is_some() {
        return "all".to_owned(); // any call of another architecture is one that is denied
    }
    let (_, shown) = policy.filter.shown();
    let names = shown.iter().map(|n| n.split(':').next().unwrap_or(n));
    let list = |names: BTreeSet<&str>| names.iter().map(|n| format!("?{n}")).collect::<Vec<_>>().join(",");
    match policy.filter {
        Filter::Allow(_) => format!("!{}", list(names.filter(|n| !LINEAGE.contains(n)).collect())),
        Filter::None | Filter::Deny(_) => list(names.chain(LINEAGE).collect()),
    }
}

/// Settings that give a unit file systems of its own, in which the folder has to be brought in.
fn has_mount_namespace(unit: &Unit) -> bool {
    const SETTINGS: [&str; 24] = [
        "BindPaths",
        "BindReadOnlyPaths",
        "DynamicUser",
        "ExecPaths",
        "ExtensionDirectories",
        "ExtensionImages",
        "InaccessiblePaths",
        "MountImages",
        "PrivateDevices",
        "PrivateIPC",
        "PrivateMounts",
        "PrivateTmp",
        "ProtectControlGroups",
        "ProtectHome",
        "ProtectHostname",
        "ProtectKernelLogs",
        "ProtectKernelModules",
        "ProtectKernelTunables",
        "ProtectProc",
        "ProtectSystem",
        "ReadOnlyPaths",
        "ReadWritePaths",
        "TemporaryFileSystem",
        "ProcSubset",
    ];
    SETTINGS.into_iter().any(|key| unit.text(key).is_some_and(|t| !matches!(t, "no" | "false" | "0" | "off")))
}

/// A filter on a service without CAP_SYS_ADMIN implies `NoNewPrivileges=`, which must not go with it.
fn implies_no_new_privileges(unit: &Unit) -> bool {
    let other_user = unit.text("User").is_some_and(|u| u != "root" && u != "0");
    (other_user || unit.flag("DynamicUser")) && !unit.flag("NoNewPrivileges")
}
