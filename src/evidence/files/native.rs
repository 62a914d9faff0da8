//! Journal files themselves: the entries of the few `FIELD=value` that can matter, in the order of the file.

use super::{Place, Reading};
use crate::evidence::journal::printed_by_journalctl;
use crate::evidence::journal::{Entry as Printed, JournalError, MESSAGE_COREDUMP, Name, Picked};
use crate::evidence::journal_file::{Chain, DATA_MAX, Entry, JournalFile, Problem};
use crate::evidence::record::AUDIT_SECCOMP;
use std::fs::File;
use std::io;
use std::path::Path;

/// A message of the kernel is a record if it begins so.
const RECORD: &[u8] = b"MESSAGE=audit: type=1326 ";

/// The manager's reports of processes that SIGSYS ended.
const REPORTS: &str = "EXIT_STATUS=31";

/// So many objects are remembered that many entries share: their host, boot, transport and the like.
const SHARED: usize = 512;

/// No value that many entries share is longer.
const SHARED_MAX: usize = 128;

pub(super) fn read(reading: &mut Reading, file: File, path: &Path) -> io::Result<()> {
    let file = JournalFile::open(file).map_err(other)?;
    if file.is_foreign() {
        match ask_journalctl(reading, path) {
            // then what it alone can read is a fault
            Err(JournalError::Missing) => {}
            answer => return answer.map_err(io::Error::other),
        }
    }
    let mut picking = Picking::of(file);
    // of a file whose index is damaged, all entries are looked at
    let (mut chains, mut whole) = match picking.index() {
        Ok(chains) => (chains, false),
        Err(problem) => {
            damaged(reading, &picking.file, problem)?;
            (picking.all(reading)?, true)
        }
    };
    let mut last = 0;
    // in the order of the file, as records of audit and of the kernel's log are told apart from repetitions by that
    while let Some(at) = chains.iter().filter_map(|chain| chain.entries.peek()).min() {
        let mut kernel = true;
        let mut problem = None;
        for chain in chains.iter_mut().filter(|chain| chain.entries.peek() == Some(at)) {
            kernel &= chain.of_kernel;
            problem = chain.entries.advance(&mut picking.file).err().or(problem);
        }
        if at > last {
            match picking.pick(at, kernel) {
                Ok(true) => reading.entry(&picking.picked, Place::Byte(at)),
                Ok(false) => {}
                Err(problem) => damaged(reading, &picking.file, problem)?,
            }
            if at >> 20 != last >> 20 {
                reading.out.progress.bytes = reading.begun + at;
                reading.advance(0)?;
            }
            last = at;
        }
        if let Some(problem) = problem {
            damaged(reading, &picking.file, problem)?;
            if !std::mem::replace(&mut whole, true) {
                chains = picking.all(reading)?;
            }
        }
    }
    Ok(())
}

/// Entries that may matter.
struct Wanted {
    entries: Chain,
    /// They are the kernel's messages, of which few are records.
    of_kernel: bool,
}

/// What is damaged is said, and reading goes on; the disk's own errors end it.
fn damaged(reading: &mut Reading, file: &JournalFile, problem: Problem) -> io::Result<()> {
    if let Problem::Io(error) = problem {
        return Err(error);
    }
    // what leads out of the file is missing at its end
    reading.fault(Place::Byte(problem.at().min(file.length())), problem.to_string());
    Ok(())
}

fn other(problem: Problem) -> io::Error {
    match problem {
        Problem::Io(error) => error,
        problem => io::Error::other(problem),
    }
}

/// Have journalctl read a file whose compression only it knows.
fn ask_journalctl(reading: &mut Reading, path: &Path) -> Result<(), JournalError> {
    let interrupt = reading.interrupt.clone();
    let mut number = 0;
    printed_by_journalctl(path, &interrupt, |entry: &Printed| {
        number += 1;
        reading.entry(entry, Place::Entry(number));
    })
}

/// The field that an object is, and its value; nothing: it does not matter.
type Shared = Option<(Name, Vec<u8>)>;

