//! Unified diffs as `git apply` and `patch -p1` take them, of bytes: a unit file's comments need not be UTF-8.

use super::Patched;
use similar::{Algorithm, DiffOp, capture_diff_slices, group_diff_ops};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Lines around a change.
const CONTEXT: usize = 3;

/// The change of a file, which goes by this name in `a/` and `b/`.
pub(crate) fn unified(file: &Patched, name: &Path) -> Vec<u8> {
    let lines = |bytes| -> Vec<&[u8]> { <[u8]>::split_inclusive(bytes, |byte| *byte == b'\n').collect() };
    let (old, new) = (lines(&file.before), lines(&file.after));
    let mut out = Vec::new();
    for (mark, side) in [("---", "a"), ("+++", "b")] {
        out.extend(format!("{mark} {}\n", header(side, name)).bytes());
    }
    for hunk in group_diff_ops(capture_diff_slices(Algorithm::Myers, &old, &new), CONTEXT) {
        let (Some(first), Some(last)) = (hunk.first(), hunk.last()) else { continue };
        let olds = range(first.old_range().start, last.old_range().end);
        let news = range(first.new_range().start, last.new_range().end);
        out.extend(format!("@@ -{olds} +{news} @@\n").bytes());
        for op in hunk {
            add_lines(&mut out, op, &old, &new);
        }
    }
    out
}

fn add_lines(out: &mut Vec<u8>, op: DiffOp, old: &[&[u8]], new: &[&[u8]]) {
    let mut add = |mark: u8, lines: Option<&[&[u8]]>| {
        for line in lines.unwrap_or_default() {
            out.push(mark);
            out.extend(*line);
            if !line.ends_with(b"\n") {
                out.extend(b"\n\\ No newline at end of file\n");
            }
        }
    };
    if let DiffOp::Equal { .. } = op {
        add(b' ', old.get(op.old_range()));
    } else {
        add(b'-', old.get(op.old_range()));
        add(b'+', new.get(op.new_range()));
    }
}

/// First line and count, as diff(1) writes them.
fn range(start: usize, end: usize) -> String {
    match end - start {
        0 => format!("{start},0"),
        1 => format!("{}", start + 1),
        count => format!("{},{count}", start + 1),
    }
}

/// A name as git writes it: in quotes where it holds odd bytes, and with a tab behind it where it holds a space, at which
/// patch(1) would end it otherwise.
fn header(side: &str, name: &Path) -> String {
    let bytes = name.as_os_str().as_bytes();
    match std::str::from_utf8(bytes) {
        Ok(text) if !text.contains(|c: char| c.is_control() || c == '"') => {
            let tab = if text.contains(' ') { "\t" } else { "" };
            format!("{side}/{text}{tab}")
        }
        _ => {
            let quoted = |byte: &u8| match byte {
                b'"' | b'\\' => format!("\\{}", char::from(*byte)),
                b' '..=b'~' => char::from(*byte).to_string(),
                other => format!("\\{other:03o}"),
            };
            format!("\"{side}/{}\"", bytes.iter().map(quoted).collect::<String>())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::OsStr;

    fn diff(before: &[u8], after: &[u8]) -> String {
        let file = Patched { path: "/x".into(), before: before.into(), after: after.into() };
        String::from_utf8_lossy(&unified(&file, Path::new("x"))).into_owned()
    }

    #[test]
    fn hunks_and_missing_newlines() {
        assert_eq!(
            diff(b"1\n2\n3\n4\n5\r\n", b"1\n2\n3\n4\n5\r\n6\r\n"),
            "--- a/x\n+++ b/x\n@@ -3,3 +3,4 @@\n 3\n 4\n 5\r\n+6\r\n"
        );
        assert_eq!(
            diff(b"1", b"1\n2"),
            "--- a/x\n+++ b/x\n@@ -1 +1,2 @@\n-1\n\\ No newline at end of file\n+1\n+2\n\\ No newline at end of file\n"
        );
        assert_eq!(diff(b"1\n2\n", b"1\n"), "--- a/x\n+++ b/x\n@@ -1,2 +1 @@\n 1\n-2\n");
        let long = "=\n".repeat(9);
        let (before, after) = (format!("a\n{long}b\n"), format!("A\n{long}B\n"));
        assert_eq!(
            diff(before.as_bytes(), after.as_bytes()),
            "--- a/x\n+++ b/x\n@@ -1,4 +1,4 @@\n-a\n+A\n =\n =\n =\n@@ -8,4 +8,4 @@\n =\n =\n =\n-b\n+B\n"
        );
    }

    #[test]
    fn names_that_are_odd() {
        assert_eq!(header("a", Path::new("d/x\\x2dy.service")), "a/d/x\\x2dy.service");
        assert_eq!(header("a", Path::new("my dir/x.service")), "a/my dir/x.service\t");
        assert_eq!(header("b", Path::new("a\n+++ \"b")), "\"b/a\\012+++ \\\"b\"");
        assert_eq!(header("b", Path::new(OsStr::from_bytes(b"\xff"))), "\"b/\\377\"");
    }
}
