//! Failure points: the named steps at which something can go wrong, and at which tests have it go wrong. Every step
//! that changes anything passes one. Without the feature `failure-points`, which no release has, they are nothing.

use std::fmt::Display;
use std::io;

/// Pass the point of a step, just before it is done. An error: the step fails with it.
#[cfg(not(feature = "failure-points"))]
#[expect(clippy::unnecessary_wraps, clippy::inline_always, reason = "the same as with the feature")]
#[inline(always)]
pub(crate) fn pass(_step: &str, _what: impl Display) -> io::Result<()> {
    Ok(())
}

/// Pass the point of a step, just before it is done. `UNITFIX_FAILURE` says what happens there: `list:FILE` writes down
/// the points that are passed; `kill:2:POINT` kills this process where it passes that one for the second time,
/// `error:2:POINT` fails it, and `errors:2:POINT` it and whatever comes later.
#[cfg(feature = "failure-points")]
pub(crate) fn pass(step: &str, what: impl Display) -> io::Result<()> {
    use nix::sys::signal::{Signal, kill};
    use std::io::Write;
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

    static PASSED: AtomicUsize = AtomicUsize::new(0);
    static FAILING: AtomicBool = AtomicBool::new(false);

    let point = format!("{step} {what}");
    let Ok(wanted) = std::env::var("UNITFIX_FAILURE") else { return Ok(()) };
    let Some((mode, rest)) = wanted.split_once(':') else { return Ok(()) };
    if mode == "list" {
        let mut file = std::fs::OpenOptions::new().append(true).create(true).open(rest)?;
        return writeln!(file, "{point}");
    }
    let Some((number, name)) = rest.split_once(':') else { return Ok(()) };
    let here = name == point && number.parse() == Ok(PASSED.fetch_add(1, Ordering::Relaxed) + 1);
    if mode == "errors" && here {
        FAILING.store(true, Ordering::Relaxed);
    }
    if here && mode == "kill" {
        let _ = kill(nix::unistd::Pid::this(), Signal::SIGKILL);
        loop {
            std::thread::park(); // until it arrives
        }
    }
    if here || FAILING.load(Ordering::Relaxed) {
        return Err(io::Error::other(format!("made to fail: {point}")));
    }
    Ok(())
}
