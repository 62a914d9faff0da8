//! Case folders: `tests/cases/NAME/` is one run of the real binary below a root folder.
//!
//! | in the folder | what it is |
//! |---|---|
//! | `root/` | the system below `--root`; a `libsystemd-shared-252.so` in it says which systemd it has |
//! | `log` | kernel records, given as `--log`; not there where no log is given |
//! | `args` | the other arguments, one a line |
//! | `stdin` | what comes on standard input; not there where nothing does |
//! | `stdout`, `stderr`, `status` | what must come out, whole |
//! | `after/` | the tree that must be there afterwards; not there where nothing may change |
//!
//! Today's date reads DATE, the time of writing NOW, the version VERSION and the style of a page STYLE. An empty folder of `after/` holds a
//! file `.empty`, as git keeps none. `UNITFIX_BLESS=1` writes the expected files anew: read each of them.
//!
//! Each case is run once more with `--json`: it has to end and leave the same, and what it prints has to be what
//! man/unitfix.schema.json says.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, clippy::panic)] // a failure anywhere here is the test's

mod schema;

use jiff::{Timestamp, tz::TimeZone};
use libtest_mimic::{Arguments, Failed, Trial};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

fn main() -> ExitCode {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases");
    let mut cases: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    cases.sort();
    let bless = std::env::var_os("UNITFIX_BLESS").is_some();
    let trials = cases.into_iter().map(|case| {
        let name = case.file_name().unwrap().to_str().unwrap().to_owned();
        Trial::test(name, move || {
            let expected = Expected::load(&case);
            let seen = run(&case, &[]);
            if bless {
                seen.save(&case);
            } else {
                seen.compare(&expected)?;
            }
            seen.compare_json(&case)
        })
    });
    libtest_mimic::run(&Arguments::from_args(), trials.collect()).exit_code()
}

/// What a run says and leaves.
#[derive(Default)]
struct Expected {
    status: String,
    stdout: String,
    stderr: String,
    tree: Tree,
}

/// Files and links by path.
type Tree = BTreeMap<PathBuf, Entry>;

#[derive(Clone, PartialEq, Eq)]
enum Entry {
    File(Vec<u8>),
    Link(PathBuf),
}

impl std::fmt::Debug for Entry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Entry::File(bytes) => write!(f, "file:\n{}", String::from_utf8_lossy(bytes)),
            Entry::Link(target) => write!(f, "link to {}", target.display()),
        }
    }
}

/// The arguments of a case.
fn args(case: &Path) -> Vec<String> {
    read(&case.join("args")).lines().map(str::to_owned).collect()
}

/// Run a case in a copy of its folder, perhaps with more arguments.
fn run(case: &Path, more: &[&str]) -> Expected {
    let copy = tempfile::tempdir().unwrap();
    let before = tree(&case.join("root"));
    write_tree(&before, &copy.path().join("root"));
    let mut args: Vec<OsString> = args(case).into_iter().map(OsString::from).collect();
    args.extend(more.iter().chain(&["--root", "root"]).map(OsString::from));
    if case.join("log").exists() {
        fs::copy(case.join("log"), copy.path().join("log")).unwrap();
        args.extend(["--log", "log"].map(OsString::from));
    }
    let begun = today();
    let stdin = fs::File::open(case.join("stdin")).map_or_else(|_| Stdio::null(), Stdio::from);
    let output = Command::new(env!("CARGO_BIN_EXE_unitfix"))
        .args(&args)
        .env_clear()
        .env("TZ", "UTC")
        .current_dir(copy.path())
        .stdin(stdin)
        .output()
        .unwrap();
    let dates = [begun, today()]; // midnight may come between
    let neutral = |bytes: &[u8]| neutral(std::str::from_utf8(bytes).unwrap(), &dates);
    let mut after = tree(&copy.path().join("root"));
    for (path, entry) in &mut after {
        if before.get(path) == Some(&*entry) {
            continue;
        }
        if let Entry::File(bytes) = entry {
            *bytes = neutral(bytes).into_bytes();
            let file = copy.path().join("root").join(path);
            let bits = fs::symlink_metadata(&file).map_or(0o644, |meta| meta.permissions().mode() & 0o7777);
            assert_eq!(bits, 0o644, "mode of {}", path.display());
        }
    }
    Expected {
        status: format!("{}\n", output.status.code().unwrap()),
        stdout: neutral(&output.stdout),
        stderr: neutral(&output.stderr),
        tree: after,
    }
}

fn today() -> String {
    Timestamp::now().to_zoned_datetime(TimeZone::UTC).date().to_string()
}

