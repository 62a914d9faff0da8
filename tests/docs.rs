//! What is written about unitfix is what unitfix does: the manuals, the README, `--help` and what shells complete.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, clippy::panic)] // a failure anywhere here is the test's

#[path = "docs/completions.rs"]
mod completions;
#[path = "docs/examples.rs"]
mod examples;
#[path = "docs/findings.rs"]
mod findings;
#[path = "docs/rules.rs"]
mod rules;

use clap::CommandFactory;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use unitfix::cli::Cli;

fn text(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

/// The manuals.
const PAGES: [&str; 5] =
    ["unitfix.1", "unitfix-rules.5", "unitfix-findings.7", "unitfix-proposals.7", "unitfix-filters.7"];

/// What groff(7) makes of its escapes; the backslash comes last.
const ESCAPES: [(&str, &str); 11] = [
    ("\\-", "-"),
    ("\\~", " "),
    ("\\(aq", "'"),
    ("\\(dq", "\""),
    ("\\(lq", "“"),
    ("\\(rq", "”"),
    ("\\(ti", "~"),
    ("\\fB", ""),
    ("\\fI", ""),
    ("\\fR", ""),
    ("\\e", "\\"),
];

/// A page's sections: name, and lines without font changes and escapes.
fn sections(page: &str) -> Vec<(String, Vec<String>)> {
    let mut out: Vec<(String, Vec<String>)> = Vec::new();
    for line in text(&format!("man/{page}")).lines() {
        let line = ESCAPES.iter().fold(line.to_owned(), |line, (escape, plain)| line.replace(escape, plain));
        match (line.strip_prefix(".SH "), out.last_mut()) {
            (Some(name), _) => out.push((name.to_owned(), Vec::new())),
            (None, Some((_, lines))) => lines.push(line),
            (None, None) => {}
        }
    }
    out
}

fn section(page: &str, name: &str) -> Vec<String> {
    let found = sections(page).into_iter().find(|(n, _)| n == name);
    found.unwrap_or_else(|| panic!("{page} has no section {name}")).1
}

/// What stands as it is, between `.nf` and `.fi`.
fn blocks_of(lines: &[String]) -> Vec<String> {
    let mut out = Vec::new();
    let mut block: Option<Vec<&str>> = None;
    for line in lines {
        match (line.as_str(), &mut block) {
            (".nf", _) => block = Some(Vec::new()),
            (".fi", _) => out.extend(block.take().map(|lines| lines.join("\n"))),
            (line, Some(lines)) => lines.push(line),
            (_, None) => {}
        }
    }
    out
}

/// A text with its lines put together.
fn squeezed(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// What stands behind each `.TP` of a section, without the macro and its quotes.
fn tags(page: &str, name: &str) -> Vec<String> {
    let lines = section(page, name);
    let tag = |pair: &[String]| {
        (pair[0] == ".TP").then(|| {
            let words = pair[1].split_once(' ').map_or("", |(_, words)| words);
            words.replace(['"', '[', ']'], "").split_whitespace().collect::<Vec<_>>().join(" ")
        })
    };
    lines.windows(2).filter_map(tag).collect()
}

/// Every long option of the program and of its commands.
fn options() -> BTreeSet<String> {
    let mut cli = Cli::command();
    cli.build();
    let all = std::iter::once(&cli).chain(cli.get_subcommands().filter(|c| c.get_name() != "help"));
    let options = all.flat_map(clap::Command::get_arguments).filter(|a| !a.is_hide_set());
    options.filter_map(clap::Arg::get_long).map(|long| format!("--{long}")).collect()
}

fn documented_options(tags: &[String]) -> BTreeSet<String> {
    let words = tags.iter().flat_map(|tag| tag.split(|c: char| c.is_whitespace() || c == ','));
    words.filter(|word| word.starts_with("--")).map(str::to_owned).collect()
}

#[test]
fn the_manual_has_its_sections() {
    let names: Vec<String> = sections("unitfix.1").into_iter().map(|(name, _)| name).collect();
    let expected = [
        "NAME",
        "SYNOPSIS",
        "DESCRIPTION",
        "COMMANDS",
        "OPTIONS",
        "WHICH CHANGE IS PROPOSED",
        "WHAT HAPPENS WHEN YOU SAY YES",
        "HOW A WATCH GOES ON",
        "JSON",
        "AUTOMATIC DIAGNOSIS",
        "FILES",
        "ENVIRONMENT",
        "EXIT STATUS",
        "EXAMPLES",
        "SECURITY",
        "SEE ALSO",
    ];
    assert_eq!(names, expected);
    for page in PAGES {
        assert!(sections(page).iter().all(|(_, lines)| !lines.is_empty()), "{page}");
        let title = text(&format!("man/{page}")).lines().find(|l| l.starts_with(".TH ")).unwrap().to_owned();
        assert!(title.contains(&format!("\"unitfix {}\"", env!("CARGO_PKG_VERSION"))), "{title}");
        let (name, number) = page.split_once('.').unwrap();
        let title = title.replace('\\', "");
        assert!(title.starts_with(&format!(".TH {} {number} ", name.to_uppercase())), "{title}");
    }
}

/// man-db's own judgement; `.ci/run` installs it.
#[test]
fn the_manuals_render_without_a_warning() {
    for page in PAGES {
        let output = Command::new("man")
            .args(["--warnings=w", "-l", &format!("man/{page}")])
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .env("MANWIDTH", "80")
            .env("MANROFFOPT", "-c")
            .env("LC_ALL", "C.UTF-8")
            .output()
            .unwrap_or_else(|error| panic!("man(1), of man-db: {error}"));
        assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{page}");
        assert!(output.status.success());
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(text.contains("SEE ALSO"));
        let wide: Vec<&str> = text.lines().filter(|line| line.chars().count() > 80).collect();
        assert!(wide.is_empty(), "{page}: {wide:#?}");
    }
}

#[test]
fn the_manual_has_every_option_and_no_other() {
    assert_eq!(documented_options(&tags("unitfix.1", "OPTIONS")), {
        let mut all = options();
        all.extend(["--help".to_owned(), "--version".to_owned()]);
        all
    });
    let anywhere = PAGES.map(|page| text(&format!("man/{page}"))).concat().replace("\\-", "-");
    let words = anywhere.split(|c: char| !(c.is_ascii_alphanumeric() || c == '-'));
    let unknown: BTreeSet<&str> = words
        .filter(|w| w.strip_prefix("--").is_some_and(|name| name.starts_with(|c: char| c != '-')))
        .filter(|w| !options().contains(*w) && !["--help", "--version"].contains(w))
        .collect();
    assert!(unknown.is_empty(), "{unknown:?}");
}

#[test]
fn the_manual_has_every_command_and_no_other() {
    let documented: BTreeSet<String> =
        tags("unitfix.1", "COMMANDS").iter().map(|tag| tag.split(' ').next().unwrap().to_owned()).collect();
    let mut cli = Cli::command();
    cli.build();
    let mut all: BTreeSet<String> = cli.get_subcommands().map(|c| c.get_name().to_owned()).collect();
    all.insert("unitfix".to_owned());
    assert_eq!(documented, all);
}

#[test]
fn the_manual_has_every_exit_status() {
    assert_eq!(tags("unitfix.1", "EXIT STATUS"), ["0", "1", "2", "3", "4", "5", "130"]);
}

/// A terminal has 24 lines, or somewhat more.
#[test]
fn help_fits_on_a_screen() {
    let mut cli = Cli::command();
    cli.build();
    let commands: Vec<&str> =
        cli.get_subcommands().map(clap::Command::get_name).filter(|c| *c != "help").collect();
    assert!(commands.len() >= 6);
    let help = |args: &[&str]| {
        let output = unitfix(Path::new("."), args);
        let help = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success() && help.lines().count() >= 10, "{args:?}\n{help}");
        assert!(help.lines().all(|line| line.chars().count() <= 80), "{args:?}\n{help}");
        (help.lines().count(), help)
    };
    for command in std::iter::once(None).chain(commands.into_iter().map(Some)) {
        let (long, text) = help(&command.into_iter().chain(["--help"]).collect::<Vec<_>>());
        assert!(long <= 40, "{long} lines:\n{text}");
        let (short, text) = help(&command.into_iter().chain(["-h"]).collect::<Vec<_>>());
        assert!(short <= 24 && short <= long, "{short} lines, and {long} of --help:\n{text}");
    }
    assert!(help(&["help"]).0 <= 40);
    assert!(help(&["-h"]).0 < help(&["--help"]).0);
}

fn unitfix(folder: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_unitfix"))
        .args(args)
        .current_dir(folder)
        .env_remove("NO_COLOR")
        .env("LC_ALL", "C.UTF-8")
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

/// A system with a unit that has a filter and a vendor's drop-in, and systemd 252.
fn root_with_docuum() -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    let unit = "[Service]\nExecStart=/usr/bin/docuum\nSystemCallFilter=@system-service\n";
    for (path, content) in [
        ("etc/systemd/system/docuum.service", unit),
        ("usr/lib/systemd/system/docuum.service.d/vendor.conf", "[Service]\nSystemCallFilter=setrlimit\n"),
        ("usr/lib/systemd/libsystemd-shared-252.so", ""),
    ] {
        let path = root.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    root
}

/// What commands print that are typed in /etc/systemd/system of a root.
fn unitfix_in_shell(root: &Path, commands: &str) -> String {
    let script = format!("unitfix() {{ \"$UNITFIX\" \"$@\" --root \"$ROOT\"; }}\nexec 2>&1\n{commands}\n");
    let output = Command::new("sh")
        .args(["-c", &script])
        .current_dir(root.join("etc/systemd/system"))
        .env("UNITFIX", env!("CARGO_BIN_EXE_unitfix"))
        .env("ROOT", root)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The code blocks of the README, without their fences.
fn blocks() -> Vec<String> {
    text("README.md")
        .split("```")
        .skip(1)
        .step_by(2)
        .map(|b| b.split_once('\n').unwrap().1.to_owned())
        .collect()
}

#[test]
fn the_readme_example_does_what_is_shown() {
    let readme = text("README.md");
    let command = "cargo run -q -- ./examples/report.service --apply --yes\n";
    assert!(blocks().iter().any(|block| block == command), "{command}");
    assert!(blocks().iter().any(|block| block == ".ci/run\n"));
    assert!(readme.contains("exits with status 1"));

    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("examples")).unwrap();
    fs::write(folder.path().join("examples/report.service"), text("examples/report.service")).unwrap();
    let file = "./examples/report.service";
    let output = unitfix(folder.path(), &[file]);
    let said = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    let shown = blocks().into_iter().find(|block| block.contains("Repair: let setpriority")).unwrap();
    let place = |text: &str| {
        let line = text.lines().find(|line| line.contains("because ")).unwrap();
        line.rsplit('/').next().unwrap().to_owned()
    };
    assert_eq!(place(&shown), place(&said));
    for line in shown.lines().filter(|line| line.contains("^^^") || line.starts_with("Repair")) {
        assert!(said.contains(line), "{line}\nis not in\n{said}");
    }
    let proven = "Proven: a run in which setpriority failed: finished successfully, and nothing ended badly.";
    assert!(shown.contains(proven) && said.contains(proven), "{said}");
    assert!(!folder.path().join("examples/report.service.d").exists(), "written without a yes");

    assert!(blocks().iter().any(|block| block.contains(&format!("unitfix {file} --apply --yes"))));
    assert_eq!(unitfix(folder.path(), &[file, "--apply", "--yes"]).status.code(), Some(0));
    let drop_in = folder.path().join("examples/report.service.d/zz-unitfix.conf");
    let written = fs::read_to_string(&drop_in).unwrap();
    assert!(written.ends_with("\n[Service]\nSystemCallFilter=~setpriority:EPERM\n"), "{written}");
    assert_eq!(unitfix(folder.path(), &[file]).status.code(), Some(0), "repaired");
    assert_eq!(unitfix(folder.path(), &["revert", file, "--yes"]).status.code(), Some(0));
    assert!(!drop_in.parent().unwrap().exists());
}

/// From the denied call to the proof; and the page is never written over something else.
#[test]
fn the_readme_example_makes_a_page() {
    let folder = tempfile::tempdir().unwrap();
    let unit = text("examples/report.service");
    fs::write(folder.path().join("report.service"), &unit).unwrap();
    let run = |page: &str| unitfix(folder.path(), &["./report.service", "--apply", "--yes", "--html", page]);

    let output = run("report.service");
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("no page of unitfix's, which is not replaced; nothing was done"), "{said}");
    assert_eq!(fs::read_to_string(folder.path().join("report.service")).unwrap(), unit);

    let output = run("page.html");
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let page = fs::read_to_string(folder.path().join("page.html")).unwrap();
    for part in [
        "<h1>./report.service</h1>",
        "SystemCallFilter=~@privileged <mark class=\"mark\">@resources</mark>",
        "<strong>Run with every call let through</strong>: 1 call denied, nothing lost; finished successfully",
        "<strong>Tried</strong>: to let setpriority fail with EPERM: it works",
        "<strong>Written</strong>: ",
        "<span class=\"add\">+SystemCallFilter=~setpriority:EPERM\n</span>",
        "A run in which setpriority failed: finished successfully, and nothing ended badly.",
        "1 call gets another answer; all others get the same as before.",
        "unitfix revert ./report.service",
    ] {
        assert!(page.contains(part), "{part}\n{page}");
    }
}

#[test]
fn the_readme_shows_what_the_program_says() {
    transcript("explain");
    transcript("policy");
}

/// A block that begins with this command shows, whole, what the command prints.
fn transcript(task: &str) {
    let block = blocks().into_iter().find(|block| block.starts_with(&format!("$ unitfix {task} "))).unwrap();
    let (command, shown) = block.split_once('\n').unwrap();
    let args: Vec<&str> = command.split_whitespace().skip(2).collect();
    let output = unitfix(Path::new(env!("CARGO_MANIFEST_DIR")), &args);
    assert_eq!(output.status.code(), Some(0));
    let said = String::from_utf8(output.stdout).unwrap();
    let said = said.replace(env!("CARGO_MANIFEST_DIR"), "/srv/unitfix");
    assert_eq!(said, shown);
}

/// The words of a command line as a shell takes them; quotes are single ones.
fn words(line: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    for (number, piece) in line.split('\'').enumerate() {
        if number % 2 == 1 {
            words.push(piece.to_owned());
        } else {
            words.extend(piece.split_whitespace().map(str::to_owned));
        }
    }
    words
}

#[test]
fn every_command_line_that_is_shown_is_one() {
    let manual = section("unitfix.1", "EXAMPLES").join("\n");
    let lines =
        blocks().into_iter().chain([manual]).flat_map(|t| t.lines().map(str::to_owned).collect::<Vec<_>>());
    let mut checked = 0;
    for line in lines {
        let line = line
            .split(" #")
            .next()
            .unwrap()
            .split("  ")
            .next()
            .unwrap()
            .trim()
            .trim_start_matches(".B ")
            .trim_start_matches("$ ");
        let Some((before, args)) = line.split_once("unitfix ") else { continue };
        if !["", "sudo "].contains(&before) && !before.ends_with("| ") {
            continue;
        }
        // what the shell does with the output is no part of it
        let args = args.split(" | ").next().unwrap().split(" > ").next().unwrap();
        let words = std::iter::once("unitfix".to_owned()).chain(words(args));
        if let Err(error) = Cli::command().try_get_matches_from(words) {
            panic!("{line}: {error}");
        }
        checked += 1;
    }
    assert!(checked >= 8, "{checked}");
}

/// Each promise of SECURITY.md is shown by tests that are there.
#[test]
fn what_is_promised_is_tested() {
    let text = text("SECURITY.md");
    let table = text.split_once("## What is promised").unwrap().1.split_once("\n## ").unwrap().0;
    let rows: Vec<&str> = table.lines().filter(|line| line.starts_with("| ")).skip(1).collect();
    assert!(rows.len() >= 15, "{rows:?}");
    let mut sources = String::new();
    for folder in ["src", "tests/live/cases"] {
        read_all(&Path::new(env!("CARGO_MANIFEST_DIR")).join(folder), &mut sources);
    }
    let is_there = |name: &str| {
        if let Some((path, function)) = name.rsplit_once("::tests::") {
            let file = format!("src/{}", path.replace("::", "/"));
            let places = [".rs", "/mod.rs", "/tests.rs"].map(|end| format!("{file}{end}"));
            let found = places.iter().filter_map(|place| fs::read_to_string(place).ok());
            return found.into_iter().any(|text| text.contains(&format!("fn {function}()")));
        }
        sources.contains(&format!("Case::new(\"{name}\"")) || Path::new("tests/cases").join(name).is_dir()
    };
    for row in rows {
        let shown = row.trim_end_matches('|').rsplit('|').next().unwrap();
        let names: Vec<&str> = shown.split('`').skip(1).step_by(2).collect();
        assert!(!names.is_empty(), "no test shows: {row}");
        let missing: Vec<&&str> = names.iter().filter(|name| !is_there(name)).collect();
        assert!(missing.is_empty(), "there is no {missing:?}, which is to show: {row}");
    }
}

fn read_all(folder: &Path, into: &mut String) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            read_all(&path, into);
        } else {
            into.push_str(&fs::read_to_string(&path).unwrap());
        }
    }
}
