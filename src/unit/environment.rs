//! Environment variables: `EnvironmentFile=` files, and variables in command lines. Pure.
//! systemd.exec(5) "Environment"; src/basic/env-file.c and `replace_env_argv()` in src/basic/env-util.c.

use super::exec::first_word;

/// Variables in the order in which they were set; the last of a name counts.
pub type Variables = Vec<(String, String)>;

/// systemd's `WHITESPACE` and `NEWLINE` (src/basic/string-util.h).
const SPACE: [char; 4] = [' ', '\t', '\n', '\r'];
const NEWLINE: [char; 2] = ['\n', '\r'];

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    BeforeKey,
    Key,
    BeforeValue,
    Value,
    ValueEscape,
    Single,
    Double,
    DoubleEscape,
    Comment,
    CommentEscape,
}

/// The assignments of an environment file: shell-like quotes, comments, lines that continue; nothing is replaced.
/// Lines that are no assignment are passed over, as systemd does.
#[must_use]
pub fn parse_file(text: &str) -> Variables {
    let mut out = Variables::new();
    let (mut key, mut value) = (String::new(), String::new());
    // the part of the value that trailing white space cannot be cut from
    let mut kept = 0;
    let mut state = State::BeforeKey;
    let mut finish = |key: &mut String, value: &mut String, kept: usize| {
        let end = value.trim_end_matches(SPACE).len().max(kept);
        value.truncate(end);
        let (key, value) = (std::mem::take(key), std::mem::take(value));
        let name = key.trim_end_matches(SPACE);
        if valid_name(name) {
            out.push((name.to_owned(), value));
        }
    };
    for c in text.chars() {
        let newline = NEWLINE.contains(&c);
        state = match state {
            State::BeforeKey if c == '#' || c == ';' => State::Comment,
            State::BeforeKey if SPACE.contains(&c) => State::BeforeKey,
            State::Key if c == '=' => State::BeforeValue,
            State::Key if newline => {
                key.clear();
                State::BeforeKey
            }
            State::BeforeKey | State::Key => {
                key.push(c);
                State::Key
            }
            State::BeforeValue | State::Value if newline => {
                finish(&mut key, &mut value, kept);
                kept = 0;
                State::BeforeKey
            }
            State::BeforeValue if c == '\'' => State::Single,
            State::BeforeValue if c == '"' => State::Double,
            State::BeforeValue if SPACE.contains(&c) => State::BeforeValue,
            State::BeforeValue | State::Value if c == '\\' => State::ValueEscape,
            State::BeforeValue | State::Value => {
                value.push(c);
                State::Value
            }
            State::ValueEscape => {
                if !newline {
                    value.push(c);
                }
                kept = value.len();
                State::Value
            }
            State::Single | State::Double if (c == '\'') == (state == State::Single) && "'\"".contains(c) => {
                kept = value.len();
                State::BeforeValue
            }
            State::Double if c == '\\' => State::DoubleEscape,
            State::DoubleEscape => {
                if !"\"\\`$\n".contains(c) {
                    value.push('\\');
                }
                if c != '\n' {
                    value.push(c);
                }
                State::Double
            }
            State::Single | State::Double => {
                value.push(c);
                state
            }
            State::Comment if c == '\\' => State::CommentEscape,
            State::Comment | State::CommentEscape if newline => State::BeforeKey,
            State::Comment | State::CommentEscape => State::Comment,
        };
    }
    if !matches!(state, State::BeforeKey | State::Key | State::Comment | State::CommentEscape) {
        let kept = if state == State::Value { kept } else { value.len() };
        finish(&mut key, &mut value, kept);
    }
    out
}

/// The words of a setting that holds a list, unquoted (`Environment=`, `PassEnvironment=`, …).
#[must_use]
pub fn words(text: &str) -> Vec<String> {
    let mut out = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        // systemd ignores the rest of a line whose quote does not end
        let Ok((word, length)) = first_word(rest) else { break };
        out.push(word);
        rest = rest[length..].trim_start();
    }
    out
}

/// `NAME=value` as its two parts, if it is an assignment.
#[must_use]
pub fn assignment(word: &str) -> Option<(String, String)> {
    let (name, value) = word.split_once('=')?;
    valid_name(name).then(|| (name.to_owned(), value.to_owned()))
}

