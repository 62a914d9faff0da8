//! Findings: what is wrong with, or noteworthy in, somebody's unit. A finding is data with a stable code and a
//! place in the user's own file; it is never a panic and seldom an error.

use crate::unit::Span;
use serde::Serialize;

/// How much a finding matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
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
    /// An empty line takes the whole filter back.
    ResetLeavesNoFilter,
    /// A deny list with nothing on it, which is no filter at all.
    EmptiedDenyList,
    /// An errno on an allow list, which systemd before 248 forgets.
    ErrnoOnAllowList,
    /// An errno at a word that allows a call.
    ErrnoWithoutTilde,
    /// An errno that is what the filter does anyway: the service does not start.
    ErrnoIsDefault,
    /// An errno for `write`, which systemd has to let through.
    ErrnoOnWrite,
    /// An errno that the kernel does not have: the service does not start.
    ErrnoTooHigh,
    /// A setting in a section in which it does not count.
    WrongSection,
    /// A setting in the wrong case, which systemd does not know.
    MisspeltSetting,
    /// A value that is neither yes nor no.
    BadBoolean,
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
    /// A log that cannot be read.
    LogUnreadable,
    /// A log with places that are cut, or not as the kernel writes them.
    LogDamaged,
    /// Records that count for nothing, or may have counted twice: there are too many, or they do not say when they were
    /// written.
    RecordsLeftOut,
    /// A log that holds no record of a forbidden call.
    NoRecord,
    /// The stacks of denied calls were asked for, and cannot be had.
    NoStack,
    /// There are more findings than are shown.
    MoreFindings,
    /// The unit is masked.
    MaskedUnit,
    /// No service manager runs here: what it would say cannot be asked.
    NoManager,
    /// Leftovers of a replay that was killed.
    LeftoverReplay,
    /// Leftovers of a repair whose run was killed.
    LeftoverRepair,
}

impl Code {
    /// All of them, as unitfix-findings(7) lists them.
    pub const ALL: &[Code] = &[
        Code::BadLine,
        Code::BadSection,
        Code::InvalidUtf8,
        Code::LineTooLong,
        Code::NoSection,
        Code::UnknownCall,
        Code::UnknownGroup,
        Code::BadErrno,
        Code::ResetLeavesNoFilter,
        Code::EmptiedDenyList,
        Code::ErrnoOnAllowList,
        Code::ErrnoWithoutTilde,
        Code::ErrnoIsDefault,
        Code::ErrnoOnWrite,
        Code::ErrnoTooHigh,
        Code::WrongSection,
        Code::MisspeltSetting,
        Code::BadBoolean,
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
        Code::LogDamaged,
        Code::RecordsLeftOut,
        Code::NoRecord,
        Code::NoStack,
        Code::MoreFindings,
        Code::MaskedUnit,
        Code::NoManager,
        Code::LeftoverReplay,
        Code::LeftoverRepair,
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
            Code::ResetLeavesNoFilter => "reset-leaves-no-filter",
            Code::EmptiedDenyList => "emptied-deny-list",
            Code::ErrnoOnAllowList => "errno-on-allow-list",
            Code::ErrnoWithoutTilde => "errno-without-tilde",
            Code::ErrnoIsDefault => "errno-is-default",
            Code::ErrnoOnWrite => "errno-on-write",
            Code::ErrnoTooHigh => "errno-too-high",
            Code::WrongSection => "wrong-section",
            Code::MisspeltSetting => "misspelt-setting",
            Code::BadBoolean => "bad-boolean",
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
            Code::LogDamaged => "log-damaged",
            Code::RecordsLeftOut => "records-left-out",
            Code::NoRecord => "no-record",
            Code::NoStack => "no-stack",
            Code::MoreFindings => "more-findings",
            Code::MaskedUnit => "masked-unit",
            Code::NoManager => "no-manager",
            Code::LeftoverReplay => "leftover-replay",
            Code::LeftoverRepair => "leftover-repair",
        }
    }

    /// What to do about it, in one sentence.
    #[must_use]
    pub fn advice(self) -> &'static str {
        match self {
            Code::BadLine => "Remove the line, or begin it with # if it is a comment",
            Code::BadSetting => "Correct it: what follows does not count, and a unit file is refused",
            Code::BadSection => "Close the bracket, so that the rest of the file counts",
            Code::InvalidUtf8 => "Save the file as UTF-8, so that the rest of it counts",
            Code::LineTooLong => "Split the line",
            Code::NoSection => "Put [Service] above it",
            Code::UnknownCall | Code::UnknownFamily => {
                "Remove the word, or correct it: it allows or forbids nothing here"
            }
            Code::UnknownGroup => "Name the calls themselves: this systemd has no such group",
            Code::BadErrno => "Write an errno of errno(3), a number up to 4094, or kill",
            Code::ResetLeavesNoFilter => "Add a filter behind it, if the service is to have one",
            Code::EmptiedDenyList => "Begin with an empty SystemCallFilter= and state the list anew",
            Code::ErrnoOnAllowList => "Take the call off with ~ and no errno, or upgrade systemd",
            Code::ErrnoWithoutTilde => "Put the word on a line that begins with ~",
            Code::ErrnoIsDefault => "Remove the errno from the word, or choose another one",
            Code::ErrnoOnWrite => "Take write off with ~ and no errno",
            Code::ErrnoTooHigh => "Choose an errno below 4095",
            Code::WrongSection => "Move the line below [Service]",
            Code::MisspeltSetting => "Write the setting as systemd does",
            Code::BadBoolean => "Write yes or no",
            Code::UnknownArchitecture => "Write an architecture of systemd.exec(5), for example native",
            Code::UnknownNamespace => "Write a type of systemd.exec(5), for example user",
            Code::AliasLoop => "Remove one of the links",
            Code::MaskedDropIn => "Remove the mask, if the drop-in is to count",
            Code::UnreadableDropIn | Code::UnreadableUnit => "Look at its permissions and at the disk",
            Code::RelativeDropInDirectory => "Make it a real directory, or an absolute link",
            Code::BadQuoting => "Close the quotation",
            Code::PolicyDiffers => "Look at `systemctl show` for what is enforced",
            Code::LogUnreadable => "See that the log is there and whole, and that you may read it",
            Code::LogDamaged => "Look at the log there; all else of it was read",
            Code::RecordsLeftOut => "Give fewer logs at once, or no time",
            Code::NoRecord => "Give a log of the time when the service failed",
            Code::NoStack => "Replay the unit where it runs, which may show them",
            Code::MoreFindings => "Look whether this is a unit file at all",
            Code::MaskedUnit => "Run `systemctl unmask`, if it is to run",
            Code::NoManager => "Name the systemd it is for with --systemd",
            Code::LeftoverReplay => "Run `unitfix status` to see what is left",
            Code::LeftoverRepair => "Run `unitfix status` to see what is in force",
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
