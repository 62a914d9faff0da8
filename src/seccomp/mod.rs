//! seccomp: policies as programs for the kernel, and the few kernel calls that no safe crate carries.

pub mod bpf;
pub mod kernel;
