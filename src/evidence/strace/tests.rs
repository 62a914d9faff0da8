use super::*;
use crate::policy::Policy;
use crate::policy::tests::unit;
use crate::syscalls::{Arch, Groups};

fn policy(filter: &str) -> Policy {
    policy_of(filter, 262)
}

/// The policy of a filter, and of other settings in further lines, under a version of systemd.
fn policy_of(filter: &str, systemd: u32) -> Policy {
    let unit = unit(&format!("SystemCallFilter={filter}"));
    Policy::evaluate(&unit, &Groups::from_rules(systemd).unwrap())
}

fn read(text: &[u8], filter: &str) -> StraceRead {
    denials(text, &policy(filter), None).unwrap()
}

/// Everything that settings beside `SystemCallFilter=` can deny, and calls beside that are like it, made by the victim
/// of the live tests in a child.
const SETTINGS: &str = "@known\nRestrictAddressFamilies=AF_UNIX AF_INET\nRestrictNamespaces=uts\n\
    MemoryDenyWriteExecute=yes\nRestrictRealtime=yes\nRestrictSUIDSGID=yes\nLockPersonality=yes\n\
    ProtectHostname=yes\nProtectClock=yes\nProtectKernelLogs=yes\nProtectKernelModules=yes\nPrivateDevices=yes";

#[test]
fn what_settings_denied() {
    if Arch::native() != Arch::X86_64 {
        return;
    }
    let samples: [(u32, &[u8]); 4] = [
        (247, include_bytes!("../../../tests/samples/strace/5.10-settings.txt")),
        (252, include_bytes!("../../../tests/samples/strace/6.1-settings.txt")),
        (257, include_bytes!("../../../tests/samples/strace/6.13-settings.txt")),
        (262, include_bytes!("../../../tests/samples/strace/7.2-settings.txt")),
    ];
    for (systemd, text) in samples {
        let policy = policy_of(SETTINGS, systemd);
        let read = denials(text, &policy, None).unwrap();
        let one = |d: &Denial| {
            let Effect::Failed(errno) = d.effect else { panic!("{d:?}") };
            let setting = d.restricted_by(&policy).unwrap().setting;
            let errno = crate::policy::errno_name(errno);
            format!("{setting} {}({}) {errno}", d.call, d.arguments.join(", "))
        };
        let shown: Vec<String> = read.kept.denials.iter().map(one).collect();
        let memory = if systemd >= 257 { "EACCES" } else { "EPERM" };
        let page =
            shown.iter().find_map(|s| s.split_once("mprotect(")?.1.split(',').next()).unwrap_or_default();
        let priority = if systemd == 262 { "{sched_priority=1}" } else { "[1]" };
        let openat2 = if systemd >= 252 { "ENOSYS" } else { "EPERM" };
        let expected = [
            "RestrictAddressFamilies socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE) EAFNOSUPPORT".to_owned(),
            "RestrictAddressFamilies socket(AF_PACKET, SOCK_RAW, htons(0 /* ETH_P_??? */)) EAFNOSUPPORT"
                .to_owned(),
            "RestrictAddressFamilies socket(0x63 /* AF_??? */, SOCK_STREAM, 0) EAFNOSUPPORT".to_owned(),
            "RestrictNamespaces unshare(CLONE_NEWUSER) EPERM".to_owned(),
            "RestrictNamespaces unshare(CLONE_NEWUTS|CLONE_NEWNET) EPERM".to_owned(),
            "RestrictNamespaces setns(-1, 0) EPERM".to_owned(),
            format!(
                "MemoryDenyWriteExecute mmap(NULL, 4096, PROT_READ|PROT_WRITE|PROT_EXEC, \
                 MAP_PRIVATE|MAP_ANONYMOUS, -1, 0) {memory}"
            ),
            format!("MemoryDenyWriteExecute mprotect({page}, 4096, PROT_READ|PROT_EXEC) {memory}"),
            format!("RestrictRealtime sched_setscheduler(0, SCHED_FIFO, {priority}) EPERM"),
            "RestrictSUIDSGID chmod(\"/nonexistent/victim\", 04755) EPERM".to_owned(),
            "RestrictSUIDSGID mkdir(\"/nonexistent/victim\", 02755) EPERM".to_owned(),
            format!("RestrictSUIDSGID openat2(-1, \"victim\", NULL, 0) {openat2}"),
            "LockPersonality personality(0xffffffff) EPERM".to_owned(),
            "LockPersonality personality(PER_LINUX32) EPERM".to_owned(),
            "ProtectHostname sethostname(NULL, 1) EPERM".to_owned(),
            "ProtectClock settimeofday(NULL, NULL) EPERM".to_owned(),
            "ProtectClock clock_settime(0x63 /* CLOCK_??? */, {tv_sec=0, tv_nsec=0}) EPERM".to_owned(),
            "ProtectKernelLogs syslog(SYSLOG_ACTION_SIZE_BUFFER) EPERM".to_owned(),
            "ProtectKernelModules init_module(NULL, 0, \"\") EPERM".to_owned(),
            "PrivateDevices iopl(0) EPERM".to_owned(),
        ];
        assert_eq!(shown, expected, "{systemd}");
        assert!(read.kept.denials.iter().all(|d| d.process.comm.bytes() == b"victim" && d.time.is_some()));

        // under other settings the same failures are nobody's: neither the call nor the errno alone tells
        let others =
            denials(text, &policy_of("@known\nRestrictAddressFamilies=AF_NETLINK AF_PACKET", systemd), None);
        let others: Vec<_> = others.unwrap().kept.denials.iter().map(one_line).collect();
        assert_eq!(others, ["socket(0x63 /* AF_??? */, SOCK_STREAM, 0)"]);
    }
}

