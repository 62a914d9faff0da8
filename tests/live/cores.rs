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

/// While this lives, systemd-coredump of each bed gets the cores of that bed's processes. The setting is
/// the machine's: cores of processes outside of the beds are lost meanwhile.
pub struct Cores {
    pattern: String,
    pipe_limit: String,
    _turn: MutexGuard<'static, ()>,
}

impl Cores {
    /// Turns them on, once no other case has them on.
    pub fn on() -> Self {
        let turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
        let helper = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/bed/core-helper");
        let pattern = format!("|{} %P %p %u %g %s %t %c %h", helper.display());
        assert!(pattern.len() <= LONGEST, "this checkout lies too deep for kernel.core_pattern: {pattern}");
        let mut before = Self { pattern: read(PATTERN), pipe_limit: read(PIPE_LIMIT), _turn: turn };
        if before.pattern.contains("/core-helper ") {
            // A run that was killed left it on: there is nothing better to go back to.
            (before.pattern, before.pipe_limit) = ("core".into(), "0".into());
        }
        fs::write(PIPE_LIMIT, "16").unwrap();
        fs::write(PATTERN, pattern).unwrap();
        before
    }
}

fn read(setting: &str) -> String {
    fs::read_to_string(setting).unwrap()
}

impl Drop for Cores {
    fn drop(&mut self) {
        let _ = fs::write(PATTERN, &self.pattern);
        let _ = fs::write(PIPE_LIMIT, &self.pipe_limit);
    }
}
