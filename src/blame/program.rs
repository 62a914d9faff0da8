//! A program or library as a file: what turns an address in it into a name, and what unwinds the stack from there.

use super::go_table::GoTable;
use super::symbols::Symbols;
use crate::evidence::Untrusted;
use object::elf::{self, FileHeader64, SectionHeader64};
use object::read::elf::{
    FileHeader as _, NoteIterator, ProgramHeader as _, SectionHeader as _, SectionTable,
};
use object::{LittleEndian, ReadCache, ReadRef};
use std::cell::Cell;
use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;

/// What is larger is not read: no program is.
const FILE_MAX: u64 = 4 << 30;

/// No part of a file that is read at once is larger.
const PART_MAX: u64 = 256 << 20;

/// So much of a file is read in all: what a service has mapped may be made to take all memory.
const READ_MAX: u64 = 512 << 20;

/// The first bytes of a file, by which it is known again in a core dump: a page holds the headers and the build ID.
pub const HEAD: usize = 4096;

type Section = SectionHeader64<LittleEndian>;
const LE: LittleEndian = LittleEndian;

/// A file that is read in parts, and only so much of it.
#[derive(Clone, Copy)]
struct Parts<'a> {
    cache: &'a ReadCache<File>,
    file: &'a File,
    left: &'a Cell<u64>,
}

impl Parts<'_> {
    fn charge(&self, size: u64) -> Result<(), ()> {
        let left = self.left.get().checked_sub(size).filter(|_| size <= PART_MAX);
        left.map(|left| self.left.set(left)).ok_or(())
    }

    /// A part to be kept.
    fn owned(&self, offset: u64, size: u64) -> Option<Vec<u8>> {
        let length = usize::try_from(size).ok()?;
        offset.checked_add(size).filter(|end| self.cache.len().is_ok_and(|length| *end <= length))?;
        self.charge(size).ok()?;
        let mut bytes = vec![0; length];
        self.file.read_exact_at(&mut bytes, offset).ok()?;
        Some(bytes)
    }
}

impl<'a> ReadRef<'a> for Parts<'a> {
    fn len(self) -> Result<u64, ()> {
        self.cache.len()
    }

    fn read_bytes_at(self, offset: u64, size: u64) -> Result<&'a [u8], ()> {
        self.charge(size)?;
        self.cache.read_bytes_at(offset, size)
    }

    fn read_bytes_at_until(self, range: Range<u64>, delimiter: u8) -> Result<&'a [u8], ()> {
        let name = self.cache.read_bytes_at_until(range, delimiter);
        // there may be millions of them; where a name does not end, a page was searched
        self.charge(name.map_or(HEAD as u64, |name| name.len() as u64 + 32))?;
        name
    }
}

/// A part of the file that is mapped when it runs.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Segment {
    address: u64,
    /// Where in the file, and how much of it.
    file: Range<u64>,
    executable: bool,
}

/// Bytes of a file, and the address that they have.
#[derive(Debug)]
pub struct Placed {
    /// The address of the first byte.
    pub address: u64,
    /// The bytes.
    pub bytes: Vec<u8>,
}

/// Go's function table, the bytes from where it begins, and the address that it counts from.
#[derive(Debug)]
struct Go {
    bytes: Vec<u8>,
    text: u64,
}

/// What an address is in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Name {
    /// The function, demangled.
    pub function: Option<Untrusted>,
    /// The source file.
    pub file: Option<Untrusted>,
    /// The line in it. Of what the compiler put into a function from another one, it is the other's.
    pub line: Option<u32>,
}

/// What a program's file tells. Addresses are its own, as it would be loaded at 0.
#[derive(Debug)]
pub struct Program {
    /// Its first bytes, at most [`HEAD`].
    pub head: Vec<u8>,
    /// The build ID that its linker gave it (`.note.gnu.build-id`).
    pub build_id: Option<Vec<u8>>,
    /// The name of its separate debug file (`.gnu_debuglink`).
    pub debug_link: Option<Vec<u8>>,
    /// Whether it has all symbols, and not only those for the dynamic linker.
    pub has_symbols: bool,
    /// Whether it has symbols that only others can read (`.gnu_debugdata`, compressed with xz).
    pub has_packed_symbols: bool,
    /// `.eh_frame`.
    pub unwind: Option<Placed>,
    /// `.eh_frame_hdr`.
    pub unwind_index: Option<Placed>,
    segments: Vec<Segment>,
    symbols: Symbols,
    go: Option<Go>,
}

