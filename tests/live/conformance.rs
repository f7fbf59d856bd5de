//! One body over both engines: the same requests meet the same versions, faults and outcomes.
//!
//! Without feedback (no rollback), everything is equal request by request. With it, the moment of the
//! rollback and the shares agree within the tolerance that each test states.

use graygate::id::{RequestKey, VersionId};
use graygate::observe::event::Claim;
use graygate::observe::meta::Engine;
use graygate::observe::story::Story;
use graygate::protocol::outcome::Outcome;
use graygate::runner::{RunOptions, RunOutput};
use graygate::scenario::Scenario;
use graygate::traffic::caller::Intent;
use graygate::verdict::result::Status;

use crate::support::{Stories, keys, live_run, run_with, shipped, written};

/// What happened to a request, as far as both engines must agree.
#[derive(Debug, PartialEq, Eq)]
struct Fate {
    key: RequestKey,
    outcome: Option<Outcome>,
    claim: Option<Claim>,
    path: Vec<(u8, Option<Outcome>, Option<u16>)>,
    tokens: Option<u32>,
    sender: Option<(u32, Intent, u32)>,
}

fn fates(stories: &[Story]) -> Vec<Fate> {
    let fate = |story: &Story| Fate {
        key: story.key,
        outcome: story.outcome(),
        claim: story.answered.map(|(_, a)| a.claim),
        path: story
            .attempts
            .iter()
            .map(|a| (a.version.0, a.truth(), a.fault))
            .collect(),
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

fn virtual_stories(scenario: &Scenario) -> (RunOutput, Vec<Story>) {
    let mut stories = Stories::default();
    let options = RunOptions::new(Engine::Virtual);
    let output = run_with(scenario, &options, &mut stories);
    (output, stories.sorted())
}

/// Runs a scenario on both engines and compares the requests one by one.
fn same_on_both(scenario: &Scenario) -> Vec<Story> {
    let (_, simulated) = virtual_stories(scenario);
    let (_, live) = live_run(scenario);
    assert_eq!(keys(&simulated), keys(&live));
    for (a, b) in fates(&simulated).iter().zip(&fates(&live)) {
        assert_eq!(a, b, "{}", scenario.name);
    }
    live
}

/// A scenario with one fault on the canary from the start and nobody who judges: no feedback. What is
/// compared does not hang on exact times, so the generator may be later than where figures count: only
/// a machine that stands still for long enough to make attempts time out spoils it.
fn with_fault(server: &str, fault: &str) -> Scenario {
    let text = format!(
        "
name: conformance
seed: 12
duration: 1500ms
router:
  versions:
    v1: {{role: stable, model: a, api_key_env: A}}
    v2: {{role: canary, model: b, api_key_env: B}}
  split: {{weights: {{v1: 60, v2: 40}}}}
  retry: {{max_retries: 1, base: 30ms}}
  timeouts: {{attempt: 400ms, request: 5s}}
  fallback: after_retries
  judge: off
upstreams:
  v1: {{mock: {{latency: {{lognormal: {{median: 8ms, p99: 30ms}}}}, server: {server}}}}}
  v2: {{mock: {{like: v1, server: {server}}}}}
traffic:
  synthetic: {{arrivals: {{constant: 100/s}}, prompts: ../fixtures/prompts.jsonl}}
faults:
  - {{on: v2, {fault}}}
expect:
  - attribution
  - generator: {{dispatch_delay_p99: \"<= 100ms\", rate_error: \"<= 10%\"}}
"
    );
    written("conformance", &text)
}

const FAULTS: [&str; 7] = [
    "kind: unauthorized, share: 30%",
    "kind: timeout, share: 20%",
    "kind: rate_limited, share: 40%, retry_after: 0s",
    "kind: model_not_found, share: 30%",
    "kind: server_error, share: 40%, status: 503",
    "kind: reset, share: 30%",
    "kind: slow, share: 30%, delay: 60ms",
];

#[test]
fn every_fault_hits_the_same_requests_the_same_way_on_both_engines() {
    for fault in FAULTS {
        let stories = same_on_both(&with_fault("native", fault));
        let hit = stories
            .iter()
            .flat_map(|s| &s.attempts)
            .filter(|a| a.fault.is_some());
        assert!(hit.count() >= 5, "{fault} hit next to nothing");
    }
}

#[test]
fn wiremock_plays_whole_replies_just_like_the_native_server() {
    for fault in FAULTS.into_iter().filter(|f| !f.contains("reset")) {
        same_on_both(&with_fault("wiremock", fault));
    }
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

/// Forced to a version by the harness, beside a split of their own: the same requests on both engines.
#[test]
fn forced_requests_meet_their_version_on_both_engines() {
    let text = "
name: forced
seed: 13
duration: 1500ms
router:
  versions:
    v1: {role: stable, model: a, api_key_env: A}
    v2: {role: canary, model: b, api_key_env: B}
  split: {weights: {v1: 60, v2: 40}}
  judge: off
traffic:
  synthetic: {arrivals: {constant: 100/s}, forced: {v1: 20%, v2: 30%}}
expect:
  - requests: {misrouted: \"0\", min_n: 40}
  - generator: {dispatch_delay_p99: \"<= 100ms\", rate_error: \"<= 10%\"}
";
    let stories = same_on_both(&written("forced", text));
    for version in [VersionId(0), VersionId(1)] {
        let is_forced = |s: &&Story| {
            s.sent
                .is_some_and(|(_, sent)| sent.intent == Intent::Forced(version))
        };
        let forced: Vec<_> = stories.iter().filter(is_forced).collect();
        assert!(forced.len() >= 15, "{} to {version:?}", forced.len());
        assert!(forced.iter().all(|s| s.first_version() == Some(version)));
    }
}

/// A run of these arrivals and callers beside a split, with nobody who judges.
fn with_traffic(latencies: (&str, &str), split: &str, synthetic: &str) -> Scenario {
    let (stable, canary) = latencies;
    let text = format!(
        "
name: callers
seed: 14
router:
  versions:
    v1: {{role: stable, model: a, api_key_env: A}}
    v2: {{role: canary, model: b, api_key_env: B}}
  split: {{weights: {{v1: 60, v2: 40}}}}
  timeouts: {{attempt: 3s, request: 6s}}
  judge: off
upstreams:
  v1: {{mock: {{latency: {stable}, server: native}}}}
  v2: {{mock: {{latency: {canary}, server: native}}}}
traffic:
  synthetic: {{{synthetic}}}
expect:
  - attribution
  - generator: {{dispatch_delay_p99: \"<= 100ms\", rate_error: \"<= 20%\"}}
"
    );
    let split = format!("  split: {{weights: {{v1: 60, v2: 40}}{split}");
    written(
        "callers",
        &text.replace("  split: {weights: {v1: 60, v2: 40}}", &split),
    )
}

/// Half of the callers hang up well before the slow canary can answer, and well after stable has.
#[test]
fn the_same_callers_hang_up_on_both_engines() {
    let synthetic = "arrivals: {poisson: 80/s}, requests: 200, cancel: {share: 50%, after: 400ms}";
    let stories = same_on_both(&with_traffic(("10ms", "1200ms"), "}", synthetic));
    let gone: Vec<_> = stories.iter().filter(|s| s.client_hung_up()).collect();
    assert!(gone.len() >= 20, "{}", gone.len());
    for story in gone {
        assert_eq!(story.first_version(), Some(VersionId(1)));
        let out = &story.attempts[0];
        assert!(out.cancelled_at.is_some());
        assert_eq!(out.outcome, Some(Outcome::ClientGone), "{story:?}");
    }
}

/// Conversations are numbered by their beginning: the same turns of the same users, with the same history.
#[test]
fn the_same_conversations_are_held_on_both_engines() {
    let synthetic = "arrivals: {sessions: {arrivals: {gamma: {rate: 30/s, cv: 2}}, turns: {lognormal: \
                     {median: 3, p99: 9}}, think: {exponential: 80ms}}}, requests: 200, \
                     users: {count: 40, premium: 20%}";
    let latency = "{lognormal: {median: 20ms, p99: 80ms}}";
    let stories = same_on_both(&with_traffic(
        (latency, latency),
        ", sticky: user}",
        synthetic,
    ));
    assert_eq!(stories.len(), 200);
    let turns = stories.windows(2).filter(|pair| {
        let sent = |i: usize| pair[i].sent.map(|(_, sent)| sent);
        let tokens = |i| sent(i).map(|s| s.input_tokens);
        tokens(1) > tokens(0) && sent(0).map(|s| s.caller) == sent(1).map(|s| s.caller)
    });
    assert!(turns.count() > 80);
    // A turn comes after the answer to the one before it.
    for pair in stories.windows(2) {
        let is_next = pair[1].sent.is_some_and(|(_, s)| s.input_tokens > 100);
        let (answered, sent) = (pair[0].answered, pair[1].sent);
        if let (true, Some((answered_at, _)), Some((sent_at, _))) = (is_next, answered, sent) {
            assert!(answered_at <= sent_at);
        }
    }
}

/// Callers of a closed loop think; tenants are pinned by a rule.
#[test]
fn tenants_and_callers_who_think_are_the_same_on_both_engines() {
    let synthetic = "arrivals: {closed: {callers: 10, think: {exponential: 50ms}}}, requests: 200, \
                     tenants: {acme: 50%, globex: 30%}";
    let rules = "}\n  routes: [{when: {tenant: globex}, to: v2}]";
    let latency = "{lognormal: {median: 20ms, p99: 80ms}}";
    let stories = same_on_both(&with_traffic((latency, latency), rules, synthetic));
    let is_pinned = |s: &&Story| {
        s.sent
            .is_some_and(|(_, sent)| sent.intent == Intent::Pinned(VersionId(1)))
    };
    let pinned: Vec<_> = stories.iter().filter(is_pinned).collect();
    assert!((35..=85).contains(&pinned.len()), "{}", pinned.len());
    assert!(
        pinned
            .iter()
            .all(|s| s.first_version() == Some(VersionId(1)))
    );
}

/// With a rollback in the loop: it comes within 0.5 s of the virtual moment, after the same number of
/// canary requests give or take 15 %, and before it the requests are the same, but for those that came
/// when the fault went on: whether it hit them is a matter of microseconds.
#[test]
fn a_rollback_comes_at_the_same_moment_on_both_engines() {
    let scenario = shipped("server-errors-above-threshold");
    let (simulated_run, simulated) = virtual_stories(&scenario);
    let (live_output, live) = live_run(&scenario);
    let decided = |output: &RunOutput| output.report.summary.rollbacks[0].decided_at.as_secs_f64();
    let (virtual_at, live_at) = (decided(&simulated_run), decided(&live_output));
    assert!(
        (virtual_at - live_at).abs() <= 0.5,
        "virtual {virtual_at} s, live {live_at} s"
    );
    let met = |stories: &[Story]| {
        let canary = scenario.experiment.router.canary;
        stories.iter().filter(|s| s.touched(canary)).count() as f64
    };
    let ratio = met(&live) / met(&simulated);
    assert!((0.85..=1.15).contains(&ratio), "{ratio}");
    // Requests that were over well before either rollback cannot know of it.
    let before = |story: &&Story| {
        let at = story.answered.map_or(f64::MAX, |(at, _)| at.as_secs_f64());
        at < virtual_at.min(live_at) - 0.3
    };
    let edges: Vec<f64> = scenario
        .experiment
        .upstreams
        .faults
        .iter()
        .flat_map(|fault| std::iter::once(fault.from).chain(fault.until))
        .map(|at| at.as_secs_f64())
        .collect();
    let is_clear = |story: &&Story| {
        let taken = story.attempts.iter().filter_map(|a| a.accepted_at);
        taken.map(|at| at.as_secs_f64()).all(|at| {
            let distance = |edge: &f64| (edge - at).abs();
            edges.iter().all(|edge| distance(edge) > 0.3)
        })
    };
    let early: Vec<Story> = simulated
        .iter()
        .filter(before)
        .filter(is_clear)
        .cloned()
        .collect();
    let same: Vec<Story> = live
        .iter()
        .filter(|s| early.iter().any(|e| e.key == s.key))
        .cloned()
        .collect();
    assert!(early.len() > 400);
    assert_eq!(fates(&early), fates(&same));
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
