//! A slow judge, written down straight from docs/statistics.md: it keeps every unit in a list and
//! reckons everything anew at every look. Only the names and the configuration are shared with the
//! real one.

use std::collections::BTreeSet;
use std::time::Duration;

use graygate::id::RequestId;
use graygate::protocol::outcome::Outcome;
use graygate::router::judge::sequential::{
    Arm, HoldReason, Metric, Refusal, SequentialConfig, StartOfCount, Step,
};
use graygate::time::Timestamp;

const R: [f64; 9] = [1.1, 1.25, 1.5, 2.0, 3.0, 5.0, 10.0, 30.0, 100.0];

struct Unit {
    id: RequestId,
    at: Timestamp,
    visit: usize,
    share: f64,
    arm: Arm,
    caller: Option<u64>,
    end: Option<Outcome>,
    slow: bool,
    counts_for_split: bool,
}

/// A stay at one step: from its first weight to the next step.
struct Visit {
    step: usize,
    began: Timestamp,
    left: Option<Timestamp>,
    hold: Duration,
    begins_count: bool,
}

/// Failures among judged units, slow ones among timed ones.
type Rates = [(u64, u64); 2];

/// A weight of a step, with what the split alarm made of it.
struct Alarm {
    step: usize,
    share: f64,
    theta: f64,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Found {
    pub(crate) metric: Metric,
    pub(crate) start: StartOfCount,
    pub(crate) ln_e: f64,
    pub(crate) excess: f64,
    /// ln E of "stable keeps the SLO", and whether the evidence suffices.
    pub(crate) kept: Option<f64>,
    pub(crate) is_enough: bool,
    pub(crate) canary: (u64, u64),
    pub(crate) stable: (u64, u64),
}

pub(crate) struct Verdict {
    pub(crate) rollback: Option<Found>,
    pub(crate) holds: BTreeSet<HoldReason>,
    /// Is something so near to a threshold that rounding may decide?
    pub(crate) is_close: bool,
    /// Every metric at every start.
    pub(crate) all: Vec<Found>,
}

pub(crate) struct ReferenceJudge {
    config: SequentialConfig,
    steps: usize,
    visits: Vec<Visit>,
    step: Option<Step>,
    units: Vec<Unit>,
    /// Events in the order in which they happened: unit, metric.
    log: Vec<(usize, Metric)>,
    alarms: Vec<Alarm>,
    baseline: Option<Rates>,
    last_unit: [Timestamp; 2],
    last_tick: Timestamp,
}

fn weight_of(metric: Metric) -> f64 {
    match metric {
        Metric::Error => 0.4,
        Metric::ErrorSlo => 0.1,
        Metric::Slow => 0.2,
        _ => 0.05,
    }
}

/// logsumexp_R(x·ln R − Σ n·ln(1 + θ(R−1))) − ln 9, with R or 1/R.
fn ln_e(x: u64, groups: &[(u64, f64)], invert: bool) -> f64 {
    let terms: Vec<f64> = R
        .iter()
        .map(|r| if invert { 1.0 / r } else { *r })
        .map(|r| {
            let cost = |&(n, theta): &(u64, f64)| n as f64 * libm::log(1.0 + theta * (r - 1.0));
            x as f64 * libm::log(r) - groups.iter().map(cost).sum::<f64>()
        })
        .collect();
    let top = terms.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let sum: f64 = terms.iter().map(|t| libm::exp(t - top)).sum();
    top + libm::log(sum / 9.0)
}

fn ln_beta(a: f64, b: f64) -> f64 {
    libm::lgamma(a) + libm::lgamma(b) - libm::lgamma(a + b)
}

/// {L, U} by a scan that halves its step.
fn set(x: u64, n: u64, alpha: f64) -> (f64, f64) {
    let (x, m) = (x as f64, (n - x) as f64);
    let inside = |p: f64| {
        let ln_p = if x > 0.0 { x * libm::log(p) } else { 0.0 };
        let ln_q = if m > 0.0 { m * libm::log(1.0 - p) } else { 0.0 };
        ln_beta(0.5 + x, 9.5 + m) - ln_beta(0.5, 9.5) - ln_p - ln_q < -libm::log(alpha)
    };
    let reach = |to: f64| {
        let (mut at, mut stride) = (x / (x + m), (to - x / (x + m)) / 2.0);
        for _ in 0..50 {
            if inside(at + stride) {
                at += stride;
            }
            stride /= 2.0;
        }
        at
    };
    (reach(0.0), reach(1.0))
}

impl ReferenceJudge {
    pub(crate) fn new(config: SequentialConfig, steps: usize) -> Self {
        Self {
            config,
            steps,
            visits: Vec::new(),
            step: None,
            units: Vec::new(),
            log: Vec::new(),
            alarms: Vec::new(),
            baseline: None,
            last_unit: [Timestamp::ZERO; 2],
            last_tick: Timestamp::ZERO,
        }
    }

