//! From the registers of a thread and its memory to its stack: each step by what the compiler wrote down for it, Go's
//! table or `.eh_frame`, and only as long as that is certain. Where a register is needed that is not known, the stack
//! ends there; nothing is guessed.

use super::program::{Placed, Program};
use super::programs::Programs;
use super::{FRAMES_MAX, Frame, Stack};
use crate::evidence::Untrusted;
use gimli::{
    BaseAddresses, CfaRule, EhFrame, EhFrameHdr, EndianSlice, FrameDescriptionEntry, LittleEndian,
    ParsedEhFrameHdr, RegisterRule, UnwindContext, UnwindSection,
};
use std::ops::Range;
use std::sync::Arc;

/// So much of `.eh_frame` is searched from its beginning, where it has no index; linkers write one.
const UNINDEXED_MAX: usize = 16 << 20;

/// The processor of a thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Machine {
    /// x86-64. Its stack grows by a return address with each call.
    X86_64,
    /// arm64. A call puts the return address into a register.
    Arm64,
}

/// Registers, as far as they are known, by their numbers in DWARF (the processors' ELF ABI supplements).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registers {
    machine: Machine,
    pc: u64,
    values: [Option<u64>; 32],
}

/// Part of a process's memory that is mapped from a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mapping {
    /// The addresses.
    pub range: Range<u64>,
    /// Where in the file it begins.
    pub offset: u64,
    /// The file's path as the process has it.
    pub path: Vec<u8>,
    /// The file's inode number, where it is known.
    pub inode: Option<u64>,
}

/// The memory of a process, as far as it is at hand.
pub trait Memory {
    /// The word of 8 bytes at an address.
    fn word(&self, address: u64) -> Option<u64>;
}

impl Machine {
    fn stack_pointer(self) -> usize {
        match self {
            Machine::X86_64 => 7,
            Machine::Arm64 => 31,
        }
    }

    fn frame_pointer(self) -> usize {
        match self {
            Machine::X86_64 => 6,
            Machine::Arm64 => 29,
        }
    }

    /// Where a return address is looked for: on x86-64 a column of the tables, on arm64 the register `lr`.
    fn return_address(self) -> usize {
        match self {
            Machine::X86_64 => 16,
            Machine::Arm64 => 30,
        }
    }

    /// Registers that a function leaves as it found them.
    fn preserved(self, register: usize) -> bool {
        match self {
            Machine::X86_64 => matches!(register, 3 | 6 | 12..=15),
            Machine::Arm64 => matches!(register, 19..=29),
        }
    }
}

impl Registers {
    /// Only the program counter and the stack pointer are known.
    #[must_use]
    pub fn new(machine: Machine, pc: u64, sp: u64) -> Self {
        let mut registers = Registers { machine, pc, values: [None; 32] };
        registers.values[machine.stack_pointer()] = Some(sp);
        registers
    }

    /// Another register is known, too.
    pub fn set(&mut self, register: usize, value: u64) {
        if let Some(place) = self.values.get_mut(register) {
            *place = Some(value);
        }
    }

    /// The program counter.
    #[must_use]
    pub fn pc(&self) -> u64 {
        self.pc
    }

    /// The stack pointer.
    #[must_use]
    pub fn sp(&self) -> u64 {
        self.get(self.machine.stack_pointer()).unwrap_or_default()
    }

    fn get(&self, register: usize) -> Option<u64> {
        self.values.get(register).copied().flatten()
    }
}

/// The stack of a thread, innermost frame first.
pub fn unwind(
    mut registers: Registers,
    mappings: &[Mapping],
    memory: &dyn Memory,
    programs: &mut Programs,
) -> Stack {
    let mut stack = Stack::default();
    while stack.frames.len() < FRAMES_MAX {
        // a return address is behind the call, and may be the first of another function
        let pc = if stack.frames.is_empty() { registers.pc } else { registers.pc.wrapping_sub(1) };
        let Some(mapping) = mappings.iter().find(|m| m.range.contains(&pc)) else {
            let outside = registers.pc != 0; // in a function that the program made at run time, or in the vdso
            stack.frames.extend(outside.then(|| Frame { address: registers.pc, ..Frame::default() }));
            break;
        };
        let module = Some(Untrusted::new(mapping.path.as_slice()));
        let program = programs.of(mapping);
        let place = program.as_ref().and_then(|p| p.address_of_page(mapping.offset)).map(|address| {
            // what the addresses of the file are moved by
            mapping.range.start.wrapping_sub(address)
        });
        let (Some(program), Some(moved)) = (program, place) else {
            stack.frames.push(Frame { module, address: registers.pc, ..Frame::default() });
            break;
        };
        let name = programs.name(&program, mapping, pc.wrapping_sub(moved));
        let address = registers.pc.wrapping_sub(moved);
        stack.frames.push(Frame {
            function: name.function,
            module,
            address,
            file: name.file,
            line: name.line,
        });
        let sp = registers.sp();
        match step(&registers, pc.wrapping_sub(moved), &program, memory) {
            // each caller's frame is further up, unless the function changed stacks
            Some((next, same_stack)) if !same_stack || next.sp() > sp => registers = next,
            _ => break,
        }
    }
    stack
}

