//! The shares that the canary may have had over time, as far as its router, or the orders to another gateway, tell.

use std::time::Duration;

use crate::observe::event::What;
use crate::observe::orders::OrderKind;
use crate::observe::shares::{Possible, PossibleShares};
use crate::time::Timestamp;

/// What was possible, and since when; in order.
#[derive(Clone, Debug, PartialEq)]
pub struct Shares {
    now: PossibleShares,
    steps: Vec<(Timestamp, Possible)>,
}

impl Shares {
    /// The share at the beginning, 0 to 1.
    pub fn new(share: f64) -> Self {
        Self {
            now: PossibleShares::new(share),
            steps: vec![(Timestamp::ZERO, Possible::only(share))],
        }
    }

    /// From now on it is this one, but for orders that are under way.
    pub fn weigh(&mut self, at: Timestamp, share: f64) {
        self.told(at, at, share);
    }

    /// It is told now that it was this one then.
    pub fn told(&mut self, now: Timestamp, then: Timestamp, share: f64) {
        self.now.told(then, share);
        self.note(now);
    }

    /// Is there no doubt of what is in force now?
    pub fn is_known(&self) -> bool {
        self.now.is_known()
    }

    /// Takes an event in, if it is of an order. An order to roll back is one for a share of 0.
    pub fn event(&mut self, at: Timestamp, what: &What) {
        match what {
            What::Ordered(order) => self.now.ordered(at, order.number, wanted(order.kind)),
            What::OrderEnded(end) => self.now.ended(at, end),
            _ => return,
        }
        self.note(at);
    }

    /// All that was possible at any time since then.
    pub fn since(&self, since: Timestamp) -> Possible {
        self.between(since, Timestamp(u64::MAX))
    }

    /// All that was possible at any time between these.
    pub fn between(&self, since: Timestamp, until: Timestamp) -> Possible {
        let before = self.steps.partition_point(|(at, _)| *at <= since);
        let in_force = self.steps[before.saturating_sub(1)..].iter();
        let all = in_force.take_while(|(at, _)| *at <= until.max(since));
        let all = all.map(|(_, possible)| *possible);
        all.reduce(Possible::or).unwrap_or(self.newest())
    }

    /// Will that stay in doubt, whatever is answered yet?
    pub fn is_doubtful(&self) -> bool {
        self.now.is_doubtful()
    }

    /// What is possible now.
    pub fn newest(&self) -> Possible {
        self.now.range()
    }

    fn note(&mut self, at: Timestamp) {
        let newest = self.newest();
        if self.steps.last().is_none_or(|(_, last)| *last != newest) {
            self.steps.push((at, newest));
        }
    }
}

fn wanted(order: OrderKind) -> f64 {
    order.share().unwrap_or(0.0)
}

/// So long before a moment, if there was a time then.
pub fn before(at: Timestamp, by: Duration) -> Timestamp {
    Timestamp::from(at.elapsed().saturating_sub(by))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::orders::{OrderEnd, OrderFacts};

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from(Duration::from_secs(seconds))
    }

    #[test]
    fn what_was_possible_at_any_time_since_then_counts() {
        let mut shares = Shares::new(0.2);
        let order = OrderFacts {
            number: 1,
            kind: OrderKind::for_share(Some(0.5)),
        };
        shares.event(at(1), &What::Ordered(order));
        let end = OrderEnd {
            order,
            status: Some(200),
            took: Duration::ZERO,
            answer: String::new(),
        };
        shares.event(at(2), &What::OrderEnded(end));
        shares.weigh(at(3), 0.0);
        let since = |seconds| shares.since(at(seconds));
        let range = |least, most| Possible { least, most };
        assert_eq!(since(3), range(0.0, 0.0));
        assert_eq!(since(2), range(0.0, 0.5));
        assert_eq!(since(1), range(0.0, 0.5));
        let between = |from, to| shares.between(at(from), at(to));
        assert_eq!(between(0, 0), range(0.2, 0.2));
        assert_eq!(between(0, 1), range(0.2, 0.5));
        assert_eq!(between(2, 2), range(0.5, 0.5));
        assert_eq!(between(5, 4), range(0.0, 0.0));
        assert_eq!(before(at(7), Duration::from_secs(9)), Timestamp::ZERO);
    }
}
