//! The recipe: Unit, Policy, Evidence, Observation, Plan, Diff, Approval, Receipt, Verdict.

mod receipt;

use crate::change::{self, Answer, Approval, Pending, Prompt, Receipt, Yes};
use crate::choice::{Chosen, choose, row};
use crate::cli::{Repair, as_root};
use crate::ending::{Ending, helped, no_repair, seen};
use crate::evidence::summary;
use crate::patch;
use crate::plan::{Ground, Needs, Plan, Prefer, Proof};
use crate::proving::{Replayed, only_what_is_needed, settle};
use crate::replay::Observation;
use crate::replay::session::now_us;
use crate::report::progress::{Working, announce};
use crate::report::{Deed, DenialRow, FindingRow, People, PolicyChange, ReplayRow, Report, Step, output};
use crate::root::Root;
use crate::rules::Rules;
use crate::scope::Scope;
use crate::span;
use crate::subject::{Evidence, Failure, ManagedUnit, Subject, Verdict};
use crate::unit::shown_path;
use crate::watch::{Period, onlooker};
use nix::unistd::geteuid;
use receipt::{reason, receipt_for, restore_receipt, save};

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
    /// What is known of calls.
    pub rules: Rules,
}

impl Desk {
    /// Print a part of the report, unless all of it is printed as JSON in the end.
    pub(crate) fn show(&self, text: &str) {
        match (self.options.place.json, self.options.patch) {
            (true, _) => {}
            (false, None) => output::result(text),
            (false, Some(_)) => output::message(text), // standard output is for the patch alone
        }
    }
}

/// Repair a subject.
pub fn repair(subject: &dyn Subject, desk: &mut Desk) -> Result<Ending, Failure> {
    let evidence = read_logs(subject)?;
    show_diagnosis(subject, &evidence, desk);

    let replayed = match may_replay(subject, &evidence, desk)? {
        MayReplay::Yes(approval) => {
            let observation = replay(subject, &evidence, approval.as_ref(), desk)?;
            Some(Replayed { observation, approval })
        }
        MayReplay::No => None,
        MayReplay::NothingWrong(words) => return Ok(Ending::NothingToDo(words)),
    };

    finish(subject, propose(subject, &evidence, replayed.as_ref(), desk))
}

/// Watch a unit over a working period, in the place of a replay of a few seconds, and repair it.
pub fn watch(unit: &mut ManagedUnit, period: &Period, desk: &mut Desk) -> Result<Ending, Failure> {
    unit.can_be_watched()?;
    let evidence = read_logs(unit)?;
    show_diagnosis(unit, &evidence, desk);

    let approval = match may_watch(unit, period, desk) {
        Ok(approval) => approval,
        Err(ending) => return Ok(ending),
    };
    let observation = observe_work(unit, period, &evidence, &approval, desk)?;
    let replayed = Replayed { observation, approval: Some(approval) };

    finish(unit, propose(unit, &evidence, Some(&replayed), desk))
}

/// What the logs say of a subject. Of a large journal that takes a while.
fn read_logs(subject: &dyn Subject) -> Result<Evidence, Failure> {
    let _working = Working::on("Reading the logs ...", None);
    subject.evidence()
}

/// Leave a subject as it was found, unless it is repaired.
fn finish(subject: &dyn Subject, ending: Result<Ending, Failure>) -> Result<Ending, Failure> {
    match ending {
        Ok(Ending::Repaired(_)) => subject.settled()?,
        _ => subject.leave()?,
    }
    ending
}

/// Note in the report what the logs say, and what would repair it. Nobody is asked, and nothing runs.
pub(crate) fn diagnose(
    subject: &dyn Subject,
    evidence: &Evidence,
    desk: &mut Desk,
) -> Result<Ending, Failure> {
    show_diagnosis(subject, evidence, desk);
    let plan = match plan(subject, evidence, None, desk)? {
        Ok(plan) => plan,
        Err(ending) => return Ok(ending),
    };
    let Some(candidate) = plan.candidates.first() else {
        return Ok(Ending::NoRepair("No repair can be offered.".to_owned()));
    };
    desk.report.repair = Some(row(subject, &plan, candidate, &desk.report.denials));
    Ok(Ending::Proposed(String::new()))
}

