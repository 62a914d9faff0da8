//! Words that a process chose itself. They may hold anything; printed, they are harmless.

use std::fmt;

/// Bytes from a log or a process. `Display` escapes whatever could disturb a terminal, a file or a reader.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Untrusted(Vec<u8>);

impl Untrusted {
    /// These bytes.
    #[must_use]
    pub fn new(bytes: impl Into<Vec<u8>>) -> Self {
        Untrusted(bytes.into())
    }

    /// The bytes as they are, for comparing only.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// Whether there is nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Display for Untrusted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for chunk in self.0.utf8_chunks() {
            for c in chunk.valid().chars() {
                // Letters of any script are fine; control, format and private characters are not.
                let harmless = c.is_ascii_graphic() || c == ' ' || c.is_alphanumeric();
                if harmless && c != '\\' { write!(f, "{c}")? } else { write!(f, "{}", c.escape_default())? }
            }
            for byte in chunk.invalid() {
                write!(f, "\\x{byte:02x}")?;
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Untrusted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "'{self}'")
    }
}

impl serde::Serialize for Untrusted {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_reaches_a_terminal_raw() {
        let hostile = Untrusted::new(&b"a\x1b[31m\n\"\\\xff\xe2\x80\xae docker-\xc3\xa9"[..]);
        assert_eq!(hostile.to_string(), r#"a\u{1b}[31m\n"\\\xff\u{202e} docker-é"#);
    }
}
