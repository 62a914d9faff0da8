//! The report of a check for people.

use super::CheckReport;
use crate::report::people::{People, finding_text};
use std::fmt::Write as _;

impl People {
    /// What is wrong, who was denied what and by which word, what would repair it, and how it ended.
    #[must_use]
    pub fn check(&self, report: &CheckReport) -> String {
        let mut out = String::new();
        for finding in &report.findings {
            out.push_str(&finding_text(finding, self.width));
        }
        out.push_str(&self.denials(&report.denials));
        if !report.refused.is_empty() {
            let all_the_same = if report.refusals_count() { "" } else { ", and it works all the same" };
            let _ = writeln!(out, "\nThese fail, as the unit says{all_the_same}:");
            out.push_str(&self.denials(&report.refused));
        }
        if let Some(repair) = &report.repair {
            out.push_str(&self.repair(repair));
        }
        if let Some(patch) = &report.patch {
            out.push_str(&self.diff(patch));
        }
        if let Some(why) = &report.no_patch {
            out.push_str(&self.filled(&format!("\nNo patch: {why}.\n")));
        }
        out.push_str(&self.filled(&format!("\n{}\n", report.ending)));
        if !report.works() && !report.log.is_empty() {
            out.push_str("The unit said last:\n");
            for line in &report.log {
                let _ = writeln!(out, "  | {line}");
            }
        }
        out.trim_start_matches('\n').to_owned()
    }
}
