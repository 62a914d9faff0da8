//! An explanation as text for people: a page for one topic, a paragraph each for several.

use super::fill::{fill, fill_from};
use super::people::{People, caret};
use crate::explain::{
    CallRow, Explanation, Fallback, GroupRow, Kind, Next, RecordRow, RiskRow, Topic, VerdictRow,
};
use crate::rules::Tier;
use crate::syscalls::Arch;
use console::style;
use jiff::Timestamp;
use std::fmt::Write as _;

/// How wide the labels at the left are.
const LABEL: usize = 13;

/// Text is read best in lines of this length, however wide the terminal is.
const WIDTH: usize = 80;

/// So many topics are shown; `--json` has them all.
const TOPICS: usize = 12;

/// So many words of a unit are shown that decide about a group.
const VERDICTS: usize = 4;

impl People {
    /// What was pasted, explained; without what is unknown, which is a message.
    #[must_use]
    pub fn explanation(&self, explanation: &Explanation) -> String {
        let known: Vec<&Topic> =
            explanation.topics.iter().filter(|topic| topic.kind != Kind::Unknown).collect();
        let mut out = match known.as_slice() {
            [] => return String::new(),
            [topic] => self.page(topic),
            topics => self.paragraphs(topics),
        };
        if !explanation.next.is_empty() {
            out.push('\n');
        }
        out.push_str(&self.next(&explanation.next));
        out
    }

    /// What to do next: a table, or where that is too wide, each command above what it does.
    fn next(&self, steps: &[Next]) -> String {
        let width = steps.iter().map(|next| next.command.len()).max().unwrap_or_default();
        let fits = steps.iter().all(|next| width + 2 + next.does.len() <= self.columns());
        let line = |next: &Next| {
            let gap = if fits { " ".repeat(width + 2 - next.command.len()) } else { "\n    ".to_owned() };
            format!("{}{gap}{}\n", style(&next.command).bold(), next.does)
        };
        steps.iter().map(line).collect()
    }

    fn columns(&self) -> usize {
        self.width.clamp(40, WIDTH)
    }

    fn page(&self, topic: &Topic) -> String {
        let sentence = topic.call.as_ref().map(CallRow::sentence);
        let mut out = fill(&style(&topic.summary).bold().to_string(), self.columns(), "");
        let call = topic.call.as_ref();
        if let Some(sentence) = sentence.filter(|sentence| *sentence != topic.summary) {
            out.push_str(&fill(&sentence, self.columns(), ""));
        }
        for note in topic.entry.iter().chain(&topic.notes) {
            out.push_str(&fill(note, self.columns(), ""));
        }
        out.push_str(&self.verdicts(&topic.policy));
        let rows = [
            topic.record.as_ref().map(|record| self.record_rows(record)),
            call.map(call_rows),
            topic.group.as_ref().map(group_rows),
        ];
        let mut rows: Vec<(&str, String)> = rows.into_iter().flatten().flatten().collect();
        if !topic.elsewhere.is_empty() {
            let names = topic.elsewhere.iter().map(|row| (row.call.clone(), row.architecture));
            rows.push(("elsewhere", format!("the same number is {}", on_architectures(names))));
        }
        if !rows.is_empty() {
            out.push('\n');
        }
        for (label, text) in rows {
            out.push_str(&self.row(label, &text));
        }
        out
    }

    /// A label, and a text beside it, each line of which is a paragraph.
    fn row(&self, label: &str, text: &str) -> String {
        let mut out = String::new();
        for (at, paragraph) in text.lines().enumerate() {
            let label = if at == 0 { label } else { "" };
            let pad = " ".repeat(LABEL.saturating_sub(label.len()));
            let head = format!("{}{pad}", style(label).cyan());
            out.push_str(&fill_from(&head, paragraph, self.columns(), &" ".repeat(LABEL)));
        }
        out
    }

