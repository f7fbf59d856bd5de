//! What became of the lines of a log: every one of them is replayed, or left out with a reason.

use std::collections::BTreeMap;

use crate::protocol::outcome::Outcome;
use crate::traffic::format::{BadRow, DropReason, Record};
use crate::traffic::log::requests::Counts;

/// How many useless lines a log keeps for the report.
const BAD_ROWS_KEPT: usize = 20;

/// What became of the lines of a log.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LogAccount {
    /// Lines (or records) with a request on them, usable or not.
    pub read: u64,
    /// Dropped rows by reason.
    pub dropped: BTreeMap<DropReason, u64>,
    /// The first damaged rows.
    pub bad: Vec<BadRow>,
    /// Usable rows that are not asked for, by reason.
    pub left_out: Vec<(&'static str, u64)>,
    /// Rows that were earlier than the row before them; all are put in order of time.
    pub inversions: u64,
    /// Rows without a time.
    pub untimed: u64,
    /// Requests that had failed when they were recorded, by how. They are sent like any other.
    pub failed: BTreeMap<Outcome, u64>,
    /// Rows whose end is known.
    pub ended: u64,
    /// Rows that ask for a stream.
    pub streams: u64,
    /// Rows that failed as part of a trace: only what comes after such a one can be another attempt of its request.
    pub failed_in_trace: u64,
    /// What came of rows that are attempts.
    pub attempts: Counts,
    /// Requests that are copies of others, in one round.
    pub copies: u64,
    /// Requests of later rounds.
    pub repeated: u64,
}

impl LogAccount {
    /// Takes the next row in, or the next useless line.
    pub fn take(&mut self, record: &Result<Record, BadRow>) {
        self.read += 1;
        match record {
            Ok(record) => self.record(record),
            Err(bad) => self.bad(bad),
        }
    }

    fn record(&mut self, record: &Record) {
        // A turn may wait for the answer before it instead.
        let is_turn = record.session.is_some() && record.delay.is_some();
        self.untimed += u64::from(record.at.is_none() && !is_turn);
        self.streams += u64::from(record.is_stream == Some(true));
        if let Some(end) = record.end {
            self.ended += 1;
            if !end.is_success() {
                self.failed_in_trace += u64::from(record.trace.is_some());
                *self.failed.entry(end).or_default() += 1;
            }
        }
    }

    fn bad(&mut self, bad: &BadRow) {
        *self.dropped.entry(bad.reason).or_default() += 1;
        if bad.reason.is_damage() && self.bad.len() < BAD_ROWS_KEPT {
            self.bad.push(bad.clone());
        }
    }

    /// All dropped rows.
    pub fn dropped_total(&self) -> u64 {
        self.dropped.values().sum()
    }

    /// Rows that were dropped because they are damaged, and not because they are no chats.
    pub fn damaged_total(&self) -> u64 {
        let damaged = self.dropped.iter().filter(|(reason, _)| reason.is_damage());
        damaged.map(|(_, n)| n).sum()
    }

    /// Everything that is not replayed, by reason.
    pub fn not_replayed(&self) -> Vec<(&'static str, u64)> {
        let dropped = self.dropped.iter().map(|(reason, n)| (reason.name(), *n));
        dropped.chain(self.left_out.iter().copied()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_of_nothing_but_useless_lines_needs_no_memory() {
        let mut account = LogAccount::default();
        for line in 2..10_002 {
            account.take(&Err(BadRow {
                line,
                column: 1,
                text: String::new(),
                reason: DropReason::FieldCount,
            }));
        }
        assert_eq!((account.read, account.dropped_total()), (10_000, 10_000));
        let kept: Vec<u64> = account.bad.iter().map(|b| b.line).collect();
        assert_eq!(kept, Vec::from_iter(2..22));
    }

    #[test]
    fn what_is_no_chat_is_no_damage() {
        let mut account = LogAccount::default();
        for reason in [
            DropReason::NoChat,
            DropReason::NoRequest,
            DropReason::BadForm,
        ] {
            account.take(&Err(BadRow {
                line: 1,
                column: 1,
                text: String::new(),
                reason,
            }));
        }
        assert_eq!((account.dropped_total(), account.damaged_total()), (3, 1));
        assert_eq!(account.bad.len(), 1);
    }

    #[test]
    fn failures_of_the_log_are_its_own_series() {
        let mut account = LogAccount::default();
        for end in [None, Some(Outcome::Success), Some(Outcome::Timeout)] {
            account.take(&Ok(Record {
                end,
                ..Record::default()
            }));
        }
        assert_eq!((account.ended, account.untimed), (2, 3));
        assert_eq!(account.failed, BTreeMap::from([(Outcome::Timeout, 1)]));
    }
}
