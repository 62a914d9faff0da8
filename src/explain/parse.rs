//! What somebody pasted, to questions. Pure, in one pass over a bounded text: whatever is in it, this returns.

use super::knowledge;
use super::lines;
use super::words::{architecture, call_at, filter_words, foreign, pair, short};
use crate::evidence::{Untrusted, record};
use crate::syscalls::Arch;
use crate::unit::UnitName;
use nix::sys::signal::Signal;
use std::collections::BTreeSet;

/// No more than this is looked at: the end of what was pasted.
pub const PASTE_MAX: usize = 256 * 1024;

/// A longer line is cut: no record is longer, and no line of a person.
const LINE_MAX: usize = 32 * 1024;

/// A line of more words is a sentence, or another program's output, rather than a list of calls.
const WORDS_MAX: usize = 64;

/// So many lines, the last ones, are read as anything but records: more of them are a log.
const LINES_OF_WORDS: usize = 200;

/// So many questions are kept.
const QUESTIONS_MAX: usize = 64;

/// What somebody pasted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pasted {
    /// What is asked, the best lines first; nothing where there was nothing but white space.
    pub questions: Vec<Question>,
    /// The unit that a line of systemd was about.
    pub unit: Option<UnitName>,
}

/// One thing that is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Question {
    /// Whole records of the kernel, of one call of one program.
    Record(Box<Records>),
    /// The end of a process by a signal.
    Signal {
        /// The signal.
        signal: Signal,
        /// Which process of a unit, where a line of systemd says so: "main", "control".
        process: Option<&'static str>,
    },
    /// The end of a process with an exit status.
    Exit(u8),
    /// A process that dumped core.
    CoreDump {
        /// Its ID.
        pid: u32,
        /// Its name.
        comm: Untrusted,
    },
    /// A number of a call.
    Number {
        /// The number as the kernel gives it.
        number: u32,
        /// Of which architecture.
        place: Place,
    },
    /// The name of a call that exists.
    Name {
        /// The name.
        name: String,
        /// Of which architecture.
        place: Place,
        /// As a word of `SystemCallFilter=`.
        entry: Option<Entry>,
    },
    /// A group that exists in some version of systemd.
    Group {
        /// The name, with its `@`.
        name: String,
        /// As a word of `SystemCallFilter=`.
        entry: Option<Entry>,
    },
    /// A call that failed, as strace shows it.
    Failed {
        /// The call.
        name: String,
        /// The errno.
        errno: u16,
    },
    /// An errno.
    Errno(u16),
    /// A setting that decides about calls.
    Setting {
        /// Its name.
        name: String,
        /// Its value; empty where there is none.
        value: String,
    },
    /// A word of a filter that systemd left out.
    Ignored(String),
    /// The result of a unit: core-dump or signal.
    Result(&'static str),
    /// A call of an architecture of which nothing is known.
    UnknownArchitecture(Untrusted),
    /// None of these.
    Unknown(Untrusted),
}

/// Records of one call of one program, to which the same happened each time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Records {
    /// The last of them.
    pub last: record::Record,
    /// The times and numbers of those that have them: one event may stand in a log in two forms.
    events: BTreeSet<(u64, u64)>,
    /// How many there are without.
    unstamped: usize,
}

impl Records {
    fn one(record: record::Record) -> Self {
        let events: BTreeSet<_> = record.time_us.zip(record.serial).into_iter().collect();
        Records { unstamped: usize::from(events.is_empty()), events, last: record }
    }

    /// How many events they are of, at least.
    #[must_use]
    pub fn count(&self) -> usize {
        self.events.len().max(self.unstamped)
    }

    fn same(&self, other: &Records) -> bool {
        let key = |of: &Records| (of.last.audit_arch, of.last.number, of.last.code);
        key(self) == key(other) && self.last.comm == other.last.comm
    }

    fn add(&mut self, mut other: Records) {
        self.events.append(&mut other.events);
        self.unstamped += other.unstamped;
        if other.last.time_us >= self.last.time_us {
            self.last = other.last;
        }
    }
}

/// Of which architecture a call is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// Nobody said.
    Anywhere,
    /// This one.
    On(Arch),
    /// One that unitfix does not know.
    Foreign(String),
}

/// What a word of `SystemCallFilter=` says of its call or group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The word.
    pub word: String,
    /// `~` stands before it, or before the list that it is on.
    pub inverted: bool,
    /// What follows the colon.
    pub errno: Option<String>,
}

/// How much a line tells: where several lines were pasted, the others are left out.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Telling {
    Record,
    Cause,
    CoreDump,
    Words,
    Nothing,
}

