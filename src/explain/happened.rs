//! What happened: a record of the kernel, a signal, an exit status, a core dump.

use super::parse::Records;
use super::{Context, Kind, Topic, call, knowledge, unit};
use crate::evidence::record::{NOBODY_LOGGED_IN, Record};
use crate::evidence::{Effect, Process, Untrusted};
use crate::policy::Policy;
use crate::syscalls::{Arch, Call};
use nix::sys::signal::Signal;
use serde::Serialize;

/// What the kernel wrote, as far as it matters.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "KernelRecord"))]
pub struct RecordRow {
    /// How many records there are of this call of this program; the rest is of the last.
    pub count: usize,
    /// When, in microseconds since the epoch.
    pub time: Option<u64>,
    /// The process; 0 where the line does not tell.
    pub pid: u32,
    /// The user that it ran as.
    pub user: Option<u32>,
    /// The name that it had.
    pub program: Untrusted,
    /// Its program file.
    pub exe: Option<Untrusted>,
    /// The architecture of the call; nothing where unitfix does not know it.
    pub architecture: Option<Arch>,
    /// The call's number.
    pub number: Option<u32>,
    /// The action of the filter (`SECCOMP_RET_*`).
    pub action: Option<u32>,
}

impl RecordRow {
    /// Whether the filter let the call pass and only asked for the record.
    #[must_use]
    pub fn was_let_pass(&self) -> bool {
        self.action.is_some_and(|action| action & 0xffff_0000 == 0x7ffc_0000) // SECCOMP_RET_LOG
    }
}

/// What a filter does, for someone who has never heard of it.
const WHAT_A_FILTER_IS: &str = "A system call is how a program asks the kernel for something: to open a file, to start \
    a process, to set a limit. A unit's SystemCallFilter= says which of them its programs may make.";

/// Explain a record.
pub(super) fn record(records: &Records, context: Context) -> Topic {
    let record = &records.last;
    let name = record.call.map(|call| call.to_string());
    let what =
        name.unwrap_or_else(|| format!("number {} of architecture {:x}", record.number, record.audit_arch));
    let comm = record.comm.to_string();
    let whom = match Process::before_exec(&comm) {
        Some(inner) => format!("systemd's own executor, before {inner} began,"),
        None if comm.is_empty() => "a process".to_owned(),
        None => comm.clone(),
    };
    let who = if comm.is_empty() { "A process" } else { &whom };
    let named = record.call.and_then(|call| Some((call, call.name()?)));
    let mut topic =
        named.map_or_else(|| nameless(record, context), |(call, name)| call::about(call, name, context));
    topic.kind = Kind::Record;
    // what systemd did not forbid, and what somebody ran who logged in, is no matter of a unit
    topic.filter = record.effect().is_some() && record.login == NOBODY_LOGGED_IN;
    topic.summary = match record.effect() {
        Some(Effect::Killed) => format!("The kernel killed {whom} for making the system call {what}."),
        Some(Effect::Recorded) => {
            format!(
                "{who} made the system call {what}; the kernel let it pass and logged it, as a filter asked."
            )
        }
        Some(Effect::Failed(_)) => format!("{who} made the system call {what}, and a filter let it fail."),
        None if record.code & 0xffff_0000 == 0x0003_0000 => {
            format!("{who} got SIGSYS for making the system call {what}, as a filter asked.")
        }
        None => format!("{who} made the system call {what}, and a filter took notice of it."),
    };
    let killed = record.effect() == Some(Effect::Killed);
    let allowing =
        context.unit.filter(|(_, policy)| killed && record.call.is_some_and(|c| allows(policy, c)));
    let mut notes = record_notes(record, allowing.map(|(label, _)| label));
    notes.append(&mut topic.notes);
    topic.notes = notes;
    topic.record = Some(RecordRow {
        count: records.count(),
        time: record.time_us,
        pid: record.pid,
        user: Some(record.uid),
        program: record.comm.clone(),
        exe: record.exe.clone(),
        architecture: record.call.map(|call| call.arch),
        number: Some(record.call.map_or(record.number, |call| call.number)),
        action: Some(record.code),
    });
    topic
}

/// A record of a number that has no name.
fn nameless(record: &Record, context: Context) -> Topic {
    let mut topic = Topic::new(Kind::Record, String::new());
    let note = "unitfix knows no call of this number: it is newer than unitfix, or none at all.";
    topic.notes.push(note.to_owned());
    let unit = context.unit.zip(record.call);
    topic.policy.extend(unit.map(|((label, policy), call)| unit::verdict(policy, label, call)));
    topic
}

/// Whether a policy lets a call pass, whatever its arguments are.
fn allows(policy: &Policy, call: Call) -> bool {
    let answer = policy.answer(call);
    !answer.otherwise.denies() && answer.for_arguments.iter().all(|entry| !entry.decision.denies())
}

