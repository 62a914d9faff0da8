//! The smallest set of things whose relaxation makes a unit work: delta debugging over replays (Zeller, "Yesterday, my
//! program worked. Today, it does not. Why?"), led by what each failed replay shows.
//!
//! A replay costs a restart, so each is used for all it tells: which call a process was refused last before it failed
//! is tried next; a set that contains one that works, works; a set within one that fails, fails.

use std::collections::BTreeSet;

/// What one replay showed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown<T> {
    /// The unit worked.
    pub works: bool,
    /// What it was refused last before it failed, where that could be seen.
    pub suspects: Vec<T>,
}

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Minimum<T> {
    /// With these relaxed, the unit works.
    pub needed: BTreeSet<T>,
    /// With any one of them left out, it was seen, or follows, that it does not.
    pub proven: bool,
    /// How many replays it took.
    pub replays: usize,
}

/// How many replays the search takes at most among so many things. Each thing that is needed costs about one replay
/// that shows it and one that proves it; without anything to be seen, halving finds each in as many as the logarithm.
#[must_use]
pub fn budget(things: usize) -> usize {
    if things < 2 {
        return 0;
    }
    // ⌈2 log₂ n⌉ = ⌈log₂ n²⌉
    let square = things.saturating_mul(things);
    let bits = usize::try_from(square.next_power_of_two().trailing_zeros()).unwrap_or(usize::MAX);
    (bits + 1).min(2 * things)
}

/// Search among `all`, in the order in which they were seen first. With all of them relaxed the unit works; with none
/// it does not. `replay` runs it with some of them relaxed; an error of it ends the search.
pub fn search<T: Ord + Clone, E>(
    all: &[T],
    replay: impl FnMut(&BTreeSet<T>) -> Result<Shown<T>, E>,
) -> Result<Minimum<T>, E> {
    let everything: BTreeSet<T> = all.iter().cloned().collect();
    if all.len() < 2 {
        return Ok(Minimum { needed: everything, proven: true, replays: 0 }); // without it, it fails
    }
    let mut search = Search {
        all,
        replay,
        works: vec![everything],
        fails: vec![BTreeSet::new()],
        left: budget(all.len()),
        replays: 0,
    };
    let needed = search.find()?;
    let proven = search.prove(&needed)?;
    let smallest = search.works.iter().min_by_key(|set| set.len()).cloned();
    Ok(Minimum { needed: smallest.unwrap_or(needed), proven, replays: search.replays })
}

struct Search<'a, T, F> {
    all: &'a [T],
    replay: F,
    /// Sets that were seen to work.
    works: Vec<BTreeSet<T>>,
    /// Sets that were seen to fail.
    fails: Vec<BTreeSet<T>>,
    left: usize,
    replays: usize,
}

