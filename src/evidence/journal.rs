//! The journal, asked through journalctl and always with matches. What a service writes there is its own word:
//! fields that begin with an underscore are added by journald and cannot be forged, and only they say who wrote an
//! entry (systemd.journal-fields(7)).

mod ask;
mod entry;
mod of_unit;
mod picked;
mod printed;

pub(super) use ask::{Entry, bytes_of};
pub(super) use entry::Fields;
pub(super) use picked::{Name, Picked};
pub use printed::{Printed, printed};

use super::log::Kept;
use super::record::{self, AUDIT_SECCOMP, Record};
use super::{Source, Untrusted};
use crate::interrupt::Interrupt;
use crate::scope::Scope;
use crate::system_program::{self, PATH};
use crate::unit::UnitName;
use ask::{entries, lines};
use of_unit::{COREDUMP_UNIT, SYSTEMD_UNIT, UNIT, USER_MANAGER};
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Path, PathBuf};

/// No more entries than this are read for one question: the newest ones.
const ENTRIES_MAX: usize = 200_000;

/// The same of questions about one unit: a service that is restarted ten times a second dies as often in half an hour.
const ENDS_MAX: usize = 20_000;

/// So many processes are asked about one by one.
const PIDS_MAX: usize = 64;

/// systemd-coredump's message (`SD_MESSAGE_COREDUMP` in sd-messages.h).
pub(super) const MESSAGE_COREDUMP: &str = "fc2e22bc6ee647b6b90729ab34a250b1";

/// Why the journal does not answer.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// There is no journalctl.
    #[error("there is no journalctl in {PATH}: name the log with --log FILE, or replay")]
    Missing,
    /// It does not start.
    #[error("{}: {error}", program.display())]
    Start {
        /// journalctl.
        program: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// This user may not read the system's journal.
    #[error(
        "the system's journal is not readable for this user: run it with sudo, or as a member of the group \
         systemd-journal (`sudo usermod -aG systemd-journal \"$USER\"`, then log in anew)"
    )]
    NotPermitted,
    /// This user may not, who asks about a unit of their own.
    #[error(
        "the system's journal, with the kernel's records, is not readable for {0}, so a replay has to show the calls: \
         members of the group systemd-journal may read it (`sudo usermod -aG systemd-journal {0}`, then log in anew)"
    )]
    NotForUser(String),
    /// There is no journal of this boot.
    #[error("there is no journal of this boot (is systemd-journald running?)")]
    Empty,
    /// It failed.
    #[error("journalctl failed: {message}")]
    Failed {
        /// The first line of what it said.
        message: Untrusted,
        /// Its exit status; nothing if a signal killed it.
        code: Option<i32>,
    },
    /// It took too long.
    #[error("journalctl did not finish within a minute")]
    TimedOut,
    /// Somebody wants this process to end.
    #[error("interrupted")]
    Interrupted,
    /// Its output could not be read.
    #[error("cannot read what journalctl prints: {0}")]
    Read(#[source] io::Error),
}

/// A process that died of a signal, as systemd-coredump recorded it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CoreDump {
    /// When, in microseconds since the epoch.
    pub time: u64,
    /// The process, in the PID namespace that the kernel told systemd-coredump: the initial one.
    pub pid: u32,
    /// The signal's number.
    pub signal: i32,
    /// The name that the process had.
    pub comm: Untrusted,
    /// Its program.
    pub exe: Option<Untrusted>,
    /// Its command line.
    pub command: Option<Untrusted>,
}

/// What systemd-coredump kept of a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptCore {
    /// Its message, with the stack where it could unwind.
    pub message: Untrusted,
    /// The file with the core dump.
    pub file: Option<Untrusted>,
    /// How large a core dump of the process may have been, in bytes (`RLIMIT_CORE`).
    pub limit: Option<u64>,
}

/// What the manager itself said about a unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ManagerReport {
    /// When, in microseconds since the epoch.
    pub time: u64,
    /// Whether a main or control process was killed by SIGSYS.
    pub sigsys: bool,
    /// The setting whose command it was, such as `ExecStart`, where the manager says so.
    pub command: Option<String>,
    /// The manager's words.
    pub what: Untrusted,
}

