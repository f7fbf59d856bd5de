//! Rows of attempts as rows of requests: each is sent once, when its first attempt came.

use std::sync::Arc;
use std::time::Duration;

use smallvec::SmallVec;

use crate::protocol::recorded::Answer;
use crate::traffic::log::requests::{Attempt, Counts, Grouper, LIMIT, Request};
use crate::traffic::log::{Row, RowSource, Rows, Told};

/// The requests of a log whose rows are attempts.
#[derive(Debug)]
pub struct Requests {
    rows: Arc<dyn RowSource>,
    /// What came of all its rows.
    pub counts: Counts,
}

impl Requests {
    /// The requests of these rows, which takes a look through them.
    pub fn of(rows: Arc<dyn RowSource>) -> Self {
        let mut merged = Merged::new(rows.rows());
        merged.by_ref().for_each(drop);
        let counts = merged.grouper.counts();
        Self { rows, counts }
    }
}

impl RowSource for Requests {
    fn rows(&self) -> Rows {
        Box::new(Merged::new(self.rows.rows()))
    }

    fn has_changed(&self) -> bool {
        self.rows.has_changed()
    }
}

struct Merged {
    rows: Rows,
    grouper: Grouper<Row>,
    is_over: bool,
}

impl Merged {
    fn new(rows: Rows) -> Self {
        Self {
            rows,
            grouper: Grouper::new(LIMIT),
            is_over: false,
        }
    }
}

impl Iterator for Merged {
    type Item = Row;

    fn next(&mut self) -> Option<Row> {
        loop {
            if let Some(request) = self.grouper.pop() {
                return whole(request);
            }
            match self.rows.next() {
                Some(row) => self.grouper.push(attempt(row)),
                None if self.is_over => return None,
                None => {
                    self.is_over = true;
                    self.grouper.finish();
                }
            }
        }
    }
}

fn attempt(row: Row) -> Attempt<Row> {
    let told = row.told.as_deref();
    let trace = told.and_then(|told| told.trace);
    Attempt {
        at: row.at,
        latency: row.latency,
        end: told.and_then(|told| told.answers.first()?.end),
        trace: trace.map(|trace| trace.name),
        session: row.session,
        contents: trace.and_then(|trace| trace.contents),
        input_tokens: trace.and_then(|trace| trace.input_tokens),
        of: row,
    }
}

/// The row of a request: it comes with its first attempt, and is answered with its last. Failures state no tokens, so they
/// are those of any attempt that does.
fn whole(request: Request<Row>) -> Option<Row> {
    if request.len() < 2 {
        return request.into_iter().next().map(|attempt| attempt.of);
    }
    let rows: Vec<Row> = request.into_iter().map(|attempt| attempt.of).collect();
    let (first, last) = (rows.first()?, rows.last()?);
    let waited = Duration::from_nanos(last.at.abs_diff(first.at));
    let all = || rows.iter().filter_map(|row| row.told.as_deref());
    let answers: SmallVec<[Answer; 1]> = all().flat_map(|told| told.answers.clone()).collect();
    Some(Row {
        input_tokens: rows.iter().map(|row| row.input_tokens).max()?,
        output_tokens: last.output_tokens,
        session: rows.iter().find_map(|row| row.session),
        latency: last.latency.map(|latency| waited.saturating_add(latency)),
        told: Some(Arc::new(Told {
            is_stream: all().any(|told| told.is_stream),
            trace: None,
            answers,
        })),
        ..first.clone()
    })
}

/// From the first to the last of them.
#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::outcome::Outcome;
    use crate::time::nanos;
    use crate::traffic::format::Record;
    use crate::traffic::log::Kept;

    const S: i64 = 1_000_000_000;

    fn record(at: i64, end: Outcome, tokens: u32) -> Row {
        let record = Record {
            at: Some(at * S),
            latency: Some(Duration::from_secs(2)),
            end: Some(end),
            trace: Some("t".to_owned()),
            input_tokens: Some(tokens),
            output_tokens: Some(tokens * 2),
            is_stream: Some(end.is_success()),
            ..Record::default()
        };
        Row::after(&record, None)
    }

    #[test]
    fn a_request_comes_with_its_first_attempt_and_is_answered_with_its_last() {
        let rows = vec![
            record(10, Outcome::Timeout, 0),
            record(11, Outcome::Success, 7),
            record(13, Outcome::Success, 9),
        ];
        let source = Requests::of(Arc::new(Kept::new(rows)));
        assert_eq!((source.counts.attempts, source.counts.merged), (3, 1));
        let rows: Vec<Row> = source.rows().collect();
        // The second began before the first had ended; the third is its retry.
        let of = |row: &Row| {
            (
                row.at / S,
                row.input_tokens,
                row.output_tokens,
                nanos(row.latency.unwrap()) / S as u64,
            )
        };
        assert_eq!(
            rows.iter().map(of).collect::<Vec<_>>(),
            [(10, 9, 18, 5), (11, 7, 14, 2)]
        );
        let told = rows[0].told.clone().unwrap();
        let ends: Vec<_> = told.answers.iter().map(|a| a.end).collect();
        assert_eq!(ends, [Some(Outcome::Timeout), Some(Outcome::Success)]);
        assert!(told.is_stream);
    }
}
