//! Names and words in rules, checked where they are read, so that an error tells their place.

use crate::explain::closest;
use crate::policy::{Action, parse_action};
use crate::syscalls::{Arch, Groups};
use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer};
use std::cell::Cell;
use std::collections::BTreeSet;
use std::fmt;
use std::ops::Deref;
use std::sync::LazyLock;

/// Every name of a call, and of a group, that systemd or a kernel has.
static KNOWN: LazyLock<BTreeSet<String>> = LazyLock::new(|| {
    let groups = crate::syscalls::RULES_OF.into_iter().filter_map(|version| Groups::from_rules(version).ok());
    groups
        .flat_map(|groups| {
            groups.calls().cloned().chain(groups.names().map(str::to_owned)).collect::<Vec<_>>()
        })
        .collect()
});

fn is_call(name: &str) -> bool {
    if UNCHECKED.get() {
        return !name.starts_with('@');
    }
    !name.starts_with('@')
        && (Arch::ALL.iter().any(|arch| arch.number(name).is_some()) || KNOWN.contains(name)) // the cheap one first
}

thread_local! {
    /// Names are believed to be some; see `unchecked`.
    static UNCHECKED: Cell<bool> = const { Cell::new(false) };
    /// How many more bytes of texts may be read; see `within`.
    static LEFT: Cell<usize> = const { Cell::new(usize::MAX) };
}

/// Read without looking whether there are such calls and groups, for which all groups of all versions are needed.
pub(super) fn unchecked<T>(read: impl FnOnce() -> T) -> T {
    let before = UNCHECKED.replace(true); // these may need others of the rules that come with unitfix
    let out = read();
    UNCHECKED.set(before);
    out
}

/// Read with no more than so many bytes of texts: aliases of YAML can make anything of a small file.
pub(super) fn within<T>(bytes: usize, read: impl FnOnce() -> T) -> T {
    LEFT.set(bytes);
    let out = read();
    LEFT.set(usize::MAX);
    out
}

/// Makes a value of a text, or says what is wrong with it. As a visitor it fails while the text is being read: then
/// serde_yaml tells the place of the text itself, and not of the list that it stands in.
pub(super) struct Read<T, F: FnOnce(&str) -> Result<T, String>> {
    /// What is expected, to follow that word.
    pub(super) expected: &'static str,
    /// How it is read.
    pub(super) read: F,
}

impl<T, F: FnOnce(&str) -> Result<T, String>> Visitor<'_> for Read<T, F> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(self.expected)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
        let left = LEFT.get().checked_sub(text.len() + 1);
        LEFT.set(left.ok_or_else(|| E::custom("the aliases in this file make too much of it"))?);
        (self.read)(text).map_err(E::custom)
    }
}

/// What is said of a name that nothing has.
fn no_such(name: &str) -> String {
    let what = if name.starts_with('@') { "group" } else { "system call" };
    let meant = closest(name).filter(|meant| meant.starts_with('@') == name.starts_with('@'));
    let meant = meant.map(|meant| format!("; did you mean {meant}?")).unwrap_or_default();
    format!("'{name}' is no {what}{meant}")
}

/// The name of a system call.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct CallName(String);

impl CallName {
    pub(super) fn read(name: &str) -> Result<Self, String> {
        if is_call(name) { Ok(CallName(name.to_owned())) } else { Err(no_such(name)) }
    }
}

impl Deref for CallName {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl PartialEq<str> for CallName {
    fn eq(&self, other: &str) -> bool {
        self.0 == *other
    }
}

impl<'de> Deserialize<'de> for CallName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(Read { expected: "the name of a system call", read: Self::read })
    }
}

/// The name of a system call, or of a group.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct CallOrGroup(String);

impl Deref for CallOrGroup {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl<'de> Deserialize<'de> for CallOrGroup {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let read = |name: &str| {
            if is_call(name) || (name.starts_with('@') && (UNCHECKED.get() || KNOWN.contains(name))) {
                return Ok(CallOrGroup(name.to_owned()));
            }
            Err(no_such(name))
        };
        deserializer.deserialize_str(Read { expected: "the name of a system call or a group", read })
    }
}

/// The name of an errno.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ErrnoName {
    name: String,
    /// Its number.
    pub number: u16,
}

impl Deref for ErrnoName {
    type Target = str;

    fn deref(&self) -> &str {
        &self.name
    }
}

impl<'de> Deserialize<'de> for ErrnoName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let read = |name: &str| match parse_action(name) {
            Some(Action::Errno(number)) if name.starts_with('E') => {
                Ok(ErrnoName { name: name.to_owned(), number })
            }
            _ => Err(format!("'{name}' is no errno")),
        };
        deserializer.deserialize_str(Read { expected: "the name of an errno", read })
    }
}

/// Words of a rule, on one line. They are printed as they are, and the rules of a system below `--root` are not this
/// system's own: what could disturb a terminal or mislead a reader is refused.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Words(String);

impl Deref for Words {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Words {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl<'de> Deserialize<'de> for Words {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let read = |text: &str| match text.trim() {
            "" => Err("there are no words here".to_owned()),
            words => match words.chars().find(|c| is_hidden(*c)) {
                None => Ok(Words(words.to_owned())),
                Some('\n') => Err("these words go over several lines".to_owned()),
                Some(c) => Err(format!("there is a character in these words that is not shown: {c:?}")),
            },
        };
        deserializer.deserialize_str(Read { expected: "words", read })
    }
}

/// Whether a character is not seen, or makes others be seen as what they are not (Unicode's general categories Cc, Cf, Zl,
/// Zp, Co, and the variation selectors).
fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{600}'..='\u{605}' | '\u{61c}' | '\u{6dd}' | '\u{70f}' | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
            | '\u{e000}'..='\u{f8ff}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
            | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{10ffff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_shown_as_they_are() {
        let words = |yaml: &str| serde_yaml::from_str::<Words>(yaml).map(|words| words.to_string());
        assert_eq!(
            words("lower its limits (files, …) – “all”").unwrap(),
            "lower its limits (files, …) – “all”"
        );
        assert_eq!(words(">\n  folded\n  words\n").unwrap(), "folded words");
        for hostile in [
            r#""\e[31m""#,
            r#""a\nb""#,
            r#""\u202eb""#,
            "\"\"",
            "' '",
            r#""\x9b31m""#,
            r#""\u200b""#,
            r#""\uE000""#,
        ] {
            assert!(words(hostile).is_err(), "{hostile}");
        }
    }
}
