//! The stacks of processes that were killed, from the core dumps that systemd-coredump keeps.

use super::core_file::Core;
use super::programs::Known;
use super::{Stack, stack::inside, told};
use crate::evidence::journal::{CoreDump, Journal, JournalError, KeptCore};
use crate::evidence::{Denial, Effect, Untrusted};
use crate::interrupt::Interrupt;
use crate::root::Root;
use crate::syscalls::Call;
use crate::unit::UnitName;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// So many core dumps of one program are looked at, the newest first: all say the same, unless files are gone.
const OF_A_PROGRAM: usize = 4;

/// So many are looked at in all.
const LOOKED_AT: usize = 32;

/// Where the kernel is told who gets core dumps (core(5)).
const PATTERN: &str = "/proc/sys/kernel/core_pattern";

/// What systemd-coredump is, where it is installed.
const HANDLER: [&str; 2] = ["/usr/lib/systemd/systemd-coredump", "/lib/systemd/systemd-coredump"];

/// Give the kills among the denials of a unit the stacks that the unit's core dumps show. Returns why there are none,
/// if there are none.
pub fn add_stacks(
    denials: &mut [Denial],
    dumps: &[CoreDump],
    journal: &Journal,
    unit: &UnitName,
    interrupt: &Interrupt,
) -> Result<Option<String>, JournalError> {
    let root = Root::default();
    let killed = |d: &Denial| d.effect == Effect::Killed;
    if !denials.iter().any(killed) {
        return Ok(None);
    }
    let mut known = Known::default();
    let mut why = None;
    let mut looked_at: Vec<&Untrusted> = Vec::new();
    for dump in dumps.iter().rev().filter(|dump| dump.signal == libc::SIGSYS) {
        let program = dump.exe.as_ref().unwrap_or(&dump.comm);
        let times = looked_at.iter().filter(|other| **other == program).count();
        let wanted = |d: &Denial| killed(d) && d.stack.is_empty() && is_of(d, dump);
        if times >= OF_A_PROGRAM || looked_at.len() >= LOOKED_AT || !denials.iter().any(wanted) {
            continue;
        }
        looked_at.push(program);
        let Some(kept) = journal.kept_core(unit, dump.pid)? else { continue };
        match seen_in(&kept, dump, &root, &mut known, interrupt) {
            Ok((call, stack)) => give(denials, &wanted, call, &stack),
            Err(reason) => why = Some(reason),
        }
        if interrupt.raised() {
            return Err(JournalError::Interrupted);
        }
    }
    if denials.iter().any(|d| killed(d) && !d.stack.is_empty()) {
        return Ok(None);
    }
    Ok(Some(why.unwrap_or_else(|| nothing_kept(&root))))
}

/// The call, where the core dump tells, and the stack; or why there is none.
fn seen_in(
    kept: &KeptCore,
    dump: &CoreDump,
    root: &Root,
    known: &mut Known,
    interrupt: &Interrupt,
) -> Result<(Option<Call>, Stack), String> {
    let mut text = told::stack(kept.message.bytes());
    let why = match kept.file.as_ref().map(|file| Core::open(root, file.bytes(), interrupt)) {
        Some(Ok(core)) => {
            let stack = core.unwind(root, known);
            if stack.is_named() || text.is_empty() {
                return Ok((core.call, stack));
            }
            return Ok((core.call, text));
        }
        Some(Err(error)) => error.to_string(),
        None if kept.limit == Some(0) => "LimitCORE= of the unit does not let one be kept".to_owned(),
        None => "none was kept".to_owned(),
    };
    if text.is_empty() {
        return Err(format!("of the core dump of {}: {why}", dump.comm));
    }
    if let Some(exe) = &dump.exe {
        name(&mut text, exe, dump.time, root, known);
    }
    Ok((None, text))
}

