//! Journal files, read as their format is documented (<https://systemd.io/JOURNAL_FILE_FORMAT/>; the structures are
//! those of src/libsystemd/sd-journal/journal-def.h). A hash table leads to the object of a `FIELD=value`, and that to
//! the entries that have it: only these are touched, however large the file is.
//!
//! A file may be written to meanwhile, cut or damaged: every place is compared with the file's length, and what leads
//! from object to object only ever leads forwards, as journald appends, so that nothing goes round in circles.

mod chain;
mod hash;
mod packed;
mod window;

pub(crate) use chain::Chain;

use std::fs::File;
use std::io;
use window::{Window, number};

/// A journal file begins so (`HEADER_SIGNATURE`).
pub(crate) const SIGNATURE: &[u8; 8] = b"LPKSHHRH";

/// The header of the oldest version that is known; what was added since is not needed.
const HEADER_SIZE: usize = 208;

/// journald has the file open for writing, or did not close it (`STATE_ONLINE`).
const ONLINE: u8 = 1;

/// An object begins with its type, flags and size (`ObjectHeader`).
const OBJECT_HEADER: usize = 16;

/// No `FIELD=value` that matters is longer; what is, is cut.
pub(crate) const DATA_MAX: usize = 64 * 1024;

/// No entry has more fields (`ENTRY_FIELD_COUNT_MAX` of journald is 1024, and it adds some itself).
const ITEMS_MAX: usize = 2048;

/// Objects (`ObjectType`).
const DATA: u8 = 1;
const ENTRY: u8 = 3;
const ENTRY_ARRAY: u8 = 6;

/// What a reader has to know of (`HEADER_INCOMPATIBLE_*`).
const PACKED_XZ: u32 = 1;
const PACKED_LZ4: u32 = 2;
const KEYED_HASH: u32 = 4;
const PACKED_ZSTD: u32 = 8;
const COMPACT: u32 = 16;

/// Why something in a journal file cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// The file itself.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// It is not what journald writes.
    #[error("{why}")]
    Damaged {
        /// The object, in bytes from the beginning.
        at: u64,
        /// What is wrong there.
        why: &'static str,
    },
    /// It is compressed in a way that unitfix does not know.
    #[error("this is compressed with {how}, which only journalctl can read")]
    Packed {
        /// The object, in bytes from the beginning.
        at: u64,
        /// How.
        how: &'static str,
    },
    /// It is of a later systemd.
    #[error("this journal file is of a systemd that unitfix does not know (flags {0:#x}): ask journalctl")]
    Later(u32),
}

impl Problem {
    /// The place of the object that is meant.
    #[must_use]
    pub fn at(&self) -> u64 {
        match self {
            Problem::Damaged { at, .. } | Problem::Packed { at, .. } => *at,
            Problem::Io(_) | Problem::Later(_) => 0,
        }
    }
}

/// A journal file.
pub(crate) struct JournalFile {
    window: Window,
    flags: u32,
    /// The key of the hash tables.
    id: [u8; 16],
    /// The hash table of data objects: where its items are, and how many.
    table: (u64, u64),
    /// The arrays of all entries: the first one, and how many entries there are.
    entries: (u64, u64),
    /// While journald writes the file, nothing behind the last object that it had when it was opened is looked at.
    limit: u64,
}

/// An entry: when it was received, and its data objects.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Entry {
    /// When it was received, in microseconds since the epoch.
    pub(crate) time: u64,
    /// Where the objects of its fields are.
    pub(crate) items: Vec<u64>,
}

/// A data object without its text.
#[derive(Clone, Copy, Debug)]
struct Data {
    at: u64,
    packed: u8,
    hash: u64,
    /// The next object of the same place in the hash table.
    next: u64,
    /// Its first entry, the array with the others, and how many there are in all.
    entry: u64,
    array: u64,
    entries: u64,
    /// Where its text begins, and how long that is.
    text: u64,
    length: u64,
}

impl JournalFile {
    /// Read the header.
    pub(crate) fn open(file: File) -> Result<Self, Problem> {
        let mut window = Window::new(file)?;
        let head: [u8; HEADER_SIZE] = window.array(0)?;
        if !head.starts_with(SIGNATURE) {
            return Err(Problem::Damaged { at: 0, why: "this is not a journal file" });
        }
        let flags = u32::try_from(number(&head, 12, 4)).unwrap_or_default();
        if flags & !(PACKED_XZ | PACKED_LZ4 | KEYED_HASH | PACKED_ZSTD | COMPACT) != 0 {
            return Err(Problem::Later(flags));
        }
        let mut id = [0; 16];
        id.copy_from_slice(head.get(24..40).unwrap_or(&[0; 16]));
        let table = (number(&head, 104, 8), number(&head, 112, 8) / 16);
        let end = table.1.checked_mul(16).and_then(|size| table.0.checked_add(size));
        if table.1 == 0 || end.is_none_or(|end| end > window.length()) {
            return Err(Problem::Damaged { at: 0, why: "its hash table is not in the file" });
        }
        let limit = if head.get(16) == Some(&ONLINE) { number(&head, 136, 8) } else { u64::MAX };
        let entries = (number(&head, 176, 8), number(&head, 152, 8));
        Ok(JournalFile { window, flags, id, table, entries, limit })
    }

