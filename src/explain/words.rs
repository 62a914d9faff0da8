//! Single words of what was pasted: architectures, numbers, names, and words of `SystemCallFilter=`.

use super::knowledge;
use super::parse::{Entry, Place, Question};
use crate::evidence::Untrusted;
use crate::syscalls::Arch;

/// An architecture and a number or a name, in either order.
pub(super) fn pair(words: &[&str]) -> Option<Question> {
    let parts = match words {
        [one] => one.split_once([':', '/'])?,
        [one, two] => (one.trim_end_matches([':', ',']), *two),
        _ => return None,
    };
    [parts, (parts.1, parts.0)].into_iter().find_map(|(place, call)| {
        let place = Place::On(architecture(place.strip_prefix("arch=").unwrap_or(place))?);
        call_at(call.strip_prefix("syscall=").unwrap_or(call), place)
    })
}

/// The beginnings of what systemd, uname and Debian call the architectures that unitfix does not know.
const FOREIGN: [&str; 16] = [
    "mips", "s390", "ppc", "powerpc", "sparc", "loong", "parisc", "hppa", "alpha", "m68k", "ia64", "sh4",
    "riscv32", "arc", "tilegx", "cris",
];

/// A number, or a name, with a word that can only be an architecture, and is none that unitfix knows.
pub(super) fn foreign(words: &[&str]) -> Option<Question> {
    let parts = match words {
        [one] => one.split_once(':')?,
        [one, two] => (one.trim_end_matches([':', ',']), *two),
        _ => return None,
    };
    [parts, (parts.1, parts.0)].into_iter().find_map(|(place, call)| {
        let letters = place.starts_with(|c: char| c.is_ascii_alphabetic())
            && place.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'));
        let plain = place.to_ascii_lowercase();
        let listed = FOREIGN.iter().any(|known| plain.starts_with(known));
        let nothing_else = || {
            number(call).is_some()
                && name(place).is_none()
                && crate::policy::parse_action(place).is_none()
                && super::closest_call(place).is_none()
        };
        let called = number(call).is_some() || name(call).is_some();
        let found = letters && called && name(place).is_none() && (listed || nothing_else());
        found.then(|| Question::UnknownArchitecture(Untrusted::new(short(place))))
    })
}

/// An architecture, as systemd, the kernel's records, uname, Debian or strace call it: `x86-64`, `amd64`, `x86_64`,
/// `i386`, `aarch64`, `c000003e`, `AUDIT_ARCH_X86_64`, in any case.
#[must_use]
pub fn architecture(text: &str) -> Option<Arch> {
    let text = text.strip_prefix("AUDIT_ARCH_").unwrap_or(text).to_ascii_lowercase();
    if let Some(known) = Arch::from_systemd_name(&text) {
        return Some(known);
    }
    match text.as_str() {
        "x86_64" | "amd64" => Some(Arch::X86_64),
        "i386" | "i486" | "i586" | "i686" => Some(Arch::X86),
        "aarch64" => Some(Arch::Arm64),
        "armv7l" | "armhf" | "armel" | "armeb" => Some(Arch::Arm),
        other => {
            let digits = other.strip_prefix("0x").unwrap_or(other);
            u32::from_str_radix(digits, 16).ok().filter(|_| digits.len() == 8).and_then(Arch::from_audit)
        }
    }
}

/// The number of a call as people and records write it: decimal, hexadecimal behind `0x`, or -1.
#[must_use]
pub fn number(text: &str) -> Option<u32> {
    if text == "-1" {
        return Some(u32::MAX); // what a tracer puts there to skip a call
    }
    match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(digits) => u32::from_str_radix(digits, 16).ok(),
        None => text.parse().ok().filter(|_| text.starts_with(|c: char| c.is_ascii_digit())),
    }
}

/// The name of a call that exists on some architecture, without what C, the kernel and tracers put around it:
/// `SETRLIMIT`, `SYS_setrlimit`, `__NR_setrlimit`, `__x64_sys_setrlimit`, `setrlimit(2)`.
#[must_use]
pub fn name(text: &str) -> Option<String> {
    let known = |name: &str| {
        crate::rules::calls().any(|call| call == name)
            || Arch::ALL.iter().any(|arch| arch.number(name).is_some())
    };
    if text.len() > 64 {
        return None;
    }
    let plain = text.split('(').next().unwrap_or(text);
    let heads = ["", "__NR_", "SYS_", "sys_", "__x64_sys_", "__ia32_sys_", "__arm64_sys_", "__se_sys_"];
    let names = heads.iter().filter_map(|head| plain.strip_prefix(head));
    names.flat_map(|name| [name.to_owned(), name.to_ascii_lowercase()]).find(|name| known(name))
}

/// Words as they stand in `SystemCallFilter=`, or single names, numbers and groups.
pub(super) fn filter_words(words: &[&str]) -> Vec<Question> {
    let mut inverted = false;
    let mut out = Vec::new();
    for (at, word) in words.iter().enumerate() {
        let setting = word.strip_prefix("SystemCallFilter=").or_else(|| word.strip_prefix("SystemCallLog="));
        let bare = setting.unwrap_or(word).trim_matches([',', ';']);
        if at == 0 {
            // one before the first word is for all of them
            inverted = bare.starts_with('~');
        }
        let own = bare.strip_prefix('~');
        let plain = own.unwrap_or(bare);
        if !plain.is_empty() {
            out.push(filter_word(bare, plain, inverted || own.is_some(), setting.is_some()));
        }
    }
    out
}

fn filter_word(word: &str, plain: &str, inverted: bool, setting: bool) -> Question {
    let (call, errno) = plain.split_once(':').map_or((plain, None), |(call, errno)| (call, Some(errno)));
    let marked = inverted || errno.is_some() || setting;
    let entry = marked.then(|| Entry { word: short(word), inverted, errno: errno.map(short) });
    let group = Some(call.to_ascii_lowercase()).filter(|g| knowledge::group(g).is_some());
    match (group, number(call), name(call)) {
        (Some(name), ..) => Question::Group { name, entry },
        (_, Some(number), _) => Question::Number { number, place: Place::Anywhere },
        (None, None, None) if super::lines::errno(call).is_some() => {
            super::lines::errno(call).map_or_else(|| Question::Unknown(Untrusted::new(word)), Question::Errno)
        }
        (.., Some(name)) => Question::Name { name, place: Place::Anywhere, entry },
        _ => Question::Unknown(Untrusted::new(word)),
    }
}

pub(super) fn call_at(call: &str, place: Place) -> Option<Question> {
    match number(call) {
        Some(number) => Some(Question::Number { number, place }),
        None => name(call).map(|name| Question::Name { name, place, entry: None }),
    }
}

/// Not longer than a word of a filter ever is, and harmless.
pub(super) fn short(text: &str) -> String {
    let cut: String = text.chars().take(80).collect();
    Untrusted::new(cut).to_string()
}
