//! Beds: a real systemd as PID 1 in namespaces, started and stopped by `tests/bed/testbed`.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::binaries;
use crate::cores;
use crate::schema;
use crate::suites::UNFETCHABLE;
use crate::terminal::Terminal;
use crate::tree::{self, Tree};

/// Where a bed sees the programs under test.
pub const PROGRAMS: &str = "/run/ut";
/// No command in a bed may take longer.
const TIMEOUT_SECONDS: &str = "180";
const LONG_TIMEOUT_SECONDS: &str = "2400";
/// Where cases put units; emptied between them.
const UNIT_DIRECTORIES: [&str; 2] = ["/etc/systemd/system", "/run/systemd/system"];

/// A running bed. It stops when this is dropped.
pub struct Bed {
    name: String,
    pub suite: &'static str,
    packages: &'static str,
    /// systemd's PID as the host sees it.
    leader: u32,
    version: u32,
    units_at_boot: Vec<Tree>,
    /// Units and files that the running case has made.
    units: Mutex<BTreeSet<String>>,
    files: Mutex<BTreeSet<String>>,
}

/// What a command did.
#[derive(Debug)]
pub struct Output {
    /// The exit status, or 128 and the signal that ended it, as a shell has it.
    pub status: i32,
    pub stdout: String,
    pub stderr: String,
}

/// The mirror does not have this suite, or these packages for it.
#[derive(Clone, Debug)]
pub struct Unfetchable {
    suite: &'static str,
    packages: &'static str,
    error: String,
}

impl Unfetchable {
    /// In one line.
    pub fn summary(&self) -> String {
        let with = if self.packages.is_empty() { "" } else { " with " };
        format!("suite {}{with}{} could not be fetched", self.suite, self.packages)
    }
}

impl std::fmt::Display for Unfetchable {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{}: {}", self.summary(), self.error)
    }
}

/// A victim that can be told apart in records.
pub struct Victim {
    pub path: String,
    pub comm: String,
}

/// Kernel records carry the host's process IDs, which the bed sees under this folder.
const UNITFIX: [&str; 3] = ["env", "UNITFIX_PROC_ROOT=/run/hostproc", "/run/ut/unitfix"];

impl Bed {
    /// Boots a bed. `packages` (comma-separated, may be empty) are there beside the usual ones.
    pub fn start(suite: &'static str, packages: &'static str) -> Result<Self, Unfetchable> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("{}{}", own_prefix(), COUNT.fetch_add(1, Ordering::Relaxed));
        let programs = binaries::directory();
        if suite == "host" {
            require_on_the_host(packages);
        }
        let output = Command::new(testbed())
            .args([
                "start",
                "--suite",
                suite,
                "--name",
                &name,
                "--audit",
                "--bind",
                "/proc:/run/hostproc",
                "--bind",
            ])
            .arg(format!("{}:{PROGRAMS}:ro", programs.display()))
            .env("TESTBED_PACKAGES", packages)
            .output()
            .unwrap();
        let answer = String::from_utf8_lossy(&output.stdout);
        let error = String::from_utf8_lossy(&output.stderr);
        if output.status.code() == Some(UNFETCHABLE) {
            return Err(Unfetchable { suite, packages, error: error.into_owned() });
        }
        assert!(output.status.success(), "a bed of suite {suite} did not start: {error}");
        let leader = answer
            .split_whitespace()
            .find_map(|word| word.strip_prefix("leader=")?.parse().ok())
            .unwrap_or_else(|| panic!("no leader in {answer:?}"));

