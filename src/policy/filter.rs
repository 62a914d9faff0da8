//! `SystemCallFilter=` and `SystemCallLog=`: the list of calls, its kind, and which token put each name there.

use super::errno::parse_action;
use super::words::{Quotes, words};
use super::{Action, Because, Decision, Token};
use crate::finding::{Code, Finding};
use crate::syscalls::Groups;
use crate::unit::{Setting, Unit};
use std::collections::{BTreeMap, BTreeSet};

pub(super) const FILTER: &str = "SystemCallFilter";
const LOG: &str = "SystemCallLog";

/// From this version on an entry with an errno is kept on an allow list, and one without `~` is refused.
const ERRNO_ON_ALLOW_LISTS_FROM: u32 = 248;

/// The system call list of a unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Filter {
    /// No list: everything is allowed.
    None,
    /// Only what is listed is allowed.
    Allow(List),
    /// Everything but what is listed is allowed.
    Deny(List),
}

/// The names on a list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct List {
    entries: BTreeMap<String, Entry>,
    /// The token that fixed the kind of the list.
    first: Option<Token>,
    /// Names that a later line took off the list again, with the token that did.
    removed: BTreeMap<String, Token>,
    /// Names that are not on the list, as the manager says, though the files put them there.
    unexplained: BTreeSet<String>,
}

/// One name on a list.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    /// The action of its own. On an allow list: the call is *not* allowed.
    action: Option<Action>,
    /// An action that the manager shows and, but for `kill`, does not take: systemd 247 keeps `name:EPERM` on an allow
    /// list so.
    label: Option<Action>,
    token: Option<Token>,
}

impl Entry {
    /// The action that the filter's rule has, if it is not that of the list. Of the labels, `kill` is one.
    fn own_action(&self) -> Option<Action> {
        self.action.or(self.label.filter(|label| *label == Action::Kill))
    }
}

impl List {
    /// The token that put a name on the list.
    #[must_use]
    pub fn token(&self, name: &str) -> Option<&Token> {
        self.entries.get(name)?.token.as_ref()
    }

    /// How many names are on the list because of a token.
    #[must_use]
    pub fn names_of(&self, token: &Token) -> usize {
        self.entries.values().filter(|entry| entry.token.as_ref() == Some(token)).count()
    }
}

impl Filter {
    pub(super) fn evaluate(unit: &Unit, groups: &Groups, findings: &mut Vec<Finding>) -> Self {
        Self::read(FILTER, unit, groups, findings)
    }

    /// `SystemCallLog=`: the calls that leave a record. The same syntax, but no errnos, and an allow list (of what
    /// is logged) has no `@default` of itself.
    pub(super) fn evaluate_log(unit: &Unit, groups: &Groups, findings: &mut Vec<Finding>) -> Self {
        Self::read(LOG, unit, groups, findings)
    }

    fn read(name: &'static str, unit: &Unit, groups: &Groups, findings: &mut Vec<Finding>) -> Self {
        let mut builder = Builder { setting: name, groups, findings, filter: Filter::None };
        for setting in unit.service(name) {
            builder.line(setting);
        }
        builder.filter
    }

    /// Whether there is a list.
    #[must_use]
    pub fn exists(&self) -> bool {
        match self {
            Filter::None => false,
            Filter::Allow(_) => true,
            // a deny list from which everything was taken is no filter at all
            Filter::Deny(list) => !list.entries.is_empty(),
        }
    }

    fn list(&self) -> Option<&List> {
        match self {
            Filter::None => None,
            Filter::Allow(list) | Filter::Deny(list) => Some(list),
        }
    }

    /// Whether a name on the list has no action of its own.
    pub(super) fn has_plain_entry(&self) -> bool {
        self.list().is_some_and(|list| list.entries.values().any(|entry| entry.action.is_none()))
    }

    /// The names on the list that have an action of their own, with it and the token that gave it.
    pub(super) fn own_actions(&self) -> impl Iterator<Item = (&str, Action, Option<&Token>)> {
        let entries = self.list().into_iter().flat_map(|list| &list.entries);
        entries.filter_map(|(name, entry)| Some((name.as_str(), entry.own_action()?, entry.token.as_ref())))
    }

    /// The token that made it a list of what is allowed, or of what is denied.
    #[must_use]
    pub fn first(&self) -> Option<&Token> {
        self.list()?.first.as_ref()
    }

    /// Whether a name stands on the list.
    #[must_use]
    pub fn lists(&self, name: &str) -> bool {
        self.list().is_some_and(|list| list.entries.contains_key(name))
    }

