//! The table of what unitfix costs, against its peers, in one run: see benches/README.md and benches/run.
//!
//! Some works are functions of the library and not commands of their own. For those this program runs itself, as
//! `table --replay UNIT`, `table --strace LOG` and `table --read PATH`, so that each is a process that can be timed like
//! its peers.

#![forbid(unsafe_code)]
#![allow(missing_docs, unreachable_pub, clippy::print_stdout, clippy::print_stderr)]
#![allow(clippy::cast_precision_loss)] // figures for people

mod inputs;
mod measure;
mod rows;
mod table;

use std::collections::BTreeMap;
use std::error::Error;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;
use strace_parse::raw::Call;
use unitfix::evidence::files::{self, Input, files_in};
use unitfix::evidence::strace::distinct_calls_of_file;
use unitfix::interrupt::Interrupt;
use unitfix::policy::Policy;
use unitfix::replay::local;
use unitfix::syscalls::Groups;
use unitfix::unit::Unit;

/// What was asked for.
pub struct Options {
    /// The size of the inputs, as a part of that which the rows name.
    pub scale: f64,
    /// How many interleaved runs there are.
    pub runs: usize,
    /// Only rows with this in their work.
    pub only: Option<String>,
    /// Where the inputs are.
    pub folder: PathBuf,
    /// Whether the table goes into README.md as well.
    pub write: bool,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match words[..] {
        ["--replay", unit] => replay(Path::new(unit)),
        ["--strace", log] => strace(Path::new(log)),
        ["--strace-parse", log] => strace_parse(Path::new(log)),
        ["--read", path] => read(Path::new(path)),
        _ => options(&words).and_then(|options| table::run(&options)),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("table: {error}");
            ExitCode::FAILURE
        }
    }
}

fn options(words: &[&str]) -> Result<Options, Box<dyn Error>> {
    let mut options = Options {
        scale: 1.0,
        runs: 5,
        only: None,
        folder: PathBuf::from("/var/tmp/unitfix-bench"),
        write: false,
    };
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or_else(|| format!("{word} wants a value"));
        match *word {
            "--scale" => options.scale = value()?.parse()?,
            "--runs" => options.runs = value()?.parse()?,
            "--only" => options.only = Some((*value()?).to_owned()),
            "--folder" => options.folder = PathBuf::from(value()?),
            "--write" => options.write = true,
            other => return Err(format!("{other}: see the head of benches/run").into()),
        }
    }
    if options.write && (options.scale < 1.0 || options.runs < 5 || options.only.is_some()) {
        return Err("only the whole table, of full size and five runs or more, goes into README.md".into());
    }
    Ok(options)
}

/// Count the distinct calls of a strace log, by program.
fn strace(log: &Path) -> Result<(), Box<dyn Error>> {
    let read = distinct_calls_of_file(&File::open(log)?)?;
    println!("{} calls, {} lines not understood", read.calls, read.not_understood);
    Ok(())
}

/// The same by the crate strace-parse, which is a library as well.
fn strace_parse(log: &Path) -> Result<(), Box<dyn Error>> {
    let mut calls = BTreeMap::<_, u64>::new();
    for line in strace_parse::raw::parse(File::open(log)?).flatten() {
        if let Call::Generic(call) = line.call {
            *calls.entry((line.pid, call.call)).or_default() += 1;
        }
    }
    println!("{} calls", calls.values().sum::<u64>());
    Ok(())
}

/// Count the denied calls in a log, or in the journal files of a folder.
fn read(path: &Path) -> Result<(), Box<dyn Error>> {
    let paths = if path.is_dir() { files_in(path)? } else { vec![path.to_owned()] };
    let inputs: Vec<Input> = paths.into_iter().map(Input::File).collect();
    let read = files::read(&inputs, &Interrupt::default(), &mut |_| {}, &mut |_, said| drop(said));
    if let Some(fault) = read.malformed.first() {
        return Err(format!("{}: {}", fault.path.display(), fault.why).into());
    }
    println!("{} denied calls", read.denials);
    Ok(())
}

/// Replay a unit file once and say how many forbidden calls were seen.
fn replay(unit: &Path) -> Result<(), Box<dyn Error>> {
    let groups = Groups::from_rules(Groups::newest_version())?;
    let name = unit.display();
    let unit = Unit::at_path(unit, groups.systemd).map_err(|error| format!("{name}: {error:?}"))?.unit;
    let policy = Policy::evaluate(&unit, &groups);
    let launcher = PathBuf::from(env!("CARGO_BIN_EXE_unitfix"));
    let options = local::Options::new(Duration::from_secs(1), Interrupt::default());
    let observation = local::record(&unit, &policy, &local::Options { launcher, ..options })?;
    if !observation.works() || observation.lossy {
        return Err(format!(
            "{name}: {}{}",
            observation.outcome,
            if observation.lossy { ", lossy" } else { "" }
        )
        .into());
    }
    println!("{}", observation.denials.len());
    Ok(())
}
