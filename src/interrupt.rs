//! Ctrl-C, SIGTERM and SIGHUP as a flag that every wait looks at, so that every way out cleans up; and SIGCONT, after
//! which a question is asked again.

use signal_hook::consts::{SIGCONT, SIGHUP, SIGINT, SIGTERM};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

/// How long a wait may overlook a signal.
pub const GLANCE: Duration = Duration::from_millis(50);

/// Whether somebody wants this process to end.
#[derive(Clone, Debug, Default)]
pub struct Interrupt {
    raised: Arc<AtomicBool>,
    /// By more than Ctrl-C.
    for_good: Arc<AtomicBool>,
    /// The process was stopped (Ctrl-Z), and goes on.
    continued: Arc<AtomicBool>,
}

impl Interrupt {
    /// Catch the signals from now on. Does not change what a child process inherits: handlers end at exec.
    pub fn install() -> io::Result<Self> {
        let interrupt = Interrupt::default();
        for signal in [SIGTERM, SIGHUP] {
            signal_hook::flag::register(signal, Arc::clone(&interrupt.for_good))?;
        }
        for signal in [SIGINT, SIGTERM, SIGHUP] {
            signal_hook::flag::register(signal, Arc::clone(&interrupt.raised))?;
        }
        signal_hook::flag::register(SIGCONT, Arc::clone(&interrupt.continued))?;
        Ok(interrupt)
    }

    /// Whether a signal came.
    #[must_use]
    pub fn raised(&self) -> bool {
        self.raised.load(Ordering::Relaxed)
    }

    /// Take Ctrl-C for the end of what went on, and not of the whole run: only another one counts from now on. After
    /// SIGTERM and SIGHUP it stays raised.
    pub fn lower(&self) {
        self.raised.store(self.for_good.load(Ordering::Relaxed), Ordering::Relaxed);
    }

    /// Wait for what another thread sends. Nothing: a signal came first, or the thread ended without an answer.
    pub fn wait_for<T>(&self, answers: &Receiver<T>) -> Option<T> {
        self.wait_asking(answers, || {})
    }

    /// The same, for the answer to a question: whoever comes back to it after Ctrl-Z is asked it again.
    pub fn wait_asking<T>(&self, answers: &Receiver<T>, ask: impl Fn()) -> Option<T> {
        self.continued.store(false, Ordering::Relaxed);
        loop {
            match answers.recv_timeout(GLANCE) {
                Ok(answer) => return Some(answer),
                Err(RecvTimeoutError::Timeout) if !self.raised() => {}
                Err(_) => return None,
            }
            if self.continued.swap(false, Ordering::Relaxed) {
                ask();
            }
        }
    }

    /// As if a signal had come; for tests.
    pub fn raise(&self) {
        self.raised.store(true, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_ctrl_c_can_be_taken_for_something_else() {
        let interrupt = Interrupt::default();
        interrupt.raise();
        interrupt.lower();
        assert!(!interrupt.raised());
        interrupt.for_good.store(true, Ordering::Relaxed);
        interrupt.raise();
        interrupt.lower();
        assert!(interrupt.raised());
    }
}
