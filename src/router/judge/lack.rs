//! What a step still lacks before the ramp goes on: for programs by code and figures, for people in
//! words.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::router::io::Measure;
use crate::router::judge::sequential::{HoldReason, Refusal};
use crate::time::Human;

/// One thing that the next step waits for.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Lack {
    /// The ramp stands still until somebody resumes it.
    Paused {
        /// Because weights were set that are not the step's own.
        by_weights: bool,
    },
    /// Nothing goes to the canary, whatever its weight; the step's time stands still.
    Closed,
    /// The planned hold, or the bake time, is not over.
    Hold {
        /// So much is left of it.
        left: Duration,
    },
    /// Nobody judges, so nobody promotes.
    NobodyJudges,
    /// The judge panicked, and is not asked again.
    JudgeFailed,
    /// Too few attempts of the canary were judged in this step.
    TooFewAttempts {
        /// So many were.
        have: u64,
        /// So many are needed.
        need: u64,
    },
    /// A threshold that demands a rollback is crossed.
    Crossed {
        /// The measure.
        measure: Measure,
        /// Its value; none without data.
        value: Option<f64>,
        /// The bound it must not cross.
        bound: f64,
    },
    /// The sequential judge has not been shown this.
    NotShown(Refusal),
}

/// A figure that does not suffice, and what it must reach or stay below.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Figures {
    /// What there is.
    pub have: f64,
    /// What there must be.
    pub need: f64,
    /// `s`, `requests`, `attempts`, or `share` for shares of 1.
    pub unit: &'static str,
}

impl Lack {
    /// The name in files and answers.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Paused { .. } => "paused",
            Self::Closed => "canary_closed",
            Self::Hold { .. } => "hold",
            Self::NobodyJudges => "nobody_judges",
            Self::JudgeFailed => "judge_failed",
            Self::TooFewAttempts { .. } => "too_few_attempts",
            Self::Crossed { .. } => "threshold_crossed",
            Self::NotShown(refusal) => code_of(refusal),
        }
    }

    /// What is there and what is needed, where that is a number.
    pub fn figures(&self) -> Option<Figures> {
        let figures = |have, need, unit| Some(Figures { have, need, unit });
        match *self {
            Self::Hold { left } => figures(0.0, left.as_secs_f64(), "s"),
            Self::TooFewAttempts { have, need } => figures(have as f64, need as f64, "attempts"),
            Self::Crossed {
                measure,
                value,
                bound,
            } => figures(value?, bound, unit_of(measure)),
            Self::NotShown(refusal) => match refusal {
                Refusal::TooFewRequests { have, need } => {
                    figures(have as f64, need as f64, "requests")
                }
                Refusal::Difference {
                    upper,
                    lower,
                    margin,
                    ..
                } => figures(upper - lower, margin, "share"),
                Refusal::Bound { upper, bound, .. } => figures(upper, bound, "share"),
                Refusal::NoStep
                | Refusal::HoldNotOver { .. }
                | Refusal::Held(_)
                | Refusal::RolledBack
                | Refusal::NoBaseline => None,
            },
            Self::Paused { .. } | Self::Closed | Self::NobodyJudges | Self::JudgeFailed => None,
        }
    }
}

impl From<Refusal> for Lack {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::HoldNotOver { left } => Self::Hold { left },
            other => Self::NotShown(other),
        }
    }
}

fn code_of(refusal: &Refusal) -> &'static str {
    match refusal {
        Refusal::NoStep => "no_step",
        Refusal::HoldNotOver { .. } => "hold",
        Refusal::Held(_) => "judge_holds",
        Refusal::RolledBack => "rollback_due",
        Refusal::TooFewRequests { .. } => "too_few_requests",
        Refusal::NoBaseline => "no_baseline",
        Refusal::Difference { .. } => "difference",
        Refusal::Bound { .. } => "slo",
    }
}

fn unit_of(measure: Measure) -> &'static str {
    match measure {
        Measure::P99 => "s",
        Measure::ErrorRate | Measure::SuccessRate => "share",
        // The literal judge alone crosses thresholds.
        Measure::Sequential(_) => "ln E",
    }
}

