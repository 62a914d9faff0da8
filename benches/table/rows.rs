//! The works, who does them, and what is to be reached.

use crate::inputs::{GB, Inputs};
use crate::measure::Contender;
use std::error::Error;
use std::path::Path;

/// What is to be reached against a peer.
#[derive(Clone, Copy)]
pub enum Goal {
    /// Nothing: it is shown for comparison.
    None,
    /// No more than so many times what the peer takes.
    AtMost(f64),
}

/// Makes the inputs of a work.
pub type Prepare = Box<dyn Fn(&Inputs) -> Result<(), Box<dyn Error>>>;

/// One work.
pub struct Row {
    pub work: &'static str,
    /// Makes its inputs.
    pub prepare: Prepare,
    pub ours: Contender,
    pub peers: Vec<(Contender, Goal)>,
    /// The most memory that it may have, in MiB.
    pub memory: Option<u64>,
}

const UNITFIX: &str = env!("CARGO_BIN_EXE_unitfix");

/// Every row.
pub fn all(inputs: &Inputs) -> Vec<Row> {
    [replays(inputs), logs(inputs), starts(inputs), policies(inputs), growth(inputs)]
        .into_iter()
        .flatten()
        .collect()
}

/// A command that is replayed.
struct Work {
    title: &'static str,
    name: &'static str,
    /// A shell command.
    command: String,
    /// A smaller piece of it, for who is very slow, and which part that is.
    piece: Option<(String, f64)>,
    filter: &'static str,
    native: f64,
    /// What strace has to trace to see the same.
    traced: &'static str,
    /// What is emptied before each run.
    empties: Option<&'static str>,
}

fn replays(inputs: &Inputs) -> Vec<Row> {
    let repository = env!("CARGO_MANIFEST_DIR");
    let (tree, out) = (inputs.path("tree"), inputs.path("out"));
    let forks = |count: u64| format!("i=0; while [ $i -lt {count} ]; do /bin/true; i=$((i+1)); done");
    let dd = |count: u64| format!("exec dd if=/dev/zero of=/dev/null bs=1 count={count} status=none");
    let count = inputs.count(2e6);
    let allowed = "~@reboot @swap @module @raw-io";
    let traced = "trace=reboot,swapon,init_module,iopl";
    let plain = |title, name, command: String| Work {
        title,
        name,
        command,
        piece: None,
        filter: allowed,
        native: 1.10,
        traced,
        empties: None,
    };
    let works = [
        plain(
            "replay, allowed calls: git log -p",
            "git",
            format!("exec git -c safe.directory='*' -C {repository} log -p >/dev/null"),
        ),
        plain(
            "replay, allowed calls: tar c of 20,000 files",
            "tar",
            format!("tar -cf - {} | cat >/dev/null", tree.display()),
        ),
        plain("replay, allowed calls: 300 forks", "forks", forks(300)),
        Work {
            piece: Some((dd(count / 50), 1.0 / 50.0)),
            native: 1.30,
            ..plain("replay, allowed calls: dd bs=1", "dd", dd(count))
        },
        Work {
            filter: "~@chown",
            native: 1.30,
            traced: "trace=chown,fchown,lchown,fchownat",
            empties: Some("out"),
            ..plain(
                "replay, 7 % denied: tar x of 20,000 files",
                "untar",
                format!(
                    "exec tar --same-owner -C {} -xf {}",
                    out.display(),
                    inputs.path("tree.tar").display()
                ),
            )
        },
    ];
    let mut rows: Vec<Row> = works.into_iter().map(|work| replay(inputs, &work)).collect();
    rows.push(hot_loop(inputs));
    rows
}