/// From what was seen to a plan; if there is none, the ending.
fn plan(
    subject: &dyn Subject,
    evidence: &Evidence,
    replayed: Option<&Replayed>,
    desk: &mut Desk,
) -> Result<Result<Plan, Ending>, Failure> {
    let observation = replayed.map(|replayed| &replayed.observation);
    let mut needs = Needs::of(subject.policy(), subject.groups(), seen(evidence, observation));
    needs.settings = observation.and_then(|o| o.settings.clone()).unwrap_or_default();
    if needs.is_empty() && helped(evidence, observation) {
        needs.insist();
    }
    if let Some(ending) = no_repair(subject, evidence, observation, &needs) {
        return Ok(Err(ending));
    }
    let began = now_us();
    if let Some(ending) = only_what_is_needed(subject, &mut needs, evidence, replayed, desk)? {
        return Ok(Err(ending));
    }
    if !needs.spared.is_empty() {
        let words = format!("which of the denied calls it needs: {}", crate::plan::list(&needs.calls));
        desk.report.course.push(Step::since(began, Deed::Tried, words));
    }
    let (unit, policy, groups) = (subject.unit(), subject.policy(), subject.groups());
    let ground = Ground { unit, policy, groups, rules: &desk.rules };
    let Some(mut plan) = Plan::ladder(needs, ground, desk.options.prefer) else {
        return Ok(Err(Ending::NothingToDo("nothing has to be allowed".to_owned())));
    };
    let began = now_us();
    let settled = settle(subject, &mut plan, replayed, ground)?;
    desk.report.course.extend(tried(&plan).map(|words| Step::since(began, Deed::Tried, words)));
    if let Some(ending) = settled {
        return Ok(Err(ending));
    }
    Ok(Ok(plan))
}

/// From what was seen to the end: Plan, Diff, Approval, Receipt, Verdict.
fn propose(
    subject: &dyn Subject,
    evidence: &Evidence,
    replayed: Option<&Replayed>,
    desk: &mut Desk,
) -> Result<Ending, Failure> {
    let mut plan = match plan(subject, evidence, replayed, desk)? {
        Ok(plan) => plan,
        Err(ending) => return Ok(ending),
    };

    let why = reason(&desk.report.denials, &plan.needs);
    if desk.options.patch.is_some() {
        return Ok(patch::offer(subject, &plan, &why, desk));
    }
    let Chosen { candidate, drop_in, diff, approval } =
        match choose(subject, &mut plan, replayed, &why, desk)? {
            Ok(chosen) => chosen,
            Err(ending) => return Ok(ending),
        };

    let store = subject.store();
    let former = store.load(&subject.unit().name).map_err(|e| Failure::System(e.to_string()))?;
    let pending = Pending {
        files: diff.files.clone(),
        standing: subject.standing(),
        since: now_us(),
        former: former.clone().map(Box::new),
    };
    let receipt = receipt_for(subject, former.clone(), &diff, &candidate.amendment, &why);
    // first: whatever a run that is killed has written can be taken back
    save(&store, &Receipt { pending: Some(pending), ..receipt.clone() })?;
    if let Err(error) = change::apply(&subject.root(), &diff, &approval) {
        // what was changed all the same, the next run takes back by the receipt
        if !matches!(error, change::WriteError::NotPutBack { .. }) {
            restore_receipt(&store, subject, former.as_ref())?;
        }
        return Err(unwritten(&error, subject));
    }

    desk.report.course.push(Step::now(Deed::Written, shown_path(&drop_in.path)));
    let verdict = {
        let doing = format!("Restarting {} and watching it ...", subject.label());
        // where nothing runs, it is only written
        let _working = subject.standing().map(|_| Working::on(doing, Some(subject.observe_time())));
        subject.put_in_force(&candidate, &drop_in)
    };
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
    let (store, written) =
        (subject.store(), desk.report.course.last().map_or_else(now_us, |step| step.ended));
    let done = match &verdict {
        Ok(Verdict::Works(how)) => Some((how, format!("Repaired: {how}"))),
        Ok(Verdict::NotProvable(words)) => Some((words, words.clone())),
        _ => None,
    };
    let mut unkept = None;
    if let Some((how, words)) = done {
        let verified = matches!(verdict, Ok(Verdict::Works(_)));
        match save(&store, &Receipt { verified, ..receipt }) {
            Ok(()) => {
                desk.report.verdict = Some(how.clone());
                if verified {
                    desk.report.course.push(Step::since(written, Deed::Verified, how.as_str()));
                }
                return Ok(Ending::Repaired(format!("{words}.\nUndo: {}", subject.undo_command())));
            }
            Err(failure) => unkept = Some(failure),
        }
    }
    // the receipt last: until then, the next run would have to finish this
    let _working = Working::on(format!("Taking it back from {} ...", subject.label()), None);
    let undone = change::undo(&subject.root(), diff)
        .map_err(|e| Failure::System(format!("THE REPAIR COULD NOT BE TAKEN BACK: {e}")))
        .and_then(|()| subject.put_back().map_err(|error| half_way(&error, subject)))
        .and_then(|()| restore_receipt(&store, subject, former));
    undone?;
    if let Some(failure) = unkept {
        return Err(failure);
    }
    Err(match verdict {
        Ok(verdict) => {
            let words = verdict.against("with it", subject.policy()).unwrap_or_default();
            desk.report.verdict = Some(words.clone());
            desk.report.course.push(Step::since(written, Deed::TakenBack, words.as_str()));
            Failure::RolledBack(format!("rolled back, because {words}; everything is as it was"))
        }
        Err(failure) => failure,
    })
}

