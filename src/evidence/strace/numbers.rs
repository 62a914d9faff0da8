//! Arguments as numbers. With `-X verbose` strace (5.10 to 7.2) writes each constant as a number with its words behind
//! it: `0x10 /* AF_NETLINK */`, `0x10000000 /* CLONE_NEWUSER */|17 /* SIGCHLD */`. The number is the same in every
//! version, whatever words that knows; people read the words.

use super::arguments::{Walk, parts};

/// The arguments that are numbers, in the order of the kernel's registers.
pub(super) fn numbers(name: &str, text: &[u8]) -> [Option<u64>; 6] {
    let mut out = [None; 6];
    let parts = parts(text);
    if name == "clone" {
        // strace names its arguments, and has the stack first (clone(2), "C library/kernel differences")
        let flags = parts.iter().find_map(|part| part.strip_prefix(b"flags="));
        return [flags.and_then(number), None, None, None, None, None];
    }
    for (at, part) in out.iter_mut().zip(parts) {
        *at = number(part);
    }
    out
}

/// One argument: a number, or several joined by `|`, each perhaps with a comment.
fn number(part: &[u8]) -> Option<u64> {
    if part == b"NULL" {
        return Some(0);
    }
    let mut rest = std::str::from_utf8(part).ok()?.trim_ascii();
    let mut value = 0;
    loop {
        let end = rest.find([' ', '|']).unwrap_or(rest.len());
        let (digits, after) = rest.split_at_checked(end)?;
        value |= single(digits)?;
        rest = after.trim_ascii_start();
        if let Some(comment) = rest.strip_prefix("/*") {
            rest = comment.split_once("*/")?.1.trim_ascii_start();
        }
        match rest.strip_prefix('|') {
            Some(next) => rest = next,
            None => return rest.is_empty().then_some(value),
        }
    }
}

fn single(digits: &str) -> Option<u64> {
    if let Some(hex) = digits.strip_prefix("0x") {
        return u64::from_str_radix(hex, 16).ok();
    }
    if let Some(positive) = digits.strip_prefix('-') {
        return positive.parse::<u64>().ok().map(u64::wrapping_neg);
    }
    if !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None; // from_str_radix takes a sign
    }
    match digits.strip_prefix('0') {
        Some(octal) if !octal.is_empty() => u64::from_str_radix(octal, 8).ok(),
        _ => digits.parse().ok(),
    }
}

/// The text as strace writes it without `-X verbose`: words instead of numbers, where there are words.
pub(super) fn in_words(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut walk = Walk::new(text);
    let mut copied = 0;
    while let Some((at, byte)) = walk.next_outside() {
        let rest = text.get(at..).unwrap_or_default();
        if byte != b'/' || !rest.starts_with(b"/* ") {
            continue;
        }
        let Some(length) = crate::evidence::record::find(rest, b" */") else { break };
        let words = rest.get(3..length).unwrap_or_default();
        if stands_for_its_number(words) {
            out.extend_from_slice(text.get(copied..at).unwrap_or_default());
            take_number(&mut out);
            out.extend_from_slice(words);
            copied = at + length + 3;
        }
        walk.skip_to(at + length + 3);
    }
    out.extend_from_slice(text.get(copied..).unwrap_or_default());
    out
}

/// `AF_NETLINK`, `PROT_READ|PROT_WRITE`, `8192*1024`; not `AF_???`, and not `11 vars`.
fn stands_for_its_number(words: &[u8]) -> bool {
    let belongs = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'|' | b'*');
    !words.is_empty() && words.iter().all(belongs)
}

/// Take the number and the space behind it off the end.
fn take_number(out: &mut Vec<u8>) {
    let kept = out.trim_ascii_end().iter().rposition(|b| !b.is_ascii_alphanumeric());
    let kept = kept.map_or(0, |at| if out.get(at) == Some(&b'-') { at } else { at + 1 });
    out.truncate(kept);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(name: &str, text: &str) -> Vec<Option<u64>> {
        numbers(name, text.as_bytes()).to_vec()
    }

    /// Lines that strace 5.10, 6.1, 6.13 and 7.2 wrote.
    #[test]
    fn numbers_and_words() {
        let clone = "child_stack=NULL, flags=0x10000000 /* CLONE_NEWUSER */|17 /* SIGCHLD */";
        for (name, text, expected, words) in [
            (
                "socket",
                "0x11 /* AF_PACKET */, 0x3 /* SOCK_RAW */|0x80000 /* SOCK_CLOEXEC */, htons(0x3 /* ETH_P_ALL */)",
                &[Some(17), Some(0x80003), None][..],
                "AF_PACKET, SOCK_RAW|SOCK_CLOEXEC, htons(ETH_P_ALL)",
            ),
            (
                "socket",
                "0x2d /* AF_??? */, 0x2 /* SOCK_DGRAM */, 0",
                &[Some(45), Some(2), Some(0)],
                "0x2d /* AF_??? */, SOCK_DGRAM, 0",
            ),
            ("setns", "5, 0 /* 0 */", &[Some(5), Some(0)], "5, 0"),
            (
                "setns",
                "5, 0x48000000 /* CLONE_NEWIPC|CLONE_NEWNET */",
                &[Some(5), Some(0x4800_0000)],
                "5, CLONE_NEWIPC|CLONE_NEWNET",
            ),
            (
                "personality",
                "0 /* PER_LINUX */|0x40000 /* ADDR_NO_RANDOMIZE */",
                &[Some(0x40000)],
                "PER_LINUX|ADDR_NO_RANDOMIZE",
            ),
            (
                "mknodat",
                "-100 /* AT_FDCWD */, \"/a, /* b */\", 0104755 /* S_IFREG|S_ISUID|0755 */",
                &[Some((-100_i64).cast_unsigned()), None, Some(0o104_755)],
                "AT_FDCWD, \"/a, /* b */\", S_IFREG|S_ISUID|0755",
            ),
            ("mkdir", "\"/a\", 02755", &[None, Some(0o2755)], "\"/a\", 02755"),
            ("clone", clone, &[Some(0x1000_0011)], "child_stack=NULL, flags=CLONE_NEWUSER|SIGCHLD"),
            (
                "execve",
                "\"/a\", [\"a\"], 0x7fff3b9a1508 /* 11 vars */",
                &[None, None, Some(0x7fff_3b9a_1508)],
                "\"/a\", [\"a\"], 0x7fff3b9a1508 /* 11 vars */",
            ),
            (
                "prlimit64",
                "0, 0x3 /* RLIMIT_STACK */, NULL, {rlim_cur=8388608 /* 8192*1024 */}",
                &[Some(0), Some(3), Some(0), None],
                "0, RLIMIT_STACK, NULL, {rlim_cur=8192*1024}",
            ),
            ("x", "0x7 /* unclosed", &[None], "0x7 /* unclosed"),
            ("x", "+5, 0x, -, 1||2, 08", &[None, None, None, None, None], "+5, 0x, -, 1||2, 08"),
        ] {
            assert_eq!(of(name, text)[..expected.len()], *expected, "{text}");
            assert_eq!(String::from_utf8(in_words(text.as_bytes())).unwrap(), words);
        }
    }

    proptest::proptest! {
        #[test]
        fn never_panics(bytes: Vec<u8>, text in "[0-9a-fx|/* ,\"<>{}-]{0,60}") {
            let _ = (numbers("clone", &bytes), in_words(&bytes));
            let _ = (numbers("socket", text.as_bytes()), in_words(text.as_bytes()));
        }
    }
}