fn replay(inputs: &Inputs, work: &Work) -> Row {
    let script = inputs.path(&format!("{}.sh", work.name));
    let piece = inputs.path(&format!("{}-piece.sh", work.name));
    let slow = |words: &[&str]| {
        let script = if work.piece.is_some() { &piece } else { &script };
        let contender = Contender::new(words[0], &[words, &[&text(script)]].concat());
        contender.part(work.piece.as_ref().map_or(1.0, |(_, part)| *part))
    };
    let named = |name: &str, contender: Contender| Contender { name: name.to_owned(), ..contender };
    let peers = vec![
        (Contender::new("native", &[&text(&script)]), Goal::AtMost(work.native)),
        (named("strace -f", slow(&["strace", "-f", "-o", "/dev/null"])), Goal::None),
        (
            named(
                "strace --seccomp-bpf",
                slow(&["strace", "-f", "--seccomp-bpf", "-e", work.traced, "-o", "/dev/null"]),
            ),
            Goal::None,
        ),
        (named("shh run", slow(&["shh", "run", "--"])), Goal::None),
    ];
    let empties = |contender: Contender| match work.empties {
        Some(folder) => contender.empties(&inputs.path(folder)),
        None => contender,
    };
    let (name, command, filter, piece) = (work.name, work.command.clone(), work.filter, work.piece.clone());
    let prepare = move |inputs: &Inputs| {
        inputs.tree()?;
        inputs.unit(name, &command, filter)?;
        piece.iter().try_for_each(|(command, _)| inputs.unit(&format!("{name}-piece"), command, filter))
    };
    Row {
        work: work.title,
        prepare: Box::new(prepare),
        ours: empties(replayed(inputs, name)),
        peers: peers.into_iter().map(|(peer, goal)| (empties(peer), goal)).collect(),
        memory: None,
    }
}

/// This program replays a unit file of the inputs.
fn replayed(inputs: &Inputs, name: &str) -> Contender {
    let unit = inputs.path(&format!("{name}.service"));
    Contender::new("unitfix", &[&itself(), "--replay", &text(&unit)])
}

