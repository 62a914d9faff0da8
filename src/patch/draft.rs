//! The edits that a careful author would make, each tried out on the unit: the first that does what it should stays.

use super::deciding_token;
use super::sheet::Sheet;
use crate::plan::Amendment;
use crate::policy::{Policy, errno_name};
use crate::syscalls::{Arch, Groups};
use crate::unit::{SourceFile, Unit, parse_boolean};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

const FILTER: &str = "SystemCallFilter";
const ARCHITECTURES: &str = "SystemCallArchitectures";

/// A unit that is being edited.
pub(super) struct Draft<'a> {
    /// As it is by now.
    pub(super) unit: Unit,
    policy: Policy,
    /// What its settings shall mean in the end.
    wanted: &'a Policy,
    /// The files that may be edited, in load order.
    files: &'a [PathBuf],
    groups: &'a Groups,
}

/// What one edit is for. All else has to stay as it is.
#[derive(Default)]
struct Aim {
    calls: BTreeSet<String>,
    architectures: BTreeSet<Arch>,
}

impl<'a> Draft<'a> {
    pub(super) fn new(unit: &Unit, wanted: &'a Policy, files: &'a [PathBuf], groups: &'a Groups) -> Self {
        let policy = Policy::evaluate(unit, groups);
        Draft { unit: unit.clone(), policy, wanted, files, groups }
    }

    /// Make all edits. One that finds no place is left out, which shows when the result is compared.
    pub(super) fn amend(&mut self, amendment: &Amendment) {
        let mut allow: Vec<&str> = amendment.allow.iter().map(String::as_str).collect();
        allow.retain(|word| self.lacks(word) && !self.change_word(word, None));
        if !allow.is_empty() {
            let aim = self.aim(&allow);
            self.add(FILTER, &allow, |value| !value.starts_with('~'), &aim);
        }
        let soft = amendment.soften.iter().map(|(name, errno)| (name, errno_name(*errno)));
        let mut soft: Vec<(&str, String)> =
            soft.map(|(name, errno)| (name.as_str(), format!("{name}:{errno}"))).collect();
        soft.retain(|(name, word)| self.lacks(name) && !self.change_word(name, Some(word)));
        if !soft.is_empty() {
            let (names, words): (Vec<&str>, Vec<String>) = soft.into_iter().unzip();
            let aim = self.aim(&names);
            self.add(FILTER, &[&format!("~{}", words.join(" "))], |_| false, &aim);
        }
        let foreign = amendment.architectures.iter().copied().filter(|arch| !self.policy.admits(*arch));
        let aim = Aim { architectures: foreign.collect(), ..Aim::default() };
        if !aim.architectures.is_empty() {
            let words: Vec<&str> = aim.architectures.iter().map(|arch| arch.systemd_name()).collect();
            self.add(ARCHITECTURES, &words, |_| true, &aim);
        }
        let lines = amendment.lines();
        let lines = lines.lines().filter_map(|line| line.split_once('='));
        for (key, value) in lines.filter(|(key, _)| ![FILTER, ARCHITECTURES].contains(key)) {
            self.set(key, value);
        }
    }

    /// Whether a call, or one of a group, is not treated yet as it shall be.
    fn lacks(&self, word: &str) -> bool {
        self.aim(&[word]).calls.iter().any(|name| self.policy.action(name) != self.wanted.action(name))
    }

    /// The calls that words name, members of groups included.
    fn aim(&self, words: &[&str]) -> Aim {
        let names = words.iter().flat_map(|word| match self.groups.members(word) {
            Some(members) => members.iter().cloned().collect(),
            None => vec![(*word).to_owned()],
        });
        Aim { calls: names.collect(), ..Aim::default() }
    }

    /// Put another word, or none, in the place of a call's or group's own name on lines that begin with `~`: of the last
    /// one, and of ever earlier ones until that does it.
    fn change_word(&mut self, name: &str, new: Option<&str>) -> bool {
        let aim = self.aim(&[name]);
        let mut unit = self.unit.clone();
        loop {
            let edited = self.files.iter().rev().find_map(|path| {
                let bytes = Sheet::of(&unit, path)?.with_word_changed(FILTER, name, new)?;
                Some(self.edited(&unit, path, bytes))
            });
            let Some(edited) = edited else { return false };
            unit = edited;
            if self.take(&unit, &aim) {
                return true;
            }
        }
    }

