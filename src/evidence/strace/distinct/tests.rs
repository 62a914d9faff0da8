use super::*;
use crate::evidence::strace::read_line;
use std::fmt::Write as _;
use std::io::Write;

const SAMPLES: [&str; 6] = [
    include_str!("../../../../tests/samples/strace/5.10-n-ttt.txt"),
    include_str!("../../../../tests/samples/strace/6.1-ttt.txt"),
    include_str!("../../../../tests/samples/strace/6.13-yy-T.txt"),
    include_str!("../../../../tests/samples/strace/7.2-n-ttt.txt"),
    include_str!("../../../../tests/samples/strace/7.2-stderr.txt"),
    include_str!("../../../../tests/samples/strace/6.1-k.txt"),
];

/// How often each name begins a call, by the reader of whole lines.
fn plain(text: &str) -> BTreeMap<String, u64> {
    let mut names = BTreeMap::new();
    for line in text.lines() {
        if let What::Call(call) = read_line(line.as_bytes()).what {
            *names.entry(call.name.to_owned()).or_default() += 1;
        }
    }
    names
}

fn by_name(read: &DistinctCalls) -> BTreeMap<String, u64> {
    let mut names = BTreeMap::new();
    for (name, count) in read.programs.values().flatten() {
        *names.entry(name.clone()).or_default() += count;
    }
    names
}

#[test]
fn every_call_of_real_outputs_is_counted() {
    for sample in SAMPLES {
        let read = distinct_calls(sample.as_bytes()).unwrap();
        assert_eq!(by_name(&read), plain(sample));
        assert_eq!((read.calls, read.uncounted), (plain(sample).values().sum(), 0));
        assert_eq!(read.lines, sample.lines().count() as u64);
    }
}

#[test]
fn calls_belong_to_the_program_that_was_running() {
    let log = "1 execve(\"/bin/a\", [\"a\"], 0x1) = 0\n1 brk(NULL) = 0x1\n1 clone(flags=SIGCHLD <unfinished ...>\n\
               2 getpid( <unfinished ...>\n1 <... clone resumed>) = 2\n2 <... getpid resumed>) = 2\n\
               2 execve(\"/bin/b\", [\"b\"], 0x1) = -1 ENOENT (No such file or directory)\n\
               2 12:00:01.5 execve(\"/bin/c\", [\"c\"], 0x1 <unfinished ...>\n1 brk(NULL) = 0x1\n\
               2 <... execve resumed>) = 0\n2 brk(NULL) = 0x2\n2 +++ exited with 0 +++\n\
               1 --- SIGCHLD {si_signo=SIGCHLD} ---\n1 exit_group(0) = ?\nnonsense\n";
    let read = distinct_calls(log.as_bytes()).unwrap();
    let shown: Vec<_> =
        read.programs.iter().map(|(program, calls)| format!("{program:?} {calls:?}")).collect();
    let expected = [
        r#"None {"execve": 1}"#,
        r#"Some('/bin/a') {"brk": 2, "clone": 1, "execve": 2, "exit_group": 1, "getpid": 1}"#,
        r#"Some('/bin/c') {"brk": 1}"#,
    ];
    assert_eq!(shown, expected);
    assert_eq!((read.calls, read.lines, read.not_understood), (9, 15, 1));
}

#[test]
fn a_file_of_many_pieces_gives_what_a_stream_gives() {
    let mut file = tempfile::tempfile().unwrap();
    let text = SAMPLES[3].repeat(1 + (24 << 18) / SAMPLES[3].len());
    file.write_all(text.as_bytes()).unwrap();
    let read = distinct_calls_of_file(&file).unwrap();
    assert_eq!(read, distinct_calls(text.as_bytes()).unwrap());
    assert_eq!(by_name(&read), plain(&text));
}

#[test]
fn names_without_end_take_bounded_memory() {
    let mut text = String::new();
    for number in 0..COUNTED_MAX + 10 {
        writeln!(text, "1 call{number}() = 0").unwrap();
    }
    let read = distinct_calls(text.as_bytes()).unwrap();
    assert_eq!((read.calls, read.uncounted), (COUNTED_MAX as u64 + 10, 10));
}

proptest::proptest! {
    #[test]
    fn a_quick_look_says_what_a_whole_one_says(line in "(\\[pid +)?[0-9]{0,9} {0,3}[0-9:.]{0,6} ?[a-z_(0-9\\[\\]]{0,12}\\(?[a-z, \"]{0,5}\\)? = [0-9]") {
        if let Some((pid, name)) = head(line.as_bytes()) {
            let event = read_line(line.as_bytes());
            let proptest_name = match event.what {
                What::Call(call) => call.name.as_bytes().to_vec(),
                other => panic!("{line}: {other:?}"),
            };
            proptest::prop_assert_eq!((event.pid, proptest_name.as_slice()), (pid, name));
        }
    }
}
