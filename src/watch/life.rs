//! The life of the unit while it is watched: others stop it, start it, and restart it, and it may fail.

use crate::manager::UnitStatus;

/// What became of a unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// It was not running, and is now.
    Started,
    /// It was stopped and started again, or systemd did that after it had ended.
    Restarted,
    /// It is not running any more, and did not fail.
    Stopped,
    /// It failed; how.
    Failed(String),
}

/// How a unit stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Up,
    /// It failed, and systemd starts it again after a pause.
    Between,
    Failed,
    Down,
}

impl State {
    fn of(status: &UnitStatus) -> Self {
        match status.active_state.as_str() {
            "failed" => State::Failed,
            _ if status.restarts_after_failure() => State::Between,
            _ if status.is_up() => State::Up,
            _ => State::Down,
        }
    }
}

/// The life of a unit.
pub(super) struct Life {
    state: State,
    /// When its last activation began.
    activated: u64,
    /// It is about to be restarted by this run.
    expecting: bool,
    /// How often others had it started.
    pub(super) starts: usize,
    /// How often it failed, and how the last time.
    pub(super) failures: (usize, String),
    /// It ran at some time.
    pub(super) ran: bool,
}

impl Life {
    pub(super) fn of(status: &UnitStatus) -> Self {
        let state = State::of(status);
        let (starts, failures, ran) = (0, (0, String::new()), false);
        Life { state, activated: status.activated, expecting: false, starts, failures, ran }
    }

    /// This run restarts it: that it is stopped for it is no news.
    pub(super) fn expect_restart(&mut self) {
        self.expecting = true;
    }

    /// How it stands now. Returns what is new.
    pub(super) fn look(&mut self, status: &UnitStatus) -> Option<Turn> {
        let now = State::of(status);
        let anew = status.activated != self.activated;
        if self.expecting {
            if !anew {
                return None;
            }
            (self.expecting, self.state, self.activated) = (false, State::Up, status.activated);
            self.ran = true;
            return self.turn(now, false, status);
        }
        self.activated = status.activated;
        self.turn(now, anew, status)
    }

    fn turn(&mut self, now: State, anew: bool, status: &UnitStatus) -> Option<Turn> {
        let before = std::mem::replace(&mut self.state, now);
        let turn = match (before, now) {
            (State::Up, State::Up) if anew => Turn::Restarted,
            (State::Up, State::Up) => return None,
            (_, State::Up) => Turn::Started,
            (before, now) if before == now && !anew => return None,
            (_, State::Down) => Turn::Stopped,
            (_, State::Failed | State::Between) => Turn::Failed(status.outcome().to_string()),
        };
        match &turn {
            Turn::Started | Turn::Restarted => self.starts += 1,
            Turn::Failed(how) => self.failures = (self.failures.0 + 1, how.clone()),
            Turn::Stopped => {}
        }
        self.ran |= now == State::Up || anew;
        Some(turn)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(active: &str, sub: &str, activated: u64) -> UnitStatus {
        UnitStatus {
            active_state: active.to_owned(),
            sub_state: sub.to_owned(),
            activated,
            result: "exit-code".to_owned(),
            ..UnitStatus::default()
        }
    }

    /// What is news in a row of states, from one on.
    fn news(life: &mut Life, states: &[(&str, &str, u64)]) -> Vec<Option<Turn>> {
        states.iter().map(|(active, sub, activated)| life.look(&status(active, sub, *activated))).collect()
    }

    #[test]
    fn ones_own_restart_is_no_news() {
        let mut life = Life::of(&status("active", "running", 1));
        life.expect_restart();
        let states = [
            ("deactivating", "stop-sigterm", 1),
            ("inactive", "dead", 1),
            ("active", "running", 2),
            ("active", "running", 2),
        ];
        assert_eq!(news(&mut life, &states), [None, None, None, None]);
        assert_eq!((life.starts, life.failures.0, life.ran), (0, 0, true));
    }

    #[test]
    fn one_that_fails_at_once_is() {
        let mut life = Life::of(&status("failed", "failed", 1));
        life.expect_restart();
        let failed = Some(Turn::Failed("failed (exit-code)".to_owned()));
        assert_eq!(news(&mut life, &[("failed", "failed", 1), ("failed", "failed", 2)]), [None, failed]);
    }

    #[test]
    fn what_others_do_is_news() {
        let failed = Some(Turn::Failed("failed (exit-code)".to_owned()));
        let mut life = Life::of(&status("active", "running", 1));
        let states = [
            ("active", "running", 1),
            ("active", "running", 2), // too fast to be seen
            ("inactive", "dead", 2),
            ("inactive", "dead", 2),
            ("inactive", "dead", 3), // it ran in between
            ("activating", "start", 4),
            ("activating", "auto-restart", 5),
            ("active", "running", 6),
            ("failed", "failed", 6),
            ("failed", "failed", 6),
        ];
        let expected = [
            None,
            Some(Turn::Restarted),
            Some(Turn::Stopped),
            None,
            Some(Turn::Stopped),
            Some(Turn::Started),
            failed.clone(),
            Some(Turn::Started),
            failed,
            None,
        ];
        assert_eq!(news(&mut life, &states), expected);
        assert_eq!((life.starts, life.failures.0), (3, 2));
    }
}