/// What the journal has of the kernel's records.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KernelRecords {
    /// The forbidden calls, each once, though audit and the kernel's log may both tell of it.
    pub kept: Kept,
    /// Records of architectures that unitfix has no names for, or of filters that let the call run.
    pub foreign: u64,
    /// Records that are not what a kernel writes.
    pub malformed: u64,
}

/// The journal of the running system, this boot.
#[derive(Clone, Debug)]
pub struct Journal {
    program: PathBuf,
    interrupt: Interrupt,
    since: Option<u64>,
    scope: Scope,
}

impl Journal {
    /// The system's own journalctl.
    pub fn find(interrupt: &Interrupt) -> Result<Self, JournalError> {
        let program = system_program::find("journalctl").ok_or(JournalError::Missing)?;
        Ok(Journal::with(program, interrupt))
    }

    /// This journalctl.
    #[must_use]
    pub fn with(program: impl Into<PathBuf>, interrupt: &Interrupt) -> Self {
        Journal { program: program.into(), interrupt: interrupt.clone(), since: None, scope: Scope::System }
    }

    /// Only entries from this time on, in microseconds since the epoch.
    #[must_use]
    pub fn since(mut self, time: u64) -> Self {
        self.since = Some(time);
        self
    }

    fn ask(
        &self,
        more: &[impl AsRef<OsStr>],
        fields: &str,
        each: impl FnMut(&Entry),
    ) -> Result<(), JournalError> {
        // no -q: it would also silence the hint that entries of the system are missing
        let mut arguments: Vec<OsString> =
            ["-b", "-o", "json", "--no-pager", "--all"].map(Into::into).to_vec();
        arguments.push(format!("--output-fields={fields}").into());
        if let Some(time) = self.since {
            arguments.push(format!("--since=@{}.{:06}", time / 1_000_000, time % 1_000_000).into());
        }
        arguments.extend(more.iter().map(|word| word.as_ref().to_owned()));
        match (entries(&self.program, &arguments, &self.interrupt, each), self.scope.owner()) {
            (Err(JournalError::NotPermitted), Some(owner)) => {
                Err(JournalError::NotForUser(owner.name.clone()))
            }
            (answer, _) => answer,
        }
    }

    /// The kernel's records of forbidden calls, of all units, oldest first.
    pub fn kernel_records(&self) -> Result<KernelRecords, JournalError> {
        let mut out = KernelRecords::default();
        let mut seen = HashSet::new();
        let newest = format!("--lines={ENTRIES_MAX}");
        let kind = format!("_AUDIT_TYPE={AUDIT_SECCOMP}");
        let fields = "MESSAGE,_TRANSPORT,_AUDIT_TYPE,_AUDIT_ID,_SOURCE_REALTIME_TIMESTAMP";
        let matches = [newest.as_str(), "_TRANSPORT=audit", &kind];
        self.ask(&matches, fields, |entry| out.take(entry, &mut seen, audit_record))?;
        let fields = "MESSAGE,_TRANSPORT,SYSLOG_FACILITY";
        let matches = [newest.as_str(), "--grep=type=1326", "_TRANSPORT=kernel"];
        let mut kernel =
            |matches: &[&str]| self.ask(matches, fields, |entry| out.take(entry, &mut seen, kernel_record));
        match kernel(&matches) {
            // built without PCRE2
            Err(JournalError::Failed { .. }) => kernel(&[&newest, "_TRANSPORT=kernel"])?,
            other => other?,
        }
        out.kept.denials.sort_by_key(|denial| denial.time);
        Ok(out)
    }

    /// The processes of a unit that died of a signal, as systemd-coredump saw them.
    pub fn core_dumps(&self, unit: &UnitName) -> Result<Vec<CoreDump>, JournalError> {
        let mut out = Vec::new();
        let message = format!("MESSAGE_ID={MESSAGE_COREDUMP}");
        let unit = self.unit(COREDUMP_UNIT, unit);
        let fields = "_SYSTEMD_UNIT,_UID,COREDUMP_PID,COREDUMP_SIGNAL,COREDUMP_COMM,COREDUMP_EXE,COREDUMP_CMDLINE,\
                      COREDUMP_TIMESTAMP,_SOURCE_REALTIME_TIMESTAMP";
        let newest = format!("--lines={ENDS_MAX}");
        self.ask_of_unit(&[&newest, &message], &unit, fields, |entry| out.extend(core_dump(entry)))?;
        Ok(out)
    }

