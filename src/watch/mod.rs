//! Watching: a unit in complain mode over a working period, because many calls come only with use. Like a replay of the
//! `log` engine it gives an [`Observation`]; other than in one, the unit may be stopped, started and restarted by others
//! meanwhile, and what it does is told as it happens.

mod events;
mod ledger;
mod life;
mod live;

pub use events::{Event, last_line};
#[cfg(test)]
pub(crate) use events::{Last, Stamped};

use crate::change::Approval;
use crate::interrupt::GLANCE;
use crate::manager::{Standing, UnitStatus};
use crate::plan::list;
use crate::replay::complain::{FLOODS, drop_in, possible};
use crate::replay::session::{Session, Watched, now_us};
use crate::replay::{AuditSocket, CheckResult, Engine, Heard, Observation, Replay, ReplayError};
use crate::report::{DenialRow, People, terminal};
use crate::span;
use crate::syscalls::Call;
use console::Term;
use ledger::Ledger;
use life::{Life, Turn};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

/// How often the list is drawn, and the unit looked at, when nothing happens.
const AT_A_TIME: Duration = Duration::from_secs(1);

/// So long the restart is waited for before the watch begins; one that takes longer goes on meanwhile.
const RESTARTS_WITHIN: Duration = Duration::from_secs(5);

/// So long a check that fails at the end is made again.
const CHECK_PATIENCE: Duration = Duration::from_secs(2);

/// When a watch ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Period {
    /// After this time; nothing: only otherwise.
    pub limit: Option<Duration>,
    /// When no new kind of call came for so long.
    pub idle: Option<Duration>,
}

impl Period {
    /// In words, to follow "watches it".
    #[must_use]
    pub fn words(&self) -> String {
        let idle = |idle| format!("until no new kind of call came for {}", span::shown(idle));
        match (self.limit, self.idle) {
            (Some(limit), None) => format!("for {}", span::shown(limit)),
            (Some(limit), Some(time)) => {
                format!("{}, and for {} at most", idle(time), span::shown(limit))
            }
            (None, Some(time)) => idle(time),
            (None, None) => "until Ctrl-C".to_owned(),
        }
    }
}

/// Why a watch ended.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Because {
    /// The time was up.
    Time,
    /// No new kind of call came for so long.
    Idle(Duration),
    /// Ctrl-C, SIGTERM or a hang-up.
    Signal,
    /// The kernel's log was flooded once more, after all that can be done about it.
    Floods,
    /// It could not go on; why.
    Broken(String),
}

/// Where a watch is.
#[derive(Clone, Copy, Debug)]
pub struct Glance {
    /// How long it goes on.
    pub elapsed: Duration,
    /// This is the last one.
    pub over: bool,
}

/// Who is told what a watch sees.
pub trait Onlooker {
    /// Something happened.
    fn told(&mut self, event: &Event);
    /// Time went by. All kinds of calls until now, in the order in which they came.
    fn look(&mut self, rows: &[DenialRow], glance: Glance);
}

/// The onlooker that a run has: a stream of JSON, a list on a terminal, or lines.
#[must_use]
pub fn onlooker(json: bool, people: &People, unit: &str, period: &Period) -> Box<dyn Onlooker> {
    let (people, unit) = (people.clone(), unit.to_owned());
    if json {
        Box::new(events::Stream::default())
    } else if terminal::can_be_drawn_on(&Term::stdout()) {
        Box::new(live::List::new(people, unit, period.limit))
    } else {
        Box::new(live::Lines { people, unit })
    }
}

/// A call with which the unit floods the kernel's log, and how often it was recorded lately.
struct Flood {
    call: Call,
    count: u64,
}

/// Whether a unit can be watched here; else why not.
pub fn can_watch(replay: &Replay) -> Result<(), ReplayError> {
    possible(replay.policy)?;
    AuditSocket::listen(&replay.proc_root).map(drop)
}

