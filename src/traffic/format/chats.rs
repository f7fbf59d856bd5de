//! Chat requests and answers as logs hold them: what of them becomes a part of a record, and what failures that are told
//! in words mean.

use serde_json::{Map, Value, json};

use crate::protocol::openai::{self, HttpAnswer};
use crate::protocol::outcome::{AnswerFacts, Outcome, classify};
use crate::protocol::sse::Splitter;
use crate::protocol::stream::{self, StreamReader};
use crate::traffic::format::values::{text_of, tokens_of};
use crate::traffic::format::{DropReason, Record};

/// Is this the address of chat completions? What follows a question mark does not count.
pub fn is_chat_address(url: &str) -> bool {
    let path = url.split(['?', '#']).next().unwrap_or_default();
    path.trim_end_matches('/').ends_with("/chat/completions")
}

/// Notes a chat request: its model, whether it asks for a stream, its user, and the rest as the body.
pub fn note_request(record: &mut Record, mut fields: Map<String, Value>) {
    record.asked_model = record
        .asked_model
        .take()
        .or_else(|| text_of(&fields, "model"));
    let is_stream = fields.get("stream").and_then(Value::as_bool);
    // Not to ask for a stream is to ask for none.
    record.is_stream = record.is_stream.or(Some(is_stream.unwrap_or(false)));
    record.user = record.user.take().or_else(|| text_of(&fields, "user"));
    fields.remove("model");
    fields.remove("stream");
    // It makes sense in a stream only, and is added to every one.
    fields.remove("stream_options");
    record.body = fields
        .get("messages")
        .is_some_and(is_filled)
        .then(|| Box::new(fields));
}

/// Is it a list with messages in it?
fn is_filled(messages: &Value) -> bool {
    messages.as_array().is_some_and(|list| !list.is_empty())
}

/// Notes the tokens of an answer's `usage`, where the record has none yet.
///
/// # Errors
/// When they are no whole numbers.
pub fn note_usage(record: &mut Record, usage: Option<&Value>) -> Result<(), DropReason> {
    let count = |names: [&str; 2]| {
        let found = names.iter().find_map(|name| usage?.get(*name));
        tokens_of(found)
    };
    let input = count(["prompt_tokens", "input_tokens"])?;
    let output = count(["completion_tokens", "output_tokens"])?;
    record.input_tokens = record.input_tokens.or(input);
    record.output_tokens = record.output_tokens.or(output);
    Ok(())
}

/// Notes a whole answer that was read as JSON: its tokens, its model, its text.
///
/// # Errors
/// When its tokens are no whole numbers.
pub fn note_answer(record: &mut Record, body: &Value) -> Result<(), DropReason> {
    note_usage(record, body.get("usage"))?;
    let model = body.get("model").and_then(Value::as_str);
    let model = model.filter(|model| !model.is_empty()).map(str::to_owned);
    record.served_by = record.served_by.take().or(model);
    record.answer = record.answer.take().or_else(|| answer_text(body));
    Ok(())
}

/// The text of a chat completion.
pub fn answer_text(body: &Value) -> Option<String> {
    let message = body.get("choices")?.get(0)?.get("message")?;
    message.get("content")?.as_str().map(str::to_owned)
}

/// Notes an answer as it came over the wire.
///
/// # Errors
/// When its tokens are no whole numbers.
pub fn note_wire(record: &mut Record, answer: HttpAnswer<'_>) -> Result<(), DropReason> {
    let is_success = (200..300).contains(&answer.status);
    if is_success && stream::is_event_stream(answer.content_type) {
        note_stream(record, answer.body);
        return Ok(());
    }
    let reading = openai::read(answer);
    record.end = Some(reading.outcome);
    match serde_json::from_slice(answer.body) {
        Ok(body) if reading.outcome.is_success() => note_answer(record, &body),
        _ => Ok(()),
    }
}

/// Notes an answer of which only the status is known: a success gets the benefit of the doubt.
pub fn end_of_status(status: u16, error_code: Option<&str>) -> Outcome {
    classify(AnswerFacts {
        status,
        error_code,
        is_completion: true,
    })
}

fn note_stream(record: &mut Record, body: &[u8]) {
    let mut reader = StreamReader::default();
    reader.push(body);
    while reader.take().is_some() {}
    record.end = Some(reader.outcome(None));
    let usage = reader.usage();
    record.input_tokens = record.input_tokens.or(usage.map(|u| u.prompt_tokens));
    record.output_tokens = record.output_tokens.or(usage.map(|u| u.completion_tokens));
    record.served_by = record
        .served_by
        .take()
        .or_else(|| reader.model().map(str::to_owned));
    record.answer = Some(stream_text(body)).filter(|text| !text.is_empty());
}