impl<T: Ord + Clone, E, F: FnMut(&BTreeSet<T>) -> Result<Shown<T>, E>> Search<'_, T, F> {
    /// Whether a set works; nothing where that is not known and may not be tried any more.
    fn works(&mut self, set: &BTreeSet<T>) -> Result<Option<bool>, E> {
        match self.known(set) {
            Some(known) => Ok(Some(known)),
            None => Ok(self.run(set)?.map(|shown| shown.works)),
        }
    }

    fn known(&self, set: &BTreeSet<T>) -> Option<bool> {
        if self.works.iter().any(|known| known.is_subset(set)) {
            return Some(true);
        }
        self.fails.iter().any(|known| set.is_subset(known)).then_some(false)
    }

    fn run(&mut self, set: &BTreeSet<T>) -> Result<Option<Shown<T>>, E> {
        if self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        self.replays += 1;
        let shown = (self.replay)(set)?;
        if shown.works { &mut self.works } else { &mut self.fails }.push(set.clone());
        Ok(Some(shown))
    }

    /// A set that works: led by suspects as long as there are some, then by halving.
    fn find(&mut self) -> Result<BTreeSet<T>, E> {
        let mut needed = BTreeSet::new();
        let mut led = true;
        while self.known(&needed) != Some(true) {
            // an empty set is known to fail, but not how: that is what this replay is for
            let shown = if led { self.run(&needed)? } else { None };
            led = shown.is_some();
            match shown {
                Some(shown) if shown.works => break,
                Some(shown) => {
                    let new =
                        shown.suspects.into_iter().find(|s| self.all.contains(s) && !needed.contains(s));
                    match new {
                        Some(suspect) => {
                            needed.insert(suspect);
                            continue;
                        }
                        None => led = false,
                    }
                }
                None => {}
            }
            match self.halve(&needed)? {
                Some(found) => needed.insert(found),
                None => break, // no replay is left
            };
            if self.works(&needed)?.is_none() {
                break;
            }
        }
        Ok(needed)
    }

    /// One thing more that is needed beside these: the last of the shortest row, in the order of sight, with which
    /// it works.
    fn halve(&mut self, needed: &BTreeSet<T>) -> Result<Option<T>, E> {
        let rest: Vec<T> = self.all.iter().filter(|thing| !needed.contains(*thing)).cloned().collect();
        let with = |count: usize| -> BTreeSet<T> {
            needed.iter().cloned().chain(rest.iter().take(count).cloned()).collect()
        };
        // rows of `low` fail, rows of `high` work
        let (mut low, mut high) = (0, rest.len());
        while high - low > 1 {
            let middle = low + (high - low) / 2;
            match self.works(&with(middle))? {
                Some(true) => high = middle,
                Some(false) => low = middle,
                None => return Ok(None),
            }
        }
        Ok(rest.get(high.wrapping_sub(1)).cloned())
    }

    /// Leave each out in turn, and drop what is not missed. Whether the smallest set that works is known to be one of
    /// which nothing can be left out.
    fn prove(&mut self, needed: &BTreeSet<T>) -> Result<bool, E> {
        if self.known(needed) != Some(true) {
            return Ok(false);
        }
        let mut needed = needed.clone();
        let mut proven = true;
        for thing in needed.clone() {
            let mut without = needed.clone();
            without.remove(&thing);
            match self.works(&without)? {
                Some(true) => needed = without,
                Some(false) => {}
                None => proven = false,
            }
        }
        Ok(proven)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A program that makes the calls in order, fails at the first that is needed and refused, and may tell which.
    fn run(all: usize, needed: &[usize], tells: bool) -> Minimum<usize> {
        let order: Vec<usize> = (0..all).collect();
        let found = search(&order, |relaxed| {
            let missing = order.iter().find(|i| needed.contains(i) && !relaxed.contains(i));
            let suspects = missing.filter(|_| tells).into_iter().copied().collect();
            Ok::<_, ()>(Shown { works: missing.is_none(), suspects })
        });
        found.unwrap()
    }

    #[test]
    fn two_of_ten_are_found_in_no_more_than_eight() {
        assert_eq!(budget(10), 8);
        for first in 0..10 {
            for second in first + 1..10 {
                let led = run(10, &[first, second], true);
                assert_eq!(led.needed, [first, second].into());
                assert!(led.proven && led.replays <= 4, "{led:?}");
                let blind = run(10, &[first, second], false);
                assert!(blind.replays <= 8 && blind.needed.is_superset(&[first, second].into()), "{blind:?}");
            }
        }
    }

    #[test]
    fn one_alone_is_needed_without_a_replay() {
        assert_eq!(run(1, &[0], true), Minimum { needed: [0].into(), proven: true, replays: 0 });
        assert_eq!(budget(1), 0);
        assert_eq!((budget(2), budget(3), budget(5)), (3, 5, 6));
    }

    #[test]
    fn a_wrong_suspect_is_dropped_again() {
        let order = [0, 1, 2, 3];
        let found = search(&order, |relaxed| {
            let works = relaxed.contains(&2);
            Ok::<_, ()>(Shown { works, suspects: if relaxed.is_empty() { vec![0] } else { vec![2] } })
        });
        assert_eq!(found.unwrap(), Minimum { needed: [2].into(), proven: true, replays: 4 });
    }

    #[test]
    fn an_error_ends_it() {
        assert_eq!(search(&[1, 2], |_| Err::<Shown<i32>, _>("gone")), Err("gone"));
    }

    proptest! {
        #[test]
        fn what_is_found_works_and_is_the_smallest_where_that_is_said(
            all in 1usize..24,
            bits: u32,
            tells: bool,
        ) {
            let needed: Vec<usize> = (0..all).filter(|i| bits >> i & 1 == 1).collect();
            prop_assume!(!needed.is_empty());
            let found = run(all, &needed, tells);
            let wanted: BTreeSet<usize> = needed.into_iter().collect();
            prop_assert!(found.needed.is_superset(&wanted));
            prop_assert!(!found.proven || found.needed == wanted);
            prop_assert!(found.replays <= budget(all));
        }
    }
}