impl Question {
    fn telling(&self) -> Telling {
        match self {
            Question::Record(_) => Telling::Record,
            Question::Number { place, .. } | Question::Name { place, entry: None, .. }
                if *place != Place::Anywhere =>
            {
                Telling::Record
            }
            Question::Signal { .. } | Question::Exit(_) | Question::Ignored(_) => Telling::Cause,
            Question::CoreDump { .. } | Question::Result(_) => Telling::CoreDump,
            Question::Number { .. }
            | Question::Name { .. }
            | Question::Group { .. }
            | Question::Errno(_)
            | Question::Setting { .. }
            | Question::Failed { .. }
            | Question::UnknownArchitecture(_) => Telling::Words,
            Question::Unknown(_) => Telling::Nothing,
        }
    }
}

/// Read what was pasted.
#[must_use]
pub fn parse(text: &[u8]) -> Pasted {
    let mut pasted = Pasted::default();
    let lines = newest(text).split(|b| matches!(b, b'\n' | b'\r' | 0));
    let lines = lines.map(|line| line.get(..LINE_MAX).unwrap_or(line).trim_ascii());
    let lines: Vec<&[u8]> = lines.filter(|line| !line.is_empty()).collect();
    let log = lines.len().saturating_sub(LINES_OF_WORDS);
    for (at, bytes) in lines.into_iter().enumerate() {
        let plain = lines::plain(bytes);
        let bytes = plain.trim_ascii();
        let text = String::from_utf8_lossy(bytes);
        if pasted.unit.is_none() {
            pasted.unit = unit(&text);
        }
        for question in line(bytes, &text, at >= log) {
            keep(&mut pasted.questions, question);
        }
    }
    pasted.questions.sort_by_key(Question::telling);
    let best = pasted.questions.first().map(Question::telling);
    // lists of words, and what is wrong in them, belong together
    let belongs = |q: &Question| match best {
        Some(Telling::Record | Telling::Cause | Telling::CoreDump) => Some(q.telling()) == best,
        _ => true,
    };
    pasted.questions.retain(belongs);
    pasted
}

/// Add a question, if it is not there yet; records of the same are counted.
fn keep(questions: &mut Vec<Question>, mut question: Question) {
    if let Question::Record(new) = &mut question {
        let known = questions.iter_mut().find_map(|q| match q {
            Question::Record(known) if known.same(new) => Some(known),
            _ => None,
        });
        if let Some(known) = known {
            known.add((**new).clone());
            return;
        }
    }
    if questions.len() < QUESTIONS_MAX && !questions.contains(&question) {
        questions.push(question);
    }
}

/// The end of a text that is too long, from the start of a line: the newest of a log.
#[must_use]
pub fn newest(text: &[u8]) -> &[u8] {
    let Some(start) = text.len().checked_sub(PASTE_MAX).filter(|start| *start > 0) else { return text };
    let (before, kept) = text.split_at(start);
    match kept.iter().position(|b| *b == b'\n') {
        Some(end) if before.last() != Some(&b'\n') => kept.get(end + 1..).unwrap_or_default(),
        _ => kept,
    }
}

fn line(bytes: &[u8], text: &str, words_too: bool) -> Vec<Question> {
    if let Some(record) = whole_record(bytes, text) {
        return vec![Question::Record(Box::new(Records::one(record)))];
    }
    if !words_too {
        return Vec::new();
    }
    let words: Vec<&str> = text.split_whitespace().take(WORDS_MAX + 1).collect();
    if let Some(question) = cut_record(&words).or_else(|| ending(text, &words)).or_else(|| core_dump(&words))
    {
        return vec![question];
    }
    let unknown = || Question::Unknown(Untrusted::new(bytes));
    if words.len() > WORDS_MAX {
        return vec![unknown()];
    }
    if let Some(question) = lines::question(text, &words) {
        return vec![question];
    }
    if let Some(question) = pair(&words).or_else(|| foreign(&words)) {
        return vec![question];
    }
    let questions = filter_words(&words);
    let known = questions.iter().filter(|q| q.telling() != Telling::Nothing).count();
    // of a sentence, single words that are names of calls as well mean nothing ("open", "read", "time")
    let sentence = questions.len() > 1 && (known == 0 || questions.len() > 3 && known < questions.len());
    if sentence { vec![unknown()] } else { questions }
}

