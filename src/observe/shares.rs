//! The shares that another gateway's canary may have, by the orders it was given and its answers to them.
//!
//! An order is carried out at some time between its sending and its answer, if it is carried out at all; whether one without an
//! answer was, nobody knows. So an order replaces what was answered before it was sent, and orders whose times overlap may have been
//! carried out in either order.

use crate::observe::orders::OrderEnd;

/// The smallest and the largest share that a canary may have, 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Possible {
    /// The smallest.
    pub least: f64,
    /// The largest.
    pub most: f64,
}

impl Possible {
    /// This share, and no other.
    pub fn only(share: f64) -> Self {
        Self {
            least: share,
            most: share,
        }
    }

    /// Whatever is possible by one or the other.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self {
            least: self.least.min(other.least),
            most: self.most.max(other.most),
        }
    }
}

/// A share that may be in force.
#[derive(Clone, Debug, PartialEq)]
struct Candidate {
    share: f64,
    /// The order that asked for it, and when: counted in events.
    order: u16,
    sent: u64,
    /// When it was in force at the latest, if it was; none while there is no answer.
    settled: Option<u64>,
}

/// All shares that may be in force.
#[derive(Clone, Debug, PartialEq)]
pub struct PossibleShares {
    events: u64,
    all: Vec<Candidate>,
}

impl PossibleShares {
    /// The share at the beginning, 0 to 1.
    pub fn new(share: f64) -> Self {
        let mut shares = Self {
            events: 0,
            all: Vec::new(),
        };
        shares.told(share);
        shares
    }

    /// What is possible now.
    pub fn range(&self) -> Possible {
        let all = self.all.iter().map(|c| Possible::only(c.share));
        // There is always one: whatever removes others stays itself.
        all.reduce(Possible::or).unwrap_or(Possible::only(0.0))
    }

    /// It is this one, by the word of somebody who knows; orders that are under way may change it yet.
    pub fn told(&mut self, share: f64) {
        let now = self.next();
        self.all.retain(|c| c.settled.is_none());
        self.all.push(Candidate {
            share,
            order: 0,
            sent: now,
            settled: Some(now),
        });
    }

    /// An order for this share is given.
    pub fn ordered(&mut self, order: u16, share: f64) {
        let sent = self.next();
        self.all.push(Candidate {
            share,
            order,
            sent,
            settled: None,
        });
    }

    /// It is over.
    pub fn ended(&mut self, end: &OrderEnd) {
        let now = self.next();
        let is_it = |c: &Candidate| c.order == end.order.number && c.settled.is_none();
        let Some(index) = self.all.iter().position(is_it) else {
            return;
        };
        if end.status.is_some() && !end.is_done() {
            self.all.remove(index);
            return;
        }
        self.all[index].settled = Some(now);
        if end.is_done() {
            let sent = self.all[index].sent;
            self.all.retain(|c| c.settled.is_none_or(|at| at > sent));
        }
    }

    fn next(&mut self) -> u64 {
        self.events += 1;
        self.events
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::observe::orders::{OrderFacts, OrderKind};

    fn ended(shares: &mut PossibleShares, number: u16, status: Option<u16>) -> Possible {
        shares.ended(&OrderEnd {
            order: OrderFacts {
                number,
                kind: OrderKind::Rollback,
            },
            status,
            took: Duration::ZERO,
            answer: String::new(),
        });
        shares.range()
    }

    fn range(least: f64, most: f64) -> Possible {
        Possible { least, most }
    }

    #[test]
    fn an_order_replaces_what_was_answered_before_it() {
        let mut shares = PossibleShares::new(0.2);
        shares.ordered(1, 0.5);
        assert_eq!(shares.range(), range(0.2, 0.5));
        assert_eq!(ended(&mut shares, 1, Some(204)), range(0.5, 0.5));
        shares.ordered(2, 0.1);
        assert_eq!(ended(&mut shares, 2, Some(409)), range(0.5, 0.5));
        shares.ordered(3, 0.1);
        assert_eq!(ended(&mut shares, 3, None), range(0.1, 0.5));
        assert_eq!(ended(&mut shares, 3, Some(200)), range(0.1, 0.5), "over");
        shares.ordered(4, 0.3);
        assert_eq!(ended(&mut shares, 4, Some(200)), range(0.3, 0.3));
    }

    #[test]
    fn orders_that_overlap_may_be_carried_out_in_either_order() {
        let mut shares = PossibleShares::new(0.2);
        shares.ordered(1, 0.5);
        shares.ordered(2, 0.1);
        assert_eq!(ended(&mut shares, 2, Some(200)), range(0.1, 0.5));
        assert_eq!(ended(&mut shares, 1, Some(200)), range(0.1, 0.5));
        shares.ordered(3, 0.4);
        shares.ordered(4, 0.6);
        assert_eq!(ended(&mut shares, 4, Some(500)), range(0.1, 0.5));
        assert_eq!(ended(&mut shares, 3, Some(200)), range(0.4, 0.4));
    }

    #[test]
    fn what_is_told_leaves_orders_that_are_under_way() {
        let mut shares = PossibleShares::new(0.2);
        shares.ordered(1, 0.5);
        shares.told(0.0);
        assert_eq!(shares.range(), range(0.0, 0.5));
        assert_eq!(ended(&mut shares, 1, Some(400)), range(0.0, 0.0));
    }
}
