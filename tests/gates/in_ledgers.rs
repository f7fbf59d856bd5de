//! Rollbacks that nobody tells of: the upstreams' ledgers alone show them.

use std::time::Duration;

use graygate::observe::event::{CLOSED_IN_LEDGER, RollbackFacts, What};
use graygate::observe::orders::{OrderEnd, OrderFacts, OrderKind};
use graygate::protocol::outcome::Outcome;
use graygate::stats::compare::Op;
use graygate::time::Timestamp;
use graygate::verdict::result::Status;
use graygate::verdict::spec::{
    AfterRollbackSpec, GateSpec, NoRollbackSpec, OrdersSpec, RollbackSpec,
};

use crate::play::{CANARY, Play, STABLE, count, to};

const OK: Outcome = Outcome::Success;
const ERROR: Outcome = Outcome::ServerError;

pub(crate) fn at(second: f64) -> Timestamp {
    Timestamp::from_secs_f64(second)
}

/// A run of a gateway that says nothing.
pub(crate) fn silent(gate: GateSpec) -> Play {
    let mut play = Play::new(&[gate]);
    play.lie = |what| match what {
        What::Assigned { .. } | What::Dispatched { .. } | What::Booked(_) | What::Settled(_) => {
            Vec::new()
        }
        What::Accepted(mut row) => {
            row.n = None;
            vec![What::Accepted(row)]
        }
        other => vec![other],
    };
    play
}

pub(crate) fn closed(decided_at: f64) -> What {
    What::RolledBack(RollbackFacts {
        id: "ledger".to_owned(),
        from: CANARY,
        to: STABLE,
        decided_at: at(decided_at),
        cause: CLOSED_IN_LEDGER,
        words: None,
        reason: None,
        step: None,
        affected_requests: 0,
    })
}

fn rollback() -> RollbackSpec {
    RollbackSpec {
        reason: None,
        since: at(10.0),
        within: Some(Duration::from_secs(5)),
        canary_requests: None,
        user_errors: None,
        in_ledgers: Some(0.1),
    }
}

#[test]
fn a_rollback_is_as_late_as_its_last_arrival_and_its_record_is_nobodys_word() {
    let play = |last: f64| {
        let mut play = silent(GateSpec::Rollback(rollback()));
        play.requests(100, (0.0, last), &[to(CANARY, OK)]);
        play.request(last, &[to(CANARY, ERROR), to(STABLE, OK)]);
        play.requests(200, (last + 0.1, last + 4.0), &[to(STABLE, OK)]);
        play.event(at(last + 4.0), closed(last));
        play
    };
    let gate = play(12.0).gate();
    assert_eq!(gate.status, Status::Pass);
    let conditions: Vec<&str> = gate.checks.iter().map(|c| c.condition.as_str()).collect();
    assert_eq!(conditions, ["the canary is rolled back once", "within 5 s"]);
    assert!(
        gate.checks[1].seen.contains("2 s"),
        "{}",
        gate.checks[1].seen
    );
    assert_eq!(play(15.1).status(), Status::Fail, "too late");
}

/// An order is given between two arrivals: the last of them comes before it, and that is not too early.
#[test]
fn a_last_arrival_shortly_before_the_trouble_is_no_early_rollback() {
    let status = |missed_before: u64| {
        let mut play = silent(GateSpec::Rollback(rollback()));
        play.requests(50, (0.0, 9.0), &[to(CANARY, OK)]);
        play.request(9.0, &[to(CANARY, OK)]);
        play.requests(missed_before, (9.1, 9.9), &[to(STABLE, OK)]);
        play.requests(300, (10.1, 12.0), &[to(STABLE, OK)]);
        play.event(at(12.0), closed(9.0));
        play.status()
    };
    assert_eq!(status(20), Status::Pass);
    // At 10 %, 132 in a row are beyond chance.
    assert_eq!(status(131), Status::Pass);
    assert_eq!(status(132), Status::Fail);
}

#[test]
fn what_cannot_be_told_yet_is_open_and_what_goes_on_is_a_failure() {
    let play = |within: Option<u64>, last: f64, later: u64| {
        let spec = RollbackSpec {
            within: within.map(Duration::from_secs),
            ..rollback()
        };
        let mut play = silent(GateSpec::Rollback(spec));
        play.requests(100, (0.0, last), &[to(CANARY, OK)]);
        play.request(last, &[to(CANARY, OK)]);
        play.requests(later, (last + 0.1, 20.0), &[to(STABLE, OK)]);
        play.gate()
    };
    let open = play(Some(5), 14.9, 20);
    assert_eq!(open.status, Status::Inconclusive);
    // ⌈ln 0.001 / ln 0.9⌉ = 66.
    assert_eq!(open.checks[0].more_requests, Some(46));
    assert_eq!(play(Some(5), 15.1, 20).status, Status::Fail);
    assert_eq!(play(None, 14.9, 20).status, Status::Fail);
    // Without a limit, what chance makes in less than one of a hundred runs may be a closed canary's: ⌈ln 0.01 / ln 0.9⌉ = 44.
    assert_eq!(play(None, 19.0, 43).status, Status::Fail);
    assert_eq!(play(None, 19.0, 44).status, Status::Inconclusive);
}

