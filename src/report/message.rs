//! The message of a commit that repairs a unit, as a mail that `git am` takes: who was denied what, which word decided,
//! what the change gives away, and how it was seen to work.

use super::TokenRow;
use super::fill::fill;
use crate::plan::{Candidate, Proof};
use std::path::Path;

/// Columns of a line. git wraps nothing.
const WIDTH: usize = 72;

/// So many lines of the unit are quoted, and so many calls named with what they give away.
const MANY: usize = 8;

/// What a message is made of.
pub struct CommitMessage<'a> {
    /// The unit file's name.
    pub unit: &'a str,
    /// `Name <address>` of who makes the commit.
    pub author: &'a str,
    /// The change.
    pub candidate: &'a Candidate,
    /// Who was denied what.
    pub why: &'a str,
    /// The tokens that decided, one for each call.
    pub decided: &'a [TokenRow],
    /// How a file is called in the repository.
    pub name: &'a dyn Fn(&Path) -> String,
    /// The major version of systemd.
    pub systemd: u32,
    /// Whether a service manager ran it.
    pub manager: bool,
    /// The change is in force there, as a drop-in.
    pub in_force: bool,
}

impl CommitMessage<'_> {
    /// The mail, up to the diff.
    #[must_use]
    pub fn text(&self) -> String {
        let mut parts = vec![match self.why {
            "" => "Its own system call filter forbids what it does.".to_owned(),
            why if self.candidate.relaxes.is_empty() => {
                format!("Its own system call filter stops it: {why}.")
            }
            why => format!("Its own sandbox stops it: {why}."),
        }];
        parts.extend(self.decisions());
        parts.push(self.change());
        parts.push(self.proof());
        let mut body = String::new();
        for part in parts {
            // a line that is quoted stays as it is
            let text = if part.starts_with("    ") { part + "\n" } else { fill(&part, WIDTH, "") };
            body.push('\n');
            body.push_str(&text);
        }
        let body: String = body.lines().map(|line| harmless(line) + "\n").collect();
        format!("From: {}\nSubject: [PATCH] {}\n{body}---\n", self.author, self.subject())
    }

    /// What it does, in a line; of very many calls only how many.
    fn subject(&self) -> String {
        let subject = format!("{}: {}", self.unit, self.candidate.deed());
        if subject.chars().count() <= WIDTH {
            return subject;
        }
        let amendment = &self.candidate.amendment;
        format!("{}: relax the filter of {} calls", self.unit, amendment.allow.len() + amendment.soften.len())
    }

    /// For each line that decided: where it is, the line, and which of its words did what.
    fn decisions(&self) -> Vec<String> {
        let mut seen: Vec<(&TokenRow, Vec<&str>)> = Vec::new();
        for token in self.decided {
            match seen.iter_mut().find(|(other, _)| (&other.file, other.line) == (&token.file, token.line)) {
                Some((_, words)) if !words.contains(&token.words.as_str()) => words.push(&token.words),
                Some(_) => {}
                None => seen.push((token, vec![&token.words])),
            }
        }
        seen.sort_by_key(|(token, _)| (&token.file, token.line));
        seen.truncate(MANY);
        let parts = seen.into_iter().flat_map(|(token, words)| {
            let shown = words.get(..MANY).unwrap_or(&words);
            let more = words.len() - shown.len();
            let more = if more == 0 { String::new() } else { format!("; and {more} more") };
            [
                format!("Line {} of {} decides that:", token.line, (self.name)(&token.file)),
                format!("    {}", token.text.trim()),
                format!("{}{more}.", shown.join("; ")),
            ]
        });
        parts.collect()
    }

    /// What is changed, and what that gives away.
    fn change(&self) -> String {
        let candidate = self.candidate;
        let mut parts = vec![format!("This is to {}.", candidate.words())];
        for power in candidate.opens.iter().take(MANY) {
            let high = if power.risk.high { ", high" } else { "" };
            parts.push(match &power.adds {
                Some(lets) => {
                    format!("{} lets a program {lets} (risk: {}{high}).", power.call, power.risk.tier.word())
                }
                None => format!("{} adds no power: {}.", power.call, power.because),
            });
        }
        for line in &candidate.relaxes {
            let (high, tier) = (if line.high { ", high" } else { "" }, line.risk.word());
            parts.push(format!("{} lets a program {} (risk: {tier}{high}).", line.line(), line.lets));
        }
        if candidate.opens.len() > MANY {
            parts.push(format!("It opens {} more calls like these.", candidate.opens.len() - MANY));
        }
        let amendment = &candidate.amendment;
        if candidate.opens.is_empty() && !amendment.soften.is_empty() {
            parts.push("Nothing is allowed that was forbidden.".to_owned());
        }
        parts.join(" ")
    }

    fn proof(&self) -> String {
        let systemd = self.systemd;
        let how = match &self.candidate.proof {
            _ if self.in_force => format!(
                "It is there as a drop-in, on systemd {systemd}, and nothing more has to be repaired. This patch \
                 gives every call the same answer."
            ),
            Proof::Shown(how) if self.manager => format!("Seen on systemd {systemd}: {how}."),
            Proof::Shown(how) => {
                format!("Seen in a run without a service manager, by the rules of systemd {systemd}: {how}.")
            }
            Proof::None | Proof::Refuted(_) => {
                format!("Judged from the kernel's records alone, by the rules of systemd {systemd}.")
            }
        };
        format!("{how} Found by unitfix {}.", env!("CARGO_PKG_VERSION"))
    }
}

/// A line that git does not take for the start of the diff, or of another mail (git-mailinfo(1)).
fn harmless(line: &str) -> String {
    let ends_it = ["---", "diff ", "Index: ", "From "].iter().any(|start| line.starts_with(start));
    if ends_it { format!(" {line}") } else { line.to_owned() }
}

/// `Name <address>` for the header of a mail: whatever could end the header, or the address, is left out.
#[must_use]
pub fn author(name: Option<String>, address: Option<String>) -> String {
    let clean = |text: String| -> String {
        text.chars().filter(|c| !c.is_control() && !"<>\"(),:;".contains(*c)).collect()
    };
    let or = |text: Option<String>, other: &str| {
        let text = text.map(clean).map(|text| text.trim().to_owned());
        text.filter(|text| !text.is_empty()).unwrap_or_else(|| other.to_owned())
    };
    format!("{} <{}>", or(name, "unitfix"), or(address, "unitfix@localhost"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_ends_the_message_early() {
        for (line, expected) in [
            ("--- a/x", " --- a/x"),
            ("diff --git a/x b/x", " diff --git a/x b/x"),
            ("From me Thu Jan  1 00:00:00 1970", " From me Thu Jan  1 00:00:00 1970"),
            ("- -", "- -"),
        ] {
            assert_eq!(harmless(line), expected);
        }
    }

    #[test]
    fn authors() {
        assert_eq!(author(None, None), "unitfix <unitfix@localhost>");
        let name = Some("Zoë Q.\nSubject: x <y>".to_owned());
        assert_eq!(author(name, Some("z@example.org".to_owned())), "Zoë Q.Subject x y <z@example.org>");
    }
}
