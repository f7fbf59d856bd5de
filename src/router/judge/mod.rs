//! Judging the canary by its own attempts.
//!
//! A judge is told of every attempt through the version's [`HealthWindow`] and says what it found;
//! the router acts on it. One file a method.

pub mod literal;
pub mod sequential;

use std::time::Duration;

use crate::router::config::{JudgeConfig, RouterConfig, ThresholdAction};
use crate::router::health::HealthWindow;
use crate::router::io::Evidence;
use crate::time::Timestamp;

use literal::LiteralJudge;

/// The judge of one canary.
#[derive(Clone, Debug)]
pub enum Judge {
    /// Nobody judges.
    Off,
    /// Thresholds on a sliding window.
    Literal(LiteralJudge),
}

/// Why the judge looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Occasion {
    /// Its regular time has come.
    Tick,
    /// An attempt of the canary failed.
    Failure,
}

/// Has the judge seen enough of a good canary for the next step?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Promotion {
    /// Yes.
    Yes,
    /// Not yet; why.
    No(&'static str),
}

impl Judge {
    /// A judge of a configuration's canary, at work from `now` on.
    pub fn new(config: &RouterConfig, now: Timestamp) -> Self {
        match &config.judge {
            JudgeConfig::Off => Self::Off,
            JudgeConfig::Literal(literal) => {
                Self::Literal(LiteralJudge::new(literal.clone(), config.canary, now))
            }
        }
    }

    /// The pause between its regular looks; none when nobody judges.
    pub fn every(&self) -> Option<Duration> {
        match self {
            Self::Off => None,
            Self::Literal(judge) => Some(judge.every()),
        }
    }

    /// Has it seen enough of a good canary for the next step?
    pub fn promotion(&self, window: &HealthWindow) -> Promotion {
        match self {
            Self::Off => Promotion::No("nobody judges"),
            Self::Literal(judge) => judge.promotion(window),
        }
    }

    /// When it wants to look by itself.
    pub fn next_tick(&self) -> Option<Timestamp> {
        match self {
            Self::Off => None,
            Self::Literal(judge) => Some(judge.next_tick()),
        }
    }

    /// Looks at the canary's window. `report` gets the evidence worth telling; the result is the
    /// evidence that demands a rollback, if any.
    pub fn look(
        &mut self,
        now: Timestamp,
        occasion: Occasion,
        window: &HealthWindow,
        report: impl FnMut(Evidence),
    ) -> Option<Evidence> {
        match self {
            Self::Off => None,
            Self::Literal(judge) => judge.look(now, occasion, window, report),
        }
    }
}

/// Does this finding demand a rollback?
pub(crate) fn demands_rollback(evidence: &Evidence) -> bool {
    evidence.violated && evidence.action == ThresholdAction::Rollback
}
