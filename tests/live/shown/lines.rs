//! Random contents of unit files: the settings, and everything that can be wrong with them.

use std::collections::BTreeMap;

use super::random::Random;

/// How often each form came up, so that none is missing without notice.
#[derive(Default)]
pub struct Forms(pub BTreeMap<&'static str, usize>);

impl Forms {
    pub fn count(&mut self, form: &'static str) {
        *self.0.entry(form).or_default() += 1;
    }

    /// Panics if a form never came up.
    pub fn assert_complete(&self) {
        assert!(self.0.len() >= FORMS, "{} forms of {FORMS}: {:?}", self.0.len(), self.0);
    }
}

/// How many forms there are.
const FORMS: usize = 118;

const CALLS: [&str; 20] = [
    "mount",
    "mount",
    "umount2",
    "swapon",
    "swapon",
    "setrlimit",
    "prlimit64",
    "write",
    "read",
    "uname",
    "keyctl",
    "bpf",
    "no_such_call",
    "file_getattr",
    "uretprobe",
    "riscv_hwprobe",
    "process_mrelease",
    "stat64",
    "MOUNT",
    "160",
];
const GROUPS: [&str; 18] = [
    "@mount",
    "@swap",
    "@resources",
    "@privileged",
    "@default",
    "@system-service",
    "@basic-io",
    "@known",
    "@pkey",
    "@sandbox",
    "@chown",
    "@ipc",
    "@reboot",
    "@no-such-group",
    "@",
    "@Mount",
    "@file-system",
    "@obsolete",
];
const ERRNOS: [&str; 22] = [
    "EPERM",
    "EPERM",
    "eperm",
    "1",
    "0",
    "4095",
    "4096",
    "kill",
    "KILL",
    "",
    "010",
    "0x10",
    "+5",
    "-1",
    "-0",
    "EFOO",
    "ENOTSUP",
    "EWOULDBLOCK",
    "512",
    "133",
    "ENOSYS",
    "0o7",
];
const ARCHITECTURES: [&str; 13] = [
    "native",
    "x86",
    "x86-64",
    "x32",
    "arm64",
    "riscv64",
    "loongarch64",
    "parisc",
    "mips64-le-n32",
    "s390x",
    "bogus",
    "X86",
    "\"arm\"",
];
const FAMILIES: [&str; 16] = [
    "AF_UNIX",
    "AF_INET",
    "AF_INET6",
    "AF_NETLINK",
    "AF_LOCAL",
    "AF_ROUTE",
    "AF_PACKET",
    "af_inet",
    "AF_MCTP",
    "AF_DECnet",
    "AF_UNSPEC",
    "AF_FOO",
    "none",
    "\"AF_INET AF_VSOCK\"",
    "\"\"",
    "'AF_ALG'",
];
const NAMESPACES: [&str; 11] =
    ["cgroup", "ipc", "net", "mnt", "pid", "user", "uts", "time", "bogus", "net", "NET"];

/// The settings of one file, from its header to its end.
pub fn file(random: &mut Random, forms: &mut Forms, head: &str) -> Vec<u8> {
    let mut out = Vec::new();
    if random.percent(3) {
        forms.count("byte order mark");
        out.extend(b"\xef\xbb\xbf");
    }
    out.extend(head.as_bytes());
    for _ in 0..=random.below(4) {
        if random.percent(12) {
            noise(random, forms, &mut out);
        }
        setting(random, forms, &mut out);
    }
    if random.percent(2) {
        forms.count("no line feed at the end");
        out.pop();
    }
    out
}

/// What is no setting, or none of ours.
fn noise(random: &mut Random, forms: &mut Forms, out: &mut Vec<u8>) {
    let (form, bytes): (_, &[u8]) = match random.below(28) {
        0 => ("comment", b"# SystemCallFilter=~kcmp\n"),
        1 => ("comment of invalid UTF-8", b"; \xff\xfe\n"),
        2 => ("no equals sign", b"nonsense\n"),
        3 => ("no name", b"=x\n"),
        4 => ("another section", b"[Unit]\nSystemCallFilter=~kcmp\n[Service]\n"),
        5 => ("unknown section", b"[X-Foo]\nSystemCallFilter=~kcmp\n[Service]\n"),
        6 => ("unclosed section", b"[Service\n"),
        7 => ("section with a quote", b"[Serv\"ice]\nSystemCallFilter=~kcmp\n[Service]\n"),
        8 => ("section with a backslash", b"[Serv\\ice]\nSystemCallFilter=~kcmp\n[Service]\n"),
        9 => ("section without a name", b"[]\nSystemCallFilter=~kcmp\n[Service]\n"),
        10 => ("section with spaces", b"[ Service ]\nSystemCallFilter=~kcmp\n[Service]\n"),
        11 => ("section and white space", b" \t[Service] \t\n"),
        12 => ("lone bracket", b"[\n"),
        13 => ("later byte order mark", b"\xef\xbb\xbfSystemCallFilter=~kcmp\n"),
        14 => ("byte order mark and comment", b"\xef\xbb\xbf# SystemCallFilter=~kcmp\n"),
        15 => ("invalid UTF-8", b"X-Text=\xff\n"),
        16 => ("noncharacter", "X-Text=\u{fffe}\n".as_bytes()),
        17 => ("valid UTF-8", "X-Text=\u{e4}\u{1f980}\n".as_bytes()),
        18 => ("lower-case name", b"systemcallfilter=~kcmp\n"),
        19 => ("empty lines", b"\n \t\n\n"),
        20 => ("lone backslash", b"\\\n"),
        21 => ("two byte order marks", b"\xef\xbb\xbf\xef\xbb\xbfSystemCallFilter=~kcmp\n"),
        22 => ("control character in a section", b"[Ser\x01vice]\nSystemCallFilter=~kcmp\n[Service]\n"),
        23 => ("surrogate", b"X-Text=\xed\xa0\x80\n"),
        25 => ("refused command", b"ExecStop=/bin/true \"open\n"),
        26 => ("refused path", b"RootDirectory=x\n"),
        27 => ("passed-over command", b"ExecStop=-/bin/true \"open\n"),
        24 if random.percent(25) => return long(random, forms, out),
        _ => ("name with white space", b"SystemCallFilter \t=\t~kcmp\n"),
    };
    forms.count(form);
    out.extend(bytes);
}

/// Lines around the longest that there may be.
fn long(random: &mut Random, forms: &mut Forms, out: &mut Vec<u8>) {
    const MIB: usize = 1024 * 1024;
    let (form, head, length) = match random.below(4) {
        0 => ("line of 1 MiB", "X-Long=", MIB),
        1 => ("line of 1 MiB less one", "X-Long=", MIB - 1),
        2 => ("comment of 1 MiB", "# ", MIB),
        _ => ("continued line of 1 MiB and more", "X-Long=\\\n", MIB - 1),
    };
    forms.count(form);
    out.extend(head.as_bytes());
    let line = head.rsplit('\n').next().unwrap_or_default().len();
    out.extend(std::iter::repeat_n(b'a', length - line));
    out.push(b'\n');
}

fn setting(random: &mut Random, forms: &mut Forms, out: &mut Vec<u8>) {
    let (key, value) = match random.below(20) {
        0..=9 => ("SystemCallFilter", list(random, forms, &calls, 25)),
        10 | 11 => ("SystemCallLog", list(random, forms, &calls, 8)),
        12 | 13 => ("SystemCallErrorNumber", random.pick(&ERRNOS).to_owned()),
        14 => ("SystemCallArchitectures", list(random, forms, &|r| r.pick(&ARCHITECTURES).to_owned(), 0)),
        15 | 16 => ("RestrictAddressFamilies", list(random, forms, &|r| r.pick(&FAMILIES).to_owned(), 0)),
        _ if random.percent(25) => {
            let value = random.pick(&["yes", "no", "On", "0", "true", "F", "maybe"]);
            ("RestrictNamespaces", value.to_owned())
        }
        _ => ("RestrictNamespaces", list(random, forms, &|r| r.pick(&NAMESPACES).to_owned(), 0)),
    };
    out.extend(key.as_bytes());
    out.extend(random.pick(&["=", "=", "=", " = ", "= \t", "=\t"]).as_bytes());
    out.extend(value.as_bytes());
    let (form, end): (_, &[u8]) = match random.below(60) {
        0 => ("carriage return", b"\r"),
        1 => ("carriage return and line feed", b"\r\n"),
        2 => ("NUL", b"\0"),
        3 => ("line feed and carriage return", b"\n\r"),
        4 => ("line feed and NUL", b"\r\n\0"),
        5 => ("white space at the end", b" \t \n"),
        6 => ("backslash and a space at the end", b"\\ \n"),
        7 => ("backslash at the end", b"\\\n"),
        8 => ("two backslashes at the end", b"\\\\\n"),
        _ => ("line feed", b"\n"),
    };
    forms.count(form);
    out.extend(end);
}

fn calls(random: &mut Random) -> String {
    if random.percent(35) { random.pick(&GROUPS) } else { random.pick(&CALLS) }.to_owned()
}

/// A value that is a list: words, and how they are put together.
fn list(
    random: &mut Random,
    forms: &mut Forms,
    word: &dyn Fn(&mut Random) -> String,
    errnos: usize,
) -> String {
    if random.percent(14) {
        forms.count("reset");
        return String::new();
    }
    let mut out = String::new();
    if random.percent(50) {
        forms.count("deny list");
        out.push('~');
        if random.percent(8) {
            forms.count("tilde alone");
            return out;
        }
    }
    let count = random.below(4);
    for index in 0..=count {
        if index > 0 {
            out.push_str(&separator(random, forms));
        }
        let mut word = word(random);
        if random.percent(errnos) {
            forms.count("errno");
            word = format!("{word}:{}", random.pick(&ERRNOS));
        }
        out.push_str(&mangled(random, forms, &word));
    }
    out
}

fn separator(random: &mut Random, forms: &mut Forms) -> String {
    let (form, text) = match random.below(40) {
        0 => ("tab", "\t"),
        1 => ("continuation", " \\\n"),
        2 => ("continuation, indented", "\\\n   "),
        3 => ("comment in a continuation", "\\\n# comment\n ; another\n"),
        4 => ("empty line in a continuation", "\\\n\n"),
        5 => ("white space in a continuation", "\\\n \t\n"),
        6 => ("byte order mark in a continuation", "\\\n\u{feff}"),
        7 => ("form feed", "\u{c}"),
        8 => ("no-break space", "\u{a0}"),
        9 => ("comma", ","),
        10 => ("escaped space", "\\ "),
        11 => ("many spaces", "    "),
        12 => ("comment with a backslash in a continuation", "\\\n# comment \\\n"),
        _ => ("space", " "),
    };
    forms.count(form);
    text.to_owned()
}

fn mangled(random: &mut Random, forms: &mut Forms, word: &str) -> String {
    let half = word.char_indices().nth(word.chars().count() / 2).map_or(0, |(at, _)| at);
    let (form, text) = match random.below(60) {
        0 => ("double quotes", format!("\"{word}\"")),
        1 => ("single quotes", format!("'{word}'")),
        2 => ("open quote", format!("\"{word}")),
        3 => ("backslash in a word", format!("{}\\{}", &word[..half], &word[half..])),
        4 => ("two backslashes in a word", format!("{}\\\\{}", &word[..half], &word[half..])),
        5 => ("tilde before a word", format!("~{word}")),
        6 => ("space before a word", format!(" {word}")),
        7 => ("percent sign", format!("%{word}")),
        _ => ("plain word", word.to_owned()),
    };
    forms.count(form);
    text
}
