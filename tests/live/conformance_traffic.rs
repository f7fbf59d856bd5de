//! Callers over both engines: whoever is forced, hangs up, thinks or holds a conversation does so on both; and a rollback
//! comes at the same moment.

use graygate::id::VersionId;
use graygate::observe::story::Story;
use graygate::protocol::outcome::Outcome;
use graygate::runner::RunOutput;
use graygate::scenario::Scenario;
use graygate::traffic::caller::Intent;

use crate::conformance::{fates, same_on_both, virtual_stories};
use crate::support::{live_run, shipped, written};

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
