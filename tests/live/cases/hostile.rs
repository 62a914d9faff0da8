//! Where others may have had their hands in: folders and files that unitfix writes, and the environment that it is run
//! in. Nothing is written where somebody else can write too, and no link is followed there.

use crate::bed::{Bed, Output};
use crate::tree::{Node, differences};

use super::Case;
use super::support::{DROP_IN, FAILED, Snapshot, UNIT, assert_said, settings, start_killed};

pub const CASES: &[Case] = &[
    Case::new("hostile::umask", umask).only_on(&["host", "bookworm"]),
    Case::new("hostile::own_folders", own_folders).only_on(&["host", "bookworm"]),
    Case::new("hostile::lock_file", lock_file).only_on(&["host", "bookworm"]),
    Case::new("hostile::receipt", receipt).only_on(&["host", "bookworm"]),
    Case::new("hostile::note_of_a_replay", note_of_a_replay).only_on(&["host", "bookworm"]),
    Case::new("hostile::drop_in_folder", drop_in_folder).only_on(&["host", "bookworm"]),
    Case::new("hostile::runtime_folder", runtime_folder).only_on(&["host", "bookworm"]),
    Case::new("hostile::drop_in_is_a_link", drop_in_is_a_link).only_on(&["host", "bookworm"]),
    Case::new("hostile::environment", environment).only_on(&["host", "bookworm"]),
    Case::new("hostile::editor", editor).only_on(&["host", "bookworm"]),
    Case::new("hostile::trace_folder", trace_folder).only_on(&["host", "bookworm"]),
    Case::new("hostile::proc_root", proc_root).only_on(&["host", "bookworm"]),
    Case::new("hostile::unit_names", unit_names).only_on(&["host", "bookworm", "sid"]),
];

const YES: [&str; 5] = [UNIT, "--apply", "--yes", "--observe", "1"];
/// What there is to repair without a replay.
const FROM_LOGS: [&str; 4] = [UNIT, "--apply", "--yes", "--no-replay"];

fn shell(bed: &Bed, script: &str) -> Output {
    bed.exec(&["sh", "-c", script])
}

/// Runs a script that must succeed.
fn prepare(bed: &Bed, script: &str) {
    let output = shell(bed, script);
    assert_eq!(output.status, 0, "{script}: {output:?}");
}

/// Panics unless unitfix refuses, says why, and changes nothing anywhere.
fn assert_refused(bed: &Bed, arguments: &[&str], words: &[&str], attack: &str) {
    let trees = |bed: &Bed| {
        let all = ["/etc/systemd", "/run/systemd/system", "/run/unitfix", "/var/lib/unitfix", "/srv"];
        all.map(|folder| {
            let mut tree = bed.tree(folder);
            tree.retain(|path, _| !path.starts_with("lock")); // one that was taken stays
            tree
        })
    };
    let (before, invocation) = (trees(bed), bed.show(UNIT, "InvocationID"));
    let output = bed.unitfix(arguments);
    assert_eq!(output.status, 5, "{attack}: {output:?}");
    assert_said(&output, 5, words);
    assert_eq!(trees(bed), before, "{attack}");
    assert_eq!(bed.show(UNIT, "InvocationID"), invocation, "{attack}: it was not restarted");
}

/// Whatever the umask: only root can write what unitfix makes, and everybody can read it.
fn umask(bed: &Bed) {
    for umask in ["000", "077"] {
        prepare(bed, "rm -rf /run/unitfix /var/lib/unitfix");
        start_killed(bed, FAILED);
        let script =
            format!("umask {umask}; UNITFIX_PROC_ROOT=/run/hostproc exec /run/ut/unitfix {}", YES.join(" "));
        assert_said(&shell(bed, &script), 0, &["Repaired: "]);
        for folder in ["/run/unitfix", "/var/lib/unitfix", "/etc/systemd/system/v.service.d"] {
            let mode = bed.run(&["stat", "--format=%a %u:%g", folder]);
            assert_eq!(mode, "755 0:0", "{folder} with umask {umask}");
            for (path, node) in bed.tree(folder) {
                match node {
                    Node::Directory { mode, owner } => {
                        assert_eq!((mode, owner), (0o755, (0, 0)), "{} {umask}", path.display());
                    }
                    Node::File { mode, owner, .. } => {
                        assert_eq!((mode, owner), (0o644, (0, 0)), "{} {umask}", path.display());
                    }
                    other => panic!("{}: {other:?}", path.display()),
                }
            }
        }
        assert_said(&bed.unitfix(&["revert", UNIT, "--yes"]), 0, &[]);
    }
}

