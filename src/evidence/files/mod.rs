//! Logs in files and on standard input, of this host or of others: journal files, what journalctl printed, auditd's
//! log and the kernel's. Whatever they are, they are told apart by their content, read once in bounded memory, and
//! give the same few things: calls that were denied, and who says whose they were.

mod entries;
mod export;
mod folder;
mod input;
mod judge;
mod native;
mod text;

pub use folder::files_in;

use super::Untrusted;
use super::journal::{CoreDump, ManagerReport};
use super::{Denial, Source};
use crate::interrupt::Interrupt;
use judge::Seen;
use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::rc::Rc;

/// So many faults are kept with their place.
const FAULTS_MAX: usize = 100;

/// What is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// A file, links followed.
    File(PathBuf),
    /// Standard input.
    Stdin,
}

/// Where something was read.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Origin {
    /// The file; `-` is standard input.
    pub path: PathBuf,
    /// The host that it is about, where that is told: `_HOSTNAME` of a journal's entry, `node=` of a line of auditd's.
    /// Whoever sends a journal to another host says himself what he is called.
    pub host: Option<Untrusted>,
}

/// One thing that matters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    /// The kernel: a call was denied.
    Denied(Denial),
    /// systemd-coredump: a process of this unit died of SIGSYS.
    Dumped(CoreDump, Untrusted),
    /// The manager: a main or control process of this unit was killed by SIGSYS.
    Reported(ManagerReport, Untrusted),
}

/// How far the reading has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// The bytes that were gone through, of compressed files the compressed ones.
    pub bytes: u64,
    /// The bytes of all inputs; nothing where one of them is a stream.
    pub total: Option<u64>,
    /// How many things were found that matter.
    pub records: u64,
}

/// What was read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FilesRead {
    /// How far it came.
    pub progress: Progress,
    /// How many calls were denied; each counts once, though audit and the kernel's log may both tell of it.
    pub denials: u64,
    /// Records of architectures that unitfix has no names for, or of filters that let the call run.
    pub foreign: u64,
    /// Records that are not what a kernel writes, and places where a file is damaged: at most 100.
    pub malformed: Vec<Fault>,
    /// How many there are in all.
    pub malformed_total: u64,
    /// How many lines and entries were longer than any that matters, and were passed over.
    pub too_long: u64,
    /// The inputs that could not be read to their end, with the reason for people.
    pub unread: Vec<(PathBuf, String)>,
    /// Somebody wanted this process to end before all was read.
    pub interrupted: bool,
}

/// Something that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The file; `-` is standard input.
    pub path: PathBuf,
    /// Where in it.
    pub place: Place,
    /// What is wrong there.
    pub why: String,
}

/// A place in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// This line, from 1.
    Line(u64),
    /// This entry, from 1.
    Entry(u64),
    /// So many bytes from the beginning.
    Byte(u64),
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Place::Line(number) => write!(f, "line {number}"),
            Place::Entry(number) => write!(f, "entry {number}"),
            Place::Byte(at) => write!(f, "byte {at}"),
        }
    }
}

/// Read inputs one after the other, each to its end, and hand over what matters, in the order in which it stands
/// there. An input that cannot be read does not keep the others from being read.
pub fn read(
    inputs: &[Input],
    interrupt: &Interrupt,
    progress: &mut dyn FnMut(&Progress),
    each: &mut dyn FnMut(&Origin, Said),
) -> FilesRead {
    let total: Option<u64> = inputs.iter().map(input::length).sum();
    let out = FilesRead { progress: Progress { total, ..Progress::default() }, ..FilesRead::default() };
    let (seen, origin) = (Seen::default(), Origin::default());
    let mut reading = Reading { interrupt, progress, each, out, seen, origin, packed: None, begun: 0 };
    for one in inputs {
        if interrupt.raised() {
            break;
        }
        reading.input(one);
    }
    let mut out = reading.out;
    out.interrupted = interrupt.raised();
    out
}

/// What the readers of all forms report to.
struct Reading<'a> {
    interrupt: &'a Interrupt,
    progress: &'a mut dyn FnMut(&Progress),
    each: &'a mut dyn FnMut(&Origin, Said),
    out: FilesRead,
    seen: Seen,
    origin: Origin,
    /// Of a compressed input: how many bytes of it were unpacked so far.
    packed: Option<Rc<Cell<u64>>>,
    /// How many bytes were gone through before this input.
    begun: u64,
}

impl Reading<'_> {
    fn input(&mut self, input: &Input) {
        let path = match input {
            Input::File(path) => path.as_path(),
            Input::Stdin => Path::new("-"),
        };
        (self.begun, self.packed) = (self.out.progress.bytes, None);
        self.origin = Origin { path: path.to_owned(), host: None };
        if let Err(error) = input::read(self, input)
            && !self.interrupt.raised()
        {
            self.out.unread.push((path.to_owned(), error.to_string()));
        }
        if let (Some(length), false) = (input::length(input), self.interrupt.raised()) {
            self.out.progress.bytes = self.begun + length;
        }
        (self.progress)(&self.out.progress);
    }

    /// So many bytes more were gone through. An error: somebody wants this process to end.
    fn advance(&mut self, bytes: u64) -> std::io::Result<()> {
        match &self.packed {
            Some(gone) => self.out.progress.bytes = self.begun + gone.get(),
            None => self.out.progress.bytes += bytes,
        }
        (self.progress)(&self.out.progress);
        if self.interrupt.raised() { Err(std::io::Error::other("interrupted")) } else { Ok(()) }
    }

    fn fault(&mut self, place: Place, why: impl Into<String>) {
        self.out.malformed_total += 1;
        if self.out.malformed.len() < FAULTS_MAX {
            self.out.malformed.push(Fault { path: self.origin.path.clone(), place, why: why.into() });
        }
    }

    /// Hand something over, of this host.
    fn hand_over(&mut self, host: Option<&[u8]>, said: Said) {
        if self.origin.host.as_ref().map(Untrusted::bytes) != host {
            self.origin.host = host.map(Untrusted::new);
        }
        self.out.progress.records += 1;
        self.out.denials += u64::from(matches!(said, Said::Denied(_)));
        (self.each)(&self.origin, said);
    }

    fn source(&self) -> Source {
        Source::Log(self.origin.path.clone())
    }
}

#[cfg(test)]
mod tests;