    pub(super) fn decide(&self, name: Option<&str>, default: Action) -> Decision {
        let because_unlisted = |list: &List| match name.and_then(|n| list.removed.get(n)) {
            _ if name.is_some_and(|n| list.unexplained.contains(n)) => Because::Listed(None),
            Some(token) => Because::Listed(Some(token.clone())),
            None => Because::NotListed(list.first.clone()),
        };
        let entry = name.and_then(|n| self.list()?.entries.get(n));
        let (action, because) = match (self, entry) {
            (Filter::None, _) => (Action::Allow, Because::NoFilter),
            (Filter::Deny(list), None) => (Action::Allow, because_unlisted(list)),
            (Filter::Deny(_), Some(e)) => (e.action.unwrap_or(default), Because::Listed(e.token.clone())),
            (Filter::Allow(list), None) => (default, because_unlisted(list)),
            (Filter::Allow(_), Some(e)) => {
                (e.own_action().unwrap_or(Action::Allow), Because::Listed(e.token.clone()))
            }
        };
        Decision { action, because }
    }

    /// The list as the manager shows it: whether it is one of what is allowed, and its names, where a deny list
    /// carries errnos (`name:EPERM`). Names that are kept off an allow list by an errno are not shown.
    #[must_use]
    pub fn shown(&self) -> (bool, BTreeSet<String>) {
        match self {
            Filter::None => (false, BTreeSet::new()),
            Filter::Allow(list) => {
                let allowed = list.entries.iter().filter(|(_, e)| e.action.is_none());
                (true, allowed.map(|(name, e)| shown(name, e.label)).collect())
            }
            Filter::Deny(list) => {
                (false, list.entries.iter().map(|(name, e)| shown(name, e.action)).collect())
            }
        }
    }

    /// Take over what the manager says it enforces; tokens are kept where the two agree. Returns the names that
    /// only unitfix had, and those that only the manager has.
    pub fn adopt(&mut self, allow: bool, names: &BTreeSet<String>) -> (Vec<String>, Vec<String>) {
        let (_, computed) = self.shown();
        let ours_alone: Vec<String> = computed.difference(names).cloned().collect();
        let theirs_alone: Vec<String> = names.difference(&computed).cloned().collect();
        let same_kind = matches!((&self, allow), (Filter::Allow(_), true) | (Filter::Deny(_), false));
        let mut list = match std::mem::replace(self, Filter::None) {
            Filter::Allow(list) | Filter::Deny(list) if same_kind => list,
            _ => List::default(),
        };
        for name in &ours_alone {
            let name = name.split(':').next().unwrap_or_default();
            list.entries.remove(name);
            list.unexplained.insert(name.to_owned());
        }
        for shown in &theirs_alone {
            let (name, action) =
                shown.split_once(':').map_or((shown.as_str(), None), |(n, a)| (n, parse_action(a)));
            let token = list.entries.remove(name).and_then(|e| e.token);
            // what it shows on an allow list is allowed
            let (action, label) = if allow { (None, action) } else { (action, None) };
            list.entries.insert(name.to_owned(), Entry { action, label, token });
        }
        *self = match (allow, names.is_empty()) {
            (false, true) => Filter::None,
            (true, _) => Filter::Allow(list),
            (false, false) => Filter::Deny(list),
        };
        (ours_alone, theirs_alone)
    }
}

/// A name as the manager shows it.
fn shown(name: &str, action: Option<Action>) -> String {
    match action {
        None | Some(Action::Allow | Action::Log) => name.to_owned(),
        Some(Action::Kill) => format!("{name}:kill"),
        Some(Action::Errno(number)) => format!("{name}:{}", super::errno_name(number)),
    }
}

/// Follows `config_parse_syscall_filter()` and `config_parse_syscall_log()` line by line.
struct Builder<'a> {
    setting: &'static str,
    groups: &'a Groups,
    findings: &'a mut Vec<Finding>,
    filter: Filter,
}

/// One word of a line, ready to be applied.
struct Word<'a> {
    name: &'a str,
    action: Option<Action>,
    invert: bool,
    token: Token,
}

