//! Timing processes.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

/// Somebody who can do a work: a command, whose output nobody reads.
#[derive(Clone)]
pub struct Contender {
    /// What it is called in the table.
    pub name: String,
    /// The program and its arguments.
    pub words: Vec<OsString>,
    /// What it reads; nothing: an empty input.
    pub stdin: Option<PathBuf>,
    /// A folder that is emptied before each run.
    pub empties: Option<PathBuf>,
    /// It does only this part of the work, and counts as if it did all of it.
    pub part: f64,
    /// Exit statuses up to this one are no failures.
    pub highest_status: i32,
}

impl Contender {
    pub fn new(name: &str, words: &[&str]) -> Self {
        let words = words.iter().map(OsString::from).collect();
        Contender { name: name.to_owned(), words, stdin: None, empties: None, part: 1.0, highest_status: 0 }
    }

    pub fn reads(mut self, path: &Path) -> Self {
        self.stdin = Some(path.to_owned());
        self
    }

    pub fn empties(mut self, path: &Path) -> Self {
        self.empties = Some(path.to_owned());
        self
    }

    /// It does only a part of the work, because all of it takes too long.
    pub fn part(mut self, part: f64) -> Self {
        self.part = part;
        self
    }

    /// It exits with 1 when it has found something.
    pub fn finds(mut self) -> Self {
        self.highest_status = 1;
        self
    }

    /// Whether its program is there.
    fn is_installed(&self) -> bool {
        self.words.first().is_some_and(|program| find(Path::new(program)).is_some())
    }

    fn prepare(&self, before: &[&str]) -> io::Result<Command> {
        if let Some(folder) = &self.empties {
            match std::fs::remove_dir_all(folder) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => std::fs::create_dir_all(folder)?,
            }
        }
        let mut words = before.iter().map(OsString::from).chain(self.words.iter().cloned());
        let mut command = Command::new(words.next().unwrap_or_default());
        command.args(words).stdout(Stdio::null()).stderr(Stdio::null());
        command.stdin(match &self.stdin {
            Some(path) => Stdio::from(File::open(path)?),
            None => Stdio::null(),
        });
        Ok(command)
    }

    /// The seconds that one run takes.
    fn seconds(&self) -> io::Result<f64> {
        let mut command = self.prepare(&[])?;
        let begun = Instant::now();
        command.status()?;
        Ok(begun.elapsed().as_secs_f64() / self.part)
    }

    /// Run it once: everything is in the page cache from here on. An error: why it cannot do this work here.
    pub fn try_once(&self) -> io::Result<Result<(), String>> {
        if !self.is_installed() {
            return Ok(Err("not installed".to_owned()));
        }
        let output = self.prepare(&[])?.stderr(Stdio::piped()).output()?;
        if output.status.code().is_some_and(|status| status <= self.highest_status) {
            return Ok(Ok(()));
        }
        let said = String::from_utf8_lossy(&output.stderr);
        let why = said.lines().find(|line| line.to_lowercase().contains("error")).or(said.lines().next());
        Ok(Err(format!("does not run here: {}", why.unwrap_or("it failed").trim())))
    }

    /// The most memory that it has, in KiB, as time(1) tells; nothing where that is not installed.
    pub fn memory(&self) -> io::Result<Option<u64>> {
        let Some(time) = find(Path::new("time")) else { return Ok(None) };
        let file = tempfile::NamedTempFile::new()?;
        let (time, told) = (time.to_string_lossy(), file.path().to_string_lossy());
        self.prepare(&[&time, "--quiet", "--format=%M", "--output", &told])?.status()?;
        Ok(std::fs::read_to_string(file.path())?.trim().parse().ok())
    }
}

/// Where a program is.
pub fn find(program: &Path) -> Option<PathBuf> {
    if program.components().count() > 1 {
        return program.is_file().then(|| program.to_owned());
    }
    let path = std::env::var_os("PATH")?;
    let cargo = std::env::home_dir().map(|home| home.join(".cargo/bin"));
    std::env::split_paths(&path).chain(cargo).map(|folder| folder.join(program)).find(|path| path.is_file())
}

/// The median seconds of each, of so many runs, in each of which everybody has a turn.
pub fn interleaved(contenders: &[&Contender], runs: usize) -> io::Result<Vec<f64>> {
    let mut seconds = vec![Vec::new(); contenders.len()];
    for _ in 0..runs {
        for (contender, seconds) in contenders.iter().zip(&mut seconds) {
            seconds.push(contender.seconds()?);
        }
    }
    Ok(seconds.into_iter().map(median).collect())
}

fn median(mut seconds: Vec<f64>) -> f64 {
    seconds.sort_by(f64::total_cmp);
    seconds.get(seconds.len() / 2).copied().unwrap_or(f64::NAN)
}
