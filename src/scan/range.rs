//! The time that a scan is about.

/// From when until when, in microseconds since the epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Range {
    /// From then on; nothing: from the beginning.
    pub since: Option<u64>,
    /// Until then; nothing: until the end.
    pub until: Option<u64>,
}

impl Range {
    /// Whether a time lies in it.
    pub(crate) fn holds(self, time: u64) -> bool {
        self.since.is_none_or(|since| time >= since) && self.until.is_none_or(|until| time <= until)
    }

    /// Whether there is a time that does not.
    pub(crate) fn is_limited(self) -> bool {
        self != Range::default()
    }

    /// What lies in both.
    pub(crate) fn and(self, other: Range) -> Range {
        let until = [self.until, other.until].into_iter().flatten().min();
        Range { since: self.since.max(other.since), until }
    }
}
