//! Rules of the administrator: `/etc/unitfix/rules.d/*.yaml`, in the order of their names. They come before those that
//! unitfix brings along. If one of the files is broken, none of them counts.

use super::calls::CallWords;
use super::families::Family;
use super::names::{CallName, Read, within};
use super::place::{Step, place};
use super::risk::RiskRule;
use crate::evidence::Untrusted;
use crate::root::Root;
use crate::trust;
use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, MapAccess, Visitor};
use std::collections::BTreeMap;
use std::fmt;
use std::io::Read as _;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Where the files are.
pub const FOLDER: &str = "/etc/unitfix/rules.d";

/// So many files are read.
const FILES_MAX: usize = 100;
/// No file of rules is larger.
const SIZE_MAX: u64 = 1 << 20;

/// The rules of one file, or of several.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct UserRules {
    /// As in rules/calls/*.yaml.
    #[serde(default, deserialize_with = "each_once")]
    pub(super) calls: BTreeMap<CallName, CallWords>,
    /// As in rules/families.yaml.
    #[serde(default)]
    pub(super) families: Vec<Family>,
    /// As in rules/risk.yaml.
    #[serde(default)]
    pub(super) risk: Vec<RiskRule>,
}

/// What is wrong with the rules of the administrator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RulesError {
    path: PathBuf,
    at: Option<Line>,
    message: String,
}

/// A line and a column in it, both from 1, and the line's text.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Line {
    number: usize,
    column: usize,
    text: String,
}

impl std::error::Error for RulesError {}

impl fmt::Display for RulesError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = crate::unit::shown_path(&self.path);
        let message = Untrusted::new(self.message.as_str());
        match &self.at {
            None => write!(f, "{path}: {message}")?,
            Some(Line { number, column, text }) => {
                // escapes are wider than what they stand for, so the caret is put below what is shown
                let shown = |text: &str| Untrusted::new(text.replace('\t', " ")).to_string();
                let before: String = text.chars().take(column.saturating_sub(1)).collect();
                let caret = " ".repeat(shown(&before).chars().count());
                write!(f, "{path}:{number}:{column}: {message}\n    {}\n    {caret}^", shown(text))?;
            }
        }
        f.write_str("\nno rule of any file there counts until this is mended or taken away")
    }
}

/// Whether the bytes of a file are rules.
pub(super) fn check(path: &Path, bytes: &[u8]) -> Result<(), RulesError> {
    Gathered::default().add(File { path, text: utf8(path, bytes)? })
}

fn utf8<'a>(path: &Path, bytes: &'a [u8]) -> Result<&'a str, RulesError> {
    std::str::from_utf8(bytes).map_err(|error| {
        let before = bytes.get(..error.valid_up_to()).unwrap_or_default();
        let number = before.split(|b| *b == b'\n').count();
        let text = String::from_utf8_lossy(before.rsplit(|b| *b == b'\n').next().unwrap_or_default());
        let at = Line { number, column: text.chars().count() + 1, text: text.into_owned() };
        RulesError { path: path.to_owned(), at: Some(at), message: "this is not UTF-8".to_owned() }
    })
}

/// A file of rules, for what is said of it.
#[derive(Clone, Copy)]
struct File<'a> {
    path: &'a Path,
    text: &'a str,
}

impl File<'_> {
    /// Read its rules.
    fn rules(&self) -> Result<UserRules, RulesError> {
        if self.text.lines().all(|line| line.trim().is_empty() || line.trim_start().starts_with('#')) {
            return Ok(UserRules::default());
        }
        // no text is longer than it stands there, but for a few escapes
        let rules: Result<UserRules, _> = within(2 * self.text.len(), || serde_yaml::from_str(self.text));
        let rules = rules.map_err(|error| {
            let message = error.to_string();
            let at = error.location().map(|at| (at.line(), at.column()));
            // the place is said before
            let end = message.rfind(" at line ").filter(|_| at.is_some()).unwrap_or(message.len());
            self.broken(at, message.get(..end).unwrap_or_default().to_owned())
        })?;
        for (at, family) in rules.families.iter().enumerate() {
            if let Some((steps, message)) = family.fault() {
                let steps = [vec![Step::Key("families"), Step::Item(at)], steps].concat();
                return Err(self.broken_at(&steps, message));
            }
        }
        Ok(rules)
    }

    fn broken(&self, at: Option<(usize, usize)>, message: String) -> RulesError {
        const SHOWN: usize = 160;
        let line = |(number, column): (usize, usize)| {
            // of what is missing at the end, serde_yaml tells the line after the last
            let text = self.text.lines().nth(number.saturating_sub(1)).unwrap_or_default();
            Line { number: number.max(1), column: column.max(1), text: text.chars().take(SHOWN).collect() }
        };
        RulesError { path: self.path.to_owned(), at: at.map(line), message }
    }

    fn broken_at(&self, steps: &[Step], message: String) -> RulesError {
        self.broken(place(self.text, steps), message)
    }
}

