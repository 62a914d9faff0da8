//! The choice: the candidates are shown, and somebody says which of them is written, if any.

use crate::change::{Answer, Approval, Diff, KEYS, Reply, Yes};
use crate::cli::as_root;
use crate::ending::Ending;
use crate::evidence::Untrusted;
use crate::explain;
use crate::finding::Finding;
use crate::plan::{Candidate, DropIn, Plan, Proof, list};
use crate::policy::Policy;
use crate::policy::relax::Relaxation;
use crate::proving::{Prover, Replayed, tried};
use crate::recipe::Desk;
use crate::report::{CandidateRow, DenialRow, Look, PolicyChange, RepairRow, output};
use crate::subject::{Failure, Subject};
use crate::unit::SANDBOX;
use jiff::ZonedDateTime;

/// What is going to be written.
pub(crate) struct Chosen {
    /// The candidate.
    pub(crate) candidate: Candidate,
    /// As a drop-in.
    pub(crate) drop_in: DropIn,
    /// As a change of files.
    pub(crate) diff: Diff,
    /// Somebody agreed to it.
    pub(crate) approval: Approval,
}

/// Show the best candidate and ask; on a terminal others can be chosen, and edited. `why` stands in the drop-in.
pub(crate) fn choose(
    subject: &dyn Subject,
    plan: &mut Plan,
    replayed: Option<&Replayed>,
    why: &str,
    desk: &mut Desk,
) -> Result<Result<Chosen, Ending>, Failure> {
    let mut table = Table { subject, replayed, why, at: 0, edited: None };
    table.show(plan, desk);
    loop {
        let Some((candidate, drop_in)) = table.current(plan) else {
            return Ok(Err(Ending::NoRepair("No repair can be offered.".to_owned())));
        };
        if subject.needs_root() {
            return left_to_root(desk).map(Err);
        }
        if let Some(ending) = refuse(&candidate, desk) {
            return Ok(Err(ending));
        }
        let (consequence, question) = subject.apply_question();
        match desk.prompt.ask_or(&consequence, &question, &keys(plan)) {
            Reply::Answer(Answer::Approved(approval)) => {
                let diff = drop_in.diff();
                return Ok(Ok(Chosen { candidate, drop_in, diff, approval }));
            }
            Reply::Answer(Answer::Declined) => {
                return Ok(Err(Ending::Proposed("Nothing was changed.".to_owned())));
            }
            Reply::Answer(Answer::NobodyToAsk) => {
                return Ok(Err(Ending::Proposed(
                    "Nothing was changed, because there is no terminal to ask on: --yes agrees beforehand."
                        .to_owned(),
                )));
            }
            Reply::Key('c') => table.choose(plan, desk)?,
            Reply::Key('e') => table.edit(plan, desk)?,
            Reply::Key(_) => explain_calls(subject, plan, &keys(plan), desk),
        }
    }
}

/// Somebody who is not root has seen what there is to see without being it.
fn left_to_root(desk: &Desk) -> Result<Ending, Failure> {
    let command = as_root();
    match (desk.options.no_replay, desk.options.apply) {
        (true, false) => {
            Ok(Ending::Proposed(format!("Nothing was changed. To write it, as root: {command} --apply")))
        }
        (true, true) => {
            Err(Failure::System(format!("nothing was changed, because writing it needs root: {command}")))
        }
        (false, _) => Err(Failure::System(format!(
            "nothing was changed, because a replay and writing the repair need root: {command}"
        ))),
    }
}

/// The keys beside y and n.
fn keys(plan: &Plan) -> Vec<char> {
    let choose = (plan.candidates.len() > 1).then_some('c');
    choose.into_iter().chain(['e', '?']).collect()
}

