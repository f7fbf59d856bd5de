//! The counts of one step for its promotion, by age: only units old enough to have ended are reckoned
//! with, so that those still under way neither flatter nor condemn a version.

use std::collections::VecDeque;
use std::time::Duration;

use super::metric::Arm;
use super::tally::{Both, Tally};
use crate::time::Timestamp;

/// Pieces that the longest life of an attempt is cut into.
const PIECES: u32 = 8;

/// Units that were assigned close to each other.
#[derive(Clone, Debug)]
struct Cohort {
    /// Units from here on belong to the next.
    until: Timestamp,
    both: Both,
}

/// The cohorts of the step in force.
#[derive(Clone, Debug)]
pub(super) struct Cohorts {
    limit: Duration,
    /// Number of the step's first cohort; a unit of a lower one is of a step gone by.
    first: u64,
    /// Number of the first young cohort.
    young_from: u64,
    old: Both,
    young: VecDeque<Cohort>,
}

impl Cohorts {
    /// `limit` is the longest that a unit can be under way.
    pub(super) fn new(limit: Duration) -> Self {
        Self {
            limit,
            first: 0,
            young_from: 0,
            old: Both::default(),
            young: VecDeque::new(),
        }
    }

    /// Begins another step. Returns the counts of the one before.
    pub(super) fn begin_step(&mut self) -> Both {
        let before = self.all();
        self.first = self.end();
        self.young_from = self.first;
        self.old = Both::default();
        self.young.clear();
        before
    }

    /// The number of the cohort for a unit that is assigned now.
    pub(super) fn current(&mut self, now: Timestamp) -> u64 {
        self.ripen(now);
        if self.young.back().is_none_or(|c| c.until <= now) {
            let until = now + self.limit / PIECES + Duration::from_nanos(1);
            let both = Both::default();
            self.young.push_back(Cohort { until, both });
        }
        self.end() - 1
    }

    /// The counts of a cohort; none when it was of a step gone by.
    pub(super) fn tally_mut(&mut self, cohort: u64, arm: Arm) -> Option<&mut Tally> {
        if cohort < self.first {
            return None;
        }
        let both = match cohort.checked_sub(self.young_from) {
            None => &mut self.old,
            Some(i) => &mut self.young.get_mut(usize::try_from(i).ok()?)?.both,
        };
        Some(both.of_mut(arm))
    }

    /// The counts of all units that must have ended by `now`.
    pub(super) fn ripe(&self, now: Timestamp) -> Both {
        let mut sum = self.old;
        let ripe = self.young.iter().take_while(|c| self.is_ripe(c, now));
        ripe.for_each(|c| sum.add(&c.both));
        sum
    }

    fn all(&self) -> Both {
        let mut sum = self.old;
        self.young.iter().for_each(|c| sum.add(&c.both));
        sum
    }

    fn end(&self) -> u64 {
        self.young_from + self.young.len() as u64
    }

    fn is_ripe(&self, cohort: &Cohort, now: Timestamp) -> bool {
        // Without a limit there is nothing to wait for: what is in flight counts as failed.
        self.limit.is_zero() || cohort.until + self.limit <= now
    }

    fn ripen(&mut self, now: Timestamp) {
        while self.young.front().is_some_and(|c| self.is_ripe(c, now)) {
            if let Some(cohort) = self.young.pop_front() {
                self.old.add(&cohort.both);
                self.young_from += 1;
            }
        }
    }

    pub(super) fn bytes(&self) -> usize {
        self.young.capacity() * size_of::<Cohort>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from(Duration::from_secs(seconds))
    }

    fn assign(cohorts: &mut Cohorts, now: u64) -> u64 {
        let cohort = cohorts.current(at(now));
        cohorts.tally_mut(cohort, Arm::Canary).unwrap().units += 1;
        cohort
    }

    fn ripe(cohorts: &Cohorts, now: u64) -> u64 {
        cohorts.ripe(at(now)).of(Arm::Canary).units
    }

    #[test]
    fn units_count_once_they_are_old_enough() {
        let mut cohorts = Cohorts::new(Duration::from_secs(80));
        for second in 0..200 {
            assign(&mut cohorts, second);
            assert!(cohorts.young.len() <= PIECES as usize + 2);
        }
        assert_eq!(ripe(&cohorts, 200), 110, "the rest is younger than 90 s");
        assert_eq!(ripe(&cohorts, 1_000), 200);
    }

    #[test]
    fn late_ends_find_their_cohort_or_nothing() {
        let mut cohorts = Cohorts::new(Duration::from_secs(8));
        let early = assign(&mut cohorts, 0);
        let late = assign(&mut cohorts, 100);
        cohorts.tally_mut(early, Arm::Canary).unwrap().good += 1;
        assert_eq!(cohorts.ripe(at(100)).of(Arm::Canary).good, 1);
        let before = cohorts.begin_step();
        assert_eq!(before.of(Arm::Canary).units, 2);
        assert!(cohorts.tally_mut(late, Arm::Canary).is_none());
        assign(&mut cohorts, 101);
        assert_eq!(ripe(&cohorts, 1_000), 1);
    }

    #[test]
    fn without_a_limit_nothing_is_waited_for() {
        let mut cohorts = Cohorts::new(Duration::ZERO);
        assign(&mut cohorts, 5);
        assert_eq!(ripe(&cohorts, 5), 1);
    }
}
