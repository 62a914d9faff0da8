//! unitfix-rules(5): the keys that are read, and examples that are rules and do what is shown.

use super::{blocks_of, root_with_docuum, section, squeezed, tags, unitfix_in_shell};
use std::fs;
use std::path::Path;

const PAGE: &str = "unitfix-rules.5";

/// What a mistake in a file is called.
fn mistake(yaml: &str) -> String {
    let error = unitfix::rules::check(Path::new("example.yaml"), yaml.as_bytes()).unwrap_err();
    error.to_string()
}

/// The keys that could stand in the place of one that is none.
fn keys(yaml: &str) -> Vec<String> {
    let said = mistake(yaml);
    let expected = said.split_once("expected one of ").unwrap_or_else(|| panic!("{said}")).1;
    let mut keys: Vec<String> =
        expected.lines().next().unwrap().split('`').skip(1).step_by(2).map(str::to_owned).collect();
    keys.sort();
    keys
}

#[test]
fn every_key_is_documented_and_no_other() {
    for (name, yaml) in [
        ("DESCRIPTION", "nonsense: 1"),
        ("RISK", "risk: [{nonsense: 1}]"),
        ("FAMILIES", "families: [{nonsense: 1}]"),
        ("CALLS", "calls: {mount: {nonsense: 1}}"),
    ] {
        let mut documented = tags(PAGE, name);
        documented.sort();
        assert_eq!(documented, keys(yaml), "{name}");
    }
    let tiers = mistake("risk: [{tier: nonsense, calls: [mount], lets: a, source: b}]");
    let tiers: Vec<&str> = tiers.lines().next().unwrap().split('`').skip(3).step_by(2).collect();
    let page =
        squeezed(&section(PAGE, "RISK").join("\n").replace([','], "").replace(".BR ", "").replace(".B ", ""));
    let shown = tiers.join(" ").replace("process-control system", "process-control or system");
    assert!(tiers.len() == 7 && page.contains(&shown), "{shown}\n{page}");
}

/// The examples of the three keys, as one file.
fn example() -> String {
    ["RISK", "FAMILIES", "CALLS"].map(|name| blocks_of(&section(PAGE, name)).concat() + "\n").concat()
}

#[test]
fn the_examples_are_rules_and_do_what_is_shown() {
    unitfix::rules::check(Path::new("example.yaml"), example().as_bytes()).unwrap();
    let root = root_with_docuum();
    let folder = root.path().join("etc/unitfix/rules.d");
    fs::create_dir_all(&folder).unwrap();
    let file = folder.join("50-ours.yaml");
    fs::write(&file, example()).unwrap();
    let [session] = blocks_of(&section(PAGE, "EXAMPLES")).try_into().unwrap();
    let mut said = String::new();
    let mut checked = 0;
    for line in session.lines().filter(|line| !line.is_empty()) {
        if let Some(command) = line.strip_prefix("# ") {
            said = unitfix_in_shell(root.path(), command);
        } else {
            assert!(said.lines().any(|other| other == line), "{line}\nis not in\n{said}");
            checked += 1;
        }
    }
    assert!(checked >= 3, "{session}");

    fs::write(&file, example().replace("\"@memlock\"", "setrlimt")).unwrap();
    let [session] = blocks_of(&section(PAGE, "MISTAKES")).try_into().unwrap();
    let (command, answer) = session.split_once('\n').unwrap();
    let said =
        unitfix_in_shell(root.path(), &format!("{}; echo status $?", command.trim_start_matches("# ")));
    assert!(squeezed(&said).contains(&squeezed(answer)), "{answer}\nis not in\n{said}");
    assert!(said.ends_with("status 5\n"), "{said}");
}
