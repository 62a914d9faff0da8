use super::*;
use crate::policy::Policy;
use crate::syscalls::{Arch, Groups};
use crate::unit::{SourceFile, Unit, UnitName, syntax};

fn policy(filter: &str) -> Policy {
    let fragment = SourceFile::new("x.service", format!("[Service]\nSystemCallFilter={filter}\n"));
    let settings = syntax::parse_as(&fragment, u32::MAX).settings;
    let name = UnitName::parse("x.service").unwrap();
    let unit = Unit { name, fragment, drop_ins: Vec::new(), settings, findings: Vec::new() };
    Policy::evaluate(&unit, &Groups::from_rules(262).unwrap())
}

fn read(text: &[u8], filter: &str) -> StraceRead {
    denials(text, &policy(filter), None).unwrap()
}

/// `comm<parent arch call(arguments)`
fn shown(read: &StraceRead) -> Vec<String> {
    let one = |d: &Denial| {
        let parent = d.process.parent.as_ref().map(ToString::to_string).unwrap_or_default();
        format!("{}<{parent} {} {}({})", d.process.comm, d.call.arch, d.call, d.arguments.join("|"))
    };
    read.kept.denials.iter().map(one).collect()
}

/// The same program under every version: threads, clone3, an unknown number, x32, `int $0x80`, vfork, a shell.
const EXPECTED: [&str; 6] = [
    "demo< x86-64 setrlimit(RLIMIT_NOFILE|{rlim_cur=20000, rlim_max=20000})",
    "demo< x86-64 chown(\"/nonexistent/from, (thread) = 0\"|-1|-1)",
    "demo< x86-64 chown(\"/nonexistent/from, (thread) = 0\"|-1|-1)",
    "demo<demo x86-64 number 600(0x1|0x2|0x435079|0xffffffff|0x100000|0x100000)",
    "demo<demo x32 setrlimit(RLIMIT_NOFILE|NULL)",
    "demo<demo x86 chown(NULL|-1|-1)",
];

#[test]
fn real_outputs() {
    if Arch::native() != Arch::X86_64 {
        return;
    }
    let samples: [(&str, &[u8]); 5] = [
        ("5.10 -n", include_bytes!("../../../tests/samples/strace/5.10-n-ttt.txt")),
        ("6.1", include_bytes!("../../../tests/samples/strace/6.1-ttt.txt")),
        ("6.13 -yy", include_bytes!("../../../tests/samples/strace/6.13-yy-T.txt")),
        ("7.2 -n", include_bytes!("../../../tests/samples/strace/7.2-n-ttt.txt")),
        ("7.2 stderr", include_bytes!("../../../tests/samples/strace/7.2-stderr.txt")),
    ];
    for (version, text) in samples {
        // calls that systemd does not know fail on a list of what is allowed
        let read = read(text, "@known\nSystemCallFilter=~setrlimit chown");
        let mut expected = EXPECTED.map(str::to_owned);
        if matches!(version, "6.1" | "6.13 -yy") {
            // written to a file and without -n, strace does not tell
            for line in &mut expected[4..] {
                *line = line.replace(" x32 ", " x86-64 ").replace(" x86 ", " x86-64 ");
            }
        }
        assert_eq!(shown(&read), expected, "{version}");
        assert_eq!((read.not_understood, read.unknown_calls.len()), (Vec::new(), 0), "{version}");
        let times = read.kept.denials.iter().filter(|d| d.time.is_some()).count();
        assert_eq!(times, if matches!(version, "6.13 -yy" | "7.2 stderr") { 0 } else { 6 }, "{version}");
    }
}

#[test]
fn who_executes_what() {
    for text in [
        &include_bytes!("../../../tests/samples/strace/6.1-ttt.txt")[..],
        include_bytes!("../../../tests/samples/strace/6.13-yy-T.txt"),
        include_bytes!("../../../tests/samples/strace/7.2-n-ttt.txt"),
        include_bytes!("../../../tests/samples/strace/7.2-stderr.txt"),
    ] {
        let read = read(text, "~execve");
        let who: Vec<_> = shown(&read).iter().filter_map(|s| Some(s.split_once('|')?.0.to_owned())).collect();
        let expected = [
            "< x86-64 execve(\"/usr/local/bin/demo\"",
            "demo<demo x86-64 execve(\"/bin/sh\"",
            "sh<sh x86-64 execve(\"/usr/bin/chown\"",
            "sh<sh x86-64 execve(\"/usr/local/sbin/true\"",
            "sh<sh x86-64 execve(\"/usr/local/bin/true\"",
            "sh<sh x86-64 execve(\"/usr/sbin/true\"",
            "sh<sh x86-64 execve(\"/usr/bin/true\"",
        ];
        let relevant: Vec<_> = who.iter().filter(|w| !w.contains("number")).collect();
        assert_eq!(relevant, expected);
    }
}

