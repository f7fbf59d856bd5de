//! Canaries of other gateways that were opened again by order: what is owed from then on, and what only callers who move can tell.

use std::time::Duration;

use graygate::observe::event::What;
use graygate::observe::meta::FaultMeta;
use graygate::observe::orders::{OrderEnd, OrderFacts, OrderKind};
use graygate::protocol::outcome::Outcome;
use graygate::stats::compare::Op;
use graygate::traffic::caller::Intent;
use graygate::verdict::result::{GateResult, Status};
use graygate::verdict::spec::{
    GateSpec, NoRollbackSpec, RequestsSpec, RollbackSpec, Scope, SplitSpec,
};

use crate::in_ledgers::{at, closed, silent};
use crate::play::{CANARY, Play, STABLE, count, to};

const OK: Outcome = Outcome::Success;

fn obey(play: &mut Play, second: f64, share: Option<f64>) {
    let order = OrderFacts {
        number: 1,
        kind: OrderKind::for_share(share),
    };
    play.event(at(second), What::Ordered(order));
    let end = OrderEnd {
        order,
        status: Some(200),
        took: Duration::ZERO,
        answer: String::new(),
    };
    play.event(at(second), What::OrderEnded(end));
}

/// Closed by order at 2 s, and opened again at 4 s.
fn reopened(gate: GateSpec) -> Play {
    let mut play = silent(gate);
    play.requests(20, (0.0, 2.0), &[to(CANARY, OK)]);
    obey(&mut play, 2.0, None);
    play.requests(200, (2.0, 3.0), &[to(STABLE, OK)]);
    play.event(at(3.0), closed(1.9));
    play.requests(10, (3.0, 4.0), &[to(STABLE, OK)]);
    obey(&mut play, 4.0, Some(0.5));
    play
}

fn rollback(since: f64) -> GateSpec {
    GateSpec::Rollback(RollbackSpec {
        reason: None,
        since: at(since),
        within: Some(Duration::from_secs(1)),
        canary_requests: Some(count(Op::AtMost, 10)),
        user_errors: None,
        in_ledgers: Some(0.1),
    })
}

#[test]
fn a_rollback_that_was_undone_is_not_the_one_that_comes_later() {
    let gate = |visits: u64, last: f64| {
        let mut play = reopened(rollback(6.0));
        play.requests(20, (4.6, 6.0), &[to(CANARY, OK)]);
        play.requests(visits, (6.0, last), &[to(CANARY, OK)]);
        play.requests(visits, (last, 9.0), &[to(STABLE, OK)]);
        play.gate()
    };
    let second = gate(10, 6.5);
    assert_eq!(second.status, Status::Pass);
    assert_eq!(second.checks[0].seen, "rolled back at 6.5 s");
    assert_eq!(second.checks[2].evidence.estimate, Some(10.0));
    let never = gate(30, 8.9);
    assert_eq!(never.status, Status::Fail);
    assert_eq!(never.checks[0].evidence.estimate, Some(1.0));
    assert_eq!(never.checks[2].evidence.estimate, Some(30.0));
    assert_eq!(gate(5, 6.5).status, Status::Inconclusive, "0.5 ^ 5");
}

/// A table leaves those whom it knows where they are.
#[test]
fn callers_who_stay_are_no_silence_before_the_trouble() {
    let status = |stays: bool| {
        let mut play = silent(rollback(6.0));
        play.requests(1, (1.0, 1.5), &[to(CANARY, OK)]);
        for i in 0..600 {
            play.intent = Intent::Sticky(if stays { i % 60 } else { i });
            play.requests(1, (1.5 + f64::from(i) / 150.0, 6.0), &[to(STABLE, OK)]);
        }
        play.event(at(6.5), closed(1.0));
        play.status()
    };
    assert_eq!(status(false), Status::Fail, "it was closed long before");
    assert_ne!(status(true), Status::Fail);
}

