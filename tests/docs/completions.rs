//! What bash, zsh and fish complete, with the scripts in completions/: keys are typed on a terminal of script(1), and what
//! counts are the words that the shell would start the program with. Needs zsh and fish, which `.ci/run` installs.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

const DEADLINE: Duration = Duration::from_mins(1);
const PROMPT: &str = "what now> ";

/// What is typed, and the words that it becomes.
const TYPED: &[(&str, &[&str])] = &[
    ("unitfix expl", &["explain"]),
    ("unitfix explain setrlim", &["explain", "setrlimit"]),
    ("unitfix explain @resour", &["explain", "@resources"]),
    ("unitfix policy a.service mount x86:socketc", &["policy", "a.service", "mount", "x86:socketcall"]),
    ("unitfix --root root docu", &["--root", "root", "docuum.service"]),
    ("unitfix watch --root=root getty@tt", &["watch", "--root=root", "getty@tty1.service"]),
    ("unitfix --root root policy docu", &["--root", "root", "policy", "docuum.service"]),
    ("unitfix revert --root root wri", &["revert", "--root", "root", "written.service"]),
    ("unitfix ./deb", &["./debian/"]),
    ("unitfix ./debian/d", &["./debian/docuum.service"]),
    ("unitfix explain --unit ./debian/d", &["explain", "--unit", "./debian/docuum.service"]),
    ("unitfix --prefer=fam", &["--prefer=family"]),
    ("unitfix --prefer ex", &["--prefer", "exact"]),
    ("unitfix --minim", &["--minimize"]),
    ("unitfix scan --nothing", &["scan", "--nothing"]),
    ("unitfix scan --unti", &["scan", "--until"]),
    ("unitfix policy --systemd 24", &["policy", "--systemd", "247"]),
    // what a shell would take apart is not completed
    ("unitfix ./hostile/", &["./hostile/plain.service"]),
];

/// A folder to type in.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for file in [
        "root/etc/systemd/system/docuum.service",
        "root/run/systemd/units/invocation:getty@tty1.service",
        "root/var/lib/unitfix/written.service.json",
        "debian/docuum.service",
        "debian/changelog",
        "hostile/plain.service",
        "hostile/$(touch pwned).service",
        "hostile/plain\u{1b}[2J.service",
    ] {
        let path = folder.path().join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "[Service]\n").unwrap();
    }
    folder
}

fn script(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("completions").join(name).display().to_string()
}

/// A shell on a terminal.
struct Shell {
    child: Child,
    printed: Receiver<u8>,
    text: String,
}

impl Shell {
    fn start(folder: &Path, command: &str) -> Self {
        let program = Path::new(env!("CARGO_BIN_EXE_unitfix")).parent().unwrap();
        let path = format!("{}:{}", program.display(), std::env::var("PATH").unwrap());
        let mut child = Command::new("script")
            .args(["--quiet", "--command", command, "/dev/null"])
            .current_dir(folder)
            .env_clear()
            .envs([("PATH", path.as_str()), ("TERM", "dumb"), ("LC_ALL", "C.UTF-8")])
            .env("HOME", folder)
            .env("ZDOTDIR", folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("script(1), of util-linux: {error}"));
        let (sender, printed) = channel();
        let stdout = child.stdout.take().unwrap();
        std::thread::spawn(move || {
            std::io::BufReader::new(stdout)
                .bytes()
                .map_while(Result::ok)
                .try_for_each(|byte| sender.send(byte))
        });
        let mut shell = Shell { child, printed, text: String::new() };
        shell.expect(PROMPT);
        shell
    }

    fn send(&mut self, keys: &str) {
        self.child.stdin.as_mut().unwrap().write_all(keys.as_bytes()).unwrap();
    }

    /// Wait for a text, and return what came before it.
    fn expect(&mut self, wanted: &str) -> String {
        let end = Instant::now() + DEADLINE;
        while !self.text.contains(wanted) {
            let left = end.saturating_duration_since(Instant::now());
            let Ok(byte) = self.printed.recv_timeout(left) else {
                panic!("{wanted:?} is not in what the shell printed: {:?}", self.text)
            };
            self.text.push(char::from(byte));
        }
        let (before, after) = self.text.split_once(wanted).unwrap();
        let before = before.to_owned();
        self.text = after.to_owned();
        before
    }

