//! One body over both engines: the same requests meet the same versions, faults and outcomes.
//!
//! Without feedback (no rollback), everything is equal request by request. With it, the moment of the
//! rollback and the shares agree within the tolerance that each test states.

use graygate::fault::kind::FaultKind;
use graygate::id::{RequestKey, VersionId};
use graygate::observe::event::Claim;
use graygate::observe::meta::Engine;
use graygate::observe::story::{Attempt, Story};
use graygate::protocol::drift::Drift;
use graygate::protocol::outcome::Outcome;
use graygate::runner::{RunOptions, RunOutput};
use graygate::scenario::Scenario;
use graygate::traffic::caller::Intent;
use graygate::upstream::stream::Breakage;
use graygate::verdict::result::Status;

use crate::support::{Stories, keys, live_run, run_with, shipped, written};

/// What happened to a request, as far as both engines must agree.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Fate {
    key: RequestKey,
    outcome: Option<Outcome>,
    claim: Option<Claim>,
    path: Vec<Step>,
    tokens: Option<u32>,
    sender: Option<(u32, Intent, u32)>,
    drift: Option<Drift>,
}

/// What happened to an attempt: by its upstream, and by the router.
#[derive(Debug, PartialEq, Eq)]
struct Step {
    version: u8,
    truth: Option<Outcome>,
    fault: Option<u16>,
    drift: Drift,
    booked: Option<(Outcome, Drift)>,
}

fn step(attempt: &Attempt) -> Step {
    Step {
        version: attempt.version.0,
        truth: attempt.truth(),
        fault: attempt.fault,
        drift: attempt.drift,
        booked: attempt.booked.map(|(_, b)| (b.outcome, b.drift)),
    }
}

pub(crate) fn fates(stories: &[Story]) -> Vec<Fate> {
    let fate = |story: &Story| Fate {
        key: story.key,
        outcome: story.outcome(),
        claim: story.answered.map(|(_, a)| a.claim),
        path: story.attempts.iter().map(step).collect(),
        drift: story.answered.map(|(_, a)| a.drift),
        tokens: story
            .answered
            .and_then(|(_, a)| a.usage)
            .map(|u| u.completion_tokens),
        sender: story
            .sent
            .map(|(_, sent)| (sent.caller, sent.intent, sent.input_tokens)),
    };
    stories.iter().map(fate).collect()
}

pub(crate) fn virtual_stories(scenario: &Scenario) -> (RunOutput, Vec<Story>) {
    let mut stories = Stories::default();
    let options = RunOptions::new(Engine::Virtual);
    let output = run_with(scenario, &options, &mut stories);
    (output, stories.sorted())
}

/// Runs a scenario on both engines and compares the requests one by one.
pub(crate) fn same_on_both(scenario: &Scenario) -> Vec<Story> {
    let (simulated_run, simulated) = virtual_stories(scenario);
    let (live_output, live) = live_run(scenario);
    for output in [&simulated_run, &live_output] {
        let gates = &output.report.verdict.gates;
        let red = gates.iter().find(|g| g.status == Status::Fail);
        assert!(red.is_none(), "{}: {red:#?}", scenario.name);
    }
    assert_eq!(keys(&simulated), keys(&live));
    for (a, b) in fates(&simulated).iter().zip(&fates(&live)) {
        assert_eq!(a, b, "{}", scenario.name);
    }
    live
}

