//! Any bytes may be a core dump, or change a real one: reading it ends, and what it says lies in it. The first byte says
//! which.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::io::Read;
use std::sync::OnceLock;
use unitfix::blame::core_file::Core;
use unitfix::blame::unwind::Memory;
use unitfix::blame::{FRAMES_MAX, Known};
use unitfix::interrupt::Interrupt;
use unitfix::root::Root;
use unitfix_fuzz::{change, unpacked};

/// The headers and notes of the sample are at its beginning; only those are changed.
const HEAD: usize = 16 * 1024;

fn look(from: impl Read) {
    let Ok(core) = Core::read(from, &Interrupt::default()) else { return };
    let sp = core.registers.sp();
    assert!(core.word(sp.wrapping_sub(1)).is_none() || sp == 0);
    let stack = core.unwind(&Root::new("/nonexistent"), &mut Known::default());
    assert!(stack.frames.len() <= FRAMES_MAX);
    assert!(core.registers.pc() == 0 || !stack.is_empty());
}

fuzz_target!(|bytes: &[u8]| {
    static SAMPLE: OnceLock<Vec<u8>> = OnceLock::new();
    let Some((kind, rest)) = bytes.split_first() else { return };
    if kind % 2 == 0 {
        return look(rest);
    }
    let sample = SAMPLE.get_or_init(|| unpacked(include_bytes!("../../samples/cores/who.zst")));
    let mut head = sample[..HEAD].to_vec();
    change(&mut head, rest);
    look(head.chain(&sample[HEAD..]));
});
