//! A frame of a stack as `strace -k` prints it below a call: `/usr/lib/libc.so.6(setrlimit+0x7) [0xe8f37]`.

use crate::blame::Frame;
use crate::blame::stack::told_name;

/// One frame. The address is what strace prints: a place in the file, or, where strace was built with libdw, an
/// address as the file's symbols count. The function is the nearest symbol below it, and may be another one.
pub(super) fn frame(text: &[u8]) -> Option<Frame> {
    let text = text.trim_ascii().strip_suffix(b"]")?;
    let at = text.windows(3).rposition(|w| w == b"[0x")?;
    let address = u64::from_str_radix(std::str::from_utf8(text.get(at + 3..)?).ok()?, 16).ok()?;
    let head = text.get(..at)?.trim_ascii_end();
    let Some(head) = head.strip_suffix(b")") else {
        // no file: "unexpected_backtracing_error", or nothing at all
        return Some(Frame { address, ..Frame::default() });
    };
    // demangled names have brackets of their own; paths of programs seldom do
    let open = head.iter().position(|b| *b == b'(')?;
    let (module, symbol) = (head.get(..open)?, head.get(open + 1..)?);
    let function =
        symbol.windows(3).rposition(|w| w == b"+0x").and_then(|at| symbol.get(..at)).unwrap_or(symbol);
    Some(Frame { function: told_name(function), module: told_name(module), address, ..Frame::default() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evidence::Untrusted;

    #[test]
    fn every_form() {
        let known = |name: &str| (!name.is_empty()).then(|| Untrusted::new(name));
        for (text, module, function, address) in [
            ("/usr/lib/libc.so.6(setrlimit+0x7) [0xe8f37]", "/usr/lib/libc.so.6", "setrlimit", 0xe_8f37),
            ("/usr/bin/dash() [0x4781]", "/usr/bin/dash", "", 0x4781),
            ("/usr/bin/dash(+0x0) [0x4781]", "/usr/bin/dash", "", 0x4781),
            (
                "/usr/bin/node(node::f(int, char (*)())+0x1f) [0x10]",
                "/usr/bin/node",
                "node::f(int, char (*)())",
                16,
            ),
            ("unexpected_backtracing_error [0x7f00]", "", "", 0x7f00),
            (" [0x7f00]", "", "", 0x7f00),
        ] {
            let expected =
                Frame { function: known(function), module: known(module), address, ..Frame::default() };
            assert_eq!(frame(text.as_bytes()), Some(expected), "{text}");
        }
        for text in ["", "x", "x [0x]", "x] [1", "/a) [0x1]", "[0x11111111111111111]"] {
            assert_eq!(frame(text.as_bytes()), None, "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn never_panics(bytes: Vec<u8>, text in "[/a-c()+0x ]{0,20}\\[0x[0-9a-f]{0,20}\\]") {
            let _ = frame(&bytes);
            let _ = frame(text.as_bytes());
        }
    }
}
