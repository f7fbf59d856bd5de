//! What a correct router needs for a rollback, by formula: so that a budget is no coin toss.
//!
//! A judge acts at the k-th failure of the canary. When requests come at a constant rate and each fails with the
//! same probability, the wait for the k-th is a gamma distribution in time and a negative binomial one in requests
//! (docs/statistics.md). Where anything else is at work there is no formula, and seeds must tell.

use std::time::Duration;

use crate::experiment::{Experiment, Traffic};
use crate::fault::kind::{ERROR_LATENCY, FaultKind};
use crate::fault::pattern::Pattern;
use crate::fault::schedule::Fault;
use crate::observe::meta::Engine;
use crate::router::config::{
    FallbackPolicy, Features, JudgeConfig, Limit, LiteralConfig, ThresholdAction,
};
use crate::router::judge::sequential::SequentialConfig;
use crate::router::judge::sequential::budget::{metric_weight, start_weight};
use crate::router::judge::sequential::metric::Metric;
use crate::scenario::advice::randomised_share;
use crate::stats::allowance::{Allowance, Rounding};
use crate::stats::compare::{Comparison, Op};
use crate::stats::evidence::{Evidence, costs_above, threshold};
use crate::stats::waiting;
use crate::time::{Timestamp, nanos, seconds};
use crate::traffic::arrivals::{Arrivals, Stage};
use crate::traffic::course::Course;
use crate::traffic::spacing::Spacing;
use crate::verdict::evaluate::FLAKE;
use crate::verdict::spec::{GateSpec, RollbackSpec};

/// More failures than this are no rollback that anybody waits for.
const MOST_EVENTS: u64 = 100_000;
/// A live run's machine takes its time, too.
const LIVE: f64 = 1.5;

/// How a correct router comes to its rollback.
#[derive(Clone, Debug, PartialEq)]
pub struct Wait {
    /// The failures of the canary that it takes, each number with its probability: what a window holds is chance.
    pub events: Vec<(u64, f64)>,
    /// The probability that a request at the canary fails.
    pub failing: f64,
    /// Requests at the canary, a second.
    pub per_second: f64,
    /// From a request to its failure.
    pub lag: Duration,
}

impl Wait {
    /// The time that is exceeded with this probability.
    pub fn time(&self, tail: f64) -> Option<Duration> {
        let most = self.events.iter().map(|(events, _)| *events).max()?;
        let (mut low, mut high) = (0.0, waiting::time_quantile(most, tail)?);
        for _ in 0..60 {
            let middle = 0.5 * (low + high);
            match self.not_yet(middle) > tail {
                true => low = middle,
                false => high = middle,
            }
        }
        Some(seconds(high / self.events_per_second()).saturating_add(self.lag))
    }

    /// The number of requests that is exceeded with this probability.
    pub fn requests(&self, tail: f64) -> Option<u64> {
        if tail <= 0.0 || self.failing <= 0.0 {
            return None;
        }
        let (mut low, mut high) = (0, 1);
        while self.more_than(high) > tail {
            (low, high) = (high, high.checked_mul(2)?);
        }
        while high - low > 1 {
            let middle = low + (high - low) / 2;
            match self.more_than(middle) > tail {
                true => low = middle,
                false => high = middle,
            }
        }
        Some(high)
    }

    /// The probability that it takes longer than this.
    pub fn later_than(&self, limit: Duration) -> f64 {
        let left = limit.saturating_sub(self.lag).as_secs_f64();
        self.not_yet(left * self.events_per_second())
    }

    /// The probability that there were too few failures when so many were to be expected.
    fn not_yet(&self, expected: f64) -> f64 {
        let few = |(events, chance): &(u64, f64)| chance * waiting::time_tail(*events, expected);
        self.events.iter().map(few).sum()
    }

