//! What the LiteLLM proxy logs of a call: its `StandardLoggingPayload`, one a line, and the rows of its table
//! `LiteLLM_SpendLogs`, as JSON or as CSV.
//!
//! Both tell the model that was asked for from the deployment that served, and group the attempts of a request: split,
//! retries and fallbacks can be seen in them.

use std::io::BufRead;

use serde_json::{Map, Value};

use crate::protocol::outcome::Outcome;
use crate::traffic::format::chats::{self, Failure};
use crate::traffic::format::values::{
    MILLISECONDS, SECONDS, between, dollars_of, json_in, length_of, moment_of, text_of, tokens_of,
    wall_clock,
};
use crate::traffic::format::{
    DropReason, Each, Format, Head, LogError, Record, is_json, read_objects, table,
};

/// The payload that is given to callbacks.
pub const FORMAT: Format = Format {
    name: "litellm",
    title: "LiteLLM StandardLoggingPayload, a JSON object a line",
    times: "seconds since 1970",
    detect: |head| {
        let is_it = head.has_keys(&["call_type", "startTime"])
            && ["response_cost", "trace_id"]
                .iter()
                .any(|key| head.has_keys(&[key]));
        is_it.then_some("its first object has call_type, startTime, and response_cost or trace_id")
    },
    read: |reader, each| read_objects(reader, &[], each, |fields| record(&fields, unix)),
};

/// The proxy's table.
pub const SPEND: Format = Format {
    name: "litellm_spend",
    title: "LiteLLM_SpendLogs as JSON or CSV",
    times: "dates",
    detect: detect_spend,
    read: read_spend,
};

