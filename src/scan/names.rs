//! Names from logs, each kept once and known by a number: many records have few names. However many different ones a
//! log has, they take bounded memory.

use crate::evidence::Untrusted;
use std::collections::HashMap;

/// So many different names are kept.
const NAMES_MAX: usize = 50_000;

/// What they may take: of paths of the kernel's full length not that many are kept.
const BYTES_MAX: usize = 4 << 20;

/// The number of a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Name(u32);

/// The names that were met.
#[derive(Default)]
pub(super) struct Names {
    numbers: HashMap<Untrusted, Name>,
    names: Vec<Untrusted>,
    bytes: usize,
}

impl Names {
    /// The number of a name; nothing where it is a new one and there is no room for it.
    pub(super) fn number(&mut self, name: &Untrusted) -> Option<Name> {
        if let Some(number) = self.numbers.get(name) {
            return Some(*number);
        }
        let bytes = self.bytes + name.bytes().len();
        if self.names.len() >= NAMES_MAX || bytes > BYTES_MAX {
            return None;
        }
        let number = Name(u32::try_from(self.names.len()).ok()?);
        self.bytes = bytes;
        self.names.push(name.clone());
        self.numbers.insert(name.clone(), number);
        Some(number)
    }

    /// The same of a name that may be missing: nothing only where there is no room.
    pub(super) fn number_of(&mut self, name: Option<&Untrusted>) -> Option<Option<Name>> {
        match name {
            None => Some(None),
            Some(name) => self.number(name).map(Some),
        }
    }

    /// The name with a number.
    pub(super) fn name(&self, number: Name) -> Untrusted {
        usize::try_from(number.0).ok().and_then(|at| self.names.get(at)).cloned().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_once_and_not_too_many() {
        let mut names = Names::default();
        let first = names.number(&Untrusted::new("a")).unwrap();
        assert_eq!(names.number(&Untrusted::new("a")), Some(first));
        assert_eq!(names.name(first), Untrusted::new("a"));
        for number in 0..2000 {
            names.number(&Untrusted::new(format!("/{number:04095}")));
        }
        assert!(names.bytes <= BYTES_MAX && names.names.len() > 1000);
        assert_eq!(names.number(&Untrusted::new(format!("/{:04095}", 5000))), None);
        assert_eq!(names.number(&Untrusted::new("a")), Some(first));
    }
}
