//! Routers that wait for a stream that does not come or go on.

use crate::catalogue::{Mutant, Source};

pub(super) fn all() -> Vec<Mutant> {
    vec![
        Mutant::of_config(
            "first-token-waited-for",
            "waits for a first token that takes twenty seconds",
            Source::Entries(&[29], 7),
            |config| config.timeouts.first_token = None,
        )
        .caught("s07-slow-first-token", "rollback", "rolled back once")
        .caught("s07-slow-first-token", "requests#1", "first_token_p99"),
        Mutant::of_config(
            "only-the-first-token-has-a-limit",
            "has a limit for the first token alone, and waits for a stream that stalls until its whole limit is over",
            Source::Entries(&[30], 7),
            |config| config.timeouts.idle = None,
        )
        .caught("s09-stream-stall", "policy", "no stream is silent for more than 1.2")
        .caught("s09-stream-stall", "rollback", "within 20 s")
        .caught("s09-stream-stall", "rollback", "user_errors"),
    ]
}
