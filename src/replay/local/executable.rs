//! `MemoryDenyWriteExecute=` of newer systemd has the kernel refuse to make memory executable that is not
//! (`map_deny_write_exec()` in include/linux/mman.h). A filter cannot know what memory is; `/proc/PID/maps` does.

use crate::policy::Policy;
use crate::syscalls::Call;

/// asm-generic/mman-common.h
const PROT_WRITE: u64 = 2;

/// Whether a call changes only the protection of memory that is executable already, and does not make it writable as
/// well: then the kernel lets it be, and only a filter of an older systemd would refuse it.
pub(super) fn already(policy: &Policy, call: Call, arguments: &[u64; 6], thread: u32) -> bool {
    let protects = matches!(call.name(), Some("mprotect" | "pkey_mprotect"));
    if !protects || !policy.kernel_denies_write_execute() || arguments[2] & PROT_WRITE != 0 {
        return false;
    }
    let maps = std::fs::read(format!("/proc/{thread}/maps")).unwrap_or_default();
    is_executable(&String::from_utf8_lossy(&maps), arguments[0], arguments[0].saturating_add(arguments[1]))
}

/// Whether every mapping between two addresses may be executed, as `/proc/PID/maps` says (proc_pid_maps(5)).
fn is_executable(maps: &str, start: u64, end: u64) -> bool {
    let mapping = |line: &str| {
        let (addresses, rest) = line.split_once(' ')?;
        let (from, to) = addresses.split_once('-')?;
        let hex = |text| u64::from_str_radix(text, 16).ok();
        Some((hex(from)?, hex(to)?, rest.as_bytes().get(2) == Some(&b'x')))
    };
    let mut within =
        maps.lines().filter_map(mapping).filter(|(from, to, _)| *from < end && *to > start).peekable();
    within.peek().is_some() && within.all(|(.., executable)| executable)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_every_mapping_in_between() {
        let maps = "1000-2000 r-xp 00000000 08:01 1 /usr/bin/a b\n2000-3000 r-xp 00001000 08:01 1 /usr/bin/a b\n\
                    3000-4000 rw-p 00000000 00:00 0\nffff-nonsense\n";
        for (start, end, expected) in
            [(0x1000, 0x2000, true), (0x1800, 0x2800, true), (0x2fff, 0x3001, false), (0x5000, 0x6000, false)]
        {
            assert_eq!(is_executable(maps, start, end), expected, "{start:#x}");
        }
    }
}
