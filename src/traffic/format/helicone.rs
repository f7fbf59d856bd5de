//! Requests as Helicone exports them, a JSON object a line.

use serde_json::{Map, Value};

use crate::protocol::openai;
use crate::protocol::outcome::Outcome;
use crate::traffic::format::chats;
use crate::traffic::format::values::{
    MILLISECONDS, between, json_in, length_of, text_of, tokens_of, wall_clock,
};
use crate::traffic::format::{DropReason, Format, Record, read_objects};

/// The format.
pub const FORMAT: Format = Format {
    name: "helicone",
    title: "Helicone requests, a JSON object a line",
    times: "dates",
    detect: |head| {
        let is_it = head.has_keys(&["request_created_at"]);
        is_it.then_some("its first object has request_created_at")
    },
    read: |reader, each| read_objects(reader, &[], each, |fields| record(&fields)),
};

fn record(fields: &Map<String, Value>) -> Result<Record, DropReason> {
    let text = |name: &str| text_of(fields, name);
    if text("request_path").is_some_and(|path| !is_chat(&path)) {
        return Err(DropReason::NoChat);
    }
    let at = time(fields, "request_created_at")?.ok_or(DropReason::BadTimestamp)?;
    let answered = time(fields, "response_created_at")?;
    let length = |name: &str| length_of(fields.get(name), MILLISECONDS);
    let properties = json_in(fields.get("request_properties"));
    let property = |name: &str| text_of(properties.as_deref()?.as_object()?, name);
    let mut record = Record {
        at: Some(at),
        input_tokens: tokens_of(fields.get("prompt_tokens"))?,
        output_tokens: tokens_of(fields.get("completion_tokens"))?,
        session: property("Helicone-Session-Id"),
        latency: length("delay_ms")?.or_else(|| between(at, answered?)),
        // The schema names no unit; beside `delay_ms` it is read as milliseconds.
        first_token: length("time_to_first_token")?,
        user: text("request_user_id"),
        asked_model: text("request_model"),
        served_by: text("response_model"),
        ..Record::default()
    };
    if let Some(Value::Object(body)) = json_in(fields.get("request_body")).as_deref() {
        chats::note_request(&mut record, body.clone());
    }
    let response = json_in(fields.get("response_body"));
    let response = response.as_deref().filter(|body| is_whole(body));
    record.end = end(fields, response);
    record.answer = response.and_then(chats::answer_text);
    Ok(record)
}

/// Addresses of OpenAI's chats, Anthropic's and Google's.
fn is_chat(path: &str) -> bool {
    let path = path.split('?').next().unwrap_or_default();
    let ends = [
        "/messages",
        "/responses",
        ":generateContent",
        ":streamGenerateContent",
    ];
    chats::is_chat_address(path) || ends.iter().any(|end| path.ends_with(end))
}

/// Was it exported with bodies?
fn is_whole(body: &Value) -> bool {
    body.as_object().is_some_and(|fields| !fields.is_empty())
}

fn time(fields: &Map<String, Value>, name: &str) -> Result<Option<i64>, DropReason> {
    match fields.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => wall_clock(text).map(Some),
        Some(_) => Err(DropReason::BadTimestamp),
    }
}

/// How it ended. Negative numbers are Helicone's own, of requests without an answer, and no statuses.
fn end(fields: &Map<String, Value>, response: Option<&Value>) -> Option<Outcome> {
    let status = u16::try_from(fields.get("response_status")?.as_u64()?).ok()?;
    let status = Some(status).filter(|status| *status >= 100)?;
    Some(match response {
        // Other providers have other answers; a stream is kept as its chunks or as a whole.
        Some(body) if status >= 400 => openai::outcome(status, None, body),
        _ => chats::end_of_status(status, None),
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::traffic::format::testing::{fixture, one, read_all, survives};

    const HEAD: &str = r#"{"request_created_at":"2026-03-02T09:00:00.25Z","#;

    fn request(fields: &str) -> String {
        format!("{HEAD}{fields}}}\n")
    }

    #[test]
    fn requests_are_read() {
        let records = fixture(
            &FORMAT,
            include_str!("../../../fixtures/logs/helicone.jsonl"),
        );
        assert_eq!(records.len(), 5);
        let first = &records[0];
        assert_eq!(first.at, Some(1_772_442_000_250_000_000));
        assert_eq!(first.latency, Some(Duration::from_millis(1_250)));
        assert_eq!(first.first_token, Some(Duration::from_millis(180)));
        assert_eq!(
            (first.input_tokens, first.output_tokens),
            (Some(9), Some(1))
        );
        assert_eq!(first.session.as_deref(), Some("session-1"));
        assert_eq!(first.user.as_deref(), Some("user-1"));
        assert_eq!(first.asked_model.as_deref(), Some("chat-large"));
        assert_eq!(first.served_by.as_deref(), Some("chat-large-2026-02"));
        assert_eq!(
            (first.is_stream, first.end),
            (Some(true), Some(Outcome::Success))
        );
        assert_eq!(first.answer.as_deref(), Some("Blue"));
        assert_eq!(records[1].latency, Some(Duration::from_millis(1_250)));
        assert_eq!(records[2].end, Some(Outcome::Unauthorized));
        assert_eq!(
            (records[2].input_tokens, &records[2].served_by),
            (None, &None)
        );
        assert_eq!((records[3].end, records[3].latency), (None, None));
        assert_eq!(
            (&records[4].body, records[4].end),
            (&None, Some(Outcome::Success))
        );
    }

    #[test]
    fn statuses_that_are_none_say_nothing() {
        let end =
            |status: &str| one(&FORMAT, &request(&format!("\"response_status\":{status}"))).end;
        assert_eq!(
            (end("-3"), end("0"), end("null"), end("70000")),
            (None, None, None, None)
        );
        assert_eq!(end("503"), Some(Outcome::Overloaded));
        let quota = "429,\"response_body\":{\"error\":{\"code\":\"insufficient_quota\"}}";
        assert_eq!(end(quota), Some(Outcome::QuotaExhausted));
    }

    #[test]
    fn useless_lines_are_placed_and_named() {
        let log = [
            request("\"request_path\":\"https://h/v1/embeddings\""),
            request("\"delay_ms\":-1"),
            request("\"prompt_tokens\":\"x\""),
            "{\"delay_ms\":1}\n{\"request_created_at\":5}\n".to_owned(),
            request("\"request_path\":\"https://h/v1/messages?beta=true\""),
            request("\"response_created_at\":\"later\""),
        ];
        let (records, bad) = read_all(&FORMAT, &log.concat());
        assert_eq!(records.len(), 1);
        assert_eq!(
            bad,
            [
                (1, DropReason::NoChat),
                (2, DropReason::BadNumber),
                (3, DropReason::BadTokens),
                (4, DropReason::BadTimestamp),
                (5, DropReason::BadTimestamp),
                (7, DropReason::BadTimestamp),
            ]
        );
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            survives(&FORMAT, HEAD, &bytes);
        }
    }
}
