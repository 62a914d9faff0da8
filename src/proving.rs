//! Proving: what is seen before a repair is offered. Which of the denied calls are needed at all, and whether it is
//! enough to let them fail.

use crate::change::{Answer, Approval};
use crate::ending::Ending;
use crate::evidence::{Denial, Effect};
use crate::plan::minimum::{self, Shown};
use crate::plan::{Amendment, Candidate, DropIn, Ground, Needs, Plan, Proof, Rung, list};
use crate::policy::{Action, Policy};
use crate::recipe::Desk;
use crate::replay::Observation;
use crate::report::output;
use crate::report::progress::announce;
use crate::subject::{Bench, Evidence, Failure, Subject, Verdict};
use crate::syscalls::Call;
use std::collections::BTreeSet;

/// A replay, and who agreed to it.
pub(crate) struct Replayed {
    /// What it showed.
    pub(crate) observation: Observation,
    /// Somebody agreed to restarts; nothing where none are needed.
    pub(crate) approval: Option<Approval>,
}

/// A drop-in that is tried, and not kept.
pub(crate) fn tried(subject: &dyn Subject, amendment: &Amendment) -> DropIn {
    let folder = subject.drop_in_folder();
    DropIn::new(amendment, subject.unit(), &folder, "trial", "a trial, which is taken away again", "-")
}

/// Leave out what the unit works without: asked for with `--minimize`, and always where denied calls fail with an errno,
/// because many of them may be harmless. The ending, if it works as it is.
pub(crate) fn only_what_is_needed(
    subject: &dyn Subject,
    needs: &mut Needs,
    evidence: &Evidence,
    replayed: Option<&Replayed>,
    desk: &Desk,
) -> Result<Option<Ending>, Failure> {
    let fails = matches!(subject.policy().default, Action::Errno(_));
    let Some(replayed) = replayed.filter(|_| desk.options.minimize || fails) else { return Ok(None) };
    if evidence.outcome.is_none() && fails && works_as_it_is(subject, needs, replayed)? {
        return Ok(Some(Ending::works_all_the_same()));
    }
    // what comes only later than in a run is not looked for in one, and kept
    let late = |call: &String| comes_late(&replayed.observation, call);
    let (late, calls): (Vec<String>, Vec<String>) = needs.calls.iter().cloned().partition(late);
    if calls.len() < 2 {
        return Ok(None);
    }
    let most = minimum::budget(calls.len());
    let question = format!(
        "Which of the {} denied calls it needs takes at most {most} more runs to find out, of {} s each.",
        calls.len(),
        desk.options.observe
    );
    if subject.proves_beforehand() {
        output::paragraph(&question);
    } else {
        match desk.prompt.ask(&question, "Find out?") {
            Answer::Approved(_) => {}
            Answer::Declined | Answer::NobodyToAsk => return Ok(None),
        }
        if desk.prompt.yes == crate::change::Yes::Given {
            output::message(&format!("\n{question}\n"));
        }
    }
    let mut bench = subject.bench(replayed.approval.as_ref())?;
    let mut number = 0;
    let found = minimum::search(&calls, |allowed| {
        number += 1;
        let allowed: BTreeSet<String> = allowed.iter().chain(&late).cloned().collect();
        step(subject, bench.as_mut(), needs, &allowed, replayed, &format!("{number} of at most {most}"))
    });
    let found = found?;
    bench.close()?;
    if found.needed.is_empty() {
        output::message("It works now with none of them allowed, and did not before: all are kept.\n");
        return Ok(None);
    }
    needs.spare_all_but(&found.needed.iter().chain(&late).cloned().collect());
    let sure = if found.proven { "" } else { ", perhaps fewer" };
    output::message(&format!("It needs {}{sure}.\n", list(&needs.calls)));
    Ok(None)
}

/// Whether a call came only later than a run of the unit would show it.
fn comes_late(observation: &Observation, call: &str) -> bool {
    observation.late.iter().any(|late| late.name() == Some(call))
}

/// Whether a unit file, of which nobody knows how it stands, works under its own filter.
fn works_as_it_is(subject: &dyn Subject, needs: &Needs, replayed: &Replayed) -> Result<bool, Failure> {
    let mut bench = subject.bench(replayed.approval.as_ref())?;
    let nothing = tried(subject, &Amendment::default());
    let observation = bench.run(&nothing, &replayed.observation.denials)?;
    bench.close()?;
    Ok(needs.beside_calls().is_empty() && works(&observation, subject.policy()))
}

/// Whether the unit worked: by its state and the user's check; no process of it was killed, and, where no check says
/// better, none that was refused something ended badly. A call that was let through although it is denied speaks
/// against it as well: what would have come of it is not known.
fn works(observation: &Observation, policy: &Policy) -> bool {
    let passed_unseen = |denial: &Denial| {
        denial.effect == Effect::Recorded
            && denial.raw_arguments.is_none()
            && policy.decide(denial.call).denies()
    };
    let against = |denial: &Denial| denial.kills(policy) || passed_unseen(denial);
    let casualties = observation.check.is_none() && observation.casualties.iter().flatten().next().is_some();
    observation.works() && !casualties && !observation.denials.iter().any(against)
}

