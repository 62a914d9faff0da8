//! Any bytes are the name of a symbol, and what systemd-coredump says of a stack: names are bounded, and printed they are
//! harmless.
#![no_main]

use libfuzzer_sys::fuzz_target;
use unitfix::blame::symbols::Symbols;
use unitfix::blame::{FRAMES_MAX, told};

/// A symbol table (elf(5)) of one function, which has a name of its own.
fn name(text: &[u8]) -> Option<String> {
    let mut table = vec![1, 0, 0, 0, 0x12, 0, 1, 0];
    table.extend([0x1000_u64, 16].map(u64::to_le_bytes).concat());
    let symbols = Symbols::read(&table, [b"\0", text, b"\0"].concat())?;
    assert_eq!(symbols.name(0xfff), None);
    assert_eq!(symbols.name(0x1010), None);
    let name = symbols.name(0x100f)?;
    assert!(name.bytes().len() <= 512, "{name}");
    Some(name.to_string())
}

fuzz_target!(|bytes: &[u8]| {
    for text in [bytes, &[b"_Z", bytes].concat(), &[b"_R", bytes].concat()] {
        let name = name(text);
        assert!(name.is_none_or(|name| !name.chars().any(char::is_control)));
    }
    let stack = told::stack(&[b"Stack trace of thread 1:\n", bytes].concat());
    assert!(stack.frames.len() <= FRAMES_MAX);
    assert!(stack.short().is_none_or(|short| !short.chars().any(char::is_control)));
});
