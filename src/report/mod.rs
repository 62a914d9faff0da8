//! The report: what a run found and did, as one value, from which people's text and `--json` are both made.

mod blame;
mod check;
mod course;
mod explanation;
mod fill;
mod html;
mod message;
mod notice;
pub mod output;
mod people;
mod policy;
pub(crate) mod progress;
mod repair;
mod scan;
#[cfg(test)]
mod schema;
pub(crate) mod terminal;

pub use blame::PackageRow;
pub use check::{CheckReport, TestsRow};
pub use course::{Deed, Step};
pub use html::{PageFile, Pages};
pub use message::{CommitMessage, author};
pub use notice::{MESSAGE_ID, Notice};
pub use people::People;
pub(crate) use people::who;
pub use policy::{Asked, ChangedCall, Counts, Lint, PolicyChange, PolicyPage, parse_call};
pub use repair::{CandidateRow, Look, RepairRow};
pub use scan::{Forbids, NobodysRow, Part, ReadRow, ScanReport, ScannedUnit};

use crate::blame::Stack;
use crate::change::{Diff, FileChange};
use crate::evidence::{Effect, Sighting, Untrusted};
use crate::finding::{Code, Finding, Severity};
use crate::policy::relax::Relaxation;
use crate::policy::{Action, Because, Decision, Policy};
use crate::replay::{Observation, Outcome};
use serde::Serialize;
use std::path::PathBuf;

/// The version of the JSON format. It grows when a field goes or changes its meaning, not when one is added.
pub const SCHEMA: u32 = 1;

/// Everything that one run has to say.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Report {
    /// The version of this format.
    #[cfg_attr(test, schemars(extend("const" = SCHEMA)))]
    pub schema: u32,
    /// The version of unitfix.
    pub unitfix: &'static str,
    /// The unit, or the unit file's path.
    pub unit: String,
    /// What the unit does now, in words.
    pub state: String,
    /// The forbidden calls that were seen, of processes of the unit.
    pub denials: Vec<DenialRow>,
    /// Those that the unit's policy forbids too, but of which it is not known whose they are.
    pub unattributed: Vec<DenialRow>,
    /// What is wrong with the unit's files, and what could not be seen.
    pub findings: Vec<FindingRow>,
    /// The replay, if there was one.
    pub replay: Option<ReplayRow>,
    /// The repair, if there is one.
    pub repair: Option<RepairRow>,
    /// The change of files, if there is one.
    pub diff: Option<String>,
    /// The same as data.
    pub files: Vec<FileChange>,
    /// The repair as a patch of the unit file, if `--patch` asked for one; what is not UTF-8 in it is replaced.
    pub patch: Option<String>,
    /// What the proof or the verification showed.
    pub verdict: Option<String>,
    /// What unitfix did, and when; for the page.
    #[serde(skip)]
    pub course: Vec<Step>,
    /// What the unit's policy is, and what becomes of it; for the page.
    #[serde(skip)]
    pub policy: Option<PolicyChange>,
    /// How the run ended.
    pub ending: String,
    /// The exit status that goes with it.
    pub exit_status: u8,
}

/// A forbidden call, and why it is forbidden.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "Denial"))]
pub struct DenialRow {
    /// The call's name, or `number N`.
    pub call: String,
    /// Its number on the architecture.
    pub number: u32,
    /// The architecture, in systemd's words.
    pub architecture: crate::syscalls::Arch,
    /// `killed`, `failed`, `denied` (it would have been), or in a scan `logged` (the same, in a log).
    pub effect: &'static str,
    /// The process's own name.
    pub program: Untrusted,
    /// Its program file.
    pub exe: Option<Untrusted>,
    /// Its parent's name.
    pub parent: Option<Untrusted>,
    /// How often.
    pub count: usize,
    /// First time, microseconds since the epoch.
    pub first: Option<u64>,
    /// Last time, microseconds since the epoch.
    pub last: Option<u64>,
    /// Why this is believed to be the unit's.
    pub attributed_because: Option<&'static str>,
    /// The arguments, where strace saw them.
    pub arguments: Vec<String>,
    /// The setting beside `SystemCallFilter=` that let it fail, if one did.
    pub setting: Option<&'static str>,
    /// What had called what, innermost first, with `--blame`.
    #[serde(skip_serializing_if = "Stack::is_empty")]
    pub stack: Stack,
    /// The package that owns the program, with `--blame`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub package: Option<PackageRow>,
    /// What the policy does with the call: `kills`, `fails with EPERM`; empty where the unit is not at hand.
    pub policy: String,
    /// The token that decided.
    pub decided_by: Option<TokenRow>,
}

