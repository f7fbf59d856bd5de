//! How much an upstream does at once: places for so many requests, and a line of others that wait for one,
//! first come, first served. Both engines keep theirs by this.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::Duration;

use crate::upstream::plan::{Act, Refusal, ResponsePlan};
use crate::upstream::wish::Wish;

/// How fast an upstream says that it can take no more.
const REFUSAL_LATENCY: Duration = Duration::from_millis(5);

/// The capacity of an upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capacity {
    /// Requests that it works on at once, at least one.
    pub concurrent: u32,
    /// Requests that may wait besides.
    pub queue: u32,
    /// What the others are told.
    pub when_full: WhenFull,
}

/// What a request is told for which there is no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WhenFull {
    /// Its status.
    pub status: FullStatus,
    /// The `Retry-After` header.
    pub retry_after: Option<Duration>,
}

/// The status of an upstream that is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FullStatus {
    /// 503 `overloaded`.
    Overloaded,
    /// 429 `rate_limit_exceeded`.
    RateLimited,
}

impl WhenFull {
    /// The answer.
    pub fn plan(&self) -> ResponsePlan {
        let (status, kind, code) = match self.status {
            FullStatus::Overloaded => (503, "server_error", "overloaded"),
            FullStatus::RateLimited => (429, "rate_limit_error", "rate_limit_exceeded"),
        };
        ResponsePlan {
            after: REFUSAL_LATENCY,
            act: Act::Refuse(Refusal {
                status,
                kind,
                code,
                message: Cow::Borrowed("The server is busy, and its queue is full"),
                wish: self.retry_after.map(Wish::Seconds),
            }),
        }
    }
}

/// A place in the line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticket(u64);

/// What becomes of a request that comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    /// It is worked on at once. Whoever let it in calls [`Line::leave`] when that is over.
    Begins,
    /// It waits. Whoever let it in calls [`Line::give_up`] if it leaves before its turn.
    Waits(Ticket),
    /// There is no room for it.
    Full,
}

/// The places of one upstream, and who waits for one.
#[derive(Clone, Debug)]
pub struct Line<T> {
    capacity: Capacity,
    /// Places that are taken.
    busy: u32,
    next_ticket: u64,
    waiting: BTreeMap<Ticket, T>,
}

impl<T> Line<T> {
    /// Nobody is there yet.
    pub fn new(capacity: Capacity) -> Self {
        Self {
            capacity,
            busy: 0,
            next_ticket: 0,
            waiting: BTreeMap::new(),
        }
    }

    /// Somebody comes.
    pub fn enter(&mut self, who: T) -> Entry {
        if self.busy < self.capacity.concurrent.max(1) {
            self.busy += 1;
            return Entry::Begins;
        }
        if self.waiting.len() >= self.capacity.queue as usize {
            return Entry::Full;
        }
        let ticket = Ticket(self.next_ticket);
        self.next_ticket += 1;
        self.waiting.insert(ticket, who);
        Entry::Waits(ticket)
    }

    /// Whoever had a place leaves it. It is taken by the one who is returned, the first in the line.
    pub fn leave(&mut self) -> Option<T> {
        let next = self.waiting.pop_first();
        if next.is_none() {
            self.busy = self.busy.saturating_sub(1);
        }
        next.map(|(_, who)| who)
    }

    /// Whoever waits leaves the line. False when their turn has come meanwhile: then the place is theirs.
    pub fn give_up(&mut self, ticket: Ticket) -> bool {
        self.waiting.remove(&ticket).is_some()
    }

    /// What those are told for whom there is no room.
    pub fn when_full(&self) -> WhenFull {
        self.capacity.when_full
    }

    /// How many are worked on, and how many wait.
    pub fn load(&self) -> (u32, usize) {
        (self.busy, self.waiting.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::outcome::Outcome;

    fn line(concurrent: u32, queue: u32) -> Line<char> {
        Line::new(Capacity {
            concurrent,
            queue,
            when_full: WhenFull {
                status: FullStatus::Overloaded,
                retry_after: None,
            },
        })
    }

    #[test]
    fn whoever_came_first_is_next() {
        let mut line = line(2, 3);
        let entries: Vec<_> = "abcdef".chars().map(|who| line.enter(who)).collect();
        let waits = |n| Entry::Waits(Ticket(n));
        let begins = Entry::Begins;
        assert_eq!(
            entries,
            [begins, begins, waits(0), waits(1), waits(2), Entry::Full]
        );
        assert!(line.give_up(Ticket(1)), "d leaves, and there is room again");
        assert_eq!(line.enter('g'), waits(3));
        let next: String = std::iter::from_fn(|| line.leave()).collect();
        assert_eq!(next, "ceg");
        assert!(!line.give_up(Ticket(0)), "c has its place already");
        // `from_fn` has seen one place go back; of the others one is left.
        assert_eq!(line.load(), (1, 0));
        assert_eq!(line.leave(), None);
        assert_eq!(line.enter('h'), Entry::Begins);
    }

    #[test]
    fn a_full_upstream_says_what_it_was_told_to() {
        for (status, outcome) in [
            (FullStatus::Overloaded, Outcome::Overloaded),
            (FullStatus::RateLimited, Outcome::RateLimited),
        ] {
            let retry_after = Some(Duration::from_secs(2));
            let plan = WhenFull {
                status,
                retry_after,
            }
            .plan();
            assert_eq!(plan.outcome(), Some(outcome));
            assert_eq!(plan.retry_after(), retry_after);
        }
    }
}
