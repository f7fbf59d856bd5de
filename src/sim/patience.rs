//! When which caller gives up. All have the same patience, so they give up in the order they came.

use std::collections::VecDeque;
use std::time::Duration;

use crate::id::RequestId;
use crate::time::Timestamp;

/// Callers who wait, the one who waits longest first.
pub(super) struct Patience {
    length: Duration,
    queue: VecDeque<(Timestamp, RequestId)>,
}

/// Entries of callers who have their answer are let be until there are this many more than callers
/// who wait.
const SLACK: usize = 64;

impl Patience {
    /// Nobody waits yet.
    pub(super) fn new(length: Duration) -> Self {
        Self {
            length,
            queue: VecDeque::new(),
        }
    }

    /// Somebody starts to wait, as one of `waiting`. Memory follows their number.
    pub(super) fn begin(
        &mut self,
        at: Timestamp,
        request: RequestId,
        waiting: usize,
        is_waiting: impl Fn(RequestId) -> bool,
    ) {
        if self.queue.len() > 2 * waiting + SLACK {
            self.queue.retain(|(_, request)| is_waiting(*request));
        }
        self.queue.push_back((at + self.length, request));
    }

    /// Who gives up next, and when.
    pub(super) fn next(
        &mut self,
        is_waiting: impl Fn(RequestId) -> bool,
    ) -> Option<(Timestamp, RequestId)> {
        while let Some((at, request)) = self.queue.front() {
            if is_waiting(*request) {
                return Some((*at, *request));
            }
            self.queue.pop_front();
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_waits_longest_gives_up_first_and_the_answered_are_forgotten() {
        let mut patience = Patience::new(Duration::from_secs(1));
        let everybody = |_| true;
        for i in 0..10_u64 {
            patience.begin(Timestamp(i), RequestId(i), 1, everybody);
        }
        let second = Timestamp::from_secs_f64(1.0);
        let from_third = |request: RequestId| request.0 >= 3;
        let third = (second + Duration::from_nanos(3), RequestId(3));
        assert_eq!(patience.next(from_third), Some(third));
        assert_eq!(patience.next(|_| false), None);
    }

    #[test]
    fn one_patient_caller_does_not_keep_the_others_in_memory() {
        let mut patience = Patience::new(Duration::from_secs(1));
        for i in 0..100_000_u64 {
            let is_waiting = |request: RequestId| request.0 == 0 || request.0 == i;
            patience.begin(Timestamp(i), RequestId(i), 2, is_waiting);
            assert!(patience.queue.len() <= 4 + SLACK + 1);
        }
        assert!(patience.next(|_| true).is_some_and(|(_, r)| r.0 == 0));
    }
}
