//! The entries that have one `FIELD=value`: the first one stands in its object, the others in a chain of arrays.

use super::window::number;
use super::{ENTRY_ARRAY, JournalFile, OBJECT_HEADER, Problem};

/// So many places of an array are read at once.
const SOME: usize = 64;

/// Where reading a chain of entries stands.
#[derive(Default)]
pub(crate) struct Chain {
    /// The entry that is next; 0: none.
    next: u64,
    /// How many come after that one.
    left: u64,
    /// The array that is next; 0: none.
    array: u64,
    /// What is left of the array before: where its next place is, and how many there are.
    rest: (u64, u64),
    /// Places that were read, the last one first.
    read: Vec<u64>,
}

impl Chain {
    /// So many entries, of which the first one is here.
    pub(super) fn new(first: u64, array: u64, entries: u64) -> Self {
        let next = if entries == 0 { 0 } else { first };
        Chain { next, left: entries.saturating_sub(1), array, ..Chain::default() }
    }

    /// So many entries, all of which stand in arrays.
    pub(super) fn of_arrays(file: &mut JournalFile, array: u64, entries: u64) -> Result<Self, Problem> {
        let mut chain = Chain { left: entries, array, ..Chain::default() };
        chain.behind(0, file)?;
        Ok(chain)
    }

    /// The entry that is next, if there is one more.
    pub(crate) fn peek(&self) -> Option<u64> {
        Some(self.next).filter(|at| *at != 0)
    }

    /// Go on to the one after it. After an error there is none.
    pub(crate) fn advance(&mut self, file: &mut JournalFile) -> Result<(), Problem> {
        match std::mem::take(&mut self.next) {
            0 => Ok(()),
            before => self.behind(before, file),
        }
    }

    fn behind(&mut self, before: u64, file: &mut JournalFile) -> Result<(), Problem> {
        if self.left == 0 {
            return Ok(());
        }
        match self.place(file)? {
            Some(next) if next > file.limit => {}
            Some(next) if next > before => (self.next, self.left) = (next, self.left - 1),
            // journald may just be about to fill it
            None if file.limit < u64::MAX => {}
            _ => {
                return Err(Problem::Damaged {
                    at: before,
                    why: "the way to the entries behind this is damaged",
                });
            }
        }
        Ok(())
    }

    /// The next place of the arrays. One that is not filled yet is the last.
    fn place(&mut self, file: &mut JournalFile) -> Result<Option<u64>, Problem> {
        if self.read.is_empty() {
            if self.rest.1 == 0 && !self.next_array(file)? {
                return Ok(None);
            }
            self.read_some(file)?;
        }
        Ok(self.read.pop().filter(|at| *at != 0))
    }

    fn next_array(&mut self, file: &mut JournalFile) -> Result<bool, Problem> {
        let at = self.array;
        if at == 0 || at > file.limit {
            return Ok(false);
        }
        let size = file.object(at, ENTRY_ARRAY)?;
        let next = number(&file.window.array::<8>(at + OBJECT_HEADER as u64)?, 0, 8);
        if next != 0 && next <= at {
            return Err(Problem::Damaged { at, why: "the arrays of entries lead back from here" });
        }
        let width = if file.is_compact() { 4 } else { 8 };
        self.rest = (at + 24, size.saturating_sub(24) / width);
        self.array = next;
        if self.rest.1 == 0 {
            return Err(Problem::Damaged { at, why: "this array of entries is empty" });
        }
        Ok(true)
    }

    fn read_some(&mut self, file: &mut JournalFile) -> Result<(), Problem> {
        let width = if file.is_compact() { 4 } else { 8 };
        let some = usize::try_from(self.rest.1).unwrap_or(usize::MAX).min(SOME);
        let mut bytes = [0; SOME * 8];
        let bytes = bytes.get_mut(..some * width).unwrap_or_default();
        file.window.fill(self.rest.0, bytes)?;
        self.read.extend(bytes.chunks_exact(width).rev().map(|place| number(place, 0, width)));
        self.rest = (self.rest.0 + (some * width) as u64, self.rest.1 - some as u64);
        Ok(())
    }
}
