//! What is due when: `setTimeout`, without a clock.

use std::collections::BTreeMap;

use graygate::id::{AttemptId, RequestId, VersionId};
use graygate::time::Timestamp;

/// Something that is due.
#[derive(Clone, Copy, Debug)]
pub(super) enum Due {
    /// The attempt's limit.
    Limit(AttemptId),
    /// The end of a backoff.
    Retry(RequestId),
    /// The request's deadline.
    Deadline(RequestId),
    /// A slot of a rate limit.
    Slot(VersionId),
    /// The longest wait for one.
    Slotless(RequestId),
}

/// Everything that is due, in the order of time.
#[derive(Debug, Default)]
pub(super) struct Timers {
    due: BTreeMap<(Timestamp, u64), Due>,
    next: u64,
}

impl Timers {
    pub(super) fn set(&mut self, at: Timestamp, due: Due) {
        self.due.insert((at, self.next), due);
        self.next += 1;
    }

    pub(super) fn next_at(&self) -> Option<Timestamp> {
        self.due.first_key_value().map(|((at, _), _)| *at)
    }

    pub(super) fn take(&mut self, now: Timestamp) -> Option<Due> {
        let first = self.due.first_entry().filter(|entry| entry.key().0 <= now);
        first.map(|entry| entry.remove())
    }

    pub(super) fn bytes(&self) -> usize {
        self.due.len() * size_of::<((Timestamp, u64), Due)>() * 3 / 2
    }
}
