//! Spans of chats by the OpenTelemetry conventions for generative AI: OTLP as JSON, one document or one a line, and plain
//! dumps, `{"spans": […]}` or a span a line.
//!
//! Of a document that begins with its list, as all exporters write it, one span is read at a time.

use std::io::BufRead;

use serde_json::{Map, Value, json};

use crate::protocol::outcome::Outcome;
use crate::traffic::format::chats::{self, Failure};
use crate::traffic::format::items::Items;
use crate::traffic::format::values::{
    NANOSECONDS, SECONDS, between, json_in, length_of, moment_of, text_of, tokens_of, wall_clock,
};
use crate::traffic::format::{DropReason, Each, Format, Found, Head, LogError, Record, read_items};

/// The format.
pub const FORMAT: Format = Format {
    name: "otel",
    title: "OpenTelemetry spans of generative AI: OTLP as JSON, or plain spans",
    times: "nanoseconds since 1970, or dates",
    detect,
    read,
};

fn detect(head: &Head<'_>) -> Option<&'static str> {
    let keys = head.keys(&[]);
    let has = |name: &str| keys.iter().any(|key| key == name);
    match () {
        () if has("resourceSpans") => Some("it has resourceSpans"),
        () if has("spans") => Some("it has spans"),
        () if has("attributes") && (has("span_id") || has("spanId") || has("context")) => {
            Some("its first object is a span with attributes")
        }
        () => None,
    }
}

/// Reads a whole log.
fn read(reader: &mut dyn BufRead, each: Each<'_>) -> Result<(), LogError> {
    let items = Items::opening(
        reader,
        &[&["resourceSpans", "scopeSpans", "spans"], &["spans"]],
    );
    read_items(items, each, read_object)
}

/// Reads a document, a part of one, or a span.
fn read_object(mut object: Map<String, Value>, found: Found<'_>) {
    for key in ["resourceSpans", "scopeSpans", "spans"] {
        let Some(list) = object.remove(key) else {
            continue;
        };
        let Value::Array(list) = list else {
            return found(Err(DropReason::BadForm));
        };
        for value in list {
            match value {
                Value::Object(inner) => read_object(inner, found),
                _ => found(Err(DropReason::BadForm)),
            }
        }
        return;
    }
    found(span(&object));
}

fn span(span: &Map<String, Value>) -> Result<Record, DropReason> {
    let attributes = attributes(span.get("attributes").ok_or(DropReason::BadForm)?);
    if !is_chat(&attributes) {
        return Err(DropReason::NoChat);
    }
    let text = |name: &str| text_of(&attributes, name);
    // The newer name first.
    let tokens = |names: [&str; 2]| tokens_of(names.iter().find_map(|name| attributes.get(*name)));
    let at = time(span, ["startTimeUnixNano", "start_time"])?.ok_or(DropReason::BadTimestamp)?;
    let ended = time(span, ["endTimeUnixNano", "end_time"])?;
    let mut record = Record {
        at: Some(at),
        input_tokens: tokens(["gen_ai.usage.input_tokens", "gen_ai.usage.prompt_tokens"])?,
        output_tokens: tokens([
            "gen_ai.usage.output_tokens",
            "gen_ai.usage.completion_tokens",
        ])?,
        session: text("gen_ai.conversation.id"),
        end: end(span, &attributes),
        latency: ended.and_then(|ended| between(at, ended)),
        first_token: length_of(
            attributes.get("gen_ai.response.time_to_first_chunk"),
            SECONDS,
        )?,
        is_stream: attributes
            .get("gen_ai.request.stream")
            .and_then(Value::as_bool),
        user: text("user.id").or_else(|| text("enduser.id")),
        trace: group(span),
        asked_model: text("gen_ai.request.model"),
        // Of a failure only the model that was asked is known. In the span of a gateway's attempt it is the deployment
        // that was tried; whoever judges may take it for that, but that it served is not what the span says.
        served_by: text("gen_ai.response.model"),
        ..Record::default()
    };
    record.body = body(&attributes);
    record.answer = output(&attributes);
    Ok(record)
}

/// What groups the attempts of a request: they are spans below one span. The trace alone says nothing, since an agent's
/// holds many requests.
fn group(span: &Map<String, Value>) -> Option<String> {
    let parent = id(span, &["parentSpanId", "parent_span_id", "parent_id"])?;
    let context = span.get("context").and_then(Value::as_object);
    let trace = id(span, &["traceId", "trace_id"]);
    let trace = trace.or_else(|| id(context?, &["trace_id", "traceId"]))?;
    Some(format!("{trace}/{parent}"))
}

/// An id by one of its names. One of zeros is none.
fn id<'a>(fields: &'a Map<String, Value>, names: &[&str]) -> Option<&'a str> {
    let mut values = names.iter().filter_map(|name| fields.get(*name)?.as_str());
    let id = values.next()?;
    let digits = id.strip_prefix("0x").unwrap_or(id);
    (!digits.bytes().all(|digit| digit == b'0')).then_some(id)
}

