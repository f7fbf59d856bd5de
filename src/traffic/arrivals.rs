//! When requests arrive: constant, Poisson, stages of either, or a closed loop.

use std::time::Duration;

use rand_distr::{Distribution as _, Exp1};
use rand_pcg::Pcg64Mcg;

use crate::id::Seed;
use crate::rng;
use crate::time::{Timestamp, seconds};

/// How requests arrive.
#[derive(Clone, Debug, PartialEq)]
pub enum Arrivals {
    /// Open loop: on schedule, whatever the answers do. One stage after the other.
    Open(Vec<Stage>),
    /// Closed loop: this many requests under way, each answer is followed by the next request.
    Closed(u32),
}

/// A stretch of time with one rate.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Stage {
    /// The spacing of the arrivals.
    pub spacing: Spacing,
    /// Arrivals per second; 0 is a pause.
    pub rate: f64,
    /// How long it lasts; for ever when absent.
    pub length: Option<Duration>,
}

/// How arrivals of one rate are spaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spacing {
    /// Evenly.
    Constant,
    /// With exponential gaps.
    Poisson,
}

impl Arrivals {
    /// The number of arrivals to expect within `length`; none for a closed loop.
    pub fn expected(&self, length: Duration) -> Option<f64> {
        let Self::Open(stages) = self else {
            return None;
        };
        let mut left = length;
        let mut sum = 0.0;
        for stage in stages {
            let lasts = stage.length.map_or(left, |l| l.min(left));
            sum += stage.rate * lasts.as_secs_f64();
            left -= lasts;
        }
        Some(sum)
    }
}

/// The moments of an open loop, in order.
#[derive(Debug)]
pub struct Schedule {
    stages: std::vec::IntoIter<Stage>,
    stage: Option<Stage>,
    stage_start: Timestamp,
    in_stage: u64,
    last: Timestamp,
    random: Pcg64Mcg,
}

impl Schedule {
    /// The moments of `stages`, from the start of the run on.
    pub fn new(stages: Vec<Stage>, seed: Seed) -> Self {
        let mut stages = stages.into_iter();
        Self {
            stage: stages.next(),
            stages,
            stage_start: Timestamp::ZERO,
            in_stage: 0,
            last: Timestamp::ZERO,
            random: rng::arrivals(seed),
        }
    }

    fn candidate(&mut self, stage: Stage) -> Timestamp {
        match stage.spacing {
            // From the start of the stage, so that rounding never adds up to a drift.
            Spacing::Constant => self.stage_start + seconds(self.in_stage as f64 / stage.rate),
            Spacing::Poisson => {
                let unit: f64 = Exp1.sample(&mut self.random);
                self.last + seconds(unit / stage.rate)
            }
        }
    }
}

impl Iterator for Schedule {
    type Item = Timestamp;

    fn next(&mut self) -> Option<Timestamp> {
        loop {
            let stage = self.stage?;
            let end = stage.length.map(|length| self.stage_start + length);
            if stage.rate > 0.0 {
                let at = self.candidate(stage);
                if end.is_none_or(|end| at < end) {
                    self.in_stage += 1;
                    self.last = at;
                    return Some(at);
                }
            }
            self.stage_start = end?;
            self.last = self.stage_start;
            self.in_stage = 0;
            self.stage = self.stages.next();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stage(spacing: Spacing, rate: f64, seconds: u64) -> Stage {
        Stage {
            spacing,
            rate,
            length: Some(Duration::from_secs(seconds)),
        }
    }

    fn moments(stages: Vec<Stage>) -> Vec<f64> {
        Schedule::new(stages, Seed(1))
            .map(Timestamp::as_secs_f64)
            .collect()
    }

    #[test]
    fn constant_arrivals_keep_their_beat_for_hours() {
        let all = moments(vec![stage(Spacing::Constant, 3.0, 36_000)]);
        assert_eq!(all.len(), 108_000);
        assert!((all[107_999] - 107_999.0 / 3.0).abs() < 1e-6);
    }

    #[test]
    fn stages_follow_each_other_and_a_rate_of_zero_is_a_pause() {
        let all = moments(vec![
            stage(Spacing::Constant, 2.0, 1),
            stage(Spacing::Constant, 0.0, 10),
            stage(Spacing::Constant, 4.0, 1),
        ]);
        assert_eq!(all, [0.0, 0.5, 11.0, 11.25, 11.5, 11.75]);
    }

    #[test]
    fn poisson_gaps_are_exponential() {
        let all = moments(vec![stage(Spacing::Poisson, 50.0, 400)]);
        let gaps: Vec<f64> = all.windows(2).map(|w| w[1] - w[0]).collect();
        let n = gaps.len() as f64;
        let mean = gaps.iter().sum::<f64>() / n;
        let var = gaps.iter().map(|g| (g - mean).powi(2)).sum::<f64>() / n;
        // 20,000 gaps: the mean within 5/√n = 3.5 %, the coefficient of variation near 1.
        assert!((mean * 50.0 - 1.0).abs() < 0.035, "mean {mean}");
        assert!((var.sqrt() / mean - 1.0).abs() < 0.05);
    }

    #[test]
    fn the_expected_number_follows_the_stages() {
        let open = Arrivals::Open(vec![
            stage(Spacing::Constant, 2.0, 10),
            stage(Spacing::Poisson, 5.0, 10),
        ]);
        assert_eq!(open.expected(Duration::from_secs(12)), Some(30.0));
        assert_eq!(Arrivals::Closed(3).expected(Duration::from_secs(1)), None);
    }
}
