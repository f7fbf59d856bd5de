//! The weights that were in force, and whether requests were split as they said.

use super::metric::Arm;
use crate::stats::evidence::{PerRatio, costs_above, threshold};
use crate::stats::{confidence, multinomial};

/// A weight of a step. Its share is fixed before its units are assigned.
#[derive(Clone, Debug)]
pub(super) struct Weight {
    step: usize,
    share: f64,
    /// The share that the comparison reckons with: raised when the split is not what it should be.
    theta: f64,
    costs: PerRatio,
    split: SplitCount,
}

/// Who got the requests; under sticky assignment, the callers that came for the first time.
#[derive(Clone, Copy, Debug, Default)]
struct SplitCount {
    canary: u64,
    all: u64,
    checked: u64,
    is_broken: bool,
}

impl Weight {
    pub(super) fn new(step: usize, share: f64) -> Self {
        Self {
            step,
            share,
            theta: share,
            costs: costs_above(share),
            split: SplitCount::default(),
        }
    }

    pub(super) fn is(&self, step: usize, share: f64) -> bool {
        self.step == step && self.share.to_bits() == share.to_bits()
    }

    /// The canary's share as the comparison reckons it.
    pub(super) fn theta(&self) -> f64 {
        self.theta
    }

    pub(super) fn costs(&self) -> &PerRatio {
        &self.costs
    }

    pub(super) fn count_split(&mut self, arm: Arm, units: u64) {
        self.split.all += units;
        if arm == Arm::Canary {
            self.split.canary += units;
        }
    }

    pub(super) fn is_broken(&self) -> bool {
        self.split.is_broken
    }

    /// Asks whether the split is as it should be (Lindon–Malek, two-sided). Once it is not, it stays
    /// broken, and the share is taken for the largest that the requests allow.
    pub(super) fn check_split(&mut self, alpha: f64) {
        let SplitCount { canary, all, .. } = self.split;
        if self.split.checked == all || self.share >= 1.0 {
            return;
        }
        self.split.checked = all;
        let counts = [(canary, self.share), (all - canary, 1.0 - self.share)];
        if multinomial::ln_evidence(&counts) >= threshold(alpha) {
            self.split.is_broken = true;
        }
        if self.split.is_broken {
            let high = confidence::limits(canary, all, alpha).map_or(1.0, |l| l.high);
            self.theta = self.share.max(high);
            self.costs = costs_above(self.theta);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_split_that_is_right_is_left_alone() {
        let mut weight = Weight::new(0, 0.1);
        weight.count_split(Arm::Canary, 100);
        weight.count_split(Arm::Stable, 900);
        weight.check_split(0.001);
        assert!(!weight.is_broken());
        assert_eq!(weight.theta(), 0.1);
    }

    #[test]
    fn a_canary_with_too_much_is_reckoned_with_what_it_has() {
        let mut weight = Weight::new(0, 0.1);
        weight.count_split(Arm::Canary, 200);
        weight.count_split(Arm::Stable, 800);
        weight.check_split(0.001);
        assert!(weight.is_broken());
        assert!(weight.theta() > 0.2 && weight.theta() < 0.27);
    }

    #[test]
    fn a_canary_with_too_little_keeps_its_share_and_is_broken() {
        let mut weight = Weight::new(0, 0.1);
        weight.count_split(Arm::Canary, 20);
        weight.count_split(Arm::Stable, 980);
        weight.check_split(0.001);
        assert!(weight.is_broken());
        assert_eq!(weight.theta(), 0.1);
        weight.count_split(Arm::Canary, 100);
        weight.check_split(0.001);
        assert!(weight.is_broken(), "it stays broken");
    }
}
