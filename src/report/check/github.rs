//! The report of a check as workflow commands of GitHub Actions, which become annotations of the lines that decided:
//! `::error file=NAME,line=1,col=2::MESSAGE` (docs.github.com, "Workflow commands for GitHub Actions").

use super::{CheckReport, Remark};
use crate::evidence::one_line;
use crate::finding::Severity;
use crate::unit::shown_path;
use std::fmt::Write as _;

impl CheckReport {
    /// One command a line; for what has no place in a file, one without it.
    #[must_use]
    pub fn github(&self) -> String {
        let mut out = String::new();
        for remark in self.remarks() {
            let name = match remark.severity {
                Severity::Error => "error",
                Severity::Warning => "warning",
                Severity::Note => "notice",
            };
            let _ = writeln!(out, "::{name} {}::{}", self.properties(&remark), data(&remark.message));
        }
        let (name, title) =
            if self.exit_status == 0 { ("notice", "unitfix") } else { ("error", "unitfix check") };
        let _ = writeln!(out, "::{name} title={}::{}", property(title), data(&self.ending));
        out
    }

    fn properties(&self, remark: &Remark) -> String {
        let title = format!("title={}", property(&remark.title));
        let Some(token) = remark.token else { return title };
        let file = self.naming.below(&token.file).unwrap_or_else(|| token.file.clone());
        let (line, column, end) =
            (token.line, token.column, token.column.saturating_add(token.length.max(1)));
        let file = property(&shown_path(&file));
        format!("file={file},line={line},endLine={line},col={column},endColumn={end},{title}")
    }
}

/// A text as the message of a command. What the runner does not unescape, would end the line.
fn data(text: &str) -> String {
    one_line(text).replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

/// A text as the value of a property.
fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_ends_a_command_or_a_property_early() {
        assert_eq!(data("50% of\r\nit::error,x"), "50%25 of\\r\\nit::error,x");
        assert_eq!(property("a,line=9::b\n%"), "a%2Cline=9%3A%3Ab\\n%25");
    }
}
