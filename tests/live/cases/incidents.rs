//! Units that really broke, each with a program that makes the same calls under the same filter lines: which changes are
//! offered and in which order, the power and the risk that are stated, and the unit working afterwards. (The founding
//! case runs for real in founding.rs; an architecture that is not let in, in denials.rs.)

use crate::bed::Bed;

use super::Case;
use super::support::{DROP_IN, UNIT, assert_not_of_this_kind, assert_repaired, assert_said, settings, start};

/// A report, and what unitfix has to make of it.
struct Incident {
    /// The unit's lines below `[Service]`; `VICTIM` stands for the program.
    lines: &'static str,
    /// What the drop-in must hold.
    repaired: &'static [&'static str],
    /// What must be said of the change, and why.
    said: &'static [&'static str],
    /// The kinds of the other changes that are offered, in order.
    others: &'static [&'static str],
}

macro_rules! incidents {
    ($($name:ident: $incident:expr;)*) => {
        pub const CASES: &[Case] = &[
            $(Case::new(concat!("incidents::", stringify!($name)), |bed| repaired(bed, &$incident)),)*
            Case::new("incidents::hedgedoc_softly", hedgedoc_softly),
            Case::new("incidents::earlyoom", earlyoom),
            Case::new("incidents::photoprism", photoprism),
            // newer ones have it in @default
            Case::new("incidents::timesyncd", timesyncd).only_on(&["host", "bullseye", "bookworm"]),
            Case::new("incidents::tracefwdr", tracefwdr),
        ];
    };
}

incidents! {
    // Go 1.19 raises its limit of open files
    navidrome: Incident {
        lines: "ExecStart=VICTIM setrlimit! sleep\n\
                SystemCallFilter=~@clock @debug @module @mount @obsolete @reboot @setuid @swap @resources\n",
        repaired: &["SystemCallFilter=setrlimit"],
        said: &[
            "@resources contains setrlimit",
            "Repair: allow setrlimit (1 call more; ",
            "  adds no power: prlimit64, which can do the same, is already allowed\n",
        ],
        others: &["group"],
    };
    // Node 18 asks for a memory protection key
    hedgedoc: Incident {
        lines: "ExecStart=VICTIM pkey_alloc! pkey_mprotect! sleep\nSystemCallFilter=@system-service\n\
                SystemCallFilter=~@privileged @obsolete\n",
        repaired: &["SystemCallFilter=pkey_alloc pkey_mprotect"],
        said: &[
            "pkey_alloc is not on this list of what is allowed",
            "adds no power: pkey_alloc: it lets a program protect parts of its own memory\n",
            "adds no power: pkey_mprotect: mprotect, which can do the same, is already",
        ],
        others: &["family", "group"],
    };
    // libuv's copyfile keeps the owner
    zwave_js_ui: Incident {
        lines: "ExecStart=VICTIM fchown! sleep\nSystemCallFilter=@system-service\n\
                SystemCallFilter=~@privileged @resources\n",
        repaired: &["SystemCallFilter=fchown"],
        said: &[
            "SystemCallFilter=~@privileged @resources\n             \
             \u{20}                 ^^^^^^^^^^^ @privileged contains fchown",
            "adds ownership: fchown lets a program change who owns files\n",
        ],
        others: &["family", "group"],
    };
    // both calls in one go, not one restart each
    postgresql: Incident {
        lines: "ExecStart=VICTIM getpriority! setpriority! sleep\nSystemCallFilter=@system-service\n\
                SystemCallFilter=~@privileged @resources getpriority\n",
        repaired: &["SystemCallFilter=getpriority setpriority"],
        said: &[
            "adds resources: setpriority lets a program give its processes a lower\n    priority, and as root a higher one\n",
            "adds no power: getpriority: it lets a program read its own limits and\n",
        ],
        others: &["family", "group"],
    };
    // unpaper, by way of libgomp
    paperless: Incident {
        lines: "ExecStart=VICTIM set_mempolicy! sleep\nSystemCallFilter=@system-service\n\
                SystemCallFilter=~@privileged @resources @setuid @keyring\n",
        repaired: &["SystemCallFilter=set_mempolicy"],
        said: &["adds resources: set_mempolicy lets a program choose on which NUMA node memory\n    lies\n"],
        others: &["family", "group"],
    };
    // chown is in @system-service, and the later line took it off again
    syncthing: Incident {
        lines: "ExecStart=VICTIM chown! sleep\nSystemCallFilter=@system-service\nSystemCallFilter=~@privileged\n",
        repaired: &["SystemCallFilter=chown"],
        said: &[
            "  because  /etc/systemd/system/v.service:4:19\n             SystemCallFilter=~@privileged\n             \
             \u{20}                 ^^^^^^^^^^^ @privileged contains chown\n",
            "adds ownership: chown lets a program change who owns files\n",
        ],
        others: &["family", "group"],
    };
}