    fn record_rows(&self, record: &RecordRow) -> Vec<(&'static str, String)> {
        let mut who = vec![record.program.to_string()];
        who.extend(record.exe.as_ref().map(ToString::to_string));
        if record.pid > 0 {
            who.push(format!("process {}", record.pid));
        }
        who.extend(record.user.map(|user| format!("user {user}")));
        who.retain(|word| !word.is_empty());
        let mut rows = vec![("who", who.join(", "))];
        rows.extend(self.when_recorded(record).map(|when| ("when", when)));
        rows
    }

    /// When it was, and how often; with the time zone, as the record may be of another machine.
    fn when_recorded(&self, record: &RecordRow) -> Option<String> {
        let time = record.time.and_then(|time| Timestamp::from_microsecond(i64::try_from(time).ok()?).ok());
        let time =
            time.map(|time| time.to_zoned_datetime(self.zone()).strftime("%Y-%m-%d %H:%M:%S %z").to_string());
        match (record.count, time) {
            (0 | 1, time) => time,
            (n, None) => Some(format!("{n} times")),
            (n, Some(time)) => Some(format!("{n} times, last at {time}")),
        }
    }

    /// What a unit does, with the words that decide.
    fn verdicts(&self, rows: &[VerdictRow]) -> String {
        let mut out = String::new();
        for row in rows.get(..VERDICTS).unwrap_or(rows) {
            let words = if row.denied { style(&row.words).red().bold() } else { style(&row.words).green() };
            let _ = write!(out, "\n{}", fill(&format!("{words}."), self.columns(), ""));
            if let Some(token) = &row.decided_by {
                let several = row.calls.len() > 1;
                let words = if several { "" } else { token.words.as_str() };
                let _ = writeln!(out, "  because  {}", token.location());
                out.push_str(&caret(token, "             ", words, self.width));
            }
        }
        if rows.len() > VERDICTS {
            let more = rows.len() - VERDICTS;
            let _ = writeln!(out, "\nAnd {more} more words of it decide about others (--json has all).");
        }
        out
    }

    fn paragraphs(&self, topics: &[&Topic]) -> String {
        let mut out = String::new();
        for topic in topics.get(..TOPICS).unwrap_or(topics) {
            let _ = write!(out, "{}", fill(&topic.summary, self.columns(), "  "));
            let call = topic.call.as_ref();
            if let Some(sentence) = call.map(CallRow::sentence).filter(|s| *s != topic.summary) {
                out.push_str(&fill_from("  ", &sentence, self.columns(), "  "));
            }
            let record = topic.record.as_ref().filter(|record| record.count > 1);
            if let Some(when) = record.and_then(|record| self.when_recorded(record)) {
                out.push_str(&fill_from("  ", &format!("{when}."), self.columns(), "  "));
            }
            if let Some(entry) = &topic.entry {
                out.push_str(&fill_from("  ", entry, self.columns(), "  "));
            }
            for row in &topic.policy {
                out.push_str(&fill_from("  ", &format!("{}.", row.words), self.columns(), "  "));
            }
        }
        if topics.len() > TOPICS {
            let _ = writeln!(out, "And {} more (--json has all).", topics.len() - TOPICS);
        }
        out
    }
}

fn call_rows(row: &CallRow) -> Vec<(&'static str, String)> {
    let mut rows = Vec::new();
    let lets = row.lets.as_ref().unwrap_or(&row.risk.risk.lets);
    rows.push(("power", format!("lets a program {lets}")));
    rows.push(("risk", risk(&row.risk)));
    if !row.callers.is_empty() {
        rows.push(("callers", row.callers.join("; ")));
    }
    if !row.falls_back.is_empty() {
        rows.push(("if it fails", soft_rows(&row.falls_back)));
    }
    if let Some(family) = row.family.as_ref().filter(|family| !family.others.is_empty()) {
        let name = |call: &String| {
            let covers = family.newest_covers && *call == family.newest;
            format!("{call}{}", if covers { " (newest; it can do all that the others can)" } else { "" })
        };
        rows.push(("relatives", family.others.iter().map(name).collect::<Vec<_>>().join(", ")));
    }
    let groups = row.groups.iter().map(|group| format!("{} ({})", group.name, group.calls));
    let groups = groups.collect::<Vec<_>>().join(", ");
    let groups = if groups.is_empty() { "none".to_owned() } else { groups };
    rows.push(("groups", format!("{groups}; of {}", row.groups_of)));
    let numbers = row.numbers.iter().map(|row| (row.number.to_string(), row.architecture));
    rows.push(("numbers", on_architectures(numbers)));
    rows.extend(row.manual.clone().map(|page| ("manual", page)));
    rows
}

