//! Routers that make an outage worse.

use super::{assert_red, with_config};

const NAME: &str = "retry-storm-stays-in-budget";

#[test]
fn a_router_that_ignores_its_retry_budget_is_caught() {
    let output = with_config(NAME, |config| config.retry.budget = None);
    assert_red(&output, "policy", "retries stay within their budget");
    assert_red(&output, "requests#3", "count <= 800");
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
