//! What a repair leaves behind beside its drop-in: the reason in words, and the receipt.

use crate::change::{self, Receipt, Store};
use crate::evidence::Process;
use crate::plan::{Amendment, Needs};
use crate::report::DenialRow;
use crate::subject::{Failure, Subject};
use jiff::ZonedDateTime;
use std::collections::BTreeSet;

/// Who was denied what, for the comment in the drop-in: at most three programs.
pub(super) fn reason(rows: &[DenialRow], needs: &Needs) -> String {
    let mut by_program: Vec<(String, BTreeSet<&str>, BTreeSet<&str>)> = Vec::new();
    let relaxed = |setting| needs.settings.lines.iter().any(|line| line.setting == setting);
    let needed = |row: &&DenialRow| match row.setting {
        Some(setting) => relaxed(setting),
        None => needs.calls.contains(&row.call) || needs.architectures.contains(&row.architecture),
    };
    for row in rows.iter().filter(needed) {
        let program = match Process::before_exec(&row.program.to_string()) {
            Some(inner) => format!("systemd itself, before {inner} began"),
            None => row.program.to_string(),
        };
        let at = by_program.iter().position(|(p, _, _)| *p == program).unwrap_or_else(|| {
            by_program.push((program, BTreeSet::new(), BTreeSet::new()));
            by_program.len() - 1
        });
        let (_, killed, denied) = &mut by_program[at];
        if row.effect == "killed" {
            killed.insert(&row.call)
        } else {
            denied.insert(&row.call)
        };
    }
    let more = by_program.len().saturating_sub(3);
    let mut parts = Vec::new();
    for (program, killed, denied) in by_program.iter().take(3) {
        let denied: BTreeSet<_> = denied.difference(killed).collect();
        parts.push(match (killed.is_empty(), denied.is_empty()) {
            (true, _) => format!("{program} was denied {}", crate::plan::list(denied)),
            (_, true) => format!("{program} was killed for calling {}", crate::plan::list(killed)),
            _ => format!(
                "{program} was killed for calling {}, and is denied {}",
                crate::plan::list(killed),
                crate::plan::list(denied)
            ),
        });
    }
    match more {
        0 => {}
        1 => parts.push("and 1 more program".to_owned()),
        more => parts.push(format!("and {more} more programs")),
    }
    parts.join("; ")
}

/// The receipt of this repair, which continues an earlier one of the same unit.
pub(super) fn receipt_for(
    subject: &dyn Subject,
    former: Option<Receipt>,
    diff: &change::Diff,
    amendment: &Amendment,
    why: &str,
) -> Receipt {
    let mut receipt = former.unwrap_or_else(|| Receipt {
        unit: subject.unit().name.to_string(),
        written: String::new(),
        why: Vec::new(),
        files: Vec::new(),
        verified: false,
        calls: Vec::new(),
        softened: Vec::new(),
        pending: None,
    });
    receipt.written = ZonedDateTime::now().strftime("%Y-%m-%d %H:%M:%S %z").to_string();
    receipt.why.push(why.to_owned());
    receipt.allow(amendment);
    receipt.verified = false;
    receipt.continued(diff)
}

pub(super) fn save(store: &Store, receipt: &Receipt) -> Result<(), Failure> {
    store
        .save(receipt)
        .map_err(|e| Failure::System(format!("the receipt cannot be kept: {e}: nothing was changed")))
}

pub(super) fn restore_receipt(
    store: &Store,
    subject: &dyn Subject,
    former: Option<&Receipt>,
) -> Result<(), Failure> {
    store
        .put_back(&subject.unit().name, former)
        .map_err(|e| Failure::System(format!("the receipt cannot be restored: {e}")))
}