/// A folder of unitfix's own that somebody else made, or can write.
fn own_folders(bed: &Bed) {
    start_killed(bed, FAILED);
    let folders = ["/run/unitfix", "/run/unitfix/lock", "/run/unitfix/replay", "/var/lib/unitfix"];
    for folder in folders {
        for (attack, why) in [
            ("mkdir -p FOLDER && chmod 777 FOLDER", "can be written by others than its owner"),
            ("mkdir -p FOLDER && chmod 1777 FOLDER", "can be written by others than its owner"),
            ("mkdir -p FOLDER && chmod 775 FOLDER", "can be written by others than its owner"),
            ("mkdir -p FOLDER && chown 1000 FOLDER", "who is not trusted"),
            (
                "mkdir -p $(dirname FOLDER) /srv/theirs && ln -s /srv/theirs FOLDER",
                "a link, which is not followed",
            ),
            ("mkdir -p $(dirname FOLDER) && : >FOLDER", "no directory"),
        ] {
            prepare(
                bed,
                &format!("rm -rf /run/unitfix /var/lib/unitfix; {}", attack.replace("FOLDER", folder)),
            );
            assert_refused(bed, &YES, &[folder, why], attack);
        }
        for arguments in [&FROM_LOGS[..], &["revert", UNIT, "--yes"], &["status"]] {
            assert_refused(bed, arguments, &[folder], "the last of these");
        }
    }
    prepare(bed, "rm -rf /run/unitfix /var/lib/unitfix /srv/theirs");
    assert_said(&bed.unitfix(&YES), 0, &["Repaired: "]);
    assert_said(&bed.unitfix(&["revert", UNIT, "--yes"]), 0, &[]);
}

/// A lock that somebody else made: he could hold it for ever, or have another file written.
fn lock_file(bed: &Bed) {
    start_killed(bed, FAILED);
    for (attack, why) in [
        ("echo precious >/srv/theirs; ln -s /srv/theirs LOCK", "Too many levels of symbolic links"),
        (": >LOCK; chown 1000 LOCK", "who is not trusted"),
        (": >LOCK; chmod 666 LOCK", "can be written by others than its owner"),
        ("mkfifo -m 600 LOCK", "not a regular file"),
        ("mkdir LOCK", "Is a directory"),
    ] {
        let lock = "/run/unitfix/lock/v.service";
        prepare(bed, &format!("rm -rf {lock}; mkdir -p /run/unitfix/lock; {}", attack.replace("LOCK", lock)));
        for arguments in [&YES[..], &FROM_LOGS, &["revert", UNIT, "--yes"]] {
            assert_refused(bed, arguments, &[lock, why], attack);
        }
    }
    prepare(bed, "rm -rf /run/unitfix /srv/theirs");
}

