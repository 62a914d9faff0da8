//! Running journalctl: in an environment of its own, killed when nobody waits for it any more.

use super::{Fields, JournalError};
use crate::evidence::Untrusted;
use crate::evidence::log::{Line, Lines};
use crate::interrupt::{GLANCE, Interrupt};
use crate::system_program;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use serde_json::{Map, Value};
use std::borrow::Cow;
use std::ffi::OsString;
use std::io::{self, BufReader, Read, Seek};
use std::os::fd::AsFd;
use std::path::Path;
use std::process::{Child, ChildStdout, Stdio};
use std::time::{Duration, Instant};

/// journalctl answers the matches that are asked for within a second on a large journal; this is for a sick disk.
const PATIENCE: Duration = Duration::from_mins(1);

/// So much of what journalctl says on standard error is looked at.
const STDERR_MAX: u64 = 16 * 1024;

/// One entry of the journal, as journalctl prints it (`-o json`).
pub(in crate::evidence) struct Entry(Map<String, Value>);

impl Entry {
    pub(in crate::evidence) fn parse(line: &[u8]) -> Option<Self> {
        serde_json::from_slice(line).ok().map(Entry)
    }
}

impl Fields for Entry {
    /// journalctl prints a string, an array of bytes where it is no UTF-8, an array of such values where the entry has
    /// the field more than once, and null where it is too large.
    fn bytes(&self, field: &str) -> Option<Cow<'_, [u8]>> {
        bytes_of(self.0.get(field)?)
    }
}

/// The bytes of a value.
pub(in crate::evidence) fn bytes_of(value: &Value) -> Option<Cow<'_, [u8]>> {
    let byte = |value: &Value| value.as_u64().and_then(|number| u8::try_from(number).ok());
    match value {
        Value::String(text) => Some(Cow::Borrowed(text.as_bytes())),
        Value::Array(values) if values.first().is_some_and(Value::is_u64) => {
            values.iter().map(byte).collect::<Option<Vec<u8>>>().map(Cow::Owned)
        }
        Value::Array(values) => values.first().filter(|first| !first.is_null()).and_then(bytes_of),
        _ => None,
    }
}

/// Run journalctl and hand over the entries one by one.
pub(super) fn entries(
    program: &Path,
    arguments: &[OsString],
    interrupt: &Interrupt,
    mut each: impl FnMut(&Entry),
) -> Result<(), JournalError> {
    lines(program, arguments, interrupt, |line| {
        if let Some(entry) = Entry::parse(line) {
            each(&entry);
        }
    })
}

/// Run journalctl and hand over the lines that it prints, one by one.
pub(super) fn lines(
    program: &Path,
    arguments: &[OsString],
    interrupt: &Interrupt,
    mut each: impl FnMut(&[u8]),
) -> Result<(), JournalError> {
    // a file takes whatever journalctl has to say, so that it can never wait for us to read it
    let mut complaints = tempfile::tempfile().map_err(JournalError::Read)?;
    let stderr = complaints.try_clone().map_err(JournalError::Read)?;
    let mut child = system_program::command(program)
        .args(arguments)
        .envs([("LC_ALL", "C"), ("SYSTEMD_LOG_LEVEL", "warning")])
        .stdout(Stdio::piped())
        .stderr(Stdio::from(stderr))
        .spawn()
        .map(Killed)
        .map_err(|error| JournalError::Start { program: program.to_owned(), error })?;
    let pipe = child.0.stdout.take().ok_or_else(|| JournalError::Read(io::ErrorKind::BrokenPipe.into()))?;
    let patient = Patient { pipe, interrupt, until: Instant::now() + PATIENCE };
    let mut lines = Lines::new(BufReader::new(patient));
    while let Some(line) = lines.next_line().map_err(|error| given_up(error, interrupt))? {
        // an entry with a value longer than a line may be lacks nothing that is looked for here
        if let Line::Whole(line) = line {
            each(line);
        }
    }
    let status = child.0.wait().map_err(JournalError::Read)?;
    let mut text = Vec::new();
    complaints.rewind().map_err(JournalError::Read)?;
    complaints.take(STDERR_MAX).read_to_end(&mut text).map_err(JournalError::Read)?;
    judge(status.success(), status.code(), &text)
}

