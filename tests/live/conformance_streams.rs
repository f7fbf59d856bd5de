//! Streams over both engines: whoever reads one reads the same, however it breaks.

use graygate::observe::story::{Story, StreamEnd};
use graygate::scenario::Scenario;
use graygate::upstream::stream::Breakage;
use graygate::verdict::result::Status;

use crate::conformance::{fates, virtual_stories};
use crate::support::{gate, keys, live_run, written};

/// Streams alone, with one fault on the canary from the start.
fn with_streams(fault: &str) -> Scenario {
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
  - {{on: v2, {fault}, share: 50%}}
expect:
  - attribution
  - stream
  - generator: {{dispatch_delay_p99: \"<= 100ms\", rate_error: \"<= 10%\"}}
"
    );
    written("conformance", &text)
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
        let scenario = with_streams(&fault);
        let (_, simulated) = virtual_stories(&scenario);
        let (output, live) = live_run(&scenario);
        assert_eq!(keys(&simulated), keys(&live));
        for (a, b) in simulated.iter().zip(&live) {
            let (one, two) = (stream_fate(a), stream_fate(b));
            assert_eq!(one, two, "{fault}, request {}", a.key);
        }
        for (a, b) in fates(&simulated).iter().zip(&fates(&live)) {
            assert_eq!(a, b, "{fault}");
        }
        let hit = live.iter().flat_map(|s| &s.attempts);
        let hit = hit.filter(|a| a.fault.is_some()).count();
        assert!(hit >= 5, "{fault} hit next to nothing");
        // Whoever is sent a chunk twice gets it twice.
        let expected = match how {
            Breakage::Duplicate => Status::Fail,
            _ => Status::Pass,
        };
        let gate = gate(&output, "stream");
        assert_eq!(gate.status, expected, "{fault}: {gate:#?}");
    }
}
