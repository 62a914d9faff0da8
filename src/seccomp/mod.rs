//! seccomp: policies as programs for the kernel, and the few kernel calls that no safe crate carries.

#[forbid(unsafe_code)]
mod arguments;
#[forbid(unsafe_code)]
pub mod bpf;
#[forbid(unsafe_code)]
pub mod descriptors;
pub mod kernel;

use std::io;

/// Have the kernel log one harmless call (getppid) of a thread of this process that carries this name (at most 15
/// bytes): a record of one's own, to see whether, and up to where, records arrive.
pub fn log_one_call(name: &str) -> io::Result<()> {
    let program = bpf::log_only(libc::SYS_getppid);
    let logging = move || -> io::Result<()> {
        kernel::install_filter(&program)?;
        nix::unistd::getppid();
        Ok(())
    };
    let thread = std::thread::Builder::new().name(name.to_owned()).spawn(logging)?;
    thread.join().unwrap_or_else(|_| Err(io::Error::other("the logging thread panicked")))
}