    /// The probability that it takes more requests than this, those included that come while the last
    /// failure is under way.
    pub fn more_than(&self, limit: u64) -> f64 {
        let under_way = self.per_second * self.lag.as_secs_f64();
        // More than that are never under way at once, but for one time in 10¹².
        let most = (under_way + 8.0 * under_way.sqrt() + 12.0) as u64;
        let enough = |n: u64| -> f64 {
            let missing = |(events, chance): &(u64, f64)| {
                chance * (1.0 - waiting::trials_tail(*events, self.failing, n))
            };
            self.events.iter().map(missing).sum()
        };
        let few = (0..=most.min(limit)).map(|m| waiting::poisson(m, under_way) * enough(limit - m));
        (1.0 - few.sum::<f64>()).clamp(0.0, 1.0)
    }

    /// What a limit of the time should be, that a correct router exceeds with this probability.
    pub fn allowed_time(&self, flake: f64, slack: f64) -> Option<Allowance> {
        let (extreme, needed) = (self.time(FLAKE)?, self.time(flake)?);
        let rounding = Rounding::of_time(slack);
        Some(Allowance::by_formula(
            nanos(extreme),
            nanos(needed),
            rounding,
        ))
    }

    /// What a limit of the requests should be.
    pub fn allowed_requests(&self, flake: f64, slack: f64) -> Option<Allowance> {
        let (extreme, needed) = (self.requests(FLAKE)?, self.requests(flake)?);
        let rounding = Rounding::of_count(slack);
        Some(Allowance::by_formula(extreme, needed, rounding))
    }

    fn events_per_second(&self) -> f64 {
        self.failing * self.per_second
    }
}

/// The limits that a `rollback` gate sets to chance.
pub fn limits(spec: &RollbackSpec) -> (Option<Duration>, Option<u64>) {
    let most = |limit: Comparison<u64>| match limit.op {
        Op::AtMost => Some(limit.bound),
        Op::Less => limit.bound.checked_sub(1),
        Op::Equal | Op::AtLeast | Op::Greater => None,
    };
    (spec.within, spec.canary_requests.and_then(most))
}

/// How many times what is needed a suggested limit is: more for a scenario that runs live.
pub fn slack(engine: Option<Engine>) -> f64 {
    match engine {
        Some(Engine::Live) => LIVE,
        Some(Engine::Virtual) | None => 1.0,
    }
}

/// The part of the scenario's error budget that each limit of a rollback gets, of which there are, or shall be, at
/// least so many: they share it with the gates that are estimates.
pub fn flake_per_limit(gates: &[GateSpec], least: usize) -> f64 {
    let of_rollbacks = gates.iter().map(|gate| match gate {
        GateSpec::Rollback(spec) => {
            let (within, requests) = limits(spec);
            usize::from(within.is_some()) + usize::from(requests.is_some())
        }
        _ => 0,
    });
    let limits = of_rollbacks.sum::<usize>().max(least);
    let estimates = gates.iter().filter(|gate| gate.is_statistical()).count();
    FLAKE / (limits + estimates).max(1) as f64
}

/// What a correct router needs from the beginning of the trouble on, where a formula says so: one fault that makes a share of
/// the canary's requests fail at once, long enough, a constant rate, a judge that nothing else disturbs.
pub fn wait(experiment: &Experiment, since: Timestamp) -> Option<Wait> {
    let fault = the_fault(experiment, since)?;
    let per_second = rate_at_canary(experiment)?;
    let events = match &experiment.router.judge {
        JudgeConfig::Off => None,
        JudgeConfig::Literal(judge) => of_literal(experiment, judge, per_second, fault),
        JudgeConfig::Sequential(judge) => of_sequential(experiment, judge).map(|k| vec![(k, 1.0)]),
    }?;
    let wait = Wait {
        events,
        failing: fault.share,
        per_second,
        lag: ERROR_LATENCY,
    };
    // A fault, or a run, that may end before it is found is another story.
    let rare = wait.time(FLAKE / 100.0)?;
    let end = sure_end(experiment)?;
    let end = fault.until.map_or(end, |until| until.min(end));
    // Nor does a failure count any more when it has left the window.
    let is_kept = match &experiment.router.judge {
        JudgeConfig::Literal(judge) => rare <= judge.window,
        JudgeConfig::Sequential(_) | JudgeConfig::Off => true,
    };
    (is_kept && end.since(fault.from) >= rare).then_some(wait)
}

