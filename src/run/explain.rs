//! `unitfix explain`.

use super::{json, rules_of};
use crate::cli::Explain;
use crate::explain;
use crate::finding::Code;
use crate::report::{People, output};
use crate::root::Root;
use crate::subject::{Failure, Inspector, Whereabouts, groups_to_explain};
use std::ffi::OsString;
use std::io::{IsTerminal, Read};
use std::os::unix::ffi::OsStrExt;

/// So many things that are unknown are named: more of them are not what was meant to be pasted.
const UNKNOWN_SHOWN: usize = 3;

/// Explain what was pasted, as arguments or on standard input.
pub(super) fn explain(options: &Explain) -> Result<u8, Failure> {
    let pasted = explain::parse::parse(&pasted_text(&options.pasted)?);
    if pasted.questions.is_empty() {
        let message =
            "nothing to explain: give an audit line, a system call or an @group (--help shows more)";
        return Err(Failure::Usage(message.to_owned()));
    }
    let place = Whereabouts {
        root: options.root.clone().map(Root::new),
        systemd: options.systemd,
        ..Whereabouts::default()
    };
    let judged = options
        .unit
        .as_deref()
        .map(|unit| Inspector::new(place.clone()).inspect(unit)?.judged())
        .transpose()?;
    let own;
    let groups = if let Some(judged) = &judged {
        &judged.groups
    } else {
        own = groups_to_explain(&place)?;
        &own
    };
    let rules = rules_of(place.root.as_ref())?;
    let label = judged.as_ref().map(|judged| judged.unit.name.to_string()).unwrap_or_default();
    let unit = judged.as_ref().map(|judged| (label.as_str(), &judged.policy));
    let repair = options.repair_command();
    let explanation = explain::explain(
        &pasted,
        explain::Context { groups, rules: &rules, unit, repair: repair.as_deref() },
    );
    let stale = |code: Code| matches!(code, Code::PolicyDiffers | Code::UnreadableDropIn);
    for finding in judged.iter().flat_map(|judged| &judged.unit.findings).filter(|f| stale(f.code)) {
        output::message(&format!("unitfix: {}\n", finding.message));
    }
    let unknown: Vec<_> = explanation.topics.iter().filter(|t| t.kind == explain::Kind::Unknown).collect();
    for topic in unknown.iter().take(UNKNOWN_SHOWN) {
        output::message(&format!("unitfix: {}\n", topic.summary));
    }
    if unknown.len() > UNKNOWN_SHOWN {
        output::message(&format!("unitfix: {} more are unknown\n", unknown.len() - UNKNOWN_SHOWN));
    }
    if options.json {
        output::result(&json(&explanation)?);
    } else {
        output::result(&People::default().explanation(&explanation));
    }
    Ok(explanation.exit_status)
}

/// The arguments, or standard input where there is none or only `-`. A shell has taken one line into words.
fn pasted_text(words: &[OsString]) -> Result<Vec<u8>, Failure> {
    if !words.is_empty() && words != ["-"] {
        let words: Vec<&[u8]> = words.iter().map(|word| word.as_bytes()).collect();
        return Ok(words.join(&b' '));
    }
    let input = std::io::stdin();
    if words.is_empty() && input.is_terminal() {
        return Ok(Vec::new());
    }
    let (text, cut) =
        last_of(input.lock()).map_err(|error| Failure::System(format!("standard input: {error}")))?;
    if cut {
        output::message("unitfix: only the newest 256 KiB count; --log of a repair reads whole logs\n");
    }
    Ok(text)
}

/// What is read last of a stream, from the start of a line; and whether anything before it was left out.
fn last_of(mut stream: impl Read) -> std::io::Result<(Vec<u8>, bool)> {
    const KEPT: usize = explain::parse::PASTE_MAX + 1; // what stands before tells whether a line starts
    let mut text = Vec::new();
    let step = u64::try_from(KEPT).unwrap_or(u64::MAX);
    while stream.by_ref().take(step).read_to_end(&mut text)? > 0 {
        text.drain(..text.len().saturating_sub(KEPT));
    }
    let cut = text.len() == KEPT;
    Ok((explain::parse::newest(&text).to_vec(), cut))
}
