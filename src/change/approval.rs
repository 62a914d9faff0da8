//! Approval is a type: whatever writes or restarts takes one, and only a prompt or `--yes` can make it.

use crate::interrupt::Interrupt;
use crate::report::output;
use dialoguer::theme::{SimpleTheme, Theme as _};
use nix::sys::termios::{FlushArg, tcflush};
use std::io::IsTerminal;
use std::sync::mpsc::channel;

/// What the keys do that every question has.
pub(crate) const KEYS: &str =
    "y  do what is said above\nn  change nothing (as do Return, Ctrl-C and Ctrl-D)\n";

/// Somebody agreed to one thing that was shown.
#[derive(Debug)]
pub struct Approval {
    _private: (),
}

/// What came of asking.
#[derive(Debug)]
pub enum Answer {
    /// Go ahead.
    Approved(Approval),
    /// No: said so, pressed Ctrl-C or Ctrl-D, or closed the terminal.
    Declined,
    /// There was nobody to ask: no terminal and no `--yes`.
    NobodyToAsk,
}

/// An answer, or another key that was offered.
#[derive(Debug)]
pub enum Reply {
    /// Yes, no, or nobody.
    Answer(Answer),
    /// One of the keys.
    Key(char),
}

/// Whether `--yes` was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Yes {
    /// It was: nothing is asked.
    Given,
    /// It was not.
    NotGiven,
}

/// Asks, on standard error, and reads the answer from standard input. Both have to be terminals.
#[derive(Clone, Debug)]
pub struct Prompt {
    /// Whether `--yes` answers everything.
    pub yes: Yes,
    /// Ctrl-C and its kin mean no.
    pub interrupt: Interrupt,
}

impl Prompt {
    /// Whether a question would reach anybody.
    #[must_use]
    pub fn somebody_there(&self) -> bool {
        self.yes == Yes::Given || (std::io::stdin().is_terminal() && std::io::stderr().is_terminal())
    }

    /// Say what a yes does, and ask one short question. Only `y` and `yes` approve; `?` has it explained and asked again;
    /// anything else, end of input and signals decline.
    #[must_use]
    pub fn ask(&self, consequence: &str, question: &str) -> Answer {
        match self.ask_or(consequence, question, &[]) {
            Reply::Answer(answer) => answer,
            Reply::Key(_) => Answer::Declined, // none was offered
        }
    }

    /// The same, with other keys to answer with.
    #[must_use]
    pub fn ask_or(&self, consequence: &str, question: &str, keys: &[char]) -> Reply {
        if self.yes == Yes::Given {
            return Reply::Answer(Answer::Approved(Approval { _private: () }));
        }
        if !self.somebody_there() {
            return Reply::Answer(Answer::NobodyToAsk);
        }
        if self.interrupt.raised() {
            return Reply::Answer(Answer::Declined); // to an earlier question
        }
        output::message("\n");
        if !consequence.is_empty() {
            output::paragraph(consequence);
        }
        let offered: String = keys.iter().fold("y/N".to_owned(), |offered, key| format!("{offered}/{key}"));
        let mut answer = self.read_answer(&format!("{question} [{offered}]"));
        while answer.as_deref() == Some("?") && !keys.contains(&'?') {
            output::message(&format!("\n{KEYS}\n"));
            answer = self.read_answer(&format!("{question} [{offered}]"));
        }
        match answer.as_deref() {
            Some("y" | "Y" | "yes" | "Yes" | "YES") => {
                Reply::Answer(Answer::Approved(Approval { _private: () }))
            }
            Some(line) => {
                let mut typed = line.chars();
                let key = typed.next().filter(|key| keys.contains(key) && typed.next().is_none());
                key.map_or(Reply::Answer(Answer::Declined), Reply::Key)
            }
            None => Reply::Answer(Answer::Declined),
        }
    }

    /// The line that was typed, read by a thread of its own, so that a signal ends the waiting at once.
    pub(super) fn read_answer(&self, question: &str) -> Option<String> {
        // what was typed before the question is no answer to it
        let _ = tcflush(std::io::stdin(), FlushArg::TCIFLUSH);
        let mut prompt = String::new();
        let _ = SimpleTheme.format_input_prompt(&mut prompt, question, None);
        output::message(&prompt);
        let (sender, answers) = channel();
        std::thread::spawn(move || {
            // a line as the terminal itself gives it, whose modes stay as they are: Ctrl-D ends it, Ctrl-C is a
            // signal, and leaving while this waits leaves nothing behind
            let mut line = String::new();
            let read = std::io::stdin().read_line(&mut line);
            let _ = sender.send(read.ok().map(|_| line).filter(|l| l.ends_with('\n'))); // or a signal came first
        });
        // a shell has written its own lines meanwhile
        let line = self.interrupt.wait_asking(&answers, || output::message(&format!("\n{prompt}"))).flatten();
        if line.is_none() {
            output::message("\n");
        }
        line.map(|line| line.trim().to_owned())
    }
}