fn given_up(error: io::Error, interrupt: &Interrupt) -> JournalError {
    match error.kind() {
        _ if interrupt.raised() => JournalError::Interrupted,
        io::ErrorKind::TimedOut => JournalError::TimedOut,
        _ => JournalError::Read(error),
    }
}

/// What journalctl's exit status and complaints mean. It exits with 1 and says nothing where `--grep` finds
/// nothing, and with 0 where it saw only a part.
fn judge(success: bool, code: Option<i32>, complaints: &[u8]) -> Result<(), JournalError> {
    let text = String::from_utf8_lossy(complaints);
    if text.contains("insufficient permissions") || text.contains("not seeing messages from other users") {
        return Err(JournalError::NotPermitted);
    }
    let nothing_there = ["No journal files were found", "No such boot ID", "no persistent journal was found"];
    if nothing_there.iter().any(|words| text.contains(words)) {
        return Err(JournalError::Empty);
    }
    match text.lines().find(|line| !line.trim().is_empty()) {
        _ if success => Ok(()),
        None if code == Some(1) => Ok(()),
        first => {
            let message = Untrusted::new(first.unwrap_or("no message").as_bytes());
            Err(JournalError::Failed { message, code })
        }
    }
}

/// A child that does not outlive the interest in it.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        // a child that has been waited for is gone, and its process ID is not used again here
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Reads a pipe, but not for longer than anybody wants.
struct Patient<'a> {
    pipe: ChildStdout,
    interrupt: &'a Interrupt,
    until: Instant,
}

impl Read for Patient<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let glance = PollTimeout::try_from(GLANCE).unwrap_or(PollTimeout::ZERO);
        loop {
            if self.interrupt.raised() {
                return Err(io::Error::other("interrupted"));
            }
            if Instant::now() > self.until {
                return Err(io::ErrorKind::TimedOut.into());
            }
            let mut wait = [PollFd::new(self.pipe.as_fd(), PollFlags::POLLIN)];
            match poll(&mut wait, glance) {
                Ok(0) | Err(Errno::EINTR) => {}
                Ok(_) => return self.pipe.read(buffer),
                Err(error) => return Err(error.into()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shape_of_a_field() {
        let entry =
            Entry::parse(br#"{"A":"x","B":[255,32],"C":null,"D":["y","z"],"E":[[1],"z"],"F":[]}"#).unwrap();
        let bytes = |field| entry.bytes(field).map(Cow::into_owned);
        assert_eq!(bytes("A"), Some(b"x".to_vec()));
        assert_eq!(bytes("B"), Some(vec![255, 32]));
        assert_eq!((bytes("C"), bytes("F"), bytes("G")), (None, None, None));
        assert_eq!(bytes("D"), Some(b"y".to_vec()));
        assert_eq!(bytes("E"), Some(vec![1]));
    }

    #[test]
    fn what_journalctl_means() {
        let judged =
            |code, text: &str| judge(code == 0, Some(code), text.as_bytes()).map_err(|e| e.to_string());
        assert_eq!((judged(0, ""), judged(1, "")), (Ok(()), Ok(())));
        // journalctl 247 to 262 as nobody
        let refused = judged(1, "No journal files were opened due to insufficient permissions.\n");
        assert!(refused.unwrap_err().contains("systemd-journal"));
        let partial = "Hint: You are currently not seeing messages from other users and the system.\n";
        assert!(judged(0, partial).is_err());
        assert!(judged(1, "Failed to open: Input/output error").unwrap_err().contains("Input/output error"));
        assert!(judged(2, "").is_err());
    }
}
