//! The shares that the canary may have had, as far as its router, or the orders to another gateway, tell.

use std::time::Duration;

use crate::observe::orders::{OrderEnd, OrderFacts, OrderKind};
use crate::time::Timestamp;

/// The smallest and the largest share that a canary may have, 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Possible {
    pub(super) least: f64,
    pub(super) most: f64,
}

impl Possible {
    fn only(share: f64) -> Self {
        Self {
            least: share,
            most: share,
        }
    }

    fn or(self, other: Self) -> Self {
        Self {
            least: self.least.min(other.least),
            most: self.most.max(other.most),
        }
    }
}

/// What was possible, and since when; in order.
#[derive(Clone, Debug)]
pub(super) struct Shares {
    known: f64,
    steps: Vec<(Timestamp, Possible)>,
}

impl Shares {
    /// The share at the beginning.
    pub(super) fn new(share: f64) -> Self {
        Self {
            known: share,
            steps: vec![(Timestamp::ZERO, Possible::only(share))],
        }
    }

    /// From now on it is this one.
    pub(super) fn weigh(&mut self, at: Timestamp, share: f64) {
        self.known = share;
        self.push(at, Possible::only(share));
    }

    /// Another gateway is asked for another one: until its answer it may be either.
    pub(super) fn ordered(&mut self, at: Timestamp, order: OrderFacts) {
        let possible = self.newest().or(Possible::only(wanted(order.kind)));
        self.push(at, possible);
    }

    /// It has done so, or refused, or given no answer: then nobody knows.
    pub(super) fn answered(&mut self, at: Timestamp, end: &OrderEnd) {
        match end.status {
            Some(_) if end.is_done() => self.weigh(at, wanted(end.order.kind)),
            Some(_) => self.weigh(at, self.known),
            None => {}
        }
    }

    /// All that was possible at any time since then.
    pub(super) fn since(&self, since: Timestamp) -> Possible {
        let before = self.steps.partition_point(|(at, _)| *at <= since);
        let in_force = &self.steps[before.saturating_sub(1)..];
        let all = in_force.iter().map(|(_, possible)| *possible);
        all.reduce(Possible::or).unwrap_or(self.newest())
    }

    fn newest(&self) -> Possible {
        let newest = self.steps.last();
        newest.map_or(Possible::only(self.known), |(_, possible)| *possible)
    }

    fn push(&mut self, at: Timestamp, possible: Possible) {
        if self.newest() != possible {
            self.steps.push((at, possible));
        }
    }
}

fn wanted(order: OrderKind) -> f64 {
    order.share().unwrap_or(0.0)
}

/// So long before a moment, if there was a time then.
pub(super) fn before(at: Timestamp, by: Duration) -> Timestamp {
    Timestamp::from(at.elapsed().saturating_sub(by))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(share: Option<f64>) -> OrderFacts {
        OrderFacts {
            number: 1,
            kind: OrderKind::for_share(share),
        }
    }

    fn end(share: Option<f64>, status: Option<u16>) -> OrderEnd {
        OrderEnd {
            order: order(share),
            status,
            took: Duration::ZERO,
            answer: String::new(),
        }
    }

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from(Duration::from_secs(seconds))
    }

    fn range(least: f64, most: f64) -> Possible {
        Possible { least, most }
    }

    #[test]
    fn between_an_order_and_its_answer_either_share_is_possible() {
        let mut shares = Shares::new(0.2);
        shares.ordered(at(1), order(Some(0.5)));
        assert_eq!(shares.since(at(1)), range(0.2, 0.5));
        shares.answered(at(2), &end(Some(0.5), Some(200)));
        assert_eq!(shares.since(at(2)), range(0.5, 0.5));
        assert_eq!(shares.since(at(1)), range(0.2, 0.5));
        shares.ordered(at(3), order(Some(0.1)));
        shares.answered(at(4), &end(Some(0.1), Some(409)));
        assert_eq!(shares.since(at(4)), range(0.5, 0.5), "it was refused");
        shares.ordered(at(5), order(None));
        shares.answered(at(6), &end(None, None));
        assert_eq!(shares.since(at(7)), range(0.0, 0.5), "nobody knows");
        assert_eq!(before(at(7), Duration::from_secs(9)), Timestamp::ZERO);
    }
}
