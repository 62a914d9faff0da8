//! The arguments of a call as strace prints them. The crate `strace_parse` takes them apart where it can; it does
//! not know much of what strace prints today (inverted signal masks, `=>`, paths of `-y`), so that a splitter that
//! cannot fail stands behind it.

use strace_parse::raw::{Call, parsers};

/// `strace_parse` tries each nested bracket in several ways, which takes time exponential in the depth.
const DEPTH_MAX: usize = 5;

/// Longer arguments go to the splitter, which is linear.
const LENGTH_MAX: usize = 2048;

/// Arguments that are shown are cut to so many bytes.
const SHOWN_MAX: usize = 200;

/// Where the arguments end, and the result behind them: `…) = RESULT <TIME>`.
pub(super) fn end(text: &[u8]) -> (&[u8], Option<&[u8]>) {
    let at = closing(text).or_else(|| {
        // quotes or brackets did not match: the last place that looks like it
        let places = (0..text.len()).rev();
        places.into_iter().find(|at| text.get(*at) == Some(&b')') && result(text, *at).is_some())
    });
    match at {
        Some(at) => (text.get(..at).unwrap_or_default(), result(text, at)),
        None => (text, None),
    }
}

/// What follows `) = ` at this place.
fn result(text: &[u8], at: usize) -> Option<&[u8]> {
    let rest = text.get(at..)?.strip_prefix(b")")?.trim_ascii_start().strip_prefix(b"= ")?;
    let is_time = |t: &[u8]| t.iter().all(|b| b.is_ascii_digit() || *b == b'.');
    let timed = rest.strip_suffix(b">").and_then(|r| {
        let open = r.iter().rposition(|b| *b == b'<')?;
        let (before, time) = r.split_at_checked(open)?;
        is_time(time.get(1..)?).then_some(before)
    });
    Some(timed.unwrap_or(rest).trim_ascii())
}

/// The parenthesis that closes the call and is followed by a result.
fn closing(text: &[u8]) -> Option<usize> {
    let mut walk = Walk::new(text);
    while let Some((at, byte)) = walk.next_outside() {
        if byte == b')' && walk.depth < 0 {
            return result(text, at).map(|_| at);
        }
    }
    None
}

/// Walks the bytes that are not in quotes or in a path (`3</dev/null>`), and knows how deep the brackets are.
pub(super) struct Walk<'a> {
    text: &'a [u8],
    at: usize,
    depth: i32,
    /// No path ends behind here, so that looking for an end once is enough.
    no_more_paths: bool,
}

impl<'a> Walk<'a> {
    pub(super) fn new(text: &'a [u8]) -> Self {
        Walk { text, at: 0, depth: 0, no_more_paths: false }
    }

    pub(super) fn next_outside(&mut self) -> Option<(usize, u8)> {
        let at = self.at;
        let byte = *self.text.get(at)?;
        self.at += 1;
        match byte {
            b'"' => self.skip_quoted(),
            b'<' if self.opens_path(at) => self.skip_path(),
            b'(' | b'[' | b'{' => self.depth += 1,
            b')' | b']' | b'}' => self.depth -= 1,
            _ => {}
        }
        Some((at, byte))
    }

    /// Go on at this place, which is none before.
    pub(super) fn skip_to(&mut self, at: usize) {
        self.at = at;
    }

    fn skip_quoted(&mut self) {
        while let Some(byte) = self.text.get(self.at) {
            self.at += if *byte == b'\\' { 2 } else { 1 };
            if *byte == b'"' {
                return;
            }
        }
    }

    /// A path follows a number or `AT_FDCWD`; `<<` is a shift.
    fn opens_path(&self, at: usize) -> bool {
        let before = at.checked_sub(1).and_then(|b| self.text.get(b));
        before.is_some_and(|b| b.is_ascii_digit() || b.is_ascii_uppercase())
            && self.text.get(at + 1) != Some(&b'<')
            && !self.no_more_paths
    }

