//! How far a long reading has come, for somebody who waits for it: a bar on a terminal, and nothing elsewhere.

use crate::evidence::files::Progress;
use crate::report::progress::SOON;
use crate::report::terminal;
use console::Term;
use indicatif::{HumanBytes, HumanCount, ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::time::Instant;

/// A bar is drawn so often, in each second.
const DRAWN: u8 = 8;

/// The clock is looked at after so many bytes.
const STEP: u64 = 1 << 20;

/// The bar on standard error.
pub(super) struct Bar {
    begun: Instant,
    /// So far, nothing was asked and shown.
    looked_at: u64,
    shown: Option<ProgressBar>,
    on_terminal: bool,
}

impl Bar {
    /// Nothing is shown yet.
    pub(super) fn new() -> Self {
        let on_terminal = terminal::can_be_drawn_on(&Term::stderr());
        Bar { begun: Instant::now(), looked_at: 0, shown: None, on_terminal }
    }

    /// It came so far.
    pub(super) fn show(&mut self, progress: &Progress) {
        if !self.on_terminal || progress.bytes < self.looked_at + STEP {
            return;
        }
        self.looked_at = progress.bytes;
        if self.shown.is_none() && self.begun.elapsed() >= SOON {
            self.shown = Some(bar(progress));
        }
        if let Some(bar) = &self.shown {
            bar.set_position(progress.bytes);
            bar.set_message(format!("{} records", HumanCount(progress.records)));
        }
    }

    /// It is read.
    pub(super) fn end(self) {
        if let Some(bar) = self.shown {
            bar.finish_and_clear();
        }
    }
}

fn bar(progress: &Progress) -> ProgressBar {
    let template = match progress.total {
        Some(total) => format!("{{bar:24}} {{bytes}} of {}, {{msg}}, {{eta}} left", HumanBytes(total)),
        None => "{spinner} {bytes}, {msg}".to_owned(),
    };
    // a template that is wrong shows the crate's own bar
    let style = ProgressStyle::with_template(&template).unwrap_or_else(|_| ProgressStyle::default_bar());
    let style = if terminal::reads_utf8() { style } else { style.progress_chars("#- ").tick_chars("|/-\\ ") };
    ProgressBar::with_draw_target(progress.total, ProgressDrawTarget::stderr_with_hz(DRAWN)).with_style(style)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_templates_are_ones() {
        for total in [None, Some(1 << 30)] {
            let bar = bar(&Progress { bytes: 0, total, records: 0 });
            bar.set_message("1 record");
            bar.finish_and_clear();
        }
        assert!(ProgressStyle::with_template("{bar:24} {bytes} of 1 GiB, {msg}, {eta} left").is_ok());
        assert!(ProgressStyle::with_template("{spinner} {bytes}, {msg}").is_ok());
    }

    #[test]
    fn nothing_is_shown_where_nobody_looks() {
        let mut bar = Bar { on_terminal: false, ..Bar::new() };
        bar.show(&Progress { bytes: u64::MAX, total: None, records: 1 });
        assert!(bar.shown.is_none());
    }
}
