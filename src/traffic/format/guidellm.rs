//! GuideLLM's `trace_synthetic`: `timestamp` in seconds, `input_length`, `output_length`, as JSON lines or CSV.
//!
//! Mooncake's fields have the same names, and milliseconds. A wrong guess would be wrong by a thousand, so this format is
//! never found out by looking: whoever has such a log says so.

use std::io::BufRead;

use serde_json::{Map, Value};

use crate::traffic::format::table::{self, Columns, Row};
use crate::traffic::format::values::{self, SECONDS};
use crate::traffic::format::{
    DropReason, Each, Format, Head, LogError, Record, is_json, read_objects,
};

/// The format.
pub const FORMAT: Format = Format {
    name: "guidellm",
    title: "GuideLLM traces (trace_synthetic)",
    times: "seconds",
    detect: |_| None,
    read,
};

/// The fields, and the columns.
const FIELDS: [&str; 3] = ["timestamp", "input_length", "output_length"];

/// Two formats that a log of no known one could be, in words; none when there is no doubt of this kind.
pub fn doubt(head: &Head<'_>) -> Option<&'static str> {
    let is_json = || {
        let fields = head.first_object(&[]);
        fields.is_some_and(|fields| FIELDS[..2].iter().all(|name| fields.contains_key(*name)))
    };
    (head.has_columns(&FIELDS[..2]) || is_json()).then_some(
        "its times may be milliseconds (mooncake) or seconds (guidellm), which nothing in it tells",
    )
}

/// Reads a whole log.
///
/// # Errors
/// When reading fails, there is nothing, or a column is missing.
pub fn read(reader: &mut dyn BufRead, each: Each<'_>) -> Result<(), LogError> {
    match is_json(reader)? {
        true => read_objects(reader, &[], each, |fields| object(&fields)),
        false => table::read_table(reader, each, places, row),
    }
}

fn object(fields: &Map<String, Value>) -> Result<Record, DropReason> {
    let [time, input, output] = FIELDS;
    Ok(Record {
        at: Some(values::moment_of(fields.get(time), SECONDS)?),
        input_tokens: values::tokens_of(fields.get(input))?,
        output_tokens: values::tokens_of(fields.get(output))?,
        ..Record::default()
    })
}

fn row(places: &Places, row: &Row<'_>) -> Result<Record, DropReason> {
    row_in(SECONDS, places, row)
}

/// Where the time, the prompt's length and the answer's stand in a table.
pub(super) type Places = (usize, [Option<usize>; 2]);

/// The places of the columns.
pub(super) fn places(columns: &Columns) -> Result<Places, LogError> {
    let [time, input, output] = FIELDS;
    Ok((
        columns.need(time)?,
        [columns.find(input), columns.find(output)],
    ))
}

/// A row of a table whose times are in this unit.
pub(super) fn row_in(
    unit: u32,
    &(time, [input, output]): &Places,
    row: &Row<'_>,
) -> Result<Record, DropReason> {
    let time = row.text(Some(time)).ok_or(DropReason::BadTimestamp)?;
    Ok(Record {
        at: Some(values::moment(time, unit)?),
        input_tokens: values::tokens(row.text(input))?,
        output_tokens: values::tokens(row.text(output))?,
        ..Record::default()
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::traffic::format::mooncake;
    use crate::traffic::format::testing::{detected, read_all};

    const ROWS: &str = r#"{"timestamp": 0, "input_length": 5, "output_length": 7}
{"timestamp": 3.25, "input_length": 6, "output_length": 8}"#;
    const TABLE: &str = "timestamp,input_length,output_length\r\n0,5,7\r\n3.25,6,8";

    /// The same file, a thousand times as slow: what happens to Mooncake's traces in GuideLLM.
    #[test]
    fn times_are_seconds_where_mooncake_s_are_milliseconds() {
        let (rows, bad) = read_all(&FORMAT, ROWS);
        assert!(bad.is_empty(), "{bad:?}");
        assert_eq!(rows[1].at, Some(3_250_000_000));
        assert_eq!(
            (rows[1].input_tokens, rows[1].output_tokens),
            (Some(6), Some(8))
        );
        let (other, _) = read_all(&mooncake::FORMAT, ROWS);
        assert_eq!(other[1].at, Some(3_250_000));
        assert_eq!(read_all(&FORMAT, TABLE).0, rows);
        assert_eq!(read_all(&mooncake::FORMAT, TABLE).0, other);
    }

    #[test]
    fn it_is_never_guessed() {
        for text in [ROWS, TABLE] {
            assert_eq!(detected(text), None);
            assert!(doubt(&Head::new(text.as_bytes())).is_some());
        }
        for other in ["", "{}", "{\"timestamp\": 0}", "timestamp,level,message"] {
            assert_eq!(doubt(&Head::new(other.as_bytes())), None);
        }
    }

    #[test]
    fn useless_rows_are_placed_and_named() {
        let json = r#"{"input_length": 5}
{"timestamp": "x", "input_length": 5}
{"timestamp": 0, "input_length": 0.5}"#;
        let (_, bad) = read_all(&FORMAT, json);
        use DropReason::{BadTimestamp, BadTokens, FieldCount, TooManyTokens};
        assert_eq!(bad, [(1, BadTimestamp), (2, BadTimestamp), (3, BadTokens)]);
        let (_, bad) = read_all(
            &FORMAT,
            "timestamp,input_length,output_length\n,1,1\n0,2000001,1\n0,1\n",
        );
        assert_eq!(
            bad,
            [(2, BadTimestamp), (3, TooManyTokens), (4, FieldCount)]
        );
        let other = read(&mut &b"when,input_length\n1,2\n"[..], &mut |_| {});
        assert!(matches!(other, Err(LogError::UnknownHeader { .. })));
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_reader_panic(body in prop::collection::vec(any::<u8>(), 0..300)) {
            for head in ["", "{", "timestamp,input_length\n"] {
                let file = [head.as_bytes(), &body[..]].concat();
                let _ = read(&mut &file[..], &mut |_| {});
                let _ = doubt(&Head::new(&file));
            }
        }
    }
}
