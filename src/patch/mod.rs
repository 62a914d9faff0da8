//! The patch: a repair as its author would make it, in the unit file itself. Before it is printed, the patched unit is
//! judged again, and has to mean what the repair means as a drop-in, call by call.

mod draft;
mod naming;
mod offer;
mod owner;
mod same;
mod sheet;
mod unified;

pub(crate) use naming::Naming;
pub(crate) use offer::{of_what_is_written, offer};
pub(crate) use unified::unified;

use crate::plan::{Amendment, HEADER, is_own};
use crate::policy::{Policy, Token};
use crate::syscalls::{Arch, Call, Groups};
use crate::unit::{SourceFile, Unit, shown_path};
use draft::Draft;
use owner::Owner;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

/// A file, and what it becomes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Patched {
    /// Where it is.
    pub path: PathBuf,
    /// Its bytes.
    pub before: Vec<u8>,
    /// Its bytes with the repair.
    pub after: Vec<u8>,
}

/// Why there is no patch. Each is a sentence without a full stop.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// There is no file that would stay patched.
    #[error("{} is made at run time: nothing of it would stay patched", shown_path(.0))]
    Generated(PathBuf),
    /// The author's files do not forbid it.
    #[error("{place} forbids {what}, and that file is the administrator's, not the author's of the unit")]
    NotTheAuthors {
        /// Who decides.
        place: String,
        /// A call, or an architecture.
        what: String,
    },
    /// Another file, which the patch must not touch, takes it back.
    #[error("with every patch of the unit file, {place} still forbids {what}: {why}")]
    TakenBack {
        /// Who decides.
        place: String,
        /// The call.
        what: String,
        /// Whose that file is.
        why: &'static str,
    },
    /// There is nothing to change.
    #[error("{} does all that already", shown_path(.0))]
    Needless(PathBuf),
    /// Every edit means something else than the repair.
    #[error("no edit of {} means the same as the drop-in does", shown_path(.0))]
    NoEdit(PathBuf),
}

/// What is patched: the unit without unitfix's own drop-in, and what that drop-in adds along with a repair.
#[derive(Clone, Debug)]
pub struct Task {
    /// The unit.
    pub unit: Unit,
    /// What is added.
    pub amendment: Amendment,
    /// The reasons that unitfix's own drop-in gives.
    pub reasons: Vec<String>,
}

impl Task {
    /// A repair of a unit. What unitfix wrote for it before becomes a part of it.
    #[must_use]
    pub fn new(unit: &Unit, amendment: &Amendment) -> Self {
        let own = unit.drop_ins.iter().filter(|f| is_own(f));
        for own in own {
            let mut joined = amendment.clone();
            if let Some(reasons) = taken_over(own, &mut joined) {
                return Task { unit: unit.without_drop_in(Some(&own.path)), amendment: joined, reasons };
            }
        }
        Task { unit: unit.clone(), amendment: amendment.clone(), reasons: Vec::new() }
    }
}

/// The reasons in unitfix's own drop-in, if an amendment can take in all that it sets.
fn taken_over(own: &SourceFile, amendment: &mut Amendment) -> Option<Vec<String>> {
    let text = std::str::from_utf8(&own.bytes).ok()?;
    let mut reasons = Vec::new();
    for line in text.lines().filter(|line| !["", "[Service]"].contains(line)) {
        if let Some(headline) = line.strip_prefix(HEADER) {
            reasons.extend(headline.split_once(": ").map(|(_, why)| why.trim_end_matches('.').to_owned()));
        } else if !line.starts_with('#') && !amendment.take_in(line) {
            return None;
        }
    }
    Some(reasons)
}

/// The files of a unit's author, with a repair in them: the smallest edits after which every call gets the answer that it
/// gets with the repair as a drop-in, on this system and without what the administrator has set.
pub fn patch(unit: &Unit, amendment: &Amendment, groups: &Groups) -> Result<Vec<Patched>, Refusal> {
    if owner::is_generated(&unit.fragment.path) {
        return Err(Refusal::Generated(unit.fragment.path.clone()));
    }
    let author = of_the_author(unit);
    let wanted = Wanted::new(&author, amendment, groups);
    let wanted_here = Wanted::new(unit, amendment, groups);
    not_the_authors(&author, unit, &wanted_here, groups)?;

    let fragment = std::iter::once(&unit.fragment.path);
    let paths = fragment.chain(unit.drop_ins.iter().map(|file| &file.path));
    let files: Vec<PathBuf> = paths.filter(|path| Owner::of(path, unit) == Owner::Author).cloned().collect();
    let mut draft = Draft::new(&author, &wanted.policy, &files, groups);
    draft.amend(amendment);

    let patched = difference(&author, &draft.unit);
    let mut here = unit.clone();
    for file in &patched {
        here = here.with_file(&SourceFile::new(&file.path, file.after.clone()), groups.systemd);
    }
    let all_the_authors = author.drop_ins.len() == unit.drop_ins.len(); // then both are the same
    if wanted.is_met_by(&draft.unit, groups) && (all_the_authors || wanted_here.is_met_by(&here, groups)) {
        let needless = || Refusal::Needless(unit.fragment.path.clone());
        return if patched.is_empty() { Err(needless()) } else { Ok(patched) };
    }
    Err(wanted_here.taken_back(&here, unit, groups))
}

