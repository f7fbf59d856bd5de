//! Observations as Langfuse exports them: a JSON array, JSON lines, or CSV.

use std::io::BufRead;

use serde_json::{Map, Value};

use crate::protocol::outcome::Outcome;
use crate::traffic::format::chats::{self, Failure};
use crate::traffic::format::values::{
    SECONDS, between, dollars_of, json_in, length_of, text_of, tokens_of, wall_clock,
};
use crate::traffic::format::{
    DropReason, Each, Format, Head, LogError, Record, is_json, read_objects, table,
};

/// The format.
pub const FORMAT: Format = Format {
    name: "langfuse",
    title: "Langfuse observations as JSON or CSV",
    times: "dates",
    detect,
    read,
};

/// What every export of observations has.
const MARKS: [&str; 3] = ["traceId", "startTime", "type"];

fn detect(head: &Head<'_>) -> Option<&'static str> {
    let is_it = head.has_keys(&MARKS) || head.has_columns(&MARKS);
    is_it.then_some("it has traceId, startTime and type")
}

fn read(reader: &mut dyn BufRead, each: Each<'_>) -> Result<(), LogError> {
    match is_json(reader)? {
        true => read_objects(reader, &[], each, |fields| record(&fields)),
        false => table::read_texts(reader, each, &MARKS, |fields| record(&fields)),
    }
}

fn record(fields: &Map<String, Value>) -> Result<Record, DropReason> {
    let text = |name: &str| text_of(fields, name);
    if text("type").as_deref() != Some("GENERATION") {
        return Err(DropReason::NoChat);
    }
    let at = time(fields, "startTime")?.ok_or(DropReason::BadTimestamp)?;
    let since = |name: &str| {
        let moment = time(fields, name)?;
        Ok(moment.and_then(|moment| between(at, moment)))
    };
    // Seconds, unlike all others.
    let length = |name: &str| length_of(fields.get(name), SECONDS);
    let [input, output] = tokens(fields)?;
    let mut record = Record {
        at: Some(at),
        input_tokens: input,
        output_tokens: output,
        session: text("sessionId"),
        trace: text("traceId"),
        end: end(fields),
        latency: since("endTime")?.or(length("latency")?),
        first_token: since("completionStartTime")?.or(length("timeToFirstToken")?),
        user: text("userId"),
        served_by: text("providedModelName").or_else(|| text("model")),
        cost: dollars_of(fields.get("totalCost"))?,
        ..Record::default()
    };
    note_texts(&mut record, fields);
    Ok(record)
}

fn time(fields: &Map<String, Value>, name: &str) -> Result<Option<i64>, DropReason> {
    match fields.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => wall_clock(text).map(Some),
        Some(_) => Err(DropReason::BadTimestamp),
    }
}

/// Tokens in and out. Cached and reasoning tokens stand beside the others and are no part of them: all that is called
/// input is added up, and all that is called output.
fn tokens(fields: &Map<String, Value>) -> Result<[Option<u32>; 2], DropReason> {
    let usage = json_in(fields.get("usageDetails"));
    let usage = usage.as_deref().and_then(Value::as_object);
    let sum = |word: &str| -> Result<Option<u32>, DropReason> {
        let mut sum = None;
        let counts = usage.into_iter().flatten();
        for (_, value) in counts.filter(|(name, _)| name.starts_with(word)) {
            let count = tokens_of(Some(value))?;
            sum = add(sum, count)?;
        }
        Ok(sum)
    };
    let old = |name: &str| tokens_of(fields.get(name));
    Ok([
        sum("input")?.or(old("promptTokens")?),
        sum("output")?.or(old("completionTokens")?),
    ])
}

fn add(sum: Option<u32>, count: Option<u32>) -> Result<Option<u32>, DropReason> {
    match (sum, count) {
        (Some(sum), Some(count)) => {
            tokens_of(Some(&Value::from(u64::from(sum) + u64::from(count))))
        }
        (sum, count) => Ok(sum.or(count)),
    }
}

fn end(fields: &Map<String, Value>) -> Option<Outcome> {
    if fields.get("level")?.as_str()? != "ERROR" {
        return Some(Outcome::Success);
    }
    let message = fields.get("statusMessage").and_then(Value::as_str);
    // The message begins with the name of the exception, if there is one.
    let class = message.and_then(|message| message.split([':', ' ']).next());
    let failure = Failure {
        code: None,
        class,
        message,
    };
    Some(failure.outcome())
}

