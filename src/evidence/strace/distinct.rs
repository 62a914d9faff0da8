//! Which calls each program made, in a log of strace of any length: calls are counted in large pieces by what stands in
//! front of their arguments; only the lines that start and end programs are read whole.

use super::executed;
use super::line::{self, What};
use super::processes::{Pending, Processes, forks};
use crate::evidence::Untrusted;
use crate::evidence::log::{LINE_MAX, pieces};
use memchr::memchr;
use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::{self, Read};

/// So many programs and calls of theirs are told apart.
const COUNTED_MAX: usize = 50_000;

/// No call has a longer name.
const NAME_MAX: usize = 64;

/// So much of a call that starts a program is kept until it ends.
const PENDING_MAX: usize = 8192;

/// The calls that programs made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DistinctCalls {
    /// How often each program made each call. Nothing: what ran before a program was known.
    pub programs: BTreeMap<Option<Untrusted>, BTreeMap<String, u64>>,
    /// How many lines there were.
    pub lines: u64,
    /// How many calls.
    pub calls: u64,
    /// Those of so many different programs and names that they are not told apart.
    pub uncounted: u64,
    /// Lines that are nothing that strace prints.
    pub not_understood: u64,
}

/// Count the calls of a log that is a file.
pub fn distinct_calls_of_file(file: &File) -> io::Result<DistinctCalls> {
    let mut counting = Counting::default();
    let seed = RandomState::new();
    pieces::of_file(
        file,
        LINE_MAX,
        |text, _| Piece::of(text, &seed),
        |piece| {
            counting.add(piece);
            Ok(())
        },
    )?;
    Ok(counting.out)
}

/// Count the calls of a stream.
pub fn distinct_calls(stream: impl Read) -> io::Result<DistinctCalls> {
    let mut counting = Counting::default();
    let seed = RandomState::new();
    pieces::of_stream(
        stream,
        LINE_MAX,
        |text, _| Piece::of(text, &seed),
        |piece| {
            counting.add(piece);
            Ok(())
        },
    )?;
    Ok(counting.out)
}

/// What a piece of a log holds, in its order where that matters.
#[derive(Default)]
struct Piece {
    lines: u64,
    not_understood: u64,
    steps: Vec<Step>,
}

enum Step {
    /// So often a process made these calls.
    Calls(Option<u32>, Vec<(String, u64)>),
    /// This line starts or ends a process or program.
    Line(Vec<u8>),
}

/// What a process called since its program began.
struct Called {
    pid: Option<u32>,
    /// By the place of the call's name.
    counts: Vec<u64>,
}

/// A piece while it is gone through.
struct Going<'a> {
    out: Piece,
    names: HashMap<&'a [u8], usize, Short>,
    called: Vec<Called>,
    places: HashMap<Option<u32>, usize, Short>,
    /// The place of the process of the line before.
    last: usize,
}

impl Piece {
    fn of(text: &[u8], seed: &RandomState) -> Piece {
        let mut going = Going {
            out: Piece::default(),
            names: HashMap::with_hasher(Short(seed.hash_one(1))),
            called: Vec::new(),
            places: HashMap::with_hasher(Short(seed.hash_one(2))),
            last: 0,
        };
        let mut rest = text;
        while !rest.is_empty() {
            let end = memchr(b'\n', rest).unwrap_or(rest.len());
            going.line(rest.get(..end).unwrap_or_default());
            rest = rest.get(end + 1..).unwrap_or_default();
        }
        for place in 0..going.called.len() {
            going.flush(place);
        }
        going.out
    }
}

