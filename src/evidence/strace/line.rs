//! One line of strace's output: whose it is, and what it says. Written so that a call cannot be overlooked: a line
//! that is none of the things strace prints beside calls is a call, or is counted as not understood.

use super::arguments;
use crate::replay::Exit;
use crate::syscalls::Arch;
use nix::sys::signal::Signal;

/// No process ID is larger (`PID_MAX_LIMIT` of Linux on 64 bits).
const PID_MAX: u32 = 1 << 22;

/// What one line says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event<'a> {
    /// The process or thread; nothing where strace follows only one.
    pub pid: Option<u32>,
    /// When, in microseconds since the epoch: only with `-ttt`.
    pub time_us: Option<u64>,
    /// The call's number: only with `-n`. It is the number that the kernel sees, x32's bit included.
    pub number: Option<u32>,
    /// What happened.
    pub what: What<'a>,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What<'a> {
    /// A call.
    Call(CallText<'a>),
    /// The end of a call that began in an earlier line of the same process.
    Resumed {
        /// The call's name; `????` where strace forgot.
        name: &'a str,
        /// The rest of the arguments.
        arguments: &'a [u8],
        /// What the call returned.
        result: Option<&'a [u8]>,
    },
    /// The process makes calls of another architecture from now on.
    Mode(Arch),
    /// It is gone: `exited with …`, `killed by …`; how, where that is understood.
    Gone(Option<Exit>),
    /// This thread took over the process ID by execve.
    Superseded {
        /// The thread that called execve.
        by: u32,
    },
    /// A frame of the stack of the line before (`-k`).
    Frame(&'a [u8]),
    /// A signal, a message of strace: no call.
    Other,
    /// Nothing that strace is known to print.
    NotUnderstood,
}

/// A call as it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallText<'a> {
    /// Its name; `syscall_0x258` where strace has none.
    pub name: &'a str,
    /// What stands between the parentheses, as far as it was printed.
    pub arguments: &'a [u8],
    /// What it returned; nothing where the line ends before.
    pub result: Option<&'a [u8]>,
    /// The process that strace began to follow while this line was being written.
    pub attached: Option<u32>,
}

/// Read one line.
pub fn read(line: &[u8]) -> Event<'_> {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let (pid, rest) = pid(line);
    let (time_us, rest) = columns(rest);
    let (number, rest) = number(rest);
    Event { pid, time_us, number, what: what(rest) }
}

/// `[pid  1234] ` on standard error, `1234  ` in a file; with `-Y` a name follows the number.
fn pid(line: &[u8]) -> (Option<u32>, &[u8]) {
    let none = (None, line);
    let (bracketed, rest) = match line.strip_prefix(b"[pid") {
        Some(rest) => (true, rest.trim_ascii_start()),
        None => (false, line),
    };
    let Some((digits, mut rest)) = leading(rest, u8::is_ascii_digit) else {
        return none;
    };
    let Some(pid) = decimal(digits).filter(|pid| *pid <= PID_MAX) else {
        return none;
    };
    if rest.starts_with(b"<") {
        let end: &[u8] = if bracketed { b">] " } else { b"> " };
        let Some(at) = crate::evidence::record::find(rest, end) else { return none };
        rest = rest.get(at + 1..).unwrap_or_default();
    }
    let rest = if bracketed { rest.strip_prefix(b"] ") } else { rest.strip_prefix(b" ") };
    rest.map_or(none, |rest| (Some(pid), rest.trim_ascii_start()))
}

/// The times of `-t`, `-tt`, `-ttt` and `-r`: words of digits, colons and dots in front of everything else.
fn columns(line: &[u8]) -> (Option<u64>, &[u8]) {
    let mut time = None;
    let mut rest = line.trim_ascii_start();
    loop {
        let word = rest.strip_prefix(b"(+").map_or(rest, <[u8]>::trim_ascii_start);
        let Some((column, after)) = leading(word, |b| b.is_ascii_digit() || matches!(b, b'.' | b':')) else {
            return (time, rest);
        };
        let Some(after) = after.strip_prefix(b")").unwrap_or(after).strip_prefix(b" ") else {
            return (time, rest);
        };
        time = time.or_else(|| epoch(column));
        rest = after.trim_ascii_start();
    }
}

/// `1795462699.393936`, in microseconds; nothing for a time of day or a difference.
fn epoch(column: &[u8]) -> Option<u64> {
    let (seconds, fraction) = std::str::from_utf8(column).ok()?.split_once('.')?;
    let seconds: u64 = seconds.parse().ok().filter(|s| *s > 1_000_000_000)?;
    let micros: u64 = format!("{fraction:0<6}").get(..6)?.parse().ok()?;
    seconds.checked_mul(1_000_000)?.checked_add(micros)
}

