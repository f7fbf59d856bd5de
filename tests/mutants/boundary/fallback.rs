//! Routers whose fallback does not come, comes from the wrong side, or comes where it cannot help.

use std::time::Duration;

use graygate::protocol::outcome::Outcome;
use graygate::router::config::FallbackPolicy;

use super::failures::Mistakes;
use crate::catalogue::{Mutant, Source};

const REFUSED: &str = "canary-401-falls-back-and-rolls-back";
const SHARED_KEY: &str = "canary-401-with-a-shared-key";
const HOPELESS: &str = "hopeless_retries == 0";

pub(super) fn all() -> Vec<Mutant> {
    let mut all = never();
    all.extend(where_it_is_useless());
    all.extend(backwards());
    all
}

fn never() -> Vec<Mutant> {
    vec![
        Mutant::of_config(
            "no-fallback",
            "never falls back",
            Source::Entries(&[13, 14, 34], 4),
            |config| config.fallback = FallbackPolicy::Off,
        )
        .caught(REFUSED, "fallback", "succeeds == 100%")
        .caught(REFUSED, "rollback", "user_errors == 0")
        .caught("s04-503", "fallback", "succeeds")
        .caught("s04-503", "requests#1", "success")
        .caught("s15-flapping-canary", "requests#1", "success"),
        Mutant::of_config(
            "silence-waited-for",
            "waits for a silent canary twenty times as long as it should",
            Source::Entries(&[15, 30], 7),
            |config| config.timeouts.attempt = Duration::from_secs(20),
        )
        .caught("s06-silence", "requests#1", "p99")
        .caught("s06-silence", "policy", "no attempt takes more"),
    ]
}

fn where_it_is_useless() -> Vec<Mutant> {
    vec![
        // When stable fails, the "fallback" is stable's own model once more.
        Mutant::of_defect(
            "fallback-to-the-model-that-failed",
            "falls back to stable's own model when that one failed",
            Source::Defect(10),
            |_| Mistakes(Outcome::ModelNotFound, Outcome::ServerError),
        )
        .caught("stable-lost-its-model", "requests#1", HOPELESS),
        Mutant::of_config(
            "fallback-with-the-refused-key",
            "asks stable with the very key that the canary refused",
            Source::Defect(11),
            |config| config.versions[config.stable].api_key_env = Some("ANOTHER_KEY".to_owned()),
        )
        .caught(SHARED_KEY, "requests", HOPELESS),
        Mutant::of_defect(
            "refused-key-tried-again",
            "tries a refused key again",
            Source::Defect(11),
            |_| Mistakes(Outcome::Unauthorized, Outcome::ServerError),
        )
        .caught(SHARED_KEY, "requests", HOPELESS),
        Mutant::of_defect(
            "missing-model-tried-again",
            "tries a missing model again",
            Source::Defect(11),
            |_| Mistakes(Outcome::ModelNotFound, Outcome::ServerError),
        )
        .caught("missing-model-mid-run", "requests", HOPELESS),
    ]
}

fn backwards() -> Vec<Mutant> {
    vec![
        Mutant::of_config(
            "stable-falls-back-to-the-canary",
            "tries stable's failures at the canary",
            Source::Entries(&[17, 18], 5),
            |config| (config.stable, config.canary) = (config.canary, config.stable),
        )
        .caught(
            "rate-limit-storm",
            "fallback",
            "never from stable to the canary",
        )
        .caught(
            "failing-stable-keeps-its-canary",
            "no_rollback",
            "not rolled back",
        ),
    ]
}
