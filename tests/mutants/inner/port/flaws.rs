//! The switches: one a defect.

use graygate::protocol::chat::ChatHead;
use serde_json::{Map, Value};

/// A defect of the port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flaw {
    /// 1: `errors / requests` over all versions.
    PooledErrorRate,
    /// 2: failures are logged for `currentVersion`.
    FailuresOnCurrentVersion,
    /// 3: `selectVersion` never looks at the rolled-back state.
    SelectionIgnoresRollback,
    /// 3: what waits for its retry does not ask again whether the canary is open.
    RetriesIgnoreRollback,
    /// 4: `currentPhaseIndex++` comes before the first phase.
    SkipsFirstPhase,
    /// 5: `while (!complete)` promotes whatever the phase came to.
    PromotesAfterFailedPhase,
    /// 6: `getCurrentMetrics` returns 2 % and 45 ms.
    ConstantMetrics,
    /// 7: the hash is the first twelve bytes of the configuration's JSON.
    TruncatedHash,
    /// 8: the restored configuration is compared with `current_hash_123`.
    ConstantVerification,
    /// 9: metrics are counted since the start.
    AllTimeMetrics,
    /// 10: the fallback is tried with the same model when stable failed.
    FallbackToTheSameModel,
    /// 11: 401 and 404 are caught like everything else, and tried again.
    RetriesRefusals,
    /// 11: the fallback has the same bad key.
    FallbackWithTheSameKey,
    /// 12: `acquire` waits and does not look again.
    LimiterDoesNotLookAgain,
    /// 14: `notifyRollback()` is called without the rollback.
    NotifiesWithoutData,
    /// 15: `latencies.push`, and never a shift.
    KeepsAllLatencies,
    /// `0 / 0 > 0.05` is false: nothing known is nothing wrong.
    NanPromotes,
    /// No successes of no requests are 0 %, and less than 95 %.
    NothingIsFailure,
    /// Who fails at stable is sent to the canary, and back.
    FallbackLoops,
    /// 429 is a breaker's success.
    RateLimitsAreSuccesses,
    /// 400 is an error like any other.
    BadRequestsAreErrors,
    /// What stable mended did not happen.
    JudgesByWhatUsersSee,
    /// The mean stands for the 99th percentile.
    MeanForP99,
    /// `retry_after` is not read.
    RetryAfterIgnored,
    /// The monitor and the client both notify.
    NotifiesTwice,
    /// Nobody notifies.
    NeverNotifies,
    /// The rollback of the client and that of the deployment manager both count.
    RollsBackTwice,
    /// Silence of the canary after the first token has no limit; nor has anything else.
    NoTimeouts,
}

impl Flaw {
    /// All of them, by the names of their mutants.
    pub(crate) const NAMED: [(&'static str, Self); 29] = [
        (
            "port-selection-ignores-rollback",
            Self::SelectionIgnoresRollback,
        ),
        ("port-retries-ignore-rollback", Self::RetriesIgnoreRollback),
        (
            "port-limiter-does-not-look-again",
            Self::LimiterDoesNotLookAgain,
        ),
        ("port-pooled-error-rate", Self::PooledErrorRate),
        (
            "port-failures-on-current-version",
            Self::FailuresOnCurrentVersion,
        ),
        ("port-constant-metrics", Self::ConstantMetrics),
        ("port-all-time-metrics-hide", Self::AllTimeMetrics),
        ("port-all-time-metrics-condemn", Self::AllTimeMetrics),
        ("port-keeps-all-latencies", Self::KeepsAllLatencies),
        ("port-429-is-success", Self::RateLimitsAreSuccesses),
        ("port-400-is-failure", Self::BadRequestsAreErrors),
        ("port-judges-by-users", Self::JudgesByWhatUsersSee),
        ("port-mean-for-p99", Self::MeanForP99),
        ("port-skips-first-phase", Self::SkipsFirstPhase),
        (
            "port-promotes-after-failure",
            Self::PromotesAfterFailedPhase,
        ),
        ("port-nan-promotes", Self::NanPromotes),
        ("port-nothing-is-failure", Self::NothingIsFailure),
        ("port-truncated-hash", Self::TruncatedHash),
        ("port-constant-verification", Self::ConstantVerification),
        ("port-rolls-back-twice", Self::RollsBackTwice),
        ("port-notifies-without-data", Self::NotifiesWithoutData),
        ("port-notifies-twice", Self::NotifiesTwice),
        ("port-never-notifies", Self::NeverNotifies),
        ("port-fallback-to-same-model", Self::FallbackToTheSameModel),
        ("port-retries-refusals", Self::RetriesRefusals),
        ("port-fallback-with-same-key", Self::FallbackWithTheSameKey),
        ("port-fallback-loops", Self::FallbackLoops),
        ("port-retry-after-ignored", Self::RetryAfterIgnored),
        ("port-no-timeouts", Self::NoTimeouts),
    ];

    /// The switch of this name.
    pub(crate) fn named(name: &str) -> Option<Self> {
        let mut all = Self::NAMED.into_iter();
        all.find(|(own, _)| *own == name).map(|(_, flaw)| flaw)
    }
}

/// 13: `temperature: options.temperature || 0.7`, on the way to the upstream. No switch of the core: bodies are the
/// driver's.
pub(crate) fn temperature_or_default(body: &[u8], head: &ChatHead, model: &str) -> Vec<u8> {
    let sent = head.with_model(body, model);
    let Ok(mut fields) = serde_json::from_slice::<Map<String, Value>>(&sent) else {
        return sent;
    };
    let given = fields.get("temperature").and_then(Value::as_f64);
    if given.unwrap_or(0.0) == 0.0 {
        fields.insert("temperature".to_owned(), 0.7.into());
    }
    serde_json::to_vec(&fields).unwrap_or(sent)
}
