//! The programs that beds run: unitfix and the victim, linked statically so that they start on every suite.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

const TARGET: &str = "x86_64-unknown-linux-gnu";

/// Where `.ci/run` installs it; linked dynamically, so for the suites `host` and `bookworm`.
const DOCUUM: &str = "/var/cache/unitfix-docuum/bin/docuum";

/// The directory that every bed sees as `/run/ut`, with `unitfix`, `victim` and the like in it, and `docuum` if it
/// is installed; built on first use.
pub fn directory() -> &'static Path {
    static DIRECTORY: OnceLock<PathBuf> = OnceLock::new();
    DIRECTORY.get_or_init(|| {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let target = root.join("target-static");
        let directory = target.join("live");
        fs::create_dir_all(&directory).unwrap();

        // With --target, the flags are for the program only and not for build scripts.
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        succeed(
            Command::new(cargo)
                .args([
                    "build",
                    "--quiet",
                    "--locked",
                    "--bin",
                    "unitfix",
                    "--features",
                    "failure-points",
                    "--target",
                    TARGET,
                    "--target-dir",
                ])
                .arg(&target)
                .current_dir(root)
                .env_remove("CARGO_ENCODED_RUSTFLAGS")
                .env("RUSTFLAGS", "-C target-feature=+crt-static"),
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

/// The program that reads the filters of processes, for the host.
pub fn installed_filters() -> PathBuf {
    directory().join("installed-filters")
}

fn succeed(command: &mut Command) {
    let status = command.status().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(status.success(), "{command:?}: {status}");
}
