//! The recipe: Unit, Policy, Evidence, Observation, Plan, Diff, Approval, Receipt, Verdict.

use crate::change::{self, Answer, Approval, Prompt, Receipt, Store};
use crate::cli::Repair;
use crate::ending::{Ending, helped, no_repair, seen};
use crate::evidence::{Denial, summary};
use crate::plan::{DropIn, Needs, Plan};
use crate::replay::{Observation, Outcome};
use crate::report::{DenialRow, FindingRow, People, RepairRow, ReplayRow, Report, output};
use crate::subject::{Evidence, Failure, Subject, Verdict};
use jiff::ZonedDateTime;
use std::collections::BTreeSet;

/// The desk at which a run works: what was asked for, whom to ask, where to report.
pub struct Desk {
    /// What was asked for.
    pub options: Repair,
    /// Whom to ask.
    pub prompt: Prompt,
    /// What is said.
    pub report: Report,
    /// How it is said to people.
    pub people: People,
}

impl Desk {
    /// Print a part of the report, unless all of it is printed as JSON in the end.
    fn show(&self, text: &str) {
        if !self.options.place.json {
            output::result(text);
        }
    }
}

/// Repair a subject.
pub fn repair(subject: &dyn Subject, desk: &mut Desk) -> Result<Ending, Failure> {
    let evidence = subject.evidence()?;
    show_diagnosis(subject, &evidence, desk);

    let observation = match may_replay(subject, &evidence, desk)? {
        MayReplay::Yes(approval) => Some(replay(subject, &evidence, approval.as_ref(), desk)?),
        MayReplay::No => None,
        MayReplay::NothingWrong(words) => return Ok(Ending::NothingToDo(words)),
    };

    let ending = propose(subject, &evidence, observation.as_ref(), desk);
    if !matches!(ending, Ok(Ending::Repaired(_))) {
        subject.leave()?;
    }
    ending
}

/// From what was seen to the end: Plan, Diff, Approval, Receipt, Verdict.
fn propose(
    subject: &dyn Subject,
    evidence: &Evidence,
    observation: Option<&Observation>,
    desk: &mut Desk,
) -> Result<Ending, Failure> {
    let mut needs = Needs::of(subject.policy(), subject.groups(), seen(evidence, observation));
    if needs.is_empty() && helped(evidence, observation) {
        needs.insist();
    }
    if let Some(ending) = no_repair(subject, evidence, observation, &needs) {
        return Ok(ending);
    }
    let Some(plan) = Plan::smallest(needs, subject.policy(), subject.groups()) else {
        return Ok(Ending::NothingToDo("nothing has to be allowed".to_owned()));
    };

    let why = reason(&desk.report.denials, &plan);
    let date = ZonedDateTime::now().date().to_string();
    let drop_in =
        DropIn::new(&plan, subject.unit(), &subject.drop_in_folder(), &date, &why, &subject.undo_command());
    let diff = drop_in.diff();
    show_plan(&plan, &diff, desk);

    if let Some(verdict) = subject.prove(&plan, &drop_in)? {
        match show_proof(verdict, desk) {
            None => {}
            Some(ending) => return Ok(ending),
        }
    }

    let approval = match approve(subject, &plan, desk) {
        Ok(approval) => approval,
        Err(ending) => return Ok(ending),
    };

    let store = subject.store();
    let former = store.load(&subject.unit().name).map_err(|e| Failure::System(e.to_string()))?;
    let receipt = receipt_for(subject, former.clone(), &diff, &plan, &why);
    save(&store, &receipt)?; // first: a run that is killed between the two can still be taken back
    if let Err(error) = change::apply(&subject.root(), &diff, &approval) {
        restore_receipt(&store, subject, former.as_ref())?;
        return Err(Failure::System(error.to_string()));
    }

    let verdict = subject.put_in_force(&plan, &drop_in);
    conclude(subject, verdict, &diff, receipt, former.as_ref(), desk)
}

