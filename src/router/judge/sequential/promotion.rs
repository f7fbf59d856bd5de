//! What a step must show before it is promoted: not "nothing bad was found", but limits.

use super::config::{PromotionLevel, SequentialConfig};
use super::evidence::{Promotion, Refusal, SequentialEvidence};
use super::metric::{Arm, Metric};
use super::tally::{Both, Rate, Tally};
use super::{InForce, SequentialJudge, Step};
use crate::stats::confidence;
use crate::stats::proportion::Limits;
use crate::time::Timestamp;

impl SequentialJudge {
    /// May the step in force be promoted?
    pub fn promotion(&self, now: Timestamp) -> Promotion {
        let now = self.watch.clamp(now);
        let Some(InForce { step, began }) = self.step else {
            return Promotion::No(vec![Refusal::NoStep]);
        };
        let Some(terms) = Terms::new(&self.config, step.canary_share) else {
            return Promotion::No(vec![Refusal::NoStep]);
        };
        let mut missing = Vec::new();
        let hold = step.planned_hold.max(self.config.bake);
        let left = hold.saturating_sub(now.since(began));
        if !left.is_zero() {
            missing.push(Refusal::HoldNotOver { left });
        }
        let is_convicted = |e: &SequentialEvidence| e.demands_rollback();
        let held = self.hold_reason(now);
        missing.extend(held.map(Refusal::Held));
        if self.findings.iter().flatten().any(is_convicted) {
            missing.push(Refusal::RolledBack);
        }
        missing.extend(self.not_shown(now, &step, &terms));
        match missing.is_empty() {
            true => Promotion::Yes,
            false => Promotion::No(missing),
        }
    }

    fn not_shown(&self, now: Timestamp, step: &Step, terms: &Terms<'_>) -> Vec<Refusal> {
        let counts = self.cohorts.ripe(now);
        let none = Tally::default();
        let baseline = self.baseline.as_ref().unwrap_or(&none);
        terms.missing(&counts, (!step.has_control).then_some(baseline))
    }
}

/// What is asked for: the level of the step's share, and whether the canary is the larger part.
pub(super) struct Terms<'a> {
    config: &'a SequentialConfig,
    level: &'a PromotionLevel,
    is_majority: bool,
}

impl<'a> Terms<'a> {
    pub(super) fn new(config: &'a SequentialConfig, share: f64) -> Option<Self> {
        let level = config.level(share)?;
        Some(Self {
            config,
            level,
            is_majority: share >= 0.5,
        })
    }

    /// All that the counts fail to show. What is in flight speaks against the canary on both sides: it
    /// fails there, and does not on stable. `baseline` takes stable's place where there is no control.
    pub(super) fn missing(&self, counts: &Both, baseline: Option<&Tally>) -> Vec<Refusal> {
        let canary = counts.of(Arm::Canary);
        let stable = baseline.unwrap_or(counts.of(Arm::Stable));
        let have = canary.failed_at_most().n;
        let need = self.level.min_requests.max(1);
        if have < need {
            return vec![Refusal::TooFewRequests { have, need }];
        }
        let config = self.config;
        let mut missing = Vec::new();
        let errors = (canary.failed_at_most(), stable.failed_at_least());
        self.check(
            Metric::Error,
            errors,
            Some(config.slo_error_rate),
            &mut missing,
        );
        if config.slow.is_some() {
            let bound = self.is_majority.then_some(config.slo_slow_rate);
            self.check(
                Metric::Slow,
                (canary.slow_at_most(), stable.slow_at_least()),
                bound,
                &mut missing,
            );
        }
        missing
    }

    fn check(
        &self,
        metric: Metric,
        (canary, stable): (Rate, Rate),
        bound: Option<f64>,
        missing: &mut Vec<Refusal>,
    ) {
        let (Some(canary), Some(stable)) = (self.limits(canary), self.limits(stable)) else {
            missing.push(Refusal::NoBaseline);
            return;
        };
        let (upper, lower, margin) = (canary.high, stable.low, self.level.margin);
        // What is no number shows nothing.
        let is_shown = upper - lower < margin;
        if !is_shown {
            missing.push(Refusal::Difference {
                metric,
                upper,
                lower,
                margin,
            });
        }
        if let Some(bound) = bound {
            let is_shown = upper < bound;
            if !is_shown {
                missing.push(Refusal::Bound {
                    metric,
                    upper,
                    bound,
                });
            }
        }
    }

    fn limits(&self, rate: Rate) -> Option<Limits> {
        confidence::limits(rate.x, rate.n, self.config.alpha_promotion)
    }
}