    /// strace escapes `<` and `>` within a path; `->` stands between the ends of a socket.
    fn skip_path(&mut self) {
        let rest = self.text.get(self.at..).unwrap_or_default();
        let end = (0..rest.len()).find(|at| {
            rest.get(*at) == Some(&b'>') && at.checked_sub(1).and_then(|b| rest.get(b)) != Some(&b'-')
        });
        self.no_more_paths = end.is_none();
        self.at += end.map_or(0, |end| end + 1);
    }
}

/// The arguments of a call, one by one, escaped for showing. A call that was cut off gives what there is.
pub(super) fn split(name: &str, text: &[u8]) -> Vec<String> {
    let shown = |part: &str| {
        let cut = part.char_indices().nth(SHOWN_MAX).map_or(part, |(at, _)| part.get(..at).unwrap_or(part));
        let dots = if cut.len() < part.len() { "…" } else { "" };
        format!("{}{dots}", super::Untrusted::new(cut.as_bytes()).to_string().replace("\\\\", "\\"))
    };
    let words = super::numbers::in_words(text);
    let text = String::from_utf8_lossy(&words);
    by_crate(name, &text).unwrap_or_else(|| by_hand(&text)).iter().map(|part| shown(part)).collect()
}

fn by_crate(name: &str, text: &str) -> Option<Vec<String>> {
    if text.len() > LENGTH_MAX || depth(text.as_bytes()) > DEPTH_MAX {
        return None;
    }
    let line = format!("{name}({text}) = 0\n");
    let (rest, parsed) = parsers::parser(line.as_bytes()).ok()?;
    match parsed.call {
        // it stops in the middle of what it does not know
        Call::Generic(call) if rest.is_empty() && call.call == name => {
            Some(call.args.into_iter().map(|arg| arg.trim().to_owned()).collect())
        }
        _ => None,
    }
}