fn one_line(denial: &Denial) -> String {
    format!("{}({})", denial.call, denial.arguments.join(", "))
}

/// The arguments are put together from both lines before they are judged.
#[test]
fn a_call_that_is_interrupted_by_others() {
    let text = "7 socket(0x10 /* AF_NETLINK */, <unfinished ...>\n\
        8 socket(0x10 /* AF_NETLINK */, 0x3 /* SOCK_RAW */, 0) = 3\n\
        7 <... socket resumed>0x3 /* SOCK_RAW */, 0 /* NETLINK_ROUTE */) = -1 EAFNOSUPPORT (Address family not supported)\n\
        7 socket(0x10 /* AF_NETLINK */, 0x3 /* SOCK_RAW */, 0) = -1 EMFILE (Too many open files)\n\
        7 socket(AF_NETLINK, SOCK_RAW, 0) = -1 EAFNOSUPPORT (Address family not supported)\n\
        7 socket(0x10 /* AF_NETLINK */, 0x3";
    let read =
        denials(text.as_bytes(), &policy_of("~chown\nRestrictAddressFamilies=none", 262), None).unwrap();
    let shown: Vec<_> = read.kept.denials.iter().map(|d| (one_line(d), d.raw_arguments)).collect();
    let expected = "socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE)".to_owned();
    assert_eq!(shown, [(expected, Some([16, 0, 0, 0, 0, 0]))]);
}