        let mut bed = Self {
            name,
            suite,
            packages,
            leader,
            version: 0,
            units_at_boot: Vec::new(),
            units: Mutex::default(),
            files: Mutex::default(),
        };
        let version = bed.run(&["systemctl", "show", "--property=Version", "--value"]);
        let digits = version.find(|c: char| !c.is_ascii_digit()).unwrap_or(version.len());
        bed.version =
            version[..digits].parse().unwrap_or_else(|_| panic!("systemd has no version: {version:?}"));
        bed.units_at_boot = bed.unit_trees();
        Ok(bed)
    }

    /// The major version of systemd, as the running manager tells it.
    pub fn systemd_version(&self) -> u32 {
        self.version
    }

    /// Sends the manager a signal from outside, where PID 1 is a process like others.
    pub fn signal_manager(&self, signal: &str) {
        let status = Command::new("kill").args(["-s", signal, &self.leader.to_string()]).status();
        assert!(status.unwrap().success());
    }

    /// The bed's `/`, seen from the host. Absolute links in it lead out of it.
    pub fn root(&self) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root", self.leader))
    }

    /// Runs a command as root.
    pub fn exec(&self, command: &[&str]) -> Output {
        self.exec_with(command, b"")
    }

    /// Runs a command as root that takes its time.
    pub fn exec_long(&self, command: &[&str]) -> Output {
        self.exec_within(LONG_TIMEOUT_SECONDS, command, b"")
    }

    /// Runs a command as root, with this on its standard input.
    pub fn exec_with(&self, command: &[&str], input: &[u8]) -> Output {
        self.exec_within(TIMEOUT_SECONDS, command, input)
    }

    fn exec_within(&self, seconds: &str, command: &[&str], input: &[u8]) -> Output {
        let mut child = Command::new("timeout")
            .args(["--kill-after=5", seconds])
            .arg(testbed())
            .args(["exec", "--name", &self.name, "--cwd", "/", "--"])
            .args(command)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let output = thread::scope(|scope| {
            scope.spawn(move || {
                let _ = stdin.write_all(input); // a command need not read it
            });
            child.wait_with_output().unwrap()
        });
        Output {
            status: status(output.status),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Runs a command that must succeed; returns its standard output without the last line feed.
    pub fn run(&self, command: &[&str]) -> String {
        let output = self.exec(command);
        assert_eq!(output.status, 0, "{command:?}: {output:?}");
        output.stdout.strip_suffix('\n').unwrap_or(&output.stdout).to_owned()
    }

    /// Runs unitfix, without a terminal.
    pub fn unitfix(&self, arguments: &[&str]) -> Output {
        judged(arguments, self.exec(&[&UNITFIX[..], arguments].concat()))
    }

    /// Runs unitfix, without a terminal, where it takes its time.
    pub fn unitfix_long(&self, arguments: &[&str]) -> Output {
        judged(arguments, self.exec_long(&[&UNITFIX[..], arguments].concat()))
    }

    /// Runs unitfix, without a terminal, so that it fails where this says (src/failure_point.rs).
    pub fn unitfix_failing(&self, failure: &str, arguments: &[&str]) -> Output {
        let variable = format!("UNITFIX_FAILURE={failure}");
        judged(arguments, self.exec(&[&UNITFIX[..2], &[&variable], &UNITFIX[2..], arguments].concat()))
    }

    /// Runs unitfix on a terminal.
    pub fn unitfix_on_terminal(&self, arguments: &[&str]) -> Terminal {
        self.terminal(&[&UNITFIX[..], arguments].concat())
    }

    /// Runs a command on a terminal.
    pub fn terminal(&self, command: &[&str]) -> Terminal {
        let mut exec = Command::new(testbed());
        exec.args(["exec", "--name", &self.name, "--cwd", "/", "--"]).env("TERM", "xterm");
        Terminal::start(&self.root(), exec, command)
    }

    /// Writes a file, making its directories; it is removed after the case.
    pub fn write_file(&self, path: &str, content: impl AsRef<[u8]>) {
        let script = r#"mkdir -p "$(dirname "$1")" && cat >"$1""#;
        let output = self.exec_with(&["sh", "-c", script, "sh", path], content.as_ref());
        assert_eq!(output.status, 0, "{path}: {output:?}");
        self.files.lock().unwrap_or_else(PoisonError::into_inner).insert(path.to_owned());
    }

    pub fn read_file(&self, path: &str) -> String {
        self.run(&["cat", path]) + "\n"
    }

    /// Everything below a directory; compare it with an earlier one to see that nothing was changed.
    pub fn tree(&self, directory: &str) -> Tree {
        tree::read(&self.root().join(directory.trim_start_matches('/')))
    }

    /// Writes a unit file to `/etc/systemd/system` and has the manager load it. After the case the unit is
    /// stopped and removed, with its drop-ins.
    pub fn install_unit(&self, name: &str, text: &str) {
        self.write_file(&format!("/etc/systemd/system/{name}"), text);
        self.units.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned());
        self.run(&["systemctl", "daemon-reload"]);
    }

    /// One property of a unit, as the manager has it.
    pub fn show(&self, unit: &str, property: &str) -> String {
        self.run(&["systemctl", "show", &format!("--property={property}"), "--value", unit])
    }

    /// The entries of the journal that match, oldest first; everything written until now is in it.
    pub fn journal(&self, matches: &[&str]) -> Vec<serde_json::Value> {
        self.run(&["journalctl", "--sync"]);
        let output = self.exec(&[&["journalctl", "--quiet", "--output=json", "--all"], matches].concat());
        output.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// The kernel's seccomp records in the journal, of processes with this `comm`. The journal of each bed
    /// also holds the records of other beds: only [`Bed::own_victim`] can be told apart.
    pub fn seccomp_records(&self, comm: &str) -> Vec<String> {
        self.journal(&["_TRANSPORT=audit", "_AUDIT_TYPE=1326"])
            .iter()
            .filter_map(|entry| entry["MESSAGE"].as_str())
            .filter(|message| message.contains(&format!(" comm=\"{comm}\" ")))
            .map(str::to_owned)
            .collect()
    }

    /// Copies the victim to a path whose last part, its `comm`, is unlike that of any other case.
    pub fn own_victim(&self) -> Victim {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let comm = format!("v{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        assert!(comm.len() < 16, "the kernel would cut {comm} off");
        let path = format!("/usr/local/bin/{comm}");
        self.run(&["cp", "/run/ut/victim", &path]);
        self.files.lock().unwrap_or_else(PoisonError::into_inner).insert(path.clone());
        Victim { path, comm }
    }

    /// Waits until `condition` holds, and panics if it does not within a while.
    pub fn wait_until(&self, what: &str, mut condition: impl FnMut(&Self) -> bool) {
        let end = Instant::now() + Duration::from_secs(30);
        while !condition(self) {
            assert!(Instant::now() < end, "suite {}: this did not happen: {what}", self.suite);
            thread::sleep(Duration::from_millis(50));
        }
    }

    fn unit_trees(&self) -> Vec<Tree> {
        UNIT_DIRECTORIES.iter().map(|directory| self.tree(directory)).collect()
    }

    /// Takes away what a case has made. False if the bed is not as it was at boot.
    fn clean(&self) -> bool {
        let units = std::mem::take(&mut *self.units.lock().unwrap_or_else(PoisonError::into_inner));
        let files = std::mem::take(&mut *self.files.lock().unwrap_or_else(PoisonError::into_inner));
        if !units.is_empty() {
            // of a template, every instance
            let names: Vec<_> = units.iter().map(|unit| unit.replace("@.", "@*.")).collect();
            let names: Vec<_> = names.iter().map(String::as_str).collect();
            if self.exec(&[&["timeout", "20", "systemctl", "stop", "--"], &*names].concat()).status != 0 {
                return false;
            }
        }
        let mut paths: Vec<_> = files.into_iter().collect();
        paths.push("/var/lib/unitfix".to_owned()); // a case need not take back what it had written
        for (directory, (now, at_boot)) in
            UNIT_DIRECTORIES.iter().zip(self.unit_trees().iter().zip(&self.units_at_boot))
        {
            let new = now.keys().filter(|path| !at_boot.contains_key(*path));
            paths.extend(new.map(|path| format!("{directory}/{}", path.display())));
        }
        let paths: Vec<_> = paths.iter().map(String::as_str).collect();
        self.exec(&[&["rm", "-rf", "--"], &*paths].concat()).status == 0
            && self.exec(&["systemctl", "daemon-reload"]).status == 0
            && self.exec(&["systemctl", "reset-failed"]).status == 0
            && self.unit_trees() == self.units_at_boot
    }
}

impl Drop for Bed {
    fn drop(&mut self) {
        stop(&self.name);
    }
}

/// Beds between cases. There are never more beds than cases that run at the same time.
#[derive(Default)]
pub struct Pool {
    idle: Mutex<Vec<Bed>>,
    /// Not to be tried again.
    unfetchable: Mutex<Vec<Unfetchable>>,
}

impl Pool {
    /// A bed for one case alone: one that an earlier case has left as it was at boot, or a new one.
    pub fn take(&self, suite: &'static str, packages: &'static str) -> Result<Lease<'_>, Unfetchable> {
        let unfetchable = self.unfetchable.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = unfetchable.iter().find(|it| it.suite == suite && it.packages == packages) {
            return Err(known.clone());
        }
        drop(unfetchable);
        let other = {
            let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
            let fits = |bed: &Bed| bed.suite == suite && bed.packages == packages;
            if let Some(at) = idle.iter().position(fits) {
                return Ok(Lease { pool: self, bed: Some(idle.swap_remove(at)) });
            }
            idle.pop()
        };
        drop(other);
        let bed = Bed::start(suite, packages).inspect_err(|why| {
            self.unfetchable.lock().unwrap_or_else(PoisonError::into_inner).push(why.clone());
        })?;
        Ok(Lease { pool: self, bed: Some(bed) })
    }

    /// Stops those that are left.
    pub fn stop(&self) {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

/// A bed that goes back to the pool, unless the case failed or did not clean up.
pub struct Lease<'a> {
    pool: &'a Pool,
    bed: Option<Bed>,
}

impl Deref for Lease<'_> {
    type Target = Bed;

    fn deref(&self) -> &Bed {
        self.bed.as_ref().expect("only dropping takes it")
    }
}

impl Drop for Lease<'_> {
    fn drop(&mut self) {
        if let Some(bed) = self.bed.take()
            && !thread::panicking()
            && bed.clean()
        {
            self.pool.idle.lock().unwrap_or_else(PoisonError::into_inner).push(bed);
        }
    }
}

