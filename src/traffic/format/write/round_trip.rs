//! What is written is read again: all of it, but for what was said to be lost.

use std::time::Duration;

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use crate::pricing::Cost;
use crate::protocol::outcome::Outcome;
use crate::traffic::format::testing::{detected, read_all};
use crate::traffic::format::write::{Field, Losses, WRITERS, Writer};
use crate::traffic::format::{Format, MAX_TOKENS, Record, named};

fn reader(writer: &Writer) -> &'static Format {
    named(writer.name).unwrap()
}

/// What a reader makes of a record of which this is not known.
fn invents(writer: &Writer, field: Field, written: &Record) -> bool {
    match writer.name {
        // Every call has a trace.
        "litellm" => field == Field::Trace,
        // An answer is a success, and what was tried without one is what was asked.
        "otel" => match field {
            Field::Outcome => true,
            Field::Model => !is_answered(written),
            _ => false,
        },
        // An answer is a success, and a failure has none.
        "burstgpt" => [Field::Outcome, Field::OutputTokens].contains(&field),
        _ => false,
    }
}

fn is_answered(record: &Record) -> bool {
    record.end.is_some_and(Outcome::is_success)
}

/// Is it told in another place, or by another name?
fn is_told(writer: &Writer, field: Field, a: &Record, b: &Record) -> bool {
    match (writer.name, field) {
        // What was tried, whether it answered or not.
        ("otel", Field::ServedBy) if !is_answered(a) && a.asked_model.is_none() => {
            (&a.served_by, &None) == (&b.asked_model, &b.served_by)
        }
        // Attempts of a request are grouped by an id made of its own.
        ("otel", Field::Trace) => a.trace.is_some() == b.trace.is_some(),
        _ => same(field, a, b),
    }
}

fn same(field: Field, a: &Record, b: &Record) -> bool {
    match field {
        Field::Time => a.at == b.at,
        Field::Delay => a.delay == b.delay,
        Field::InputTokens => a.input_tokens == b.input_tokens,
        Field::OutputTokens => a.output_tokens == b.output_tokens,
        Field::Session => a.session == b.session,
        Field::Outcome => a.end == b.end,
        Field::Latency => a.latency == b.latency,
        Field::FirstToken => a.first_token == b.first_token,
        Field::Stream => a.is_stream == b.is_stream,
        Field::User => a.user == b.user,
        Field::Tenant => a.tenant == b.tenant,
        Field::Trace => a.trace == b.trace,
        Field::Model => a.asked_model == b.asked_model,
        Field::ServedBy => a.served_by == b.served_by,
        Field::NoChance => a.by_chance == b.by_chance,
        Field::Cost => a.cost == b.cost,
        Field::Body => a.body == b.body,
        Field::Answer => a.answer == b.answer,
    }
}

/// Every field of a record is read as it was, or was said to be lost, and is.
fn assert_told(writer: &Writer, written: &Record, lost: &Losses, read: &Record) {
    for field in Field::ALL {
        let is_lost = lost.counts().any(|(f, n)| (f, n) == (field, 1));
        let told = format!("{} {field:?}: {written:?} as {read:?}", writer.name);
        match (field.is_known(written), is_lost) {
            (true, _) => assert_ne!(is_told(writer, field, written, read), is_lost, "{told}"),
            (false, true) => panic!("lost what was not there: {told}"),
            (false, false) => {
                let is_none = !field.is_known(read);
                let is_made_up = || invents(writer, field, written);
                assert!(is_none || is_made_up(), "{told}");
            }
        }
    }
}

/// What stood together in one group still does, and nothing else does.
fn assert_grouped(writer: &Writer, written: &[&Record], read: &[Record]) {
    if !["graygate", "litellm", "otel"].contains(&writer.name) {
        return;
    }
    for (i, a) in written.iter().enumerate() {
        for (j, b) in written.iter().enumerate() {
            let is_together = i == j || a.trace.is_some() && a.trace == b.trace;
            let is_still = i == j || read[i].trace.is_some() && read[i].trace == read[j].trace;
            assert_eq!(is_together, is_still, "{}: {a:?} {b:?}", writer.name);
        }
    }
}

fn assert_round_trip(writer: &Writer, records: &[Record]) {
    let mut shift = None;
    let (mut text, mut written) = (format!("{}\n", writer.header), Vec::new());
    for (number, record) in (1..).zip(records) {
        let mut record = record.clone();
        let here = shift.unwrap_or_else(|| writer.clock.shift(record.at.unwrap_or_default()));
        record.at = record.at.map(|at| at + here);
        let mut lost = Losses::default();
        let Ok(line) = (writer.write)(&record, number, &mut lost) else {
            continue;
        };
        assert!(!line.contains('\n') || writer.name == "burstgpt", "{line}");
        shift = shift.or(record.at.map(|_| here));
        text.push_str(&line);
        text.push('\n');
        written.push((record, lost));
    }
    if written.is_empty() {
        return;
    }
    assert_eq!(detected(&text), Some(writer.name), "{text}");
    let (read, bad) = read_all(reader(writer), &text);
    assert_eq!((bad, read.len()), (Vec::new(), written.len()), "{text}");
    for ((record, lost), read) in written.iter().zip(&read) {
        assert_told(writer, record, lost, read);
    }
    let written: Vec<_> = written.iter().map(|(record, _)| record).collect();
    assert_grouped(writer, &written, &read);
}