impl Program {
    /// Read what is needed of a file. Nothing, if it is no ELF file of a 64-bit little-endian machine.
    pub fn read(file: &File) -> Option<Self> {
        let length = file.metadata().ok().filter(std::fs::Metadata::is_file)?.len();
        if length > FILE_MAX {
            return None;
        }
        let (cache, left) = (ReadCache::new(file.try_clone().ok()?), Cell::new(READ_MAX));
        let data = Parts { cache: &cache, file, left: &left };
        let header = FileHeader64::<LittleEndian>::parse(data).ok()?;
        let sections = Sections::of(header, data);
        let symbols = sections.symbols();
        let mut program = Program {
            head: data.read_bytes_at(0, length.min(HEAD as u64)).ok()?.to_vec(),
            build_id: build_id(header, sections.named(".note.gnu.build-id"), data),
            debug_link: sections.named(".gnu_debuglink").and_then(|s| debug_link(&contents(data, s)?)),
            has_symbols: sections.of_type(elf::SHT_SYMTAB).is_some(),
            has_packed_symbols: sections.named(".gnu_debugdata").is_some(),
            unwind: sections.placed(".eh_frame"),
            unwind_index: sections.placed(".eh_frame_hdr"),
            segments: segments(header, data),
            symbols: symbols.unwrap_or_default(),
            go: None,
        };
        program.go = Finder { program: &program, data, sections: &sections }.find();
        Some(program)
    }

    /// How many bytes are kept of it.
    #[must_use]
    pub fn memory(&self) -> u64 {
        let placed = [&self.unwind, &self.unwind_index].into_iter().flatten().map(|part| part.bytes.len());
        let go = self.go.as_ref().map_or(0, |go| go.bytes.len());
        (placed.sum::<usize>() + go + self.symbols.memory()) as u64
    }

    /// The address that a place in the file is loaded at, before the program as a whole is moved.
    #[must_use]
    pub fn address_of(&self, offset: u64) -> Option<u64> {
        // of two that overlap in a page, the one that is executed
        let fits = |s: &&Segment| s.file.contains(&offset);
        let segment = self.segments.iter().find(|s| fits(s) && s.executable);
        let segment = segment.or_else(|| self.segments.iter().find(fits))?;
        segment.address.checked_add(offset - segment.file.start)
    }

    /// The address that the file as a whole counts from: 0, except for programs that are always loaded at one place.
    #[must_use]
    pub fn base(&self) -> u64 {
        let lowest = self.segments.iter().map(|s| s.address).min().unwrap_or_default();
        lowest / 4096 * 4096
    }

    /// The address that the page has in which a mapping of the file begins.
    #[must_use]
    pub fn address_of_page(&self, offset: u64) -> Option<u64> {
        // the kernel maps whole pages: a mapping begins before its segment does
        const PAGE: u64 = 4096;
        let begins = |s: &Segment| s.file.start / PAGE * PAGE;
        let last = |s: &Segment| s.file.end.div_ceil(PAGE).saturating_mul(PAGE);
        let fits = |s: &&Segment| (begins(s)..last(s)).contains(&offset);
        let segment = self.segments.iter().find(|s| fits(s) && s.executable);
        let segment = segment.or_else(|| self.segments.iter().find(fits))?;
        segment
            .address
            .checked_sub(segment.file.start - begins(segment))?
            .checked_add(offset - begins(segment))
    }

    /// Whether an address is in code.
    #[must_use]
    pub fn is_code(&self, address: u64) -> bool {
        self.segments.iter().any(|s| s.executable && s.addresses().contains(&address))
    }

    /// The function table, if Go made this program.
    #[must_use]
    pub fn go_table(&self) -> Option<GoTable<'_>> {
        let go = self.go.as_ref()?;
        GoTable::parse(&go.bytes, go.text)
    }

    /// What an address is in.
    #[must_use]
    pub fn name(&self, address: u64) -> Name {
        if let Some(table) = self.go_table()
            && let Some(function) = table.function_at(address)
        {
            let line = table.line(&function, address);
            return Name {
                function: Some(Untrusted::new(function.name)),
                file: line.map(|line| Untrusted::new(line.file)),
                line: line.map(|line| line.number),
            };
        }
        Name { function: self.symbols.name(address), ..Name::default() }
    }
}

impl Segment {
    fn addresses(&self) -> Range<u64> {
        self.address..self.address.saturating_add(self.file.end - self.file.start)
    }
}

/// The sections of a file; a file that runs may have none.
struct Sections<'a> {
    table: SectionTable<'a, FileHeader64<LittleEndian>, Parts<'a>>,
    data: Parts<'a>,
}

