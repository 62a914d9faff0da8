//! `unitfix report UNIT`: for a unit that has failed, started by systemd itself.

use super::repair::subject_options;
use super::rules_of;
use crate::change::Store;
use crate::cli::ReportOptions;
use crate::evidence::journal::{Journal, JournalError};
use crate::evidence::{Denial, Effect};
use crate::interrupt::{GLANCE, Interrupt};
use crate::manager::{BusManager, Manager};
use crate::recipe::{Desk, diagnose};
use crate::replay::session::now_us;
use crate::report::{Notice, People, Report, output};
use crate::scope::Scope;
use crate::subject::{Evidence, Failure, ManagedUnit, Subject, SubjectOptions, leftovers};
use crate::unit::UnitName;
use std::time::{Duration, Instant};

/// The template that this is started by; what fails there is not diagnosed again.
const TEMPLATE: &str = "unitfix@.service";

/// The kernel's record and systemd-coredump's entry may come into the journal a moment after the unit has failed.
const COMPLETE_WITHIN: Duration = Duration::from_secs(5);

/// The same is not reported again for so long.
const REPEATED_AFTER: Duration = Duration::from_hours(1);

/// How often the journal is asked until then.
const ASKED_EVERY: Duration = Duration::from_millis(250);

/// Write into the journal what was denied to a unit in its latest run, and the command that repairs it.
pub(super) fn report_to_journal(options: ReportOptions, interrupt: &Interrupt) -> Result<u8, Failure> {
    let asked = UnitName::parse(&options.unit).map_err(|error| Failure::Usage(error.to_string()))?;
    if asked.template().as_deref() == Some(TEMPLATE) {
        output::result("Nothing to report: this is unitfix itself.\n");
        return Ok(0);
    }
    if !nix::unistd::geteuid().is_root() {
        // whoever else writes it, systemctl and journalctl do not take it for the unit's
        return Err(Failure::System(format!("this needs root: sudo unitfix report {asked}")));
    }
    if leftovers::are_there(&Store::of(&Scope::System), &asked) {
        output::result(&format!(
            "Nothing to report: a run of unitfix is at work on {asked}, or was killed in it; then `unitfix {asked}` \
             puts that right\n"
        ));
        return Ok(0);
    }
    console::set_colors_enabled(false);
    let options = options.repair();
    let subject_options =
        SubjectOptions { only_looks: true, ..subject_options(&options, interrupt.clone())? };
    let people = People { zone: None, width: 80 };
    let manager = BusManager::connect(&Scope::System).map_err(|e| Failure::System(e.to_string()))?;
    let unit = ManagedUnit::load(&manager as &dyn Manager, &asked, subject_options.clone())?;
    let evidence = complete(&unit, interrupt)?;
    let label = unit.label();
    let prompt = subject_options.prompt;
    let mut desk =
        Desk { prompt, report: Report::new(label.clone()), people, rules: rules_of(None)?, options };
    let ending = diagnose(&unit, &evidence, &mut desk)?;
    let Some(notice) = Notice::of(&desk.report, &label, evidence.sigsys, &ending, &desk.people) else {
        output::result(&format!(
            "Nothing to report: no denied call of {label} is on record since its latest run began.\n"
        ));
        return Ok(0);
    };
    if repeats(&unit, &notice, interrupt)? {
        output::result(&format!("Nothing new to report: journalctl -x -u {label}\n"));
        return Ok(0);
    }
    let sent = notice.entry().send();
    sent.map_err(|error| Failure::System(format!("the journal does not take the report: {error}")))?;
    output::result(&format!("Reported: journalctl -x -u {label}\n"));
    Ok(0)
}

/// Whether the same was reported not long ago: a service may fail again and again.
fn repeats(unit: &ManagedUnit, notice: &Notice, interrupt: &Interrupt) -> Result<bool, Failure> {
    let since = now_us().saturating_sub(u64::try_from(REPEATED_AFTER.as_micros()).unwrap_or(u64::MAX));
    let journal = Journal::find(interrupt).map(|journal| journal.since(since));
    match journal.and_then(|journal| journal.last_report(&unit.unit().name)) {
        Ok(last) => Ok(last.is_some_and(|text| notice.repeats(&text))),
        Err(JournalError::Interrupted) => Err(Failure::Interrupted),
        Err(_) => Ok(false), // said twice is better than not at all
    }
}

/// The evidence, once what belongs together has come.
fn complete(unit: &ManagedUnit, interrupt: &Interrupt) -> Result<Evidence, Failure> {
    let begun = Instant::now();
    loop {
        let evidence = unit.evidence()?;
        if is_complete(&evidence) || begun.elapsed() > COMPLETE_WITHIN {
            return Ok(evidence);
        }
        let asked = Instant::now();
        while asked.elapsed() < ASKED_EVERY {
            if interrupt.raised() {
                return Err(Failure::Interrupted);
            }
            std::thread::sleep(GLANCE);
        }
    }
}

/// Whether there is a record for a death, and nobody's record that systemd-coredump may yet say more about.
fn is_complete(evidence: &Evidence) -> bool {
    let killed = |denial: &&Denial| denial.effect == Effect::Killed;
    let named = evidence.denials.iter().filter(killed).any(Denial::is_ours);
    named || !(evidence.sigsys || evidence.denials.iter().any(|denial| killed(&denial)))
}
