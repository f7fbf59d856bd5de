//! How a version fared lately: a sliding window over the ends of its attempts.
//!
//! The window is cut into 60 slots of time; a slot that holds its fair share of the largest count
//! is closed early, so that the window is bounded in samples as well. Recording is O(1); what is
//! older than the window, in whole slots, is gone: old good traffic cannot hide new failures, and
//! old failures cannot condemn a healed version.
//!
//! A percentile threshold is decided by exact counting (see [`crate::stats::quantile`]); the
//! histogram only gives the figure that is shown.

use std::collections::VecDeque;
use std::time::Duration;

use crate::protocol::outcome::{Judgement, Outcome};
use crate::router::config::LiteralConfig;
use crate::stats::histogram::LogHistogram;
use crate::stats::quantile::Quantile;
use crate::time::{Timestamp, nanos};

/// Slots a window is cut into.
pub const SLOTS: u64 = 60;

/// Bounds of a window.
#[derive(Clone, Debug, PartialEq)]
pub struct WindowBounds {
    /// Longest age: samples leave between `length × 59/60` and `length`.
    pub length: Duration,
    /// Most samples, up to one sixtieth more.
    pub max_samples: u64,
    /// Latencies above each of these are counted exactly.
    pub slow_bounds: Vec<Duration>,
}

impl WindowBounds {
    /// The window that a literal judge looks at.
    pub fn of(config: &LiteralConfig) -> Self {
        use crate::router::config::Limit;
        let slow_bounds = config.thresholds.iter().filter_map(|t| match t.limit {
            Limit::P99(bound) => Some(bound),
            Limit::ErrorRate(_) | Limit::SuccessRate(_) => None,
        });
        Self {
            length: config.window,
            max_samples: config.max_samples,
            slow_bounds: slow_bounds.collect(),
        }
    }
}

/// Counts of attempts.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Counts {
    by_outcome: [u32; Outcome::ALL.len()],
    good: u64,
    bad: u64,
    slow: Vec<u64>,
    latencies: LogHistogram,
}

impl Counts {
    fn new(slow_bounds: usize) -> Self {
        Self {
            by_outcome: [0; Outcome::ALL.len()],
            good: 0,
            bad: 0,
            slow: vec![0; slow_bounds],
            latencies: LogHistogram::default(),
        }
    }

    fn record(&mut self, outcome: Outcome, latency: Duration, slow_bounds: &[Duration]) {
        self.by_outcome[outcome.index()] += 1;
        match outcome.judgement() {
            Judgement::Good => self.good += 1,
            Judgement::Bad => self.bad += 1,
            Judgement::Excluded => return,
        }
        self.latencies.record(latency);
        for (count, bound) in self.slow.iter_mut().zip(slow_bounds) {
            *count += u64::from(latency > *bound);
        }
    }

    fn subtract(&mut self, old: &Self) {
        for (own, less) in self.by_outcome.iter_mut().zip(&old.by_outcome) {
            *own -= less;
        }
        self.good -= old.good;
        self.bad -= old.bad;
        for (own, less) in self.slow.iter_mut().zip(&old.slow) {
            *own -= less;
        }
        self.latencies.subtract(&old.latencies);
    }

    fn samples(&self) -> u64 {
        self.by_outcome.iter().map(|&n| u64::from(n)).sum()
    }
}

#[derive(Clone, Debug)]
struct Slot {
    /// Which sixtieth of the window's length, counted from the start of the run.
    tick: u64,
    counts: Counts,
}

/// The sliding window of one version.
#[derive(Clone, Debug)]
pub struct HealthWindow {
    bounds: WindowBounds,
    slot_nanos: u64,
    slot_samples: u64,
    slots: VecDeque<Slot>,
    samples: u64,
    newest: u64,
    /// So many of the slots are of steps gone by.
    before_step: usize,
    sum: Counts,
}

impl HealthWindow {
    /// An empty window.
    pub fn new(bounds: WindowBounds) -> Self {
        Self {
            slot_nanos: (nanos(bounds.length) / SLOTS).max(1),
            slot_samples: bounds.max_samples.div_ceil(SLOTS).max(1),
            slots: VecDeque::new(),
            samples: 0,
            newest: 0,
            before_step: 0,
            sum: Counts::new(bounds.slow_bounds.len()),
            bounds,
        }
    }

