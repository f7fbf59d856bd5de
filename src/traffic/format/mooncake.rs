//! Mooncake: `{"timestamp": 27482, "input_length": 6955, "output_length": 52, "hash_ids": [46, 47]}`, a line each.
//!
//! Times are milliseconds. GuideLLM's traces have the same fields and seconds: only the hashes of a prompt's blocks, which
//! Mooncake publishes, tell them apart, and where they lack nobody can (`guidellm`).

use std::io::BufRead;

use serde_json::{Map, Value};

use crate::traffic::format::values::{self, MILLISECONDS};
use crate::traffic::format::{
    DropReason, Each, Format, Head, LogError, Record, guidellm, is_json, read_objects, table,
};

/// The format.
pub const FORMAT: Format = Format {
    name: "mooncake",
    title: "Mooncake traces",
    times: "milliseconds",
    detect,
    read,
};

fn detect(head: &Head<'_>) -> Option<&'static str> {
    let fields = head.first_object(&[])?;
    // Bailian's traces have seconds and the same fields, but for those of a chat.
    let is_bailian = fields.contains_key("chat_id");
    let is_it = fields.get("timestamp").is_some_and(Value::is_u64)
        && fields.contains_key("input_length")
        && fields.get("hash_ids").is_some_and(Value::is_array);
    (is_it && !is_bailian)
        .then_some("its first line has timestamp (whole milliseconds), input_length and hash_ids")
}

/// Reads a whole log.
///
/// # Errors
/// When reading fails, there is nothing, or a column is missing.
pub fn read(reader: &mut dyn BufRead, each: Each<'_>) -> Result<(), LogError> {
    match is_json(reader)? {
        true => read_objects(reader, &[], each, |fields| record(&fields)),
        // As data frames write it.
        false => table::read_table(reader, each, guidellm::places, |places, row| {
            guidellm::row_in(MILLISECONDS, places, row)
        }),
    }
}

fn record(fields: &Map<String, Value>) -> Result<Record, DropReason> {
    // Other traces with these fields write nanoseconds as text.
    let time = fields.get("timestamp").filter(|value| value.is_number());
    Ok(Record {
        at: Some(values::moment_of(time, MILLISECONDS)?),
        input_tokens: values::tokens_of(fields.get("input_length"))?,
        output_tokens: values::tokens_of(fields.get("output_length"))?,
        ..Record::default()
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::traffic::format::testing::{detected, read_all};

    #[test]
    fn times_are_milliseconds() {
        let (rows, bad) = read_all(
            &FORMAT,
            "{\"timestamp\": 0, \"input_length\": 6758, \"output_length\": 500, \"hash_ids\": [0, 1]}\r\n\
             {\"timestamp\": 3000, \"input_length\": 7322, \"output_length\": 490}\n\
             {\"timestamp\": 27482.5, \"input_length\": 1, \"output_length\": null}",
        );
        assert!(bad.is_empty(), "{bad:?}");
        let at: Vec<_> = rows.iter().filter_map(|r| r.at).collect();
        assert_eq!(at, [0, 3_000_000_000, 27_482_500_000]);
        assert_eq!(
            (rows[0].input_tokens, rows[0].output_tokens),
            (Some(6758), Some(500))
        );
        assert_eq!(rows[2].output_tokens, None);
    }

    #[test]
    fn useless_rows_are_placed_and_named() {
        let (rows, bad) = read_all(
            &FORMAT,
            r#"{"timestamp": "1753780607550317897", "input_length": 1, "output_length": 1}
{"input_length": 1, "output_length": 1}
{"timestamp": 0, "input_length": -1, "output_length": 1}
{"timestamp": 0, "input_length": 1, "output_length": 2000001}
nonsense
[0, 1, 1]
"#,
        );
        assert!(rows.is_empty());
        assert_eq!(
            bad,
            [
                (1, DropReason::BadTimestamp),
                (2, DropReason::BadTimestamp),
                (3, DropReason::BadTokens),
                (4, DropReason::TooManyTokens),
                (5, DropReason::BadForm),
                (6, DropReason::BadForm),
            ]
        );
    }

    /// Seconds that are read as milliseconds would be a thousand times as fast.
    #[test]
    fn only_what_is_mooncake_s_own_is_taken_for_it() {
        let row = |more: &str| {
            format!("{{\"timestamp\": 61, \"input_length\": 5, \"output_length\": 7{more}}}\n")
        };
        assert_eq!(detected(row(", \"hash_ids\": [1]")), Some("mooncake"));
        assert_eq!(detected(row("")), None);
        assert_eq!(detected(row(", \"hash_ids\": [1], \"chat_id\": 159")), None);
        let seconds = r#"{"timestamp": 61.114, "input_length": 5, "hash_ids": [1]}"#;
        assert_eq!(detected(seconds), None);
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_reader_panic(body in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = read(&mut &body[..], &mut |_| {});
        }

        #[test]
        fn no_values_make_the_reader_panic(time: f64, input: i64, text in ".{0,20}") {
            let row = serde_json::json!({"timestamp": time, "input_length": input, "output_length": text});
            let _ = read(&mut row.to_string().as_bytes(), &mut |_| {});
        }
    }
}