/// Who does what at which errno; those at which the same happens together.
fn soft_rows(rows: &[Fallback]) -> String {
    let mut out: Vec<(&str, Vec<&str>)> = Vec::new();
    for row in rows {
        match out.iter_mut().find(|(then, _)| *then == row.then) {
            Some((_, errnos)) => errnos.push(&row.errno),
            None => out.push((&row.then, vec![&row.errno])),
        }
    }
    let lines = out.into_iter().map(|(then, errnos)| format!("{}: {then}", errnos.join(", ")));
    lines.collect::<Vec<_>>().join("\n")
}

/// Things, each with the architectures on which it is so.
fn on_architectures(things: impl Iterator<Item = (String, Arch)>) -> String {
    let mut out: Vec<(String, Vec<String>)> = Vec::new();
    for (thing, arch) in things {
        match out.iter_mut().find(|(known, _)| *known == thing) {
            Some((_, archs)) => archs.push(arch.to_string()),
            None => out.push((thing, vec![arch.to_string()])),
        }
    }
    let texts = out.into_iter().map(|(thing, archs)| format!("{thing} on {}", crate::plan::list(archs)));
    let text = texts.collect::<Vec<_>>().join("; ");
    if text.is_empty() { "none on the architectures that unitfix knows".to_owned() } else { text }
}

fn risk(row: &RiskRow) -> String {
    let tier = row.risk.tier;
    let word = match tier {
        _ if row.risk.high => style(format!("high, {}", tier.word())).red().bold(),
        Tier::System | Tier::ProcessControl => style(tier.word().to_owned()).yellow(),
        Tier::Harmless => style(tier.word().to_owned()).green(),
        _ => style(tier.word().to_owned()),
    };
    let source = if row.risk.source.is_empty() { String::new() } else { format!("; {}", row.risk.source) };
    let asked = if row.risk.high { "unitfix never allows it without being told so; " } else { "" };
    format!("{word}: {asked}{}{source}", row.because)
}

fn group_rows(row: &GroupRow) -> Vec<(&'static str, String)> {
    let mut rows = Vec::new();
    if row.groups.is_empty() {
        rows.push(("calls", row.calls.join(" ")));
    } else {
        rows.push(("holds", format!("all of {}", row.groups.join(" "))));
        if !row.calls_beside_groups.is_empty() {
            rows.push(("and", row.calls_beside_groups.join(" ")));
        }
    }
    let risks = row.high_risk.iter().map(|risk| {
        format!(
            "{}: {} {} a program {}",
            style("high").red().bold(),
            crate::plan::list(&risk.calls),
            if risk.calls.len() == 1 { "lets" } else { "let" },
            risk.lets
        )
    });
    let risks = risks.collect::<Vec<_>>().join("\n");
    let none = format!("{} of them hands over the system", style("none").green());
    rows.push(("risk", if risks.is_empty() { none } else { risks }));
    let versions: Vec<String> = row.systemd.iter().map(u32::to_string).collect();
    rows.push((
        "systemd",
        format!("{} have it; the calls here are those of {}", crate::plan::list(versions), row.groups_of),
    ));
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_filled() {
        assert_eq!(fill("a bb ccc", 5, ""), "a bb\nccc\n");
        assert_eq!(fill_from("l  ", "a bb ccc", 8, "   "), "l  a bb\n   ccc\n");
        assert_eq!(fill("unbreakable", 3, ""), "unbreakable\n");
        assert_eq!(fill("", 3, ""), "\n");
    }
}
