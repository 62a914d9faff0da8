//! A command on a real terminal inside a bed: for prompts, Ctrl-C and hang-ups.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

const DEADLINE: Duration = Duration::from_mins(1);
const SIZE: rustix::termios::Winsize =
    rustix::termios::Winsize { ws_row: 50, ws_col: 120, ws_xpixel: 0, ws_ypixel: 0 };

/// The master side of a pseudoterminal of the bed's own `/dev/pts`, and the command whose controlling
/// terminal the other side is.
pub struct Terminal {
    master: Option<File>,
    child: Child,
    raw: Vec<u8>,
    /// How much of the text [`Terminal::expect`] has gone past.
    seen: usize,
}

impl Terminal {
    /// Runs `exec`, a command line that enters the bed and takes one more command, with `arguments`.
    pub(crate) fn start(bed_root: &Path, mut exec: Command, arguments: &[&str]) -> Self {
        let master = open(&bed_root.join("dev/pts/ptmx"));
        rustix::pty::unlockpt(&master).unwrap();
        rustix::termios::tcsetwinsize(&master, SIZE).unwrap();
        let name = PathBuf::from(rustix::pty::ptsname(&master, Vec::new()).unwrap().into_string().unwrap());
        let other_side = open(&bed_root.join(name.strip_prefix("/").unwrap()));

        // setsid makes it the controlling terminal; so signals of the terminal reach the command alone,
        // not the chain of processes that leads into the bed.
        let child = exec
            .args(["setsid", "--ctty"])
            .args(arguments)
            .stdin(other_side.try_clone().unwrap())
            .stdout(other_side.try_clone().unwrap())
            .stderr(other_side)
            .spawn()
            .unwrap();
        Self { master: Some(master), child, raw: Vec::new(), seen: 0 }
    }

    /// Everything printed so far, without colours and other escapes.
    pub fn text(&self) -> String {
        console::strip_ansi_codes(&String::from_utf8_lossy(&self.raw)).replace('\r', "")
    }

    /// The same with all escapes.
    pub fn raw(&self) -> String {
        String::from_utf8_lossy(&self.raw).into_owned()
    }

    /// Reads until `pattern` appears in what no earlier `expect` has gone past; returns the text up to its end.
    pub fn expect(&mut self, pattern: &str) -> String {
        let end = Instant::now() + DEADLINE;
        loop {
            let text = self.text();
            let unseen = text.get(self.seen..).unwrap_or_default();
            if let Some(at) = unseen.find(pattern) {
                let found = unseen[..at + pattern.len()].to_owned();
                self.seen += found.len();
                return found;
            }
            let open = self.read_some();
            assert!(open, "the terminal closed and {pattern:?} never appeared in:\n{text}");
            assert!(Instant::now() < end, "{pattern:?} does not appear in:\n{text}");
        }
    }

    /// Types `keys`. Return is `\r`.
    pub fn send(&mut self, keys: &str) {
        self.master.as_mut().expect("not hung up").write_all(keys.as_bytes()).unwrap();
    }

    /// Ctrl-C.
    pub fn interrupt(&mut self) {
        self.send("\x03");
    }

    /// Ctrl-D.
    pub fn end_of_input(&mut self) {
        self.send("\x04");
    }

    /// The terminal goes away, as when a connection breaks.
    pub fn hang_up(&mut self) {
        self.master = None;
    }

    /// Waits for the command to end, reading on. Returns its exit status, as a shell has it, and all of the text.
    pub fn wait(self) -> (i32, String) {
        self.wait_for(DEADLINE)
    }

    /// The same, for at most so long.
    pub fn wait_for(mut self, limit: Duration) -> (i32, String) {
        let end = Instant::now() + limit;
        loop {
            let status = self.child.try_wait().unwrap();
            if !self.read_some() {
                thread::sleep(Duration::from_millis(10));
            } else if status.is_some() {
                continue; // until everything is read
            }
            if let Some(status) = status {
                return (crate::bed::status(status), self.text());
            }
            assert!(Instant::now() < end, "the command does not end:\n{}", self.text());
        }
    }

    /// Reads what is there within a short while. False once the other side, or this one, is closed.
    fn read_some(&mut self) -> bool {
        let Some(master) = &mut self.master else { return false };
        let a_while = Timespec { tv_sec: 0, tv_nsec: 50_000_000 };
        if poll(&mut [PollFd::new(master, PollFlags::IN)], Some(&a_while)).unwrap() == 0 {
            return true;
        }
        let mut buffer = [0; 4096];
        match master.read(&mut buffer) {
            Ok(n) if n > 0 => {
                self.raw.extend_from_slice(&buffer[..n]);
                true
            }
            _ => false,
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        self.master = None;
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

fn open(path: &Path) -> File {
    OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(libc::O_NOCTTY)
        .open(path)
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