/// A token of a unit file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "Token"))]
pub struct TokenRow {
    /// The file.
    pub file: PathBuf,
    /// The line, from 1.
    pub line: u32,
    /// The first character, from 1.
    pub column: u32,
    /// How many characters.
    pub length: u32,
    /// The line; of a very long one, what is around the token.
    pub text: String,
    /// Where in the text the token is, in characters from 0.
    #[serde(skip)]
    caret: usize,
    /// What the token does, in words.
    pub words: String,
}

/// A finding.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "Finding"))]
pub struct FindingRow {
    /// The stable code; unitfix-findings(7) has them all.
    pub code: &'static str,
    /// How much it matters.
    pub severity: Severity,
    /// What is so.
    pub message: String,
    /// What to do about it.
    pub advice: &'static str,
    /// `file:line:column`, where there is a place.
    pub place: Option<String>,
    #[serde(skip)]
    token: Option<TokenRow>,
}

/// A replay.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "Replay"))]
pub struct ReplayRow {
    /// `log`, `strace` or `local`.
    pub engine: &'static str,
    /// How long the unit was watched, in seconds.
    pub seconds: f64,
    /// How many different calls were denied.
    pub denied: usize,
    /// Whether records were lost.
    pub lossy: bool,
    /// Calls that may have been denied as well, each with its program: whose process made them could not be seen.
    pub unclaimed: Vec<String>,
    /// What the unit did with everything let through.
    pub outcome: String,
    /// What a reader should know.
    pub notes: Vec<String>,
}

impl Report {
    /// An empty report on a unit.
    #[must_use]
    pub fn new(unit: String) -> Self {
        Report {
            schema: SCHEMA,
            unitfix: env!("CARGO_PKG_VERSION"),
            unit,
            state: String::new(),
            denials: Vec::new(),
            unattributed: Vec::new(),
            findings: Vec::new(),
            replay: None,
            repair: None,
            diff: None,
            files: Vec::new(),
            patch: None,
            verdict: None,
            course: Vec::new(),
            policy: None,
            ending: String::new(),
            exit_status: 0,
        }
    }
}

impl DenialRow {
    /// A sighting with what the policy says of it.
    #[must_use]
    pub fn new(sighting: &Sighting, policy: &Policy) -> Self {
        let denial = &sighting.denial;
        let decision = match (denial.restricted_by(policy), denial.effect) {
            (Some(token), Effect::Failed(errno)) => {
                Decision { action: Action::Errno(errno), because: Because::Restricted(token) }
            }
            _ => policy.decide(denial.call),
        };
        let mut decided_by = TokenRow::of(&decision, denial.call);
        let setting = match &decision.because {
            Because::Restricted(token) => Some(token.setting),
            _ => None,
        };
        if let (Some(row), Some(setting)) = (&mut decided_by, setting) {
            row.words = format!("{setting}= makes {} fail with {}", denial.call, errno_of(decision.action));
        }
        DenialRow {
            setting,
            policy: decision.action.to_string(),
            decided_by,
            ..DenialRow::of_nobody(sighting)
        }
    }

    /// A sighting of which it is not known what unit it is about, or what that one says.
    #[must_use]
    pub fn of_nobody(sighting: &Sighting) -> Self {
        let denial = &sighting.denial;
        DenialRow {
            call: denial.call.to_string(),
            number: denial.call.number,
            architecture: denial.call.arch,
            effect: match denial.effect {
                Effect::Killed => "killed",
                Effect::Recorded => "denied",
                Effect::Failed(_) => "failed",
            },
            program: denial.process.comm.clone(),
            exe: denial.process.exe.clone(),
            parent: denial.process.parent.clone(),
            count: sighting.count,
            first: sighting.first,
            last: sighting.last,
            attributed_because: denial.attribution.as_ref().map(crate::evidence::Attribution::reason),
            arguments: denial.arguments.clone(),
            setting: None,
            stack: denial.stack.clone(),
            package: None,
            policy: String::new(),
            decided_by: None,
        }
    }
}

/// The errno of a denial that is one.
fn errno_of(action: Action) -> String {
    match action {
        Action::Errno(number) => crate::policy::errno_name(number),
        other => other.to_string(),
    }
}

