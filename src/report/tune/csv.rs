//! `tune.csv`: a row a policy.

use std::time::Duration;

use ::csv::Writer;

use crate::report::tune::{BudgetAdvice, PolicyRuns, Tuned};
use crate::stats::quantile::Quantile;
use crate::stats::samples::Samples;

/// The columns besides the swept keys.
const COLUMNS: [&str; 25] = [
    "policy",
    "own",
    "pareto",
    "healthy_runs",
    "false_rollbacks",
    "false_rollback_share",
    "false_rollback_low",
    "false_rollback_high",
    "runs",
    "found",
    "found_share",
    "rolled_back_before_the_trouble",
    "detection_p50_s",
    "detection_p90_s",
    "detection_max_s",
    "exposed_p50",
    "exposed_p90",
    "exposed_max",
    "user_errors_p50",
    "user_errors_max",
    "budget_basis",
    "detection_p99_99_s",
    "within_suggested_s",
    "exposed_p99_99",
    "canary_requests_suggested",
];

/// The rows with a header; units are in it. A key that means nothing to a policy's judge is empty.
///
/// # Errors
/// Never on memory; the library's signature has one.
pub fn render(tuned: &Tuned) -> Result<Vec<u8>, ::csv::Error> {
    let keys = tuned.keys();
    let mut rows = Writer::from_writer(Vec::new());
    rows.write_record(COLUMNS.into_iter().chain(keys.iter().copied()))?;
    let front = tuned.front();
    for (i, (policy, is_best)) in tuned.policies.iter().zip(front).enumerate() {
        let mut row = row(i + 1, policy, is_best);
        let settings = keys.iter().map(|key| policy.setting(key));
        row.extend(settings.map(|value| value.unwrap_or_default().to_owned()));
        rows.write_record(row)?;
    }
    rows.into_inner().map_err(|error| error.into_error().into())
}

fn row(number: usize, policy: &PolicyRuns, is_best: bool) -> Vec<String> {
    let limits = policy.false_limits();
    let (detection, exposed) = (&policy.detection, &policy.exposed);
    let errors = &policy.user_errors;
    let mut row = vec![
        number.to_string(),
        policy.is_own.to_string(),
        is_best.to_string(),
        policy.healthy_runs.to_string(),
        policy.false_rollbacks.to_string(),
        fraction(policy.false_rate()),
        fraction(limits.map(|l| l.low)),
        fraction(limits.map(|l| l.high)),
        policy.runs.to_string(),
        detection.count().to_string(),
        fraction(policy.found()),
        policy.early.to_string(),
        time(quantile(detection, "p50")),
        time(quantile(detection, "p90")),
        time(detection.max()),
        count(quantile(exposed, "p50")),
        count(quantile(exposed, "p90")),
        count(exposed.max()),
        count(quantile(errors, "p50")),
        count(errors.max()),
    ];
    row.extend(budget(policy.budget.as_ref()));
    row
}

fn budget(advice: Option<&BudgetAdvice>) -> [String; 5] {
    let Some(advice) = advice else {
        return Default::default();
    };
    let (within, requests) = (advice.within, advice.canary_requests);
    [
        advice.basis.name().to_owned(),
        time(within.extreme),
        time(Some(within.suggested)),
        count(requests.extreme),
        count(Some(requests.suggested)),
    ]
}

/// The quantile that was seen, however few samples there are: their number stands beside it.
pub(super) fn quantile(samples: &Samples, name: &str) -> Option<u64> {
    samples.seen_at(name.parse::<Quantile>().ok()?)
}

fn fraction(value: Option<f64>) -> String {
    value.map_or(String::new(), |v| format!("{v:.6}"))
}

fn count(value: Option<u64>) -> String {
    value.map_or(String::new(), |v| v.to_string())
}

fn time(nanos: Option<u64>) -> String {
    nanos.map_or(String::new(), |n| {
        format!("{:.6}", Duration::from_nanos(n).as_secs_f64())
    })
}
