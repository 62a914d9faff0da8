//! Any bytes may be a program, or change a real one: it is read in memory that its size bounds, and unwinding a stack
//! through it ends. The first 33 bytes are which of both, registers, and what the stack holds.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::fs::File;
use std::io::{Seek, Write};
use std::sync::OnceLock;
use unitfix::blame::program::Program;
use unitfix::blame::programs::Programs;
use unitfix::blame::unwind::{Machine, Mapping, Memory, Registers, unwind};
use unitfix::blame::{FRAMES_MAX, Known};
use unitfix_fuzz::{change, unpacked};

/// Where the program is mapped, and where its stack is.
const BASE: u64 = 0x5555_0000_0000;
const STACK: u64 = 0x7fff_0000_0000;

/// A stack that repeats itself: of each four words one is small, and three lead into the program.
struct Repeated(u64);

impl Memory for Repeated {
    fn word(&self, address: u64) -> Option<u64> {
        let at = address.checked_sub(STACK).filter(|at| *at < 1 << 20)?;
        let word = self.0.rotate_left(u32::try_from(at % 61).expect("small"));
        Some(if at % 4 == 0 { word % 4096 } else { BASE + word % (1 << 15) })
    }
}

/// A file without a name that holds these bytes.
fn file(bytes: &[u8]) -> File {
    static FILE: OnceLock<File> = OnceLock::new();
    let mut file = FILE.get_or_init(|| tempfile::tempfile_in("/dev/shm").expect("a file"));
    file.set_len(0).and_then(|()| file.rewind()).and_then(|()| file.write_all(bytes)).expect("written");
    file.try_clone().expect("a descriptor")
}

fn look(bytes: &[u8], pc: u64, sp: u64, frame: u64, word: u64) {
    let Some(program) = Program::read(&file(bytes)) else { return };
    assert!(program.memory() <= 8 * bytes.len() as u64, "{} of {}", program.memory(), bytes.len());
    for offset in [0, pc % (1 << 14), 4096, bytes.len() as u64] {
        if let Some(address) = program.address_of(offset) {
            let name = program.name(address);
            assert!(name.function.is_none_or(|name| name.bytes().len() <= 512));
        }
    }
    let mapping =
        Mapping { range: BASE..BASE + (1 << 15), offset: 0, path: b"/nonexistent".to_vec(), inode: None };
    for machine in [Machine::X86_64, Machine::Arm64] {
        let mut registers = Registers::new(machine, BASE + pc % (1 << 15), STACK + sp % (1 << 16));
        registers.set(6, STACK + frame % (1 << 16));
        registers.set(30, BASE + frame % (1 << 15));
        let mut known = Known::default();
        let open = |_: &Mapping| Some(file(bytes));
        let mut programs = Programs::new(&mut known, &open);
        let stack = unwind(registers, std::slice::from_ref(&mapping), &Repeated(word), &mut programs);
        assert!((1..=FRAMES_MAX).contains(&stack.frames.len()));
    }
}

fuzz_target!(|bytes: &[u8]| {
    static SAMPLE: OnceLock<Vec<u8>> = OnceLock::new();
    let Some((numbers, rest)) = bytes.split_at_checked(33) else { return };
    let number = |at: usize| u64::from_le_bytes(numbers[at..at + 8].try_into().expect("8 bytes"));
    let (pc, sp, frame, word) = (number(0), number(8), number(16), number(24));
    if numbers[32] % 2 == 0 {
        return look(rest, pc, sp, frame, word);
    }
    let sample = SAMPLE.get_or_init(|| unpacked(include_bytes!("../../samples/elf/who.zst")));
    let mut sample = sample.clone();
    change(&mut sample, rest);
    look(&sample, pc, sp, frame, word);
});
