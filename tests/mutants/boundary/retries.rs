//! Routers that try again too soon, too seldom, or where it is no use.

use std::time::Duration;

use graygate::router::config::FallbackPolicy;
use graygate::router::io::Input;

use crate::broken::Defect;
use crate::catalogue::{Mutant, Source};

const STABLE: &str = "failing-stable-keeps-its-canary";
const WAITS: &str = "retries wait";

pub(super) fn all() -> Vec<Mutant> {
    vec![
        Mutant::of_config(
            "retries-at-once",
            "tries again without waiting",
            Source::Entries(&[19, 31], 3),
            |config| config.retry.base = Duration::ZERO,
        )
        .caught(STABLE, "policy", WAITS),
        Mutant::of_config(
            "backoff-does-not-grow",
            "waits as long before its second retry as before its first",
            Source::Entries(&[31], 3),
            |config| config.retry.factor = 1.0,
        )
        .caught(STABLE, "policy", WAITS),
        Mutant::of_config(
            "retries-without-end",
            "tries a failing version fifty times",
            Source::Entries(&[19], 3),
            |config| config.retry.max_retries = 50,
        )
        .caught(STABLE, "policy", "tries a version"),
        Mutant::of_defect(
            "retry-after-ignored",
            "does not wait for `Retry-After`",
            Source::Entries(&[31, 32], 8),
            |_| Hasty,
        )
        .caught("s01-429-with-retry-after", "policy", WAITS)
        .caught("rate-limit-storm", "policy", WAITS),
        Mutant::of_config(
            "never-tries-again",
            "never tries a single error again",
            Source::Own,
            |config| config.retry.max_retries = 0,
        )
        .caught("s03-500-once", "requests#1", "success"),
        // A failing canary is not asked again where stable could answer.
        Mutant::of_config(
            "retry-stays-on-the-canary",
            "tries a failing canary again before it asks stable",
            Source::Entries(&[7, 8, 9, 11, 12], 3),
            |config| config.fallback = FallbackPolicy::AfterRetries,
        )
        .caught(
            "retry-storm-stays-in-budget",
            "retries#2",
            "per_request == 1",
        ),
    ]
}

struct Hasty;

impl Defect for Hasty {
    fn input(&mut self, mut input: Input) -> Vec<Input> {
        if let Input::AttemptEnded { retry_after, .. } = &mut input {
            *retry_after = None;
        }
        vec![input]
    }
}