/// A record as the kernel writes it. A shell may have taken the quotes off the names.
fn whole_record(bytes: &[u8], text: &str) -> Option<record::Record> {
    if let Ok(Some(record)) = record::parse(bytes) {
        return Some(record);
    }
    let mut repaired = text.to_owned();
    if text.starts_with("type=1326 audit(") {
        repaired.insert_str(0, "audit: ");
        if let Ok(Some(record)) = record::parse(repaired.as_bytes()) {
            return Some(record);
        }
    }
    for key in [" comm=", " exe="] {
        let start = repaired.find(key)? + key.len();
        let value = repaired.get(start..)?.split(' ').next()?.to_owned();
        // the kernel writes hexadecimal in capitals (hex_byte_pack_upper())
        let hexadecimal =
            value.len() % 2 == 0 && value.bytes().all(|b| matches!(b, b'0'..=b'9' | b'A'..=b'F'));
        if !value.starts_with(['"', '(']) && !hexadecimal {
            repaired.replace_range(start..start + value.len(), &format!("\"{value}\""));
        }
    }
    record::parse(repaired.as_bytes()).ok().flatten()
}

/// The part of a record, or of strace's note of a signal, that names the call. The last one counts: in front of it
/// stands what a process calls itself.
fn cut_record(words: &[&str]) -> Option<Question> {
    let value = |keys: [&str; 2]| {
        let found = words.iter().rev().find_map(|word| keys.iter().find_map(|key| word.strip_prefix(key)));
        found.map(|value| value.trim_end_matches([',', '}', ';']))
    };
    let call = value(["syscall=", "si_syscall="])?;
    let place = match value(["arch=", "si_arch="]) {
        None => Place::Anywhere,
        Some(text) => architecture(text).map_or_else(|| Place::Foreign(short(text)), Place::On),
    };
    call_at(call, place)
}

/// How a process ended, in the words of systemd, coredumpctl, gdb, Go and shells.
fn ending(text: &str, words: &[&str]) -> Option<Question> {
    let process = ["Main", "Control"].into_iter().find(|p| text.contains(&format!("{p} process exited")));
    let process = process.map(|p| if p == "Main" { "main" } else { "control" });
    let signal = |signal| Question::Signal { signal, process };
    let trimmed = words.iter().map(|w| w.trim_matches(['(', ')', ',', ';', ':', '.']));
    for word in trimmed {
        if let Some(name) = word.strip_prefix("signal=").or_else(|| word.strip_prefix("sig=")) {
            return signal_of(name).map(signal);
        }
        let status = word.strip_prefix("status=");
        if let Some((code, name)) = status.unwrap_or(word).split_once('/') {
            let code: Option<u8> = code.parse().ok();
            if let Some(found) = code.zip(signal_of(name)).filter(|(c, s)| i32::from(*c) == *s as i32) {
                return Some(signal(found.1));
            }
            let fits = |c: &u8| status.is_some() || knowledge::exit(*c).is_some_and(|exit| exit.name == name);
            if let Some(code) = code.filter(fits) {
                return Some(Question::Exit(code));
            }
        } else if let Some(code) = status.and_then(|s| s.parse().ok()) {
            return Some(Question::Exit(code));
        }
        if ["SIGSYS", "sigsys", "SYS"].contains(&word) {
            return Some(signal(Signal::SIGSYS));
        }
    }
    text.to_ascii_lowercase().contains("bad system call").then(|| signal(Signal::SIGSYS))
}

fn signal_of(name: &str) -> Option<Signal> {
    let name = name.to_ascii_uppercase();
    let name = if name.starts_with("SIG") { name } else { format!("SIG{name}") };
    name.parse().ok()
}

/// `Process 123 (docuum) of user 0 dumped core.` of systemd-coredump.
fn core_dump(words: &[&str]) -> Option<Question> {
    let at = words.iter().position(|word| *word == "Process")?;
    let end = words.iter().rposition(|word| *word == "dumped")?;
    let pid = words.get(at + 1)?.parse().ok()?;
    // a name may hold spaces and brackets
    let of = words.get(..end)?.iter().rposition(|word| *word == "of")?;
    let comm = words.get(at + 2..of)?.join(" ");
    let comm = comm.strip_prefix('(')?.strip_suffix(')')?;
    Some(Question::CoreDump { pid, comm: Untrusted::new(comm) })
}

/// The unit that a line of systemd is about: `docuum.service: Main process exited, …`.
fn unit(text: &str) -> Option<UnitName> {
    let words: Vec<&str> = text.split_whitespace().take(WORDS_MAX).collect();
    if let Some(unit) = lines::unit(&words) {
        return UnitName::parse(unit).ok();
    }
    words
        .into_iter()
        .filter_map(|word| word.strip_suffix(':'))
        .filter(|word| word.ends_with(".service"))
        .find_map(|word| UnitName::parse(word).ok())
}

#[cfg(test)]
mod tests;
