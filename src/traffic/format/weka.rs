//! Traces with `t` (seconds), `in` and `out` (tokens): CSV or JSON lines of requests, and the traces of agents that Weka
//! publishes, one object a conversation with its `requests`, and those of subagents in them.
//!
//! A conversation's times begin with it, so several of them in one file all begin at 0, together.

use std::io::BufRead;

use serde_json::{Map, Value};

use crate::traffic::format::items::Items;
use crate::traffic::format::table::{self, Columns, Row};
use crate::traffic::format::values::{self, SECONDS};
use crate::traffic::format::{
    DropReason, Each, Format, Found, Head, LogError, Record, is_json, read_items,
};

/// The format.
pub const FORMAT: Format = Format {
    name: "weka",
    title: "traces of t, in, out (Weka)",
    times: "seconds",
    detect,
    read,
};

/// The fields, and the columns.
const FIELDS: [&str; 3] = ["t", "in", "out"];

fn detect(head: &Head<'_>) -> Option<&'static str> {
    if head.has_columns(&FIELDS) {
        return Some("its first line names t, in and out");
    }
    let Some(fields) = head.first_object(&[]) else {
        // A whole conversation may be longer than what is looked at.
        let is_conversation = head.begins_with(b"{") && head.contains("\"hash_id_scope\"");
        return is_conversation.then_some("it has a hash_id_scope");
    };
    let has_all = |fields: &Map<String, Value>| FIELDS.iter().all(|n| fields.contains_key(*n));
    let first = fields.get("requests").and_then(|requests| requests.get(0));
    let is_request = has_all(&fields) || first.and_then(Value::as_object).is_some_and(has_all);
    is_request.then_some("its first request has t, in and out")
}

/// Reads a whole log.
///
/// # Errors
/// When reading fails, there is nothing, or a column is missing.
pub fn read(reader: &mut dyn BufRead, each: Each<'_>) -> Result<(), LogError> {
    if !is_json(reader)? {
        return table::read_table(reader, each, places, row);
    }
    read_items(Items::new(reader), each, |fields, found| {
        match fields.get("requests") {
            Some(Value::Array(requests)) => {
                let session = values::text_of(&fields, "id");
                requests
                    .iter()
                    .for_each(|r| entry(r, session.as_deref(), found));
            }
            _ => found(request(&fields, None, 0)),
        }
    })
}

/// An entry of a conversation: a request, or a subagent with requests of its own.
fn entry(entry: &Value, session: Option<&str>, found: Found<'_>) {
    match (entry, entry.get("requests")) {
        (Value::Object(fields), None) => found(request(fields, session, 0)),
        (Value::Object(fields), Some(Value::Array(requests))) => {
            match subagent(fields, session, requests) {
                Ok((agent, start)) => requests.iter().for_each(|inner| {
                    let fields = inner.as_object().ok_or(DropReason::BadForm);
                    found(fields.and_then(|fields| request(fields, agent.as_deref(), start)));
                }),
                Err(reason) => found(Err(reason)),
            }
        }
        _ => found(Err(DropReason::BadForm)),
    }
}

/// The conversation of a subagent, and what its times are counted from: nothing, or its own start. The traces have both;
/// a request that would come before its agent must be counted from there.
fn subagent(
    fields: &Map<String, Value>,
    session: Option<&str>,
    requests: &[Value],
) -> Result<(Option<String>, i64), DropReason> {
    let start = values::moment_of(fields.get("t"), SECONDS)?;
    let first = requests.first().and_then(|first| first.get("t"));
    let is_own = values::moment_of(first, SECONDS).is_ok_and(|first| first < start);
    let agent = values::text_of(fields, "agent_id");
    let name = match (session, agent) {
        (Some(session), Some(agent)) => Some(format!("{session}/{agent}")),
        (_, agent) => agent,
    };
    Ok((name, if is_own { start } else { 0 }))
}

fn request(
    fields: &Map<String, Value>,
    session: Option<&str>,
    start: i64,
) -> Result<Record, DropReason> {
    let at = values::moment_of(fields.get("t"), SECONDS)?;
    Ok(Record {
        at: Some(at.checked_add(start).ok_or(DropReason::BadTimestamp)?),
        delay: values::length_of(fields.get("think_time"), SECONDS)?,
        input_tokens: values::tokens_of(fields.get("in"))?,
        output_tokens: values::tokens_of(fields.get("out"))?,
        session: session.map(str::to_owned),
        latency: values::length_of(fields.get("api_time"), SECONDS)?,
        first_token: values::length_of(fields.get("ttft"), SECONDS)?,
        is_stream: is_stream(fields),
        asked_model: values::text_of(fields, "model"),
        ..Record::default()
    })
}

/// Normal requests are of type `n`, streams of type `s`.
fn is_stream(fields: &Map<String, Value>) -> Option<bool> {
    match fields.get("type")?.as_str()? {
        "s" => Some(true),
        "n" => Some(false),
        _ => None,
    }
}

fn places(columns: &Columns) -> Result<[usize; 3], LogError> {
    let [time, input, output] = FIELDS;
    Ok([
        columns.need(time)?,
        columns.need(input)?,
        columns.need(output)?,
    ])
}

fn row(&[time, input, output]: &[usize; 3], row: &Row<'_>) -> Result<Record, DropReason> {
    let time = row.text(Some(time)).ok_or(DropReason::BadTimestamp)?;
    Ok(Record {
        at: Some(values::moment(time, SECONDS)?),
        input_tokens: values::tokens(row.text(Some(input)))?,
        output_tokens: values::tokens(row.text(Some(output)))?,
        ..Record::default()
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::traffic::format::testing::{detected, read_all};

    #[test]
    fn requests_a_line_and_in_a_table() {
        let lines = r#"{"id": "r1", "t": 0.5, "in": 640, "out": 30, "hash_ids": [1, 2]}
{"t": 2, "in": 64, "out": null}"#;
        let (rows, bad) = read_all(&FORMAT, lines);
        assert!(bad.is_empty(), "{bad:?}");
        assert_eq!(
            rows[0],
            Record {
                at: Some(500_000_000),
                input_tokens: Some(640),
                output_tokens: Some(30),
                ..Record::default()
            }
        );
        let (table, bad) = read_all(&FORMAT, "\u{feff}t,in,out\r\n0.5,640,30\r\n2,64,");
        assert!(bad.is_empty(), "{bad:?}");
        assert_eq!(table, rows);
    }

    #[test]
    fn a_conversation_has_its_requests_and_those_of_its_subagents() {
        let inner = |t: f64| json!({"t": t, "type": "n", "in": 1, "out": 1});
        let agent = |id: &str, t: f64, inner: Value| json!({"t": t, "type": "subagent", "agent_id": id, "requests": [inner]});
        let conversation = json!({"id": "c", "block_size": 64, "requests": [
            {"t": 1.5, "type": "s", "model": "big", "in": 9, "out": 8, "api_time": 2.5, "ttft": 0.25},
            {"t": 5, "type": "n", "in": 9, "out": 8, "think_time": 0.5},
            agent("a", 10.0, inner(11.0)),
            agent("b", 20.0, inner(0.5)),
        ]});
        let (rows, bad) = read_all(&FORMAT, &conversation.to_string());
        assert!(bad.is_empty(), "{bad:?}");
        let first = &rows[0];
        assert_eq!(first.latency, Some(Duration::from_millis(2_500)));
        assert_eq!(first.first_token, Some(Duration::from_millis(250)));
        assert_eq!(
            (first.is_stream, rows[1].is_stream),
            (Some(true), Some(false))
        );
        assert_eq!(first.asked_model.as_deref(), Some("big"));
        assert_eq!(rows[1].delay, Some(Duration::from_millis(500)));
        let places = rows
            .iter()
            .map(|r| (r.at.unwrap() / 100_000_000, r.session.as_deref().unwrap()));
        assert_eq!(
            places.collect::<Vec<_>>(),
            [(15, "c"), (50, "c"), (110, "c/a"), (205, "c/b")]
        );
    }

    #[test]
    fn useless_rows_are_placed_and_named() {
        use DropReason::*;
        let lines = r#"{"t": "x", "in": 1, "out": 1}
{"in": 1, "out": 1}
{"t": 0, "in": -1, "out": 1}
{"t": 0, "in": 1, "out": 2000001}
{"t": 0, "in": 1, "out": 1, "api_time": -1}
{"requests": [5, {"t": 0, "in": 1, "out": "x"}, {"requests": []}, {"t": 1, "requests": [5]}]}
nonsense"#;
        let (rows, bad) = read_all(&FORMAT, lines);
        assert!(rows.is_empty());
        assert_eq!(
            bad,
            [
                (1, BadTimestamp),
                (2, BadTimestamp),
                (3, BadTokens),
                (4, TooManyTokens),
                (5, BadNumber),
                (6, BadForm),
                (6, BadTokens),
                (6, BadTimestamp),
                (6, BadForm),
                (7, BadForm),
            ]
        );
        let (_, bad) = read_all(&FORMAT, "t,in,out\r\n,1,1\r\n0,x,1\r\n0,1\r\n");
        assert_eq!(bad, [(2, BadTimestamp), (3, BadTokens), (4, FieldCount)]);
    }

    #[test]
    fn a_conversation_is_known_before_it_ends() {
        assert_eq!(
            detected("{\"id\": \"c\", \"hash_id_scope\": \"local\", \"requests\": [{\"t\""),
            Some("weka")
        );
        assert_eq!(detected("{\"t\": 1, \"in\": 2}"), None);
        assert_eq!(detected("t,in"), None);
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_reader_panic(body in prop::collection::vec(any::<u8>(), 0..300)) {
            for head in ["", "{", "t,in,out\n"] {
                let file = [head.as_bytes(), &body[..]].concat();
                let _ = read(&mut &file[..], &mut |_| {});
            }
        }

        #[test]
        fn no_values_make_the_reader_panic(time: f64, start: f64, n: i64, text in ".{0,9}") {
            let inner = json!({"t": time, "in": n, "out": text, "type": text});
            let row = json!({"id": n, "requests": [inner, {"t": start, "requests": [inner]}]});
            let _ = read(&mut row.to_string().as_bytes(), &mut |_| {});
        }
    }
}
