//! Orders that a run gives to another gateway, as they are told of, and the share of the canary that follows from them.

use std::time::Duration;

use serde::Serialize;

use crate::observe::event::What;
use crate::observe::history::{Shares, before};
use crate::observe::join::FirstAttempt;
use crate::time::Timestamp;

/// How long another gateway may take to follow what it has answered, and requests to overtake each other there.
pub const FOLLOWS_WITHIN: Duration = Duration::from_millis(500);

/// A larger share counts for no more than this, so that one request that goes astray is no closing of a canary that has them all.
const MOST: f64 = 0.9;

/// An order to another gateway.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct OrderFacts {
    /// Its number in the scenario, from 1.
    pub number: u16,
    /// What is asked for.
    pub kind: OrderKind,
}

/// What another gateway is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case", tag = "order")]
pub enum OrderKind {
    /// Another split.
    SetWeights {
        /// The share of the canary, 0 to 1.
        share: f64,
    },
    /// To close its canary.
    Rollback,
}

impl OrderKind {
    /// To give the canary this share, or, without one, to close it.
    pub fn for_share(share: Option<f64>) -> Self {
        share.map_or(Self::Rollback, |share| Self::SetWeights { share })
    }

    /// The name in files.
    pub fn name(self) -> &'static str {
        match self {
            Self::SetWeights { .. } => "set_weights",
            Self::Rollback => "rollback",
        }
    }

    /// The share of the canary that it asks for.
    pub fn share(self) -> Option<f64> {
        match self {
            Self::SetWeights { share } => Some(share),
            Self::Rollback => None,
        }
    }
}

/// What came of an order.
#[derive(Clone, Debug, PartialEq)]
pub struct OrderEnd {
    /// The order.
    pub order: OrderFacts,
    /// The status of the answer; none when there was none in time.
    pub status: Option<u16>,
    /// From sending it to the end.
    pub took: Duration,
    /// The beginning of the answer, without keys; what went wrong when there was none.
    pub answer: String,
}

impl OrderEnd {
    /// Was it answered with 2xx?
    pub fn is_done(&self) -> bool {
        self.status
            .is_some_and(|status| (200..300).contains(&status))
    }
}

/// The share of an open canary that is in force, as far as orders tell: where it may be several, the smallest of them.
#[derive(Clone, Debug, PartialEq)]
pub struct ShareInForce(Shares);

impl ShareInForce {
    /// The share at the beginning, 0 to 1.
    pub fn new(share: f64) -> Self {
        Self(Shares::new(share))
    }

    /// The smallest that it may be now, of what counts.
    pub fn least(&self) -> f64 {
        self.0.newest().least.min(MOST)
    }

    /// The smallest that it may have had, of what counts, when this request was given to a version: at any time from a grace before it was due.
    pub fn least_for(&self, first: &FirstAttempt) -> f64 {
        let due = first.sent.map_or(Timestamp::ZERO, |sent| sent.scheduled_at);
        self.0.since(before(due, FOLLOWS_WITHIN)).least.min(MOST)
    }

    /// May it be nothing, or something, for all that is known?
    pub fn may_be_nothing(&self) -> bool {
        self.least() <= 0.0 && !self.0.is_known()
    }

    /// Takes an event in. That a canary was closed is what is looked for: no order to close it makes its share smaller.
    pub fn event(&mut self, at: Timestamp, what: &What) {
        let closes = matches!(what, What::Ordered(order) if order.kind == OrderKind::Rollback);
        if !closes {
            self.0.event(at, what);
        }
    }
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

    fn ended(share: Option<f64>, status: Option<u16>) -> What {
        What::OrderEnded(OrderEnd {
            order: order(share),
            status,
            took: Duration::ZERO,
            answer: String::new(),
        })
    }

    #[test]
    fn until_an_order_is_answered_the_smaller_share_counts() {
        let mut share = ShareInForce::new(0.2);
        let mut after = |what: What| {
            share.event(Timestamp::ZERO, &what);
            share.least()
        };
        assert_eq!(after(What::Ordered(order(Some(0.5)))), 0.2);
        assert_eq!(after(ended(Some(0.5), Some(204))), 0.5);
        assert_eq!(after(What::Ordered(order(Some(0.1)))), 0.1);
        assert_eq!(after(ended(Some(0.1), Some(409))), 0.5, "it was refused");
        assert_eq!(after(What::Ordered(order(None))), 0.5, "open or closed");
        assert_eq!(after(ended(None, Some(200))), 0.5);
    }
}
