//! Lines of other programs that are about a call, an errno or a setting, and what they mean.

use super::parse::{Place, Question};
use super::words::{name, short};
use super::{Context, Kind, Topic, call, closest, knowledge};
use crate::policy::{Action, errno_name, parse_action};
use nix::errno::Errno;
use std::borrow::Cow;

/// A line without the colours of a terminal.
pub(super) fn plain(line: &[u8]) -> Cow<'_, [u8]> {
    if !line.contains(&0x1b) {
        return Cow::Borrowed(line);
    }
    let mut out = Vec::with_capacity(line.len());
    let mut rest = line;
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        match after.strip_prefix(b"[").filter(|_| *byte == 0x1b) {
            Some(sequence) => {
                let end = sequence.iter().position(|b| (0x40..=0x7e).contains(b));
                rest = end.and_then(|end| sequence.get(end + 1..)).unwrap_or_default();
            }
            None => out.push(*byte),
        }
    }
    Cow::Owned(out)
}

/// What strace, systemd and people write about calls that is no list of names.
pub(super) fn question(text: &str, words: &[&str]) -> Option<Question> {
    failed(text).or_else(|| ignored(text)).or_else(|| result(text)).or_else(|| setting(text, words))
}

/// `[pid 1234] setrlimit(RLIMIT_NOFILE, …) = -1 EPERM (Operation not permitted)` of strace.
fn failed(text: &str) -> Option<Question> {
    let (call, result) = text.rsplit_once(" = -1 E")?;
    let word: String = result.chars().take_while(char::is_ascii_alphanumeric).collect();
    let errno = errno(&format!("E{word}"))?;
    let head = call.split_once("<... ").map_or(call, |(_, resumed)| resumed);
    let head = head.split('(').next()?;
    let mut words = head.split_whitespace().filter_map(name);
    let name = words.next()?;
    Some(Question::Failed { name, errno })
}

/// systemd's warning about a word of a filter that it does not know.
fn ignored(text: &str) -> Option<Question> {
    const WARNINGS: [&str; 2] =
        ["Failed to parse system call, ignoring: ", "Unknown system call group, ignoring: "];
    let word = WARNINGS.iter().find_map(|warning| Some(text.split_once(warning)?.1))?;
    Some(Question::Ignored(short(word.split_whitespace().next()?)))
}

/// `docuum.service: Failed with result 'core-dump'.`
fn result(text: &str) -> Option<Question> {
    let result = text.split_once("Failed with result '")?.1.split('\'').next()?;
    match result {
        "core-dump" => Some(Question::Result("core-dump")),
        "signal" => Some(Question::Result("signal")),
        _ => None,
    }
}

/// A setting of a sandbox, with its value or without; a filter's own words are explained one by one.
fn setting(text: &str, words: &[&str]) -> Option<Question> {
    let (key, value) = text.split_once('=').unwrap_or((text, ""));
    let key = key.trim();
    let listed = matches!(key, "SystemCallFilter" | "SystemCallLog") && !value.trim().is_empty();
    knowledge::setting(key).filter(|_| !listed && !words.is_empty())?;
    Some(Question::Setting { name: key.to_owned(), value: short(value.trim()) })
}

/// An errno by its name.
pub(super) fn errno(text: &str) -> Option<u16> {
    match parse_action(text)? {
        Action::Errno(number) if text.starts_with(['E', 'e']) => Some(number),
        _ => None,
    }
}

fn errno_words(number: u16) -> String {
    format!("{} ({})", errno_name(number), Errno::from_raw(number.into()).desc())
}

/// What an errno means when a filter gives it.
fn in_a_filter(number: u16) -> String {
    let taken = match Errno::from_raw(number.into()) {
        Errno::EPERM => ": a program takes it for missing rights, and goes on or gives up as it does then",
        Errno::ENOSYS => {
            ": a program takes the kernel for one that does not have the call, and many do it in an older way"
        }
        _ => "",
    };
    let errno = errno_name(number);
    format!(
        "A filter gives it with SystemCallErrorNumber={errno}, or with NAME:{errno} behind a ~: the forbidden call fails \
         instead of killing who makes it{taken}."
    )
}

/// Explain an errno.
pub(super) fn about_errno(number: u16) -> Topic {
    let summary = format!("{} is an errno, the number {number}: why a call failed.", errno_words(number));
    let mut topic = Topic::new(Kind::Errno, summary);
    topic.notes.push(in_a_filter(number));
    topic
}

/// Explain a call that failed.
pub(super) fn about_failed(name: &str, number: u16, context: Context) -> Topic {
    let mut topic = call::name(name, &Place::Anywhere, context);
    topic.summary = format!("The system call {name} failed with {}.", errno_words(number));
    topic.notes.push(in_a_filter(number));
    topic
        .notes
        .push("The kernel itself gives it as well, so that a filter need not be behind it.".to_owned());
    topic
}

/// Explain a setting.
pub(super) fn about_setting(name: &str, value: &str) -> Topic {
    let does = knowledge::setting(name).unwrap_or_default();
    let mut topic = Topic::new(Kind::Setting, format!("{name}= {does}."));
    if matches!(value, "no" | "false" | "off" | "0") {
        topic.notes.push(format!("{name}={value} switches it off."));
    }
    if let Some(number) = errno(value) {
        topic.notes.push(format!("{} is the errno.", errno_words(number)));
    }
    topic
}

/// Explain systemd's warning.
pub(super) fn about_ignored(word: &str) -> Topic {
    let summary =
        format!("systemd does not know {word}, and leaves this word of SystemCallFilter= out of the filter.");
    let mut topic = Topic::new(Kind::Ignored, summary);
    if knowledge::group(word).is_some() || name(word).is_some() {
        topic.notes.push("It exists: this systemd, or its libseccomp, is older than it.".to_owned());
    } else if let Some(meant) = closest(word) {
        topic.notes.push(format!("Did you mean {meant}?"));
        topic.closest = Some(meant);
    }
    topic
}

/// Explain the result of a unit.
pub(super) fn about_result(result: &str, unit: Option<&str>) -> Topic {
    let unit = unit.unwrap_or("the service");
    let dumped = if result == "core-dump" { " and dumped core" } else { "" };
    let mut topic =
        Topic::new(Kind::Signal, format!("A process of {unit} was ended by a signal{dumped} ({result})."));
    topic.notes.push(
        "If the signal was SIGSYS, a system call filter killed it: a line of systemd then says status=31/SYS.".to_owned(),
    );
    topic
}

/// What a line shows of a unit in a block of `coredumpctl info`.
pub(super) fn unit<'a>(words: &[&'a str]) -> Option<&'a str> {
    match words {
        ["Unit:", unit] => Some(unit),
        _ => None,
    }
}
