//! The plan: the changes that make the unit work, the one that gives away the least first.

mod amendment;
mod candidate;
mod cover;
mod drop_in;
mod ladder;
pub mod minimum;
mod needs;

pub use amendment::Amendment;
pub use candidate::{Candidate, Proof, Rung, Wider};
pub use cover::cover;
pub use drop_in::{DropIn, HEADER, is_own};
pub use ladder::{Ground, Prefer};
pub use needs::Needs;

use crate::unit::{SourceFile, Unit};

/// The changes that are proposed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// What they are for.
    pub needs: Needs,
    /// The candidates, the best first. There is at least one.
    pub candidates: Vec<Candidate>,
    /// Candidates that were tried, and did not work or could not be seen to.
    pub refuted: Vec<Candidate>,
    /// Why the first is not of the kind that was asked for.
    pub note: Option<String>,
}

impl Plan {
    /// The unit as it would be with a drop-in in the place of an earlier one of unitfix's own, read by the
    /// rules of this major version of systemd.
    #[must_use]
    pub fn applied(unit: &Unit, drop_in: &DropIn, version: u32) -> Unit {
        let file = SourceFile::new(&drop_in.path, drop_in.text.as_bytes());
        unit.without_drop_in(drop_in.replaces.as_deref()).with_drop_in(file, version)
    }
}

/// Names, the last one joined by "and".
#[must_use]
pub fn list<T: AsRef<str>>(names: impl IntoIterator<Item = T>) -> String {
    let names: Vec<T> = names.into_iter().collect();
    let texts: Vec<&str> = names.iter().map(AsRef::as_ref).collect();
    match texts.split_last() {
        None => String::new(),
        Some((last, [])) => (*last).to_owned(),
        Some((last, rest)) => format!("{} and {last}", rest.join(", ")),
    }
}
