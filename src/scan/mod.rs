//! `unitfix scan`: every unit that was denied something, as the logs tell.
//!
//! ```text
//! inputs ──► said ──► attributed ──► rows ──► report
//! ```

mod again;
mod boot;
mod inputs;
mod local;
mod names;
mod progress;
mod range;
mod rows;
mod tally;
mod when;
mod whose;

pub(crate) use range::Range;

use crate::cli::{Scan, as_root};
use crate::evidence::files::{self, FilesRead};
use crate::finding::{Code, Finding};
use crate::interrupt::Interrupt;
use crate::report::{FindingRow, ScanReport};
use crate::root::Root;
use crate::subject::Failure;
use inputs::Inputs;
use jiff::ZonedDateTime;
use local::Local;
use progress::Bar;
use tally::{Counted, Tally};

/// The exit status of a shell's command that SIGINT ended.
const INTERRUPTED: u8 = 130;

/// Read the logs, and find every unit that was denied something.
pub fn scan(options: &Scan, interrupt: &Interrupt) -> Result<ScanReport, Failure> {
    let root = options.place.root.clone().map(Root::new);
    let inputs = Inputs::of(options, root.as_ref(), interrupt)?;
    let range = range_of(options, &inputs, root.as_ref(), interrupt)?;

    let mut tally = Tally::new(range, inputs.all.len());
    let mut bar = Bar::new();
    let read =
        files::read(&inputs.all, interrupt, &mut |progress| bar.show(progress), &mut |origin, said| {
            tally.take(origin, said);
        });
    bar.end();

    let mut counted = tally.counted();
    let mut report = ScanReport::new();
    if !counted.seen.is_empty() {
        let local = Local::new(root.as_ref())?;
        local.claim(&mut counted.seen);
        report = rows::report(&counted, &local, &rows::Commands::of(options, &inputs));
    }
    report.left_out = counted.left_out;
    report.about(range, &read);
    report.findings = FindingRow::all(&findings(&inputs, &read, &counted));
    report.exit_status = status(&report, &inputs, &read)?;
    Ok(report)
}

/// What the user asks for; where he asks for nothing, what is of interest of these logs.
fn range_of(
    options: &Scan,
    inputs: &Inputs,
    root: Option<&Root>,
    interrupt: &Interrupt,
) -> Result<Range, Failure> {
    let now = ZonedDateTime::now();
    let time = |text: &Option<String>| {
        text.as_deref().map(|text| when::parse(text, &now)).transpose().map_err(Failure::Usage)
    };
    let asked = Range { since: time(&options.since)?, until: time(&options.until)? };
    if let (Some(since), Some(until)) = (asked.since, asked.until)
        && since > until
    {
        return Err(Failure::Usage("--since is later than --until".to_owned()));
    }
    match &options.boot {
        Some(_) if !inputs.of_system => {
            let message = "--boot is one of this system: for other logs, give --since and --until";
            Err(Failure::Usage(message.to_owned()))
        }
        Some(boot) => Ok(boot::range(boot, root, interrupt)?.and(asked)),
        None if asked.is_limited() => Ok(asked),
        None => Ok(inputs.own_range(root)),
    }
}

/// What could not be read, or does not count.
fn findings(inputs: &Inputs, read: &FilesRead, counted: &Counted) -> Vec<Finding> {
    let mut out = inputs.findings.clone();
    let mut warn = |code: Code, message: String| out.push(Finding::warning(code, message, None));
    for (path, why) in &read.unread {
        warn(Code::LogUnreadable, format!("{}: {why}", crate::unit::shown_path(path)));
    }
    if let Some(first) = read.malformed.first() {
        let path = crate::unit::shown_path(&first.path);
        warn(
            Code::LogDamaged,
            format!(
                "records that are cut, or not as the kernel writes them, count for nothing (in all {}); the first is {}, \
             {path}: {}",
                read.malformed_total, first.place, first.why
            ),
        );
    }
    if counted.timeless > 0 {
        warn(
            Code::RecordsLeftOut,
            format!(
                "{} records do not say when they were written, and count for nothing where a time is given",
                counted.timeless
            ),
        );
    }
    if counted.left_out > 0 {
        warn(
            Code::RecordsLeftOut,
            format!(
                "there are records of so many different programs and units that {} of them are not kept, and count for \
             nothing",
                counted.left_out
            ),
        );
    }
    if counted.maybe_twice {
        warn(
            Code::RecordsLeftOut,
            "there are so many records that some, which stand in several logs, may have counted twice"
                .to_owned(),
        );
    }
    if inputs.all.is_empty() && inputs.findings.is_empty() {
        warn(Code::LogUnreadable, "this system keeps neither a journal nor a log of auditd's".to_owned());
    }
    out
}

/// The exit status. A failure: that nothing was found says nothing.
fn status(report: &ScanReport, inputs: &Inputs, read: &FilesRead) -> Result<u8, Failure> {
    if read.interrupted {
        return Ok(INTERRUPTED);
    }
    let unread = read.unread.len() >= inputs.all.len() || inputs.denied;
    if !report.found_something() && unread {
        let why = report.findings.iter().map(|finding| finding.message.as_str());
        let mut why = why.collect::<Vec<_>>().join("; ");
        if inputs.denied && !nix::unistd::geteuid().is_root() {
            let group =
                "the group systemd-journal may read journals (sudo usermod -aG systemd-journal \"$USER\")";
            why = format!("{why}; {group}; root may read all: {}", as_root());
        }
        return Err(Failure::System(format!("nothing can be read: {why}")));
    }
    Ok(u8::from(report.is_open()))
}
