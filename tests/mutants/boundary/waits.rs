//! Routers that do not keep to their limits of time.

use std::time::Duration;

use crate::catalogue::{Mutant, Source};

const HANGS: &str = "canary-timeouts";

pub(super) fn all() -> Vec<Mutant> {
    vec![
        Mutant::of_config(
            "gives-up-early",
            "gives attempts up after a fifth of their limit",
            Source::Entries(&[28], 7),
            |config| config.timeouts.attempt /= 5,
        )
        .caught(HANGS, "policy", "given up early"),
        Mutant::of_config(
            "gives-up-late",
            "gives attempts up a millisecond too late",
            Source::Own,
            |config| config.timeouts.attempt += Duration::from_millis(1),
        )
        .caught(HANGS, "policy", "no attempt takes more"),
        Mutant::of_config(
            "passes-the-deadline",
            "has forgotten the request's deadline",
            Source::Entries(&[29, 30], 7),
            |config| {
                config.timeouts.attempt = Duration::from_secs(30);
                config.timeouts.request = Duration::from_secs(3_600);
            },
        )
        .caught(HANGS, "policy", "no request takes more"),
        // A router that is never content with the first answer of the canary pays for both.
        Mutant::of_config(
            "gives-up-on-answers-it-pays-for",
            "gives up on answers that it pays for",
            Source::Entries(&[28], 7),
            |config| config.timeouts.attempt = Duration::from_millis(400),
        )
        .caught("cost-of-a-failing-canary", "cost#1", "wasted <= $0.10"),
    ]
}
