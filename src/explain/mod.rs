//! `unitfix explain`: what somebody pasted, to what it means, for someone who has never heard of seccomp.
//!
//! ```text
//! bytes ──► Question ──► Topic ──► Explanation ──► text or JSON
//! parse, words           call, group, happened     report/explanation.rs
//! ```

mod call;
mod closest;
mod group;
mod happened;
pub mod knowledge;
mod lines;
mod next;
pub mod parse;
mod unit;
pub mod words;

pub use call::{CallRow, Fallback, FamilyRow, GroupSize, NumberRow, RiskRow};
pub use closest::{closest, closest_call, closest_unit};
pub use group::{GroupRow, HighRisk};
pub use happened::RecordRow;
pub use next::{Next, RECIPE};
pub use parse::{Pasted, Place, Question};
pub use unit::{VerdictRow, verdict};

use crate::evidence::Untrusted;
use crate::policy::{Action, Policy};
use crate::report::SCHEMA;
use crate::rules::Rules;
use crate::syscalls::{Arch, Call, Groups};
use serde::Serialize;

/// Everything that there is to say about what was pasted.
#[derive(Debug, Serialize)]
pub struct Explanation {
    /// The version of this format, the same as of every other object that unitfix prints.
    pub schema: u32,
    /// The version of unitfix.
    pub unitfix: &'static str,
    /// What it is about, one for each thing that was asked.
    pub topics: Vec<Topic>,
    /// The unit that was named, or that the pasted line is about.
    pub unit: Option<String>,
    /// What to do next.
    pub next: Vec<Next>,
    /// The exit status that goes with it.
    pub exit_status: u8,
}

/// What a topic is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// A record of the kernel.
    Record,
    /// A process that a signal ended.
    Signal,
    /// A process that ended with a status.
    ExitStatus,
    /// A process that dumped core.
    CoreDump,
    /// A system call.
    Call,
    /// A group of them.
    Group,
    /// An errno.
    Errno,
    /// A setting that decides about calls.
    Setting,
    /// A word of a filter that systemd left out.
    Ignored,
    /// Nothing that unitfix knows.
    Unknown,
}

/// One thing that is explained.
#[derive(Debug, Serialize)]
pub struct Topic {
    /// What it is.
    pub kind: Kind,
    /// What happened or what it is, in one sentence.
    pub summary: String,
    /// What it does as a word of `SystemCallFilter=`, where it was given as one.
    pub entry: Option<String>,
    /// Whether a system call filter is, or may be, behind it.
    pub filter: bool,
    /// What else a reader should know, a sentence or two each.
    pub notes: Vec<String>,
    /// What the kernel wrote.
    pub record: Option<RecordRow>,
    /// The call that it is about.
    pub call: Option<CallRow>,
    /// What a number means on other architectures.
    pub elsewhere: Vec<NumberRow>,
    /// The group that it is about.
    pub group: Option<GroupRow>,
    /// What the unit does with it.
    pub policy: Vec<VerdictRow>,
    /// The name that was probably meant.
    pub closest: Option<String>,
}

/// Whose groups and policy count.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// The groups.
    pub groups: &'a Groups,
    /// What is known of calls.
    pub rules: &'a Rules,
    /// The unit that was named, and its policy.
    pub unit: Option<(&'a str, &'a Policy)>,
    /// The command that repairs that unit.
    pub repair: Option<&'a str>,
}

impl Topic {
    fn new(kind: Kind, summary: String) -> Self {
        Topic {
            kind,
            summary,
            entry: None,
            filter: true,
            notes: Vec::new(),
            record: None,
            call: None,
            elsewhere: Vec::new(),
            group: None,
            policy: Vec::new(),
            closest: None,
        }
    }

    fn unknown(summary: String) -> Self {
        Topic::new(Kind::Unknown, summary)
    }
}

/// Explain what was pasted.
#[must_use]
pub fn explain(pasted: &Pasted, context: Context) -> Explanation {
    let unit = context.unit.map(|(label, _)| label.to_owned());
    let unit = unit.or_else(|| pasted.unit.as_ref().map(ToString::to_string));
    let topics: Vec<Topic> =
        pasted.questions.iter().map(|question| topic(question, unit.as_deref(), context)).collect();
    let unknown = topics.iter().any(|topic| topic.kind == Kind::Unknown);
    Explanation {
        schema: SCHEMA,
        unitfix: env!("CARGO_PKG_VERSION"),
        next: next::next(&topics, unit.as_deref(), context),
        topics,
        unit,
        exit_status: if unknown { 2 } else { 0 },
    }
}

