//! The two rules of a rollback, for one metric over all starts.

use super::budget::Budget;
use super::config::SequentialConfig;
use super::evidence::{Counted, SequentialEvidence, StartOfCount, Test};
use super::ledger::{Ledger, Sum};
use super::metric::{Arm, Metric};
use super::tally::{Rate, Tally};
use crate::stats::evidence::{Evidence, PerRatio, costs_above, costs_below};

/// Rule 1: is the canary worse than stable, and by enough? The start with the most evidence speaks.
pub(super) fn compare(
    config: &SequentialConfig,
    budget: &Budget,
    ledger: &Ledger,
    metric: Metric,
) -> Option<SequentialEvidence> {
    let mut best = Best::default();
    ledger.since_each_start(metric, |start, sum| {
        let threshold = budget.threshold(metric, start.tenth);
        if best.is_beaten_by(sum.comparison.ceiling(), threshold) {
            let mut evidence = describe(metric, Test::Comparison, start, sum);
            evidence.ln_e = sum.comparison.ln_e();
            evidence.threshold = threshold;
            evidence.violated = evidence.ln_e >= threshold;
            evidence.material = is_material(config, &evidence, sum);
            best.offer(evidence);
        }
    });
    best.0
}

fn is_material(config: &SequentialConfig, evidence: &SequentialEvidence, sum: &Sum) -> bool {
    let (canary, stable) = (evidence.canary, evidence.stable);
    let bound = config.material;
    let differs = match (canary.rate(), stable.rate()) {
        (Some(canary), Some(stable)) => canary - stable >= bound.difference,
        _ => false,
    };
    // The ratio of what was counted to what would be expected of equal versions; none on stable
    // counts as infinitely more.
    let of_canary = canary.events as f64 * sum.expected[Arm::Stable.index()];
    let of_stable = stable.events as f64 * sum.expected[Arm::Canary.index()];
    // A ratio of exactly two counts, however its parts were rounded.
    let is_multiple = of_canary >= bound.ratio * of_stable * (1.0 - 1e-9);
    canary.events >= bound.min_events && (differs || is_multiple)
}

/// What the SLO's rule found.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct SloFinding {
    pub(super) evidence: Option<SequentialEvidence>,
    /// Do both versions violate it, by the counts since some start?
    pub(super) is_shared: bool,
}

/// The costs of the SLO's error rate, reckoned once.
#[derive(Clone, Debug)]
pub(super) struct SloCosts {
    above: PerRatio,
    below: PerRatio,
}

impl SloCosts {
    pub(super) fn new(rate: f64) -> Self {
        Self {
            above: costs_above(rate),
            below: costs_below(rate),
        }
    }

    /// Evidence that a version is above the SLO: what is in flight has not failed.
    fn violated_by(&self, tally: &Tally) -> Evidence {
        let mut evidence = Evidence::above();
        evidence.add(tally.events_of(Metric::ErrorSlo), tally.units, &self.above);
        evidence
    }

    /// Evidence that it is below: what is in flight has failed.
    fn kept_by(&self, tally: &Tally) -> Evidence {
        let Rate { x, n } = tally.failed_at_most();
        let mut evidence = Evidence::below();
        evidence.add(x, n, &self.below);
        evidence
    }
}

/// Rule 2: does the canary violate the SLO while stable is proven good? With a `frozen` baseline,
/// stable is what it was before it lost its share.
pub(super) fn slo(
    budget: &Budget,
    costs: &SloCosts,
    ledger: &Ledger,
    frozen: Option<&Tally>,
) -> SloFinding {
    let mut best = Best::default();
    let mut is_shared = false;
    ledger.since_each_start(Metric::ErrorSlo, |start, sum| {
        let threshold = budget.threshold(Metric::ErrorSlo, start.tenth);
        let canary = costs.violated_by(sum.both.of(Arm::Canary));
        let ceiling = canary.ceiling();
        if ceiling < threshold && !best.is_beaten_by(ceiling, threshold) {
            return;
        }
        let stable = frozen.unwrap_or(sum.both.of(Arm::Stable));
        let kept = costs.kept_by(stable).ln_e();
        let mut evidence = describe(Metric::ErrorSlo, Test::Slo, start, sum);
        evidence.stable = counted(Metric::ErrorSlo, stable);
        evidence.frozen_baseline = frozen.is_some();
        evidence.ln_e = canary.ln_e();
        evidence.stable_ln_e = Some(kept);
        evidence.threshold = threshold;
        evidence.violated = evidence.ln_e >= threshold;
        evidence.material = kept >= threshold;
        is_shared |= evidence.violated && costs.violated_by(stable).ln_e() >= threshold;
        best.offer(evidence);
    });
    SloFinding {
        evidence: best.0,
        is_shared,
    }
}

fn describe(metric: Metric, test: Test, start: StartOfCount, sum: &Sum) -> SequentialEvidence {
    SequentialEvidence {
        metric,
        test,
        ln_e: 0.0,
        threshold: f64::INFINITY,
        stable_ln_e: None,
        canary: counted(metric, sum.both.of(Arm::Canary)),
        stable: counted(metric, sum.both.of(Arm::Stable)),
        start,
        violated: false,
        material: false,
        frozen_baseline: false,
    }
}

fn counted(metric: Metric, tally: &Tally) -> Counted {
    Counted {
        events: tally.events_of(metric),
        units: tally.units,
    }
}

/// The evidence that says most: one that demands a rollback, else the one nearest to its threshold.
#[derive(Default)]
struct Best(Option<SequentialEvidence>);

impl Best {
    fn rank(evidence: &SequentialEvidence) -> (bool, f64) {
        let excess = evidence.ln_e - evidence.threshold;
        (evidence.demands_rollback(), excess)
    }

    /// Could evidence of at most `ceiling` be better?
    fn is_beaten_by(&self, ceiling: f64, threshold: f64) -> bool {
        ceiling >= threshold
            || self
                .0
                .is_none_or(|best| ceiling - threshold >= Self::rank(&best).1)
    }

    /// Takes what is at least as good: of equals, the oldest start.
    fn offer(&mut self, evidence: SequentialEvidence) {
        let is_better = |best: SequentialEvidence| Self::rank(&evidence) >= Self::rank(&best);
        if self.0.is_none_or(is_better) {
            self.0 = Some(evidence);
        }
    }
}
