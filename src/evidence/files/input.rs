//! Opening an input, and telling by its first bytes what it is.

use super::{Input, Reading};
use crate::evidence::journal_file::SIGNATURE;
use crate::interrupt::{GLANCE, Interrupt};
use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::stat::Mode;
use std::cell::Cell;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::rc::Rc;

/// So much is read at once.
const PIECE: usize = 1 << 18;

/// So many of the first bytes tell what an input is.
const HEAD: u64 = 32;

/// How many bytes an input has, where that is known.
pub(super) fn length(input: &Input) -> Option<u64> {
    match input {
        Input::File(path) => path.metadata().ok().filter(std::fs::Metadata::is_file).map(|meta| meta.len()),
        Input::Stdin => None,
    }
}

/// Read one input to its end.
pub(super) fn read(reading: &mut Reading, input: &Input) -> io::Result<()> {
    match input {
        Input::File(path) => {
            let file = open_log(path)?;
            if file.metadata()?.is_file() {
                regular(reading, file, path)
            } else {
                let stream = Patient { stream: file, interrupt: reading.interrupt };
                any(reading, BufReader::with_capacity(PIECE, stream))
            }
        }
        Input::Stdin => {
            let stream = Patient { stream: io::stdin(), interrupt: reading.interrupt };
            any(reading, BufReader::with_capacity(PIECE, stream))
        }
    }
}

fn open_log(path: &Path) -> io::Result<File> {
    let flags = OFlag::O_RDONLY | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
    let file = File::from(open(path, flags, Mode::empty())?);
    if file.metadata()?.is_dir() {
        return Err(io::Error::other("this is a directory"));
    }
    Ok(file)
}

fn regular(reading: &mut Reading, mut file: File, path: &Path) -> io::Result<()> {
    let mut head = Vec::new();
    file.by_ref().take(HEAD).read_to_end(&mut head)?;
    file.rewind()?;
    match Form::of(&head) {
        Form::Journal => super::native::read(reading, file, path),
        Form::Json => super::entries::read_file(reading, &file),
        Form::Text => super::text::read_file(reading, &file),
        _ => any(reading, BufReader::with_capacity(PIECE, file)),
    }
}

/// What an input is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Journal,
    Gzip,
    Zstd,
    Xz,
    Bzip2,
    Json,
    Export,
    Text,
}

impl Form {
    /// What the first bytes say.
    fn of(head: &[u8]) -> Self {
        let known = [
            (&SIGNATURE[..], Form::Journal),
            (b"\x1f\x8b", Form::Gzip),
            (b"\x28\xb5\x2f\xfd", Form::Zstd),
            (b"\xfd7zXZ\0", Form::Xz),
            (b"BZh", Form::Bzip2),
            (b"{", Form::Json),
            // entries begin with their address fields
            (b"__CURSOR=", Form::Export),
            (b"__REALTIME_TIMESTAMP=", Form::Export),
        ];
        known.iter().find(|(begin, _)| head.starts_with(begin)).map_or(Form::Text, |(_, form)| *form)
    }
}

/// A stream, perhaps compressed.
fn any(reading: &mut Reading, mut stream: impl BufRead) -> io::Result<()> {
    match Form::of(stream.fill_buf()?) {
        Form::Gzip => {
            let (packed, gone) = counted(stream);
            reading.packed = Some(gone);
            plain(reading, BufReader::with_capacity(PIECE, flate2::bufread::MultiGzDecoder::new(packed)))
        }
        Form::Zstd => {
            let (packed, gone) = counted(stream);
            reading.packed = Some(gone);
            plain(reading, BufReader::with_capacity(PIECE, Frames { packed, decoder: None }))
        }
        _ => plain(reading, stream),
    }
}

/// What is not compressed, or not any more.
fn plain(reading: &mut Reading, mut stream: impl BufRead) -> io::Result<()> {
    let refused = |message: &str| Err(io::Error::other(message));
    match Form::of(stream.fill_buf()?) {
        Form::Text => super::text::read(reading, stream),
        Form::Json => super::entries::read(reading, stream),
        Form::Export => super::export::read(reading, stream),
        Form::Xz => {
            refused("this is compressed with xz: unpack it first (xz -d), or pipe it in (xz -dc FILE | …)")
        }
        Form::Bzip2 => {
            refused("this is compressed with bzip2: unpack it first, or pipe it in (bzip2 -dc FILE | …)")
        }
        Form::Journal => {
            refused("a journal file can only be read as a file, and uncompressed: unpack it first")
        }
        Form::Gzip | Form::Zstd => refused("this is compressed twice: unpack it first"),
    }
}

/// Reads a stream until it ends, or somebody wants this process to end.
struct Patient<'a, S> {
    stream: S,
    interrupt: &'a Interrupt,
}

impl<S: Read + AsFd> Read for Patient<'_, S> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        wait(self.stream.as_fd(), self.interrupt)?;
        self.stream.read(buffer)
    }
}

fn wait(stream: BorrowedFd, interrupt: &Interrupt) -> io::Result<()> {
    let glance = PollTimeout::try_from(GLANCE).unwrap_or(PollTimeout::ZERO);
    loop {
        if interrupt.raised() {
            return Err(io::Error::other("interrupted"));
        }
        match poll(&mut [PollFd::new(stream, PollFlags::POLLIN)], glance) {
            Ok(0) | Err(Errno::EINTR) => {}
            Ok(_) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
    }
}

/// Counts what is taken out of a compressed stream.
struct Counted<R>(R, Rc<Cell<u64>>);

fn counted<R: BufRead>(stream: R) -> (Counted<R>, Rc<Cell<u64>>) {
    let gone = Rc::new(Cell::new(0));
    (Counted(stream, Rc::clone(&gone)), gone)
}

impl<R: BufRead> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.0.read(buffer)?;
        self.1.set(self.1.get() + read as u64);
        Ok(read)
    }
}

impl<R: BufRead> BufRead for Counted<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.0.fill_buf()
    }

    fn consume(&mut self, used: usize) {
        self.1.set(self.1.get() + used as u64);
        self.0.consume(used);
    }
}

/// The frames of a zstd file, one after the other: what is appended to such a file is a frame of its own.
struct Frames<R: BufRead> {
    packed: R,
    decoder: Option<ruzstd::decoding::FrameDecoder>,
}

impl<R: BufRead> Read for Frames<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        use ruzstd::decoding::BlockDecodingStrategy;
        loop {
            if self.decoder.as_ref().is_none_or(|d| d.is_finished() && d.can_collect() == 0) {
                if self.packed.fill_buf()?.is_empty() {
                    return Ok(0);
                }
                let decoder = self.decoder.get_or_insert_with(ruzstd::decoding::FrameDecoder::new);
                decoder.reset(&mut self.packed).map_err(io::Error::other)?;
            }
            let Some(decoder) = &mut self.decoder else { return Ok(0) };
            if decoder.can_collect() == 0 && !decoder.is_finished() {
                let some = BlockDecodingStrategy::UptoBytes(buffer.len());
                decoder.decode_blocks(&mut self.packed, some).map_err(io::Error::other)?;
            }
            let read = decoder.read(buffer)?;
            if read > 0 {
                return Ok(read);
            }
        }
    }
}
