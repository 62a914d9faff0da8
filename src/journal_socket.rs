//! What unitfix itself writes into the journal, by journald's native protocol: a datagram is an entry, made of fields
//! (docs/JOURNAL_NATIVE_PROTOCOL.md of systemd).

use std::io;
use std::os::unix::net::UnixDatagram;
use std::time::Duration;

/// Where journald listens.
const SOCKET: &str = "/run/systemd/journal/socket";

/// journald takes an entry within moments, unless it hangs.
const TAKEN_WITHIN: Duration = Duration::from_secs(10);

/// An entry for the journal.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Entry(Vec<u8>);

impl Entry {
    /// Add a field; there may be several of one name. Names are of `A` to `Z`, digits and `_`, and do not begin with
    /// `_`.
    #[must_use]
    pub(crate) fn field(mut self, name: &str, value: &str) -> Self {
        self.0.extend_from_slice(name.as_bytes());
        if value.contains('\n') {
            self.0.push(b'\n');
            self.0.extend_from_slice(&(value.len() as u64).to_le_bytes());
        } else {
            self.0.push(b'=');
        }
        self.0.extend_from_slice(value.as_bytes());
        self.0.push(b'\n');
        self
    }

    /// Hand it to journald.
    pub(crate) fn send(&self) -> io::Result<()> {
        let socket = UnixDatagram::unbound()?;
        socket.set_write_timeout(Some(TAKEN_WITHIN))?;
        socket.send_to(&self.0, SOCKET).map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_of_several_lines_has_its_length_before_it() {
        let entry = Entry::default().field("PRIORITY", "4").field("MESSAGE", "é\nB=2").field("A", "");
        assert_eq!(entry.0, b"PRIORITY=4\nMESSAGE\n\x06\0\0\0\0\0\0\0\xc3\xa9\nB=2\nA=\n");
    }
}
