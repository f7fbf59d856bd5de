//! What every fault is, at every stage of an answer: for the gateway that tried the upstream, and for the caller of
//! the gateway. Both read by one classifier; `tests/live/conformance.rs` compares the wire with this request by request.

use graygate::fault::kind::FaultKind;
use graygate::observe::meta::Engine;
use graygate::protocol::outcome::Outcome::{
    self, BadRequest, Connect, Forbidden, Malformed, ModelNotFound, Overloaded, QuotaExhausted,
    RateLimited, Reset, ServerError, StreamError, Success, Timeout, Truncated, Unauthorized,
};
use graygate::runner::RunOptions;

use crate::support::{Stories, run_with, written};

/// For the gateway, and for its caller.
type Class = (Outcome, Outcome);

/// A fault, with its class for a whole answer, for a stream before its first token (whether it is said who speaks or
/// not), and for one after its fourth token.
type Line = (&'static str, Class, Class, Class);

/// It cannot happen there, so nothing does.
const NONE: Class = (Success, Success);

/// An answer in place of the model's: the same whatever was asked for.
const fn instead(kind: &'static str, gateway: Outcome, caller: Outcome) -> Line {
    (
        kind,
        (gateway, caller),
        (gateway, caller),
        (gateway, caller),
    )
}

/// A stream that breaks. After its first token every failure is an error in the stream for the caller.
const fn stream(kind: &'static str, gateway: Outcome, before: Outcome) -> Line {
    (kind, NONE, (gateway, before), (gateway, StreamError))
}

/// What a gateway cannot know it cannot tell.
const UNNOTICED: Line = ("stream_duplicate", NONE, NONE, NONE);

const TABLE: [Line; 37] = [
    instead("unauthorized", Unauthorized, Unauthorized),
    instead("forbidden", Forbidden, Forbidden),
    instead("timeout", Timeout, Timeout),
    instead("request_timeout", Timeout, Timeout),
    instead("rate_limited", RateLimited, RateLimited),
    instead("insufficient_quota", QuotaExhausted, QuotaExhausted),
    instead("model_not_found", ModelNotFound, ModelNotFound),
    instead("bad_request", BadRequest, BadRequest),
    instead("context_length", BadRequest, BadRequest),
    instead("content_filter", BadRequest, BadRequest),
    instead("overloaded", Overloaded, Overloaded),
    instead("server_error", ServerError, ServerError),
    instead("reset", Reset, ServerError),
    instead("close", Reset, ServerError),
    instead("slow, delay: 50ms", Success, Success),
    instead("refused", Connect, ServerError),
    instead("tls_failure", Connect, ServerError),
    instead("malformed", Malformed, ServerError),
    instead("empty_choices", Malformed, ServerError),
    instead("wrong_content_type", Malformed, ServerError),
    instead("schema_drift", Success, Success),
    instead("cut", Truncated, ServerError),
    instead("wrong_content_length", Malformed, ServerError),
    instead("slow_body, over: 50ms", Success, Success),
    instead("huge_body", Malformed, ServerError),
    instead("redirect", Malformed, ServerError),
    stream("stream_close", Truncated, ServerError),
    stream("stream_cut", Truncated, ServerError),
    stream("stream_reset", Reset, ServerError),
    stream("stream_mid_character", Truncated, ServerError),
    stream("stream_mid_string", Truncated, ServerError),
    stream("stream_stall", Timeout, Timeout),
    // All of it comes but its end, whenever that is: the caller has had it.
    (
        "stream_no_done",
        NONE,
        (Truncated, StreamError),
        (Truncated, StreamError),
    ),
    stream("stream_error", StreamError, ServerError),
    stream("stream_malformed", Malformed, ServerError),
    stream("stream_splice", Malformed, ServerError),
    UNNOTICED,
];

/// How all requests of a run end that meet this fault, first at the gateway, then for their callers.
fn class(fault: &str, share_of_streams: &str) -> Class {
    let text = format!(
        "
name: classes
seed: 5
router:
  versions:
    v1: {{role: stable, model: a, api_key_env: A}}
    v2: {{role: canary, model: b, api_key_env: B}}
  split: {{weights: {{v1: 50, v2: 50}}}}
  retry: {{max_retries: 0}}
  timeouts: {{first_token: 1s, idle: 1s, attempt: 3s, request: 20s}}
  judge: off
upstreams:
  v1: {{mock: {{first_token: 20ms, tokens_per_second: 100, output_tokens: 8}}}}
  v2: {{mock: {{like: v1}}}}
traffic: {{synthetic: {{arrivals: {{closed: 1}}, requests: 12, stream: {share_of_streams}}}}}
faults: [{{on: [v1, v2], kind: {fault}}}]
expect: [attribution]
"
    );
    let mut stories = Stories::default();
    let options = RunOptions::new(Engine::Virtual);
    run_with(&written("classes", &text), &options, &mut stories);
    let classes = stories.sorted().into_iter().map(|story| {
        let last = story.attempts.last().expect("an attempt");
        let (_, booked) = last.booked.expect("the router's word");
        assert_eq!(last.truth(), Some(booked.outcome), "{fault}");
        (booked.outcome, story.outcome().expect("an end"))
    });
    let classes: Vec<Class> = classes.collect();
    assert_eq!(classes.len(), 12, "{fault}");
    assert!(
        classes.iter().all(|one| *one == classes[0]),
        "{fault}: {classes:?}"
    );
    classes[0]
}

#[test]
fn every_fault_has_its_class_at_every_stage() {
    let first_word = |fault: &'static str| fault.split(',').next().unwrap_or(fault);
    let mut named: Vec<&str> = TABLE.iter().map(|line| first_word(line.0)).collect();
    let mut known = FaultKind::NAMES.to_vec();
    named.sort_unstable();
    known.sort_unstable();
    assert_eq!(named, known);
    for (fault, whole, before, after) in TABLE {
        let at = |point: &str| match fault.starts_with("stream_") {
            true => format!("{fault}, after: {point}"),
            false => fault.to_owned(),
        };
        for (point, share, expected) in [
            ("0", "0%", whole),
            ("0", "100%", before),
            ("role", "100%", before),
            ("4", "100%", after),
        ] {
            let found = class(&at(point), share);
            assert_eq!(
                found, expected,
                "{fault} after {point} with {share} streams"
            );
        }
    }
}
