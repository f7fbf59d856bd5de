//! OpenTelemetry: a span a line, by the conventions for generative AI.

use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use crate::traffic::format::Record;
use crate::traffic::format::values::SECONDS;
use crate::traffic::format::write::failures::{Told, told};
use crate::traffic::format::write::line::{Line, decimal};
use crate::traffic::format::write::losses::Field::*;
use crate::traffic::format::write::{LogClock, Losses, Unfit, Writer};

/// The writer.
pub(super) const WRITER: Writer = Writer {
    name: "otel",
    header: "",
    clock: LogClock::Calendar,
    write,
};

fn write(record: &Record, number: u64, losses: &mut Losses) -> Result<String, Unfit> {
    let at = record.at.ok_or(Unfit::NoTime)?;
    let start = date(at).ok_or(Unfit::NoTime)?;
    let length = record
        .latency
        .map(|length| i64::try_from(length.as_nanos()));
    let end = length.and_then(|length| date(at.checked_add(length.ok()?)?));
    losses.note_if(record.latency.is_some() && end.is_none(), Latency);
    losses.note_known(record, &[Delay, Tenant, NoChance, Cost]);
    let mut line = Line::default();
    line.text("name", "chat");
    line.text("span_id", &format!("{number:016x}"));
    let (trace, parent) = ids(record, number);
    line.text("trace_id", &trace);
    line.json("parent_span_id", parent.as_ref());
    line.text("start_time", &start);
    line.json("end_time", end.as_ref());
    let failure = record.end.and_then(told);
    line.json("status", status(record, failure).as_ref());
    line.plain("attributes", Some(attributes(record, failure, losses)));
    Ok(line.finish())
}

/// A date by RFC 3339, to the nanosecond.
fn date(at: i64) -> Option<String> {
    let date = jiff::Timestamp::from_nanosecond(at.into());
    date.ok().map(|date| date.to_string())
}

/// The ids of a trace and of the span above, the same ones for the same trace: attempts of a request are the children of
/// one span, which is not in the log itself. Without a trace there is none above.
fn ids(record: &Record, number: u64) -> (String, Option<String>) {
    let Some(trace) = &record.trace else {
        return (format!("{number:032x}"), None);
    };
    let digest = Sha256::digest(trace.as_bytes());
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    (hex(&digest[..16]), Some(hex(&digest[16..24])))
}

fn status(record: &Record, failure: Option<Told>) -> Option<Value> {
    record.end?;
    Some(match failure {
        None => json!({"status_code": "OK"}),
        Some(told) => json!({
            "status_code": "ERROR",
            "description": told.message.unwrap_or(told.class),
        }),
    })
}

fn attributes(record: &Record, failure: Option<Told>, losses: &mut Losses) -> String {
    let mut line = Line::default();
    line.text("gen_ai.operation.name", "chat");
    let (asked, answered) = models(record);
    line.json("gen_ai.request.model", asked);
    line.json("gen_ai.response.model", answered);
    line.json("gen_ai.conversation.id", record.session.as_ref());
    line.json("user.id", record.user.as_ref());
    line.json("gen_ai.request.stream", record.is_stream.as_ref());
    line.json("gen_ai.usage.input_tokens", record.input_tokens.as_ref());
    line.json("gen_ai.usage.output_tokens", record.output_tokens.as_ref());
    let first = record.first_token;
    line.plain(
        "gen_ai.response.time_to_first_chunk",
        first.map(|first| decimal(first.as_nanos() as i128, SECONDS)),
    );
    end(&mut line, record, failure);
    if let Some(body) = &record.body {
        request(&mut line, body, losses);
    }
    if let Some(answer) = &record.answer {
        let message =
            json!([{"role": "assistant", "parts": parts(answer), "finish_reason": "stop"}]);
        line.json("gen_ai.output.messages", Some(&message));
    }
    line.finish()
}

/// The model that was asked, and the one that answered. Where nobody answered, and it is not known under which name the
/// request had come, gateways call the deployment that they tried the one that was asked.
fn models(record: &Record) -> (Option<&String>, Option<&String>) {
    let (asked, served) = (record.asked_model.as_ref(), record.served_by.as_ref());
    let is_answered = record.end.is_some_and(|end| end.is_success());
    match asked {
        None if !is_answered => (served, None),
        _ => (asked, served),
    }
}

fn end(line: &mut Line, record: &Record, failure: Option<Told>) {
    match failure {
        None if record.end.is_none() => {}
        // What says that there was an answer, even where its length is not known.
        None => line.json("gen_ai.response.finish_reasons", Some(&["stop"])),
        Some(told) => {
            line.text("error.type", told.class);
            line.json("http.response.status_code", told.status.as_ref());
        }
    }
}

/// The parameters that have a name in the conventions.
const PARAMETERS: [(&str, &str); 5] = [
    ("temperature", "temperature"),
    ("max_tokens", "max_tokens"),
    ("top_p", "top_p"),
    ("seed", "seed"),
    ("stop", "stop_sequences"),
];

fn request(line: &mut Line, body: &Map<String, Value>, losses: &mut Losses) {
    let messages = body.get("messages").and_then(Value::as_array);
    let written: Option<Vec<Value>> = messages.and_then(|all| all.iter().map(message).collect());
    let Some(written) = written.filter(|all| !all.is_empty()) else {
        return losses.note(Body);
    };
    let is_known = |name: &String| name == "messages" || PARAMETERS.iter().any(|(n, _)| n == name);
    losses.note_if(!body.keys().all(is_known), Body);
    for (name, convention) in PARAMETERS {
        line.json(&format!("gen_ai.request.{convention}"), body.get(name));
    }
    line.json("gen_ai.input.messages", Some(&written));
}

/// A message of text and nothing else.
fn message(message: &Value) -> Option<Value> {
    let fields = message.as_object().filter(|fields| fields.len() == 2)?;
    let role = fields.get("role")?.as_str()?;
    let content = fields.get("content")?.as_str()?;
    Some(json!({"role": role, "parts": parts(content)}))
}

fn parts(text: &str) -> Value {
    json!([{"type": "text", "content": text}])
}
