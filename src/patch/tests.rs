use super::*;
use crate::unit::{UnitName, syntax};

const UNIT: &str = "/usr/lib/systemd/system/a.service";

/// A unit of these files, the first of which is the unit file.
fn unit(files: &[(&str, &[u8])], version: u32) -> Unit {
    let (path, bytes) = files[0];
    let fragment = SourceFile::new(path, bytes);
    let settings = syntax::parse_as(&fragment, version).settings;
    let name = UnitName::parse("a.service").unwrap();
    let mut unit = Unit { settings, ..Unit::empty(name, fragment) };
    for (path, bytes) in &files[1..] {
        unit.add_drop_in(SourceFile::new(*path, *bytes), version);
    }
    unit
}

/// `setrlimit @chown ~mount:EPERM x86` as an amendment.
fn amendment(words: &str) -> Amendment {
    let mut out = Amendment::default();
    for word in words.split_whitespace() {
        if let Some(arch) = Arch::from_systemd_name(word) {
            out.architectures.insert(arch);
        } else if word.starts_with('~') {
            assert!(out.take_in(&format!("SystemCallFilter={word}")));
        } else {
            out.allow.insert(word.to_owned());
        }
    }
    out
}

fn patched_files(files: &[(&str, &[u8])], words: &str, version: u32) -> Result<Vec<Patched>, String> {
    let groups = Groups::from_rules(version).unwrap();
    patch(&unit(files, version), &amendment(words), &groups).map_err(|refusal| refusal.to_string())
}

/// What becomes of the lines below `[Service]` of a unit file.
fn patched(lines: &str, words: &str) -> String {
    let text = format!("[Service]\n{lines}");
    match patched_files(&[(UNIT, text.as_bytes())], words, 252) {
        Ok(files) => {
            assert_eq!(files.len(), 1);
            let after = String::from_utf8(files[0].after.clone()).unwrap();
            after.strip_prefix("[Service]\n").unwrap().to_owned()
        }
        Err(refusal) => refusal,
    }
}

#[test]
fn a_word_of_a_deny_list_goes() {
    let case = |before, after| assert_eq!(patched(before, "setrlimit"), after);
    case("SystemCallFilter=~setpriority setrlimit   keyctl\n", "SystemCallFilter=~setpriority   keyctl\n");
    case("SystemCallFilter = ~setrlimit  keyctl\n", "SystemCallFilter = ~keyctl\n");
    case("SystemCallFilter=~ keyctl setrlimit # x\n", "SystemCallFilter=~ keyctl # x\n");
    case("SystemCallFilter=~keyctl setrlimit:EPERM\n", "SystemCallFilter=~keyctl\n");
    // the whole line, where nothing else is on it
    case("A=1\nSystemCallFilter=~setrlimit\nB=1\n", "A=1\nB=1\n");
    case("A=1\nSystemCallFilter=\\\n  # why\n  ~setrlimit\nB=1\n", "A=1\n  # why\nB=1\n");
    // on every line that has it, but not where a reset takes it back anyway
    case(
        "SystemCallFilter=~setrlimit\nSystemCallFilter=\nSystemCallFilter=~setrlimit bpf\n\
         SystemCallFilter=~setrlimit keyctl\n",
        "SystemCallFilter=~setrlimit\nSystemCallFilter=\nSystemCallFilter=~bpf\nSystemCallFilter=~keyctl\n",
    );
    // a line that only repeats what was said is enough, if a later one had allowed it
    case(
        "SystemCallFilter=~setrlimit\nSystemCallFilter=setrlimit\nSystemCallFilter=~setrlimit bpf\n",
        "SystemCallFilter=~setrlimit\nSystemCallFilter=setrlimit\nSystemCallFilter=~bpf\n",
    );
    // an allow list that takes single calls off again
    case(
        "SystemCallFilter=@system-service\nSystemCallFilter=~chown setrlimit\n",
        "SystemCallFilter=@system-service\nSystemCallFilter=~chown\n",
    );
}

