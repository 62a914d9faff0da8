//! A core dump as a stream: the registers of the thread that died, what was mapped where, and the memory around its
//! stack pointer (core(5); the kernel's fs/binfmt_elf.c writes it, notes first). What systemd-coredump keeps is
//! compressed, so it is read once and forwards, and only as far as needed.

use super::unwind::{Machine, Mapping, Memory, Registers};
use super::{Stack, program, programs};
use crate::interrupt::Interrupt;
use crate::root::Root;
use crate::syscalls::Call;
use std::collections::HashSet;
use std::ffi::OsStr;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::{Duration, Instant};

/// systemd-coredump's folder.
const FOLDER: &str = "/var/lib/systemd/coredump/";

/// It is not read for longer: of a process with gigabytes of memory, the stack may be at the end.
const PATIENCE: Duration = Duration::from_secs(30);

/// So much is passed over before the time is looked at.
const STRIDE: u64 = 16 << 20;

/// No notes of a process are longer; each thread has some 12 KiB of registers.
const NOTES_MAX: u64 = 64 << 20;

/// The kernel's own limit on mappings of a process is lower (`vm.max_map_count`).
const SEGMENTS_MAX: usize = 1 << 17;

/// So much memory from the stack pointer on is kept.
const STACK_MAX: u64 = 1 << 20;

/// So many files are known again by their first page.
const HEADS_MAX: usize = 128;

/// Why a core dump tells nothing.
#[derive(Debug, thiserror::Error)]
pub enum CoreError {
    /// It cannot be read.
    #[error("the core dump cannot be read: {0}")]
    Read(#[from] io::Error),
    /// Reading it takes too long.
    #[error("the core dump is so large that reading it was given up after 30 s")]
    TooLarge,
    /// Somebody wants this process to end.
    #[error("interrupted")]
    Interrupted,
    /// It is not what the kernel writes.
    #[error("the core dump is damaged, or of a kind of program that is not understood")]
    Format,
    /// It is not zstd, or plain.
    #[error("the core dump is compressed in a way that is not understood (zstd is)")]
    Compression,
    /// systemd-coredump did not write it there.
    #[error("the core dump is not in {FOLDER}")]
    Place,
}

/// What a core dump tells.
#[derive(Debug, PartialEq, Eq)]
pub struct Core {
    /// The registers of the thread that died.
    pub registers: Registers,
    /// The call that it died in, where it died of a forbidden one (`SYS_SECCOMP`, sigaction(2)).
    pub call: Option<Call>,
    /// What was mapped from files.
    pub mappings: Vec<Mapping>,
    /// The address of the stack memory that was kept.
    stack_address: u64,
    stack: Vec<u8>,
    /// The first pages of files, by address.
    heads: Vec<(u64, Vec<u8>)>,
}

impl Memory for Core {
    fn word(&self, address: u64) -> Option<u64> {
        let at = usize::try_from(address.checked_sub(self.stack_address)?).ok()?;
        Some(u64::from_le_bytes(self.stack.get(at..at.checked_add(8)?)?.try_into().ok()?))
    }
}

impl Core {
    /// Read the file that systemd-coredump says it wrote.
    pub fn open(root: &Root, path: &[u8], interrupt: &Interrupt) -> Result<Self, CoreError> {
        let path = Path::new(OsStr::from_bytes(path));
        let name = path.strip_prefix(FOLDER).map_err(|_| CoreError::Place)?;
        if name.components().count() != 1 || name.file_name() != Some(name.as_os_str()) {
            return Err(CoreError::Place);
        }
        let file = io::BufReader::new(root.open_file(path)?);
        match name.extension().map(OsStrExt::as_bytes) {
            Some(b"zst") => {
                // the decoder refuses frames that need more than 100 MiB at once
                let decoder = ruzstd::decoding::StreamingDecoder::new(file);
                Self::read(decoder.map_err(|_| CoreError::Compression)?, interrupt)
            }
            Some(b"lz4" | b"xz" | b"gz") => Err(CoreError::Compression),
            _ => Self::read(file, interrupt),
        }
    }

