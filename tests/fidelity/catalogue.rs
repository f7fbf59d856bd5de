//! The twelve scenarios, and what each is there for.

use crate::support::{load, project};
use crate::tolerance::{EXACT, FEEDBACK, LOOSE, Tolerance};

use graygate::id::Seed;
use graygate::scenario::Scenario;

/// A scenario that is run on both engines.
pub(crate) struct Case {
    /// The name of its file in `tests/fidelity/scenarios`.
    pub(crate) name: &'static str,
    /// Where the engines could part.
    pub(crate) about: &'static str,
    /// What may differ.
    pub(crate) tolerance: Tolerance,
}

/// The seeds of the page.
pub(crate) const SEEDS: std::ops::RangeInclusive<u64> = 1..=20;

/// All of them, in the order of the page.
pub(crate) const ALL: [Case; 12] = [
    Case {
        name: "refused-key",
        about: "401 and fallback; the literal judge looks at every failure",
        tolerance: FEEDBACK,
    },
    Case {
        name: "server-errors-by-evidence",
        about: "500 with a retry each; the sequential judge books by assignment",
        tolerance: FEEDBACK,
    },
    Case {
        name: "silent-canary",
        about: "timeouts: the router's own timers, and hang-ups",
        tolerance: FEEDBACK,
    },
    Case {
        name: "slow-canary",
        about: "p99 of the canary: a decision by measured time, at regular looks only",
        tolerance: FEEDBACK,
    },
    Case {
        name: "asked-to-wait",
        about: "Retry-After, backoff with jitter, retries and then the fallback; no feedback",
        tolerance: EXACT,
    },
    Case {
        name: "broken-streams",
        about: "tokens one by one over sockets, streams that are cut before and after the first",
        tolerance: FEEDBACK,
    },
    Case {
        name: "full-canary",
        about: "places and a queue at the mock: who finds room hangs on who is still there",
        tolerance: LOOSE,
    },
    Case {
        name: "ramp-breaks",
        about: "steps by the clock, promoted by the judge's yes; errors in the second one",
        tolerance: FEEDBACK,
    },
    Case {
        name: "queue-for-a-limit",
        about: "the router's own queue before a rate limit: slots by the clock",
        tolerance: LOOSE,
    },
    Case {
        name: "restarts-and-resets",
        about: "resets that flap, then a port on which nobody listens",
        tolerance: FEEDBACK,
    },
    Case {
        name: "closed-loop",
        about: "callers who ask again when they are answered: latency decides how much is asked",
        tolerance: LOOSE,
    },
    Case {
        name: "healthy-canary",
        about: "whole answers and streams, nothing wrong; no feedback",
        tolerance: EXACT,
    },
];

/// The case of this name.
pub(crate) fn case(name: &str) -> &'static Case {
    let found = ALL.iter().find(|case| case.name == name);
    found.unwrap_or_else(|| panic!("no case {name}"))
}

impl Case {
    /// Its scenario.
    pub(crate) fn scenario(&self) -> Scenario {
        load(&project(&format!(
            "tests/fidelity/scenarios/{}.yaml",
            self.name
        )))
    }

    /// Its scenario with this seed.
    pub(crate) fn with_seed(&self, seed: u64) -> Scenario {
        self.scenario().with_seed(Seed(seed))
    }
}