/// The registers of the caller, and whether it is on the same stack. `pc` is an address of the program's own.
fn step(
    registers: &Registers,
    pc: u64,
    program: &Arc<Program>,
    memory: &dyn Memory,
) -> Option<(Registers, bool)> {
    if let Some(table) = program.go_table()
        && let Some(function) = table.function_at(pc)
    {
        return match registers.machine {
            Machine::X86_64 if is_switch(function.name) => Some((other_stack(registers, memory)?, false)),
            Machine::X86_64 if is_outermost(function.name) => None,
            Machine::X86_64 => {
                let size = table.frame_size(&function, pc)?;
                Some((go_caller(registers, size, memory)?, true))
            }
            Machine::Arm64 => None, // not tried on one
        };
    }
    let caller = by_tables(registers, pc, program.unwind.as_ref()?, program.unwind_index.as_ref(), memory)?;
    Some((caller, true))
}

/// Functions of Go's runtime that nothing of the program has called (`topofstack` in src/runtime/traceback.go).
fn is_outermost(name: &[u8]) -> bool {
    [&b"runtime.goexit"[..], b"runtime.mstart", b"runtime.mcall", b"runtime.morestack", b"runtime.rt0_go"]
        .contains(&name)
}

/// Functions that go on on the thread's own stack (src/runtime/asm_amd64.s).
fn is_switch(name: &[u8]) -> bool {
    [
        &b"runtime.asmcgocall"[..],
        b"runtime.asmcgocall.abi0",
        b"runtime.systemstack",
        b"runtime.systemstack.abi0",
    ]
    .contains(&name)
}

/// Below a function that changed stacks, the frame pointer still is that of the goroutine's.
fn other_stack(registers: &Registers, memory: &dyn Memory) -> Option<Registers> {
    let frame = registers.get(Machine::X86_64.frame_pointer()).filter(|frame| *frame != 0)?;
    let mut caller =
        Registers::new(Machine::X86_64, memory.word(frame.checked_add(8)?)?, frame.checked_add(16)?);
    caller.set(Machine::X86_64.frame_pointer(), memory.word(frame)?);
    (caller.pc != 0).then_some(caller)
}

/// Go's frames: the return address is above the frame, and right below it the caller's frame pointer.
fn go_caller(registers: &Registers, size: u64, memory: &dyn Memory) -> Option<Registers> {
    let top = registers.sp().checked_add(size)?;
    let mut caller = Registers::new(Machine::X86_64, memory.word(top)?, top.checked_add(8)?);
    let frame = if size >= 8 { memory.word(top - 8) } else { registers.get(Machine::X86_64.frame_pointer()) };
    caller.values[Machine::X86_64.frame_pointer()] = frame;
    (caller.pc != 0).then_some(caller)
}

type Section<'a> = EndianSlice<'a, LittleEndian>;

/// `.eh_frame_hdr`: where the entry of an address stands in `.eh_frame`. The crate takes its numbers for what a linker
/// wrote: it multiplies how many entries there are, and subtracts from places, before it looks whether that can be.
struct Index<'a> {
    header: ParsedEhFrameHdr<Section<'a>>,
}

impl<'a> Index<'a> {
    /// Nothing, if there is no table in it.
    fn read(index: &'a Placed, bases: &BaseAddresses) -> Option<Self> {
        const ROW_MIN: usize = 4; // two numbers, each of 2 bytes or more
        let header = EhFrameHdr::new(&index.bytes, LittleEndian).parse(bases, 8).ok()?;
        let count = header.table()?.iter(bases).size_hint().0;
        (count <= index.bytes.len() / ROW_MIN).then_some(Index { header })
    }

    fn entry(
        &self,
        section: &EhFrame<Section<'a>>,
        bases: &BaseAddresses,
        pc: u64,
    ) -> Option<FrameDescriptionEntry<Section<'a>>> {
        let table = self.header.table()?;
        let place = table.lookup(pc, bases).ok()?;
        place.direct().ok()?.checked_sub(self.header.eh_frame_ptr().direct().ok()?)?;
        let offset = table.pointer_to_offset(place).ok()?;
        let entry = section.fde_from_offset(bases, offset, EhFrame::cie_from_offset).ok()?;
        entry.contains(pc).then_some(entry)
    }
}

