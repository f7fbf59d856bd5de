//! Upstreams that answer as a log says: both engines give the same answers to the same requests.

use graygate::observe::summary::RecordedAnswers;
use graygate::protocol::outcome::Outcome;
use graygate::runner::RunOutput;
use graygate::scenario::Scenario;
use graygate::verdict::result::Status;

use crate::conformance::{fates, virtual_stories};
use crate::support::{keys, live_run, load};

/// Every outcome there is, several times, as whole answers and as streams, some of them tried again; a tenth of them without any
/// word of how they were answered.
fn log() -> String {
    let line = |n: usize| {
        let outcome = match n % 3 {
            0 => Outcome::ALL[n / 3 % Outcome::ALL.len()],
            _ => Outcome::Success,
        };
        let told = match n % 10 {
            9 => String::new(),
            _ => format!(
                ",\"outcome\":\"{}\",\"latency_ms\":{},\"first_token_ms\":6",
                outcome.name(),
                10 + n % 7
            ),
        };
        format!(
            "{{\"at_s\":{},\"input_tokens\":5,\"output_tokens\":{}{},\"stream\":{}}}",
            n as f64 * 0.006,
            1 + n % 4,
            told,
            n.is_multiple_of(2)
        )
    };
    let lines: Vec<String> = (0..240).map(line).collect();
    format!("{{\"format\":\"graygate.log/1\"}}\n{}\n", lines.join("\n"))
}

const SCENARIO: &str = "
name: recorded
seed: 5
router:
  versions:
    v1: {role: stable, model: a, api_key_env: A}
    v2: {role: canary, model: b, api_key_env: B}
  split: {weights: {v1: 50, v2: 50}}
  retry: {max_retries: 1, base: 20ms}
  timeouts: {attempt: 1500ms, request: 8s}
  fallback: after_retries
  judge: off
upstreams:
  v1: {recorded: {otherwise: {latency: 9ms}}}
  v2: CANARY
traffic:
  replay: {log: log.jsonl}
expect:
  - attribution
  - generator: {dispatch_delay_p99: \"<= 100ms\", rate_error: \"<= 10%\"}
";

fn scenario(canary: &str) -> Scenario {
    let folder = tempfile::tempdir().unwrap();
    // The log is read again while it is replayed.
    let folder = folder.keep();
    std::fs::write(folder.join("log.jsonl"), log()).unwrap();
    let path = folder.join("recorded.yaml");
    std::fs::write(&path, SCENARIO.replace("CANARY", canary)).unwrap();
    load(&path)
}

fn recorded(output: &RunOutput) -> RecordedAnswers {
    output.report.summary.recorded
}

fn same_on_both(canary: &str) -> RecordedAnswers {
    let scenario = scenario(canary);
    let (simulated_run, simulated) = virtual_stories(&scenario);
    let (live_output, live) = live_run(&scenario);
    for output in [&simulated_run, &live_output] {
        let gates = &output.report.verdict.gates;
        let red = gates.iter().find(|g| g.status == Status::Fail);
        assert!(red.is_none(), "{red:#?}");
    }
    assert_eq!((keys(&simulated), simulated.len()), (keys(&live), 240));
    for (a, b) in fates(&simulated).iter().zip(&fates(&live)) {
        assert_eq!(a, b);
    }
    let outcomes = |output: &RunOutput| {
        let versions = output.report.summary.versions.values();
        versions.map(|v| v.attempts.clone()).collect::<Vec<_>>()
    };
    assert_eq!(outcomes(&simulated_run), outcomes(&live_output));
    assert_eq!(recorded(&simulated_run), recorded(&live_output));
    let folder = scenario.path.parent().unwrap();
    std::fs::remove_dir_all(folder).unwrap();
    recorded(&live_output)
}

#[test]
fn stable_answers_as_the_log_says_on_both_engines() {
    let answers = same_on_both("{mock: {latency: 8ms}}");
    assert!(
        answers.from_log > 90 && answers.from_profile > 15,
        "{answers:?}"
    );
}

#[test]
fn a_canary_answers_like_a_log_on_both_engines() {
    let answers = same_on_both("{recorded: {log: log.jsonl}}");
    assert!(
        answers.from_log > 200 && answers.from_profile > 10,
        "{answers:?}"
    );
    let answers = same_on_both("{mock: {like: v1, latency_factor: 1.5}}");
    assert!(
        answers.from_log > 200 && answers.from_profile > 20,
        "{answers:?}"
    );
}
