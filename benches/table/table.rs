//! Running the rows and printing the table.

use crate::Options;
use crate::inputs::Inputs;
use crate::measure::interleaved;
use crate::rows::{Goal, Row, all};
use std::error::Error;
use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

/// Between these lines of README.md the table stands.
const MARKS: [&str; 2] = ["<!-- begin: made by benches/run --write -->", "<!-- end -->"];

pub fn run(options: &Options) -> Result<(), Box<dyn Error>> {
    std::fs::create_dir_all(&options.folder)?;
    let inputs = Inputs { folder: options.folder.clone(), scale: options.scale };
    let mut text = head(options);
    print!("{text}");
    for row in all(&inputs) {
        if options.only.as_deref().is_some_and(|only| !row.work.contains(only)) {
            continue;
        }
        let lines = lines(&row, &inputs, options)?;
        print!("{lines}");
        text.push_str(&lines);
    }
    if options.write {
        write(Path::new("README.md"), &text)?;
    }
    Ok(())
}

fn head(options: &Options) -> String {
    let said = |words: &[&str]| {
        let output =
            words.split_first().and_then(|(program, rest)| Command::new(program).args(rest).output().ok());
        let text = output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
        text.filter(|text| !text.is_empty()).unwrap_or_else(|| "unknown".to_owned())
    };
    let processor = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let processor = processor.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    format!(
        "{} at commit {}; {} cores, {}, Linux {}; medians of {} runs{}.\n\n\
         | work | unitfix | against | ratio | goal | |\n|---|---|---|---|---|---|\n",
        said(&["date", "-u", "+%Y-%m-%d"]),
        said(&["git", "describe", "--always", "--dirty"]),
        cores,
        processor.map_or("unknown processor", |(_, name)| name),
        said(&["uname", "-r"]),
        options.runs,
        if options.scale < 1.0 {
            format!("; inputs of {} of their size", options.scale)
        } else {
            String::new()
        },
    )
}

/// The lines of a row: one for each that it is compared with, and one for its memory.
fn lines(row: &Row, inputs: &Inputs, options: &Options) -> Result<String, Box<dyn Error>> {
    (row.prepare)(inputs)?;
    row.ours.try_once()?.map_err(|why| format!("{}: {why}", row.work))?;
    let tried: Vec<Result<(), String>> =
        row.peers.iter().map(|(peer, _)| peer.try_once()).collect::<Result<_, _>>()?;
    let running = row.peers.iter().zip(&tried).filter(|(_, tried)| tried.is_ok()).map(|((peer, _), _)| peer);
    let contenders: Vec<_> = std::iter::once(&row.ours).chain(running).collect();
    let mut seconds = interleaved(&contenders, options.runs)?.into_iter();
    let ours = seconds.next().unwrap_or(f64::NAN);
    let mut text = String::new();
    let mut work = format!("{} | {}", row.work, shown(ours));
    let mut line = |against: &str, ratio: &str, goal: &str, verdict: &str| {
        let _ = writeln!(
            text,
            "| {} | {against} | {ratio} | {goal} | {verdict} |",
            std::mem::replace(&mut work, " |".to_owned())
        );
    };
    for ((peer, goal), tried) in row.peers.iter().zip(&tried) {
        if let Err(why) = tried {
            line(&peer.name, why, &goal_words(*goal), "");
            continue;
        }
        let theirs = seconds.next().unwrap_or(f64::NAN);
        let part =
            if peer.part < 1.0 { format!(", by {} of the work", fraction(peer.part)) } else { String::new() };
        let ratio = ours / theirs;
        let verdict = match goal {
            Goal::None => "",
            Goal::AtMost(most) if ratio <= *most => "reached",
            Goal::AtMost(_) => "**lost**",
        };
        line(
            &format!("{} {}{part}", peer.name, shown(theirs)),
            &ratio_words(ratio),
            &goal_words(*goal),
            verdict,
        );
    }
    if let Some(most) = row.memory {
        let (kib, verdict) = match row.ours.memory()? {
            None => ("time(1) is not installed".to_owned(), ""),
            Some(kib) => (
                format!("{:.1} MiB", kib as f64 / 1024.0),
                if kib <= most * 1024 { "reached" } else { "**lost**" },
            ),
        };
        line("memory", &kib, &format!("≤ {most} MiB"), verdict);
    }
    Ok(text)
}

fn shown(seconds: f64) -> String {
    match seconds {
        s if s < 0.01 => format!("{:.2} ms", s * 1e3),
        s if s < 1.0 => format!("{:.0} ms", s * 1e3),
        s => format!("{s:.2} s"),
    }
}

fn ratio_words(ratio: f64) -> String {
    if ratio < 0.1 { fraction(ratio) } else { format!("{ratio:.2}") }
}

fn fraction(value: f64) -> String {
    format!("1/{:.0}", 1.0 / value)
}

fn goal_words(goal: Goal) -> String {
    match goal {
        Goal::None => String::new(),
        Goal::AtMost(most) => format!("≤ {}", ratio_words(most)),
    }
}

fn write(path: &Path, table: &str) -> Result<(), Box<dyn Error>> {
    let text = std::fs::read_to_string(path)?;
    let begin = text.find(MARKS[0]).ok_or("README.md has lost its mark")? + MARKS[0].len();
    let end = begin + text[begin..].find(MARKS[1]).ok_or("README.md has lost its second mark")?;
    std::fs::write(path, format!("{}\n{table}{}", &text[..begin], &text[end..]))?;
    Ok(())
}