/// `env_name_is_valid()`.
fn valid_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// Set a variable, in place of an earlier one of the name.
pub fn set(variables: &mut Variables, name: &str, value: impl Into<String>) {
    let value = value.into();
    match variables.iter_mut().find(|(known, _)| known == name) {
        Some(found) => found.1 = value,
        None => variables.push((name.to_owned(), value)),
    }
}

fn get<'a>(variables: &'a Variables, name: &str) -> Option<&'a str> {
    variables.iter().rev().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
}

/// Put variables into the words of a command: `$NAME` as a whole word becomes as many words as its value has,
/// `${NAME}` is replaced where it stands, `$$` is a dollar. Returns also the names that have no value.
#[must_use]
pub fn expand(words: &[String], variables: &Variables) -> (Vec<String>, Vec<String>) {
    let (mut out, mut unset) = (Vec::new(), Vec::new());
    for word in words {
        let whole = word.strip_prefix('$').filter(|name| !name.is_empty() && !name.starts_with(['{', '$']));
        match whole.map(|name| (name, get(variables, name))) {
            Some((_, Some(value))) => out.extend(self::words(value)),
            Some((name, None)) => unset.push(name.to_owned()),
            None => out.push(replace(word, variables, &mut unset)),
        }
    }
    (out, unset)
}

fn replace(word: &str, variables: &Variables, unset: &mut Vec<String>) -> String {
    let mut out = String::new();
    let mut rest = word;
    while let Some((before, after)) = rest.split_once('$') {
        out.push_str(before);
        let braced = after.strip_prefix('{').and_then(|text| text.split_once('}'));
        rest = if let Some((name, behind)) = braced {
            match get(variables, name) {
                Some(value) => out.push_str(value),
                None => unset.push(name.to_owned()),
            }
            behind
        } else {
            out.push('$');
            after.strip_prefix('$').unwrap_or(after)
        };
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(found: &Variables) -> Vec<String> {
        found.iter().map(|(name, value)| format!("{name}={value}")).collect()
    }

    #[test]
    fn files_are_read_as_systemd_reads_them() {
        let text = concat!(
            "# comment\n; another\nA=1\n B = two words  \nC='single $x \\n'\nD=\"double \\\"q\\\" \\x\"\n",
            "E=one\\\ntwo\nnonsense\nF=\nG='a' \"b\"c\n1BAD=x\nH=x\\  \nI=\"two\nlines\"\nexport J=1\nK=last "
        );
        let expected = [
            "A=1",
            "B=two words",
            "C=single $x \\n",
            "D=double \"q\" \\x",
            "E=onetwo",
            "F=",
            "G=abc",
            "H=x ",
            "I=two\nlines",
            "K=last",
        ];
        assert_eq!(pairs(&parse_file(text)), expected);
        assert_eq!(pairs(&parse_file("A=1\r\nB=2")), ["A=1", "B=2"]);
    }

    #[test]
    fn lists_of_assignments() {
        let found: Vec<_> = words(r#"A=1 "B=two words" 'C=3'D nonsense"#);
        assert_eq!(found, ["A=1", "B=two words", "C=3D", "nonsense"]);
        assert_eq!(assignment("B=two words"), Some(("B".to_owned(), "two words".to_owned())));
        assert_eq!(assignment("nonsense"), None);
        assert_eq!(assignment("1=2"), None);
    }

    #[test]
    fn variables_in_commands() {
        let variables = vec![("ONE".to_owned(), "a 'b c'".to_owned()), ("N".to_owned(), "5".to_owned())];
        let expanded = |words: &[&str]| {
            let words: Vec<_> = words.iter().map(|w| (*w).to_owned()).collect();
            expand(&words, &variables)
        };
        let (words, unset) =
            expanded(&["/x", "$ONE", "${ONE}", "n=${N}${GONE}", "$$N", "a$N", "$GONE", "${N"]);
        assert_eq!(words, ["/x", "a", "b c", "a 'b c'", "n=5", "$N", "a$N", "${N"]);
        assert_eq!(unset, ["GONE", "GONE"]);
    }

    proptest::proptest! {
        #[test]
        fn never_panics(text in "[ -~\\n]*") {
            let variables = parse_file(&text);
            let _ = expand(&words(&text), &variables);
        }
    }
}