#[test]
fn continuation_lines_keep_their_layout() {
    let before = "SystemCallFilter=~bpf \\\n# why chown\n    chown \\\n; last\n  keyctl\nB=1\n";
    assert_eq!(patched(before, "chown"), "SystemCallFilter=~bpf \\\n# why chown\n; last\n  keyctl\nB=1\n");
    assert_eq!(patched(before, "keyctl"), "SystemCallFilter=~bpf \\\n# why chown\n    chown\n; last\nB=1\n");
    assert_eq!(
        patched(before, "bpf"),
        "SystemCallFilter=~ \\\n# why chown\n    chown \\\n; last\n  keyctl\nB=1\n"
    );
    assert_eq!(patched(before, "bpf chown keyctl"), "# why chown\n; last\nB=1\n");
    // an empty line ends the value
    assert_eq!(
        patched("SystemCallFilter=~bpf \\\n  chown \\\n\nB=1\n", "chown"),
        "SystemCallFilter=~bpf \\\n\nB=1\n"
    );
    // behind the last continuation line
    assert_eq!(
        patched("SystemCallFilter=~@chown \\\n# why\n  @resources\nB=1\n", "setrlimit"),
        "SystemCallFilter=~@chown \\\n# why\n  @resources\nSystemCallFilter=setrlimit\nB=1\n"
    );
    assert_eq!(
        patched("SystemCallFilter=@basic-io \\\n  @process \\\n\nB=1\n", "setrlimit"),
        "SystemCallFilter=@basic-io \\\n  @process setrlimit \\\n\nB=1\n"
    );
}

#[test]
fn a_group_is_answered_by_a_line_behind_it() {
    let case = |before, words, after| assert_eq!(patched(before, words), after);
    case(
        "SystemCallFilter=~@resources\nB=1\n\n[Install]\nC=1\n",
        "setrlimit setpriority",
        "SystemCallFilter=~@resources\nSystemCallFilter=setpriority setrlimit\nB=1\n\n[Install]\nC=1\n",
    );
    // one named, one in a group
    case(
        "SystemCallFilter=~@resources chown\n",
        "setrlimit chown",
        "SystemCallFilter=~@resources\nSystemCallFilter=setrlimit\n",
    );
    // named, and in a group as well: the word alone does not help
    case(
        "SystemCallFilter=~@resources setrlimit\n",
        "setrlimit",
        "SystemCallFilter=~@resources setrlimit\nSystemCallFilter=setrlimit\n",
    );
    // there is a line for such calls already
    case(
        "SystemCallFilter=~@resources\nSystemCallFilter=setpriority\nSystemCallFilter=~bpf\n",
        "setrlimit",
        "SystemCallFilter=~@resources\nSystemCallFilter=setpriority setrlimit\nSystemCallFilter=~bpf\n",
    );
    // the group itself
    case("SystemCallFilter=~@chown @resources\n", "@resources", "SystemCallFilter=~@chown\n");
    // sections
    case(
        "SystemCallFilter=~@resources\n[Unit]\nSystemCallFilter=x\n[Service]\nB=1\n[Service]\nC=1\n",
        "setrlimit",
        "SystemCallFilter=~@resources\nSystemCallFilter=setrlimit\n[Unit]\nSystemCallFilter=x\n[Service]\nB=1\n\
         [Service]\nC=1\n",
    );
}

#[test]
fn an_allow_list_gets_the_word_where_it_counts() {
    let case = |before, after| assert_eq!(patched(before, "chown"), after);
    case("SystemCallFilter=@basic-io @process\nB=1\n", "SystemCallFilter=@basic-io @process chown\nB=1\n");
    case(
        "SystemCallFilter=@system-service\nSystemCallFilter=~@privileged\n",
        "SystemCallFilter=@system-service\nSystemCallFilter=~@privileged\nSystemCallFilter=chown\n",
    );
    case(
        "SystemCallFilter=~@privileged\nSystemCallFilter=\nSystemCallFilter=@basic-io\n",
        "SystemCallFilter=~@privileged\nSystemCallFilter=\nSystemCallFilter=@basic-io chown\n",
    );
}