/// Watch a unit over a period. When this returns, it is under its own filter again.
pub fn over(
    replay: &Replay,
    period: &Period,
    onlooker: &mut dyn Onlooker,
    approved: &Approval,
) -> Result<Observation, ReplayError> {
    let mut watch = Watch::begin(replay, period, onlooker, approved)?;
    let because = watch.go_on(period);
    watch.end(&because)
}

/// A watch that goes on.
struct Watch<'a> {
    replay: &'a Replay<'a>,
    onlooker: &'a mut dyn Onlooker,
    socket: AuditSocket,
    session: Session<'a>,
    ledger: Ledger<'a>,
    life: Life,
    status: UnitStatus,
    began: Instant,
    /// The same, in microseconds since the epoch.
    began_us: u64,
    /// When the last new kind of call came.
    news: Instant,
    /// Other architectures are let in.
    relaxed: bool,
    /// Calls that are not recorded any more.
    left_out: BTreeSet<String>,
    /// How often what is recorded was changed.
    amended: usize,
    lossy: bool,
    notes: Vec<String>,
}

impl<'a> Watch<'a> {
    fn begin(
        replay: &'a Replay<'a>,
        period: &Period,
        onlooker: &'a mut dyn Onlooker,
        approved: &Approval,
    ) -> Result<Self, ReplayError> {
        possible(replay.policy)?;
        let socket = AuditSocket::listen(&replay.proc_root)?;
        let (unit, relaxed) = (&replay.unit.name, replay.relax_architectures);
        let text = drop_in(replay.policy, relaxed, &BTreeSet::new());
        let session = Session::begin_work(replay.manager, unit, replay.status, &text, approved)?;
        onlooker.told(&Event::begun(unit.as_str(), period));
        let (began, began_us) = (Instant::now(), now_us());
        let mut watch = Watch {
            replay,
            onlooker,
            socket,
            session,
            ledger: Ledger::new(
                replay.policy,
                Box::new(move |sounds, known| replay.attributions(sounds, known)),
            ),
            life: Life::of(replay.status),
            status: replay.status.clone(),
            began,
            began_us,
            news: began,
            relaxed,
            left_out: BTreeSet::new(),
            amended: 0,
            lossy: false,
            notes: Vec::new(),
        };
        // one that is down is started by its timer, its socket or somebody, when it is time for it
        if Standing::of(replay.status) != Standing::Down {
            watch.restart()?;
        }
        Ok(watch)
    }

    fn restart(&mut self) -> Result<(), ReplayError> {
        self.life.expect_restart();
        let patience = Instant::now() + RESTARTS_WITHIN;
        let interrupt = self.replay.interrupt;
        Ok(self.session.restart(&|| !interrupt.raised() && Instant::now() < patience)?)
    }

    /// Until there is a reason to end.
    fn go_on(&mut self, period: &Period) -> Because {
        loop {
            if let Err(error) = self.look_around() {
                return Because::Broken(error.to_string());
            }
            if self.replay.interrupt.raised() {
                return Because::Signal;
            }
            match self.quieten() {
                Ok(true) => {}
                Ok(false) => return Because::Floods,
                Err(error) => return Because::Broken(error.to_string()),
            }
            if period.limit.is_some_and(|limit| self.began.elapsed() >= limit) {
                return Because::Time;
            }
            if let Some(idle) = period.idle.filter(|idle| self.news.elapsed() >= *idle) {
                return Because::Idle(idle);
            }
            self.wait(period);
        }
    }

    /// See what was heard, and how the unit stands.
    fn look_around(&mut self) -> Result<(), ReplayError> {
        if !self.session.hold() {
            self.session.still_in_force()?;
        }
        let heard = self.socket.take();
        self.take_in(heard);
        self.status = self.replay.manager.status(&self.replay.unit.name)?;
        match self.life.look(&self.status) {
            Some(Turn::Started) => self.onlooker.told(&Event::Started),
            Some(Turn::Restarted) => self.onlooker.told(&Event::Restarted),
            Some(Turn::Stopped) => self.onlooker.told(&Event::Stopped),
            Some(Turn::Failed(outcome)) => self.onlooker.told(&Event::Failed { outcome }),
            None => {}
        }
        self.onlooker.look(self.ledger.rows(), Glance { elapsed: self.began.elapsed(), over: false });
        Ok(())
    }

