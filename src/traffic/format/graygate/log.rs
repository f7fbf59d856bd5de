//! `graygate.log/1`: a first line that says so, then an object a request, with the fields of a [`Record`] and their units
//! in their names. What is not known is left out. Times are decimal fractions, exact to the nanosecond.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::io::BufRead;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use crate::protocol::outcome::Outcome;
use crate::time::nanos;
use crate::traffic::format::items::{Item, Items};
use crate::traffic::format::values::{self, MILLISECONDS, SECONDS};
use crate::traffic::format::{BadRow, DropReason, Each, LogError, MAX_TOKENS, Record};

/// The name and version of the format.
pub const NAME: &str = "graygate.log/1";
/// The first line.
pub const HEADER: &str = r#"{"format":"graygate.log/1"}"#;

/// The line of one request, without its end.
pub fn write(record: &Record) -> String {
    let Record {
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
        cost,
        body,
        answer,
    } = record;
    let mut line = Line::default();
    line.plain("at_s", at.map(|at| decimal(at.into(), SECONDS)));
    line.plain("delay_ms", delay.map(millis));
    line.json("input_tokens", input_tokens.as_ref());
    line.json("output_tokens", output_tokens.as_ref());
    line.json("session", session.as_ref());
    line.json("outcome", end.map(|end| end.name()).as_ref());
    line.plain("latency_ms", latency.map(millis));
    line.plain("first_token_ms", first_token.map(millis));
    line.json("stream", is_stream.as_ref());
    line.json("user", user.as_ref());
    line.json("tenant", tenant.as_ref());
    line.json("trace", trace.as_ref());
    line.json("model", asked_model.as_ref());
    line.json("served_by", served_by.as_ref());
    line.plain(
        "cost_usd",
        cost.map(|cost| decimal(cost.nanos().into(), SECONDS)),
    );
    line.json("body", body.as_ref());
    line.json("answer", answer.as_ref());
    line.finish()
}

/// An object that is written field by field.
#[derive(Default)]
struct Line(String);

impl Line {
    fn plain(&mut self, name: &str, value: Option<String>) {
        let Some(value) = value else { return };
        let before = if self.0.is_empty() { '{' } else { ',' };
        // Writing to a String cannot fail.
        let _ = write!(self.0, "{before}\"{name}\":{value}");
    }

    fn json(&mut self, name: &str, value: Option<&impl Serialize>) {
        // Texts, numbers and maps with texts as keys can all be written.
        self.plain(
            name,
            value.and_then(|value| serde_json::to_string(value).ok()),
        );
    }

    fn finish(mut self) -> String {
        if self.0.is_empty() {
            self.0.push('{');
        }
        self.0.push('}');
        self.0
    }
}

/// A number of `unit` nanoseconds, with as many digits as there are.
fn decimal(nanos: i128, unit: u32) -> String {
    let sign = if nanos < 0 { "-" } else { "" };
    let (nanos, unit) = (nanos.unsigned_abs(), u128::from(unit));
    let digits = unit.ilog10() as usize;
    let fraction = format!("{:0digits$}", nanos % unit);
    let number = format!("{sign}{}.{fraction}", nanos / unit);
    number
        .trim_end_matches('0')
        .trim_end_matches('.')
        .to_owned()
}

/// Milliseconds; lengths beyond 292 years, which no reader takes, are cut.
fn millis(length: Duration) -> String {
    decimal(
        nanos(length).min(i64::MAX.unsigned_abs()).into(),
        MILLISECONDS,
    )
}

/// Reads a whole log. Headers are skipped wherever they stand, so that logs may be put one behind the other.
///
/// # Errors
/// When reading fails, there is nothing, or it is a log of another version.
pub fn read(reader: &mut dyn BufRead, each: Each<'_>) -> Result<(), LogError> {
    let mut items = Items::new(reader);
    let mut is_empty = true;
    while let Some((line, item)) = items.next_item()? {
        is_empty = false;
        let (text, record) = match item {
            Item::Text(text) => (text, parse(text)),
            Item::TooLong(text) => (text, Err(DropReason::LineTooLong)),
            Item::NotUtf8 => ("", Err(DropReason::NotUtf8)),
        };
        match record {
            Ok(Parsed::Record(record)) => each(Ok(*record)),
            Ok(Parsed::Header(name)) if name == NAME => {}
            Ok(Parsed::Header(name)) => return Err(LogError::unknown(&name)),
            Err(reason) => each(Err(BadRow {
                line,
                column: 1,
                text: text.chars().take(120).collect(),
                reason,
            })),
        }
    }
    match is_empty {
        true => Err(LogError::Empty),
        false => Ok(()),
    }
}

enum Parsed {
    /// A first line, and the format that it names.
    Header(String),
    Record(Box<Record>),
}

fn parse(text: &str) -> Result<Parsed, DropReason> {
    let fields: Fields = serde_json::from_str(text).map_err(|_| DropReason::BadForm)?;
    let fields = Given(fields);
    match fields.value("format", DropReason::BadForm)? {
        Some(name) => Ok(Parsed::Header(name)),
        None => record(&fields).map(|record| Parsed::Record(Box::new(record))),
    }
}