    /// What was kept of the core dump of a process of a unit; of several with this process ID, of the last.
    pub fn kept_core(&self, unit: &UnitName, pid: u32) -> Result<Option<KeptCore>, JournalError> {
        let message = format!("MESSAGE_ID={MESSAGE_COREDUMP}");
        let (unit, pid) = (self.unit(COREDUMP_UNIT, unit), format!("COREDUMP_PID={pid}"));
        let mut out = None;
        let fields = "_SYSTEMD_UNIT,MESSAGE,COREDUMP_FILENAME,COREDUMP_RLIMIT";
        self.ask_of_unit(&["--lines=1", &message, &pid], &unit, fields, |entry| out = kept_core(entry))?;
        Ok(out)
    }

    /// How the manager says that the unit's processes ended, oldest first.
    pub fn manager_reports(&self, unit: &UnitName) -> Result<Vec<ManagerReport>, JournalError> {
        let mut out = Vec::new();
        let unit = self.unit(UNIT, unit);
        let fields = "MESSAGE,_PID,_SYSTEMD_USER_UNIT,_TRANSPORT,EXIT_CODE,EXIT_STATUS,COMMAND,UNIT_RESULT,\
                      _SOURCE_REALTIME_TIMESTAMP";
        let newest = format!("--lines={ENDS_MAX}");
        let (manager, report): (_, fn(&Entry) -> _) = match self.scope {
            Scope::System => ("_PID=1", manager_report),
            Scope::User(_) => (USER_MANAGER, user_manager_report),
        };
        self.ask_of_unit(&[&newest, manager], &unit, fields, |entry| out.extend(report(entry)))?;
        Ok(out)
    }

    /// Those of these processes that wrote to the journal as this unit, and when they did so last. For a handful of processes: each is a
    /// question of its own.
    pub fn pids_of_unit(
        &self,
        unit: &UnitName,
        pids: &BTreeSet<u32>,
    ) -> Result<BTreeMap<u32, u64>, JournalError> {
        let unit = self.unit(SYSTEMD_UNIT, unit);
        let mut out = BTreeMap::new();
        for pid in pids.iter().take(PIDS_MAX) {
            let process = format!("_PID={pid}");
            let fields = "_PID,_SYSTEMD_CGROUP,_SOURCE_REALTIME_TIMESTAMP";
            self.ask_of_unit(&["--lines=1", &process], &unit, fields, |entry| {
                out.extend(pid_of_unit(entry));
            })?;
        }
        Ok(out)
    }

    /// The last report on a unit that its own `unitfix@.service` wrote, which nobody else can forge.
    pub fn last_report(&self, unit: &UnitName) -> Result<Option<Untrusted>, JournalError> {
        let (message, about) =
            (format!("MESSAGE_ID={}", crate::report::MESSAGE_ID), format!("OBJECT_SYSTEMD_UNIT={unit}"));
        let by = format!("_SYSTEMD_UNIT=unitfix@{unit}.service");
        let mut out = None;
        self.ask(&["--lines=1", &message, &about, &by], "MESSAGE", |entry| {
            out = entry.bytes("MESSAGE").map(Untrusted::new);
        })?;
        Ok(out)
    }

    /// The IDs of the boots that the journal has, or the one in a folder, oldest first. journalctl takes their numbers only
    /// for the journal in /var/log/journal, and not for that of a system mounted elsewhere.
    pub(crate) fn boots(&self, folder: Option<&Path>) -> Result<Vec<String>, JournalError> {
        let mut out = Vec::new();
        lines(&self.program, &of_folder(&["--list-boots"], folder), &self.interrupt, |line| {
            let line = String::from_utf8_lossy(line);
            let is_id = |word: &&str| word.len() == 32 && word.bytes().all(|byte| byte.is_ascii_hexdigit());
            out.extend(line.split_whitespace().find(is_id).map(str::to_owned));
        })?;
        Ok(out)
    }