/// The caller's registers by `.eh_frame` (DWARF 5, 6.4, and the Linux Standard Base's exception frames).
fn by_tables(
    registers: &Registers,
    pc: u64,
    frames: &Placed,
    index: Option<&Placed>,
    memory: &dyn Memory,
) -> Option<Registers> {
    let section = EhFrame::new(&frames.bytes, LittleEndian);
    let mut bases = BaseAddresses::default().set_eh_frame(frames.address);
    if let Some(index) = index {
        bases = bases.set_eh_frame_hdr(index.address);
    }
    let mut context = UnwindContext::new();
    let entry = match index.and_then(|index| Index::read(index, &bases)) {
        Some(index) => index.entry(&section, &bases, pc)?,
        None if frames.bytes.len() > UNINDEXED_MAX => return None,
        None => section.fde_for_address(&bases, pc, EhFrame::cie_from_offset).ok()?,
    };
    let row = entry.unwind_info_for_address(&section, &bases, &mut context, pc).ok()?;
    let CfaRule::RegisterAndOffset { register, offset } = *row.cfa() else {
        return None; // an expression: linkage tables and signal handlers, below which nothing is certain
    };
    let frame = registers.get(register.0.into())?.checked_add_signed(offset)?;
    let machine = registers.machine;
    let rule = |number: usize| row.register(gimli::Register(u16::try_from(number).unwrap_or(u16::MAX)));
    let value = |number: usize| -> Option<u64> {
        match rule(number) {
            Some(RegisterRule::Offset(offset)) => memory.word(frame.checked_add_signed(offset)?),
            Some(RegisterRule::ValOffset(offset)) => frame.checked_add_signed(offset),
            Some(RegisterRule::Register(other)) => registers.get(other.0.into()),
            Some(RegisterRule::SameValue) => registers.get(number),
            // compilers say nothing of what they leave alone
            None if machine.preserved(number) => registers.get(number),
            _ => None,
        }
    };
    let link = machine.return_address();
    let pc = match rule(link) {
        None if machine == Machine::Arm64 => registers.get(link),
        // of the outermost function of a thread it is undefined
        _ => value(link),
    }?;
    let mut caller = Registers::new(machine, pc, frame);
    for number in 0..caller.values.len() {
        if machine.preserved(number) {
            caller.values[number] = value(number);
        }
    }
    (pc != 0).then_some(caller)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    /// `.eh_frame_hdr` with places of 8 bytes and a table of this many entries, of which one is there.
    fn index(frames: u64, entries: u64) -> Placed {
        const NUMBERS_OF_8_BYTES: u8 = 4; // DW_EH_PE_udata8
        let mut bytes = vec![1, NUMBERS_OF_8_BYTES, NUMBERS_OF_8_BYTES, NUMBERS_OF_8_BYTES];
        bytes.extend([frames, entries, 0x1000, 0x2000].map(u64::to_le_bytes).concat());
        Placed { address: 0x100, bytes }
    }

    #[test]
    fn an_index_that_no_linker_wrote() {
        let bases = BaseAddresses::default().set_eh_frame(0x2000).set_eh_frame_hdr(0x100);
        let frames = EhFrame::new(&[0; 64], LittleEndian);
        assert!(Index::read(&index(0x2000, u64::MAX / 2), &bases).is_none());
        assert!(Index::read(&index(0x2000, 1 << 61), &bases).is_none());
        // an entry that stands before the section
        let before = index(0x3000, 1);
        let index = Index::read(&before, &bases).unwrap();
        assert!(index.entry(&frames, &bases, 0x1000).is_none());
    }

    #[test]
    fn a_real_program_by_its_index() {
        let packed = &include_bytes!("../../tests/samples/elf/who.zst")[..];
        let mut bytes = Vec::new();
        ruzstd::decoding::StreamingDecoder::new(packed).unwrap().read_to_end(&mut bytes).unwrap();
        let mut file = tempfile::tempfile().unwrap();
        std::io::Write::write_all(&mut file, &bytes).unwrap();
        let program = Program::read(&file).unwrap();
        let (frames, placed) = (program.unwind.as_ref().unwrap(), program.unwind_index.as_ref().unwrap());
        let bases = BaseAddresses::default().set_eh_frame(frames.address).set_eh_frame_hdr(placed.address);
        let section = EhFrame::new(&frames.bytes, LittleEndian);
        let index = Index::read(placed, &bases).unwrap();
        let mut named = 0;
        for pc in 0x1000..0x1200 {
            let by_index = index.entry(&section, &bases, pc).map(|entry| entry.offset());
            let searched = section.fde_for_address(&bases, pc, EhFrame::cie_from_offset).ok();
            assert_eq!(by_index, searched.map(|entry| entry.offset()), "{pc:x}");
            named += usize::from(program.name(pc).function.is_some_and(|name| name.bytes() == b"give_away"));
        }
        assert_eq!(named, 0x27, "the bytes of the function");
    }
}
