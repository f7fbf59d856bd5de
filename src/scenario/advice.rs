//! What is allowed but cannot work out: warnings before the run.

use std::collections::BTreeSet;

use crate::config::diagnostic::Diagnostic;
use crate::experiment::{Experiment, Traffic};
use crate::router::config::JudgeConfig;
use crate::stats::proportion::samples_for_split;
use crate::traffic::caller::Intent;
use crate::verdict::evaluate::flake_per_gate;
use crate::verdict::result::grouped;
use crate::verdict::spec::{GateSpec, Scope, SplitSpec, StickinessSpec};

/// Warnings about a scenario that stands in `file`.
pub fn warnings(file: &str, experiment: &Experiment, gates: &[GateSpec]) -> Vec<Diagnostic> {
    let flake = flake_per_gate(gates);
    let too_few = gates.iter().filter_map(|gate| match gate {
        GateSpec::Split(spec) => too_few_for_split(experiment, spec, flake),
        GateSpec::Stickiness(spec) => too_few_callers(experiment, spec),
        _ => None,
    });
    let warning = |message: String| Diagnostic::file(file, message).warning();
    too_few
        .chain(idle_judge(experiment, gates))
        .chain(unwatched_rollback(gates))
        .map(warning)
        .collect()
}

/// A rollback that is announced is not yet one that is done.
fn unwatched_rollback(gates: &[GateSpec]) -> Option<String> {
    let has = |wanted: fn(&GateSpec) -> bool| gates.iter().any(wanted);
    let is_unwatched = has(|g| matches!(g, GateSpec::Rollback(_)))
        && !has(|g| matches!(g, GateSpec::AfterRollback(_)));
    is_unwatched.then(|| {
        "a rollback is expected, and nothing watches that the canary stays closed: add \
         `after_rollback`"
            .to_owned()
    })
}

fn too_few_for_split(experiment: &Experiment, spec: &SplitSpec, flake: f64) -> Option<String> {
    let planned = expected_within(experiment, spec.scope)? * randomised_share(experiment);
    let needed = samples_for_split(spec.share, spec.tolerance, spec.confidence, flake);
    (planned < needed as f64).then(|| {
        format!(
            "the split gate needs about {} randomised requests, and about {} are planned: \
             it will most likely be inconclusive",
            grouped(needed),
            grouped(planned as u64)
        )
    })
}

fn too_few_callers(experiment: &Experiment, spec: &StickinessSpec) -> Option<String> {
    let callers = experiment.callers_by(&spec.header).into_iter();
    let named = callers.flatten().collect::<BTreeSet<u32>>().len() as u64;
    (named < spec.min_n).then(|| {
        format!(
            "the stickiness gate needs {} callers who come again, and {} can be told apart by `{}`: \
             it will be inconclusive (name users with `users: {{count: …}}`, or lower `min_n`)",
            grouped(spec.min_n),
            grouped(named),
            spec.header,
        )
    })
}

/// Requests to expect within a scope; none when nothing can be said.
fn expected_within(experiment: &Experiment, scope: Scope) -> Option<f64> {
    let whole = experiment.traffic.expected_requests()?;
    let length = experiment.traffic.planned_length();
    match &experiment.traffic {
        Traffic::Synthetic(config) => {
            let until = |at| config.arrivals.expected(at);
            let end = scope.to.map(|t| t.elapsed()).or(length)?;
            Some((until(end)? - until(scope.from.elapsed())?).clamp(0.0, whole))
        }
        Traffic::Replay { .. } => {
            let length = length?.as_secs_f64();
            let end = scope.to.map_or(length, |t| t.as_secs_f64().min(length));
            let part = (end - scope.from.as_secs_f64()).max(0.0) / length.max(1e-9);
            Some(whole * part)
        }
    }
}

/// The share of requests that chance assigns.
pub(super) fn randomised_share(experiment: &Experiment) -> f64 {
    let forced = match &experiment.traffic {
        Traffic::Synthetic(config) => config.forced.share(),
        Traffic::Replay { .. } => 0.0,
    };
    (1.0 - forced) * unpinned_share(experiment)
}

/// The share of requests that no rule pins.
fn unpinned_share(experiment: &Experiment) -> f64 {
    let intents = experiment.intents();
    let is_free = |i: usize| intents.get(i).is_some_and(|i: &Intent| i.is_randomised());
    match &experiment.traffic {
        Traffic::Synthetic(config) if config.users.count.is_none() => {
            let kinds = config.users.anonymous().enumerate();
            let free = kinds.filter(|(i, _)| is_free(*i));
            free.map(|(_, (_, share))| share).sum()
        }
        _ => {
            let free = (0..intents.len()).filter(|&i| is_free(i)).count();
            free as f64 / intents.len().max(1) as f64
        }
    }
}

/// A judge that will hardly act: a `rollback` gate will fail, and a `no_rollback` gate shows nothing.
/// Gates on a judge that is off are mistakes already.
fn idle_judge(experiment: &Experiment, gates: &[GateSpec]) -> Option<String> {
    let depends = |g: &GateSpec| matches!(g, GateSpec::Rollback(_) | GateSpec::NoRollback(_));
    if !gates.iter().any(depends) {
        return None;
    }
    let JudgeConfig::Literal(judge) = &experiment.router.judge else {
        return None;
    };
    let requests = experiment.traffic.expected_requests()?;
    let length = experiment.traffic.planned_length()?.as_secs_f64();
    let per_window = judge.window.as_secs_f64().min(length);
    let share = experiment.router.canary_share();
    let pinned = 1.0 - randomised_share(experiment);
    // Rules may pin more requests to the canary; assume that all pinned ones are.
    let canary_rate = requests / length.max(1e-9) * (share * (1.0 - pinned) + pinned);
    let in_window = canary_rate * per_window;
    (in_window < judge.min_requests as f64).then(|| {
        format!(
            "the judge needs {} attempts at the canary within its window, and about {} are \
             planned: it will most likely never act",
            judge.min_requests, in_window as u64
        )
    })
}