    /// Read a core dump.
    pub fn read(from: impl Read, interrupt: &Interrupt) -> Result<Self, CoreError> {
        let mut stream = Stream { from, at: 0, interrupt, until: Instant::now() + PATIENCE };
        let header = stream.take(64)?;
        let machine = machine(&header).ok_or(CoreError::Format)?;
        let segments = segments(&mut stream, &header)?;
        let notes =
            segments.iter().find(|s| s.kind == PT_NOTE && s.size <= NOTES_MAX).ok_or(CoreError::Format)?;
        stream.skip_to(notes.offset)?;
        let notes = stream.take(notes.size)?;
        let notes = Notes { bytes: &notes };
        let registers = notes.registers(machine).ok_or(CoreError::Format)?;
        let mappings = notes.mappings().unwrap_or_default();
        let mut core = Core {
            call: notes.call(),
            stack_address: registers.sp(),
            registers,
            mappings,
            stack: Vec::new(),
            heads: Vec::new(),
        };
        core.read_memory(&mut stream, &segments)?;
        Ok(core)
    }

    /// What is wanted of the memory lies in the file in the order of its addresses.
    fn read_memory(
        &mut self,
        stream: &mut Stream<'_, impl Read>,
        segments: &[Segment],
    ) -> Result<(), CoreError> {
        let sp = self.stack_address;
        let files = self.mappings.iter().filter(|mapping| mapping.offset == 0);
        let files: HashSet<u64> = files.map(|mapping| mapping.range.start).collect();
        let mut wanted: Vec<(u64, u64, u64, bool)> = Vec::new(); // place, address, size, whether it is the stack
        for segment in segments.iter().filter(|s| s.kind == PT_LOAD && s.size > 0) {
            if let Some(into) = sp.checked_sub(segment.address).filter(|into| *into < segment.size) {
                wanted.push((
                    segment.offset.saturating_add(into),
                    sp,
                    (segment.size - into).min(STACK_MAX),
                    true,
                ));
            }
            if wanted.len() < HEADS_MAX && files.contains(&segment.address) {
                let size = segment.size.min(program::HEAD as u64);
                wanted.push((segment.offset, segment.address, size, false));
            }
        }
        wanted.sort_unstable();
        for (offset, address, size, is_stack) in wanted {
            stream.skip_to(offset)?; // the kernel's segments do not overlap
            let bytes = stream.take(size)?;
            if is_stack {
                self.stack = bytes;
            } else {
                self.heads.push((address, bytes));
            }
        }
        Ok(())
    }

    /// The stack of the thread that died. Files are looked for below this root, and used only if they still are what
    /// was mapped: their first page is in the core dump.
    pub fn unwind(&self, root: &Root, known: &mut programs::Known) -> Stack {
        let open = |mapping: &Mapping| {
            let head = self.head_of(&mapping.path)?;
            let file = root.open_file(Path::new(OsStr::from_bytes(&mapping.path))).ok()?;
            let mut now = vec![0; head.len()];
            std::os::unix::fs::FileExt::read_exact_at(&file, &mut now, 0).ok()?;
            (now == head).then_some(file)
        };
        let mut programs = programs::Programs::new(known, &open);
        super::unwind::unwind(self.registers.clone(), &self.mappings, self, &mut programs)
    }

    fn head_of(&self, path: &[u8]) -> Option<&[u8]> {
        let first = self.mappings.iter().find(|m| m.path == path && m.offset == 0)?;
        self.heads.iter().find(|(address, _)| *address == first.range.start).map(|(_, head)| head.as_slice())
    }
}

const PT_LOAD: u32 = 1;
const PT_NOTE: u32 = 4;

/// A part of the process's memory, or its notes.
struct Segment {
    kind: u32,
    offset: u64,
    address: u64,
    size: u64,
}

/// A 64-bit little-endian core dump of a machine that is known (elf(5)).
fn machine(header: &[u8]) -> Option<Machine> {
    const CORE: [u8; 2] = [4, 0];
    if header.get(..6)? != b"\x7fELF\x02\x01" || header.get(16..18)? != CORE {
        return None;
    }
    match half(header, 18)? {
        62 => Some(Machine::X86_64),
        183 => Some(Machine::Arm64),
        _ => None,
    }
}

fn segments(stream: &mut Stream<'_, impl Read>, header: &[u8]) -> Result<Vec<Segment>, CoreError> {
    const SIZE: u16 = 56;
    let offset = long(header, 32).ok_or(CoreError::Format)?;
    let count = half(header, 56).ok_or(CoreError::Format)?;
    // 0xffff: there are more, and the number stands in a section header at the end (PN_XNUM)
    if half(header, 54) != Some(SIZE) || count == 0xffff || usize::from(count) > SEGMENTS_MAX {
        return Err(CoreError::Format);
    }
    stream.skip_to(offset)?;
    let table = stream.take(u64::from(count) * u64::from(SIZE))?;
    let segment = |entry: &[u8]| {
        let (kind, offset) = (int(entry, 0)?, long(entry, 8)?);
        Some(Segment { kind, offset, address: long(entry, 16)?, size: long(entry, 32)? })
    };
    table.chunks_exact(SIZE.into()).map(segment).collect::<Option<_>>().ok_or(CoreError::Format)
}

/// The notes of a core dump: first those of the thread that died.
struct Notes<'a> {
    bytes: &'a [u8],
}

