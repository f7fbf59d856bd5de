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
    if record.end.is_some_and(|end| !end.is_success()) {
        // Nobody counted them: LiteLLM writes 0.
        record.input_tokens = record.input_tokens.filter(|n| *n > 0);
        record.output_tokens = record.output_tokens.filter(|n| *n > 0);
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
