//! When requests arrive: in an open loop on schedule, in a closed loop or in sessions after the answers.

use std::time::Duration;

use rand_pcg::Pcg64Mcg;

use crate::id::Seed;
use crate::rng;
use crate::rng::distribution::Distribution;
use crate::time::{Timestamp, seconds};
use crate::traffic::course::Course;
pub use crate::traffic::spacing::Spacing;

/// How requests arrive.
#[derive(Clone, Debug, PartialEq)]
pub enum Arrivals {
    /// Open loop: on schedule, whatever the answers do. One stage after the other.
    Open(Vec<Stage>),
    /// Closed loop: each answer is followed by the next request.
    Closed(Closed),
    /// Conversations: they begin on schedule, and go on after each answer.
    Sessions(Sessions),
}

/// So many callers who each have at most one request under way.
#[derive(Clone, Debug, PartialEq)]
pub struct Closed {
    /// How many.
    pub callers: u32,
    /// Seconds from an answer to the next request.
    pub think: Distribution,
}

/// Conversations of several requests.
#[derive(Clone, Debug, PartialEq)]
pub struct Sessions {
    /// When they begin.
    pub starts: Vec<Stage>,
    /// How many requests one has, rounded, 1 to [`MOST_TURNS`].
    pub turns: Distribution,
    /// Seconds from an answer to the next request.
    pub think: Distribution,
}

/// The longest conversation: its last request carries all that was said before.
pub const MOST_TURNS: u32 = 200;

/// A stretch of time with one way of arriving.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Stage {
    /// The spacing of the arrivals.
    pub spacing: Spacing,
    /// Their rate.
    pub course: Course,
    /// How long it lasts; for ever when absent.
    pub length: Option<Duration>,
}

impl Arrivals {
    /// When they end by themselves; none where they never do, or where answers have a say in it.
    pub fn length(&self) -> Option<Duration> {
        match self {
            Self::Open(stages) => stages.iter().map(|stage| stage.length).sum(),
            Self::Closed(_) | Self::Sessions(_) => None,
        }
    }

    /// The number of requests to expect within `length`; none where answers set the pace alone.
    /// Of sessions, the turns count as if they came at once.
    pub fn expected(&self, length: Duration) -> Option<f64> {
        match self {
            Self::Open(stages) => Some(expected(stages, length)),
            Self::Closed(_) => None,
            Self::Sessions(sessions) => {
                let turns = sessions.turns.mean().clamp(1.0, f64::from(MOST_TURNS));
                Some(expected(&sessions.starts, length) * turns)
            }
        }
    }
}

fn expected(stages: &[Stage], length: Duration) -> f64 {
    let mut left = length;
    let mut sum = 0.0;
    for stage in stages {
        let lasts = stage.length.map_or(left, |l| l.min(left));
        sum += stage.course.until(lasts.as_secs_f64());
        left -= lasts;
    }
    sum
}

/// The moments of an open loop, in order.
#[derive(Debug)]
pub struct Schedule {
    stages: std::vec::IntoIter<Stage>,
    stage: Option<Stage>,
    /// None where they are even.
    gaps: Option<Distribution>,
    stage_start: Timestamp,
    /// Arrivals of this stage, and the sum of their gaps of mean 1.
    in_stage: u64,
    units: f64,
    last: Timestamp,
    random: Pcg64Mcg,
}

impl Schedule {
    /// The moments of `stages`, from the start of the run on.
    pub fn new(stages: Vec<Stage>, seed: Seed) -> Self {
        let mut schedule = Self {
            stages: stages.into_iter(),
            stage: None,
            gaps: None,
            stage_start: Timestamp::ZERO,
            in_stage: 0,
            units: 0.0,
            last: Timestamp::ZERO,
            random: rng::arrivals(seed),
        };
        schedule.begin(Timestamp::ZERO);
        schedule
    }

    /// Begins the next stage. What was left of a gap is dropped with its stage.
    fn begin(&mut self, at: Timestamp) {
        self.stage = self.stages.next();
        self.gaps = self.stage.and_then(|stage| stage.spacing.gaps());
        self.stage_start = at;
        self.last = at;
        self.in_stage = 0;
        self.units = 0.0;
    }

