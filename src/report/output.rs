//! Results go to standard output and messages to standard error. A reader that went away, or a terminal that was
//! closed, is no reason to stop half-way: `println!` would panic.

use std::io::Write as _;

/// Print a result, as it is.
pub fn result(text: &str) {
    let mut out = std::io::stdout();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// Print a message, as it is.
pub fn message(text: &str) {
    let _ = std::io::stderr().write_all(text.as_bytes());
}
