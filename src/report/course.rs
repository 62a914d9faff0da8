//! The course of a run: what unitfix did, and when. It is for the time line of a page; JSON has what came of it.

use crate::replay::session::now_us;

/// Something that unitfix did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// What.
    pub deed: Deed,
    /// When it began, in microseconds since the epoch.
    pub began: u64,
    /// When it was over.
    pub ended: u64,
    /// What came of it, in words.
    pub words: String,
}

/// What unitfix does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deed {
    /// Read the unit and the logs.
    Looked,
    /// Ran the unit with its forbidden calls let through.
    Replayed,
    /// Ran it under settings that are not kept.
    Tried,
    /// Wrote the repair.
    Written,
    /// Put it in force, and saw it help.
    Verified,
    /// Took it back, because it did not help.
    TakenBack,
}

impl Deed {
    /// In words.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Deed::Looked => "unitfix looked",
            Deed::Replayed => "Run with every call let through",
            Deed::Tried => "Tried",
            Deed::Written => "Written",
            Deed::Verified => "Put in force",
            Deed::TakenBack => "Taken back",
        }
    }
}

impl Step {
    /// Something that began then, and is over now.
    #[must_use]
    pub fn since(began: u64, deed: Deed, words: impl Into<String>) -> Self {
        Step { deed, began, ended: now_us(), words: words.into() }
    }

    /// Something that was done just now.
    #[must_use]
    pub fn now(deed: Deed, words: impl Into<String>) -> Self {
        Step::since(now_us(), deed, words)
    }
}