    /// When the last entry of a boot was written, in microseconds since the epoch; with a folder, of the journal there.
    pub(crate) fn last_time(&self, boot: &str, folder: Option<&Path>) -> Result<Option<u64>, JournalError> {
        let boot = format!("_BOOT_ID={boot}");
        let arguments =
            ["--output=json", "--no-pager", "--lines=1", "--output-fields=_BOOT_ID", boot.as_str()];
        let mut out = None;
        entries(&self.program, &of_folder(&arguments, folder), &self.interrupt, |entry| {
            out = entry.number("__REALTIME_TIMESTAMP");
        })?;
        Ok(out)
    }

    /// The last lines of the unit's own log and of what the manager said about it: time and text, oldest first.
    pub fn last_lines(&self, unit: &UnitName, count: u16) -> Result<Vec<(u64, Untrusted)>, JournalError> {
        let (own, manager) = (self.unit(SYSTEMD_UNIT, unit), self.unit(UNIT, unit));
        let lines = format!("--lines={count}");
        let mut out = Vec::new();
        // not only the manager itself: its executor says why a program cannot be started, and may be gone before
        // the journal knows whose it was
        let by = self.scope.owner().is_none().then(|| "_UID=0".to_owned());
        let matches: Vec<String> = own.into_iter().chain(["+".to_owned()]).chain(by).chain(manager).collect();
        self.ask_of_unit(&[&lines], &matches, "MESSAGE,_SOURCE_REALTIME_TIMESTAMP", |entry| {
            let text = entry.bytes("MESSAGE").map(Untrusted::new);
            out.extend(entry.time().zip(text));
        })?;
        Ok(out)
    }
}

/// Arguments of journalctl; with a folder, of the journal there.
fn of_folder(arguments: &[&str], folder: Option<&Path>) -> Vec<OsString> {
    let folder = folder.into_iter().flat_map(|folder| [OsString::from("--directory"), folder.into()]);
    arguments.iter().map(OsString::from).chain(folder).collect()
}

/// Have journalctl print the entries of a journal file that can matter.
pub(super) fn printed_by_journalctl(
    path: &Path,
    interrupt: &Interrupt,
    each: impl FnMut(&Entry),
) -> Result<(), JournalError> {
    let program = system_program::find("journalctl").ok_or(JournalError::Missing)?;
    let mut file = OsString::from("--file=");
    file.push(path);
    let matches = format!(
        "_AUDIT_TYPE={AUDIT_SECCOMP} + _TRANSPORT=kernel + MESSAGE_ID={MESSAGE_COREDUMP} + EXIT_STATUS=31"
    );
    let mut arguments: Vec<_> = ["-o", "json", "--no-pager", "--all"].map(Into::into).to_vec();
    arguments.push(file);
    arguments.extend(matches.split(' ').map(Into::into));
    entries(&program, &arguments, interrupt, each)
}

/// What names a record: its serial number where that is known, and its process and call.
type Identity = (Option<u64>, u32, u32, u64);

impl KernelRecords {
    fn take<E: Fields>(
        &mut self,
        entry: &E,
        seen: &mut HashSet<Identity>,
        read: impl Fn(&E) -> Option<(Result<Record, ()>, Source)>,
    ) {
        let (record, source) = match read(entry) {
            None => return,
            Some((Err(()), _)) => {
                self.malformed += 1;
                return;
            }
            Some((Ok(record), source)) => (record, source),
        };
        // the serial number restarts with the kernel only, and this is one boot
        let time = if record.serial.is_some() { 0 } else { record.time_us.unwrap_or_default() };
        if !seen.insert((record.serial, record.pid, record.number, time)) {
            return;
        }
        match record.denial(source) {
            Some(denial) => drop(self.kept.push(denial)),
            None => self.foreign += 1,
        }
    }
}