fn topic(question: &Question, unit: Option<&str>, context: Context) -> Topic {
    match question {
        Question::Record(records) => happened::record(records, context),
        Question::Signal { signal, process } => happened::signal(*signal, *process, unit),
        Question::Exit(status) => happened::exit(*status),
        Question::CoreDump { pid, comm } => happened::core_dump(*pid, comm),
        Question::Number { number, place } => call::number(*number, place, context),
        Question::Name { name, place, entry } => {
            let entry = entry.as_ref().map(|entry| entry_words(entry, name, "it"));
            Topic { entry, ..call::name(name, place, context) }
        }
        Question::Group { name, entry } => {
            let entry =
                entry.as_ref().map(|entry| entry_words(entry, &format!("the calls of {name}"), "one"));
            Topic { entry, ..group::group(name, context) }
        }
        Question::Failed { name, errno } => lines::about_failed(name, *errno, context),
        Question::Errno(number) => lines::about_errno(*number),
        Question::Setting { name, value } => lines::about_setting(name, value),
        Question::Ignored(word) => lines::about_ignored(word),
        Question::Result(result) => lines::about_result(result, unit),
        Question::UnknownArchitecture(text) => {
            let known: Vec<String> = Arch::ALL.iter().map(ToString::to_string).collect();
            let known = crate::plan::list(known);
            Topic::unknown(format!("unknown architecture '{text}'; known are: {known}"))
        }
        Question::Unknown(text) => unknown(text),
    }
}

/// What a word of `SystemCallFilter=` does with its call.
fn entry_words(entry: &parse::Entry, what: &str, one: &str) -> String {
    let word = &entry.word;
    let meant = match (entry.errno.as_deref().map(crate::policy::parse_action), entry.inverted) {
        (Some(None), _) => return format!("{word} has no errno that exists: systemd ignores the word."),
        (None, true) => {
            format!(
                "forbids {what}: whoever makes {one} is killed, or gets the errno of SystemCallErrorNumber="
            )
        }
        (None, false) => format!("allows {what}"),
        (Some(Some(Action::Kill)), _) => format!("forbids {what}: whoever makes {one} is killed"),
        (Some(Some(action)), _) => format!("forbids {what}, softly: {one} {action} instead of killing"),
    };
    let tilde = match (&entry.errno, entry.inverted) {
        (Some(_), false) => {
            ". Without a ~ before it this is how systemctl show prints such a word; in a unit, systemd ignores it"
        }
        _ => "",
    };
    format!("As a word of SystemCallFilter=, {word} {meant}{tilde}.")
}

fn unknown(text: &Untrusted) -> Topic {
    const SHOWN: usize = 60;
    let plain = String::from_utf8_lossy(text.bytes());
    let words = plain.split_whitespace().count();
    if words > 1 {
        return Topic::unknown(
            "nothing in this text is known: give an audit line, a line of systemd's about a process that was killed, \
             the name or number of a system call, or an @group"
                .to_owned(),
        );
    }
    let cut: String = plain.chars().take(SHOWN).collect();
    let dots = if cut.len() < plain.len() { "…" } else { "" };
    let what = if plain.starts_with(['@', '~']) { "system call or group" } else { "system call" };
    let shown = Untrusted::new(cut);
    let closest = closest::closest(&plain);
    let meant = closest.as_ref().map(|name| format!("; did you mean {name}?")).unwrap_or_default();
    let mut topic = Topic::unknown(format!("'{shown}{dots}' is no {what} that unitfix knows{meant}"));
    topic.closest = closest;
    topic
}

/// The call of an architecture, or of the first that has it, this machine's own before others.
fn call_of(name: &str, place: &Place) -> Option<Call> {
    let on = |arch: Arch| arch.number(name).map(|number| Call { arch, number });
    match place {
        Place::On(arch) => on(*arch),
        Place::Anywhere => architectures().into_iter().find_map(on),
        Place::Foreign(_) => None,
    }
}

/// Every architecture, this machine's own first, then what its kernel runs besides.
fn architectures() -> Vec<Arch> {
    let mut out = Arch::of_this_kernel().to_vec();
    out.extend(Arch::ALL.into_iter().filter(|arch| !Arch::of_this_kernel().contains(arch)));
    out
}
