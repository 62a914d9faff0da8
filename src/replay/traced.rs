//! The `strace` engine: the commands of the unit run under strace, with the filter reset. Gives arguments, and
//! works where there is no kernel audit.

use super::session::{Session, Watch, Watched};
use super::settings::Search;
use super::{Engine, Observation, Replay, ReplayError, Users};
use crate::blame;
use crate::change::{Approval, own_folder};
use crate::evidence::strace;
use crate::policy::relax::Relaxations;
use crate::policy::{Filter, Policy, Restriction, errno_name};
use crate::root::Root;
use crate::syscalls::Arch;
use crate::system_program;
use crate::trust;
use crate::unit::exec::{Command, Stage};
use crate::unit::{Unit, UnitName};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io::{self, BufReader};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Where strace is, if the administrator has put one of his own there.
const LOCAL: &str = "/usr/local/bin/strace";

/// Calls that tell which program a process runs and who its parent is.
const LINEAGE: [&str; 6] = ["clone", "clone3", "execve", "execveat", "fork", "vfork"];

/// Run the unit under strace, and again with settings relaxed that keep it from working.
pub(super) fn observe(replay: &Replay, approved: &Approval) -> Result<Observation, ReplayError> {
    let search = Search { policy: replay.policy, unit: replay.unit, interrupt: replay.interrupt };
    search.run(|relaxed| once(replay, relaxed, approved))
}

fn once(replay: &Replay, relaxed: &Relaxations, approved: &Approval) -> Result<Observation, ReplayError> {
    let strace = possible(replay.unit)?;
    let folder = Folder::for_strace(replay.unit)?;
    let unwinder = replay.blame.then(|| blame::traced::unwinder(&strace)).flatten();
    let injected = Injected { relaxed, refused: &BTreeMap::new(), stacks: unwinder.is_some() };
    let (text, programs) = drop_in(replay.unit, replay.policy, &strace, &folder.0, &injected);
    let session = Session::begin(replay.manager, &replay.unit.name, replay.status, &text, approved)?;
    let watched = session.run(Watch { enough: &|| folder.is_full(), ..replay.watch() })?;
    session.end()?; // ends the tracers too, so that their files are whole
    let mut observation = read(replay, &folder, &programs, watched)?;
    let Some(unwinder) = unwinder else { return Ok(observation) };
    let mut known = blame::Known::default();
    for denial in &mut observation.denials {
        blame::traced::name(&mut denial.stack, unwinder, &Root::default(), &mut known);
    }
    if replay.policy.architectures.is_some() {
        let note = "for the stacks, calls of other architectures were not looked for";
        observation.notes.push(note.to_owned());
    }
    Ok(observation)
}

/// What a trial under strace needs, in which strace refuses calls in the place of the filter.
pub(super) struct Refusing {
    folder: Folder,
    programs: Vec<String>,
    /// The runtime drop-in.
    pub(super) text: String,
}

impl Refusing {
    /// Prepare it: `lines` is what is tried besides, `refused` says which calls fail with which errno.
    pub(super) fn new(
        replay: &Replay,
        lines: &str,
        refused: &BTreeMap<String, u16>,
    ) -> Result<Self, ReplayError> {
        let strace = possible(replay.unit)?;
        let folder = Folder::for_strace(replay.unit)?;
        let injected = Injected { relaxed: &Relaxations::default(), refused, stacks: false };
        let (wrapped, programs) = drop_in(replay.unit, replay.policy, &strace, &folder.0, &injected);
        Ok(Refusing { folder, programs, text: format!("{lines}\n{wrapped}") })
    }

    /// Whether strace has written all that it may.
    pub(super) fn is_full(&self) -> bool {
        self.folder.is_full()
    }

    /// Read what strace saw, once the tracers have ended.
    pub(super) fn read(&self, replay: &Replay, watched: Watched) -> Result<Observation, ReplayError> {
        read(replay, &self.folder, &self.programs, watched)
    }
}

