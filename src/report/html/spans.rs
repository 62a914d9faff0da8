//! Spans of time on one scale: what began when, and how long it went on.

use super::Pages;
use maud::{Markup, html};

/// How wide the scale is drawn.
const WIDTH: u64 = 1000;

/// What is drawn of a moment.
const LEAST: u64 = 5;

/// Something that went on for a time.
pub(super) struct Span {
    /// What.
    pub label: Markup,
    /// When it was first seen, in microseconds since the epoch.
    pub first: u64,
    /// When it was last seen.
    pub last: u64,
}

impl Pages<'_> {
    /// The spans on one scale, those that began first above. Nothing, where there is nothing to compare.
    pub(super) fn spans(&self, mut spans: Vec<Span>) -> Option<Markup> {
        let from = spans.iter().map(|span| span.first).min()?;
        let to = spans.iter().map(|span| span.last).max()?;
        let length = to.checked_sub(from).filter(|length| *length > 0)?;
        spans.sort_by_key(|span| (span.first, span.last));
        let at = |time: u64| {
            let scaled = u128::from(time.saturating_sub(from)) * u128::from(WIDTH) / u128::from(length);
            u64::try_from(scaled).unwrap_or(WIDTH)
        };
        Some(html! {
            div.scale aria-hidden="true" { span { (self.full(from)) } span { (self.full(to)) } }
            ul.spans {
                @for span in &spans {
                    @let (x, end) = (at(span.first).min(WIDTH - LEAST), at(span.last));
                    li {
                        div.label { span { (span.label) } span.muted { (self.span(Some(span.first), Some(span.last))) } }
                        svg viewBox={"0 0 " (WIDTH) " 12"} preserveAspectRatio="none" aria-hidden="true" focusable="false" {
                            @for quarter in 1..4 {
                                line x1=(quarter * WIDTH / 4) x2=(quarter * WIDTH / 4) y1="0" y2="12" {}
                            }
                            rect x=(x) y="2" width=(end.saturating_sub(x).max(LEAST)) height="8" {}
                        }
                    }
                }
            }
        })
    }
}
