//! Values that systemd takes for grave mistakes: it reads the file no further. A unit file then fails to load, and of a
//! drop-in only what comes before counts (`ENOEXEC` in src/core/load-fragment.c; seen on 247, 252, 257 and 262).
//! Where a value depends on what a specifier stands for, it is taken for a good one.

use super::{Setting, exec, parse_boolean};

/// From this version on (seen on 252, not on 247), a part of a path and a whole path may only be so long.
const PATHS_ARE_SHORT_FROM: u32 = 252;

/// From this version on (seen on 257, not on 252), a path to a program does not end with a dot or two, and dots at the
/// start of a folder's path lead nowhere.
const DOTS_ARE_FOLDERS_FROM: u32 = 257;

/// From this version on, `|` runs a command through a shell.
const SHELLS_FROM: u32 = 258;

/// From this version on (seen on 262, not on 257), a path to a program holds no wildcards.
const NO_WILDCARDS_FROM: u32 = 262;

/// Specifiers that are newer than others (seen on this version, not on the one before of 247, 252 and 257).
const NEW_SPECIFIERS: [(char, u32); 7] =
    [('d', 252), ('q', 252), ('y', 252), ('Y', 252), ('A', 252), ('M', 252), ('D', 257)];

/// The specifiers of every version.
const SPECIFIERS: &str = "abcfghijlmnoprstuvwBCEGHIJLNPRSTUVW";

/// The longest part of a path (`NAME_MAX`).
const NAME_MAX: usize = 255;

/// The longest path, with its end (`PATH_MAX`).
const PATH_MAX: usize = 4096;

/// Why the manager refuses a setting, if it does.
pub(super) fn why(setting: &Setting, version: u32) -> Option<&'static str> {
    if setting.section != "Service" {
        return None;
    }
    let text = setting.value.text.as_str();
    match setting.key.as_str() {
        "DynamicUser" if parse_boolean(text).is_none() => Some("this is neither yes nor no"),
        key if exec::Stage::ALL.iter().any(|stage| stage.key() == key) => commands(text, version),
        _ if text.is_empty() => None,
        "User" | "Group" => user(text, version),
        // a backslash is taken away here, whatever it stands before
        "SupplementaryGroups" if text.contains('\\') => None,
        "SupplementaryGroups" => text.split_ascii_whitespace().find_map(|name| user(name, version)),
        "WorkingDirectory" if text.starts_with('-') || text == "~" => None,
        "WorkingDirectory" | "RootDirectory" | "RootImage" | "RootVerity" => folder(text, version),
        _ => None,
    }
}

/// A text whose specifiers are replaced by something that nothing is wrong with.
struct Expanded {
    text: String,
    /// Whether it is all of the text.
    whole: bool,
}

/// Replace specifiers (`specifier_printf()`). None if there is one that this version does not know.
fn expand(text: &str, version: u32) -> Option<Expanded> {
    let mut out = Expanded { text: String::new(), whole: true };
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match chars.peek().copied().filter(|_| c == '%') {
            Some('%') => out.text.push('%'),
            Some(letter) if letter.is_ascii_alphanumeric() => {
                let is_new = NEW_SPECIFIERS.iter().any(|(new, from)| *new == letter && version >= *from);
                if !is_new && !SPECIFIERS.contains(letter) {
                    return None;
                }
                // the unit's name never begins with a slash; others may
                let is_name = matches!(letter, 'n' | 'N' | 'p');
                out.text.push_str(if out.text.is_empty() && !is_name { "/x" } else { "x" });
                out.whole = false;
            }
            _ => {
                out.text.push(c);
                continue;
            }
        }
        chars.next();
    }
    Some(out)
}

const UNKNOWN_SPECIFIER: &str = "there is no such specifier";

/// `valid_user_group_name()` in src/basic/user-util.c, the relaxed way.
fn user(text: &str, version: u32) -> Option<&'static str> {
    let Some(expanded) = expand(text, version) else { return Some(UNKNOWN_SPECIFIER) };
    let name = expanded.text.as_str();
    if !expanded.whole {
        return None;
    }
    let is_number = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    if is_number(name) {
        let id: Option<u32> = name.parse().ok();
        let is_one =
            id.is_some_and(|id| id != 65535 && id != u32::MAX) && (name == "0" || !name.starts_with('0'));
        return (!is_one).then_some("this is not the number of a user or group");
    }
    let is_bad = name == "."
        || name == ".."
        || name.contains([':', '/'])
        || name.contains(is_control)
        || name.strip_prefix('-').is_some_and(is_number);
    is_bad.then_some("this is not the name of a user or group")
}

fn is_control(c: char) -> bool {
    c.is_ascii_control()
}

/// `path_simplify_and_warn()` in src/shared/parse-helpers.c.
fn folder(text: &str, version: u32) -> Option<&'static str> {
    let Some(Expanded { text: path, .. }) = expand(text, version) else { return Some(UNKNOWN_SPECIFIER) };
    if !path.starts_with('/') {
        return Some("this path is not absolute");
    }
    if path.len() >= PATH_MAX || is_part_too_long(&path, version) {
        return Some("this path is too long");
    }
    let parts = path.split('/').filter(|part| !matches!(*part, "" | "."));
    let mut parts = parts.skip_while(|part| version >= DOTS_ARE_FOLDERS_FROM && *part == "..");
    parts.any(|part| part == "..").then_some("this path leads upwards")
}

fn is_part_too_long(path: &str, version: u32) -> bool {
    version >= PATHS_ARE_SHORT_FROM && path.split('/').any(|part| part.len() > NAME_MAX)
}

