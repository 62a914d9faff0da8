//! unitfix repairs a systemd unit whose own system call filter kills it.
//!
//! ```text
//! Unit ──► Policy ──► Evidence ──► Observation ──► Plan ──► Diff ──► Approval ──► Receipt ──► Verdict
//! load     evaluate   logs say     replay shows    choose   show     ask          write        restart, watch
//! ```
//!
//! Each word is a type, owned by the module of that name; [`recipe::repair`] reads as this line. What differs
//! between a unit of the running manager, a unit below `--root` and a bare unit file is behind one trait,
//! [`subject::Subject`].
//!
//! | module | what flows through it |
//! |---|---|
//! | [`mod@unit`] | bytes of unit files to settings with places; search paths and drop-ins |
//! | [`syscalls`] | names, numbers, architectures, groups |
//! | [`policy`] | settings to what every call does, and the token that decided it |
//! | [`seccomp`] | policy to BPF; the few kernel calls of seccomp |
//! | [`evidence`] | records of the kernel, the journal, core dumps and strace to denials |
//! | [`replay`] | the unit run once with forbidden calls let through |
//! | [`plan`] | denials to the smallest change |
//! | [`change`] | diff, approval, writing, receipts |
//! | [`manager`] | the service manager over D-Bus |
//! | [`subject`] | the three kinds of things that are repaired |
//! | [`report`] | text for people, JSON for scripts |
//! | [`explain`] | what somebody pasted, to what it means |
//! | [`finding`] | what is wrong with somebody's unit, with a stable code and a place |
//! | [`recipe`] | the line above |
//! | [`ending`] | how a run ends, and why it can end without a repair |
//! | [`cli`], [`run`], [`undo`] | the command line, and the commands beside repairing |
//! | [`root`], [`interrupt`] | reading below a root folder; signals |

// report::output prints, and survives a closed pipe
#![warn(clippy::print_stdout, clippy::print_stderr)]

pub mod change;
pub mod cli;
pub mod ending;
pub mod evidence;
pub mod explain;
pub mod finding;
pub mod interrupt;
pub mod manager;
pub mod plan;
pub mod policy;
pub mod recipe;
pub mod replay;
pub mod report;
pub mod root;
pub mod run;
pub mod seccomp;
pub mod subject;
pub mod syscalls;
pub mod undo;
pub mod unit;
