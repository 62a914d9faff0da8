//! Choosing from a list, and editing a text, on the terminal of whoever is asked.

use super::{Prompt, own_folder};
use crate::report::{output, terminal};
use crate::system_program::PATH;
use console::Term;
use dialoguer::Select;
use dialoguer::theme::{ColorfulTheme, SimpleTheme, Theme};
use nix::sys::termios::{SetArg, tcgetattr, tcsetattr};
use nix::unistd::geteuid;
use std::ffi::OsString;
use std::fs::Permissions;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::sync::mpsc::channel;
use tempfile::TempDir;

/// Columns that the list itself takes before each row.
const MARGIN: usize = 4;

/// What a shell ends with when there is no such command.
const NOT_FOUND: i32 = 127;

/// Where root's file is edited.
const OWN: &str = "/run/unitfix";

/// The most that an edited drop-in may hold.
const TEXT_MAX: u64 = 1 << 20;

impl Prompt {
    /// Have one of several rows chosen with the arrow keys. Nothing: Escape, q, Ctrl-C, or the terminal is gone.
    #[must_use]
    pub fn select(&self, question: &str, rows: &[String], now: usize) -> Option<usize> {
        let term = Term::stderr();
        if !terminal::can_be_drawn_on(&term) {
            return self.select_by_number(question, rows);
        }
        let modes = tcgetattr(io::stdin()).ok()?;
        let width = terminal::columns(&term).saturating_sub(MARGIN);
        // a row that wraps would be drawn over
        let cut = |row: &String| console::truncate_str(row, width, terminal::ellipsis()).into_owned();
        let rows: Vec<String> = rows.iter().map(cut).collect();
        let title = format!("{question} (arrows and Return; Esc: none)");
        let (sender, answers) = channel();
        std::thread::spawn(move || {
            let coloured = console::colors_enabled_stderr() && terminal::reads_utf8();
            let theme: &dyn Theme = if coloured { &ColorfulTheme::default() } else { &SimpleTheme };
            let select = Select::with_theme(theme).with_prompt(title).items(&rows).default(now).report(false);
            let chosen = select.interact_on_opt(&Term::stderr());
            let _ = sender.send(chosen.ok().flatten()); // nobody waits if a signal came first
        });
        let chosen = self.interrupt.wait_for(&answers).flatten();
        // the list hides the cursor, and leaves the terminal as it reads keys when it is given up
        let _ = Term::stderr().show_cursor();
        let _ = tcsetattr(io::stdin(), SetArg::TCSANOW, &modes);
        chosen
    }

    /// The same where no list can be drawn: the rows have numbers, and one of them is typed.
    fn select_by_number(&self, question: &str, rows: &[String]) -> Option<usize> {
        for (number, row) in (1..).zip(rows) {
            output::message(&format!("{number:3}  {row}\n"));
        }
        let typed = self.read_answer(&format!("{question} [1-{}, Return: none]", rows.len()))?;
        typed
            .parse::<usize>()
            .ok()
            .filter(|number| (1..=rows.len()).contains(number))
            .map(|number| number - 1)
    }

    /// Have a text edited in `$VISUAL` or `$EDITOR`, as git does. Nothing: it was left as it is, or emptied.
    pub fn edit(&self, text: &str) -> io::Result<Option<String>> {
        let folder = private_folder()?;
        let path = folder.path().join("drop-in.conf");
        std::fs::write(&path, text)?;
        let mut command = OsString::from("exec ");
        command.push(editor());
        command.push(" \"$1\"");
        let mut shell = Command::new("/bin/sh");
        if geteuid().is_root() {
            // a name without a folder is that of a program of the system, whatever folders the user's PATH names
            shell.env("PATH", format!("/usr/local/sbin:/usr/local/bin:{PATH}"));
        }
        // the editor may be a command with options; the file's name is no part of what the shell reads
        let status = shell.arg("-c").arg(command).arg("sh").arg(&path).status()?;
        if !status.success() {
            let another =
                if status.code() == Some(NOT_FOUND) { "; set EDITOR, for example EDITOR=nano" } else { "" };
            return Err(io::Error::other(format!("the editor ended with {status}{another}")));
        }
        // an editor may have put another file in its place
        if std::fs::metadata(&path)?.len() > TEXT_MAX {
            return Err(io::Error::other("it is larger than a drop-in may be"));
        }
        let edited = std::fs::read_to_string(&path)?;
        Ok((edited != text && !edited.trim().is_empty()).then_some(edited))
    }
}

/// A folder for a file that is edited, and for whatever an editor puts beside it: nobody else can look into it, and of
/// root's nobody else can put another one in its place.
fn private_folder() -> io::Result<TempDir> {
    let mut builder = tempfile::Builder::new();
    builder.prefix("edit-").permissions(Permissions::from_mode(0o700));
    if !geteuid().is_root() {
        return builder.tempdir();
    }
    own_folder(Path::new(OWN))?;
    builder.tempdir_in(OWN)
}

/// Whoever runs this names the editor. As root also `SUDO_EDITOR` counts, and first, as for visudo(8): the others are
/// there only if sudo is told to keep them.
fn editor() -> OsString {
    let sudo = geteuid().is_root().then_some("SUDO_EDITOR");
    let value = |name| std::env::var_os(name).filter(|value| !value.is_empty());
    let named = sudo.into_iter().chain(["VISUAL", "EDITOR"]).find_map(value);
    named.unwrap_or_else(|| default_editor().into())
}

/// The editor where none is named: what Debian calls so, else vi, which POSIX has.
fn default_editor() -> &'static str {
    let debian = std::path::Path::new("/usr/bin/editor");
    if debian.exists() { "/usr/bin/editor" } else { "vi" }
}