    pub(crate) fn begin_step(&mut self, now: Timestamp, step: Step) {
        let before = self.step.replace(step);
        if before.is_some_and(|b| b.index == step.index) {
            return;
        }
        if before.is_some_and(|b| b.has_control) {
            let (_, stable) = self.rates();
            self.baseline = Some(stable);
        }
        if let Some(visit) = self.visits.last_mut() {
            visit.left = Some(now);
        }
        let counted = self.visits.iter().filter(|v| v.begins_count);
        let is_new = counted.clone().all(|v| v.step != step.index);
        let begins_count = step.has_control && is_new && counted.count() < self.steps;
        self.visits.push(Visit {
            step: step.index,
            began: now,
            left: None,
            hold: step.planned_hold,
            begins_count,
        });
        self.last_unit = [now; 2];
    }

    pub(crate) fn assigned(
        &mut self,
        now: Timestamp,
        id: RequestId,
        caller: Option<u64>,
        arm: Arm,
    ) {
        self.last_unit[arm as usize] = now;
        let Some(step) = self.step else {
            return;
        };
        let is_known = self.units.iter().any(|u| u.caller == caller);
        self.units.push(Unit {
            id,
            at: now,
            visit: self.visits.len() - 1,
            share: step.canary_share,
            arm,
            caller,
            end: None,
            slow: false,
            counts_for_split: caller.is_none() || !is_known,
        });
    }

    pub(crate) fn ended(&mut self, id: RequestId, outcome: Outcome, missing_usage: bool) {
        let under_way = |u: &Unit| u.id == id && u.end.is_none();
        let Some(i) = self.units.iter().position(under_way) else {
            return;
        };
        self.units[i].end = Some(outcome);
        use Outcome as O;
        let is_error = outcome != O::Success && !is_void(Some(outcome));
        let metrics = [
            (is_error, Metric::Error),
            (is_error, Metric::ErrorSlo),
            (
                matches!(outcome, O::RateLimited | O::QuotaExhausted),
                Metric::RateLimited,
            ),
            (
                matches!(outcome, O::Truncated | O::StreamError),
                Metric::Truncated,
            ),
            (outcome == O::Malformed, Metric::Malformed),
            (outcome == O::Success && missing_usage, Metric::MissingUsage),
            (outcome == O::BadRequest, Metric::BadRequest),
            (outcome == O::ClientGone, Metric::ClientGone),
        ];
        for (_, metric) in metrics.into_iter().filter(|(holds, _)| *holds) {
            self.log.push((i, metric));
        }
    }

    /// Everything older than the limit by `now` is slow.
    pub(crate) fn age(&mut self, now: Timestamp) {
        let Some(limit) = self.config.slow else {
            return;
        };
        for (i, unit) in self.units.iter_mut().enumerate() {
            if unit.end.is_none() && !unit.slow && unit.at + limit <= now {
                unit.slow = true;
                self.log.push((i, Metric::Slow));
            }
        }
    }

    /// All starts so far.
    fn starts(&self, now: Timestamp) -> Vec<(StartOfCount, Timestamp, usize)> {
        let mut starts = Vec::new();
        for (i, visit) in self
            .visits
            .iter()
            .enumerate()
            .filter(|(_, v)| v.begins_count)
        {
            for tenth in 0..10_u8 {
                let at = visit.began + visit.hold / 10 * u32::from(tenth);
                if at <= visit.left.unwrap_or(now) {
                    let step = visit.step;
                    starts.push((StartOfCount { step, tenth }, at, i));
                }
            }
        }
        starts
    }

    /// The units that are events of the metric, one a caller.
    fn events(&self, metric: Metric) -> Vec<usize> {
        let mut callers = BTreeSet::new();
        let mut events = Vec::new();
        for (i, _) in self.log.iter().filter(|(_, m)| *m == metric) {
            if self.units[*i].caller.is_none_or(|c| callers.insert(c)) {
                events.push(*i);
            }
        }
        events
    }

    fn theta(&self, unit: &Unit) -> f64 {
        let step = self.visits[unit.visit].step;
        let alarm = self
            .alarms
            .iter()
            .find(|a| a.step == step && a.share == unit.share);
        alarm.map_or(unit.share, |a| a.theta)
    }

