//! Any text is a command line, an environment file and a list of variables: taking them apart ends, every command stands
//! where it is said to, and what is quoted is read back.
#![no_main]

use libfuzzer_sys::fuzz_target;
use unitfix::unit::environment::{assignment, expand, parse_file, words};
use unitfix::unit::exec::{Stage, first_word, parse};
use unitfix::unit::{SourceFile, syntax};

/// A word as it is written so that it is read as this one.
fn quoted(word: &str) -> String {
    format!("\"{}\"", word.replace('\\', "\\\\").replace('"', "\\\""))
}

fn commands(bytes: &[u8]) {
    let file = SourceFile::new("/fuzz.service", [b"[Service]\nExecStart=", bytes].concat());
    for setting in syntax::parse_as(&file, u32::MAX).settings {
        let (commands, findings) = parse(Stage::Start, &setting);
        for command in &commands {
            assert!(!command.words.is_empty() && command.comm().len() <= 15);
            let whole = format!("{}{}", command.prefix_text, command.text);
            assert!(setting.value.text.contains(&whole), "{command:?}");
            let line = file.line(command.span.line);
            assert!(command.span.column as usize <= line.chars().count(), "{command:?} in {line:?}");
            for word in &command.words {
                assert_eq!(first_word(&quoted(word)), Ok((word.clone(), quoted(word).len())));
            }
            let environment = vec![("A".to_owned(), "x 'y z'".to_owned()), ("B".to_owned(), String::new())];
            let (expanded, unset) = expand(&command.words, &environment);
            assert!(unset.iter().all(|name| name != "A" && name != "B"));
            if !command.words.iter().any(|word| word.contains('$')) {
                assert_eq!(expanded, command.words);
            }
        }
        assert!(findings.iter().all(|finding| finding.span.is_some()));
    }
}

fuzz_target!(|bytes: &[u8]| {
    commands(bytes);
    let text = String::from_utf8_lossy(bytes);
    let variables = parse_file(&text);
    for (name, value) in &variables {
        assert!(assignment(&format!("{name}={value}")).is_some(), "{name}");
    }
    // written so that nothing in it means anything, it is read as the same
    let written = |(name, value): &(String, String)| {
        let escaped =
            ["\\", "\"", "$", "`"].iter().fold(value.clone(), |text, c| text.replace(c, &format!("\\{c}")));
        format!("{name}=\"{escaped}\"\n")
    };
    let again = parse_file(&variables.iter().map(written).collect::<String>());
    assert_eq!(again, variables);
    let list = words(&text);
    assert_eq!(words(&list.iter().map(|word| quoted(word) + " ").collect::<String>()), list);
});
