//! Routers that make an outage worse.

use graygate::router::config::FallbackPolicy;

use super::{assert_red, with_config};

const NAME: &str = "retry-storm-stays-in-budget";

#[test]
fn a_router_that_ignores_its_retry_budget_is_caught() {
    let output = with_config(NAME, |config| config.retry.budget = None);
    assert_red(&output, "policy", "retries stay within their budget");
    assert_red(&output, "requests#3", "count <= 800");
    assert_red(&output, "retries#1", "amplification <= 1.45");
}

/// One retry more than there may be.
#[test]
fn a_request_that_is_tried_too_often_is_caught() {
    let output = with_config(NAME, |config| {
        config.retry.budget = None;
        config.retry.max_retries += 1;
    });
    assert_red(&output, "retries#1", "per_request <= 4");
}

/// A failing canary is not asked again where stable could answer.
#[test]
fn a_canary_that_is_tried_again_is_caught() {
    let output = with_config(NAME, |config| {
        config.fallback = FallbackPolicy::AfterRetries;
    });
    assert_red(&output, "retries#2", "per_request == 1");
}

/// A little too much is too much, as well.
#[test]
fn a_budget_that_is_overdrawn_by_a_quarter_is_caught() {
    let output = with_config(NAME, |config| {
        if let Some(budget) = &mut config.retry.budget {
            budget.share *= 1.25;
        }
    });
    assert_red(&output, "policy", "retries stay within their budget");
}

/// A memory that is too short counts each retry for too short a time.
#[test]
fn a_budget_that_forgets_too_early_is_caught() {
    let output = with_config(NAME, |config| {
        if let Some(budget) = &mut config.retry.budget {
            budget.reserve_per_second *= 4.0;
            budget.memory /= 4;
        }
    });
    assert_red(&output, "policy", "retries stay within their budget");
}

#[test]
fn limits_of_tries_that_do_not_escalate_are_caught() {
    let output = with_config(NAME, |config| config.timeouts.escalation = None);
    assert_red(&output, "policy", "given up early");
}