/// A receipt that names other files, or that others can write, is not what a revert goes by.
fn receipt(bed: &Bed) {
    start_killed(bed, FAILED);
    let path = "/var/lib/unitfix/v.service.json";
    let text = r#"{"unit":"NAME","written":"","why":[],"files":[{"path":"PATH","before":"theirs\n","after":"precious\n","own_folder":false}],"verified":true,"calls":[]}"#;
    let write = |name: &str, file: &str| {
        bed.write_file("/srv/theirs/zz.conf", "precious\n");
        prepare(bed, "rm -rf /var/lib/unitfix; mkdir -p /var/lib/unitfix");
        bed.write_file(path, text.replace("NAME", name).replace("PATH", file));
    };
    for file in [
        "/srv/theirs/zz.conf",
        "/etc/systemd/system/v.service.d/../../../../srv/theirs/zz.conf",
        "/etc/systemd/system/w.service.d/zz.conf",
        "/etc/systemd/system/v.service.d/zz.service",
        "srv/theirs/zz.conf",
    ] {
        write(UNIT, file);
        for arguments in [&["revert", UNIT, "--yes"][..], &FROM_LOGS, &["status"]] {
            assert_refused(bed, arguments, &[path, "is not one of the unit's drop-ins"], file);
        }
    }
    write("w.service", DROP_IN);
    assert_refused(bed, &["revert", UNIT, "--yes"], &[path, "the receipt of another unit"], "another unit");
    write(UNIT, DROP_IN);
    prepare(bed, &format!("chmod 666 {path}"));
    let why = "can be written by others than its owner";
    assert_refused(bed, &["revert", UNIT, "--yes"], &[path, why], "a receipt that others can write");
    prepare(bed, "rm -rf /var/lib/unitfix /srv/theirs");
}