#[test]
fn soft_denials_have_a_line_of_their_own() {
    let case = |before, words, after| assert_eq!(patched(before, words), after);
    case(
        "SystemCallFilter=~@resources @chown\nB=1\n",
        "~setrlimit:EPERM ~clone3:ENOSYS chown",
        "SystemCallFilter=~@resources @chown\nSystemCallFilter=chown\n\
         SystemCallFilter=~clone3:ENOSYS setrlimit:EPERM\nB=1\n",
    );
    case(
        "SystemCallFilter=@basic-io\n",
        "~setrlimit:EPERM",
        "SystemCallFilter=@basic-io\nSystemCallFilter=~setrlimit:EPERM\n",
    );
    // where the call is named, its word gets the errno
    case("SystemCallFilter=~bpf setrlimit\n", "~setrlimit:EPERM", "SystemCallFilter=~bpf setrlimit:EPERM\n");
    case("SystemCallFilter=~mlock:EPERM bpf\n", "~mlock:ENOSYS", "SystemCallFilter=~mlock:ENOSYS bpf\n");
}

#[test]
fn what_247_shows_counts_too() {
    let text = b"[Service]\nSystemCallFilter=chown:ENOSYS\nSystemCallFilter=~chown:ENOSYS";
    let files = patched_files(&[(UNIT, text)], "chown", 247).unwrap();
    let expected = [&text[..], b"\nSystemCallFilter=chown"].concat();
    assert_eq!(String::from_utf8_lossy(&files[0].after), String::from_utf8_lossy(&expected));
}

#[test]
fn no_filter_is_no_filter_whatever_says_so() {
    // systemd shows `SystemCallFilter=~` of both, in every version
    let text = b"[Service]\nSystemCallFilter=~\nSystemCallFilter=\nSystemCallFilter=~mlock\n";
    for version in [247, 252, 257, 262] {
        let files = patched_files(&[(UNIT, text)], "mlock", version).unwrap();
        let expected = "[Service]\nSystemCallFilter=~\nSystemCallFilter=\n";
        assert_eq!(String::from_utf8_lossy(&files[0].after), expected);
    }
}

#[test]
fn architectures() {
    let case = |before, after| assert_eq!(patched(before, "x86"), after);
    case("SystemCallArchitectures=native\nB=1\n", "SystemCallArchitectures=native x86\nB=1\n");
    case(
        "SystemCallArchitectures=\"x32\nSystemCallArchitectures=native \"arm\" \n",
        "SystemCallArchitectures=\"x32\nSystemCallArchitectures=native \"arm\" x86 \n",
    );
    assert_eq!(
        patched("SystemCallFilter=~@chown\nSystemCallArchitectures=native\n", "x86 chown"),
        "SystemCallFilter=~@chown\nSystemCallFilter=chown\nSystemCallArchitectures=native x86\n"
    );
}

