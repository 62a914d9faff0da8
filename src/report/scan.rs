//! `unitfix scan`: the units that were denied something, as one value, and as text for people.

use super::fill::{fill, fill_from};
use super::people::{People, decisions, finding_text, who};
use super::{DenialRow, FindingRow, SCHEMA};
use crate::evidence::Untrusted;
use crate::evidence::files::FilesRead;
use crate::scan::Range;
use console::{measure_text_width, style};
use serde::Serialize;
use std::cmp::Reverse;
use std::fmt::Write as _;

/// Text is read best in lines of this length, however wide the terminal is.
const WIDTH: usize = 80;

/// How wide the labels at the left are.
const LABEL: usize = 11;

/// So many calls of a unit are shown; `--json` has them all.
const CALLS: usize = 8;

/// So many programs that are nobody's are shown.
const PROGRAMS: usize = 20;

/// Every unit that was denied something.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "Scan"))]
pub struct ScanReport {
    /// The version of this format.
    #[cfg_attr(test, schemars(extend("const" = SCHEMA)))]
    pub schema: u32,
    /// The version of unitfix.
    pub unitfix: &'static str,
    /// Only what happened from then on counts, microseconds since the epoch.
    pub since: Option<u64>,
    /// Only what happened until then counts.
    pub until: Option<u64>,
    /// The units, what matters most first.
    pub units: Vec<ScannedUnit>,
    /// Programs that were denied something, of which it is not known whose they were.
    pub unattributed: Vec<NobodysRow>,
    /// So many records are of processes that descend from somebody's login, and not of services.
    pub of_logins: u64,
    /// So many records are of calls that were only logged, and of which it is not known whose they were.
    pub only_logged: u64,
    /// What was read.
    pub read: ReadRow,
    /// So many records there was no room for.
    pub left_out: u64,
    /// What could not be read.
    pub findings: Vec<FindingRow>,
    /// It was interrupted: this is what was found until then.
    pub incomplete: bool,
    /// The exit status.
    pub exit_status: u8,
}

/// What was read.
#[derive(Clone, Copy, Debug, Default, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "Read"))]
pub struct ReadRow {
    /// Bytes.
    pub bytes: u64,
    /// Records of denied calls, of all times.
    pub denials: u64,
    /// Records of architectures that unitfix has no names for, or of filters that let the call run.
    pub foreign: u64,
}

/// What happened to a unit, or to a program.
#[derive(Clone, Debug, Default, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Part {
    /// How many processes were killed.
    pub killed: u64,
    /// How many calls were denied to others.
    pub denied: u64,
    /// How many calls of others would have been denied: they ran and were logged.
    pub logged: u64,
    /// How many of those that were killed made a call that is not on record.
    pub calls_unknown: u64,
    /// The first time, microseconds since the epoch.
    pub first: Option<u64>,
    /// The last time.
    pub last: Option<u64>,
    /// The calls by program, the most frequent first.
    pub calls: Vec<DenialRow>,
}

/// Whether a unit forbids what was denied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Forbids {
    /// It could not be loaded here.
    Unknown,
    /// It does, some of it at least.
    Now,
    /// It was changed since, and allows all of it.
    NoLonger,
    /// It was not changed since and does not: the program has a filter of its own.
    Not,
}

/// A unit of a host.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ScannedUnit {
    /// The unit.
    pub unit: Untrusted,
    /// The host, where it is named.
    pub host: Option<Untrusted>,
    /// What happened to it.
    #[serde(flatten)]
    pub part: Part,
    /// Whether it forbids that.
    pub forbids: Forbids,
    /// The command that repairs it.
    pub repair: Option<String>,
    /// That command is one for another host.
    #[serde(skip)]
    pub elsewhere: bool,
    /// The host has to be named.
    #[serde(skip)]
    pub told_apart: bool,
}

/// A program of a host, of which it is not known whose it was.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "NobodysProgram"))]
pub struct NobodysRow {
    /// The processes' own name.
    pub program: Untrusted,
    /// Their program file.
    pub exe: Option<Untrusted>,
    /// The host, where it is named.
    pub host: Option<Untrusted>,
    /// What happened to it.
    #[serde(flatten)]
    pub part: Part,
    /// The units that may be meant.
    pub possible_units: Vec<String>,
    /// The host has to be named.
    #[serde(skip)]
    pub told_apart: bool,
}

