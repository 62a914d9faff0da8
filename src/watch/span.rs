//! Spans of time, as systemd.time(7) writes them: `90`, `10s`, `15min`, `1h30m`.

use std::time::Duration;

/// The units with their names and how many seconds each has. `m` is a minute, as in systemd.
const UNITS: [(&[&str], u64); 5] = [
    (&["s", "sec", "second", "seconds"], 1),
    (&["min", "m", "minute", "minutes"], 60),
    (&["h", "hr", "hour", "hours"], 60 * 60),
    (&["d", "day", "days"], 24 * 60 * 60),
    (&["w", "week", "weeks"], 7 * 24 * 60 * 60),
];

/// The longest span: a unit is not left without its filter and forgotten.
const LONGEST: Duration = Duration::from_hours(31 * 24);

/// Read a span, of a second at least. A number without a unit counts seconds.
pub fn parse(text: &str) -> Result<Duration, String> {
    const USAGE: &str = "write a span of time, as 90s, 15min or 1h30m";
    let mut rest = text.trim();
    let mut seconds: u64 = 0;
    while !rest.is_empty() {
        let (number, behind) = split(rest, |c| c.is_ascii_digit());
        let (unit, behind) = split(behind.trim_start(), |c| c.is_ascii_alphabetic());
        let number: u64 = number.parse().map_err(|_| USAGE)?;
        let each = match unit {
            "" => Some(1),
            unit => UNITS.iter().find(|(names, _)| names.contains(&unit)).map(|(_, each)| *each),
        };
        let more = number.checked_mul(each.ok_or(USAGE)?);
        seconds = more.and_then(|more| seconds.checked_add(more)).ok_or(USAGE)?;
        rest = behind.trim_start();
    }
    let span = Duration::from_secs(seconds);
    if seconds == 0 {
        return Err(USAGE.to_owned());
    }
    if span > LONGEST {
        return Err(format!("at most {}", shown(LONGEST)));
    }
    Ok(span)
}

/// The characters at the start that are like this, and the rest.
fn split(text: &str, like_this: impl Fn(char) -> bool) -> (&str, &str) {
    text.split_at(text.find(|c| !like_this(c)).unwrap_or(text.len()))
}

/// A span in words, to the second: `1h 30min`.
#[must_use]
pub fn shown(span: Duration) -> String {
    let mut left = span.as_secs();
    let mut words = Vec::new();
    // weeks are not easier to read than days
    for (names, each) in UNITS.iter().take(4).rev() {
        let (number, name) = (left / each, names.first().copied().unwrap_or_default());
        left %= each;
        if number > 0 {
            words.push(format!("{number}{name}"));
        }
    }
    if words.is_empty() { "0s".to_owned() } else { words.join(" ") }
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
        ] {
            assert_eq!(parse(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
    }

    #[test]
    fn what_is_no_span_is_refused() {
        for text in
            ["", "0", "0h", "m", "-5", "5 apples", "1.5h", "1M", "1h,5m", "99999999999999999999", "32d"]
        {
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
