//! The OpenAI shapes that travel: chat completions, error envelopes, model lists.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::outcome::{AnswerFacts, Outcome, classify};

/// Tokens of one answer, as the upstream states them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Tokens read.
    pub prompt_tokens: u32,
    /// Tokens written.
    pub completion_tokens: u32,
}

/// An error in OpenAI's envelope: `{"error": {message, type, param, code}}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErrorReply {
    /// HTTP status.
    pub status: u16,
    /// For people.
    pub message: String,
    /// `error.type`: the family.
    pub kind: &'static str,
    /// `error.code`: for programs.
    pub code: &'static str,
}

impl ErrorReply {
    /// The JSON body.
    pub fn body(&self) -> String {
        json!({"error": {
            "message": self.message, "type": self.kind, "param": null, "code": self.code,
        }})
        .to_string()
    }
}

/// A chat completion as a mock upstream writes it.
#[derive(Clone, Debug)]
pub struct Completion<'a> {
    /// `id`, unique per answer.
    pub id: String,
    /// `model`: the one that answered.
    pub model: &'a str,
    /// `choices[0].message.content`.
    pub content: &'a str,
    /// `usage`.
    pub usage: Usage,
}

impl Completion<'_> {
    /// The JSON body.
    pub fn body(&self) -> String {
        json!({
            "id": self.id,
            "object": "chat.completion",
            "created": 0,
            "model": self.model,
            "choices": [{
                "index": 0,
                "message": {"role": "assistant", "content": self.content},
                "finish_reason": "stop",
            }],
            "usage": {
                "prompt_tokens": self.usage.prompt_tokens,
                "completion_tokens": self.usage.completion_tokens,
                "total_tokens":
                    u64::from(self.usage.prompt_tokens) + u64::from(self.usage.completion_tokens),
            },
        })
        .to_string()
    }
}

/// The body of `GET /v1/models`.
pub fn model_list<'a>(models: impl IntoIterator<Item = &'a str>) -> String {
    let data: Vec<_> = models
        .into_iter()
        .map(|id| json!({"id": id, "object": "model", "created": 0, "owned_by": "graygate"}))
        .collect();
    json!({"object": "list", "data": data}).to_string()
}

/// A complete HTTP answer to a chat request.
#[derive(Clone, Copy, Debug)]
pub struct HttpAnswer<'a> {
    /// HTTP status.
    pub status: u16,
    /// The `Content-Type` header, when there is one.
    pub content_type: Option<&'a str>,
    /// The body.
    pub body: &'a [u8],
}

/// What a complete answer means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reading {
    /// How the attempt ended.
    pub outcome: Outcome,
    /// The tokens, when the answer states them.
    pub usage: Option<Usage>,
    /// The answer's `id`, when it has one.
    pub id: Option<String>,
    /// The model that the answer names, when it does.
    pub model: Option<String>,
    /// The text of its only choice, when it has one alone and that has a text.
    pub text: Option<String>,
}

/// `usage.total_tokens` of an answer or of a chunk: some servers count there what they count nowhere else.
pub fn total_tokens(body: &[u8]) -> Option<u64> {
    let has_it = body
        .windows(14)
        .any(|at| at == b"\"total_tokens\"".as_slice());
    let body: Value = serde_json::from_slice(has_it.then_some(body)?).ok()?;
    body.get("usage")?.get("total_tokens")?.as_u64()
}

/// The `id` of an answer, when it has one.
pub fn answer_id(body: &[u8]) -> Option<String> {
    let body: Value = serde_json::from_slice(body).ok()?;
    body.get("id")?.as_str().map(str::to_owned)
}

/// Reads a complete HTTP answer to a chat request. Only what makes it a completion must have its
/// form; a version with another shape of usage, say, still counts as having answered.
pub fn read(answer: HttpAnswer<'_>) -> Reading {
    let body: Value = serde_json::from_slice(answer.body).unwrap_or_default();
    let text = |name: &str| body.get(name).and_then(Value::as_str).map(str::to_owned);
    Reading {
        outcome: outcome(answer.status, answer.content_type, &body),
        usage: body
            .get("usage")
            .and_then(|usage| Usage::deserialize(usage).ok()),
        id: text("id"),
        model: text("model"),
        text: only_text(&body).map(str::to_owned),
    }
}

fn only_text(body: &Value) -> Option<&str> {
    match body.get("choices")?.as_array()?.as_slice() {
        [choice] => choice.get("message")?.get("content")?.as_str(),
        _ => None,
    }
}