/// The text of the first choice of a stream.
fn stream_text(body: &[u8]) -> String {
    let mut splitter = Splitter::default();
    splitter.push(body);
    let mut text = String::new();
    while let Ok(Some(event)) = splitter.take() {
        let data = event.data.unwrap_or_default();
        let chunk: Value = serde_json::from_slice(&data).unwrap_or_default();
        let piece = &chunk["choices"][0]["delta"]["content"];
        text.push_str(piece.as_str().unwrap_or_default());
    }
    text
}

/// What is known of a failure that a program noted down.
#[derive(Clone, Copy, Debug, Default)]
pub struct Failure<'a> {
    /// A status code, or a name of what happened.
    pub code: Option<&'a str>,
    /// The class of the exception.
    pub class: Option<&'a str>,
    /// What was said.
    pub message: Option<&'a str>,
}

/// Statuses of the exceptions of OpenAI's clients and LiteLLM, by what their names contain.
const CLASSES: [(&str, u16); 14] = [
    ("ratelimit", 429),
    ("insufficientquota", 429),
    ("authentication", 401),
    ("unauthorized", 401),
    ("permission", 403),
    ("notfound", 404),
    ("badrequest", 400),
    ("invalidrequest", 400),
    ("contextwindow", 400),
    ("contentpolicy", 400),
    ("unprocessable", 422),
    ("serviceunavailable", 503),
    ("overloaded", 529),
    ("badgateway", 502),
];

impl Failure<'_> {
    /// The outcome it stands for: by its status, where one is known, else by the name of its class. What nobody knows is
    /// a server's error.
    pub fn outcome(self) -> Outcome {
        if let Some(own) = self.message.and_then(own_word) {
            return own;
        }
        let words = [self.code, self.class];
        let class = words.iter().flatten().find_map(|word| by_class(word));
        let status = self.status();
        match (status, class) {
            // LiteLLM gives 500 to connections that were never made.
            (Some(500) | None, Some(class)) => class,
            (Some(status), _) => end_of_status(status, self.quota()),
            (None, None) => Outcome::ServerError,
        }
    }

    /// The status: in its code, or in a message like `Error code: 429 - {…}`.
    fn status(self) -> Option<u16> {
        let error = |text: &str| {
            let status = text.parse::<u16>().ok()?;
            (400..600).contains(&status).then_some(status)
        };
        let coded = self.code.and_then(|code| error(code.trim()));
        let told = || {
            let message = self.message?;
            let (_, rest) = message.split_once("rror code: ")?;
            error(rest.get(..3)?)
        };
        let classed = || {
            let names = [self.class, self.code].into_iter().flatten();
            names.map(lowercase).find_map(|name| {
                let class = CLASSES.iter().find(|(part, _)| name.contains(part))?;
                Some(class.1)
            })
        };
        coded.or_else(told).or_else(classed)
    }

    /// The code that tells a spent quota from too many requests.
    fn quota(self) -> Option<&'static str> {
        const QUOTA: &str = "insufficient_quota";
        let words = [self.code, self.class, self.message];
        let is_quota = words.iter().flatten().any(|word| word.contains(QUOTA));
        is_quota.then_some(QUOTA)
    }
}

/// Failures that only graygate knows, and writes into the logs of others as the whole message.
fn own_word(message: &str) -> Option<Outcome> {
    const OWN: [Outcome; 6] = [
        Outcome::Truncated,
        Outcome::StreamError,
        Outcome::Malformed,
        Outcome::Deadline,
        Outcome::Limited,
        Outcome::Shutdown,
    ];
    OWN.into_iter().find(|own| own.name() == message)
}

/// Failures that no status stands for.
fn by_class(name: &str) -> Option<Outcome> {
    let name = lowercase(name);
    let has = |part: &str| name.contains(part);
    match () {
        () if has("timeout") || has("timedout") => Some(Outcome::Timeout),
        () if has("cancel") => Some(Outcome::ClientGone),
        () if has("connectionreset") || has("protocolerror") => Some(Outcome::Reset),
        () if has("connect") || has("unknownhost") => Some(Outcome::Connect),
        () => None,
    }
}