/// A scenario with faults on the canary from the start and nobody who judges: no feedback. What is
/// compared does not hang on exact times, so the generator may be later than where figures count: only
/// a machine that stands still for long enough to make attempts time out spoils it.
fn with_faults(server: &str, faults: &[&str]) -> Scenario {
    let faults: String = faults
        .iter()
        .map(|fault| format!("  - {{on: v2, {fault}}}\n"))
        .collect();
    let text = format!(
        "
name: conformance
seed: 12
duration: 1500ms
router:
  versions:
    v1: {{role: stable, model: a, api_key_env: A}}
    v2: {{role: canary, model: b, api_key_env: B}}
  split: {{weights: {{v1: 50, v2: 50}}}}
  retry: {{max_retries: 1, base: 30ms}}
  timeouts: {{attempt: 400ms, request: 5s}}
  fallback: after_retries
  judge: off
upstreams:
  v1: {{mock: {{latency: {{lognormal: {{median: 8ms, p99: 30ms}}}}, server: {server}}}}}
  v2: {{mock: {{like: v1, server: {server}}}}}
traffic:
  synthetic: {{arrivals: {{constant: 120/s}}, prompts: ../fixtures/prompts.jsonl}}
faults:
{faults}expect:
  - attribution
  - generator: {{dispatch_delay_p99: \"<= 100ms\", rate_error: \"<= 10%\"}}
"
    );
    written("conformance", &text)
}

fn with_fault(server: &str, fault: &str) -> Scenario {
    with_faults(server, &[fault])
}

/// Every kind, in every form that differs on the wire. Those that keep everybody out come below.
pub(crate) const FAULTS: [&str; 36] = [
    "kind: unauthorized, share: 30%",
    "kind: forbidden, share: 30%",
    "kind: forbidden, share: 30%, status: 402",
    "kind: timeout, share: 15%",
    "kind: request_timeout, share: 30%",
    "kind: rate_limited, share: 30%, retry_after: 0s",
    "kind: rate_limited, share: 30%",
    "kind: rate_limited, share: 30%, retry_after: {ms: 40ms}",
    "kind: rate_limited, share: 30%, retry_after: {body: 50ms}",
    "kind: rate_limited, share: 30%, retry_after: {date: 1s}",
    "kind: rate_limited, share: 30%, retry_after: negative",
    "kind: overloaded, share: 30%, retry_after: absurd",
    "kind: overloaded, share: 30%, status: 529",
    "kind: insufficient_quota, share: 30%",
    "kind: model_not_found, share: 30%",
    "kind: bad_request, share: 30%",
    "kind: bad_request, share: 30%, status: 413",
    "kind: bad_request, share: 30%, status: 422",
    "kind: context_length, share: 30%",
    "kind: content_filter, share: 30%",
    "kind: content_filter, share: 30%, status: 200",
    "kind: server_error, share: 30%",
    "kind: server_error, share: 30%, status: 504",
    "kind: slow, share: 30%, delay: 60ms",
    "kind: malformed, share: 30%",
    "kind: empty_choices, share: 30%",
    "kind: wrong_content_type, share: 30%",
    "kind: schema_drift, share: 30%",
    "kind: schema_drift, share: 30%, shape: missing_usage",
    "kind: schema_drift, share: 30%, shape: metadata",
    "kind: schema_drift, share: 30%, shape: wrapped",
    "kind: redirect, share: 30%",
    "kind: reset, share: 30%",
    "kind: close, share: 30%",
    "kind: cut, share: 30%",
    "kind: wrong_content_length, share: 30%",
];
const SLOW_FAULTS: [&str; 2] = [
    "kind: slow_body, share: 30%, over: 80ms",
    "kind: huge_body, share: 30%",
];
const CLOSED_DOORS: [&str; 2] = ["kind: refused", "kind: tls_failure"];

/// All kinds but those that no wiremock plays, as they are written above.
fn is_whole_reply(fault: &&str) -> bool {
    let more = [
        "reset",
        "close",
        "cut",
        "wrong_content_length",
        "slow_body",
        "huge_body",
    ];
    !more
        .iter()
        .any(|kind| fault.contains(&format!("kind: {kind},")))
}

#[test]
fn every_kind_of_fault_is_compared() {
    let all = || FAULTS.iter().chain(&SLOW_FAULTS).chain(&CLOSED_DOORS);
    for name in FaultKind::NAMES {
        let is_it = |fault: &&str| fault.split([',', ' ']).any(|word| word == name);
        // Those of streams are all compared in `conformance_streams`.
        let is_of_streams = Breakage::ALL.iter().any(|how| how.name() == name);
        assert!(is_of_streams || all().any(is_it), "{name}");
    }
}

fn every_one_hits_the_same(server: &str, faults: &[&str]) {
    for group in faults.chunks(4) {
        let stories = same_on_both(&with_faults(server, group));
        for (index, fault) in (0..).zip(group) {
            let attempts = stories.iter().flat_map(|s| &s.attempts);
            let hit = attempts.filter(|a| a.fault == Some(index)).count();
            assert!(hit >= 4, "{fault} hit next to nothing");
        }
    }
}

#[test]
fn every_fault_hits_the_same_requests_the_same_way_on_both_engines() {
    every_one_hits_the_same("native", &FAULTS);
    every_one_hits_the_same("native", &SLOW_FAULTS);
}

#[test]
fn wiremock_plays_whole_replies_just_like_the_native_server() {
    let whole: Vec<&str> = FAULTS.into_iter().filter(is_whole_reply).collect();
    every_one_hits_the_same("wiremock", &whole);
}

/// Nobody gets a connection to the canary; the canary's ledger stays empty on both engines.
#[test]
fn a_door_that_is_shut_is_the_same_on_both_engines() {
    for fault in CLOSED_DOORS {
        let stories = same_on_both(&with_fault("native", fault));
        let attempts = stories.iter().flat_map(|s| &s.attempts);
        let at_canary: Vec<_> = attempts.filter(|a| a.version == VersionId(1)).collect();
        assert!(at_canary.len() > 50);
        for attempt in at_canary {
            assert!(!attempt.was_accepted());
            assert_eq!(attempt.truth(), Some(Outcome::Connect));
        }
    }
}

/// Whether an answer is begun is read from the body by the mock, and from the prompts by the simulator.
#[test]
fn a_fault_on_begun_answers_hits_the_same_on_both_engines() {
    let text = "
name: begun
seed: 15
duration: 1500ms
router:
  versions:
    v1: {role: stable, model: a, api_key_env: A}
    v2: {role: canary, model: b, api_key_env: B}
  split: {weights: {v1: 50, v2: 50}}
  judge: off
upstreams:
  v1: {mock: {latency: 10ms, server: native}}
  v2: {mock: {latency: 10ms, server: wiremock}}
traffic:
  synthetic: {arrivals: {constant: 100/s}, prompts: ../fixtures/prefilled.jsonl}
faults: [{on: [v1, v2], kind: bad_request, when: prefilled, share: 80%}]
expect:
  - attribution
  - generator: {dispatch_delay_p99: \"<= 100ms\", rate_error: \"<= 10%\"}
";
    let stories = same_on_both(&written("begun", text));
    let is_hit = |s: &&Story| s.attempts.iter().any(|a| a.fault.is_some());
    let hits = stories.iter().filter(is_hit).count();
    // Every other prompt is begun.
    assert!((40..=75).contains(&hits), "{hits} of {}", stories.len());
}

/// A server that is gone for a while, once or again and again: whoever comes then gets no connection, and who comes
/// before or after is served, but for those at the very edge.
#[test]
fn a_door_that_opens_and_shuts_is_the_same_on_both_engines() {
    for fault in [
        "kind: refused, at: 400ms, for: 500ms",
        "kind: refused, flapping: {on: 300ms, off: 300ms}",
        "kind: refused, bursts: {mean: 200ms, gap: 300ms}",
        "kind: tls_failure, at: 400ms, for: 500ms",
        "kind: tls_failure, flapping: {on: 300ms, off: 300ms}",
    ] {
        let scenario = with_fault("native", fault);
        let (_, simulated) = virtual_stories(&scenario);
        let (output, live) = live_run(&scenario);
        assert_eq!(keys(&simulated), keys(&live));
        let first = |s: &Story| s.attempts.first().and_then(Attempt::truth);
        let pairs = simulated.iter().zip(&live);
        let differ = pairs.filter(|(a, b)| first(a) != first(b)).count();
        let refused = |stories: &[Story]| {
            let all = stories.iter().map(first);
            all.filter(|truth| *truth == Some(Outcome::Connect)).count()
        };
        let (expected, found) = (refused(&simulated), refused(&live));
        assert!(expected > 15 && found > 15, "{fault}: {expected}, {found}");
        assert!(differ <= 10, "{fault}: {differ} differ");
        // Nobody noticed: stable answered.
        for story in simulated.iter().chain(&live) {
            assert_eq!(story.outcome(), Some(Outcome::Success), "{fault}");
        }
        let hits = output.report.summary.fault_hits[0];
        assert!(hits >= found as u64, "{fault}: {hits} of {found}");
    }
}

/// A mock that speaks TLS, because that is to fail for a while, fails in every other way as it does without.
#[test]
fn what_breaks_behind_tls_breaks_in_front_of_it() {
    let faults = [
        "kind: tls_failure, at: 1300ms, for: 100ms",
        "kind: reset, share: 20%",
        "kind: cut, share: 20%",
        "kind: close, share: 10%",
        "kind: server_error, share: 20%",
    ];
    let scenario = with_faults("native", &faults);
    let (_, simulated) = virtual_stories(&scenario);
    let (_, live) = live_run(&scenario);
    let first = |s: &Story| s.attempts.first().and_then(Attempt::truth);
    let pairs = simulated.iter().zip(&live);
    let differ = pairs.filter(|(a, b)| first(a) != first(b)).count();
    assert!(differ <= 6, "{differ} differ");
    for outcome in [Outcome::Reset, Outcome::Truncated, Outcome::Connect] {
        let met = live.iter().filter(|s| first(s) == Some(outcome)).count();
        assert!(met >= 4, "{outcome:?}: {met}");
    }
}

/// Patterns in time do not hang on the traffic, so both engines meet the same requests, but for those
/// at the very edge.
#[test]
fn patterns_hit_the_same_requests_on_both_engines() {
    for pattern in [
        "flapping: {on: 400ms, off: 300ms}",
        "bursts: {mean: 200ms, gap: 300ms}",
        "ramp: {from: 0%, to: 90%}, for: 1500ms",
    ] {
        let scenario = with_fault("native", &format!("kind: server_error, {pattern}"));
        let (_, simulated) = virtual_stories(&scenario);
        let (_, live) = live_run(&scenario);
        let hit = |s: &&Story| s.attempts.first().is_some_and(|a| a.fault.is_some());
        let pairs = simulated.iter().zip(&live);
        let differ = pairs.filter(|(a, b)| hit(a) != hit(b)).count();
        let hits = simulated.iter().filter(hit).count();
        let missed = simulated.len() - hits;
        assert!(hits > 20 && missed > 20, "{pattern}: {hits}");
        assert!(differ <= 8, "{pattern}: {differ} of {}", simulated.len());
    }
}

/// Whoever meets it at one version meets it at the other, on both engines.
#[test]
fn an_outage_of_both_versions_hits_the_same_requests_on_both_engines() {
    let text = "
name: outage
seed: 15
duration: 1500ms
router:
  versions:
    v1: {role: stable, model: a, api_key_env: A}
    v2: {role: canary, model: b, api_key_env: B}
  split: {weights: {v1: 50, v2: 50}}
  retry: {max_retries: 0}
  timeouts: {attempt: 400ms, request: 5s}
  judge: off
upstreams:
  v1: {mock: {latency: 10ms, server: native}}
  v2: {mock: {latency: 10ms, server: native}}
traffic:
  synthetic: {arrivals: {constant: 100/s}}
faults: [{on: [v1, v2], kind: server_error, share: 40%, correlated: true}]
expect:
  - attribution
  - generator: {dispatch_delay_p99: \"<= 100ms\", rate_error: \"<= 10%\"}
";
    let stories = same_on_both(&written("outage", text));
    let (mut lost, mut tried_both) = (0, 0);
    for story in &stories {
        let first = story.attempts.first().expect("an attempt");
        let is_hit = first.fault.is_some();
        lost += usize::from(is_hit);
        tried_both += usize::from(story.attempts.len() > 1);
        assert!(story.attempts.iter().all(|a| a.fault.is_some() == is_hit));
    }
    assert!(
        (40..=80).contains(&lost) && tried_both > 10,
        "{lost}, {tried_both}"
    );
}

#[test]
fn a_healthy_run_is_the_same_on_both_engines() {
    for name in [
        "healthy-canary",
        "stress-test-20-requests",
        "replay-azure-sample",
    ] {
        same_on_both(&shipped(name));
    }
}

/// Which server played each version's upstream, by the report.
fn servers(output: &RunOutput) -> Vec<&str> {
    let versions = output.report.meta.versions.values();
    versions.map(|v| v.upstream).collect()
}

#[test]
fn the_report_says_which_server_played_each_upstream() {
    let asked = with_fault("wiremock", "kind: server_error, share: 10%");
    let (output, _) = live_run(&asked);
    assert_eq!(servers(&output), ["wiremock", "wiremock"]);
    // Unset: wiremock where it can play the fault, else the native server.
    let text = "
name: choice
duration: 2s
router: ../fixtures/routers/gray-30-fast.yaml
traffic: {synthetic: {arrivals: {constant: 100/s}}}
faults: [{on: v2, kind: reset, share: 10%}]
expect:
  - requests: {success: \">= 90%\"}
  - generator: {dispatch_delay_p99: \"<= 100ms\", rate_error: \"<= 10%\"}
";
    let (output, _) = live_run(&written("choice", text));
    assert_eq!(servers(&output), ["wiremock", "native"]);
    assert_ne!(output.report.verdict.status, Status::Invalid);
}