fn name() -> impl Strategy<Value = Option<String>> {
    prop::option::of("[a-zä,\"\n]{1,4}|[a-z]{1,3} [a-z]{1,3}").prop_map(|name| {
        let name = name.map(|name: String| name.trim().to_owned());
        name.filter(|name| !name.is_empty())
    })
}

fn length() -> impl Strategy<Value = Option<Duration>> {
    let nanos = prop_oneof![
        0..100_000_000_000_u64,
        (0..10_000_000_u64).prop_map(|n| n * 1_000)
    ];
    prop::option::of(nanos.prop_map(Duration::from_nanos))
}

fn time() -> impl Strategy<Value = Option<i64>> {
    let seconds = prop_oneof![0..20_000_000_i64, 1_700_000_000..1_702_000_000_i64];
    let nanos = prop_oneof![Just(0), Just(250_000_000), 0..1_000_000_000_i64];
    let at = (seconds, nanos).prop_map(|(seconds, nanos)| seconds * 1_000_000_000 + nanos);
    prop::option::weighted(0.9, at)
}

fn body() -> impl Strategy<Value = Option<Box<Map<String, Value>>>> {
    let extra = prop::sample::select(vec!["temperature", "stop", "tools", "seed"]);
    prop::option::of((".{0,9}", extra, 0..3_usize)).prop_map(|body| {
        let (text, extra, messages) = body?;
        let message = json!({"role": "user", "content": text});
        let body = json!({"messages": vec![message; messages], extra: 0.25});
        body.as_object().cloned().map(Box::new)
    })
}

fn record() -> impl Strategy<Value = Record> {
    let tokens = || prop::option::weighted(0.8, prop_oneof![Just(0), 0..=MAX_TOKENS]);
    let numbers = (time(), length(), tokens(), tokens(), length(), length());
    let names = (name(), name(), name(), name(), name(), name());
    let end = prop::option::of(prop::sample::select(&Outcome::ALL[..]));
    let cost = prop::option::of((0..1_000_000_000_000_u64).prop_map(Cost::from_nanos));
    let answer = prop::option::of(".{0,9}");
    let yes_or_no = (any::<Option<bool>>(), any::<Option<bool>>());
    let rest = (end, yes_or_no, cost, body(), answer);
    (numbers, names, rest).prop_map(|(numbers, names, rest)| {
        let (at, delay, input_tokens, output_tokens, latency, first_token) = numbers;
        let (session, user, tenant, trace, asked_model, served_by) = names;
        let (end, (is_stream, by_chance), cost, body, answer) = rest;
        let counted = |tokens: Option<u32>, has_text: bool| tokens.or(has_text.then_some(7));
        Record {
            at,
            delay,
            // Tokens of texts are counted where nobody stated them: not in these.
            input_tokens: counted(input_tokens, body.is_some()),
            output_tokens: counted(output_tokens, answer.is_some()),
            session,
            end,
            latency,
            first_token,
            is_stream,
            user,
            tenant,
            trace,
            asked_model,
            served_by,
            by_chance,
            cost,
            body,
            answer,
        }
    })
}

proptest! {
    #[test]
    fn what_is_written_is_read_or_said_to_be_lost(records in prop::collection::vec(record(), 1..6)) {
        for writer in WRITERS {
            assert_round_trip(writer, &records);
        }
    }

    #[test]
    fn no_record_makes_a_writer_panic(at: i64, latency: u64, text: String) {
        let body = json!({"messages": [{"role": text, "content": text}, text], "stop": {"a": [text]}});
        let record = Record {
            at: Some(at),
            latency: Some(Duration::from_secs(latency)),
            first_token: Some(Duration::MAX),
            user: Some(text.clone()),
            session: Some(text),
            body: body.as_object().cloned().map(Box::new),
            ..Record::default()
        };
        for writer in WRITERS {
            let _ = (writer.write)(&record, u64::MAX, &mut Losses::default());
        }
    }
}

/// Some outcomes have no words of their own in the logs of others: they become the nearest ones, with their names.
#[test]
fn endings_are_kept() {
    for end in Outcome::ALL {
        let record = Record {
            at: Some(1_772_442_000_000_000_000),
            end: Some(end),
            ..Record::default()
        };
        for name in ["graygate", "litellm", "otel"] {
            assert_round_trip(super::named(name).unwrap(), std::slice::from_ref(&record));
        }
    }
}
