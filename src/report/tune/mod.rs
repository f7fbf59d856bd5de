//! Policies compared over many seeds: what each came to ([`PolicyRuns`]), which of them are worth choosing from
//! ([`Tuned::front`]), and writers from it to bytes.

pub mod csv;
pub mod json;
pub mod pretty;

use crate::observe::meta::RunMeta;
use crate::stats::allowance::Allowance;
use crate::stats::proportion::{Limits, clopper_pearson};
use crate::stats::quantile::Quantile;
use crate::stats::samples::Samples;
use crate::time::Timestamp;

/// The confidence of each interval, between its two limits.
const CONFIDENCE: f64 = 0.95;

/// What a `rollback` gate should allow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BudgetAdvice {
    /// What says so.
    pub basis: Basis,
    /// Its `within`, in nanoseconds.
    pub within: Allowance,
    /// Its `canary_requests`.
    pub canary_requests: Allowance,
}

/// What a budget is advised by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Basis {
    /// The distribution of the wait for as many failures as the judge needs (docs/runs.md).
    Formula,
    /// The runs, of which there are enough.
    Seeds,
    /// The largest value of too few runs: others need more.
    FewSeeds,
}

impl Basis {
    /// Its name in files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Formula => "formula",
            Self::Seeds => "seeds",
            Self::FewSeeds => "too_few_seeds",
        }
    }
}

/// One policy over all seeds.
#[derive(Clone, Debug, PartialEq)]
pub struct PolicyRuns {
    /// The swept keys with their values; nothing where the scenario's own policy is no combination of them.
    pub settings: Vec<(String, String)>,
    /// Is it the scenario's own?
    pub is_own: bool,
    /// Runs with the canary's faults.
    pub runs: u64,
    /// Those of them that were rolled back before any of these faults.
    pub early: u64,
    /// From the beginning of the trouble to the rollback, in nanoseconds; of those that were rolled back in it.
    pub detection: Samples,
    /// Requests that met the canary in that time, or until the end of a run without a rollback.
    pub exposed: Samples,
    /// Requests that failed for their callers, in the whole run.
    pub user_errors: Samples,
    /// What a `rollback` should be allowed with it; none where a run was not rolled back for its trouble.
    pub budget: Option<BudgetAdvice>,
    /// Runs without the canary's faults.
    pub healthy_runs: u64,
    /// Those of them that were rolled back.
    pub false_rollbacks: u64,
}

impl PolicyRuns {
    /// The value of a key.
    pub fn setting(&self, key: &str) -> Option<&str> {
        let found = self.settings.iter().find(|(k, _)| k == key);
        found.map(|(_, value)| value.as_str())
    }

    /// The share of healthy runs that were rolled back; none without such a run.
    pub fn false_rate(&self) -> Option<f64> {
        share(self.false_rollbacks, self.healthy_runs)
    }

    /// Its Clopper–Pearson limits.
    pub fn false_limits(&self) -> Option<Limits> {
        let each = 1.0 - (1.0 - CONFIDENCE) / 2.0;
        clopper_pearson(self.false_rollbacks, self.healthy_runs, each)
    }

    /// The share of runs with faults that were rolled back for them.
    pub fn found(&self) -> Option<f64> {
        share(self.detection.count(), self.runs)
    }

    /// The median of the exposed requests.
    pub fn exposure(&self) -> Option<u64> {
        self.exposed.seen_at(Quantile::P50)
    }

    /// What a choice weighs: healthy rollbacks (of as many runs) against requests. A policy that finds nothing is no choice.
    fn costs(&self) -> Option<(f64, u64)> {
        self.found().filter(|found| *found > 0.0)?;
        Some((self.false_rate()?, self.exposure()?))
    }
}

fn share(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

/// All policies.
#[derive(Clone, Debug)]
pub struct Tuned {
    /// The circumstances of the scenario's own policy with its first seed.
    pub meta: RunMeta,
    /// When the trouble begins.
    pub since: Timestamp,
    /// How many seeds were asked for.
    pub planned: u64,
    /// The policies, the scenario's own first.
    pub policies: Vec<PolicyRuns>,
    /// Was it stopped before all was run?
    pub interrupted: bool,
}

impl Tuned {
    /// Is each policy on the Pareto front: is there no other that is better in false rollbacks or exposure, and
    /// worse in neither?
    pub fn front(&self) -> Vec<bool> {
        let costs: Vec<_> = self.policies.iter().map(PolicyRuns::costs).collect();
        front(&costs)
    }

    /// The swept keys, in the order in which they appear.
    pub fn keys(&self) -> Vec<&str> {
        let mut keys: Vec<&str> = Vec::new();
        for (key, _) in self.policies.iter().flat_map(|policy| &policy.settings) {
            if !keys.contains(&key.as_str()) {
                keys.push(key);
            }
        }
        keys
    }
}

/// Which of these costs nothing beats. What is not known is on no front.
fn front(costs: &[Option<(f64, u64)>]) -> Vec<bool> {
    let beats = |a: (f64, u64), b: (f64, u64)| a.0 <= b.0 && a.1 <= b.1 && a != b;
    let is_beaten = |own: (f64, u64)| costs.iter().flatten().any(|other| beats(*other, own));
    let is_best = |own: &Option<(f64, u64)>| own.is_some_and(|own| !is_beaten(own));
    costs.iter().map(is_best).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_nothing_beats_is_on_the_front() {
        let costs = [
            (0.0, 90),
            (0.05, 40),
            (0.05, 60),
            (0.09, 40),
            (0.2, 10),
            (0.0, 90),
            (0.3, 80),
        ];
        // Two that cost the same stand beside each other.
        let expected = [true, true, false, false, true, true, false];
        assert_eq!(front(&costs.map(Some)), expected);
        assert_eq!(front(&[None, Some((0.5, 9))]), [false, true]);
    }
}
