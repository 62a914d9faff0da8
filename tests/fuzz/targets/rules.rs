//! Rules of an administrator: whatever stands in the file, there are rules, or an error with its place in the file.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::path::Path;
use unitfix::rules::check;

const PATH: &str = "/etc/unitfix/rules.d/a.yaml";

fuzz_target!(|bytes: &[u8]| {
    if let Err(error) = check(Path::new(PATH), bytes) {
        let text = error.to_string();
        assert!(!text.chars().any(|c| c.is_control() && c != '\n'), "{text:?}");
        let rest = text.strip_prefix(PATH).and_then(|rest| rest.strip_prefix(':')).expect("the path");
        let mut numbers = rest.split(':').map(|number| number.parse::<usize>());
        // a file that is empty in one way or another has no place
        if let (Some(Ok(line)), Some(Ok(column))) = (numbers.next(), numbers.next()) {
            // what is missing at the end is missing behind the last line
            let lines = bytes.split(|b| matches!(b, b'\n' | b'\r')).count()
                + String::from_utf8_lossy(bytes).matches(['\u{85}', '\u{2028}', '\u{2029}']).count();
            assert!((1..=lines + 1).contains(&line) && (1..=bytes.len() + 1).contains(&column), "{text}");
        }
    }
});
