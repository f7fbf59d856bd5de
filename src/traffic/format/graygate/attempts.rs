//! `attempts.csv`, as a run writes it: what every attempt came to, to be looked through afterwards.

use std::io::BufRead;
use std::time::Duration;

use crate::traffic::format::graygate::{by_chance, outcome};
use crate::traffic::format::table::{self, Columns, Row};
use crate::traffic::format::values::{self, MILLISECONDS, SECONDS};
use crate::traffic::format::{DropReason, Each, Format, Head, LogError, Record};

/// The format.
pub const FORMAT: Format = Format {
    name: "graygate_attempts",
    title: "graygate's own: attempts.csv of a run",
    times: "seconds",
    detect,
    read,
};

/// The columns that tell such a file.
const COLUMNS: [&str; 4] = ["key", "try_at_version", "dispatched_at_s", "router_outcome"];

fn detect(head: &Head<'_>) -> Option<&'static str> {
    let is_it = head.has_columns(&COLUMNS);
    is_it.then_some("its first line names the columns of a run's attempts.csv")
}

/// Where the columns stand. Files of older versions lack the last ones.
struct Places {
    key: usize,
    version: usize,
    dispatched: usize,
    accepted: Option<usize>,
    latency: Option<usize>,
    outcome: usize,
    intent: Option<usize>,
    caller: Option<usize>,
    input: Option<usize>,
    output: Option<usize>,
    first_token: Option<usize>,
}

impl Places {
    fn find(columns: &Columns) -> Result<Self, LogError> {
        Ok(Self {
            key: columns.need("key")?,
            version: columns.need("version")?,
            dispatched: columns.need("dispatched_at_s")?,
            accepted: columns.find("accepted_at_s"),
            latency: columns.find("latency_ms"),
            outcome: columns.need("outcome")?,
            intent: columns.find("intent"),
            caller: columns.find("caller"),
            input: columns.find("input_tokens"),
            output: columns.find("output_tokens"),
            first_token: columns.find("first_token_ms"),
        })
    }
}

fn read(reader: &mut dyn BufRead, each: Each<'_>) -> Result<(), LogError> {
    table::read_table(reader, each, Places::find, row)
}

/// An attempt: when it was sent on its way, or else taken, since not every driver tells when it sends.
fn row(places: &Places, row: &Row<'_>) -> Result<Record, DropReason> {
    let text = |column| row.text(column).map(str::to_owned);
    let dispatched = row.text(Some(places.dispatched));
    let at = dispatched.or_else(|| row.text(places.accepted));
    let at = at.ok_or(DropReason::BadTimestamp)?;
    let first_token = values::length(row.text(places.first_token), MILLISECONDS)?;
    Ok(Record {
        at: Some(values::moment(at, SECONDS)?),
        input_tokens: values::tokens(row.text(places.input))?,
        output_tokens: values::tokens(row.text(places.output))?,
        end: outcome(row.text(Some(places.outcome)))?,
        latency: values::length(row.text(places.latency), MILLISECONDS)?,
        first_token,
        is_stream: is_stream(places, first_token),
        user: text(places.caller),
        trace: text(Some(places.key)),
        served_by: text(Some(places.version)),
        by_chance: by_chance(row.text(places.intent))?,
        ..Record::default()
    })
}

/// Only runs with streams have the column; in them, an attempt without a first token may have been one for a stream, too.
fn is_stream(places: &Places, first_token: Option<Duration>) -> Option<bool> {
    match places.first_token {
        None => Some(false),
        Some(_) => first_token.map(|_| true),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::outcome::Outcome;
    use crate::traffic::format::testing::{detected, fixture, read_all};

    #[test]
    fn attempts_are_records_of_their_requests() {
        let log = include_str!("../../../../fixtures/logs/graygate-attempts.csv");
        let rows = fixture(&FORMAT, log);
        let first = Record {
            at: Some(120_557_202_000),
            end: Some(Outcome::Unauthorized),
            latency: Some(Duration::from_millis(5)),
            user: Some("3".to_owned()),
            trace: Some("5955".to_owned()),
            served_by: Some("v2".to_owned()),
            by_chance: Some(true),
            ..Record::default()
        };
        assert_eq!(rows[0], first);
        let second = Record {
            at: Some(120_562_202_000),
            input_tokens: Some(9),
            output_tokens: Some(201),
            end: Some(Outcome::Success),
            latency: Some(Duration::from_micros(29_749)),
            first_token: Some(Duration::from_micros(12_500)),
            is_stream: Some(true),
            served_by: Some("v1".to_owned()),
            ..first
        };
        assert_eq!(rows[1], second);
        // Nobody told when it was sent, and it has not ended.
        assert_eq!((rows[2].at, rows[2].end), (Some(121_000_250_000), None));
        let chances: Vec<_> = rows.iter().map(|row| row.by_chance).collect();
        let yes = Some(true);
        assert_eq!(chances, [yes, yes, yes, Some(false), Some(false), None]);
    }

    #[test]
    fn useless_rows_are_placed_and_named() {
        let head = "key,version,try_at_version,dispatched_at_s,outcome,router_outcome,intent";
        let text = format!(
            "{head}\n1,v1,0,,success,success,random\n1,v1,0,1.5,fine,,random\n1,v1,0,1.5,,,chosen\n"
        );
        assert_eq!(detected(&text), Some("graygate_attempts"));
        let (rows, bad) = read_all(&FORMAT, &text);
        assert_eq!(rows, []);
        assert_eq!(
            bad,
            [
                (2, DropReason::BadTimestamp),
                (3, DropReason::BadForm),
                (4, DropReason::BadForm),
            ]
        );
    }

    /// Such a file was written before intent, caller and tokens were.
    #[test]
    fn files_of_older_versions_are_read() {
        let head = "key,n,version,try_at_version,kind,dispatched_at_s,accepted_at_s,ended_at_s,latency_ms,outcome,router_version,router_outcome,fault,altered";
        let row = "5,0,v2,0,first,0.5,0.5,0.6,100.000,success,v2,success,,false";
        let (rows, bad) = read_all(&FORMAT, &format!("{head}\n{row}\n"));
        assert_eq!(bad, []);
        assert_eq!((rows[0].by_chance, rows[0].is_stream), (None, Some(false)));
    }
}
