//! Where a scan reads: the logs of the running system or of one below a root, and what the user named.

use super::range::Range;
use crate::cli::Scan;
use crate::evidence::files::{Input, files_in};
use crate::evidence::log::audit_files;
use crate::finding::{Code, Finding};
use crate::interrupt::{GLANCE, Interrupt};
use crate::root::Root;
use crate::subject::Failure;
use crate::unit::shown_path;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::stat::{SFlag, fstat};
use std::fs::File;
use std::io::{self, BufRead};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

/// Where journald keeps its files (systemd-journald.service(8)).
pub(super) const JOURNALS: [&str; 2] = ["/var/log/journal", "/run/log/journal"];

/// What is read.
#[derive(Debug, Default)]
pub(super) struct Inputs {
    /// Journals first, as they tell whose the records in other logs are.
    pub all: Vec<Input>,
    /// What of the system's own logs is not read, and why.
    pub findings: Vec<Finding>,
    /// These are the logs of the running system or of one below a root, and not what the user named.
    pub of_system: bool,
    /// A log of the system may not be read by this user.
    pub denied: bool,
}

impl Inputs {
    /// What the command line names; else a pipe on standard input; else the system's own logs.
    pub(super) fn of(options: &Scan, root: Option<&Root>, interrupt: &Interrupt) -> Result<Self, Failure> {
        let mut named = Vec::new();
        for folder in &options.directory {
            let read = |error: io::Error| Failure::Usage(format!("{}: {error}", shown_path(folder)));
            let found = files_in(folder).map_err(read)?;
            if found.is_empty() {
                let message = format!("{}: there are no journal files in this directory", shown_path(folder));
                return Err(Failure::Usage(message));
            }
            named.extend(found.into_iter().map(Input::File));
        }
        for file in &options.files {
            if file == Path::new("-") {
                named.push(Input::Stdin);
                continue;
            }
            // a name that is mistyped is better said at once than after an hour
            let meta =
                file.metadata().map_err(|error| Failure::Usage(format!("{}: {error}", shown_path(file))))?;
            if meta.is_dir() {
                let message = format!("{} is a directory: name it with --directory", shown_path(file));
                return Err(Failure::Usage(message));
            }
            named.push(Input::File(file.clone()));
        }
        if named.is_empty() && is_given_something(interrupt) {
            named.push(Input::Stdin);
        }
        if named.is_empty() {
            return Ok(Inputs::of_system(root));
        }
        named.sort_by_key(|input| !is_journal(input)); // stable
        named.dedup();
        Ok(Inputs { all: named, ..Inputs::default() })
    }

    /// The journal and auditd's log.
    fn of_system(root: Option<&Root>) -> Self {
        let root = root.cloned().unwrap_or_default();
        let mut inputs = Inputs { of_system: true, ..Inputs::default() };
        for folder in JOURNALS.map(Path::new) {
            let Some(inside) = root.resolve(folder) else { continue };
            match files_in(&root.join(&inside)) {
                Ok(files) => inputs.all.extend(files.into_iter().map(Input::File)),
                Err(error) => inputs.unread(&root.join(folder), &error),
            }
        }
        match audit_files(&root) {
            Ok(files) => inputs.all.extend(files.into_iter().map(Input::File)),
            Err(error) => {
                inputs.denied |= error.is_not_permitted();
                inputs.findings.push(Finding::warning(Code::LogUnreadable, error.to_string(), None));
            }
        }
        let permitted = |input: &Input| match input {
            Input::File(path) => {
                File::open(path).err().is_none_or(|e| e.kind() != io::ErrorKind::PermissionDenied)
            }
            Input::Stdin => true,
        };
        let before = inputs.all.len();
        inputs.all.retain(permitted);
        let refused = before - inputs.all.len();
        if refused > 0 {
            inputs.denied = true;
            let message = format!(
                "{refused} of {before} log files of this system are not readable for this user: run it as root, or as \
                 a member of the group systemd-journal"
            );
            inputs.findings.push(Finding::warning(Code::LogUnreadable, message, None));
        }
        inputs
    }

    fn unread(&mut self, path: &Path, error: &io::Error) {
        self.denied |= error.kind() == io::ErrorKind::PermissionDenied;
        let message = format!("{}: {error}", shown_path(path));
        self.findings.push(Finding::warning(Code::LogUnreadable, message, None));
    }

    /// The one log that the user named, for `--log` of a repair, which takes lines of text.
    pub(super) fn single_log(&self) -> Option<PathBuf> {
        match self.all.as_slice() {
            [Input::File(path)] if !self.of_system && is_of_lines(path) => Some(path.clone()),
            _ => None,
        }
    }

    /// What is asked for where no time is: of the running system, what was since it was booted.
    pub(super) fn own_range(&self, root: Option<&Root>) -> Range {
        let since =
            if self.of_system && root.is_none() { crate::evidence::gather::boot_time() } else { None };
        Range { since, until: None }
    }
}

/// Whether a file is neither a journal, nor what journalctl prints for programs, nor compressed.
fn is_of_lines(path: &Path) -> bool {
    let mut head = [0; 8];
    let read = File::open(path).and_then(|mut file| io::Read::read(&mut file, &mut head)).unwrap_or_default();
    let head = head.get(..read).unwrap_or_default();
    head.iter().all(|b| b.is_ascii_graphic() || b.is_ascii_whitespace())
        && ![&b"{"[..], b"__", b"LPKSHHRH"].iter().any(|other| head.starts_with(other))
}

fn is_journal(input: &Input) -> bool {
    let Input::File(path) = input else { return false };
    path.extension().is_some_and(|end| end == "journal" || end == "journal~")
}

/// Whether standard input is a pipe or a file with something in it. One that is a terminal, a socket or a device was
/// not meant, and neither was a pipe that ends at once, as programs give to those that they start.
fn is_given_something(interrupt: &Interrupt) -> bool {
    let input = io::stdin();
    let kind = fstat(&input).map(|stat| SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT);
    if !kind.is_ok_and(|kind| kind == SFlag::S_IFIFO || kind == SFlag::S_IFREG) {
        return false;
    }
    let glance = PollTimeout::try_from(GLANCE).unwrap_or(PollTimeout::ZERO);
    while !interrupt.raised() {
        match poll(&mut [PollFd::new(input.as_fd(), PollFlags::POLLIN)], glance) {
            Ok(0) | Err(Errno::EINTR) => {}
            Ok(_) => return input.lock().fill_buf().is_ok_and(|bytes| !bytes.is_empty()),
            Err(_) => return false,
        }
    }
    true // whatever it is, it is not read to its end
}
