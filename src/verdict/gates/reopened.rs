//! When another gateway's canary was opened again by order, after it had been closed.

use crate::observe::event::What;
use crate::observe::orders::FOLLOWS_WITHIN;
use crate::time::Timestamp;

/// The orders that opened it, and for how long.
#[derive(Clone, Debug, Default)]
pub(super) struct Reopened {
    all: Vec<Opening>,
}

/// An order that was carried out.
#[derive(Clone, Copy, Debug)]
struct Opening {
    given: Timestamp,
    /// In force from a while after it was answered until another order is given that may change it.
    from: Timestamp,
    until: Timestamp,
    /// The share of the canary that it asked for, 0 to 1.
    share: f64,
}

impl Reopened {
    /// Takes an event in, if it is of an order.
    pub(super) fn event(&mut self, at: Timestamp, what: &What) {
        match what {
            What::Ordered(_) => self.end(at),
            What::OrderEnded(end) if end.is_done() => {
                let share = end.order.kind.share().filter(|share| *share > 0.0);
                let given = Timestamp::from(at.elapsed().saturating_sub(end.took));
                // One that came meanwhile may have been carried out before this one.
                self.end(at);
                self.all.extend(share.map(|share| Opening {
                    given,
                    from: at + FOLLOWS_WITHIN,
                    until: Timestamp(u64::MAX),
                    share,
                }));
            }
            _ => {}
        }
    }

    fn end(&mut self, at: Timestamp) {
        let last = self.all.last_mut();
        last.into_iter()
            .for_each(|last| last.until = last.until.min(at));
    }

    /// The share that it was given by then, of what was closed at that moment.
    pub(super) fn share(&self, closed_at: Timestamp, at: Timestamp) -> Option<f64> {
        let is_it = |o: &&Opening| closed_at <= o.given && (o.from..o.until).contains(&at);
        self.all.iter().find(is_it).map(|opening| opening.share)
    }

    /// Was there no such order?
    pub(super) fn is_never(&self) -> bool {
        self.all.is_empty()
    }

    /// Was it open at any time between these?
    pub(super) fn is_between(&self, closed_at: Timestamp, from: Timestamp, to: Timestamp) -> bool {
        let is_it = |o: &Opening| closed_at <= o.given && o.from.max(from) < o.until.min(to);
        self.all.iter().any(is_it)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::observe::orders::{OrderEnd, OrderFacts, OrderKind};

    fn at(second: f64) -> Timestamp {
        Timestamp::from_secs_f64(second)
    }

    fn order(reopened: &mut Reopened, second: f64, share: Option<f64>, status: Option<u16>) {
        let order = OrderFacts {
            number: 1,
            kind: OrderKind::for_share(share),
        };
        reopened.event(at(second), &What::Ordered(order));
        let end = OrderEnd {
            order,
            status,
            took: Duration::from_millis(100),
            answer: String::new(),
        };
        reopened.event(at(second + 0.1), &What::OrderEnded(end));
    }

    #[test]
    fn an_order_opens_what_was_closed_before_it_until_the_next() {
        let mut reopened = Reopened::default();
        order(&mut reopened, 4.0, Some(0.3), Some(409));
        order(&mut reopened, 5.0, Some(0.5), Some(200));
        order(&mut reopened, 8.0, None, Some(200));
        let share = |closed: f64, second: f64| reopened.share(at(closed), at(second));
        assert_eq!(share(2.0, 4.9), None);
        assert_eq!(share(2.0, 5.59), None, "it takes a while to follow");
        assert_eq!(share(2.0, 5.61), Some(0.5));
        assert_eq!(share(2.0, 7.9), Some(0.5));
        assert_eq!(share(2.0, 8.0), None);
        assert_eq!(share(5.05, 7.9), None, "it was closed after that");
        let is_between = |from, to| reopened.is_between(at(2.0), at(from), at(to));
        assert!(is_between(0.0, 6.0) && is_between(7.0, 9.0));
        assert!(!is_between(0.0, 5.0) && !is_between(8.0, 9.0));
    }
}
