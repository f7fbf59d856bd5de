//! The counts that evidence is made of, booked on the weight and the start in force when a unit was
//! assigned.
//!
//! A *segment* is a stretch with one weight and one latest start. A unit is booked on the segment of
//! its assignment, whenever it ends; so a start's counts are those of all segments since, and neither
//! an event nor a look ever scans units.

use super::evidence::StartOfCount;
use super::metric::{Arm, Metric};
use super::starts::Starts;
use super::tally::Both;
use super::weights::Weight;
use crate::stats::evidence::Evidence;

/// Most segments, and most weights: changes by hand beyond that are not counted.
const MOST: usize = 512;

/// One stretch of a rollout.
#[derive(Clone, Debug)]
struct Segment {
    weight: usize,
    /// How many starts had begun.
    starts: usize,
    both: Both,
}

/// All counts of a rollout.
#[derive(Clone, Debug)]
pub(super) struct Ledger {
    pub(super) starts: Starts,
    weights: Vec<Weight>,
    current: Option<usize>,
    segments: Vec<Segment>,
}

/// The counts since a start.
#[derive(Clone, Debug)]
pub(super) struct Sum {
    pub(super) both: Both,
    pub(super) comparison: Evidence,
    /// Of the metric's events, how many would be each version's if they were alike.
    pub(super) expected: [f64; 2],
}

impl Sum {
    fn new() -> Self {
        Self {
            both: Both::default(),
            comparison: Evidence::above(),
            expected: [0.0; 2],
        }
    }

    fn add(&mut self, metric: Metric, both: &Both, weight: &Weight) {
        self.both.add(both);
        let canary = both.of(Arm::Canary).events_of(metric);
        let all = canary + both.of(Arm::Stable).events_of(metric);
        self.comparison.add(canary, all, weight.costs());
        self.expected[Arm::Canary.index()] += all as f64 * weight.theta();
        self.expected[Arm::Stable.index()] += all as f64 * (1.0 - weight.theta());
    }
}

impl Ledger {
    pub(super) fn new(steps: usize) -> Self {
        Self {
            starts: Starts::new(steps),
            weights: Vec::new(),
            current: None,
            segments: Vec::new(),
        }
    }

    /// Another weight is in force. False when there were too many: its units are not counted.
    pub(super) fn set_weight(&mut self, step: usize, share: f64) -> bool {
        self.current = self.weights.iter().position(|w| w.is(step, share));
        if self.current.is_none() && self.weights.len() < MOST {
            self.weights.push(Weight::new(step, share));
            self.current = Some(self.weights.len() - 1);
        }
        self.current.is_some()
    }

    /// No weight is in force that could be reckoned with.
    pub(super) fn unset_weight(&mut self) {
        self.current = None;
    }

    pub(super) fn weight_mut(&mut self) -> Option<&mut Weight> {
        self.weights.get_mut(self.current?)
    }

    pub(super) fn is_split_broken(&self) -> bool {
        self.weights.iter().any(Weight::is_broken)
    }

    /// The segment for a unit that is assigned now; none when nothing can be counted.
    pub(super) fn segment(&mut self) -> Option<usize> {
        let (weight, starts) = (self.current?, self.starts.len());
        let fits = |s: &Segment| s.weight == weight && s.starts == starts;
        if !self.segments.last().is_some_and(fits) {
            if self.segments.len() >= MOST {
                return None;
            }
            self.segments.push(Segment {
                weight,
                starts,
                both: Both::default(),
            });
        }
        Some(self.segments.len() - 1)
    }

    pub(super) fn both_mut(&mut self, segment: usize) -> Option<&mut Both> {
        self.segments.get_mut(segment).map(|s| &mut s.both)
    }

    /// Everything counted so far, whatever the start.
    pub(super) fn total(&self) -> Both {
        let mut total = Both::default();
        self.segments.iter().for_each(|s| total.add(&s.both));
        total
    }

    /// Shows the counts since each start, newest first.
    pub(super) fn since_each_start(
        &self,
        metric: Metric,
        mut show: impl FnMut(StartOfCount, &Sum),
    ) {
        let mut sum = Sum::new();
        for (i, segment) in self.segments.iter().enumerate().rev() {
            sum.add(metric, &segment.both, &self.weights[segment.weight]);
            let older = i.checked_sub(1).map_or(0, |i| self.segments[i].starts);
            if let Some(start) = self.starts.best(older..segment.starts) {
                show(start, &sum);
            }
        }
    }

    pub(super) fn bytes(&self) -> usize {
        self.weights.capacity() * size_of::<Weight>()
            + self.segments.capacity() * size_of::<Segment>()
            + self.starts.bytes()
    }
}
