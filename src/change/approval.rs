//! Approval is a type: whatever writes or restarts takes one, and only a prompt or `--yes` can make it.

use crate::interrupt::{GLANCE, Interrupt};
use crate::report::output;
use dialoguer::theme::{SimpleTheme, Theme as _};
use nix::sys::termios::{FlushArg, tcflush};
use std::io::IsTerminal;
use std::sync::mpsc::channel;

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

    /// Say what a yes does, and ask one short question. Only `y` and `yes` approve; anything else, end of input and
    /// signals decline.
    #[must_use]
    pub fn ask(&self, consequence: &str, question: &str) -> Answer {
        if self.yes == Yes::Given {
            return Answer::Approved(Approval { _private: () });
        }
        if !self.somebody_there() {
            return Answer::NobodyToAsk;
        }
        if self.interrupt.raised() {
            return Answer::Declined; // to an earlier question
        }
        output::message(&if consequence.is_empty() { "\n".to_owned() } else { format!("\n{consequence}\n") });
        match self.read_answer(question).as_deref() {
            Some("y" | "Y" | "yes" | "Yes" | "YES") => Answer::Approved(Approval { _private: () }),
            _ => Answer::Declined,
        }
    }

    /// The line that was typed, read by a thread of its own, so that a signal ends the waiting at once.
    fn read_answer(&self, question: &str) -> Option<String> {
        // what was typed before the question is no answer to it
        let _ = tcflush(std::io::stdin(), FlushArg::TCIFLUSH);
        let mut prompt = String::new();
        let _ = SimpleTheme.format_input_prompt(&mut prompt, &format!("{question} [y/N]"), None);
        output::message(&prompt);
        let (sender, answers) = channel();
        std::thread::spawn(move || {
            // a line as the terminal itself gives it, whose modes stay as they are: Ctrl-D ends it, Ctrl-C is a
            // signal, and leaving while this waits leaves nothing behind
            let mut line = String::new();
            let read = std::io::stdin().read_line(&mut line);
            let _ = sender.send(read.ok().map(|_| line).filter(|l| l.ends_with('\n'))); // or a signal came first
        });
        loop {
            match answers.recv_timeout(GLANCE) {
                Ok(Some(line)) => return Some(line.trim().to_owned()),
                Ok(None) => {
                    output::message("\n");
                    return None;
                }
                Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => return None,
                Err(std::sync::mpsc::RecvTimeoutError::Timeout) if self.interrupt.raised() => {
                    output::message("\n");
                    return None;
                }
                Err(std::sync::mpsc::RecvTimeoutError::Timeout) => {}
            }
        }
    }
}
