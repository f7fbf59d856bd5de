//! How many attempts arrive in a window of time, wherever it stands. `policy` and `rate_limit` count by it.
//!
//! A window is half open: what came exactly its length ago has left it. The fullest of all windows ends with
//! an arrival, so looking at each of them is looking at all.

use std::collections::VecDeque;
use std::time::Duration;

use crate::time::Timestamp;

/// What arrived in the window that ends now. It keeps one arrival more than twice its limit, so "more than twice as
/// many" is all that is known beyond.
pub(super) struct Window {
    length: Duration,
    most: u32,
    taken: VecDeque<Timestamp>,
    seen: u64,
}

impl Window {
    /// An empty window of this length, in which `most` may arrive. What a busy machine holds up on the way
    /// is not the router's doing: where it may be late by `tolerance`, the window is that much shorter, but
    /// at most by a tenth.
    pub(super) fn new(most: u32, length: Duration, tolerance: Duration) -> Self {
        Self {
            length: length.saturating_sub(tolerance.min(length / 10)),
            most,
            taken: VecDeque::new(),
            seen: 0,
        }
    }

    /// Notes an arrival; how many there are now.
    pub(super) fn take(&mut self, at: Timestamp) -> u64 {
        self.seen += 1;
        let length = self.length;
        while self
            .taken
            .pop_front_if(|first| at.since(*first) >= length)
            .is_some()
        {}
        if self.taken.len() as u64 > self.twice() {
            self.taken.pop_front();
        }
        self.taken.push_back(at);
        self.taken.len() as u64
    }

    /// How long it is.
    pub(super) fn length(&self) -> Duration {
        self.length
    }

    /// How many may be in it.
    pub(super) fn most(&self) -> u64 {
        self.most.into()
    }

    /// The largest number that is told apart from larger ones.
    pub(super) fn twice(&self) -> u64 {
        2 * self.most()
    }

    /// How many ever arrived.
    pub(super) fn seen(&self) -> u64 {
        self.seen
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    fn filled(window: &mut Window, arrivals: &[u64]) -> Vec<u64> {
        let take = |ms: &u64| window.take(Timestamp(ms * MS));
        arrivals.iter().map(take).collect()
    }

    #[test]
    fn what_came_a_window_ago_has_left() {
        let second = Duration::from_secs(1);
        let mut window = Window::new(3, second, Duration::ZERO);
        let arrivals = [0, 0, 999, 1_000, 1_998, 1_999, 5_000];
        assert_eq!(filled(&mut window, &arrivals), [1, 2, 3, 2, 3, 3, 1]);
        assert_eq!(window.seen(), 7);
    }

    #[test]
    fn a_busy_machine_has_a_shorter_window() {
        let second = Duration::from_secs(1);
        let length = |length, tolerance| Window::new(1, length, tolerance).length();
        assert_eq!(length(second, second), Duration::from_millis(900));
        assert_eq!(length(60 * second, second), 59 * second);
        assert_eq!(length(60 * second, Duration::ZERO), 60 * second);
    }

    #[test]
    fn no_more_than_twice_its_limit_is_kept() {
        let mut window = Window::new(2, Duration::from_secs(60), Duration::ZERO);
        let counts = filled(&mut window, &[0; 9]);
        assert_eq!(counts, [1, 2, 3, 4, 5, 5, 5, 5, 5]);
        assert_eq!(window.taken.len(), 5);
    }
}