/// `[ 160] ` of `-n`, and the instruction pointer of `-i`, which looks alike but has 16 digits.
fn number(line: &[u8]) -> (Option<u32>, &[u8]) {
    let mut number = None;
    let mut rest = line;
    while let Some(inner) = rest.strip_prefix(b"[").map(<[u8]>::trim_ascii_start)
        && let Some((digits, after)) = leading(inner, u8::is_ascii_hexdigit)
        && let Some(after) = after.strip_prefix(b"] ")
    {
        if digits.len() < 16 {
            number = decimal(digits);
        }
        rest = after;
    }
    (number, rest)
}

/// `exited with 1`, `killed by SIGSYS (core dumped)`
fn exit(event: &[u8]) -> Option<Exit> {
    let mut words = std::str::from_utf8(event).ok()?.split(' ');
    match (words.next()?, words.next()?, words.next()?) {
        ("exited", "with", status) => status.parse().ok().map(Exit::Status),
        ("killed", "by", signal) => signal.parse::<Signal>().ok().map(|signal| Exit::Signal(signal as i32)),
        _ => None,
    }
}

fn what(rest: &[u8]) -> What<'_> {
    if let Some(event) = rest.strip_prefix(b"+++ ") {
        return match event.strip_prefix(b"superseded by execve in pid ") {
            Some(text) => match leading(text, u8::is_ascii_digit).and_then(|(digits, _)| decimal(digits)) {
                Some(by) => What::Superseded { by },
                None => What::NotUnderstood,
            },
            None => What::Gone(exit(event)),
        };
    }
    if let Some(text) = rest.strip_prefix(b"<... ") {
        return resumed(text);
    }
    if let Some(text) = rest.strip_prefix(b"[ Process PID=") {
        return mode(text);
    }
    if let Some(frame) = rest.trim_ascii_start().strip_prefix(b"> ") {
        return What::Frame(frame);
    }
    let beside: [&[u8]; 6] =
        [b"--- ", b"strace: ", b"<unfinished", b"<detached", b"=> ", b"<ptrace(SYSCALL)"];
    if rest.is_empty() || beside.iter().any(|head| rest.trim_ascii_start().starts_with(head)) {
        return What::Other;
    }
    call(rest).map_or(What::NotUnderstood, What::Call)
}

fn call(rest: &[u8]) -> Option<CallText<'_>> {
    let (name, after) = leading(rest, |b| b.is_ascii_alphanumeric() || *b == b'_')?;
    let name = std::str::from_utf8(name).ok()?;
    let inner = after.strip_prefix(b"(")?;
    let (inner, attached) = attached(inner);
    if let Some(begun) = inner.strip_suffix(b" <unfinished ...>") {
        return Some(CallText { name, arguments: begun, result: None, attached });
    }
    let (arguments, result) = arguments::end(inner);
    Some(CallText { name, arguments, result, attached })
}

/// On standard error, strace's own message can cut a line: `clone3({…}strace: Process 188 attached`.
fn attached(inner: &[u8]) -> (&[u8], Option<u32>) {
    let cut = || {
        let at = inner.strip_suffix(b" attached")?.windows(16).rposition(|w| w == b"strace: Process ")?;
        let (digits, after) = leading(inner.get(at + 16..)?, u8::is_ascii_digit)?;
        let pid = decimal(digits).filter(|_| after == b" attached")?;
        Some((inner.get(..at)?, Some(pid)))
    };
    cut().unwrap_or((inner, None))
}

/// `NAME resumed>REST) = RESULT`
fn resumed(text: &[u8]) -> What<'_> {
    let Some((name, after)) = leading(text, |b| !b.is_ascii_whitespace()) else {
        return What::NotUnderstood;
    };
    let (Ok(name), Some(rest)) = (std::str::from_utf8(name), after.strip_prefix(b" resumed>")) else {
        return What::NotUnderstood;
    };
    let (arguments, result) = arguments::end(rest);
    What::Resumed { name, arguments, result }
}

/// `1234 runs in 32 bit mode. ]`
fn mode(text: &[u8]) -> What<'_> {
    let Some(mode) = leading(text, u8::is_ascii_digit).and_then(|(_, rest)| rest.strip_prefix(b" runs in "))
    else {
        return What::NotUnderstood;
    };
    let mode = mode.strip_suffix(b" mode. ]").unwrap_or_default();
    match (mode, Arch::native()) {
        (b"64 bit" | b"AArch64", native) => What::Mode(native),
        (b"x32", _) => What::Mode(Arch::X32),
        (b"32 bit", Arch::X86_64) => What::Mode(Arch::X86),
        (b"32 bit" | b"AArch32", Arch::Arm64) => What::Mode(Arch::Arm),
        _ => What::NotUnderstood,
    }
}