/// Why it is not even asked whether to write a candidate.
fn refuse(candidate: &Candidate, desk: &Desk) -> Option<Ending> {
    let asked = desk.options.apply || desk.prompt.yes == Yes::NotGiven && desk.prompt.somebody_there();
    if !asked {
        let command = desk.options.command();
        return Some(Ending::Proposed(format!("Nothing was changed. To write it: {command} --apply")));
    }
    let calls: Vec<String> = candidate.high_risk().into_iter().map(|(what, _)| what).collect();
    if !calls.is_empty() && desk.prompt.yes == Yes::Given && desk.options.allow_risk.is_none() {
        return Some(Ending::Proposed(format!(
            "Nothing was changed: {} would hand over the system, which --yes alone does not agree to \
             (--allow-risk high does)",
            list(calls)
        )));
    }
    let asked_for = desk.options.prefer.filter(|prefer| !prefer.is_kind_of(candidate));
    asked_for.filter(|_| desk.prompt.yes == Yes::Given && desk.options.apply).map(|prefer| {
        Ending::Proposed(format!(
            "Nothing was changed: this is not the kind of change that was asked for (--prefer {}), and --yes does \
             not agree to another one",
            prefer.name()
        ))
    })
}

/// What lies on the table.
struct Table<'a> {
    subject: &'a dyn Subject,
    replayed: Option<&'a Replayed>,
    why: &'a str,
    /// Which candidate.
    at: usize,
    /// What somebody made of it.
    edited: Option<(Candidate, DropIn)>,
}

impl Table<'_> {
    fn current(&self, plan: &Plan) -> Option<(Candidate, DropIn)> {
        if self.edited.is_some() {
            return self.edited.clone();
        }
        let candidate = plan.candidates.get(self.at).cloned()?;
        let subject = self.subject;
        let date = ZonedDateTime::now().date().to_string();
        let folder = subject.drop_in_folder();
        let drop_in = DropIn::new(
            &candidate.amendment,
            subject.unit(),
            &folder,
            &date,
            self.why,
            &subject.undo_command(),
        );
        let drop_in = drop_in.below(&subject.root());
        Some((candidate, drop_in))
    }

    /// Show the current candidate with its diff.
    fn show(&self, plan: &Plan, desk: &mut Desk) {
        let Some((candidate, drop_in)) = self.current(plan) else { return };
        let diff = drop_in.diff();
        let row = row(self.subject, plan, &candidate, &desk.report.denials);
        desk.report.set_diff(&diff);
        self.compare(&drop_in, desk);
        desk.show(&desk.people.repair(&row));
        desk.show(&desk.people.diff(&diff.unified()));
        if let Proof::Shown(how) = &candidate.proof
            && self.subject.proves_beforehand()
        {
            desk.show(&desk.people.filled(&format!("\nProven: {how}.")));
            desk.report.verdict = Some(how.clone());
        }
        if desk.options.place.json {
            // who is asked has to see what about
            output::message(desk.report.diff.as_deref().unwrap_or_default());
        }
        desk.report.repair = Some(row);
    }

    /// What it changes of the policy, for the page.
    fn compare(&self, drop_in: &DropIn, desk: &mut Desk) {
        if desk.options.html.is_some() {
            let after = self.subject.amended(drop_in);
            let change = PolicyChange::between(self.subject.policy(), Some(&after), self.subject.groups());
            desk.report.policy = Some(change);
        }
    }

    /// Have somebody choose another candidate; it is proven first, where that disturbs nothing.
    fn choose(&mut self, plan: &mut Plan, desk: &mut Desk) -> Result<(), Failure> {
        let rows: Vec<String> =
            plan.candidates.iter().map(|candidate| CandidateRow::from(candidate).line()).collect();
        let Some(at) = desk.prompt.select("Which change?", &rows, self.at) else { return Ok(()) };
        if let (Some(candidate), Some(replayed)) = (plan.candidates.get_mut(at), self.replayed) {
            Prover { subject: self.subject, replayed, needs: &plan.needs }.prove_as_tried(candidate)?;
            if let Proof::Refuted(why) = &candidate.proof {
                output::message(&format!("That does not work: {why}.\n"));
                return Ok(());
            }
        }
        (self.at, self.edited) = (at, None);
        self.show(plan, desk);
        Ok(())
    }

    /// Have somebody edit the drop-in, and judge what came of it.
    fn edit(&mut self, plan: &mut Plan, desk: &mut Desk) -> Result<(), Failure> {
        let Some((_, drop_in)) = self.current(plan) else { return Ok(()) };
        let text = match desk.prompt.edit(&drop_in.text) {
            Ok(Some(text)) => text,
            Ok(None) => return Ok(()),
            Err(error) => {
                output::message(&format!("unitfix: it cannot be edited: {error}\n"));
                return Ok(());
            }
        };
        let drop_in = drop_in.edited(text);
        let judged = self.subject.judged();
        let unit = Plan::applied(&judged.unit, &drop_in, judged.groups.systemd);
        let policy = Policy::evaluate(&unit, &judged.groups);
        let mut candidate = Candidate::edited(&judged.policy, &policy, &judged.groups, &desk.rules);
        let written = unit.settings.iter().filter(|line| line.value.file().path == drop_in.path);
        for line in written.filter(|line| line.section == "Service") {
            if let Some(relaxation) = Relaxation::written(line) {
                candidate.amendment.settings.push(relaxation.line());
                candidate.relaxes.push(relaxation);
            } else if !SANDBOX.contains(&line.key.as_str()) {
                output::message(&format!(
                    "unitfix: {}= is not judged here\n",
                    Untrusted::new(line.key.as_str())
                ));
            }
        }
        if let Some(replayed) = self.replayed.filter(|_| self.subject.proves_beforehand()) {
            let prover = Prover { subject: self.subject, replayed, needs: &plan.needs };
            prover.prove(&mut candidate, &drop_in)?;
        }
        let own =
            |finding: &&Finding| finding.span.as_ref().is_some_and(|span| span.file.path == drop_in.path);
        desk.show(&desk.people.findings(unit.findings.iter().chain(&policy.findings).filter(own)));
        let softened = &candidate.amendment.soften;
        let forbidden = |call: &&String| policy.forbids(call) && !softened.contains_key(*call);
        for call in plan.needs.calls.iter().filter(forbidden) {
            let action = policy.action(call);
            output::message(&format!("unitfix: with this, {call} is still forbidden: it {action}\n"));
        }
        if let Proof::Refuted(why) = &candidate.proof {
            output::message(&format!("unitfix: that does not work, and is not taken: {why}\n"));
            return Ok(());
        }
        self.edited = Some((candidate, drop_in));
        self.show(plan, desk);
        Ok(())
    }
}