impl<'a> Going<'a> {
    fn line(&mut self, line: &'a [u8]) {
        self.out.lines += 1;
        if let Some((pid, name)) = head(line) {
            self.count(pid, name);
            if name == b"execve" || name == b"execveat" || is_fork(name) {
                self.step(pid, name, line);
            }
            return;
        }
        let event = line::read(line);
        match event.what {
            What::Call(call) => {
                self.count(event.pid, call.name.as_bytes());
                if call.name.starts_with("execve") || forks(call.name) {
                    self.step(event.pid, call.name.as_bytes(), line);
                }
            }
            What::Resumed { name, .. } if name.starts_with("execve") || forks(name) || name == "????" => {
                self.step(event.pid, name.as_bytes(), line);
            }
            What::Gone(_) | What::Superseded { .. } => self.step(event.pid, b"", line),
            What::NotUnderstood => self.out.not_understood += 1,
            What::Resumed { .. } | What::Mode(_) | What::Frame(_) | What::Other => {}
        }
    }

    fn count(&mut self, pid: Option<u32>, name: &'a [u8]) {
        let next = self.names.len();
        let name = *self.names.entry(name).or_insert(next);
        if self.called.get(self.last).is_none_or(|called| called.pid != pid) {
            self.last = *self.places.entry(pid).or_insert(self.called.len());
            if self.last == self.called.len() {
                self.called.push(Called { pid, counts: Vec::new() });
            }
        }
        let Some(called) = self.called.get_mut(self.last) else { return };
        if called.counts.len() <= name {
            called.counts.resize(name + 1, 0);
        }
        if let Some(count) = called.counts.get_mut(name) {
            *count += 1;
        }
    }

    /// This line may change the program of its process: what was called before belongs to the one before.
    fn step(&mut self, pid: Option<u32>, name: &[u8], line: &[u8]) {
        if !is_fork(name)
            && let Some(place) = self.places.get(&pid).copied()
        {
            self.flush(place);
        }
        self.out.steps.push(Step::Line(line.get(..PENDING_MAX).unwrap_or(line).to_vec()));
    }

    fn flush(&mut self, place: usize) {
        let Some(called) = self.called.get_mut(place) else { return };
        let counts = std::mem::take(&mut called.counts);
        let named = self.names.iter().filter_map(|(name, at)| {
            let count = counts.get(*at).copied().filter(|count| *count > 0)?;
            Some((String::from_utf8_lossy(name).into_owned(), count))
        });
        let named: Vec<_> = named.collect();
        if !named.is_empty() {
            self.out.steps.push(Step::Calls(called.pid, named));
        }
    }
}

fn is_fork(name: &[u8]) -> bool {
    matches!(name, b"clone" | b"clone3" | b"fork" | b"vfork")
}

/// The process and the name of a call, of the lines of the plainest forms; of others, [`line::read`] knows better.
fn head(line: &[u8]) -> Option<(Option<u32>, &[u8])> {
    let mut rest = line;
    let mut pid = None;
    let digits = rest.iter().take_while(|b| b.is_ascii_digit()).count();
    if digits > 0 {
        if digits > 7 || rest.get(digits) != Some(&b' ') {
            return None;
        }
        let (number, after) = rest.split_at_checked(digits)?;
        pid = Some(number.iter().fold(0_u32, |sum, digit| sum * 10 + u32::from(digit - b'0')));
        if pid > Some(1 << 22) {
            return None;
        }
        rest = after.trim_ascii_start();
        // one time of the form that -ttt and -tt give
        let time = rest.iter().take_while(|b| b.is_ascii_digit() || matches!(b, b'.' | b':')).count();
        if time > 0 {
            rest = rest.get(time..)?.strip_prefix(b" ")?.trim_ascii_start();
        }
    }
    let first = rest.first().filter(|b| b.is_ascii_lowercase() || **b == b'_')?;
    debug_assert!(!first.is_ascii_digit());
    let length = rest.iter().take(NAME_MAX).take_while(|b| b.is_ascii_alphanumeric() || **b == b'_').count();
    (rest.get(length) == Some(&b'(')).then(|| rest.get(..length).map(|name| (pid, name)))?
}

/// All pieces, in order.
struct Counting {
    processes: Processes,
    counted: usize,
    out: DistinctCalls,
}

