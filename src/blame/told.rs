//! The stack that systemd-coredump writes into the journal (`MESSAGE=`), where it can unwind: for who has the entry but
//! no core dump any more.

use super::stack::told_name;
use super::{FRAMES_MAX, Frame, Stack};

/// The stack of the thread that died: the first one. Frames are lines like these (src/shared/elf-util.c):
///
/// ```text
/// Stack trace of thread 123:
/// #0  0x00007f33b0908a10 setrlimit (libc.so.6 + 0xfd7f0)
/// #1  0x000055a0c5757e2e n/a (/usr/bin/docker + 0x382e2e)
/// ```
///
/// Nothing, if there is none.
#[must_use]
pub fn stack(message: &[u8]) -> Stack {
    let mut lines = message.split(|b| *b == b'\n').map(<[u8]>::trim_ascii);
    let begins = |line: &[u8]| line.starts_with(b"Stack trace of thread ");
    if !lines.any(begins) {
        return Stack::default();
    }
    let frames = lines.take_while(|line| !line.is_empty() && !begins(line)).filter_map(frame);
    Stack { frames: frames.take(FRAMES_MAX).collect() }
}

fn frame(line: &[u8]) -> Option<Frame> {
    let rest = line.strip_prefix(b"#")?;
    let number = rest.iter().take_while(|b| b.is_ascii_digit()).count();
    let rest = rest.get(number..)?.trim_ascii_start().strip_prefix(b"0x")?;
    let digits = rest.iter().take_while(|b| b.is_ascii_hexdigit()).count();
    let absolute = hex(rest.get(..digits)?)?;
    let rest = rest.get(digits..)?.trim_ascii();
    // the module is last: names of functions may have brackets of their own
    let open = rest.windows(2).rposition(|pair| pair == b" (");
    let (function, module) = match open {
        Some(at) => (rest.get(..at)?, rest.get(at + 2..)?.strip_suffix(b")")?),
        None => (rest, &b""[..]),
    };
    let (module, offset) = match module.windows(5).rposition(|w| w == b" + 0x") {
        Some(at) => (module.get(..at)?, hex(module.get(at + 5..)?)),
        None => (module, None),
    };
    let known = |name: &[u8]| told_name(name).filter(|name| name.bytes() != b"n/a");
    Some(Frame {
        function: known(function),
        module: known(module),
        address: offset.unwrap_or(absolute),
        ..Frame::default()
    })
}

fn hex(digits: &[u8]) -> Option<u64> {
    u64::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evidence::Untrusted;

    fn shown(stack: &Stack) -> Vec<String> {
        let frame = |f: &Frame| {
            let name = |known: &Option<Untrusted>| known.as_ref().map_or("?".to_owned(), ToString::to_string);
            format!("{} {} {:x}", name(&f.function), name(&f.module), f.address)
        };
        stack.frames.iter().map(frame).collect()
    }

    /// The message in an entry of the journal.
    fn message(entry: &str) -> Vec<u8> {
        let entry: serde_json::Value = serde_json::from_str(entry).unwrap();
        entry["MESSAGE"].as_str().unwrap().as_bytes().to_vec()
    }

    #[test]
    fn real_messages() {
        let docker = message(include_str!("../../tests/samples/cores/docker-252.json"));
        let expected = [
            "? docker 382e2e",
            "? docker 4392fb",
            "? docker 4381cf",
            "? docker 46558e",
            "? docker 3c8f48",
            "? docker 3c8e91",
            "? docker 3c8e91",
            "? docker 3bbc34",
            "? docker 3ea701",
        ];
        assert_eq!(shown(&stack(&docker)), expected);
        let thread = message(include_str!("../../tests/samples/cores/who-262.json"));
        let expected = [
            "chown libc.so.6 101cc7",
            "give_away who 120f",
            "run who 122d",
            "? libc.so.6 94db8",
            "? libc.so.6 112f98",
        ];
        assert_eq!(shown(&stack(&thread)), expected);
    }

    #[test]
    fn other_forms() {
        let text = b"Process 1 (x) of user 0 dumped core.\n\nModule x with build-id 12\n\
            Stack trace of thread 1:\n\
            #0  0x0000000000401000 f(int) const (/usr/bin/a b (c) + 0x10)\n\
            #1  0x0000000000401001 n/a (/usr/bin/x)\n\
            garbage\n\
            #2  0x0000000000401002 g\n";
        let expected = ["f(int) const /usr/bin/a b (c) 10", "? /usr/bin/x 401001", "g ? 401002"];
        // of a path with brackets only what is behind the last blank and bracket is told apart
        assert_eq!(shown(&stack(text))[1..], expected[1..]);
        assert!(stack(b"Process 1 (x) of user 0 dumped core.\n").is_empty());
    }

    proptest::proptest! {
        #[test]
        fn never_panics(bytes: Vec<u8>, text in "(#[0-9] 0x[0-9a-f]{1,17} [a-z(+ ]{0,9}( \\(x \\+ 0x1\\))?\\n){0,9}") {
            let _ = stack(&bytes);
            let _ = stack(&[b"Stack trace of thread 1:\n", text.as_bytes()].concat());
        }
    }
}