/// The repair is written: keep it if it helps, else take it back.
fn conclude(
    subject: &dyn Subject,
    verdict: Result<Verdict, Failure>,
    diff: &change::Diff,
    receipt: Receipt,
    former: Option<&Receipt>,
    desk: &mut Desk,
) -> Result<Ending, Failure> {
    let store = subject.store();
    let done = match &verdict {
        Ok(Verdict::Works(how)) => Some((how, format!("Repaired: {how}"))),
        Ok(Verdict::NotProvable(words)) => Some((words, words.clone())),
        _ => None,
    };
    if let Some((how, words)) = done {
        let verified = matches!(verdict, Ok(Verdict::Works(_)));
        if let Err(error) = store.save(&Receipt { verified, ..receipt }) {
            output::message(&format!("unitfix: the receipt still says that it is not verified: {error}\n"));
        }
        desk.report.verdict = Some(how.clone());
        return Ok(Ending::Repaired(format!("{words}.\nUndo: {}", subject.undo_command())));
    }
    let undone = change::undo(&subject.root(), diff)
        .map_err(|e| Failure::System(format!("THE REPAIR COULD NOT BE TAKEN BACK: {e}")))
        .and_then(|()| restore_receipt(&store, subject, former))
        .and_then(|()| subject.put_back());
    undone?;
    Err(match verdict {
        Ok(verdict) => {
            let words = verdict_words(&verdict, subject);
            desk.report.verdict = Some(words.clone());
            Failure::RolledBack(format!("rolled back, because {words}; everything is as it was"))
        }
        Err(failure) => failure,
    })
}

fn show_diagnosis(subject: &dyn Subject, evidence: &Evidence, desk: &mut Desk) {
    let rows = |ours: bool| -> Vec<DenialRow> {
        let denials: Vec<Denial> = evidence.denials.iter().filter(|d| d.is_ours() == ours).cloned().collect();
        summary(&denials).iter().map(|s| DenialRow::new(s, subject.policy())).collect()
    };
    desk.report.state.clone_from(&evidence.state);
    desk.report.denials = rows(true);
    desk.report.unattributed = rows(false);
    let findings = subject.unit().findings.iter().chain(&subject.policy().findings).chain(&evidence.findings);
    desk.report.findings = FindingRow::all(findings);
    desk.show(&desk.people.diagnosis(&desk.report));
}

/// Whether to replay.
enum MayReplay {
    /// Yes; with an approval where a unit is restarted for it.
    Yes(Option<Approval>),
    /// No: the logs have to do.
    No,
    /// There is no reason to.
    NothingWrong(String),
}

fn may_replay(subject: &dyn Subject, evidence: &Evidence, desk: &Desk) -> Result<MayReplay, Failure> {
    if desk.options.no_replay {
        return Ok(MayReplay::No);
    }
    let Some(consequence) = subject.replay_consequence() else {
        return match subject.replay_notice() {
            Ok(_) => Ok(MayReplay::Yes(None)),
            Err(why) => {
                output::message(&format!("unitfix: no replay: {why}\n"));
                Ok(MayReplay::No)
            }
        };
    };
    let healthy = evidence.outcome.as_ref().is_some_and(Outcome::healthy);
    // what was denied to nobody knows whom may have been denied to a child of this one
    let suspicious = evidence.sigsys || evidence.blind || !evidence.denials.is_empty();
    let quiet = healthy && !suspicious && desk.options.via.is_none();
    if quiet {
        let words = "Nothing to repair: it runs, and no denied call of it is on record. \
                     To replay it all the same, add --via auto";
        return Ok(MayReplay::NothingWrong(words.to_owned()));
    }
    if let Err(why) = subject.replay_notice() {
        if seen(evidence, None).next().is_none() {
            return Err(Failure::System(why));
        }
        output::message(&format!("unitfix: no replay: {why}\n"));
        return Ok(MayReplay::No);
    }
    match desk.prompt.ask(&consequence, "Replay it?") {
        Answer::Approved(approval) => Ok(MayReplay::Yes(Some(approval))),
        Answer::Declined => {
            output::message("Not replayed: judging from the logs alone.\n");
            Ok(MayReplay::No)
        }
        Answer::NobodyToAsk => {
            output::message(
                "Not replayed, because there is no terminal to ask on (--yes agrees beforehand): judging from the \
                 logs alone.\n",
            );
            Ok(MayReplay::No)
        }
    }
}

