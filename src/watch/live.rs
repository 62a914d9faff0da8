//! What people see of a watch: a list that is drawn anew in its place on a terminal; elsewhere one line for each kind of
//! call, when it is first made.

use super::{Event, Glance, Onlooker};
use crate::evidence::one_line;
use crate::replay::session::now_us;
use crate::report::{DenialRow, People, output, terminal, who};
use crate::span;
use console::{Alignment, Term, pad_str, style, truncate_str};
use std::time::Duration;

/// Columns of the list at most, and those of its columns but the program.
const WIDTH: usize = 80;
const CALL: usize = 17;
const COUNT: usize = 8;
const TIME: usize = 8;
/// A program gets what is left, but never less.
const PROGRAM_MIN: usize = 8;

/// Lines around the list that are not kinds of calls.
const FRAME: usize = 4;

/// Says it in lines that stay.
pub(super) struct Lines {
    pub(super) people: People,
    pub(super) unit: String,
}

impl Onlooker for Lines {
    fn told(&mut self, event: &Event) {
        match event {
            Event::Denied { denial, .. } => output::result(&kind_line(denial, &self.people)),
            event => notice(event, &self.unit, &self.people),
        }
    }

    fn look(&mut self, _: &[DenialRow], _: Glance) {}
}

/// A kind of call, when it is new.
fn kind_line(row: &DenialRow, people: &People) -> String {
    let time = row.first.map(|first| format!("at {}", people.time(first))).unwrap_or_default();
    format!("  {:8} {}   {}   {time}\n", row.effect, who(row), row.call)
}

/// What else happened, with its time.
fn notice(event: &Event, unit: &str, people: &People) {
    if let Some(words) = event.words(unit) {
        output::message(&format!("{}  {}\n", people.time(now_us()), one_line(&words)));
    }
}

/// Draws it on a terminal.
pub(super) struct List {
    term: Term,
    people: People,
    unit: String,
    limit: Option<Duration>,
    /// How many lines stand there.
    drawn: usize,
}

impl List {
    pub(super) fn new(people: People, unit: String, limit: Option<Duration>) -> Self {
        List { term: Term::buffered_stdout(), people, unit, limit, drawn: 0 }
    }

    /// Take away what stands there, and what somebody typed below it.
    fn erase(&mut self) {
        if self.drawn > 0 {
            // a terminal that went away is no reason to end: what it shows is only repeated
            let _ = self.term.move_cursor_up(self.drawn);
            let _ = self.term.clear_line();
            let _ = self.term.clear_to_end_of_screen();
            self.drawn = 0;
        }
    }
}

impl Onlooker for List {
    fn told(&mut self, event: &Event) {
        if event.words(&self.unit).is_some() {
            self.erase();
            let _ = self.term.flush();
            notice(event, &self.unit, &self.people);
        }
    }

    fn look(&mut self, rows: &[DenialRow], glance: Glance) {
        self.erase();
        if !glance.over {
            let height = self.term.size().0;
            let head = head(&self.unit, glance.elapsed, self.limit, rows.len());
            let lines = list(rows, &head, &self.people, (height.into(), terminal::columns(&self.term)));
            for line in &lines {
                let line = output::harmless(line, console::colors_enabled());
                let _ = self.term.write_line(&terminal::readable(&line));
            }
            self.drawn = lines.len();
        }
        let _ = self.term.flush();
    }
}

/// The line above the list.
fn head(unit: &str, elapsed: Duration, limit: Option<Duration>, kinds: usize) -> String {
    let of = limit.map(|limit| format!(" of {}", span::shown(limit))).unwrap_or_default();
    let kinds = match kinds {
        0 => "no call denied".to_owned(),
        1 => "1 kind of call denied".to_owned(),
        n => format!("{n} kinds of calls denied"),
    };
    format!("{} in complain mode, {}{of}: {kinds}. Ctrl-C ends it", unit, span::shown(elapsed))
}

