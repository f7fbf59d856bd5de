//! `ramp` and `promotion`: the canary went up by its steps, and as far as it should.
//!
//! Both check the same of every ramp: it begins at its first step, leaves none out, holds each for
//! at least its time, gives the canary the weight of the step (an exact binomial test over the
//! requests that chance assigned, by what the upstreams' ledgers saw), and never rises after a
//! rollback. `ramp` asks for a step that is reached, or that no other one follows; `promotion` for the last one.

use std::cmp::Ordering;
use std::time::Duration;

use crate::id::{IdMap, VersionId};
use crate::observe::event::{Missing, RunEvent, StandingFacts, What};
use crate::observe::join::Joined;
use crate::stats::proportion::{Limits, binomial_two_sided, clopper_pearson, draws_to_meet};
use crate::time::{Human, Timestamp};
use crate::traffic::caller::Intent;
use crate::verdict::gates::{End, Gate, MISSED};
use crate::verdict::result::{Check, Evidence, GateResult, Status, grouped, percent, weaken};
use crate::verdict::spec::RampSpec;

/// What reckoning in floating point may be off by.
const ROUNDING: f64 = 1e-9;

/// Requests that met a weight.
#[derive(Clone, Copy, Debug, Default)]
struct Met {
    at_canary: u64,
    all: u64,
}

/// The gate at work.
pub struct RampGate {
    spec: RampSpec,
    canary: VersionId,
    /// The weight in force, by the router's word, and since when.
    share: f64,
    since: Timestamp,
    /// What each step's weight was seen to be.
    met: Vec<Met>,
    /// Sticky callers count once a step.
    callers: IdMap<u32, usize>,
    /// What the router said of where it stands.
    standings: Vec<(Timestamp, StandingFacts)>,
}

impl RampGate {
    /// A gate that has seen nothing.
    pub fn new(spec: RampSpec, canary: VersionId) -> Self {
        Self {
            share: spec.steps.first().map_or(0.0, |step| step.share),
            since: Timestamp::ZERO,
            met: vec![Met::default(); spec.steps.len()],
            callers: IdMap::default(),
            standings: Vec::new(),
            spec,
            canary,
        }
    }

    /// The step whose weight is in force.
    fn step(&self) -> Option<usize> {
        let steps = &self.spec.steps;
        steps
            .iter()
            .position(|s| (s.share - self.share).abs() < ROUNDING)
    }

    fn counts(&mut self, intent: Intent, step: usize) -> bool {
        match intent {
            Intent::Random => true,
            Intent::Sticky(caller) => self.callers.insert(caller, step) != Some(step),
            Intent::Pinned(_) | Intent::Forced(_) => false,
        }
    }

    /// The steps that were begun, in order, each with its time.
    fn begun(&self) -> Vec<(Timestamp, usize)> {
        let first = (Timestamp::ZERO, 0);
        let mut begun = vec![first];
        for (at, standing) in &self.standings {
            let named = |name: &String| self.spec.steps.iter().position(|s| s.name == *name);
            let step = standing.step.as_ref().and_then(named);
            let moved = step.filter(|step| begun.last().is_some_and(|(_, last)| last != step));
            begun.extend(moved.map(|step| (*at, step)));
        }
        begun
    }

    fn order(&self) -> Check {
        let begun = self.begun();
        let names: Vec<&str> = begun
            .iter()
            .map(|(_, s)| self.spec.steps[*s].name.as_str())
            .collect();
        let in_order = begun.windows(2).all(|pair| pair[1].1 == pair[0].1 + 1);
        let status = pass_if(in_order);
        let check = Check::census("no step is left out", status, names.join(", "));
        check.figure(Some(begun.len() as f64), "steps", begun.len() as u64)
    }

    fn holds(&self) -> Option<Check> {
        let begun = self.begun();
        let short: Vec<String> = begun
            .windows(2)
            .filter_map(|pair| {
                let step = &self.spec.steps[pair[0].1];
                let held = pair[1].0.since(pair[0].0);
                let is_short = held.saturating_add(self.spec.tolerance) < step.hold;
                is_short.then(|| format!("{} only {}", step.name, Human(held)))
            })
            .collect();
        let seen = match short.as_slice() {
            [] => "true of all that were followed by another".to_owned(),
            short => short.join(", "),
        };
        let check = Check::census(
            "each step is held as long as it must",
            pass_if(short.is_empty()),
            seen,
        );
        let n = begun.len() as u64 - 1;
        (n > 0).then(|| check.figure(Some(short.len() as f64), "steps", n))
    }