    fn take_in(&mut self, heard: Heard) {
        if heard.lossy && !self.lossy {
            self.lossy = true;
            self.onlooker.told(&Event::Lost);
        }
        for at in self.ledger.enter(heard, Instant::now()) {
            self.news = Instant::now();
            if let Some(denial) = self.ledger.rows().get(at) {
                self.onlooker.told(&Event::Denied { kind: at + 1, denial });
            }
        }
    }

    /// A filter in a process cannot be changed: where the kernel's log is flooded, and where calls of another
    /// architecture kill all the same, the unit is restarted with other calls recorded. False: too often already.
    fn quieten(&mut self) -> Result<bool, ReplayError> {
        let floods = self.ledger.floods(&self.left_out);
        let foreign = !self.relaxed && self.ledger.foreign_kill();
        if floods.is_empty() && !foreign {
            return Ok(true);
        }
        let names = floods.iter().filter_map(|flood| flood.call.name());
        let new = names.filter(|name| !self.left_out.contains(*name)).count();
        if self.amended >= FLOODS || (new == 0 && !foreign) {
            return Ok(false); // or it floods with calls that have no name
        }
        self.amended += 1;
        let reason = if foreign {
            "restarted with other architectures let in, because one of their calls was killed".to_owned()
        } else {
            let calls = floods.iter().map(|flood| format!("{} ({} times)", flood.call, flood.count));
            let calls = list(calls.collect::<BTreeSet<_>>());
            format!("restarted, and not recorded any more is what floods the kernel's log: {calls}")
        };
        self.relaxed |= foreign;
        self.left_out.extend(floods.iter().filter_map(|flood| flood.call.name()).map(str::to_owned));
        if self.status.is_up() && !floods.is_empty() {
            self.session.stop()?; // first: a reload takes its time, in which it would flood on
        }
        self.session.change_to(&drop_in(self.replay.policy, self.relaxed, &self.left_out))?;
        if self.status.is_up() || self.status.active_state == "failed" {
            self.restart()?;
        }
        self.ledger.begin_anew(Instant::now());
        self.onlooker.told(&Event::Amended { reason: reason.clone() });
        self.notes.push(format!("it was {reason}"));
        Ok(true)
    }

    /// Until something happens, or it is time to look around.
    fn wait(&self, period: &Period) {
        let left = |limit: Option<Duration>, since: Instant| limit.map(|l| l.saturating_sub(since.elapsed()));
        let most = [left(period.limit, self.began), left(period.idle, self.news), Some(AT_A_TIME)];
        let next = Instant::now() + most.into_iter().flatten().min().unwrap_or(AT_A_TIME);
        let flooded = || !self.socket.floods(|cgroup| self.replay.owns(cgroup)).is_empty();
        let go_on = || Instant::now() < next && !self.replay.interrupt.raised() && !flooded();
        while go_on() && !self.replay.manager.wait_for_change(GLANCE) {}
    }

    /// Put the unit back, and say what was seen.
    fn end(self, because: &Because) -> Result<Observation, ReplayError> {
        self.replay.interrupt.lower();
        let outcome = self.status.outcome();
        let check = self.check();
        let (time, ended) = (self.began.elapsed(), now_us());
        let Self { replay, onlooker, socket, session, mut ledger, life, mut lossy, mut notes, .. } = self;
        let mut heard = socket.close();
        lossy |= std::mem::take(&mut heard.lossy) || *because == Because::Floods;
        for at in ledger.enter(heard, Instant::now()) {
            if let Some(denial) = ledger.rows().get(at) {
                onlooker.told(&Event::Denied { kind: at + 1, denial });
            }
        }
        onlooker.look(ledger.rows(), Glance { elapsed: time, over: true });
        session.end()?;
        onlooker.told(&Event::ended(because, time));
        notes.push(format!("ended because {because}"));
        notes.extend(life_notes(&life));
        if ledger.uncounted > 0 {
            lossy = true;
            notes.push(format!("{} records of still more programs were not kept", ledger.uncounted));
        }
        let late = ledger.later_than(self.began_us + micros(replay.observe));
        let unclaimed = replay.unclaimed(&ledger.strangers);
        let counted = ledger.close();
        let watched = Watched { outcome, check, time, began: self.began_us, ended };
        let denials = counted.iter().map(|sighting| sighting.denial.clone()).collect();
        let observation = Observation::of(Engine::Log, watched);
        Ok(Observation { denials, lossy, notes, counted, late, unclaimed, ..observation })
    }