fn repaired(bed: &Bed, incident: &Incident) {
    start(bed, &format!("[Service]\n{}", incident.lines));
    bed.wait_until("it has failed", |bed| bed.show(UNIT, "ActiveState") == "failed");
    let output = assert_repaired(bed, &[], incident.repaired);
    assert_said(&output, 0, incident.said);
    assert_eq!(output.stderr.matches("Replaying").count(), 1, "{output:?}");

    let output = bed.unitfix(&[UNIT, "--yes", "--observe", "1", "--json"]);
    let report: serde_json::Value = serde_json::from_str(&output.stdout).unwrap();
    let kind = |row: &serde_json::Value| row["kind"].as_str().unwrap().to_owned();
    let others: Vec<String> = report["repair"]["others"].as_array().unwrap().iter().map(kind).collect();
    assert_eq!(others, incident.others);
}

/// A program that does without protection keys, as V8 does: the call may stay forbidden, where this can be said.
fn hedgedoc_softly(bed: &Bed) {
    start(
        bed,
        "[Service]\nExecStart=VICTIM pkey_alloc sleep\nSystemCallFilter=@system-service\n\
         SystemCallFilter=~@privileged @obsolete\n",
    );
    let softened = match bed.systemd_version() {
        ..248 => return assert_not_of_this_kind(bed), // no errno on an allow list
        248..257 => "SystemCallFilter=~pkey_alloc:ENOSYS",
        _ => "SystemCallFilter=~pkey_alloc:ENOSPC", // ENOSYS is what the list does with unknown calls
    };
    assert_repaired(bed, &["--prefer", "soft"], &[softened]);
}

/// earlyoom waits where the kernel lacks `process_mrelease`, so that the call may stay forbidden where this can be said.
/// (That a manager ignores a name which it does not know is noticed: apply_errors.rs.)
fn earlyoom(bed: &Bed) {
    start(
        bed,
        "[Service]\nExecStart=VICTIM process_mrelease! sleep\nSystemCallFilter=@system-service\n\
         SystemCallFilter=~@resources @privileged\n",
    );
    let soft = "SystemCallFilter=~process_mrelease:ENOSYS";
    let exact = "SystemCallFilter=process_mrelease";
    let expected = if (248..257).contains(&bed.systemd_version()) { soft } else { exact };
    assert_repaired(bed, &[], &[expected]);
    let output = assert_repaired(bed, &["--prefer", "exact"], &[exact]);
    let words = "adds resources: process_mrelease lets a program have memory of other processes\n    put aside or freed\n";
    assert_said(&output, 0, &[words]);
}

/// Only a child fails, and only at what it is there for: starting the unit does not show it.
fn photoprism(bed: &Bed) {
    let comm = start(
        bed,
        "[Service]\nExecStart=VICTIM child every=1 chown! sleep\nSystemCallFilter=@system-service\n\
         SystemCallFilter=~@privileged @setuid @keyring\n",
    );
    bed.wait_until("a child is killed", |bed| !bed.seccomp_records(&comm).is_empty());
    assert_eq!(bed.show(UNIT, "ActiveState"), "active");
    let output = bed.unitfix(&[UNIT, "--apply", "--yes", "--observe", "2"]);
    assert_said(&output, 0, &["Repair: allow chown", "Repaired: "]);
    assert_eq!(settings(bed, DROP_IN), ["SystemCallFilter=chown"]);
    let killed = bed.seccomp_records(&comm).len();
    let ran = |bed: &Bed| {
        let own = bed.journal(&[&format!("--unit={UNIT}")]);
        own.iter().filter(|entry| entry["MESSAGE"].as_str() == Some("child: exit 0")).count()
    };
    let before = ran(bed);
    bed.wait_until("children do their work", |bed| ran(bed) > before);
    assert_eq!(bed.seccomp_records(&comm).len(), killed, "none is killed any more");
    assert_said(&bed.unitfix(&["revert", UNIT, "--yes"]), 0, &[]);
}

/// `uretprobe`, which tracing puts into a program: where systemd or libseccomp has no name for it, no setting can allow
/// it, and that is said. (The kernel lets it run whatever a filter says, so that the record is a made one.)
fn timesyncd(bed: &Bed) {
    let comm = start(bed, "[Service]\nExecStart=VICTIM sleep\nSystemCallFilter=@system-service\n");
    let record = format!(
        "audit: type=1326 audit({}.123:4): auid=4294967295 uid=0 gid=0 ses=4294967295 subj=unconfined pid=1 \
         comm=\"{comm}\" exe=\"/usr/local/bin/{comm}\" sig=31 arch=c000003e syscall=335 compat=0 ip=0x7f code=0x80000000\n",
        bed.run(&["date", "+%s"])
    );
    bed.write_file("/run/uretprobe.log", record);
    let output = bed.unitfix(&[UNIT, "--no-replay", "--log", "/run/uretprobe.log"]);
    assert_said(&output, 3, &["the systemd or libseccomp of this system has no name for "]);
}

/// systemd's own executor was denied, before the program began.
fn tracefwdr(bed: &Bed) {
    start(bed, "[Service]\nExecStart=VICTIM sleep\nSystemCallFilter=~execve execveat\n");
    let output = bed.unitfix(&[UNIT, "--yes", "--observe", "1", "--prefer", "exact"]);
    // of a long name the executor keeps one end
    assert_said(&output, 1, &["  killed   systemd itself, before ", " began was killed for calling execve"]);
}
