//! What happens in a watch, and `--json`'s stream of it: one object a line.

use super::{Because, Glance, Onlooker};
use crate::replay::session::now_us;
use crate::report::{DenialRow, Report, SCHEMA, output};
use crate::span;
use serde::Serialize;
use std::time::{Duration, Instant};

/// How often the stream says at most that a kind of call was made again.
const AGAIN_AFTER: Duration = Duration::from_secs(10);

/// Something that happened.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(tag = "event", rename_all = "lowercase")]
pub enum Event<'a> {
    /// The unit is in complain mode now.
    Begun {
        /// The version of this format.
        #[cfg_attr(test, schemars(extend("const" = SCHEMA)))]
        schema: u32,
        /// The version of unitfix.
        unitfix: &'static str,
        /// The unit.
        unit: String,
        /// For how many seconds at most; nothing: for any time.
        seconds: Option<u64>,
        /// After how many seconds without a new kind of call it ends; nothing: it does not.
        idle_seconds: Option<u64>,
    },
    /// A kind of call was made that would have been denied; or one that is known was made again.
    Denied {
        /// Its number, from 1.
        kind: usize,
        /// The kind, as in the report.
        #[serde(flatten)]
        denial: &'a DenialRow,
    },
    /// The unit was not running, and was started.
    Started,
    /// It was restarted, by others.
    Restarted,
    /// It was stopped, or ended well.
    Stopped,
    /// It failed.
    Failed {
        /// How, in words.
        outcome: String,
    },
    /// It was restarted because something else is recorded from now on.
    Amended {
        /// Why, in words.
        reason: String,
    },
    /// Records were lost: a call may be missing.
    Lost,
    /// The watch is over, and the unit back under its own filter.
    Ended {
        /// Why: `time`, `idle`, `signal`, `floods` or `broken`.
        because: &'static str,
        /// The same in words.
        words: String,
        /// After how many seconds.
        seconds: f64,
    },
}

impl Event<'_> {
    /// The beginning of a watch.
    pub(super) fn begun(unit: &str, period: &super::Period) -> Self {
        Event::Begun {
            schema: SCHEMA,
            unitfix: env!("CARGO_PKG_VERSION"),
            unit: unit.to_owned(),
            seconds: period.limit.map(|limit| limit.as_secs()),
            idle_seconds: period.idle.map(|idle| idle.as_secs()),
        }
    }

    /// The end of a watch.
    pub(super) fn ended(because: &Because, time: Duration) -> Self {
        Event::Ended { because: because.name(), words: because.to_string(), seconds: time.as_secs_f64() }
    }

    /// What people are told of it, beside the list.
    pub(super) fn words(&self, unit: &str) -> Option<String> {
        match self {
            Event::Begun { .. } | Event::Denied { .. } | Event::Ended { .. } => None,
            Event::Started => Some(format!("{unit} was started")),
            Event::Restarted => Some(format!("{unit} was restarted")),
            Event::Stopped => {
                Some(format!("{unit} is not running any more; it is waited for that it is started again"))
            }
            Event::Failed { outcome } => {
                Some(format!("{unit} {outcome}; it is waited for that it is started again"))
            }
            Event::Amended { reason } => Some(format!("{unit} was {reason}")),
            Event::Lost => Some("records were lost: a call may be missing".to_owned()),
        }
    }
}

/// A line of a watch: an event with its time.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "WatchEvent"))]
pub(crate) struct Stamped<'a> {
    #[serde(flatten)]
    event: &'a Event<'a>,
    /// In microseconds since the epoch.
    time: u64,
}

/// The last line of a watch: the report.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "WatchReport"))]
pub(crate) struct Last<'a> {
    /// What tells this line from those of events.
    #[cfg_attr(test, schemars(extend("const" = "report")))]
    event: &'static str,
    #[serde(flatten)]
    report: &'a Report,
}

/// An event as a line.
fn line(event: &Event, time: u64) -> Result<String, serde_json::Error> {
    one_line(&Stamped { event, time })
}

/// The report on all of it as a line.
pub fn last_line(report: &Report) -> Result<String, serde_json::Error> {
    one_line(&Last { event: "report", report })
}

fn one_line(value: &impl Serialize) -> Result<String, serde_json::Error> {
    Ok(output::harmless_json(&serde_json::to_string(value)?) + "\n")
}