impl ScannedUnit {
    /// Whether there is something to repair.
    #[must_use]
    pub fn is_open(&self) -> bool {
        matches!(self.forbids, Forbids::Now | Forbids::Unknown)
    }
}

impl ScanReport {
    /// One with nothing in it.
    #[must_use]
    pub fn new() -> Self {
        ScanReport {
            schema: SCHEMA,
            unitfix: env!("CARGO_PKG_VERSION"),
            since: None,
            until: None,
            units: Vec::new(),
            unattributed: Vec::new(),
            of_logins: 0,
            only_logged: 0,
            read: ReadRow::default(),
            left_out: 0,
            findings: Vec::new(),
            incomplete: false,
            exit_status: 0,
        }
    }

    /// What it is about.
    pub(crate) fn about(&mut self, range: Range, read: &FilesRead) {
        (self.since, self.until) = (range.since, range.until);
        self.read = ReadRow { bytes: read.progress.bytes, denials: read.denials, foreign: read.foreign };
        self.incomplete = read.interrupted;
    }

    /// Put what matters most first: what can be repaired, kills, what happened last, what happened most often.
    pub(crate) fn sort(&mut self) {
        let weight = |part: &Part| (part.killed > 0, part.last, part.killed + part.denied + part.logged);
        self.units.sort_by_key(|unit| Reverse((unit.is_open(), weight(&unit.part)))); // stable: else by name
        self.unattributed.sort_by_key(|row| Reverse(weight(&row.part)));
    }

    /// Whether anything was denied to a service.
    #[must_use]
    pub fn found_something(&self) -> bool {
        !self.units.is_empty() || !self.unattributed.is_empty()
    }

    /// Whether there is something to do.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.units.iter().any(ScannedUnit::is_open) || !self.unattributed.is_empty()
    }

    /// The report for people.
    #[must_use]
    pub fn text(&self, people: &People) -> String {
        let columns = people.width.clamp(40, WIDTH);
        let mut out = fill(&style(self.headline(people)).bold().to_string(), columns, "");
        for unit in &self.units {
            out.push_str(&people.scanned_unit(unit));
        }
        if !self.unattributed.is_empty() {
            let words =
                "Whose processes these were is not known; a replay of a unit that may be meant tells:";
            let _ = write!(out, "\n{}", fill(words, columns, ""));
        }
        for row in self.unattributed.iter().take(PROGRAMS) {
            out.push_str(&people.nobodys(row));
        }
        if self.unattributed.len() > PROGRAMS {
            let _ =
                writeln!(out, "\nAnd {} more programs (--json has all).", self.unattributed.len() - PROGRAMS);
        }
        for (count, what) in [
            (self.of_logins, "of processes of somebody who logged in, and not of services"),
            (self.only_logged, "of calls that were logged and not denied"),
        ] {
            if count > 0 {
                let _ = write!(
                    out,
                    "\n{}",
                    fill(&format!("{} {what}.", times(count, "record is", "records are")), columns, "")
                );
            }
        }
        for finding in &self.findings {
            out.push_str(&finding_text(finding, people.width));
        }
        if self.incomplete {
            out.push_str("\nInterrupted: this is what was found until then, and there may be more.\n");
        }
        out
    }

    /// What was found, in a sentence without its end.
    pub(super) fn what(&self) -> String {
        let open = self.units.iter().filter(|unit| unit.is_open()).count();
        match (open, self.unattributed.len()) {
            (0, 0) if self.units.is_empty() => "No service was denied a system call".to_owned(),
            (0, 0) => "No unit forbids now what was denied".to_owned(),
            (0, programs) => {
                format!("{} denied system calls", times_of(programs, "program was", "programs were"))
            }
            (units, 0) => format!("{} denied system calls", times_of(units, "unit was", "units were")),
            (units, programs) => format!(
                "{} and {} denied system calls",
                times_of(units, "unit", "units"),
                times_of(programs, "program of nobody's were", "programs of nobody's were"),
            ),
        }
    }

    fn headline(&self, people: &People) -> String {
        let when = match (self.since, self.until) {
            (None, None) => String::new(),
            (Some(since), None) => format!(" since {}", people.time(since)),
            (None, Some(until)) => format!(" until {}", people.time(until)),
            (Some(since), Some(until)) => format!(" from {} to {}", people.time(since), people.time(until)),
        };
        format!("{}{when}.", self.what())
    }
}

impl Default for ScanReport {
    fn default() -> Self {
        ScanReport::new()
    }
}

