//! What becomes of requests that are at the canary, or wait for it, when it is closed.

use graygate::id::VersionId;
use graygate::observe::meta::Engine;
use graygate::observe::story::Story;
use graygate::protocol::outcome::Outcome;
use graygate::runner::{RunOptions, RunOutput};

use crate::support::{Stories, assert_passes, run_with, written};

const CANARY: VersionId = VersionId(1);

/// The canary hangs from the tenth second on, and is closed for it. `router` goes into its file.
fn closing(canary: &str, router: &str) -> (RunOutput, Vec<Story>) {
    let text = format!(
        "
name: closing
duration: 60s
seed: 4
router:
  versions:
    v1: {{role: stable, model: a, api_key_env: STABLE_API_KEY}}
    v2: {{role: canary, model: b, api_key_env: CANARY_API_KEY{canary}}}
  split: {{weights: {{v1: 70, v2: 30}}}}
  timeouts: {{attempt: 5s, request: 60s}}
  judge: {{literal: {{window: 30s, min_requests: 10, every: 1s, rollback: {{error_rate: \"> 5%\"}}}}}}
{router}
traffic: {{synthetic: {{arrivals: {{poisson: 40/s}}}}}}
faults: [{{at: 10s, on: v2, kind: timeout}}]
expect:
  - rollback: {{within: 20s, user_errors: \"0\"}}
  - after_rollback: {{canary_requests: \"0\"}}
  - fallback: {{succeeds: \"100%\"}}
  - requests: {{success: \"100%\"}}
  - attribution
"
    );
    let mut stories = Stories::default();
    let scenario = written("closing", &text);
    let output = run_with(&scenario, &RunOptions::new(Engine::Virtual), &mut stories);
    (output, stories.sorted())
}

/// How many attempts were booked like this.
fn booked(stories: &[Story], outcome: Outcome) -> usize {
    let attempts = stories.iter().flat_map(|s| &s.attempts);
    let booked = attempts.filter_map(|a| a.booked);
    booked.filter(|(_, b)| b.outcome == outcome).count()
}

#[test]
fn attempts_that_are_out_may_drain() {
    let (output, stories) = closing("", "  rollback: {in_flight: drain}");
    assert_passes(&output);
    assert_eq!(booked(&stories, Outcome::Shutdown), 0);
}

#[test]
fn attempts_that_are_out_are_taken_back_if_so_configured() {
    let (output, stories) = closing("", "  rollback: {in_flight: cancel}");
    assert_passes(&output);
    assert!(
        booked(&stories, Outcome::Shutdown) > 10,
        "five seconds' worth"
    );
}

#[test]
fn those_who_wait_for_the_canary_go_to_stable_at_once() {
    let limit = ", rate_limit: {requests: 10, window: 1s, max_wait: 30s}";
    let (output, stories) = closing(limit, "  rollback: {in_flight: cancel}");
    assert_passes(&output);
    let turned_away = stories
        .iter()
        .filter(|s| s.assigned == Some(CANARY) && !s.touched(CANARY));
    assert!(turned_away.count() > 10, "two a second more than its limit");
}
