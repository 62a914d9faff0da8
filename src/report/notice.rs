//! The report as an entry of the journal, among those of the unit that it is about.

use super::{DenialRow, People, RepairRow, Report, output};
use crate::cli::quoted;
use crate::ending::Ending;
use crate::evidence::Untrusted;
use crate::journal_socket::Entry;
use std::collections::BTreeSet;

/// The ID of these entries, as `journalctl MESSAGE_ID=` takes it. unitfix.catalog explains it to `journalctl -x`.
pub const MESSAGE_ID: &str = "7721e8411c284621a42885d067308a51";

/// So many bytes of text are written: far fewer than journald takes in one datagram.
const TEXT_MAX: usize = 32 * 1024;

/// So many calls stand in the first line; the fields have them all.
const MANY: usize = 4;

/// Levels of syslog(3): something calls for attention, and something may be compromised.
const WARNING: &str = "4";
const ERROR: &str = "3";

/// What is written into the journal about a unit.
pub struct Notice {
    high_risk: bool,
    unit: String,
    calls: BTreeSet<String>,
    command: String,
    text: String,
}

impl Notice {
    /// What there is to say about the latest run of a unit; nothing, if nothing was denied to it. `killed`: a process of
    /// it was killed for a call, whether that is on record or not.
    #[must_use]
    pub fn of(report: &Report, unit: &str, killed: bool, ending: &Ending, people: &People) -> Option<Self> {
        let command = format!("sudo unitfix {}", quoted(unit));
        let sure = !report.denials.is_empty();
        // of calls that are nobody's: after a death any may be that for which it died, else those that no other unit forbids
        let nobodys = report.unattributed.iter().filter(|row| killed || row.attributed_because.is_some());
        let rows: Vec<&DenialRow> = if sure { report.denials.iter().collect() } else { nobodys.collect() };
        let calls: BTreeSet<String> = rows.iter().map(|row| row.call.clone()).collect();
        let head = match (sure, killed, calls.is_empty()) {
            (true, ..) => {
                let deed = if report.repair.is_some() { "repair it" } else { "look into it" };
                format!("{unit} is denied {} by its own settings. To {deed}: {command}", few(&calls))
            }
            (false, true, true) => {
                format!("{unit} was killed for a system call that is not on record. To find it: {command}")
            }
            (false, true, false) => {
                format!(
                    "{unit} was killed for a system call, perhaps {}. To find out: {command}",
                    few(&calls)
                )
            }
            (false, false, false) => {
                let calls = few(&calls);
                format!("{calls} was denied to a process that may be one of {unit}. To find out: {command}")
            }
            (false, false, true) => return None,
        };
        let mut text = format!("{head}\n\n{}", people.diagnosis(report));
        if let Some(row) = &report.repair {
            text.push_str(&people.repair(&RepairRow { others: Vec::new(), ..row.clone() }));
        } else if sure || calls.is_empty() {
            text.push_str(&people.filled(&format!("\n{}.", ending.words().trim_end_matches('.'))));
        }
        let high_risk = report.repair.as_ref().is_some_and(|row| !row.proposed.high_risk.is_empty());
        Some(Notice { high_risk, unit: unit.to_owned(), calls, command, text: bounded(&text) })
    }

    /// Whether a text that was written before says the same, as far as its first line goes: what was denied to which unit.
    pub(crate) fn repeats(&self, text: &Untrusted) -> bool {
        let first = |bytes: &[u8]| bytes.split(|byte| *byte == b'\n').next().map(<[u8]>::to_vec);
        first(text.bytes()) == first(self.text.as_bytes())
    }

    /// The entry. That the service manager's own tools find it by the unit takes that root sends it
    /// (`add_matches_for_unit()` in src/shared/logs-show.c).
    pub(crate) fn entry(&self) -> Entry {
        let entry = Entry::default()
            .field("MESSAGE_ID", MESSAGE_ID)
            .field("MESSAGE", &self.text)
            .field("PRIORITY", if self.high_risk { ERROR } else { WARNING })
            .field("SYSLOG_IDENTIFIER", "unitfix")
            .field("OBJECT_SYSTEMD_UNIT", &self.unit)
            .field("UNITFIX_REPAIR", &self.command);
        self.calls.iter().fold(entry, |entry, call| entry.field("UNITFIX_CALL", call))
    }
}

/// The first calls, and how many more there are.
fn few(calls: &BTreeSet<String>) -> String {
    match calls.len().saturating_sub(MANY) {
        0 | 1 => crate::plan::list(calls),
        more => {
            let first: Vec<&str> = calls.iter().take(MANY).map(String::as_str).collect();
            format!("{} and {more} more calls", first.join(", "))
        }
    }
}

/// A text without what a terminal does not just show, and no longer than an entry may be.
fn bounded(text: &str) -> String {
    let text = output::harmless(text.trim_end(), false);
    if text.len() <= TEXT_MAX {
        return text.into_owned();
    }
    let end = text.floor_char_boundary(TEXT_MAX);
    let whole = text[..end].rfind('\n').unwrap_or(end);
    format!("{}\n... and more", &text[..whole])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_calls_are_counted() {
        let calls = |names: &str| names.split(' ').map(str::to_owned).collect::<BTreeSet<String>>();
        assert_eq!(few(&calls("a")), "a");
        assert_eq!(few(&calls("a b c d e")), "a, b, c, d and e");
        assert_eq!(few(&calls("a b c d e f")), "a, b, c, d and 2 more calls");
    }

    #[test]
    fn a_long_report_ends_with_a_whole_line() {
        assert_eq!(bounded("one\ntwo\u{1b}[31m\n"), "one\ntwo\\u{1b}[31m");
        let long = "é line\n".repeat(TEXT_MAX);
        let text = bounded(&long);
        assert!(text.len() <= TEXT_MAX + "\n... and more".len());
        assert!(text.ends_with("\né line\n... and more"), "{}", &text[text.len() - 40..]);
    }
}
