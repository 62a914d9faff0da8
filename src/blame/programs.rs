//! The programs and libraries that stacks lead through, each read once, and their separate debug files.

use super::debug_file::DebugFiles;
use super::program::{Name, Program};
use super::unwind::Mapping;
use std::collections::HashMap;
use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;

/// So many files are kept. A process that maps more has them read again.
const FILES_MAX: usize = 256;

/// What is kept of files takes no more memory than this, but for one that is larger alone.
const MEMORY_MAX: u64 = 256 << 20;

/// Opens the file of a mapping. Nothing, where it is not the file that was mapped.
pub type Open<'a> = dyn Fn(&Mapping) -> Option<File> + 'a;

/// What files are known, for one process after another.
#[derive(Default)]
pub struct Known {
    read: HashMap<Identity, Option<Arc<Program>>>,
    room: Room,
    debug: DebugFiles,
}

/// Keeps account of the memory that files take.
#[derive(Default)]
pub(super) struct Room {
    taken: u64,
}

impl Room {
    /// Whether another file has room beside those before. If it has none they have to go, and it is the first.
    pub(super) fn takes(&mut self, program: Option<&Program>) -> bool {
        let more = program.map_or(0, Program::memory);
        let fits = self.taken == 0 || self.taken + more <= MEMORY_MAX;
        self.taken = if fits { self.taken + more } else { more };
        fits
    }
}

/// Device, inode, size and time of change of a file.
type Identity = (u64, u64, u64, i64, i64);

/// The programs of one process.
pub struct Programs<'a> {
    known: &'a mut Known,
    open: &'a Open<'a>,
    mapped: HashMap<Vec<u8>, Option<Arc<Program>>>,
    room: Room,
}

impl<'a> Programs<'a> {
    /// Those of a process whose files are opened so.
    pub fn new(known: &'a mut Known, open: &'a Open<'a>) -> Self {
        Programs { known, open, mapped: HashMap::new(), room: Room::default() }
    }

    /// The program or library of a mapping.
    pub fn of(&mut self, mapping: &Mapping) -> Option<Arc<Program>> {
        if let Some(program) = self.mapped.get(&mapping.path) {
            return program.clone();
        }
        let program = (self.open)(mapping).and_then(|file| self.known.read(&file));
        if !self.room.takes(program.as_deref()) {
            self.mapped.clear();
        }
        self.mapped.insert(mapping.path.clone(), program.clone());
        program
    }

    /// What an address of a program is in; a separate debug file knows more than a program that was stripped.
    pub fn name(&mut self, program: &Arc<Program>, mapping: &Mapping, address: u64) -> Name {
        self.known.name(program, &mapping.path, address)
    }
}

impl Known {
    /// Read a file, if that has not been done.
    pub fn read(&mut self, file: &File) -> Option<Arc<Program>> {
        let meta = file.metadata().ok()?;
        let identity = (meta.dev(), meta.ino(), meta.size(), meta.ctime(), meta.ctime_nsec());
        if let Some(program) = self.read.get(&identity) {
            return program.clone();
        }
        let program = Program::read(file).map(Arc::new);
        if !self.room.takes(program.as_deref()) || self.read.len() >= FILES_MAX {
            self.read.clear();
        }
        self.read.insert(identity, program.clone());
        program
    }

    /// What an address of a program, whose path is this, is in.
    pub fn name(&mut self, program: &Program, path: &[u8], address: u64) -> Name {
        let name = program.name(address);
        if program.has_symbols || (name.function.is_some() && name.line.is_some()) {
            return name;
        }
        let separate = self.debug.of(program, path).map(|debug| debug.name(address));
        separate.filter(|name| name.function.is_some()).unwrap_or(name)
    }
}