    /// The weights that the upstreams saw: of steps that were begun, though nobody came, and of those that were only seen there.
    /// A step beyond the wanted one may have begun when the run was about to end: too few requests say nothing then, but for
    /// a weight that is wrong beyond doubt.
    fn weights(&self, flake: f64) -> Vec<Check> {
        let begun = self.begun();
        let is_begun = |place: usize| begun.iter().any(|(_, step)| *step == place);
        let steps = self.spec.steps.iter().zip(&self.met).enumerate();
        let flake = flake / self.spec.steps.len().max(1) as f64;
        steps
            .filter(|(place, (_, met))| met.all > 0 || is_begun(*place))
            .filter_map(|(place, (step, met))| {
                let p = binomial_two_sided(met.at_canary, met.all, step.share);
                let status = pass_if(p >= flake);
                let is_beyond = place > self.spec.reaches && status == Status::Pass;
                if is_beyond && met.all < enough(step.share) {
                    return None;
                }
                let (x, n) = (grouped(met.at_canary), grouped(met.all));
                // The shares that the test would not reject: its own interval.
                let limits = clopper_pearson(met.at_canary, met.all, 1.0 - flake / 2.0);
                let within = limits.map_or(String::new(), |Limits { low, high }| {
                    format!(", limits {} % to {} %", percent(low), percent(high))
                });
                let check = Check {
                    evidence: Evidence {
                        estimate: (met.all > 0).then(|| met.at_canary as f64 / met.all as f64),
                        interval: limits.map(|l| [l.low, l.high]),
                        confidence: limits.map(|_| 1.0 - flake),
                        unit: "share",
                        n: met.all,
                        method: "exact binomial",
                    },
                    ..Check::census(
                        format!("{} has {} %", step.name, percent(step.share)),
                        status,
                        format!("{x} of {n} requests at the canary{within}"),
                    )
                };
                Some(check.needs(met.all, enough(step.share)))
            })
            .collect()
    }

    fn stays_down(&self, end: &End<'_>) -> Option<Check> {
        let closed_at = end.summary.rollbacks.first()?.decided_at;
        let after = self.standings.iter().filter(|(at, _)| *at > closed_at);
        let raised = after.filter(|(_, standing)| standing.share > 0.0).count();
        let seen = match raised {
            0 => "no weight after the rollback".to_owned(),
            n => format!("{n} weights above zero after the rollback"),
        };
        let check = Check::census("a rollback is final", pass_if(raised == 0), seen);
        Some(check.figure(Some(raised as f64), "steps", 1))
    }

    fn reached(&self, end: &End<'_>) -> Check {
        let steps = &self.spec.steps;
        let wanted = self.spec.reaches.min(steps.len().saturating_sub(1));
        let name = &steps[wanted].name;
        let condition = match self.spec.within {
            Some(within) => format!("reaches {name} within {}", Human(within)),
            None => format!("reaches {name}"),
        };
        let begun = self.begun();
        let at = begun
            .iter()
            .find(|(_, step)| *step == wanted)
            .map(|(at, _)| *at);
        let within = self.spec.within.unwrap_or(Duration::MAX);
        let (status, seen) = match at {
            Some(at) if at.elapsed() <= within => {
                (Status::Pass, format!("reached at {}", Human(at.elapsed())))
            }
            Some(at) => (
                Status::Fail,
                format!("reached only at {}", Human(at.elapsed())),
            ),
            None if !end.summary.rollbacks.is_empty() => {
                (Status::Fail, "rolled back before".to_owned())
            }
            None if end.summary.end.elapsed() < self.expected() => {
                let lasted = Human(end.summary.end.elapsed());
                (
                    Status::Inconclusive,
                    format!("the run ended after {lasted}{}", lacked(end)),
                )
            }
            None => {
                let last = begun.last().map_or("", |(_, s)| steps[*s].name.as_str());
                (Status::Fail, format!("came only to {last}{}", lacked(end)))
            }
        };
        let at = at.map(Timestamp::as_secs_f64);
        let mut check = Check::census(condition, status, seen).figure(at, "s", begun.len() as u64);
        if status == Status::Inconclusive {
            check.more_requests = more_requests(self.expected(), end);
        }
        check
    }

