//! Core dumps of processes in beds, for the time that a case needs them.

use std::fs;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

const PATTERN: &str = "/proc/sys/kernel/core_pattern";
/// How many helpers the kernel waits for; with 0, the default, the process may be gone before it is looked at.
const PIPE_LIMIT: &str = "/proc/sys/kernel/core_pipe_limit";
/// The kernel cuts the pattern off after this.
const LONGEST: usize = 127;

static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
static BEFORE: Mutex<Option<Settings>> = Mutex::new(None);

struct Settings {
    pattern: String,
    pipe_limit: String,
}

/// While this lives, systemd-coredump of each bed gets the cores of that bed's processes. The setting is
/// the machine's: cores of processes outside of the beds are lost meanwhile.
pub struct Cores {
    _turn: MutexGuard<'static, ()>,
}

impl Cores {
    /// Turns them on, once no other case has them on.
    pub fn on() -> Self {
        let turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
        let helper = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/bed/core-helper");
        let pattern = format!("|{} %P %p %u %g %s %t %c %h", helper.display());
        assert!(pattern.len() <= LONGEST, "this checkout lies too deep for kernel.core_pattern: {pattern}");

        let mut before = Settings { pattern: read(PATTERN), pipe_limit: read(PIPE_LIMIT) };
        if before.pattern.contains("/core-helper ") {
            // A run that was killed left it on: there is nothing better to go back to.
            before = Settings { pattern: "core".into(), pipe_limit: "0".into() };
        }
        *BEFORE.lock().unwrap_or_else(PoisonError::into_inner) = Some(before);
        fs::write(PIPE_LIMIT, "16").unwrap();
        fs::write(PATTERN, pattern).unwrap();
        Self { _turn: turn }
    }
}

impl Drop for Cores {
    fn drop(&mut self) {
        restore();
    }
}

/// Puts the settings back, if they were changed.
pub fn restore() {
    if let Some(before) = BEFORE.lock().unwrap_or_else(PoisonError::into_inner).take() {
        let _ = fs::write(PATTERN, before.pattern);
        let _ = fs::write(PIPE_LIMIT, before.pipe_limit);
    }
}

fn read(setting: &str) -> String {
    fs::read_to_string(setting).unwrap()
}