/// Attributes by their names: a list of keys and typed values in OTLP, an object in plain dumps.
fn attributes(value: &Value) -> Map<String, Value> {
    match value {
        Value::Object(fields) => fields.clone(),
        Value::Array(list) => {
            let pairs = list.iter().filter_map(|pair| {
                let key = pair.get("key")?.as_str()?;
                Some((key.to_owned(), plain(pair.get("value")?, 0)))
            });
            pairs.collect()
        }
        _ => Map::new(),
    }
}

/// Lists in lists are read so deep.
const MAX_DEPTH: u32 = 16;

/// A typed value of OTLP. Whole numbers of 64 bits are written as texts.
fn plain(value: &Value, depth: u32) -> Value {
    let Some((kind, inner)) = value.as_object().and_then(|typed| typed.iter().next()) else {
        return Value::Null;
    };
    let list = |name: &str| inner.get(name).and_then(Value::as_array);
    match (kind.as_str(), inner) {
        _ if depth > MAX_DEPTH => Value::Null,
        ("intValue", Value::String(text)) => match text.parse::<i64>() {
            Ok(n) => Value::from(n),
            Err(_) => inner.clone(),
        },
        ("arrayValue", _) => {
            let values = list("values").into_iter().flatten();
            values.map(|value| plain(value, depth + 1)).collect()
        }
        ("kvlistValue", _) => {
            let pairs = list("values").into_iter().flatten();
            let pairs = pairs.filter_map(|pair| {
                let key = pair.get("key")?.as_str()?;
                Some((key.to_owned(), plain(pair.get("value")?, depth + 1)))
            });
            Value::Object(pairs.collect())
        }
        _ => inner.clone(),
    }
}

/// Is it the span of a chat? Where no operation is named, as by older conventions, a model or tokens say so.
fn is_chat(attributes: &Map<String, Value>) -> bool {
    match text_of(attributes, "gen_ai.operation.name") {
        Some(name) => ["chat", "generate_content"].contains(&name.as_str()),
        None => attributes
            .keys()
            .any(|key| key == "gen_ai.request.model" || key.starts_with("gen_ai.usage.")),
    }
}

/// Nanoseconds since 1970 by the first name, a date by the second.
fn time(span: &Map<String, Value>, names: [&str; 2]) -> Result<Option<i64>, DropReason> {
    let present = |name: &str| span.get(name).filter(|value| !value.is_null());
    let [nanos, date] = names;
    match (present(nanos), present(date)) {
        // What has not ended has 0 there.
        (Some(value), _) => Ok(Some(moment_of(Some(value), NANOSECONDS)?).filter(|at| *at != 0)),
        (None, Some(Value::String(text))) => wall_clock(text).map(Some),
        (None, Some(_)) => Err(DropReason::BadTimestamp),
        (None, None) => Ok(None),
    }
}

/// How it ended: none for a span that says nothing of an answer nor of a failure.
fn end(span: &Map<String, Value>, attributes: &Map<String, Value>) -> Option<Outcome> {
    let status = span.get("status");
    let code = status.and_then(|s| s.get("code").or_else(|| s.get("status_code")).or(Some(s)));
    let is_error = code.is_some_and(|code| {
        let word = code.as_str().unwrap_or_default();
        code.as_u64() == Some(2) || word.ends_with("ERROR") || word == "Error"
    });
    let kind = text_of(attributes, "error.type");
    let http = attributes.get("http.response.status_code");
    let http = http.and_then(Value::as_u64).filter(|http| *http >= 400);
    if is_error || kind.is_some() || http.is_some() {
        let http = http.map(|http| http.to_string());
        let failure = Failure {
            code: http.as_deref().or(kind.as_deref()),
            class: kind.as_deref(),
            message: status
                .and_then(|s| s.get("message").or_else(|| s.get("description")))
                .and_then(Value::as_str),
        };
        return Some(failure.outcome());
    }
    let answered = |key: &String| {
        key.starts_with("gen_ai.response.")
            || key.starts_with("gen_ai.usage.") && key.contains("put")
    };
    attributes.keys().any(answered).then_some(Outcome::Success)
}

