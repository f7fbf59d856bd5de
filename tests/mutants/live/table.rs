//! Who is caught by what when it is served live, and who cannot be seen from outside.

/// A mutant that is caught live.
pub(crate) struct Live {
    pub(crate) mutant: &'static str,
    pub(crate) scenario: &'static str,
    pub(crate) gate: &'static str,
    /// A part of the condition that does not hold.
    pub(crate) about: &'static str,
}

/// Why a mutant is not seen through the door.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Unseen {
    Books,
    Word,
    Memory,
    Ramp,
    Force,
    Fine,
    Door,
}

impl Unseen {
    /// In words.
    pub(crate) fn says(self) -> &'static str {
        match self {
            Self::Books => "it is wrong in its own books alone",
            Self::Word => "it is wrong in what it tells of a rollback alone",
            Self::Memory => "another process's memory is not measured",
            Self::Ramp => "it is wrong in its ramp, which takes longer than five seconds",
            Self::Force => "nobody is forced to a version through this door",
            Self::Fine => "five seconds of traffic do not show so small or so rare a difference",
            Self::Door => {
                "what sets it off does not come through this door, or does not get past the real driver"
            }
        }
    }
}

const fn live(
    mutant: &'static str,
    scenario: &'static str,
    gate: &'static str,
    about: &'static str,
) -> Live {
    Live {
        mutant,
        scenario,
        gate,
        about,
    }
}

const EACH: &str = "live/every-failure-falls-back";
const HARMLESS: &str = "live/harmless-canary-is-kept";
const HOPELESS: &str = "live/hopeless-requests";
const LIMITED: &str = "live/limited-canary-is-not-flooded";
const REFUSED: &str = "live/refused-key-is-rolled-back";
const RULES: &str = "live/split-and-rules";
const SLOW: &str = "live/slow-canary-is-rolled-back";
const STICKY: &str = "live/sticky-callers-leave-a-closed-canary";
const STORM: &str = "live/retry-storm";
const STREAMS: &str = "live/streams-break";
const WAITS: &str = "live/waits-are-waited";
const ZERO: &str = "live/canary-at-zero";

