//! BurstGPT: requests to ChatGPT and GPT-4 of a university, `Timestamp,Model,Request tokens,Response tokens,…`, and since
//! the third file `Session ID` and `Elapsed time`.
//!
//! Times are seconds since the first day. A request of which the log has no answer (0 response tokens) failed; how, it
//! does not say. Such rows are kept, as failures.

use std::io::BufRead;

use crate::protocol::outcome::Outcome;
use crate::traffic::format::table::{self, Columns, Row};
use crate::traffic::format::values::{self, SECONDS};
use crate::traffic::format::{DropReason, Each, Format, Head, LogError, Record};

/// The format.
pub const FORMAT: Format = Format {
    name: "burstgpt",
    title: "BurstGPT traces",
    times: "seconds",
    detect,
    read,
};

/// The columns that every version has.
const NEEDED: [&str; 3] = ["Timestamp", "Request tokens", "Response tokens"];

/// What a failure of unknown kind counts as: the version's own, and neither the caller's nor the key's.
const FAILED: Outcome = Outcome::ServerError;

fn detect(head: &Head<'_>) -> Option<&'static str> {
    head.has_columns(&NEEDED)
        .then_some("its first line names Timestamp, Request tokens and Response tokens")
}

/// Where the columns stand.
struct Places {
    time: usize,
    input: usize,
    output: usize,
    model: Option<usize>,
    session: Option<usize>,
    elapsed: Option<usize>,
}

impl Places {
    fn find(columns: &Columns) -> Result<Self, LogError> {
        let [time, input, output] = NEEDED;
        Ok(Self {
            time: columns.need(time)?,
            input: columns.need(input)?,
            output: columns.need(output)?,
            model: columns.find("Model"),
            session: columns.find("Session ID"),
            elapsed: columns.find("Elapsed time"),
        })
    }
}

/// Reads a whole log.
///
/// # Errors
/// When reading fails, the file is empty, or its columns are not there.
pub fn read(reader: &mut dyn BufRead, each: Each<'_>) -> Result<(), LogError> {
    table::read_table(reader, each, Places::find, row)
}

fn row(places: &Places, row: &Row<'_>) -> Result<Record, DropReason> {
    let text = |column| row.text(column).map(str::to_owned);
    let time = row
        .text(Some(places.time))
        .ok_or(DropReason::BadTimestamp)?;
    let output_tokens = values::tokens(row.text(Some(places.output)))?;
    Ok(Record {
        at: Some(values::moment(time, SECONDS)?),
        input_tokens: values::tokens(row.text(Some(places.input)))?,
        output_tokens,
        session: text(places.session),
        end: output_tokens.map(end),
        latency: values::length(row.text(places.elapsed), SECONDS)?,
        asked_model: text(places.model),
        ..Record::default()
    })
}

/// How a request with so many tokens of answer ended.
fn end(output_tokens: u32) -> Outcome {
    match output_tokens {
        0 => FAILED,
        _ => Outcome::Success,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::traffic::format::testing::read_all;

    const SIX: &str = "Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type\n";
    const EIGHT: &str = "Timestamp,Session ID,Elapsed time,Model,Request tokens,Response tokens,Total tokens,Log Type\n";

    #[test]
    fn rows_of_six_columns_have_whole_seconds_and_no_session() {
        let text =
            format!("{SIX}5,ChatGPT,472,18,490,Conversation log\n118,GPT-4,417,276,693,API log");
        let (rows, bad) = read_all(&FORMAT, &text);
        assert!(bad.is_empty(), "{bad:?}");
        assert_eq!(
            rows[0],
            Record {
                at: Some(5_000_000_000),
                input_tokens: Some(472),
                output_tokens: Some(18),
                end: Some(Outcome::Success),
                asked_model: Some("ChatGPT".to_owned()),
                ..Record::default()
            }
        );
        assert_eq!(rows[1].at, Some(118_000_000_000));
    }

    #[test]
    fn rows_of_eight_columns_have_sessions_and_latencies() {
        let text = format!(
            "{EIGHT}19440110.0,4f0c,12.5,GPT-4,10,20,30,Conversation log\n\
             19440110.25,,3.0,ChatGPT,1,2,3,API log\n"
        );
        let (rows, bad) = read_all(&FORMAT, &text);
        assert!(bad.is_empty(), "{bad:?}");
        assert_eq!(rows[0].at, Some(19_440_110_000_000_000));
        assert_eq!(rows[0].session.as_deref(), Some("4f0c"));
        assert_eq!(rows[0].latency, Some(Duration::from_millis(12_500)));
        assert_eq!(rows[0].asked_model.as_deref(), Some("GPT-4"));
        assert_eq!(rows[1].session, None);
        assert_eq!(rows[1].at.unwrap() - rows[0].at.unwrap(), 250_000_000);
    }

    /// They are 7 % of the third file: whoever drops them calls the service better than it was.
    #[test]
    fn failed_requests_are_kept_as_failures() {
        let text = format!(
            "{SIX}1,ChatGPT,0,0,0,API log\n2,GPT-4,50,0,50,API log\n3,GPT-4,5,,5,API log\n"
        );
        let (rows, bad) = read_all(&FORMAT, &text);
        assert!(bad.is_empty(), "{bad:?}");
        let ends: Vec<_> = rows.iter().map(|r| (r.output_tokens, r.end)).collect();
        let failed = (Some(0), Some(Outcome::ServerError));
        assert_eq!(ends, [failed, failed, (None, None)]);
    }

    #[test]
    fn useless_rows_are_placed_and_named() {
        let text = format!(
            "{EIGHT}soon,,1,GPT-4,1,2,3,API log\n\
             ,,1,GPT-4,1,2,3,API log\n\
             1,,1,GPT-4,one,2,3,API log\n\
             1,,1,GPT-4,1,2000001,3,API log\n\
             1,,-1,GPT-4,1,2,3,API log\n\
             1,GPT-4,1,2,3,API log\n"
        );
        let (rows, bad) = read_all(&FORMAT, &text);
        assert!(rows.is_empty());
        assert_eq!(
            bad,
            [
                (2, DropReason::BadTimestamp),
                (3, DropReason::BadTimestamp),
                (4, DropReason::BadTokens),
                (5, DropReason::TooManyTokens),
                (6, DropReason::BadNumber),
                (7, DropReason::FieldCount),
            ]
        );
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_reader_panic(body in prop::collection::vec(any::<u8>(), 0..300)) {
            for header in ["", SIX, EIGHT] {
                let file = [header.as_bytes(), &body[..]].concat();
                let _ = read(&mut &file[..], &mut |_| {});
            }
        }
    }
}
