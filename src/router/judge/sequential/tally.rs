//! Counts of one version's units: first attempts, by what became of them.

use super::metric::{Arm, Events, Finding, Metric};
use crate::protocol::outcome::Judgement;

/// What is counted of some units of one version.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    /// Assigned.
    pub(super) units: u64,
    /// Ended well.
    pub(super) good: u64,
    /// Failed.
    pub(super) bad: u64,
    /// Ended without saying anything about the version.
    pub(super) void: u64,
    /// Ended before they were slow, void ones apart.
    pub(super) fast: u64,
    /// Void before they were slow.
    pub(super) fast_void: u64,
    /// Became slow.
    pub(super) slow: u64,
    /// Evidence: events, under sticky assignment only the first of a caller.
    pub(super) events: [u64; Metric::ALL.len()],
}

/// Failures, or slow attempts, among units that say something about the version.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Rate {
    pub(super) x: u64,
    pub(super) n: u64,
}

impl Tally {
    /// Units that have all ended, in time.
    pub(super) fn of_batch(units: u64, failed: u64, errors: Events) -> Self {
        let mut tally = Self {
            units,
            good: units - failed,
            bad: failed,
            fast: units,
            ..Self::default()
        };
        for metric in errors.iter() {
            tally.events[metric.index()] = failed;
        }
        tally
    }

    pub(super) fn end(&mut self, finding: Finding, slow: bool) {
        let is_void = finding.judgement == Judgement::Excluded;
        self.good += u64::from(finding.judgement == Judgement::Good);
        self.bad += u64::from(finding.judgement == Judgement::Bad);
        self.void += u64::from(is_void);
        self.fast += u64::from(!is_void && !slow);
        self.fast_void += u64::from(is_void && !slow);
    }

    pub(super) fn count(&mut self, events: Events) {
        for metric in events.iter() {
            self.events[metric.index()] += 1;
        }
    }

    pub(super) fn add(&mut self, other: &Self) {
        self.units += other.units;
        self.good += other.good;
        self.bad += other.bad;
        self.void += other.void;
        self.fast += other.fast;
        self.fast_void += other.fast_void;
        self.slow += other.slow;
        for (own, more) in self.events.iter_mut().zip(&other.events) {
            *own += more;
        }
    }

    /// Failures when all that is in flight fails.
    pub(super) fn failed_at_most(&self) -> Rate {
        let n = self.units.saturating_sub(self.void);
        let x = n.saturating_sub(self.good);
        Rate { x, n }
    }

    /// Failures when nothing that is in flight fails.
    pub(super) fn failed_at_least(&self) -> Rate {
        let n = self.units.saturating_sub(self.void);
        Rate { x: self.bad, n }
    }

    /// Slow ones when all that is in flight becomes slow.
    pub(super) fn slow_at_most(&self) -> Rate {
        let n = self.units.saturating_sub(self.fast_void);
        let x = n.saturating_sub(self.fast);
        Rate { x, n }
    }

    /// Slow ones when nothing more becomes slow.
    pub(super) fn slow_at_least(&self) -> Rate {
        let n = self.units.saturating_sub(self.fast_void);
        Rate { x: self.slow, n }
    }

    pub(super) fn events_of(&self, metric: Metric) -> u64 {
        self.events[metric.index()]
    }
}

/// The tallies of both versions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Both([Tally; 2]);

impl Both {
    pub(super) fn of(&self, arm: Arm) -> &Tally {
        &self.0[arm.index()]
    }

    pub(super) fn of_mut(&mut self, arm: Arm) -> &mut Tally {
        &mut self.0[arm.index()]
    }

    pub(super) fn add(&mut self, other: &Self) {
        for (own, more) in self.0.iter_mut().zip(&other.0) {
            own.add(more);
        }
    }
}