#[test]
fn line_ends_and_bytes_stay_as_they_are() {
    let case = |before: &[u8], after: &[u8]| {
        let files = patched_files(&[(UNIT, before)], "setrlimit", 252).unwrap();
        assert_eq!(String::from_utf8_lossy(&files[0].after), String::from_utf8_lossy(after));
        assert_eq!(files[0].before, before);
    };
    case(
        b"# f\xfcr\r\n[Service]\r\nSystemCallFilter=~@resources\r\nB=1\r\n",
        b"# f\xfcr\r\n[Service]\r\nSystemCallFilter=~@resources\r\nSystemCallFilter=setrlimit\r\nB=1\r\n",
    );
    case(
        b"[Service]\nSystemCallFilter=~@resources",
        b"[Service]\nSystemCallFilter=~@resources\nSystemCallFilter=setrlimit",
    );
    case(
        b"[Service]\r\nSystemCallFilter=~@resources",
        b"[Service]\r\nSystemCallFilter=~@resources\r\nSystemCallFilter=setrlimit",
    );
    case(b"[Service]\rSystemCallFilter=~bpf setrlimit\rB=1\r", b"[Service]\rSystemCallFilter=~bpf\rB=1\r");
    // a value that the end of the file cuts off
    case(
        b"[Service]\nSystemCallFilter=~@resources \\",
        b"[Service]\nSystemCallFilter=~@resources \\\n\nSystemCallFilter=setrlimit",
    );
    case(
        b"[Service]\nSystemCallFilter=~@resources \\\n# end\n",
        b"[Service]\nSystemCallFilter=~@resources \\\n\nSystemCallFilter=setrlimit\n# end\n",
    );
    // characters of several bytes, and a byte order mark, before the word
    case(
        "\u{feff}[Service]\nSystemCallFilter=~münchen setrlimit bpf\n".as_bytes(),
        "\u{feff}[Service]\nSystemCallFilter=~münchen bpf\n".as_bytes(),
    );
}

#[test]
fn the_file_that_decided_is_patched_if_it_is_the_authors() {
    let own = b"[Service]\nExecStart=/bin/true\n";
    let denies = b"[Service]\nSystemCallFilter=~@resources bpf\n";
    let other = b"[Service]\nSystemCallFilter=keyctl\n";
    let case = |files: &[(&str, &[u8])], words| {
        patched_files(files, words, 252).map(|files| {
            let lines = |f: &Patched| format!("{}: {}", f.path.display(), String::from_utf8_lossy(&f.after));
            files.iter().map(lines).collect::<Vec<_>>()
        })
    };
    let vendor = "/usr/lib/systemd/system/a.service.d/50.conf";
    assert_eq!(
        case(&[(UNIT, own), (vendor, denies)], "setrlimit").unwrap(),
        [format!("{vendor}: [Service]\nSystemCallFilter=~@resources bpf\nSystemCallFilter=setrlimit\n")]
    );
    // two files, each by its own word
    let keyctl = b"[Service]\nSystemCallFilter=~keyctl chown\n";
    assert_eq!(
        case(&[(UNIT, keyctl), (vendor, denies)], "keyctl bpf").unwrap(),
        [
            format!("{UNIT}: [Service]\nSystemCallFilter=~chown\n"),
            format!("{vendor}: [Service]\nSystemCallFilter=~@resources\n")
        ]
    );
    // what an administrator has set besides does not matter
    let admin = "/etc/systemd/system/a.service.d/60.conf";
    assert_eq!(
        case(&[(UNIT, denies), (admin, other)], "setrlimit").unwrap(),
        [format!("{UNIT}: [Service]\nSystemCallFilter=~@resources bpf\nSystemCallFilter=setrlimit\n")]
    );
    assert_eq!(
        case(&[(UNIT, own), (admin, denies)], "setrlimit").unwrap_err(),
        format!(
            "{admin}:2:19 forbids setrlimit, and that file is the administrator's, not the author's of the unit"
        )
    );
    assert_eq!(
        case(&[(UNIT, denies), (admin, denies)], "setrlimit").unwrap_err(),
        format!(
            "with every patch of the unit file, {admin}:2:19 still forbids setrlimit: it is the administrator's"
        )
    );
    // an allow list of the administrator's own: a word in the unit file would make one there as well
    let allows = b"[Service]\nSystemCallFilter=@basic-io\n";
    assert_eq!(
        case(&[(UNIT, own), (admin, allows)], "setrlimit").unwrap_err(),
        format!(
            "{admin}:2:18 forbids setrlimit, and that file is the administrator's, not the author's of the unit"
        )
    );
    let native = b"[Service]\nSystemCallArchitectures=native\n";
    assert_eq!(
        case(&[(UNIT, own), (admin, native)], "x86").unwrap_err(),
        format!(
            "{admin}:2:25 forbids programs of the architecture x86, and that file is the administrator's, not the \
             author's of the unit"
        )
    );
    let shared = "/usr/lib/systemd/system/service.d/50.conf";
    assert_eq!(
        case(&[(UNIT, own), (shared, denies)], "setrlimit").unwrap_err(),
        format!(
            "with every patch of the unit file, {shared}:2:19 still forbids setrlimit: it applies to other units, too"
        )
    );
    let generated = "/run/systemd/generator/a.service";
    assert_eq!(
        case(&[(generated, denies)], "setrlimit").unwrap_err(),
        format!("{generated} is made at run time: nothing of it would stay patched")
    );
    // a repair that repairs nothing, and one that would make an allow list
    assert_eq!(case(&[(UNIT, denies)], "mount").unwrap_err(), format!("{UNIT} does all that already"));
    assert_eq!(
        case(&[(UNIT, own)], "setrlimit").unwrap_err(),
        format!("no edit of {UNIT} means the same as the drop-in does")
    );
}