/// The list, in lines that fit a terminal of so many lines and columns; of more kinds than fit, the newest.
fn list(rows: &[DenialRow], head: &str, people: &People, (height, width): (usize, usize)) -> Vec<String> {
    let (width, ellipsis) = (width.min(WIDTH), terminal::ellipsis());
    let program = width.saturating_sub(2 + CALL + 2 + 2 + COUNT + 2 + TIME + 2 + TIME).max(PROGRAM_MIN);
    let left = |text: &str, columns| pad_str(text, columns, Alignment::Left, Some(ellipsis)).into_owned();
    let right = |text: &str, columns| pad_str(text, columns, Alignment::Right, Some(ellipsis)).into_owned();
    let line = |call: &str, who: &str, count: &str, first: &str, last: &str| {
        let (call, who) = (left(call, CALL), left(who, program));
        let line =
            format!("  {call}  {who}  {}  {}  {}", right(count, COUNT), left(first, TIME), left(last, TIME));
        truncate_str(line.trim_end(), width, "").into_owned()
    };
    let mut out = vec![String::new(), truncate_str(head, width, ellipsis).into_owned()];
    if rows.is_empty() {
        return out;
    }
    out.push(style(line("CALL", "PROGRAM", "COUNT", "FIRST", "LAST")).dim().to_string());
    let room = height.saturating_sub(FRAME + 1).max(1);
    let hidden = rows.len().saturating_sub(room);
    let time = |time: Option<u64>| time.map(|time| people.clock(time)).unwrap_or_default();
    for row in rows.iter().skip(hidden) {
        let (first, last) = (time(row.first), time(row.last));
        out.push(line(&row.call, &who(row), &row.count.to_string(), &first, &last));
    }
    if hidden > 0 {
        out.push(truncate_str(&format!("  and {hidden} that came before these"), width, "").into_owned());
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::watch::tests::rows;
    use jiff::tz::TimeZone;

    fn people() -> People {
        People { zone: Some(TimeZone::UTC), width: 80 }
    }

    fn drawn(rows: &[DenialRow], size: (usize, usize)) -> String {
        let lines = list(rows, "v.service in complain mode", &people(), size);
        let plain: Vec<_> = lines.iter().map(|line| console::strip_ansi_codes(line)).collect();
        for line in &plain {
            assert!(console::measure_text_width(line) <= size.1.min(80), "{line:?}");
        }
        plain.join("\n")
    }

    #[test]
    fn eighty_columns_hold_it() {
        let mut rows = rows(&[("docker", "setrlimit", 4), ("\u{1b}[31mred", "sched_setscheduler", 123)]);
        rows[0].parent = Some(crate::evidence::Untrusted::new("docuum-with-a-name"));
        assert_eq!(
            drawn(&rows, (24, 80)),
            "
v.service in complain mode
  CALL               PROGRAM                           COUNT  FIRST     LAST
  setrlimit          docker (child of docuum-with…         4  00:00:01  00:00:05
  sched_setschedul…  \\u{1b}[31mred                       123  00:00:01  00:02:04"
        );
    }

    #[test]
    fn small_terminals_show_the_newest() {
        let names: Vec<String> = (0..40).map(|number| format!("program{number}")).collect();
        let many: Vec<(&str, &str, usize)> = names.iter().map(|name| (name.as_str(), "mlock", 1)).collect();
        let text = drawn(&rows(&many), (12, 40));
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 11, "{text}");
        assert!(lines[9].contains("progra") && lines[10] == "  and 33 that came before these", "{text}");
        assert_eq!(drawn(&[], (24, 80)), "\nv.service in complain mode");
        assert!(!drawn(&rows(&many), (1, 1)).is_empty());
    }

    #[test]
    fn the_head_tells_how_far_it_is() {
        let minutes = |number| Duration::from_mins(number);
        assert_eq!(
            head("v.service", minutes(2), Some(minutes(90)), 1),
            "v.service in complain mode, 2min of 1h 30min: 1 kind of call denied. Ctrl-C ends it"
        );
        assert_eq!(
            head("v.service", Duration::from_secs(5), None, 0),
            "v.service in complain mode, 5s: no call denied. Ctrl-C ends it"
        );
    }

    #[test]
    fn a_line_for_each_kind() {
        let row = &rows(&[("docker", "setrlimit", 1)])[0];
        assert_eq!(kind_line(row, &people()), "  denied   docker   setrlimit   at 1970-01-01 00:00:01\n");
    }
}
