//! Recorded traffic, sent again: at its own pace, faster, or as fast as it is answered.

use std::collections::BTreeMap;
use std::time::Duration;

use sha2::{Digest, Sha256};

use crate::id::RequestKey;
use crate::time::{Timestamp, nanos};
use crate::traffic::body::{Prompt, count_tokens, prompt_tokens};
use crate::traffic::format::{BadRow, DropReason, Record};
use crate::traffic::source::{Next, Planned, Source};

/// Requests under way at `--speed max`.
pub const MAX_SPEED_CONCURRENCY: u32 = 64;

/// Tokens of an answer of which the log says nothing.
const UNKNOWN_OUTPUT: u32 = 128;

/// How many useless lines a log keeps for the report.
const BAD_ROWS_KEPT: usize = 20;

/// How fast a log is sent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Speed {
    /// This many times as fast as it was recorded (> 0).
    Times(f64),
    /// The next request as soon as one of 64 is answered; the recorded times are ignored.
    Max,
}

/// A recorded log, read and put in order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RecordedLog {
    rows: Vec<(u64, u32, u32)>,
    /// What became of the lines of the file.
    pub account: LogAccount,
}

/// What became of the lines of a log: every line is replayed or dropped with a reason.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LogAccount {
    /// Lines with a row on them, header and blank lines not counted.
    pub read: u64,
    /// Rows that are replayed.
    pub replayed: u64,
    /// Dropped rows by reason.
    pub dropped: BTreeMap<DropReason, u64>,
    /// The first damaged rows.
    pub bad: Vec<BadRow>,
    /// Rows that were earlier than the row before them; all are put in order of time.
    pub inversions: u64,
    /// Rows at the same time as the row before them, once in order.
    pub ties: u64,
    /// Rows without a time.
    pub untimed: u64,
    /// From the first row to the last.
    pub span: Duration,
}

impl LogAccount {
    /// All dropped rows.
    pub fn dropped_total(&self) -> u64 {
        self.dropped.values().sum()
    }

    /// Rows that were dropped because they are damaged, and not because they are no chats.
    pub fn damaged_total(&self) -> u64 {
        let damaged = self.dropped.iter().filter(|(reason, _)| reason.is_damage());
        damaged.map(|(_, n)| n).sum()
    }
}

/// What is kept of a request until all are there.
#[derive(Clone, Copy, Debug)]
struct Row {
    at: i64,
    input_tokens: u32,
    output_tokens: u32,
}

/// Tokens of a prompt: counted in its text, where the log has that alone.
fn input_tokens(record: &Record) -> u32 {
    let counted = || record.body.as_ref().map(|body| prompt_tokens(body));
    record.input_tokens.or_else(counted).unwrap_or(1)
}

/// Tokens of an answer: counted in its text, where the log has that alone.
fn output_tokens(record: &Record) -> u32 {
    let counted = || record.answer.as_deref().map(count_tokens);
    record
        .output_tokens
        .or_else(counted)
        .unwrap_or(UNKNOWN_OUTPUT)
}

/// Collects the rows of a log as they are read. Of those that are dropped it keeps the first few, so
/// that a log of nothing else needs no memory.
#[derive(Debug, Default)]
pub struct LogCollector {
    rows: Vec<Row>,
    account: LogAccount,
}

impl LogCollector {
    /// The next row of the log, if it is one.
    pub fn take(&mut self, record: Result<Record, BadRow>) {
        match record {
            Ok(record) => self.record(&record),
            Err(bad) => self.bad(bad),
        }
    }

    /// A request to be replayed.
    pub fn record(&mut self, record: &Record) {
        let row = Row {
            at: record.at.unwrap_or_default(),
            input_tokens: input_tokens(record),
            output_tokens: output_tokens(record),
        };
        self.account.untimed += u64::from(record.at.is_none());
        if self.rows.last().is_some_and(|last| row.at < last.at) {
            self.account.inversions += 1;
        }
        self.rows.push(row);
    }