/// `rate_limit_error`, `RateLimitError` and `rate limit` are one.
fn lowercase(name: &str) -> String {
    let letters = name.chars().filter(|c| c.is_ascii_alphanumeric());
    letters.map(|c| c.to_ascii_lowercase()).collect()
}

/// A message of a chat.
pub fn message(role: &str, content: &str) -> Value {
    json!({"role": role, "content": content})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_chats() {
        for chat in [
            "/v1/chat/completions",
            "https://h/openai/deployments/d/chat/completions?api-version=1",
            "/chat/completions/",
        ] {
            assert!(is_chat_address(chat), "{chat}");
        }
        for other in ["/v1/embeddings", "", "/?next=/chat/completions"] {
            assert!(!is_chat_address(other), "{other}");
        }
    }

    #[test]
    fn failures_in_words_have_the_classes_of_their_statuses() {
        let of = |code, class, message| {
            let failure = Failure {
                code,
                class,
                message,
            };
            failure.outcome()
        };
        let quota = Some("Error code: 429 - {'code': 'insufficient_quota'}");
        for (code, class, message, outcome) in [
            (Some("429"), None, None, Outcome::RateLimited),
            (Some("429"), None, quota, Outcome::QuotaExhausted),
            (None, None, quota, Outcome::QuotaExhausted),
            (Some("401"), Some("Odd"), None, Outcome::Unauthorized),
            (Some(""), Some("RateLimitError"), None, Outcome::RateLimited),
            (Some("rate_limit_error"), None, None, Outcome::RateLimited),
            (
                Some("insufficient_quota"),
                None,
                None,
                Outcome::QuotaExhausted,
            ),
            (Some("permission_error"), None, None, Outcome::Forbidden),
            (
                Some("invalid_request_error"),
                None,
                None,
                Outcome::BadRequest,
            ),
            (
                Some("openai.NotFoundError"),
                None,
                None,
                Outcome::ModelNotFound,
            ),
            (
                Some("500"),
                Some("APIConnectionError"),
                None,
                Outcome::Connect,
            ),
            (Some("408"), Some("Timeout"), None, Outcome::Timeout),
            (Some("timeout"), None, None, Outcome::Timeout),
            (Some("529"), None, None, Outcome::Overloaded),
            (
                None,
                Some("ServiceUnavailableError"),
                None,
                Outcome::Overloaded,
            ),
            (Some("CancelledError"), None, None, Outcome::ClientGone),
            (Some("_OTHER"), None, None, Outcome::ServerError),
            (None, None, None, Outcome::ServerError),
            (Some("200"), None, None, Outcome::ServerError),
        ] {
            assert_eq!(of(code, class, message), outcome, "{code:?} {class:?}");
        }
    }

    #[test]
    fn answers_of_the_wire_are_read_as_the_gateway_reads_them() {
        let note = |status, content_type, body: &str| {
            let mut record = Record::default();
            let answer = HttpAnswer {
                status,
                content_type,
                body: body.as_bytes(),
            };
            note_wire(&mut record, answer).unwrap();
            record
        };
        let whole = r#"{"model":"m","choices":[{"message":{"content":"hi"}}],"usage":{"prompt_tokens":3,"completion_tokens":1}}"#;
        let record = note(200, None, whole);
        assert_eq!(record.end, Some(Outcome::Success));
        assert_eq!(
            (record.input_tokens, record.output_tokens),
            (Some(3), Some(1))
        );
        assert_eq!(record.served_by.as_deref(), Some("m"));
        assert_eq!(record.answer.as_deref(), Some("hi"));
        assert_eq!(note(200, None, "{}").end, Some(Outcome::Malformed));
        let quota = r#"{"error":{"code":"insufficient_quota"}}"#;
        assert_eq!(note(429, None, quota).end, Some(Outcome::QuotaExhausted));
        let stream = "data: {\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"h\"}}]}\n\n\
                      data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"i\"},\"finish_reason\":\"stop\"}]}\n\n";
        let cut = note(200, Some("text/event-stream"), stream);
        assert_eq!(cut.end, Some(Outcome::Truncated));
        assert_eq!(cut.answer.as_deref(), Some("hi"));
        assert_eq!(cut.output_tokens, None);
        let done = format!("{stream}data: [DONE]\n\n");
        let done = note(200, Some("text/event-stream"), &done);
        assert_eq!(done.end, Some(Outcome::Success));
    }
}