/// The unit without what the administrator has set.
fn of_the_author(unit: &Unit) -> Unit {
    let theirs = unit.drop_ins.iter().filter(|file| Owner::of(&file.path, unit) == Owner::Administrator);
    theirs.fold(unit.clone(), |author, file| author.without_drop_in(Some(&file.path)))
}

/// The files that differ.
fn difference(before: &Unit, after: &Unit) -> Vec<Patched> {
    let files = |unit: &Unit| -> Vec<Arc<SourceFile>> {
        std::iter::once(&unit.fragment).chain(&unit.drop_ins).cloned().collect()
    };
    let pairs = files(before).into_iter().zip(files(after));
    let differ = pairs.filter(|(before, after)| before.bytes != after.bytes);
    differ
        .map(|(before, after)| Patched {
            path: before.path.clone(),
            before: before.bytes.clone(),
            after: after.bytes.clone(),
        })
        .collect()
}

/// What a patched unit has to mean: what the repair means as a drop-in.
struct Wanted {
    unit: Unit,
    policy: Policy,
    changed: BTreeSet<String>,
}

impl Wanted {
    fn new(unit: &Unit, amendment: &Amendment, groups: &Groups) -> Self {
        let lines = amendment.lines();
        let changed = lines.lines().filter_map(|line| line.split_once('=')).map(|(key, _)| key.to_owned());
        let drop_in = SourceFile::new("/unitfix", format!("[Service]\n{lines}"));
        let unit = unit.with_drop_in(drop_in, groups.systemd);
        Wanted { policy: Policy::evaluate(&unit, groups), changed: changed.collect(), unit }
    }

    fn is_met_by(&self, unit: &Unit, groups: &Groups) -> bool {
        same::same(unit, &self.unit, &self.changed, groups)
    }

    /// The names of calls that a policy treats otherwise than this.
    fn unlike<'g>(&self, policy: &Policy, groups: &'g Groups) -> Vec<&'g String> {
        let names: BTreeSet<&String> = groups.calls().collect();
        let differs = |name: &&String| policy.action(name) != self.policy.action(name);
        names.into_iter().filter(differs).collect()
    }

    /// Why a patched unit does not mean this.
    fn taken_back(&self, patched: &Unit, unit: &Unit, groups: &Groups) -> Refusal {
        let policy = Policy::evaluate(patched, groups);
        let tokens = self.unlike(&policy, groups).into_iter();
        let mut tokens = tokens.filter_map(|name| Some((name, deciding_token(&policy, name)?)));
        let other = tokens.find_map(|(name, token)| {
            let why = match Owner::of(token.span.path(), unit) {
                Owner::Author => return None,
                Owner::Shared => "it applies to other units, too",
                Owner::Administrator => "it is the administrator's",
            };
            Some(Refusal::TakenBack { place: token.span.location(), what: name.clone(), why })
        });
        other.unwrap_or_else(|| Refusal::NoEdit(unit.fragment.path.clone()))
    }
}

/// Refuse, if what is forbidden here would not be without what the administrator has set.
fn not_the_authors(author: &Unit, unit: &Unit, wanted: &Wanted, groups: &Groups) -> Result<(), Refusal> {
    let (theirs, here) = (Policy::evaluate(author, groups), Policy::evaluate(unit, groups));
    for name in wanted.unlike(&here, groups) {
        let forbidden_here = here.forbids(name) && !theirs.forbids(name);
        if let Some(token) = deciding_token(&here, name).filter(|_| forbidden_here) {
            return Err(Refusal::NotTheAuthors { place: token.span.location(), what: name.clone() });
        }
    }
    for arch in Arch::ALL.into_iter().filter(|arch| wanted.policy.admits(*arch) && theirs.admits(*arch)) {
        if let Some((_, token)) = here.architectures.as_ref().filter(|_| !here.admits(arch)) {
            let what = format!("programs of the architecture {arch}");
            return Err(Refusal::NotTheAuthors { place: token.span.location(), what });
        }
    }
    Ok(())
}

/// The token that decides about a call of this name, of the native architecture.
fn deciding_token(policy: &Policy, name: &str) -> Option<Token> {
    let arch = Arch::native();
    policy.filter_alone(Call { arch, number: arch.number(name)? }).token().cloned()
}

/// Whether a path is that of a drop-in which unitfix wrote.
pub(crate) fn has_own_drop_in(unit: &Unit) -> bool {
    !Task::new(unit, &Amendment::default()).amendment.is_empty()
}

#[cfg(test)]
mod tests;
