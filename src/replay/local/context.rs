//! The environment that the manager would give to the unit's commands: systemd.exec(5), as far as a process can
//! give it to another one without a manager.

use super::launch::{Identity, Spec};
use super::{LocalError, limits};
use crate::scope::{Scope, UMASK};
use crate::unit::environment::{self, Variables};
use crate::unit::exec::Command;
use crate::unit::specifiers::{self, Host};
use crate::unit::{Setting, Unit};
use nix::unistd::{Gid, Group, Uid, User};
use std::collections::BTreeSet;
use std::ffi::CString;
use std::path::{Path, PathBuf};

/// What all commands of a unit have in common.
#[derive(Debug)]
pub(super) struct Context<'a> {
    unit: &'a Unit,
    host: Host,
    variables: Variables,
    directory: (String, bool),
    limits: Vec<limits::Limit>,
    identity: Option<Identity>,
    pub(super) no_new_privileges: bool,
    /// What a reader should know of the differences.
    pub(super) notes: Vec<String>,
}

/// Where the manager looks for programs that are named without a path, and the PATH that it gives.
fn search_path() -> &'static str {
    // systems whose /bin is a folder of its own have the longer one
    if Path::new("/bin").is_symlink() {
        "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin"
    } else {
        "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    }
}

/// What is different for a user who may not put on filters otherwise.
const NO_PRIVILEGES: &str =
    "without CAP_SYS_ADMIN no_new_privs is set, so set-user-ID programs of the unit gain nothing";

/// Whether this process may put on filters and change users as the manager may: CAP_SYS_ADMIN is effective.
fn privileged() -> bool {
    const CAP_SYS_ADMIN: u32 = 21;
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    effective
        .and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok())
        .is_some_and(|c| c >> CAP_SYS_ADMIN & 1 == 1)
}

impl<'a> Context<'a> {
    /// Work it out for a unit; `filtered`: a filter will be put on.
    pub(super) fn of(unit: &'a Unit, filtered: bool) -> Result<Self, LocalError> {
        let mut context = Context::empty(unit);
        let user = context.user()?;
        context.identity(user.as_ref())?;
        context.directory(user.as_ref());
        context.variables(user.as_ref())?;
        let privileged = privileged();
        let (limits, note) = limits::of(unit, Uid::effective().is_root());
        context.limits = limits;
        context.notes.extend(note);
        // the manager, too, needs it for a filter of a user without privileges
        let other_user = context.identity.as_ref().is_some_and(|identity| identity.uid != 0);
        if !context.no_new_privileges && filtered && (!privileged || other_user) {
            context.no_new_privileges = true;
            if !privileged && unit.scope == Scope::System {
                context.note(NO_PRIVILEGES.to_owned());
            }
        }
        Ok(context)
    }

    /// For a command of the caller's, who keeps everything of their own but the filter.
    pub(super) fn of_caller(unit: &'a Unit, filtered: bool) -> Self {
        let mut context = Context::empty(unit);
        if !context.no_new_privileges && filtered && !privileged() {
            context.no_new_privileges = true;
            context.note(NO_PRIVILEGES.to_owned());
        }
        context
    }

    fn empty(unit: &'a Unit) -> Self {
        Context {
            unit,
            host: Host::read(&crate::root::Root::default()),
            variables: Variables::new(),
            directory: ("/".to_owned(), false),
            limits: Vec::new(),
            identity: None,
            no_new_privileges: unit.flag("NoNewPrivileges"),
            notes: Vec::new(),
        }
    }

    /// Replace specifiers; those without a value are noted.
    fn specifiers(&mut self, text: &str) -> String {
        let (text, unknown) = specifiers::expand(text, self.unit, &self.host);
        for specifier in unknown {
            self.note(format!("%{specifier} has no value without a manager: it stays as it is written"));
        }
        text
    }

    fn note(&mut self, note: String) {
        if !self.notes.contains(&note) {
            self.notes.push(note);
        }
    }

    /// The user of `User=`; nothing where it is not set.
    fn user(&mut self) -> Result<Option<User>, LocalError> {
        let dynamic = self.unit.flag("DynamicUser");
        let text = self.unit.text("User").map(str::to_owned);
        let Some(text) = text.or_else(|| dynamic.then(|| "nobody".to_owned())) else { return Ok(None) };
        let name = self.specifiers(&text);
        let found = match name.parse() {
            Ok(uid) => User::from_uid(Uid::from_raw(uid)),
            Err(_) => User::from_name(&name),
        };
        // the manager would make a dynamic user; nobody has as little power
        let stand_in = || dynamic.then(|| User::from_name("nobody").ok().flatten()).flatten();
        let found = found.ok().flatten().or_else(stand_in);
        found.map(Some).ok_or(LocalError::NoSuchUser { name, kind: "user" })
    }

