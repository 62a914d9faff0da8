//! The programs that beds run: unitfix, linked against the oldest C library that a suite has, and the victim and its like,
//! linked statically: so they start on every suite.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use crate::suites::{UNFETCHABLE, not_run};

const TARGET: &str = "x86_64-unknown-linux-gnu";

/// Where `.ci/run` installs it; linked against the C library of the host, so for the suites `host` and `bookworm`.
const DOCUUM: &str = "/var/cache/unitfix-docuum/bin/docuum";

/// The directory that every bed sees as `/run/ut`, with `unitfix`, `victim` and the like in it, and `docuum` if it
/// is installed; built on first use.
pub fn directory() -> &'static Path {
    static DIRECTORY: OnceLock<PathBuf> = OnceLock::new();
    DIRECTORY.get_or_init(|| {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
        let directory = target.join("live");
        fs::create_dir_all(&directory).unwrap();

        // What tests/run builds is the same; with --target, the flags are for the program and not for build scripts.
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        succeed(
            Command::new(cargo)
                .args(["build", "--quiet", "--locked", "--bin", "unitfix"])
                .args(["--features", "failure-points", "--target", TARGET])
                .current_dir(root)
                .env_remove("CARGO_ENCODED_RUSTFLAGS")
                .env("RUSTFLAGS", flags(root)),
        );
        fs::copy(target.join(TARGET).join("debug/unitfix"), directory.join("unitfix")).unwrap();

        let compile = |program: &str, options: &[&str]| {
            succeed(
                Command::new("cc")
                    .args(["-static", "-O1", "-Wall", "-Wextra", "-Werror", "-o"])
                    .arg(directory.join(program))
                    .arg(root.join(format!("tests/bed/{program}.c")))
                    .args(options),
            );
        };
        compile("victim", &[]);
        compile("forger", &[]);
        compile("idler", &["-nostdlib"]);
        compile("installed-filters", &[]);
        compile("prober", &["-nostdlib", "-fno-stack-protector"]);
        if Path::new(DOCUUM).exists() {
            fs::copy(DOCUUM, directory.join("docuum")).unwrap();
        }
        directory
    })
}

/// How unitfix is linked.
fn flags(root: &Path) -> String {
    let output = Command::new(root.join("tests/bed/oldest-libc")).stderr(Stdio::inherit()).output().unwrap();
    if output.status.code() == Some(UNFETCHABLE) {
        not_run("the C library of the oldest suite could not be fetched; unitfix has that of this machine");
        return String::new();
    }
    assert!(output.status.success(), "tests/bed/oldest-libc: {}", output.status);
    String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
}

/// The program that reads the filters of processes, for the host.
pub fn installed_filters() -> PathBuf {
    directory().join("installed-filters")
}

fn succeed(command: &mut Command) {
    let status = command.status().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(status.success(), "{command:?}: {status}");
}