impl<'a> Notes<'a> {
    /// The first note of the kernel's of a type.
    fn find(&self, wanted: u32) -> Option<&'a [u8]> {
        let mut rest = self.bytes;
        loop {
            let (name, size, kind) = (int(rest, 0)?, int(rest, 4)?, int(rest, 8)?);
            let padded = |length: u32| usize::try_from(length).ok().map(|length| length.next_multiple_of(4));
            let (name, size) = (12..padded(name)?.checked_add(12)?, usize::try_from(size).ok()?);
            let description = rest.get(name.end..name.end.checked_add(size)?)?;
            if kind == wanted && rest.get(name.clone())?.starts_with(b"CORE\0") {
                return Some(description);
            }
            rest = rest.get(name.end.checked_add(size.next_multiple_of(4))?..)?;
        }
    }

    /// `NT_PRSTATUS`: the registers follow what signals were pending and the process IDs and times.
    fn registers(&self, machine: Machine) -> Option<Registers> {
        const NT_PRSTATUS: u32 = 1;
        const REGISTERS: usize = 112;
        let status = self.find(NT_PRSTATUS)?;
        let register = |number: usize| long(status, REGISTERS + 8 * number);
        Some(match machine {
            Machine::X86_64 => {
                // struct user_regs_struct (sys/user.h) to DWARF's numbers
                const PRESERVED: [(usize, usize); 6] = [(0, 15), (1, 14), (2, 13), (3, 12), (4, 6), (5, 3)];
                let mut registers = Registers::new(machine, register(16)?, register(19)?);
                for (place, number) in PRESERVED {
                    registers.set(number, register(place)?);
                }
                registers
            }
            Machine::Arm64 => {
                let mut registers = Registers::new(machine, register(32)?, register(31)?);
                for number in 0..31 {
                    registers.set(number, register(number)?);
                }
                registers
            }
        })
    }

    /// `NT_FILE`: how many, the size of a page, then start, end and page in the file of each, then their names.
    fn mappings(&self) -> Option<Vec<Mapping>> {
        const NT_FILE: u32 = 0x4649_4c45;
        let note = self.find(NT_FILE)?;
        let (count, page) = (long(note, 0)?, long(note, 8)?);
        let count = usize::try_from(count).ok().filter(|count| *count <= SEGMENTS_MAX)?;
        let names = note.get(16_usize.checked_add(count.checked_mul(24)?)?..)?;
        let entries = note.get(16..)?.chunks_exact(24).take(count);
        let mapping = |(entry, name): (&[u8], &[u8])| {
            let range = long(entry, 0)?..long(entry, 8)?;
            Some(Mapping {
                range,
                offset: long(entry, 16)?.checked_mul(page)?,
                path: name.to_vec(),
                inode: None,
            })
        };
        entries.zip(names.split(|b| *b == 0)).map(mapping).collect()
    }

    /// `NT_SIGINFO`: for `SYS_SECCOMP`, the call's address, its number and its architecture (sigaction(2)).
    fn call(&self) -> Option<Call> {
        const NT_SIGINFO: u32 = 0x5349_4749;
        const SYS_SECCOMP: u32 = 1;
        let info = self.find(NT_SIGINFO)?;
        let (signal, code) = (int(info, 0)?, int(info, 8)?);
        if i32::try_from(signal) != Ok(libc::SIGSYS) || code != SYS_SECCOMP {
            return None;
        }
        Call::from_record(int(info, 28)?, int(info, 24)?)
    }
}

/// A stream that goes forward.
struct Stream<'a, R> {
    from: R,
    at: u64,
    interrupt: &'a Interrupt,
    until: Instant,
}

