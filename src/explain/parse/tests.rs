//! Every form in which something is pasted.

use super::*;
use crate::syscalls::Groups;
use proptest::prelude::*;
use std::sync::LazyLock;

const TASK: &str = "auid=4294967295 uid=0 gid=0 ses=4294967295 pid=537 comm=\"docker\" \
    exe=\"/usr/bin/docker\" sig=31 arch=c000003e syscall=160 compat=0 ip=0x433079 code=0x80000000";

fn one(text: &str) -> Question {
    let mut questions = parse(text.as_bytes()).questions;
    assert_eq!(questions.len(), 1, "{text}: {questions:?}");
    questions.remove(0)
}

fn on(arch: Arch, number: u32) -> Question {
    Question::Number { number, place: Place::On(arch) }
}

fn sigsys(process: Option<&'static str>) -> Question {
    Question::Signal { signal: Signal::SIGSYS, process }
}

fn named(name: &str) -> Question {
    Question::Name { name: name.to_owned(), place: Place::Anywhere, entry: None }
}

#[test]
fn whole_records_in_every_form() {
    let stamp = "audit(1795462747.021:142): ";
    for line in [
        format!("{stamp}{TASK}"),
        format!("type=SECCOMP msg={stamp}{TASK}"),
        format!("node=a type=1326 msg={stamp}{TASK}\u{1d}ARCH=x86_64 SYSCALL=setrlimit"),
        format!("[ 2873.312703] audit: type=1326 {stamp}{TASK}"),
        format!("Nov 23 19:39:07 host kernel: audit: type=1326 {stamp}{TASK}"),
        format!("Nov 23 19:39:07 host audit[537]: SECCOMP {TASK}"),
        format!("SECCOMP {}", TASK.replace('"', "")),
    ] {
        let Question::Record(record) = one(&line) else { panic!("{line}") };
        let record = record.last;
        assert_eq!((record.pid, record.number), (537, 160), "{line}");
        assert_eq!(record.comm.to_string(), "docker", "{line}");
    }
}

#[test]
fn a_name_cannot_pass_for_the_rest_of_a_record() {
    let hostile = TASK.replace("\"docker\"", "\"syscall=175\"");
    let Question::Record(record) = one(&format!("SECCOMP {hostile}")) else { panic!() };
    assert_eq!(record.last.number, 160);
    // cut off, so that only the pieces count
    assert_eq!(one("comm=\"a\" syscall=175 arch=c000003e syscall=160"), on(Arch::X86_64, 160));
}

#[test]
fn pieces_of_records() {
    assert_eq!(one("arch=40000003 syscall=75"), on(Arch::X86, 75));
    assert_eq!(one("sig=31 arch=c000003e syscall=160 compat=0"), on(Arch::X86_64, 160));
    let place = Place::Foreign("c0000015".to_owned());
    assert_eq!(one("arch=c0000015 syscall=75"), Question::Number { number: 75, place });
    assert_eq!(one("syscall=160"), Question::Number { number: 160, place: Place::Anywhere });
    let strace = "--- SIGSYS {si_signo=SIGSYS, si_code=SYS_SECCOMP, si_syscall=__NR_setrlimit, \
        si_arch=AUDIT_ARCH_X86_64} ---";
    let place = Place::On(Arch::X86_64);
    assert_eq!(one(strace), Question::Name { name: "setrlimit".to_owned(), place, entry: None });
}

#[test]
fn ways_to_say_that_it_was_killed() {
    let main = "host systemd[1]: docuum.service: Main process exited, code=dumped, status=31/SYS";
    assert_eq!(one(main), sigsys(Some("main")));
    assert_eq!(parse(main.as_bytes()).unit.unwrap().as_str(), "docuum.service");
    for text in [
        "31/SYS",
        "status=31/SYS",
        "SIGSYS",
        "Bad system call (core dumped)",
        "SIGSYS: bad system call",
        "Main PID: 5 (code=dumped, signal=SYS)",
        "       Signal: 31 (SYS)",
        "+++ killed by SIGSYS (core dumped) +++",
    ] {
        assert_eq!(one(text), sigsys(None), "{text}");
    }
    assert_eq!(one("11/SEGV"), Question::Signal { signal: Signal::SIGSEGV, process: None });
    for (text, status) in [("228/SECCOMP", 228), ("status=1/FAILURE", 1), ("status=159", 159)] {
        assert_eq!(one(text), Question::Exit(status), "{text}");
    }
    let dumped = "systemd-coredump[9]: Process 123 (a (b) of c) of user 0 dumped core.";
    assert_eq!(one(dumped), Question::CoreDump { pid: 123, comm: Untrusted::new("a (b) of c") });
}

#[test]
fn numbers_with_and_without_an_architecture() {
    for text in ["160", "0xa0", "0XA0"] {
        assert_eq!(one(text), Question::Number { number: 160, place: Place::Anywhere }, "{text}");
    }
    for text in ["x86-64:160", "160 x86_64", "amd64 160", "c000003e 160", "0xc000003e 0xa0", "x86-64/160"] {
        assert_eq!(one(text), on(Arch::X86_64, 160), "{text}");
    }
    assert_eq!(one("160 arm64"), on(Arch::Arm64, 160));
    let place = Place::On(Arch::Arm64);
    assert_eq!(one("arm64 uname"), Question::Name { name: "uname".to_owned(), place, entry: None });
    assert!(matches!(one("99999999999999999999"), Question::Unknown(_)));
}