    fn identity(&mut self, user: Option<&User>) -> Result<(), LocalError> {
        let caller = Uid::effective();
        if !caller.is_root() {
            let of_manager = self.unit.scope.owner().map_or(0, |owner| owner.uid);
            let wanted = user.map_or(Uid::from_raw(of_manager), |u| u.uid);
            if wanted != caller || self.unit.flag("DynamicUser") {
                let name = user.map_or_else(|| "root".to_owned(), |u| u.name.clone());
                let name = if self.unit.flag("DynamicUser") { "a user of its own".to_owned() } else { name };
                self.note(format!("runs as user {caller} rather than as {name}: only root can change that"));
            }
            return Ok(());
        }
        let group = self.unit.text("Group").map(str::to_owned).map(|text| self.group(&text)).transpose()?;
        let extra = self.supplementary_groups()?;
        if user.is_none() && group.is_none() && extra.is_empty() {
            return Ok(());
        }
        let uid = user.map_or(caller, |u| u.uid);
        let gid = group.unwrap_or_else(|| user.map_or(Gid::from_raw(0), |u| u.gid));
        let name = user.and_then(|u| CString::new(u.name.as_str()).ok());
        let own = name.and_then(|name| nix::unistd::getgrouplist(&name, gid).ok()).unwrap_or(vec![gid]);
        let mut groups: Vec<u32> = own.into_iter().chain(extra).map(Gid::as_raw).collect();
        groups.dedup();
        self.identity = Some(Identity { uid: uid.as_raw(), gid: gid.as_raw(), groups });
        Ok(())
    }

    fn group(&mut self, text: &str) -> Result<Gid, LocalError> {
        let name = self.specifiers(text);
        if let Ok(gid) = name.parse() {
            return Ok(Gid::from_raw(gid));
        }
        let found = Group::from_name(&name).ok().flatten();
        found.map(|g| g.gid).ok_or(LocalError::NoSuchUser { name, kind: "group" })
    }

    fn supplementary_groups(&mut self) -> Result<Vec<Gid>, LocalError> {
        let words = self.list("SupplementaryGroups");
        words.iter().map(|word| self.group(word)).collect()
    }

    /// The words of all lines of a setting; an empty line takes the earlier ones back.
    fn list(&self, key: &str) -> Vec<String> {
        let lines: Vec<&Setting> = self.unit.service(key).collect();
        let reset = lines.iter().rposition(|line| line.value.text.is_empty()).map_or(0, |at| at + 1);
        lines[reset..].iter().flat_map(|line| environment::words(&line.value.text)).collect()
    }

    fn directory(&mut self, user: Option<&User>) {
        let owner = self.unit.scope.owner();
        let usual = if owner.is_some() { "~" } else { "/" };
        let text = self.unit.text("WorkingDirectory").unwrap_or(usual).to_owned();
        let (optional, text) = text.strip_prefix('-').map_or((false, text.as_str()), |rest| (true, rest));
        let home = user.map(|user| &user.dir).or(owner.map(|owner| &owner.home));
        let home = home.map_or("/root".to_owned(), |home| home.display().to_string());
        let path = if text == "~" { home } else { self.specifiers(text) };
        self.directory = (path, optional);
    }