    fn check_split(&mut self) {
        let Some(Step {
            index,
            canary_share: share,
            ..
        }) = self.step
        else {
            return;
        };
        let here = self.units.iter().filter(|u| {
            self.visits[u.visit].step == index && u.share == share && u.counts_for_split
        });
        let (mut x, mut n) = (0, 0);
        for unit in here {
            n += 1;
            x += u64::from(unit.arm == Arm::Canary);
        }
        if n == 0 || share >= 1.0 {
            return;
        }
        let g = |v: f64| libm::lgamma(v);
        let part =
            |x: u64, t: f64| g(100.0 * t + x as f64) - g(100.0 * t) - x as f64 * libm::log(t);
        let ln_e = g(100.0) - g(100.0 + n as f64) + part(x, share) + part(n - x, 1.0 - share);
        let known = self
            .alarms
            .iter()
            .position(|a| a.step == index && a.share == share);
        if known.is_none() && ln_e < -libm::log(self.config.alpha_split) {
            return;
        }
        let theta = share.max(set(x, n, self.config.alpha_split).1);
        match known {
            Some(i) => self.alarms[i].theta = theta,
            None => self.alarms.push(Alarm {
                step: index,
                share,
                theta,
            }),
        }
    }

    pub(crate) fn look(&mut self, now: Timestamp, is_tick: bool) -> Verdict {
        self.check_split();
        if is_tick {
            self.last_tick = now;
        }
        let mut verdict = Verdict {
            rollback: None,
            holds: BTreeSet::new(),
            is_close: false,
            all: Vec::new(),
        };
        for metric in Metric::ALL {
            let best = self.best(now, metric, &mut verdict);
            verdict.rollback = verdict.rollback.or(best);
        }
        self.note_holds(now, &mut verdict.holds);
        verdict
    }

    /// The strongest evidence for a rollback by one metric.
    fn best(&self, now: Timestamp, metric: Metric, verdict: &mut Verdict) -> Option<Found> {
        let events = self.events(metric);
        let mut best: Option<Found> = None;
        for (start, at, visit) in self.starts(now) {
            let w = if start.tenth == 0 { 2.0 } else { 18.0 };
            let budget = self.config.alpha * weight_of(metric) / (w * self.steps as f64);
            let threshold = -libm::log(budget);
            let since = |u: &Unit| u.at >= at && u.visit >= visit;
            let count = |arm| {
                let those = events.iter().map(|i| &self.units[*i]);
                let x = those.filter(|u| u.arm == arm && since(u)).count() as u64;
                let n = self.units.iter().filter(|u| u.arm == arm && since(u));
                (x, n.count() as u64)
            };
            let (canary, mut stable) = (count(Arm::Canary), count(Arm::Stable));
            let groups: Vec<(u64, f64)> = events
                .iter()
                .map(|i| &self.units[*i])
                .filter(|u| since(u))
                .map(|u| (1, self.theta(u)))
                .collect();
            let (ln_e, kept, is_enough) = if metric == Metric::ErrorSlo {
                let p0 = self.config.slo_error_rate;
                let is_frozen = self.step.is_some_and(|s| !s.has_control);
                let judged = self
                    .units
                    .iter()
                    .filter(|u| u.arm == Arm::Stable && (is_frozen || since(u)) && !is_void(u.end));
                let n = judged.clone().count() as u64;
                let good = judged.filter(|u| u.end == Some(Outcome::Success)).count() as u64;
                let kept = ln_e(n - good, &[(n, p0)], true);
                if is_frozen {
                    let all = |u: &&Unit| u.arm == Arm::Stable;
                    let x = events.iter().map(|i| &self.units[*i]).filter(all).count();
                    stable = (x as u64, self.units.iter().filter(all).count() as u64);
                }
                let above = ln_e(canary.0, &[(canary.1, p0)], false);
                let outage = ln_e(stable.0, &[(stable.1, p0)], false);
                verdict.is_close |= [above, kept, outage]
                    .iter()
                    .any(|e| (e - threshold).abs() < 1e-7);
                if above >= threshold && outage >= threshold {
                    verdict.holds.insert(HoldReason::SharedOutage);
                }
                (above, Some(kept), kept >= threshold)
            } else {
                let e = ln_e(canary.0, &groups, false);
                verdict.is_close |= (e - threshold).abs() < 1e-7;
                let is_material = self.is_material(canary, stable, &groups);
                if e >= threshold && !is_material {
                    verdict.holds.insert(HoldReason::Immaterial);
                }
                (e, None, is_material)
            };
            let excess = ln_e - threshold;
            let found = Found {
                metric,
                start,
                ln_e,
                excess,
                kept,
                is_enough,
                canary,
                stable,
            };
            verdict.all.push(found);
            if excess >= 0.0 && is_enough && best.is_none_or(|b| excess > b.excess) {
                best = Some(found);
            }
        }
        best
    }