/// Why it could not be written. What only root may write, root is to be asked for.
fn unwritten(error: &change::WriteError, subject: &dyn Subject) -> Failure {
    let of_system = subject.unit().scope == Scope::System && !geteuid().is_root();
    let root = if of_system && error.is_for_root() { format!(": {}", as_root()) } else { String::new() };
    Failure::System(format!("{error}{root}"))
}

/// The files are as they were, and the running unit may not be.
fn half_way(error: &Failure, subject: &dyn Subject) -> Failure {
    let (unit, option) = (subject.label(), subject.unit().scope.option());
    Failure::System(format!(
        "{error}: the files are as they were, but {unit} may not be: `unitfix{option} {unit}` puts it right once \
         systemd answers"
    ))
}

fn show_diagnosis(subject: &dyn Subject, evidence: &Evidence, desk: &mut Desk) {
    let rows = |ours: bool| -> Vec<DenialRow> {
        let sightings = summary(evidence.denials.iter().filter(|d| d.is_ours() == ours));
        let mut rows: Vec<_> = sightings.iter().map(|s| DenialRow::new(s, subject.policy())).collect();
        blame(&mut rows, subject, desk);
        rows
    };
    let (ours, nobodys) = (rows(true), rows(false));
    desk.report.state.clone_from(&evidence.state);
    desk.report.denials = ours;
    desk.report.unattributed = nobodys;
    let findings = subject.unit().findings.iter().chain(&subject.policy().findings).chain(&evidence.findings);
    desk.report.findings = FindingRow::all(findings);
    desk.report.course.push(Step::now(Deed::Looked, evidence.state.trim_end_matches('.')));
    if desk.options.html.is_some() {
        desk.report.policy = Some(PolicyChange::between(subject.policy(), None, subject.groups()));
    }
    desk.show(&desk.people.diagnosis(&desk.report));
}

/// What runs under settings that were not kept showed.
fn tried(plan: &Plan) -> Option<String> {
    let soft = plan.candidates.first().filter(|candidate| !candidate.amendment.soften.is_empty());
    let shown = soft.map(|candidate| (candidate.deed(), &candidate.proof));
    let (deed, proof) = shown.or_else(|| plan.refuted.last().map(|tried| (tried.deed(), &tried.proof)))?;
    match proof {
        Proof::Shown(_) => Some(format!("to {deed}: it works")),
        Proof::Refuted(why) => Some(format!("to {deed}: {why}")),
        Proof::None => None,
    }
}

/// Find the packages of the programs, if it was asked who made the calls.
fn blame(rows: &mut [DenialRow], subject: &dyn Subject, desk: &Desk) {
    if desk.options.blame {
        // a unit file's programs ran here, wherever its repair is written
        let here = desk.options.unit.as_deref().is_some_and(|unit| unit.contains('/'));
        let root = if here { Root::default() } else { subject.root() };
        DenialRow::find_packages(rows, &root, &desk.people.zone());
    }
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
                output::paragraph(&format!("unitfix: no replay: {why}"));
                Ok(MayReplay::No)
            }
        };
    };
    let healthy = evidence.works() == Some(true);
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
        output::paragraph(&if subject.needs_root() {
            "unitfix: no replay, which needs root: judging from the logs alone".to_owned()
        } else {
            format!("unitfix: no replay: {why}")
        });
        return Ok(MayReplay::No);
    }
    match desk.prompt.ask(&with_trials(consequence, "such runs", desk), "Replay it?") {
        Answer::Approved(approval) => Ok(MayReplay::Yes(Some(approval))),
        Answer::Declined => {
            output::message("Not replayed: judging from the logs alone.\n");
            Ok(MayReplay::No)
        }
        Answer::NobodyToAsk => {
            output::paragraph(
                "Not replayed, because there is no terminal to ask on (--yes agrees beforehand): judging from the \
                 logs alone.",
            );
            Ok(MayReplay::No)
        }
    }
}

