//! Findings: what is wrong with, or noteworthy in, somebody's unit. A finding is data with a stable code and a
//! place in the user's own file; it is never a panic and seldom an error.

use crate::unit::Span;
use serde::Serialize;

/// How much a finding matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Worth knowing.
    Note,
    /// Something does not do what it seems to do.
    Warning,
    /// The manager refuses, or drops, this part of the unit.
    Error,
}

/// The stable name of a kind of finding. Scripts rely on these: never rename one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Code {
    /// A line that is neither a setting, nor a section, nor a comment.
    BadLine,
    /// A section header without its closing bracket: the manager drops the rest of the file.
    BadSection,
    /// Bytes that are not UTF-8: the manager drops the rest of the file.
    InvalidUtf8,
    /// A line of more than 1 MiB.
    LineTooLong,
    /// A setting before the first section header.
    NoSection,
    /// A name that this system's systemd or libseccomp does not know: the manager ignores it.
    UnknownCall,
    /// A group that this system's systemd does not know: the manager ignores it.
    UnknownGroup,
    /// An errno, or action, that does not exist.
    BadErrno,
    /// An architecture that systemd does not know.
    UnknownArchitecture,
    /// An address family that systemd does not know.
    UnknownFamily,
    /// A type of namespaces that systemd does not know.
    UnknownNamespace,
    /// Links of a unit that lead round in a circle.
    AliasLoop,
    /// A unit file that could not be opened.
    UnreadableUnit,
    /// A drop-in that could not be read.
    UnreadableDropIn,
    /// A drop-in that is not read, because a mask of the same name stands in a directory above.
    MaskedDropIn,
    /// A drop-in directory that is a relative symbolic link, which systemd from 252 on ignores.
    RelativeDropInDirectory,
    /// A quoted value that does not end, or an escape that does not exist.
    BadQuoting,
    /// A value that makes the manager read the file no further.
    BadSetting,
    /// unitfix and the manager do not compute the same filter.
    PolicyDiffers,
    /// A log that cannot be read, or holds what cannot be believed.
    LogUnreadable,
    /// A log that holds no record of a forbidden call.
    NoRecord,
    /// Leftovers of a replay that was killed.
    LeftoverReplay,
}

impl Code {
    /// All of them, as unitfix(1) lists them.
    pub const ALL: [Code; 22] = [
        Code::BadLine,
        Code::BadSection,
        Code::InvalidUtf8,
        Code::LineTooLong,
        Code::NoSection,
        Code::UnknownCall,
        Code::UnknownGroup,
        Code::BadErrno,
        Code::UnknownArchitecture,
        Code::UnknownFamily,
        Code::UnknownNamespace,
        Code::AliasLoop,
        Code::UnreadableUnit,
        Code::UnreadableDropIn,
        Code::MaskedDropIn,
        Code::RelativeDropInDirectory,
        Code::BadQuoting,
        Code::BadSetting,
        Code::PolicyDiffers,
        Code::LogUnreadable,
        Code::NoRecord,
        Code::LeftoverReplay,
    ];

    /// The code as it is printed, in kebab-case.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Code::BadLine => "bad-line",
            Code::BadSection => "bad-section",
            Code::InvalidUtf8 => "invalid-utf8",
            Code::LineTooLong => "line-too-long",
            Code::NoSection => "no-section",
            Code::UnknownCall => "unknown-call",
            Code::UnknownGroup => "unknown-group",
            Code::BadErrno => "bad-errno",
            Code::UnknownArchitecture => "unknown-architecture",
            Code::UnknownFamily => "unknown-family",
            Code::UnknownNamespace => "unknown-namespace",
            Code::AliasLoop => "alias-loop",
            Code::UnreadableUnit => "unreadable-unit",
            Code::UnreadableDropIn => "unreadable-drop-in",
            Code::MaskedDropIn => "masked-drop-in",
            Code::RelativeDropInDirectory => "relative-drop-in-directory",
            Code::BadQuoting => "bad-quoting",
            Code::BadSetting => "bad-setting",
            Code::PolicyDiffers => "policy-differs",
            Code::LogUnreadable => "log-unreadable",
            Code::NoRecord => "no-record",
            Code::LeftoverReplay => "leftover-replay",
        }
    }
}

impl Serialize for Code {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

/// One finding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Which kind.
    pub code: Code,
    /// How much it matters.
    pub severity: Severity,
    /// What is so, in one sentence without a full stop.
    pub message: String,
    /// Where, when it is about a place in a file.
    pub span: Option<Span>,
}

impl Finding {
    /// A warning at a place.
    #[must_use]
    pub fn warning(code: Code, message: impl Into<String>, span: Option<Span>) -> Self {
        Finding { code, severity: Severity::Warning, message: message.into(), span }
    }

    /// An error at a place: the manager refuses or drops this part.
    #[must_use]
    pub fn error(code: Code, message: impl Into<String>, span: Option<Span>) -> Self {
        Finding { code, severity: Severity::Error, message: message.into(), span }
    }

    /// A note.
    #[must_use]
    pub fn note(code: Code, message: impl Into<String>, span: Option<Span>) -> Self {
        Finding { code, severity: Severity::Note, message: message.into(), span }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_in_kebab_case() {
        let names: std::collections::BTreeSet<_> = Code::ALL.iter().map(|code| code.name()).collect();
        assert_eq!(names.len(), Code::ALL.len());
        for name in names {
            let words = name.split('-');
            let word =
                |w: &str| !w.is_empty() && w.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
            assert!(words.clone().count() > 1 && words.clone().all(word), "{name}");
        }
    }
}
