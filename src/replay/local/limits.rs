//! Resource limits as the manager sets them: `LimitNOFILE=` and its kin. systemd.exec(5) "Process Properties",
//! src/basic/rlimit-util.c. They decide what is called: Go raises the soft limit of open files only when it is
//! below the hard one.

use crate::unit::Unit;
use nix::errno::Errno;
use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit, setrlimit};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// What the system manager gives where the unit says nothing (systemd-system.conf(5), `DefaultLimitNOFILE=`).
const OPEN_FILES: (u64, u64) = (1024, 524_288);

/// In what a limit is counted.
#[derive(Clone, Copy)]
enum Unity {
    Number,
    Bytes,
    Seconds,
    Microseconds,
    Nice,
}

const LIMITS: [(&str, Resource, Unity); 16] = [
    ("LimitCPU", Resource::RLIMIT_CPU, Unity::Seconds),
    ("LimitFSIZE", Resource::RLIMIT_FSIZE, Unity::Bytes),
    ("LimitDATA", Resource::RLIMIT_DATA, Unity::Bytes),
    ("LimitSTACK", Resource::RLIMIT_STACK, Unity::Bytes),
    ("LimitCORE", Resource::RLIMIT_CORE, Unity::Bytes),
    ("LimitRSS", Resource::RLIMIT_RSS, Unity::Bytes),
    ("LimitNOFILE", Resource::RLIMIT_NOFILE, Unity::Number),
    ("LimitAS", Resource::RLIMIT_AS, Unity::Bytes),
    ("LimitNPROC", Resource::RLIMIT_NPROC, Unity::Number),
    ("LimitMEMLOCK", Resource::RLIMIT_MEMLOCK, Unity::Bytes),
    ("LimitLOCKS", Resource::RLIMIT_LOCKS, Unity::Number),
    ("LimitSIGPENDING", Resource::RLIMIT_SIGPENDING, Unity::Number),
    ("LimitMSGQUEUE", Resource::RLIMIT_MSGQUEUE, Unity::Bytes),
    ("LimitNICE", Resource::RLIMIT_NICE, Unity::Nice),
    ("LimitRTPRIO", Resource::RLIMIT_RTPRIO, Unity::Number),
    ("LimitRTTIME", Resource::RLIMIT_RTTIME, Unity::Microseconds),
];

/// One limit of a process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Limit {
    /// The setting's name.
    pub(super) key: String,
    pub(super) soft: u64,
    pub(super) hard: u64,
}

impl Limit {
    /// Set it, or where the hard limit cannot be raised, what comes closest (`setrlimit_closest()`).
    pub(super) fn apply(&self) -> Result<(), Errno> {
        let Some((_, resource, _)) = LIMITS.iter().find(|(key, ..)| *key == self.key) else {
            return Err(Errno::EINVAL);
        };
        match setrlimit(*resource, self.soft, self.hard) {
            Err(Errno::EPERM) => {
                let (_, highest) = getrlimit(*resource)?;
                setrlimit(*resource, self.soft.min(highest), self.hard.min(highest))
            }
            other => other,
        }
    }
}

/// The limits that the unit's processes get, beside those they inherit; and what a reader should know of them.
pub(super) fn of(unit: &Unit, privileged: bool) -> (Vec<Limit>, Option<String>) {
    let mut limits = Vec::new();
    for (key, _, unity) in LIMITS {
        let parsed = unit.text(key).and_then(|text| parse(text, unity));
        let default = (key == "LimitNOFILE").then_some(OPEN_FILES);
        if let Some((soft, hard)) = parsed.or(default) {
            limits.push(Limit { key: key.to_owned(), soft, hard });
        }
    }
    (limits, note(unit, privileged))
}

/// A hard limit that is too low hides Go's call, so that is worth a word.
fn note(unit: &Unit, privileged: bool) -> Option<String> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).ok()?;
    let hides = !privileged && unit.text("LimitNOFILE").is_none() && hard <= OPEN_FILES.0;
    hides.then(|| {
        format!(
            "open files are limited to {hard} here, so programs that raise the limit to the hard one (as Go's do) \
             will not: run as root, or with a higher hard limit (ulimit -Hn)"
        )
    })
}