    /// No step comes after the wanted one, though there was time for the next.
    fn stayed(&self, end: &End<'_>) -> Check {
        let steps = &self.spec.steps;
        let wanted = self.spec.reaches.min(steps.len().saturating_sub(1));
        let holds: Duration = steps.iter().take(wanted + 1).map(|step| step.hold).sum();
        let begun = self.begun();
        let furthest = begun.iter().map(|(_, step)| *step).max().unwrap_or(0);
        let status = match furthest.cmp(&wanted) {
            Ordering::Greater => Status::Fail,
            Ordering::Equal if end.summary.end.elapsed() > holds => Status::Pass,
            Ordering::Equal => Status::Inconclusive,
            Ordering::Less => Status::Fail,
        };
        let seen = match status {
            Status::Inconclusive => format!("the run ended before {} was over", Human(holds)),
            _ => format!("came to {}{}", steps[furthest].name, lacked(end)),
        };
        let mut check = Check::census(format!("stays at {}", steps[wanted].name), status, seen);
        if status == Status::Inconclusive {
            check.more_requests = more_requests(holds, end);
        }
        check.figure(Some(furthest as f64 + 1.0), "steps", begun.len() as u64)
    }

    /// When the wanted step must have come: its budget, or else the holds before it.
    fn expected(&self) -> Duration {
        let steps = self.spec.steps.iter().take(self.spec.reaches);
        let holds = steps.map(|step| step.hold).sum();
        self.spec.within.unwrap_or(holds)
    }
}

/// What would come until a run has lasted so long, at the rate there was, and at least one.
fn more_requests(length: Duration, end: &End<'_>) -> Option<u64> {
    let missing = length.saturating_sub(end.summary.end.elapsed());
    let rate = end.summary.rate()?;
    Some(((rate * missing.as_secs_f64()).ceil() as u64).max(1))
}

/// What the step in force lacked when the ramp looked last.
fn lacked(end: &End<'_>) -> String {
    match &end.summary.not_promoted {
        Some((_, missing)) => format!("; the step still lacked: {}", Missing::in_words(missing)),
        None => String::new(),
    }
}

fn pass_if(holds: bool) -> Status {
    match holds {
        true => Status::Pass,
        false => Status::Fail,
    }
}

/// So many requests that a step of this share was seen: fewer may miss the canary, or stable, by chance.
fn enough(share: f64) -> u64 {
    draws_to_meet(share.min(1.0 - share), MISSED).unwrap_or(1)
}

impl Gate for RampGate {
    fn event(&mut self, event: &RunEvent, joined: &Joined) {
        if let What::Standing(standing) = &event.what {
            self.standings.push((event.at, standing.clone()));
            self.share = standing.share;
            self.since = event.at;
        }
        let Some((first, sent)) = joined.first.and_then(|f| f.sent.map(|sent| (f, sent))) else {
            return;
        };
        // What was sent about when the weight changed may have met either.
        let is_clear = sent.scheduled_at >= self.since + self.spec.tolerance;
        let step = self.step().filter(|_| is_clear);
        if let Some(step) = step
            && self.counts(sent.intent, step)
        {
            self.met[step].all += 1;
            self.met[step].at_canary += u64::from(first.version == self.canary);
        }
    }

    fn finish(&self, end: &End<'_>) -> GateResult {
        let goal = match self.spec.stays {
            true => self.stayed(end),
            false => self.reached(end),
        };
        let mut checks = vec![goal, self.order()];
        checks.extend(self.holds());
        checks.extend(self.weights(end.flake));
        checks.extend(self.stays_down(end));
        if end.join_is_leaky {
            weaken(&mut checks);
        }
        GateResult::of(self.spec.name, checks)
    }
}
