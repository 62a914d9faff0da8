//! Any bytes are what journalctl printed: reading them ends, and a field says the same as a text and as its bytes.
#![no_main]

use libfuzzer_sys::fuzz_target;
use serde_json::{Map, Value};
use unitfix::evidence::journal::printed;

/// An entry with every text as journalctl prints what is no UTF-8: an array of its bytes.
fn in_bytes(line: &[u8]) -> Vec<u8> {
    let Ok(entry) = serde_json::from_slice::<Map<String, Value>>(line) else { return line.to_vec() };
    let bytes = |value: Value| match value {
        Value::String(text) if !text.is_empty() => Value::Array(text.bytes().map(Value::from).collect()),
        other => other,
    };
    let entry: Map<String, Value> = entry.into_iter().map(|(name, value)| (name, bytes(value))).collect();
    serde_json::to_vec(&entry).expect("it was read")
}

fuzz_target!(|bytes: &[u8]| {
    let read = printed(bytes).expect("a slice can be read");
    let lines = bytes.split(|b| *b == b'\n').count() as u64;
    let records = &read.records;
    assert!(records.kept.total() + records.foreign + records.malformed <= 2 * lines);
    for dump in &read.dumps {
        assert!(read.cores.len() >= read.dumps.len(), "{dump:?}");
    }
    let lines: Vec<Vec<u8>> = bytes.split(|b| *b == b'\n').map(in_bytes).collect();
    assert_eq!(printed(lines.join(&b'\n').as_slice()).expect("a slice"), read);
});
