//! `unitfix check`: a unit file under its own filter, while the tests of its program run.

use super::{json, rules_of};
use crate::cli::{CheckOptions, Format, command_line, quoted};
use crate::evidence::{Denial, Effect, one_line};
use crate::interrupt::Interrupt;
use crate::patch::{self, Naming};
use crate::plan::{Ground, Needs, Plan, Proof};
use crate::policy::{Because, Policy};
use crate::replay::local::{self, Checked, LocalError, Tests};
use crate::report::{CheckReport, Lint, People, RepairRow, output};
use crate::rules::Rules;
use crate::subject::{Failure, Inspector, Judged, Whereabouts};
use std::time::Duration;

/// Check a unit file: Unit, Policy, Observation, Plan, Patch, and a report.
pub(super) fn check(options: &CheckOptions, interrupt: &Interrupt) -> Result<u8, Failure> {
    let judged = load(options)?;
    let tests = tests(options)?;
    let rules = rules_of(None)?;

    output::message(&announcement(options, &judged));
    let local = local::Options::new(Duration::from_secs(options.observe.into()), interrupt.clone());
    let checked = match local::check(&judged.unit, &judged.policy, tests.as_ref(), &local) {
        Ok(checked) if !interrupt.raised() => without_unknown(checked, &judged.policy),
        Ok(_) | Err(LocalError::Interrupted) => {
            output::message("unitfix: interrupted: all that was started is stopped\n");
            return Ok(Failure::Interrupted.status());
        }
        Err(error) => return Err(failure(&error)),
    };

    let naming = Naming::of_path(&judged.unit.fragment, true);
    let findings = Lint::new(&judged, &options.unit).findings;
    let mut report =
        CheckReport::new(one_line(&options.unit), &judged.policy, findings, tests.as_ref(), &checked, naming);
    propose(&judged, &checked, &rules, &mut report);
    report.conclude();
    print(&report, options.format)?;
    Ok(report.exit_status)
}

fn load(options: &CheckOptions) -> Result<Judged, Failure> {
    let asked = &options.unit;
    if !asked.contains('/') {
        let asked = one_line(asked);
        return Err(Failure::Usage(format!(
            "a check is of a unit file, by its path with a slash: ./{asked}"
        )));
    }
    let place = Whereabouts { systemd: options.systemd, ..Whereabouts::default() };
    Inspector::new(place).inspect(asked)?.judged()
}

/// The tests that were asked for.
fn tests(options: &CheckOptions) -> Result<Option<Tests>, Failure> {
    let Some(name) = options.tests.first() else { return Ok(None) };
    let missing = || Failure::Usage(format!("the tests do not run: no program {} is here", one_line(name)));
    let limit = options.timeout.map(|seconds| Duration::from_secs(seconds.into()));
    Tests::find(&options.tests, options.under, limit).ok_or_else(missing).map(Some)
}

/// What is going to run.
fn announcement(options: &CheckOptions, judged: &Judged) -> String {
    let unit = one_line(&options.unit);
    let rules = format!("by the rules of {}", judged.groups.origin_words());
    let tests = command_line(&options.tests);
    let limit = options.timeout.map_or_else(String::new, |seconds| format!(" for at most {seconds} s"));
    match (options.tests.is_empty(), options.under) {
        (true, _) => format!("Running {unit} for at most {} s, {rules}.\n", options.observe),
        (false, false) => format!("Running {unit}, {rules}, while this runs{limit}: {tests}\n"),
        (false, true) => format!("Running this under the filter of {unit}{limit}, {rules}: {tests}\n"),
    }
}

/// Without the calls that this systemd does not know: it lets them fail in every service, and programs expect that.
fn without_unknown(mut checked: Checked, policy: &Policy) -> Checked {
    let known = |denial: &Denial| policy.decide(denial.call).because != Because::Unknown;
    checked.observation.denials.retain(known);
    checked
}

/// The exact repair of what was denied, as a patch.
fn propose(judged: &Judged, checked: &Checked, rules: &Rules, report: &mut CheckReport) {
    let Judged { unit, groups, policy } = judged;
    // what fails as the unit says counts only where something does not work
    let counts = |denial: &&Denial| denial.effect == Effect::Recorded || report.refusals_count();
    let denials: Vec<&Denial> = checked.observation.denials.iter().filter(counts).collect();
    if denials.is_empty() {
        return;
    }
    let mut needs = Needs::of(policy, groups, denials);
    if needs.is_empty() {
        needs.insist();
    }
    let inexpressible = !needs.inexpressible.is_empty();
    let plan = Plan::ladder(needs, Ground { unit, policy, groups, rules }, None);
    // letting calls fail would have to be tried out
    let firm =
        |plan: Plan| plan.candidates.iter().find(|c| c.amendment.soften.is_empty()).cloned().zip(Some(plan));
    let Some((mut candidate, plan)) = plan.and_then(firm) else {
        report.no_patch = Some(if inexpressible {
            "the systemd or libseccomp of these rules has no name for some of the calls".to_owned()
        } else {
            format!(
                "other settings refuse them than SystemCallFilter=; `unitfix {}` tries them out",
                quoted(&report.unit)
            )
        });
        return;
    };
    if report.works() && report.tests.is_some() {
        candidate.proof = Proof::Shown("the tests passed while just that was let through".to_owned());
    }
    let mut row = RepairRow::new(&plan, &candidate);
    row.others.clear(); // a check offers what was seen to work, and has no --prefer
    report.repair = Some(row);
    let task = patch::Task::new(unit, &candidate.amendment);
    match patch::patch(&task.unit, &task.amendment, groups) {
        Ok(files) => {
            let naming = Naming::of_path(&unit.fragment, false);
            let text = files.iter().flat_map(|file| patch::unified(file, &naming.name(&file.path)));
            report.patch = Some(String::from_utf8_lossy(&text.collect::<Vec<u8>>()).into_owned());
            report.patched = files;
        }
        Err(refusal) => report.no_patch = Some(refusal.to_string()),
    }
}

fn print(report: &CheckReport, format: Format) -> Result<(), Failure> {
    for note in &report.notes {
        output::message(&format!("  note: {note}\n"));
    }
    match format {
        Format::Text => {
            output::message("\n");
            output::result(&People::default().check(report));
        }
        Format::Json => output::result(&json(report)?),
        Format::Sarif => output::result(&json(&report.sarif())?),
        Format::Github => {
            // the log of the job is for people, too
            output::message(&format!("\n{}", People::on_standard_error().check(report)));
            output::result(&report.github());
        }
    }
    Ok(())
}

fn failure(error: &LocalError) -> Failure {
    match error {
        LocalError::NoCommand => Failure::Hopeless(error.to_string()),
        LocalError::Tests { .. } => Failure::Usage(error.to_string()),
        _ => Failure::System(error.to_string()),
    }
}