    fn candidate(&mut self, stage: Stage) -> Option<Timestamp> {
        let flat = match stage.course {
            Course::Flat(rate) if rate <= 0.0 => return None,
            Course::Flat(rate) => Some(rate),
            _ => None,
        };
        match (&self.gaps, flat) {
            // From the start of the stage, so that rounding never adds up to a drift.
            (None, Some(rate)) => Some(self.stage_start + seconds(self.in_stage as f64 / rate)),
            (Some(gaps), Some(rate)) => {
                Some(self.last + seconds(gaps.next(&mut self.random) / rate))
            }
            (gaps, None) => {
                // Even ones begin at the start of the stage, drawn ones after their first gap.
                self.units = match gaps {
                    None => self.in_stage as f64,
                    Some(gaps) => self.units + gaps.next(&mut self.random),
                };
                let moment = stage.course.moment(self.units)?;
                Some((self.stage_start + seconds(moment)).max(self.last))
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
            let at = self.candidate(stage);
            if let Some(at) = at.filter(|at| end.is_none_or(|end| *at < end)) {
                self.in_stage += 1;
                self.last = at;
                return Some(at);
            }
            self.begin(end?);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stage(spacing: Spacing, rate: f64, seconds: u64) -> Stage {
        Stage {
            spacing,
            course: Course::Flat(rate),
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
        let at_once = || Distribution::Constant(0.0);
        let closed = Arrivals::Closed(Closed {
            callers: 3,
            think: at_once(),
        });
        assert_eq!(closed.expected(Duration::from_secs(1)), None);
        let sessions = Arrivals::Sessions(Sessions {
            starts: vec![stage(Spacing::Poisson, 5.0, 10)],
            turns: Distribution::Constant(4.0),
            think: at_once(),
        });
        assert_eq!(sessions.expected(Duration::from_secs(10)), Some(200.0));
    }

    /// Counted in tenths of the whole, the number of arrivals is within five standard deviations of
    /// what the course says, for every spacing: of a renewal process about cv² times the mean.
    #[test]
    fn arrivals_follow_a_changing_rate() {
        let courses = [
            Course::Ramp {
                from: 10.0,
                to: 200.0,
                over: 200.0,
            },
            Course::Bursts {
                base: 20.0,
                burst: 300.0,
                every: 40.0,
                length: 5.0,
            },
            Course::Diurnal {
                mean: 100.0,
                peak: 190.0,
                period: 80.0,
                peak_at: 40.0,
            },
        ];
        for course in courses {
            for (spacing, cv) in [
                (Spacing::Constant, 0.0),
                (Spacing::Poisson, 1.0),
                (Spacing::Gamma(1.5), 1.5),
                (Spacing::Weibull(0.5), 0.5),
            ] {
                let all = moments(vec![Stage {
                    spacing,
                    course,
                    length: Some(Duration::from_secs(200)),
                }]);
                for tenth in 0..10 {
                    let (from, to) = (f64::from(tenth) * 20.0, f64::from(tenth + 1) * 20.0);
                    let found = all.iter().filter(|at| (from..to).contains(*at)).count() as f64;
                    let mean = course.until(to) - course.until(from);
                    let error = 5.0 * cv * mean.sqrt() + 1.0 + cv * cv;
                    assert!(
                        (found - mean).abs() <= error,
                        "{spacing:?} {course:?} {tenth}: {found}, not {mean} ± {error}"
                    );
                }
            }
        }
    }

    #[test]
    fn moments_never_go_back() {
        let mixed = |spacing, course| Stage {
            spacing,
            course,
            length: Some(Duration::from_secs(20)),
        };
        let ramp = Course::Ramp {
            from: 0.0,
            to: 50.0,
            over: 20.0,
        };
        let all = moments(vec![
            mixed(Spacing::Gamma(5.0), ramp),
            mixed(Spacing::Constant, ramp),
            mixed(Spacing::Weibull(3.0), Course::Flat(40.0)),
        ]);
        assert!(all.windows(2).all(|w| w[0] <= w[1]));
        assert!(all.iter().all(|at| *at < 60.0));
        let third = all.iter().filter(|at| **at >= 40.0).count();
        assert!(third > 100, "{third}");
    }
}
