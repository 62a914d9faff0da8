//! The patch is handed over: on standard output, alone or behind a commit message.

use super::naming::Naming;
use super::unified::unified;
use super::{Patched, Refusal, Task, has_own_drop_in, patch};
use crate::cli::PatchForm;
use crate::ending::Ending;
use crate::plan::{Amendment, Candidate, Plan, Rung, list};
use crate::policy::Policy;
use crate::recipe::Desk;
use crate::report::{CommitMessage, PolicyChange, RepairRow, TokenRow, author, output};
use crate::subject::Subject;
use crate::syscalls::{Arch, Call};
use crate::unit::{SourceFile, shown_path};

/// What is handed over.
struct Offer<'a> {
    subject: &'a dyn Subject,
    task: &'a Task,
    candidate: &'a Candidate,
    /// The calls and groups that it is for.
    calls: &'a [String],
    /// Who was denied what.
    why: &'a str,
    /// It is in force already, as unitfix's own drop-in.
    in_force: bool,
}

/// Hand over the best candidate of a plan as a patch. `why` says who was denied what.
pub(crate) fn offer(subject: &dyn Subject, plan: &Plan, why: &str, desk: &mut Desk) -> Ending {
    let Some(candidate) = plan.candidates.first() else {
        return Ending::NoRepair("No repair can be offered.".to_owned());
    };
    let row = RepairRow::new(plan, candidate);
    desk.show(&desk.people.repair(&row));
    desk.report.repair = Some(row);
    let task = &Task::new(subject.unit(), &candidate.amendment);
    if task.amendment == candidate.amendment {
        let calls = &plan.needs.calls;
        return Offer { subject, task, candidate, calls, why, in_force: false }.hand_over(desk);
    }
    // what unitfix's own drop-in allows was found by an earlier run
    let whole = whole(subject, task, candidate.rung, desk);
    let (proof, relaxes) = (candidate.proof.clone(), candidate.relaxes.clone());
    let candidate = &Candidate { relaxes, proof, ..whole };
    let why = &[&task.reasons[..], &[why.to_owned()]].concat().join("; ");
    Offer { subject, task, candidate, calls: &named(&task.amendment), why, in_force: false }.hand_over(desk)
}

/// Hand over what unitfix wrote for the unit before as a patch, if there is nothing to repair because of that.
pub(crate) fn of_what_is_written(subject: &dyn Subject, ending: Ending, desk: &mut Desk) -> Ending {
    let nothing_to_do = matches!(ending, Ending::NothingToDo(_));
    if desk.options.patch.is_none() || !nothing_to_do || !has_own_drop_in(subject.unit()) {
        return ending;
    }
    let task = &Task::new(subject.unit(), &Amendment::default());
    let candidate = &whole(subject, task, Rung::Exact, desk);
    let (calls, why) = (&named(&task.amendment), &task.reasons.join("; "));
    Offer { subject, task, candidate, calls, why, in_force: true }.hand_over(desk)
}

/// What unitfix's own drop-in and a repair add together.
fn whole(subject: &dyn Subject, task: &Task, rung: Rung, desk: &Desk) -> Candidate {
    let policy = Policy::evaluate(&task.unit, subject.groups());
    Candidate::new(rung, task.amendment.clone(), &policy, subject.groups(), &desk.rules)
}

/// The calls and groups that an amendment names.
fn named(amendment: &Amendment) -> Vec<String> {
    amendment.allow.iter().chain(amendment.soften.keys()).cloned().collect()
}