#[test]
fn a_thread_that_executes_takes_its_leaders_place() {
    let text = "7 execve(\"/bin/a\", [\"a\"], 0x7f /* 1 var */) = 0\n\
        7 clone(child_stack=0x7f, flags=CLONE_VM|CLONE_THREAD) = 8\n\
        7 futex(0x7f, FUTEX_WAIT <unfinished ...>\n\
        8 execve(\"/bin/b\", [\"b\"], 0x7f /* 1 var */ <unfinished ...>\n\
        7 +++ superseded by execve in pid 8 +++\n\
        7 <... execve resumed>) = 0\n\
        7 chown(\"/x\", 0, 0) = 0\n";
    assert_eq!(shown(&read(text.as_bytes(), "~chown")), ["b< x86-64 chown(\"/x\"|0|0)"]);
}

#[test]
fn a_child_of_two_possible_parents_is_named_later() {
    let text = "7 execve(\"/bin/a\", [\"a\"], 0x7f) = 0\n\
        7 fork() = 8\n\
        8 execve(\"/bin/b\", [\"b\"], 0x7f) = 0\n\
        7 vfork( <unfinished ...>\n\
        8 clone(flags=SIGCHLD <unfinished ...>\n\
        9 chown(\"/x\", 0, 0) = 0\n\
        10 chown(\"/y\", 0, 0 <unfinished ...>\n\
        8 <... clone resumed>) = 9\n\
        7 <... vfork resumed>) = 10\n";
    let expected = ["b<b x86-64 chown(\"/x\"|0|0)", "a<a x86-64 chown(\"/y\"|0|0)"];
    assert_eq!(shown(&read(text.as_bytes(), "~chown")), expected);
}

#[test]
fn nothing_is_lost_to_garbage() {
    let mut text = b"\xff\xfe junk\n5 write(1, \"".to_vec();
    text.extend(vec![b'x'; 200_000]);
    text.extend(b"\", 200000) = 200000\n5 <... chown resumed>) = 0\n5 frobnicate(1) = 0\n5 chown(\"/cut");
    let read = denials(&text[..], &policy("~chown"), Some(Path::new("/bin/prog"))).unwrap();
    assert_eq!(shown(&read), ["prog< x86-64 chown()", "prog< x86-64 chown(\"/cut)"]);
    assert_eq!((read.calls, read.not_understood_total), (4, 1));
    assert_eq!(read.unknown_calls.into_iter().collect::<Vec<_>>(), [("frobnicate".to_owned(), 1)]);
}

#[test]
fn paths_of_execveat() {
    let path = |text: &str| executed("execveat", text.as_bytes());
    assert_eq!(path("AT_FDCWD</tmp>, \"./b\", [\"b\"], NULL, 0"), Some(b"./b".to_vec()));
    assert_eq!(path("3</bin/b>, \"\", [\"b\"], NULL, AT_EMPTY_PATH"), Some(b"/bin/b".to_vec()));
    assert_eq!(path("3, \"\", [\"b\"], NULL, AT_EMPTY_PATH"), None);
}

proptest::proptest! {
    #[test]
    fn never_panics(lines: Vec<Vec<u8>>, order in proptest::collection::vec(0usize..80, 0..40)) {
        static POLICY: std::sync::OnceLock<Policy> = std::sync::OnceLock::new();
        let policy = POLICY.get_or_init(|| policy("~chown"));
        let _ = denials(&lines.join(&b'\n')[..], policy, None);
        let sample = include_bytes!("../../../tests/samples/strace/7.2-stderr.txt");
        let known: Vec<_> = sample.split(|b| *b == b'\n').collect();
        let mixed: Vec<_> = order.iter().filter_map(|at| known.get(*at).copied()).collect();
        let _ = denials(&mixed.join(&b'\n')[..], policy, None);
    }
}
