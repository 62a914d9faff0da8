//! Who made a denied call: the stack with names, the package that owns the program, and its last upgrade.
//!
//! A stack comes from strace (`-k`), from systemd-coredump, or from a process of the local replay while it waits for
//! the answer to its call. However it comes, the names are found here: Go programs carry a function table even when
//! they are stripped, other programs have symbols, in the file itself or in a separate debug file.
//!
//! | module | what flows through it |
//! |---|---|
//! | [`core_file`] | a core dump to registers, mappings and stack memory |
//! | [`live`] | the same of a process that waits |
//! | [`unwind`] | those to a stack |
//! | [`program`], [`go_table`], [`symbols`], [`debug_file`] | an address to a name |
//! | [`dumps`] | a unit's core dumps to the stacks of its kills |
//! | [`traced`] | the frames that strace printed to ones with the right names |
//! | [`told`] | systemd-coredump's own words to a stack |
//! | [`package`] | a program file to its package and when that was changed |

mod child;
pub mod core_file;
pub mod debug_file;
pub mod dumps;
pub mod go_table;
pub mod live;
pub mod package;
pub mod program;
pub mod programs;
pub mod stack;
pub mod symbols;
pub mod told;
pub mod traced;
pub mod unwind;

pub use programs::Known;
pub use stack::{FRAMES_MAX, Frame, Stack};