impl Offer<'_> {
    fn hand_over(&self, desk: &mut Desk) -> Ending {
        let files = match patch(&self.task.unit, &self.task.amendment, self.subject.groups()) {
            Ok(files) => files,
            Err(refusal) => return self.refused(&refusal, desk),
        };
        let form = desk.options.patch.unwrap_or(PatchForm::Diff);
        let by_path = desk.options.unit.as_deref().is_some_and(|unit| unit.contains('/'));
        let naming = if by_path {
            Naming::of_path(&self.task.unit.fragment, form == PatchForm::Message)
        } else {
            Naming::of_system()
        };
        let mut text = match form {
            PatchForm::Diff => Vec::new(),
            PatchForm::Message => self.message(&naming).into_bytes(),
        };
        for file in &files {
            text.extend(unified(file, &naming.name(&file.path)));
        }
        desk.report.patch = Some(String::from_utf8_lossy(&text).into_owned());
        if desk.options.html.is_some() {
            desk.report.policy = Some(self.compare(&files));
        }
        if !desk.options.place.json {
            output::result_bytes(&text);
        }
        let names = list(files.iter().map(|file| shown_path(&naming.name(&file.path))));
        let how = match (form, by_path) {
            (PatchForm::Message, true) => "git am applies it",
            (PatchForm::Diff, true) => "git apply, or patch -p1, applies it",
            (_, false) => "patch -p1 applies it",
        };
        Ending::Proposed(format!(
            "Nothing was changed. This is a patch of {names}: {how}. With it, every call gets the answer that a drop-in \
             would give."
        ))
    }

    /// What the patch changes of the policy, for the page.
    fn compare(&self, files: &[Patched]) -> PolicyChange {
        let (unit, groups) = (&self.task.unit, self.subject.groups());
        let patched = files.iter().fold(unit.clone(), |unit, file| {
            unit.with_file(&SourceFile::new(&file.path, file.after.clone()), groups.systemd)
        });
        let [before, after] = [unit, &patched].map(|unit| Policy::evaluate(unit, groups));
        let own_left_out = unit.drop_ins.len() != self.subject.unit().drop_ins.len();
        PolicyChange { own_left_out, ..PolicyChange::between(&before, Some(&after), groups) }
    }

    fn message(&self, naming: &Naming) -> String {
        let variable = |name: &str| std::env::var(name).ok();
        let file_name = self.task.unit.fragment.path.file_name();
        let message = CommitMessage {
            unit: &file_name.map(|name| shown_path(name.as_ref())).unwrap_or_default(),
            author: &author(variable("GIT_AUTHOR_NAME"), variable("GIT_AUTHOR_EMAIL")),
            candidate: self.candidate,
            why: self.why,
            decided: &self.decided(),
            name: &|path| shown_path(&naming.name(path)),
            systemd: self.subject.groups().systemd,
            manager: !self.subject.proves_beforehand(),
            in_force: self.in_force,
        };
        message.text()
    }

    /// The tokens that decide about the calls, and about architectures.
    fn decided(&self) -> Vec<TokenRow> {
        let policy = Policy::evaluate(&self.task.unit, self.subject.groups());
        let native = Arch::native();
        let number = |name: &String| Some(Call { arch: native, number: native.number(name)? });
        let named = self.calls.iter().filter_map(number).map(|call| (policy.filter_alone(call), call));
        // whatever the call: the first of that architecture stands for all
        let foreign = self.task.amendment.architectures.iter().map(|arch| Call { arch: *arch, number: 0 });
        let foreign = foreign.map(|call| (policy.decide(call), call));
        let rows = named.chain(foreign).filter_map(|(decision, call)| TokenRow::of(&decision, call));
        rows.chain(self.candidate.relaxes.iter().map(TokenRow::of_setting)).collect()
    }

    /// Why there is no patch, and what can be done instead.
    fn refused(&self, refusal: &Refusal, desk: &Desk) -> Ending {
        if let Refusal::Needless(_) = refusal {
            let undo = self.subject.undo_command();
            let words =
                format!("Nothing to repair: {refusal}. unitfix's drop-in is not needed any more: {undo}");
            return Ending::NothingToDo(words);
        }
        let instead = if self.in_force {
            "The drop-in that repairs it here stays".to_owned()
        } else {
            format!("A drop-in can repair it here: {} --apply", desk.options.command())
        };
        Ending::NoRepair(format!("No patch can be offered: {refusal}. {instead}"))
    }
}