fn detect_spend(head: &Head<'_>) -> Option<&'static str> {
    let marks = ["request_id", "spend", "startTime"];
    let is_it = head.has_keys(&marks) || head.has_columns(&marks);
    is_it.then_some("it has request_id, spend and startTime")
}

fn read_spend(reader: &mut dyn BufRead, each: Each<'_>) -> Result<(), LogError> {
    let read = |fields: Map<String, Value>| record(&fields, date);
    match is_json(reader)? {
        true => read_objects(reader, &[], each, read),
        false => table::read_texts(reader, each, &["request_id", "startTime"], read),
    }
}

/// How one of the two writes a time; none when it has none.
type Clock = fn(Option<&Value>) -> Result<Option<i64>, DropReason>;

/// Unix time in seconds. What never happened is null, or 0.
fn unix(value: Option<&Value>) -> Result<Option<i64>, DropReason> {
    match value {
        None | Some(Value::Null) => Ok(None),
        value => Ok(Some(moment_of(value, SECONDS)?).filter(|at| *at != 0)),
    }
}

/// A date with or without a zone.
fn date(value: Option<&Value>) -> Result<Option<i64>, DropReason> {
    match value {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => wall_clock(text).map(Some),
        Some(_) => Err(DropReason::BadTimestamp),
    }
}

fn record(fields: &Map<String, Value>, clock: Clock) -> Result<Record, DropReason> {
    if !is_chat(fields) {
        return Err(DropReason::NoChat);
    }
    let text = |name: &str| text_of(fields, name);
    let metadata = json_in(fields.get("metadata"));
    let told = |name: &str| text_of(metadata.as_deref()?.as_object()?, name);
    let at = clock(fields.get("startTime"))?.ok_or(DropReason::BadTimestamp)?;
    let ended = clock(fields.get("endTime"))?;
    let is_stream = fields.get("stream").and_then(Value::as_bool);
    let began = clock(fields.get("completionStartTime"))?;
    // An answer that came whole begins when it ends: LiteLLM writes the end then.
    let began = began.filter(|began| is_stream == Some(true) || ended.is_some_and(|e| *began < e));
    let length = length_of(fields.get("request_duration_ms"), MILLISECONDS)?;
    let session = text("session_id");
    let mut record = Record {
        at: Some(at),
        input_tokens: tokens_of(fields.get("prompt_tokens"))?,
        output_tokens: tokens_of(fields.get("completion_tokens"))?,
        // The table calls the trace a session.
        trace: text("trace_id").or_else(|| session.clone()),
        session,
        end: end(fields, metadata.as_deref()),
        latency: length.or_else(|| between(at, ended?)),
        first_token: began.and_then(|began| between(at, began)),
        is_stream,
        user: text("end_user")
            .or_else(|| told("user_api_key_end_user_id"))
            .or_else(|| text("user"))
            .or_else(|| told("user_api_key_user_id")),
        tenant: text("team_id")
            .or_else(|| told("user_api_key_team_id"))
            .or_else(|| text("organization_id")),
        asked_model: text("model_group").or_else(|| text("model")),
        served_by: text("model_id").or_else(|| text("model")),
        cost: dollars_of(fields.get("response_cost").or_else(|| fields.get("spend")))?,
        ..Record::default()
    };
    let is_failure = record.end.is_some_and(|end| !end.is_success());
    if is_failure && record.input_tokens.max(record.output_tokens) == Some(0) {
        // Nobody counted them: LiteLLM writes 0 for both.
        (record.input_tokens, record.output_tokens) = (None, None);
    }
    note_texts(&mut record, fields);
    Ok(record)
}

/// Embeddings, images and speech are logged in the same way.
fn is_chat(fields: &Map<String, Value>) -> bool {
    const CHATS: [&str; 5] = [
        "completion",
        "acompletion",
        "responses",
        "aresponses",
        "anthropic_messages",
    ];
    text_of(fields, "call_type").is_none_or(|kind| CHATS.contains(&kind.as_str()))
}

/// How it ended. Rows of older versions say it in their metadata only, or not at all.
fn end(fields: &Map<String, Value>, metadata: Option<&Value>) -> Option<Outcome> {
    let inner = |name: &str| metadata?.get(name);
    let status = fields.get("status").or_else(|| inner("status"))?;
    match status.as_str()? {
        "success" => Some(Outcome::Success),
        "failure" => {
            let information = fields.get("error_information");
            let information = information.filter(|value| value.is_object());
            let information = information.or_else(|| inner("error_information"));
            let text = |name: &str| information?.get(name)?.as_str();
            let code = information.and_then(|i| i.get("error_code"));
            let number = code.and_then(Value::as_u64).map(|code| code.to_string());
            let failure = Failure {
                code: number.as_deref().or_else(|| text("error_code")),
                class: text("error_class"),
                message: text("error_message").or_else(|| fields.get("error_str")?.as_str()),
            };
            Some(failure.outcome())
        }
        _ => None,
    }
}

/// What LiteLLM writes instead of texts that may not be logged.
const REDACTED: &str = "redacted-by-litellm";

/// The messages, with the parameters that were sent along, and the answer.
fn note_texts(record: &mut Record, fields: &Map<String, Value>) {
    let response = json_in(fields.get("response"));
    let answer = response.as_deref().and_then(chats::answer_text);
    record.answer = answer.filter(|text| text != REDACTED);
    let Some(messages) = json_in(fields.get("messages")) else {
        return;
    };
    let contents = messages.as_array().into_iter().flatten();
    let mut contents = contents.map(|message| message["content"].as_str().unwrap_or_default());
    if contents.any(|content| content == REDACTED) {
        return;
    }
    let parameters = json_in(fields.get("model_parameters"));
    let parameters = parameters.as_deref().and_then(Value::as_object);
    let mut body = parameters.cloned().unwrap_or_default();
    body.insert("messages".to_owned(), messages.into_owned());
    let is_stream = record.is_stream;
    chats::note_request(record, body);
    record.is_stream = is_stream;
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::pricing::Cost;
    use crate::traffic::format::testing::{fixture, one, read_all, survives};

    const HEAD: &str = "{\"call_type\":\"acompletion\",\"startTime\":1772442000.25,";

    fn payload(fields: &str) -> String {
        format!("{HEAD}{fields}}}\n")
    }

    #[test]
    fn payloads_are_read() {
        let records = fixture(
            &FORMAT,
            include_str!("../../../fixtures/logs/litellm.jsonl"),
        );
        assert_eq!(records.len(), 8);
        let first = &records[0];
        assert_eq!(first.at, Some(1_772_442_000_250_000_000));
        assert_eq!(first.latency, Some(Duration::from_millis(1_250)));
        assert_eq!(first.first_token, Some(Duration::from_millis(200)));
        assert_eq!(
            (first.input_tokens, first.output_tokens),
            (Some(14), Some(6))
        );
        assert_eq!(first.trace.as_deref(), Some("trace-1"));
        assert_eq!(first.asked_model.as_deref(), Some("chat-large"));
        assert_eq!(first.served_by.as_deref(), Some("deployment-stable"));
        assert_eq!(first.user.as_deref(), Some("user-1"));
        assert_eq!(first.tenant.as_deref(), Some("team-1"));
        assert_eq!(first.cost, Some(Cost::from_nanos(76_000)));
        assert_eq!(first.answer.as_deref(), Some("Step by step."));
        let body = first.body.as_deref().unwrap();
        assert_eq!(body["temperature"], 0.2);
        assert!(!body.contains_key("stream"));
        let ends: Vec<_> = records
            .iter()
            .filter_map(|r| r.end)
            .map(Outcome::name)
            .collect();
        assert_eq!(
            ends,
            [
                "success",
                "rate_limited",
                "success",
                "quota_exhausted",
                "connect",
                "timeout",
                "success",
                "success"
            ]
        );
        assert_eq!(records[1].trace, records[2].trace);
        assert_ne!(records[1].served_by, records[2].served_by);
    }

    #[test]
    fn the_table_is_read_as_json_and_as_csv() {
        let json = fixture(
            &SPEND,
            include_str!("../../../fixtures/logs/litellm-spend.jsonl"),
        );
        let csv = fixture(
            &SPEND,
            include_str!("../../../fixtures/logs/litellm-spend.csv"),
        );
        assert_eq!(json, csv);
        assert_eq!(json.len(), 5);
        let first = &json[0];
        assert_eq!(first.at, Some(1_772_442_000_250_000_000));
        // Not the difference of the times, which are of milliseconds, too.
        assert_eq!(first.latency, Some(Duration::from_millis(1_251)));
        assert_eq!(first.cost, Some(Cost::from_nanos(76_000)));
        assert_eq!(first.trace.as_deref(), Some("session-1"));
        assert_eq!(first.session, first.trace);
        assert_eq!(json[1].end, Some(Outcome::RateLimited));
        assert_eq!(json[4].end, None);
    }

    #[test]
    fn tokens_that_nobody_counted_are_none() {
        let failed = r#""status":"failure","prompt_tokens":0,"completion_tokens":0"#;
        let record = one(&FORMAT, &payload(failed));
        assert_eq!((record.input_tokens, record.output_tokens), (None, None));
        assert_eq!(record.end, Some(Outcome::ServerError));
        let broken = r#""status":"failure","prompt_tokens":3,"completion_tokens":0"#;
        let record = one(&FORMAT, &payload(broken));
        assert_eq!(
            (record.input_tokens, record.output_tokens),
            (Some(3), Some(0))
        );
        let empty = r#""status":"success","prompt_tokens":3,"completion_tokens":0"#;
        assert_eq!(one(&FORMAT, &payload(empty)).output_tokens, Some(0));
    }

    #[test]
    fn the_first_token_of_a_whole_answer_is_unknown() {
        let first = |fields: &str| one(&FORMAT, &payload(fields)).first_token;
        let whole = r#""stream":false,"completionStartTime":1772442001,"endTime":1772442001"#;
        assert_eq!(first(whole), None);
        let stream = whole.replace("false", "true");
        assert_eq!(first(&stream), Some(Duration::from_millis(750)));
        assert_eq!(first(r#""stream":true,"completionStartTime":0"#), None);
    }

    #[test]
    fn redacted_messages_are_none() {
        let fields = r#""messages":[{"role":"user","content":"redacted-by-litellm"}],
            "response":{"choices":[{"message":{"content":"redacted-by-litellm"}}]}"#;
        let record = one(&FORMAT, &payload(fields));
        assert_eq!((record.body, record.answer), (None, None));
        assert_eq!(one(&FORMAT, &payload("\"messages\":{}")).body, None);
    }

    #[test]
    fn useless_lines_are_placed_and_named() {
        let log = [
            payload("\"prompt_tokens\":\"many\""),
            payload("\"response_cost\":-1"),
            payload("\"prompt_tokens\":2000001"),
            "{\"call_type\":\"aembedding\",\"startTime\":1}\n".to_owned(),
            "{\"call_type\":\"completion\"}\n{\"startTime\":\"yesterday\"}\nnonsense\n".to_owned(),
            payload("\"endTime\":null"),
        ];
        let (records, bad) = read_all(&FORMAT, &log.concat());
        assert_eq!(records.len(), 1);
        assert_eq!((records[0].latency, records[0].cost), (None, None));
        assert_eq!(
            bad,
            [
                (1, DropReason::BadTokens),
                (2, DropReason::BadNumber),
                (3, DropReason::TooManyTokens),
                (4, DropReason::NoChat),
                (5, DropReason::BadTimestamp),
                (6, DropReason::BadTimestamp),
                (7, DropReason::BadForm),
            ]
        );
        let spend = "request_id,spend,startTime\n1,0,yesterday\n2,x,2026-03-02 09:00:00\n3,0\n";
        let bad = read_all(&SPEND, spend).1;
        assert_eq!(
            bad,
            [
                (2, DropReason::BadTimestamp),
                (3, DropReason::BadNumber),
                (4, DropReason::FieldCount),
            ]
        );
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            survives(&FORMAT, HEAD, &bytes);
            survives(&SPEND, HEAD, &bytes);
            survives(&SPEND, "request_id,spend,startTime\n", &bytes);
        }
    }
}