/// One run of the search: only these calls are allowed.
fn step(
    subject: &dyn Subject,
    bench: &mut dyn Bench,
    needs: &Needs,
    allowed: &BTreeSet<String>,
    replayed: &Replayed,
    progress: &str,
) -> Result<Shown<String>, Failure> {
    let with = if allowed.is_empty() { "nothing".to_owned() } else { list(allowed) };
    let drop_in = tried(subject, &Amendment { allow: allowed.clone(), ..needs.beside_calls() });
    let policy = subject.amended(&drop_in);
    let announced = announce(&format!("  {progress}: allowing {with}"), Some(subject.observe_time()));
    let observation = bench.run(&drop_in, &replayed.observation.denials);
    drop(announced);
    let observation = observation.inspect_err(|_| output::message("broken off.\n"))?;
    let works = works(&observation, &policy);
    let suspects = if works { Vec::new() } else { suspects(&observation, &policy, allowed) };
    output::message(&match (works, suspects.first()) {
        (true, _) => "works\n".to_owned(),
        (false, None) => format!("does not work: {}\n", failing(&observation)),
        (false, Some(call)) => format!("does not work: {}; it was refused {call}\n", failing(&observation)),
    });
    Ok(Shown { works, suspects })
}

fn failing(observation: &Observation) -> String {
    match &observation.check {
        Some(check) if observation.outcome.healthy() && !check.passed() => check.to_string(),
        _ => crate::evidence::Untrusted::new(observation.outcome.to_string()).to_string(),
    }
}

/// What the unit was refused last before it failed: what killed a process first, then what a process that ended badly
/// was refused, then whatever else was refused, the latest first.
fn suspects(observation: &Observation, policy: &Policy, allowed: &BTreeSet<String>) -> Vec<String> {
    let killers = observation.denials.iter().filter(|denial| denial.kills(policy)).map(|denial| denial.call);
    let casualties = observation.casualties.iter().flatten().rev().map(|casualty| casualty.call);
    let by_filter = observation.denials.iter().filter(|denial| denial.raw_arguments.is_none());
    let mut refused: Vec<&Denial> = by_filter.collect();
    refused.sort_by_key(|denial| denial.time);
    let refused = refused.into_iter().rev().map(|denial| denial.call);
    let calls = killers.chain(casualties).chain(refused).filter_map(Call::name);
    calls.filter(|name| !allowed.contains(*name)).map(str::to_owned).collect()
}

/// What has to be known to try out a candidate.
pub(crate) struct Prover<'a> {
    /// The unit.
    pub(crate) subject: &'a dyn Subject,
    /// The replay that the plan was made from.
    pub(crate) replayed: &'a Replayed,
    /// What the plan is for.
    pub(crate) needs: &'a Needs,
}

/// See to it that the first candidate of a plan is one that may be offered. What is refuted goes, and so does what could
/// only be proven by a run that nobody asked for. The ending, if nothing is left.
pub(crate) fn settle(
    subject: &dyn Subject,
    plan: &mut Plan,
    replayed: Option<&Replayed>,
    ground: Ground,
) -> Result<Option<Ending>, Failure> {
    let Some(replayed) = replayed else {
        plan.candidates.retain(|candidate| candidate.amendment.soften.is_empty());
        return Ok(None);
    };
    if !subject.proves_beforehand() {
        for candidate in plan.candidates.iter_mut().filter(|c| c.amendment.soften.is_empty()) {
            let outcome = &replayed.observation.outcome;
            candidate.proof = Proof::Shown(format!("the replay, with every call let through: {outcome}"));
        }
    }
    // what only logs know of, or comes late, is not made again in a run, which then shows nothing of it
    let observation = &replayed.observation;
    let seen = |call: &str| {
        observation.denials.iter().any(|d| d.call.name() == Some(call)) && !comes_late(observation, call)
    };
    for candidate in &mut plan.candidates {
        let unseen: Vec<String> =
            candidate.amendment.soften.keys().filter(|call| !seen(call)).cloned().collect();
        for call in unseen {
            match candidate.allowing(&call, ground) {
                Some(firmer) => *candidate = firmer,
                None => candidate.proof = Proof::Refuted(format!("no run made {call}")),
            }
        }
    }
    let prover = Prover { subject, replayed, needs: &plan.needs };
    let mut why_not = String::new();
    let mut tries = if subject.proves_beforehand() { usize::MAX } else { SOFT_TRIALS };
    while let Some(first) = plan.candidates.first_mut() {
        let culprit = prover.prove(first, &tried(subject, &first.amendment))?;
        match &first.proof {
            Proof::Shown(_) => break,
            Proof::Refuted(why) => why_not.clone_from(why),
            Proof::None => {}
        }
        tries = tries.saturating_sub(1);
        let refuted = plan.candidates.remove(0);
        let firmer = culprit.and_then(|call| refuted.allowing(&call, ground)).filter(|_| tries > 0);
        plan.refuted.push(refuted);
        if let Some(firmer) = firmer {
            plan.candidates.insert(0, firmer);
        }
    }
    plan.candidates.retain(|candidate| candidate.rung != Rung::Soft || candidate.proof != Proof::None);
    let nothing_left = plan.candidates.is_empty();
    Ok(nothing_left.then(|| Ending::NoRepair(format!("No repair can be offered: {why_not}"))))
}

