//! Separate debug files, which hold the symbols that were stripped from a program: those of debug packages, found by
//! build ID or by name (gdb's manual, "Debugging Information in Separate Files"), and those that a debuginfod server
//! has, where the system names one.

use super::child;
use super::program::Program;
use super::programs::Room;
use nix::unistd::{User, geteuid};
use std::collections::HashMap;
use std::ffi::OsStr;
use std::fmt::Write as _;
use std::fs::File;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// Where distributions put them.
const FOLDER: &str = "/usr/lib/debug";

/// A server that has a file sends it within this; the files of large programs are large.
const PATIENCE: Duration = Duration::from_mins(1);

/// What debuginfod-find(1) goes by, and nothing else of the environment.
const VARIABLES: [&str; 6] = [
    "DEBUGINFOD_URLS",
    "DEBUGINFOD_CACHE_PATH",
    "DEBUGINFOD_TIMEOUT",
    "HOME",
    "XDG_CACHE_HOME",
    "https_proxy",
];

/// Those of them that say where it keeps what it got.
const PLACES: [&str; 3] = ["DEBUGINFOD_CACHE_PATH", "HOME", "XDG_CACHE_HOME"];

/// The debug files that were looked for, by build ID.
#[derive(Default)]
pub struct DebugFiles {
    found: HashMap<Vec<u8>, Option<Arc<Program>>>,
    room: Room,
}

impl DebugFiles {
    /// The debug file of a program, whose path is this.
    pub fn of(&mut self, program: &Program, path: &[u8]) -> Option<Arc<Program>> {
        let id = program.build_id.as_ref()?;
        if let Some(known) = self.found.get(id) {
            return known.clone();
        }
        let found = find(program, id, Path::new(OsStr::from_bytes(path)));
        if !self.room.takes(found.as_deref()) {
            self.found.clear();
        }
        self.found.insert(id.clone(), found.clone());
        found
    }
}

fn find(program: &Program, id: &[u8], path: &Path) -> Option<Arc<Program>> {
    let read = |path: PathBuf| {
        let debug = Program::read(&open(&path)?)?;
        (debug.has_symbols && debug.build_id.as_deref() == Some(id)).then(|| Arc::new(debug))
    };
    candidates(program, id, path).into_iter().find_map(read).or_else(|| read(from_server(id)?))
}

/// Where a debug file may be.
fn candidates(program: &Program, id: &[u8], path: &Path) -> Vec<PathBuf> {
    let hex = hex(id);
    let (first, rest) = hex.split_at(2);
    let mut out = vec![Path::new(FOLDER).join(".build-id").join(first).join(format!("{rest}.debug"))];
    if let (Some(link), Some(folder)) =
        (&program.debug_link, path.parent().filter(|folder| folder.is_absolute()))
    {
        let link = OsStr::from_bytes(link);
        let below = Path::new(FOLDER).join(folder.strip_prefix("/").unwrap_or(folder));
        out.extend([folder.join(link), folder.join(".debug").join(link), below.join(link)]);
    }
    out
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut out, byte| {
        let _ = write!(out, "{byte:02x}");
        out
    })
}

fn open(path: &Path) -> Option<File> {
    crate::root::Root::default().open_file(path).ok()
}

/// Ask debuginfod-find, if the system says which servers may be asked.
fn from_server(id: &[u8]) -> Option<PathBuf> {
    std::env::var_os("DEBUGINFOD_URLS").filter(|urls| !urls.is_empty())?;
    let kept = VARIABLES.iter().filter_map(|name| Some((*name, std::env::var_os(name)?)));
    let mut variables: Vec<_> = kept.collect();
    if geteuid().is_root() {
        // root fills no cache where somebody else says
        variables.retain(|(name, _)| !PLACES.contains(name));
        variables.push(("HOME", User::from_uid(geteuid()).ok()??.dir.into_os_string()));
    }
    let answer = child::ask("debuginfod-find", &["debuginfo", &hex(id)], variables.into_iter(), PATIENCE)?;
    let path = answer.split(|byte| *byte == b'\n').next().filter(|path| path.starts_with(b"/"))?;
    Some(PathBuf::from(OsStr::from_bytes(path)))
}
