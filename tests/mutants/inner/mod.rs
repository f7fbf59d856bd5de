//! Inner mutants: the articles' router, ported with a switch a defect. [`port`] needs nothing of the tests, so that a
//! program can serve it live; here is what each switch must be caught by.

mod port;

use graygate::experiment::Experiment;
use graygate::router::core::Core;

use crate::catalogue::{Mutant, Source};
use port::{Flaw, Port, temperature_or_default};

const DEAD: &str = "fallback-masks-dead-canary";
const DOWN: &str = "failed-step-is-the-last";
const FINAL: &str = "rollback-is-final";
const REFUSED: &str = "canary-401-falls-back-and-rolls-back";
const SHARED_KEY: &str = "canary-401-with-a-shared-key";
const STORM: &str = "rate-limit-storm";
const TOLD: &str = "rollback-is-told-once";
const UNKNOWN: &str = "no-data-holds-the-ramp";
const UP: &str = "judged-steps-lead-to-promotion";

const HOPELESS: &str = "hopeless_retries == 0";
const NONE: &str = "canary_requests == 0";
const ONCE: &str = "rolled back once";

/// The port with all of its switches off.
pub(crate) fn sound(experiment: &Experiment) -> Box<dyn Core> {
    Box::new(Port::new(experiment.router.clone(), experiment.seed, None))
}

