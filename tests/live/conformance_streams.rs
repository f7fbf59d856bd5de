//! Streams over both engines: whoever reads one reads the same, however it breaks.

use graygate::observe::story::{Story, StreamEnd};
use graygate::protocol::outcome::Outcome;
use graygate::runner::RunOutput;
use graygate::scenario::Scenario;
use graygate::upstream::stream::Breakage;
use graygate::verdict::result::Status;

use crate::conformance::{fates, virtual_stories};
use crate::support::{gate, keys, live_run, written};

/// Streams alone, with these faults on the canary from the start.
fn with_streams(faults: &[String]) -> Scenario {
    let share = 50.0 / faults.len() as f64;
    let faults = faults.iter();
    let faults = faults.map(|fault| format!("  - {{on: v2, {fault}, share: {share}%}}\n"));
    let faults: String = faults.collect();
    let text = format!(
        "
name: conformance
seed: 14
duration: 1s
router:
  versions:
    v1: {{role: stable, model: a, api_key_env: A}}
    v2: {{role: canary, model: b, api_key_env: B}}
  split: {{weights: {{v1: 40, v2: 60}}}}
  timeouts: {{first_token: 600ms, idle: 600ms, attempt: 3s, request: 6s}}
  judge: off
upstreams:
  v1: {{mock: {{first_token: 30ms, tokens_per_second: 50, output_tokens: 8}}}}
  v2: {{mock: {{like: v1, tokens_per_chunk: 2}}}}
traffic:
  synthetic: {{arrivals: {{constant: 60/s}}, stream: 100%}}
faults:
{faults}expect:
  - attribution
  - stream
  - contract: {{drift: \"<= 1000\"}}
  - generator: {{dispatch_delay_p99: \"<= 100ms\", rate_error: \"<= 10%\"}}
"
    );
    written("conformance", &text)
}

/// Runs streams with these faults on both engines and compares them one by one.
fn same_streams(faults: &[String]) -> RunOutput {
    let scenario = with_streams(faults);
    let (_, simulated) = virtual_stories(&scenario);
    let (output, live) = live_run(&scenario);
    assert_eq!(keys(&simulated), keys(&live));
    for (a, b) in simulated.iter().zip(&live) {
        let (one, two) = (stream_fate(a), stream_fate(b));
        assert_eq!(one, two, "{faults:?}, request {}", a.key);
    }
    for (a, b) in fates(&simulated).iter().zip(&fates(&live)) {
        assert_eq!(a, b, "{faults:?}");
    }
    for (index, fault) in (0..).zip(faults) {
        let hit = live.iter().flat_map(|s| &s.attempts);
        let hit = hit.filter(|a| a.fault == Some(index)).count();
        assert!(hit >= 2, "{fault} hit next to nothing");
    }
    output
}

/// What came of a stream: how it ended, its tokens, and those that its content amounts to.
pub(crate) fn stream_fate(story: &Story) -> (Option<StreamEnd>, Option<(u32, Option<u32>)>) {
    let streamed = story.streamed();
    (story.stream_end(), streamed.map(|s| (s.tokens, s.content)))
}

/// Every way in which a stream can break, before its first token and after its fourth.
#[test]
fn every_fault_of_streams_is_the_same_on_both_engines() {
    for (how, after) in Breakage::ALL
        .into_iter()
        .flat_map(|how| [(how, 0), (how, 4)])
    {
        let fault = format!("kind: {}, after: {after}", how.name());
        let output = same_streams(std::slice::from_ref(&fault));
        // Whoever is sent a chunk twice gets it twice.
        let expected = match how {
            Breakage::Duplicate => Status::Fail,
            _ => Status::Pass,
        };
        let gate = gate(&output, "stream");
        assert_eq!(gate.status, expected, "{fault}: {gate:#?}");
    }
}

/// It is said who speaks, and then nothing more.
#[test]
fn streams_that_break_after_their_role_are_the_same_on_both_engines() {
    let faults = Breakage::ALL.map(|how| format!("kind: {}, after: role", how.name()));
    for group in faults.chunks(4) {
        same_streams(group);
    }
}

/// Faults that are not of streams alone.
const OTHERS: [&str; 14] = [
    "kind: content_filter, status: 200",
    "kind: schema_drift",
    "kind: schema_drift, shape: missing_usage",
    "kind: schema_drift, shape: metadata",
    "kind: schema_drift, shape: wrapped",
    "kind: slow_body, over: 400ms",
    "kind: empty_choices",
    "kind: malformed",
    "kind: wrong_content_type",
    "kind: redirect",
    "kind: cut",
    "kind: wrong_content_length",
    "kind: huge_body",
    "kind: server_error",
];

#[test]
fn faults_of_answers_hit_streams_the_same_way_on_both_engines() {
    for group in OTHERS.chunks(4) {
        let faults: Vec<String> = group.iter().map(|&fault| fault.to_owned()).collect();
        let output = same_streams(&faults);
        for name in ["stream", "contract", "attribution"] {
            let gate = gate(&output, name);
            assert_eq!(gate.status, Status::Pass, "{group:?}: {gate:#?}");
        }
    }
}

/// Half of the callers hang up with a part of their streams in hand.
#[test]
fn the_same_callers_leave_their_streams_on_both_engines() {
    let text = "
name: leaving
seed: 14
router:
  versions:
    v1: {role: stable, model: a, api_key_env: A}
    v2: {role: canary, model: b, api_key_env: B}
  split: {weights: {v1: 40, v2: 60}}
  judge: off
upstreams:
  v1: {mock: {first_token: 50ms, tokens_per_second: 25, output_tokens: 30}}
  v2: {mock: {like: v1}}
traffic:
  synthetic: {arrivals: {constant: 60/s}, requests: 60, stream: 100%, cancel: {share: 50%, after: 400ms}}
expect:
  - attribution
  - stream
  - generator: {dispatch_delay_p99: \"<= 100ms\", rate_error: \"<= 10%\"}
";
    let scenario = written("leaving", text);
    let (_, simulated) = virtual_stories(&scenario);
    let (output, live) = live_run(&scenario);
    for name in ["attribution", "stream"] {
        let gate = gate(&output, name);
        assert_eq!(gate.status, Status::Pass, "{gate:#?}");
    }
    assert_eq!(fates(&simulated), fates(&live));
    let gone: Vec<_> = live.iter().filter(|s| s.client_hung_up()).collect();
    assert!((15..=45).contains(&gone.len()), "{}", gone.len());
    for story in gone {
        assert_eq!(story.attempts[0].outcome, Some(Outcome::ClientGone));
        let tokens = story.streamed().expect("some of it").tokens;
        assert!((1..30).contains(&tokens), "{tokens}");
    }
}