/// Everybody who is caught, and by whom.
#[rustfmt::skip]
pub(crate) const CAUGHT: &[Live] = &[
    live("one-error-rate-for-all", REFUSED, "rollback", "the canary is rolled back once"),
    live("judge-that-never-sees-a-failure", REFUSED, "rollback", "the canary is rolled back once"),
    live("failures-forwarded-as-answers", REFUSED, "rollback", "the canary is rolled back once"),
    live("rollback-ignored-by-chance", REFUSED, "rollback", "the canary is rolled back once"),
    live("rollback-leaves-one-percent", SLOW, "after_rollback", "canary_requests == 0"),
    live("rollback-ignored-by-a-rule", REFUSED, "rollback", "the canary is rolled back once"),
    live("rollback-forgets-the-override-header", STICKY, "rollback", "the canary is rolled back once"),
    live("rollback-forgets-sticky-users", STICKY, "rollback", "the canary is rolled back once"),
    live("goes-on-after-a-failed-step", REFUSED, "rollback", "the canary is rolled back once"),
    live("monitoring-returns-constants", REFUSED, "rollback", "the canary is rolled back once"),
    live("all-time-counts-hide-failures", HARMLESS, "no_rollback", "the canary is in use to the end"),
    live("all-time-counts-never-forgive", HARMLESS, "no_rollback", "the canary is not rolled back"),
    live("judge-without-regular-looks", SLOW, "rollback", "within 2 s"),
    live("judge-acts-on-too-little", HARMLESS, "no_rollback", "the canary is not rolled back"),
    live("threshold-too-low", HARMLESS, "no_rollback", "the canary is not rolled back"),
    live("shared-outage-blamed-on-the-canary", HARMLESS, "no_rollback", "the canary is not rolled back"),
    live("verification-against-a-constant", REFUSED, "rollback", "the canary is rolled back once"),
    live("closed-in-silence", HARMLESS, "no_rollback", "the canary is in use to the end"),
    live("forgets-those-under-way", REFUSED, "rollback", "user_errors == 0"),
    live("in-flight-not-recalled", SLOW, "requests", "p99 < 1.5 s"),
    live("stable-scaled-to-nothing", REFUSED, "rollback", "user_errors == 0"),
    live("no-fallback", REFUSED, "rollback", "user_errors == 0"),
    live("silence-waited-for", EACH, "requests", "success == 100%"),
    live("fallback-to-the-model-that-failed", HOPELESS, "requests#1", "hopeless_retries == 0"),
    live("fallback-with-the-refused-key", HOPELESS, "requests#1", "hopeless_retries == 0"),
    live("refused-key-tried-again", HOPELESS, "requests#1", "hopeless_retries == 0"),
    live("missing-model-tried-again", HOPELESS, "requests#1", "hopeless_retries == 0"),
    live("stable-falls-back-to-the-canary", HARMLESS, "fallback", "never from stable to the canary"),
    live("no-fallback-on-401", EACH, "fallback", "succeeds == 100%"),
    live("no-fallback-on-403", EACH, "fallback", "succeeds == 100%"),
    live("no-fallback-on-404", EACH, "fallback", "succeeds == 100%"),
    live("no-fallback-on-429", EACH, "fallback", "succeeds == 100%"),
    live("no-fallback-on-spent-quota", EACH, "fallback", "succeeds == 100%"),
    live("no-fallback-on-500", EACH, "fallback", "succeeds == 100%"),
    live("no-fallback-on-503", EACH, "fallback", "succeeds == 100%"),
    live("no-fallback-on-408", EACH, "fallback", "succeeds == 100%"),
    live("no-fallback-on-reset", EACH, "fallback", "succeeds == 100%"),
    live("no-fallback-on-refused", EACH, "requests", "success == 100%"),
    live("no-fallback-on-cut", EACH, "fallback", "succeeds == 100%"),
    live("no-fallback-on-malformed", EACH, "fallback", "succeeds == 100%"),
    live("bad-request-tried-again", HARMLESS, "requests#1", "hopeless_retries == 0"),
    live("retries-at-once", WAITS, "requests#1", "success == 100%"),
    live("backoff-does-not-grow", WAITS, "requests#1", "success == 100%"),
    live("retry-after-ignored", WAITS, "retries#1", "per_request <= 2"),
    live("never-tries-again", STORM, "requests#1", "success == 100%"),
    live("retry-stays-on-the-canary", STORM, "retries#2", "per_request == 1"),
    live("retry-budget-ignored", STORM, "retries#1", "amplification <= 1.6"),
    live("one-retry-too-many", STORM, "retries#1", "per_request <= 4"),
    live("gives-up-early", HARMLESS, "no_rollback", "the canary is not rolled back"),
    live("passes-the-deadline", EACH, "requests", "p99 < 1 s"),
    live("gives-up-on-answers-it-pays-for", STREAMS, "requests#1", "success == 100%"),
    live("limiter-does-not-look-again", LIMITED, "rate_limit", "at most 20 attempts at v2 in any 1 s"),
    live("limiter-bursts-at-window-edges", LIMITED, "rate_limit", "at most 20 attempts at v2 in any 1 s"),
    live("limit-unknown", LIMITED, "rate_limit", "at most 20 attempts at v2 in any 1 s"),
    live("nine-percent-for-ten", ZERO, "split", "share 0 % ± 1 pp"),
    live("weights-ignored", RULES, "split", "share 25 % ± 6 pp"),
    live("weights-truncated", RULES, "split", "share 25 % ± 6 pp"),
    live("weight-zero-not-accepted", ZERO, "split", "share 0 % ± 1 pp"),
    live("weights-swapped", RULES, "split", "share 25 % ± 6 pp"),
    live("rule-on-tiers-ignored", RULES, "requests", "misrouted == 0"),
    live("rule-on-tenants-ignored", RULES, "requests", "misrouted == 0"),
    live("override-header-ignored", ZERO, "requests#2", "misrouted == 0"),
    live("split-restarts-with-every-worker", ZERO, "split", "share 0 % ± 1 pp"),
    live("fast-failures-attract", EACH, "split", "share 50 % ± 10 pp"),
    live("callers-thrown-anew-every-time", STICKY, "stickiness", "moved == 0"),
    live("promises-nothing", STICKY, "stickiness", "moved == 0"),
    live("does-not-hear-callers-leave", HARMLESS, "no_rollback", "the canary is in use to the end"),
    live("hang-ups-held-against-the-canary", HARMLESS, "no_rollback", "the canary is not rolled back"),
    live("temperature-made-up", RULES, "requests", "altered == 0"),
    live("fallback-is-sent-a-beginning", STREAMS, "requests#4", "altered == 0"),
    live("stream-begun-again", STREAMS, "requests#1", "success == 100%"),
    live("truncated-stream-as-success", STREAMS, "requests#2", "truncated == 0%"),
    live("streams-held-back", STREAMS, "requests#1", "success == 100%"),
    live("first-token-waited-for", STREAMS, "requests#1", "first_token_p90 < 1.5 s"),
    live("port-selection-ignores-rollback", REFUSED, "rollback", "the canary is rolled back once"),
    live("port-limiter-does-not-look-again", LIMITED, "rate_limit", "at most 20 attempts at v2 in any 1 s"),
    live("port-temperature-or-default", RULES, "requests", "altered == 0"),
    live("port-pooled-error-rate", REFUSED, "rollback", "the canary is rolled back once"),
    live("port-failures-on-current-version", REFUSED, "rollback", "the canary is rolled back once"),
    live("port-constant-metrics", REFUSED, "rollback", "the canary is rolled back once"),
    live("port-all-time-metrics-hide", HARMLESS, "no_rollback", "the canary is in use to the end"),
    live("port-all-time-metrics-condemn", HARMLESS, "no_rollback", "the canary is not rolled back"),
    live("port-429-is-success", STICKY, "rollback", "the canary is rolled back once"),
    live("port-400-is-failure", HARMLESS, "no_rollback", "the canary is not rolled back"),
    live("port-judges-by-users", REFUSED, "rollback", "the canary is rolled back once"),
    live("port-mean-for-p99", SLOW, "rollback", "the canary is rolled back once"),
    live("port-truncated-hash", REFUSED, "rollback", "the canary is rolled back once"),
    live("port-constant-verification", REFUSED, "rollback", "the canary is rolled back once"),
    live("port-fallback-to-same-model", HOPELESS, "requests#1", "hopeless_retries == 0"),
    live("port-retries-refusals", HOPELESS, "requests#1", "hopeless_retries == 0"),
    live("port-fallback-with-same-key", HOPELESS, "requests#1", "hopeless_retries == 0"),
    live("port-fallback-loops", HARMLESS, "fallback", "never from stable to the canary"),
    live("port-retry-after-ignored", WAITS, "retries#1", "per_request <= 2"),
    live("port-no-timeouts", SLOW, "rollback", "user_errors == 0"),
];