/// How often a unit is restarted to see whether it is enough to let calls fail: once with all of them, and once without
/// the one that was not enough.
const SOFT_TRIALS: usize = 2;

impl Prover<'_> {
    /// Run the unit under a candidate of which nothing is known yet, as it is without its final comment.
    pub(crate) fn prove_as_tried(&self, candidate: &mut Candidate) -> Result<(), Failure> {
        self.prove(candidate, &tried(self.subject, &candidate.amendment)).map(drop)
    }

    /// Run the unit under a candidate of which nothing is known yet, written so. Returns the call that it was refused
    /// last, if that is why it does not work.
    pub(crate) fn prove(
        &self,
        candidate: &mut Candidate,
        drop_in: &DropIn,
    ) -> Result<Option<String>, Failure> {
        if candidate.proof != Proof::None {
            return Ok(None);
        }
        let soft = !candidate.amendment.soften.is_empty();
        let say = |words: &str| {
            if soft {
                output::message(words);
            }
        };
        let doing = format!("to see whether it is enough to {}", candidate.deed());
        let notice = format!("\n{}", self.subject.trial_notice(&doing));
        let announced = soft.then(|| announce(&notice, Some(self.subject.observe_time())));
        let observation = self.run(drop_in);
        drop(announced);
        let observation = observation.inspect_err(|_| say("broken off.\n"))?;
        let policy = self.subject.amended(drop_in);
        let mut suspects = suspects(&observation, &policy, &candidate.amendment.allow).into_iter();
        candidate.proof = self.judge(candidate, &policy, observation);
        say(&match &candidate.proof {
            Proof::Shown(_) => "it works\n".to_owned(),
            Proof::Refuted(why) => format!("it is not: {why}\n"),
            Proof::None if self.subject.proves_beforehand() => "that was not seen\n".to_owned(),
            Proof::None => "that is only seen with --via strace or --check\n".to_owned(),
        });
        let culprit = suspects.next().filter(|call| candidate.amendment.soften.contains_key(call));
        Ok(culprit.filter(|_| matches!(candidate.proof, Proof::Refuted(_))))
    }

    /// One run under a drop-in, after which everything is as it was.
    fn run(&self, drop_in: &DropIn) -> Result<Observation, Failure> {
        let mut bench = self.subject.bench(self.replayed.approval.as_ref())?;
        let observation = bench.run(drop_in, &self.replayed.observation.denials)?;
        bench.close()?;
        Ok(observation)
    }

    fn judge(&self, candidate: &Candidate, policy: &Policy, observation: Observation) -> Proof {
        let soft = &candidate.amendment.soften;
        if !soft.is_empty() && observation.works() && !shows(soft.keys(), &observation) {
            return Proof::None;
        }
        let may_fail = soft.keys().chain(&self.needs.soft).chain(&self.needs.spared);
        let may_fail = may_fail.map(String::as_str).collect();
        let outcome = &observation.outcome;
        let how = if soft.is_empty() {
            format!("a second run under the repaired filter: {outcome}, and no call of it was denied")
        } else {
            format!("a run in which {} failed: {outcome}, and nothing ended badly", list(soft.keys()))
        };
        let verdict = Verdict::of(observation, policy, &may_fail, how);
        match (verdict.against("under the repaired filter", self.subject.policy()), verdict) {
            (Some(why), _) => Proof::Refuted(why),
            (None, Verdict::Works(how)) => Proof::Shown(how),
            (None, _) => Proof::None,
        }
    }
}

/// Whether a run in which these calls fail tells what comes of that: they were made, and it was seen what became of
/// who made them; or, where that cannot be seen, the user's check says so.
fn shows<'c>(mut calls: impl Iterator<Item = &'c String>, observation: &Observation) -> bool {
    if observation.casualties.is_none() {
        return observation.check.is_some();
    }
    let refused = |call: &String| {
        let of_it = |d: &&Denial| d.call.name() == Some(call.as_str());
        let mut made = observation.denials.iter().filter(of_it);
        made.any(|denial| matches!(denial.effect, Effect::Failed(_)))
    };
    !observation.lossy && calls.all(refused)
}
