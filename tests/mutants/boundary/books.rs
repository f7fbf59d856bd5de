//! Routers whose books of attempts say something else than happened. What they do is right.

use graygate::id::VersionId;
use graygate::protocol::drift::Drift;
use graygate::protocol::outcome::Outcome;
use graygate::router::config::JudgeConfig;
use graygate::router::io::{AttemptKind, Event, Input};

use crate::broken::Defect;
use crate::catalogue::{Mutant, Source};

const DEAD: &str = "fallback-masks-dead-canary";
const COST: &str = "cost-of-a-failing-canary";
const OWN: &str = "booked on the version tried";
const REAL: &str = "real outcome";

/// What the router says of each of its events.
struct Books<F>(F);

impl<F: FnMut(Event) -> Vec<Event> + Send> Defect for Books<F> {
    fn event(&mut self, event: Event) -> Vec<Event> {
        (self.0)(event)
    }
}

/// A mutant that rewrites its events one by one.
pub(super) fn lying<F>(id: &'static str, says: &'static str, source: Source, lie: F) -> Mutant
where
    F: FnMut(Event) -> Vec<Event> + Send + Sync + Clone + 'static,
{
    Mutant::of_defect(id, says, source, move |_| Books(lie.clone()))
}

pub(super) fn all() -> Vec<Mutant> {
    [versions(), outcomes(), counts(), answers()]
        .into_iter()
        .flatten()
        .collect()
}

fn versions() -> Vec<Mutant> {
    vec![
        Mutant::of_defect(
            "failures-on-the-current-version",
            "books failures on the \"current\" version, stable, whoever was tried",
            Source::Defect(2),
            |e| BookedOnCurrent(e.router.stable, e.router.canary),
        )
        .caught(DEAD, "attribution", OWN)
        .caught(COST, "attribution", OWN),
        // What such bookings do to a judge that believes them: it never sees the canary fail.
        Mutant::of_config(
            "judge-that-never-sees-a-failure",
            "has a judge that believes such books, and never sees the canary fail",
            Source::Defect(2),
            |config| config.judge = JudgeConfig::Off,
        )
        .caught(DEAD, "rollback", "rolled back once"),
        lying(
            "malformed-on-the-wrong-version",
            "books a failover's malformed answer on the version that served in the end",
            Source::Entries(&[51], 16),
            |mut event| {
                if let Event::AttemptEnded {
                    version, outcome, ..
                } = &mut event
                    && *outcome == Outcome::Malformed
                {
                    *version = VersionId(0);
                }
                vec![event]
            },
        )
        .caught("s16-accounting-of-a-failover", "attribution", OWN),
        lying(
            "assignment-never-tried",
            "says it gave requests to stable that it gave to the canary",
            Source::Entries(&[51], 16),
            |mut event| {
                if let Event::Assigned { version, .. } = &mut event {
                    *version = VersionId(0);
                }
                vec![event]
            },
        )
        .caught(DEAD, "attribution", OWN),
    ]
}

/// Failures of the canary are stable's.
struct BookedOnCurrent(VersionId, VersionId);

impl Defect for BookedOnCurrent {
    fn event(&mut self, mut event: Event) -> Vec<Event> {
        if let Event::AttemptEnded {
            version, outcome, ..
        } = &mut event
            && *version == self.1
            && !outcome.is_success()
        {
            *version = self.0;
        }
        vec![event]
    }
}

fn outcomes() -> Vec<Mutant> {
    vec![
        blurring(
            "overloads-booked-as-timeouts",
            "books overloads as timeouts",
            (Outcome::Overloaded, Outcome::Timeout),
        )
        .caught(DEAD, "attribution", REAL),
        // Who hangs up on a canary that hangs and says that the caller did, excuses the canary.
        blurring(
            "timeouts-booked-as-departures",
            "books timeouts as callers who left",
            (Outcome::Timeout, Outcome::ClientGone),
        )
        .caught("canary-timeouts", "attribution", REAL),
        blurring(
            "departures-booked-as-timeouts",
            "books callers who left as timeouts",
            (Outcome::ClientGone, Outcome::Timeout),
        )
        .caught(
            "impatient-callers-are-no-failures",
            "policy",
            "no attempt is given up early",
        ),
        blurring(
            "rate-limits-booked-as-server-errors",
            "books 429 as a server error, so that nobody sees the rate limit",
            (Outcome::RateLimited, Outcome::ServerError),
        )
        .caught("s01-429-with-retry-after", "attribution", REAL)
        .source(Source::Entries(&[31], 8)),
    ]
}

fn blurring(id: &'static str, says: &'static str, (real, told): (Outcome, Outcome)) -> Mutant {
    lying(id, says, Source::Own, move |mut event| {
        if let Event::AttemptEnded { outcome, .. } = &mut event
            && *outcome == real
        {
            *outcome = told;
        }
        vec![event]
    })
}

fn counts() -> Vec<Mutant> {
    vec![
        lying(
            "failures-never-booked",
            "books no failures at all",
            Source::Own,
            |event| {
                let is_failure = matches!(
                    &event,
                    Event::AttemptEnded { outcome, .. } if !outcome.is_success()
                );
                if is_failure { Vec::new() } else { vec![event] }
            },
        )
        .caught(DEAD, "attribution", OWN),
        lying(
            "attempts-booked-twice",
            "books every attempt twice",
            Source::Own,
            |event| {
                let is_end = matches!(event, Event::AttemptEnded { .. });
                let copy = is_end.then(|| event.clone());
                copy.into_iter().chain([event]).collect()
            },
        )
        .caught(DEAD, "attribution", OWN),
        lying(
            "fallbacks-booked-as-first-attempts",
            "books fallbacks as stable's own first attempts, so that they colour stable's figures",
            Source::Family(16),
            |mut event| {
                if let Event::AttemptEnded { kind, .. } = &mut event {
                    *kind = AttemptKind::First;
                }
                vec![event]
            },
        )
        .caught(DEAD, "attribution", "counts its attempts right"),
    ]
}

fn answers() -> Vec<Mutant> {
    vec![
        lying(
            "half-the-tokens",
            "books half the tokens of its answers",
            Source::Entries(&[52], 16),
            |mut event| {
                if let Event::AttemptEnded { answer, .. } = &mut event
                    && let Some(usage) = &mut answer.usage
                {
                    usage.completion_tokens /= 2;
                }
                vec![event]
            },
        )
        .caught(COST, "attribution", "tokens that their upstream spent"),
        Mutant::of_defect(
            "drift-not-counted",
            "does not count answers in another shape",
            Source::Family(20),
            |_| Blind,
        )
        .caught(
            "drifting-canary-keeps-the-contract",
            "contract#1",
            "the router counts the drift",
        ),
    ]
}

struct Blind;

impl Defect for Blind {
    fn input(&mut self, mut input: Input) -> Vec<Input> {
        if let Input::AttemptEnded { answer, .. } = &mut input {
            answer.drift = Drift::NONE;
        }
        vec![input]
    }
}

/// What the failures cost is counted by the upstreams' ledgers, whatever the router says.
#[test]
fn wasted_attempts_are_the_canary_s_whatever_its_router_says() {
    let mutants = all();
    let booked = mutants
        .iter()
        .find(|m| m.id == "failures-on-the-current-version");
    let options = booked.expect("the mutant").options();
    let output = crate::support::run(&crate::support::shipped(COST), &options);
    let canary = output.report.meta.canary;
    assert!(output.report.summary.costs.versions[canary].wasted.attempts > 0);
}
