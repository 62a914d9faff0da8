//! The processes in strace's output: which program each runs, whose child it is, and which architecture its calls
//! are of. In memory for living processes only.

use crate::evidence::Untrusted;
use crate::syscalls::{Arch, Call};
use std::collections::HashMap;

/// So many processes at once are followed. Beyond that names are forgotten, never calls.
const LIVING_MAX: usize = 65_536;

/// The process of lines without a process ID.
pub(super) const SOLE: u32 = 0;

/// A process or thread.
#[derive(Clone, Debug)]
pub(super) struct Proc {
    /// The path of its program, where that is known.
    pub(super) program: Option<Vec<u8>>,
    /// Its parent, and the program that the parent ran when it forked.
    parent: Option<(u32, Option<Vec<u8>>)>,
    /// The architecture of its calls, until strace says otherwise.
    pub(super) arch: Arch,
    /// The call that it is in.
    pub(super) pending: Option<Pending>,
    /// The denials that it got before its parent was known.
    pub(super) unnamed: Vec<usize>,
    /// The call that strace refused it last.
    pub(super) refused: Option<Call>,
}

/// A call that began and has not ended yet.
#[derive(Clone, Debug)]
pub(super) struct Pending {
    /// The call's name.
    pub(super) name: String,
    /// Which one it is, where it is known.
    pub(super) call: Option<Call>,
    /// When it began, in microseconds since the epoch.
    pub(super) time: Option<u64>,
    /// The arguments so far.
    pub(super) text: Vec<u8>,
    /// The denial that it is.
    pub(super) denial: Option<usize>,
}

impl Pending {
    fn forks(&self) -> bool {
        forks(&self.name)
    }
}

/// Whether a call makes a process or thread.
pub(super) fn forks(name: &str) -> bool {
    matches!(name, "clone" | "clone3" | "fork" | "vfork")
}

/// The living processes.
pub(super) struct Processes {
    living: HashMap<u32, Proc>,
    /// The program of the first process until its execve.
    main: Option<Vec<u8>>,
}

impl Processes {
    pub(super) fn new(main: Option<Vec<u8>>) -> Self {
        Processes { living: HashMap::new(), main }
    }

    /// The process of a line. On standard error strace names it only while there is more than one.
    pub(super) fn key(&mut self, pid: Option<u32>) -> u32 {
        match pid {
            Some(pid) => {
                if !self.living.contains_key(&pid)
                    && let Some(sole) = self.living.remove(&SOLE)
                {
                    self.living.insert(pid, sole);
                }
                pid
            }
            None if self.living.len() == 1 => self.living.keys().next().copied().unwrap_or(SOLE),
            None => SOLE,
        }
    }

    /// The process itself, as new where it was not seen before.
    pub(super) fn get(&mut self, pid: u32) -> &mut Proc {
        if !self.living.contains_key(&pid) {
            let new = self.newcomer();
            if self.living.len() >= LIVING_MAX {
                self.living.clear();
            }
            self.living.insert(pid, new);
        }
        self.living.entry(pid).or_insert_with(|| Proc::new(None, None, Arch::native()))
    }

    /// A process that appears before its parent's fork has returned: the only one that is forking is the parent.
    fn newcomer(&mut self) -> Proc {
        if let Some(main) = self.main.take() {
            return Proc::new(Some(main), None, Arch::native());
        }
        let mut forking = self.living.iter().filter(|(_, p)| p.pending.as_ref().is_some_and(Pending::forks));
        match (forking.next(), forking.next()) {
            (Some((pid, parent)), None) => {
                let thread = parent.pending.as_ref().is_some_and(|p| is_thread(&p.text));
                parent.child(*pid, thread)
            }
            _ => Proc::new(None, None, Arch::native()),
        }
    }

    /// A fork of this process made that one. Returns the denials of the child that lacked a name until now.
    pub(super) fn link(&mut self, parent: u32, child: u32, text: &[u8]) -> Vec<usize> {
        let known = self.get(parent).child(parent, is_thread(text));
        match self.living.get_mut(&child) {
            None => {
                self.living.insert(child, known);
                Vec::new()
            }
            Some(child) => {
                child.parent = child.parent.take().or(known.parent);
                child.program = child.program.take().or(known.program);
                std::mem::take(&mut child.unnamed)
            }
        }
    }