#[test]
fn no_rollback_is_not_known_of_callers_who_stay_or_were_moved() {
    let gate = |in_ledgers: bool, later: u32| {
        let mut play = silent(GateSpec::NoRollback(NoRollbackSpec {
            min_n: 1,
            share: 0.1,
            in_ledgers,
        }));
        let caller = |play: &mut Play, caller: u32, second: f64, version| {
            play.intent = Intent::Sticky(caller);
            play.request(second, &[to(version, OK)]);
        };
        for i in 0..200 {
            let version = if i % 60 < 6 { CANARY } else { STABLE };
            caller(&mut play, i % 60, f64::from(i) / 100.0, version);
        }
        for i in 0..later {
            caller(&mut play, i % 60, 2.0 + f64::from(i) / 100.0, STABLE);
        }
        play.gate()
    };
    assert_eq!(gate(true, 100).status, Status::Pass);
    let left = gate(true, 300);
    assert_eq!(left.status, Status::Inconclusive);
    assert!(left.checks[1].seen.contains("or were moved"));
    assert_eq!(
        gate(false, 300).status,
        Status::Pass,
        "its router would say"
    );
}

fn split(from: f64) -> GateSpec {
    GateSpec::Split(SplitSpec {
        version: CANARY,
        share: 0.5,
        tolerance: 0.2,
        confidence: 0.999,
        scope: Scope {
            from: at(from),
            to: None,
        },
        from_the_start: true,
        of_canary: true,
    })
}

#[test]
fn a_split_is_owed_after_the_order_that_gives_the_share_back() {
    let gate = |from: f64, canary: u64| {
        let mut play = reopened(split(from));
        for (version, n) in [(CANARY, canary), (STABLE, 400 - canary)] {
            play.requests(n, (4.6, 9.0), &[to(version, OK)]);
        }
        play.gate()
    };
    let n = |gate: &GateResult| gate.checks[0].evidence.n;
    let kept = gate(4.5, 200);
    assert_eq!((kept.status, n(&kept)), (Status::Pass, 400));
    assert_eq!(gate(4.5, 0).status, Status::Fail, "nobody opened it");
    // Nobody asked for a later time: what comes after the rollback is another story.
    let whole = gate(0.0, 200);
    assert_eq!(n(&whole), 220);
}

#[test]
fn a_fault_after_the_canary_was_opened_again_must_hit_somebody() {
    let fault = |until: f64| FaultMeta {
        kind: "reset",
        on: vec![CANARY],
        from: at(3.0),
        until: Some(at(until)),
        share: 1.0,
        keeps_out: false,
        only_delays: false,
    };
    let status = |until: f64| {
        let all = GateSpec::Requests(RequestsSpec::default());
        let mut play = Play::with_faults(&[all], &[fault(until)]);
        play.lie = silent(rollback(1.0)).lie;
        play.requests(20, (0.0, 2.0), &[to(CANARY, OK)]);
        play.event(at(3.0), closed(1.9));
        obey(&mut play, 4.0, Some(0.5));
        play.requests(10, (5.0, 9.0), &[to(STABLE, OK)]);
        let verdict = play.verdict();
        let sample = verdict.gates.iter().find(|g| g.name == "sample");
        sample.map(|gate| gate.status)
    };
    assert_eq!(status(4.0), Some(Status::Pass), "it was closed meanwhile");
    assert_eq!(status(9.0), Some(Status::Inconclusive));
}

/// Whom a rule pins to a canary goes there again once it is opened, unless it was closed once more.
#[test]
fn who_is_pinned_is_owed_a_canary_that_was_opened_again() {
    let gate = |second: f64, is_in_use: bool| {
        let mut play = reopened(GateSpec::Requests(RequestsSpec {
            misrouted: Some(count(Op::Equal, 0)),
            min_n: 0,
            ..RequestsSpec::default()
        }));
        play.intent = Intent::Pinned(CANARY);
        play.request(second, &[to(STABLE, OK)]);
        play.intent = Intent::Random;
        let last = if is_in_use { CANARY } else { STABLE };
        play.request(9.0, &[to(last, OK)]);
        play.status()
    };
    assert_eq!(gate(6.0, true), Status::Fail);
    assert_ne!(gate(4.3, true), Status::Fail, "it takes a while to follow");
    assert_ne!(gate(6.0, false), Status::Fail, "it may be closed again");
}