    /// The words that a line becomes which is completed with a tabulator.
    fn words(&mut self, line: &str) -> Vec<String> {
        self.send(&format!("{line}\t\n"));
        self.expect("words:");
        let words = self.expect(":end");
        self.expect(PROMPT);
        words.split('|').skip(1).map(str::to_owned).collect()
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A function in the place of the program, which prints its words. What asks for completions goes around it. The text to
/// wait for is not in the line that is typed.
const SAYS_ITS_WORDS: &str = r#"unitfix() { printf 'words%s' :; printf '|%s' "$@"; printf ':%s\n' end; }"#;

fn complete(shell: &str, command: &str, rc: (&str, &str)) {
    let installed = Command::new(shell).arg("--version").output();
    assert!(installed.is_ok_and(|output| output.status.success()), "{shell} is needed; .ci/run installs it");
    let folder = folder();
    fs::write(folder.path().join(rc.0), format!("PS1='{PROMPT}'\n{SAYS_ITS_WORDS}\n{}\n", rc.1)).unwrap();
    let mut terminal = Shell::start(folder.path(), command);
    for (line, words) in TYPED {
        assert_eq!(terminal.words(line), *words, "{shell}: {line}");
    }
    // after another command, and in the middle of a line
    assert_eq!(terminal.words("true; unitfix expl"), ["explain"], "{shell}");
    assert_eq!(
        terminal
            .words("unitfix expl a.service\u{1}\u{6}\u{6}\u{6}\u{6}\u{6}\u{6}\u{6}\u{6}\u{6}\u{6}\u{6}\u{6}"),
        ["explain", "a.service"]
    );
    assert!(!folder.path().join("pwned").exists());
}

#[test]
fn bash_completes() {
    let source = format!("source '{}'\nbind 'set bell-style none'", script("unitfix.bash"));
    complete("bash", "bash --noprofile --rcfile .bashrc -i", (".bashrc", &source));
}

#[test]
fn zsh_completes() {
    let folder = script("");
    let source = format!(
        "bindkey -e\nfpath=('{folder}' $fpath)\nautoload -Uz compinit\ncompinit -u -D\nunsetopt beep"
    );
    complete("zsh", "zsh -d -i", (".zshrc", &source));
}

/// fish itself says what it would complete.
#[test]
fn fish_completes() {
    let folder = folder();
    for (line, words) in TYPED {
        let last = words.last().unwrap();
        let asked = format!("source '{}'; complete --do-complete '{line}'", script("unitfix.fish"));
        let program = Path::new(env!("CARGO_BIN_EXE_unitfix")).parent().unwrap();
        let path = format!("{}:{}", program.display(), std::env::var("PATH").unwrap());
        let output = Command::new("fish")
            .args(["--no-config", "--command", &asked])
            .current_dir(folder.path())
            .envs([("PATH", path.as_str()), ("TERM", "dumb")])
            .env("HOME", folder.path())
            .output()
            .unwrap_or_else(|error| panic!("fish is needed; .ci/run installs it: {error}"));
        let said = String::from_utf8(output.stdout).unwrap();
        let found: Vec<&str> = said.lines().map(|line| line.split('\t').next().unwrap()).collect();
        let expected: &[&str] = if line.ends_with(last) { &[] } else { &[last] };
        assert_eq!(found, expected, "{line}: {output:?}", output = String::from_utf8_lossy(&output.stderr));
    }
    assert!(!folder.path().join("pwned").exists());
}

/// The names of units are those of the system, and of nobody else; a system without any is no mistake.
#[test]
fn without_a_system_there_is_nothing_to_complete() {
    let folder = tempfile::tempdir().unwrap();
    File::create(folder.path().join("etc")).unwrap();
    let root = folder.path().display().to_string();
    for words in [&["__complete"][..], &["__complete", "unitfix", "--root", &root, ""]] {
        let output = super::unitfix(folder.path(), words);
        assert_eq!(output.status.code(), Some(0));
        let said = String::from_utf8(output.stdout).unwrap();
        assert!(!said.contains(".service") && output.stderr.is_empty(), "{said}");
    }
}