    /// A thread took over the process ID of its leader by execve.
    pub(super) fn supersede(&mut self, leader: u32, thread: u32) {
        if let Some(proc) = self.living.remove(&thread) {
            self.living.insert(leader, proc);
        }
    }

    pub(super) fn gone(&mut self, pid: u32) {
        self.living.remove(&pid);
    }

    /// The program of the parent, as it is now or, if the parent is gone, as it was at the fork.
    pub(super) fn parent_program(&self, pid: u32) -> Option<&[u8]> {
        let (parent, at_fork) = self.living.get(&pid)?.parent.as_ref()?;
        let now = self.living.get(parent).and_then(|p| p.program.as_deref());
        now.or(at_fork.as_deref())
    }
}

impl Proc {
    fn new(program: Option<Vec<u8>>, parent: Option<(u32, Option<Vec<u8>>)>, arch: Arch) -> Self {
        Proc { program, parent, arch, pending: None, unnamed: Vec::new(), refused: None }
    }

    /// What a child, or a thread, of this process starts as.
    fn child(&self, pid: u32, thread: bool) -> Proc {
        let parent = if thread { self.parent.clone() } else { Some((pid, self.program.clone())) };
        Proc::new(self.program.clone(), parent, self.arch)
    }
}

fn is_thread(text: &[u8]) -> bool {
    crate::evidence::record::find(text, b"CLONE_THREAD").is_some()
}

/// The name that the kernel gives to a process of this program: `TASK_COMM_LEN` is 16, with the final NUL.
pub(super) fn comm(program: Option<&[u8]>) -> Untrusted {
    let name = program.and_then(|path| path.rsplit(|b| *b == b'/').next()).unwrap_or_default();
    Untrusted::new(name.get(..15).unwrap_or(name))
}

/// The call of a name and, with `-n`, of its number. Written to a file, strace does not say that a process changes
/// the architecture; number and name together do. Nothing: no architecture of this kernel has such a call.
pub(super) fn identify(arch: Arch, number: Option<u32>, name: &str) -> Option<Call> {
    let others = || Arch::of_this_kernel().iter().copied().filter(|other| *other != arch);
    let mut archs = std::iter::once(arch).chain(others());
    if let Some(number) = number {
        let plain = Call::from_record(Arch::native().audit(), number)?;
        if plain.arch != Arch::native() {
            return Some(plain);
        }
        let named = archs.find(|arch| *arch != Arch::X32 && arch.name(number) == Some(name));
        return Some(Call { arch: named.unwrap_or(arch), number });
    }
    if let Some(hex) = name.strip_prefix("syscall_0x") {
        let number = u32::from_str_radix(hex, 16).ok()?;
        let plain = Call::from_record(Arch::native().audit(), number)?;
        return Some(if plain.arch == Arch::native() { Call { arch, number } } else { plain });
    }
    archs.find_map(|arch| arch.number(name).map(|number| Call { arch, number }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers() {
        if Arch::native() != Arch::X86_64 {
            return;
        }
        let call = |arch, number| Some(Call { arch, number });
        assert_eq!(identify(Arch::X86_64, None, "chown"), call(Arch::X86_64, 92));
        assert_eq!(identify(Arch::X86, None, "chown"), call(Arch::X86, 182));
        assert_eq!(identify(Arch::X86_64, None, "chown32"), call(Arch::X86, 212));
        assert_eq!(identify(Arch::X86_64, Some(182), "chown"), call(Arch::X86, 182));
        assert_eq!(identify(Arch::X86, Some(92), "chown"), call(Arch::X86_64, 92));
        assert_eq!(identify(Arch::X86_64, Some(0x4000_00a0), "setrlimit"), call(Arch::X32, 160));
        assert_eq!(identify(Arch::X86_64, None, "syscall_0x258"), call(Arch::X86_64, 600));
        assert_eq!(identify(Arch::X86_64, Some(600), "syscall_0x258"), call(Arch::X86_64, 600));
        assert_eq!(identify(Arch::X86_64, None, "frobnicate"), None);
    }

    #[test]
    fn comm_is_the_kernels() {
        assert_eq!(comm(Some(b"/usr/bin/a-name-of-many-bytes")).bytes(), b"a-name-of-many-");
        assert!(comm(None).is_empty());
    }
}
