//! Judging the canary by its own attempts.
//!
//! A judge is told of every attempt through the version's [`HealthWindow`] and says what it found;
//! the router acts on it. One file a method.

pub mod literal;
pub mod sequential;

use crate::id::VersionId;
use crate::router::config::{JudgeConfig, ThresholdAction};
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

impl Judge {
    /// A judge of `canary`, at work from `now` on.
    pub fn new(config: &JudgeConfig, canary: VersionId, now: Timestamp) -> Self {
        match config {
            JudgeConfig::Off => Self::Off,
            JudgeConfig::Literal(literal) => {
                Self::Literal(LiteralJudge::new(literal.clone(), canary, now))
            }
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
