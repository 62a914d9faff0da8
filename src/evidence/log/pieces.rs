//! Large inputs in pieces of whole lines, in bounded memory whatever is in them.
//!
//! A regular file is cut into pieces, of which two threads each go through every other one; a line belongs to the piece
//! in which it begins. So the pieces do not depend on each other, and what is made of them comes in order.

use memchr::{memchr, memrchr};
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

/// So much is read and gone through at once: it stays in a processor's own cache.
pub(super) const PIECE: usize = 256 * 1024;

/// A file of fewer pieces is not worth a thread.
const PIECES_MIN: u64 = 16;

/// A file is read so much further at once where a line goes on behind its piece.
const BEHIND: u64 = 4096;

/// Go through a stream. `go` makes something of whole lines, and is told how many bytes of the input went by. Of a line
/// that is longer than `line_max` bytes it gets the beginning, which is longer too.
pub(in crate::evidence) fn of_stream<B>(
    mut reader: impl Read,
    line_max: usize,
    go: impl Fn(&[u8], u64) -> B,
    mut each: impl FnMut(B) -> io::Result<()>,
) -> io::Result<()> {
    let mut buffer = vec![0; PIECE];
    let mut filled = 0;
    let mut taken = 0;
    // within a line that is too long, and has been gone through
    let mut beyond = false;
    loop {
        let read = match reader.read(buffer.get_mut(filled..).unwrap_or_default()) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            other => other?,
        };
        let known = filled;
        filled += read;
        taken += read as u64;
        let no_end = || memchr(b'\n', buffer.get(known..filled).unwrap_or_default()).is_none();
        if read > 0 && filled < buffer.len() && no_end() {
            continue;
        }
        let text = buffer.get(..filled).unwrap_or_default();
        let mut begin = 0;
        if beyond {
            begin = memchr(b'\n', text).map_or(filled, |at| at + 1);
            beyond = begin == filled && text.last() != Some(&b'\n');
        }
        let end = if read == 0 { filled } else { memrchr(b'\n', text).map_or(begin, |at| at + 1) }.max(begin);
        each(go(text.get(begin..end).unwrap_or_default(), std::mem::take(&mut taken)))?;
        if read == 0 {
            return Ok(());
        }
        buffer.copy_within(end..filled, 0);
        filled -= end;
        if filled > line_max {
            each(go(buffer.get(..filled).unwrap_or_default(), 0))?;
            (filled, beyond) = (0, true);
        } else if filled == buffer.len() {
            buffer.resize((2 * filled).min(line_max + 1), 0);
        }
    }
}

/// Go through a regular file in the same way, to the end that it has now, with two threads where there are two
/// processors and it is long enough.
pub(in crate::evidence) fn of_file<B: Send>(
    file: &File,
    line_max: usize,
    go: impl Fn(&[u8], u64) -> B + Sync,
    mut each: impl FnMut(B) -> io::Result<()>,
) -> io::Result<()> {
    let length = file.metadata()?.len();
    if length == 0 {
        // those of /proc do not tell
        return of_stream(file, line_max, go, each);
    }
    let pieces = length.div_ceil(PIECE as u64);
    let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let mut own = Cut { file, length, line_max, buffer: Vec::new() };
    if processors < 2 || pieces < PIECES_MIN {
        return (0..pieces).try_for_each(|number| each(own.piece(number, &go)?));
    }
    std::thread::scope(|scope| {
        let (send, receive): (SyncSender<_>, Receiver<io::Result<B>>) = sync_channel(2);
        let go = &go;
        scope.spawn(move || {
            let mut own = Cut { file, length, line_max, buffer: Vec::new() };
            for number in (1..pieces).step_by(2) {
                // nobody listens any more: the other thread has met an error
                if send.send(own.piece(number, go)).is_err() {
                    return;
                }
            }
        });
        for number in 0..pieces {
            let made = if number % 2 == 0 {
                own.piece(number, go)
            } else {
                receive
                    .recv()
                    .unwrap_or_else(|_| Err(io::Error::other("a thread of this process ended early")))
            };
            each(made?)?;
        }
        drop(receive);
        Ok(())
    })
}

/// A file that is read in pieces.
struct Cut<'a> {
    file: &'a File,
    length: u64,
    line_max: usize,
    buffer: Vec<u8>,
}

impl Cut<'_> {
    /// Go through the lines that begin in this piece.
    fn piece<B>(&mut self, number: u64, go: &impl Fn(&[u8], u64) -> B) -> io::Result<B> {
        let begin = number * PIECE as u64;
        let end = self.length.min(begin + PIECE as u64);
        let bytes = end - begin;
        // the byte before tells whether a line begins with the piece
        let before = u64::from(number > 0);
        self.buffer.clear();
        self.extend(begin - before, end)?;
        let first = if number == 0 { Some(0) } else { memchr(b'\n', &self.buffer).map(|at| at + 1) };
        let Some(first) = first.filter(|first| *first < self.buffer.len()) else {
            return Ok(go(&[], bytes));
        };
        let last = memrchr(b'\n', &self.buffer).map_or(0, |at| at + 1).max(first);
        self.finish_line(last, end)?;
        Ok(go(self.buffer.get(first..).unwrap_or_default(), bytes))
    }

    /// Read on until the last line ends, which begins here, or is longer than it may be.
    fn finish_line(&mut self, last: usize, mut at: u64) -> io::Result<()> {
        while last < self.buffer.len() && self.buffer.len() - last <= self.line_max && at < self.length {
            let known = self.buffer.len();
            let more = self.length.min(at + BEHIND);
            self.extend(at, more)?;
            let new = self.buffer.get(known..).unwrap_or_default();
            if new.is_empty() {
                break;
            }
            if let Some(found) = memchr(b'\n', new) {
                self.buffer.truncate(known + found + 1);
                break;
            }
            at = more;
        }
        Ok(())
    }

    fn extend(&mut self, from: u64, to: u64) -> io::Result<()> {
        let mut filled = self.buffer.len();
        let wanted = usize::try_from(to - from).unwrap_or_default();
        self.buffer.resize(filled + wanted, 0);
        let mut at = from;
        while at < to {
            match self.file.read_at(self.buffer.get_mut(filled..).unwrap_or_default(), at) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
                Ok(0) => break, // it was cut meanwhile
                Ok(read) => (filled, at) = (filled + read, at + read as u64),
            }
        }
        self.buffer.truncate(filled);
        Ok(())
    }
}