/// Both the filter, which was not in force, and a setting, which was, forbid it.
#[test]
fn a_call_that_two_settings_forbid() {
    let text = "7 settimeofday(NULL, NULL) = -1 EPERM (Operation not permitted)\n";
    let policy = policy_of("~@clock\nProtectClock=yes", 252);
    let read = denials(text.as_bytes(), &policy, None).unwrap();
    let effects: Vec<_> =
        read.kept.denials.iter().map(|d| (d.effect, d.restricted_by(&policy).is_some())).collect();
    assert_eq!(effects, [(Effect::Recorded, false), (Effect::Failed(1), true)]);
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

/// `call: function@address-in-its-file …`, innermost first.
fn stacks(read: &StraceRead) -> Vec<String> {
    let frame = |f: &crate::blame::Frame| {
        let function = f.function.as_ref().map_or("?".to_owned(), ToString::to_string);
        let module = f.module.as_ref().map_or("?".to_owned(), ToString::to_string);
        format!(" {function}@{}+{:x}", module.rsplit('/').next().unwrap_or_default(), f.address)
    };
    let one = |d: &Denial| d.stack.frames.iter().map(frame).fold(format!("{}:", d.call), |all, f| all + &f);
    read.kept.denials.iter().map(one).collect()
}

#[test]
fn stacks_of_real_outputs() {
    if Arch::native() != Arch::X86_64 {
        return;
    }
    let samples = [
        ("5.10", &include_bytes!("../../../tests/samples/strace/5.10-k.txt")[..]),
        ("6.1", include_bytes!("../../../tests/samples/strace/6.1-k.txt")),
        ("6.13", include_bytes!("../../../tests/samples/strace/6.13-k.txt")),
        ("7.2", include_bytes!("../../../tests/samples/strace/7.2-k.txt")),
        ("6.1 go", include_bytes!("../../../tests/samples/strace/6.1-k-go.txt")),
        ("7.2 go", include_bytes!("../../../tests/samples/strace/7.2-k-go.txt")),
    ];
    let read = samples.map(|(version, text)| (version, read(text, "~chown setrlimit")));
    for (version, read) in &read {
        assert_eq!((read.not_understood.len(), read.unknown_calls.len()), (0, 0), "{version}");
    }
    let shown = |wanted: &str| {
        let (_, read) = read.iter().find(|(version, _)| *version == wanted).unwrap();
        stacks(read)
    };
    assert_eq!(shown("5.10"), ["chown: chown@who+35897"]); // it cannot unwind a static program
    // the names behind `run` are the nearest symbols, and not those of the functions
    let expected = "chown: chown@libc.so.6+f9517 give_away@who+120f run@who+122d \
        pthread_condattr_setpshared@libc.so.6+891f5 __xmknodat@libc.so.6+1098ec";
    assert_eq!(shown("6.1"), [expected]);
    let expected =
        "chown: chown@libc.so.6+ff677 give_away@who+120f run@who+122d ?@libc.so.6+928bb ?@libc.so.6+110778";
    assert_eq!(shown("6.13"), [expected]);
    let expected =
        "chown: chown@libc.so.6+101cc7 give_away@who+120f run@who+122d ?@libc.so.6+94db8 ?@libc.so.6+112f98";
    assert_eq!(shown("7.2"), [expected]);
    let go = [
        "setrlimit: ?@tiny+268e ?@tiny+58ddb ?@tiny+58b8f ?@tiny+58fb3 ?@tiny+58ffe ?@tiny+5903e ?@tiny+302b2 \
         ?@tiny+54f41",
    ];
    assert_eq!(
        (shown("6.1 go"), shown("7.2 go")),
        (go.map(str::to_owned).to_vec(), go.map(str::to_owned).to_vec())
    );
}

#[test]
fn a_stack_is_that_of_the_line_before() {
    let text = "7 chown(\"/x\", 0, 0 <unfinished ...>\n\
        8 chmod(\"/y\", 0) = 0\n > /a(other+0x1) [0x1]\n\
        7 <... chown resumed>) = 0\n > /a(mine+0x1) [0x2]\n > /a(main+0x1) [0x3]\n\
        7 --- SIGCHLD {si_signo=SIGCHLD} ---\n > /a(other+0x1) [0x4]\n\
        7 chown(\"/z\", 0, 0) = 0\n > /a(again+0x1) [0x5]\n\
        7 lchown(\"/z\", 0, 0) = ?\n7 +++ killed by SIGSYS +++\n > /a(other+0x1) [0x6]\n";
    let expected = ["chown: mine@a+2 main@a+3", "chown:", "lchown:"];
    assert_eq!(stacks(&read(text.as_bytes(), "~chown lchown")), expected);
}
