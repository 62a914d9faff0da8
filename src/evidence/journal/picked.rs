//! The fields of an entry that anybody asks for, of whatever else it may have.

use super::Fields;
use std::borrow::Cow;
use std::ops::Range;

/// The fields that are looked at.
const LOOKED_AT: [&str; 24] = [
    "MESSAGE",
    "_TRANSPORT",
    "_AUDIT_TYPE",
    "_AUDIT_ID",
    "_SOURCE_REALTIME_TIMESTAMP",
    "__REALTIME_TIMESTAMP",
    "SYSLOG_FACILITY",
    "_HOSTNAME",
    "_BOOT_ID",
    "_SYSTEMD_UNIT",
    "_UID",
    "_PID",
    "UNIT",
    "EXIT_CODE",
    "EXIT_STATUS",
    "UNIT_RESULT",
    "COMMAND",
    "COREDUMP_UNIT",
    "COREDUMP_PID",
    "COREDUMP_SIGNAL",
    "COREDUMP_COMM",
    "COREDUMP_EXE",
    "COREDUMP_CMDLINE",
    "COREDUMP_TIMESTAMP",
];

/// One of the fields that are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::evidence) struct Name(usize);

impl Name {
    /// When the entry was received.
    pub(in crate::evidence) const RECEIVED: Name = Name(5);

    /// The field of this name, if it is one.
    pub(in crate::evidence) fn of(name: &[u8]) -> Option<Name> {
        LOOKED_AT.iter().position(|known| known.as_bytes() == name).map(Name)
    }
}

/// The fields of one entry that are looked at, each with its first value. Used again for the next entry.
#[derive(Default)]
pub(in crate::evidence) struct Picked {
    bytes: Vec<u8>,
    places: [Option<Range<usize>>; LOOKED_AT.len()],
}

impl Picked {
    /// Forget all fields.
    pub(in crate::evidence) fn clear(&mut self) {
        self.bytes.clear();
        self.places.fill(None);
    }

    /// Keep the value of a field, if it is the first one.
    pub(in crate::evidence) fn put(&mut self, name: Name, value: &[u8]) {
        if let Some(place @ None) = self.places.get_mut(name.0) {
            let begin = self.bytes.len();
            self.bytes.extend_from_slice(value);
            *place = Some(begin..self.bytes.len());
        }
    }
}

impl Fields for Picked {
    fn bytes(&self, field: &str) -> Option<Cow<'_, [u8]>> {
        let Name(at) = Name::of(field.as_bytes())?;
        self.places.get(at)?.clone().and_then(|place| self.bytes.get(place)).map(Cow::Borrowed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_value_counts() {
        assert_eq!(Name::of(b"__REALTIME_TIMESTAMP"), Some(Name::RECEIVED));
        let mut picked = Picked::default();
        let facility = Name::of(b"SYSLOG_FACILITY").unwrap();
        picked.put(facility, b"1");
        picked.put(facility, b"0");
        picked.put(Name::RECEIVED, b"7");
        assert_eq!((picked.text("SYSLOG_FACILITY").unwrap(), picked.time()), ("1".into(), Some(7)));
        picked.clear();
        assert_eq!(picked.bytes("SYSLOG_FACILITY"), None);
    }
}
