//! Pieces of a file, read when they are needed and kept as long as there is room.

use super::Problem;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;

/// So much is read at once: the objects of an entry are mostly beside each other.
const PIECE: usize = 16 * 1024;

/// So many pieces are kept, 1 MiB in all.
const PIECES: usize = 64;

/// A file of which pieces are in memory.
pub(super) struct Window {
    file: File,
    length: u64,
    pieces: Vec<Piece>,
}

#[derive(Clone, Default)]
struct Piece {
    /// Which piece of the file this is, from 1; 0: none.
    number: u64,
    bytes: Vec<u8>,
}

impl Window {
    /// A file as long as it is now: what is written to it later is not looked at.
    pub(super) fn new(file: File) -> io::Result<Self> {
        let length = file.metadata()?.len();
        Ok(Window { file, length, pieces: vec![Piece::default(); PIECES] })
    }

    pub(super) fn length(&self) -> u64 {
        self.length
    }

    /// So many bytes from this place on.
    pub(super) fn array<const N: usize>(&mut self, at: u64) -> Result<[u8; N], Problem> {
        let mut out = [0; N];
        self.fill(at, &mut out)?;
        Ok(out)
    }

    /// The bytes from this place on, as many as there is room for.
    pub(super) fn fill(&mut self, at: u64, out: &mut [u8]) -> Result<(), Problem> {
        let outside = Problem::Damaged { at, why: "the file ends before this" };
        if at.checked_add(out.len() as u64).is_none_or(|end| end > self.length) {
            return Err(outside);
        }
        let mut out = out;
        let mut at = at;
        while !out.is_empty() {
            let within = usize::try_from(at % PIECE as u64).unwrap_or_default();
            let piece = self.piece(at / PIECE as u64)?;
            let Some(known) = piece.get(within..).filter(|known| !known.is_empty()) else {
                return Err(outside); // it was cut meanwhile
            };
            let some = known.len().min(out.len());
            let (now, later) = out.split_at_mut(some);
            now.copy_from_slice(known.get(..some).unwrap_or_default());
            (out, at) = (later, at + some as u64);
        }
        Ok(())
    }

    fn piece(&mut self, number: u64) -> io::Result<&[u8]> {
        let slot = usize::try_from(number % PIECES as u64).unwrap_or_default();
        let Some(piece) = self.pieces.get_mut(slot) else { return Ok(&[]) };
        if piece.number != number + 1 {
            piece.number = 0;
            piece.bytes.clear();
            let from = From { file: &self.file, at: number * PIECE as u64 };
            from.take(PIECE as u64).read_to_end(&mut piece.bytes)?;
            piece.number = number + 1;
        }
        Ok(&piece.bytes)
    }
}

/// A file from a place on.
struct From<'a> {
    file: &'a File,
    at: u64,
}

impl Read for From<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read_at(buffer, self.at)?;
        self.at += read as u64;
        Ok(read)
    }
}

/// A number of so many bytes, little endian, that begins in this place; 0 where there are not as many.
pub(super) fn number(bytes: &[u8], at: usize, width: usize) -> u64 {
    let mut out = [0; 8];
    if let (Some(out), Some(bytes)) = (out.get_mut(..width), bytes.get(at..at + width)) {
        out.copy_from_slice(bytes);
    }
    u64::from_le_bytes(out)
}
