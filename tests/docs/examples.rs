//! The examples of unitfix(1) that need nothing but a unit file do what is said of them. The live test
//! `manual::examples` types the others on a running system.

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