/// When the last request comes at the earliest, but for chances that nobody meets.
fn sure_end(experiment: &Experiment) -> Option<Timestamp> {
    let Traffic::Synthetic(config) = &experiment.traffic else {
        return None;
    };
    let by_time = config.duration;
    let Some(requests) = config.requests else {
        return Some(by_time.into());
    };
    let rate = config.arrivals.expected(Duration::from_secs(1))?;
    let requests = requests as f64;
    // Five standard deviations of a Poisson number.
    let least = (requests - 5.0 * requests.sqrt()).max(0.0);
    Some(seconds(least / rate).min(by_time).into())
}

/// The one fault there is, if it makes a steady share of the canary's requests fail at once.
fn the_fault(experiment: &Experiment, since: Timestamp) -> Option<&Fault> {
    let router = &experiment.router;
    let [fault] = &experiment.upstreams.faults[..] else {
        return None;
    };
    let is_plain = fault.on == [router.canary]
        && fault.pattern == Pattern::Steady
        && !fault.only_prefilled
        && fault.from == since
        && fault.share > 0.0;
    let is_at_once = match fault.kind {
        FaultKind::Unauthorized
        | FaultKind::Forbidden { .. }
        | FaultKind::InsufficientQuota
        | FaultKind::ModelNotFound => true,
        // Tried again, they would count more than once in a window.
        FaultKind::ServerError { .. } | FaultKind::Overloaded { .. } | FaultKind::Reset => {
            router.fallback == FallbackPolicy::Immediately
                || router.retry.max_retries == 0
                || matches!(router.judge, JudgeConfig::Sequential(_))
        }
        _ => false,
    };
    (is_plain && is_at_once).then_some(fault)
}

/// Requests at the canary, a second, where they come at one rate and by chance alone.
fn rate_at_canary(experiment: &Experiment) -> Option<f64> {
    let router = &experiment.router;
    let canary = &router.versions[router.canary];
    let Traffic::Synthetic(config) = &experiment.traffic else {
        return None;
    };
    let Arrivals::Open(stages) = &config.arrivals else {
        return None;
    };
    let [
        Stage {
            spacing,
            course: Course::Flat(rate),
            length: None,
        },
    ] = stages[..]
    else {
        return None;
    };
    let has_capacity =
        |(_, profile): (_, &crate::upstream::profile::Profile)| profile.capacity.is_some();
    let is_plain = matches!(spacing, Spacing::Constant | Spacing::Poisson)
        && config.forced.share() == 0.0
        && config.cancel.is_none()
        && router.ramp.is_none()
        && router.routes.iter().all(|route| route.to != router.canary)
        && router.versions.values().all(|v| v.rate_limit.is_none())
        && canary.features == Features::ALL
        && !experiment.upstreams.profiles.iter().any(has_capacity);
    let share = router.canary_share() * randomised_share(experiment);
    (is_plain && share > 0.0 && rate > 0.0).then_some(rate * share)
}

/// A full window of good answers, of which more than the bound must fail: k is the first number above
/// the bound's share of it. How many answers a window holds is chance itself.
fn of_literal(
    experiment: &Experiment,
    judge: &LiteralConfig,
    per_second: f64,
    fault: &Fault,
) -> Option<Vec<(u64, f64)>> {
    // Whoever stays with a version fails again and again there.
    if experiment.router.split.sticky.is_some() {
        return None;
    }
    let bounds = judge.thresholds.iter();
    let bounds = bounds.filter(|t| t.action == ThresholdAction::Rollback);
    let bound = bounds
        .filter_map(|threshold| match threshold.limit {
            Limit::ErrorRate(bound) => Some(bound),
            Limit::SuccessRate(bound) => Some(1.0 - bound),
            Limit::P99(_) => None,
        })
        .reduce(f64::min)?;
    let samples = per_second * judge.window.as_secs_f64();
    // With fewer than it needs, whether it may act is another chance.
    let surely = samples - 4.0 * samples.sqrt();
    let is_full = fault.from.elapsed() >= judge.window
        && surely >= judge.min_requests as f64
        && samples + 4.0 * samples.sqrt() <= judge.max_samples as f64
        && fault.share > bound;
    is_full.then(|| above(bound, samples))
}

