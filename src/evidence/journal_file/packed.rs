//! Compressed data objects.

use super::Problem;
use std::io::Read;

/// How they are compressed (`OBJECT_COMPRESSED_*`).
const XZ: u8 = 1;
const LZ4: u8 = 2;
const ZSTD: u8 = 4;

/// No compressed object is read further: what matters of a longer one stands at its beginning.
pub(super) const MAX: usize = 256 * 1024;

/// No object that is compressed as a whole is made longer than this.
const WHOLE_MAX: usize = 1 << 20;

/// The first bytes of what was compressed, as many as are wanted.
pub(super) fn unpack(at: u64, how: u8, packed: &[u8], out: &mut Vec<u8>, most: usize) -> Result<(), Problem> {
    let damaged = Problem::Damaged { at, why: "what is compressed here cannot be unpacked" };
    match how {
        ZSTD => {
            let Ok(decoder) = ruzstd::decoding::StreamingDecoder::new(packed) else { return Err(damaged) };
            let read = decoder.take(most as u64).read_to_end(out);
            // of what was cut above, the beginning is enough
            if read.is_err() && (packed.len() < MAX || out.is_empty()) {
                return Err(damaged);
            }
            Ok(())
        }
        LZ4 => {
            // the length comes first, then a bare block
            let Some((length, block)) = packed.split_first_chunk::<8>() else { return Err(damaged) };
            let length = usize::try_from(u64::from_le_bytes(*length)).unwrap_or(usize::MAX);
            if length > WHOLE_MAX || packed.len() >= MAX {
                return Err(Problem::Damaged { at, why: "this field is larger than any that matters" });
            }
            *out = lz4_flex::block::decompress(block, length).map_err(|_| damaged)?;
            out.truncate(most);
            Ok(())
        }
        XZ => Err(Problem::Packed { at, how: "xz" }),
        _ => Err(Problem::Damaged { at, why: "this is compressed in a way that nobody knows" }),
    }
}
