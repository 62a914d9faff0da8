//! Any bytes are a receipt, and the note of a replay: each is read and written back as the same, or what is wrong with it
//! is said, with its place.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::path::Path;
use unitfix::change::Receipt;
use unitfix::replay::session::Note;

const PATH: &str = "/var/lib/unitfix/x.service.json";

fuzz_target!(|bytes: &[u8]| {
    match Receipt::parse(Path::new(PATH), bytes) {
        Ok(receipt) => {
            let text = serde_json::to_vec_pretty(&receipt).expect("it was read");
            assert_eq!(Receipt::parse(Path::new(PATH), &text).expect("what was written"), receipt);
            let undo = receipt.undo();
            assert_eq!(undo.reversed().files, receipt.files);
            assert_eq!(undo.is_empty(), undo.reversed().is_empty());
            // what takes back what was taken back, is there already
            assert!(receipt.clone().continued(&undo).files.iter().all(|file| file.before != file.after));
        }
        Err(error) => {
            let text = error.to_string();
            let rest = text.strip_prefix(PATH).and_then(|rest| rest.strip_prefix(':')).expect("the path");
            let mut numbers = rest.split(':').map(|number| number.parse::<usize>());
            let (line, column) = (numbers.next().expect("a line"), numbers.next().expect("a column"));
            let line = line.expect("a number");
            assert!((1..=bytes.split(|b| *b == b'\n').count()).contains(&line), "{text}");
            assert!(column.expect("a number") <= bytes.len(), "{text}");
            assert!(!text.chars().any(char::is_control), "{text:?}");
        }
    }
    if let Ok(note) = Note::parse(bytes) {
        let text = serde_json::to_vec(&note).expect("it was read");
        assert_eq!(Note::parse(&text).expect("what was written"), note);
    }
});