impl<'a> Sections<'a> {
    fn of(header: &FileHeader64<LittleEndian>, data: Parts<'a>) -> Self {
        Sections { table: header.sections(LE, data).unwrap_or_default(), data }
    }

    fn named(&self, name: &str) -> Option<&'a Section> {
        self.table.section_by_name(LE, name.as_bytes()).map(|(_, section)| section)
    }

    fn of_type(&self, kind: elf::SectionType) -> Option<&'a Section> {
        self.table.iter().find(|section| section.sh_type(LE) == kind)
    }

    fn placed(&self, name: &str) -> Option<Placed> {
        let section = self.named(name)?;
        Some(Placed { address: section.sh_addr(LE), bytes: contents(self.data, section)? })
    }

    /// All symbols, or else those for the dynamic linker.
    fn symbols(&self) -> Option<Symbols> {
        let table = self.of_type(elf::SHT_SYMTAB).or_else(|| self.of_type(elf::SHT_DYNSYM))?;
        let names = usize::try_from(table.sh_link(LE)).ok()?;
        let names = self.table.section(object::SectionIndex(names)).ok()?;
        Symbols::read(&contents(self.data, table)?, contents(self.data, names)?)
    }

    /// The relocations that the dynamic linker makes.
    fn relocations(&self) -> Relocations {
        let loaded = |s: &&Section| s.sh_type(LE) == elf::SHT_RELA && s.sh_flags(LE).contains(elf::SHF_ALLOC);
        Relocations::of(self.table.iter().filter(loaded).filter_map(|s| contents(self.data, s)))
    }
}

fn segments(header: &FileHeader64<LittleEndian>, data: Parts<'_>) -> Vec<Segment> {
    let all = header.program_headers(LE, data).unwrap_or_default().iter();
    let loads = all.filter(|load| load.p_type(LE) == elf::PT_LOAD);
    let segment = |load: &elf::ProgramHeader64<LittleEndian>| Segment {
        address: load.p_vaddr(LE),
        file: load.p_offset(LE)..load.p_offset(LE).saturating_add(load.p_filesz(LE)),
        executable: load.p_flags(LE).contains(elf::PF_X),
    };
    loads.map(segment).collect()
}

fn contents(data: Parts<'_>, section: &Section) -> Option<Vec<u8>> {
    let (offset, size) = section.file_range(LE)?;
    data.owned(offset, size)
}

/// From the section's notes, or, without sections, from the segments'. Go's linker leaves it out of the segments.
fn build_id(
    header: &FileHeader64<LittleEndian>,
    section: Option<&Section>,
    data: Parts<'_>,
) -> Option<Vec<u8>> {
    const NOTES_MAX: u64 = 1 << 20;
    if let Some(section) = section.filter(|section| section.sh_size(LE) <= NOTES_MAX)
        && let Ok(Some(notes)) = section.notes(LE, data)
        && let Some(id) = id_among(notes)
    {
        return Some(id);
    }
    let segments = header.program_headers(LE, data).ok()?.iter();
    let mut notes = segments.filter(|s| s.p_type(LE) == elf::PT_NOTE && s.p_filesz(LE) <= NOTES_MAX);
    notes.find_map(|segment| id_among(segment.notes(LE, data).ok()??))
}

fn id_among(mut notes: NoteIterator<'_, FileHeader64<LittleEndian>>) -> Option<Vec<u8>> {
    const ID_MAX: usize = 64; // SHA-1 has 20 bytes; others have been seen with 32
    while let Ok(Some(note)) = notes.next() {
        let wanted = note.name() == elf::ELF_NOTE_GNU && note.n_type(LE) == elf::NT_GNU_BUILD_ID;
        if wanted && (2..=ID_MAX).contains(&note.desc().len()) {
            return Some(note.desc().to_vec());
        }
    }
    None
}

/// A name that ends with a zero; a checksum follows.
fn debug_link(bytes: &[u8]) -> Option<Vec<u8>> {
    let name = bytes.split(|b| *b == 0).next()?;
    (!name.is_empty() && name.len() < 256 && !name.contains(&b'/')).then(|| name.to_vec())
}

/// Finds Go's function table in a program, and the address that it counts from.
struct Finder<'a> {
    program: &'a Program,
    data: Parts<'a>,
    sections: &'a Sections<'a>,
}