/// A consequence, and what may follow on it.
fn with_trials(consequence: String, runs: &str, desk: &Desk) -> String {
    match desk.options.prefer {
        None | Some(Prefer::Soft) => {
            format!("{consequence} One or two more {runs} may try whether it is enough to let calls fail.")
        }
        Some(_) => consequence,
    }
}

/// Whether to watch; if not, the ending.
fn may_watch(unit: &ManagedUnit, period: &Period, desk: &Desk) -> Result<Approval, Ending> {
    let runs = format!("runs of {} s", desk.options.observe);
    let consequence = with_trials(unit.watch_consequence(period), &runs, desk);
    if desk.prompt.yes == Yes::Given {
        output::message("\n");
        output::paragraph(&consequence);
    }
    match desk.prompt.ask(&consequence, "Watch it?") {
        Answer::Approved(approval) => Ok(approval),
        Answer::Declined => Err(Ending::Proposed("Not watched: nothing was changed.".to_owned())),
        Answer::NobodyToAsk => Err(Ending::Proposed(
            "Not watched, because there is no terminal to ask on: --yes agrees beforehand.".to_owned(),
        )),
    }
}

fn observe_work(
    unit: &mut ManagedUnit,
    period: &Period,
    evidence: &Evidence,
    approval: &Approval,
    desk: &mut Desk,
) -> Result<Observation, Failure> {
    output::message(&format!("\nWatching {} in complain mode {}.\n", unit.label(), period.words()));
    let mut onlooker = onlooker(desk.options.place.json, &desk.people, &unit.label(), period);
    let began = now_us();
    let observation = unit.watch(period, onlooker.as_mut(), &evidence.denials, approval)?;
    output::message(&format!("\nWatched for {}: ", span::shown(observation.watched)));
    show_observation(unit, &observation, began, desk);
    Ok(observation)
}

fn replay(
    subject: &dyn Subject,
    evidence: &Evidence,
    approval: Option<&Approval>,
    desk: &mut Desk,
) -> Result<Observation, Failure> {
    let takes = Some(subject.observe_time());
    let announced = announce(&format!("\n{}", subject.replay_notice().unwrap_or_default()), takes);
    let began = now_us();
    let observation = subject.observe(&evidence.denials, approval);
    drop(announced);
    let observation = match observation {
        Ok(observation) => observation,
        Err(failure) => {
            output::message("broken off.\n");
            return Err(failure);
        }
    };
    show_observation(subject, &observation, began, desk);
    Ok(observation)
}

/// What a replay or a watch that began then saw, as far as it was not known.
fn show_observation(subject: &dyn Subject, observation: &Observation, began: u64, desk: &mut Desk) {
    let row = ReplayRow::from(observation);
    let words = desk.people.replay(&ReplayRow { notes: Vec::new(), ..row.clone() });
    desk.report.course.push(Step::since(began, Deed::Replayed, console::strip_ansi_codes(words.trim_end())));
    output::message(&desk.people.replay(&row));
    desk.report.replay = Some(row);
    let mut rows: Vec<DenialRow> =
        observation.sightings().iter().map(|s| DenialRow::new(s, subject.policy())).collect();
    let known = |row: &DenialRow| {
        let same = |d: &&DenialRow| (&d.program, &d.call) == (&row.program, &row.call);
        let logged = desk.report.denials.iter().find(same);
        logged.is_some_and(|d| row.stack.is_empty() || !d.stack.is_empty())
    };
    // what the logs said already is not said twice, except for arguments, which they do not have
    rows.retain(|row| !known(row) || !row.arguments.is_empty());
    blame(&mut rows, subject, desk);
    for row in &mut rows {
        confirm(row, &mut desk.report.unattributed);
    }
    desk.show(&desk.people.denials(&rows));
    desk.report.denials.extend(rows);
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
        let mut stack = std::mem::take(&mut row.stack);
        if stack.is_empty() {
            stack.clone_from(&logged.stack);
        }
        *row = DenialRow { parent, arguments, stack, attributed_because: row.attributed_because, ..logged };
    }
}
