//! What a run was asked for, as far as what is repaired needs it.

use crate::change::Prompt;
use crate::interrupt::Interrupt;
use crate::replay::local;
use crate::replay::{Check, Via};
use std::path::PathBuf;
use std::time::Duration;

/// What a run was asked for, as far as a subject needs it.
#[derive(Clone, Debug)]
pub struct SubjectOptions {
    /// How long to watch.
    pub observe: Duration,
    /// How to replay.
    pub via: Via,
    /// A log that the user named; `-` is standard input.
    pub log: Option<PathBuf>,
    /// Whom to ask.
    pub prompt: Prompt,
    /// The user's own idea of "it works".
    pub check: Option<Check>,
    /// Ends the waiting.
    pub interrupt: Interrupt,
    /// Where kernel records' process IDs are found.
    pub proc_root: PathBuf,
    /// Find out who made the calls.
    pub blame: bool,
    /// Only look at the unit's latest run: nothing is locked, put right or changed.
    pub only_looks: bool,
}

impl SubjectOptions {
    /// What a replay without a service manager needs of them.
    pub(super) fn local(&self) -> local::Options {
        let options = local::Options::new(self.observe, self.interrupt.clone());
        local::Options { check: self.check.clone(), blame: self.blame, ..options }
    }
}
