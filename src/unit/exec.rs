//! Command lines of a service (`ExecStart=` and its kin): prefixes, quoting, and several commands on one line.
//! systemd.service(5) "Command lines", `config_parse_exec()` in src/core/load-fragment.c.

use super::{Setting, Span, Unit};
use crate::finding::{Code, Finding};

/// Which setting a command stands in. In the order in which a start runs them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// `ExecCondition=`
    Condition,
    /// `ExecStartPre=`
    StartPre,
    /// `ExecStart=`
    Start,
    /// `ExecStartPost=`
    StartPost,
    /// `ExecReload=`
    Reload,
    /// `ExecStop=`
    Stop,
    /// `ExecStopPost=`
    StopPost,
}

impl Stage {
    /// Every stage.
    pub const ALL: [Stage; 7] = [
        Stage::Condition,
        Stage::StartPre,
        Stage::Start,
        Stage::StartPost,
        Stage::Reload,
        Stage::Stop,
        Stage::StopPost,
    ];

    /// The setting's name.
    #[must_use]
    pub fn key(self) -> &'static str {
        match self {
            Stage::Condition => "ExecCondition",
            Stage::StartPre => "ExecStartPre",
            Stage::Start => "ExecStart",
            Stage::StartPost => "ExecStartPost",
            Stage::Reload => "ExecReload",
            Stage::Stop => "ExecStop",
            Stage::StopPost => "ExecStopPost",
        }
    }
}

/// The special characters in front of a command.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools)] // they are independent characters
pub struct Prefixes {
    /// `@`: the second word is `argv[0]`.
    pub argv0: bool,
    /// `-`: a failure does not count.
    pub ignore_failure: bool,
    /// `:`: no variables are put in.
    pub no_variables: bool,
    /// `+`: full privileges; no system call filter applies.
    pub privileged: bool,
    /// `!` or `!!`: elevated privileges; the filter applies.
    pub elevated: bool,
    /// `|` (from 258 on): run through the user's shell.
    pub shell: bool,
}

/// One command of a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// Where in the life of the service it runs.
    pub stage: Stage,
    /// Its prefixes.
    pub prefixes: Prefixes,
    /// The prefixes as they are written.
    pub prefix_text: String,
    /// What follows the prefixes, as it is written: specifiers, variables and quotes untouched.
    pub text: String,
    /// The words, unquoted; specifiers and variables untouched. Never empty.
    pub words: Vec<String>,
    /// Where it stands.
    pub span: Span,
}

impl Command {
    /// The program that is executed.
    #[must_use]
    pub fn program(&self) -> &str {
        self.words.first().map_or("", String::as_str)
    }

    /// The name that the kernel gives to a process of it: the last part of the path, 15 bytes (`TASK_COMM_LEN`).
    #[must_use]
    pub fn comm(&self) -> String {
        let name = self.program().rsplit('/').next().unwrap_or_default();
        name.char_indices().take_while(|(at, c)| at + c.len_utf8() <= 15).map(|(_, c)| c).collect()
    }
}

impl Unit {
    /// The commands of one stage that count: an empty assignment takes the earlier ones back.
    #[must_use]
    pub fn commands(&self, stage: Stage) -> Vec<Command> {
        let mut out = Vec::new();
        for setting in self.service(stage.key()) {
            if setting.value.text.is_empty() {
                out.clear();
            } else {
                out.extend(parse(stage, setting).0);
            }
        }
        out
    }
}

/// Take one assignment apart into its commands.
#[must_use]
pub fn parse(stage: Stage, setting: &Setting) -> (Vec<Command>, Vec<Finding>) {
    let text = setting.value.text.as_str();
    let (mut commands, mut findings) = (Vec::new(), Vec::new());
    let mut at = 0;
    while at < text.len() {
        at += text[at..].len() - text[at..].trim_start().len();
        let start = at;
        let (prefixes, length) = prefixes(&text[at..]);
        at += length;
        let (words, end) = match words(&text[at..]) {
            Ok(found) => found,
            Err(message) => {
                let span = setting.value.span(start..text.len());
                findings.push(Finding::error(Code::BadQuoting, message, Some(span)));
                break;
            }
        };
        let body = text[at..at + end.command].trim_end();
        if !words.is_empty() {
            commands.push(Command {
                stage,
                prefixes,
                prefix_text: text[start..at].to_owned(),
                text: body.to_owned(),
                words,
                span: setting.value.span(start..at + body.len()),
            });
        }
        at += end.next;
    }
    (commands, findings)
}

fn prefixes(text: &str) -> (Prefixes, usize) {
    let mut found = Prefixes::default();
    let mut length = 0;
    for c in text.chars() {
        match c {
            '@' if !found.argv0 => found.argv0 = true,
            '-' if !found.ignore_failure => found.ignore_failure = true,
            ':' if !found.no_variables => found.no_variables = true,
            '+' if !found.privileged => found.privileged = true,
            '!' => found.elevated = true,
            '|' if !found.shell => found.shell = true,
            _ => break,
        }
        length += 1;
    }
    (found, length)
}

/// How far one command reaches: the bytes of the command, and those up to the next one.
struct End {
    command: usize,
    next: usize,
}

