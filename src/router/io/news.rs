//! What the router tells of a release: where it stands, what the judge saw, how it was rolled back.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::id::VersionId;
use crate::router::config::ThresholdAction;
use crate::router::judge::lack::Lack;
use crate::router::judge::sequential::Metric;
use crate::router::ramp::Phase;
use crate::time::Timestamp;

/// Where a release stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Standing {
    /// Counts changes of configuration and weights.
    pub revision: u64,
    /// The phase.
    pub phase: Phase,
    /// The step of the ramp: its position and name; none without a ramp.
    pub step: Option<(usize, String)>,
    /// The share of the randomly split requests that goes to the canary right now, 0 to 1.
    pub share: f64,
    /// How long the step has been held.
    pub held: Duration,
    /// What made it stand there.
    pub cause: Cause,
    /// Why nothing goes to the canary whatever its weight: every reason there is.
    pub closed: Vec<Closed>,
    /// What the next step of the ramp still waits for; nothing where there is no next step.
    pub missing: Vec<Lack>,
}

/// Why nothing goes to the canary whatever its weight.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Closed {
    /// The release was rolled back.
    RolledBack,
    /// What happens cannot be kept.
    StoreFailed,
    /// The canary's upstream does not know its model.
    ModelMissing,
}

impl Closed {
    /// The name in files and answers.
    pub fn name(self) -> &'static str {
        match self {
            Self::RolledBack => "rolled_back",
            Self::StoreFailed => "store_failed",
            Self::ModelMissing => "model_missing",
        }
    }
}

/// Why the standing of a release changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// The process started.
    Started,
    /// The judge's yes: the next step.
    Judged,
    /// A step's limit passed without an answer of the judge.
    Inconclusive,
    /// By hand.
    ByHand,
    /// Weights set by hand, for which a ramp under way pauses.
    Weights,
    /// Another configuration.
    Applied,
    /// A rollback.
    RolledBack,
    /// What happens can no longer be kept: the canary gets nothing until it can.
    StoreFailed,
    /// What happens is kept again.
    StoreBack,
    /// The canary's upstream does not know its model.
    ModelMissing,
}

impl Cause {
    /// The name in files and messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Started => "started",
            Self::Judged => "judged",
            Self::Inconclusive => "inconclusive",
            Self::ByHand => "by_hand",
            Self::Weights => "weights",
            Self::Applied => "applied",
            Self::RolledBack => "rolled_back",
            Self::StoreFailed => "store_failed",
            Self::StoreBack => "store_back",
            Self::ModelMissing => "model_missing",
        }
    }
}

/// What the judge saw of one threshold.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Evidence {
    /// The version that is judged.
    pub version: VersionId,
    /// The measure.
    pub measure: Measure,
    /// Its value over the window; none while the window is empty.
    pub value: Option<f64>,
    /// The bound it must not cross, in the same unit.
    pub bound: f64,
    /// Judged attempts in the window.
    pub samples: u64,
    /// Fewest judged attempts for the threshold to apply.
    pub min_samples: u64,
    /// What a violation causes.
    pub action: ThresholdAction,
    /// True when the bound is crossed on enough samples.
    pub violated: bool,
}

/// What a threshold is about. Rates are shares of 1; latencies are seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Measure {
    /// Failures over judged attempts.
    ErrorRate,
    /// Successes over judged attempts.
    SuccessRate,
    /// 99th percentile of the latency, in seconds.
    P99,
    /// The sequential judge's evidence, ln E, for one of its metrics.
    Sequential(Metric),
}

impl Measure {
    /// The name in files: `error_rate`, `success_rate`, `p99`; the metric's for the sequential judge.
    pub fn name(self) -> &'static str {
        match self {
            Self::ErrorRate => "error_rate",
            Self::SuccessRate => "success_rate",
            Self::P99 => "p99",
            Self::Sequential(metric) => metric.name(),
        }
    }
}

/// The record of a rollback.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rollback {
    /// Unique within the router's life.
    pub id: String,
    /// The version that was closed.
    pub from: VersionId,
    /// The version that gets everything from now on.
    pub to: VersionId,
    /// What decided it.
    pub reason: Reason,
    /// When.
    pub at: Timestamp,
    /// The same in milliseconds since 1970; none in virtual time.
    pub unix_ms: Option<u64>,
    /// Requests that had been given to the closed version until then.
    pub affected_requests: u64,
    /// The revision that was rolled back.
    pub revision: u64,
    /// The step of the ramp that it was in.
    pub step: Option<String>,
    /// The checkpoint whose configuration is in force now; none when there was no other one, and the
    /// configuration stayed but for its weights.
    pub restored: Option<String>,
    /// SHA-256 of the configuration in force now, verified.
    pub sha256: String,
}

/// Why the canary was rolled back.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// The judge's evidence.
    Judged(Evidence),
    /// A person's, in their words.
    ByHand(String),
    /// A step's limit passed without an answer of the judge.
    Inconclusive,
}

impl Reason {
    /// The name in files: the measure, `by_hand` or `inconclusive`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Judged(evidence) => evidence.measure.name(),
            Self::ByHand(_) => "by_hand",
            Self::Inconclusive => "inconclusive",
        }
    }

    /// The judge's evidence, if that decided.
    pub fn evidence(&self) -> Option<&Evidence> {
        match self {
            Self::Judged(evidence) => Some(evidence),
            Self::ByHand(_) | Self::Inconclusive => None,
        }
    }
}
