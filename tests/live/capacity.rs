//! Upstreams that do only so much at once: those who wait, wait in line, on both engines.

use graygate::observe::meta::Engine;
use graygate::observe::story::Story;
use graygate::protocol::outcome::Outcome;
use graygate::runner::RunOptions;
use graygate::scenario::Scenario;

use crate::support::{Stories, live_run, run_with, written};

fn stories(scenario: &Scenario) -> Vec<Story> {
    let mut stories = Stories::default();
    run_with(scenario, &RunOptions::new(Engine::Virtual), &mut stories);
    stories.sorted()
}

fn scenario(arrivals: &str, mock: &str, stream: &str) -> Scenario {
    let text = format!(
        "
name: capacity
seed: 4
duration: 3s
router:
  versions:
    v1: {{role: stable, model: a, api_key_env: A}}
    v2: {{role: canary, model: b, api_key_env: B}}
  split: {{weights: {{v1: 100, v2: 0}}}}
  retry: {{max_retries: 0}}
  timeouts: {{attempt: 20s, request: 30s}}
  judge: off
upstreams:
  v1: {{mock: {{{mock}}}}}
  v2: {{mock: {{latency: 5ms}}}}
traffic:
  synthetic: {{arrivals: {arrivals}, stream: {stream}}}
expect:
  - attribution
  - generator: {{dispatch_delay_p99: \"<= 100ms\", rate_error: \"<= 10%\"}}
"
    );
    written("capacity", &text)
}

/// Seconds from a request to its first token, or to its answer.
fn waits(stories: &[Story]) -> Vec<f64> {
    let served = stories
        .iter()
        .filter(|s| s.outcome() == Some(Outcome::Success));
    let wait = |story: &Story| {
        let (sent, _) = story.sent?;
        let (at, answered) = story.answered.as_ref()?;
        let first = answered.streamed.map_or(*at, |s| s.first_token);
        Some(first.since(sent).as_secs_f64())
    };
    served.filter_map(wait).collect()
}

fn refused(stories: &[Story], outcome: Outcome) -> usize {
    stories
        .iter()
        .filter(|s| s.outcome() == Some(outcome))
        .count()
}

/// One place, an answer every 20 ms, a request every 10 ms: request k (from 0) is answered at 20 (k + 1) ms.
#[test]
fn whoever_waits_is_served_in_the_order_they_came() {
    let mock = "latency: 20ms, capacity: {concurrent: 1, queue: 1000}";
    let stories = stories(&scenario("{constant: 100/s}", mock, "0%"));
    assert_eq!(stories.len(), 300);
    let mut by_time = stories.clone();
    by_time.sort_by_key(|s| s.sent.map(|(at, _)| at));
    for (k, story) in by_time.iter().enumerate() {
        let (at, _) = story.answered.as_ref().unwrap();
        let due = 0.020 * (k + 1) as f64;
        assert!((at.as_secs_f64() - due).abs() < 1e-6, "{k}: {at}");
    }
}

#[test]
fn without_a_queue_whoever_finds_no_place_is_refused_as_configured() {
    for (when_full, outcome) in [
        ("503", Outcome::Overloaded),
        ("429, retry_after: 1s", Outcome::RateLimited),
    ] {
        let mock =
            format!("latency: 20ms, capacity: {{concurrent: 1, queue: 0, when_full: {when_full}}}");
        let stories = stories(&scenario("{constant: 100/s}", &mock, "0%"));
        // Every 10 ms one comes and each takes 20 ms; at the moment an answer ends the place is free again.
        assert_eq!(refused(&stories, outcome), 150);
        assert!(
            waits(&stories)
                .iter()
                .all(|wait| (wait - 0.020).abs() < 1e-6)
        );
    }
}

/// A burst that nobody waits out: those who give up leave the line, so that soon after it there is no line.
#[test]
fn whoever_gives_up_leaves_the_line() {
    let mock = "latency: 20ms, capacity: {concurrent: 1, queue: 1000}";
    let burst = "{stages: [{constant: 200/s, for: 1s}, {constant: 5/s, for: 2s}]}";
    let mut scenario = scenario(burst, mock, "0%");
    let router = std::sync::Arc::make_mut(&mut scenario.experiment.router);
    router.timeouts.attempt = std::time::Duration::from_millis(203);
    // Second tries have less time left than the first ones before them: they leave while they wait.
    router.timeouts.request = std::time::Duration::from_millis(300);
    router.retry.max_retries = 1;
    router.retry.base = std::time::Duration::from_millis(1);
    let stories = stories(&scenario);
    let (late, early): (Vec<_>, Vec<_>) = stories.into_iter().partition(|story| {
        let sent = story.sent.map(|(at, _)| at.as_secs_f64());
        sent.is_some_and(|at| at >= 1.5)
    });
    assert!(waits(&early).len() < 100, "most of the burst has no answer");
    assert!(waits(&early).iter().all(|wait| *wait <= 0.3));
    let attempts = early.iter().flat_map(|s| &s.attempts);
    let free = attempts.filter(|a| a.usage.is_some_and(|u| u.completion_tokens == 0));
    assert!(
        free.count() > 0,
        "whoever leaves before their turn costs nothing"
    );
    assert!(late.len() >= 6);
    assert_eq!(waits(&late).len(), late.len());
    assert!(waits(&late).iter().all(|wait| (wait - 0.020).abs() < 1e-6));
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// With feedback both engines agree within a tolerance: the number of those who are refused within 5 % of all
/// requests, and the mean wait to the first token within 10 % and 10 ms.
#[test]
fn a_busy_upstream_is_as_busy_on_both_engines() {
    let mock = "first_token: 60ms, tokens_per_second: 500, output_tokens: 20, \
                capacity: {concurrent: 5, queue: 12, when_full: 503}";
    // Five places of 98 ms serve 51 a second of 90.
    let scenario = scenario("{poisson: 90/s}", mock, "50%");
    let simulated = stories(&scenario);
    let (output, live) = live_run(&scenario);
    assert_eq!(simulated.len(), live.len());
    let [a, b] = [&simulated, &live].map(|s| refused(s, Outcome::Overloaded) as f64);
    let all = simulated.len() as f64;
    assert!(a / all > 0.2, "{a} of {all} is not busy");
    assert!(
        (a - b).abs() <= 0.05 * all,
        "refused: virtual {a}, live {b}, of {all}"
    );
    let [a, b] = [&simulated, &live].map(|s| mean(&waits(s)));
    assert!(a > 0.2, "the queue makes them wait: {a}");
    assert!(
        (a - b).abs() <= 0.1 * a + 0.01,
        "wait: virtual {a} s, live {b} s"
    );
    let servers: Vec<_> = output
        .report
        .meta
        .versions
        .values()
        .map(|v| v.upstream)
        .collect();
    assert_eq!(servers[0], "native", "wiremock keeps no places");
}