    fn is_material(&self, canary: (u64, u64), stable: (u64, u64), groups: &[(u64, f64)]) -> bool {
        let rate = |(x, n): (u64, u64)| x as f64 / n as f64;
        let differs = canary.1 > 0 && stable.1 > 0 && rate(canary) - rate(stable) >= 0.01;
        let expected: f64 = groups.iter().map(|(_, theta)| theta).sum();
        let others: f64 = groups.iter().map(|(_, theta)| 1.0 - theta).sum();
        let is_double = canary.0 as f64 * others - 2.0 * stable.0 as f64 * expected >= -1e-6;
        canary.0 >= 3 && (differs || is_double)
    }

    fn note_holds(&self, now: Timestamp, holds: &mut BTreeSet<HoldReason>) {
        if !self.alarms.is_empty() {
            holds.insert(HoldReason::BrokenSplit);
        }
        let silence = self.config.every * self.config.stale_ticks;
        let has_control = self.step.is_none_or(|s| s.has_control);
        let is_silent = |arm: Arm| now.since(self.last_unit[arm as usize]) > silence;
        if is_silent(Arm::Canary) || (has_control && is_silent(Arm::Stable)) {
            holds.insert(HoldReason::NoData);
        }
    }

    /// Failures and slow ones of canary (everything in flight counts) and stable (nothing does).
    fn rates(&self) -> (Rates, Rates) {
        let visit = self.visits.len() - 1;
        let of = |arm, is_most: bool| {
            let those = || {
                self.units
                    .iter()
                    .filter(move |u| u.arm == arm && u.visit == visit)
            };
            let judged = || those().filter(|u| !is_void(u.end));
            let failed = judged().filter(|u| match u.end {
                None => is_most,
                Some(outcome) => outcome != Outcome::Success,
            });
            let timed = || those().filter(|u| u.slow || !is_void(u.end));
            let slow = timed().filter(|u| u.slow || (u.end.is_none() && is_most));
            [
                (failed.count() as u64, judged().count() as u64),
                (slow.count() as u64, timed().count() as u64),
            ]
        };
        (of(Arm::Canary, true), of(Arm::Stable, false))
    }

    /// What a promotion lacks of limits, in words.
    pub(crate) fn not_shown(&self) -> BTreeSet<String> {
        let Some(step) = self.step else {
            return BTreeSet::from(["no_step".to_owned()]);
        };
        let share = step.canary_share;
        let level = &self.config.promotion;
        let level = level.iter().find(|l| share <= l.up_to_share).unwrap();
        let (canary, mut stable) = self.rates();
        if !step.has_control {
            stable = self.baseline.unwrap_or_default();
        }
        if canary[0].1 < level.min_requests {
            return BTreeSet::from(["too_few".to_owned()]);
        }
        let mut missing = BTreeSet::new();
        let slow_bound = (share >= 0.5).then_some(self.config.slo_slow_rate);
        let bounds = [Some(self.config.slo_error_rate), slow_bound];
        for (i, metric) in ["error", "slow"].into_iter().enumerate() {
            if canary[i].1 == 0 || stable[i].1 == 0 {
                missing.insert("no_baseline".to_owned());
                continue;
            }
            let upper = set(canary[i].0, canary[i].1, self.config.alpha_promotion).1;
            let lower = set(stable[i].0, stable[i].1, self.config.alpha_promotion).0;
            if upper - lower >= level.margin {
                missing.insert(format!("{metric} differs"));
            }
            if bounds[i].is_some_and(|bound| upper >= bound) {
                missing.insert(format!("{metric} bound"));
            }
        }
        missing
    }
}

/// A refusal of limits, in the reference's words; none for others.
pub(crate) fn in_words(refusal: &Refusal) -> Option<String> {
    match refusal {
        Refusal::NoStep => Some("no_step".to_owned()),
        Refusal::TooFewRequests { .. } => Some("too_few".to_owned()),
        Refusal::NoBaseline => Some("no_baseline".to_owned()),
        Refusal::Difference { metric, .. } => Some(format!("{} differs", metric.name())),
        Refusal::Bound { metric, .. } => Some(format!("{} bound", metric.name())),
        Refusal::HoldNotOver { .. } | Refusal::Held(_) | Refusal::RolledBack => None,
    }
}

/// Endings that say nothing about the version, by name.
fn is_void(end: Option<Outcome>) -> bool {
    const VOID: [&str; 5] = [
        "bad_request",
        "client_gone",
        "limited",
        "deadline",
        "shutdown",
    ];
    end.is_some_and(|outcome| VOID.contains(&outcome.name()))
}
