use super::*;
use proptest::prelude::*;
use std::fmt::Write as _;

/// The tables of one stripped program, as Go 1.15, 1.19, 1.24 and 1.27 made it, without the records of the functions
/// that no test looks at (they are zeroes).
const SAMPLES: [(&str, &[u8]); 4] = [
    ("1.15", include_bytes!("../../../tests/samples/go/pclntab-1.15.zst")),
    ("1.19", include_bytes!("../../../tests/samples/go/pclntab-1.19.zst")),
    ("1.24", include_bytes!("../../../tests/samples/go/pclntab-1.24.zst")),
    ("1.27", include_bytes!("../../../tests/samples/go/pclntab-1.27.zst")),
];

/// Where the text of these programs begins.
const TEXT: u64 = 0x40_1000;

fn sample(version: &str) -> Vec<u8> {
    let (_, packed) = SAMPLES.into_iter().find(|(known, _)| *known == version).unwrap();
    let mut bytes = Vec::new();
    let mut decoder = ruzstd::decoding::StreamingDecoder::new(packed).unwrap();
    std::io::Read::read_to_end(&mut decoder, &mut bytes).unwrap();
    bytes
}

/// `function+offset frame file:line`
fn shown(table: &GoTable, pc: u64) -> String {
    let Some(function) = table.function_at(pc) else { return "nothing".to_owned() };
    let mut out = format!("{}+{}", String::from_utf8_lossy(function.name), pc - function.entry);
    if let Some(size) = table.frame_size(&function, pc) {
        let _ = write!(out, " {size}");
    }
    if let Some(line) = table.line(&function, pc) {
        let _ = write!(out, " {}:{}", String::from_utf8_lossy(line.file), line.number);
    }
    out
}

/// What `go tool addr2line` of the same release says of the program before it was stripped.
#[test]
fn real_tables() {
    for (version, places, text) in [
        (
            "1.15",
            &[
                (0x46_0e00 + 64, "syscall.Setrlimit+64 72 syscall/zsyscall_linux_amd64.go:1342"),
                (0x46_1260 + 50, "main.lower+50 56 command-line-arguments/tiny.go:7"),
                (0x46_12e0 + 20, "main.(*thing).Do+20 32 command-line-arguments/tiny.go:13"),
                (0x46_1340, "main.main+0 0 command-line-arguments/tiny.go:15"),
            ][..],
            None,
        ),
        (
            "1.19",
            &[
                (0x45_8b60 + 50, "syscall.Setrlimit+50 48 syscall/zsyscall_linux_amd64.go:1323"),
                (0x45_8f80 + 30, "main.lower+30 40 ./tiny.go:7"),
                (0x45_8fe0 + 20, "main.(*thing).Do+20 16 ./tiny.go:13"),
                (0x45_9020 + 30, "main.main+30 40 ./tiny.go:17"),
            ][..],
            Some(TEXT),
        ),
        (
            "1.24",
            &[
                (0x46_9a60 + 10, "syscall.Setrlimit+10 8 syscall/rlimit.go:49"),
                (0x46_9b60 + 100, "syscall.prlimit1+100 80 syscall/syscall_unix.go:156"),
                (0x46_a000 + 20, "main.(*thing).Do+20 16 ./tiny.go:13"),
            ][..],
            Some(TEXT),
        ),
        (
            "1.27",
            &[
                (0x47_edc0 + 10, "syscall.Setrlimit+10 8 syscall/rlimit.go:49"),
                (0x47_f4e0 + 20, "main.(*thing).Do+20 16 ./tiny.go:13"),
                (0x47_f520 + 50, "main.main+50 40 ./tiny.go:18"),
            ][..],
            None, // from 1.26 on the header does not say where the text is
        ),
    ] {
        let bytes = sample(version);
        assert_eq!(GoTable::text_in_header(&bytes), text, "{version}");
        let table = GoTable::parse(&bytes, TEXT).unwrap();
        assert_eq!(table.range().start, TEXT, "{version}");
        for (pc, expected) in places {
            assert_eq!(shown(&table, *pc), *expected, "{version}");
        }
        assert_eq!(shown(&table, TEXT - 1), "nothing");
        assert_eq!(shown(&table, table.range().end), "nothing");
    }
}

#[test]
fn found_among_other_bytes() {
    let mut bytes = vec![0xff; 0x108];
    bytes[0xf0..0xf8].copy_from_slice(&[0xf1, 0xff, 0xff, 0xff, 0, 0, 3, 8]); // no processor has steps of 3
    bytes.extend(sample("1.19"));
    assert_eq!(GoTable::candidates(&bytes).collect::<Vec<_>>(), [0x108]);
    let table = GoTable::parse(&bytes[0x108..], TEXT).unwrap();
    assert_eq!(shown(&table, 0x45_8f80 + 30), "main.lower+30 40 ./tiny.go:7");
}

proptest! {
    #[test]
    fn any_bytes(bytes: Vec<u8>, text: u64, pc: u64) {
        if let Some(table) = GoTable::parse(&bytes, text) {
            let _ = shown(&table, pc);
        }
    }

    /// A real table of which some bytes were changed, or the end is missing.
    #[test]
    fn broken_tables(
        version in 0usize..4,
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..30),
        early in proptest::collection::vec((0usize..80, any::<u8>()), 0..3),
        length in any::<prop::sample::Index>(),
        cut: bool,
        pc in TEXT..0x48_0000,
    ) {
        static TABLES: std::sync::OnceLock<[Vec<u8>; 4]> = std::sync::OnceLock::new();
        let mut bytes = TABLES.get_or_init(|| SAMPLES.map(|(version, _)| sample(version)))[version].clone();
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        for (at, byte) in early {
            bytes[at] = byte;
        }
        if cut {
            bytes.truncate(length.index(bytes.len()));
        }
        if let Some(table) = GoTable::parse(&bytes, TEXT) {
            let _ = shown(&table, pc);
        }
    }
}
