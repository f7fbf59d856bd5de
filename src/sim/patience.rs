//! When which caller gives up. Most have the same patience, and give up in the order they came; some hang
//! up by themselves, whenever they like.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::time::Duration;

use crate::id::RequestId;
use crate::protocol::outcome::Outcome;
use crate::time::Timestamp;

/// Callers who wait.
pub(super) struct Patience {
    length: Duration,
    /// The one who waits longest first.
    queue: VecDeque<(Timestamp, RequestId)>,
    /// Those who will hang up, the next one on top.
    hang_ups: BinaryHeap<Reverse<(Timestamp, RequestId)>>,
}

/// A caller who leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Left {
    /// When.
    pub(super) at: Timestamp,
    /// Whose request it is.
    pub(super) request: RequestId,
    /// How it ends for them: out of patience, or because they wanted to.
    pub(super) how: Outcome,
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
            hang_ups: BinaryHeap::new(),
        }
    }

    /// Somebody starts to wait, as one of `waiting`, and hangs up after so long, if ever. Memory follows
    /// their number.
    pub(super) fn begin(
        &mut self,
        at: Timestamp,
        request: RequestId,
        hangs_up: Option<Duration>,
        waiting: usize,
        is_waiting: impl Fn(RequestId) -> bool,
    ) {
        if self.queue.len() > 2 * waiting + SLACK {
            self.queue.retain(|(_, request)| is_waiting(*request));
        }
        if self.hang_ups.len() > 2 * waiting + SLACK {
            self.hang_ups.retain(|Reverse((_, r))| is_waiting(*r));
        }
        match hangs_up.filter(|after| *after < self.length) {
            Some(after) => self.hang_ups.push(Reverse((at + after, request))),
            None => self.queue.push_back((at + self.length, request)),
        }
    }

    /// Who gives up next.
    pub(super) fn next(&mut self, is_waiting: impl Fn(RequestId) -> bool) -> Option<Left> {
        while self.queue.front().is_some_and(|(_, r)| !is_waiting(*r)) {
            self.queue.pop_front();
        }
        while self
            .hang_ups
            .peek()
            .is_some_and(|Reverse((_, r))| !is_waiting(*r))
        {
            self.hang_ups.pop();
        }
        let left = |how| move |(at, request)| Left { at, request, how };
        let bored = self.queue.front().copied().map(left(Outcome::Timeout));
        let gone = self.hang_ups.peek().map(|Reverse(next)| *next);
        let gone = gone.map(left(Outcome::ClientGone));
        gone.into_iter().chain(bored).min_by_key(|left| left.at)
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
            patience.begin(Timestamp(i), RequestId(i), None, 1, everybody);
        }
        let second = Timestamp::from_secs_f64(1.0);
        let from_third = |request: RequestId| request.0 >= 3;
        let third = Left {
            at: second + Duration::from_nanos(3),
            request: RequestId(3),
            how: Outcome::Timeout,
        };
        assert_eq!(patience.next(from_third), Some(third));
        assert_eq!(patience.next(|_| false), None);
    }

    #[test]
    fn one_patient_caller_does_not_keep_the_others_in_memory() {
        let mut patience = Patience::new(Duration::from_secs(1));
        for i in 0..100_000_u64 {
            let is_waiting = |request: RequestId| request.0 == 0 || request.0 == i;
            let hangs_up = (i % 2 == 1).then_some(Duration::from_millis(900));
            patience.begin(Timestamp(i), RequestId(i), hangs_up, 2, is_waiting);
            assert!(patience.queue.len() <= 4 + SLACK + 1);
            assert!(patience.hang_ups.len() <= 4 + SLACK + 1);
        }
        let is_first = |request: RequestId| request.0 == 0;
        assert!(patience.next(is_first).is_some_and(|l| l.request.0 == 0));
    }

    #[test]
    fn whoever_hangs_up_waits_for_nobody_else() {
        let mut patience = Patience::new(Duration::from_secs(1));
        for (i, hangs_up) in [None, Some(300), Some(200), Some(5_000)]
            .into_iter()
            .enumerate()
        {
            let hangs_up = hangs_up.map(Duration::from_millis);
            patience.begin(Timestamp::ZERO, RequestId(i as u64), hangs_up, 4, |_| true);
        }
        let mut gone: Vec<(u64, f64, Outcome)> = Vec::new();
        while let Some(left) = patience.next(|r| !gone.iter().any(|(g, ..)| *g == r.0)) {
            gone.push((left.request.0, left.at.as_secs_f64(), left.how));
        }
        let (bored, hung_up) = (Outcome::Timeout, Outcome::ClientGone);
        let all = [
            (2, 0.2, hung_up),
            (1, 0.3, hung_up),
            (0, 1.0, bored),
            (3, 1.0, bored),
        ];
        assert_eq!(gone, all);
    }
}
