//! Booking: units that are assigned, become slow and end, on the segment and the cohort of their
//! assignment.

use std::time::Duration;

use super::SequentialJudge;
use super::flight::Unit;
use super::metric::{Arm, Events, Finding, Metric};
use super::tally::Tally;
use crate::id::RequestId;
use crate::protocol::outcome::{Judgement, Outcome};
use crate::time::Timestamp;

/// Units of one version that were counted elsewhere, or all at once; see [`SequentialJudge::tally`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// First attempts.
    pub units: u64,
    /// Of these, failed.
    pub failed: u64,
}

impl SequentialJudge {
    /// The first attempt of a request that was split was sent. `caller` is a hash of the key that
    /// decided, under sticky assignment.
    pub fn assigned(&mut self, now: Timestamp, id: RequestId, caller: Option<u64>, arm: Arm) {
        let now = self.advance(now);
        self.watch.saw(now, arm);
        if self.flight.contains(id) {
            return;
        }
        let Some(segment) = self.segment() else {
            return;
        };
        let is_new = self.callers.is_new(caller);
        if let Some(weight) = self.ledger.weight_mut().filter(|_| is_new) {
            weight.count_split(arm, 1);
        }
        let unit = Unit {
            arm,
            caller,
            segment,
            cohort: self.cohorts.current(now),
            slow_at: self.config.slow.map(|limit| now + limit),
            is_slow: false,
        };
        self.book(&unit, |tally| tally.units += 1);
        self.flight.take_off(id, unit);
    }

    fn segment(&mut self) -> Option<usize> {
        let segment = self.ledger.segment();
        let is_lost = segment.is_none() && self.ledger.weight_mut().is_some();
        self.too_many_weights |= is_lost;
        segment
    }

    /// That attempt must wait for its turn before it is sent: its age counts from when it is
    /// [`sent`](Self::sent). The wait is the router's own doing.
    pub fn queued(&mut self, now: Timestamp, id: RequestId) {
        self.advance(now);
        self.flight.set_slow_at(id, None);
    }

    /// An attempt that had to wait is sent. Of others this is no news.
    pub fn sent(&mut self, now: Timestamp, id: RequestId) {
        let now = self.advance(now);
        if let Some(limit) = self.config.slow.filter(|_| self.flight.is_queued(id)) {
            self.flight.set_slow_at(id, Some(now + limit));
        }
    }

    /// That attempt ended. Units that are not under way are ignored.
    pub fn ended(&mut self, now: Timestamp, id: RequestId, outcome: Outcome, missing_usage: bool) {
        let now = self.advance(now);
        // What became slow before is counted as slow, however late the driver is.
        self.count_slow(now - Duration::from_nanos(1));
        let Some(unit) = self.flight.land(id) else {
            return;
        };
        let finding = Finding::of(outcome, missing_usage, self.config.rate_limits_are_errors);
        self.book(&unit, |tally| tally.end(finding, unit.is_slow));
        self.count(&unit, finding.events);
    }

    /// Counts units of one version that were assigned and have ended at this moment, as if each had
    /// been told: for counts that other instances bring, and for fast simulations. They are split at
    /// random, none is slow, and what failed is an error and nothing else.
    pub fn tally(&mut self, now: Timestamp, arm: Arm, batch: Batch) {
        let now = self.advance(now);
        let Some(segment) = self.segment().filter(|_| batch.units > 0) else {
            return;
        };
        self.watch.saw(now, arm);
        if let Some(weight) = self.ledger.weight_mut() {
            weight.count_split(arm, batch.units);
        }
        let cohort = self.cohorts.current(now);
        let errors = Events::of(Metric::Error).with(Events::of(Metric::ErrorSlo));
        let failed = batch.failed.min(batch.units);
        let counts = Tally::of_batch(batch.units, failed, errors);
        self.book_at(segment, cohort, arm, |tally| tally.add(&counts));
        if arm == Arm::Canary && failed > 0 {
            self.news = self.news.with(errors);
        }
    }

    pub(super) fn count_slow(&mut self, now: Timestamp) {
        while self.flight.next_slow().is_some_and(|at| at <= now) {
            if let Some(unit) = self.flight.pop_slow(now) {
                self.book(&unit, |tally| tally.slow += 1);
                self.count(&unit, Events::of(Metric::Slow));
            }
        }
    }

    /// How long these units took, nobody knows any more: they say nothing.
    pub(super) fn forget_flight(&mut self) {
        let unknown = Finding {
            judgement: Judgement::Excluded,
            events: Events::NONE,
        };
        for unit in self.flight.drain() {
            self.book(&unit, |tally| tally.end(unknown, unit.is_slow));
        }
    }

    /// Counts events as evidence: a caller's first ones.
    fn count(&mut self, unit: &Unit, events: Events) {
        let first = self.callers.first(unit.caller, events);
        self.book(unit, |tally| tally.count(first));
        if unit.arm == Arm::Canary {
            self.news = self.news.with(first);
        }
    }

    fn book(&mut self, unit: &Unit, change: impl Fn(&mut Tally)) {
        self.book_at(unit.segment, unit.cohort, unit.arm, change);
    }

    fn book_at(&mut self, segment: usize, cohort: u64, arm: Arm, change: impl Fn(&mut Tally)) {
        if let Some(both) = self.ledger.both_mut(segment) {
            change(both.of_mut(arm));
        }
        if let Some(tally) = self.cohorts.tally_mut(cohort, arm) {
            change(tally);
        }
    }
}