/// Everybody else.
pub(crate) const UNSEEN: &[(&str, Unseen)] = &[
    ("failures-on-the-current-version", Unseen::Books),
    ("malformed-on-the-wrong-version", Unseen::Books),
    ("assignment-never-tried", Unseen::Books),
    ("overloads-booked-as-timeouts", Unseen::Books),
    ("timeouts-booked-as-departures", Unseen::Books),
    ("departures-booked-as-timeouts", Unseen::Books),
    ("rate-limits-booked-as-server-errors", Unseen::Books),
    ("failures-never-booked", Unseen::Books),
    ("attempts-booked-twice", Unseen::Books),
    ("fallbacks-booked-as-first-attempts", Unseen::Books),
    ("half-the-tokens", Unseen::Books),
    ("drift-not-counted", Unseen::Books),
    ("requests-hushed-up", Unseen::Books),
    ("requests-ended-twice", Unseen::Books),
    ("another-server", Unseen::Books),
    ("failed-requests-booked-as-successes", Unseen::Books),
    ("refused-key-told-as-server-error", Unseen::Books),
    ("headers-name-who-was-asked-first", Unseen::Books),
    ("canary-flaps-after-the-rollback", Unseen::Fine),
    ("rollback-ignored-by-force", Unseen::Force),
    ("first-step-skipped", Unseen::Ramp),
    ("hold-cut-short", Unseen::Ramp),
    ("no-data-is-healthy", Unseen::Ramp),
    ("threshold-too-high", Unseen::Fine),
    ("record-without-its-data", Unseen::Word),
    ("record-made-up", Unseen::Word),
    ("rollback-fires-twice", Unseen::Word),
    ("webhook-never", Unseen::Word),
    ("webhook-twice", Unseen::Word),
    ("webhook-without-the-record", Unseen::Word),
    ("malformed-stream-tried-again", Unseen::Door),
    ("retries-without-end", Unseen::Fine),
    ("retry-budget-overdrawn", Unseen::Fine),
    ("retry-budget-forgets", Unseen::Fine),
    ("limits-do-not-escalate", Unseen::Fine),
    ("gives-up-late", Unseen::Fine),
    ("anonymous-callers-pooled", Unseen::Door),
    ("callers-shuffled-at-every-step", Unseen::Ramp),
    ("force-ignored", Unseen::Force),
    ("forced-requests-as-evidence", Unseen::Force),
    ("keeps-all-latencies", Unseen::Memory),
    ("stream-fallback-splices", Unseen::Door),
    ("only-the-first-token-has-a-limit", Unseen::Fine),
    ("port-retries-ignore-rollback", Unseen::Fine),
    ("port-keeps-all-latencies", Unseen::Memory),
    ("port-skips-first-phase", Unseen::Ramp),
    ("port-promotes-after-failure", Unseen::Ramp),
    ("port-nan-promotes", Unseen::Ramp),
    ("port-nothing-is-failure", Unseen::Ramp),
    ("port-rolls-back-twice", Unseen::Word),
    ("port-notifies-without-data", Unseen::Word),
    ("port-notifies-twice", Unseen::Word),
    ("port-never-notifies", Unseen::Word),
];
