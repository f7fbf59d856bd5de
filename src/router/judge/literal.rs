//! Thresholds on a sliding window, as the articles this started from define them: error rate
//! above 5 %, success rate below 95 %, p99 above 500 ms, once `min_requests` are in.
//!
//! It looks on its ticks and at every failure of the canary. Short windows make such rules fire on
//! healthy canaries now and then; see docs/statistics.md for how often.

use std::time::Duration;

use crate::id::VersionId;
use crate::router::config::{Limit, LiteralConfig, Threshold};
use crate::router::health::HealthWindow;
use crate::router::io::Evidence;
use crate::router::judge::lack::Lack;
use crate::router::judge::{Occasion, Promotion, demands_rollback};
use crate::time::Timestamp;

/// The literal judge of one canary.
#[derive(Clone, Debug)]
pub struct LiteralJudge {
    config: LiteralConfig,
    canary: VersionId,
    next_tick: Timestamp,
    /// Which thresholds were violated at the last look.
    violated: Vec<bool>,
}

impl LiteralJudge {
    /// A judge whose first regular look is one interval after `now`.
    pub fn new(config: LiteralConfig, canary: VersionId, now: Timestamp) -> Self {
        Self {
            next_tick: now + config.every,
            violated: vec![false; config.thresholds.len()],
            canary,
            config,
        }
    }

    /// The pause between two regular looks.
    pub fn every(&self) -> Duration {
        self.config.every.max(Duration::from_millis(1))
    }

    /// Enough attempts in the window, and no threshold that demands a rollback crossed, both by what
    /// ended since the step began: a step is not promoted for what another one has shown.
    pub fn promotion(&self, window: Option<&HealthWindow>) -> Promotion {
        let need = self.config.min_requests;
        let Some(own) = window.map(HealthWindow::of_step) else {
            return Promotion::No(vec![Lack::TooFewAttempts { have: 0, need }]);
        };
        let have = own.judged();
        if have < need {
            return Promotion::No(vec![Lack::TooFewAttempts { have, need }]);
        }
        let thresholds = self.config.thresholds.iter();
        let found = thresholds.map(|t| evidence(self.canary, &self.config, t, &own));
        let crossed: Vec<Lack> = found.filter(demands_rollback).map(crossed).collect();
        match crossed.is_empty() {
            true => Promotion::Yes,
            false => Promotion::No(crossed),
        }
    }

    /// When the next regular look is due.
    pub fn next_tick(&self) -> Timestamp {
        self.next_tick
    }

    /// Looks at the window; see [`super::Judge::look`].
    pub fn look(
        &mut self,
        now: Timestamp,
        occasion: Occasion,
        window: &HealthWindow,
        mut report: impl FnMut(Evidence),
    ) -> Option<Evidence> {
        if occasion == Occasion::Tick {
            // A pause of zero would tick for ever at one moment.
            self.next_tick = now + self.every();
        }
        let mut decisive = None;
        for (threshold, was_violated) in self.config.thresholds.iter().zip(&mut self.violated) {
            let evidence = evidence(self.canary, &self.config, threshold, window);
            if occasion == Occasion::Tick || evidence.violated != *was_violated {
                report(evidence);
            }
            *was_violated = evidence.violated;
            if decisive.is_none() && demands_rollback(&evidence) {
                decisive = Some(evidence);
            }
        }
        decisive
    }
}

fn crossed(evidence: Evidence) -> Lack {
    Lack::Crossed {
        measure: evidence.measure,
        value: evidence.value,
        bound: evidence.bound,
    }
}

fn evidence(
    version: VersionId,
    config: &LiteralConfig,
    threshold: &Threshold,
    window: &HealthWindow,
) -> Evidence {
    let (value, is_crossed) = match threshold.limit {
        Limit::ErrorRate(bound) => {
            let rate = window.error_rate();
            (rate, rate.is_some_and(|r| r > bound))
        }
        Limit::SuccessRate(bound) => {
            let rate = window.success_rate();
            (rate, rate.is_some_and(|r| r < bound))
        }
        Limit::P99(bound) => {
            let p99 = window.p99().map(|l| l.as_secs_f64());
            (p99, window.p99_is_above(bound))
        }
    };
    let samples = window.judged();
    Evidence {
        version,
        measure: threshold.limit.measure(),
        value,
        bound: threshold.limit.bound(),
        samples,
        min_samples: config.min_requests,
        action: threshold.action,
        violated: is_crossed && samples >= config.min_requests,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::outcome::Outcome;
    use crate::router::config::ThresholdAction;
    use crate::router::health::WindowBounds;
    use crate::router::io::Measure;

    fn config() -> LiteralConfig {
        let threshold = |limit, action| Threshold { limit, action };
        LiteralConfig {
            window: Duration::from_secs(60),
            max_samples: 10_000,
            min_requests: 20,
            every: Duration::from_secs(60),
            thresholds: vec![
                threshold(
                    Limit::P99(Duration::from_millis(500)),
                    ThresholdAction::Alert,
                ),
                threshold(Limit::ErrorRate(0.05), ThresholdAction::Rollback),
            ],
        }
    }

    struct Bench {
        judge: LiteralJudge,
        window: HealthWindow,
        reports: Vec<Evidence>,
    }

    impl Bench {
        fn new() -> Self {
            Self {
                judge: LiteralJudge::new(config(), VersionId(1), Timestamp::ZERO),
                window: HealthWindow::new(WindowBounds::of(&config())),
                reports: Vec::new(),
            }
        }

        fn attempts(&mut self, n: u32, outcome: Outcome, ms: u64) {
            for _ in 0..n {
                self.window
                    .record(Timestamp::ZERO, outcome, Duration::from_millis(ms));
            }
        }

        fn look(&mut self, occasion: Occasion) -> Option<Measure> {
            let reports = &mut self.reports;
            self.judge
                .look(Timestamp::ZERO, occasion, &self.window, |e| reports.push(e))
                .map(|e| e.measure)
        }
    }

    #[test]
    fn nothing_applies_below_the_minimum() {
        let mut bench = Bench::new();
        assert_eq!(bench.look(Occasion::Tick), None, "no data is no violation");
        bench.attempts(19, Outcome::ServerError, 10);
        assert_eq!(bench.look(Occasion::Failure), None);
        bench.attempts(1, Outcome::ServerError, 10);
        assert_eq!(bench.look(Occasion::Failure), Some(Measure::ErrorRate));
    }

    #[test]
    fn the_bound_itself_is_allowed() {
        let mut bench = Bench::new();
        bench.attempts(19, Outcome::Success, 10);
        bench.attempts(1, Outcome::ServerError, 10);
        assert_eq!(bench.look(Occasion::Failure), None, "exactly 5 %");
        bench.attempts(1, Outcome::ServerError, 10);
        assert_eq!(bench.look(Occasion::Failure), Some(Measure::ErrorRate));
    }

    #[test]
    fn an_alert_is_told_once_and_rolls_nothing_back() {
        let mut bench = Bench::new();
        bench.attempts(100, Outcome::Success, 800);
        assert_eq!(bench.look(Occasion::Failure), None);
        assert_eq!(bench.reports.len(), 1, "the finding changed");
        assert!(bench.reports[0].violated);
        bench.look(Occasion::Failure);
        assert_eq!(bench.reports.len(), 1, "the finding is the same");
        bench.look(Occasion::Tick);
        assert_eq!(bench.reports.len(), 3, "a tick tells every threshold");
    }
}
