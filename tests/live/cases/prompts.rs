//! Questions on a real terminal: whatever is not a yes changes nothing, at either question and in the middle of the
//! replay.

use crate::bed::Bed;
use crate::terminal::Terminal;

use super::Case;
use super::support::{ACTIVE, DROP_IN, FAILED, Snapshot, UNIT, assert_said, settings, start_killed};

pub const CASES: &[Case] = &[
    Case::new("prompts::declined_failed", |bed| declined(bed, FAILED, "failed"))
        .only_on(&["host", "bookworm"]),
    Case::new("prompts::declined_active", |bed| declined(bed, ACTIVE, "active"))
        .only_on(&["host", "bookworm"]),
    Case::new("prompts::interrupted_failed", |bed| interrupted(bed, FAILED, "failed")),
    Case::new("prompts::interrupted_active", |bed| interrupted(bed, ACTIVE, "active"))
        .only_on(&["host", "bookworm"]),
    Case::new("prompts::yes", yes),
    Case::new("prompts::choosing", choosing),
    Case::new("prompts::dumb_terminal", dumb_terminal).only_on(&["host", "bookworm"]),
    Case::new("prompts::nothing_chosen", nothing_chosen).only_on(&["host", "bookworm"]),
    Case::new("prompts::editing", editing).only_on(&["host", "bookworm"]),
    Case::new("prompts::terminal_modes", terminal_modes).only_on(&["host", "bookworm"]),
    Case::new("prompts::typed_ahead", typed_ahead).only_on(&["host", "bookworm"]),
    Case::new("prompts::nobody_to_ask", nobody_to_ask),
    Case::new("prompts::reader_went_away", reader_went_away),
];

const REPLAY: &str = "Replay it?";
const APPLY: &str = "Write this, reload and restart?";

/// A way not to say yes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum No {
    Typed,
    Return,
    CtrlC,
    CtrlD,
    HangUp,
}

impl No {
    fn say(self, terminal: &mut Terminal) {
        match self {
            Self::Typed => terminal.send("n\r"),
            Self::Return => terminal.send("\r"),
            Self::CtrlC => terminal.interrupt(),
            Self::CtrlD => terminal.end_of_input(),
            Self::HangUp => terminal.hang_up(),
        }
    }

    /// Whether there is somebody left who may be asked something else.
    fn goes_on(self) -> bool {
        !matches!(self, Self::CtrlC | Self::HangUp)
    }
}

fn ask(terminal: &mut Terminal, question: &str) {
    terminal.expect(question);
    terminal.expect("[y/N");
}

fn declined(bed: &Bed, unit: &str, state: &str) {
    start_killed(bed, unit);
    let before = Snapshot::of(bed, UNIT);
    for no in [No::Typed, No::Return, No::CtrlC, No::CtrlD, No::HangUp] {
        let invocation = bed.show(UNIT, "InvocationID");
        let mut terminal = bed.unitfix_on_terminal(&[UNIT, "--observe", "1"]);
        ask(&mut terminal, REPLAY);
        no.say(&mut terminal);
        if no.goes_on() {
            ask(&mut terminal, APPLY); // of what the logs tell
            no.say(&mut terminal);
        }
        let (status, text) = terminal.wait();
        assert_eq!(status, 1, "{no:?} to the replay: {text}");
        assert!(!text.contains("panicked"), "{text}");
        before.assert_same(bed, UNIT, &format!("{no:?} to the replay"));
        assert_eq!(bed.show(UNIT, "InvocationID"), invocation, "{no:?} to the replay: it was restarted");

        let mut terminal = bed.unitfix_on_terminal(&[UNIT, "--apply", "--observe", "1"]);
        ask(&mut terminal, REPLAY);
        terminal.send("y\r");
        ask(&mut terminal, APPLY);
        assert!(bed.tree("/run/systemd/system").keys().all(|path| !path.starts_with("v.service.d")));
        no.say(&mut terminal);
        let (status, text) = terminal.wait();
        assert_eq!(status, 1, "{no:?} to the repair: {text}");
        assert!(!text.contains("panicked"), "{text}");
        before.assert_same(bed, UNIT, &format!("{no:?} to the repair"));
        assert_eq!(bed.show(UNIT, "ActiveState"), state);
    }
}

