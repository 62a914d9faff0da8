//! unitfix-findings(7): every code, and examples that give what is said of them.

use super::{blocks_of, read_all, root_with_docuum, section, squeezed, text, unitfix, unitfix_in_shell};
use serde_json::Value;
use std::path::Path;
use unitfix::finding::Code;

const PAGE: &str = "unitfix-findings.7";
const SECTIONS: [&str; 3] = ["FINDINGS IN UNITS", "FINDINGS IN LOGS", "FINDINGS OF RUNS"];

/// What the page says of one code.
#[derive(Debug)]
struct Entry {
    code: String,
    severities: Vec<String>,
    example: String,
    advice: String,
}

fn entries() -> Vec<Entry> {
    let lines = SECTIONS.iter().flat_map(|name| section(PAGE, name)).collect::<Vec<_>>();
    let entry = |lines: &[String]| {
        let (code, severities) =
            lines[1].split_once(" (").unwrap_or_else(|| panic!("no severity: {lines:?}"));
        let words = severities.trim_end_matches(')').split(" or ");
        let advice: String =
            lines.iter().skip_while(|line| !line.starts_with("= ")).take(1).cloned().collect();
        let [example] =
            blocks_of(lines).try_into().unwrap_or_else(|found| panic!("one example: {code} {found:?}"));
        Entry {
            code: code.to_owned(),
            severities: words.map(str::to_owned).collect(),
            example,
            advice: advice.trim_start_matches("= ").to_owned(),
        }
    };
    let starts: Vec<usize> = (0..lines.len()).filter(|at| lines[*at] == ".TP").chain([lines.len()]).collect();
    starts.windows(2).map(|range| entry(&lines[range[0]..range[1]])).collect()
}

#[test]
fn every_code_is_there_in_order_with_its_advice() {
    let page: Vec<(String, String)> = entries().into_iter().map(|entry| (entry.code, entry.advice)).collect();
    let program: Vec<(String, String)> =
        Code::ALL.iter().map(|code| (code.name().to_owned(), format!("{}.", code.advice()))).collect();
    assert_eq!(page, program);
}

/// The codes that scripts may know. Others may come, and are added here; none of these goes.
const PROMISED: &str = "bad-line bad-section invalid-utf8 line-too-long no-section unknown-call unknown-group bad-errno \
    reset-leaves-no-filter emptied-deny-list errno-on-allow-list errno-without-tilde errno-is-default errno-on-write \
    errno-too-high wrong-section misspelt-setting bad-boolean unknown-architecture unknown-family unknown-namespace \
    alias-loop unreadable-unit unreadable-drop-in masked-drop-in relative-drop-in-directory bad-quoting bad-setting \
    policy-differs log-unreadable log-damaged records-left-out no-record no-stack more-findings masked-unit no-manager \
    leftover-replay leftover-repair";

#[test]
fn no_code_goes() {
    let program: Vec<&str> = Code::ALL.iter().map(|code| code.name()).collect();
    let gone: Vec<&str> = PROMISED.split_whitespace().filter(|code| !program.contains(code)).collect();
    assert!(gone.is_empty(), "{gone:?}");
    assert_eq!(program.len(), PROMISED.split_whitespace().count(), "a new code is promised from now on");
}

#[test]
fn every_example_gives_its_finding() {
    let printed = said_elsewhere();
    for entry in entries() {
        let first = entry.example.lines().next().unwrap();
        if first.starts_with("# ") && !first.starts_with("# systemd ") {
            typed(&entry);
        } else if let Some((severity, _)) = first.split_once(&format!("[{}]: ", entry.code)) {
            assert!(entry.severities.iter().any(|s| s == severity), "{entry:?}");
            shown(&entry, &printed);
        } else {
            linted(&entry);
        }
    }
}

/// A unit file, for the systemd that its first line names.
fn linted(entry: &Entry) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("example.service"), format!("{}\n", entry.example)).unwrap();
    let version = entry.example.lines().next().unwrap().strip_prefix("# systemd ").unwrap_or("262");
    let output =
        unitfix(folder.path(), &["policy", "./example.service", "--lint", "--json", "--systemd", version]);
    let lint: Value =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{entry:?}: {error}"));
    let found: Vec<&Value> = lint["findings"].as_array().unwrap().iter().collect();
    let [finding] = found[..] else { panic!("{entry:?} gives {found:#?}") };
    assert_eq!(finding["code"], entry.code.as_str());
    assert!(entry.severities.iter().any(|severity| finding["severity"] == severity.as_str()), "{finding}");
}

/// Commands, and what the last one answers.
fn typed(entry: &Entry) {
    let root = root_with_docuum();
    let commands: Vec<&str> = entry.example.lines().filter_map(|line| line.strip_prefix("# ")).collect();
    let answer: Vec<&str> = entry.example.lines().filter(|line| !line.starts_with("# ")).collect();
    let said = unitfix_in_shell(root.path(), &commands.join("\n"));
    let answer = squeezed(&answer.join("\n"));
    assert!(squeezed(&said).contains(&answer), "{answer}\nis not in\n{said}");
    let is_label = |severity: &String| answer.starts_with(&format!("{severity}[{}]: ", entry.code));
    // what keeps a unit from being found at all is an error of the command itself
    assert!(answer.starts_with("unitfix: ") || entry.severities.iter().any(is_label), "{entry:?}");
}

/// What only logs or a running system give: as case folders have it whole, or at least in the words of the program.
fn shown(entry: &Entry, printed: &(String, String)) {
    let (cases, sources) = printed;
    let example = squeezed(&entry.example);
    let (_, message) = example.split_once("]: ").unwrap();
    let words: Vec<&str> = message.split(' ').collect();
    let in_sources = || words.windows(6).any(|words| sources.contains(&words.join(" ")));
    assert!(cases.contains(&example) || in_sources(), "nobody prints {example}");
}

/// All that case folders expect, and all sources, the lines of each as one.
fn said_elsewhere() -> (String, String) {
    let (mut cases, mut sources) = (String::new(), String::new());
    for case in std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases")).unwrap() {
        let stdout = std::fs::read(case.unwrap().path().join("stdout")).unwrap_or_default();
        cases.push_str(&String::from_utf8_lossy(&stdout));
    }
    read_all(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut sources);
    (squeezed(&cases), squeezed(&sources.replace("\\\n", "\n")))
}

/// The page of the program says where these are.
#[test]
fn the_manual_leads_there() {
    let manual = text("man/unitfix.1");
    assert!(manual.contains(".BR unitfix\\-findings (7)") && manual.contains(".BR unitfix\\-rules (5)"));
}
