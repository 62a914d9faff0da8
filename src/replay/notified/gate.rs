//! The gate: unitfix's own program at the head of a command of the unit, inside of the unit. It installs the filter of
//! the replay, waits until the supervisor outside listens, and executes the command in its own place, with its process
//! ID, its environment and its descriptors.
//!
//! It needs neither a socket nor a file system of its own for that. The supervisor is told by inotify(7) that the
//! filter's program is being read, and takes the listener itself (pidfd_getfd(2)). The call that the gate waits in is
//! one that the filter always raises a notification of: it comes back when somebody listens.

use crate::replay::local::{executor_name, find_program};
use crate::report::output;
use crate::seccomp::bpf;
use crate::seccomp::kernel::{self, Program};
use nix::errno::Errno;
use nix::sys::prctl;
use std::convert::Infallible;
use std::ffi::{CString, OsString};
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// The first argument that makes unitfix a gate.
pub const ARGUMENT: &str = "__gate";

/// The word that says that the second word of the command is its `argv[0]`.
pub(super) const ARGV0: &str = "argv0";
/// The word that says that SIGPIPE is ignored.
pub(super) const IGNORE_SIGPIPE: &str = "sigpipe";
/// The word behind which the command follows.
pub(super) const COMMAND: &str = "--";

/// `BPF_MAXINSNS` (linux/bpf_common.h): no program is longer, in instructions of eight bytes.
const PROGRAM_MAX: u64 = 4096 * 8;

/// Exit statuses of the manager's executor (systemd.exec(5) "Process Exit Codes").
const EXEC: u8 = 203;
const SECCOMP: u8 = 228;
const EXCEPTION: u8 = 255;

/// Why the command was not executed: the exit status and the words.
type Failure = (u8, String);

/// The gate's main function: `unitfix __gate FILTER [argv0] [sigpipe] -- PROGRAM [ARGUMENT...]`. Comes back only if the
/// command could not be executed.
#[must_use]
pub fn gate_main() -> ExitCode {
    let Err((status, words)) = go_through(std::env::args_os().skip(2));
    output::message(&format!("unitfix: {words}\n"));
    ExitCode::from(status)
}

fn go_through(mut words: impl Iterator<Item = OsString>) -> Result<Infallible, Failure> {
    let usage = || (EXCEPTION, "this is for replays only".to_owned());
    let path = PathBuf::from(words.next().ok_or_else(usage)?);
    let options: Vec<OsString> = words.by_ref().take_while(|word| word != COMMAND).collect();
    let is_set = |option: &str| options.iter().any(|word| word == option);
    let command: Vec<OsString> = words.collect();
    let program = program(command, is_set(ARGV0)).ok_or_else(usage)?;

    let refused = |errno: Errno| (SECCOMP, format!("the filter of the replay: {}", errno.desc()));
    let unread = |error: io::Error| (SECCOMP, format!("the filter of the replay: {error}"));
    // open until the command is executed: as long, the supervisor looks for this process
    let mut file = File::open(path).map_err(unread)?;
    let mut bytes = Vec::new();
    file.by_ref().take(PROGRAM_MAX).read_to_end(&mut bytes).map_err(unread)?;
    let filter = bpf::from_bytes(&bytes).ok_or_else(|| refused(Errno::EINVAL))?;

    // the runtime of Rust ignores SIGPIPE; all others are as the manager left them
    kernel::reset_signals(is_set(IGNORE_SIGPIPE));
    let name = CString::new(executor_name(program.path.as_bytes())).unwrap_or_default();
    let _unnamed = prctl::set_name(&name); // a matter of looks
    // closes at exec, as the file does
    let _listener = kernel::install_with_listener(&filter).map_err(refused)?;
    kernel::greet().map_err(refused)?;
    let errno = program.ready.execute();
    Err((EXEC, format!("{}: {}", Path::new(&program.path).display(), errno.desc())))
}

/// A command that can be executed.
struct Ready {
    path: OsString,
    ready: Program,
}

/// Nothing: there is no command.
fn program(mut command: Vec<OsString>, argv0: bool) -> Option<Ready> {
    let named = command.first()?.clone();
    // as the manager does (`path_simplify()`)
    let simple = || Path::new(&named).components().collect::<PathBuf>().into_os_string();
    let path = match named.to_str() {
        Some(name) if !name.contains('/') => find_program(name).map_or_else(|| named.clone(), OsString::from),
        _ => simple(),
    };
    if argv0 {
        command.remove(0);
    } else if let Some(first) = command.first_mut().filter(|word| word.as_bytes().contains(&b'/')) {
        *first = simple();
    }
    let string = |text: OsString| CString::new(text.into_vec()).ok();
    let environment =
        std::env::vars_os().map(|(name, value)| [name, "=".into(), value].into_iter().collect());
    let environment: Option<Vec<CString>> = environment.map(string).collect();
    let arguments: Option<Vec<CString>> = command.into_iter().map(string).collect();
    let ready = Program::new(string(path.clone())?, arguments?, environment?);
    Some(Ready { path, ready })
}