fn replay(
    subject: &dyn Subject,
    evidence: &Evidence,
    approval: Option<&Approval>,
    desk: &mut Desk,
) -> Result<Observation, Failure> {
    output::message(&format!("\n{} ... ", subject.replay_notice().unwrap_or_default()));
    let observation = match subject.observe(&evidence.denials, approval) {
        Ok(observation) => observation,
        Err(failure) => {
            output::message("broken off.\n");
            return Err(failure);
        }
    };
    let row = ReplayRow::from(&observation);
    output::message(&desk.people.replay(&row));
    desk.report.replay = Some(row);
    let mut rows: Vec<DenialRow> =
        summary(&observation.denials).iter().map(|s| DenialRow::new(s, subject.policy())).collect();
    let known = |row: &DenialRow| {
        desk.report.denials.iter().any(|d| (&d.program, &d.call) == (&row.program, &row.call))
    };
    // what the logs said already is not said twice, except for arguments, which they do not have
    rows.retain(|row| !known(row) || !row.arguments.is_empty());
    for row in &mut rows {
        confirm(row, &mut desk.report.unattributed);
    }
    desk.show(&desk.people.denials(&rows));
    desk.report.denials.extend(rows);
    Ok(observation)
}

/// A call of a program that made it in the replay explains the records of the same that were nobody's.
fn confirm(row: &mut DenialRow, unattributed: &mut Vec<DenialRow>) {
    let same = |other: &DenialRow| {
        (&row.program, &row.exe, &row.call, row.architecture)
            == (&other.program, &other.exe, &other.call, other.architecture)
    };
    if let Some(at) = unattributed.iter().position(same) {
        let logged = unattributed.remove(at);
        let parent = row.parent.take().or(logged.parent.clone());
        let arguments = std::mem::take(&mut row.arguments);
        *row = DenialRow { parent, arguments, attributed_because: row.attributed_because, ..logged };
    }
}

/// Who was denied what, for the comment in the drop-in: at most three programs.
fn reason(rows: &[DenialRow], plan: &Plan) -> String {
    let mut by_program: Vec<(String, BTreeSet<&str>, BTreeSet<&str>)> = Vec::new();
    let needed = |row: &&DenialRow| {
        plan.needs.calls.contains(&row.call) || plan.needs.architectures.contains(&row.architecture)
    };
    for row in rows.iter().filter(needed) {
        let program = row.program.to_string();
        let at = by_program.iter().position(|(p, _, _)| *p == program).unwrap_or_else(|| {
            by_program.push((program, BTreeSet::new(), BTreeSet::new()));
            by_program.len() - 1
        });
        let (_, killed, denied) = &mut by_program[at];
        if row.effect == "killed" {
            killed.insert(&row.call)
        } else {
            denied.insert(&row.call)
        };
    }
    let more = by_program.len().saturating_sub(3);
    let mut parts = Vec::new();
    for (program, killed, denied) in by_program.iter().take(3) {
        let denied: BTreeSet<_> = denied.difference(killed).collect();
        parts.push(match (killed.is_empty(), denied.is_empty()) {
            (true, _) => format!("{program} was denied {}", crate::plan::list(denied)),
            (_, true) => format!("{program} was killed for calling {}", crate::plan::list(killed)),
            _ => format!(
                "{program} was killed for calling {}, and is denied {}",
                crate::plan::list(killed),
                crate::plan::list(denied)
            ),
        });
    }
    match more {
        0 => {}
        1 => parts.push("and 1 more program".to_owned()),
        more => parts.push(format!("and {more} more programs")),
    }
    parts.join("; ")
}

fn show_plan(plan: &Plan, diff: &change::Diff, desk: &mut Desk) {
    let row = RepairRow::from(plan);
    desk.report.set_diff(diff);
    desk.show(&desk.people.repair(&row));
    desk.show(&desk.people.diff(&diff.unified()));
    desk.report.repair = Some(row);
}

