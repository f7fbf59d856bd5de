//! The metrics: what was logged of each version, in a sliding window, and whether it is beyond a threshold.

use std::collections::VecDeque;
use std::time::Duration;

use graygate::id::{PerVersion, VersionId};
use graygate::protocol::outcome::{Judgement, Outcome};
use graygate::router::config::{Limit, LiteralConfig, RouterConfig, Threshold, ThresholdAction};
use graygate::router::io::{Evidence, Measure};
use graygate::time::Timestamp;

use super::flaws::Flaw;

/// One logged request: when, whether it failed, and how long it took.
type Logged = (Timestamp, bool, Duration);

/// What was logged.
#[derive(Debug)]
pub(super) struct Metrics {
    flaw: Option<Flaw>,
    /// None where nobody ever looks.
    window: Option<Duration>,
    logged: PerVersion<VecDeque<Logged>>,
    failures: PerVersion<u64>,
    /// `latencies`, where nothing is ever taken away.
    latencies: Vec<Logged>,
}

impl Metrics {
    pub(super) fn new(
        config: &RouterConfig,
        judge: Option<&LiteralConfig>,
        flaw: Option<Flaw>,
    ) -> Self {
        let window = judge.map(|judge| match flaw {
            Some(Flaw::AllTimeMetrics) => Duration::MAX,
            _ => judge.window,
        });
        let versions = || config.versions.values();
        Self {
            flaw,
            window,
            logged: versions().map(|_| VecDeque::new()).collect(),
            failures: versions().map(|_| 0).collect(),
            latencies: Vec::new(),
        }
    }

    /// `logRequest`.
    pub(super) fn log(
        &mut self,
        now: Timestamp,
        version: VersionId,
        outcome: Outcome,
        took: Duration,
    ) {
        let Some(is_failure) = self.is_failure(outcome) else {
            return;
        };
        if self.flaw == Some(Flaw::KeepsAllLatencies) {
            self.latencies.push((now, is_failure, took));
        }
        if self.window.is_none() {
            return;
        }
        self.logged[version].push_back((now, is_failure, took));
        self.failures[version] += u64::from(is_failure);
    }

    /// None for what says nothing of a version.
    fn is_failure(&self, outcome: Outcome) -> Option<bool> {
        match (outcome, self.flaw) {
            (Outcome::RateLimited, Some(Flaw::RateLimitsAreSuccesses)) => Some(false),
            (Outcome::BadRequest, Some(Flaw::BadRequestsAreErrors)) => Some(true),
            _ => match outcome.judgement() {
                Judgement::Good => Some(false),
                Judgement::Bad => Some(true),
                Judgement::Excluded => None,
            },
        }
    }

    /// A healed request takes its failure back, for whoever judges by what users see.
    pub(super) fn forgive(&mut self, version: VersionId) {
        let logged = self.logged[version].iter_mut().rev();
        if let Some(last) = logged.into_iter().find(|(_, is_failure, _)| *is_failure) {
            last.1 = false;
            self.failures[version] -= 1;
        }
    }

    /// `client.metrics = { requests: 0, errors: 0, latencies: [] }`.
    pub(super) fn clear(&mut self) {
        self.logged
            .iter_mut()
            .for_each(|(_, logged)| logged.clear());
        self.failures
            .iter_mut()
            .for_each(|(_, failures)| *failures = 0);
    }

    fn age(&mut self, now: Timestamp) {
        for (version, logged) in self.logged.iter_mut() {
            while let Some((at, is_failure, _)) = logged.front()
                && self.window.is_some_and(|window| now.since(*at) >= window)
            {
                self.failures[version] -= u64::from(*is_failure);
                logged.pop_front();
            }
        }
    }

    /// The versions whose figures are looked at.
    fn looked_at(&self, canary: VersionId) -> Vec<VersionId> {
        let all = self.logged.iter().map(|(version, _)| version);
        all.filter(|v| *v == canary || self.flaw == Some(Flaw::PooledErrorRate))
            .collect()
    }

    /// How many were logged that count.
    pub(super) fn samples(&self, canary: VersionId) -> u64 {
        let looked_at = self.looked_at(canary).into_iter();
        looked_at.map(|v| self.logged[v].len() as u64).sum()
    }

    /// `shouldRollback`: the first threshold that asks for it and is crossed.
    pub(super) fn should_roll_back(
        &mut self,
        now: Timestamp,
        canary: VersionId,
        judge: &LiteralConfig,
    ) -> Option<Evidence> {
        self.age(now);
        let thresholds = judge.thresholds.iter();
        let mut asking = thresholds.filter(|t| t.action == ThresholdAction::Rollback);
        asking.find_map(|threshold| self.crossed(threshold, canary, judge))
    }

    fn crossed(
        &self,
        threshold: &Threshold,
        canary: VersionId,
        judge: &LiteralConfig,
    ) -> Option<Evidence> {
        let samples = self.samples(canary);
        let value = self.value(threshold.limit, canary);
        let bound = threshold.limit.bound();
        let is_crossed = match threshold.limit {
            Limit::SuccessRate(_) => value < bound,
            Limit::ErrorRate(_) | Limit::P99(_) => value > bound,
        };
        let is_enough = samples >= judge.min_requests;
        let nothing_is_enough = self.flaw == Some(Flaw::NothingIsFailure) && samples == 0;
        (is_crossed && (is_enough || nothing_is_enough)).then(|| Evidence {
            version: canary,
            measure: threshold.limit.measure(),
            value: Some(value),
            bound,
            samples,
            min_samples: judge.min_requests,
            action: threshold.action,
            violated: true,
        })
    }

    /// `getCurrentMetrics`.
    fn value(&self, limit: Limit, canary: VersionId) -> f64 {
        if self.flaw == Some(Flaw::ConstantMetrics) {
            return match limit.measure() {
                Measure::SuccessRate => 0.98,
                Measure::P99 => 0.045,
                _ => 0.02,
            };
        }
        let looked_at = self.looked_at(canary);
        let failures: u64 = looked_at.iter().map(|v| self.failures[*v]).sum();
        let all: u64 = looked_at.iter().map(|v| self.logged[*v].len() as u64).sum();
        let rate = failures as f64 / all as f64;
        match limit {
            Limit::ErrorRate(_) => rate,
            Limit::SuccessRate(_) if all == 0 && self.flaw == Some(Flaw::NothingIsFailure) => 0.0,
            Limit::SuccessRate(_) => 1.0 - rate,
            Limit::P99(_) => self.p99(canary),
        }
    }

    fn p99(&self, canary: VersionId) -> f64 {
        let took = self.logged[canary]
            .iter()
            .map(|(_, _, took)| took.as_secs_f64());
        let mut took: Vec<f64> = took.collect();
        if self.flaw == Some(Flaw::MeanForP99) {
            return took.iter().sum::<f64>() / took.len() as f64;
        }
        took.sort_by(f64::total_cmp);
        let rank = (took.len() * 99).div_ceil(100);
        took.get(rank.saturating_sub(1)).copied().unwrap_or(0.0)
    }

    pub(super) fn bytes(&self) -> usize {
        let windows = self.logged.values().map(VecDeque::capacity).sum::<usize>();
        (windows + self.latencies.capacity()) * size_of::<Logged>()
    }
}