/// In the middle of the replay, by Ctrl-C, by a hang-up and by SIGTERM; all engines.
fn interrupted(bed: &Bed, unit: &str, state: &str) {
    start_killed(bed, unit);
    let before = Snapshot::of(bed, UNIT);
    for (how, via) in [("^C", "log"), ("hang-up", "log"), ("TERM", "log"), ("^C", "strace"), ("^C", "notify")]
    {
        let mut terminal = bed.unitfix_on_terminal(&[UNIT, "--apply", "--observe", "20", "--via", via]);
        ask(&mut terminal, REPLAY);
        terminal.send("y\r");
        bed.wait_until("the unit runs in the replay", |bed| {
            bed.tree("/run/systemd/system").keys().any(|path| path.starts_with("v.service.d"))
                && bed.show(UNIT, "ActiveState") == "active"
        });
        match how {
            "^C" => terminal.interrupt(),
            "hang-up" => terminal.hang_up(),
            _ => drop(bed.run(&["sh", "-c", "kill -TERM $(cat /run/unitfix/lock/v.service)"])),
        }
        let (status, text) = terminal.wait();
        assert_eq!(status, 130, "{how}, {via}: {text}");
        assert!(!text.contains("panicked"), "{text}");
        before.assert_same(bed, UNIT, &format!("{how}, {via}"));
        assert_eq!(bed.show(UNIT, "ActiveState"), state);
    }
}

fn yes(bed: &Bed) {
    start_killed(bed, FAILED);
    let mut terminal = bed.unitfix_on_terminal(&[UNIT, "--apply", "--observe", "1"]);
    ask(&mut terminal, REPLAY);
    terminal.send("y\r");
    terminal.expect("for 1 s ... 1s left"); // and nothing of it stays
    terminal.expect("for 1 s ... 1 call denied, nothing lost");
    ask(&mut terminal, APPLY);
    terminal.send("yes\r");
    terminal.expect("Restarting v.service and watching it ...");
    let (status, text) = terminal.wait();
    assert_eq!(status, 0, "{text}");
    assert!(text.contains("Repaired: "), "{text}");
    assert_eq!(settings(bed, DROP_IN), ["SystemCallFilter=setrlimit"]);
    assert_eq!(bed.show(UNIT, "ActiveState"), "active");

    // taking it back is a question as well
    let mut terminal = bed.unitfix_on_terminal(&["revert", UNIT]);
    ask(&mut terminal, "Take this back, reload and restart v.service?");
    terminal.interrupt();
    assert_eq!(terminal.wait().0, 1);
    assert_eq!(settings(bed, DROP_IN), ["SystemCallFilter=setrlimit"]);
    let mut terminal = bed.unitfix_on_terminal(&["revert", UNIT]);
    ask(&mut terminal, "Take this back, reload and restart v.service?");
    terminal.send("y\r");
    assert_eq!(terminal.wait().0, 0);
    assert_eq!(bed.exec(&["test", "-e", "/etc/systemd/system/v.service.d"]).status, 1);
}

/// Explained first, then another change is chosen with the arrow keys; the diff follows.
fn choosing(bed: &Bed) {
    start_killed(bed, FAILED);
    let mut terminal = bed.unitfix_on_terminal(&[UNIT, "--apply", "--observe", "1"]);
    ask(&mut terminal, REPLAY);
    terminal.send("y\r");
    terminal.expect("Write this, reload and restart? [y/N/c/e/?]");
    terminal.send("?\r");
    terminal.expect("setrlimit sets a resource limit");
    terminal.expect("choose another change");
    ask(&mut terminal, APPLY);
    terminal.send("c\r");
    terminal.expect("Which change?");
    terminal.send("\x1b[A\r"); // up, which from the first is the last
    terminal.expect("Repair: allow @resources ("); // how many calls it has depends on systemd
    terminal.expect("+SystemCallFilter=@resources");
    ask(&mut terminal, APPLY);
    terminal.send("y\r");
    let (status, text) = terminal.wait();
    assert_eq!(status, 0, "{text}");
    assert_eq!(settings(bed, DROP_IN), ["SystemCallFilter=@resources"]);
    assert_said(&bed.unitfix(&["revert", UNIT, "--yes"]), 0, &[]);
}

