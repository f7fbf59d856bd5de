//! The lines of a `graygate.log/1`, written.

use crate::traffic::format::Record;
use crate::traffic::format::values::SECONDS;
use crate::traffic::format::write::line::{Line, decimal, millis};

/// The line of one request, without its end.
pub fn write(record: &Record) -> String {
    let mut line = Line::default();
    line.plain("at_s", record.at.map(|at| decimal(at.into(), SECONDS)));
    line.plain("delay_ms", record.delay.map(millis));
    line.json("input_tokens", record.input_tokens.as_ref());
    line.json("output_tokens", record.output_tokens.as_ref());
    line.json("session", record.session.as_ref());
    line.json("outcome", record.end.map(|end| end.name()).as_ref());
    line.plain("latency_ms", record.latency.map(millis));
    line.plain("first_token_ms", record.first_token.map(millis));
    line.json("stream", record.is_stream.as_ref());
    line.json("user", record.user.as_ref());
    line.json("tenant", record.tenant.as_ref());
    line.json("trace", record.trace.as_ref());
    line.json("model", record.asked_model.as_ref());
    line.json("served_by", record.served_by.as_ref());
    line.json("by_chance", record.by_chance.as_ref());
    line.plain(
        "cost_usd",
        record
            .cost
            .map(|cost| decimal(cost.nanos().into(), SECONDS)),
    );
    line.json("body", record.body.as_ref());
    line.json("answer", record.answer.as_ref());
    line.finish()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::pricing::Cost;
    use crate::protocol::outcome::Outcome;
    use crate::traffic::format::MAX_TOKENS;
    use crate::traffic::format::graygate::FORMAT;
    use crate::traffic::format::graygate::log::HEADER;
    use crate::traffic::format::testing::read_all;

    #[test]
    fn a_line_has_what_is_known_with_its_units() {
        let record = Record {
            at: Some(1_700_158_623_979_960_001),
            input_tokens: Some(9),
            end: Some(Outcome::RateLimited),
            latency: Some(Duration::from_micros(34_749)),
            is_stream: Some(true),
            asked_model: Some("m".to_owned()),
            cost: Some(Cost::from_nanos(12_500_000)),
            ..Record::default()
        };
        let line = write(&record);
        assert_eq!(
            line,
            r#"{"at_s":1700158623.979960001,"input_tokens":9,"outcome":"rate_limited","latency_ms":34.749,"stream":true,"model":"m","cost_usd":0.0125}"#
        );
        assert_eq!(write(&Record::default()), "{}");
        // With a byte order mark, CRLF, an unknown field, null, and another log behind it.
        let more = line.replace(
            "\"input_tokens\":9",
            "\"input_tokens\":9,\"new\":[1],\"user\":null",
        );
        let text = format!("\u{feff}{HEADER}\r\n{line}\r\n{HEADER}\n{more}");
        let (rows, bad) = read_all(&FORMAT, &text);
        assert!(bad.is_empty(), "{bad:?}");
        assert_eq!(rows, [record.clone(), record]);
    }

    fn some_text() -> impl Strategy<Value = Option<String>> {
        prop::option::of(any::<String>())
    }

    fn some_length() -> impl Strategy<Value = Option<Duration>> {
        let nanos = 0..=i64::MAX.unsigned_abs();
        prop::option::of(nanos.prop_map(Duration::from_nanos))
    }

    fn some_record() -> impl Strategy<Value = Record> {
        let tokens = || prop::option::of(0..=MAX_TOKENS);
        let numbers = (
            any::<Option<i64>>(),
            some_length(),
            tokens(),
            tokens(),
            some_length(),
            some_length(),
        );
        let texts = (
            some_text(),
            some_text(),
            some_text(),
            some_text(),
            some_text(),
            some_text(),
            some_text(),
        );
        let end = prop::option::of(prop::sample::select(&Outcome::ALL[..]));
        let body = prop::option::of((".*", -1e300..1e300_f64));
        let yes_or_no = (any::<Option<bool>>(), any::<Option<bool>>());
        let rest = (end, yes_or_no, any::<Option<u64>>(), body);
        (numbers, texts, rest).prop_map(|(numbers, texts, (end, yes_or_no, cost, body))| {
            let (is_stream, by_chance) = yes_or_no;
            let (at, delay, input_tokens, output_tokens, latency, first_token) = numbers;
            let (session, user, tenant, trace, asked_model, served_by, answer) = texts;
            let body = body.map(|(text, number)| {
                let messages = json!([{"role": "user", "content": text}]);
                let fields = [("messages", messages), ("top_p", json!(number))];
                Box::new(
                    fields
                        .map(|(name, value)| (name.to_owned(), value))
                        .into_iter()
                        .collect(),
                )
            });
            Record {
                at,
                delay,
                input_tokens,
                output_tokens,
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
                cost: cost.map(Cost::from_nanos),
                body,
                answer,
            }
        })
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(records in prop::collection::vec(some_record(), 1..6)) {
            let lines: Vec<String> = records.iter().map(write).collect();
            let text = format!("{HEADER}\n{}", lines.join("\n"));
            prop_assert_eq!(text.lines().count(), records.len() + 1);
            let (rows, bad) = read_all(&FORMAT, &text);
            prop_assert_eq!(bad, []);
            prop_assert_eq!(rows, records);
        }
    }
}