/// A mapping in which no call may stand twice: serde_yaml would keep the last one, and say nothing.
fn each_once<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<CallName, CallWords>, D::Error> {
    struct Calls;

    impl<'de> Visitor<'de> for Calls {
        type Value = BTreeMap<CallName, CallWords>;

        fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
            f.write_str("names of system calls, each with what is known of it")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut calls = BTreeMap::new();
            while let Some(name) = map.next_key_seed(NewName(&calls))? {
                let words = map.next_value()?;
                calls.insert(name, words);
            }
            Ok(calls)
        }
    }

    struct NewName<'a>(&'a BTreeMap<CallName, CallWords>);

    impl<'de> DeserializeSeed<'de> for NewName<'_> {
        type Value = CallName;

        fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<CallName, D::Error> {
            let read = |name: &str| match CallName::read(name)? {
                name if self.0.contains_key(&name) => Err(format!("{} stands here twice", &*name)),
                name => Ok(name),
            };
            deserializer.deserialize_str(Read { expected: "the name of a system call", read })
        }
    }

    deserializer.deserialize_map(Calls)
}

/// Read all files below a root.
pub(super) fn load(root: &Root) -> Result<UserRules, RulesError> {
    let folder = Path::new(FOLDER);
    let failed = |path: &Path, message: String| RulesError { path: path.to_owned(), at: None, message };
    let names = root.list(folder).map_err(|error| failed(folder, error.to_string()))?;
    // hidden ones are what editors leave while they work
    let is_rules = |name: &&std::ffi::OsString| {
        Path::new(name).extension().is_some_and(|extension| extension == "yaml")
            && !name.as_bytes().starts_with(b".")
    };
    let names: Vec<_> = names.iter().filter(is_rules).collect();
    if names.is_empty() {
        return Ok(UserRules::default());
    }
    if names.len() > FILES_MAX {
        return Err(failed(folder, format!("there are more than {FILES_MAX} files of rules")));
    }
    trust::folder(root, folder).map_err(|message| failed(folder, message))?;
    let mut gathered = Gathered::default();
    for name in names {
        let path = folder.join(name);
        let bytes = read(root, &path).map_err(|message| failed(&path, message))?;
        gathered.add(File { path: &path, text: utf8(&path, &bytes)? })?;
    }
    Ok(gathered.rules)
}

fn read(root: &Root, path: &Path) -> Result<Vec<u8>, String> {
    let file = root.open_file(path).map_err(|error| error.to_string())?;
    trust::file(root, path, &file)?;
    let mut bytes = Vec::new();
    file.take(SIZE_MAX + 1).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    if bytes.len() as u64 > SIZE_MAX {
        return Err("it is larger than 1 MiB".to_owned());
    }
    Ok(bytes)
}

/// The rules of the files so far, and which file it was that knew a call.
#[derive(Default)]
struct Gathered {
    rules: UserRules,
    in_family: BTreeMap<CallName, PathBuf>,
    described: BTreeMap<CallName, PathBuf>,
}

impl Gathered {
    /// Add those of a file. What two files say of one call may contradict, and the order of their names should not
    /// decide which is right.
    fn add(&mut self, file: File) -> Result<(), RulesError> {
        let rules = file.rules()?;
        for (nth, family) in rules.families.iter().enumerate() {
            for (at, call) in family.calls.iter().enumerate() {
                if let Some(other) = self.in_family.insert(call.clone(), file.path.to_owned()) {
                    let steps = [Step::Key("families"), Step::Item(nth), Step::Key("calls"), Step::Item(at)];
                    return Err(file.broken_at(&steps, already(call, "in a family", file.path, &other)));
                }
            }
        }
        for call in rules.calls.keys() {
            if let Some(other) = self.described.insert(call.clone(), file.path.to_owned()) {
                let message = already(call, "described", file.path, &other);
                return Err(file.broken_at(&[Step::Key("calls"), Step::Name(call)], message));
            }
        }
        self.rules.calls.extend(rules.calls);
        self.rules.families.extend(rules.families);
        self.rules.risk.extend(rules.risk);
        Ok(())
    }
}

fn already(call: &str, what: &str, path: &Path, other: &Path) -> String {
    let place = if path == other { String::new() } else { format!(", in {}", other.display()) };
    format!("{call} is {what} already{place}")
}

#[cfg(test)]
mod tests;
