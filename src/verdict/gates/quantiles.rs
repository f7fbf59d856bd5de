//! Limits of quantiles, decided by exact counting; a histogram only serves the figure that is shown.

use std::time::Duration;

use crate::id::RequestKey;
use crate::observe::latency::Latencies;
use crate::stats::compare::{Comparison, Op};
use crate::stats::quantile::Quantile;
use crate::time::Human;
use crate::verdict::result::{Check, Offenders, Status, grouped};

/// Samples of one measure, and the limits of its quantiles.
pub(super) struct Limits {
    limits: Vec<(Quantile, Comparison<Duration>)>,
    below: Vec<Below>,
    samples: Latencies,
}

/// What a measure is called, and what its samples are.
#[derive(Clone, Copy)]
pub(super) struct Words<'a> {
    /// What stands before the quantile's name.
    pub(super) measure: &'a str,
    /// What there is none of, when there is nothing to measure.
    pub(super) of_none: &'a str,
    /// What the samples are.
    pub(super) samples: &'a str,
}

/// How many samples are on the good side of a bound.
#[derive(Clone, Debug, Default)]
struct Below {
    less: u64,
    equal: u64,
    slowest: Offenders,
}

impl Limits {
    /// Limits of which nothing has been seen.
    pub(super) fn new(limits: &[(Quantile, Comparison<Duration>)]) -> Self {
        Self {
            below: vec![Below::default(); limits.len()],
            limits: limits.to_vec(),
            samples: Latencies::default(),
        }
    }

    /// Counts a sample of this request.
    pub(super) fn note(&mut self, key: RequestKey, sample: Duration) {
        self.note_many(key, sample, 1);
    }

    /// Counts a sample of this request so many times.
    pub(super) fn note_many(&mut self, key: RequestKey, sample: Duration, times: u32) {
        self.samples.record_many(sample, times);
        for ((_, limit), below) in self.limits.iter().zip(&mut self.below) {
            let times = u64::from(times);
            below.less += times * u64::from(sample < limit.bound);
            below.equal += times * u64::from(sample == limit.bound);
            if sample > limit.bound && below.slowest.keys().last() != Some(&key) {
                below.slowest.note(key);
            }
        }
    }

    /// A check for each of the limits.
    pub(super) fn checks(&self, words: Words<'_>, min_n: u64) -> impl Iterator<Item = Check> {
        let pairs = self.limits.iter().zip(&self.below);
        pairs.map(move |((quantile, limit), below)| {
            self.check(*quantile, *limit, below, words, min_n)
        })
    }

    fn check(
        &self,
        quantile: Quantile,
        limit: Comparison<Duration>,
        below: &Below,
        words: Words<'_>,
        min_n: u64,
    ) -> Check {
        let n = self.samples.count();
        let status = match (n, below.holds(quantile.rank(n), limit.op)) {
            (0, _) => Status::Inconclusive,
            (_, true) => Status::Pass,
            (_, false) => Status::Fail,
        };
        let estimate = self.samples.at(quantile);
        let seen = match estimate {
            None => format!("no {} to measure", words.of_none),
            // The figure comes from a histogram of three digits; what decides is counted.
            Some(value) => format!(
                "about {} over {} {}",
                Human(value),
                grouped(n),
                words.samples
            ),
        };
        Check::census(format!("{}{quantile} {limit}", words.measure), status, seen)
            .figure(estimate.map(|v| v.as_secs_f64()), "s", n)
            .offenders(below.slowest.keys())
            .needs(n, min_n.max(quantile.least_samples()))
    }
}

impl Below {
    /// Does the sample at this rank stand so to the bound? It is below exactly when at least that many
    /// samples are.
    fn holds(&self, rank: u64, op: Op) -> bool {
        let is_less = self.less >= rank;
        let is_at_most = self.less + self.equal >= rank;
        match op {
            Op::Less => is_less,
            Op::AtMost => is_at_most,
            Op::Equal => is_at_most && !is_less,
            Op::AtLeast => !is_less,
            Op::Greater => !is_at_most,
        }
    }
}
