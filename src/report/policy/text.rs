//! The page for people.

use super::{ArchitecturesRow, CallRow, CaseRow, ForbiddenRow, PolicyPage, RestrictionRow, named_calls};
use crate::report::TokenRow;
use crate::report::fill::fill_from;
use crate::report::people::{People, caret, finding_text, listed};
use crate::syscalls::Arch;
use console::style;
use std::fmt::Write as _;

impl PolicyPage {
    /// The page, or the answers for the calls that were asked for.
    #[must_use]
    pub fn text(&self, people: &People) -> String {
        if self.asked { self.answers(people) } else { self.page(people) }
    }

    fn page(&self, people: &People) -> String {
        let mut out = format!("{}\n", style(self.headline()).bold());
        for row in &self.forbidden {
            out.push_str(&forbidden(row, people));
        }
        out.push_str(&self.architectures_text(people));
        if !self.restrictions.is_empty() {
            out.push_str("\nOther settings forbid calls, and no SystemCallFilter= can lift that:\n");
        }
        for row in &self.restrictions {
            out.push_str(&restriction(row, people));
        }
        if let Some(row) = self.logged.as_ref().filter(|row| row.calls > 0) {
            let _ = writeln!(out, "\nThe kernel logs {} calls:", row.calls);
            out.push_str(&placed(&row.decided_by, "", people));
        }
        if !self.no_new_privileges.is_empty() {
            out.push_str("\nPrograms of it gain no privileges (set-user-ID bits, file capabilities):\n");
        }
        for token in &self.no_new_privileges {
            out.push_str(&placed(token, "", people));
        }
        for finding in &self.findings {
            out.push_str(&finding_text(finding, people.width));
        }
        let _ = writeln!(out, "\nThe groups are those of {}.", self.groups);
        out
    }

    fn headline(&self) -> String {
        let forbidden: usize = self.forbidden.iter().map(|row| row.calls.len()).sum();
        let kind = match self.filter {
            "allow" => "an allow list",
            "deny" => "a deny list",
            _ => return format!("{}: no SystemCallFilter= in force", self.unit),
        };
        let native = named_calls().filter(|call| call.arch == Arch::native()).count();
        format!("{}: {kind} that forbids {forbidden} of {native} calls", self.unit)
    }

    fn architectures_text(&self, people: &People) -> String {
        let names = |archs: &[Arch]| crate::plan::list(archs.iter().map(|arch| arch.systemd_name()));
        let Some(row) = &self.architectures else {
            return String::new();
        };
        let mut out = format!("\nCalls of {} programs are let in", names(&row.admitted));
        if !row.killed.is_empty() {
            let _ = write!(out, "; those of {} programs are killed", names(&row.killed));
        }
        out + ":\n" + &placed(&row.decided_by, "", people)
    }

    fn answers(&self, people: &People) -> String {
        let mut out = String::new();
        for row in &self.calls {
            // what becomes of it on other architectures is said where it differs, but for those that are shut out
            let native = self.calls.iter().find(|r| r.architecture == Arch::native() && r.call == row.call);
            let said = native.is_some_and(|native| {
                let same = native.otherwise == row.otherwise && native.for_arguments == row.for_arguments;
                let shut_out = |shut: &ArchitecturesRow| shut.killed.contains(&row.architecture);
                native.architecture != row.architecture
                    && (same || self.architectures.as_ref().is_some_and(shut_out))
            });
            if row.asked_for || !said {
                if !out.is_empty() {
                    out.push('\n');
                }
                out.push_str(&answer(row, people));
            }
        }
        out
    }
}

/// A token with its place above it.
fn placed(token: &TokenRow, words: &str, people: &People) -> String {
    let place = format!("{}\n", token.location());
    place + &caret(token, "  ", words, people.width)
}

/// One token of the filter, and what it forbids.
fn forbidden(row: &ForbiddenRow, people: &People) -> String {
    let mut out = String::from("\n");
    if let Some(token) = &row.decided_by {
        out.push_str(&placed(token, &token.words, people));
    } else {
        let _ = writeln!(out, "{}:", row.otherwise_because);
    }
    let label = if row.action == "kills" { "killed" } else { &row.action };
    out + &listed(label, &row.summary, people.width)
}

fn restriction(row: &RestrictionRow, people: &People) -> String {
    let words = format!("forbids {}", row.forbids);
    let out = format!("\n{}", placed(&row.decided_by, &words, people));
    let line = |label, calls: &[String]| match calls {
        [] => String::new(),
        calls => listed(label, calls, people.width),
    };
    out + &line("calls", &row.always) + &line("calls, for some arguments", &row.for_some_arguments)
}

/// What becomes of one call, and why.
fn answer(row: &CallRow, people: &People) -> String {
    let foreign = row.architecture != Arch::native();
    let arch = if foreign { format!(" [{}]", row.architecture) } else { String::new() };
    let mut out = format!("{}{arch}: ", style(&row.call).bold());
    let first =
        if row.for_arguments.is_empty() { &row.otherwise.words } else { "it depends on the arguments" };
    let _ = writeln!(out, "{first}");
    // one place with all the arguments that it is about
    let mut cases: Vec<Vec<&CaseRow>> = Vec::new();
    for case in &row.for_arguments {
        let same = |other: &CaseRow| other.words == case.words && other.decided_by == case.decided_by;
        match cases.iter_mut().find(|cases| cases.iter().all(|other| same(other))) {
            Some(cases) => cases.push(case),
            None => cases.push(vec![case]),
        }
    }
    for cases in cases {
        let Some(first) = cases.first() else { continue };
        let _ = writeln!(out, "  {} where", first.words);
        for line in conditions(&cases) {
            out.push_str(&fill_from("    ", &line, people.width.min(80), "      "));
        }
        out.push_str(&because(first, people));
    }
    if !row.for_arguments.is_empty() {
        let _ = writeln!(out, "  otherwise {}", row.otherwise.words);
    }
    out + &because(&row.otherwise, people)
}

/// The arguments of several cases: what is compared in the same way, in one line.
fn conditions(cases: &[&CaseRow]) -> Vec<String> {
    let mut lines: Vec<(String, Vec<&str>)> = Vec::new();
    for case in cases {
        let (head, words) = match &case.single {
            Some((comparison, words)) => (comparison.clone(), *words),
            None => (String::new(), case.when.as_str()),
        };
        match lines.iter_mut().find(|(other, _)| !head.is_empty() && *other == head) {
            Some((_, several)) => several.push(words),
            None => lines.push((head, vec![words])),
        }
    }
    let joined = |words: &[&str]| match words.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
        _ => words.concat(),
    };
    lines.into_iter().map(|(head, words)| format!("{head} {}", joined(&words)).trim().to_owned()).collect()
}

fn because(case: &CaseRow, people: &People) -> String {
    let Some(token) = &case.decided_by else {
        return String::new();
    };
    let place = format!("  because  {}\n", token.location());
    place + &caret(token, "             ", &token.words, people.width)
}