/// On a terminal that only prints what it is sent, nothing is drawn, and the list has numbers. In another character set
/// than UTF-8, nothing but ASCII is printed.
fn dumb_terminal(bed: &Bed) {
    start_killed(bed, FAILED);
    let before = Snapshot::of(bed, UNIT);
    let environment = ["env", "UNITFIX_PROC_ROOT=/run/hostproc", "TERM=dumb", "LC_ALL=de_DE.ISO-8859-1"];
    let unitfix = [&environment[..], &["/run/ut/unitfix", UNIT, "--apply", "--observe", "2"]].concat();
    for (typed, chosen) in [("2\r", true), ("\r", false), ("0\r", false), ("3\r", false), ("x\r", false)] {
        let mut terminal = bed.terminal(&unitfix);
        ask(&mut terminal, REPLAY);
        terminal.send("y\r");
        let said = terminal.expect("[y/N/c/e/?]");
        assert!(said.contains("for 2 s ... 1 call denied, nothing lost"), "{said}");
        terminal.send("?\r");
        terminal.expect("lower its limits (open files, memory, ...)");
        ask(&mut terminal, APPLY);
        terminal.send("c\r");
        terminal.expect("  2  group");
        terminal.expect("Which change? [1-2, Return: none]");
        terminal.send(typed);
        if chosen {
            terminal.expect("+SystemCallFilter=@resources");
        }
        ask(&mut terminal, APPLY);
        terminal.send("n\r");
        assert!(terminal.raw().is_ascii() && !terminal.raw().contains('\x1b'), "{:?}", terminal.raw());
        let (status, text) = terminal.wait();
        assert_eq!((status, text.contains("@@ -0,0 +1,4 @@\n")), (1, true), "{typed:?}: {text}");
        before.assert_same(bed, UNIT, "declined on a dumb terminal");
    }
}

/// Out of the list without a choice: the question comes again, and what is not a yes changes nothing.
fn nothing_chosen(bed: &Bed) {
    start_killed(bed, FAILED);
    let before = Snapshot::of(bed, UNIT);
    for leave in ["\x1b", "q", "^C", "TERM", "hang-up"] {
        let mut terminal = bed.unitfix_on_terminal(&[UNIT, "--apply", "--observe", "1"]);
        ask(&mut terminal, REPLAY);
        terminal.send("y\r");
        ask(&mut terminal, APPLY);
        terminal.send("c\r");
        terminal.expect("Which change?");
        match leave {
            "^C" => terminal.interrupt(),
            "hang-up" => terminal.hang_up(),
            "TERM" => drop(bed.run(&["sh", "-c", "kill -TERM $(cat /run/unitfix/lock/v.service)"])),
            keys => {
                terminal.send(keys);
                ask(&mut terminal, APPLY);
                terminal.send("n\r");
            }
        }
        let (status, text) = terminal.wait();
        assert_eq!(status, 1, "{leave:?}: {text}");
        assert!(!text.contains("panicked"), "{text}");
        before.assert_same(bed, UNIT, &format!("left with {leave:?}"));
    }
}

/// What an editor made of the drop-in is judged again, shown again and asked about again.
fn editing(bed: &Bed) {
    start_killed(bed, FAILED);
    let before = Snapshot::of(bed, UNIT);
    let edit = |editor: &str| {
        let editor = format!("EDITOR={editor}");
        let unitfix = ["env", "UNITFIX_PROC_ROOT=/run/hostproc", &editor, "/run/ut/unitfix"];
        let mut terminal = bed.terminal(&[&unitfix[..], &[UNIT, "--apply", "--observe", "1"]].concat());
        ask(&mut terminal, REPLAY);
        terminal.send("y\r");
        ask(&mut terminal, APPLY);
        terminal.send("e\r");
        terminal
    };
    let mut terminal = edit("sed -i s/=setrlimit/=setrlimit\\ mlock\\ nonsense/");
    terminal.expect("'nonsense' is no system call that this system knows");
    terminal.expect("+SystemCallFilter=setrlimit mlock nonsense");
    ask(&mut terminal, APPLY);
    terminal.send("n\r");
    assert_eq!(terminal.wait().0, 1);
    before.assert_same(bed, UNIT, "edited and declined");

    let mut terminal = edit("sed -i s/=setrlimit/=~setrlimit/");
    terminal.expect("setrlimit is still forbidden: it kills");
    ask(&mut terminal, APPLY);
    terminal.send("y\r"); // somebody insists
    let (status, text) = terminal.wait();
    assert_eq!(status, 4, "{text}");
    before.assert_same(bed, UNIT, "edited so that it does not help");

    let mut terminal = edit("false");
    terminal.expect("it cannot be edited: the editor ended with exit status: 1");
    ask(&mut terminal, APPLY);
    terminal.send("n\r");
    assert_eq!(terminal.wait().0, 1);

    let mut terminal = edit("sed -i s/=setrlimit/=setrlimit\\ setpriority/");
    terminal.expect("Repair: allow setpriority and setrlimit (2 calls more)");
    ask(&mut terminal, APPLY);
    terminal.send("y\r");
    let (status, text) = terminal.wait();
    assert_eq!(status, 0, "{text}");
    assert_eq!(settings(bed, DROP_IN), ["SystemCallFilter=setrlimit setpriority"]);
    assert_said(&bed.unitfix(&["revert", UNIT, "--yes"]), 0, &["as it was before unitfix"]);
}

