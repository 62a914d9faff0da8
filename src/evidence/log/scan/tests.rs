use super::super::pieces::PIECE;
use super::*;
use proptest::prelude::*;
use std::io::Write;

/// What is to be found: line number, line, and how many lines and overlong ones there are, by the plainest of readers.
fn plain(text: &[u8], line_max: usize) -> (Vec<(u64, Vec<u8>)>, u64, u64) {
    let (mut found, mut lines, mut too_long) = (Vec::new(), 0, 0);
    for line in text.split_inclusive(|b| *b == b'\n') {
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        if line.len() > line_max {
            too_long += 1;
        } else if let Some(found_line) = judge(line) {
            found.push((lines, found_line));
        }
        lines += 1;
    }
    (found, lines, too_long)
}

fn judge(line: &[u8]) -> Option<Vec<u8>> {
    let holds = line.windows(2).any(|two| two == b"ab" || two == b"ba") || line.starts_with(b"cc");
    holds.then(|| line.to_vec())
}

fn search(line_max: usize) -> Search {
    Search::new(&["ab", "ba"], line_max).or_beginning("\ncc")
}

#[derive(Default)]
struct Sum {
    found: Vec<(u64, Vec<u8>)>,
    lines: u64,
    too_long: u64,
    bytes: u64,
}

impl Sum {
    fn add(&mut self, batch: Batch<Vec<u8>>) {
        self.found.extend(batch.found.into_iter().map(|(before, line)| (self.lines + before, line)));
        self.lines += batch.lines;
        self.too_long += batch.too_long;
        self.bytes += batch.bytes;
    }
}

/// Hands over few bytes at a time.
struct Slow<'a>(&'a [u8], usize);

impl Read for Slow<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let some = buffer.len().min(self.1);
        self.0.read(buffer.get_mut(..some).unwrap())
    }
}

fn compare(text: &[u8], line_max: usize, step: usize) {
    let (found, lines, too_long) = plain(text, line_max);
    let mut sum = Sum::default();
    search(line_max)
        .stream(Slow(text, step), judge, |batch| {
            sum.add(batch);
            Ok(())
        })
        .unwrap();
    assert_eq!(
        (&sum.found, sum.lines, sum.too_long, sum.bytes),
        (&found, lines, too_long, text.len() as u64)
    );
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(text).unwrap();
    let mut sum = Sum::default();
    search(line_max)
        .file(&file, judge, |batch| {
            sum.add(batch);
            Ok(())
        })
        .unwrap();
    assert_eq!(
        (&sum.found, sum.lines, sum.too_long, sum.bytes),
        (&found, lines, too_long, text.len() as u64)
    );
}

proptest! {
    #[test]
    fn small_inputs(text in "[abcx\n]{0,200}", line_max in 2_usize..40, step in 1_usize..50) {
        compare(text.as_bytes(), line_max, step);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn inputs_of_several_pieces(
        parts in prop::collection::vec(("[abc\n]{0,12}", 0_usize..300_000, any::<bool>()), 1..40),
        line_max in 1000_usize..400_000,
    ) {
        let mut text = Vec::new();
        for (some, filling, ends) in parts {
            text.extend(some.bytes());
            text.resize(text.len() + filling, b'x');
            if ends {
                text.push(b'\n');
            }
        }
        compare(&text, line_max, 100_000);
    }
}

#[test]
fn an_error_ends_both_threads() {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(&b"ab\n".repeat(64 * PIECE / 3)).unwrap();
    let mut batches = 0;
    let end = search(100).file(&file, judge, |_| {
        batches += 1;
        if batches == 3 { Err(io::Error::other("enough")) } else { Ok(()) }
    });
    assert_eq!((end.unwrap_err().to_string().as_str(), batches), ("enough", 3));
}