/// What a complete answer means whose body has been read already.
pub fn outcome(status: u16, content_type: Option<&str>, body: &Value) -> Outcome {
    let error = body.get("error").filter(|error| !error.is_null());
    classify(AnswerFacts {
        status,
        // Some servers send a number here; the classifier knows only names.
        error_code: error.and_then(|e| e.get("code")).and_then(Value::as_str),
        is_completion: is_json(content_type) && is_completion(body),
    })
}

/// An answer without a type is given the benefit of the doubt: its body says what it is.
pub(super) fn is_json(content_type: Option<&str>) -> bool {
    content_type.is_none_or(|full| {
        let essence = full.split(';').next().unwrap_or_default().trim();
        let ends_with = |end: &str| {
            let at = essence.len().checked_sub(end.len());
            let tail = at.and_then(|at| essence.get(at..));
            tail.is_some_and(|tail| tail.eq_ignore_ascii_case(end))
        };
        essence.eq_ignore_ascii_case("application/json") || ends_with("+json")
    })
}

/// Is this a chat completion? It has choices, and no error. The one word on it: what is counted as a
/// success and what is put into shape must be the same answers.
pub(super) fn is_completion(body: &Value) -> bool {
    body.get("error").is_none_or(Value::is_null) && has_choices(body)
}

/// At least one choice, each with a message.
fn has_choices(body: &Value) -> bool {
    let has_message = |choice: &Value| choice.get("message").is_some_and(Value::is_object);
    let choices = body.get("choices").and_then(Value::as_array);
    choices.is_some_and(|choices| !choices.is_empty() && choices.iter().all(has_message))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_json(status: u16, body: &[u8]) -> Reading {
        let content_type = Some("application/json; charset=utf-8");
        read(HttpAnswer {
            status,
            content_type,
            body,
        })
    }

    #[test]
    fn a_completion_reads_back_as_success_with_its_usage() {
        let usage = Usage {
            prompt_tokens: 7,
            completion_tokens: 3,
        };
        let body = Completion {
            id: "chatcmpl-1".to_owned(),
            model: "m",
            content: "hi \"there\"",
            usage,
        }
        .body();
        let reading = read_json(200, body.as_bytes());
        assert_eq!(reading.outcome, Outcome::Success);
        assert_eq!(reading.usage, Some(usage));
        assert_eq!(reading.id.as_deref(), Some("chatcmpl-1"));
        assert_eq!(reading.model.as_deref(), Some("m"));
        let drifted = br#"{"choices":[{"message":{}}],"usage":{"tokens_consumed":9}}"#;
        let reading = read_json(200, drifted);
        assert_eq!((reading.outcome, reading.usage), (Outcome::Success, None));
    }

    #[test]
    fn a_200_that_is_no_completion_is_malformed() {
        for body in [
            "",
            "{}",
            "[]",
            r#"{"choices":[]}"#,
            r#"{"choices":null}"#,
            r#"{"choices":[{}]}"#,
            r#"{"choices":[{"message":null}]}"#,
            r#"{"choices":[{"message":{}},{"message":"hi"}]}"#,
            "<html>",
            r#"{"choices":[{"message":{}}],"error":{"message":"x"}}"#,
        ] {
            assert_eq!(
                read_json(200, body.as_bytes()).outcome,
                Outcome::Malformed,
                "{body}"
            );
        }
    }

    #[test]
    fn a_completion_must_come_as_json_and_may_say_that_there_is_no_error() {
        let body = br#"{"choices":[{"message":{}}],"error":null}"#;
        let outcome = |content_type| {
            let status = 200;
            let answer = HttpAnswer {
                status,
                content_type,
                body,
            };
            read(answer).outcome
        };
        assert_eq!(outcome(None), Outcome::Success);
        assert_eq!(outcome(Some("Application/JSON")), Outcome::Success);
        assert_eq!(outcome(Some("application/problem+json")), Outcome::Success);
        for other in ["text/event-stream", "text/html", ""] {
            assert_eq!(outcome(Some(other)), Outcome::Malformed, "{other}");
        }
    }

    #[test]
    fn error_codes_are_read_and_odd_ones_do_no_harm() {
        let quota = ErrorReply {
            status: 429,
            message: "spent".to_owned(),
            kind: "insufficient_quota",
            code: "insufficient_quota",
        };
        assert_eq!(
            read_json(429, quota.body().as_bytes()).outcome,
            Outcome::QuotaExhausted
        );
        let numeric = br#"{"error":{"code":429}}"#;
        assert_eq!(read_json(429, numeric).outcome, Outcome::RateLimited);
        assert_eq!(read_json(429, b"busy").outcome, Outcome::RateLimited);
    }
}
