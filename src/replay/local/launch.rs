//! The launcher: unitfix executes itself as a small process that becomes one command of the unit. It gives itself
//! what the manager would give, puts the filter on, and executes the program.
//!
//! Once the filter is on, any call may be forbidden, also those that would pass on the filter's listener or take
//! memory. Filters belong to threads; so a second thread, which started before and stays without a filter, is the
//! courier: it sends the listener to the supervisor and waits for the answer, while the first thread only spins
//! and then executes the program. That ends the courier. If it fails, the courier reports why.

use super::limits::Limit;
use crate::seccomp::descriptors;
use crate::seccomp::kernel::{self, Program};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::prctl;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};
use nix::sys::stat::{Mode, umask};
use nix::unistd::{Gid, Uid};
use serde::{Deserialize, Serialize};
use std::ffi::CString;
use std::io::{self, IoSlice, Read, Write};
use std::os::fd::{AsFd, AsRawFd, IntoRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::sync::{Arc, mpsc};

/// The first argument that makes unitfix a launcher.
pub const ARGUMENT: &str = "__launch";

/// The courier's message that the listener comes with.
pub(super) const LISTENER: u8 = b'L';
/// The message that a [`Failure`] follows, up to the end of the stream.
pub(super) const FAILED: u8 = b'F';
/// The supervisor's answer to [`LISTENER`].
pub(super) const GO: u8 = b'G';
/// The supervisor's message after the specification, with the command's standard input unless that is empty.
const INPUT: u8 = b'I';

/// No specification is longer.
const SPEC_MAX: u64 = 64 * 1024 * 1024;

/// All that a command needs.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[expect(clippy::struct_excessive_bools, reason = "each is a setting of its own")]
pub(super) struct Spec {
    pub(super) path: String,
    pub(super) arguments: Vec<String>,
    pub(super) environment: Vec<String>,
    /// `SYSTEMD_EXEC_PID` is set, as the manager sets it.
    pub(super) told_its_pid: bool,
    pub(super) directory: String,
    /// A folder that is not there does not matter.
    pub(super) directory_optional: bool,
    pub(super) umask: u32,
    pub(super) limits: Vec<Limit>,
    pub(super) identity: Option<Identity>,
    pub(super) no_new_privileges: bool,
    pub(super) nice: Option<i32>,
    pub(super) oom_score_adjust: Option<i32>,
    pub(super) ignore_sigpipe: bool,
    /// The filter's instructions; nothing for a command without a filter.
    pub(super) filter: Option<Vec<(u16, u8, u8, u32)>>,
}

/// What a command reads and writes.
pub(super) struct Streams {
    /// Nothing: /dev/null.
    pub(super) input: Option<OwnedFd>,
    pub(super) output: OwnedFd,
    pub(super) errors: OwnedFd,
}

/// Who a command runs as.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Identity {
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) groups: Vec<u32>,
}

/// Why a command could not be executed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Failure {
    /// The exit status that systemd's executor gives for it (systemd.exec(5) "Process Exit Codes").
    pub(super) status: u8,
    pub(super) what: String,
    pub(super) errno: i32,
}

impl Failure {
    fn new(status: u8, what: impl Into<String>) -> impl FnOnce(Errno) -> Failure {
        let what = what.into();
        move |errno| Failure { status, what, errno: errno as i32 }
    }
}

const CHDIR: u8 = 200;
const EXEC: u8 = 203;
const STDIN: u8 = 208;
const GROUP: u8 = 216;
const USER: u8 = 217;
const SETSID: u8 = 220;
const NO_NEW_PRIVILEGES: u8 = 227;
pub(super) const SECCOMP: u8 = 228;
const EXCEPTION: u8 = 255;

/// What the two threads tell each other without a system call.
struct Gate {
    /// The listener's descriptor; negative: not yet.
    listener: AtomicI32,
    /// The supervisor listens.
    go: AtomicBool,
    /// The errno with which the program could not be executed; 0: not so.
    failed: AtomicI32,
}

/// The launcher's main function: `unitfix __launch`, with the supervisor's socket as standard input. Comes back
/// only if the command could not be executed.
#[must_use]
pub fn launch_main() -> ExitCode {
    let Ok(mut control) = io::stdin().as_fd().try_clone_to_owned().map(UnixStream::from) else {
        return ExitCode::from(EXCEPTION);
    };
    let result = read_spec(&mut control)
        .map_err(|error| {
            let errno = error.raw_os_error().map_or(Errno::EPROTO, Errno::from_raw);
            Failure::new(EXCEPTION, "its instructions could not be read")(errno)
        })
        .and_then(|(spec, input)| launch(&spec, input, &control));
    match result {
        Ok(never) => match never {},
        Err(failure) => report(&mut control, &failure),
    }
}