pub(crate) fn all() -> Vec<Mutant> {
    [
        choosing(),
        measuring(),
        going_up(),
        rolling_back(),
        telling(),
        trying(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// The port with the switch of this name on.
fn switched(id: &'static str, says: &'static str, source: Source) -> Mutant {
    let make = move |e: &Experiment| -> Box<dyn Core> {
        Box::new(Port::new(e.router.clone(), e.seed, Flaw::named(id)))
    };
    Mutant::of_core(id, says, source, make).inner()
}

fn choosing() -> Vec<Mutant> {
    use Source::Defect;
    vec![
        switched(
            "port-selection-ignores-rollback",
            "never looks at the rolled-back state when it selects a version",
            Defect(3),
        )
        .caught(FINAL, "after_rollback", NONE),
        switched(
            "port-retries-ignore-rollback",
            "tries a canary again that was closed while it waited",
            Defect(3),
        )
        .caught(FINAL, "after_rollback", NONE),
        switched(
            "port-limiter-does-not-look-again",
            "waits for a slot of its limiter, and does not look again",
            Defect(12),
        )
        .caught(
            "rate-limited-canary",
            "rate_limit",
            "at most 10 attempts at v2 in any 1 s",
        ),
        Mutant::of_core(
            "port-temperature-or-default",
            "asks with `options.temperature || 0.7`",
            Defect(13),
            sound,
        )
        .with_bodies(temperature_or_default)
        .inner()
        .caught("healthy-canary", "requests", "altered == 0"),
    ]
}

fn measuring() -> Vec<Mutant> {
    use Source::{Defect, Entries, Family};
    vec![
        switched(
            "port-pooled-error-rate",
            "divides all errors by all requests",
            Defect(1),
        )
        .caught(REFUSED, "rollback", ONCE),
        switched(
            "port-failures-on-current-version",
            "logs failures for `currentVersion`",
            Defect(2),
        )
        .caught(DEAD, "attribution", "booked on the version tried")
        .caught(DEAD, "rollback", ONCE),
        switched(
            "port-constant-metrics",
            "reads 2 % and 45 ms from `getCurrentMetrics`",
            Defect(6),
        )
        .caught(DEAD, "rollback", ONCE),
        switched(
            "port-all-time-metrics-hide",
            "counts since the start: old successes hide new failures",
            Defect(9),
        )
        .caught("missing-model-mid-run", "rollback", "within"),
        switched(
            "port-all-time-metrics-condemn",
            "counts since the start: old failures condemn a healed canary",
            Defect(9),
        )
        .caught("healed-canary-is-kept", "no_rollback", "not rolled back"),
        switched(
            "port-keeps-all-latencies",
            "pushes every latency, and never shifts one",
            Defect(15),
        )
        .caught("weights-below-one-count", "memory", "router <=")
        .caught("split-proven-at-scale", "memory", "router <="),
        switched(
            "port-429-is-success",
            "counts 429 as a success of the version",
            Entries(&[32], 8),
        )
        .caught(STORM, "rollback", ONCE),
        switched(
            "port-400-is-failure",
            "counts bad requests as failures of the version",
            Family(12),
        )
        .caught(
            "refused-requests-are-nobodys-failure",
            "no_rollback",
            "not rolled back",
        ),
        switched(
            "port-judges-by-users",
            "judges by what users see, whom the fallback serves",
            Family(15),
        )
        // Where the canary has a past: in a run of three dozen requests, a few that stable has not answered yet look like failures.
        .caught(REFUSED, "rollback", ONCE),
        switched(
            "port-mean-for-p99",
            "takes the mean latency for the 99th percentile",
            Entries(&[49], 12),
        )
        .caught("slow-canary-rolled-back-by-p99", "rollback", ONCE),
    ]
}

fn going_up() -> Vec<Mutant> {
    use Source::{Defect, Entries};
    vec![
        switched(
            "port-skips-first-phase",
            "counts its phase up before the first one",
            Defect(4),
        )
        .caught(UP, "promotion", "held as long as it must"),
        switched(
            "port-promotes-after-failure",
            "promotes on after a failed phase",
            Defect(5),
        )
        .caught(DOWN, "ramp", "stays at half")
        .caught(DOWN, "after_rollback", NONE),
        switched(
            "port-nan-promotes",
            "promotes on `0 / 0 > 0.05`, which is false",
            Entries(&[46, 47], 13),
        )
        .caught(UNKNOWN, "ramp", "stays at few"),
        switched(
            "port-nothing-is-failure",
            "rolls back when there was no request to succeed",
            Entries(&[47, 48], 13),
        )
        .caught(UNKNOWN, "no_rollback", "not rolled back"),
    ]
}

fn rolling_back() -> Vec<Mutant> {
    use Source::{Defect, Family};
    vec![
        switched(
            "port-truncated-hash",
            "takes twelve bytes of JSON for a hash, so that the way back seems to have been gone",
            Defect(7),
        )
        .caught(DEAD, "rollback", ONCE),
        switched(
            "port-constant-verification",
            "verifies against `current_hash_123`",
            Defect(8),
        )
        .caught(DEAD, "rollback", ONCE),
        switched(
            "port-rolls-back-twice",
            "rolls back in the client and in the deployment manager",
            Family(19),
        )
        .caught(DEAD, "rollback", ONCE),
    ]
}

fn telling() -> Vec<Mutant> {
    use Source::{Defect, Entries, Family};
    vec![
        switched(
            "port-notifies-without-data",
            "calls `notifyRollback()` without the rollback",
            Defect(14),
        )
        .caught(TOLD, "notification", "the letter is the record"),
        switched(
            "port-notifies-twice",
            "notifies from the monitor and from the client",
            Family(11),
        )
        .caught(TOLD, "notification", "told once"),
        switched(
            "port-never-notifies",
            "rolls back, and only logs that it notified",
            Entries(&[42], 11),
        )
        .caught(TOLD, "notification", "told once"),
    ]
}

fn trying() -> Vec<Mutant> {
    use Source::{Defect, Entries};
    vec![
        switched(
            "port-fallback-to-same-model",
            "falls back to stable's own model when stable failed",
            Defect(10),
        )
        .caught("stable-lost-its-model", "requests#1", HOPELESS),
        switched(
            "port-retries-refusals",
            "catches 401 and 404 like everything else, and tries again",
            Defect(11),
        )
        .caught("missing-model-mid-run", "requests", HOPELESS)
        .caught(SHARED_KEY, "requests", HOPELESS),
        switched(
            "port-fallback-with-same-key",
            "falls back with the key that was refused",
            Defect(11),
        )
        .caught(SHARED_KEY, "requests", HOPELESS),
        switched(
            "port-fallback-loops",
            "falls back from stable to the canary, and round again",
            Entries(&[17, 18], 5),
        )
        .caught(STORM, "fallback", "never from stable to the canary"),
        switched(
            "port-retry-after-ignored",
            "never reads `retry_after`",
            Entries(&[31], 8),
        )
        .caught("s01-429-with-retry-after", "policy", "retries wait"),
        switched(
            "port-no-timeouts",
            "has no limit of time at all",
            Entries(&[28, 30], 7),
        )
        .caught("s06-silence", "policy", "no attempt takes more"),
    ]
}

/// A switch that no mutant turns on would be a defect that nobody looks for; a mutant without its switch is none.
#[test]
fn every_switch_has_its_mutant() {
    let mutants = all();
    let ids = mutants.iter().map(|m| m.id);
    let ids: Vec<&str> = ids
        .filter(|id| *id != "port-temperature-or-default")
        .collect();
    for (name, _) in Flaw::NAMED {
        assert!(ids.contains(&name), "{name}");
    }
    assert!(ids.iter().all(|id| Flaw::named(id).is_some()), "{ids:?}");
}
