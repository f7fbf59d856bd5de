//! What a caller gets of an upstream that drifts from the OpenAI shape.

use serde_json::json;
use wiremock::ResponseTemplate;

use crate::upstreams::{Got, Scripted};

const CHOICES: &str = r#""choices": [{"index": 0, "message": {"role": "assistant", "content": null,
    "tool_calls": [{"id": "t", "type": "function", "function": {"name": "f", "arguments": "{\"x\": 1.0}"}}]},
    "finish_reason": "tool_calls", "x_score": 1.50e-7}]"#;
const HEAD: &str =
    r#""id": "c-1", "object": "chat.completion", "created": 1795330800, "model": "gpt-4.1""#;

fn ask(body: &str) -> Got {
    let got = Scripted::answering(body).ask();
    assert_eq!(got.header("x-version"), Some("v1"));
    let length = got.body.len().to_string();
    assert_eq!(got.header("content-length"), Some(length.as_str()));
    got
}

#[test]
fn a_standard_answer_arrives_byte_for_byte() {
    let body = format!(
        r#" {{ {HEAD}, {CHOICES}, "usage": {{ "prompt_tokens": 4, "completion_tokens": 5, "total_tokens": 9,
        "completion_tokens_details": {{"reasoning_tokens": 0}} }}, "x_more": 10000000000000000000001 }} "#
    );
    let got = ask(&body);
    assert_eq!((got.status, &got.body[..]), (200, body.as_bytes()));
}

/// The articles' v2: it counts in a word of its own, and tells its latency.
#[test]
fn a_drifting_versions_usage_arrives_in_openais_words() {
    let drifted = |usage: &str| {
        format!(r#"{{{HEAD}, {CHOICES}, "usage": {usage}, "metadata": {{"latency": 45}}}}"#)
    };
    for (theirs, ours) in [
        (
            r#"{"prompt_tokens": 4, "completion_tokens": 5, "total_tokens": 9, "tokens_consumed": 9}"#,
            r#"{"prompt_tokens": 4,"completion_tokens": 5,"total_tokens": 9}"#,
        ),
        (
            r#"{"tokens_consumed": 9, "prompt_tokens": 4, "completion_tokens": 5}"#,
            r#"{"prompt_tokens": 4,"completion_tokens": 5,"total_tokens":9}"#,
        ),
        (r#"{"tokens_consumed": 9}"#, r#"{"total_tokens":9}"#),
    ] {
        let got = ask(&drifted(theirs));
        assert_eq!(got.status, 200);
        assert_eq!(String::from_utf8_lossy(&got.body), drifted(ours));
        assert_eq!(got.json()["metadata"], json!({"latency": 45}));
    }
}

#[test]
fn a_wrapped_answer_arrives_without_its_envelope() {
    let usage = r#""usage": {"prompt_tokens": 4, "completion_tokens": 5, "total_tokens": 9}"#;
    let inner = format!("{{{HEAD}, {CHOICES}, {usage}}}");
    let got = ask(&format!(
        r#"{{"code": 0, "data": {inner}, "metadata": {{"latency": 45}}}}"#
    ));
    assert_eq!((got.status, &got.body[..]), (200, inner.as_bytes()));
}

#[test]
fn what_is_missing_is_not_made_up() {
    let body = format!("{{{CHOICES}}}");
    let got = ask(&body);
    assert_eq!((got.status, &got.body[..]), (200, body.as_bytes()));
}

#[test]
fn an_answer_without_choices_is_malformed_however_it_is_wrapped() {
    for body in [
        r#"{"choices": []}"#,
        r#"{"data": {"choices": []}}"#,
        r#"{"data": {"choices": [{"message": {}}]}, "error": {"message": "no"}}"#,
    ] {
        let got = ask(body);
        assert_eq!(got.status, 502, "{body}");
        assert_eq!(got.json()["error"]["code"], "upstream_malformed");
    }
}

#[test]
fn a_refusal_arrives_as_it_is() {
    let body = r#"{"data": {"choices": [{"message": {}}]}, "usage": {"tokens_consumed": 9}}"#;
    let answer = ResponseTemplate::new(400).set_body_raw(body, "application/json");
    let got = Scripted::new(answer).ask();
    assert_eq!((got.status, &got.body[..]), (400, body.as_bytes()));
}