impl fmt::Display for Lack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Paused { by_weights: false } => {
                f.write_str("the ramp is paused: `resume` lets it go on")
            }
            Self::Paused { by_weights: true } => f.write_str(
                "the ramp is paused, because weights were set by hand: `resume` goes back to the \
                 step's own",
            ),
            Self::Closed => {
                f.write_str("nothing goes to the canary, and the step's time stands still")
            }
            Self::Hold { left } => write!(f, "the step must hold for {} more", Human(*left)),
            Self::NobodyJudges => f.write_str("nobody judges the canary: only `promote` goes on"),
            Self::JudgeFailed => f.write_str(
                "the judge broke down: nothing is promoted or rolled back by itself until another \
                 configuration is applied",
            ),
            Self::TooFewAttempts { have, need } => write!(
                f,
                "too few attempts of the canary were judged in this step: {have} of {need}"
            ),
            Self::Crossed {
                measure,
                value,
                bound,
            } => write!(
                f,
                "a threshold is crossed: {} is {}, its bound {}",
                measure.name(),
                value.map_or("unknown".to_owned(), |value| amount(*measure, value)),
                amount(*measure, *bound)
            ),
            Self::NotShown(refusal) => in_words(refusal, f),
        }
    }
}

fn in_words(refusal: &Refusal, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match refusal {
        Refusal::NoStep => f.write_str("the canary has no share that could be judged"),
        Refusal::HoldNotOver { left } => write!(f, "the step must hold for {} more", Human(*left)),
        Refusal::Held(reason) => write!(f, "the judge holds: {}", why_it_holds(*reason)),
        Refusal::RolledBack => f.write_str("the evidence demands a rollback"),
        Refusal::TooFewRequests { have, need } => write!(
            f,
            "too few requests of the canary in this step are old enough to count: {have} of {need}"
        ),
        Refusal::NoBaseline => f.write_str("nothing is known of stable to compare with"),
        Refusal::Difference {
            metric,
            upper,
            lower,
            margin,
        } => write!(
            f,
            "{}: the canary may still be {} points above stable (at most {} %, stable at least {} %), \
             and the margin is {} points",
            metric.name(),
            percent(upper - lower),
            percent(*upper),
            percent(*lower),
            percent(*margin)
        ),
        Refusal::Bound {
            metric,
            upper,
            bound,
        } => write!(
            f,
            "{}: the canary's rate may still be as high as {} %, and must be shown to be below {} %",
            metric.name(),
            percent(*upper),
            percent(*bound)
        ),
    }
}

fn why_it_holds(reason: HoldReason) -> &'static str {
    match reason {
        HoldReason::SharedOutage => "both versions violate the SLO",
        HoldReason::Immaterial => "the canary is worse beyond doubt, though by little",
        HoldReason::BrokenSplit => "the requests are not split as they should be",
        HoldReason::Overflow => {
            "more callers had an event, or more weights were set, than it keeps"
        }
        HoldReason::NoData => "a version gets no requests",
        HoldReason::Stale => "nobody looked for too long, or the clock has leapt",
        HoldReason::NotANumber => "the weight in force is no share",
        HoldReason::JudgeFailed => "it broke down",
    }
}

fn amount(measure: Measure, value: f64) -> String {
    match measure {
        Measure::ErrorRate | Measure::SuccessRate => format!("{} %", percent(value)),
        Measure::P99 => format!("{} ms", short(value * 1e3)),
        Measure::Sequential(_) => short(value),
    }
}

fn percent(share: f64) -> String {
    short(share * 100.0)
}

/// At most two decimals.
fn short(value: f64) -> String {
    let text = format!("{value:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::router::judge::sequential::Metric;

    #[test]
    fn figures_are_told_with_their_units() {
        let difference = Lack::NotShown(Refusal::Difference {
            metric: Metric::Error,
            upper: 0.0521,
            lower: 0.0042,
            margin: 0.03,
        });
        assert_eq!(
            difference.to_string(),
            "error: the canary may still be 4.79 points above stable (at most 5.21 %, stable at least \
             0.42 %), and the margin is 3 points"
        );
        let crossed = Lack::Crossed {
            measure: Measure::P99,
            value: Some(0.612),
            bound: 0.5,
        };
        assert_eq!(
            crossed.to_string(),
            "a threshold is crossed: p99 is 612 ms, its bound 500 ms"
        );
        let few = Lack::from(Refusal::TooFewRequests {
            have: 12,
            need: 271,
        });
        let expected = Figures {
            have: 12.0,
            need: 271.0,
            unit: "requests",
        };
        assert_eq!(
            (few.code(), few.figures()),
            ("too_few_requests", Some(expected))
        );
    }
}
