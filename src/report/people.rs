//! The report as text for people: one part at a time, as it becomes known. Colours only repeat what words say.

use super::fill::{fill, fill_from};
use super::{DenialRow, FindingRow, ReplayRow, Report, TokenRow, output, terminal};
use crate::finding::Finding;
use console::{Term, style};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use std::fmt::Write as _;

/// So many records that are nobody's are shown; `--json` has them all.
const MANY: usize = 5;

/// Writes the parts of a report.
#[derive(Clone, Debug)]
pub struct People {
    /// The zone in which times of day are shown; nothing: that of this system.
    pub zone: Option<TimeZone>,
    /// How many columns a line may have; text that is not for a terminal may have any.
    pub width: usize,
}

impl Default for People {
    fn default() -> Self {
        People { zone: None, width: terminal::columns(&Term::stdout()) }
    }
}

impl People {
    /// The zone in which times of day are shown. That of this system takes long to find, the first time.
    #[must_use]
    pub fn zone(&self) -> TimeZone {
        self.zone.clone().unwrap_or_else(TimeZone::system)
    }

    /// For text that goes to standard error, with its width and colours, because standard output is for something else.
    #[must_use]
    pub fn on_standard_error() -> Self {
        console::set_colors_enabled(console::colors_enabled_stderr());
        People { zone: None, width: terminal::columns(&Term::stderr()) }
    }

    /// What was found: the unit's state, who was denied what, and the deciding lines.
    #[must_use]
    pub fn diagnosis(&self, report: &Report) -> String {
        let mut out = format!("{}\n", style(&report.state).bold());
        out.push_str(&self.denials(&report.denials));
        let mut reasons: Vec<&str> = report.denials.iter().filter_map(|row| row.attributed_because).collect();
        reasons.dedup();
        for reason in reasons {
            let words = format!("(known to be the unit's: {reason})");
            out.push_str(&fill_from("  ", &words, output::prose_columns(self.width), "   "));
        }
        if !report.unattributed.is_empty() && !report.denials.is_empty() {
            let count: usize = report.unattributed.iter().map(|row| row.count).sum();
            let _ = writeln!(
                out,
                "  ({count} more records are of processes of which it is not known whose they were)"
            );
        } else if !report.unattributed.is_empty() {
            out.push_str("\nWhose processes these were is not known; only a replay can tell:\n");
            let shown = report.unattributed.get(..MANY).unwrap_or(&report.unattributed);
            out.push_str(&self.denials(shown));
            if report.unattributed.len() > shown.len() {
                let _ = writeln!(out, "  and {} more", report.unattributed.len() - shown.len());
            }
        }
        for finding in &report.findings {
            out.push_str(&finding_text(finding, self.width));
        }
        out
    }

    /// A sentence in lines that fit the terminal.
    #[must_use]
    pub fn filled(&self, text: &str) -> String {
        let body = text.trim_start_matches('\n');
        let head = &text[..text.len() - body.len()];
        fill_from(head, body, self.width, "")
    }

    /// Findings, each with its place.
    #[must_use]
    pub fn findings<'a>(&self, findings: impl IntoIterator<Item = &'a Finding>) -> String {
        FindingRow::all(findings).iter().map(|row| finding_text(row, self.width)).collect()
    }

    /// A table of denials, then the tokens that decided them.
    #[must_use]
    pub fn denials(&self, rows: &[DenialRow]) -> String {
        if rows.is_empty() {
            return String::new();
        }
        let who: Vec<String> = rows.iter().map(who).collect();
        let width = |texts: &mut dyn Iterator<Item = usize>| texts.max().unwrap_or(0);
        let who_width = width(&mut who.iter().map(|w| console::measure_text_width(w)));
        let call_width = width(&mut rows.iter().map(|r| r.call.len()));
        let mut out = String::from("\n");
        for (row, who) in rows.iter().zip(&who) {
            let effect = style(format!("{:8}", row.effect)).red().bold();
            let pad = " ".repeat(who_width - console::measure_text_width(who));
            let line = format!("  {effect} {who}{pad}   {:call_width$}   {}", row.call, self.when(row));
            let _ = writeln!(out, "{}", line.trim_end());
            if !row.arguments.is_empty() {
                let _ = writeln!(out, "           {}({})", row.call, row.arguments.join(", "));
            }
            out.push_str(&row.blame());
        }
        out + &decisions(rows, self.width)
    }

    fn when(&self, row: &DenialRow) -> String {
        let (Some(first), Some(last)) = (row.first, row.last) else {
            return if row.count > 1 { format!("{} times", row.count) } else { String::new() };
        };
        match row.count {
            1 => format!("at {}", self.time(first)),
            n => format!("{n} times since {}, last {}", self.time(first), self.time(last)),
        }
    }

    /// A time of day; with the date, where it is not today's.
    pub(crate) fn time(&self, microseconds: u64) -> String {
        let Some(time) = i64::try_from(microseconds).ok().and_then(|t| Timestamp::from_microsecond(t).ok())
        else {
            return "an unknown time".to_owned();
        };
        let time = time.to_zoned_datetime(self.zone());
        let today = Timestamp::now().to_zoned_datetime(self.zone()).date();
        let format = if time.date() == today { "%H:%M:%S" } else { "%Y-%m-%d %H:%M:%S" };
        time.strftime(format).to_string()
    }

    /// A time of day, without its date.
    pub(crate) fn clock(&self, microseconds: u64) -> String {
        let time = i64::try_from(microseconds).ok().and_then(|t| Timestamp::from_microsecond(t).ok());
        let shown = |t: Timestamp| t.to_zoned_datetime(self.zone()).strftime("%H:%M:%S").to_string();
        time.map(shown).unwrap_or_default()
    }

    /// What the replay saw, as the end of the line that announced it.
    #[must_use]
    pub fn replay(&self, row: &ReplayRow) -> String {
        let calls = match row.denied {
            1 => "1 call denied".to_owned(),
            n => format!("{n} calls denied"),
        };
        let lost = match (row.lossy, row.unclaimed.is_empty()) {
            (true, _) => style("records were lost").red().to_string(),
            (false, true) => "nothing lost".to_owned(),
            (false, false) => {
                let calls = crate::plan::list(&row.unclaimed);
                format!("and perhaps {calls}, by processes that were gone before it was seen whose they were")
            }
        };
        let mut out = format!("{calls}, {lost}; {}\n", row.outcome);
        for note in &row.notes {
            let _ = writeln!(out, "  note: {note}");
        }
        out
    }

    /// A unified diff.
    #[must_use]
    pub fn diff(&self, text: &str) -> String {
        let mut out = String::from("\n");
        for line in text.lines() {
            let shown = match line.as_bytes().first() {
                _ if line.starts_with("+++") || line.starts_with("---") => style(line).bold(),
                Some(b'+') => style(line).green(),
                Some(b'-') => style(line).red(),
                Some(b'@') => style(line).cyan(),
                _ => style(line),
            };
            let _ = writeln!(out, "{shown}");
        }
        out
    }
}

