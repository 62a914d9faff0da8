//! The .deb that beds install: what cargo-deb makes of the program that beds run.
//!
//! So it is not the program of a release, which would be compiled for these cases alone, and takes longer than all of
//! them. It is less optimised, and has the feature `failure-points`, which does nothing where nobody sets
//! `UNITFIX_FAILURE`. `UNITFIX_PACKAGED=PROGRAM` has them package another one.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use crate::bed::PROGRAMS;
use crate::binaries;

/// Where `.ci/run` installs it.
const CARGO_DEB: &str = "/var/cache/unitfix-cargo-deb/bin/cargo-deb";

/// The package, as beds see it; built on first use.
pub fn deb() -> String {
    static BUILT: OnceLock<()> = OnceLock::new();
    BUILT.get_or_init(|| {
        let programs = binaries::directory();
        let target = tempfile::tempdir().unwrap();
        fs::create_dir(target.path().join("release")).unwrap();
        let program = std::env::var_os("UNITFIX_PACKAGED");
        let program = program.map_or_else(|| programs.join("unitfix"), PathBuf::from);
        fs::copy(program, target.path().join("release/unitfix")).unwrap();
        let output = Command::new(CARGO_DEB)
            .args(["--no-build", "--strip", "--fast", "--variant", "portable", "--output"])
            .arg(programs.join("unitfix.deb"))
            .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")))
            .env("CARGO_TARGET_DIR", target.path())
            .env_remove("CARGO_BUILD_TARGET")
            .output()
            .unwrap_or_else(|error| panic!("{CARGO_DEB} (.ci/run installs it): {error}"));
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && !said.contains("warning"), "cargo-deb: {said}");
    });
    format!("{PROGRAMS}/unitfix.deb")
}
