//! An entry of the journal as its fields, whatever it was read from: what journalctl prints, or a journal file.

use std::borrow::Cow;

/// The fields of one entry. journald lets an entry have a field more than once; the first one counts.
pub(crate) trait Fields {
    /// The bytes of a field; nothing where the entry lacks it, or it cannot be read.
    fn bytes(&self, field: &str) -> Option<Cow<'_, [u8]>>;

    /// A field that is text.
    fn text(&self, field: &str) -> Option<Cow<'_, str>> {
        match self.bytes(field)? {
            Cow::Borrowed(bytes) => std::str::from_utf8(bytes).ok().map(Cow::Borrowed),
            Cow::Owned(bytes) => String::from_utf8(bytes).ok().map(Cow::Owned),
        }
    }

    /// A field that is a number.
    fn number<T: std::str::FromStr>(&self, field: &str) -> Option<T> {
        self.text(field)?.parse().ok()
    }

    /// When it was written, or received, in microseconds since the epoch.
    fn time(&self) -> Option<u64> {
        self.number("_SOURCE_REALTIME_TIMESTAMP").or_else(|| self.number("__REALTIME_TIMESTAMP"))
    }
}
