//! unitfix repairs a systemd unit whose own system call filter kills it.
pub mod change;
pub mod evidence;
pub mod finding;
pub mod interrupt;
pub mod manager;
pub mod policy;
pub mod replay;
pub mod root;
pub mod seccomp;
pub mod syscalls;
pub mod unit;
