//! What somebody pasted, to questions. Pure, in one pass over a bounded text: whatever is in it, this returns.

use super::knowledge;
use super::words::{architecture, call_at, filter_words, pair, short};
use crate::evidence::{Untrusted, record};
use crate::syscalls::Arch;
use crate::unit::UnitName;
use nix::sys::signal::Signal;

/// No more than this is looked at.
pub const PASTE_MAX: usize = 256 * 1024;

/// A longer line is cut: no record is longer, and no line of a person.
const LINE_MAX: usize = 32 * 1024;

/// A line of more words is a sentence, or another program's output, rather than a list of calls.
const WORDS_MAX: usize = 64;

/// So many lines are read as anything but records: more of them are a log.
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
    /// A whole record of the kernel.
    Record(Box<record::Record>),
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
    /// None of these.
    Unknown(Untrusted),
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
            Question::Signal { .. } | Question::Exit(_) => Telling::Cause,
            Question::CoreDump { .. } => Telling::CoreDump,
            Question::Number { .. } | Question::Name { .. } | Question::Group { .. } => Telling::Words,
            Question::Unknown(_) => Telling::Nothing,
        }
    }

    /// Whether another question asks for the same; of a record, only its call counts.
    fn same(&self, other: &Question) -> bool {
        match (self, other) {
            (Question::Record(a), Question::Record(b)) => {
                (a.audit_arch, a.number) == (b.audit_arch, b.number)
            }
            (a, b) => a == b,
        }
    }
}