/// JSON that unitfix printed is as man/unitfix.schema.json has it, whatever the case is about.
fn judged(arguments: &[&str], output: Output) -> Output {
    if arguments.contains(&"--json") {
        schema::check(arguments, &output.stdout);
    }
    output
}

pub fn testbed() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/bed/testbed"))
}

/// The bed `host` shows the host's own packages.
fn require_on_the_host(packages: &str) {
    for package in packages.split(',').filter(|package| !package.is_empty()) {
        let output = Command::new("dpkg-query").args(["--show", "--showformat=${Status}", package]).output();
        let installed = output.is_ok_and(|output| output.stdout.ends_with(b" installed"));
        assert!(installed, "the host lacks the package {package}");
    }
}

/// The exit status as a shell has it.
pub fn status(status: std::process::ExitStatus) -> i32 {
    use std::os::unix::process::ExitStatusExt;
    status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or_default())
}

fn own_prefix() -> String {
    format!("live-{}-", std::process::id())
}

fn stop(name: &str) {
    let _ = Command::new(testbed()).args(["stop", "--name", name]).status();
}

/// The names of running beds that begin with `live-`, each with the PID of the test run that started it.
fn running() -> Vec<(String, u32)> {
    let state = std::env::var("TESTBED_STATE").unwrap_or_else(|_| "/run/unitfix-testbed".into());
    let Ok(entries) = fs::read_dir(state) else { return Vec::new() };
    entries
        .filter_map(|entry| {
            let name = entry.ok()?.file_name().into_string().ok()?;
            let run = name.strip_prefix("live-")?.split('-').next()?.parse().ok()?;
            Some((name, run))
        })
        .collect()
}

/// Stops beds whose test run was killed.
pub fn stop_left_behind() {
    for (name, run) in running() {
        if !Path::new(&format!("/proc/{run}")).exists() {
            stop(&name);
        }
    }
}

/// Has Ctrl-C, SIGTERM and a hang-up stop the beds before they end the test run.
pub fn stop_on_signals() {
    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
    let mut signals = signal_hook::iterator::Signals::new([SIGHUP, SIGINT, SIGTERM]).unwrap();
    thread::spawn(move || {
        if let Some(signal) = signals.forever().next() {
            cores::restore();
            for (name, _) in running().iter().filter(|(_, run)| *run == std::process::id()) {
                stop(name);
            }
            std::process::exit(128 + signal);
        }
    });
}
