//! Canaries of other gateways that are closed by order, and opened again by another.

use std::time::Duration;

use graygate::id::VersionId;
use graygate::observe::event::What;
use graygate::observe::orders::{OrderEnd, OrderFacts, OrderKind};
use graygate::protocol::outcome::Outcome;
use graygate::verdict::result::{GateResult, Status};

use crate::in_ledgers::{after, at, closed, silent};
use crate::play::{CANARY, Play, STABLE, to};

const OK: Outcome = Outcome::Success;

/// An order: for this share, or to close, given and answered at these seconds.
#[derive(Clone, Copy)]
struct Order(Option<f64>, f64, f64, Option<u16>);

impl Order {
    fn facts(self, index: usize) -> OrderFacts {
        OrderFacts {
            number: index as u16 + 1,
            kind: OrderKind::for_share(self.0),
        }
    }

    fn events(self, index: usize) -> [(f64, What); 2] {
        let Self(_, given, answered, status) = self;
        let end = OrderEnd {
            order: self.facts(index),
            status,
            took: Duration::from_secs_f64(answered - given),
            answer: String::new(),
        };
        [
            (given, What::Ordered(self.facts(index))),
            (answered, What::OrderEnded(end)),
        ]
    }
}

const CLOSE: Order = Order(None, 10.0, 10.1, Some(200));

/// A canary that got its last request at 9.9 s; orders, visits, and what the ledgers show of it at 12 s come in order of time.
fn run(orders: &[Order], is_told: bool, visits: &[(f64, VersionId)]) -> GateResult {
    let mut play = silent(after(0.5));
    let given = orders.iter().enumerate().flat_map(|(i, o)| o.events(i));
    let mut events: Vec<(f64, What)> = given.collect();
    events.extend(is_told.then(|| (12.0, closed(9.9))));
    type Step<'s> = Box<dyn FnOnce(&mut Play) + 's>;
    let mut steps: Vec<(f64, Step<'_>)> = Vec::new();
    for (second, event) in events {
        steps.push((second, Box::new(move |play| play.event(at(second), event))));
    }
    let first = (0..100).map(|i| (f64::from(i) / 10.0, CANARY));
    for (second, version) in first.chain(visits.iter().copied()) {
        let visit = move |play: &mut Play| {
            play.request(second, &[to(version, OK)]);
        };
        steps.push((second, Box::new(visit)));
    }
    steps.sort_by(|a, b| a.0.total_cmp(&b.0));
    for (_, step) in steps {
        step(&mut play);
    }
    play.gate()
}

/// A hundred requests that an open canary might have met, and these.
fn and(visits: &[(f64, VersionId)]) -> Vec<(f64, VersionId)> {
    let missed = (0..100).map(|i| (10.7 + f64::from(i) / 100.0, STABLE));
    missed.chain(visits.iter().copied()).collect()
}

fn seen(gate: &GateResult) -> Vec<(Status, &str)> {
    let checks = gate.checks.iter();
    checks.map(|c| (c.status, c.seen.as_str())).collect()
}

#[test]
fn what_an_order_opens_again_may_be_met() {
    let open = |status| Order(Some(0.5), 13.0, 13.1, status);
    let reopened = |status, visits: &[(f64, VersionId)]| {
        let visits = and(visits);
        run(&[CLOSE, open(status)], true, &visits)
    };
    let later = [(13.05, CANARY), (14.0, CANARY), (14.0, STABLE)];
    let gate = reopened(Some(200), &later);
    let both = [
        (Status::Pass, "0 of 100 later requests met the canary"),
        (Status::Pass, "0 of 100 met it"),
    ];
    assert_eq!(seen(&gate), both);
    assert_eq!(
        reopened(None, &later).status,
        Status::Pass,
        "nobody knows whether it is open"
    );
    let refused = reopened(Some(409), &[(14.0, CANARY), (14.0, STABLE)]);
    let both = [
        (Status::Fail, "1 of 102 later requests met the canary"),
        (Status::Fail, "1 of 102 met it"),
    ];
    assert_eq!(seen(&refused), both);
    let before = reopened(Some(200), &[(12.5, CANARY), (14.0, CANARY)]);
    assert_eq!(before.checks[0].status, Status::Fail);
    assert_eq!(before.checks[1].seen, "1 of 101 met it");
}

#[test]
fn what_another_order_closes_again_may_not() {
    let orders = [
        CLOSE,
        Order(Some(0.5), 13.0, 13.1, Some(200)),
        Order(None, 15.0, 15.1, Some(200)),
    ];
    let status = |second: f64| run(&orders, true, &and(&[(14.0, CANARY), (second, CANARY)])).status;
    assert_eq!(status(15.5), Status::Pass, "within the grace");
    assert_eq!(status(15.7), Status::Fail);
}

/// Either may have been carried out last.
#[test]
fn orders_whose_times_overlap_close_nothing_for_sure() {
    let met = |orders: [Order; 2]| run(&orders, false, &and(&[(14.0, CANARY)]));
    let open = |given, answered| Order(Some(0.5), given, answered, Some(200));
    let slow = Order(None, 10.0, 10.6, Some(200));
    for orders in [
        [slow, open(10.5, 10.55)],
        [slow, open(10.5, 10.7)],
        [open(9.5, 10.05), slow],
    ] {
        let gate = met(orders);
        assert_eq!(
            seen(&gate),
            [(Status::Inconclusive, "there was no rollback")]
        );
    }
    // One after the other, they do.
    let gate = met([open(9.5, 9.6), slow]);
    assert_eq!(gate.checks[1].status, Status::Fail);
}

/// A gateway that closes its canary by itself is held to that, whatever it was told before.
#[test]
fn what_was_ordered_before_a_rollback_opens_nothing_after_it() {
    let order = Order(Some(0.5), 1.0, 1.1, Some(200));
    let status = |visits: &[(f64, VersionId)]| run(&[order], true, &and(visits)).status;
    assert_eq!(status(&[]), Status::Pass);
    assert_eq!(status(&[(12.5, CANARY)]), Status::Fail);
}