/// The process, and whose child it is.
pub(crate) fn who(row: &DenialRow) -> String {
    let comm = row.program.to_string();
    if let Some(inner) = crate::evidence::Process::before_exec(&comm) {
        return format!("systemd itself, before {inner} began");
    }
    let foreign = row.architecture != crate::syscalls::Arch::native();
    let arch = if foreign { format!(" [{}]", row.architecture) } else { String::new() };
    match &row.parent {
        Some(parent) => format!("{comm}{arch} (child of {parent})"),
        None => format!("{comm}{arch}"),
    }
}

/// Each deciding token once, with all the calls that it decided.
pub(super) fn decisions(rows: &[DenialRow], width: usize) -> String {
    let mut out = String::new();
    for (token, words) in deciding(rows) {
        let _ = writeln!(out, "  because  {}", token.location());
        out.push_str(&caret(token, "             ", &words, width));
    }
    out
}

/// Each deciding token once, by its place, with what it says of all the calls that it decided.
pub(super) fn deciding(rows: &[DenialRow]) -> Vec<(&TokenRow, String)> {
    let mut seen: Vec<(&TokenRow, Vec<&str>)> = Vec::new();
    for (row, token) in rows.iter().filter_map(|r| Some((r, r.decided_by.as_ref()?))) {
        let place = |t: &TokenRow| (t.file.clone(), t.line, t.column);
        match seen.iter_mut().find(|(t, _)| place(t) == place(token)) {
            Some((_, calls)) if !calls.contains(&row.call.as_str()) => calls.push(&row.call),
            Some(_) => {}
            None => seen.push((token, vec![&row.call])),
        }
    }
    seen.sort_by_key(|(token, _)| (&token.file, token.line, token.column));
    let told = |(token, calls): (_, Vec<&str>)| {
        let token: &TokenRow = token;
        let words = replace_word(&token.words, calls[0], &crate::plan::list(&calls));
        let words = if calls.len() > 1 {
            words.replace(" is not ", " are not ").replace(" is named", " are named")
        } else {
            words
        };
        (token, words)
    };
    seen.into_iter().map(told).collect()
}

/// A text with the first word that is this one replaced; `chown` is no word of `@chown`.
fn replace_word(text: &str, word: &str, by: &str) -> String {
    let words = text.split(' ').collect::<Vec<_>>();
    let Some(at) = words.iter().position(|w| *w == word) else { return text.to_owned() };
    let (before, after) = words.split_at(at);
    [before, &[by], after.get(1..).unwrap_or_default()].concat().join(" ")
}

/// Names after a label; lists are not made wider than 80 columns, however wide the terminal is.
pub(super) fn listed(label: &str, names: &[String], width: usize) -> String {
    fill_from("  ", &format!("{label}: {}", names.join(", ")), width.min(80), "    ")
}

/// The line of a token with a caret under the token and words behind the caret.
pub(super) fn caret(token: &TokenRow, indent: &str, words: &str, width: usize) -> String {
    let column = token.caret;
    let before: String = token.text.chars().take(column).collect();
    let marked: String =
        token.text.chars().skip(column).take(usize::try_from(token.length).unwrap_or(1)).collect();
    let spaces = " ".repeat(console::measure_text_width(&before));
    let carets = "^".repeat(console::measure_text_width(&marked).max(1));
    let room = width.saturating_sub(indent.len() + spaces.len() + carets.len() + 1);
    let words = match words {
        "" => String::new(),
        words if console::measure_text_width(words) > room => format!("\n{indent}{words}"),
        words => format!(" {words}"),
    };
    format!("{indent}{}\n{indent}{spaces}{}{words}\n", token.text, style(carets).red().bold())
}

/// A finding with its place.
pub(super) fn finding_text(finding: &FindingRow, width: usize) -> String {
    let label = match finding.severity {
        super::Severity::Note => style("note").cyan(),
        super::Severity::Warning => style("warning").yellow(),
        super::Severity::Error => style("error").red(),
    };
    let text = format!("{label}[{}]: {}", finding.code, finding.message);
    let mut out = format!("\n{}", fill(&text, width, "  "));
    if let (Some(place), Some(token)) = (&finding.place, &finding.token) {
        let _ = writeln!(out, "  {place}");
        out.push_str(&caret(token, "    ", "", usize::MAX));
    }
    let _ = writeln!(out, "  = {}", finding.advice);
    out
}