    /// What the user's check says at the end, where there is one and the unit runs.
    fn check(&self) -> Option<CheckResult> {
        let check = self.replay.check.filter(|_| self.status.is_up())?;
        self.session.hold(); // a check may take half of the time in which the manager waits for a sign of life
        let result = check.now(CHECK_PATIENCE, self.replay.interrupt);
        self.session.hold();
        Some(result)
    }
}

/// What became of the unit meanwhile.
fn life_notes(life: &Life) -> Vec<String> {
    let times = |number: usize| if number == 1 { "once".to_owned() } else { format!("{number} times") };
    let mut notes = Vec::new();
    if !life.ran {
        notes.push("it did not run, and nothing started it".to_owned());
    }
    if life.starts > 0 {
        notes.push(format!("it was started again {} meanwhile", times(life.starts)));
    }
    if let (number @ 1.., how) = &life.failures {
        notes.push(format!("it failed {}, the last time: {how}", times(*number)));
    }
    notes
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::evidence::{Denial, Effect, Process, Sighting, Source, Untrusted};
    use crate::policy::Policy;
    use crate::policy::tests::unit;
    use crate::syscalls::{Arch, Groups};

    /// The policy of a made-up unit.
    pub(crate) fn policy() -> Policy {
        let unit = unit("SystemCallFilter=~@resources @memlock\nSystemCallArchitectures=native");
        Policy::evaluate(&unit, &Groups::from_rules(252).unwrap())
    }

    /// A call of a program, at the second 1.
    pub(crate) fn denial(program: &str, call: &str) -> Denial {
        let exe = Some(Untrusted::new(format!("/usr/bin/{program}")));
        Denial {
            call: Call { arch: Arch::X86_64, number: Arch::X86_64.number(call).unwrap() },
            effect: Effect::Recorded,
            process: Process { comm: Untrusted::new(program), exe, ..Process::default() },
            time: Some(1_000_000),
            source: Source::AuditSocket,
            attribution: None,
            arguments: Vec::new(),
            raw_arguments: None,
            stack: crate::blame::Stack::default(),
        }
    }

    /// Rows of a made-up unit: program, call and count, from the second 1 on one each second.
    pub(super) fn rows(seen: &[(&str, &str, usize)]) -> Vec<DenialRow> {
        let policy = policy();
        let row = |(program, call, count): &(&str, &str, usize)| {
            let denial = denial(program, call);
            let last = 1_000_000 + 1_000_000 * u64::try_from(*count).unwrap();
            let (first, last) = (denial.time, Some(last));
            DenialRow::new(&Sighting { denial, count: *count, first, last }, &policy)
        };
        seen.iter().map(row).collect()
    }

    #[test]
    fn periods_in_words() {
        let (hour, minutes) = (Some(Duration::from_hours(1)), Some(Duration::from_mins(5)));
        let words = |limit, idle| Period { limit, idle }.words();
        assert_eq!(words(hour, None), "for 1h");
        assert_eq!(words(None, minutes), "until no new kind of call came for 5min");
        assert_eq!(words(hour, minutes), "until no new kind of call came for 5min, and for 1h at most");
        assert_eq!(words(None, None), "until Ctrl-C");
    }
}
