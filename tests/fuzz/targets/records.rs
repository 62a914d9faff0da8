//! Any bytes are a log: reading it ends, without a panic, in whatever pieces it comes; every line is counted, and every
//! fault lies in its line.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::io::BufReader;
use unitfix::evidence::Source;
use unitfix::evidence::log::read_log;
use unitfix::evidence::record;

fuzz_target!(|bytes: &[u8]| {
    let source = Source::Log("fuzz".into());
    let read = read_log(bytes, &source).expect("a slice can be read");
    let piecewise = BufReader::with_capacity(1 + bytes.len() % 7, bytes);
    assert_eq!(read_log(piecewise, &source).expect("a slice can be read"), read);
    let lines = bytes.split_inclusive(|b| *b == b'\n').map(|line| line.strip_suffix(b"\n").unwrap_or(line));
    let (mut records, mut malformed) = (0, 0);
    for (number, line) in (1..).zip(lines) {
        match record::parse(line) {
            Ok(record) => records += u64::from(record.is_some()),
            Err(fault) => {
                assert!(fault.at <= line.len());
                malformed += 1;
                let told = (number, fault.to_string());
                assert!(malformed > 100 || read.malformed.contains(&told), "{told:?}");
            }
        }
    }
    assert_eq!((read.kept.total() + read.foreign, read.malformed_total), (records, malformed));
    for denial in read.kept.denials {
        let _ = denial.call.to_string();
    }
});