#[test]
fn what_unitfix_wrote_before_becomes_part_of_it() {
    let own =
        b"# Written by unitfix 0.1.0 on 2026-01-01: a was killed for calling chown.\n# Undo: x\n[Service]\n\
                SystemCallFilter=chown\nSystemCallFilter=~mlock:EPERM\n";
    let edited = [&own[..], b"SystemCallFilter=\n"].concat();
    let path = "/etc/systemd/system/a.service.d/zz-unitfix.conf";
    let unit_of = |own: &[u8]| unit(&[(UNIT, b"[Service]\nSystemCallFilter=~@chown\n"), (path, own)], 252);
    let task = Task::new(&unit_of(own), &amendment("setrlimit mlock"));
    assert_eq!(task.amendment, amendment("chown mlock setrlimit"));
    assert_eq!(task.reasons, ["a was killed for calling chown"]);
    assert!(task.unit.drop_ins.is_empty() && has_own_drop_in(&unit_of(own)));
    // somebody has made it his own
    let task = Task::new(&unit_of(&edited), &amendment("setrlimit"));
    assert_eq!((task.amendment, task.unit.drop_ins.len()), (amendment("setrlimit"), 1));
    assert!(!has_own_drop_in(&unit_of(&edited)));
}

#[test]
fn other_settings_have_a_line_behind_their_last() {
    let sheet = |text: &str, edit: &dyn Fn(&sheet::Sheet) -> Option<Vec<u8>>| {
        let unit = unit(&[(UNIT, text.as_bytes())], 252);
        let sheet = sheet::Sheet::of(&unit, UNIT.as_ref()).unwrap();
        edit(&sheet).map(|bytes| String::from_utf8(bytes).unwrap())
    };
    let text = "[Service]\nRestrictAddressFamilies=AF_UNIX\nMemoryDenyWriteExecute=on # x\nLockPersonality=yes\nB=1\n";
    assert_eq!(
        sheet(text, &|sheet| sheet.with_line("RestrictAddressFamilies", "AF_NETLINK")).unwrap(),
        "[Service]\nRestrictAddressFamilies=AF_UNIX\nRestrictAddressFamilies=AF_NETLINK\n\
         MemoryDenyWriteExecute=on # x\nLockPersonality=yes\nB=1\n"
    );
    assert!(
        sheet(text, &|sheet| sheet.with_line("RestrictRealtime", "no"))
            .unwrap()
            .ends_with("\nRestrictRealtime=no\n")
    );
    let boolean = |text: &str| crate::unit::parse_boolean(text).is_some();
    assert_eq!(
        sheet(text, &|sheet| sheet.with_value("LockPersonality", "no", boolean)).unwrap(),
        text.replace("LockPersonality=yes", "LockPersonality=no")
    );
    assert_eq!(sheet(text, &|sheet| sheet.with_value("MemoryDenyWriteExecute", "no", boolean)), None);
    assert_eq!(sheet("[Unit]\nA=1\n", &|sheet| sheet.with_line("User", "x")), None);
}
mod random;