fn itself() -> String {
    std::env::current_exe().unwrap_or_default().to_string_lossy().into_owned()
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

/// One denied call again and again, on one processor.
fn hot_loop(inputs: &Inputs) -> Row {
    let looping = |count: u64| format!("exec python3 -c 'import os\nfor i in range({count}): os.getppid()'");
    let (count, part) = (inputs.count(200_000.0), 1.0 / 10.0);
    let piece = inputs.path("hot-piece.sh");
    let pinned = ["taskset", "-c", "0"];
    let ours = replayed(inputs, "hot");
    let words: Vec<String> = ours.words.iter().map(|word| word.to_string_lossy().into_owned()).collect();
    let words: Vec<&str> = pinned.into_iter().chain(words.iter().map(String::as_str)).collect();
    let strace = ["strace", "-f", "--seccomp-bpf", "-e", "trace=getppid", "-o", "/dev/null"];
    let strace = Contender::new("strace --seccomp-bpf", &[&pinned[..], &strace, &[&text(&piece)]].concat());
    Row {
        work: "replay, one denied call in a loop, 200,000 times",
        prepare: Box::new(move |inputs| {
            inputs.unit("hot", &looping(count), "~getppid")?;
            inputs.unit("hot-piece", &looping(inputs.count(20_000.0)), "~getppid")
        }),
        ours: Contender::new("unitfix", &words),
        peers: vec![(strace.part(part), Goal::AtMost(1.0 / 3.0))],
        memory: None,
    }
}

/// unitfix judges from one log.
fn reads_log(inputs: &Inputs, log: &str) -> Vec<String> {
    let words =
        ["unitfix", "victim.service", "--no-replay", "--root", &text(&inputs.path("root")), "--log", log];
    std::iter::once(UNITFIX).chain(words.into_iter().skip(1)).map(str::to_owned).collect()
}

fn contender(name: &str, words: &[String]) -> Contender {
    Contender::new(name, &words.iter().map(String::as_str).collect::<Vec<_>>())
}

fn logs(inputs: &Inputs) -> Vec<Row> {
    let audit = text(&inputs.path("audit.log"));
    let on_one = |words: &[String]| {
        let pinned = ["taskset", "-c", "0"].map(str::to_owned);
        [&pinned[..], words].concat()
    };
    let ours = reads_log(inputs, &audit);
    // with /dev/null as its output, grep ends at the first line that matches
    let grep = |pattern: &str, path: &str| {
        let script = "LC_ALL=C grep -c -e \"$1\" \"$2\" | cat";
        Contender::new("grep -c", &["sh", "-c", script, "sh", pattern, path])
    };
    let strace = text(&inputs.path("strace.log"));
    let json = text(&inputs.path("journal.json"));
    let journal = text(&inputs.path("journal"));
    let counted = |option: &str, path: &str| Contender::new("unitfix", &[&itself(), option, path]);
    let awk = "{ split($0, part, \"(\"); n = split(part[1], word, \" \"); seen[$1 \" \" word[n]]++ } END { for (s in seen) print s }";
    let jq = "select(._AUDIT_TYPE == \"1326\") | .MESSAGE";
    let python =
        "import json, sys\nprint(sum(json.loads(line).get('_AUDIT_TYPE') == '1326' for line in sys.stdin))";
    let journalctl = |format: &str, matches: &[&str]| {
        let name = format!("journalctl -o {format}");
        let words = ["journalctl", "--no-pager", "--quiet", "-D", &journal, "-o", format];
        Contender::new(&name, &[&words[..], matches].concat())
    };
    let piece = text(&inputs.path("strace-piece.log"));
    let parse = Contender::new("strace-parse", &[&itself(), "--strace-parse", &piece]).part(1.0 / 50.0);
    let strace_row = Row {
        work: "1 GB of a strace log: distinct calls by program",
        prepare: Box::new(|inputs| {
            inputs.strace_log("strace.log", GB)?;
            inputs.strace_log("strace-piece.log", GB / 50.0)
        }),
        ours: counted("--strace", &strace),
        peers: vec![
            (parse, Goal::AtMost(1.0 / 40.0)),
            (grep("= 0", &strace), Goal::AtMost(1.15)),
            (Contender::new("mawk", &["mawk", awk, &strace]), Goal::None),
            (Contender::new("rg -c", &["rg", "-c", "= 0", &strace]), Goal::None),
        ],
        memory: Some(8),
    };
    let json_row = Row {
        work: "0.5 GB of journalctl -o json",
        prepare: Box::new(|inputs| inputs.journal_json("journal.json", GB / 2.0)),
        ours: counted("--read", &json),
        peers: vec![
            (Contender::new("jq", &["jq", "-c", jq]).reads(Path::new(&json)), Goal::AtMost(1.0 / 30.0)),
            (Contender::new("python3", &["python3", "-c", python]).reads(Path::new(&json)), Goal::None),
            (grep("\"1326\"", &json), Goal::AtMost(1.0)),
        ],
        memory: None,
    };
    let journal_row = Row {
        work: "journal files with 350,000 entries, one of ten of a denied call",
        prepare: Box::new(|inputs| inputs.journal_files("journal", 350_000.0)),
        ours: counted("--read", &journal),
        peers: vec![
            (journalctl("json", &[]), Goal::AtMost(1.0 / 150.0)),
            (journalctl("cat", &["_AUDIT_TYPE=1326"]), Goal::AtMost(1.0 / 15.0)),
        ],
        memory: None,
    };
    let audit_piece = text(&inputs.path("audit-piece.log"));
    let aureport = Contender::new("aureport --summary", &["aureport", "--input", &audit_piece, "--summary"]);
    let audit_row = Row {
        work: "1 GB of audit.log",
        prepare: Box::new(|inputs| {
            inputs.root()?;
            inputs.audit_log("audit-piece.log", GB / 50.0)?;
            inputs.audit_log("audit.log", GB)
        }),
        peers: vec![
            (
                Contender::new("ausearch --raw", &["ausearch", "--raw", "-m", "SECCOMP", "-if", &audit]),
                Goal::AtMost(1.0 / 15.0),
            ),
            (aureport.part(1.0 / 50.0), Goal::None),
            (grep("type=SECCOMP", &audit), Goal::AtMost(1.1)),
            (Contender::new("rg -c", &["rg", "-c", "type=SECCOMP", &audit]), Goal::None),
            (contender("itself on one processor", &on_one(&ours)).finds(), Goal::AtMost(0.65)),
        ],
        ours: contender("unitfix", &ours).finds(),
        memory: Some(8),
    };
    vec![strace_row, audit_row, json_row, journal_row]
}

fn starts(_: &Inputs) -> Vec<Row> {
    let row = |work, arguments: &[&str], peers: Vec<Contender>| {
        let others = peers.into_iter().map(|peer| (peer, Goal::None));
        let nothing = (Contender::new("/bin/true", &["/bin/true"]), Goal::AtMost(2.0));
        Row {
            work,
            prepare: Box::new(|_| Ok(())),
            ours: Contender::new("unitfix", &[&[UNITFIX], arguments].concat()),
            peers: std::iter::once(nothing).chain(others).collect(),
            memory: None,
        }
    };
    let analyze = Contender::new(
        "systemd-analyze syscall-filter",
        &["systemd-analyze", "syscall-filter", "@resources"],
    );
    vec![
        row("unitfix explain 160", &["explain", "160"], vec![analyze]),
        row("unitfix --help", &["--help"], vec![Contender::new("shh --help", &["shh", "--help"])]),
    ]
}

/// The unit files of a folder, as arguments.
fn files(inputs: &Inputs, folder: &str, count: u64) -> Vec<String> {
    (0..count).map(|number| text(&inputs.path(folder).join(format!("bench-{number}.service")))).collect()
}

fn policies(inputs: &Inputs) -> Vec<Row> {
    let files = files(inputs, "units", 100);
    let words = |before: &[&str]| {
        let before: Vec<String> = before.iter().map(|word| (*word).to_owned()).collect();
        [before, files.clone()].concat()
    };
    let analyze = words(&["systemd-analyze", "security", "--offline=true", "--no-pager"]);
    vec![Row {
        work: "policies of 100 units",
        prepare: Box::new(|inputs| inputs.units("units", 100)),
        ours: contender("unitfix", &words(&[UNITFIX, "policy"])),
        peers: vec![(contender("systemd-analyze security", &analyze), Goal::AtMost(1.0 / 20.0))],
        memory: None,
    }]
}

/// Whether more of the same takes as much more time, and no more memory.
fn growth(inputs: &Inputs) -> Vec<Row> {
    let reading = |times: u32| {
        let log = text(&inputs.path("audit.log"));
        let command =
            format!("cat{} | {}", format!(" {log}").repeat(times as usize), reads_log(inputs, "-").join(" "));
        Contender::new("", &["sh", "-c", &command]).finds()
    };
    let named =
        |name: &str, part: f64, contender: Contender| Contender { name: name.to_owned(), part, ..contender };
    let log = Row {
        work: "growth: 8 GB of audit.log through a pipe",
        prepare: Box::new(|inputs| {
            inputs.root()?;
            inputs.audit_log("audit.log", GB)
        }),
        ours: reading(8),
        peers: [1, 2, 4]
            .map(|times| {
                (named(&format!("{times} GB"), f64::from(times) / 8.0, reading(times)), Goal::AtMost(1.1))
            })
            .into(),
        memory: Some(8),
    };
    let judging = |count: u64| {
        let before = [UNITFIX, "policy"].map(str::to_owned).to_vec();
        contender("", &[before, files(inputs, "thousand", count)].concat())
    };
    let units = Row {
        work: "growth: policies of 1,000 units",
        prepare: Box::new(|inputs| inputs.units("thousand", 1000)),
        ours: judging(1000),
        peers: [(100_u64, 0.1), (10, 0.01)]
            .map(|(count, part)| {
                let goal = if count == 100 { Goal::AtMost(1.1) } else { Goal::None };
                (named(&format!("{count} units"), part, judging(count)), goal)
            })
            .into(),
        memory: None,
    };
    vec![log, units]
}
