//! What is compared, for whom, and which outcome is an event of which metric.

use serde::{Deserialize, Serialize};

use crate::protocol::outcome::{Judgement, Outcome};

/// What the judge compares. One attempt is an event of a metric at most once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    /// Failures that are the version's doing, compared with stable.
    Error,
    /// The same failures, against the error rate of the SLO.
    ErrorSlo,
    /// Attempts whose age passed the limit before they succeeded.
    Slow,
    /// 429, whether waiting helps or not.
    RateLimited,
    /// Answers that broke off, or that turned into an error after they had begun.
    Truncated,
    /// Answers that are not what was asked for.
    Malformed,
    /// Successes that do not say how many tokens they took.
    MissingUsage,
    /// Refusals of the caller's request: no fault by the SLO, but a canary that refuses more is seen.
    BadRequest,
    /// Callers who hung up: no fault by the SLO, but a canary that hangs until they leave is seen.
    ClientGone,
}

impl Metric {
    /// Every metric, in the order in which they are looked at.
    pub const ALL: [Self; 9] = [
        Self::Error,
        Self::ErrorSlo,
        Self::Slow,
        Self::RateLimited,
        Self::Truncated,
        Self::Malformed,
        Self::MissingUsage,
        Self::BadRequest,
        Self::ClientGone,
    ];

    /// The position in [`Metric::ALL`].
    pub fn index(self) -> usize {
        self as usize
    }

    /// The name in files: `error`, `error_slo`, `slow` …
    pub fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::ErrorSlo => "error_slo",
            Self::Slow => "slow",
            Self::RateLimited => "rate_limited",
            Self::Truncated => "truncated",
            Self::Malformed => "malformed",
            Self::MissingUsage => "missing_usage",
            Self::BadRequest => "bad_request",
            Self::ClientGone => "client_gone",
        }
    }
}

/// The two versions of a comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Arm {
    /// The version that everything falls back to.
    Stable,
    /// The version on trial.
    Canary,
}

impl Arm {
    /// 0 for stable, 1 for the canary.
    pub(super) fn index(self) -> usize {
        self as usize
    }
}

/// A set of metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Events(u16);

impl Events {
    pub(super) const NONE: Self = Self(0);

    pub(super) fn of(metric: Metric) -> Self {
        Self(1 << metric.index())
    }

    pub(super) fn contains(self, metric: Metric) -> bool {
        self.0 & Self::of(metric).0 != 0
    }

    pub(super) fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub(super) fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    pub(super) fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub(super) fn iter(self) -> impl Iterator<Item = Metric> {
        Metric::ALL.into_iter().filter(move |m| self.contains(*m))
    }
}

/// What the end of an attempt says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Finding {
    /// For or against the version, or neither.
    pub(super) judgement: Judgement,
    /// The metrics it is an event of; `slow` is counted by age, not here.
    pub(super) events: Events,
}

impl Finding {
    pub(super) fn of(outcome: Outcome, missing_usage: bool, rate_limits_are_errors: bool) -> Self {
        let own = own_metric(outcome, missing_usage);
        let is_limit = own == Some(Metric::RateLimited);
        let judgement = match outcome.judgement() {
            Judgement::Bad if is_limit && !rate_limits_are_errors => Judgement::Excluded,
            judgement => judgement,
        };
        let mut events = own.map_or(Events::NONE, Events::of);
        if judgement == Judgement::Bad {
            let error = Events::of(Metric::Error).with(Events::of(Metric::ErrorSlo));
            events = events.with(error);
        }
        Self { judgement, events }
    }
}

/// The counter of its own that an outcome has beside the errors.
fn own_metric(outcome: Outcome, missing_usage: bool) -> Option<Metric> {
    match outcome {
        Outcome::RateLimited | Outcome::QuotaExhausted => Some(Metric::RateLimited),
        Outcome::Truncated | Outcome::StreamError => Some(Metric::Truncated),
        Outcome::Malformed => Some(Metric::Malformed),
        Outcome::BadRequest => Some(Metric::BadRequest),
        Outcome::ClientGone => Some(Metric::ClientGone),
        Outcome::Success if missing_usage => Some(Metric::MissingUsage),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn events(outcome: Outcome, missing_usage: bool) -> Vec<&'static str> {
        let finding = Finding::of(outcome, missing_usage, true);
        finding.events.iter().map(Metric::name).collect()
    }

    #[test]
    fn every_outcome_has_its_metrics() {
        assert!(events(Outcome::Success, false).is_empty());
        assert_eq!(events(Outcome::Success, true), ["missing_usage"]);
        assert_eq!(
            events(Outcome::ServerError, true),
            ["error", "error_slo"],
            "a failure need not count tokens"
        );
        assert_eq!(
            events(Outcome::QuotaExhausted, false),
            ["error", "error_slo", "rate_limited"]
        );
        assert_eq!(events(Outcome::BadRequest, false), ["bad_request"]);
        assert_eq!(events(Outcome::ClientGone, false), ["client_gone"]);
        assert!(events(Outcome::Deadline, false).is_empty(), "our own limit");
    }

    #[test]
    fn rate_limits_can_be_left_out_of_the_errors() {
        let finding = Finding::of(Outcome::RateLimited, false, false);
        assert_eq!(finding.events, Events::of(Metric::RateLimited));
        assert_eq!(finding.judgement, Judgement::Excluded);
        let other = Finding::of(Outcome::ServerError, false, false);
        assert!(other.events.contains(Metric::Error));
    }

    #[test]
    fn names_and_positions_are_one_to_one() {
        for (i, metric) in Metric::ALL.into_iter().enumerate() {
            assert_eq!(metric.index(), i);
            let json = serde_json::to_string(&metric).unwrap();
            assert_eq!(json, format!("\"{}\"", metric.name()));
        }
    }
}
