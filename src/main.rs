//! The unitfix command.
fn main() {}
