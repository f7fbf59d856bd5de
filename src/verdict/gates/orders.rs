//! `orders`: another gateway did what it was told. Every run that gives orders has this gate: what is said of the time after
//! an order that was refused, or never answered, would be said of another run.

use std::time::Duration;

use crate::observe::event::{RunEvent, What};
use crate::observe::join::Joined;
use crate::observe::orders::{OrderEnd, OrderFacts, OrderKind};
use crate::time::{Human, Timestamp};
use crate::verdict::gates::{End, Gate};
use crate::verdict::result::{Check, GateResult, Status, percent};
use crate::verdict::spec::OrdersSpec;

/// The gate at work.
pub struct OrdersGate {
    spec: OrdersSpec,
    given: Vec<u16>,
    ended: Vec<OrderEnd>,
}

impl OrdersGate {
    /// A gate that has seen nothing.
    pub fn new(spec: OrdersSpec) -> Self {
        Self {
            spec,
            given: Vec::new(),
            ended: Vec::new(),
        }
    }

    fn check(&self, at: Timestamp, order: OrderFacts, end_of_run: &End<'_>) -> Check {
        let (number, within) = (order.number, Human(self.spec.within));
        let (what, at) = (in_words(order.kind), Human(at.elapsed()));
        let condition = format!("order {number} at {at} ({what}) is answered 2xx within {within}");
        let end = self.ended.iter().find(|end| end.order.number == number);
        let (status, seen) = match end {
            Some(end) => said(end, self.spec.within),
            None if self.given.contains(&number) && !end_of_run.cut_short => (
                Status::Fail,
                "there was no answer when the run ended".to_owned(),
            ),
            None => (
                Status::Inconclusive,
                "the run ended before it was answered".to_owned(),
            ),
        };
        let took = end.map(|end| end.took.as_secs_f64());
        Check::census(condition, status, seen).figure(took, "s", 1)
    }
}

/// What an order asks for, for people.
pub fn in_words(kind: OrderKind) -> String {
    match kind.share() {
        Some(share) => format!("{}: {} % for the canary", kind.name(), percent(share)),
        None => kind.name().to_owned(),
    }
}

/// What came of an order, for people.
pub fn said(end: &OrderEnd, within: Duration) -> (Status, String) {
    let took = Human(end.took);
    let is_done = end.is_done() && end.took <= within;
    let status = if is_done { Status::Pass } else { Status::Fail };
    let seen = match end.status {
        Some(code) if end.is_done() => format!("{code} after {took}"),
        Some(code) => format!("{code} after {took}: {}", end.answer),
        None => format!("{} after {took}", end.answer),
    };
    (status, seen)
}

impl Gate for OrdersGate {
    fn event(&mut self, event: &RunEvent, _joined: &Joined) {
        match &event.what {
            What::Ordered(order) => self.given.push(order.number),
            What::OrderEnded(end) => self.ended.push(end.clone()),
            _ => {}
        }
    }

    fn finish(&self, end: &End<'_>) -> GateResult {
        let orders = self.spec.orders.iter();
        let checks = orders.map(|(at, order)| self.check(*at, *order, end));
        GateResult::of("orders", checks.collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn end(status: Option<u16>, ms: u64, answer: &str) -> OrderEnd {
        OrderEnd {
            order: OrderFacts {
                number: 1,
                kind: OrderKind::Rollback,
            },
            status,
            took: Duration::from_millis(ms),
            answer: answer.to_owned(),
        }
    }

    #[test]
    fn only_a_yes_in_time_is_obedience() {
        let within = Duration::from_millis(500);
        let said = |end: OrderEnd| said(&end, within);
        assert_eq!(
            said(end(Some(204), 3, "")),
            (Status::Pass, "204 after 3 ms".to_owned())
        );
        assert_eq!(said(end(Some(204), 501, "")).0, Status::Fail);
        let (status, seen) = said(end(Some(403), 3, "no such token"));
        assert_eq!(
            (status, seen.as_str()),
            (Status::Fail, "403 after 3 ms: no such token")
        );
        let (status, seen) = said(end(None, 500, "there was no answer"));
        assert_eq!(
            (status, seen.as_str()),
            (Status::Fail, "there was no answer after 500 ms")
        );
    }
}
