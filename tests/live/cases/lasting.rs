//! Long and many: what is done again and again, or by many at once, leaves nothing behind.

use std::collections::BTreeSet;
use std::thread;
use std::time::Instant;

use crate::bed::{Bed, Output};

use super::Case;
use super::support::{FAILED, Snapshot, UNIT, assert_said, start_killed};

pub const CASES: &[Case] = &[
    Case::new("lasting::cycles", cycles).only_on(&["host"]),
    Case::new("lasting::many_units", many_units).only_on(&["host"]).alone(),
    Case::new("lasting::many_runs", many_runs).only_on(&["host", "bookworm"]),
    Case::new("lasting::order_of_syncs", order_of_syncs).only_on(&["host"]),
];

/// How often a unit is repaired and its repair taken back; `UNITFIX_CYCLES` says another number.
const CYCLES: usize = 500;

/// What processes, mounts, control groups, units, timers and files there are, and what the manager holds open.
fn everything(bed: &Bed) -> BTreeSet<String> {
    let script = "\
        ls -A /run/unitfix/*/ /var/lib/unitfix /run/systemd/transient /tmp 2>/dev/null | sed 's/^/file /'
        find /etc/systemd/system /run/systemd/system | sed 's/^/file /'
        find /sys/fs/cgroup -type d -name '*unitfix*' | sed 's/^/cgroup /'
        systemctl list-units --all --no-legend --plain | awk '{ print \"unit\", $1, $2 }' | grep -v -e -session -e user
        awk '{ print \"mount\", $2, $3 }' /proc/self/mounts
        ps -e -o comm= | sort | uniq -c | sed 's/^/process /' | grep -v -e ' sh$' -e ' ps$' -e ' sort$' -e ' uniq$' -e ' sed$' -e ' grep$'
        echo descriptors of the manager: $(ls /proc/1/fd | wc -l)";
    bed.run(&["sh", "-c", script]).lines().map(str::to_owned).collect()
}

fn cycles(bed: &Bed) {
    start_killed(bed, "[Service]\nType=oneshot\nExecStart=VICTIM setrlimit\nSystemCallFilter=~@resources\n");
    let number = std::env::var("UNITFIX_CYCLES").map_or(CYCLES, |number| number.parse().unwrap());
    // one loop inside of the bed: entering it each time would take longer than what is tried
    let script = format!(
        "set -e; i=0; while [ $i -lt $1 ]; do i=$((i + 1))
           if ! {{ UNITFIX_PROC_ROOT=/run/hostproc /run/ut/unitfix {UNIT} --apply --yes --no-replay --observe 1 \
                   --check true && /run/ut/unitfix revert {UNIT} --yes; }} >/run/cycle 2>&1; then
             cat /run/cycle; echo in cycle $i; exit 1
           fi
         done"
    );
    let rounds = |number: usize| {
        let output = bed.exec_long(&["sh", "-c", &script, "sh", &number.to_string()]);
        assert_eq!(output.status, 0, "{output:?}");
    };
    rounds(2); // what is there from then on is there once
    let (before, snapshot) = (everything(bed), Snapshot::of(bed, UNIT));
    let begun = Instant::now();
    rounds(number);
    eprintln!("{number} repairs and reverts in {:.0?}", begun.elapsed());
    snapshot.assert_same(bed, UNIT, "after so many repairs");
    let after = everything(bed);
    let difference: Vec<_> = before.symmetric_difference(&after).collect();
    assert!(difference.is_empty(), "after {number} repairs: {difference:#?}");
}

