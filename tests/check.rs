//! `unitfix check`, on real processes: no service manager, with root or without. Needs git, perl and python3.
//!
//! `tests/checked/NAME/` is one check of `unit` with the arguments in `args` (one a line), and what must come out, whole:
//! `stdout`, `stderr`, `status`. Times, the version and the folder are made neutral. `UNITFIX_BLESS=1` writes what must
//! come out anew: read it.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, clippy::panic)] // a failure anywhere here is the test's

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

#[path = "check/examples.rs"]
mod examples;
#[path = "schema/mod.rs"]
mod schema;

/// The working tree of somebody who has a unit.
struct Tree {
    folder: tempfile::TempDir,
}

impl Tree {
    fn new() -> Self {
        Tree { folder: tempfile::tempdir().unwrap() }
    }

    /// With this unit in a file.
    fn with(path: &str, unit: &str) -> Self {
        let tree = Tree::new();
        fs::create_dir_all(tree.path(path).parent().unwrap()).unwrap();
        fs::write(tree.path(path), unit).unwrap();
        tree
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn check<S: AsRef<std::ffi::OsStr>>(&self, args: &[S]) -> Output {
        self.command(args).output().unwrap()
    }

    fn command<S: AsRef<std::ffi::OsStr>>(&self, args: &[S]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_unitfix"));
        command.arg("check").args(args).current_dir(self.folder.path()).stdin(Stdio::null());
        command.env("TZ", "UTC").env("NO_COLOR", "1");
        command
    }

    /// A text without what is another one in every run, or for another user.
    fn neutral(&self, bytes: &[u8]) -> String {
        let folder = self.folder.path().canonicalize().unwrap();
        let text = String::from_utf8(bytes.to_vec()).unwrap().replace(folder.to_str().unwrap(), "FOLDER");
        let text = text.replace(env!("CARGO_PKG_VERSION"), "VERSION");
        if let Ok(mut value) = serde_json::from_str::<Value>(&text) {
            neutral_json(&mut value);
            return format!("{value:#}\n");
        }
        let lines = text.split_inclusive('\n').filter(|line| !line.starts_with("  note: runs as user "));
        lines.map(without_time).collect()
    }
}

/// `at 12:40:49` and the like.
fn without_time(line: &str) -> String {
    let Some((before, time)) = line.rsplit_once(" at ") else { return line.to_owned() };
    let is_time = time.trim_end().split(':').all(|part| part.len() == 2 && part.parse::<u8>().is_ok());
    if is_time { format!("{before} at TIME\n") } else { line.to_owned() }
}

fn neutral_json(value: &mut Value) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                match key.as_str() {
                    "first" | "last" | "seconds" if value.is_number() => *value = "TIME".into(),
                    "notes" => {
                        let as_user = |note: &Value| note.as_str().unwrap().starts_with("runs as user ");
                        value.as_array_mut().unwrap().retain(|note| !as_user(note));
                    }
                    _ => neutral_json(value),
                }
            }
        }
        Value::Array(values) => values.iter_mut().for_each(neutral_json),
        _ => {}
    }
}

fn cases() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/checked")
}

#[test]
fn whole_outputs() {
    let bless = std::env::var_os("UNITFIX_BLESS").is_some();
    let mut folders: Vec<PathBuf> =
        fs::read_dir(cases()).unwrap().map(|entry| entry.unwrap().path()).collect();
    folders.sort();
    assert!(folders.len() >= 15);
    let mut faults = String::new();
    for case in folders {
        let read = |name: &str| fs::read_to_string(case.join(name)).unwrap_or_default();
        let args = read("args");
        let args: Vec<&str> = args.lines().collect();
        let tree = Tree::with(args[0], &read("unit"));
        let output = tree.check(&args);
        if args.windows(2).any(|pair| pair == ["--format", "json"]) {
            let printed = std::str::from_utf8(&output.stdout).unwrap();
            assert_eq!(schema::check(&["check"], printed), 1, "{}", case.display());
        }
        let left: Vec<_> = fs::read_dir(tree.path(args[0]).parent().unwrap()).unwrap().collect();
        assert_eq!(left.len(), 1, "{}: something was written", case.display());
        for (name, seen) in [
            ("stdout", tree.neutral(&output.stdout)),
            ("stderr", tree.neutral(&output.stderr)),
            ("status", format!("{}\n", output.status.code().unwrap())),
        ] {
            if bless {
                fs::write(case.join(name), &seen).unwrap();
            } else if seen != read(name) {
                let (expected, header) = (read(name), format!("{}/{name}", case.display()));
                let diff = similar::TextDiff::from_lines(&expected, &seen);
                faults += &diff.unified_diff().header(&header, "seen").to_string();
            }
        }
    }
    assert!(faults.is_empty(), "{faults}");
}