fn read(
    replay: &Replay,
    folder: &Folder,
    programs: &[String],
    watched: Watched,
) -> Result<Observation, ReplayError> {
    let owners = Users::of(replay.unit);
    let mut observation = Observation::of(Engine::Strace, watched);
    if folder.is_full() {
        observation.lossy = true;
        observation
            .notes
            .push(format!("ended early, because strace wrote more than {} MiB", TRACE_MAX >> 20));
    }
    for (number, program) in programs.iter().enumerate() {
        let Some(file) = folder.open(number, &owners).map_err(ReplayError::Trace)? else {
            continue; // this command did not run
        };
        let program = Some(Path::new(program));
        let read =
            strace::denials(BufReader::new(file), replay.policy, program).map_err(ReplayError::Trace)?;
        observation.lossy |= read.not_understood_total > 0 || read.kept.uncounted > 0;
        observation.denials.extend(read.kept.denials);
        // what ended later was stopped with the unit
        let while_watched = |time: &Option<u64>| time.is_none_or(|time| time <= observation.ended);
        let casualties = read.casualties.into_iter().filter(|(time, _)| while_watched(time));
        observation.casualties.get_or_insert_default().extend(casualties.map(|(_, casualty)| casualty));
        for (name, count) in read.unknown_calls {
            let note = format!("strace saw a call that unitfix does not know: {name}, {count} times");
            observation.notes.push(note);
        }
    }
    Ok(observation)
}

