//! What several targets have in common: samples that are compressed, and bytes that change them.
#![forbid(unsafe_code)]

use std::io::Read;

/// A sample, unpacked.
///
/// # Panics
/// If it is none.
#[must_use]
pub fn unpacked(packed: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut decoder = ruzstd::decoding::StreamingDecoder::new(packed).expect("a sample");
    decoder.read_to_end(&mut bytes).expect("a sample");
    bytes
}

/// A sample, changed byte by byte: each four bytes of a text are a place in it, three of them, and what stands there.
pub fn change(sample: &mut [u8], changes: &[u8]) {
    let length = sample.len();
    for change in changes.chunks_exact(4) {
        let at = usize::from(change[0]) | usize::from(change[1]) << 8 | usize::from(change[2]) << 16;
        sample[at % length] = change[3];
    }
}