impl Default for Counting {
    fn default() -> Self {
        Counting { processes: Processes::new(None), counted: 0, out: DistinctCalls::default() }
    }
}

impl Counting {
    fn add(&mut self, piece: Piece) {
        self.out.lines += piece.lines;
        self.out.not_understood += piece.not_understood;
        for step in piece.steps {
            match step {
                Step::Calls(pid, calls) => self.calls(pid, calls),
                Step::Line(line) => self.line(&line),
            }
        }
    }

    fn calls(&mut self, pid: Option<u32>, calls: Vec<(String, u64)>) {
        let pid = self.processes.key(pid);
        let program = self.processes.get(pid).program.clone().map(Untrusted::new);
        for (name, count) in calls {
            self.out.calls += count;
            let of_program = self.out.programs.get_mut(&program);
            if let Some(known) = of_program.and_then(|calls| calls.get_mut(&name)) {
                *known += count;
            } else if self.counted < COUNTED_MAX && name.len() <= NAME_MAX {
                self.counted += 1;
                self.out.programs.entry(program.clone()).or_default().insert(name, count);
            } else {
                self.out.uncounted += count;
            }
        }
    }

    fn line(&mut self, text: &[u8]) {
        let event = line::read(text);
        let pid = self.processes.key(event.pid);
        match event.what {
            What::Call(call) => {
                if let Some(child) = call.attached {
                    self.processes.link(pid, child, call.arguments);
                }
                if call.result.is_some() {
                    self.finish(pid, call.name, call.arguments, call.result);
                } else {
                    let text = call.arguments.to_vec();
                    let pending =
                        Pending { name: call.name.to_owned(), call: None, time: None, text, denial: None };
                    self.processes.get(pid).pending = Some(pending);
                }
            }
            What::Resumed { name, arguments, result } => {
                let begun = self.processes.get(pid).pending.take();
                if let Some(begun) = begun.filter(|begun| begun.name == name || name == "????") {
                    let mut text = begun.text;
                    text.extend_from_slice(arguments.get(..PENDING_MAX).unwrap_or(arguments));
                    self.finish(pid, &begun.name, &text, result);
                }
            }
            What::Gone(_) => self.processes.gone(pid),
            What::Superseded { by } => self.processes.supersede(pid, by),
            _ => {}
        }
    }

    fn finish(&mut self, pid: u32, name: &str, text: &[u8], result: Option<&[u8]>) {
        let value = result.and_then(|r| r.split(|b| !b.is_ascii_digit()).next());
        let value: Option<u32> = value.and_then(|v| std::str::from_utf8(v).ok()?.parse().ok());
        match value {
            Some(child) if forks(name) && child > 0 => drop(self.processes.link(pid, child, text)),
            Some(0) if name.starts_with("execve") => {
                if let Some(program) = executed(name, text) {
                    self.processes.get(pid).program = Some(program);
                }
            }
            _ => {}
        }
    }
}

/// A hash for short names. Its seed is not known to whoever chose them.
#[derive(Clone)]
struct Short(u64);

impl BuildHasher for Short {
    type Hasher = ShortHasher;

    fn build_hasher(&self) -> ShortHasher {
        ShortHasher(self.0)
    }
}

struct ShortHasher(u64);

impl Hasher for ShortHasher {
    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            for (to, from) in word.iter_mut().zip(chunk) {
                *to = *from;
            }
            self.write_u64(u64::from_le_bytes(word));
        }
    }

    fn write_u64(&mut self, word: u64) {
        let product = u128::from(self.0 ^ word) * 0x9e37_79b9_7f4a_7c15_u128;
        #[allow(clippy::cast_possible_truncation)] // folded
        let folded = (product >> 64) as u64 ^ product as u64;
        self.0 = folded;
    }

    fn write_usize(&mut self, number: usize) {
        self.write_u64(number as u64);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests;
