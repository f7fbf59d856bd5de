//! `graygate.log/1`: a first line that says so, then an object a request, with the fields of a [`Record`] and their units
//! in their names. What is not known is left out. Times are decimal fractions, exact to the nanosecond.

mod write;

use std::collections::BTreeMap;
use std::io::BufRead;

use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use crate::protocol::outcome::Outcome;
use crate::traffic::format::items::{Item, Items};
use crate::traffic::format::values::{self, MILLISECONDS, SECONDS};
use crate::traffic::format::{BadRow, DropReason, Each, LogError, MAX_TOKENS, Record};

pub use write::write;

/// The name and version of the format.
pub const NAME: &str = "graygate.log/1";
/// The first line.
pub const HEADER: &str = r#"{"format":"graygate.log/1"}"#;

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
        by_chance: fields.value("by_chance", DropReason::BadForm)?,
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
    use crate::traffic::format::graygate::FORMAT;
    use crate::traffic::format::testing::read_all;

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
            (r#"{"by_chance": 1}"#, BadForm),
            (r#"{"body": "hello"}"#, BadForm),
            (r#"{"user": 5}"#, BadForm),
            ("nonsense", BadForm),
            ("[1]", BadForm),
        ];
        let text: Vec<&str> = std::iter::once(HEADER).chain(lines.map(|l| l.0)).collect();
        let (rows, bad) = read_all(&FORMAT, &text.join("\n"));
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

    proptest! {
        #[test]
        fn no_values_make_the_reader_panic(text in ".{0,9}", n: f64, i in 0..6_usize) {
            let name = ["at_s", "delay_ms", "input_tokens", "body", "cost_usd", "format"][i];
            for value in [json!(text), json!(n), json!([n]), json!({"a": n})] {
                let _ = read(&mut json!({name: value}).to_string().as_bytes(), &mut |_| {});
            }
        }
    }
}