/// The outputs of cases whose arguments name this format.
fn outputs(format: &str) -> Vec<(String, String)> {
    let folders = fs::read_dir(cases()).unwrap().map(|entry| entry.unwrap().path());
    let of_it = folders.filter(|case| {
        fs::read_to_string(case.join("args")).unwrap().contains(&format!("--format\n{format}\n"))
    });
    let outputs =
        of_it.map(|case| (case.display().to_string(), fs::read_to_string(case.join("stdout")).unwrap()));
    let outputs: Vec<_> = outputs.collect();
    assert!(outputs.len() >= 3, "{outputs:?}");
    outputs
}

/// What tools that read it want, beyond what its schema requires.
#[test]
fn sarif_has_what_code_scanning_needs() {
    for (case, text) in outputs("sarif") {
        let log: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(log["version"], "2.1.0", "{case}");
        assert!(log["$schema"].as_str().unwrap().ends_with("/sarif-2.1.0.json"));
        let [run] = &log["runs"].as_array().unwrap()[..] else { panic!("{case}: one run") };
        let driver = &run["tool"]["driver"];
        assert_eq!(driver["name"], "unitfix");
        assert_eq!(run["columnKind"], "unicodeCodePoints");
        assert!(run["invocations"][0]["executionSuccessful"].is_boolean());
        for notification in run["invocations"][0]["toolExecutionNotifications"].as_array().unwrap() {
            assert!(notification["message"]["text"].is_string(), "{case}");
        }
        let rules = driver["rules"].as_array().unwrap();
        for text in ["shortDescription", "fullDescription", "help"] {
            assert!(rules.iter().all(|rule| !rule[text]["text"].as_str().unwrap().is_empty()), "{case}");
        }
        for result in run["results"].as_array().unwrap() {
            assert!(!result["message"]["text"].as_str().unwrap().is_empty());
            let index = usize::try_from(result["ruleIndex"].as_u64().unwrap()).unwrap();
            assert_eq!(rules[index]["id"], result["ruleId"]);
            assert!(["error", "warning", "note"].contains(&result["level"].as_str().unwrap()));
            for location in result["locations"].as_array().unwrap() {
                let place = &location["physicalLocation"];
                artifact(&place["artifactLocation"]);
                let region = |name: &str| place["region"][name].as_u64().unwrap();
                assert!(region("startLine") >= 1 && region("startColumn") >= 1, "{case}");
                assert_eq!(region("startLine"), region("endLine"));
                assert!(region("endColumn") > region("startColumn"));
            }
            for fix in result["fixes"].as_array().into_iter().flatten() {
                let changes = fix["artifactChanges"].as_array().unwrap();
                assert!(!changes.is_empty());
                for change in changes {
                    artifact(&change["artifactLocation"]);
                    let replacements = change["replacements"].as_array().unwrap();
                    assert!(!replacements.is_empty());
                    assert!(
                        replacements
                            .iter()
                            .all(|one| one["deletedRegion"]["startLine"].as_u64().unwrap() >= 1)
                    );
                }
            }
        }
    }
}

/// A relative reference without a scheme (RFC 3986), from the top of the working tree.
fn artifact(location: &Value) {
    let uri = location["uri"].as_str().unwrap();
    let plain = |c: char| c.is_ascii_alphanumeric() || "/-._~%".contains(c);
    assert!(!uri.starts_with('/') && uri.chars().all(plain), "{uri}");
    assert_eq!(location["uriBaseId"], "%SRCROOT%");
}

/// The runner takes each line as a command, and its properties apart at commas.
#[test]
fn github_gets_one_command_a_line() {
    for (case, text) in outputs("github") {
        for line in text.lines() {
            let (name, rest) = line.strip_prefix("::").unwrap().split_once(' ').unwrap();
            assert!(["error", "warning", "notice"].contains(&name), "{case}: {line}");
            let (properties, message) = rest.split_once("::").unwrap();
            assert!(!message.is_empty());
            for property in properties.split(',') {
                let (key, value) = property.split_once('=').unwrap();
                assert!(["file", "line", "endLine", "col", "endColumn", "title"].contains(&key), "{line}");
                assert!(!value.is_empty() && !value.contains(':'), "{line}");
            }
        }
    }
}

const REPORT: &str = "[Service]\nType=oneshot\nNoNewPrivileges=yes\nSystemCallFilter=~@resources\n\
                      ExecStart=nice -n 5 echo written\n";