/// What was asked and answered: integrations write messages, or the whole request.
fn note_texts(record: &mut Record, fields: &Map<String, Value>) {
    let parameters = json_in(fields.get("modelParameters"));
    let parameters = parameters.as_deref().and_then(Value::as_object);
    let mut body = parameters.cloned().unwrap_or_default();
    match json_in(fields.get("input")).as_deref() {
        Some(Value::Array(messages)) => {
            body.insert("messages".to_owned(), Value::from(messages.clone()));
        }
        Some(Value::Object(request)) => body.extend(request.clone()),
        Some(Value::String(prompt)) => {
            let messages = vec![chats::message("user", prompt)];
            body.insert("messages".to_owned(), Value::from(messages));
        }
        _ => {}
    }
    let says_stream = body.contains_key("stream");
    let user = record.user.clone();
    chats::note_request(record, body);
    record.user = user;
    record.is_stream = record.is_stream.filter(|_| says_stream);
    record.answer = match json_in(fields.get("output")).as_deref() {
        Some(Value::String(text)) => Some(text.clone()),
        Some(message) => message
            .get("content")
            .and_then(Value::as_str)
            .map(str::to_owned),
        None => None,
    };
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::pricing::Cost;
    use crate::traffic::format::testing::{fixture, one, read_all, survives};

    const HEAD: &str =
        r#"{"traceId":"t","type":"GENERATION","startTime":"2026-03-02T09:00:00.250Z","#;

    fn observation(fields: &str) -> String {
        format!("{HEAD}{fields}}}\n")
    }

    #[test]
    fn all_three_exports_say_the_same() {
        let array = fixture(
            &FORMAT,
            include_str!("../../../fixtures/logs/langfuse.json"),
        );
        let lines = fixture(
            &FORMAT,
            include_str!("../../../fixtures/logs/langfuse.jsonl"),
        );
        let table = fixture(&FORMAT, include_str!("../../../fixtures/logs/langfuse.csv"));
        assert_eq!(array, lines);
        assert_eq!(array, table);
        assert_eq!(array.len(), 5);
        let first = &array[0];
        assert_eq!(first.at, Some(1_772_442_000_250_000_000));
        assert_eq!(first.latency, Some(Duration::from_millis(1_250)));
        assert_eq!(first.first_token, Some(Duration::from_millis(250)));
        assert_eq!(
            (first.input_tokens, first.output_tokens),
            (Some(9), Some(3))
        );
        assert_eq!(first.session.as_deref(), Some("session-1"));
        assert_eq!(first.trace.as_deref(), Some("trace-1"));
        assert_eq!(first.served_by.as_deref(), Some("chat-large-2026-02"));
        assert_eq!(first.cost, Some(Cost::from_nanos(42_000)));
        assert_eq!(first.answer.as_deref(), Some("Blue"));
        assert_eq!(first.body.as_deref().unwrap()["temperature"], 0);
        let failed = &array[2];
        assert_eq!(failed.end, Some(Outcome::RateLimited));
        assert_eq!((failed.input_tokens, failed.cost), (None, None));
        assert_eq!(
            (array[4].end, &array[4].user),
            (Some(Outcome::Success), &None)
        );
    }

    #[test]
    fn lengths_are_seconds() {
        let record = one(
            &FORMAT,
            &observation(r#""latency":0.75,"timeToFirstToken":"0.125""#),
        );
        assert_eq!(record.latency, Some(Duration::from_millis(750)));
        assert_eq!(record.first_token, Some(Duration::from_millis(125)));
    }

    #[test]
    fn cached_and_reasoning_tokens_are_beside_the_others() {
        let usage = r#""usageDetails":{"input":9,"input_cached_tokens":100,"output":3,"output_reasoning_tokens":7,"total":119}"#;
        let record = one(&FORMAT, &observation(usage));
        assert_eq!(
            (record.input_tokens, record.output_tokens),
            (Some(109), Some(10))
        );
    }

    #[test]
    fn what_is_missing_is_none() {
        let record = one(&FORMAT, &observation("\"endTime\":null"));
        assert_eq!(
            (record.end, record.latency, record.first_token),
            (None, None, None)
        );
        assert_eq!(
            (record.input_tokens, record.body, record.is_stream),
            (None, None, None)
        );
    }

    #[test]
    fn other_observations_are_dropped_by_name() {
        let log = [
            observation("\"a\":1"),
            observation("\"a\":1").replace("GENERATION", "SPAN"),
            observation("\"a\":1").replace("2026", "x"),
            observation("\"latency\":-1"),
            observation("\"usageDetails\":{\"input\":1.5}"),
            observation("\"usageDetails\":{\"input\":1500000,\"input_cached\":1500000}"),
            observation("\"totalCost\":\"much\""),
            "[1\n".to_owned(),
        ];
        let (records, bad) = read_all(&FORMAT, &log.concat());
        assert_eq!(records.len(), 1);
        assert_eq!(
            bad,
            [
                (2, DropReason::NoChat),
                (3, DropReason::BadTimestamp),
                (4, DropReason::BadNumber),
                (5, DropReason::BadTokens),
                (6, DropReason::TooManyTokens),
                (7, DropReason::BadNumber),
                (8, DropReason::BadForm),
            ]
        );
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            survives(&FORMAT, HEAD, &bytes);
            survives(&FORMAT, "traceId,startTime,type\n", &bytes);
        }
    }
}
