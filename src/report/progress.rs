//! What goes on, and how long it still takes, for somebody who waits for it at a terminal. It is drawn in one line,
//! which is gone when it is over; where nothing can be drawn, there is none.

use super::{output, terminal};
use crate::span;
use console::{Term, measure_text_width, truncate_str};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// What is over sooner shows nothing, unless it was announced.
pub(crate) const SOON: Duration = Duration::from_millis(700);

/// A line of a terminal is no wider than this, however wide the terminal is.
const WIDTH: usize = 120;

/// The line that stands there now. Nothing else is printed into it.
static DRAWN: Mutex<Option<ProgressBar>> = Mutex::new(None);

/// Print something else while a line may stand there, which is drawn anew below it.
pub(super) fn aside(print: impl FnOnce()) {
    // who holds the lock only draws
    match &*DRAWN.lock().unwrap_or_else(PoisonError::into_inner) {
        Some(bar) => bar.suspend(print),
        None => print(),
    }
}

/// Something goes on, until this is dropped.
#[must_use]
pub(crate) struct Working {
    /// The thread that draws, and what ends it; nothing where nothing can be drawn.
    drawing: Option<(Sender<()>, JoinHandle<()>)>,
}

impl Working {
    /// Say what goes on, once it has gone on for a while; and how much of this time is left, where it is known.
    pub(crate) fn on(doing: impl Into<String>, takes: Option<Duration>) -> Self {
        Self::after(SOON, doing.into(), takes)
    }

    fn after(delay: Duration, doing: String, takes: Option<Duration>) -> Self {
        let drawing = terminal::can_be_drawn_on(&Term::stderr()).then(|| {
            let (over, told) = channel();
            (over, std::thread::spawn(move || draw(&told, delay, &doing, takes)))
        });
        Working { drawing }
    }
}

impl Drop for Working {
    fn drop(&mut self) {
        if let Some((over, thread)) = self.drawing.take() {
            drop(over);
            let _ = thread.join();
        }
    }
}

/// What goes on is said in a line to which its end is added: `Replaying docuum.service ... 1 call denied`.
#[must_use]
pub(crate) struct Announced {
    text: String,
    working: Option<Working>,
}

/// Announce what goes on until this is dropped. Only then the line is one that stays, and its end can be printed.
pub(crate) fn announce(text: &str, takes: Option<Duration>) -> Announced {
    let text = format!("{text} ... ");
    let working = Working::after(Duration::ZERO, text.trim_start().to_owned(), takes);
    let working = Some(working).filter(|working| working.drawing.is_some());
    if working.is_none() {
        output::message(&text);
    }
    Announced { text, working }
}

impl Drop for Announced {
    fn drop(&mut self) {
        if let Some(working) = self.working.take() {
            drop(working);
            output::message(&self.text);
        }
    }
}

/// Draw until nobody waits any more. A line is drawn once a second, which a serial line can carry.
fn draw(told: &Receiver<()>, delay: Duration, doing: &str, takes: Option<Duration>) {
    let begun = Instant::now();
    let mut pause = delay;
    while let Err(RecvTimeoutError::Timeout) = told.recv_timeout(pause) {
        let line = line(doing, begun.elapsed(), takes, terminal::columns(&Term::stderr()).min(WIDTH));
        let drawn = &mut *DRAWN.lock().unwrap_or_else(PoisonError::into_inner);
        let bar = drawn.get_or_insert_with(|| {
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
            bar.with_style(
                ProgressStyle::with_template("{msg}").unwrap_or_else(|_| ProgressStyle::default_bar()),
            )
        });
        bar.set_message(line);
        bar.tick();
        let beat = Duration::from_secs(1);
        pause = beat.saturating_sub(Duration::from_millis(begun.elapsed().subsec_millis().into()));
    }
    let bar = DRAWN.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some(bar) = bar {
        bar.finish_and_clear();
    }
}

/// The line, with room for the cursor behind it.
fn line(doing: &str, elapsed: Duration, takes: Option<Duration>, columns: usize) -> String {
    let time = match takes.map(|takes| takes.saturating_sub(Duration::from_secs(elapsed.as_secs()))) {
        None => span::shown(elapsed),
        Some(left) if left.is_zero() => "ending".to_owned(),
        Some(left) => format!("{} left", span::shown(left)),
    };
    let room = columns.saturating_sub(measure_text_width(&time) + 2);
    let doing = output::harmless(doing.trim_end(), false);
    let doing = terminal::readable(&doing);
    format!("{} {time}", truncate_str(&doing, room, terminal::ellipsis()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_says_how_long_it_takes() {
        let seconds = Duration::from_secs;
        let drawn =
            |elapsed, takes, columns| line("Replaying v.service for 10 s ... ", elapsed, takes, columns);
        assert_eq!(
            drawn(Duration::from_millis(2900), Some(seconds(10)), 80),
            "Replaying v.service for 10 s ... 8s left"
        );
        assert_eq!(drawn(seconds(11), Some(seconds(10)), 80), "Replaying v.service for 10 s ... ending");
        assert_eq!(drawn(seconds(65), None, 80), "Replaying v.service for 10 s ... 1min 5s");
        assert_eq!(drawn(seconds(0), Some(seconds(100)), 30), "Replaying v.se… 1min 40s left");
        assert!(!drawn(seconds(0), Some(seconds(100)), 0).is_empty());
        assert_eq!(line("\u{1b}[2J", seconds(0), None, 80), "\\u{1b}[2J 0s");
    }

    #[test]
    fn nothing_is_drawn_where_nobody_looks() {
        // cargo test's own output is no terminal, or the words below would be seen there
        drop(Working::on("waiting", None));
        aside(|| assert!(DRAWN.try_lock().is_err(), "nothing else is drawn meanwhile"));
    }
}
