//! Verdicts counted over seeds, and figures over seeds.

use std::time::Duration;

use crate::stats::proportion::{Limits, clopper_pearson};
use crate::stats::quantile::Quantile;
use crate::stats::samples::Samples;
use crate::time::Human;
use crate::verdict::result::{Status, grouped};

/// The confidence of everything that is said of seeds that nobody ran.
pub(super) const CONFIDENCE: f64 = 0.95;

/// How often something passed, failed, was inconclusive, was invalid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tally {
    /// The gate.
    pub name: String,
    counts: [u64; 4],
}

impl Tally {
    /// The order in which they are told.
    pub const ORDER: [Status; 4] = [
        Status::Pass,
        Status::Fail,
        Status::Inconclusive,
        Status::Invalid,
    ];

    /// Counts verdicts.
    pub fn of(name: &str, verdicts: impl Iterator<Item = Status>) -> Self {
        let mut counts = [0; 4];
        for verdict in verdicts {
            counts[Self::place(verdict)] += 1;
        }
        let name = name.to_owned();
        Self { name, counts }
    }

    fn place(status: Status) -> usize {
        match status {
            Status::Pass => 0,
            Status::Fail => 1,
            Status::Inconclusive => 2,
            Status::Invalid => 3,
        }
    }

    /// How many ended so.
    pub fn count(&self, status: Status) -> u64 {
        self.counts[Self::place(status)]
    }

    /// All of them.
    pub fn total(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// The share that ended so; none without runs.
    pub fn share(&self, status: Status) -> Option<f64> {
        let total = self.total();
        (total > 0).then(|| self.count(status) as f64 / total as f64)
    }

    /// Clopper–Pearson limits of that share, 95 % between the two.
    pub fn interval(&self, status: Status) -> Option<Limits> {
        let each = 1.0 - (1.0 - CONFIDENCE) / 2.0;
        clopper_pearson(self.count(status), self.total(), each)
    }

    /// Clopper–Pearson limits of the share of red runs, *each* one-sided at 95 %. Of a router that is as it
    /// should be, the upper one bounds the gate's flake rate; of one that is broken, the lower one bounds
    /// its power.
    pub fn red(&self) -> Option<Limits> {
        clopper_pearson(self.count(Status::Fail), self.total(), CONFIDENCE)
    }

    /// The verdict over all runs, when so many may fail, and as many be inconclusive. An invalid one is
    /// never excused: no run of a simulator is disturbed by chance.
    pub fn status(&self, max_red: u64) -> Status {
        if self.count(Status::Fail) > max_red {
            Status::Fail
        } else if self.count(Status::Invalid) > 0 {
            Status::Invalid
        } else if self.count(Status::Inconclusive) > max_red || self.total() == 0 {
            Status::Inconclusive
        } else {
            Status::Pass
        }
    }
}

/// A figure of each run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Figure {
    /// What it is called.
    pub name: &'static str,
    /// Its name in files.
    pub key: &'static str,
    /// Its values; nanoseconds of a time.
    pub samples: Samples,
    /// Is it a time?
    pub is_time: bool,
}

impl Figure {
    /// The quantiles that are told between the least and the largest one.
    pub const QUANTILES: [&'static str; 3] = ["p50", "p90", "p99"];

    /// A time.
    pub fn time(name: &'static str, key: &'static str, samples: Samples) -> Self {
        Self {
            name,
            key,
            samples,
            is_time: true,
        }
    }

    /// A number.
    pub fn count(name: &'static str, key: &'static str, samples: Samples) -> Self {
        Self {
            is_time: false,
            ..Self::time(name, key, samples)
        }
    }

    /// The told quantiles, by nearest rank; none where there are too few samples for one.
    pub fn quantiles(&self) -> [(&'static str, Option<u64>); 3] {
        Self::QUANTILES.map(|name| {
            let quantile = name.parse::<Quantile>().ok();
            (name, quantile.and_then(|q| self.samples.at(q)))
        })
    }

    /// What the 99.99 % quantile is at most, with 95 % confidence; none below some 30,000 samples.
    pub fn extreme(&self) -> Option<u64> {
        self.samples.extreme()
    }

    /// A value for people.
    pub fn text(&self, value: u64) -> String {
        match self.is_time {
            true => Human(Duration::from_nanos(value)).to_string(),
            false => grouped(value),
        }
    }

    /// A value for files: seconds, or a number.
    pub fn number(&self, value: u64) -> serde_json::Value {
        match self.is_time {
            true => Duration::from_nanos(value).as_secs_f64().into(),
            false => value.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(counts: [u64; 4]) -> Tally {
        let all = Tally::ORDER.into_iter().zip(counts);
        let verdicts = all.flat_map(|(status, n)| (0..n).map(move |_| status));
        Tally::of("gate", verdicts)
    }

    #[test]
    fn what_no_red_run_shows() {
        // scipy 1.17.1: st.beta.ppf(.95, x + 1, n - x); st.beta.ppf(.05, x, n - x + 1)
        let cases = [
            ([2_000, 0, 0, 0], 0.0, 0.001_496_744_895_188_283_7),
            ([3_000, 0, 0, 0], 0.0, 0.000_998_079_011_996_586_5),
            (
                [9_996, 4, 0, 0],
                0.000_136_643_002_107,
                0.000_915_116_058_471,
            ),
            ([0, 200, 0, 0], 0.985_132_960_768_728, 1.0),
        ];
        for (counts, low, high) in cases {
            let red = tally(counts).red().unwrap();
            assert!((red.low - low).abs() < 1e-12, "{counts:?}: {red:?}");
            assert!((red.high - high).abs() < 1e-12, "{counts:?}: {red:?}");
        }
        assert_eq!(tally([0; 4]).red(), None);
    }

    #[test]
    fn how_many_may_be_red() {
        for (counts, max_red, status) in [
            ([10, 0, 0, 0], 0, Status::Pass),
            ([9, 1, 0, 0], 0, Status::Fail),
            ([9, 1, 0, 0], 1, Status::Pass),
            ([9, 0, 1, 0], 0, Status::Inconclusive),
            ([8, 1, 1, 0], 1, Status::Pass),
            ([7, 1, 2, 0], 1, Status::Inconclusive),
            ([9, 0, 0, 1], 5, Status::Invalid),
            ([8, 1, 0, 1], 0, Status::Fail),
            ([0, 0, 0, 0], 0, Status::Inconclusive),
        ] {
            assert_eq!(tally(counts).status(max_red), status, "{counts:?}");
        }
    }
}
