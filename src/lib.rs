//! unitfix repairs a systemd unit whose own system call filter kills it.
//!
//! ```text
//! Unit ──► Policy ──► Evidence ──► Observation ──► Plan ──► Diff ──► Approval ──► Receipt ──► Verdict
//! load     evaluate   logs say     replay shows    choose   show     ask          write        restart, watch
//! ```
//!
//! Each word is a type, owned by the module of that name; [`recipe::repair`] reads as this line. What differs
//! between a unit of the running manager, one of a user's, one below `--root` and a bare unit file is behind one trait,
//! [`subject::Subject`].
//!
//! | module | what flows through it |
//! |---|---|
//! | [`mod@unit`] | bytes of unit files to settings with places; search paths and drop-ins |
//! | [`syscalls`] | names, numbers, architectures, groups |
//! | [`rules`] | what is known of calls: power, risk, relatives, what happens when they fail |
//! | [`policy`] | settings to what every call does, and the token that decided it |
//! | [`seccomp`] | policy to BPF; the few kernel calls of seccomp |
//! | [`evidence`] | records of the kernel, the journal, core dumps and strace to denials |
//! | [`blame`] | core dumps, stacks and program files to who made a call, and the package that it came with |
//! | [`replay`] | the unit run once with forbidden calls let through |
//! | [`plan`] | denials to the changes that help, the smallest first |
//! | `proving`, `choice` | what is seen before a change is offered; which is taken |
//! | [`change`] | diff, approval, writing, receipts |
//! | [`patch`] | the change as the unit's author would make it, in the unit file |
//! | [`manager`] | the service manager over D-Bus |
//! | [`scope`] | whose manager it is: the system's or a user's; where its files are |
//! | [`subject`] | the four kinds of things that are repaired |
//! | [`watch`] | complain mode over a working period, as it goes on |
//! | [`report`] | text for people, JSON for scripts, a page for a browser |
//! | [`explain`] | what somebody pasted, to what it means |
//! | [`scan`] | whole logs to the units that were denied something |
//! | [`finding`] | what is wrong with somebody's unit, with a stable code and a place |
//! | [`recipe`] | the line above |
//! | [`ending`] | how a run ends, and why it can end without a repair |
//! | [`cli`], [`run`], [`undo`] | the command line, and the commands beside repairing |
//! | [`root`], [`interrupt`] | reading below a root folder; signals |
//! | `journal_socket` | what unitfix itself writes into the journal |
//! | `failure_point` | where tests have it fail, or be killed |
//! | `trust`, `system_program` | what root alone can have written; the programs of the system |

// nothing here is unsafe but src/seccomp/kernel.rs, and no other module can be made so by an attribute of its own
// report::output prints, and survives a closed pipe
#![warn(clippy::print_stdout, clippy::print_stderr)]

#[forbid(unsafe_code)]
pub mod blame;
#[forbid(unsafe_code)]
pub mod change;
#[forbid(unsafe_code)]
mod choice;
#[forbid(unsafe_code)]
pub mod cli;
#[forbid(unsafe_code)]
pub mod ending;
#[forbid(unsafe_code)]
pub mod evidence;
#[forbid(unsafe_code)]
pub mod explain;
#[forbid(unsafe_code)]
mod failure_point;
#[forbid(unsafe_code)]
pub mod finding;
#[forbid(unsafe_code)]
pub mod interrupt;
#[forbid(unsafe_code)]
mod journal_socket;
#[forbid(unsafe_code)]
pub mod manager;
#[forbid(unsafe_code)]
pub mod patch;
#[forbid(unsafe_code)]
pub mod plan;
#[forbid(unsafe_code)]
pub mod policy;
#[forbid(unsafe_code)]
mod proving;
#[forbid(unsafe_code)]
pub mod recipe;
#[forbid(unsafe_code)]
pub mod replay;
#[forbid(unsafe_code)]
pub mod report;
#[forbid(unsafe_code)]
pub mod root;
#[forbid(unsafe_code)]
pub mod rules;
#[forbid(unsafe_code)]
pub mod run;
#[forbid(unsafe_code)]
pub mod scan;
#[forbid(unsafe_code)]
pub mod scope;
pub mod seccomp;
#[forbid(unsafe_code)]
pub mod span;
#[forbid(unsafe_code)]
pub mod subject;
#[forbid(unsafe_code)]
pub mod syscalls;
#[forbid(unsafe_code)]
mod system_program;
#[forbid(unsafe_code)]
mod trust;
#[forbid(unsafe_code)]
pub mod undo;
#[forbid(unsafe_code)]
pub mod unit;
#[forbid(unsafe_code)]
pub mod watch;
