//! Any bytes may be Go's function table: looking an address up in it ends, without a panic. The first 17 bytes are
//! where the text is, what is looked up, and which real table it is that the rest changes byte by byte; or none.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::sync::OnceLock;
use unitfix::blame::go_table::GoTable;
use unitfix_fuzz::{change, unpacked};

const SAMPLES: [&[u8]; 4] = [
    include_bytes!("../../samples/go/pclntab-1.15.zst"),
    include_bytes!("../../samples/go/pclntab-1.19.zst"),
    include_bytes!("../../samples/go/pclntab-1.24.zst"),
    include_bytes!("../../samples/go/pclntab-1.27.zst"),
];

/// Where the text of the samples begins.
const TEXT: u64 = 0x40_1000;

fn look(bytes: &[u8], text: u64, pc: u64) {
    let Some(table) = GoTable::parse(bytes, text) else { return };
    let range = table.range();
    for pc in [pc, range.start, range.end.wrapping_sub(1), range.start.wrapping_add(pc % (1 << 19))] {
        if let Some(function) = table.function_at(pc) {
            let _ = (table.frame_size(&function, pc), table.line(&function, pc));
        }
    }
}

fuzz_target!(|bytes: &[u8]| {
    static TABLES: OnceLock<[Vec<u8>; 4]> = OnceLock::new();
    let Some((numbers, rest)) = bytes.split_at_checked(17) else { return };
    let number = |at: usize| u64::from_le_bytes(numbers[at..at + 8].try_into().expect("8 bytes"));
    let (text, pc) = (number(0), number(8));
    let tables = TABLES.get_or_init(|| SAMPLES.map(unpacked));
    if let Some(table) = tables.get(usize::from(numbers[16])) {
        let mut table = table.clone();
        change(&mut table, rest);
        look(&table, TEXT, pc);
    } else {
        for at in GoTable::candidates(rest).chain([0]).take(8) {
            look(&rest[at..], text, pc);
        }
    }
});
