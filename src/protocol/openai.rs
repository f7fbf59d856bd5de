//! The OpenAI shapes that travel: chat completions, error envelopes, model lists.

use serde::{Deserialize, Serialize};
use serde_json::json;

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

/// What a complete answer means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reading {
    /// How the attempt ended.
    pub outcome: Outcome,
    /// The tokens, when the answer states them.
    pub usage: Option<Usage>,
}

#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    choices: Vec<Choice>,
    // Read apart, so that a version with another usage shape still counts as having answered.
    #[serde(default)]
    usage: serde_json::Value,
    error: Option<ErrorFields>,
}

#[derive(Deserialize)]
struct Choice {
    #[serde(rename = "message")]
    _message: serde::de::IgnoredAny,
}

#[derive(Deserialize)]
struct ErrorFields {
    // Some servers send a number here; the classifier knows only names.
    code: Option<serde_json::Value>,
}

/// Reads a complete HTTP answer to a chat request.
pub fn read(status: u16, body: &[u8]) -> Reading {
    let answer: Option<Answer> = serde_json::from_slice(body).ok();
    let error_code = answer
        .as_ref()
        .and_then(|a| a.error.as_ref())
        .and_then(|e| e.code.as_ref())
        .and_then(|c| c.as_str());
    let is_completion = answer
        .as_ref()
        .is_some_and(|a| !a.choices.is_empty() && a.error.is_none());
    Reading {
        outcome: classify(AnswerFacts {
            status,
            error_code,
            is_completion,
        }),
        usage: answer.and_then(|a| serde_json::from_value(a.usage).ok()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        let reading = read(200, body.as_bytes());
        assert_eq!(reading.outcome, Outcome::Success);
        assert_eq!(reading.usage, Some(usage));
        let drifted = br#"{"choices":[{"message":{}}],"usage":{"tokens_consumed":9}}"#;
        let reading = read(200, drifted);
        assert_eq!((reading.outcome, reading.usage), (Outcome::Success, None));
    }

    #[test]
    fn a_200_that_is_no_completion_is_malformed() {
        for body in [
            "",
            "{}",
            "[]",
            r#"{"choices":[]}"#,
            r#"{"choices":[{}]}"#,
            "<html>",
            r#"{"choices":[{"message":{}}],"error":{"message":"x"}}"#,
        ] {
            assert_eq!(
                read(200, body.as_bytes()).outcome,
                Outcome::Malformed,
                "{body}"
            );
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
            read(429, quota.body().as_bytes()).outcome,
            Outcome::QuotaExhausted
        );
        let numeric = br#"{"error":{"code":429}}"#;
        assert_eq!(read(429, numeric).outcome, Outcome::RateLimited);
        assert_eq!(read(429, b"busy").outcome, Outcome::RateLimited);
    }
}
