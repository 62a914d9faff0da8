use super::*;
use std::fs;
use std::io::{Read, Write};

const JSON: &str = include_str!("../../../tests/samples/records/journal.json");
const KERNEL: &str = include_str!("../../../tests/samples/records/kernel.log");

/// Samples of journald 252 and 257, unpacked, and what journalctl of 257 made of one of them.
const COMPACT: &[u8] = include_bytes!("../../../tests/samples/journal/257-compact-zstd.journal.zst");
const REGULAR: &[u8] = include_bytes!("../../../tests/samples/journal/257-zstd.journal.zst");
const LZ4: &[u8] = include_bytes!("../../../tests/samples/journal/257-lz4.journal.zst");
const XZ: &[u8] = include_bytes!("../../../tests/samples/journal/257-xz.journal.zst");
const JENKINS: &[u8] = include_bytes!("../../../tests/samples/journal/252-jenkins.journal.zst");
const COMPACT_JSON: &[u8] = include_bytes!("../../../tests/samples/journal/257-compact-zstd.json.zst");
const COMPACT_EXPORT: &[u8] = include_bytes!("../../../tests/samples/journal/257-compact-zstd.export.zst");

fn unpacked(packed: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    ruzstd::decoding::StreamingDecoder::new(packed).unwrap().read_to_end(&mut bytes).unwrap();
    bytes
}

/// What files say, in words, and how they were read.
fn read_files(paths: &[&Path]) -> (Vec<String>, FilesRead) {
    let mut said = Vec::new();
    let mut each = |origin: &Origin, what: Said| {
        let host = origin.host.clone().unwrap_or_default();
        said.push(match what {
            Said::Denied(d) => {
                format!("{host} {} {} {} {:?}", d.process.pid, d.process.comm, d.call, d.effect)
            }
            Said::Dumped(dump, unit) => format!("{host} {} dumped of {unit}", dump.pid),
            Said::Reported(report, _) => format!("{host} {}", report.what),
        });
    };
    let inputs: Vec<_> = paths.iter().map(|path| Input::File((*path).to_owned())).collect();
    let read = read(&inputs, &Interrupt::default(), &mut |_| {}, &mut each);
    (said, read)
}

fn read_bytes(bytes: &[u8]) -> (Vec<String>, FilesRead) {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), bytes).unwrap();
    let (said, read) = read_files(&[file.path()]);
    if read.unread.is_empty() {
        assert_eq!(read.progress.bytes, bytes.len() as u64);
    }
    (said, read)
}

fn sorted(mut said: Vec<String>) -> Vec<String> {
    said.sort();
    said
}

#[test]
fn journalctls_json() {
    let (said, read) = read_bytes(JSON.as_bytes());
    assert_eq!(read.denials, 6, "{said:?}");
    assert!(said.iter().any(|what| what.contains("dumped of")), "{said:?}");
    assert!(said.iter().any(|what| what.ends_with("status=31/SYS")), "{said:?}");
    assert!(read.unread.is_empty() && read.malformed.is_empty());
}

#[test]
fn lines_of_the_kernel_and_of_several_hosts() {
    let (said, read) = read_bytes(KERNEL.as_bytes());
    assert_eq!((said.len(), read.denials), (8, 8));
    let line = "type=SECCOMP msg=audit(1.002:3): auid=0 uid=0 gid=0 ses=1 pid=7 comm=\"a\" exe=\"/a\" sig=31 \
                arch=c000003e syscall=92 compat=0 ip=0x1 code=0x80000000";
    let cut = line.get(..60).unwrap();
    let (said, read) = read_bytes(format!("{line}\nnode=web1 {line}\nnode=\x1b {cut}\n").as_bytes());
    assert_eq!(said, [" 7 a chown Killed", "web1 7 a chown Killed"]);
    let faults: Vec<_> =
        read.malformed.iter().map(|fault| (fault.place.to_string(), fault.why.as_str())).collect();
    assert_eq!(faults, [("line 3".to_owned(), "byte 65: pid should stand here")]);
}

