//! A process that waits in a system call, as one does whose call raised a seccomp user notification: where it is, its
//! memory and its mappings are in its folder in `/proc` (proc_pid_syscall(5), proc_pid_mem(5), proc_pid_maps(5)).

use super::Stack;
use super::programs::{Known, Programs};
use super::unwind::{Machine, Mapping, Memory, Registers, unwind};
use crate::root::Root;
use std::ffi::OsStr;
use std::fs::File;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

/// No more of a list of mappings is read.
const MAPPINGS_MAX: u64 = 16 << 20;

/// The memory of a process.
struct Mem(File);

impl Memory for Mem {
    fn word(&self, address: u64) -> Option<u64> {
        let mut word = [0; 8];
        self.0.read_exact_at(&mut word, address).ok()?;
        Some(u64::from_le_bytes(word))
    }
}

/// The stack of a thread that waits in a call. Whoever asks has to see to it that it still waits afterwards: else
/// what was read may be another one's.
#[must_use]
pub fn stack_of(thread: u32, known: &mut Known) -> Stack {
    read(&PathBuf::from(format!("/proc/{thread}")), known).unwrap_or_default()
}

fn read(folder: &Path, known: &mut Known) -> Option<Stack> {
    let machine = match std::env::consts::ARCH {
        "x86_64" => Machine::X86_64,
        "aarch64" => Machine::Arm64,
        _ => return None,
    };
    let (pc, sp) = place(&std::fs::read(folder.join("syscall")).ok()?)?;
    let memory = Mem(File::open(folder.join("mem")).ok()?);
    let mut text = Vec::new();
    std::io::Read::read_to_end(
        &mut std::io::Read::take(File::open(folder.join("maps")).ok()?, MAPPINGS_MAX),
        &mut text,
    )
    .ok()?;
    let mappings: Vec<Mapping> = text.split(|b| *b == b'\n').filter_map(mapping).collect();
    let open = |mapping: &Mapping| open(folder, mapping);
    let mut programs = Programs::new(known, &open);
    Some(unwind(Registers::new(machine, pc, sp), &mappings, &memory, &mut programs))
}

/// The file that is mapped, and no other that took its name.
fn open(folder: &Path, mapping: &Mapping) -> Option<File> {
    let same =
        |file: &File| file.metadata().is_ok_and(|meta| meta.is_file() && Some(meta.ino()) == mapping.inode);
    // the file itself, if this process may; also when it was deleted
    let range = format!("{:x}-{:x}", mapping.range.start, mapping.range.end);
    let exact = File::open(folder.join("map_files").join(range)).ok();
    exact
        .or_else(|| {
            let path = Path::new(OsStr::from_bytes(&mapping.path));
            Root::new(folder.join("root")).open_file(path).ok()
        })
        .filter(same)
}

/// Program counter and stack pointer: the last two words. A process that does not wait has none.
fn place(text: &[u8]) -> Option<(u64, u64)> {
    let text = std::str::from_utf8(text).ok()?;
    let mut words =
        text.split_whitespace().rev().map(|word| u64::from_str_radix(word.strip_prefix("0x")?, 16).ok());
    let (pc, sp) = (words.next()??, words.next()??);
    Some((pc, sp))
}

/// `55a0c5755000-55a0c6ac8000 r-xp 00380000 00:63 840304                     /usr/bin/docker`
fn mapping(line: &[u8]) -> Option<Mapping> {
    let path = line.iter().position(|b| *b == b'/')?;
    let (head, path) = line.split_at_checked(path)?;
    let mut words = std::str::from_utf8(head).ok()?.split_whitespace();
    let (start, end) = words.next()?.split_once('-')?;
    let hex = |digits: &str| u64::from_str_radix(digits, 16).ok();
    let range = hex(start)?..hex(end)?;
    let offset = hex(words.nth(1)?)?;
    let inode = words.nth(1)?.parse().ok()?;
    let path = path.strip_suffix(b" (deleted)").unwrap_or(path);
    Some(Mapping { range, offset, path: unescaped(path), inode: Some(inode) })
}

/// The kernel writes a line feed in a path as `\012`.
fn unescaped(path: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = path;
    while let Some((byte, after)) = rest.split_first() {
        if let Some(after) = rest.strip_prefix(b"\\012") {
            out.push(b'\n');
            rest = after;
        } else {
            out.push(*byte);
            rest = after;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_a_process_is() {
        let waits = b"160 0x7 0xc000072758 0x0 0x0 0x0 0x0 0xc0000726a8 0x55a0c5757e2e\n";
        assert_eq!(place(waits), Some((0x55a0_c575_7e2e, 0xc0_0007_26a8)));
        assert_eq!(place(b"-1 0x7ffd 0x7f33\n"), Some((0x7f33, 0x7ffd)));
        assert_eq!(place(b"running\n"), None);
    }

    #[test]
    fn what_is_mapped() {
        let line = b"55a0c5755000-55a0c6ac8000 r-xp 00380000 00:63 840304                     /usr/bin/a b\\012c (deleted)";
        let expected = Mapping {
            range: 0x55a0_c575_5000..0x55a0_c6ac_8000,
            offset: 0x38_0000,
            path: b"/usr/bin/a b\nc".to_vec(),
            inode: Some(840_304),
        };
        assert_eq!(mapping(line), Some(expected));
        for other in [
            &b"7f22b0021000-7f22b4000000 ---p 00000000 00:00 0 "[..],
            b"7f-80 rw-p 0 0:0 0 [heap]",
            b"",
            b"/",
        ] {
            assert_eq!(mapping(other), None);
        }
    }
}