/// `soft:hard`, or one value for both.
fn parse(text: &str, unity: Unity) -> Option<(u64, u64)> {
    let (soft, hard) = text.split_once(':').unwrap_or((text, text));
    let (soft, hard) = (value(soft, unity)?, value(hard, unity)?);
    (soft <= hard).then_some((soft, hard))
}

fn value(text: &str, unity: Unity) -> Option<u64> {
    if text == "infinity" {
        return Some(RLIM_INFINITY);
    }
    match unity {
        Unity::Number => text.parse().ok(),
        Unity::Bytes => bytes(text),
        // without a unit, seconds; the kernel counts in whole ones, rounded up
        Unity::Seconds => time(text, 1_000_000).map(|t| t.as_micros().div_ceil(1_000_000)).and_then(whole),
        Unity::Microseconds => time(text, 1).and_then(|t| whole(t.as_micros())),
        // the kernel counts from 40 for -20 down to 1 for +19
        Unity::Nice if text.starts_with(['+', '-']) => {
            let nice: i64 = text.parse().ok().filter(|n| (-20..20).contains(n))?;
            u64::try_from(20 - nice).ok()
        }
        Unity::Nice => text.parse().ok().filter(|n| *n <= 40),
    }
}

fn whole(number: u128) -> Option<u64> {
    u64::try_from(number).ok()
}

/// A size with a suffix to the base 1024 (`parse_size()`).
fn bytes(text: &str) -> Option<u64> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, suffix) = text.split_at(digits);
    let power = "BKMGTPE".find(suffix.trim()).filter(|_| suffix.trim().len() <= 1)?;
    let power = if suffix.trim().is_empty() { 0 } else { u32::try_from(power).ok()? };
    number.parse::<u64>().ok()?.checked_mul(1024_u64.checked_pow(power)?)
}

/// A time span (systemd.time(7)): numbers with units, added up; `bare` microseconds for a number without one.
fn time(text: &str, bare: u64) -> Option<Duration> {
    let mut total = 0_f64;
    let mut rest = text.trim();
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let number: f64 = rest[..end].parse().ok()?;
        rest = rest[end..].trim_start();
        let end = rest.find(|c: char| c.is_ascii_digit() || c.is_whitespace()).unwrap_or(rest.len());
        let unit = match &rest[..end] {
            "" => Duration::from_micros(bare),
            "us" | "usec" | "µs" | "μs" => Duration::from_micros(1),
            "ms" | "msec" => Duration::from_millis(1),
            "s" | "sec" | "second" | "seconds" => Duration::from_secs(1),
            "m" | "min" | "minute" | "minutes" => Duration::from_mins(1),
            "h" | "hr" | "hour" | "hours" => Duration::from_hours(1),
            "d" | "day" | "days" => Duration::from_hours(24),
            "w" | "week" | "weeks" => Duration::from_hours(168),
            _ => return None, // months and years are no times for a service to start
        };
        total += number * unit.as_secs_f64();
        rest = rest[end..].trim_start();
    }
    Duration::try_from_secs_f64(total).ok()
}

/// A time span of a setting, where a number alone means seconds; nothing where it is `infinity` or not a time.
pub(super) fn seconds(text: &str) -> Option<Duration> {
    time(text, 1_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_as_systemd_reads_them() {
        assert_eq!(parse("1024:524288", Unity::Number), Some((1024, 524_288)));
        assert_eq!(parse("4M", Unity::Bytes), Some((4 << 20, 4 << 20)));
        assert_eq!(parse("1K:infinity", Unity::Bytes), Some((1024, RLIM_INFINITY)));
        assert_eq!(parse("2min 3s", Unity::Seconds), Some((123, 123)));
        assert_eq!(parse("1500ms", Unity::Seconds), Some((2, 2)));
        assert_eq!(parse("7", Unity::Microseconds), Some((7, 7)));
        assert_eq!(parse("-5:40", Unity::Nice), Some((25, 40)));
        for bad in ["", "x", "4Q", "2:1", "-1", "4KM"] {
            assert_eq!(parse(bad, Unity::Bytes), None, "{bad}");
        }
    }

    #[test]
    fn time_spans() {
        assert_eq!(seconds("90"), Some(Duration::from_secs(90)));
        assert_eq!(seconds("1min30s"), Some(Duration::from_secs(90)));
        assert_eq!(seconds("0.5"), Some(Duration::from_millis(500)));
        assert_eq!(seconds("infinity"), None);
        assert_eq!(seconds("1..2s"), None);
    }
}
