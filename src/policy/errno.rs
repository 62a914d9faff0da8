//! Errnos and actions as systemd reads them: `SystemCallErrorNumber=`, and what follows the colon of
//! `name:errno` (`seccomp_parse_errno_or_action()`, `parse_errno()` in src/basic/parse-util.c).

use super::Action;
use crate::finding::{Code, Finding};
use crate::unit::Unit;
use nix::errno::Errno;
use std::collections::BTreeMap;
use std::sync::LazyLock;

/// `EPERM`: not permitted (asm-generic/errno-base.h).
pub const EPERM: u16 = 1;

/// `ENOSYS`: there is no such call (asm-generic/errno.h).
pub const ENOSYS: u16 = 38;

/// The largest errno that can be returned (`ERRNO_MAX`, include/linux/err.h).
const ERRNO_MAX: u16 = 4095;

/// The name of an errno, or its number where it has none.
#[must_use]
pub fn errno_name(number: u16) -> String {
    match Errno::from_raw(number.into()) {
        Errno::UnknownErrno => number.to_string(),
        known => format!("{known:?}"),
    }
}

/// `SystemCallErrorNumber=`: the last line counts; empty or `kill` kills. Zero, which a list may hold, is refused.
pub(super) fn default_action(unit: &Unit, findings: &mut Vec<Finding>) -> Action {
    let mut action = Action::Kill;
    for setting in unit.service("SystemCallErrorNumber") {
        match parse_action(&setting.value.text) {
            _ if setting.value.text.is_empty() => action = Action::Kill,
            Some(parsed) if parsed != Action::Errno(0) => action = parsed,
            _ => {
                let message = format!("'{}' is no errno: the line is ignored", setting.value.text);
                findings.push(Finding::warning(Code::BadErrno, message, Some(setting.value.whole())));
            }
        }
    }
    action
}

/// An errno by name or number, or `kill`. Names may be in lower case, `kill` may not.
pub fn parse_action(text: &str) -> Option<Action> {
    if text == "kill" {
        return Some(Action::Kill);
    }
    if let Some(number) = integer(text) {
        return u16::try_from(number).ok().filter(|n| *n <= ERRNO_MAX).map(Action::Errno);
    }
    let wanted = text.to_ascii_uppercase();
    let wanted = match wanted.as_str() {
        "EWOULDBLOCK" => "EAGAIN", // errno(3): the same numbers
        "EDEADLOCK" => "EDEADLK",
        "ENOTSUP" => "EOPNOTSUPP",
        other => other,
    };
    NAMES.get(wanted).copied().map(Action::Errno)
}

/// Every errno that has a name.
static NAMES: LazyLock<BTreeMap<String, u16>> = LazyLock::new(|| {
    let named = (1..=ERRNO_MAX).filter(|n| Errno::from_raw((*n).into()) != Errno::UnknownErrno);
    named.map(|number| (errno_name(number), number)).collect()
});

/// `safe_atoi()`: strtol(3) with any base, so `0x` and a leading zero count, and `0b` and `0o` too.
fn integer(text: &str) -> Option<i64> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let prefixed = |prefixes: [&str; 2]| prefixes.iter().find_map(|p| digits.strip_prefix(*p));
    let (digits, base) = if let Some(rest) = prefixed(["0x", "0X"]) {
        (rest, 16)
    } else if let Some(rest) = prefixed(["0b", "0B"]) {
        (rest, 2)
    } else if let Some(rest) = prefixed(["0o", "0O"]) {
        (rest, 8)
    } else if digits.len() > 1 && digits.starts_with('0') {
        (&digits[1..], 8)
    } else {
        (digits, 10)
    };
    if digits.starts_with(['+', '-']) {
        return None;
    }
    let value = i64::from_str_radix(digits, base).ok()?;
    Some(if negative { -value } else { value })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_those_of_strtol() {
        let errno = |text| match parse_action(text) {
            Some(Action::Errno(number)) => Some(number),
            _ => None,
        };
        for (text, number) in [("1", 1), ("010", 8), ("0x10", 16), ("0X1f", 31), ("0b11", 3), ("0o17", 15)] {
            assert_eq!(errno(text), Some(number), "{text}");
        }
        for (text, number) in [("0", 0), ("-0", 0), ("+5", 5), ("4095", 4095), ("512", 512)] {
            assert_eq!(errno(text), Some(number), "{text}");
        }
        for text in ["", "4096", "-1", "--1", "0x", "1x", "EFOO", "KILL", "08", "99999999999999999999"] {
            assert_eq!(parse_action(text), None, "{text}");
        }
        assert_eq!(errno("eperm"), Some(1));
        assert_eq!(errno("ENOTSUP"), Some(95));
        assert_eq!(parse_action("kill"), Some(Action::Kill));
    }
}