/// How deep brackets are nested, quotes aside or not: the crate sees brackets where there are none, too.
fn depth(text: &[u8]) -> usize {
    let mut depth: usize = 0;
    let mut deepest = 0;
    for byte in text {
        match byte {
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        deepest = deepest.max(depth);
    }
    deepest
}

fn by_hand(text: &str) -> Vec<String> {
    parts(text.as_bytes()).into_iter().map(|part| String::from_utf8_lossy(part).into_owned()).collect()
}

/// Split at the commas that are in no bracket, quote or path.
pub(super) fn parts(text: &[u8]) -> Vec<&[u8]> {
    let mut walk = Walk::new(text);
    let mut parts = Vec::new();
    let mut start = 0;
    while let Some((at, byte)) = walk.next_outside() {
        if byte == b',' && walk.depth <= 0 {
            parts.push(text.get(start..at).unwrap_or_default().trim_ascii());
            start = at + 1;
        }
    }
    let last = text.get(start..).unwrap_or_default().trim_ascii();
    if !last.is_empty() {
        parts.push(last);
    }
    parts
}

/// The bytes of a quoted string, strace's escapes undone; nothing if there is no closed quote.
pub(super) fn unquote(text: &[u8]) -> Option<Vec<u8>> {
    let mut rest = text.strip_prefix(b"\"")?;
    let mut out = Vec::new();
    loop {
        let (&byte, after) = rest.split_first()?;
        rest = after;
        match byte {
            b'"' => return Some(out),
            b'\\' => {
                let (value, length) = unescape(rest)?;
                out.push(value);
                rest = rest.get(length..)?;
            }
            _ => out.push(byte),
        }
    }
}

/// `\n`, `\"`, `\x1f` and octal numbers of one to three digits: the byte, and how many bytes it took.
fn unescape(rest: &[u8]) -> Option<(u8, usize)> {
    let number = |from: usize, length: usize, radix| {
        let digits = std::str::from_utf8(rest.get(from..from + length)?).ok()?;
        u8::from_str_radix(digits, radix).ok()
    };
    match rest.first()? {
        b'n' => Some((b'\n', 1)),
        b't' => Some((b'\t', 1)),
        b'r' => Some((b'\r', 1)),
        b'v' => Some((0x0b, 1)),
        b'f' => Some((0x0c, 1)),
        b'x' => number(1, 2, 16).map(|value| (value, 3)),
        b'0'..=b'7' => {
            let length = rest.iter().take(3).take_while(|b| (b'0'..=b'7').contains(b)).count();
            number(0, length, 8).map(|value| (value, length))
        }
        other => Some((*other, 1)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_is_found_whatever_the_arguments_say() {
        let parts = |text: &'static str| {
            let (arguments, result) = end(text.as_bytes());
            (std::str::from_utf8(arguments).unwrap(), result.map(|r| std::str::from_utf8(r).unwrap()))
        };
        assert_eq!(parts("\"a) = 0\", -1) = -1 EPERM (No)"), ("\"a) = 0\", -1", Some("-1 EPERM (No)")));
        assert_eq!(parts("1</tmp/a(b>, \"x\", 1) = 1 <0.000004>"), ("1</tmp/a(b>, \"x\", 1", Some("1")));
        assert_eq!(parts("3<TCP:[1->2]>)    = 0"), ("3<TCP:[1->2]>", Some("0")));
        assert_eq!(parts("{a=[1}, 2)  = 3<socket:[7]>"), ("{a=[1}, 2", Some("3<socket:[7]>")));
        assert_eq!(parts(") = ?"), ("", Some("?")));
        assert_eq!(parts("1, 2"), ("1, 2", None));
    }

    #[test]
    fn arguments_one_by_one() {
        let parts = |text: &str| split("x", text.as_bytes()).join("|");
        assert_eq!(
            parts("RLIMIT_NOFILE, {rlim_cur=20000, rlim_max=20000}"),
            "RLIMIT_NOFILE|{rlim_cur=20000, rlim_max=20000}"
        );
        assert_eq!(parts("SIG_BLOCK, ~[], [], 8"), "SIG_BLOCK|~[]|[]|8");
        assert_eq!(
            parts("{flags=CLONE_VM|CLONE_FS, tls=0x7f} => {parent_tid=[1, 2]}, 88"),
            "{flags=CLONE_VM|CLONE_FS, tls=0x7f} => {parent_tid=[1, 2]}|88"
        );
        assert_eq!(
            parts("2</tmp/a, (b>, \"c, d\\\"\", 1<<CAP_CHOWN"),
            "2</tmp/a, (b>|\"c, d\\\"\"|1<<CAP_CHOWN"
        );
        assert_eq!(parts(""), "");
        assert_eq!(split("x", "\u{1b}[31m\u{202e}".as_bytes()), ["\\u{1b}[31m\\u{202e}"]);
    }

    #[test]
    fn quoted_strings() {
        assert_eq!(unquote(b"\"/a\\\"\\342\\x41\\n\", 1"), Some(b"/a\"\xe2A\n".to_vec()));
        assert_eq!(unquote(b"\"/a"), None);
        assert_eq!(unquote(b"0x7f"), None);
    }

    #[test]
    fn nesting_takes_no_time() {
        for open in ["[", "{", "(", "a(", "[{", "a=[", "\"", "<", "1<"] {
            assert_eq!(split("x", open.repeat(20_000).as_bytes()).len(), 1);
            let deep = format!("{}1", open.repeat(DEPTH_MAX));
            assert!(!split("x", deep.as_bytes()).is_empty());
        }
    }

    proptest::proptest! {
        #[test]
        fn never_panics(bytes: Vec<u8>, text in "[\\[\\]<>() a-c=.,\"{}\\\\&|0-9~/*]{0,80}") {
            let _ = (end(&bytes), split("x", &bytes), unquote(&bytes));
            let _ = (end(text.as_bytes()), split("x", text.as_bytes()), unquote(text.as_bytes()));
        }
    }
}
