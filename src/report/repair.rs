//! The repairs that are possible, as rows and as text: what each does, what it gives away, and what speaks for it.

use super::People;
use super::fill::fill_from;
use crate::evidence::Untrusted;
use crate::plan::{Candidate, Plan, Proof, Rung};
use crate::policy::errno_name;
use crate::policy::relax::Relaxation;
use crate::root::Root;
use crate::rules::{Power, Tier};
use crate::syscalls::Arch;
use crate::unit::Unit;
use console::style;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

/// So many calls are shown with what they give away; `--json` has them all.
const MANY: usize = 4;

/// A repair, and the others that are possible.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "Repair"))]
pub struct RepairRow {
    /// The one that is proposed.
    #[serde(flatten)]
    pub proposed: CandidateRow,
    /// Denied calls that no setting of this system can let in.
    pub inexpressible: Vec<String>,
    /// Calls that the author lets fail on purpose, left as they are.
    pub soft: Vec<String>,
    /// Denied calls that it was seen to work without, left as they are.
    pub spared: Vec<String>,
    /// Where to look before a call that hands over the system is allowed.
    pub look: Vec<Look>,
    /// Why it is not the kind of change that was asked for.
    pub note: Option<String>,
    /// It opens all that the filter forbids: the unit has none with it.
    pub leaves_no_filter: bool,
    /// The others that are possible.
    pub others: Vec<CandidateRow>,
    /// Those that were tried and did not work.
    pub refuted: Vec<CandidateRow>,
}

/// Where package managers keep what they installed, and how each compares a file with that.
const VERIFY: [(&str, &str); 4] = [
    ("/var/lib/dpkg/status", "dpkg --verify $(dpkg -S PATH | cut -d: -f1)"),
    ("/usr/lib/sysimage/rpm", "rpm -Vf PATH"),
    ("/var/lib/rpm", "rpm -Vf PATH"),
    ("/var/lib/pacman/local", "pacman -Qkk $(pacman -Qqo PATH)"),
];

/// A command that shows whether a service may have been taken over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Look {
    /// The command.
    pub command: String,
    /// What it tells.
    pub tells: &'static str,
}

impl Look {
    /// The commands for a unit whose program makes a call that hands over the system.
    #[must_use]
    pub fn at(root: &Root, unit: &Unit, program: Option<&Untrusted>) -> Vec<Look> {
        let look = |command: String, tells| Look { command, tells };
        // whoever types a name into a shell has to be able to trust it
        let plain = |path: &&str| path.chars().all(|c| c.is_ascii_alphanumeric() || "/._+-".contains(c));
        let path = program.map(ToString::to_string);
        let mut out = Vec::new();
        if let Some(path) = path.as_deref().filter(plain) {
            out.push(look(format!("stat {path}"), "when its program was changed"));
            let verify = VERIFY.iter().find(|(database, _)| root.kind(Path::new(database)).is_some());
            if let Some((_, command)) = verify {
                out.push(look(command.replace("PATH", path), "whether it is the package's own"));
            }
        }
        out.push(look(format!("{} --unit {}", unit.scope.journalctl(), unit.name), "what it did before"));
        out
    }
}

/// A line of another setting than `SystemCallFilter=`.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "Setting"))]
pub struct SettingRow {
    /// The line.
    pub line: String,
    /// What it lets a program do, to follow "lets a program".
    pub lets: String,
    /// How much that is.
    pub tier: Tier,
    /// Whether it hands over the system.
    pub high: bool,
    /// Why nothing narrower can be written; nothing: it is as narrow as the call.
    pub narrower: Option<String>,
}

impl From<&Relaxation> for SettingRow {
    fn from(relaxation: &Relaxation) -> Self {
        SettingRow {
            line: relaxation.line(),
            lets: relaxation.lets.clone(),
            tier: relaxation.risk,
            high: relaxation.high,
            narrower: relaxation.narrower.clone(),
        }
    }
}

