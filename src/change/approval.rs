//! Approval is a type: whatever writes or restarts takes one, and only a prompt or `--yes` can make it.

use crate::interrupt::{GLANCE, Interrupt};
use crate::report::output;
use dialoguer::Input;
use dialoguer::theme::SimpleTheme;
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
        if !consequence.is_empty() {
            output::message(&format!("\n{consequence}\n"));
        }
        match self.read_answer(question).as_deref() {
            Some("y" | "Y" | "yes" | "Yes" | "YES") => Answer::Approved(Approval { _private: () }),
            _ => Answer::Declined,
        }
    }

    /// The line that was typed, read by a thread of its own, so that a signal ends the waiting at once.
    fn read_answer(&self, question: &str) -> Option<String> {
        let (sender, answers) = channel();
        let prompt = format!("{question} [y/N]");
        std::thread::spawn(move || {
            let line = Input::<String>::with_theme(&SimpleTheme)
                .with_prompt(prompt)
                .allow_empty(true)
                .interact_on(&console::Term::stderr());
            let _ = sender.send(line.ok()); // nobody listens any more when a signal came first
        });
        loop {
            match answers.recv_timeout(GLANCE) {
                Ok(line) => return line.map(|l| l.trim().to_owned()),
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