/// A text without what is another one every day.
fn neutral(text: &str, dates: &[String]) -> String {
    let mut text = text.replace(env!("CARGO_PKG_VERSION"), "VERSION");
    for date in dates {
        while let Some(at) = text.find(&format!("\"{date} ")) {
            let end = text[at + 1..].find('"').unwrap() + at + 1;
            text.replace_range(at + 1..end, "NOW");
        }
        text = text.replace(date, "DATE");
    }
    // of a page: what the browser shows of such a time, and the style, which all have in common
    while let Some((before, after)) = text.split_once("datetime=\"NOW\">") {
        text = format!("{before}datetime=NOW>NOW{}", &after[after.find('<').unwrap()..]);
    }
    if let Some((before, after)) = text.split_once("<style>") {
        text = format!("{before}<style>STYLE{}", &after[after.find("</style>").unwrap()..]);
    }
    text
}

impl Expected {
    fn load(case: &Path) -> Self {
        let tree_of = |name: &str| Some(case.join(name)).filter(|folder| folder.exists());
        Expected {
            status: read(&case.join("status")),
            stdout: read(&case.join("stdout")),
            stderr: read(&case.join("stderr")),
            tree: tree(&tree_of("after").unwrap_or_else(|| case.join("root"))),
        }
    }

    fn save(&self, case: &Path) {
        for (name, text) in [("status", &self.status), ("stdout", &self.stdout), ("stderr", &self.stderr)] {
            fs::write(case.join(name), text).unwrap();
        }
        let after = case.join("after");
        if after.exists() {
            fs::remove_dir_all(&after).unwrap();
        }
        if self.tree != tree(&case.join("root")) {
            write_tree(&self.tree, &after);
        }
    }

    fn compare(&self, expected: &Expected) -> Result<(), Failed> {
        let texts = [
            ("status", &expected.status, &self.status),
            ("stdout", &expected.stdout, &self.stdout),
            ("stderr", &expected.stderr, &self.stderr),
        ];
        let mut faults = String::new();
        for (name, expected, seen) in texts {
            if expected != seen {
                let diff = similar::TextDiff::from_lines(expected, seen);
                faults += &diff.unified_diff().header(&format!("expected {name}"), "seen").to_string();
            }
        }
        for path in expected.tree.keys().chain(self.tree.keys().filter(|p| !expected.tree.contains_key(*p))) {
            let (wanted, seen) = (expected.tree.get(path), self.tree.get(path));
            if wanted != seen {
                let _ = write!(faults, "{}:\nexpected {wanted:?}\nseen {seen:?}\n", path.display());
            }
        }
        if faults.is_empty() { Ok(()) } else { Err(faults.into()) }
    }
}

impl Expected {
    /// With `--json` the same has to come of it, and JSON as the schema has it.
    fn compare_json(&self, case: &Path) -> Result<(), Failed> {
        let args = args(case);
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        if args[0] == "revert" || args.contains(&"--show") {
            return Ok(()); // these print no JSON
        }
        if args.contains(&"--json") {
            schema::check(&args, &self.stdout);
            return Ok(());
        }
        let seen = run(case, &["--json"]);
        let objects = schema::check(&args, &seen.stdout);
        if objects == 0 && !self.stdout.is_empty() {
            return Err("it prints nothing with --json".into());
        }
        if (&seen.status, &seen.tree) != (&self.status, &self.tree) {
            return Err(format!("with --json it ends with {}: {}", seen.status.trim(), seen.stderr).into());
        }
        Ok(())
    }
}

/// A text, or none where there is no file.
fn read(path: &Path) -> String {
    match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
        Err(error) => panic!("{}: {error}", path.display()),
    }
}

fn tree(folder: &Path) -> Tree {
    let mut out = Tree::new();
    add_tree(&mut out, folder, Path::new(""));
    out
}

fn add_tree(out: &mut Tree, folder: &Path, below: &Path) {
    let mut empty = true;
    for entry in fs::read_dir(folder.join(below)).unwrap() {
        empty = false;
        let path = below.join(entry.unwrap().file_name());
        let real = folder.join(&path);
        let kind = fs::symlink_metadata(&real).unwrap().file_type();
        if kind.is_dir() {
            add_tree(out, folder, &path);
        } else if kind.is_symlink() {
            out.insert(path, Entry::Link(fs::read_link(real).unwrap()));
        } else {
            out.insert(path, Entry::File(fs::read(real).unwrap()));
        }
    }
    if empty {
        out.insert(below.join(".empty"), Entry::File(Vec::new()));
    }
}

fn write_tree(tree: &Tree, folder: &Path) {
    for (path, entry) in tree {
        let path = folder.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        match entry {
            Entry::File(bytes) => fs::write(path, bytes).unwrap(),
            Entry::Link(target) => symlink(target, path).unwrap(),
        }
    }
}