/// One way to repair a unit.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "Candidate"))]
pub struct CandidateRow {
    /// `exact`, `soft`, `family`, `group` or `edited`.
    pub kind: Rung,
    /// In words.
    pub words: String,
    /// The same without how much it opens.
    #[serde(skip)]
    pub(super) deed: String,
    /// The calls and groups that it allows.
    pub calls: Vec<String>,
    /// The calls that it lets fail, each with the errno.
    pub softened: BTreeMap<String, String>,
    /// The architectures that it lets in.
    pub architectures: Vec<Arch>,
    /// What it takes back of other settings.
    pub settings: Vec<SettingRow>,
    /// Every call that it opens, with what that gives away.
    pub opens: Vec<Power>,
    /// Whether it gives nothing away.
    pub adds_no_power: bool,
    /// Those of the calls that hand over the system, with what each lets a program do.
    pub high_risk: Vec<(String, String)>,
    /// What speaks for it, or against it.
    pub proof: Proof,
}

impl RepairRow {
    /// A candidate of a plan, as the one that is proposed.
    #[must_use]
    pub fn new(plan: &Plan, candidate: &Candidate) -> Self {
        let needs = &plan.needs;
        let others = plan.candidates.iter().filter(|other| other.amendment != candidate.amendment);
        RepairRow {
            proposed: CandidateRow::from(candidate),
            inexpressible: needs.inexpressible.iter().map(|call| format!("{call} ({})", call.arch)).collect(),
            soft: needs.soft.iter().cloned().collect(),
            spared: needs.spared.iter().cloned().collect(),
            look: Vec::new(),
            note: plan.note.clone(),
            leaves_no_filter: false,
            others: others.map(CandidateRow::from).collect(),
            refuted: plan.refuted.iter().map(CandidateRow::from).collect(),
        }
    }
}

impl From<&Candidate> for CandidateRow {
    fn from(candidate: &Candidate) -> Self {
        let amendment = &candidate.amendment;
        CandidateRow {
            kind: candidate.rung,
            words: candidate.words(),
            deed: candidate.deed(),
            calls: amendment.allow.iter().cloned().collect(),
            softened: amendment
                .soften
                .iter()
                .map(|(name, errno)| (name.clone(), errno_name(*errno)))
                .collect(),
            architectures: amendment.architectures.iter().copied().collect(),
            settings: candidate.relaxes.iter().map(SettingRow::from).collect(),
            opens: candidate.opens.clone(),
            adds_no_power: candidate.adds_no_power(),
            high_risk: candidate.high_risk(),
            proof: candidate.proof.clone(),
        }
    }
}

impl CandidateRow {
    /// In one line, as a row below [`HEADER`].
    #[must_use]
    pub fn line(&self) -> String {
        self.columns() + &self.deed
    }

    /// All columns but the last.
    fn columns(&self) -> String {
        let proof = self.proof_word();
        let calls = format!("+{}", self.opens.len());
        format!("{:7} {calls:>5}  {:15}  {proof:9}  ", self.kind.name(), self.gives_away())
    }