/// The patch is what it says: with it, nothing is denied any more.
#[test]
fn the_patch_helps() {
    let tree = Tree::with("debian/report.service", REPORT);
    let args = ["./debian/report.service", "--format", "json", "--", "true"];
    let output = tree.check(&args);
    assert_eq!(output.status.code(), Some(1));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    fs::write(tree.path("patch"), report["patch"].as_str().unwrap()).unwrap();
    let applied = Command::new("git").args(["apply", "patch"]).current_dir(tree.folder.path()).status();
    assert!(applied.unwrap().success());
    let output = tree.check(&args);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stdout));
}

/// The schema of SARIF 2.1.0 judges it; tests/schema/README.md says where that is from.
#[test]
fn sarif_is_what_its_schema_says() {
    let schema = include_str!("schema/sarif-2.1.0.json");
    let (mut compiler, mut schemas) = (boon::Compiler::new(), boon::Schemas::new());
    compiler.enable_format_assertions();
    compiler.add_resource("urn:sarif", serde_json::from_str(schema).unwrap()).unwrap();
    let index = compiler.compile("urn:sarif", &mut schemas).unwrap_or_else(|error| panic!("{error:#}"));
    for (case, text) in outputs("sarif") {
        let mut log: Value = serde_json::from_str(&text).unwrap();
        let judged = schemas.validate(&log, index);
        assert!(judged.is_ok(), "{case}: {:#}", judged.unwrap_err());
        log["runs"][0]["columnKind"] = "bytes".into();
        assert!(schemas.validate(&log, index).is_err(), "it judges");
    }
}

/// A fix of SARIF makes the same file of it as the patch does.
#[test]
fn the_fix_of_sarif_is_the_patch() {
    let tree = Tree::with("debian/report.service", REPORT);
    let output = tree.check(&["./debian/report.service", "--format", "sarif", "--", "true"]);
    let log: Value = serde_json::from_slice(&output.stdout).unwrap();
    let change = &log["runs"][0]["results"][0]["fixes"][0]["artifactChanges"][0];
    assert_eq!(change["artifactLocation"]["uri"], "debian/report.service");
    let mut lines: Vec<&str> = REPORT.split_inclusive('\n').collect();
    let [replacement] = &change["replacements"].as_array().unwrap()[..] else { panic!("{change}") };
    let line =
        |name: &str| usize::try_from(replacement["deletedRegion"][name].as_u64().unwrap()).unwrap() - 1;
    drop(lines.splice(
        line("startLine")..line("endLine"),
        [replacement["insertedContent"]["text"].as_str().unwrap()],
    ));
    fs::write(tree.path("debian/report.service"), lines.concat()).unwrap();
    let output = tree.check(&["./debian/report.service", "--", "true"]);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stdout));
}

/// Tests have what the caller has: the folder, the environment, standard input; and, beside the unit, no filter.
#[test]
fn tests_are_the_callers() {
    let tree = Tree::with("report.service", REPORT);
    let script = "pwd -P; echo \"$MINE\"; cat; grep Seccomp: /proc/self/status; nice -n 1 true";
    for (under, seccomp) in [(false, own_seccomp()), (true, "Seccomp:\t2".to_owned())] {
        let mut command = tree.command(&["./report.service"]);
        if under {
            command.arg("--under");
        }
        let mut input = tempfile::tempfile().unwrap();
        std::io::Write::write_all(&mut input, b"from the caller\n").unwrap();
        std::io::Seek::rewind(&mut input).unwrap();
        let output =
            command.args(["--", "sh", "-c", script]).env("MINE", "my own").stdin(input).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        let folder = tree.folder.path().canonicalize().unwrap();
        let expected = format!("{}\nmy own\nfrom the caller\n{seccomp}\n", folder.display());
        assert!(said.contains(&expected), "{said}\n{expected}");
        assert_eq!(output.status.code(), Some(1));
        assert!(String::from_utf8(output.stdout).unwrap().contains("1 call is denied: setpriority"));
    }
}

fn own_seccomp() -> String {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    status.lines().find(|line| line.starts_with("Seccomp:")).unwrap().to_owned()
}

/// A word that no other process of this machine has in its command line.
fn mark(number: u32) -> String {
    format!("200.{number}{}", std::process::id())
}

/// Processes with this word in their command line.
fn alive(mark: &str) -> Vec<String> {
    let pids = fs::read_dir("/proc").unwrap().flatten();
    let lines = pids.filter_map(|p| fs::read_to_string(p.path().join("cmdline")).ok());
    lines.filter(|line| line.contains(mark) && !line.contains("unitfix")).collect()
}