    /// A line that is dropped.
    pub fn bad(&mut self, bad: BadRow) {
        *self.account.dropped.entry(bad.reason).or_default() += 1;
        if bad.reason.is_damage() && self.account.bad.len() < BAD_ROWS_KEPT {
            self.account.bad.push(bad);
        }
    }

    /// The log in order of time. Rows of one time keep the order of the file.
    pub fn finish(self) -> RecordedLog {
        let Self {
            mut rows,
            mut account,
        } = self;
        rows.sort_by_key(|row| row.at);
        let start = rows.first().map_or(0, |row| row.at);
        // Sorted, so no difference is negative; two i64 differ by at most u64::MAX.
        let rows: Vec<(u64, u32, u32)> = rows
            .iter()
            .map(|r| (r.at.abs_diff(start), r.input_tokens, r.output_tokens))
            .collect();
        account.replayed = rows.len() as u64;
        account.read = account.replayed + account.dropped_total();
        account.ties = rows.windows(2).filter(|w| w[0].0 == w[1].0).count() as u64;
        account.span = Duration::from_nanos(rows.last().map_or(0, |row| row.0));
        RecordedLog { rows, account }
    }
}

impl RecordedLog {
    /// How many requests it holds.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// How many requests are scheduled before `duration`; all of them when answers set the pace.
    pub fn scheduled_before(&self, speed: Speed, duration: Option<Duration>) -> u64 {
        let (Speed::Times(factor), Some(duration)) = (speed, duration) else {
            return self.rows.len() as u64;
        };
        let end = Timestamp::from(duration);
        self.rows.partition_point(|row| scaled(row.0, factor) < end) as u64
    }

    /// The SHA-256 over all rows.
    pub fn fingerprint(&self) -> Vec<u8> {
        let mut hasher = Sha256::new();
        for (at, input, output) in &self.rows {
            hasher.update(at.to_be_bytes());
            hasher.update(input.to_be_bytes());
            hasher.update(output.to_be_bytes());
        }
        hasher.finalize().to_vec()
    }

    /// True when there is nothing to replay.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }
}

/// A source that sends a recorded log again.
#[derive(Debug)]
pub struct Replay {
    log: std::sync::Arc<RecordedLog>,
    speed: Speed,
    end: Timestamp,
    next: usize,
    free: u32,
    now: Timestamp,
}

impl Replay {
    /// The requests of `log` at `speed`; those scheduled at or after `duration` are left out.
    pub fn new(log: std::sync::Arc<RecordedLog>, speed: Speed, duration: Option<Duration>) -> Self {
        Self {
            log,
            speed,
            end: duration.map_or(Timestamp::MAX, Timestamp::from),
            next: 0,
            free: MAX_SPEED_CONCURRENCY,
            now: Timestamp::ZERO,
        }
    }

    fn moment(&self, offset: u64) -> Option<Timestamp> {
        match self.speed {
            Speed::Times(factor) => Some(scaled(offset, factor)),
            Speed::Max => (self.free > 0).then_some(self.now),
        }
    }
}

/// When a row is sent, to the microsecond unless it is sent as it was.
fn scaled(offset: u64, factor: f64) -> Timestamp {
    if factor == 1.0 {
        return Timestamp(offset);
    }
    let scaled = Duration::from_nanos(offset).as_secs_f64() / factor;
    let micros = (scaled * 1e6).round() as u64;
    Timestamp(nanos(Duration::from_micros(micros)))
}

impl Source for Replay {
    fn peek(&mut self) -> Next {
        let Some(&(offset, input_tokens, output_tokens)) = self.log.rows.get(self.next) else {
            return Next::Done;
        };
        let Some(at) = self.moment(offset) else {
            return Next::AfterAnswer;
        };
        if at >= self.end {
            return Next::Done;
        }
        Next::Request(Planned {
            key: RequestKey(self.next as u64),
            at,
            caller: 0,
            prompt: Prompt::MadeUp {
                input_tokens,
                output_tokens,
            },
            stream: false,
            forced: None,
            hangs_up: None,
        })
    }

    fn take(&mut self) {
        self.next += 1;
        self.free = self
            .free
            .saturating_sub(u32::from(self.speed == Speed::Max));
    }

