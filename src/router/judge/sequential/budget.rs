//! How the error budget of a rollout is shared: T = ln(1/(α·w_m·w_j)) for metric m and start j.
//!
//! The weights of the metrics sum to 1, and so do those of the starts; so all tests together fire on
//! a canary that is not worse with a probability of at most α (Bonferroni).

use super::metric::Metric;
use crate::stats::evidence::threshold;

/// Starts within a step besides its first moment: at tenths of the planned hold.
pub(super) const TENTHS: u8 = 9;

/// The share of the budget that a metric may spend.
pub fn metric_weight(metric: Metric) -> f64 {
    match metric {
        Metric::Error => 0.4,
        Metric::ErrorSlo => 0.1,
        Metric::Slow => 0.2,
        Metric::RateLimited
        | Metric::Truncated
        | Metric::Malformed
        | Metric::MissingUsage
        | Metric::BadRequest
        | Metric::ClientGone => 0.3 / 6.0,
    }
}

/// The share of the budget that a start may spend: half of a step's for its first moment (tenth 0),
/// the other half for the nine tenths together. `steps` is the number of steps that have a control.
pub fn start_weight(steps: usize, tenth: u8) -> f64 {
    let a_step = 1.0 / steps.max(1) as f64;
    match tenth {
        0 => a_step / 2.0,
        _ => a_step / (2.0 * f64::from(TENTHS)),
    }
}

/// What ln E of a metric must reach at each start.
#[derive(Clone, Debug)]
pub(super) struct Budget {
    steps: usize,
    by_metric: [f64; Metric::ALL.len()],
}

impl Budget {
    pub(super) fn new(alpha: f64, steps: usize) -> Self {
        Self {
            steps,
            by_metric: Metric::ALL.map(|m| threshold(alpha * metric_weight(m))),
        }
    }

    pub(super) fn threshold(&self, metric: Metric, tenth: u8) -> f64 {
        self.by_metric[metric.index()] + threshold(start_weight(self.steps, tenth))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_spent_twice() {
        let metrics: f64 = Metric::ALL.into_iter().map(metric_weight).sum();
        assert!((metrics - 1.0).abs() < 1e-12);
        for steps in 1..6 {
            let a_step: f64 = (0..=TENTHS).map(|t| start_weight(steps, t)).sum();
            assert!((a_step * steps as f64 - 1.0).abs() < 1e-12);
        }
    }

    /// α = 1 %, four steps, errors, a step's first moment: E ≥ 2,000.
    #[test]
    fn four_steps_ask_for_two_thousand() {
        let budget = Budget::new(0.01, 4);
        assert!((budget.threshold(Metric::Error, 0) - 7.600_902_459_542_082).abs() < 1e-12);
        let tenth = budget.threshold(Metric::Error, 5);
        assert!((tenth - libm::log(18_000.0)).abs() < 1e-12);
    }
}