impl TokenRow {
    /// The token that decided about a call.
    #[must_use]
    pub fn of(decision: &Decision, call: crate::syscalls::Call) -> Option<Self> {
        let token = decision.token()?;
        let words = match &decision.because {
            Because::Listed(_) if token.text.starts_with('@') => {
                format!("{} contains {call}", token.text.split(':').next().unwrap_or_default())
            }
            Because::Listed(_) => format!("{call} is named here"),
            Because::NotListed(_) if decision.denies() => {
                format!("{call} is not on this list of what is allowed")
            }
            Because::NotListed(_) => format!("{call} is not on this list of what is forbidden"),
            Because::Architecture(_) => format!("calls of the architecture {} are not let in", call.arch),
            Because::Restricted(_) if decision.denies() => "this forbids it".to_owned(),
            Because::Restricted(_) => "this has it logged".to_owned(),
            Because::NoFilter | Because::Unknown | Because::WriteAlways => String::new(),
        };
        Some(TokenRow { words, ..TokenRow::place(&token.span) })
    }

    /// The token of another setting that is relaxed.
    #[must_use]
    pub fn of_setting(relaxation: &Relaxation) -> Self {
        let words = format!("{}= forbids it", relaxation.setting);
        TokenRow { words, ..TokenRow::place(&relaxation.token.span) }
    }

    /// `path:line:column`, as compilers print it.
    #[must_use]
    pub fn location(&self) -> String {
        format!("{}:{}:{}", crate::unit::shown_path(&self.file), self.line, self.column)
    }

    fn place(span: &crate::unit::Span) -> Self {
        let (text, caret) = window(&span.file.line(span.line), span.column);
        TokenRow {
            file: span.file.path.clone(),
            line: span.line,
            column: span.column,
            length: span.length,
            text: one_for_one(&text),
            caret,
            words: String::new(),
        }
    }
}

/// So many characters of a line are shown; of a longer one, so many before the token.
const LINE_SHOWN: usize = 1000;
const BEFORE_TOKEN: usize = 40;

/// A line, or what is around a column of it, and where in that the column is.
fn window(line: &str, column: u32) -> (String, usize) {
    let at = usize::try_from(column).unwrap_or(1).saturating_sub(1);
    if line.chars().nth(LINE_SHOWN).is_none() {
        return (line.to_owned(), at);
    }
    let from = at.saturating_sub(BEFORE_TOKEN);
    (line.chars().skip(from).take(2 * BEFORE_TOKEN).collect(), at - from)
}

/// A line of a file with each character that a terminal would not just show replaced by one that it does, so that
/// columns stay what they are.
fn one_for_one(line: &str) -> String {
    let shown = |c: char| match c {
        '\t' => ' ',
        c if c.is_ascii_graphic() || c == ' ' || c.is_alphanumeric() => c,
        _ => char::REPLACEMENT_CHARACTER,
    };
    line.chars().map(shown).collect()
}

impl FindingRow {
    /// So many findings are shown of one unit. A file that has more is no unit file.
    const MANY: usize = 200;

    /// Findings as rows: of very many only the first, and how many there are.
    pub fn all<'a>(findings: impl IntoIterator<Item = &'a Finding>) -> Vec<Self> {
        let mut findings = findings.into_iter();
        let mut rows: Vec<FindingRow> = findings.by_ref().take(Self::MANY).map(FindingRow::from).collect();
        let more = findings.count();
        if more > 0 {
            let message = format!("{more} more findings like these are not shown");
            rows.push(FindingRow::from(&Finding::warning(Code::MoreFindings, message, None)));
        }
        rows
    }
}

impl From<&Finding> for FindingRow {
    fn from(finding: &Finding) -> Self {
        FindingRow {
            code: finding.code.name(),
            severity: finding.severity,
            message: Untrusted::new(finding.message.as_str()).to_string(),
            advice: finding.code.advice(),
            place: finding.span.as_ref().map(crate::unit::Span::location),
            token: finding.span.as_ref().map(TokenRow::place),
        }
    }
}

impl From<&Observation> for ReplayRow {
    fn from(observation: &Observation) -> Self {
        let calls: std::collections::BTreeSet<_> = observation.denials.iter().map(|d| d.call).collect();
        ReplayRow {
            engine: observation.engine.name(),
            seconds: observation.watched.as_secs_f64(),
            denied: calls.len(),
            lossy: observation.lossy,
            unclaimed: observation.unclaimed_words(),
            outcome: outcome_words(&observation.outcome),
            notes: observation.notes.clone(),
        }
    }
}

fn outcome_words(outcome: &Outcome) -> String {
    Untrusted::new(outcome.to_string()).to_string()
}

impl Report {
    /// Take in a change of files.
    pub fn set_diff(&mut self, diff: &Diff) {
        self.diff = Some(diff.unified());
        self.files.clone_from(&diff.files);
    }
}
