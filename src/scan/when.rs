//! Points in time as journalctl takes them for `--since` and `--until` (systemd.time(7), "Parsing Timestamps"): those of
//! its forms that people type.

use crate::span::{fraction, micros as span};
use jiff::civil::{Date, Time};
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan, ZonedDateTime};

/// What is said about a time that is none.
const FORMS: &str = "write a time as 2026-11-26 10:00, 2026-11-26, 10:00, today, yesterday, -2h, \"2 days ago\" or @1790000000";

/// Microseconds since the epoch of what somebody typed, as seen at this moment in this time zone.
pub(crate) fn parse(text: &str, now: &ZonedDateTime) -> Result<u64, String> {
    let text = text.trim();
    let found = named(text, now).or_else(|| relative(text, now)).or_else(|| absolute(text, now));
    found.ok_or_else(|| {
        let shown: String = text.chars().take(60).collect();
        format!("'{}' is no time: {FORMS}", shown.escape_debug())
    })
}

fn named(text: &str, now: &ZonedDateTime) -> Option<u64> {
    let day =
        |days: i64| now.date().checked_add(days.days()).ok().and_then(|date| midnight(date, now.time_zone()));
    match text {
        "now" => micros(now.timestamp()),
        "today" => day(0),
        "yesterday" => day(-1),
        "tomorrow" => day(1),
        _ => None,
    }
}

/// `-2h`, `+30min`, `2 days ago`, `1h 30min left`; `@SECONDS` since the epoch.
fn relative(text: &str, now: &ZonedDateTime) -> Option<u64> {
    if let Some(seconds) = text.strip_prefix('@') {
        return fraction(seconds, 1_000_000);
    }
    let now = micros(now.timestamp())?;
    let past = text.strip_prefix('-').or_else(|| text.strip_suffix(" ago"));
    if let Some(past) = past {
        return now.checked_sub(span(past)?);
    }
    now.checked_add(span(text.strip_prefix('+').or_else(|| text.strip_suffix(" left"))?)?)
}

/// A date, a time of day (of today), or both; in the local zone or, with `UTC` or `Z` behind it, in that one.
fn absolute(text: &str, now: &ZonedDateTime) -> Option<u64> {
    let (text, zone) = match text.strip_suffix(" UTC").or_else(|| text.strip_suffix('Z')) {
        Some(text) => (text, TimeZone::UTC),
        None => (text, now.time_zone().clone()),
    };
    let (date, time) = match text.split_once([' ', 'T']) {
        Some((date, time)) => (date_of(date)?, time_of(time.trim_start())?),
        None if text.contains(':') => (now.with_time_zone(zone.clone()).date(), time_of(text)?),
        None => return midnight(date_of(text)?, &zone),
    };
    micros(date.to_datetime(time).to_zoned_datetime(zone).ok()?.timestamp())
}

/// `2026-11-26`, or `26-11-26` of this century.
fn date_of(text: &str) -> Option<Date> {
    let parts: Vec<&str> = text.split('-').collect();
    let [year, month, day] = parts.as_slice() else { return None };
    let number = |text: &&str, digits: usize| {
        (text.len() <= digits && !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()))
            .then(|| text.parse::<i16>().ok())
            .flatten()
    };
    let year = match year.len() {
        2 => 2000 + number(year, 2)?,
        4 => number(year, 4)?,
        _ => return None,
    };
    Date::new(year, i8::try_from(number(month, 2)?).ok()?, i8::try_from(number(day, 2)?).ok()?).ok()
}

/// `10:00`, `10:00:05` or `10:00:05.25`.
fn time_of(text: &str) -> Option<Time> {
    let (clock, part) = text.split_once('.').map_or((text, None), |(clock, part)| (clock, Some(part)));
    let parts: Vec<&str> = clock.split(':').collect();
    let number = |text: &str| {
        ((1..=2).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit()))
            .then(|| text.parse::<i8>().ok())
            .flatten()
    };
    let (hour, minute, second) = match (parts.as_slice(), part) {
        ([hour, minute], None) => (number(hour)?, number(minute)?, 0),
        ([hour, minute, second], _) => (number(hour)?, number(minute)?, number(second)?),
        _ => return None,
    };
    let nanoseconds = match part {
        Some(part) => i32::try_from(fraction(&format!("0.{part}"), 1_000_000)? * 1000).ok()?,
        None => 0,
    };
    Time::new(hour, minute, second, nanoseconds).ok()
}

fn midnight(date: Date, zone: &TimeZone) -> Option<u64> {
    micros(date.to_zoned_datetime(zone.clone()).ok()?.timestamp())
}

fn micros(time: Timestamp) -> Option<u64> {
    u64::try_from(time.as_microsecond()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Thursday noon in a zone one hour east of Greenwich.
    fn now() -> ZonedDateTime {
        let zone = TimeZone::fixed(jiff::tz::offset(1));
        "2026-11-26T11:00:00Z".parse::<Timestamp>().unwrap().to_zoned_datetime(zone)
    }

    fn parsed(text: &str) -> Option<String> {
        let time = i64::try_from(parse(text, &now()).ok()?).unwrap();
        Some(Timestamp::from_microsecond(time).unwrap().to_string())
    }

    #[test]
    fn times_as_journalctl_takes_them() {
        let expected = [
            ("2026-11-26 10:00", "2026-11-26T09:00:00Z"),
            ("2026-11-26 10:00:05.5", "2026-11-26T09:00:05.5Z"),
            ("2026-11-26T10:00", "2026-11-26T09:00:00Z"),
            ("2026-11-26 10:00 UTC", "2026-11-26T10:00:00Z"),
            ("2026-11-26T10:00:00Z", "2026-11-26T10:00:00Z"),
            ("2026-11-26", "2026-11-25T23:00:00Z"),
            ("26-1-2", "2026-01-01T23:00:00Z"),
            ("10:00", "2026-11-26T09:00:00Z"),
            ("now", "2026-11-26T11:00:00Z"),
            ("today", "2026-11-25T23:00:00Z"),
            ("yesterday", "2026-11-24T23:00:00Z"),
            ("tomorrow", "2026-11-26T23:00:00Z"),
            ("-2h", "2026-11-26T09:00:00Z"),
            ("-1h30min", "2026-11-26T09:30:00Z"),
            ("-90", "2026-11-26T10:58:30Z"),
            ("2 days ago", "2026-11-24T11:00:00Z"),
            ("1.5 h ago", "2026-11-26T09:30:00Z"),
            ("+1d", "2026-11-27T11:00:00Z"),
            ("@1790000000", "2026-09-21T14:13:20Z"),
            ("@1790000000.25", "2026-09-21T14:13:20.25Z"),
        ];
        for (text, time) in expected {
            assert_eq!(parsed(text).as_deref(), Some(time), "{text}");
        }
    }

    #[test]
    fn what_is_no_time() {
        let bad = [
            "",
            "-",
            "+",
            "2h",
            "monday",
            "2026-13-01",
            "2026-11-31",
            "25:00",
            "10:60",
            "10",
            "-2 parsecs",
            "2026-11",
            "@",
            "@-1",
            "@x",
            "-99999999999999999999h",
            "2026-11-26 10",
            "2026-11-26 10:0.5",
            "\u{1b}[2J",
            "1:2:3:4",
        ];
        for text in bad {
            assert_eq!(parsed(text), None, "{text}");
        }
        let message = parse("\u{1b}[2Jnoon", &now()).unwrap_err();
        assert_eq!(message, format!("'\\u{{1b}}[2Jnoon' is no time: {FORMS}"));
    }
}