    /// In the manager's order: its own, PassEnvironment=, Environment=, EnvironmentFile=, less UnsetEnvironment=.
    fn variables(&mut self, user: Option<&User>) -> Result<(), LocalError> {
        let mut variables = Variables::new();
        match self.unit.scope.owner() {
            Some(owner) => variables.clone_from(&owner.environment),
            None => environment::set(&mut variables, "PATH", search_path()),
        }
        if let Some(user) = user {
            environment::set(&mut variables, "LOGNAME", &user.name);
            environment::set(&mut variables, "USER", &user.name);
            let (home, shell) = (user.dir.display().to_string(), user.shell.display().to_string());
            if home.starts_with('/') && home != "/" {
                environment::set(&mut variables, "HOME", home);
            }
            if !shell.is_empty() && !shell.ends_with("/nologin") && !shell.ends_with("/false") {
                environment::set(&mut variables, "SHELL", shell);
            }
        }
        environment::set(&mut variables, "INVOCATION_ID", invocation_id());
        if let Some(watchdog) =
            self.unit.text("WatchdogSec").and_then(limits::seconds).filter(|t| !t.is_zero())
        {
            environment::set(&mut variables, "WATCHDOG_USEC", watchdog.as_micros().to_string());
        }
        // a user's manager passes all of its own anyway
        let passed = if self.unit.scope == Scope::System { self.list("PassEnvironment") } else { Vec::new() };
        for name in passed {
            if let Ok(value) = std::env::var(&name) {
                environment::set(&mut variables, &name, value);
            }
        }
        for word in self.list("Environment") {
            if let Some((name, value)) = environment::assignment(&self.specifiers(&word)) {
                environment::set(&mut variables, &name, value);
            }
        }
        for (name, value) in self.environment_files()? {
            environment::set(&mut variables, &name, value);
        }
        for word in self.list("UnsetEnvironment") {
            let word = self.specifiers(&word);
            // an assignment unsets only what has this value
            let unset = environment::assignment(&word);
            variables.retain(|(name, value)| match &unset {
                Some((n, v)) => n != name || v != value,
                None => *name != word,
            });
        }
        self.variables = variables;
        Ok(())
    }

    fn environment_files(&mut self) -> Result<Variables, LocalError> {
        let lines: Vec<String> = self.unit.service("EnvironmentFile").map(|s| s.value.text.clone()).collect();
        let reset = lines.iter().rposition(String::is_empty).map_or(0, |at| at + 1);
        let mut out = Variables::new();
        for line in &lines[reset..] {
            let (optional, text) = line.strip_prefix('-').map_or((false, line.as_str()), |rest| (true, rest));
            let path = PathBuf::from(self.specifiers(text));
            match std::fs::read(&path) {
                Ok(bytes) => out.extend(environment::parse_file(&String::from_utf8_lossy(&bytes))),
                Err(_) if text.contains(['*', '?', '[']) => {
                    self.note(format!("not imitated: the pattern in EnvironmentFile={line}"));
                }
                Err(_) if optional => {}
                Err(error) => return Err(LocalError::EnvironmentFile { path, error }),
            }
        }
        Ok(out)
    }

    /// A variable for one command alone, as `NOTIFY_SOCKET` or `MAINPID` are.
    pub(super) fn set(&mut self, name: &str, value: String) {
        // what the unit sets itself wins, as it does for the manager
        if !self.variables.iter().any(|(known, _)| known == name) {
            self.variables.push((name.to_owned(), value));
        }
    }

    /// Everything that the launcher needs for a command. Nothing: the program is not there.
    pub(super) fn spec(
        &mut self,
        command: &Command,
        filter: Option<Vec<(u16, u8, u8, u32)>>,
    ) -> Option<Spec> {
        let words: Vec<String> = command.words.iter().map(|word| self.specifiers(word)).collect();
        let path = find_program(words.first()?)?;
        let words = if command.prefixes.argv0 && words.len() > 1 { &words[1..] } else { &words[..] };
        let mut arguments = words.to_vec();
        if !command.prefixes.no_variables {
            let (expanded, unset) = environment::expand(words, &self.variables);
            arguments = expanded;
            for name in unset {
                self.note(format!("${name} is not set, so nothing stands in its place"));
            }
        }
        if command.prefixes.shell {
            self.note(format!("not imitated: the prefix | of {}", command.text));
        }
        let privileged = command.prefixes.privileged;
        // "!!" is without effect where the kernel has ambient capabilities, as every one does that can replay
        let elevated = command.prefix_text.matches('!').count() == 1;
        Some(Spec {
            path,
            arguments,
            environment: self.variables.iter().map(|(name, value)| format!("{name}={value}")).collect(),
            told_its_pid: true,
            directory: self.directory.0.clone(),
            directory_optional: self.directory.1,
            umask: self.umask(),
            limits: self.limits.clone(),
            identity: self.identity.clone().filter(|_| !privileged && !elevated),
            no_new_privileges: self.no_new_privileges && !privileged,
            nice: self.number("Nice"),
            oom_score_adjust: self.number("OOMScoreAdjust"),
            ignore_sigpipe: self.unit.text("IgnoreSIGPIPE").is_none() || self.unit.flag("IgnoreSIGPIPE"),
            filter: filter.filter(|_| !privileged),
        })
    }

