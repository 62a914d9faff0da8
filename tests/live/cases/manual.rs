//! The examples of unitfix(1) that need a running system, typed into one. tests/docs.rs runs the others.

use crate::bed::{Bed, Output};

use super::Case;

pub const CASES: &[Case] = &[Case::new("manual::examples", examples).only_on(&["bookworm"])];

const PAGE: &str = include_str!("../../../man/unitfix.1");

/// Each example, the exit status that it has without a terminal, and words of what it says.
const EXAMPLES: &[(&str, i32, &str)] = &[
    ("sudo unitfix docuum.service", 1, "+SystemCallFilter="),
    ("sudo unitfix docuum.service --blame --no-replay", 1, "called by"),
    ("sudo unitfix docuum.service --patch=message > docuum.patch", 1, "Subject: docuum.service: "),
    ("sudo unitfix watch docuum.service --for 1h", 1, "docuum.service"),
    ("unitfix policy docuum.service setrlimit socket", 0, "@resources contains setrlimit"),
    ("unitfix explain setrlimit --unit docuum.service", 0, "docuum.service forbids setrlimit"),
    ("sudo unitfix scan", 1, "docuum.service"),
    ("unitfix scan --since -1d -D /var/log/journal/remote", 1, "docuum.service"),
    ("sudo unitfix docuum.service --apply --yes", 0, "Repaired: docuum.service"),
    ("sudo unitfix revert docuum.service", 1, "Nothing was changed."),
];

/// The examples of the page, as they are typed.
fn page() -> Vec<String> {
    let section = PAGE.split_once("\n.SH EXAMPLES\n").unwrap().1.split_once("\n.SH ").unwrap().0;
    section.lines().filter_map(|line| Some(line.strip_prefix(".B ")?.replace('\\', ""))).collect()
}

fn typed(bed: &Bed, line: &str) -> Output {
    let shell = format!("sudo() {{ \"$@\"; }}; PATH=/run/ut:$PATH; cd /root; exec 2>&1; {line}");
    bed.exec_long(&["env", "UNITFIX_PROC_ROOT=/run/hostproc", "sh", "-c", &shell])
}

fn examples(bed: &Bed) {
    let victim = bed.own_victim();
    let text =
        format!("[Service]\nExecStart={} setrlimit sleep\nSystemCallFilter=~@resources\n", victim.path);
    bed.install_unit("docuum.service", &text);
    bed.exec(&["systemctl", "start", "docuum.service"]);
    bed.wait_until("a record of the kill", |bed| !bed.seccomp_records(&victim.comm).is_empty());
    // as systemd-journal-remote(8) would leave them
    let copy = "mkdir -p /var/log/journal/remote && cp /*/log/journal/*/*.journal /var/log/journal/remote/";
    bed.run(&["sh", "-c", copy]);
    let page = page();
    for (example, status, words) in EXAMPLES {
        assert!(page.iter().any(|line| line == example), "{example} is none of {page:#?}");
        let shown = "> docuum.patch; status=$?; cat docuum.patch; exit $status";
        let line = example.replace("> docuum.patch", shown).replace("1h", "2s");
        let output = typed(bed, &line);
        assert!(output.status == *status && output.stdout.contains(words), "{example}: {output:?}");
    }
    bed.run(&["rm", "-rf", "/var/log/journal/remote", "/root/docuum.patch"]);
}
