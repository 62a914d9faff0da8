//! Journal files, read without journalctl, say what it says: the same calls, as often, of the same programs.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;

use unitfix::evidence::files::{self, FilesRead, Input, Said, files_in};
use unitfix::interrupt::Interrupt;
use unitfix::syscalls::Call;

use crate::bed::Bed;

use super::Case;
use super::support::{ACTIVE, FAILED, UNIT, start_killed};

pub const CASES: &[Case] = &[Case::new("journal_files::as_journalctl", as_journalctl)];

/// Where copies of the journal are put.
const COPIES: &str = "/run/copies";

/// Who made which call, and how often.
type Counts = BTreeMap<(String, String), u64>;

fn as_journalctl(bed: &Bed) {
    let mut comms = vec![start_killed(bed, FAILED)];
    bed.run(&["journalctl", "--rotate"]);
    comms.push(start_killed(bed, ACTIVE));
    bed.exec(&["systemctl", "stop", UNIT]);
    comms.push(start_killed(
        bed,
        &FAILED.replace("setrlimit sleep", "i386 uname").replace("@resources", "uname"),
    ));
    bed.exec(&["systemctl", "stop", UNIT]);
    bed.run(&["journalctl", "--sync"]);
    let folder = copied(bed, "whole");
    let files = files_in(&seen_from_here(bed, &folder)).unwrap();
    assert!(files.len() > 1, "{files:?}");
    let (counts, read) = own(&files);
    assert_eq!(counts, journalctls(bed, &folder));
    assert!(read.unread.is_empty() && read.malformed.is_empty(), "{read:?}");
    for comm in &comms {
        assert!(counts.keys().any(|(name, _)| name == comm), "{comm}: {counts:?}");
    }
    let told = reports(&files);
    assert!(told.contains(UNIT), "the manager told of {UNIT}: {told:?}");
    damaged(bed, &counts);
}

/// What is damaged says so and nothing that was not there; the other files are read as ever.
fn damaged(bed: &Bed, whole: &Counts) {
    let folder = format!("{COPIES}/damaged");
    bed.write_file(&format!("{folder}/note"), "copies of which one is damaged\n");
    bed.run(&["sh", "-c", "cp \"$1\"/whole/*.journal \"$1\"/damaged/", "sh", COPIES]);
    let here = seen_from_here(bed, &folder);
    let files = files_in(&here).unwrap();
    let intact: Counts = own(&files[1..]).0;
    let mut bytes = fs::read(&files[0]).unwrap();
    let middle = bytes.len() / 16;
    for byte in &mut bytes[middle..middle + 4096] {
        *byte ^= 0x55;
    }
    fs::write(&files[0], &bytes).unwrap();
    let (counts, _) = own(&files);
    contains(whole, &counts);
    contains(&counts, &intact);
    fs::write(&files[0], &bytes[..200]).unwrap();
    let (counts, read) = own(&files);
    assert_eq!(counts, intact);
    assert_eq!(read.unread.iter().map(|(path, _)| path).collect::<Vec<_>>(), [&files[0]], "{read:?}");
}

fn contains(more: &Counts, less: &Counts) {
    for (who, count) in less {
        assert!(more.get(who).is_some_and(|most| most >= count), "{who:?}: {count}, {more:?}");
    }
}

/// Copies the journal while journald does not write; returns where.
fn copied(bed: &Bed, name: &str) -> String {
    let folder = format!("{COPIES}/{name}");
    bed.write_file(&format!("{folder}/note"), "copies of the journal\n");
    let script = "systemctl kill --signal=STOP --kill-whom=main systemd-journald.service 2>/dev/null ||
        systemctl kill --signal=STOP --kill-who=main systemd-journald.service
        cp /run/log/journal/*/*.journal /var/log/journal/*/*.journal \"$1\" 2>/dev/null
        systemctl kill --signal=CONT systemd-journald.service";
    bed.run(&["sh", "-c", script, "sh", &folder]);
    folder
}

fn seen_from_here(bed: &Bed, path: &str) -> PathBuf {
    bed.root().join(path.trim_start_matches('/'))
}

fn own(files: &[PathBuf]) -> (Counts, FilesRead) {
    let mut counts = Counts::new();
    let inputs: Vec<_> = files.iter().cloned().map(Input::File).collect();
    let read = files::read(&inputs, &Interrupt::default(), &mut |_| {}, &mut |_, said| {
        if let Said::Denied(denial) = said {
            let comm = String::from_utf8_lossy(denial.process.comm.bytes()).into_owned();
            *counts.entry((comm, shown(denial.call))).or_default() += 1;
        }
    });
    assert_eq!(counts.values().sum::<u64>(), read.denials);
    (counts, read)
}

fn shown(call: Call) -> String {
    format!("{} {}", call.arch, call.number)
}

/// The units of which the manager, or systemd-coredump, says that a process was killed.
fn reports(files: &[PathBuf]) -> BTreeSet<String> {
    let mut units = BTreeSet::new();
    let inputs: Vec<_> = files.iter().cloned().map(Input::File).collect();
    files::read(&inputs, &Interrupt::default(), &mut |_| {}, &mut |_, said| match said {
        Said::Dumped(_, unit) | Said::Reported(_, unit) => drop(units.insert(unit.to_string())),
        Said::Denied(_) => {}
    });
    units
}

/// The same of what journalctl prints, taken apart in the plainest way.
fn journalctls(bed: &Bed, folder: &str) -> Counts {
    let output = bed.exec(&["journalctl", "--quiet", "-D", folder, "--output=json", "--all"]);
    assert_eq!(output.status, 0, "{}", output.stderr);
    let mut seen = BTreeSet::new();
    let mut counts = Counts::new();
    for line in output.stdout.lines() {
        let entry: serde_json::Value = serde_json::from_str(line).unwrap();
        let text = |field: &str| entry[field].as_str().unwrap_or_default();
        let message = text("MESSAGE");
        let word = |key: &str| message.split(' ').find_map(|word| word.strip_prefix(key)).unwrap_or_default();
        let serial = match (text("_TRANSPORT"), text("_AUDIT_TYPE"), text("SYSLOG_FACILITY")) {
            ("audit", "1326", _) => text("_AUDIT_ID"),
            ("kernel", _, "0") if message.starts_with("audit: type=1326 ") => {
                message.split([':', ')']).nth(2).unwrap()
            }
            _ => continue,
        };
        if seen.insert((text("_BOOT_ID").to_owned(), serial.to_owned(), word("pid=").to_owned())) {
            let arch = u32::from_str_radix(word("arch="), 16).unwrap();
            let call = Call::from_record(arch, word("syscall=").parse().unwrap()).unwrap();
            *counts.entry((word("comm=").trim_matches('"').to_owned(), shown(call))).or_default() += 1;
        }
    }
    counts
}
