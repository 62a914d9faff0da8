//! A question to another program: its answer, if it gives one in time.

use crate::seccomp::descriptors::open_process;
use crate::system_program::{command, find};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use std::ffi::{OsStr, OsString};
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

/// No answer that is waited for is longer.
const ANSWER_MAX: usize = 64 * 1024;

/// What a program of the system prints on standard output before it ends successfully. Nothing, if there is no such
/// program, it fails, or it has not ended in time: then it is killed. Of the environment it sees only these variables.
pub(super) fn ask(
    program: impl AsRef<Path>,
    arguments: &[impl AsRef<OsStr>],
    variables: impl Iterator<Item = (&'static str, OsString)>,
    patience: Duration,
) -> Option<Vec<u8>> {
    let deadline = Instant::now() + patience;
    let program = program.as_ref();
    let program = if program.is_absolute() { program.to_owned() } else { find(program.to_str()?)? };
    let mut child = command(&program)
        .args(arguments)
        .envs(variables)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .ok()?;
    let answer = child.stdout.take().and_then(|stdout| read(stdout, deadline));
    let pid = Pid::from_raw(i32::try_from(child.id()).ok()?);
    let ended = answer.is_some() && open_process(pid).is_ok_and(|end| readable(end.as_fd(), deadline));
    if !ended {
        let _ = killpg(pid, Signal::SIGKILL); // what it started holds its output open, too
    }
    child.wait().ok().filter(std::process::ExitStatus::success)?;
    answer
}

fn readable(fd: BorrowedFd, deadline: Instant) -> bool {
    let left = PollTimeout::try_from(deadline.saturating_duration_since(Instant::now()));
    poll(&mut [PollFd::new(fd, PollFlags::POLLIN)], left.unwrap_or(PollTimeout::MAX))
        .is_ok_and(|ready| ready > 0)
}

fn read(mut from: impl Read + AsFd, deadline: Instant) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        if !readable(from.as_fd(), deadline) {
            return None;
        }
        match from.read(&mut buffer).ok()? {
            0 => return Some(out),
            length if out.len() + length <= ANSWER_MAX => out.extend_from_slice(buffer.get(..length)?),
            _ => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_in_time_or_none() {
        let ask = |script: &str| ask("sh", &["-c", script], std::iter::empty(), Duration::from_millis(500));
        assert_eq!(ask("echo $LC_ALL; cd; echo ${HOME-none}").as_deref(), Some(&b"C.UTF-8\nnone\n"[..]));
        assert_eq!(ask("echo a; exit 1"), None);
        assert_eq!(ask("echo a; sleep 60"), None);
        assert_eq!(ask("yes"), None);
        assert_eq!(
            super::ask("no-such-program", &[""], std::iter::empty(), Duration::from_millis(500)),
            None
        );
    }
}