    /// Units of users have it from their manager.
    fn umask(&self) -> u32 {
        let set = self.unit.text("UMask").and_then(|text| u32::from_str_radix(text, 8).ok());
        set.unwrap_or_else(|| self.unit.scope.owner().map_or(UMASK, |owner| owner.umask))
    }

    fn number(&self, key: &str) -> Option<i32> {
        self.unit.text(key)?.parse().ok()
    }
}

/// `INVOCATION_ID`: 128 random bits.
fn invocation_id() -> String {
    let id = std::fs::read_to_string("/proc/sys/kernel/random/uuid").unwrap_or_default();
    id.trim().replace('-', "")
}

/// The path of a program, as the manager finds it.
pub(in crate::replay) fn find_program(name: &str) -> Option<String> {
    let executable =
        |path: &String| nix::unistd::access(path.as_str(), nix::unistd::AccessFlags::X_OK).is_ok();
    if name.contains('/') {
        return Some(name.to_owned()).filter(|path| Path::new(path).exists());
    }
    search_path().split(':').map(|folder| format!("{folder}/{name}")).find(executable)
}

/// Settings of `[Service]` that would need a manager, a control group or a namespace; and filters other than
/// `SystemCallFilter=`. A replay that leaves them out may show calls that would have failed before, or miss some.
const NOT_IMITATED: &[&str] = &[
    "AllowedCPUs",
    "AmbientCapabilities",
    "AppArmorProfile",
    "BindPaths",
    "BindReadOnlyPaths",
    "CPUAffinity",
    "CPUQuota",
    "CPUSchedulingPolicy",
    "CPUSchedulingPriority",
    "CacheDirectory",
    "CapabilityBoundingSet",
    "ConfigurationDirectory",
    "Delegate",
    "DeviceAllow",
    "DevicePolicy",
    "DynamicUser",
    "ExecPaths",
    "ExecSearchPath",
    "ExtensionDirectories",
    "ExtensionImages",
    "IOSchedulingClass",
    "IPAddressAllow",
    "IPAddressDeny",
    "IPCNamespacePath",
    "ImportCredential",
    "InaccessiblePaths",
    "KeyringMode",
    "LoadCredential",
    "LoadCredentialEncrypted",
    "LogsDirectory",
    "MemoryDenyWriteExecute",
    "MemoryHigh",
    "MemoryLimit",
    "MemoryMax",
    "MountAPIVFS",
    "MountFlags",
    "MountImages",
    "NUMAPolicy",
    "NetworkNamespacePath",
    "NoExecPaths",
    "OpenFile",
    "PAMName",
    "Personality",
    "PrivateBPF",
    "PrivateDevices",
    "PrivateIPC",
    "PrivateMounts",
    "PrivateNetwork",
    "PrivatePIDs",
    "PrivateTmp",
    "PrivateUsers",
    "ProcSubset",
    "ProtectClock",
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
    "RemoveIPC",
    "RestrictFileSystems",
    "RestrictNetworkInterfaces",
    "RestrictRealtime",
    "RootDirectory",
    "RootHash",
    "RootImage",
    "RuntimeDirectory",
    "SELinuxContext",
    "SecureBits",
    "SetCredential",
    "SetCredentialEncrypted",
    "SmackProcessLabel",
    "Sockets",
    "StandardError",
    "StandardInput",
    "StandardOutput",
    "StateDirectory",
    "TTYPath",
    "TasksMax",
    "TemporaryFileSystem",
    "TimerSlackNSec",
];

/// The note that names what of the unit is not imitated, in the order of the unit.
pub(super) fn not_imitated(unit: &Unit) -> Option<String> {
    let mut seen = BTreeSet::new();
    let set = unit.settings.iter().filter(|s| s.section == "Service").map(|s| s.key.as_str()).filter(|key| {
        let off = ["no", "false", "off", "0", "n", "f", "journal", "inherit", "null", "default"];
        let value = unit.last(key).map_or("", |s| s.value.text.as_str());
        // an empty bounding set takes all capabilities away
        let on = !off.contains(&value) && (!value.is_empty() || *key == "CapabilityBoundingSet");
        NOT_IMITATED.contains(key) && on && seen.insert((*key).to_owned())
    });
    let names: Vec<String> = set.map(|key| format!("{key}=")).collect();
    (!names.is_empty()).then(|| format!("not imitated: {}", names.join(", ")))
}