/// Give the functions of the program itself names from its file, if that is no newer than the core dump.
fn name(stack: &mut Stack, exe: &Untrusted, died: u64, root: &Root, known: &mut Known) {
    let path = Path::new(OsStr::from_bytes(exe.bytes()));
    let older = root.changed(path).is_some_and(|changed| changed <= died);
    let file = root.open_file(path).ok().filter(|_| older);
    let Some(program) = file.and_then(|file| known.read(&file)) else { return };
    let base = path.file_name().map(OsStr::as_bytes).unwrap_or_default();
    for (number, frame) in stack.frames.iter_mut().enumerate() {
        if frame.module.as_ref().is_none_or(|module| module.bytes() != base) {
            continue;
        }
        frame.module = Some(exe.clone());
        let address = frame.address.saturating_add(program.base());
        let name = known.name(&program, exe.bytes(), inside(number, address));
        if name.function.is_some() {
            (frame.function, frame.file, frame.line) = (name.function, name.file, name.line);
            frame.address = address;
        }
    }
}

/// The stack belongs to the kills of this program for this call; without the call, to those for the only one that it
/// was killed for.
fn give(denials: &mut [Denial], wanted: &dyn Fn(&Denial) -> bool, call: Option<Call>, stack: &Stack) {
    let mut calls: Vec<Call> = denials.iter().filter(|d| wanted(d)).map(|d| d.call).collect();
    calls.sort_unstable();
    calls.dedup();
    let call = match (call, calls.as_slice()) {
        (Some(call), _) => call,
        (None, [only]) => *only,
        (None, _) => return,
    };
    for denial in denials.iter_mut().filter(|d| d.call == call && wanted(d)) {
        denial.stack = stack.clone();
    }
}

/// Whether a denial is one of the program whose core was dumped. All such dumps are the unit's own.
fn is_of(denial: &Denial, dump: &CoreDump) -> bool {
    match (&denial.process.exe, &dump.exe) {
        (Some(denied), Some(dumped)) => denied == dumped,
        _ => denial.process.comm == dump.comm,
    }
}

fn nothing_kept(root: &Root) -> String {
    let pattern = std::fs::read_to_string(PATTERN).unwrap_or_default();
    if pattern.contains("coredump") {
        "systemd-coredump has no core dump of the unit".to_owned()
    } else if HANDLER.iter().any(|path| root.size(Path::new(path)).is_some()) {
        format!(
            "core dumps do not go to systemd-coredump, but to {} ({PATTERN})",
            Untrusted::new(pattern.trim())
        )
    } else {
        "systemd-coredump is not installed, so nothing is kept of processes that are killed (apt install \
         systemd-coredump)"
            .to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::super::Frame;
    use super::*;
    use crate::evidence::{Process, Source};
    use crate::syscalls::Arch;

    #[test]
    fn only_to_the_call_that_it_shows() {
        let call = |number| Call { arch: Arch::X86_64, number };
        let denial = |exe: &str, number| Denial {
            call: call(number),
            effect: Effect::Killed,
            process: Process { exe: Some(Untrusted::new(exe)), ..Process::default() },
            time: None,
            source: Source::JournalAudit,
            attribution: None,
            arguments: Vec::new(),
            raw_arguments: None,
            stack: Stack::default(),
        };
        let dump = CoreDump {
            time: 0,
            pid: 7,
            signal: libc::SIGSYS,
            comm: Untrusted::default(),
            exe: Some(Untrusted::new("/a")),
            command: None,
        };
        let stack = Stack { frames: vec![Frame::default()] };
        let given = |call, all: &[Denial]| {
            let mut all = all.to_vec();
            give(&mut all, &|d| is_of(d, &dump), call, &stack);
            all.iter().map(|d| !d.stack.is_empty()).collect::<Vec<_>>()
        };
        let all = [denial("/a", 160), denial("/a", 92), denial("/b", 160), denial("/a", 160)];
        assert_eq!(given(Some(call(160)), &all), [true, false, false, true]);
        assert_eq!(given(Some(call(1)), &all), [false; 4]);
        assert_eq!(given(None, &all), [false; 4]);
        assert_eq!(given(None, &all[2..]), [false, true]);
    }
}