/// Send a specification to a launcher, and the command's standard input.
pub(super) fn send_spec(control: &mut UnixStream, spec: &Spec, input: Option<&OwnedFd>) -> io::Result<()> {
    let bytes = serde_json::to_vec(spec)?;
    control.write_all(&(bytes.len() as u64).to_le_bytes())?;
    control.write_all(&bytes)?;
    match input {
        Some(input) => Ok(send_fd(control, INPUT, input.as_raw_fd())?),
        None => control.write_all(&[INPUT]),
    }
}

fn send_fd(control: &UnixStream, message: u8, fd: RawFd) -> nix::Result<()> {
    let (bytes, passed) = ([message], [fd]);
    let rights = [ControlMessage::ScmRights(&passed)];
    let sent =
        sendmsg::<()>(control.as_raw_fd(), &[IoSlice::new(&bytes)], &rights, MsgFlags::MSG_NOSIGNAL, None);
    sent.map(|_| ())
}

fn read_spec(control: &mut UnixStream) -> io::Result<(Spec, Option<OwnedFd>)> {
    let mut length = [0; 8];
    control.read_exact(&mut length)?;
    let length = u64::from_le_bytes(length);
    if length > SPEC_MAX {
        return Err(Errno::E2BIG.into());
    }
    let mut bytes = Vec::new();
    (&*control).take(length).read_to_end(&mut bytes)?;
    match descriptors::receive_with_fd(control)? {
        Some((INPUT, input)) => Ok((serde_json::from_slice(&bytes)?, input)),
        _ => Err(Errno::EPROTO.into()),
    }
}

fn report(control: &mut UnixStream, failure: &Failure) -> ExitCode {
    let mut message = vec![FAILED];
    message.extend(serde_json::to_vec(failure).unwrap_or_default());
    // if the supervisor is gone there is nobody left to tell
    let _gone = control.write_all(&message);
    ExitCode::from(failure.status)
}

fn launch(
    spec: &Spec,
    input: Option<OwnedFd>,
    control: &UnixStream,
) -> Result<std::convert::Infallible, Failure> {
    let gate = Arc::new(Gate {
        listener: AtomicI32::new(-1),
        go: AtomicBool::new(false),
        failed: AtomicI32::new(0),
    });
    // the courier starts first: limits of the unit may leave no room for a thread
    let wake = spec.filter.is_some().then(|| start_courier(spec, control, &gate)).transpose()?;
    prepare(spec, input)?;
    let program = program(spec)?;
    let Some((filter, wake)) = spec.filter.as_ref().zip(wake) else {
        return Err(Failure::new(EXEC, &spec.path)(program.execute()));
    };
    let filter: Vec<_> =
        filter.iter().map(|&(code, jt, jf, k)| libc::sock_filter { code, jt, jf, k }).collect();
    let _gone = wake.send(());
    let listener = kernel::install_with_listener(&filter).map_err(Failure::new(SECCOMP, "the filter"))?;
    // From here on this thread makes no system call but execve.
    gate.listener.store(listener.into_raw_fd(), Ordering::Release);
    while !gate.go.load(Ordering::Acquire) {
        std::hint::spin_loop();
    }
    let errno = program.execute();
    gate.failed.store(errno as i32, Ordering::Release);
    loop {
        std::hint::spin_loop(); // the courier ends the process
    }
}

/// What the manager's executor does before it executes the program, in its order.
fn prepare(spec: &Spec, input: Option<OwnedFd>) -> Result<(), Failure> {
    let null = || std::fs::File::open("/dev/null").map(OwnedFd::from).map_err(|_| Errno::ENOENT);
    let input = input.map_or_else(null, Ok);
    input.and_then(nix::unistd::dup2_stdin).map_err(Failure::new(STDIN, "standard input"))?;
    // kernels before 5.11 lack it; what Rust opens closes at exec anyway
    let _older = kernel::close_on_exec_from(3);
    kernel::reset_signals(spec.ignore_sigpipe);
    SigSet::empty().thread_set_mask().map_err(Failure::new(EXCEPTION, "the signal mask"))?;
    nix::unistd::setsid().map_err(Failure::new(SETSID, "a new session"))?;
    umask(Mode::from_bits_truncate(spec.umask));
    // the following three are wishes that a user without privileges may not have
    if let Some(nice) = spec.nice {
        let _denied = descriptors::set_nice(nice);
    }
    if let Some(score) = spec.oom_score_adjust {
        let _denied = std::fs::write("/proc/self/oom_score_adj", score.to_string());
    }
    for limit in &spec.limits {
        let _denied = limit.apply();
    }
    if let Some(identity) = &spec.identity {
        become_identity(identity)?;
    }
    enter(spec)?;
    // after the identity: changing that takes the request back
    prctl::set_pdeathsig(Signal::SIGKILL).map_err(Failure::new(EXCEPTION, "the parent's death signal"))?;
    if spec.no_new_privileges {
        prctl::set_no_new_privs().map_err(Failure::new(NO_NEW_PRIVILEGES, "no_new_privs"))?;
    }
    let name = CString::new(executor_name(spec.path.as_bytes())).unwrap_or_default();
    prctl::set_name(&name).map_err(Failure::new(EXCEPTION, "the process's name"))
}

