//! Values that systemd takes for grave mistakes: it reads the file no further. A unit file then fails to load, and of a
//! drop-in only what comes before counts (`ENOEXEC` in src/core/load-fragment.c; seen on 247, 252 and 262).

use super::{Setting, exec, parse_boolean};

/// Why the manager refuses a setting, if it does.
pub(super) fn why(setting: &Setting, version: u32) -> Option<&'static str> {
    if setting.section != "Service" {
        return None;
    }
    let text = setting.value.text.as_str();
    let is_relative =
        |others: &[char]| !text.is_empty() && !text.starts_with(['/', '%']) && !text.starts_with(others);
    match setting.key.as_str() {
        "WorkingDirectory" if is_relative(&['-', '~']) => Some("this path is not absolute"),
        "RootDirectory" | "RootImage" if is_relative(&[]) => Some("this path is not absolute"),
        "DynamicUser" if parse_boolean(text).is_none() => Some("this is neither yes nor no"),
        key if exec::Stage::ALL.iter().any(|stage| stage.key() == key) => exec::refused(setting, version),
        _ => None,
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
        ] {
            assert!(!refused(line), "{line}");
        }
    }
}
