//! The shares that another gateway's canary may have, by the orders it was given and its answers to them.
//!
//! An order is carried out at some time between its sending and its answer, if it is carried out at all; whether one without an
//! answer was, nobody knows. So an order replaces what was answered before it was sent, and orders whose times overlap may have been
//! carried out in either order.

use crate::observe::orders::OrderEnd;
use crate::time::Timestamp;

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
    /// The order that asked for it, and when.
    order: u16,
    sent: Timestamp,
    /// When it was in force at the latest, if it was; none while there is no answer.
    settled: Option<Timestamp>,
}

/// All shares that may be in force.
#[derive(Clone, Debug, PartialEq)]
pub struct PossibleShares {
    all: Vec<Candidate>,
}

impl PossibleShares {
    /// The share at the beginning, 0 to 1.
    pub fn new(share: f64) -> Self {
        let mut shares = Self { all: Vec::new() };
        shares.told(Timestamp::ZERO, share);
        shares
    }

    /// Is there no doubt of it?
    pub fn is_known(&self) -> bool {
        let Possible { least, most } = self.range();
        least >= most
    }

    /// Will it stay in doubt when whatever is under way is answered, unless that replaces it?
    pub fn is_doubtful(&self) -> bool {
        let mut settled = self.all.iter().filter(|c| c.settled.is_some());
        settled
            .next()
            .is_some_and(|first| settled.any(|c| c.share != first.share))
    }

    /// What is possible now.
    pub fn range(&self) -> Possible {
        let all = self.all.iter().map(|c| Possible::only(c.share));
        // There is always one: whatever removes others stays itself.
        all.reduce(Possible::or).unwrap_or(Possible::only(0.0))
    }

    /// It was this one then, by the word of somebody who knows; orders that were not answered by then may have changed it since.
    pub fn told(&mut self, at: Timestamp, share: f64) {
        self.all.retain(|c| c.settled.is_none_or(|s| s > at));
        self.all.push(Candidate {
            share,
            order: 0,
            sent: at,
            settled: Some(at),
        });
    }

    /// An order for this share is given.
    pub fn ordered(&mut self, sent: Timestamp, order: u16, share: f64) {
        self.all.push(Candidate {
            share,
            order,
            sent,
            settled: None,
        });
    }

    /// It is over.
    pub fn ended(&mut self, now: Timestamp, end: &OrderEnd) {
        let is_it = |c: &Candidate| c.order == end.order.number && c.settled.is_none();
        let Some(index) = self.all.iter().position(is_it) else {
            return;
        };
        let carried_out = self.all.remove(index);
        if end.status.is_some() && !end.is_done() {
            return;
        }
        if end.is_done() {
            let is_newer = |at: Timestamp| at > carried_out.sent;
            self.all.retain(|c| c.settled.is_none_or(is_newer));
        }
        self.all.push(Candidate {
            settled: Some(now),
            ..carried_out
        });
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::observe::orders::{OrderFacts, OrderKind};

    fn at(second: u64) -> Timestamp {
        Timestamp::from(Duration::from_secs(second))
    }

    fn ended(
        shares: &mut PossibleShares,
        second: u64,
        number: u16,
        status: Option<u16>,
    ) -> Possible {
        let end = OrderEnd {
            order: OrderFacts {
                number,
                kind: OrderKind::Rollback,
            },
            status,
            took: Duration::ZERO,
            answer: String::new(),
        };
        shares.ended(at(second), &end);
        shares.range()
    }

    fn range(least: f64, most: f64) -> Possible {
        Possible { least, most }
    }

    #[test]
    fn an_order_replaces_what_was_answered_before_it() {
        let mut shares = PossibleShares::new(0.2);
        shares.ordered(at(1), 1, 0.5);
        assert_eq!(shares.range(), range(0.2, 0.5));
        assert_eq!(ended(&mut shares, 2, 1, Some(204)), range(0.5, 0.5));
        shares.ordered(at(3), 2, 0.1);
        assert_eq!(ended(&mut shares, 4, 2, Some(409)), range(0.5, 0.5));
        shares.ordered(at(5), 3, 0.1);
        assert_eq!(ended(&mut shares, 6, 3, None), range(0.1, 0.5));
        assert_eq!(ended(&mut shares, 7, 3, Some(200)), range(0.1, 0.5), "over");
        shares.ordered(at(8), 4, 0.3);
        assert!(!shares.is_known());
        assert_eq!(ended(&mut shares, 9, 4, Some(200)), range(0.3, 0.3));
        assert!(shares.is_known());
    }

    #[test]
    fn orders_that_overlap_may_be_carried_out_in_either_order() {
        let mut shares = PossibleShares::new(0.2);
        shares.ordered(at(1), 1, 0.5);
        shares.ordered(at(2), 2, 0.1);
        assert_eq!(ended(&mut shares, 3, 2, Some(200)), range(0.1, 0.5));
        assert!(!shares.is_doubtful(), "not yet");
        assert_eq!(ended(&mut shares, 4, 1, Some(200)), range(0.1, 0.5));
        assert!(shares.is_doubtful());
        shares.ordered(at(5), 3, 0.4);
        shares.ordered(at(6), 4, 0.6);
        assert_eq!(ended(&mut shares, 7, 4, Some(500)), range(0.1, 0.5));
        assert_eq!(ended(&mut shares, 8, 3, Some(200)), range(0.4, 0.4));
    }

    #[test]
    fn what_is_told_leaves_orders_that_were_under_way() {
        let mut shares = PossibleShares::new(0.2);
        shares.ordered(at(1), 1, 0.5);
        shares.told(at(2), 0.0);
        assert_eq!(shares.range(), range(0.0, 0.5));
        assert_eq!(ended(&mut shares, 3, 1, Some(400)), range(0.0, 0.0));
    }

    /// It was closed at 2 s, which is told at 4 s, when an order to open it has been given, or answered too.
    #[test]
    fn what_is_told_late_is_no_newer_for_that() {
        let told = |is_answered_before: bool| {
            let mut shares = PossibleShares::new(0.2);
            shares.ordered(at(3), 1, 0.5);
            if is_answered_before {
                ended(&mut shares, 3, 1, Some(200));
            }
            shares.told(at(2), 0.0);
            assert_eq!(shares.range(), range(0.0, 0.5));
            ended(&mut shares, 5, 1, Some(200))
        };
        assert_eq!(told(false), range(0.5, 0.5));
        // Nobody knows which of the two was last: it may have been closed of itself since.
        assert_eq!(told(true), range(0.0, 0.5));
    }
}