fn record(fields: &Given) -> Result<Record, DropReason> {
    let text = |name| fields.value::<String>(name, DropReason::BadForm);
    let at = fields.number("at_s");
    Ok(Record {
        at: at.map(|at| values::moment(at, SECONDS)).transpose()?,
        delay: values::length(fields.number("delay_ms"), MILLISECONDS)?,
        input_tokens: fields.tokens("input_tokens")?,
        output_tokens: fields.tokens("output_tokens")?,
        session: text("session")?,
        end: fields.outcome()?,
        latency: values::length(fields.number("latency_ms"), MILLISECONDS)?,
        first_token: values::length(fields.number("first_token_ms"), MILLISECONDS)?,
        is_stream: fields.value("stream", DropReason::BadForm)?,
        user: text("user")?,
        tenant: text("tenant")?,
        trace: text("trace")?,
        asked_model: text("model")?,
        served_by: text("served_by")?,
        cost: fields.cost()?,
        body: fields.value("body", DropReason::BadForm)?,
        answer: text("answer")?,
    })
}

/// Fields as they are written: seconds since 1970 in nanoseconds are beyond what a float holds.
type Fields = BTreeMap<String, Box<RawValue>>;

struct Given(Fields);

impl Given {
    /// The text of a number, as it stands there.
    fn number(&self, name: &str) -> Option<&str> {
        let text = self.0.get(name)?.get();
        (text != "null").then_some(text)
    }

    fn value<T: DeserializeOwned>(
        &self,
        name: &str,
        wrong: DropReason,
    ) -> Result<Option<T>, DropReason> {
        let value = self.0.get(name).map(|value| value.get());
        let value = value.map(serde_json::from_str::<Option<T>>).transpose();
        value.map(Option::flatten).map_err(|_| wrong)
    }

    fn tokens(&self, name: &str) -> Result<Option<u32>, DropReason> {
        let count = self.value::<u64>(name, DropReason::BadTokens)?;
        let checked = |count| match u32::try_from(count) {
            Ok(count) if count <= MAX_TOKENS => Ok(count),
            _ => Err(DropReason::TooManyTokens),
        };
        count.map(checked).transpose()
    }

    fn outcome(&self) -> Result<Option<Outcome>, DropReason> {
        let name = self.value::<String>("outcome", DropReason::BadForm)?;
        let outcome = |name: String| Outcome::from_name(&name).ok_or(DropReason::BadForm);
        name.map(outcome).transpose()
    }

    fn cost(&self) -> Result<Option<crate::pricing::Cost>, DropReason> {
        let cost = |text: &str| format!("${text}").parse();
        let cost = self.number("cost_usd").map(cost).transpose();
        cost.map_err(|_| DropReason::BadNumber)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::pricing::Cost;
    use crate::traffic::format::graygate::FORMAT;
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
        let (rows, bad) = read_all(FORMAT, &text);
        assert!(bad.is_empty(), "{bad:?}");
        assert_eq!(rows, [record.clone(), record]);
    }

    #[test]
    fn useless_lines_are_placed_and_named() {
        use DropReason::*;
        let lines = [
            (r#"{"at_s": "soon"}"#, BadTimestamp),
            (r#"{"delay_ms": -1}"#, BadNumber),
            (r#"{"latency_ms": true}"#, BadNumber),
            (r#"{"cost_usd": -1}"#, BadNumber),
            (r#"{"input_tokens": 1.5}"#, BadTokens),
            (r#"{"output_tokens": 2000001}"#, TooManyTokens),
            (r#"{"outcome": "fine"}"#, BadForm),
            (r#"{"stream": "yes"}"#, BadForm),
            (r#"{"body": "hello"}"#, BadForm),
            (r#"{"user": 5}"#, BadForm),
            ("nonsense", BadForm),
            ("[1]", BadForm),
        ];
        let text: Vec<&str> = std::iter::once(HEADER).chain(lines.map(|l| l.0)).collect();
        let (rows, bad) = read_all(FORMAT, &text.join("\n"));
        assert!(rows.is_empty(), "{rows:?}");
        let expected = (2..).zip(lines.map(|line| line.1));
        assert_eq!(bad, expected.collect::<Vec<_>>());
    }

    #[test]
    fn another_version_is_another_format() {
        let text = HEADER.replace("/1", "/2");
        let error = read(&mut text.as_bytes(), &mut |_| {}).unwrap_err();
        assert!(error.to_string().contains("graygate.log/2"), "{error}");
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
        let rest = (end, any::<Option<bool>>(), any::<Option<u64>>(), body);
        (numbers, texts, rest).prop_map(|(numbers, texts, (end, is_stream, cost, body))| {
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
            let (rows, bad) = read_all(FORMAT, &text);
            prop_assert_eq!(bad, []);
            prop_assert_eq!(rows, records);
        }

        #[test]
        fn no_values_make_the_reader_panic(text in ".{0,9}", n: f64, i in 0..6_usize) {
            let name = ["at_s", "delay_ms", "input_tokens", "body", "cost_usd", "format"][i];
            for value in [json!(text), json!(n), json!([n]), json!({"a": n})] {
                let _ = read(&mut json!({name: value}).to_string().as_bytes(), &mut |_| {});
            }
        }
    }
}