/// The chat request, where the span has its messages, and all of them are text.
fn body(attributes: &Map<String, Value>) -> Option<Box<Map<String, Value>>> {
    const PARAMETERS: [&str; 5] = [
        "temperature",
        "max_tokens",
        "top_p",
        "seed",
        "stop_sequences",
    ];
    let mut messages = Vec::new();
    if let Some(system) = json_in(attributes.get("gen_ai.system_instructions")) {
        messages.push(chats::message("system", &parts(&system)?));
    }
    let input = json_in(attributes.get("gen_ai.input.messages"))?;
    for message in input.as_array()? {
        let role = message.get("role")?.as_str()?;
        let content = message.get("parts").or_else(|| message.get("content"))?;
        messages.push(chats::message(role, &parts(content)?));
    }
    let mut body = Map::new();
    for name in PARAMETERS {
        if let Some(value) = attributes.get(&format!("gen_ai.request.{name}")) {
            let name = name.strip_suffix("_sequences").unwrap_or(name);
            body.insert(name.to_owned(), value.clone());
        }
    }
    if messages.is_empty() {
        return None;
    }
    body.insert("messages".to_owned(), json!(messages));
    Some(Box::new(body))
}

/// The text of the first answer.
fn output(attributes: &Map<String, Value>) -> Option<String> {
    let output = json_in(attributes.get("gen_ai.output.messages"))?;
    let message = output.get(0)?;
    parts(message.get("parts").or_else(|| message.get("content"))?)
}

