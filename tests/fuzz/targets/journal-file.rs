//! Any bytes may be a log, or change a journal file that journald wrote: reading it ends, says the same each time, and
//! what it calls damaged lies in the file. The first byte says which.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::io::Write;
use std::sync::OnceLock;
use unitfix::evidence::files::{self, FilesRead, Input, Origin, Place, Said};
use unitfix::interrupt::Interrupt;
use unitfix_fuzz::{change, unpacked};

/// Flags in the header that say how objects are compressed; with xz, journalctl would be asked.
const FLAGS: usize = 12;
const XZ: u8 = 1;

fn samples() -> &'static [Vec<u8>] {
    static SAMPLES: OnceLock<Vec<Vec<u8>>> = OnceLock::new();
    SAMPLES.get_or_init(|| {
        let packed: [&[u8]; 4] = [
            include_bytes!("../../samples/journal/257-compact-zstd.journal.zst"),
            include_bytes!("../../samples/journal/257-zstd.journal.zst"),
            include_bytes!("../../samples/journal/257-lz4.journal.zst"),
            include_bytes!("../../samples/journal/252-jenkins.journal.zst"),
        ];
        packed.into_iter().map(unpacked).collect()
    })
}

fn read(bytes: &[u8]) -> (Vec<(Origin, Said)>, FilesRead) {
    let mut file = tempfile::NamedTempFile::new_in("/dev/shm").expect("a file");
    file.write_all(bytes).expect("written");
    let mut said = Vec::new();
    let inputs = [Input::File(file.path().to_owned())];
    let mut each = |origin: &Origin, what| said.push((Origin { path: "x".into(), ..origin.clone() }, what));
    let mut read = files::read(&inputs, &Interrupt::default(), &mut |_| {}, &mut each);
    for fault in &mut read.malformed {
        fault.path = "x".into();
        assert!(!matches!(fault.place, Place::Byte(at) if at > bytes.len() as u64));
    }
    for (path, _) in &mut read.unread {
        *path = "x".into();
    }
    (said, read)
}

fuzz_target!(|bytes: &[u8]| {
    let Some((kind, rest)) = bytes.split_first() else { return };
    let mut log = match samples().get(usize::from(kind % 8)) {
        Some(sample) => {
            let mut log = sample.clone();
            change(&mut log, rest);
            log
        }
        None => rest.to_vec(),
    };
    if let Some(flags) = log.get_mut(FLAGS).filter(|_| kind % 8 < 4 || rest.starts_with(b"LPKSHHRH")) {
        *flags &= !XZ;
    }
    let (said, told) = read(&log);
    assert_eq!(read(&log), (said.clone(), told.clone()));
    let denied = said.iter().filter(|(_, said)| matches!(said, Said::Denied(_))).count();
    assert_eq!((denied as u64, said.len() as u64), (told.denials, told.progress.records));
    assert!(told.malformed.len() as u64 <= told.malformed_total);
});