/// The bytes at the beginning that match, if there are any, and the rest.
fn leading(bytes: &[u8], matches: impl Fn(&u8) -> bool) -> Option<(&[u8], &[u8])> {
    let length = bytes.iter().take_while(|b| matches(b)).count();
    bytes.split_at_checked(length).filter(|_| length > 0)
}

fn decimal(digits: &[u8]) -> Option<u32> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_head() {
        for (head, pid, time, number) in [
            ("", None, None, None),
            ("155   ", Some(155), None, None),
            ("4194304 ", Some(4_194_304), None, None),
            ("[pid   190] ", Some(190), None, None),
            ("155<my comm> ", Some(155), None, None),
            ("[pid 155<a b>] ", Some(155), None, None),
            ("155   1795462699.393936 ", Some(155), Some(1_795_462_699_393_936), None),
            ("257   19:40:00.570286 ", Some(257), None, None),
            ("19:40:00 ", None, None, None),
            ("251        0.000016 [  92] ", Some(251), None, Some(92)),
            ("251 19:40:00 (+     0.000035) [1073741984] ", Some(251), None, Some(0x4000_00a0)),
            ("[pid   210] [ 435] [00007f00deadbeef] ", Some(210), None, Some(435)),
        ] {
            let line = format!("{head}chown(\"/a\", -1, -1) = -1 ENOENT (No such file) <0.000005>");
            let event = read(line.as_bytes());
            assert_eq!((event.pid, event.time_us, event.number), (pid, time, number), "{head}");
            let What::Call(call) = event.what else { panic!("{head}") };
            assert_eq!((call.name, call.arguments), ("chown", &b"\"/a\", -1, -1"[..]));
            assert_eq!(call.result, Some(&b"-1 ENOENT (No such file)"[..]));
        }
    }

    #[test]
    fn beginnings_and_ends() {
        let what = |line: &'static str| read(line.as_bytes()).what;
        let call =
            |name, arguments, attached| What::Call(CallText { name, arguments, result: None, attached });
        assert_eq!(what("5 vfork( <unfinished ...>"), call("vfork", b"", None));
        assert_eq!(what("5 wait4(-1 <unfinished ...>"), call("wait4", b"-1", None));
        assert_eq!(what("clone3({a=1}strace: Process 188 attached"), call("clone3", b"{a=1}", Some(188)));
        assert_eq!(what("5 exit_group(0"), call("exit_group", b"0", None));
        let name = "????";
        assert_eq!(
            what("5 <... ???? resumed>) = ?"),
            What::Resumed { name, arguments: b"", result: Some(b"?") }
        );
        assert_eq!(
            what("5 <... clone3 resumed> => {parent_tid=[173]}, 88) = 173 <0.000307>"),
            What::Resumed { name: "clone3", arguments: b" => {parent_tid=[173]}, 88", result: Some(b"173") }
        );
        assert_eq!(what("5 +++ superseded by execve in pid 7 +++"), What::Superseded { by: 7 });
        assert_eq!(what("5 +++ killed by SIGSYS (core dumped) +++"), What::Gone(Some(Exit::Signal(31))));
        assert_eq!(what("5 +++ exited with 3 +++"), What::Gone(Some(Exit::Status(3))));
        assert_eq!(what("5 +++ killed by SIGRT_7 +++"), What::Gone(None));
    }

    #[test]
    fn what_is_no_call() {
        for line in [
            "5 --- SIGSYS {si_signo=SIGSYS, si_code=SI_USER} ---",
            "strace: Process 188 attached",
            " <unfinished ...>",
            " => {parent_tid=[190]}, 88) = 190",
            "",
        ] {
            assert_eq!(read(line.as_bytes()).what, What::Other, "{line}");
        }
        assert_eq!(read(b" > /usr/bin/dash() [0x4781]").what, What::Frame(b"/usr/bin/dash() [0x4781]"));
        assert_eq!(read(b"\xff\xfe").what, What::NotUnderstood);
        if Arch::native() == Arch::X86_64 {
            assert_eq!(read(b"[pid 5] [ Process PID=5 runs in x32 mode. ]").what, What::Mode(Arch::X32));
            assert_eq!(read(b"[ Process PID=5 runs in 32 bit mode. ]").what, What::Mode(Arch::X86));
        }
    }

    proptest::proptest! {
        #[test]
        fn never_panics(bytes: Vec<u8>, text in "[0-9\\[\\]<>() a-f=.:+,\"{}]{0,60}") {
            let _ = read(&bytes);
            let _ = read(text.as_bytes());
        }
    }
}
