//! `--patch` of unit files, for the people who keep them in a repository: git itself applies what is printed. Needs git.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, clippy::panic)] // a failure anywhere here is the test's

use std::fs;
use std::io::{Seek, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// A working tree with a unit file in a folder of it.
struct Tree {
    folder: tempfile::TempDir,
}

const UNIT: &str = "contrib/report.service";

impl Tree {
    fn new(unit: &[u8]) -> Self {
        let tree = Tree { folder: tempfile::tempdir().unwrap() };
        fs::create_dir(tree.path("contrib")).unwrap();
        fs::write(tree.path(UNIT), unit).unwrap();
        tree.git(".", &["init", "--quiet"], b"");
        tree.git(".", &["add", "--all"], b"");
        tree.git(".", &["commit", "--quiet", "--message=unit"], b"");
        tree
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn text(&self) -> Vec<u8> {
        fs::read(self.path(UNIT)).unwrap()
    }

    /// Run git with this on its standard input.
    fn git(&self, folder: &str, args: &[&str], input: &[u8]) -> String {
        let mut stdin = tempfile::tempfile().unwrap();
        stdin.write_all(input).unwrap();
        stdin.rewind().unwrap();
        let output = Command::new("git")
            .args(args)
            .current_dir(self.path(folder))
            .envs([("GIT_CONFIG_GLOBAL", "/dev/null"), ("GIT_CONFIG_NOSYSTEM", "1")])
            .envs([("GIT_COMMITTER_NAME", "c"), ("GIT_COMMITTER_EMAIL", "c@example.org")])
            .envs([("GIT_AUTHOR_NAME", "a"), ("GIT_AUTHOR_EMAIL", "a@example.org")])
            .stdin(stdin)
            .output()
            .unwrap_or_else(|error| panic!("git: {error}"));
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "git {args:?}: {said}\n{}", String::from_utf8_lossy(input));
        String::from_utf8(output.stdout).unwrap()
    }

    /// What unitfix prints of the unit file in one of the tree's folders.
    fn unitfix(&self, folder: &str, args: &[&str]) -> Output {
        let file = Path::new(UNIT).strip_prefix(folder).unwrap_or(Path::new(UNIT));
        Command::new(env!("CARGO_BIN_EXE_unitfix"))
            .arg(format!("./{}", file.display()))
            .args(args)
            .current_dir(self.path(folder))
            .envs([("GIT_AUTHOR_NAME", "Zoë Q."), ("GIT_AUTHOR_EMAIL", "zoe@example.org")])
            .stdin(Stdio::null())
            .output()
            .unwrap()
    }

    /// The patch; whatever else was said went to standard error.
    fn patch(&self, folder: &str, args: &[&str]) -> Vec<u8> {
        let before = self.text();
        let output = self.unitfix(folder, args);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains("Nothing was changed. This is a patch of "), "{said}");
        assert_eq!(self.text(), before);
        assert_eq!(self.git(".", &["status", "--porcelain"], b""), "", "nothing is left behind");
        output.stdout
    }
}

const NICE: &[u8] = b"[Unit]\nDescription=A report\n\n[Service]\nType=oneshot\nNoNewPrivileges=yes\n\
    # what it does not need\nSystemCallFilter=~@privileged @resources\nExecStart=nice -n 5 true\n";
const PATCHED: &[u8] = b"[Unit]\nDescription=A report\n\n[Service]\nType=oneshot\nNoNewPrivileges=yes\n\
    # what it does not need\nSystemCallFilter=~@privileged @resources\nSystemCallFilter=setpriority\n\
    ExecStart=nice -n 5 true\n";

#[test]
fn git_applies_it_and_the_unit_works() {
    for folder in [".", "contrib"] {
        let tree = Tree::new(NICE);
        let patch = tree.patch(folder, &["--patch", "--prefer", "exact"]);
        tree.git(folder, &["apply"], &patch);
        assert_eq!(String::from_utf8_lossy(&tree.text()), String::from_utf8_lossy(PATCHED));
        let again = tree.unitfix(folder, &["--patch"]);
        let said = String::from_utf8_lossy(&again.stderr);
        assert_eq!((again.status.code(), again.stdout.as_slice()), (Some(0), &b""[..]), "{said}");
    }
}

#[test]
fn git_am_makes_the_commit() {
    for folder in [".", "contrib"] {
        let tree = Tree::new(NICE);
        let patch = tree.patch(folder, &["--patch=message", "--prefer", "exact"]);
        tree.git(folder, &["am", "--quiet"], &patch);
        assert_eq!(String::from_utf8_lossy(&tree.text()), String::from_utf8_lossy(PATCHED));
        let commit = tree.git(".", &["log", "-1", "--format=%an <%ae>%n%B"], b"");
        let (head, body) = commit.split_once("\n\n").unwrap();
        assert_eq!(head, "Zoë Q. <zoe@example.org>\nreport.service: allow setpriority");
        let lines = [
            "Its own system call filter stops it: nice was denied setpriority.",
            "Line 8 of contrib/report.service decides that:",
            "    SystemCallFilter=~@privileged @resources",
            "@resources contains setpriority.",
        ];
        for line in lines {
            assert!(body.lines().any(|said| said == line), "{line}\nis not in\n{body}");
        }
        let tried = body.replace('\n', " ");
        assert!(tried.contains("a second run under the repaired filter: finished successfully"), "{body}");
        assert!(body.lines().all(|line| line.chars().count() <= 72), "{body}");
    }
}

#[test]
fn bytes_and_line_ends_stay() {
    let crlf = |text: &[u8]| -> Vec<u8> {
        let text = text.iter().flat_map(|b| if *b == b'\n' { b"\r\n".to_vec() } else { vec![*b] });
        b"# f\xfcr alle\r\n".iter().copied().chain(text).collect()
    };
    let tree = Tree::new(&crlf(NICE));
    let patch = tree.patch(".", &["--patch", "--prefer", "exact"]);
    tree.git(".", &["apply"], &patch);
    assert_eq!(tree.text(), crlf(PATCHED));

    let tree = Tree::new(&crlf(NICE));
    let patch = tree.patch(".", &["--patch=message", "--prefer", "exact"]);
    tree.git(".", &["am", "--quiet", "--keep-cr"], &patch);
    assert_eq!(tree.text(), crlf(PATCHED));
}

#[test]
fn what_was_written_as_a_drop_in_becomes_a_patch() {
    let tree = Tree::new(NICE);
    let written = tree.unitfix(".", &["--apply", "--yes", "--prefer", "exact"]);
    assert_eq!(written.status.code(), Some(0), "{}", String::from_utf8_lossy(&written.stderr));
    let drop_ins = tree.path("contrib/report.service.d");
    assert!(drop_ins.join("zz-unitfix.conf").exists());
    let output = tree.unitfix(".", &["--patch"]);
    assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stderr));
    tree.git(".", &["apply"], &output.stdout);
    assert_eq!(String::from_utf8_lossy(&tree.text()), String::from_utf8_lossy(PATCHED));

    // the drop-in is not needed any more
    let output = tree.unitfix(".", &["--patch"]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(0), &b""[..]), "{said}");
    assert!(said.contains("unitfix revert ./contrib/report.service"), "{said}");
}