    /// Counts the end of an attempt.
    pub fn record(&mut self, now: Timestamp, outcome: Outcome, latency: Duration) {
        self.advance(now);
        self.open_slot(now);
        let bounds = &self.bounds.slow_bounds;
        if let Some(slot) = self.slots.back_mut() {
            slot.counts.record(outcome, latency, bounds);
        }
        self.sum.record(outcome, latency, bounds);
        self.samples += 1;
        self.newest += 1;
        self.drop_surplus();
    }

    /// Lets go of what is too old at `now`.
    pub fn advance(&mut self, now: Timestamp) {
        let oldest_kept = (now.0 / self.slot_nanos).saturating_sub(SLOTS - 1);
        while self.slots.front().is_some_and(|s| s.tick < oldest_kept) {
            self.drop_oldest();
        }
    }

    /// Another step begins: what is in the window by now is not of it.
    pub fn begin_step(&mut self) {
        self.before_step = self.slots.len();
        // The next sample belongs in a slot of its own.
        self.newest = self.slot_samples;
    }

    /// What of the window came since the step began.
    pub fn of_step(&self) -> Self {
        let mut own = Self::new(self.bounds.clone());
        own.samples = self.samples;
        own.sum = self.sum.clone();
        for slot in self.slots.iter().take(self.before_step) {
            own.samples -= slot.counts.samples();
            own.sum.subtract(&slot.counts);
        }
        own
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        *self = Self::new(self.bounds.clone());
    }

    /// Judged attempts: successes and failures that are the version's doing.
    pub fn judged(&self) -> u64 {
        self.sum.good + self.sum.bad
    }

    /// Attempts of one outcome.
    pub fn count(&self, outcome: Outcome) -> u64 {
        u64::from(self.sum.by_outcome[outcome.index()])
    }

    /// Failures over judged attempts; none while there are none.
    pub fn error_rate(&self) -> Option<f64> {
        ratio(self.sum.bad, self.judged())
    }

    /// Successes over judged attempts; none while there are none.
    pub fn success_rate(&self) -> Option<f64> {
        ratio(self.sum.good, self.judged())
    }

    /// The 99th percentile of the judged attempts' latency, to within 1.6 %.
    pub fn p99(&self) -> Option<Duration> {
        self.sum
            .latencies
            .at_rank(Quantile::P99.rank(self.judged()))
    }

    /// Is the 99th percentile above `bound`? Exact. `bound` must be one of the window's
    /// `slow_bounds`; of any other, nothing is known and the answer is no.
    pub fn p99_is_above(&self, bound: Duration) -> bool {
        let judged = self.judged();
        let at = self.bounds.slow_bounds.iter().position(|b| *b == bound);
        at.is_some_and(|i| judged - self.sum.slow[i] < Quantile::P99.rank(judged))
    }

    /// Bytes kept on the heap.
    pub fn bytes(&self) -> usize {
        (self.slots.len() + 1) * (size_of::<Slot>() + LogHistogram::BYTES)
    }

    fn open_slot(&mut self, now: Timestamp) {
        let tick = now.0 / self.slot_nanos;
        let is_open = self.newest < self.slot_samples
            && self.slots.back().is_some_and(|slot| slot.tick == tick);
        if !is_open {
            let counts = Counts::new(self.bounds.slow_bounds.len());
            self.slots.push_back(Slot { tick, counts });
            self.newest = 0;
        }
    }

    /// Drops whole old slots while the rest still holds as many samples as the window may.
    fn drop_surplus(&mut self) {
        while let Some(oldest) = self.slots.front() {
            if self.samples - oldest.counts.samples() < self.bounds.max_samples {
                break;
            }
            self.drop_oldest();
        }
    }

    fn drop_oldest(&mut self) {
        if let Some(slot) = self.slots.pop_front() {
            self.samples -= slot.counts.samples();
            self.sum.subtract(&slot.counts);
            self.before_step = self.before_step.saturating_sub(1);
        }
    }
}

