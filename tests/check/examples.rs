//! The examples for continuous integration do what they say.

use super::{Tree, Value};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::Mutex;

/// They answer on the same port.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

const UNIT: &str = "debian/greeter.service";

/// A copy of the example's working tree.
fn tree() -> Tree {
    let tree = Tree::new();
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/ci");
    fs::create_dir_all(tree.path("debian/tests")).unwrap();
    for name in [UNIT, "debian/tests/control", "debian/tests/smoke", "debian/tests/system-call-filter"] {
        fs::copy(from.join(name), tree.path(name)).unwrap();
    }
    fs::copy(from.join("github/unit.yml"), tree.path("unit.yml")).unwrap();
    tree
}

/// The same with a filter that is too narrow.
fn narrow() -> Tree {
    let tree = tree();
    let text = fs::read_to_string(tree.path(UNIT)).unwrap();
    fs::write(tree.path(UNIT), text.replace("~@privileged", "~@privileged getsockname")).unwrap();
    tree
}

fn shell(tree: &Tree, script: &str) -> Output {
    let program = Path::new(env!("CARGO_BIN_EXE_unitfix")).parent().unwrap();
    let path = format!("{}:{}", program.display(), std::env::var("PATH").unwrap());
    Command::new("bash") // as a workflow's steps are run
        .args(["-eo", "pipefail", "-c", script])
        .env("PATH", path)
        .current_dir(tree.folder.path())
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr].concat()).into_owned()
}

#[test]
fn of_a_debian_package() {
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    for (tree, status) in [(tree(), 0), (narrow(), 1)] {
        let control = fs::read_to_string(tree.path("debian/tests/control")).unwrap();
        let names = control.lines().find_map(|line| line.strip_prefix("Tests: ")).unwrap();
        for name in names.split(", ") {
            let path = tree.path("debian/tests").join(name);
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o111, 0o111, "{name}");
            // it is not installed here
            let script = fs::read_to_string(&path).unwrap();
            let here = script.replace("/usr/lib/systemd/system/greeter.service", "./debian/greeter.service");
            assert_ne!(here, script);
            fs::write(&path, here).unwrap();
            let output = shell(&tree, path.to_str().unwrap());
            assert_eq!(output.status.code(), Some(status), "{}", text(&output));
            assert!(text(&output).contains("the tests passed"), "{}", text(&output));
        }
    }
}

#[test]
fn of_a_workflow() {
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    for (tree, denied) in [(tree(), false), (narrow(), true)] {
        let workflow = fs::read_to_string(tree.path("unit.yml")).unwrap();
        let workflow: Value = serde_yaml::from_str(&workflow).unwrap();
        let jobs = workflow["jobs"].as_object().unwrap();
        let steps = jobs.values().flat_map(|job| job["steps"].as_array().unwrap());
        let steps: Vec<&str> = steps.filter_map(|step| step["run"].as_str()).collect();
        let checks: Vec<&&str> = steps.iter().filter(|step| step.contains("unitfix check")).collect();
        assert_eq!(checks.len(), 2);
        for step in checks {
            let output = shell(&tree, &step.replace("${{ matrix.systemd }}", "252"));
            let (said, sarif) = (text(&output), step.contains("sarif"));
            assert_eq!(output.status.code(), Some(i32::from(denied && !sarif)), "{said}");
            let place = "::error file=debian/greeter.service,line=9,endLine=9,";
            assert_eq!(said.contains(place), denied && !sarif, "{said}");
        }
        let log: Value = serde_json::from_slice(&fs::read(tree.path("unit.sarif")).unwrap()).unwrap();
        let results = log["runs"][0]["results"].as_array().unwrap();
        assert_eq!(
            results.iter().filter(|result| result["ruleId"] == "denied-call").count(),
            usize::from(denied)
        );
    }
}
