//! RAGPulse: a week of a university's question answering. Times are seconds, written as text; the hashes of a prompt's
//! blocks stand apart by its parts (`sys_prompt`, `passages_ids`, `history`, `web_search`, `user_input`).

use std::io::BufRead;

use serde_json::{Map, Value};

use crate::traffic::format::values::{self, SECONDS};
use crate::traffic::format::{DropReason, Each, Format, Head, LogError, Record, read_objects};

/// The format.
pub const FORMAT: Format = Format {
    name: "ragpulse",
    title: "RAGPulse traces",
    times: "seconds, as text",
    detect,
    read,
};

fn detect(head: &Head<'_>) -> Option<&'static str> {
    let fields = head.first_object(&[])?;
    let is_it = fields.get("timestamp").is_some_and(Value::is_string)
        && fields.contains_key("input_length")
        && fields.get("hash_ids").is_some_and(Value::is_object);
    is_it.then_some("its first line has timestamp as text, input_length and hash_ids by parts")
}

/// Reads a whole log.
///
/// # Errors
/// When reading fails, or there is nothing.
pub fn read(reader: &mut dyn BufRead, each: Each<'_>) -> Result<(), LogError> {
    read_objects(reader, &[], each, |fields| record(&fields))
}

fn record(fields: &Map<String, Value>) -> Result<Record, DropReason> {
    Ok(Record {
        at: Some(values::moment_of(fields.get("timestamp"), SECONDS)?),
        input_tokens: values::tokens_of(fields.get("input_length"))?,
        output_tokens: values::tokens_of(fields.get("output_length"))?,
        session: values::text_of(fields, "session_id"),
        ..Record::default()
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::traffic::format::testing::{detected, read_all};

    const ROW: &str = r#"{"timestamp": "82", "input_length": 3112, "output_length": 192, "hash_ids": {"sys_prompt": [8302], "passages_ids": [], "history": [], "web_search": [], "user_input": [26923]}, "session_id": "17-af"}"#;

    #[test]
    fn times_are_seconds_in_text() {
        let text = format!("{ROW}\n{}", ROW.replace("\"82\"", "\"93.5\""));
        let (rows, bad) = read_all(&FORMAT, &text);
        assert!(bad.is_empty(), "{bad:?}");
        assert_eq!(
            rows[0],
            Record {
                at: Some(82_000_000_000),
                input_tokens: Some(3112),
                output_tokens: Some(192),
                session: Some("17-af".to_owned()),
                ..Record::default()
            }
        );
        assert_eq!(rows[1].at, Some(93_500_000_000));
    }

    #[test]
    fn useless_rows_are_placed_and_named() {
        let text = [
            ROW.replace("\"82\"", "\"noon\""),
            ROW.replace("\"82\"", "null"),
            ROW.replace("3112", "\"many\""),
            ROW.replace("192", "2000001"),
            ROW.replace('{', ""),
        ];
        let (rows, bad) = read_all(&FORMAT, &text.join("\n"));
        assert!(rows.is_empty());
        assert_eq!(
            bad[..4],
            [
                (1, DropReason::BadTimestamp),
                (2, DropReason::BadTimestamp),
                (3, DropReason::BadTokens),
                (4, DropReason::TooManyTokens),
            ]
        );
        assert!(bad[4..].iter().all(|b| *b == (5, DropReason::BadForm)));
    }

    #[test]
    fn it_is_known_by_text_and_parts() {
        assert_eq!(detected(ROW), Some("ragpulse"));
        assert_eq!(detected(ROW.replace("\"82\"", "82")), None);
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_reader_panic(body in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = read(&mut &body[..], &mut |_| {});
        }

        #[test]
        fn no_values_make_the_reader_panic(time in ".{0,12}", input: f64, session: Option<bool>) {
            let row = serde_json::json!({"timestamp": time, "input_length": input, "session_id": session});
            let _ = read(&mut row.to_string().as_bytes(), &mut |_| {});
        }
    }
}