/// Whether the unit can run under strace at all: the program to take, or why not.
fn possible(unit: &Unit) -> Result<PathBuf, ReplayError> {
    let refused = |why: &str| Err(ReplayError::NoStrace(why.to_owned()));
    let Some(strace) = system_program::find("strace").or_else(local) else {
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

/// The administrator's own strace; on some systems others than root can write there.
fn local() -> Option<PathBuf> {
    let root = Root::default();
    let file = root.open_file(Path::new(LOCAL)).ok()?;
    trust::file(&root, Path::new(LOCAL), &file).ok().map(|()| LOCAL.into())
}

/// Whether strace can print the stacks of this unit's calls, or why not.
pub(super) fn prints_stacks(unit: &Unit) -> Result<(), ReplayError> {
    let without = "this one was built without stack traces (`strace -V` tells)";
    let unwinder = blame::traced::unwinder(&possible(unit)?);
    unwinder.map(drop).ok_or_else(|| ReplayError::NoStrace(without.to_owned()))
}

/// Where strace's output goes, and the filters of the `notify` engine are.
const FOLDERS: &str = "/run/unitfix/trace";

/// Where the folders of a unit's replays are.
pub(super) fn folders(unit: &UnitName) -> PathBuf {
    // as a word of a unit file and of a command line that needs no quotes; no unit's name has a `+`
    Path::new(FOLDERS).join(unit.as_str().replace('\\', "+5c").replace(':', "+3a"))
}

/// Take away the folders that a run which was killed left behind. Only for who holds the unit's lock.
pub(super) fn clean_up(unit: &UnitName) {
    let _ = std::fs::remove_dir_all(folders(unit)); // in /run: gone at the next boot at the latest
}

/// So much may be written there, in bytes: it is memory, and a call in a hot loop would fill it.
const TRACE_MAX: u64 = 64 << 20;

/// A folder of one replay. Gone when dropped.
pub(super) struct Folder(pub(super) PathBuf);

impl Folder {
    /// One of this mode.
    pub(super) fn make(unit: &Unit, mode: u32) -> io::Result<Self> {
        let folders = folders(&unit.name);
        own_folder(&folders)?;
        let folder = Folder(tempfile::Builder::new().prefix("run-").tempdir_in(&folders)?.keep());
        std::fs::set_permissions(&folder.0, std::fs::Permissions::from_mode(mode))?;
        Ok(folder)
    }

    /// One in which strace can write whatever user it runs as.
    fn for_strace(unit: &Unit) -> Result<Self, ReplayError> {
        // where strace runs as root, nobody else may put a link in its way
        let mode = if runs_as_another(unit) { 0o1733 } else { 0o700 };
        Self::make(unit, mode).map_err(ReplayError::Trace)
    }

    fn is_full(&self) -> bool {
        let files = std::fs::read_dir(&self.0).into_iter().flatten().flatten();
        files.filter_map(|file| Some(file.metadata().ok()?.len())).sum::<u64>() > TRACE_MAX
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
        if let Some(folders) = self.0.parent() {
            let _ = std::fs::remove_dir(folders); // unless there is another one in it
        }
    }
}

/// How a run under strace differs from the unit.
struct Injected<'a> {
    /// What is relaxed of the settings beside `SystemCallFilter=`.
    relaxed: &'a Relaxations,
    /// The calls that strace lets fail, each with its errno.
    refused: &'a BTreeMap<String, u16>,
    /// Whether it prints the stack of each call.
    stacks: bool,
}

/// The drop-in that wraps every command which the filter applies to, and the programs of those commands.
fn drop_in(
    unit: &Unit,
    policy: &Policy,
    strace: &Path,
    folder: &Path,
    injected: &Injected,
) -> (String, Vec<String>) {
    let mut text = String::from(
        "# Written by unitfix for a replay; it is taken away when the replay ends.\n\
         [Service]\nSystemCallFilter=\nSystemCallLog=\nSystemCallArchitectures=\n",
    );
    for line in injected.relaxed.text() {
        let _ = writeln!(text, "{line}");
    }
    if has_mount_namespace(unit) {
        let _ = writeln!(text, "BindPaths={}", folder.display());
    }
    if implies_no_new_privileges(unit) {
        text.push_str("NoNewPrivileges=yes\n");
    }
    // what a filter denies, strace's own would not see
    let blind = policy.restrictions.iter().any(|restriction| restriction.filters);
    let fast = if unit.flag("NoNewPrivileges") && !blind { " --seccomp-bpf" } else { "" };
    // how processes end is told with one q less
    let quiet = if injected.refused.is_empty() { "-qq" } else { "-q" };
    let inject: String = injected.refused.iter().fold(String::new(), |mut out, (name, errno)| {
        let _ = write!(out, " -e inject={name}:error={}", errno_name(*errno));
        out
    });
    let stacks = if injected.stacks { " -k" } else { "" };
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
                "{}={prefixes}{} -f -n -ttt -D {quiet} -X verbose{fast}{stacks} -s 64 -o {} -e trace={}{inject} -- {body}",
                stage.key(),
                strace.display(),
                Folder::path(folder, programs.len()).display(),
                traced(policy, injected.stacks),
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

/// What strace has to show: the calls that the policy denies, by whatever setting, and those that tell who is who. `?`
/// lets names pass that strace does not know.
fn traced(policy: &Policy, stacks: bool) -> String {
    // with `-k` strace unwinds the stack at every call that it traces, which a start of all calls would not survive
    if policy.architectures.is_some() && !stacks {
        return "all".to_owned(); // any call of another architecture is one that is denied
    }
    let (_, shown) = policy.filter.shown();
    let names = shown.iter().map(|n| n.split(':').next().unwrap_or(n));
    let restricted: BTreeSet<&str> = policy.restrictions.iter().flat_map(restricted).collect();
    let list = |names: BTreeSet<&str>| names.iter().map(|n| format!("?{n}")).collect::<Vec<_>>().join(",");
    match policy.filter {
        Filter::Allow(_) => {
            let silent = names.filter(|n| !LINEAGE.contains(n) && !restricted.contains(n));
            format!("!{}", list(silent.collect()))
        }
        Filter::None | Filter::Deny(_) => {
            list(names.chain(LINEAGE).chain(restricted.iter().copied()).collect())
        }
    }
}

/// The calls that a setting denies, for some arguments or for all, on any architecture.
fn restricted(restriction: &Restriction) -> impl Iterator<Item = &str> {
    let calls = |arch: &Arch| [true, false].map(|always| restriction.calls(*arch, always)).concat();
    Arch::of_this_kernel().iter().flat_map(calls)
}

/// Settings that give a unit file systems of its own, in which the folder has to be brought in.
pub(super) fn has_mount_namespace(unit: &Unit) -> bool {
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
    runs_as_another(unit) && !unit.flag("NoNewPrivileges")
}

/// Whether a unit runs as another user than root.
pub(super) fn runs_as_another(unit: &Unit) -> bool {
    unit.flag("DynamicUser") || unit.text("User").is_some_and(|user| user != "root" && user != "0")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_strace_writes_is_bounded() {
        let folder = Folder(tempfile::tempdir().unwrap().keep());
        let file = std::fs::File::create(Folder::path(&folder.0, 0)).unwrap();
        file.set_len(TRACE_MAX).unwrap(); // without blocks on disk
        assert!(!folder.is_full());
        std::fs::write(Folder::path(&folder.0, 1), "x").unwrap();
        assert!(folder.is_full());
    }
}