/// Read what was pasted.
#[must_use]
pub fn parse(text: &[u8]) -> Pasted {
    let mut pasted = Pasted::default();
    let lines = text.get(..PASTE_MAX).unwrap_or(text).split(|b| matches!(b, b'\n' | b'\r' | 0));
    let lines = lines.map(|line| line.get(..LINE_MAX).unwrap_or(line).trim_ascii());
    for (at, bytes) in lines.filter(|line| !line.is_empty()).enumerate() {
        let text = String::from_utf8_lossy(bytes);
        if pasted.unit.is_none() {
            pasted.unit = unit(&text);
        }
        for question in line(bytes, &text, at < LINES_OF_WORDS) {
            if pasted.questions.len() < QUESTIONS_MAX && !pasted.questions.iter().any(|q| q.same(&question)) {
                pasted.questions.push(question);
            }
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

fn line(bytes: &[u8], text: &str, words_too: bool) -> Vec<Question> {
    if let Some(record) = whole_record(bytes, text) {
        return vec![Question::Record(Box::new(record))];
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
    if let Some(question) = pair(&words) {
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
    let words = text.split_whitespace().take(WORDS_MAX);
    words
        .filter_map(|word| word.strip_suffix(':'))
        .filter(|word| word.ends_with(".service"))
        .find_map(|word| UnitName::parse(word).ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::syscalls::Groups;
    use proptest::prelude::*;
    use std::sync::LazyLock;

    const TASK: &str = "auid=4294967295 uid=0 gid=0 ses=4294967295 pid=537 comm=\"docker\" \
        exe=\"/usr/bin/docker\" sig=31 arch=c000003e syscall=160 compat=0 ip=0x433079 code=0x80000000";

    fn one(text: &str) -> Question {
        let mut questions = parse(text.as_bytes()).questions;
        assert_eq!(questions.len(), 1, "{text}: {questions:?}");
        questions.remove(0)
    }

    fn on(arch: Arch, number: u32) -> Question {
        Question::Number { number, place: Place::On(arch) }
    }

    fn sigsys(process: Option<&'static str>) -> Question {
        Question::Signal { signal: Signal::SIGSYS, process }
    }

    fn named(name: &str) -> Question {
        Question::Name { name: name.to_owned(), place: Place::Anywhere, entry: None }
    }

    #[test]
    fn whole_records_in_every_form() {
        let stamp = "audit(1795462747.021:142): ";
        for line in [
            format!("{stamp}{TASK}"),
            format!("type=SECCOMP msg={stamp}{TASK}"),
            format!("node=a type=1326 msg={stamp}{TASK}\u{1d}ARCH=x86_64 SYSCALL=setrlimit"),
            format!("[ 2873.312703] audit: type=1326 {stamp}{TASK}"),
            format!("Nov 23 19:39:07 host kernel: audit: type=1326 {stamp}{TASK}"),
            format!("Nov 23 19:39:07 host audit[537]: SECCOMP {TASK}"),
            format!("SECCOMP {}", TASK.replace('"', "")),
        ] {
            let Question::Record(record) = one(&line) else { panic!("{line}") };
            assert_eq!((record.pid, record.number), (537, 160), "{line}");
            assert_eq!(record.comm.to_string(), "docker", "{line}");
        }
    }

    #[test]
    fn a_name_cannot_pass_for_the_rest_of_a_record() {
        let hostile = TASK.replace("\"docker\"", "\"syscall=175\"");
        let Question::Record(record) = one(&format!("SECCOMP {hostile}")) else { panic!() };
        assert_eq!(record.number, 160);
        // cut off, so that only the pieces count
        assert_eq!(one("comm=\"a\" syscall=175 arch=c000003e syscall=160"), on(Arch::X86_64, 160));
    }

    #[test]
    fn pieces_of_records() {
        assert_eq!(one("arch=40000003 syscall=75"), on(Arch::X86, 75));
        assert_eq!(one("sig=31 arch=c000003e syscall=160 compat=0"), on(Arch::X86_64, 160));
        let place = Place::Foreign("c0000015".to_owned());
        assert_eq!(one("arch=c0000015 syscall=75"), Question::Number { number: 75, place });
        assert_eq!(one("syscall=160"), Question::Number { number: 160, place: Place::Anywhere });
        let strace = "--- SIGSYS {si_signo=SIGSYS, si_code=SYS_SECCOMP, si_syscall=__NR_setrlimit, \
            si_arch=AUDIT_ARCH_X86_64} ---";
        let place = Place::On(Arch::X86_64);
        assert_eq!(one(strace), Question::Name { name: "setrlimit".to_owned(), place, entry: None });
    }

    #[test]
    fn ways_to_say_that_it_was_killed() {
        let main = "host systemd[1]: docuum.service: Main process exited, code=dumped, status=31/SYS";
        assert_eq!(one(main), sigsys(Some("main")));
        assert_eq!(parse(main.as_bytes()).unit.unwrap().as_str(), "docuum.service");
        for text in [
            "31/SYS",
            "status=31/SYS",
            "SIGSYS",
            "Bad system call (core dumped)",
            "SIGSYS: bad system call",
            "Main PID: 5 (code=dumped, signal=SYS)",
            "       Signal: 31 (SYS)",
            "+++ killed by SIGSYS (core dumped) +++",
        ] {
            assert_eq!(one(text), sigsys(None), "{text}");
        }
        assert_eq!(one("11/SEGV"), Question::Signal { signal: Signal::SIGSEGV, process: None });
        for (text, status) in [("228/SECCOMP", 228), ("status=1/FAILURE", 1), ("status=159", 159)] {
            assert_eq!(one(text), Question::Exit(status), "{text}");
        }
        let dumped = "systemd-coredump[9]: Process 123 (a (b) of c) of user 0 dumped core.";
        assert_eq!(one(dumped), Question::CoreDump { pid: 123, comm: Untrusted::new("a (b) of c") });
    }

    #[test]
    fn numbers_with_and_without_an_architecture() {
        for text in ["160", "0xa0", "0XA0"] {
            assert_eq!(one(text), Question::Number { number: 160, place: Place::Anywhere }, "{text}");
        }
        for text in ["x86-64:160", "160 x86_64", "amd64 160", "c000003e 160", "0xc000003e 0xa0", "x86-64/160"]
        {
            assert_eq!(one(text), on(Arch::X86_64, 160), "{text}");
        }
        assert_eq!(one("160 arm64"), on(Arch::Arm64, 160));
        let place = Place::On(Arch::Arm64);
        assert_eq!(one("arm64 uname"), Question::Name { name: "uname".to_owned(), place, entry: None });
        assert!(matches!(one("99999999999999999999"), Question::Unknown(_)));
    }

    #[test]
    fn names_as_people_and_tools_write_them() {
        for text in [
            "setrlimit",
            "SETRLIMIT",
            "SYS_setrlimit",
            "__NR_setrlimit",
            "setrlimit(2)",
            "__x64_sys_setrlimit",
        ] {
            assert_eq!(one(text), named("setrlimit"), "{text}");
        }
        assert_eq!(one("@Resources"), Question::Group { name: "@resources".to_owned(), entry: None });
        assert_eq!(
            parse(b"setrlimit fchown, clone3").questions,
            ["setrlimit", "fchown", "clone3"].map(named)
        );
        assert!(matches!(one("setrlmit"), Question::Unknown(_)));
        assert!(matches!(one("the open call failed"), Question::Unknown(_)));
        assert!(parse(b" \n\t\r\n").questions.is_empty());
    }

    #[test]
    fn words_of_a_filter() {
        let entry = |question: &Question| match question {
            Question::Name { entry, .. } | Question::Group { entry, .. } => entry.clone().unwrap(),
            other => panic!("{other:?}"),
        };
        let found = entry(&one("~setrlimit:EPERM"));
        assert_eq!((found.inverted, found.errno.as_deref()), (true, Some("EPERM")));
        let found = entry(&one("setrlimit:kill"));
        assert_eq!((found.inverted, found.errno.as_deref()), (false, Some("kill")));
        let list = parse(b"SystemCallFilter=~@privileged setrlimit").questions;
        assert!(list.iter().all(|question| entry(question).inverted), "{list:?}");
    }

    #[test]
    fn of_many_lines_those_that_tell_most_count() {
        let text =
            format!("Process 1 (a) of user 0 dumped core.\nSECCOMP {TASK}\nsetrlimit\nSECCOMP {TASK}\n");
        assert!(matches!(one(&text), Question::Record(_)));
        assert_eq!(one("Process 1 (a) of user 0 dumped core.\nSignal: 31 (SYS)\n#0 0x00 n/a"), sigsys(None));
    }

    #[test]
    fn a_flood_ends_soon() {
        let begun = std::time::Instant::now();
        for line in ["a ", "open ", "comm=", "status=", "SECCOMP auid=", "1\n", "~:@ ", "Process of dumped "]
        {
            let pasted = parse(line.repeat(PASTE_MAX).as_bytes());
            assert!(pasted.questions.len() <= QUESTIONS_MAX, "{line}");
        }
        assert!(begun.elapsed() < std::time::Duration::from_secs(20), "{:?}", begun.elapsed());
    }

    fn explained(pasted: &Pasted) -> crate::explain::Explanation {
        static GROUPS: LazyLock<Groups> = LazyLock::new(|| Groups::from_rules(252).unwrap());
        crate::explain::explain(pasted, crate::explain::Context { groups: &GROUPS, unit: None, repair: None })
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let pasted = parse(&bytes);
            let _ = explained(&pasted);
        }

        #[test]
        fn pieces_of_what_is_known_are_survived(
            words in proptest::collection::vec(
                proptest::sample::select(vec![
                    "arch=", "c000003e", "syscall=", "160", "-1", "~", "@", "@resources", ":", "EPERM", "/", "SYS", " ",
                    "comm=", "\"", "exe=", "SECCOMP auid=1", "type=1326", "audit(", "\n", "(", ")", "Process", "dumped",
                    "of", "status=", "signal=", "0x", "4294967295", "setrlimit", "x32", "\u{1b}[31m", "é",
                ]),
                0..30,
            )
        ) {
            let pasted = parse(words.concat().as_bytes());
            let explanation = explained(&pasted);
            let people = crate::report::People { zone: jiff::tz::TimeZone::UTC, width: 80 };
            let text = people.explanation(&explanation);
            let raw = text.contains('\u{1b}') && !console::colors_enabled();
            prop_assert!(!raw);
        }
    }
}