    fn answered(&mut self, _key: RequestKey, at: Timestamp) -> bool {
        self.free += u32::from(self.speed == Speed::Max);
        self.now = at;
        self.speed == Speed::Max
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    fn log(times: &[i64]) -> Arc<RecordedLog> {
        let mut collector = LogCollector::default();
        for (i, &at) in times.iter().enumerate() {
            collector.record(&Record {
                at: Some(at * 1_000_000_000),
                input_tokens: Some(i as u32),
                output_tokens: Some(1),
                ..Record::default()
            });
        }
        Arc::new(collector.finish())
    }

    fn seconds(source: &mut Replay) -> Vec<f64> {
        std::iter::from_fn(|| match source.next() {
            Next::Request(planned) => Some(planned.at.as_secs_f64()),
            Next::AfterAnswer | Next::Done => None,
        })
        .collect()
    }

    #[test]
    fn rows_are_sorted_stably_and_counted() {
        let log = log(&[100, 102, 101, 101, 107]);
        assert_eq!(log.account.inversions, 1);
        assert_eq!(log.account.ties, 1);
        assert_eq!(log.account.span, Duration::from_secs(7));
        let inputs: Vec<u32> = log.rows.iter().map(|r| r.1).collect();
        assert_eq!(inputs, [0, 2, 3, 1, 4]);
    }

    #[test]
    fn of_useless_lines_only_the_first_are_kept_and_all_are_counted() {
        let mut collector = LogCollector::default();
        for line in 2..10_002 {
            collector.take(Err(BadRow {
                line,
                column: 1,
                text: "nonsense".to_owned(),
                reason: DropReason::FieldCount,
            }));
        }
        let log = collector.finish();
        assert!(log.is_empty());
        assert_eq!(log.account.dropped_total(), 10_000);
        let kept: Vec<u64> = log.account.bad.iter().map(|b| b.line).collect();
        assert_eq!(kept, Vec::from_iter(2..22));
    }

    #[test]
    fn what_is_no_chat_is_no_damage() {
        let mut collector = LogCollector::default();
        for reason in [
            DropReason::NoChat,
            DropReason::NoRequest,
            DropReason::BadForm,
        ] {
            collector.take(Err(BadRow {
                line: 1,
                column: 1,
                text: String::new(),
                reason,
            }));
        }
        let account = collector.finish().account;
        assert_eq!((account.dropped_total(), account.damaged_total()), (3, 1));
        assert_eq!(account.bad.len(), 1);
    }

    #[test]
    fn speed_shrinks_the_gaps() {
        let log = log(&[100, 101, 110]);
        let at = |speed| seconds(&mut Replay::new(log.clone(), speed, None));
        assert_eq!(at(Speed::Times(1.0)), [0.0, 1.0, 10.0]);
        assert_eq!(at(Speed::Times(10.0)), [0.0, 0.1, 1.0]);
        let mut cut = Replay::new(
            log.clone(),
            Speed::Times(1.0),
            Some(Duration::from_secs(10)),
        );
        assert_eq!(seconds(&mut cut), [0.0, 1.0]);
    }

    #[test]
    fn at_full_speed_answers_set_the_pace() {
        let times: Vec<i64> = (0..100).collect();
        let mut source = Replay::new(log(&times), Speed::Max, None);
        assert_eq!(seconds(&mut source).len(), 64);
        assert_eq!(source.next(), Next::AfterAnswer);
        source.answered(RequestKey(0), Timestamp(5));
        assert!(matches!(source.next(), Next::Request(p) if p.at == Timestamp(5)));
    }

    #[test]
    fn what_comes_after_the_duration_is_counted_as_left_out() {
        let log = log(&[0, 2, 4, 6]);
        let before = |speed, seconds: Option<u64>| {
            log.scheduled_before(speed, seconds.map(Duration::from_secs))
        };
        assert_eq!(before(Speed::Times(1.0), Some(4)), 2);
        assert_eq!(before(Speed::Times(2.0), Some(3)), 3);
        assert_eq!(before(Speed::Times(1.0), None), 4);
        assert_eq!(before(Speed::Max, Some(1)), 4);
    }
}
