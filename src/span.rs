//! Spans of time, as systemd.time(7) writes them: `90`, `10s`, `15min`, `1h30m`.

use std::time::Duration;

/// The units with their names, and how many microseconds each has (systemd.time(7), "Parsing Time Spans"); a month and a
/// year are averages.
const UNITS: [(&[&str], u64); 9] = [
    (&["us", "usec", "µs"], 1),
    (&["ms", "msec"], 1_000),
    (&["s", "sec", "second", "seconds"], 1_000_000),
    (&["m", "min", "minute", "minutes"], 60_000_000),
    (&["h", "hr", "hour", "hours"], 3_600_000_000),
    (&["d", "day", "days"], 86_400_000_000),
    (&["w", "week", "weeks"], 604_800_000_000),
    (&["M", "month", "months"], 2_629_800_000_000),
    (&["y", "year", "years"], 31_557_600_000_000),
];

/// The longest span: a unit is not left without its filter and forgotten.
const LONGEST: Duration = Duration::from_hours(31 * 24);

/// Read a span, of a second at least.
pub fn parse(text: &str) -> Result<Duration, String> {
    const USAGE: &str = "write a span of time, as 90s, 15min or 1h30m";
    let span = micros(text)
        .map(Duration::from_micros)
        .filter(|span| *span >= Duration::from_secs(1))
        .ok_or(USAGE)?;
    if span > LONGEST {
        return Err(format!("at most {}", shown(LONGEST)));
    }
    Ok(span)
}

/// A span in words, to the second: `1h 30min`.
#[must_use]
pub fn shown(span: Duration) -> String {
    let mut left = span.as_secs();
    let mut words = Vec::new();
    // weeks are not easier to read than days
    for (name, each) in [("d", 24 * 60 * 60), ("h", 60 * 60), ("min", 60), ("s", 1)] {
        let number = left / each;
        left %= each;
        if number > 0 {
            words.push(format!("{number}{name}"));
        }
    }
    if words.is_empty() { "0s".to_owned() } else { words.join(" ") }
}

/// The microseconds of a span: `2h`, `1h30min`, `1.5 days`; a number alone counts seconds.
pub(crate) fn micros(text: &str) -> Option<u64> {
    let mut rest = text.trim();
    let mut total: u64 = 0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let (number, after) = rest.split_at_checked(digits)?;
        let after = after.trim_start();
        let letters = after.find(|c: char| !c.is_alphabetic()).unwrap_or(after.len());
        let (unit, after) = after.split_at_checked(letters)?;
        let one = match unit {
            "" if after.trim().is_empty() => 1_000_000,
            unit => UNITS.iter().find(|(names, _)| names.contains(&unit))?.1,
        };
        total = total.checked_add(fraction(number, one)?)?;
        rest = after.trim_start();
    }
    (!text.trim().is_empty()).then_some(total)
}

/// A decimal number of something that has so many microseconds.
pub(crate) fn fraction(text: &str, one: u64) -> Option<u64> {
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    if whole.is_empty() || !digits(whole) || !digits(part) || part.len() > 9 {
        return None;
    }
    let scale = 10_u64.checked_pow(u32::try_from(part.len()).ok()?)?;
    let part: u64 = if part.is_empty() { 0 } else { part.parse().ok()? };
    let part = u64::try_from(u128::from(part) * u128::from(one) / u128::from(scale)).ok()?;
    whole.parse::<u64>().ok()?.checked_mul(one)?.checked_add(part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_read_as_systemd_reads_them() {
        for (text, seconds) in [
            ("90", 90),
            ("10s", 10),
            ("15m", 900),
            ("15min", 900),
            ("1h30m", 5400),
            ("1h 30min 5 s", 5405),
            (" 2 days ", 172_800),
            ("1w", 604_800),
            ("1min1min", 120),
            ("1.5h", 5400),
        ] {
            assert_eq!(parse(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
    }

    #[test]
    fn what_is_no_span_is_refused() {
        for text in [
            "",
            "0",
            "0h",
            "m",
            "-5",
            "5 apples",
            "1.5.5h",
            "2M",
            "1h,5m",
            "99999999999999999999",
            "32d",
            "10ms",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
        assert_eq!(parse("5w"), Err("at most 31d".to_owned()));
        assert_eq!(
            parse(&format!("{}w", u64::MAX)),
            Err("write a span of time, as 90s, 15min or 1h30m".to_owned())
        );
    }

    #[test]
    fn what_is_shown_is_read_again() {
        for seconds in [1, 59, 60, 61, 600, 3600, 5400, 86_399, 86_400, 694_861] {
            let span = Duration::from_secs(seconds);
            assert_eq!(parse(&shown(span)), Ok(span), "{}", shown(span));
        }
        assert_eq!(shown(Duration::from_millis(5_400_900)), "1h 30min");
        assert_eq!(shown(Duration::from_millis(10)), "0s");
    }
}