fn wait_until(what: &str, is_so: impl Fn() -> bool) {
    let started = Instant::now();
    while !is_so() {
        assert!(started.elapsed() < Duration::from_secs(20), "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Interrupt a check whose tests hang, once both they and the unit run.
fn interrupted(args: &[&str], running: usize, mark: &str, signal: Signal) {
    let unit =
        format!("[Service]\nNoNewPrivileges=yes\nExecStart=sh -c 'sleep {mark}'\nSystemCallFilter=~@mount\n");
    let tree = Tree::with("a.service", &unit);
    let child: Child = tree.command(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    wait_until("all of it begins", || alive(mark).len() >= running);
    kill(Pid::from_raw(i32::try_from(child.id()).unwrap()), signal).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.ends_with("unitfix: interrupted: all that was started is stopped\n"), "{said}");
    assert_eq!(output.stdout, b"", "what is not known is not reported");
    assert_eq!(alive(mark), Vec::<String>::new());
}

#[test]
fn ctrl_c_stops_the_unit_and_its_tests() {
    let mark = &mark(1);
    // one of them ignores what a polite end is, one leaves its session
    let tests = format!("trap '' TERM; sleep {mark} & setsid sleep {mark} & wait");
    interrupted(&["./a.service", "--", "sh", "-c", &tests], 4, mark, Signal::SIGINT);
}

#[test]
fn sigterm_stops_tests_under_the_filter() {
    let mark = &mark(2);
    let tests = format!("trap '' TERM; sleep {mark} & setsid sleep {mark} & wait");
    let args = ["./a.service", "--format", "sarif", "--under", "--", "sh", "-c", &tests];
    interrupted(&args, 3, mark, Signal::SIGTERM);
}

/// Tests that hang are stopped with all that they started, and the check says what it saw until then.
#[test]
fn tests_have_no_more_time_than_they_are_given() {
    let mark = &mark(4);
    let unit =
        format!("[Service]\nNoNewPrivileges=yes\nExecStart=sleep {mark}\nSystemCallFilter=~@resources\n");
    let tree = Tree::with("a.service", &unit);
    // the first end when they are asked to, of the others none does
    for (under, forbidden, script, status) in [
        (&[][..], "", "sleep", 3),
        (&["--under"], "", "sleep", 3),
        (&["--under"], "nice -n 1 true; ", "trap '' TERM; sleep", 1),
        (&[], "", "trap '' TERM; setsid sleep", 3),
    ] {
        let tests = format!("{forbidden}{script} {mark} & wait");
        let limited = ["--format", "json", "--timeout", "1", "--", "sh", "-c", tests.as_str()];
        let output = tree.check(&[&["./a.service"][..], under, &limited].concat());
        assert_eq!(output.status.code(), Some(status), "{}", String::from_utf8_lossy(&output.stdout));
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        let [late, passed] = ["late", "passed"].map(|name| report["tests"][name].as_bool().unwrap());
        assert!(late && !passed, "{report:#}");
        assert_eq!(report["tests"]["ended"], "did not end within 1 s and were stopped");
        assert_eq!(report["denials"].as_array().unwrap().len(), usize::from(status == 1));
        assert_eq!(alive(mark), Vec::<String>::new());
    }
}

/// What tests leave running is stopped with the unit.
#[test]
fn nothing_stays_behind() {
    let mark = &mark(3);
    let unit = format!("[Service]\nNoNewPrivileges=yes\nExecStart=sleep {mark}\nSystemCallFilter=~@mount\n");
    let tree = Tree::with("a.service", &unit);
    for under in [&["--under"][..], &[]] {
        let tests = format!("setsid sleep {mark} & sleep {mark} & exit 0");
        let args = [&["./a.service"][..], under, &["--", "sh", "-c", tests.as_str()]].concat();
        let output = tree.check(&args);
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stdout));
        assert_eq!(alive(mark), Vec::<String>::new());
    }
}

/// A full disk is told of; a reader that went away has its reasons.
#[test]
fn what_cannot_be_printed_is_an_error() {
    let printed_to = |path: &str| {
        let target = std::fs::OpenOptions::new().write(true).open(path).unwrap();
        let mut unitfix = Command::new(env!("CARGO_BIN_EXE_unitfix"));
        let output = unitfix.args(["explain", "read"]).stdout(target).output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let full = "unitfix: not all of it could be printed: No space left on device (os error 28)\n";
    assert_eq!(printed_to("/dev/full"), (Some(5), full.to_owned()));
    assert_eq!(printed_to("/dev/null"), (Some(0), String::new()));
}
