//! Times of a page. Whoever reads it may do so on another day and elsewhere, so dates and the zone are always said.

use super::Pages;
use jiff::{Timestamp, ZonedDateTime};
use maud::{Markup, html};

/// What ends within so many microseconds has happened at one time.
const AT_ONCE_US: u64 = 2_000_000;

impl Pages<'_> {
    fn zoned(&self, microseconds: u64) -> Option<ZonedDateTime> {
        let time = Timestamp::from_microsecond(i64::try_from(microseconds).ok()?).ok()?;
        Some(time.to_zoned_datetime(self.zone.clone()))
    }

    fn shown(&self, microseconds: u64, format: &str) -> Markup {
        let Some(time) = self.zoned(microseconds) else { return html! { "an unknown time" } };
        let exact = time.timestamp().strftime("%Y-%m-%d %H:%M:%SZ").to_string();
        html! { time datetime=(exact) { (time.strftime(format).to_string()) } }
    }

    /// The date and the time of day.
    pub(super) fn full(&self, microseconds: u64) -> Markup {
        self.shown(microseconds, "%Y-%m-%d %H:%M:%S")
    }

    /// The date, the time of day and the zone.
    pub(super) fn with_zone(&self, microseconds: u64) -> Markup {
        self.shown(microseconds, "%Y-%m-%d %H:%M:%S %Z")
    }

    /// The date.
    pub(super) fn day(&self, microseconds: u64) -> String {
        self.zoned(microseconds)
            .map_or_else(|| "On an unknown day".to_owned(), |time| time.date().to_string())
    }

    /// The time of day, from and to.
    pub(super) fn clocks(&self, from: u64, to: u64) -> Markup {
        const CLOCK: &str = "%H:%M:%S";
        html! {
            (self.shown(from, CLOCK))
            @if to.saturating_sub(from) >= AT_ONCE_US {
                @let same_day = self.day(from) == self.day(to);
                " – " (self.shown(to, if same_day { CLOCK } else { "%Y-%m-%d %H:%M:%S" }))
            }
        }
    }

    /// From when until when, with dates.
    pub(super) fn span(&self, first: Option<u64>, last: Option<u64>) -> Markup {
        html! {
            @if let (Some(first), Some(last)) = (first, last) {
                (self.full(first))
                @if last.saturating_sub(first) >= AT_ONCE_US {
                    @let same_day = self.day(first) == self.day(last);
                    " – " (self.shown(last, if same_day { "%H:%M:%S" } else { "%Y-%m-%d %H:%M:%S" }))
                }
            } @else {
                "not on record"
            }
        }
    }
}