/// It was ordered to close at 10 s, and to open at 12 s, before enough had missed it to tell.
#[test]
fn a_silence_that_an_order_ends_may_have_been_a_rollback() {
    let status = |within: Option<u64>, missed: u64| {
        let spec = RollbackSpec {
            within: within.map(Duration::from_secs),
            ..rollback()
        };
        let mut play = silent(GateSpec::Rollback(spec));
        play.requests(100, (0.0, 10.0), &[to(CANARY, OK)]);
        play.request(10.0, &[to(CANARY, OK)]);
        play.requests(missed, (10.1, 11.9), &[to(STABLE, OK)]);
        obey(&mut play, 12.0, 0.1, Some(200));
        play.requests(100, (17.0, 20.0), &[to(CANARY, OK)]);
        play.status()
    };
    for within in [None, Some(5)] {
        assert_eq!(status(within, 43), Status::Fail);
        assert_eq!(status(within, 44), Status::Inconclusive);
    }
}

/// A canary of a tenth that is to be kept, and was in use for ten seconds.
fn never_closed() -> Play {
    let mut play = silent(GateSpec::NoRollback(NoRollbackSpec {
        min_n: 10,
        in_ledgers: true,
        share: 0.1,
    }));
    play.requests(100, (0.0, 10.0), &[to(CANARY, OK)]);
    play
}

/// Two orders were carried out, nobody knows which was the last.
#[test]
fn a_canary_that_may_have_been_given_nothing_is_not_known_to_be_in_use() {
    let mut play = never_closed();
    let orders = [(1, 0.0), (2, 0.5)].map(|(number, share)| OrderFacts {
        number,
        ..order(share)
    });
    for order in orders {
        play.event(at(10.0), What::Ordered(order));
    }
    for order in orders {
        let end = OrderEnd {
            order,
            status: Some(200),
            took: Duration::ZERO,
            answer: String::new(),
        };
        play.event(at(10.1), What::OrderEnded(end));
    }
    play.requests(1_000, (10.2, 20.0), &[to(STABLE, OK)]);
    assert_eq!(play.status(), Status::Inconclusive);
}

#[test]
fn no_rollback_follows_the_weights_that_were_ordered() {
    let status = |ordered: f64, missed: u64| {
        let mut play = never_closed();
        obey(&mut play, 10.0, ordered, Some(200));
        // What is sent within half a second of the answer may have been given to a version before it.
        play.requests(missed, (10.6, 20.0), &[to(STABLE, OK)]);
        play.status()
    };
    assert_eq!(status(0.0, 1_000), Status::Pass, "nothing is to come there");
    assert_eq!(status(0.1, 131), Status::Pass);
    assert_eq!(status(0.1, 132), Status::Fail);
    // ⌈ln 1e-6 / ln 0.5⌉ = 20.
    assert_eq!(status(0.5, 19), Status::Pass);
    assert_eq!(status(0.5, 20), Status::Fail);
}

pub(crate) fn after(grace: f64) -> GateSpec {
    GateSpec::AfterRollback(AfterRollbackSpec {
        canary_requests: count(Op::Equal, 0),
        grace: Duration::from_secs_f64(grace),
        min_n: 66,
    })
}

/// What came between the last arrival and the moment at which that was clear counts.
#[test]
fn after_rollback_counts_from_the_last_arrival() {
    let play = |later: u64| {
        let mut play = silent(after(0.5));
        play.requests(100, (0.0, 10.0), &[to(CANARY, OK)]);
        // Within the grace: they may have been assigned before.
        play.requests(100, (10.0, 10.5), &[to(STABLE, OK)]);
        play.requests(later, (10.51, 12.0), &[to(STABLE, OK)]);
        play.event(at(12.0), closed(9.9));
        play
    };
    // The last arrival is at 9.9 s, so that 20 of those within the grace are later than 10.4 s.
    assert_eq!(play(47).status(), Status::Pass);
    assert_eq!(play(46).status(), Status::Inconclusive);
    let mut reopened = play(100);
    let first = reopened.request(13.0, &[to(CANARY, OK)]);
    let gate = reopened.gate();
    assert_eq!(gate.status, Status::Fail);
    assert_eq!(gate.checks[0].offenders, [first]);
}

fn order(share: f64) -> OrderFacts {
    OrderFacts {
        number: 1,
        kind: OrderKind::SetWeights { share },
    }
}

fn obey(play: &mut Play, second: f64, share: f64, status: Option<u16>) {
    let order = order(share);
    play.event(at(second), What::Ordered(order));
    let end = OrderEnd {
        order,
        status,
        took: Duration::from_millis(3),
        answer: "so it is".to_owned(),
    };
    play.event(at(second + 0.003), What::OrderEnded(end));
}

#[test]
fn an_order_must_be_answered_with_yes() {
    let play = || {
        silent(GateSpec::Orders(OrdersSpec {
            orders: vec![(at(2.0), order(0.5))],
            within: Duration::from_secs(1),
        }))
    };
    let gate = |status: Option<u16>| {
        let mut play = play();
        obey(&mut play, 2.0, 0.5, status);
        play.gate()
    };
    let done = gate(Some(204));
    assert_eq!(done.status, Status::Pass);
    assert_eq!(
        done.checks[0].condition,
        "order 1 at 2 s (set_weights: 50 % for the canary) is answered 2xx within 1 s"
    );
    assert_eq!(done.checks[0].seen, "204 after 3 ms");
    let refused = gate(Some(409));
    assert_eq!(refused.status, Status::Fail);
    assert_eq!(refused.checks[0].seen, "409 after 3 ms: so it is");
    assert_eq!(gate(None).status, Status::Fail);
    assert_eq!(play().status(), Status::Inconclusive, "it was not given");
    let mut unanswered = play();
    unanswered.event(at(2.0), What::Ordered(order(0.5)));
    assert_eq!(unanswered.status(), Status::Fail);
}
