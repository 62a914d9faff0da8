//! Names of units: systemd.unit(5), `unit_name_is_valid()` in src/basic/unit-name.c.

use std::fmt;

/// The name of a service unit, for example `docuum.service` or `getty@tty1.service`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnitName(String);

/// Why a name is not that of a service.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum BadName {
    /// Not a unit name at all.
    #[error(
        "'{0}' is not a valid unit name: letters, digits and :_.-\\@ only, 255 at the most (systemd-escape makes one of \
         any text)"
    )]
    Invalid(String),
    /// A unit of another type.
    #[error(
        "'{0}' is not a service: only services have a system call filter that unitfix can repair; `unitfix scan` finds \
         them"
    )]
    NotAService(String),
    /// `foo@.service` cannot run.
    #[error("'{0}' is a template: name an instance of it, for example {1}")]
    Template(String, String),
}

/// The suffixes of the other types of units.
const OTHER_TYPES: [&str; 10] =
    ["socket", "timer", "target", "mount", "automount", "swap", "path", "slice", "scope", "device"];

impl UnitName {
    /// Read a name as systemctl does: without a suffix, `.service` is meant.
    pub fn parse(text: &str) -> Result<Self, BadName> {
        let shown = || text.escape_debug().to_string();
        let full = match text.rsplit_once('.') {
            Some((_, "service")) => text.to_owned(),
            Some((_, suffix)) if OTHER_TYPES.contains(&suffix) => return Err(BadName::NotAService(shown())),
            _ => format!("{text}.service"),
        };
        let stem = full.strip_suffix(".service").unwrap_or_default();
        let valid = |c: char| c.is_ascii_alphanumeric() || ":_.-\\@".contains(c);
        if stem.is_empty() || stem.starts_with('@') || full.len() > 255 || !full.chars().all(valid) {
            return Err(BadName::Invalid(shown()));
        }
        if stem.ends_with('@') {
            return Err(BadName::Template(shown(), format!("{stem}1.service")));
        }
        Ok(UnitName(full))
    }

    /// The whole name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Without the suffix: `foo@bar`.
    #[must_use]
    pub fn stem(&self) -> &str {
        self.0.strip_suffix(".service").unwrap_or(&self.0)
    }

    /// What stands before the `@`: `foo` of `foo@bar.service`, `foo` of `foo.service`.
    #[must_use]
    pub fn prefix(&self) -> &str {
        self.stem().split_once('@').map_or(self.stem(), |(prefix, _)| prefix)
    }

    /// The instance: `bar` of `foo@bar.service`.
    #[must_use]
    pub fn instance(&self) -> Option<&str> {
        self.stem().split_once('@').map(|(_, instance)| instance)
    }

    /// The template: `foo@.service` of `foo@bar.service`.
    #[must_use]
    pub fn template(&self) -> Option<String> {
        self.instance().map(|_| format!("{}@.service", self.prefix()))
    }
}

impl fmt::Display for UnitName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_systemctl_reads_them() {
        assert_eq!(UnitName::parse("docuum").unwrap().as_str(), "docuum.service");
        assert_eq!(UnitName::parse("foo.bar").unwrap().as_str(), "foo.bar.service");
        let name = UnitName::parse("getty@tty1.service").unwrap();
        assert_eq!((name.prefix(), name.instance()), ("getty", Some("tty1")));
        assert_eq!(name.template().as_deref(), Some("getty@.service"));
        for bad in ["", "@x", "a/b", "../x", "a b", "x\n", ".service"] {
            assert!(matches!(UnitName::parse(bad), Err(BadName::Invalid(_))), "{bad:?}");
        }
        assert!(matches!(UnitName::parse("a.socket"), Err(BadName::NotAService(_))));
        assert!(matches!(UnitName::parse("a@.service"), Err(BadName::Template(..))));
    }
}