    /// How many bytes the file has.
    pub(crate) fn length(&self) -> u64 {
        self.window.length()
    }

    /// Whether some of its objects may be compressed in a way that only journalctl knows.
    pub(crate) fn is_foreign(&self) -> bool {
        self.flags & PACKED_XZ != 0
    }

    fn is_compact(&self) -> bool {
        self.flags & COMPACT != 0
    }

    /// The entries that have this `FIELD=value`, in the order in which they were written.
    pub(crate) fn entries_with(&mut self, wanted: &[u8]) -> Result<Chain, Problem> {
        let hash =
            if self.flags & KEYED_HASH != 0 { hash::keyed(&self.id, wanted) } else { hash::jenkins(wanted) };
        let bucket = self.table.0 + hash % self.table.1 * 16;
        let mut at = number(&self.window.array::<8>(bucket)?, 0, 8);
        let mut text = Vec::new();
        while at != 0 && at <= self.limit {
            let data = self.data(at)?;
            if data.hash == hash {
                self.text(&data, &mut text, wanted.len() + 1)?;
                if text == wanted {
                    let entries = if data.entry <= self.limit { data.entries } else { 0 };
                    return Ok(Chain::new(data.entry, data.array, entries));
                }
            }
            if data.next != 0 && data.next <= at {
                return Err(Problem::Damaged { at, why: "its place in the hash table leads back" });
            }
            at = data.next;
        }
        Ok(Chain::default())
    }

    /// All entries, in the order in which they were written.
    pub(crate) fn all_entries(&mut self) -> Result<Chain, Problem> {
        let (array, entries) = self.entries;
        Chain::of_arrays(self, array, entries)
    }

    /// Read an entry.
    pub(crate) fn entry(&mut self, at: u64, out: &mut Entry) -> Result<(), Problem> {
        let size = self.object(at, ENTRY)?;
        let head: [u8; 64] = self.window.array(at)?;
        out.time = number(&head, 24, 8);
        out.items.clear();
        let wide = if self.is_compact() { 4 } else { 16 };
        let count = usize::try_from(size.saturating_sub(64)).unwrap_or(usize::MAX) / wide;
        if count > ITEMS_MAX {
            return Err(Problem::Damaged {
                at,
                why: "this entry has more fields than journald lets it have",
            });
        }
        let mut bytes = [0; 64];
        for first in (0..count).step_by(64 / wide) {
            let some = (count - first).min(64 / wide);
            let bytes = bytes.get_mut(..some * wide).unwrap_or_default();
            self.window.fill(at + 64 + (first * wide) as u64, bytes)?;
            out.items.extend(bytes.chunks_exact(wide).map(|item| number(item, 0, wide.min(8))));
        }
        Ok(())
    }

    /// The `FIELD=value` of a data object, but no more than so many bytes of it.
    pub(crate) fn field(&mut self, at: u64, out: &mut Vec<u8>, most: usize) -> Result<(), Problem> {
        let data = self.data(at)?;
        self.text(&data, out, most)
    }

    fn data(&mut self, at: u64) -> Result<Data, Problem> {
        let size = self.object(at, DATA)?;
        let head: [u8; 64] = self.window.array(at)?;
        let begin = if self.is_compact() { 72 } else { 64 };
        let length =
            size.checked_sub(begin).ok_or(Problem::Damaged { at, why: "this object is too short" })?;
        Ok(Data {
            at,
            packed: head.get(1).copied().unwrap_or_default(),
            hash: number(&head, 16, 8),
            next: number(&head, 24, 8),
            entry: number(&head, 40, 8),
            array: number(&head, 48, 8),
            entries: number(&head, 56, 8),
            text: at + begin,
            length,
        })
    }

    fn text(&mut self, data: &Data, out: &mut Vec<u8>, most: usize) -> Result<(), Problem> {
        out.clear();
        if data.packed == 0 {
            let length = usize::try_from(data.length).unwrap_or(usize::MAX).min(most);
            out.resize(length, 0);
            return self.window.fill(data.text, out);
        }
        let mut packed = vec![0; usize::try_from(data.length).unwrap_or(usize::MAX).min(packed::MAX)];
        self.window.fill(data.text, &mut packed)?;
        packed::unpack(data.at, data.packed, &packed, out, most)
    }

    /// The size of an object, which has to be of this type and to lie in the file.
    fn object(&mut self, at: u64, kind: u8) -> Result<u64, Problem> {
        let damaged = |why| Err(Problem::Damaged { at, why });
        if at < HEADER_SIZE as u64 || !at.is_multiple_of(8) {
            return damaged("no object begins here");
        }
        let head: [u8; OBJECT_HEADER] = self.window.array(at)?;
        let size = number(&head, 8, 8);
        if head.first() != Some(&kind) {
            return damaged("this is another object than the one that is looked for");
        }
        if size < OBJECT_HEADER as u64 || at.checked_add(size).is_none_or(|end| end > self.length()) {
            return damaged("this object does not end in the file");
        }
        Ok(size)
    }
}
