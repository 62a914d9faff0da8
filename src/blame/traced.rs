//! The frames that `strace -k` printed. It names a function by the nearest symbol in front of an address, whatever
//! that is, and knows nothing of Go's: so the names are found again, in the files.

use super::program::Program;
use super::programs::Known;
use super::stack::inside;
use super::{Frame, Stack, child};
use crate::root::Root;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;

/// What a strace unwinds stacks with, which decides how it counts addresses (its src/unwind-*.c).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unwinder {
    /// It prints places in the file.
    Libunwind,
    /// It prints addresses as the file's symbols count.
    Libdw,
}

/// What a strace unwinds with. Nothing, if it was built without.
#[must_use]
pub fn unwinder(strace: &Path) -> Option<Unwinder> {
    features(&child::ask(strace, &["-V"], std::iter::empty(), Duration::from_secs(10))?)
}

/// `Optional features enabled: stack-trace=libunwind stack-demangle m32-mpers mx32-mpers`
fn features(version: &[u8]) -> Option<Unwinder> {
    let mut words = version.split(u8::is_ascii_whitespace);
    words.find_map(|word| match word.strip_prefix(b"stack-trace=")? {
        b"libunwind" => Some(Unwinder::Libunwind),
        b"libdw" => Some(Unwinder::Libdw),
        _ => None,
    })
}

/// Give the frames of a stack the names that the files below a root have for them, and addresses as symbols count. A
/// name that strace only guessed goes.
pub fn name(stack: &mut Stack, unwinder: Unwinder, root: &Root, known: &mut Known) {
    for (number, frame) in stack.frames.iter_mut().enumerate() {
        let Some(path) = frame.module.as_ref().map(|module| module.bytes().to_vec()) else { continue };
        let file = root.open_file(Path::new(OsStr::from_bytes(&path))).ok();
        let Some(program) = file.and_then(|file| known.read(&file)) else { continue };
        let Some(address) = address(&program, frame, unwinder) else { continue };
        let name = known.name(&program, &path, inside(number, address));
        frame.address = address;
        if name.function.is_some() || !program.has_packed_symbols {
            (frame.function, frame.file, frame.line) = (name.function, name.file, name.line);
        }
    }
}

fn address(program: &Program, frame: &Frame, unwinder: Unwinder) -> Option<u64> {
    match unwinder {
        Unwinder::Libunwind => program.address_of(frame.address),
        Unwinder::Libdw => Some(frame.address),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_strace_was_built_with() {
        let text = |stack| {
            format!("strace -- version 6.1\n\nOptional features enabled:{stack} m32-mpers mx32-mpers\n")
        };
        assert_eq!(features(text(" stack-trace=libunwind").as_bytes()), Some(Unwinder::Libunwind));
        assert_eq!(features(text(" stack-trace=libdw stack-demangle").as_bytes()), Some(Unwinder::Libdw));
        assert_eq!(features(text(" no-stack-trace").as_bytes()), None);
        assert_eq!(features(text("").as_bytes()), None);
    }
}
