//! What the judge says: evidence, decisions, and why a step may not be promoted.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::metric::Metric;

/// Which question was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Test {
    /// Is the canary worse than stable?
    Comparison,
    /// Is the canary above the SLO, while stable is proven to be below?
    Slo,
}

/// Where the counting that decided began.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StartOfCount {
    /// The step.
    pub step: usize,
    /// 0 for the step's first moment, else so many tenths of its planned hold later.
    pub tenth: u8,
}

/// Events among units.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counted {
    /// Events; under sticky assignment one a caller.
    pub events: u64,
    /// First attempts that were assigned.
    pub units: u64,
}

impl Counted {
    /// Events a unit; none without units.
    pub fn rate(&self) -> Option<f64> {
        (self.units > 0).then(|| self.events as f64 / self.units as f64)
    }
}

/// What the judge found for one metric, at the start of counting with the most evidence.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct SequentialEvidence {
    /// The metric.
    pub metric: Metric,
    /// The question.
    pub test: Test,
    /// ln E.
    pub ln_e: f64,
    /// What ln E must reach.
    pub threshold: f64,
    /// ln E of "stable is below the SLO", which must reach the threshold as well; for the SLO only.
    pub stable_ln_e: Option<f64>,
    /// The canary's counts.
    pub canary: Counted,
    /// Stable's counts.
    pub stable: Counted,
    /// Where the counting began.
    pub start: StartOfCount,
    /// Has ln E reached the threshold?
    pub violated: bool,
    /// And is that enough to roll back: is the difference material, or stable proven good?
    pub material: bool,
    /// True when stable's counts are those from before it lost its share.
    pub frozen_baseline: bool,
}

impl SequentialEvidence {
    /// Does this demand a rollback?
    pub fn demands_rollback(&self) -> bool {
        self.violated && self.material
    }
}

/// What follows from a look.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    /// Go on as planned.
    Continue,
    /// Close the canary; this is why.
    RollBack(SequentialEvidence),
    /// Change no weight, and tell people.
    Hold(HoldReason),
}

/// Why nothing should change for now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HoldReason {
    /// Both versions violate the SLO: something else is broken.
    SharedOutage,
    /// The canary is worse beyond doubt, but not by enough to roll back for it.
    Immaterial,
    /// The requests are not split as they should be.
    BrokenSplit,
    /// More callers had an event than can be remembered, or there were too many weights.
    Overflow,
    /// A version gets no requests.
    NoData,
    /// Nobody has looked for too long, or the clock has jumped.
    Stale,
    /// The weight in force is no number.
    NotANumber,
    /// The judge panicked: see [`crate::router::judge::guard`].
    JudgeFailed,
}

impl HoldReason {
    /// Every reason, in the order of the enum.
    pub const ALL: [Self; 8] = [
        Self::SharedOutage,
        Self::Immaterial,
        Self::BrokenSplit,
        Self::Overflow,
        Self::NoData,
        Self::Stale,
        Self::NotANumber,
        Self::JudgeFailed,
    ];

    /// The name in files: `shared_outage` …
    pub fn name(self) -> &'static str {
        match self {
            Self::SharedOutage => "shared_outage",
            Self::Immaterial => "immaterial",
            Self::BrokenSplit => "broken_split",
            Self::Overflow => "overflow",
            Self::NoData => "no_data",
            Self::Stale => "stale",
            Self::NotANumber => "not_a_number",
            Self::JudgeFailed => "judge_failed",
        }
    }
}

/// May the step be promoted?
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Promotion {
    /// Everything that is asked for is shown.
    Yes,
    /// All that is missing.
    No(Vec<Refusal>),
}

/// One thing that a promotion lacks.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Refusal {
    /// No weight is in force, or one that is no share.
    NoStep,
    /// The planned hold or the bake time is not over.
    HoldNotOver {
        /// So much is left.
        left: Duration,
    },
    /// The judge would hold.
    Held(HoldReason),
    /// The evidence demands a rollback.
    RolledBack,
    /// The canary had too few requests in this step that are old enough to have ended.
    TooFewRequests {
        /// So many it had.
        have: u64,
        /// So many it needs.
        need: u64,
    },
    /// Nothing is known of stable to compare with.
    NoBaseline,
    /// It is not shown that the canary's rate is less than the margin above stable's.
    Difference {
        /// The metric.
        metric: Metric,
        /// The canary's upper limit.
        upper: f64,
        /// Stable's lower limit.
        lower: f64,
        /// The margin.
        margin: f64,
    },
    /// It is not shown that the canary's rate is below its bound.
    Bound {
        /// The metric.
        metric: Metric,
        /// The canary's upper limit.
        upper: f64,
        /// The bound.
        bound: f64,
    },
}