impl<R: Read> Stream<'_, R> {
    fn take(&mut self, size: u64) -> Result<Vec<u8>, CoreError> {
        let mut bytes = Vec::new();
        self.from.by_ref().take(size).read_to_end(&mut bytes)?;
        self.at += bytes.len() as u64;
        if bytes.len() as u64 == size { Ok(bytes) } else { Err(CoreError::Format) }
    }

    fn skip_to(&mut self, place: u64) -> Result<(), CoreError> {
        if place < self.at {
            return Err(CoreError::Format);
        }
        while self.at < place {
            if self.interrupt.raised() {
                return Err(CoreError::Interrupted);
            }
            if Instant::now() >= self.until {
                return Err(CoreError::TooLarge);
            }
            let length = (place - self.at).min(STRIDE);
            let skipped = io::copy(&mut self.from.by_ref().take(length), &mut io::sink())?;
            self.at += skipped;
            if skipped < length {
                return Err(CoreError::Format); // it was cut
            }
        }
        Ok(())
    }
}

fn half(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn int(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn long(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The core dump of a thread that died for chown(2), as systemd-coredump 262 kept it.
    fn sample() -> Vec<u8> {
        let packed = &include_bytes!("../../tests/samples/cores/who.zst")[..];
        let mut bytes = Vec::new();
        ruzstd::decoding::StreamingDecoder::new(packed).unwrap().read_to_end(&mut bytes).unwrap();
        bytes
    }

    #[test]
    fn a_real_one() {
        let core = Core::read(sample().as_slice(), &Interrupt::default()).unwrap();
        // as systemd-coredump itself says
        assert_eq!(core.registers.pc(), 0x7fe9_8cb0_ecc7);
        let call = Call { arch: crate::syscalls::Arch::X86_64, number: 92 };
        assert_eq!(core.call, Some(call));
        let chosen = core.mappings.iter().find(|m| m.range.contains(&core.registers.pc())).unwrap();
        assert_eq!(chosen.path, b"/usr/lib/x86_64-linux-gnu/libc.so.6");
        assert_eq!(core.registers.pc() - chosen.range.start + chosen.offset, 0x10_1cc7);
        // where chown returns to
        assert_eq!(core.word(core.registers.sp()), Some(0x55a6_9a0c_f20f));
        assert_eq!(core.word(core.registers.sp() - 8), None);
        for path in [&b"/usr/local/bin/who"[..], b"/usr/lib/x86_64-linux-gnu/libc.so.6"] {
            let head = core.head_of(path).unwrap();
            assert!(head.starts_with(b"\x7fELF\x02\x01") && head.len() == program::HEAD);
        }
        // other files of these names are not believed
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(folder.path().join("usr/lib/x86_64-linux-gnu")).unwrap();
        std::fs::copy("/proc/self/exe", folder.path().join("usr/lib/x86_64-linux-gnu/libc.so.6")).unwrap();
        let stack = core.unwind(&Root::new(folder.path()), &mut programs::Known::default());
        let frames: Vec<_> = stack.frames.iter().map(|f| (f.function.clone(), f.address)).collect();
        assert_eq!(frames, [(None, 0x7fe9_8cb0_ecc7)]);
    }

    #[test]
    fn only_from_its_folder() {
        let open =
            |path: &str| Core::open(&Root::new("/nonexistent"), path.as_bytes(), &Interrupt::default());
        for path in
            ["/etc/shadow", "/var/lib/systemd/coredump/../../x", "/var/lib/systemd/coredump/a/b", "x", ""]
        {
            assert!(matches!(open(path), Err(CoreError::Place)), "{path}");
        }
        assert!(matches!(open("/var/lib/systemd/coredump/core.x.zst"), Err(CoreError::Read(_))));
    }

    proptest::proptest! {
        // each is 9 MB
        #![proptest_config(proptest::prelude::ProptestConfig::with_cases(24))]
        #[test]
        fn broken_ones(
            changes in proptest::collection::vec((0usize..9000, proptest::prelude::any::<u8>()), 1..20),
            length in proptest::prelude::any::<proptest::sample::Index>(),
            cut: bool,
        ) {
            static SAMPLE: std::sync::OnceLock<Vec<u8>> = std::sync::OnceLock::new();
            let mut bytes = SAMPLE.get_or_init(sample).clone();
            for (at, byte) in changes {
                bytes[at] = byte;
            }
            if cut {
                bytes.truncate(length.index(bytes.len()));
            }
            if let Ok(core) = Core::read(bytes.as_slice(), &Interrupt::default()) {
                let _ = core.unwind(&Root::new("/nonexistent"), &mut programs::Known::default());
            }
        }
    }
}
