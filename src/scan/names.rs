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

/// It is a new name, and there is no room for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Full;

/// The names that were met.
#[derive(Default)]
pub(super) struct Names {
    numbers: HashMap<Untrusted, Name>,
    in_order: Vec<Untrusted>,
    bytes: usize,
}

impl Names {
    /// The number of a name.
    pub(super) fn number(&mut self, name: &Untrusted) -> Result<Name, Full> {
        if let Some(number) = self.numbers.get(name) {
            return Ok(*number);
        }
        let bytes = self.bytes + name.bytes().len();
        if self.in_order.len() >= NAMES_MAX || bytes > BYTES_MAX {
            return Err(Full);
        }
        let number = Name(u32::try_from(self.in_order.len()).map_err(|_| Full)?);
        self.bytes = bytes;
        self.in_order.push(name.clone());
        self.numbers.insert(name.clone(), number);
        Ok(number)
    }

    /// The same of a name that may be missing.
    pub(super) fn number_of(&mut self, name: Option<&Untrusted>) -> Result<Option<Name>, Full> {
        name.map(|name| self.number(name)).transpose()
    }

    /// The name with a number.
    pub(super) fn name(&self, number: Name) -> Untrusted {
        usize::try_from(number.0).ok().and_then(|at| self.in_order.get(at)).cloned().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_once_and_not_too_many() {
        let mut names = Names::default();
        let first = names.number(&Untrusted::new("a")).unwrap();
        assert_eq!(names.number(&Untrusted::new("a")), Ok(first));
        assert_eq!(names.name(first), Untrusted::new("a"));
        for number in 0..2000 {
            let _ = names.number(&Untrusted::new(format!("/{number:04095}")));
        }
        assert!(names.bytes <= BYTES_MAX && names.in_order.len() > 1000);
        assert_eq!(names.number(&Untrusted::new(format!("/{:04095}", 5000))), Err(Full));
        assert_eq!(names.number(&Untrusted::new("a")), Ok(first));
    }
}
