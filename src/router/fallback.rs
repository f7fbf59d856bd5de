//! What follows a failed attempt: decided here, done by the request machine.

use std::time::Duration;

use crate::id::VersionId;
use crate::protocol::outcome::{Fallback, Outcome};
use crate::router::config::{FallbackPolicy, RouterConfig};

/// A failed attempt, as far as the decision depends on it.
#[derive(Clone, Copy, Debug)]
pub struct FailedAttempt {
    /// The version that was tried.
    pub version: VersionId,
    /// How the attempt ended.
    pub outcome: Outcome,
    /// Tries of this request at that version so far, this one included.
    pub tries: u32,
    /// The wait before a retry; none when it would be too long.
    pub wait: Option<Duration>,
    /// Time left until the request's deadline.
    pub left: Duration,
    /// May new attempts go to the canary?
    pub canary_open: bool,
    /// Is there budget for a retry?
    pub has_budget: bool,
}

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Try the same version again after this wait.
    Retry(Duration),
    /// Ask stable.
    Fallback,
    /// Tell the caller.
    GiveUp,
}

/// What follows a failed attempt.
pub fn after(config: &RouterConfig, failed: &FailedAttempt) -> Next {
    let retry = retry(config, failed);
    let fallback = may_fall_back(config, failed).then_some(Next::Fallback);
    let next = match config.fallback {
        FallbackPolicy::Immediately => fallback.or(retry),
        FallbackPolicy::AfterRetries | FallbackPolicy::Off => retry.or(fallback),
    };
    next.unwrap_or(Next::GiveUp)
}

/// May stable answer in place of a canary that failed like this? Never the other way round.
pub fn may_fall_back(config: &RouterConfig, failed: &FailedAttempt) -> bool {
    let permitted = match failed.outcome.fallback() {
        Fallback::Always => true,
        Fallback::WithOtherCredentials => config.has_separate_credentials(),
        Fallback::Never => false,
    };
    permitted
        && failed.version == config.canary
        && config.fallback != FallbackPolicy::Off
        && !failed.left.is_zero()
}

fn retry(config: &RouterConfig, failed: &FailedAttempt) -> Option<Next> {
    let is_open = failed.version != config.canary || failed.canary_open;
    let is_due = failed.outcome.is_retryable() && failed.tries <= config.retry.max_retries;
    let wait = failed.wait.filter(|wait| *wait < failed.left)?;
    (is_open && is_due && failed.has_budget).then_some(Next::Retry(wait))
}
