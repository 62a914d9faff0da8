//! The examples of the manuals that need nothing but a unit file do what is said of them.

use super::{section, text};
use std::fs;
use std::path::Path;
use std::process::Command;

/// The command lines of the examples.
fn examples() -> Vec<String> {
    let lines = section("unitfix.1", "EXAMPLES");
    let commands = lines.iter().filter_map(|line| line.strip_prefix(".B "));
    commands.map(str::to_owned).collect()
}

/// Type a command line in a folder. Its exit status, and what it prints.
fn typed(folder: &Path, line: &str) -> (i32, String) {
    let program = Path::new(env!("CARGO_BIN_EXE_unitfix")).parent().unwrap();
    let path = format!("{}:{}", program.display(), std::env::var("PATH").unwrap());
    let output = Command::new("sh")
        .args(["-c", &format!("exec 2>&1\n{line}")])
        .current_dir(folder)
        .env("PATH", path)
        .stdin(std::process::Stdio::null())
        .output()
        .unwrap();
    (output.status.code().unwrap(), String::from_utf8_lossy(&output.stdout).into_owned())
}

#[test]
fn examples_of_unit_files_do_what_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("debian/docuum.service");
    fs::create_dir(file.parent().unwrap()).unwrap();
    fs::write(&file, text("examples/report.service")).unwrap();
    assert_eq!(typed(folder.path(), "git init --quiet").0, 0);
    let mut ran = Vec::new();
    for line in examples() {
        let (status, words) = match line.as_str() {
            "unitfix ./debian/docuum.service" => (1, "Repair: let setpriority fail with EPERM"),
            "unitfix ./debian/docuum.service --patch | git apply" => (0, ""),
            "unitfix policy ./debian/docuum.service --lint --systemd 257" => {
                (0, "nothing is wrong with its filter")
            }
            "unitfix explain arch=c000003e syscall=160" => (0, "setrlimit"),
            _ => continue,
        };
        let (ended, said) = typed(folder.path(), &line);
        assert!(ended == status && said.contains(words), "{line}: {ended}\n{said}");
        ran.push(line);
    }
    assert_eq!(ran.len(), 4, "{ran:?}");
    let patched = fs::read_to_string(&file).unwrap();
    assert!(patched.contains("setpriority:EPERM"), "{patched}");
    assert_eq!(typed(folder.path(), "unitfix ./debian/docuum.service").0, 0, "repaired");
}

/// What stands between `.nf` and `.fi` in a manual.
fn quoted(page: &str) -> Vec<String> {
    let text = text(&format!("man/{page}")).replace("\\-", "-");
    let blocks = text.split(".nf\n").skip(1);
    blocks.map(|block| block.split_once(".fi\n").unwrap().0.to_owned()).collect()
}

/// The README's output is that of real runs; lines are cut here, as a manual is narrower.
#[test]
fn a_proposal_looks_as_is_said() {
    let readme = text("README.md");
    let quoted = quoted("unitfix-proposals.7");
    assert_eq!(quoted.len(), 3);
    for line in quoted.iter().flat_map(|block| block.lines()) {
        assert!(readme.lines().any(|other| other.starts_with(line)), "{line}");
    }
}

/// Nothing is wrong with the filters that authors are told to write, and the commands judge them.
#[test]
fn filters_that_authors_are_told_to_write() {
    let folder = tempfile::tempdir().unwrap();
    let blocks = quoted("unitfix-filters.7");
    let (units, commands): (Vec<_>, Vec<_>) = blocks.iter().partition(|block| block.contains("[Service]"));
    assert_eq!((units.len(), commands.len()), (2, 2));
    for unit in units {
        fs::write(folder.path().join("food.service"), unit.replace("/usr/bin/food", "/bin/true")).unwrap();
        for command in &commands {
            let (status, said) = typed(folder.path(), command);
            assert_eq!(status, 0, "{unit}{command}{said}");
        }
    }
}
