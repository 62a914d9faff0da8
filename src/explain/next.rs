//! What to do next, after what was explained first.

use super::{Context, Kind, Topic};
use serde::Serialize;

/// Shows every record of a denied call that the journal has, those of the kernel's own log included.
pub const RECIPE: &str = "journalctl -b -g 'type=1326|SECCOMP auid'";

/// A command to run next.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Next {
    /// The command line; capitals stand for what the reader has to put there.
    pub command: String,
    /// What it does.
    pub does: String,
}

fn step(command: String, does: &str) -> Next {
    Next { command, does: does.to_owned() }
}

/// The steps; none where nothing is known.
pub(super) fn next(topics: &[Topic], unit: Option<&str>, context: Context) -> Vec<Next> {
    let mut known = topics.iter().filter(|topic| topic.kind != Kind::Unknown);
    let Some(first) = known.next() else { return Vec::new() };
    let mut out = Vec::new();
    if known.next().is_some() || first.kind == Kind::Group {
        out.push(step("unitfix explain CALL".to_owned(), "tells more about one of these calls"));
    }
    let shown = unit.unwrap_or("UNIT");
    if !first.filter && first.kind == Kind::Record {
        return out;
    }
    if !first.filter {
        out.push(step(format!("journalctl -b -u {shown}"), "shows what it printed before"));
        return out;
    }
    match first.kind {
        Kind::Errno | Kind::Setting => {
            out.push(step(format!("unitfix policy {shown}"), "shows what a unit's settings let calls do"));
            return out;
        }
        Kind::Ignored => {
            out.push(step(
                format!("unitfix policy {shown} --lint"),
                "shows what else is wrong with a filter",
            ));
            return out;
        }
        _ => {}
    }
    let call = first.call.as_ref().map_or("CALL", |call| call.name.as_str());
    let rows = || topics.iter().flat_map(|topic| &topic.policy);
    let allowed = context.unit.is_some() && !rows().any(|row| row.denied);
    if first.record.as_ref().is_some_and(super::RecordRow::was_let_pass) {
        // nothing was denied
        if context.unit.is_none() && out.is_empty() {
            out.push(step(
                format!("unitfix explain {call} --unit {shown}"),
                "shows what a unit's filter does with it",
            ));
        }
        return out;
    }
    let pid = first.record.as_ref().map(|record| record.pid).filter(|pid| *pid > 0);
    match first.kind {
        Kind::Record | Kind::CoreDump if unit.is_none() || allowed => out.extend(pid.map(|pid| {
            step(format!("coredumpctl info {pid}"), "names the unit it belonged to, if it dumped core")
        })),
        Kind::Signal | Kind::ExitStatus => {
            out.push(step(super::RECIPE.to_owned() + " | unitfix explain", "tells which calls were denied"));
        }
        Kind::Call if unit.is_none() && out.is_empty() => {
            out.push(step(format!("unitfix explain {call} --unit UNIT"), "shows the line that forbids it"));
        }
        _ => {}
    }
    if !(allowed && first.call.is_some()) && first.kind != Kind::Group {
        let repair = context.repair.map_or_else(|| format!("sudo unitfix {shown}"), str::to_owned);
        out.push(step(repair, "finds what it is denied, and repairs it"));
    }
    out
}