#[test]
fn names_as_people_and_tools_write_them() {
    for text in
        ["setrlimit", "SETRLIMIT", "SYS_setrlimit", "__NR_setrlimit", "setrlimit(2)", "__x64_sys_setrlimit"]
    {
        assert_eq!(one(text), named("setrlimit"), "{text}");
    }
    assert_eq!(one("@Resources"), Question::Group { name: "@resources".to_owned(), entry: None });
    assert_eq!(parse(b"setrlimit fchown, clone3").questions, ["setrlimit", "fchown", "clone3"].map(named));
    assert!(matches!(one("setrlmit"), Question::Unknown(_)));
    assert!(matches!(one("the open call failed"), Question::Unknown(_)));
    assert!(parse(b" \n\t\r\n").questions.is_empty());
}

#[test]
fn words_of_a_filter() {
    let entry = |question: &Question| match question {
        Question::Name { entry, .. } | Question::Group { entry, .. } => entry.clone().unwrap(),
        other => panic!("{other:?}"),
    };
    let found = entry(&one("~setrlimit:EPERM"));
    assert_eq!((found.inverted, found.errno.as_deref()), (true, Some("EPERM")));
    let found = entry(&one("setrlimit:kill"));
    assert_eq!((found.inverted, found.errno.as_deref()), (false, Some("kill")));
    let list = parse(b"SystemCallFilter=~@privileged setrlimit").questions;
    assert!(list.iter().all(|question| entry(question).inverted), "{list:?}");
}

#[test]
fn of_many_lines_those_that_tell_most_count() {
    let text = format!("Process 1 (a) of user 0 dumped core.\nSECCOMP {TASK}\nsetrlimit\nSECCOMP {TASK}\n");
    assert!(matches!(one(&text), Question::Record(_)));
    assert_eq!(one("Process 1 (a) of user 0 dumped core.\nSignal: 31 (SYS)\n#0 0x00 n/a"), sigsys(None));
}

#[test]
fn the_newest_of_a_long_log_counts() {
    let record = |at: usize| format!("type=SECCOMP msg=audit(1795462{at:03}.021:{at}): {TASK}\n");
    let text: String = (0..4000).map(|at| record(at % 1000 + at / 1000 * 1000 % 1000)).collect();
    let Question::Record(records) = one(&text) else { panic!() };
    assert_eq!(records.last.serial, Some(999));
    assert_eq!(records.count(), 1000);
    let both = format!("{}SECCOMP {TASK}\n{}SECCOMP {TASK}\n", record(1), record(2));
    let Question::Record(records) = one(&both) else { panic!() };
    assert_eq!((records.count(), records.last.serial), (2, Some(2)));
    let long = "a\n".repeat(PASTE_MAX);
    assert_eq!(newest(long.as_bytes()).len(), PASTE_MAX);
    let odd = format!("first\n{}\nlast", "b".repeat(PASTE_MAX));
    assert_eq!(newest(odd.as_bytes()), b"last");
    assert_eq!(newest(b"short"), b"short");
}

#[test]
fn architectures_that_are_not_known() {
    for text in ["160 mips", "mips64el:160", "s390x setrlimit", "160 vax"] {
        assert!(matches!(one(text), Question::UnknownArchitecture(_)), "{text}");
    }
    for text in ["160 setrlimit", "160 setrlmit", "setrlimit clone3", "160:EPERM"] {
        let known = |q: &Question| !matches!(q, Question::UnknownArchitecture(_));
        assert!(parse(text.as_bytes()).questions.iter().all(known), "{text}");
    }
}

#[test]
fn a_flood_ends_soon() {
    let begun = std::time::Instant::now();
    for line in ["a ", "open ", "comm=", "status=", "SECCOMP auid=", "1\n", "~:@ ", "Process of dumped "] {
        let pasted = parse(line.repeat(PASTE_MAX).as_bytes());
        assert!(pasted.questions.len() <= QUESTIONS_MAX, "{line}");
    }
    assert!(begun.elapsed() < std::time::Duration::from_secs(20), "{:?}", begun.elapsed());
}

fn explained(pasted: &Pasted) -> crate::explain::Explanation {
    static GROUPS: LazyLock<Groups> = LazyLock::new(|| Groups::from_rules(252).unwrap());
    let rules = crate::rules::Rules::default();
    crate::explain::explain(
        pasted,
        crate::explain::Context { groups: &GROUPS, rules: &rules, unit: None, repair: None },
    )
}

proptest! {
    #[test]
    fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let pasted = parse(&bytes);
        let _ = explained(&pasted);
    }

    #[test]
    fn pieces_of_what_is_known_are_survived(
        words in proptest::collection::vec(
            proptest::sample::select(vec![
                "arch=", "c000003e", "syscall=", "160", "-1", "~", "@", "@resources", ":", "EPERM", "/", "SYS", " ",
                "comm=", "\"", "exe=", "SECCOMP auid=1", "type=1326", "audit(", "\n", "(", ")", "Process", "dumped",
                "of", "status=", "signal=", "0x", "4294967295", "setrlimit", "x32", "\u{1b}[31m", "é",
            ]),
            0..30,
        )
    ) {
        let pasted = parse(words.concat().as_bytes());
        let explanation = explained(&pasted);
        let people = crate::report::People { zone: Some(jiff::tz::TimeZone::UTC), width: 80 };
        let text = people.explanation(&explanation);
        let raw = text.contains('\u{1b}') && !console::colors_enabled();
        prop_assert!(!raw);
    }
}
