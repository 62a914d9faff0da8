//! How much memory hostile inputs take: a log of any length, and programs that were made to be read at great cost.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, clippy::panic)] // a failure anywhere here is the test's

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use unitfix::blame::program::Program;

/// No log, however long, takes more.
const LOG_KIB: u64 = 64 << 10;

/// No program file, however it was made, takes more; what `src/blame/program.rs` reads of one is limited to half of it.
const PROGRAM_KIB: u64 = 1 << 20;

/// The most memory that a process has had so far; nothing when it is gone.
fn peak_kib(process: &str) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix(" kB")?.trim().parse().ok()
}

/// A record of the kernel: of a program with this name, killed for setrlimit.
fn record(serial: u64, exe: &str) -> String {
    format!(
        "type=SECCOMP msg=audit({}.001:{serial}): auid=4294967295 uid=0 gid=0 ses=4294967295 pid={} comm=\"app\" \
         exe={exe} sig=31 arch=c000003e syscall=160 compat=0 ip=0x1 code=0x80000000\n",
        1_767_607_747 + serial / 1000,
        2 + serial % 4_000_000,
    )
}

/// About a MiB of a log: other programs' lines, records of the unit and of others, hostile names, binary garbage, and
/// now and then a line without an end.
fn piece(number: u64) -> Vec<u8> {
    let mut text = String::new();
    for line in 0..1200 {
        let serial = number * 1200 + line;
        text.push_str("2026-01-05T10:09:07 host systemd[1]: Started something that nobody asked about.\n");
        match line % 4 {
            0 => text.push_str(&record(serial, "\"/usr/bin/app\"")),
            // a path of the greatest length, of which each is another one
            1 if line % 12 == 1 => text.push_str(&record(serial, &format!("{serial:08192x}"))),
            2 => text.push_str(&record(serial, &format!("\"/tmp/{serial}\""))),
            _ => writeln!(text, "audit: type=1326 audit(1.2:{serial}): auid=0 uid=x").unwrap(),
        }
    }
    let mut bytes = text.into_bytes();
    let mut state = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    for _ in 0..8192 {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend(state.to_le_bytes());
    }
    if !number.is_multiple_of(16) {
        bytes.push(b'\n'); // else the line goes on
    }
    bytes
}

fn unitfix(root: &Path) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_unitfix"));
    command.args(["app.service", "--log", "-", "--root"]).arg(root).env_clear().env("PATH", "/usr/bin:/bin");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// `UNITFIX_LOG_MIB` is how long it is; it prints what that took.
#[test]
fn a_log_of_any_length_streams_in_constant_memory() {
    let mib = std::env::var("UNITFIX_LOG_MIB").map_or(256, |text| text.parse::<u64>().unwrap());
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases/garbage-in-the-log/root");
    let mut child = unitfix(&root);
    let pid = child.id().to_string();
    let mut into = child.stdin.take().unwrap();
    let pieces: Vec<Vec<u8>> = (0..64).map(piece).collect();
    let mut written = 0;
    for bytes in pieces.iter().cycle() {
        if written >= mib << 20 {
            break;
        }
        into.write_all(bytes).unwrap();
        written += bytes.len() as u64;
    }
    drop(into);
    let mut peak = 0;
    while child.try_wait().unwrap().is_none() {
        peak = peak_kib(&pid).unwrap_or_default().max(peak);
        std::thread::yield_now();
    }
    let output = child.wait_with_output().unwrap();
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    println!("{} MiB of log took {} MiB of memory", written >> 20, peak >> 10);
    assert_eq!(output.status.code(), Some(1), "{stdout}\n{stderr}");
    assert!(
        stdout.contains("setrlimit") && stdout.contains("warning[log-damaged]: - holds records"),
        "{stdout}"
    );
    assert!(peak > 0 && peak <= LOG_KIB, "{peak} KiB");
}

/// The parts of an ELF file that say where its sections are (elf(5)).
struct Elf(Vec<u8>);

impl Elf {
    /// A program for x86-64 whose sections begin at this place; nothing else is in it.
    fn new(sections: u64, count: u16, names: u16) -> Self {
        let mut bytes = b"\x7fELF\x02\x01\x01".to_vec();
        bytes.resize(64, 0);
        for (at, value) in [(16, 3_u16), (18, 62), (52, 64), (54, 56), (58, 64), (60, count), (62, names)] {
            bytes[at..at + 2].copy_from_slice(&value.to_le_bytes());
        }
        bytes[20] = 1;
        bytes[40..48].copy_from_slice(&sections.to_le_bytes());
        Elf(bytes)
    }

    /// One more section, behind the others.
    fn section(&mut self, name: u32, kind: u32, offset: u64, size: u64, link: u32) {
        let mut section = [name, kind].map(u32::to_le_bytes).concat();
        section.extend([2, 0, offset, size].map(u64::to_le_bytes).concat());
        section.extend([link, 0].map(u32::to_le_bytes).concat());
        section.extend([8, 24].map(u64::to_le_bytes).concat());
        self.0.extend(section);
    }

    /// A file that claims to be of this length, with nothing on the disk behind what it says of itself.
    fn file(&self, length: u64) -> File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&self.0).unwrap();
        file.set_len(length).unwrap();
        file
    }
}

#[test]
fn a_program_that_was_made_to_be_large_takes_bounded_memory() {
    const GIB: u64 = 1 << 30;
    let mut millions = Elf::new(64, 0, 1);
    millions.section(0, 0, 0, 40_000_000, 0); // as many sections as the first one's size says
    let mut large = Elf::new(64, 7, 1);
    large.section(0, 0, 0, 0, 0);
    large.section(0, 3, 64 + 7 * 64, 200, 0);
    for (name, kind) in [(1, 2), (9, 3), (17, 1), (27, 1), (41, 1)] {
        large.section(name, kind, 4096, 200 << 20, 3);
    }
    large.0.extend(b"\0.symtab\0.strtab\0.eh_frame\0.eh_frame_hdr\0.gopclntab\0");
    for elf in [millions, large] {
        let program = Program::read(&elf.file(3 * GIB));
        assert!(program.is_none_or(|program| program.memory() <= GIB / 2));
    }
    let peak = peak_kib("self").unwrap();
    println!("programs took {} MiB of memory", peak >> 10);
    assert!(peak <= PROGRAM_KIB, "{peak} KiB");
}
