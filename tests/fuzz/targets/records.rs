//! Any bytes are a log: reading it ends, without a panic.
#![no_main]

use libfuzzer_sys::fuzz_target;
use unitfix::evidence::Source;
use unitfix::evidence::log::read_log;

fuzz_target!(|bytes: &[u8]| {
    let source = Source::Log("fuzz".into());
    if let Ok(read) = read_log(bytes, &source) {
        for denial in read.kept.denials {
            let _ = denial.call.to_string();
        }
    }
});