/// The text of the parts of a message; none when one of them is something else.
fn parts(parts: &Value) -> Option<String> {
    match parts {
        Value::String(text) => Some(text.clone()),
        Value::Array(parts) => parts
            .iter()
            .map(|part| part.get("content")?.as_str())
            .collect(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::traffic::format::testing::{fixture, one, read_all, survives};

    const CHAT: &str = r#""gen_ai.operation.name":"chat""#;

    fn span(times: &str, attributes: &str) -> String {
        format!("{{\"span_id\":\"1\",{times},\"attributes\":{{{CHAT},{attributes}}}}}\n")
    }

    const TIMES: &str =
        r#""start_time":"2026-03-02T09:00:00.25Z","end_time":"2026-03-02T09:00:01.5Z""#;

    #[test]
    fn otlp_documents_are_read_span_by_span() {
        let records = fixture(&FORMAT, include_str!("../../../fixtures/logs/otel.json"));
        assert_eq!(records.len(), 6);
        let first = &records[0];
        assert_eq!(first.at, Some(1_772_442_000_250_000_001));
        assert_eq!(first.latency, Some(Duration::from_millis(1_250)));
        assert_eq!(first.first_token, Some(Duration::from_millis(180)));
        assert_eq!(
            (first.input_tokens, first.output_tokens),
            (Some(12), Some(5))
        );
        assert_eq!(first.asked_model.as_deref(), Some("chat-large"));
        assert_eq!(first.served_by.as_deref(), Some("chat-large-2026-02"));
        assert_eq!(first.session.as_deref(), Some("conversation-1"));
        assert_eq!(first.is_stream, Some(true));
        assert_eq!(
            first.answer.as_deref(),
            Some("A gray release is a gradual one.")
        );
        let body = first.body.as_deref().unwrap();
        assert_eq!(body["messages"][0]["role"], "system");
        assert_eq!(body["messages"][1]["content"], "What is a gray release?");
        assert_eq!(body["stop"], json!(["END"]));
        let ends: Vec<_> = records.iter().map(|r| r.end).collect();
        let success = Some(Outcome::Success);
        assert_eq!(
            ends,
            [
                success,
                success,
                Some(Outcome::RateLimited),
                Some(Outcome::Timeout),
                Some(Outcome::Unauthorized),
                success
            ]
        );
    }

    #[test]
    fn documents_may_stand_on_lines_of_their_own() {
        let text = include_str!("../../../fixtures/logs/otel.json");
        let document: Value = serde_json::from_str(text).unwrap();
        let (records, bad) = read_all(&FORMAT, &format!("{document}\n{document}\n"));
        assert_eq!((records.len(), bad), (12, Vec::new()));
        assert_eq!(records[..6], records[6..]);
    }

    #[test]
    fn plain_dumps_have_dates_and_the_older_names() {
        let records = fixture(
            &FORMAT,
            include_str!("../../../fixtures/logs/otel-spans.jsonl"),
        );
        assert_eq!(records.len(), 4);
        assert_eq!(records[0].at, Some(1_772_442_000_250_000_000));
        assert_eq!(records[0].latency, Some(Duration::from_millis(1_250)));
        assert_eq!(records[0].input_tokens, Some(40));
        let dump = format!(
            "{{\"spans\":[{},{}]}}",
            span(TIMES, "\"a\":1"),
            span(TIMES, "\"a\":1")
        );
        assert_eq!(read_all(&FORMAT, &dump).0.len(), 2);
        let late = format!("{{\"version\":1,{}", &dump[1..]);
        assert_eq!(read_all(&FORMAT, &late).0.len(), 2);
    }

    #[test]
    fn what_is_missing_is_none() {
        let record = one(&FORMAT, &span(TIMES, "\"gen_ai.request.model\":\"m\""));
        assert_eq!((record.input_tokens, record.output_tokens), (None, None));
        assert_eq!((record.end, record.first_token), (None, None));
        assert_eq!((record.body, record.is_stream), (None, None));
        let open = one(
            &FORMAT,
            &span(
                "\"startTimeUnixNano\":\"5\",\"endTimeUnixNano\":\"0\"",
                "\"a\":1",
            ),
        );
        assert_eq!((open.at, open.latency), (Some(5), None));
    }

    #[test]
    fn spans_below_one_span_are_attempts_of_one_request() {
        let group = |ids: &str| {
            let line = span(&format!("{ids},{TIMES}"), "\"a\":1");
            one(&FORMAT, &line).trace
        };
        let joined = Some("t1/p1".to_owned());
        assert_eq!(group(r#""traceId":"t1","parentSpanId":"p1""#), joined);
        assert_eq!(group(r#""trace_id":"t1","parent_span_id":"p1""#), joined);
        let python = r#""context":{"trace_id":"0xa1","span_id":"0x1"},"parent_id":"0xb1""#;
        assert_eq!(group(python).as_deref(), Some("0xa1/0xb1"));
        // A trace alone groups nothing, nor does a parent that is none.
        for alone in [
            r#""trace_id":"t1""#,
            r#""trace_id":"t1","parent_span_id":null"#,
            r#""traceId":"t1","parentSpanId":"""#,
            r#""traceId":"t1","parentSpanId":"0000000000000000""#,
            r#""parentSpanId":"p1""#,
        ] {
            assert_eq!(group(alone), None, "{alone}");
        }
    }

    #[test]
    fn of_a_failure_it_is_known_what_was_asked_and_not_who_served() {
        let failed = r#""gen_ai.request.model":"v2","error.type":"AuthenticationError""#;
        let record = one(&FORMAT, &span(TIMES, failed));
        assert_eq!(record.end, Some(Outcome::Unauthorized));
        assert_eq!(record.asked_model.as_deref(), Some("v2"));
        assert_eq!(record.served_by, None);
    }

    #[test]
    fn spans_of_anything_else_are_dropped_by_name() {
        let other = |attributes: &str| {
            format!("{{\"span_id\":\"1\",{TIMES},\"attributes\":{{{attributes}}}}}\n")
        };
        let log = [
            span(TIMES, "\"a\":1"),
            other(r#""gen_ai.operation.name":"embeddings","gen_ai.request.model":"e""#),
            other(r#""http.route":"/""#),
            other(r#""gen_ai.system":"openai","gen_ai.usage.prompt_tokens":3"#),
            span("\"start_time\":\"yesterday\"", "\"a\":1"),
            span("\"end_time\":null", "\"a\":1"),
            span(TIMES, "\"gen_ai.usage.input_tokens\":-1"),
            span(TIMES, "\"gen_ai.response.time_to_first_chunk\":-1"),
            span("\"startTimeUnixNano\":\"0\"", "\"a\":1"),
            "{\"resourceSpans\":5}\n{\"resourceMetrics\":[]}\n7\n".to_owned(),
        ];
        let (records, bad) = read_all(&FORMAT, &log.concat());
        assert_eq!(records.len(), 2);
        assert_eq!(
            bad,
            [
                (2, DropReason::NoChat),
                (3, DropReason::NoChat),
                (5, DropReason::BadTimestamp),
                (6, DropReason::BadTimestamp),
                (7, DropReason::BadTokens),
                (8, DropReason::BadNumber),
                (9, DropReason::BadTimestamp),
                (10, DropReason::BadForm),
                (11, DropReason::BadForm),
                (12, DropReason::BadForm),
            ]
        );
    }

    #[test]
    fn a_request_with_more_than_text_is_not_sent_again_as_less() {
        let messages = r#""gen_ai.input.messages":"[{\"role\":\"user\",\"parts\":[{\"type\":\"blob\",\"data\":\"x\"}]}]""#;
        assert_eq!(one(&FORMAT, &span(TIMES, messages)).body, None);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            survives(&FORMAT, "{\"resourceSpans\":[{\"scopeSpans\":[{\"spans\":[{", &bytes);
            survives(&FORMAT, &span(TIMES, "\"a\":1"), &bytes);
        }
    }
}