/// No distribution is told by more numbers than this.
const FINEST: usize = 64;

/// The first number above the bound's share of what a window holds, a Poisson number with this mean, with its probabilities.
fn above(bound: f64, mean: f64) -> Vec<(u64, f64)> {
    let reach = 7.0 * mean.sqrt() + 10.0;
    let (least, most) = ((mean - reach).max(0.0) as u64, (mean + reach) as u64);
    // The dust of binary fractions is no failure more.
    let first = |held: u64| (bound * held as f64 + 1e-9).floor() as u64 + 1;
    let range = first(most) - first(least);
    let step = range / FINEST as u64 + 1;
    let mut all: Vec<(u64, f64)> = Vec::new();
    for held in least..=most {
        let (events, chance) = (
            first(held).next_multiple_of(step),
            waiting::poisson(held, mean),
        );
        match all.last_mut() {
            Some((last, sum)) if *last == events => *sum += chance,
            _ => all.push((events, chance)),
        }
    }
    // What is beyond is the most that is told.
    let told: f64 = all.iter().map(|(_, chance)| chance).sum();
    if let Some((_, chance)) = all.last_mut() {
        *chance += (1.0 - told).max(0.0);
    }
    all
}

/// So many failures of the canary, and none of stable, that the evidence is enough.
fn of_sequential(experiment: &Experiment, judge: &SequentialConfig) -> Option<u64> {
    let router = &experiment.router;
    if router.split.sticky.is_some() {
        return None;
    }
    let metric = judge.alpha * metric_weight(Metric::Error);
    let needed = threshold(metric) + threshold(start_weight(1, 0));
    let costs = costs_above(router.canary_share());
    let is_enough = |events: &u64| {
        let mut evidence = Evidence::above();
        evidence.add(*events, *events, &costs);
        evidence.ln_e() >= needed
    };
    let mut counts = 1..=MOST_EVENTS;
    let events = counts.find(is_enough)?;
    Some(events.max(judge.material.min_events))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of docs/statistics.md: 30 % fail, 5 requests a second at the canary.
    #[test]
    fn a_window_of_a_minute_needs_sixteen_failures() {
        let wait = Wait {
            events: vec![(16, 1.0)],
            failing: 0.3,
            per_second: 5.0,
            lag: Duration::ZERO,
        };
        let time = |tail| wait.time(tail).unwrap().as_secs_f64();
        // scipy 1.17.1: st.gamma.isf(p, 16) / 1.5; st.nbinom.isf(1e-4, 16, .3) + 16
        assert!((time(1e-4) - 23.523_749_191_780_95).abs() < 1e-6);
        assert!((time(0.5) - 10.445_286_362_878_162).abs() < 1e-6);
        assert_eq!(wait.requests(1e-4), Some(107));
        assert!((wait.later_than(seconds(time(1e-4))) - 1e-4).abs() < 1e-9);
        assert!(wait.more_than(107) <= 1e-4 && wait.more_than(106) > 1e-4);
    }

    #[test]
    fn what_comes_while_the_last_failure_is_under_way_counts() {
        let wait = Wait {
            events: vec![(16, 1.0)],
            failing: 1.0,
            per_second: 5.0,
            lag: Duration::from_millis(5),
        };
        // scipy 1.17.1: st.poisson.isf(p, .025): 0 at a half, 2 at 1e-4
        assert_eq!(wait.requests(0.5), Some(16));
        assert_eq!(wait.requests(1e-4), Some(18));
        // scipy 1.17.1: st.poisson.sf(0, .025)
        assert!((wait.more_than(16) - 0.024_690_087_971_667_2).abs() < 1e-12);
        let dead = wait.time(1e-4).unwrap().as_secs_f64();
        assert!((dead - 35.285_623_787_671_24 / 5.0 - 0.005).abs() < 1e-6);
    }
}