/// Say what a proof showed; the ending, if it speaks against the repair.
fn show_proof(verdict: Verdict, desk: &mut Desk) -> Option<Ending> {
    let (words, ending) = match verdict {
        Verdict::Works(how) | Verdict::NotProvable(how) => (how, None),
        Verdict::StillDenied(denials) => {
            let calls: Vec<String> = denials.iter().map(|d| d.call.to_string()).collect();
            let words = format!("under the repaired filter it is still denied {}", crate::plan::list(&calls));
            (words.clone(), Some(Ending::NoRepair(format!("No repair can be offered: {words}"))))
        }
        Verdict::FailsOtherwise(outcome) => {
            let words = format!("under the repaired filter it {outcome}");
            (words.clone(), Some(Ending::NoRepair(format!("No repair can be offered: {words}"))))
        }
        Verdict::Ignored(words) => (words.clone(), Some(Ending::NoRepair(words))),
    };
    if ending.is_none() {
        desk.show(&format!("\nProven: {words}.\n"));
    }
    desk.report.verdict = Some(words);
    ending
}

/// Ask whether to write the repair.
fn approve(subject: &dyn Subject, plan: &Plan, desk: &Desk) -> Result<Approval, Ending> {
    let asked =
        desk.options.apply || desk.prompt.yes == change::Yes::NotGiven && desk.prompt.somebody_there();
    if !asked {
        let command = desk.options.command();
        return Err(Ending::Proposed(format!("Nothing was changed. To write it: {command} --apply")));
    }
    if !plan.high_risk.is_empty()
        && desk.prompt.yes == change::Yes::Given
        && desk.options.allow_risk.is_none()
    {
        let calls = crate::plan::list(plan.high_risk.iter().map(|(call, _)| call));
        return Err(Ending::Proposed(format!(
            "Nothing was changed: {calls} would hand over the system, which --yes alone does not agree to \
             (--allow-risk high does)"
        )));
    }
    if desk.options.place.json {
        // who is asked has to see what about
        output::message(desk.report.diff.as_deref().unwrap_or_default());
    }
    let (consequence, question) = subject.apply_question();
    match desk.prompt.ask(&consequence, &question) {
        Answer::Approved(approval) => Ok(approval),
        Answer::Declined => Err(Ending::Proposed("Nothing was changed.".to_owned())),
        Answer::NobodyToAsk => Err(Ending::Proposed(
            "Nothing was changed, because there is no terminal to ask on: --yes agrees beforehand."
                .to_owned(),
        )),
    }
}

/// The receipt of this repair, which continues an earlier one of the same unit.
fn receipt_for(
    subject: &dyn Subject,
    former: Option<Receipt>,
    diff: &change::Diff,
    plan: &Plan,
    why: &str,
) -> Receipt {
    let mut receipt = former.unwrap_or_else(|| Receipt {
        unit: subject.unit().name.to_string(),
        written: String::new(),
        why: Vec::new(),
        files: Vec::new(),
        verified: false,
        calls: Vec::new(),
    });
    receipt.written = ZonedDateTime::now().strftime("%Y-%m-%d %H:%M:%S %z").to_string();
    receipt.why.push(why.to_owned());
    receipt.calls.extend(plan.needs.calls.iter().cloned());
    receipt.calls.sort();
    receipt.calls.dedup();
    receipt.verified = false;
    receipt.continued(diff)
}

fn save(store: &Store, receipt: &Receipt) -> Result<(), Failure> {
    store
        .save(receipt)
        .map_err(|e| Failure::System(format!("the receipt cannot be kept: {e}: nothing was changed")))
}

fn restore_receipt(store: &Store, subject: &dyn Subject, former: Option<&Receipt>) -> Result<(), Failure> {
    let restored = match former {
        Some(receipt) => store.save(receipt),
        None => store.remove(&subject.unit().name),
    };
    restored.map_err(|e| Failure::System(format!("the receipt cannot be restored: {e}")))
}

fn verdict_words(verdict: &Verdict, subject: &dyn Subject) -> String {
    match verdict {
        Verdict::Works(how) | Verdict::NotProvable(how) => how.clone(),
        Verdict::StillDenied(denials) => {
            let rows: Vec<String> = summary(denials)
                .iter()
                .map(|s| DenialRow::new(s, subject.policy()))
                .map(|row| format!("{} ({})", row.call, row.program))
                .collect();
            format!("with it, calls are still denied: {}", rows.join(", "))
        }
        Verdict::FailsOtherwise(outcome) => format!("with it, the unit {outcome}"),
        Verdict::Ignored(words) => words.clone(),
    }
}