/// The words of one command, up to a lone `;`.
fn words(text: &str) -> Result<(Vec<String>, End), String> {
    let mut words = Vec::new();
    let mut rest = text;
    loop {
        rest = rest.trim_start();
        let here = text.len() - rest.len();
        if rest.is_empty() {
            return Ok((words, End { command: here, next: here }));
        }
        if rest == ";" || rest.starts_with("; ") || rest.starts_with(";\t") {
            return Ok((words, End { command: here, next: here + 1 }));
        }
        let escaped_semicolon = rest == "\\;" || rest.starts_with("\\; ") || rest.starts_with("\\;\t");
        let (word, length) = if escaped_semicolon { (";".to_owned(), 2) } else { first_word(rest)? };
        words.push(word);
        rest = &rest[length..];
    }
}

/// The first word of a text, unquoted and unescaped, and how many bytes it took:
/// `extract_first_word()` with `EXTRACT_UNQUOTE | EXTRACT_CUNESCAPE`, unknown escapes kept (src/basic/extract-word.c).
pub fn first_word(text: &str) -> Result<(String, usize), String> {
    let mut word = Vec::new();
    let mut quote = None;
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match (c, quote) {
            ('\\', _) => {
                let length = unescape(&text[at + 1..], &mut word);
                while length > 0 && chars.as_str().len() > text.len() - (at + 1) - length {
                    chars.next();
                }
            }
            (c, Some(q)) if c == q => quote = None,
            ('"' | '\'', None) => quote = Some(c),
            (c, None) if c.is_ascii_whitespace() => return Ok((lossy(word), at)),
            _ => word.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    match quote {
        Some(q) => Err(format!("this command has a {q} without its partner: systemd does not take it")),
        None => Ok((lossy(word), text.len())),
    }
}

fn lossy(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap_or_else(|e| String::from_utf8_lossy(e.as_bytes()).into_owned())
}

/// Put what an escape means (the text behind the backslash) to the word; return how many bytes it took.
/// An escape that does not exist keeps its backslash.
fn unescape(rest: &str, word: &mut Vec<u8>) -> usize {
    let simple = |c: u8| match c {
        b'a' => Some(7),
        b'b' => Some(8),
        b'f' => Some(12),
        b'n' => Some(b'\n'),
        b'r' => Some(b'\r'),
        b't' => Some(b'\t'),
        b'v' => Some(11),
        b's' => Some(b' '),
        b'\\' | b'"' | b'\'' => Some(c),
        _ => None,
    };
    let number = |from: usize, digits: usize, radix: u32| {
        let text = rest.get(from..from + digits)?;
        let valid = text.chars().all(|c| c.is_digit(radix));
        valid.then(|| u32::from_str_radix(text, radix).ok()).flatten()
    };
    let Some(&first) = rest.as_bytes().first() else {
        return 0;
    };
    if let Some(byte) = simple(first) {
        word.push(byte);
        return 1;
    }
    let (code, length) = match first {
        b'x' => (number(1, 2, 16), 3),
        b'u' => (number(1, 4, 16), 5),
        b'U' => (number(1, 8, 16), 9),
        _ => (number(0, 3, 8), 3),
    };
    match code.filter(|c| *c != 0) {
        Some(code) if matches!(first, b'u' | b'U') => {
            let c = char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER);
            word.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
            length
        }
        Some(code) if code <= 255 => {
            word.push(u8::try_from(code).unwrap_or(b'?'));
            length
        }
        _ => {
            word.push(b'\\');
            0
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::unit::{SourceFile, syntax};

    fn commands(value: &str) -> Vec<(String, String, Vec<String>)> {
        let file = SourceFile::new("x.service", format!("[Service]\nExecStart={value}\n"));
        let parsed = syntax::parse_as(&file, u32::MAX);
        let (commands, _) = parse(Stage::Start, &parsed.settings[0]);
        commands.into_iter().map(|c| (c.prefix_text, c.text, c.words)).collect()
    }

    fn words_of(value: &str) -> Vec<String> {
        commands(value).remove(0).2
    }

    #[test]
    fn prefixes_quotes_and_escapes() {
        assert_eq!(
            commands("-@/bin/a zero 'b c' \"d\\te\""),
            [(
                "-@".to_owned(),
                "/bin/a zero 'b c' \"d\\te\"".to_owned(),
                vec!["/bin/a".to_owned(), "zero".to_owned(), "b c".to_owned(), "d\te".to_owned()]
            )]
        );
        assert_eq!(words_of(r"/bin/a \x41\102\u00e9 \q a'b'c"), ["/bin/a", "ABé", r"\q", "abc"]);
        assert_eq!(words_of("/bin/a ''"), ["/bin/a", ""]);
    }

    #[test]
    fn several_commands_on_one_line() {
        let found = commands("/bin/a x ; -/bin/b \\; y;z ; ");
        let shown: Vec<_> = found.iter().map(|(p, t, w)| format!("{p}|{t}|{}", w.join(","))).collect();
        assert_eq!(shown, ["|/bin/a x|/bin/a,x", "-|/bin/b \\; y;z|/bin/b,;,y;z"]);
    }

    #[test]
    fn an_open_quote_is_a_finding() {
        let file = SourceFile::new("x.service", "[Service]\nExecStart=/bin/a 'b\n");
        let (commands, findings) = parse(Stage::Start, &syntax::parse_as(&file, u32::MAX).settings[0]);
        assert!(commands.is_empty());
        assert_eq!(findings[0].code, Code::BadQuoting);
    }

    proptest::proptest! {
        #[test]
        fn never_panics(value in ".*") {
            let file = SourceFile::new("x.service", format!("[Service]\nExecStart={value}\n"));
            for setting in syntax::parse_as(&file, u32::MAX).settings {
                let _ = parse(Stage::Start, &setting);
            }
        }
    }
}