impl People {
    fn scanned_unit(&self, unit: &ScannedUnit) -> String {
        let mut out =
            self.headed(&unit.unit.to_string(), unit.host.as_ref().filter(|_| unit.told_apart), &unit.part);
        out.push_str(&calls(&unit.part));
        let denied = |row: &&DenialRow| row.decided_by.is_some() && unit.is_open();
        let decided: Vec<DenialRow> = unit.part.calls.iter().take(CALLS).filter(denied).cloned().collect();
        out.push_str(&decisions(&decided, self.width));
        let columns = self.width.clamp(40, WIDTH);
        let mut line = |label: &str, text: &str| {
            let head = format!("  {label:width$}", width = LABEL - 2);
            out.push_str(&fill_from(&head, text, columns, &" ".repeat(LABEL)));
        };
        match unit.forbids {
            Forbids::Unknown if !unit.elsewhere => line("note", "this unit cannot be loaded here"),
            Forbids::Now | Forbids::Unknown => {}
            Forbids::NoLonger => line("repaired", "it was changed since, and allows this now"),
            Forbids::Not => line("because", "of a filter of the program's own: the unit does not forbid it"),
        }
        if let Some(command) = &unit.repair {
            let on = if unit.elsewhere { "there: " } else { "" };
            line("repair", &format!("{on}{}", style(command).bold()));
        }
        out
    }

    fn nobodys(&self, row: &NobodysRow) -> String {
        let program = row.exe.as_ref().unwrap_or(&row.program);
        let mut out =
            self.headed(&program.to_string(), row.host.as_ref().filter(|_| row.told_apart), &row.part);
        out.push_str(&calls(&row.part));
        if !row.possible_units.is_empty() {
            let units = crate::plan::list(&row.possible_units);
            out.push_str(&fill_from("  may be   ", &units, WIDTH, &" ".repeat(LABEL)));
        }
        out
    }

    /// Who, where, how often and when.
    fn headed(&self, name: &str, host: Option<&Untrusted>, part: &Part) -> String {
        let host = host.map(|host| format!(" on {host}")).unwrap_or_default();
        let mut words = Vec::new();
        if part.killed > 0 {
            words.push(format!("killed {}", style(times(part.killed, "time", "times")).red().bold()));
        }
        if part.denied > 0 {
            words.push(format!("denied {}", times(part.denied, "time", "times")));
        }
        if part.logged > 0 {
            words.push(format!("logged {}", times(part.logged, "time", "times")));
        }
        match (part.first, part.last) {
            (Some(first), Some(last)) if first == last => words.push(format!("at {}", self.time(last))),
            (Some(first), Some(last)) => words.push(format!("{} to {}", self.time(first), self.time(last))),
            _ => {}
        }
        let text = format!("{}{host}: {}", style(name).bold(), words.join(", "));
        format!("\n{}", fill(&text, self.width.clamp(40, WIDTH), "  "))
    }
}

/// A line for each program and call.
fn calls(part: &Part) -> String {
    let shown = part.calls.get(..CALLS).unwrap_or(&part.calls);
    let whose: Vec<String> = shown.iter().map(who).collect();
    let widest =
        |widths: &mut dyn Iterator<Item = usize>| widths.filter(|width| *width <= 30).max().unwrap_or(0);
    let program = widest(&mut whose.iter().map(|who| measure_text_width(who)));
    let call = widest(&mut shown.iter().map(|row| row.call.len()));
    let mut out = String::new();
    for (row, who) in shown.iter().zip(&whose) {
        let pad = " ".repeat(program.saturating_sub(measure_text_width(who)));
        let count = times(u64::try_from(row.count).unwrap_or(u64::MAX), "time", "times");
        let effect = style(format!("{:8}", row.effect)).red().bold();
        let _ = writeln!(out, "  {effect} {who}{pad}   {:call$}   {count}", row.call);
    }
    if part.calls.len() > CALLS {
        let _ = writeln!(out, "           and {} more (--json has all)", part.calls.len() - CALLS);
    }
    if part.calls_unknown > 0 {
        let times = times(part.calls_unknown, "time", "times");
        let _ =
            writeln!(out, "  {} for a call that is not on record   {times}", style("killed  ").red().bold());
    }
    out
}

fn times(count: u64, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

fn times_of(count: usize, one: &str, many: &str) -> String {
    times(u64::try_from(count).unwrap_or(u64::MAX), one, many)
}
