//! unitfix repairs a systemd unit whose own system call filter kills it.
pub mod finding;
pub mod policy;
pub mod root;
pub mod syscalls;
pub mod unit;