fn ratio(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MS: u64 = 1_000_000;
    const SLOW: Duration = Duration::from_millis(500);

    fn window(max_samples: u64) -> HealthWindow {
        HealthWindow::new(WindowBounds {
            length: Duration::from_secs(60),
            max_samples,
            slow_bounds: vec![SLOW],
        })
    }

    #[test]
    fn old_samples_leave() {
        let mut w = window(1_000_000);
        w.record(Timestamp::ZERO, Outcome::ServerError, SLOW);
        assert_eq!(w.error_rate(), Some(1.0));
        w.advance(Timestamp::from_secs_f64(59.9));
        assert_eq!(w.judged(), 1);
        w.advance(Timestamp::from_secs_f64(60.0));
        assert_eq!(w.judged(), 0);
        assert_eq!(w.error_rate(), None, "no data is not a rate of 0");
    }

    #[test]
    fn refused_requests_and_departed_callers_are_not_judged() {
        let mut w = window(100);
        for outcome in [Outcome::BadRequest, Outcome::ClientGone, Outcome::Deadline] {
            w.record(Timestamp::ZERO, outcome, SLOW);
            assert_eq!(w.count(outcome), 1);
        }
        assert_eq!(w.judged(), 0);
    }

    #[test]
    fn the_percentile_is_decided_exactly_at_its_bound() {
        let mut w = window(10_000);
        let just_above = SLOW + Duration::from_nanos(1);
        for i in 0..100 {
            let latency = if i == 0 { just_above } else { SLOW };
            w.record(Timestamp::ZERO, Outcome::Success, latency);
        }
        assert!(!w.p99_is_above(SLOW), "1 of 100 above: p99 is at the bound");
        w.record(Timestamp::ZERO, Outcome::Timeout, just_above);
        assert!(w.p99_is_above(SLOW), "2 of 101 above: rank 100 is above");
    }

    #[derive(Clone, Debug)]
    struct Sample {
        gap: u64,
        outcome: Outcome,
        latency: u64,
    }

    fn sample() -> impl Strategy<Value = Sample> {
        let outcome = prop::sample::select(Outcome::ALL.to_vec());
        (0..9_000_u64, outcome, 0..1_000_u64).prop_map(|(gap, outcome, latency)| Sample {
            gap,
            outcome,
            latency,
        })
    }

    proptest! {
        /// Brute force: keep all samples with their slot, forget whole slots by the same rule.
        #[test]
        fn equals_brute_force(samples in prop::collection::vec(sample(), 1..300), max in 1..200_u64) {
            let mut w = window(max);
            let mut all: Vec<(u64, u64, Outcome, Duration)> = Vec::new();
            let (mut now, mut group, mut in_group) = (0, 0_u64, 0_u64);
            for s in samples {
                now += s.gap * MS;
                let latency = Duration::from_millis(s.latency);
                w.record(Timestamp(now), s.outcome, latency);

                let tick = now / (1_000 * MS);
                let same = all.last().is_some_and(|(t, ..)| *t == tick);
                if !same || in_group >= max.div_ceil(SLOTS) {
                    group += 1;
                    in_group = 0;
                }
                in_group += 1;
                all.push((tick, group, s.outcome, latency));
                all.retain(|(t, ..)| *t + SLOTS > tick);
                while all.iter().filter(|(_, g, ..)| *g != all[0].1).count() as u64 >= max {
                    let oldest = all[0].1;
                    all.retain(|(_, g, ..)| *g != oldest);
                }

                let count = |f: &dyn Fn(Judgement) -> bool| {
                    all.iter().filter(|(_, _, o, _)| f(o.judgement())).count() as u64
                };
                let judged = count(&|j| j != Judgement::Excluded);
                prop_assert_eq!(w.judged(), judged);
                prop_assert_eq!(w.error_rate(), ratio(count(&|j| j == Judgement::Bad), judged));
                prop_assert_eq!(w.success_rate(), ratio(count(&|j| j == Judgement::Good), judged));
                for outcome in Outcome::ALL {
                    let expected = all.iter().filter(|(_, _, o, _)| *o == outcome).count() as u64;
                    prop_assert_eq!(w.count(outcome), expected);
                }
                let mut sorted: Vec<Duration> = all.iter()
                    .filter(|(_, _, o, _)| o.judgement() != Judgement::Excluded)
                    .map(|(.., l)| *l).collect();
                sorted.sort();
                let p99 = sorted.get((Quantile::P99.rank(judged) as usize).wrapping_sub(1));
                prop_assert_eq!(w.p99_is_above(SLOW), p99.is_some_and(|l| *l > SLOW));
            }
        }
    }
}