/// What a killed replay noted names the file that is taken away: only one of a replay.
fn note_of_a_replay(bed: &Bed) {
    start_killed(bed, FAILED);
    for file in [
        "/srv/theirs",
        "/run/systemd/system/v.service.d/../../../../srv/theirs",
        "/run/systemd/system/w.service",
    ] {
        bed.write_file("/srv/theirs", "precious\n");
        let note = format!(r#"{{"drop_in":"{file}","standing":"failed","since":1}}"#);
        prepare(bed, "mkdir -p /run/unitfix/replay");
        bed.write_file("/run/unitfix/replay/v.service.json", note);
        assert_refused(
            bed,
            &FROM_LOGS,
            &["/run/unitfix/replay/v.service.json", "no replay of this unit"],
            file,
        );
    }
    prepare(bed, "rm -rf /run/unitfix /srv/theirs");
}

/// A folder of drop-ins that others than root can write, or that is a link.
fn drop_in_folder(bed: &Bed) {
    start_killed(bed, FAILED);
    let folder = "/etc/systemd/system/v.service.d";
    for (attack, why) in [
        ("mkdir FOLDER; chmod 777 FOLDER", "can be written by others than its owner"),
        ("mkdir FOLDER; chmod 1777 FOLDER", "can be written by others than its owner"),
        ("mkdir FOLDER; chgrp 1000 FOLDER; chmod 775 FOLDER", "can be written by others than its owner"),
        ("mkdir FOLDER; chown 1000 FOLDER", "who is not trusted"),
        (
            "mkdir -p /srv/theirs; ln -s /srv/theirs FOLDER",
            "is reached through a link, which is not followed",
        ),
        (
            "mkdir -p /srv/theirs; chmod 777 /srv/theirs; ln -s ../../../srv/theirs FOLDER",
            "is reached through a link",
        ),
        ("mkdir FOLDER; chmod 777 /etc/systemd/system", "/etc/systemd/system can be written by others"),
    ] {
        prepare(bed, &format!("rm -rf {folder} /srv/theirs; {}", attack.replace("FOLDER", folder)));
        bed.run(&["systemctl", "daemon-reload"]);
        assert_refused(bed, &FROM_LOGS, &["+SystemCallFilter=setrlimit", why, "nothing was changed"], attack);
    }
    prepare(bed, &format!("rm -rf {folder} /srv/theirs; chmod 755 /etc/systemd/system"));
}

/// The same of the runtime folder, where a replay puts its drop-in.
fn runtime_folder(bed: &Bed) {
    start_killed(bed, FAILED);
    let folder = "/run/systemd/system/v.service.d";
    for (attack, why) in [
        ("mkdir FOLDER; chmod 777 FOLDER", "can be written by others than its owner"),
        ("mkdir FOLDER; chown 1000 FOLDER", "who is not trusted"),
        (
            "mkdir -p /srv/theirs; ln -s /srv/theirs FOLDER",
            "is reached through a link, which is not followed",
        ),
    ] {
        prepare(bed, &format!("rm -rf {folder} /srv/theirs; {}", attack.replace("FOLDER", folder)));
        bed.run(&["systemctl", "daemon-reload"]);
        for via in ["log", "notify", "strace"] {
            // the note and the folder of traces are taken away again, with what they are in left
            prepare(
                bed,
                "mkdir -p /run/unitfix/replay /run/unitfix/lock; echo $$ >/run/unitfix/lock/v.service",
            );
            let before = Snapshot::of(bed, UNIT);
            let output = bed.unitfix(&[UNIT, "--yes", "--observe", "1", "--via", via]);
            assert_said(&output, 5, &[why, "no replay: "]);
            before.assert_same(bed, UNIT, attack);
        }
    }
    prepare(bed, &format!("rm -rf {folder} /srv/theirs"));
}

/// unitfix's own drop-in, with a link in its place.
fn drop_in_is_a_link(bed: &Bed) {
    bed.write_file("/srv/theirs.conf", "# Written by unitfix 0.1.0 on 2026-01-01: x.\n[Service]\nNice=1\n");
    for target in ["/srv/theirs.conf", "../../../../srv/theirs.conf"] {
        prepare(bed, &format!("mkdir -p $(dirname {DROP_IN}); ln -sf {target} {DROP_IN}"));
        start_killed(bed, FAILED);
        assert_refused(bed, &FROM_LOGS, &[DROP_IN, "this is a link, which is not followed"], target);
    }
}

/// Folders, programs and variables of somebody else's, as `sudo -E` lets them pass.
fn environment(bed: &Bed) {
    start_killed(bed, FAILED);
    let programs =
        "systemd-analyze systemctl journalctl strace rpm dpkg-query pacman debuginfod-find sh vi pager less";
    let evil = format!(
        "mkdir -p /srv/evil && cd /srv/evil && printf '#!/bin/sh\\necho \"$0\" >>/srv/evil/ran\\n' >x && chmod 755 x && \
         for it in {programs}; do cp x $it; done"
    );
    prepare(bed, &evil);
    let variables = "PATH=/srv/evil LD_PRELOAD=/srv/evil/x LD_LIBRARY_PATH=/srv/evil LD_AUDIT=/srv/evil/x \
        GCONV_PATH=/srv/evil LOCPATH=/srv/evil LANG=tr_TR.UTF-8 LC_ALL=tr_TR.UTF-8 LANGUAGE=tr \
        SYSTEMD_LOG_LEVEL=debug SYSTEMD_LOG_TARGET=console SYSTEMD_COLORS=1 SYSTEMD_PAGER=/srv/evil/pager \
        SYSTEMD_UNIT_PATH=/srv/evil SYSTEMD_OFFLINE=1 SYSTEMD_ESP_PATH=/srv/evil PAGER=/srv/evil/pager \
        JOURNAL_STREAM=1:1 DBUS_SYSTEM_BUS_ADDRESS=unix:path=/srv/evil/bus DBUS_SESSION_BUS_ADDRESS=unix:path=/srv/evil/bus \
        TMPDIR=/srv/evil/none HOME=/srv/evil XDG_RUNTIME_DIR=/srv/evil XDG_CONFIG_HOME=/srv/evil IFS=/ ENV=/srv/evil/x \
        BASH_ENV=/srv/evil/x VISUAL=/srv/evil/vi EDITOR=/srv/evil/vi RUST_LOG=trace RUST_BACKTRACE=full";
    let run = |arguments: &str| {
        let command =
            format!("exec env -i {variables} UNITFIX_PROC_ROOT=/run/hostproc /run/ut/unitfix {arguments}");
        let output = shell(bed, &command);
        let ran = shell(bed, "cat /srv/evil/ran");
        assert_ne!(ran.status, 0, "{arguments}: {ran:?}");
        // the dynamic linker says of unitfix itself what it says of every program that is started so
        let own = shell(bed, &format!("exec env -i {variables} /run/ut/unitfix --version")).stderr;
        let output = Output { stderr: output.stderr.replacen(&own, "", 1), ..output };
        for word in ["ld.so", "/srv/evil", "stack backtrace"] {
            assert!(!format!("{output:?}").contains(word), "{arguments}: {word}: {output:?}");
        }
        output
    };
    assert_said(&run("v.service --no-replay --blame"), 1, &["+SystemCallFilter=setrlimit"]);
    assert_said(&run("policy v.service --lint"), 0, &[]);
    assert_said(&run("explain @resources"), 0, &["setrlimit"]);
    assert_said(&run("v.service --yes --observe 1 --via strace --blame --check /bin/true"), 1, &["Repair: "]);
    assert_said(&run("v.service --apply --yes --observe 1"), 0, &["Repaired: "]);
    assert_eq!(settings(bed, DROP_IN), ["SystemCallFilter=setrlimit"]);
    assert_said(&run("status"), 0, &["seen to work"]);
    assert_said(&run("revert v.service --yes"), 0, &[]);
    prepare(bed, "rm -rf /srv/evil");
}

/// The editor of root: its name is looked up where the system has its programs, and nobody else sees the file.
fn editor(bed: &Bed) {
    start_killed(bed, FAILED);
    prepare(
        bed,
        "mkdir -p -m 777 /srv/evil; printf '#!/bin/sh\\n: >/srv/evil/ran\\n' >/srv/evil/v-editor; \
         printf '#!/bin/sh\\nstat --format=%%a:%%u:%%n \"$1\" \"$(dirname \"$1\")\" >/run/v.seen\\n' >/usr/local/bin/v-editor; \
         chmod 755 /srv/evil/v-editor /usr/local/bin/v-editor",
    );
    for variable in ["EDITOR", "VISUAL", "SUDO_EDITOR"] {
        let mut command = vec![
            "env",
            "UNITFIX_PROC_ROOT=/run/hostproc",
            "PATH=/srv/evil:/usr/bin:/bin",
            "TMPDIR=/srv/evil",
        ];
        let named = format!("{variable}=v-editor");
        command.push(&named);
        // one that sudo keeps comes first
        if variable == "SUDO_EDITOR" {
            command.extend(["VISUAL=/srv/evil/v-editor", "EDITOR=/srv/evil/v-editor"]);
        }
        command.extend(["/run/ut/unitfix", UNIT, "--no-replay"]);
        let mut terminal = bed.terminal(&command);
        terminal.expect("[y/N");
        terminal.send("e\r");
        terminal.expect("[y/N");
        terminal.send("n\r");
        assert_eq!(terminal.wait().0, 1);
        let seen = bed.run(&["cat", "/run/v.seen"]);
        let lines: Vec<&str> = seen.lines().collect();
        assert!(lines[0].starts_with("644:0:/run/unitfix/edit-"), "{seen}");
        assert!(lines[1].starts_with("700:0:/run/unitfix/edit-"), "{seen}");
        prepare(bed, "! test -e /srv/evil/ran && ! ls -d /run/unitfix/edit-* && rm /run/v.seen");
    }
    prepare(bed, "rm -rf /srv/evil /usr/local/bin/v-editor");
}

/// Where strace writes as root, nobody else can put a link in its way; else it could only reach what the user can.
fn trace_folder(bed: &Bed) {
    let look =
        "ExecStartPre=-+/bin/sh -c 'exec stat --format=%%a /run/unitfix/trace/v.service/* >/run/v.mode'\n";
    for (user, mode) in [("", "700\n"), ("User=root\n", "700\n"), ("User=1\n", "1733\n")] {
        start_killed(bed, &FAILED.replace("[Service]\n", &format!("[Service]\n{user}{look}")));
        let mut terminal = bed.unitfix_on_terminal(&[UNIT, "--yes", "--observe", "60", "--via", "strace"]);
        bed.wait_until("it runs under strace", |bed| bed.show(UNIT, "ActiveState") == "active");
        assert_eq!(bed.read_file("/run/v.mode"), mode, "{user}");
        terminal.interrupt();
        assert_eq!(terminal.wait().0, 130);
    }
    prepare(bed, "rm -f /run/v.mode");
}

/// Whose a process is, is asked of a kernel.
fn proc_root(bed: &Bed) {
    start_killed(bed, FAILED);
    prepare(
        bed,
        "mkdir -p /srv/evil/1; echo 0::/system.slice/v.service >/srv/evil/1/cgroup; ln -sfn /srv/evil /srv/link",
    );
    for (folder, why) in [
        ("/srv/evil", "this is no proc file system"),
        ("/srv/link", "this is no proc file system"),
        ("/srv/none", "No such file or directory"),
    ] {
        let output = bed.exec(&[
            "env",
            &format!("UNITFIX_PROC_ROOT={folder}"),
            "/run/ut/unitfix",
            UNIT,
            "--no-replay",
        ]);
        assert_said(&output, 2, &[folder, why]);
    }
    prepare(bed, "rm -rf /srv/evil /srv/link");
}

/// Names that climb, that end a word or a line, and names with escapes, which are good ones.
fn unit_names(bed: &Bed) {
    const FOLDERS: [&str; 4] = ["/etc", "/run/systemd/system", "/run/unitfix", "/var/lib"];
    let before = FOLDERS.map(|folder| bed.tree(folder));
    for name in ["../v.service", "a/../../etc/passwd", "/etc/passwd/"] {
        let output = bed.unitfix(&[name, "--apply", "--yes", "--no-replay", "--log", "/dev/null"]);
        assert!(matches!(output.status, 2 | 3), "{name}: {output:?}");
    }
    for name in [
        "a b",
        "v\n.service",
        "v\u{1b}[2J.service",
        "v;id",
        "v@a b.service",
        "é.service",
        "v\u{202e}.service",
    ] {
        for arguments in [
            &[name, "--apply", "--yes"][..],
            &["revert", name, "--yes"],
            &["status", name],
            &["policy", name],
        ] {
            let output = bed.unitfix(arguments);
            assert_said(&output, 2, &["is not a valid unit name"]);
            let raw = |c: char| (c.is_control() && c != '\n') || c == '\u{202e}';
            assert!(!output.stderr.contains(raw), "{output:?}");
        }
    }
    for name in ["..", "...", "-.-", "v@...service"] {
        assert_said(&bed.unitfix(&["--apply", "--yes", "--", name]), 2, &["service"]);
    }
    for (folder, before) in FOLDERS.iter().zip(&before) {
        let differences = differences(before, &bed.tree(folder));
        assert!(differences.is_empty(), "{folder}: {differences:#?}");
    }

    let victim = bed.own_victim();
    for name in [r"v\x2f..\x2f..\x2fv.service", "v@..-..-etc-shadow.service"] {
        let file = if name.contains('@') { "v@.service" } else { name };
        bed.install_unit(file, &FAILED.replace("VICTIM", &victim.path));
        let before = bed.tree("/etc");
        bed.exec(&["systemctl", "start", name]);
        bed.wait_until("it has failed", |bed| bed.show(name, "ActiveState") == "failed");
        assert_said(&bed.unitfix(&[name, "--apply", "--yes", "--observe", "1"]), 0, &["Repaired: "]);
        let new: Vec<_> = bed.tree("/etc").into_keys().filter(|path| !before.contains_key(path)).collect();
        let folder = format!("systemd/system/{name}.d");
        assert_eq!(
            new,
            [folder.clone().into(), format!("{folder}/zz-unitfix.conf").into()] as [std::path::PathBuf; 2]
        );
        assert_said(&bed.unitfix(&["revert", name, "--yes"]), 0, &[]);
        assert_eq!(bed.tree("/etc"), before);
        bed.run(&["systemctl", "stop", name]);
    }
}