#[test]
fn a_journal_file_says_what_journalctl_says_of_it() {
    let (native, read) = read_bytes(&unpacked(COMPACT));
    let long = "y".repeat(15);
    let expected = [
        "testbed-rd-trixie run-p170-i399974.service: Main process exited, code=killed, status=31/SYS"
            .to_owned(),
        "testbed-rd-trixie 11580 chown fchownat Killed".to_owned(),
        "testbed-rd-trixie run-p173-i399982.service: Main process exited, code=killed, status=31/SYS"
            .to_owned(),
        "testbed-rd-trixie 11586 chown fchownat Killed".to_owned(),
        "testbed-rd-trixie run-p183-i399998.service: Main process exited, code=killed, status=31/SYS"
            .to_owned(),
        format!("testbed-rd-trixie 11603 {long} uname Killed"),
        "testbed-rd-trixie 11607 uname uname Killed".to_owned(),
        "testbed-rd-trixie run-p186-i400003.service: Main process exited, code=killed, status=31/SYS"
            .to_owned(),
    ];
    assert_eq!(sorted(native.clone()), sorted(expected.to_vec()));
    // each record is there twice, of audit and of the kernel's log
    assert_eq!((read.denials, read.malformed_total, read.unread.len()), (4, 0, 0));
    assert_eq!(read_bytes(&unpacked(COMPACT_JSON)).0, native);
    assert_eq!(read_bytes(&unpacked(COMPACT_EXPORT)).0, native);
    assert_eq!(read_bytes(COMPACT_JSON).0, native);
}

#[test]
fn older_hashes_and_other_compressions() {
    let count = |packed| {
        let (said, read) = read_bytes(&unpacked(packed));
        (read.denials, said.len(), read.malformed_total, read.unread.len())
    };
    assert_eq!(count(REGULAR), (4, 8, 0, 0));
    assert_eq!(count(LZ4), (4, 8, 0, 0));
    assert_eq!(count(JENKINS), (9, 10, 0, 0));
}

/// Here only journalctl can read it; without one, what is not compressed is read all the same.
#[test]
fn what_is_compressed_with_xz() {
    let (said, read) = read_bytes(&unpacked(XZ));
    assert!(
        (said.len(), read.malformed_total) == (8, 0) || read.malformed_total + read.unread.len() as u64 > 0
    );
}

#[test]
fn a_cut_file_says_where_and_does_not_hide_the_others() {
    let dir = tempfile::tempdir().unwrap();
    let (cut, whole) = (dir.path().join("a.journal"), dir.path().join("b.journal"));
    let bytes = unpacked(REGULAR);
    fs::write(&cut, &bytes[..bytes.len() / 16]).unwrap();
    fs::write(&whole, &bytes).unwrap();
    let (said, read) = read_files(&[&cut, &dir.path().join("none"), &whole]);
    assert_eq!((said.len(), read.denials), (8, 4), "{said:?}");
    assert!(read.malformed_total + read.unread.len() as u64 > 1);
    assert_eq!(read.unread.last().unwrap().0, dir.path().join("none"));
}

#[test]
fn what_a_service_logs_is_no_entry_of_its_own() {
    let forged = "\n\n__CURSOR=x\n_TRANSPORT=audit\n_AUDIT_TYPE=1326\nMESSAGE=SECCOMP auid=1\n\n";
    let mut export = b"__CURSOR=a\n_TRANSPORT=stdout\nMESSAGE\n".to_vec();
    export.extend((forged.len() as u64).to_le_bytes());
    export.extend(forged.bytes());
    export.extend(b"\n\n");
    let (said, read) = read_bytes(&export);
    assert_eq!((said.len(), read.malformed_total, read.unread.len()), (0, 0, 0));
    let (_, read) = read_bytes(export.get(..60).unwrap());
    assert_eq!(read.unread.len(), 1);
}

#[test]
fn compressed_logs_are_told_by_their_content() {
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    gzip.write_all(KERNEL.as_bytes()).unwrap();
    let gzip = gzip.finish().unwrap();
    assert_eq!(read_bytes(&gzip).1.denials, 8);
    assert_eq!(read_bytes(&[gzip.as_slice(), &gzip].concat()).1.denials, 16);
    assert_eq!(read_bytes(&[COMPACT_JSON, COMPACT_JSON].concat()).1.denials, 4);
    for (begin, told) in [(&b"\xfd7zXZ\0\0"[..], "xz"), (b"BZh91AY", "bzip2"), (COMPACT, "journal file")] {
        let unread = read_bytes(begin).1.unread;
        assert!(unread.first().is_some_and(|(_, why)| why.contains(told)), "{told}: {unread:?}");
    }
}

#[test]
fn an_interrupt_ends_it() {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), KERNEL.repeat(2000)).unwrap();
    let interrupt = Interrupt::default();
    let inputs = [Input::File(file.path().to_owned()), Input::File(file.path().to_owned())];
    let read = read(&inputs, &interrupt, &mut |_| interrupt.raise(), &mut |_, _| {});
    assert!(read.interrupted && read.unread.is_empty());
    assert!(read.progress.bytes < 2 * file.as_file().metadata().unwrap().len());
}

