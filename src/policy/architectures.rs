//! `SystemCallArchitectures=`: whose calls are let in besides the native architecture's.
//! `config_parse_syscall_archs()` in src/core/load-fragment.c.

use super::Token;
use super::words::{Quotes, words};
use crate::finding::{Code, Finding};
use crate::syscalls::Arch;
use crate::unit::Unit;
use std::collections::{BTreeMap, BTreeSet};

const SETTING: &str = "SystemCallArchitectures";

/// The architectures that a unit names: the lines add up, an empty one takes all back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Architectures {
    /// As they are written, each with the token that named it first.
    names: BTreeMap<String, Token>,
    /// The token that was read last.
    last: Option<Token>,
}

impl Architectures {
    /// Read the setting as systemd of this major version does.
    #[must_use]
    pub fn evaluate(unit: &Unit, version: u32, findings: &mut Vec<Finding>) -> Self {
        let mut out = Architectures::default();
        for setting in unit.service(SETTING) {
            let value = &setting.value;
            if value.text.is_empty() {
                out = Architectures::default();
            }
            let words = words(&value.text, Quotes::Removed);
            for word in words.found {
                let token = Token { text: word.text.clone(), setting: SETTING, span: value.span(word.range) };
                if known(&word.text, version) {
                    out.names.entry(word.text).or_insert_with(|| token.clone());
                    out.last = Some(token);
                } else {
                    let message =
                        format!("'{}' is no architecture that systemd knows: it is ignored", word.text);
                    findings.push(Finding::warning(Code::UnknownArchitecture, message, Some(token.span)));
                }
            }
            findings.extend(words.broken.map(|range| super::broken_words(value, range)));
        }
        out
    }

    /// The names as the manager shows them, sorted. `native` stays `native`.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.names.keys().map(String::as_str)
    }

    /// The architectures that are let in, as far as unitfix has names for their calls, and the token read last;
    /// nothing where the setting is not in force.
    #[must_use]
    pub fn admitted(&self) -> Option<(BTreeSet<Arch>, Token)> {
        let admitted = self.names().filter_map(Arch::from_systemd_name).collect();
        Some((admitted, self.last.clone()?))
    }
}

/// `seccomp_arch_from_string()`.
fn known(name: &str, version: u32) -> bool {
    let elsewhere = KNOWN_ELSEWHERE.iter().find(|(known, _)| *known == name);
    Arch::from_systemd_name(name).is_some() || elsewhere.is_some_and(|(_, since)| version >= *since)
}

/// Architectures whose calls unitfix has no names for, each with the oldest version of systemd that was seen to take
/// it (asked: 247, 252, 257 and 262).
const KNOWN_ELSEWHERE: [(&str, u32); 14] = [
    ("loongarch64", 257),
    ("mips", 0),
    ("mips64", 0),
    ("mips64-n32", 0),
    ("mips-le", 0),
    ("mips64-le", 0),
    ("mips64-le-n32", 0),
    ("parisc", 252),
    ("parisc64", 252),
    ("ppc", 0),
    ("ppc64", 0),
    ("ppc64-le", 0),
    ("s390", 0),
    ("s390x", 0),
];

#[cfg(test)]
mod tests {
    use super::super::tests::unit;
    use super::*;

    #[test]
    fn lines_add_up_and_unknown_names_are_void() {
        let mut findings = Vec::new();
        let unit = unit(
            "SystemCallArchitectures=x86\nSystemCallArchitectures=\n\
             SystemCallArchitectures=x86-64 native \"arm\" bogus\nSystemCallArchitectures=parisc \"mips\n",
        );
        let found = Architectures::evaluate(&unit, 247, &mut findings);
        assert_eq!(found.names().collect::<Vec<_>>(), ["arm", "native", "x86-64"]);
        let codes: Vec<_> = findings.iter().map(|f| f.code.name()).collect();
        assert_eq!(codes, ["unknown-architecture", "unknown-architecture", "bad-quoting"]);
        let found = Architectures::evaluate(&unit, 252, &mut findings);
        assert_eq!(found.names().collect::<Vec<_>>(), ["arm", "native", "parisc", "x86-64"]);
    }

    #[test]
    fn only_unknown_names_leave_it_unset() {
        let found = Architectures::evaluate(&unit("SystemCallArchitectures=bogus"), 252, &mut Vec::new());
        assert_eq!(found.admitted(), None);
    }
}
