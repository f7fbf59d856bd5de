//! LiteLLM's `StandardLoggingPayload`. Its times are floats: microseconds are exact.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use crate::traffic::format::Record;
use crate::traffic::format::values::{MICROSECONDS, SECONDS};
use crate::traffic::format::write::failures::{Told, told};
use crate::traffic::format::write::line::{Line, decimal};
use crate::traffic::format::write::losses::Field::*;
use crate::traffic::format::write::{LogClock, Losses, Unfit, Writer};

/// The writer.
pub(super) const WRITER: Writer = Writer {
    name: "litellm",
    header: "",
    clock: LogClock::Calendar,
    write,
};

fn write(record: &Record, number: u64, losses: &mut Losses) -> Result<String, Unfit> {
    let at = record.at.ok_or(Unfit::NoTime)?;
    losses.note_if(at % i64::from(MICROSECONDS) != 0, Time);
    losses.note_known(record, &[Delay, NoChance]);
    let id = format!("request-{number}");
    let mut line = Line::default();
    // What a reader knows the format by comes first: messages may be long.
    line.text("id", &id);
    // Every call has a trace. One that is part of none is alone in its own.
    line.text("trace_id", record.trace.as_ref().unwrap_or(&id));
    line.text("call_type", "acompletion");
    times(&mut line, at, record, losses);
    line.json("stream", record.is_stream.as_ref());
    end(&mut line, record);
    tokens(&mut line, record, losses);
    names(&mut line, record);
    let cost = record.cost;
    line.plain(
        "response_cost",
        cost.map(|cost| decimal(cost.nanos().into(), SECONDS)),
    );
    texts(&mut line, record, losses);
    Ok(line.finish())
}

/// Unix seconds, to the microsecond.
fn seconds(nanos: i128) -> String {
    let unit = i128::from(MICROSECONDS);
    decimal(nanos - nanos.rem_euclid(unit), SECONDS)
}

fn times(line: &mut Line, at: i64, record: &Record, losses: &mut Losses) {
    // From a whole microsecond to a whole microsecond.
    let start = i128::from(at) - i128::from(at).rem_euclid(i128::from(MICROSECONDS));
    let after = |length: Duration| start + length.as_nanos() as i128;
    let has_digits = |length: Duration| !length.subsec_nanos().is_multiple_of(MICROSECONDS);
    losses.note_if(record.latency.is_some_and(has_digits), Latency);
    line.plain("startTime", Some(seconds(start)));
    line.plain(
        "endTime",
        record.latency.map(|latency| seconds(after(latency))),
    );
    let Some(first) = record.first_token else {
        return;
    };
    // Where an answer came whole, this is its end.
    let is_before = || record.latency.is_some_and(|end| first < end);
    let is_told = record.is_stream == Some(true) || is_before();
    losses.note_if(!is_told || has_digits(first), FirstToken);
    if is_told {
        line.plain("completionStartTime", Some(seconds(after(first))));
    }
}

fn end(line: &mut Line, record: &Record) {
    let Some(end) = record.end else { return };
    let Some(told) = told(end) else {
        return line.text("status", "success");
    };
    line.text("status", "failure");
    line.json("error_information", Some(&information(told)));
}

fn information(told: Told) -> Value {
    let code = told.status.map(|status| status.to_string());
    json!({
        "error_code": code.unwrap_or_default(),
        "error_class": told.class,
        "error_message": told.message.unwrap_or_default(),
    })
}

/// Where nobody counted the tokens of a failure, LiteLLM writes 0 for both.
fn tokens(line: &mut Line, record: &Record, losses: &mut Losses) {
    let (input, output) = (record.input_tokens, record.output_tokens);
    let is_failure = record.end.is_some_and(|end| !end.is_success());
    let is_uncounted = is_failure && input.max(output).unwrap_or_default() == 0;
    for (name, tokens, field) in [
        ("prompt_tokens", input, InputTokens),
        ("completion_tokens", output, OutputTokens),
    ] {
        losses.note_if(is_uncounted && tokens.is_some(), field);
        line.json(name, tokens.or(is_uncounted.then_some(0)).as_ref());
    }
}

fn names(line: &mut Line, record: &Record) {
    let (asked, served) = (record.asked_model.as_ref(), record.served_by.as_ref());
    line.json("model_group", asked);
    line.json("model_id", served);
    // It stands in for both where they are missing.
    line.json("model", asked.and(served));
    line.json("session_id", record.session.as_ref());
    line.json("end_user", record.user.as_ref());
    let team = record.tenant.as_ref();
    let metadata = team.map(|team| json!({"user_api_key_team_id": team}));
    line.json("metadata", metadata.as_ref());
}

fn texts(line: &mut Line, record: &Record, losses: &mut Losses) {
    if let Some(body) = &record.body {
        let messages = body.get("messages").and_then(Value::as_array);
        let messages = messages.filter(|list| !list.is_empty());
        losses.note_if(messages.is_none(), Body);
        if messages.is_some() {
            let parameters = body.iter().filter(|(name, _)| *name != "messages");
            let parameters: BTreeMap<_, _> = parameters.collect();
            line.json("model_parameters", Some(&parameters));
            line.json("messages", messages);
        }
    }
    let answer = record.answer.as_ref().map(|answer| {
        let message = json!({"role": "assistant", "content": answer});
        json!({"object": "chat.completion", "choices": [{"index": 0, "message": message}]})
    });
    line.json("response", answer.as_ref());
}