/// `allowing` is a unit that was named and whose policy lets the call pass.
fn record_notes(record: &Record, allowing: Option<&str>) -> Vec<String> {
    let mut out = Vec::new();
    match record.effect() {
        Some(Effect::Killed) if allowing.is_some() => out.push(format!(
            "{} allows this call as it is now, so it was another unit's process, a sandbox that the program put \
             around itself, or the unit's filter was another one at that time.",
            allowing.unwrap_or_default()
        )),
        Some(Effect::Killed) => out.push(
            "The SystemCallFilter= of its unit, or a sandbox of its own, says which calls it may make, and this one \
             is not among them."
                .to_owned(),
        ),
        Some(Effect::Recorded) => {
            out.push("SystemCallLog= of a unit asks for that, and so does a replay of unitfix.".to_owned());
        }
        Some(Effect::Failed(_)) => {}
        // SECCOMP_RET_TRAP and others: src/shared/seccomp-util.c of systemd installs none of them
        None => out.push(
            "No filter of systemd does this: it comes from a sandbox of the program's own or of a container, and no \
             change of the unit's SystemCallFilter= lifts it."
                .to_owned(),
        ),
    }
    if let Some(call) =
        record.call.filter(|call| call.arch != Arch::native() && record.effect() == Some(Effect::Killed))
    {
        out.push(format!(
            "It is a call of the architecture {}, not of this machine's own ({}). SystemCallArchitectures=native \
             forbids all of those, and then naming the call does not help: the architecture has to be let in.",
            call.arch,
            Arch::native()
        ));
    }
    if record.login != NOBODY_LOGGED_IN {
        out.push(format!(
            "The process descends from a login of user {}, so that it belongs to no system service.",
            record.login
        ));
    }
    out
}

/// Explain the end of a process by a signal.
pub(super) fn signal(signal: Signal, process: Option<&str>, unit: Option<&str>) -> Topic {
    let whose = match (process, unit) {
        (Some(which), unit) => Some(format!("The {which} process of {}", unit.unwrap_or("the service"))),
        (None, Some(unit)) => Some(format!("A process of {unit}")),
        (None, None) => None,
    };
    if signal != Signal::SIGSYS {
        let who = whose.unwrap_or_else(|| "A process".to_owned());
        let name = signal.as_str();
        let mut topic =
            Topic::new(Kind::Signal, format!("{who} was ended by the signal {name} ({}).", signal as i32));
        topic.filter = false;
        topic.notes.push(
            "A system call filter kills by SIGSYS (31), so this has another cause; unless a call that the filter lets \
             fail with an errno made the program give up."
                .to_owned(),
        );
        return topic;
    }
    let summary = match whose {
        Some(who) => format!("{who} was killed by SIGSYS (31): it made a system call that its filter forbids."),
        None => "SIGSYS (31), \"bad system call\", is how the kernel kills a program that makes a system call which \
                 its filter forbids."
            .to_owned(),
    };
    let mut topic = Topic::new(Kind::Signal, summary);
    topic.notes.push(WHAT_A_FILTER_IS.to_owned());
    topic.notes.push(
        "This does not tell which call it was. The kernel's record does, a line with type=1326 or SECCOMP."
            .to_owned(),
    );
    topic
}

/// Explain an exit status.
pub(super) fn exit(status: u8) -> Topic {
    if status == 159 {
        let summary = "Exit status 159 is 128 + 31: a shell's way to say that a program was killed by SIGSYS, for \
                       making a system call which its filter forbids.";
        let mut topic = Topic::new(Kind::ExitStatus, summary.to_owned());
        topic.notes.push(WHAT_A_FILTER_IS.to_owned());
        return topic;
    }
    let Some(exit) = knowledge::exit(status) else {
        let summary = format!("Exit status {status} is the program's own: its manual tells what it means.");
        let mut topic = Topic::new(Kind::ExitStatus, summary);
        topic.filter = false;
        topic.notes.push(
            "A system call filter that kills does not end a program this way. One that lets calls fail with an errno \
             can: the program then says that something is not permitted or not implemented."
                .to_owned(),
        );
        return topic;
    };
    let summary = format!(
        "{status}/{}: systemd could not {}, and so it never started the program.",
        exit.name, exit.cannot
    );
    let mut topic = Topic::new(Kind::ExitStatus, summary);
    topic.filter = exit.filter;
    if exit.filter {
        topic.notes.push(
            "Causes that were seen: an entry of SystemCallFilter= whose errno is the unit's default action anyway \
             (~uname:EPERM with SystemCallErrorNumber=EPERM, or ~uname:kill without it), and the errno 4095."
                .to_owned(),
        );
    } else {
        let setting = exit.setting.as_ref().map(|setting| format!("The setting behind it is {setting}. "));
        topic.notes.push(format!(
            "{}The system call filter is put in place last, right before the program starts, so that it is seldom the \
             cause.",
            setting.unwrap_or_default()
        ));
    }
    topic
}

/// Explain a core dump.
pub(super) fn core_dump(pid: u32, comm: &Untrusted) -> Topic {
    let summary =
        format!("The program {comm} (process {pid}) crashed, and its memory was kept for debugging.");
    let mut topic = Topic::new(Kind::CoreDump, summary);
    topic.notes.push(format!(
        "This line does not tell of which signal. coredumpctl info {pid} does: if its line \"Signal:\" says 31 (SYS), \
         the program made a system call that its filter forbids."
    ));
    topic.record = Some(RecordRow {
        count: 1,
        time: None,
        pid,
        user: None,
        program: comm.clone(),
        exe: None,
        architecture: None,
        number: None,
        action: None,
    });
    topic
}