/// A candidate as it is shown; one that hands over the system with where to look before.
pub(crate) fn row(
    subject: &dyn Subject,
    plan: &Plan,
    candidate: &Candidate,
    denials: &[DenialRow],
) -> RepairRow {
    let mut row = RepairRow::new(plan, candidate);
    let amended = subject.amended(&tried(subject, &candidate.amendment));
    row.leaves_no_filter = subject.policy().filter.exists() && !amended.filter.exists();
    let high = candidate.high_risk();
    if !high.is_empty() {
        let makes = |row: &&DenialRow| {
            high.iter().any(|(what, _)| *what == row.call || row.setting.is_some_and(|s| what.starts_with(s)))
        };
        let program = denials.iter().find(makes).and_then(|row| row.exe.as_ref());
        row.look = Look::at(&subject.root(), subject.unit(), program);
    }
    row
}

/// What the denied calls are, and what the keys do.
fn explain_calls(subject: &dyn Subject, plan: &Plan, keys: &[char], desk: &Desk) {
    let settings = plan.needs.settings.lines.iter().map(|line| format!("{}=", line.setting));
    let words: Vec<String> = plan.needs.calls.iter().cloned().chain(settings).collect();
    let pasted = explain::parse::parse(words.join("\n").as_bytes());
    let context = explain::Context { groups: subject.groups(), rules: &desk.rules, unit: None, repair: None };
    let explanation = explain::Explanation { next: Vec::new(), ..explain::explain(&pasted, context) };
    output::message(&desk.people.explanation(&explanation));
    let choose = if keys.contains(&'c') { "c  choose another change\n" } else { "" };
    output::message(&format!(
        "\n{KEYS}{choose}e  edit the drop-in in $EDITOR, and have it checked\n?  show this\n",
    ));
}