    /// What speaks for it, in a word or two.
    pub(super) fn proof_word(&self) -> &'static str {
        match self.proof {
            Proof::Shown(_) => "proven",
            Proof::None => "not tried",
            Proof::Refuted(_) => "refuted",
        }
    }

    /// The power that it adds, in a word or two.
    pub(super) fn gives_away(&self) -> &'static str {
        let calls = self.opens.iter().filter(|power| power.adds.is_some()).map(|power| power.risk.tier);
        match calls.chain(self.settings.iter().map(|row| row.tier)).max() {
            _ if !self.high_risk.is_empty() => "HIGH RISK",
            Some(tier) => tier.word(),
            None if self.architectures.is_empty() => "nothing",
            None => "other programs",
        }
    }

    /// What each call that it opens gives away, the riskiest first.
    fn powers(&self, width: usize) -> String {
        let mut out = String::new();
        let mut line = |label: &str, text: &str| {
            out.push_str(&fill_from("  ", &format!("{label}{text}"), width.min(80), "    "));
        };
        let mut adding: Vec<&Power> =
            self.opens.iter().filter(|power| power.adds.is_some() && !power.risk.high).collect();
        adding.sort_by_key(|power| std::cmp::Reverse(power.risk.tier));
        for (call, lets) in &self.high_risk {
            line(&format!("{} ", style("high risk:").red().bold()), &format!("{call} lets a program {lets}"));
        }
        for row in self.settings.iter().filter(|row| !row.high) {
            let narrower = row.narrower.as_ref().map(|why| format!(" (nothing narrower: {why})"));
            let tier = row.tier.word();
            line(
                "adds ",
                &format!("{tier}: {} lets a program {}{}", row.line, row.lets, narrower.unwrap_or_default()),
            );
        }
        for power in adding.iter().take(MANY) {
            let lets = power.adds.as_deref().unwrap_or_default();
            let tier = power.risk.tier.word();
            line("adds ", &format!("{tier}: {} lets a program {lets}", power.call));
        }
        if adding.len() > MANY {
            line("adds ", &format!("{} more calls (--json lists them)", adding.len() - MANY));
        }
        let free: Vec<&Power> = self.opens.iter().filter(|power| power.adds.is_none()).collect();
        for power in free.iter().take(MANY) {
            let label = if self.adds_no_power && self.opens.len() == 1 {
                String::new()
            } else {
                format!("{}: ", power.call)
            };
            line("adds no power: ", &format!("{label}{}", power.because));
        }
        if self.opens.is_empty() && self.settings.is_empty() && !self.softened.is_empty() {
            line("adds no power: ", "nothing is allowed that was forbidden");
        }
        out
    }
}

impl People {
    /// The repair in words, what it gives away, and what else is possible.
    #[must_use]
    pub fn repair(&self, row: &RepairRow) -> String {
        let proposed = &row.proposed;
        let head = format!("\n{} ", style("Repair:").bold());
        let mut out = fill_from(&head, &proposed.words, self.width, "  ");
        out.push_str(&proposed.powers(self.width));
        if !proposed.high_risk.is_empty() {
            out.push_str(SUSPICION);
            let width = row.look.iter().map(|look| look.command.len()).max().unwrap_or_default();
            for Look { command, tells } in &row.look {
                let _ = writeln!(out, "    {command:width$}  {tells}");
            }
        }
        let mut line = |text: String| out.push_str(&fill_from("  ", &text, self.width.min(80), "    "));
        if !row.inexpressible.is_empty() {
            line(format!("no setting of this system can allow: {}", row.inexpressible.join(", ")));
        }
        if !row.soft.is_empty() {
            line(format!("left to fail softly, as the unit says: {}", row.soft.join(", ")));
        }
        if !row.spared.is_empty() {
            line(format!("left forbidden, because it works without: {}", row.spared.join(", ")));
        }
        if row.leaves_no_filter {
            line("that is all that the filter forbids: with it, the unit has no filter any more".to_owned());
        }
        if let Some(note) = &row.note {
            line(format!("not as asked for: {note}"));
        }
        for refuted in &row.refuted {
            if let Proof::Refuted(why) = &refuted.proof {
                line(format!("not offered, {}: {why}", refuted.kind.name()));
            }
        }
        if !row.others.is_empty() {
            let _ = writeln!(out, "  Also possible, with --prefer:\n    {}", style(HEADER).dim());
        }
        for other in &row.others {
            let head = format!("    {}", other.columns());
            let indent = " ".repeat(head.len());
            out.push_str(&fill_from(&head, &other.deed, self.width.min(80), &indent));
        }
        out
    }
}

/// The columns of a table of candidates.
pub(super) const HEADER: &str = "KIND    CALLS  GIVES AWAY       PROOF      CHANGE";

/// What a call that hands over the system may mean, and where to look.
pub(super) const SUSPICION: &str = "  A service that was fine and suddenly wants this may be compromised rather than\n  \
broken. Before you say yes, look:\n";