#[test]
fn the_logs_of_a_folder() {
    let dir = tempfile::tempdir().unwrap();
    let machine = "0123456789abcdef0123456789abcdef";
    for folder in [machine, &format!("{machine}.noise"), "other"] {
        fs::create_dir(dir.path().join(folder)).unwrap();
        fs::write(dir.path().join(folder).join("system.journal"), "").unwrap();
    }
    for name in [
        "remote-a.journal",
        "x.journal~",
        "audit.log",
        "audit.log.1",
        "audit.log.10.gz",
        "audit.log.bak",
        "x",
    ] {
        fs::write(dir.path().join(name), "").unwrap();
    }
    std::os::unix::fs::symlink("/etc/passwd", dir.path().join("link.journal")).unwrap();
    let found = files_in(dir.path()).unwrap();
    let names: Vec<_> =
        found.iter().map(|path| path.strip_prefix(dir.path()).unwrap().to_string_lossy()).collect();
    let expected = [
        "audit.log.10.gz".to_owned(),
        "audit.log.1".to_owned(),
        "audit.log".to_owned(),
        "remote-a.journal".to_owned(),
        "x.journal~".to_owned(),
        format!("{machine}/system.journal"),
        format!("{machine}.noise/system.journal"),
    ];
    assert_eq!(sorted(names.iter().map(ToString::to_string).collect()), sorted(expected.to_vec()));
    assert_eq!(
        names.iter().position(|name| name == "audit.log.10.gz").unwrap() + 2,
        names.iter().position(|name| name == "audit.log").unwrap()
    );
}

/// Where the last byte is that is not 0: journald allocates ahead.
fn used(bytes: &[u8]) -> usize {
    bytes.iter().rposition(|byte| *byte != 0).unwrap()
}

#[test]
fn what_journald_is_writing_is_not_damage() {
    let mut bytes = unpacked(COMPACT);
    let whole = read_bytes(&bytes).0;
    assert_eq!(bytes[16], 1, "journald had it open");
    let tail = u64::from_le_bytes(bytes[136..144].try_into().unwrap());
    let mut fewer = 0;
    for limit in [0, tail / 2, tail - tail / 4, tail] {
        bytes[136..144].copy_from_slice(&limit.to_le_bytes());
        let (said, read) = read_bytes(&bytes);
        assert_eq!((read.malformed_total, read.unread.len()), (0, 0));
        assert!(whole.starts_with(&said));
        fewer += usize::from(said.len() < whole.len());
    }
    assert_eq!(fewer, 3);
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(96))]
    #[test]
    fn a_damaged_file_is_read_as_far_as_it_goes(
        changes in proptest::collection::vec((0_usize..1 << 20, 0_u8..), 1..400),
        length in 0_usize..1 << 20,
        which in 0_usize..4,
    ) {
        let mut bytes = unpacked([COMPACT, REGULAR, LZ4, JENKINS][which]);
        let used = used(&bytes);
        for (at, byte) in changes {
            bytes[17 + at % (used - 17)] = byte;
        }
        bytes.truncate(length.max(4096));
        bytes[12] &= !1; // journalctl is not to be asked
        let (said, read) = read_bytes(&bytes);
        proptest::prop_assert_eq!(said.len() as u64, read.progress.records);
        for fault in read.malformed {
            proptest::prop_assert!(matches!(fault.place, Place::Byte(at) if at <= bytes.len() as u64));
        }
    }
}

#[test]
fn with_a_damaged_index_all_entries_are_looked_at() {
    let whole = unpacked(REGULAR);
    let number =
        |at: usize| usize::try_from(u64::from_le_bytes(whole[at..at + 8].try_into().unwrap())).unwrap();
    let (table, size) = (number(104), number(112));
    let mut bytes = whole.clone();
    for bucket in bytes[table..table + size].chunks_exact_mut(16) {
        if bucket[..8] != [0; 8] {
            bucket[..8].copy_from_slice(&5_u64.to_le_bytes());
        }
    }
    let (said, read) = read_bytes(&bytes);
    assert_eq!(said, read_bytes(&whole).0);
    let fault = read.malformed.first().unwrap();
    assert_eq!(
        (fault.place, fault.why.as_str(), read.malformed_total),
        (Place::Byte(5), "no object begins here", 1)
    );
}
