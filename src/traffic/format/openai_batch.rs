//! Files of OpenAI's Batch API: lines that were handed in, and lines that came back. No line has a time.

use serde_json::{Map, Value};

use crate::protocol::openai;
use crate::protocol::outcome::Outcome;
use crate::traffic::format::chats::{self, Failure};
use crate::traffic::format::values::text_of;
use crate::traffic::format::{DropReason, Format, Head, Record, read_objects};

/// The format.
pub const FORMAT: Format = Format {
    name: "openai_batch",
    title: "OpenAI Batch API, input or output, a JSON object a line",
    times: "none",
    detect,
    read: |reader, each| read_objects(reader, &[], each, record),
};

fn detect(head: &Head<'_>) -> Option<&'static str> {
    let is_it = head.has_keys(&["custom_id", "body"]) || head.has_keys(&["custom_id", "response"]);
    is_it.then_some("its first object has custom_id, and body or response")
}

fn record(mut fields: Map<String, Value>) -> Result<Record, DropReason> {
    if !fields.contains_key("custom_id") {
        return Err(DropReason::BadForm);
    }
    match (fields.remove("body"), fields.remove("response")) {
        (Some(Value::Object(body)), None) => asked(&fields, body),
        (None, Some(Value::Object(response))) => answered(&response),
        (None, Some(Value::Null)) => Ok(never_answered(fields.get("error"))),
        _ => Err(DropReason::BadForm),
    }
}

/// A line of the input.
fn asked(fields: &Map<String, Value>, body: Map<String, Value>) -> Result<Record, DropReason> {
    if !text_of(fields, "url").is_some_and(|url| chats::is_chat_address(&url)) {
        return Err(DropReason::NoChat);
    }
    let mut record = Record::default();
    chats::note_request(&mut record, body);
    Ok(record)
}

/// A line of the output. It does not tell which address it comes from, but its answer does.
fn answered(response: &Map<String, Value>) -> Result<Record, DropReason> {
    let status = response.get("status_code").and_then(Value::as_u64);
    let status = status.and_then(|status| u16::try_from(status).ok());
    let status = status.ok_or(DropReason::BadForm)?;
    let body = response.get("body").ok_or(DropReason::BadForm)?;
    let kind = body.get("object").and_then(Value::as_str);
    if kind.is_some_and(|kind| kind != "chat.completion") {
        return Err(DropReason::NoChat);
    }
    let mut record = Record {
        end: Some(openai::outcome(status, None, body)),
        ..Record::default()
    };
    chats::note_answer(&mut record, body)?;
    Ok(record)
}

/// A line of the file of errors.
fn never_answered(error: Option<&Value>) -> Record {
    let text = |name: &str| error?.get(name)?.as_str();
    let end = match text("code") {
        // The day within which a batch is worked off was over.
        Some("batch_expired") => Outcome::Deadline,
        code => {
            let failure = Failure {
                code,
                class: None,
                message: text("message"),
            };
            failure.outcome()
        }
    };
    Record {
        end: Some(end),
        ..Record::default()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::traffic::format::testing::{fixture, read_all, survives};

    #[test]
    fn input_is_read_without_times() {
        let text = include_str!("../../../fixtures/logs/openai-batch-input.jsonl");
        let records = fixture(&FORMAT, text);
        assert_eq!(records.len(), 4);
        assert!(records.iter().all(|r| r.at.is_none() && r.end.is_none()));
        let second = &records[1];
        let body = second.body.as_deref().unwrap();
        assert_eq!(
            (body["temperature"].as_u64(), body.get("model")),
            (Some(0), None)
        );
        assert_eq!(second.asked_model.as_deref(), Some("chat-large"));
        assert_eq!(second.is_stream, Some(false));
        assert_eq!(records[2].user.as_deref(), Some("user-3"));
    }

    #[test]
    fn output_tells_how_it_ended() {
        let text = include_str!("../../../fixtures/logs/openai-batch-output.jsonl");
        let records = fixture(&FORMAT, text);
        let ends: Vec<_> = records.iter().filter_map(|r| r.end).collect();
        assert_eq!(
            ends,
            [
                Outcome::Success,
                Outcome::Success,
                Outcome::BadRequest,
                Outcome::Deadline
            ]
        );
        let first = &records[0];
        assert_eq!(
            (first.input_tokens, first.output_tokens),
            (Some(11), Some(3))
        );
        assert_eq!(first.served_by.as_deref(), Some("chat-large-2026-02"));
        assert_eq!(first.answer.as_deref(), Some("Blue and green"));
        assert_eq!((records[2].input_tokens, records[2].at), (None, None));
    }

    #[test]
    fn useless_lines_are_placed_and_named() {
        let log = r#"{"custom_id":"a","url":"/v1/embeddings","body":{"input":"x"}}
{"custom_id":"a","url":"/v1/chat/completions","body":"x"}
{"url":"/v1/chat/completions","body":{}}
{"custom_id":"a","response":{"status_code":200,"body":{"object":"list"}}}
{"custom_id":"a","response":{"body":{}}}
{"custom_id":"a","response":{"status_code":200,"body":{"usage":{"prompt_tokens":-1}}}}
{"custom_id":"a","response":{"status_code":200,"body":{}}}"#;
        let (records, bad) = read_all(&FORMAT, log);
        assert_eq!(records.len(), 1);
        assert_eq!(records[0].end, Some(Outcome::Malformed));
        assert_eq!(
            bad,
            [
                (1, DropReason::NoChat),
                (2, DropReason::BadForm),
                (3, DropReason::BadForm),
                (4, DropReason::NoChat),
                (5, DropReason::BadForm),
                (6, DropReason::BadTokens),
            ]
        );
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            survives(&FORMAT, "{\"custom_id\":\"a\",\"response\":{\"status_code\":200,", &bytes);
        }
    }
}
