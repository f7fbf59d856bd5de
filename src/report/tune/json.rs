//! `summary.json` of a comparison of policies. The format is versioned: fields are only ever added within one
//! version.

use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::report::tune::csv::quantile;
use crate::report::tune::{BudgetAdvice, CONFIDENCE, PolicyRuns, Tuned};
use crate::stats::allowance::Allowance;
use crate::stats::samples::Samples;

/// The name and version of the format.
pub const FORMAT: &str = "graygate.tune/1";

/// The summary as indented JSON with a final line end.
pub fn summary(tuned: &Tuned) -> Vec<u8> {
    let mut text = format!("{:#}", value(tuned)).into_bytes();
    text.push(b'\n');
    text
}

/// The summary as a JSON value.
pub fn value(tuned: &Tuned) -> Value {
    let meta = &tuned.meta;
    let policies = tuned.policies.iter().zip(tuned.front()).enumerate();
    let policies = policies.map(|(i, (p, is_best))| policy(i + 1, p, is_best));
    json!({
        "format": FORMAT,
        "graygate": meta.graygate,
        "scenario": meta.scenario,
        "title": meta.title,
        "engine": meta.engine,
        "seed": meta.seed,
        "scenario_sha256": meta.scenario_sha256,
        "router_sha256": meta.router_sha256,
        "planned_runs": tuned.planned,
        "interrupted": tuned.interrupted,
        "trouble_from_s": tuned.since.as_secs_f64(),
        "confidence": CONFIDENCE,
        "method": "clopper-pearson",
        "policies": policies.collect::<Vec<_>>(),
    })
}

fn policy(number: usize, policy: &PolicyRuns, is_best: bool) -> Value {
    let settings = policy.settings.iter();
    let settings: Map<String, Value> = settings
        .map(|(key, value)| (key.clone(), value.as_str().into()))
        .collect();
    json!({
        "policy": number,
        "settings": settings,
        "own": policy.is_own,
        "pareto": is_best,
        "false_rollbacks": {
            "runs": policy.healthy_runs,
            "rolled_back": policy.false_rollbacks,
            "share": policy.false_rate(),
            "interval": policy.false_limits().map(|l| [l.low, l.high]),
        },
        "found": {
            "runs": policy.runs,
            "rolled_back": policy.detection.count(),
            "share": policy.found(),
            "before_the_trouble": policy.early,
        },
        "detection_s": quantiles(&policy.detection, seconds),
        "exposed_requests": quantiles(&policy.exposed, Value::from),
        "user_errors": quantiles(&policy.user_errors, Value::from),
        "budget": policy.budget.as_ref().map(budget),
    })
}

fn budget(advice: &BudgetAdvice) -> Value {
    let (within, requests) = (advice.within, advice.canary_requests);
    json!({
        "basis": advice.basis.name(),
        "within_s": allowance(within, seconds),
        "canary_requests": allowance(requests, Value::from),
    })
}

fn allowance(allowance: Allowance, show: impl Fn(u64) -> Value) -> Value {
    json!({
        "p99_99": allowance.extreme.map(&show),
        "suggested": show(allowance.suggested),
    })
}

fn seconds(nanos: u64) -> Value {
    Duration::from_nanos(nanos).as_secs_f64().into()
}

fn quantiles(samples: &Samples, show: impl Fn(u64) -> Value) -> Value {
    let show = |value: Option<u64>| value.map(&show);
    json!({
        "n": samples.count(),
        "min": show(samples.min()),
        "p50": show(quantile(samples, "p50")),
        "p90": show(quantile(samples, "p90")),
        "max": show(samples.max()),
    })
}
