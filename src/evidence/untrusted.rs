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

/// A text, as it is printed.
#[cfg(test)]
impl schemars::JsonSchema for Untrusted {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Untrusted".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        String::json_schema(generator)
    }
}

/// Whether a character does something to a terminal, or to a reader, instead of being shown. Ends of lines and
/// tabulators do no harm.
pub(crate) fn disturbs(c: char) -> bool {
    let invisible = matches!(c, '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}');
    invisible || (c.is_control() && !matches!(c, '\n' | '\t'))
}

/// A text in which names are escaped already, for a place that is one line: whatever could end it is escaped too.
pub(crate) fn one_line(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        if disturbs(c) || c.is_control() { out.extend(c.escape_default()) } else { out.push(c) }
    }
    out
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