/// Prints the stream.
#[derive(Default)]
pub(super) struct Stream {
    /// Of each kind, the count that was printed last, and when.
    said: Vec<(usize, Instant)>,
}

impl Stream {
    /// The kinds of which there is something to say again.
    fn again(&mut self, rows: &[DenialRow], now: Instant, over: bool) -> Vec<usize> {
        let mut changed = Vec::new();
        for (at, (row, said)) in rows.iter().zip(&mut self.said).enumerate() {
            if row.count != said.0 && (over || now.duration_since(said.1) >= AGAIN_AFTER) {
                *said = (row.count, now);
                changed.push(at);
            }
        }
        changed
    }
}

impl Onlooker for Stream {
    fn told(&mut self, event: &Event) {
        if let Event::Denied { denial, .. } = event {
            self.said.push((denial.count, Instant::now()));
        }
        print(event);
    }

    fn look(&mut self, rows: &[DenialRow], glance: Glance) {
        for at in self.again(rows, Instant::now(), glance.over) {
            if let Some(denial) = rows.get(at) {
                print(&Event::Denied { kind: at + 1, denial });
            }
        }
    }
}

fn print(event: &Event) {
    match line(event, now_us()) {
        Ok(line) => output::result(&line),
        Err(error) => output::message(&format!("unitfix: an event cannot be printed: {error}\n")),
    }
}

impl Because {
    fn name(&self) -> &'static str {
        match self {
            Because::Time => "time",
            Because::Idle(_) => "idle",
            Because::Signal => "signal",
            Because::Floods => "floods",
            Because::Broken(_) => "broken",
        }
    }
}

impl std::fmt::Display for Because {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Because::Time => f.write_str("the time is up"),
            Because::Idle(time) => write!(f, "no new kind of call came for {}", span::shown(*time)),
            Because::Signal => f.write_str("it was interrupted"),
            Because::Floods => f.write_str("it floods the kernel's log again and again"),
            Because::Broken(error) => write!(f, "it was cut short: {error}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::watch::tests::rows;

    fn json(event: &Event) -> serde_json::Value {
        let line = line(event, 7).unwrap();
        assert_eq!(line.matches('\n').count(), 1, "{line}");
        serde_json::from_str(&line).unwrap()
    }

    #[test]
    fn one_object_a_line() {
        let rows = rows(&[("\u{1b}[2J\nx", "setrlimit", 3)]);
        let event = json(&Event::Denied { kind: 1, denial: &rows[0] });
        assert_eq!(event["event"], "denied");
        assert_eq!((&event["kind"], &event["time"], &event["count"]), (&1.into(), &7.into(), &3.into()));
        assert_eq!((&event["call"], &event["program"]), (&"setrlimit".into(), &"\\u{1b}[2J\\nx".into()));
        let period = super::super::Period { limit: Some(Duration::from_secs(90)), idle: None };
        let event = json(&Event::begun("v.service", &period));
        assert_eq!(
            (&event["event"], &event["schema"], &event["seconds"]),
            (&"begun".into(), &1.into(), &90.into())
        );
        assert!(event["idle_seconds"].is_null());
        let event = json(&Event::ended(&Because::Idle(Duration::from_mins(5)), Duration::from_millis(500)));
        assert_eq!((&event["event"], &event["because"]), (&"ended".into(), &"idle".into()));
        assert_eq!(
            (&event["words"], &event["seconds"]),
            (&"no new kind of call came for 5min".into(), &0.5.into())
        );
        let report = last_line(&Report::new("v.service".to_owned())).unwrap();
        assert!(
            report.starts_with("{\"event\":\"report\",\"schema\":1,") && report.ends_with("}\n"),
            "{report}"
        );
    }

    #[test]
    fn counts_are_said_now_and_then() {
        let mut stream = Stream::default();
        let begun = Instant::now();
        stream.said = vec![(1, begun), (1, begun)];
        let later = rows(&[("a", "mlock", 5), ("b", "mlock", 1)]);
        assert_eq!(stream.again(&later, begun + Duration::from_secs(1), false), Vec::<usize>::new());
        assert_eq!(stream.again(&later, begun + AGAIN_AFTER, false), [0]);
        assert_eq!(stream.again(&later, begun + 2 * AGAIN_AFTER, false), Vec::<usize>::new());
        let latest = rows(&[("a", "mlock", 6), ("b", "mlock", 2)]);
        assert_eq!(stream.again(&latest, begun + 2 * AGAIN_AFTER, true), [0, 1]);
    }
}