/// `config_parse_exec()`. What is wrong with a command that begins with `-` is passed over, and with it the rest of
/// the line.
fn commands(line: &str, version: u32) -> Option<&'static str> {
    let mut rest = line.trim_start();
    while !rest.is_empty() {
        // an open quotation around the program itself is passed over
        let (first, length) = exec::first_word(rest).ok()?;
        rest = rest[length..].trim_start();
        if first == ";" {
            continue;
        }
        let prefixes = Prefixes::read(&first, version);
        let refused = |why: &'static str| (!prefixes.ignores).then_some(why);
        if let Some(why) = prefixes.program(&first[prefixes.length..], version) {
            return refused(why);
        }
        let mut words = usize::from(!prefixes.argv0);
        loop {
            if rest.is_empty() {
                break;
            }
            if let Some(next) = rest.strip_prefix(';').filter(|next| ends_word(next)) {
                rest = next.trim_start();
                break;
            }
            words += 1;
            if let Some(next) = rest.strip_prefix("\\;").filter(|next| ends_word(next)) {
                rest = next.trim_start();
                continue;
            }
            let Ok((word, length)) = exec::first_word(rest) else {
                return refused("the quotation of this command does not end, or an escape does not exist");
            };
            if expand(&word, version).is_none() {
                return refused(UNKNOWN_SPECIFIER);
            }
            rest = rest[length..].trim_start();
        }
        if words == 0 && !prefixes.shell {
            return refused("'@' wants a second word");
        }
    }
    None
}

fn ends_word(rest: &str) -> bool {
    rest.is_empty() || rest.starts_with([' ', '\t', '\n', '\r'])
}

/// The special characters in front of a command, as far as they decide over what is refused.
#[derive(Default)]
struct Prefixes {
    ignores: bool,
    argv0: bool,
    shell: bool,
    length: usize,
}

impl Prefixes {
    fn read(word: &str, version: u32) -> Self {
        let mut found = Prefixes::default();
        // `+`, `!` and `!!` exclude each other
        let (mut no_variables, mut privileges) = (false, "");
        for c in word.chars() {
            match (c, privileges) {
                ('-', _) if !found.ignores => found.ignores = true,
                ('@', _) if !found.argv0 => found.argv0 = true,
                (':', _) if !no_variables => no_variables = true,
                ('|', _) if !found.shell && version >= SHELLS_FROM => found.shell = true,
                ('+', "") => privileges = "+",
                ('!', "") => privileges = "!",
                ('!', "!") => privileges = "!!",
                _ => break,
            }
            found.length += 1;
        }
        found
    }

    /// What is wrong with the program behind the prefixes.
    fn program(&self, word: &str, version: u32) -> Option<&'static str> {
        if self.shell {
            return None; // it is the shell
        }
        let Some(Expanded { text: path, .. }) = expand(word, version) else { return Some(UNKNOWN_SPECIFIER) };
        let is_special = |c: char| {
            is_control(c)
                || matches!(c, '"' | '\'' | '\\')
                || version >= NO_WILDCARDS_FROM && matches!(c, '*' | '?' | '[')
        };
        let last = path.rsplit('/').next().unwrap_or_default();
        let is_folder = last.is_empty()
            || version >= DOTS_ARE_FOLDERS_FROM && matches!(last, "." | "..")
            || matches!(path.as_str(), "." | "..");
        if is_folder {
            return Some("this command names no program");
        }
        if path.contains(is_special) {
            return Some("the path of this command has a special character");
        }
        if path.contains('/') && !path.starts_with('/') {
            return Some("the path of this command is not absolute");
        }
        let is_too_long = version >= PATHS_ARE_SHORT_FROM && path.len() >= PATH_MAX;
        (is_too_long || is_part_too_long(&path, version)).then_some("the path of this command is too long")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::unit::{SourceFile, syntax};

    /// Recorded from running managers.
    #[test]
    fn what_the_managers_refuse() {
        let refused = |line: &str| {
            let file = SourceFile::new("x.service", format!("[Service]\n{line}\n"));
            why(&syntax::parse_as(&file, u32::MAX).settings[0], 262).is_some()
        };
        for line in [
            "ExecStart=/bin/true \"open",
            "ExecStart=./true",
            "ExecStart=/bin/",
            "ExecStart=@/bin/true",
            "ExecStop=/bin/true \"open",
            "ExecStart=\"\" x",
            "ExecReload=/bin/kill \"x",
            "ExecCondition=/x \"",
            "WorkingDirectory=x",
            "RootDirectory=x",
            "RootImage=x",
            "DynamicUser=foo",
            "User=a/b",
            "User=012",
            "User=%Z",
            "Group=4294967295",
            "SupplementaryGroups=x a/b",
            "WorkingDirectory=~x",
            "WorkingDirectory=/a/../b",
            "RootVerity=x",
            "RootDirectory=/%Z",
            "ExecStart=.",
            "ExecStart=%%/x",
            "ExecStart=!!!/x",
            "ExecStart=!+/x",
            "ExecStart=/bin/tr\\x01ue",
            "ExecStart=/bin/tr?ue*",
            "ExecStart=/.",
        ] {
            assert!(refused(line), "{line}");
        }
        for line in [
            "ExecStart=true",
            "ExecStart=",
            "ExecStart=-",
            "ExecStart=-/bin/true \"open",
            "ExecStart=/bin/true ; \"open",
            "ExecStart=/no/such",
            "WorkingDirectory=-x",
            "WorkingDirectory=~",
            "User=a b",
            "Type=foo",
            "ExecStop=-./true ; ./true",
            "ExecStart=|x/y",
            "WorkingDirectory=/../b",
            "User=+5",
            "User=%i",
        ] {
            assert!(!refused(line), "{line}");
        }
    }
}
