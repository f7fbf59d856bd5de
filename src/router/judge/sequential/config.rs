//! What the sequential judge is told.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The configuration of the sequential judge. The default is what docs/statistics.md describes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SequentialConfig {
    /// The probability of rolling back a canary that is not worse, over the whole rollout.
    pub alpha: f64,
    /// The error rate that the SLO allows, 0 to 1.
    pub slo_error_rate: f64,
    /// An attempt older than this without a success is slow; none turns the metric off.
    pub slow: Option<Duration>,
    /// The share of slow attempts that a promotion allows once the canary has half of the requests.
    pub slo_slow_rate: f64,
    /// Whether 429 counts as an error, besides its own counter.
    pub rate_limits_are_errors: bool,
    /// Pause between two regular looks; every event is looked at when it happens.
    pub every: Duration,
    /// A judge that nobody asked for this many pauses is stale, and so is its data.
    pub stale_ticks: u32,
    /// Differences that a rollback needs besides the evidence.
    pub material: Material,
    /// The probability that a confidence limit of one step is wrong; each version has its own.
    pub alpha_promotion: f64,
    /// What a promotion needs at which share: the first that reaches as far as the share.
    pub promotion: Vec<PromotionLevel>,
    /// The least time that a step must be in force, besides its planned hold.
    pub bake: Duration,
    /// The longest that an attempt can take: what is older has ended. Zero when that is unknown:
    /// whatever is in flight then counts as failed in a promotion.
    pub attempt_limit: Duration,
    /// The planned hold of a split that no ramp plans.
    pub horizon: Duration,
    /// The probability of doubting a split that is right, one weight.
    pub alpha_split: f64,
    /// Callers that are remembered under sticky assignment, because they had an event.
    pub max_callers: usize,
}

/// How large a difference must be to roll back for it: one of the two.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Material {
    /// The canary's rate is at least this much above stable's.
    pub difference: f64,
    /// The canary's rate is at least this many times stable's.
    pub ratio: f64,
    /// And at least this many different requests (callers, under sticky assignment) had the event.
    pub min_events: u64,
}

/// What a promotion needs.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PromotionLevel {
    /// Up to this share of the canary.
    pub up_to_share: f64,
    /// The canary's rate must be shown to be less than this much above stable's.
    pub margin: f64,
    /// Fewest requests of the canary in this step.
    pub min_requests: u64,
}

impl Default for Material {
    fn default() -> Self {
        Self {
            difference: 0.01,
            ratio: 2.0,
            min_events: 3,
        }
    }
}

impl Default for SequentialConfig {
    fn default() -> Self {
        let level = |up_to_share, margin, min_requests| PromotionLevel {
            up_to_share,
            margin,
            min_requests,
        };
        Self {
            alpha: 0.01,
            slo_error_rate: 0.05,
            slow: Some(Duration::from_millis(500)),
            slo_slow_rate: 0.01,
            rate_limits_are_errors: true,
            every: Duration::from_secs(60),
            stale_ticks: 2,
            material: Material::default(),
            alpha_promotion: 0.025,
            promotion: vec![
                level(0.05, 0.03, 271),
                level(0.15, 0.02, 430),
                level(1.0, 0.01, 1_151),
            ],
            bake: Duration::ZERO,
            attempt_limit: Duration::from_secs(60),
            horizon: Duration::from_secs(3_600),
            // A step that is held for nothing is a release that is stopped for nothing.
            alpha_split: 1e-4,
            max_callers: 100_000,
        }
    }
}

impl SequentialConfig {
    /// Pause between two regular looks. A pause of zero would tick for ever at one moment.
    pub(super) fn pause(&self) -> Duration {
        self.every.max(Duration::from_millis(1))
    }

    /// What has been silent for longer than this is stale.
    pub(super) fn stale_after(&self) -> Duration {
        self.pause().saturating_mul(self.stale_ticks.max(1))
    }

    /// What a promotion needs at this share of the canary; the strictest when none reaches so far.
    pub(super) fn level(&self, share: f64) -> Option<&PromotionLevel> {
        let reaches = |l: &&PromotionLevel| share <= l.up_to_share + 1e-9;
        let found = self.promotion.iter().find(reaches);
        found.or(self.promotion.last())
    }
}
