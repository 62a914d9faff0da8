use super::*;
use std::fs;

const JOURNAL: &str = include_str!("../../../tests/samples/records/journal.json");
const KERNEL: &str = include_str!("../../../tests/samples/records/kernel.log");

/// What a file says, in words, and how it was read.
fn read_file(path: &Path) -> (Vec<String>, FilesRead) {
    let mut said = Vec::new();
    let mut each = |origin: &Origin, what: Said| {
        let host = origin.host.clone().unwrap_or_default();
        said.push(match what {
            Said::Denied(d) => {
                format!("{host} {} {} {} {:?}", d.process.pid, d.process.comm, d.call, d.effect)
            }
            Said::Dumped(dump, unit) => format!("{host} {} dumped of {unit}", dump.pid),
            Said::Reported(report, unit) => format!("{host} {} of {unit}", report.what),
        });
    };
    let read = read(&[Input::File(path.to_owned())], &Interrupt::default(), &mut |_| {}, &mut each);
    (said, read)
}

fn read_bytes(bytes: &[u8]) -> (Vec<String>, FilesRead) {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), bytes).unwrap();
    read_file(file.path())
}

#[test]
fn journalctls_json() {
    let (said, read) = read_bytes(JOURNAL.as_bytes());
    assert_eq!(read.denials, 6, "{said:?}");
    assert_eq!(read.progress.bytes, JOURNAL.len() as u64);
    assert!(said.iter().any(|what| what.contains("dumped of")), "{said:?}");
    assert!(said.iter().any(|what| what.contains("status=31/SYS of")), "{said:?}");
    assert!(read.unread.is_empty() && read.malformed.is_empty());
}

#[test]
fn lines_of_the_kernel() {
    let (said, read) = read_bytes(KERNEL.as_bytes());
    assert_eq!((said.len(), read.denials), (8, 8));
}