impl Finder<'_> {
    /// In its section, or anywhere in the data.
    fn find(&self) -> Option<Go> {
        let names = [".gopclntab", ".data.rel.ro.gopclntab"];
        if let Some(section) = names.into_iter().find_map(|name| self.sections.named(name)) {
            let offset = section.sh_offset(LE);
            let segment = self.program.segments.iter().find(|s| s.file.contains(&offset))?;
            return self.go(section.sh_addr(LE), self.bytes(offset..segment.file.end)?);
        }
        // in a program with C parts another linker has put it among other data
        for segment in self.program.segments.iter().filter(|s| !s.executable) {
            let Some(bytes) = self.bytes(segment.file.clone()) else { continue };
            // tables are aligned by their address, as segments need not be
            let skip = usize::try_from(segment.address.wrapping_neg() % 8).unwrap_or_default();
            let found = GoTable::candidates(bytes.get(skip..).unwrap_or_default()).find_map(|at| {
                let address = segment.address.checked_add((skip + at) as u64)?;
                self.go(address, bytes.get(skip + at..)?)
            });
            if found.is_some() {
                return found;
            }
        }
        None
    }

    fn go(&self, address: u64, bytes: &[u8]) -> Option<Go> {
        let text = if GoTable::counts_from_text(bytes) { self.text_of(address, bytes)? } else { 0 };
        let table = GoTable::parse(bytes, text)?;
        self.program.is_code(table.range().start).then(|| Go { bytes: bytes.to_vec(), text })
    }

    /// The header says it; or a relocation would put it there; or, from Go 1.26 on, the module's own data has it,
    /// which begins with the address of the table (`moduledata` in Go's src/runtime/symtab.go).
    fn text_of(&self, address: u64, bytes: &[u8]) -> Option<u64> {
        /// `pcHeader`, six slices and `findfunctab`, `minpc`, `maxpc` come before it.
        const TEXT_IN_MODULE: u64 = 8 + 6 * 24 + 3 * 8;
        if let Some(text) = GoTable::text_in_header(bytes) {
            return Some(text);
        }
        let relocations = self.sections.relocations();
        let place = address.checked_add(GoTable::place_of_text(bytes)? as u64)?;
        if let Some(text) = relocations.at(place) {
            return Some(text);
        }
        let modules = self.words_equal_to(address).into_iter().chain(relocations.to(address));
        let texts = modules.filter_map(|module| {
            let place = module.checked_add(TEXT_IN_MODULE)?;
            self.word(place).filter(|word| *word != 0).or_else(|| relocations.at(place))
        });
        let mut texts = texts.filter(|text| self.program.is_code(*text));
        texts.next().or_else(|| Some(self.sections.named(".text")?.sh_addr(LE)))
    }

    fn bytes(&self, range: Range<u64>) -> Option<&[u8]> {
        let size = range.end.checked_sub(range.start)?;
        self.data.read_bytes_at(range.start, size).ok()
    }

    fn word(&self, address: u64) -> Option<u64> {
        let segment = self.program.segments.iter().find(|s| s.addresses().contains(&address))?;
        let at = segment.file.start.checked_add(address - segment.address)?;
        Some(u64::from_le_bytes(self.bytes(at..at.checked_add(8)?)?.try_into().ok()?))
    }

    /// The addresses of the first words of the data that are this one.
    fn words_equal_to(&self, word: u64) -> Vec<u64> {
        let word = word.to_le_bytes();
        let data = self.program.segments.iter().filter(|s| !s.executable);
        let found = data.filter_map(|s| {
            let bytes = self.bytes(s.file.clone())?;
            let at = bytes.chunks_exact(8).position(|chunk| chunk == word)?;
            s.address.checked_add(8 * at as u64)
        });
        found.collect()
    }
}

/// What the dynamic linker adds the program's place to (`R_X86_64_RELATIVE`, `R_AARCH64_RELATIVE`): address and value.
struct Relocations(Vec<(u64, u64)>);

impl Relocations {
    fn of(sections: impl Iterator<Item = Vec<u8>>) -> Self {
        const RELATIVE: [u64; 2] = [elf::R_X86_64_RELATIVE.0 as u64, elf::R_AARCH64_RELATIVE.0 as u64];
        let word =
            |entry: &[u8], at: usize| Some(u64::from_le_bytes(entry.get(at..at + 8)?.try_into().ok()?));
        let mut all = Vec::new();
        for section in sections {
            for entry in section.chunks_exact(24) {
                if word(entry, 8).is_some_and(|info| RELATIVE.contains(&info)) {
                    all.extend(word(entry, 0).zip(word(entry, 16)));
                }
            }
        }
        Relocations(all)
    }

    fn at(&self, address: u64) -> Option<u64> {
        self.0.iter().find(|(place, _)| *place == address).map(|(_, value)| *value)
    }

    fn to(&self, value: u64) -> impl Iterator<Item = u64> + '_ {
        self.0.iter().filter(move |(_, to)| *to == value).map(|(place, _)| *place)
    }
}