/// The name that the manager's executor has before it executes the program: the last eight bytes of the
/// program's, in parentheses (`rename_process_from_path()`).
pub(in crate::replay) fn executor_name(path: &[u8]) -> Vec<u8> {
    let name = path.rsplit(|b| *b == b'/').next().unwrap_or_default();
    [b"(", &name[name.len().saturating_sub(8)..], b")"].concat()
}

fn become_identity(identity: &Identity) -> Result<(), Failure> {
    let groups: Vec<Gid> = identity.groups.iter().copied().map(Gid::from_raw).collect();
    let (uid, gid) = (Uid::from_raw(identity.uid), Gid::from_raw(identity.gid));
    nix::unistd::setgroups(&groups).map_err(Failure::new(GROUP, "its groups"))?;
    nix::unistd::setresgid(gid, gid, gid).map_err(Failure::new(GROUP, "its group"))?;
    nix::unistd::setresuid(uid, uid, uid).map_err(Failure::new(USER, "its user"))
}

fn enter(spec: &Spec) -> Result<(), Failure> {
    match nix::unistd::chdir(spec.directory.as_str()) {
        Err(_) if spec.directory_optional => nix::unistd::chdir("/"),
        other => other,
    }
    .map_err(Failure::new(CHDIR, &spec.directory))
}

fn program(spec: &Spec) -> Result<Program, Failure> {
    let string = |text: &String| {
        CString::new(text.as_str()).map_err(|_| Failure::new(EXEC, &spec.path)(Errno::EINVAL))
    };
    let mut environment: Vec<CString> = spec.environment.iter().map(string).collect::<Result<_, _>>()?;
    if spec.told_its_pid {
        environment.push(string(&format!("SYSTEMD_EXEC_PID={}", std::process::id()))?);
    }
    let arguments = spec.arguments.iter().map(string).collect::<Result<_, _>>()?;
    Ok(Program::new(string(&spec.path)?, arguments, environment))
}

/// Start the courier. It sleeps until it is told that the filter comes now.
fn start_courier(spec: &Spec, control: &UnixStream, gate: &Arc<Gate>) -> Result<mpsc::Sender<()>, Failure> {
    let failed = |error: io::Error| {
        let errno = error.raw_os_error().map_or(Errno::EAGAIN, Errno::from_raw);
        Failure::new(EXCEPTION, "a second thread")(errno)
    };
    let (wake, woken) = mpsc::channel();
    let (control, gate, path) = (control.try_clone().map_err(failed)?, Arc::clone(gate), spec.path.clone());
    let courier = move || {
        if woken.recv().is_ok() {
            courier(control, &gate, path);
        }
    };
    std::thread::Builder::new().stack_size(256 * 1024).spawn(courier).map_err(failed)?;
    Ok(wake)
}

fn courier(mut control: UnixStream, gate: &Gate, path: String) {
    let listener = loop {
        match gate.listener.load(Ordering::Acquire) {
            fd if fd < 0 => std::thread::yield_now(),
            fd => break fd,
        }
    };
    let sent = send_fd(&control, LISTENER, listener);
    let mut answer = [0];
    if sent.is_err() || control.read_exact(&mut answer).is_err() || answer != [GO] {
        std::process::exit(EXCEPTION.into()); // nobody listens: a denied call would fail with ENOSYS
    }
    gate.go.store(true, Ordering::Release);
    // The program's start ends this thread. That there is a failure can only be looked at: the other thread may
    // make no call to tell.
    loop {
        match gate.failed.load(Ordering::Acquire) {
            0 => {}
            errno => {
                let failure = Failure::new(EXEC, path)(Errno::from_raw(errno));
                report(&mut control, &failure);
                std::process::exit(EXEC.into());
            }
        }
        let mut hung_up = [PollFd::new(control.as_fd(), PollFlags::empty())];
        if poll(&mut hung_up, PollTimeout::from(1_u8)).is_ok_and(|n| n > 0) {
            std::process::exit(EXCEPTION.into());
        }
    }
}
