//! Routers that make an outage worse.

use graygate::router::budget::RetryBudget;
use graygate::router::config::RouterConfig;

use crate::catalogue::{Mutant, Source};

const NAME: &str = "retry-storm-stays-in-budget";
const BUDGET: &str = "retries stay within their budget";

pub(super) fn all() -> Vec<Mutant> {
    vec![
        Mutant::of_config(
            "retry-budget-ignored",
            "ignores its retry budget",
            Source::Entries(&[19], 3),
            |config| config.retry.budget = None,
        )
        .caught(NAME, "policy", BUDGET)
        .caught(NAME, "requests#3", "count <= 800")
        .caught(NAME, "retries#1", "amplification <= 1.45")
        .caught("s02-persistent-429", "policy", BUDGET),
        Mutant::of_config(
            "one-retry-too-many",
            "tries a request once more than it may",
            Source::Entries(&[19], 3),
            |config| {
                config.retry.budget = None;
                config.retry.max_retries += 1;
            },
        )
        .caught(NAME, "retries#1", "per_request <= 4"),
        budgeted(
            "retry-budget-overdrawn",
            "overdraws its retry budget by a quarter",
            |budget| budget.share *= 1.25,
        )
        .caught(NAME, "policy", BUDGET),
        // A memory that is too short counts each retry for too short a time.
        budgeted(
            "retry-budget-forgets",
            "forgets its retries too early",
            |budget| {
                budget.reserve_per_second *= 4.0;
                budget.memory /= 4;
            },
        )
        .caught(NAME, "policy", BUDGET),
        Mutant::of_config(
            "limits-do-not-escalate",
            "gives later tries no more time than the first",
            Source::Entries(&[28], 7),
            |config| config.timeouts.escalation = None,
        )
        .caught(NAME, "policy", "given up early"),
    ]
}

fn budgeted(id: &'static str, says: &'static str, change: fn(&mut RetryBudget)) -> Mutant {
    Mutant::of_config(id, says, Source::Own, move |config: &mut RouterConfig| {
        config.retry.budget.as_mut().map(change).unwrap_or_default();
    })
}
