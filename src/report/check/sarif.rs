//! The report of a check as SARIF 2.1.0 (docs.oasis-open.org/sarif), as code scanning takes it: a result for each denied
//! call, at the word that decided, with the patch as its fix.

use super::{CheckReport, DENIED, REFUSED, Remark};
use crate::evidence::one_line;
use crate::finding::{Code, Severity};
use crate::patch::Patched;
use crate::report::TokenRow;
use serde_json::{Value, json};
use similar::{Algorithm, DiffOp, capture_diff_slices};
use std::fmt::Write as _;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

const SCHEMA: &str = "https://json.schemastore.org/sarif-2.1.0.json";

impl CheckReport {
    /// One log with one run.
    #[must_use]
    pub fn sarif(&self) -> Value {
        let remarks = self.remarks();
        let mut rules: Vec<&'static str> = remarks.iter().map(|remark| remark.rule).collect();
        rules.sort_unstable();
        rules.dedup();
        let fixes = self.fixes();
        let results: Vec<Value> = remarks.iter().map(|remark| self.result(remark, &rules, &fixes)).collect();
        let complete = self.exit_status < 3;
        let level = if complete { "note" } else { "error" };
        let ending = json!({ "level": level, "message": { "text": message(&self.ending) } });
        json!({
            "$schema": SCHEMA,
            "version": "2.1.0",
            "runs": [{
                "tool": { "driver": {
                    "name": "unitfix",
                    "version": self.unitfix,
                    "rules": rules.iter().map(|name| rule(name)).collect::<Vec<_>>(),
                }},
                "invocations": [{
                    "executionSuccessful": complete,
                    "exitCode": self.exit_status,
                    "toolExecutionNotifications": [ending],
                }],
                "columnKind": "unicodeCodePoints",
                "results": results,
            }],
        })
    }

    fn result(&self, remark: &Remark, rules: &[&str], fixes: &[Value]) -> Value {
        let mut result = json!({
            "ruleId": remark.rule,
            "ruleIndex": rules.iter().position(|name| *name == remark.rule),
            "level": level(remark.severity),
            "message": { "text": message(&remark.message) },
            "locations": remark.token.iter().map(|token| self.location(token)).collect::<Vec<_>>(),
        });
        let of_a_call = remark.rule == DENIED.0 || (remark.rule == REFUSED.0 && self.refusals_count());
        if of_a_call && !fixes.is_empty() {
            result["fixes"] = fixes.into();
        }
        result
    }

    fn location(&self, token: &TokenRow) -> Value {
        json!({ "physicalLocation": {
            "artifactLocation": self.artifact(&token.file),
            "region": {
                "startLine": token.line,
                "startColumn": token.column,
                "endLine": token.line,
                "endColumn": token.column.saturating_add(token.length.max(1)),
            },
        }})
    }

    fn artifact(&self, path: &Path) -> Value {
        match self.naming.below(path) {
            Some(name) => json!({ "uri": uri(&name), "uriBaseId": "%SRCROOT%" }),
            None => json!({ "uri": format!("file://{}", uri(path)) }),
        }
    }

    /// The patch as the one fix of whatever it is for; nothing, if it is none or not of text.
    fn fixes(&self) -> Vec<Value> {
        let Some(repair) = &self.repair else { return Vec::new() };
        let changes: Option<Vec<Value>> = self.patched.iter().map(|file| self.change(file)).collect();
        let changes = changes.filter(|changes| !changes.is_empty());
        let fix = |changes| {
            let text = message(&repair.proposed.words);
            json!({ "description": { "text": text }, "artifactChanges": changes })
        };
        changes.map(fix).into_iter().collect()
    }

    fn change(&self, file: &Patched) -> Option<Value> {
        let (old, new) = (lines(&file.before)?, lines(&file.after)?);
        let differ = |op: &DiffOp| !matches!(op, DiffOp::Equal { .. });
        let ops = capture_diff_slices(Algorithm::Myers, &old, &new).into_iter().filter(differ);
        let replacements = ops.map(|op| {
            let (from, to) = (op.old_range(), op.new_range());
            json!({
                "deletedRegion": {
                    "startLine": from.start + 1,
                    "startColumn": 1,
                    "endLine": from.end + 1,
                    "endColumn": 1,
                },
                "insertedContent": { "text": new.get(to).unwrap_or_default().concat() },
            })
        });
        let replacements: Vec<Value> = replacements.collect();
        Some(json!({ "artifactLocation": self.artifact(&file.path), "replacements": replacements }))
    }
}

fn lines(bytes: &[u8]) -> Option<Vec<&str>> {
    Some(std::str::from_utf8(bytes).ok()?.split_inclusive('\n').collect())
}

fn rule(name: &str) -> Value {
    let of_calls = [DENIED, REFUSED].into_iter().find(|(of, _)| *of == name);
    let of_findings = || Code::ALL.iter().find(|code| code.name() == name).map(|code| (name, code.advice()));
    let advice = of_calls.or_else(of_findings).map_or("", |(_, advice)| advice);
    // GitHub wants all three of them
    json!({
        "id": name,
        "shortDescription": { "text": name.replace('-', " ") },
        "fullDescription": { "text": advice },
        "help": { "text": advice },
    })
}

fn level(severity: Severity) -> &'static str {
    match severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
        Severity::Note => "note",
    }
}

/// A plain text message: braces are doubled (3.11.5), and nothing in it is a link (3.11.6).
fn message(text: &str) -> String {
    one_line(text).replace('{', "{{").replace('}', "}}").replace("](", "] (")
}

/// A path as a reference: all but the plainest bytes are escaped (RFC 3986).
fn uri(path: &Path) -> String {
    let mut out = String::new();
    for byte in path.as_os_str().as_bytes() {
        if byte.is_ascii_alphanumeric() || b"/-._~".contains(byte) {
            out.push(char::from(*byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_texts() {
        assert_eq!(message("a {0}\n[x](http://y)"), "a {{0}}\\n[x] (http://y)");
        assert_eq!(uri(Path::new("a b/%2e:é\n.service")), "a%20b/%252e%3A%C3%A9%0A.service");
    }
}