/// What was typed before a question is no answer to it, nor is a word that Return does not follow.
fn typed_ahead(bed: &Bed) {
    start_killed(bed, FAILED);
    let before = Snapshot::of(bed, UNIT);
    let mut terminal = bed.unitfix_on_terminal(&[UNIT, "--apply", "--observe", "2"]);
    ask(&mut terminal, REPLAY);
    terminal.send("?\r"); // is no answer, but a question
    terminal.expect("n  change nothing (as do Return, Ctrl-C and Ctrl-D)");
    ask(&mut terminal, REPLAY);
    bed.run(&["pkill", "-CONT", "-x", "unitfix"]); // as fg after Ctrl-Z does
    ask(&mut terminal, REPLAY);
    terminal.send("y\r");
    bed.wait_until("the unit runs in the replay", |bed| bed.show(UNIT, "ActiveState") == "active");
    terminal.send("y\r");
    ask(&mut terminal, APPLY);
    terminal.send("y");
    terminal.end_of_input(); // gives the word to the reader
    terminal.end_of_input();
    let (status, text) = terminal.wait();
    assert_eq!(status, 1, "{text}");
    before.assert_same(bed, UNIT, "typed ahead");
}

/// The terminal is left as it was, whatever ends the question.
fn terminal_modes(bed: &Bed) {
    start_killed(bed, FAILED);
    let script = "before=$(stty -g); env UNITFIX_PROC_ROOT=/run/hostproc /run/ut/unitfix v.service; \
                  echo status $?; test \"$before\" = \"$(stty -g)\" && echo same modes";
    for how in ["^C", "TERM"] {
        let mut terminal = bed.terminal(&["sh", "-c", &format!("trap : INT; {script}")]);
        ask(&mut terminal, REPLAY);
        match how {
            "^C" => terminal.interrupt(),
            _ => drop(bed.run(&["sh", "-c", "kill -TERM $(cat /run/unitfix/lock/v.service)"])),
        }
        let (_, text) = terminal.wait();
        assert!(text.contains("status 1\n") && text.contains("same modes"), "{how}: {text}");
    }
}

fn nobody_to_ask(bed: &Bed) {
    for unit in [FAILED, ACTIVE] {
        start_killed(bed, unit);
        let (before, invocation) = (Snapshot::of(bed, UNIT), bed.show(UNIT, "InvocationID"));
        let output = bed.unitfix(&[UNIT, "--apply", "--observe", "1"]);
        assert_said(&output, 1, &["Nothing was changed", "--yes"]);
        assert!(!output.stderr.contains("Replaying"), "{output:?}");
        before.assert_same(bed, UNIT, "nobody to ask");
        assert_eq!(bed.show(UNIT, "InvocationID"), invocation, "it was not restarted");
        bed.exec(&["systemctl", "stop", UNIT]);
    }
}

/// `unitfix | head`: the run goes on to its end, and nothing panics.
fn reader_went_away(bed: &Bed) {
    start_killed(bed, FAILED);
    let before = Snapshot::of(bed, UNIT);
    let script = r#"{ env UNITFIX_PROC_ROOT=/run/hostproc /run/ut/unitfix v.service --yes --observe 1; echo "status $?" >&2; } | true"#;
    let output = bed.exec(&["bash", "-c", script]);
    assert!(output.stderr.contains("status 1"), "{output:?}");
    assert!(!output.stderr.contains("panicked"), "{output:?}");
    before.assert_same(bed, UNIT, "with a reader that went away");
}
