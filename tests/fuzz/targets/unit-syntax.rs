//! Any bytes are a unit file: parsing them ends, without a panic, and every place lies in the file.
#![no_main]

use libfuzzer_sys::fuzz_target;
use unitfix::unit::{SourceFile, syntax};

fuzz_target!(|bytes: &[u8]| {
    let file = SourceFile::new("/fuzz.service", bytes);
    let parsed = syntax::parse_as(&file, u32::MAX);
    for setting in &parsed.settings {
        let text = &setting.value.text;
        let mut at = 0;
        for word in text.split_inclusive(' ') {
            let span = setting.value.span(at..at + word.len());
            assert!(span.line >= 1 && span.column >= 1 && span.length >= 1);
            assert!(!file.line(span.line).is_empty());
            at += word.len();
        }
    }
    for finding in &parsed.findings {
        assert!(finding.span.is_some());
    }
});