    /// Add words behind those of the last line of a setting, if that line fits and is late enough, else in a line of their
    /// own behind it.
    fn add(&mut self, key: &str, words: &[&str], fits: impl Fn(&str) -> bool, aim: &Aim) {
        for path in self.places(key, aim) {
            let edits = Sheet::of(&self.unit, &path)
                .map(|sheet| [sheet.with_words(key, words, &fits), sheet.with_line(key, &words.join(" "))]);
            for bytes in edits.into_iter().flatten().flatten() {
                let unit = self.edited(&self.unit, &path, bytes);
                if self.take(&unit, aim) {
                    return;
                }
            }
        }
    }

    /// Set another setting, behind whatever sets it so far. A boolean has but one line.
    fn set(&mut self, key: &str, value: &str) {
        let Some(path) = self.places(key, &Aim::default()).into_iter().next() else { return };
        let is_boolean = |text: &str| parse_boolean(text).is_some();
        let bytes = Sheet::of(&self.unit, &path).and_then(|sheet| {
            let replaced = is_boolean(value).then(|| sheet.with_value(key, value, is_boolean)).flatten();
            replaced.or_else(|| sheet.with_line(key, value))
        });
        if let Some(bytes) = bytes {
            self.unit = self.edited(&self.unit, &path, bytes);
            self.policy = Policy::evaluate(&self.unit, self.groups);
        }
    }

    /// Where a line can be added, the best place first: the file that decided, the last one that has the setting, then
    /// the others, and the unit file where none has it.
    fn places(&self, key: &str, aim: &Aim) -> Vec<PathBuf> {
        let tokens = aim.calls.iter().filter_map(|name| deciding_token(&self.policy, name));
        let decided = tokens.map(|token| token.span.path().to_owned());
        let sets = |path: &&PathBuf| Sheet::of(&self.unit, path).is_some_and(|sheet| sheet.sets(key));
        let with = self.files.iter().rev().filter(sets).cloned();
        let fragment = std::iter::once(self.unit.fragment.path.clone());
        let mut places: Vec<PathBuf> = Vec::new();
        for path in decided.take(1).chain(with).chain(fragment).filter(|path| self.files.contains(path)) {
            if !places.contains(&path) {
                places.push(path);
            }
        }
        places
    }

    fn edited(&self, unit: &Unit, path: &Path, bytes: Vec<u8>) -> Unit {
        unit.with_file(&SourceFile::new(path, bytes), self.groups.systemd)
    }

    /// Keep an edited unit, if it does what was aimed at and nothing else.
    fn take(&mut self, unit: &Unit, aim: &Aim) -> bool {
        let policy = Policy::evaluate(unit, self.groups);
        let calls = self.groups.calls().chain(&aim.calls).all(|name| {
            let as_it_should = if aim.calls.contains(name) { self.wanted } else { &self.policy };
            policy.action(name) == as_it_should.action(name)
        });
        let architectures = Arch::ALL.into_iter().all(|arch| {
            let as_it_should = if aim.architectures.contains(&arch) { self.wanted } else { &self.policy };
            policy.admits(arch) == as_it_should.admits(arch)
        });
        let does_it = calls && architectures && self.shows_it(&policy, aim);
        if does_it {
            (self.unit, self.policy) = (unit.clone(), policy);
        }
        does_it
    }

    /// Whether the manager shows what was aimed at as it shall be, and the rest as it is: systemd 247 shows errnos on an
    /// allow list that it does not heed.
    fn shows_it(&self, policy: &Policy, aim: &Aim) -> bool {
        let shown = |policy: &Policy| policy.filter.shown().1;
        let (is, was, should) = (shown(policy), shown(&self.policy), shown(self.wanted));
        let aimed_at = |shown: &String| aim.calls.contains(shown.split(':').next().unwrap_or_default());
        is.symmetric_difference(&was).all(aimed_at) && !is.symmetric_difference(&should).any(aimed_at)
    }
}