/// Takes the fields that matter out of entries.
struct Picking {
    file: JournalFile,
    entry: Entry,
    text: Vec<u8>,
    picked: Picked,
    /// Objects that were read before, by their place: what many entries have in common.
    shared: Vec<(u64, Shared)>,
}

impl Picking {
    fn of(file: JournalFile) -> Self {
        let shared = std::iter::repeat_with(|| (0, None)).take(SHARED).collect();
        let (entry, text, picked) = (Entry::default(), Vec::new(), Picked::default());
        Picking { file, entry, text, picked, shared }
    }

    /// The entries of the few `FIELD=value` that matter.
    fn index(&mut self) -> Result<Vec<Wanted>, Problem> {
        let audit = format!("_AUDIT_TYPE={AUDIT_SECCOMP}");
        let dumps = format!("MESSAGE_ID={MESSAGE_COREDUMP}");
        let fields =
            [(audit.as_str(), false), ("_TRANSPORT=kernel", true), (&dumps, false), (REPORTS, false)];
        let mut chains = Vec::new();
        for (field, of_kernel) in fields {
            chains.push(Wanted { entries: self.file.entries_with(field.as_bytes())?, of_kernel });
        }
        Ok(chains)
    }

    /// All entries, as far as even their index is there.
    fn all(&mut self, reading: &mut Reading) -> io::Result<Vec<Wanted>> {
        match self.file.all_entries() {
            Ok(entries) => Ok(vec![Wanted { entries, of_kernel: false }]),
            Err(problem) => damaged(reading, &self.file, problem).map(|()| Vec::new()),
        }
    }

    /// Pick the fields of an entry; of one of the kernel, whether its message is a record.
    fn pick(&mut self, at: u64, kernel: bool) -> Result<bool, Problem> {
        self.picked.clear();
        self.file.entry(at, &mut self.entry)?;
        let (entry, mut text) = (std::mem::take(&mut self.entry), std::mem::take(&mut self.text));
        let picked = self.pick_from(&entry, &mut text, kernel);
        (self.entry, self.text) = (entry, text);
        picked
    }

    fn pick_from(&mut self, entry: &Entry, text: &mut Vec<u8>, kernel: bool) -> Result<bool, Problem> {
        if kernel && !self.is_record(entry, text)? {
            return Ok(false);
        }
        self.picked.put(Name::RECEIVED, entry.time.to_string().as_bytes());
        for at in entry.items.iter().copied() {
            let slot = usize::try_from(at / 8).unwrap_or_default() % SHARED;
            if let Some((known, value)) = self.shared.get(slot)
                && *known == at
            {
                if let Some((name, value)) = value {
                    self.picked.put(*name, value);
                }
                continue;
            }
            self.file.field(at, text, DATA_MAX)?;
            let Some(equals) = memchr::memchr(b'=', text) else { continue };
            let (name, value) = text.split_at(equals);
            let value = value.get(1..).unwrap_or_default();
            let name = Name::of(name);
            if let Some(name) = name {
                self.picked.put(name, value);
            }
            if let Some(shared) = self.shared.get_mut(slot)
                && (name.is_none() || value.len() <= SHARED_MAX)
            {
                *shared = (at, name.map(|name| (name, value.to_vec())));
            }
        }
        Ok(true)
    }

    /// Whether the message of an entry of the kernel's log is a record. Messages stand near the end of an entry.
    fn is_record(&mut self, entry: &Entry, text: &mut Vec<u8>) -> Result<bool, Problem> {
        for at in entry.items.iter().rev().copied() {
            let slot = usize::try_from(at / 8).unwrap_or_default() % SHARED;
            if self.shared.get(slot).is_some_and(|(known, _)| *known == at) {
                continue;
            }
            self.file.field(at, text, RECORD.len())?;
            if text.starts_with(b"MESSAGE=") {
                return Ok(text.as_slice() == RECORD);
            }
            let equals = memchr::memchr(b'=', text);
            if let Some(name) = equals.and_then(|at| text.get(..at))
                && Name::of(name).is_none()
                && let Some(shared) = self.shared.get_mut(slot)
            {
                *shared = (at, None);
            }
        }
        Ok(false)
    }
}