impl Builder<'_> {
    fn line(&mut self, setting: &Setting) {
        let text = setting.value.text.as_str();
        if text.is_empty() {
            self.filter = Filter::None;
            return;
        }
        let invert = text.starts_with('~');
        let body = if invert { &text[1..] } else { text };
        let offset = usize::from(invert);
        if matches!(self.filter, Filter::None) {
            self.start(invert, setting);
        }
        let words = words(body, Quotes::Literal);
        for word in words.found {
            let range = word.range.start + offset..word.range.end + offset;
            let span = setting.value.span(range);
            let token = Token { text: word.text.clone(), setting: self.setting, span };
            self.word(&word.text, invert, token);
        }
        if let Some(range) = words.broken {
            let range = range.start + offset..range.end + offset;
            self.findings.push(super::broken_words(&setting.value, range));
        }
    }

    /// The first line that is not empty fixes the kind; an allow list begins with `@default`.
    fn start(&mut self, invert: bool, setting: &Setting) {
        let value = &setting.value;
        let first = Some(Token { text: value.text.clone(), setting: self.setting, span: value.whole() });
        let mut list = List { first: first.clone(), ..List::default() };
        if invert {
            self.filter = Filter::Deny(list);
            return;
        }
        if self.setting == LOG {
            self.filter = Filter::Allow(list);
            return;
        }
        let default = self.groups.members("@default").into_iter().flatten();
        for name in default.filter(|name| self.groups.knows(name)) {
            list.entries.insert(name.clone(), Entry { action: None, label: None, token: first.clone() });
        }
        self.filter = Filter::Allow(list);
    }

    fn word(&mut self, text: &str, invert: bool, token: Token) {
        if text.starts_with('~') {
            let message = format!("'~' counts only at the start of a line: '{text}' is ignored");
            self.findings.push(Finding::warning(Code::UnknownCall, message, Some(token.span)));
            return;
        }
        let (name, action) = match text.split_once(':') {
            None => (text, None),
            Some((name, errno)) => match parse_action(errno) {
                Some(action) if !name.is_empty() => (name, Some(action)),
                _ => {
                    let message = format!("'{text}' has no errno that exists: the word is ignored");
                    self.findings.push(Finding::warning(Code::BadErrno, message, Some(token.span)));
                    return;
                }
            },
        };
        if action.is_some() && self.setting == LOG {
            let message =
                format!("'{text}' carries an errno, which {LOG}= does not take: systemd ignores the word");
            self.findings.push(Finding::warning(Code::BadErrno, message, Some(token.span)));
            return;
        }
        if action.is_some() && !self.takes_errno(text, invert, &token) {
            return;
        }
        if !name.starts_with('@') {
            if self.groups.knows(name) {
                self.apply(&Word { name, action, invert, token });
            } else {
                let message = format!("'{name}' is no system call that this system knows: it is ignored");
                self.findings.push(Finding::warning(Code::UnknownCall, message, Some(token.span)));
            }
            return;
        }
        let Some(members) = self.groups.members(name) else {
            let message = format!("systemd {} knows no group '{name}': it is ignored", self.groups.systemd);
            self.findings.push(Finding::warning(Code::UnknownGroup, message, Some(token.span)));
            return;
        };
        for name in members.iter().filter(|name| self.groups.knows(name)) {
            self.apply(&Word { name, action, invert, token: token.clone() });
        }
    }

    /// Whether a word with an errno counts here; what it does instead of what it says is a finding.
    fn takes_errno(&mut self, text: &str, invert: bool, token: &Token) -> bool {
        let old = self.groups.systemd < ERRNO_ON_ALLOW_LISTS_FROM;
        let (code, message) = match (invert, &self.filter) {
            (false, _) if old => (
                Code::ErrnoWithoutTilde,
                format!("'{text}' has no '~' before it: this systemd allows the call, and forgets the errno"),
            ),
            (false, _) => {
                (Code::ErrnoWithoutTilde, format!("'{text}' has no '~' before it: systemd ignores the word"))
            }
            (true, Filter::Allow(_)) if old => (
                Code::ErrnoOnAllowList,
                format!("systemd {} forgets the errno of '{text}' on an allow list", self.groups.systemd),
            ),
            (true, _) => return true,
        };
        self.findings.push(Finding::warning(code, message, Some(token.span.clone())));
        old
    }

    fn apply(&mut self, word: &Word) {
        let allow_list = matches!(self.filter, Filter::Allow(_));
        let (Filter::Allow(list) | Filter::Deny(list)) = &mut self.filter else {
            return;
        };
        let softens = word.action.is_some() && self.groups.systemd >= ERRNO_ON_ALLOW_LISTS_FROM;
        let puts = word.invert != allow_list || (word.invert && allow_list && softens);
        if puts {
            let entry = Entry {
                action: word.action.filter(|_| word.invert),
                label: word.action.filter(|_| !word.invert),
                token: Some(word.token.clone()),
            };
            list.entries.insert(word.name.to_owned(), entry);
            list.removed.remove(word.name);
        } else if list.entries.remove(word.name).is_some() {
            list.removed.insert(word.name.to_owned(), word.token.clone());
        }
    }
}