/// Each by a run of its own, all at once.
fn many_units(bed: &Bed) {
    const UNITS: usize = 50;
    let victim = bed.own_victim();
    let text = FAILED.replace("VICTIM", &victim.path);
    let names: Vec<String> = (0..UNITS).map(|number| format!("many{number}.service")).collect();
    for name in &names {
        bed.write_file(&format!("/etc/systemd/system/{name}"), &text);
    }
    let before = bed.tree("/etc/systemd/system");
    bed.run(&["systemctl", "daemon-reload"]);
    bed.exec(&[&["systemctl", "start"], &*names.iter().map(String::as_str).collect::<Vec<_>>()].concat());
    let failed = |bed: &Bed| names.iter().all(|name| bed.show(name, "ActiveState") == "failed");
    bed.wait_until("all have failed", failed);

    let all_at_once = |arguments: &(dyn Fn(&'static str) -> Vec<&'static str> + Sync)| -> Vec<Output> {
        thread::scope(|scope| {
            let runs: Vec<_> = names
                .iter()
                .map(|name| {
                    let name: &'static str = name.clone().leak();
                    scope.spawn(move || bed.unitfix_long(&arguments(name)))
                })
                .collect();
            runs.into_iter().map(|run| run.join().unwrap()).collect()
        })
    };
    let repair = |name| vec![name, "--apply", "--yes", "--observe", "1", "--via", "log", "--prefer", "exact"];
    for output in all_at_once(&repair) {
        assert_said(&output, 0, &["+SystemCallFilter=setrlimit", "Repaired: "]);
    }
    for name in &names {
        assert_eq!(bed.show(name, "ActiveState"), "active", "{name}");
    }
    for output in all_at_once(&|name| vec!["revert", name, "--yes"]) {
        assert_said(&output, 0, &["Taken back"]);
    }
    assert_eq!(bed.tree("/etc/systemd/system"), before, "reverted byte for byte");
    assert_said(&bed.unitfix(&["status"]), 0, &["unitfix has written nothing here"]);
    bed.wait_until("all have failed again", failed);
}

/// Of the same unit: one does it, the others say who does.
fn many_runs(bed: &Bed) {
    start_killed(bed, FAILED);
    let before = bed.tree("/etc/systemd/system");
    let arguments = [UNIT, "--apply", "--yes", "--observe", "2", "--prefer", "exact"];
    let outputs: Vec<Output> = thread::scope(|scope| {
        let runs: Vec<_> = (0..8).map(|_| scope.spawn(|| bed.unitfix(&arguments))).collect();
        runs.into_iter().map(|run| run.join().unwrap()).collect()
    });
    let (done, refused): (Vec<_>, Vec<_>) = outputs.iter().partition(|output| output.status == 0);
    assert_eq!(done.len(), 1, "{outputs:#?}");
    assert_said(done[0], 0, &["Repaired: "]);
    for output in refused {
        assert_said(output, 5, &["another unitfix (process ", ") is working on v.service"]);
    }
    assert_said(&bed.unitfix(&["revert", UNIT, "--yes"]), 0, &["Taken back"]);
    assert_eq!(bed.tree("/etc/systemd/system"), before);
}

/// A file is written and synced before it has its name, and its folder after that, each time: what a loss of power
/// leaves is the old or the new one. The receipt is there before what it takes back.
fn order_of_syncs(bed: &Bed) {
    start_killed(bed, FAILED);
    let trace = "/run/unitfix.trace";
    let calls = "trace=openat,openat2,mkdirat,fsync,rename,renameat,renameat2,unlinkat,write";
    let run = |arguments: &[&str]| {
        let strace =
            ["strace", "-f", "-y", "-e", calls, "-o", trace, "env", "UNITFIX_PROC_ROOT=/run/hostproc"];
        let output = bed.exec(&[&strace[..], &["/run/ut/unitfix"], arguments].concat());
        assert_eq!(output.status, 0, "{output:?}");
        let text = bed.read_file(trace);
        text.lines().filter_map(step).collect::<Vec<String>>()
    };
    let steps = run(&[UNIT, "--apply", "--yes", "--no-replay", "--observe", "1"]);
    let written = |folder: &str, name: &str| {
        vec![format!("sync {folder}/STAGED"), format!("rename {name}"), format!("sync {folder}")]
    };
    let drop_ins = "/etc/systemd/system/v.service.d";
    let receipt = written("/var/lib/unitfix", "v.service.json");
    let repair = written(drop_ins, "zz-unitfix.conf");
    let expected = [
        receipt.clone(),
        vec!["make v.service.d".to_owned(), "sync /etc/systemd/system".to_owned()],
        repair,
        receipt,
    ]
    .concat();
    // the folder of the receipts is made once
    let first = steps.iter().position(|step| *step == expected[0]).unwrap_or_default();
    assert_eq!(steps[first..], expected);

    let steps = run(&["revert", UNIT, "--yes"]);
    let expected = [
        "remove zz-unitfix.conf",
        &format!("sync {drop_ins}"),
        "remove v.service.d",
        "sync /etc/systemd/system",
        "remove v.service.json",
        "sync /var/lib/unitfix",
    ];
    assert_eq!(steps, expected);
}

/// What a line of strace's does to a file that lasts: `PID CALL(ARGUMENTS) = RESULT`, descriptors with their paths.
fn step(line: &str) -> Option<String> {
    let (_, call) = line.split_once(' ')?;
    let (name, rest) = call.trim_start().split_once('(')?;
    if rest.contains(") = -1 ") {
        return None;
    }
    let quoted = |number: usize| rest.split('"').nth(2 * number - 1).map(str::to_owned);
    let opened = || rest.split_once('<')?.1.split_once('>').map(|(path, _)| path.to_owned());
    let staged = |path: String| match path.split_once("/.unitfix-") {
        Some((folder, _)) => format!("{folder}/STAGED"),
        None => path,
    };
    let last = |path: String| path.rsplit('/').next().unwrap_or_default().to_owned();
    match name {
        "fsync" => opened().map(|path| format!("sync {}", staged(path))),
        "mkdirat" => quoted(1).map(|path| format!("make {path}")),
        "unlinkat" => quoted(1).map(|path| format!("remove {}", last(path))),
        "rename" | "renameat" | "renameat2" => quoted(2).map(|path| format!("rename {}", last(path))),
        _ => None,
    }
}
