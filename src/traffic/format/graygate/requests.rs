//! `requests.csv`, as a run writes it: what was sent and what came of it, to be sent again.

use std::io::BufRead;

use crate::traffic::format::graygate::{by_chance, outcome};
use crate::traffic::format::table::{self, Columns, Row};
use crate::traffic::format::values::{self, MILLISECONDS, SECONDS};
use crate::traffic::format::{DropReason, Each, LogError, Record};

/// The columns that tell such a file.
pub(super) const COLUMNS: [&str; 4] = ["key", "scheduled_at_s", "outcome", "served_by"];

/// Where the columns stand.
struct Places {
    at: usize,
    outcome: usize,
    intent: Option<usize>,
    served_by: usize,
    latency: Option<usize>,
    caller: Option<usize>,
    input: Option<usize>,
    output: Option<usize>,
    stream: Option<usize>,
    first_token: Option<usize>,
}

impl Places {
    fn find(columns: &Columns) -> Result<Self, LogError> {
        Ok(Self {
            at: columns.need("scheduled_at_s")?,
            outcome: columns.need("outcome")?,
            intent: columns.find("intent"),
            served_by: columns.need("served_by")?,
            latency: columns.find("latency_ms"),
            caller: columns.find("caller"),
            input: columns.find("input_tokens"),
            output: columns.find("output_tokens"),
            stream: columns.find("stream"),
            first_token: columns.find("first_token_ms"),
        })
    }
}

pub(super) fn read(reader: &mut dyn BufRead, each: Each<'_>) -> Result<(), LogError> {
    table::read_table(reader, each, Places::find, row)
}

fn row(places: &Places, row: &Row<'_>) -> Result<Record, DropReason> {
    let text = |column| row.text(column).map(str::to_owned);
    let at = row.text(Some(places.at)).ok_or(DropReason::BadTimestamp)?;
    Ok(Record {
        at: Some(values::moment(at, SECONDS)?),
        input_tokens: values::tokens(row.text(places.input))?,
        output_tokens: values::tokens(row.text(places.output))?,
        end: outcome(row.text(Some(places.outcome)))?,
        latency: values::length(row.text(places.latency), MILLISECONDS)?,
        first_token: values::length(row.text(places.first_token), MILLISECONDS)?,
        is_stream: is_stream(places, row),
        user: text(places.caller),
        served_by: text(Some(places.served_by)),
        by_chance: by_chance(row.text(places.intent))?,
        ..Record::default()
    })
}

/// Only runs with streams have the column; in them, it is empty for whole answers, and for requests that nobody answered.
fn is_stream(places: &Places, row: &Row<'_>) -> Option<bool> {
    let Some(column) = places.stream else {
        return Some(false);
    };
    match row.text(Some(column)) {
        Some(_) => Some(true),
        None => row.text(Some(places.outcome)).map(|_| false),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::protocol::outcome::Outcome;
    use crate::traffic::format::graygate::FORMAT;
    use crate::traffic::format::testing::read_all;

    const PLAIN: &str = "key,scheduled_at_s,sent_at_s,answered_at_s,latency_ms,latency_from_sent_ms,outcome,intent,first_version,served_by,rescued_from,attempts,caller,input_tokens,output_tokens";

    #[test]
    fn a_run_without_streams() {
        let text = format!(
            "{PLAIN}\n5955,120.557202,120.557202,120.591951,34.749,34.749,success,random,v2,v1,v2,2,0,9,201\n\
             5956,121.000000,121.000000,,,,,random,v1,,,1,3,7,\n"
        );
        let (rows, bad) = read_all(&FORMAT, &text);
        assert!(bad.is_empty(), "{bad:?}");
        assert_eq!(
            rows[0],
            Record {
                at: Some(120_557_202_000),
                input_tokens: Some(9),
                output_tokens: Some(201),
                end: Some(Outcome::Success),
                latency: Some(Duration::from_micros(34_749)),
                is_stream: Some(false),
                user: Some("0".to_owned()),
                served_by: Some("v1".to_owned()),
                by_chance: Some(true),
                ..Record::default()
            }
        );
        let open = &rows[1];
        assert_eq!(
            (open.end, open.latency, &open.served_by),
            (None, None, &None)
        );
        assert_eq!((open.input_tokens, open.output_tokens), (Some(7), None));
    }

    #[test]
    fn a_run_with_streams() {
        let text = "key,scheduled_at_s,outcome,served_by,stream,first_token_ms\n\
                    0,0.1,success,v1,whole,12.5\n1,0.2,success,v1,,\n2,0.3,,,,\n3,0.4,stream_error,v2,broken,8";
        let (rows, bad) = read_all(&FORMAT, text);
        assert!(bad.is_empty(), "{bad:?}");
        let streams: Vec<_> = rows.iter().map(|r| r.is_stream).collect();
        assert_eq!(streams, [Some(true), Some(false), None, Some(true)]);
        assert_eq!(rows[0].first_token, Some(Duration::from_micros(12_500)));
        assert_eq!(rows[1].first_token, None);
        assert_eq!(rows[3].end, Some(Outcome::StreamError));
    }

    #[test]
    fn useless_rows_are_placed_and_named() {
        let text = "key,scheduled_at_s,outcome,served_by,input_tokens,latency_ms\n\
                    0,,success,v1,1,1\n0,x,success,v1,1,1\n0,1,fine,v1,1,1\n0,1,success,v1,-1,1\n0,1,success,v1,1,-1\n0,1\n";
        let (rows, bad) = read_all(&FORMAT, text);
        assert!(rows.is_empty());
        assert_eq!(
            bad,
            [
                (2, DropReason::BadTimestamp),
                (3, DropReason::BadTimestamp),
                (4, DropReason::BadForm),
                (5, DropReason::BadTokens),
                (6, DropReason::BadNumber),
                (7, DropReason::FieldCount),
            ]
        );
    }
}