/// A record that journald received from the kernel's audit. Time and number stand in fields of their own.
pub(super) fn audit_record(entry: &impl Fields) -> Option<(Result<Record, ()>, Source)> {
    if entry.text("_TRANSPORT")? != "audit" || entry.number::<u16>("_AUDIT_TYPE")? != AUDIT_SECCOMP {
        return None;
    }
    let record = record::parse(&entry.bytes("MESSAGE")?).ok().flatten().ok_or(());
    let record = record.map(|record| Record {
        time_us: record.time_us.or_else(|| entry.time()),
        serial: record.serial.or_else(|| entry.number("_AUDIT_ID")),
        ..record
    });
    Some((record, Source::JournalAudit))
}

/// A record in the kernel's log. What was written to /dev/kmsg comes the same way, with another facility: the kernel
/// lets nobody have its own (`devkmsg_write()` in kernel/printk/printk.c).
pub(super) fn kernel_record(entry: &impl Fields) -> Option<(Result<Record, ()>, Source)> {
    if entry.text("_TRANSPORT")? != "kernel" || entry.text("SYSLOG_FACILITY")? != "0" {
        return None;
    }
    let message = entry.bytes("MESSAGE")?;
    if !message.starts_with(b"audit: type=1326 ") {
        return None;
    }
    Some((record::parse(&message).ok().flatten().ok_or(()), Source::JournalKernel))
}

/// Any service can write an entry with this message ID; only systemd-coredump's own unit is believed.
pub(super) fn core_dump(entry: &impl Fields) -> Option<CoreDump> {
    if !is_of_coredump(entry) {
        return None;
    }
    let died = entry.number("COREDUMP_TIMESTAMP").or_else(|| entry.time());
    Some(CoreDump {
        time: died?,
        pid: entry.number("COREDUMP_PID")?,
        signal: entry.number("COREDUMP_SIGNAL")?,
        comm: Untrusted::new(entry.bytes("COREDUMP_COMM").unwrap_or_default()),
        exe: entry.bytes("COREDUMP_EXE").map(Untrusted::new),
        command: entry.bytes("COREDUMP_CMDLINE").map(Untrusted::new),
    })
}

/// Of a process that is gone already, journald takes the unit that it named itself when it connected, if it was root
/// (`client_context_read_cgroup()` in src/journal/journald-context.c); then there is no control group.
fn pid_of_unit(entry: &impl Fields) -> Option<(u32, u64)> {
    entry.text("_SYSTEMD_CGROUP")?;
    entry.number("_PID").zip(entry.time())
}

fn kept_core(entry: &impl Fields) -> Option<KeptCore> {
    is_of_coredump(entry).then(|| KeptCore {
        message: Untrusted::new(entry.bytes("MESSAGE").unwrap_or_default()),
        file: entry.bytes("COREDUMP_FILENAME").map(Untrusted::new),
        limit: entry.number("COREDUMP_RLIMIT"),
    })
}

fn is_of_coredump(entry: &impl Fields) -> bool {
    entry.text("_SYSTEMD_UNIT").is_some_and(|unit| unit.starts_with("systemd-coredump@"))
}

/// `Main process exited, code=killed, status=31/SYS` and the like; the unit's other messages are not about an end.
pub(super) fn manager_report(entry: &impl Fields) -> Option<ManagerReport> {
    (entry.text("_PID")? == "1").then(|| report(entry))?
}

/// The same, of the manager of the user who asks, who may write there what they like.
fn user_manager_report(entry: &impl Fields) -> Option<ManagerReport> {
    (entry.text("_SYSTEMD_USER_UNIT")? == "init.scope").then(|| report(entry))?
}

fn report(entry: &impl Fields) -> Option<ManagerReport> {
    if entry.text("_TRANSPORT")? != "journal" {
        return None;
    }
    let code = entry.text("EXIT_CODE");
    if code.is_none() && entry.text("UNIT_RESULT").is_none() {
        return None;
    }
    let killed = code.is_some_and(|code| code == "killed" || code == "dumped");
    Some(ManagerReport {
        time: entry.time()?,
        sigsys: killed && entry.number::<i32>("EXIT_STATUS") == Some(libc::SIGSYS),
        command: entry.text("COMMAND").map(Cow::into_owned),
        what: Untrusted::new(entry.bytes("MESSAGE").unwrap_or_default()),
    })
}

#[cfg(test)]
#[path = "journal/tests.rs"]
mod tests;
