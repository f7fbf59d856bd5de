//! `stickiness`: callers stay on the version they met.

use std::sync::Arc;
use std::time::Duration;

use graygate::id::{RequestKey, VersionId};
use graygate::observe::event::{Sent, What};
use graygate::observe::orders::{OrderEnd, OrderFacts, OrderKind};
use graygate::protocol::outcome::Outcome;
use graygate::stats::compare::Op;
use graygate::time::Timestamp;
use graygate::traffic::caller::Intent;
use graygate::verdict::result::{Check, Status};
use graygate::verdict::spec::{GateSpec, Scope, StickinessSpec};

use crate::in_ledgers::closed;
use crate::play::{CANARY, Play, STABLE, To, count, to};
use crate::ramp::stand;

const OK: Outcome = Outcome::Success;

/// Ten callers, each somebody else, and a canary of a tenth.
fn spec() -> StickinessSpec {
    StickinessSpec {
        header: "x-user-id".to_owned(),
        callers: (0..10).map(Some).collect(),
        canary_share: 0.1,
        grace: Duration::ZERO,
        may_close_in_silence: false,
        closing_moves: false,
        moved: count(Op::Equal, 0),
        min_n: 1,
        scope: Scope::default(),
    }
}

fn play(spec: StickinessSpec) -> Play {
    Play::new(&[GateSpec::Stickiness(spec)])
}

/// A caller sends a request, which meets these versions one after the other.
fn visit(play: &mut Play, second: f64, caller: u32, versions: &[VersionId]) {
    play.caller = caller;
    let attempts: Vec<To> = match versions.split_last() {
        None => Vec::new(),
        Some((last, before)) => {
            let failed = before.iter().map(|v| to(*v, Outcome::Overloaded));
            failed.chain([to(*last, OK)]).collect()
        }
    };
    play.request(second, &attempts);
}

/// One caller's requests, a second apart.
fn visits(spec: StickinessSpec, versions: &[VersionId]) -> Check {
    let mut play = play(spec);
    for (second, version) in (0..).zip(versions) {
        visit(&mut play, f64::from(second), 7, &[*version]);
    }
    check(play)
}

fn check(play: Play) -> Check {
    play.gate().checks.remove(0)
}

/// Its status, how many moved, and of how many.
fn found(check: &Check) -> (Status, Option<f64>, u64) {
    (check.status, check.evidence.estimate, check.evidence.n)
}

#[test]
fn who_stays_passes_and_who_moves_does_not() {
    for version in [STABLE, CANARY] {
        let check = visits(spec(), &[version; 3]);
        assert_eq!(found(&check), (Status::Pass, Some(0.0), 1));
    }
    for versions in [[CANARY, STABLE, STABLE], [STABLE, CANARY, STABLE]] {
        let check = visits(spec(), &versions);
        assert_eq!(found(&check), (Status::Fail, Some(1.0), 1), "once is once");
        assert_eq!(check.offenders, [RequestKey(1)]);
        assert_eq!(check.seen, "1 of 1 callers who came again moved");
    }
}

#[test]
fn only_callers_who_come_again_show_anything() {
    let mut once = play(spec());
    (0..10).for_each(|caller| visit(&mut once, 1.0, caller, &[STABLE]));
    assert_eq!(found(&check(once)), (Status::Inconclusive, None, 0));
    let mut demanding = play(StickinessSpec { min_n: 3, ..spec() });
    for caller in [1, 2, 1, 2, 1] {
        visit(&mut demanding, 1.0, caller, &[STABLE]);
    }
    let check = check(demanding);
    assert_eq!(found(&check), (Status::Inconclusive, Some(0.0), 2));
    assert_eq!(check.more_requests, Some(1));
}

#[test]
fn as_many_may_move_as_somebody_says() {
    let movers = |n| {
        let mut play = play(StickinessSpec {
            moved: count(Op::AtMost, 2),
            ..spec()
        });
        (0..10).for_each(|caller| visit(&mut play, 1.0, caller, &[STABLE]));
        (0..n).for_each(|caller| visit(&mut play, 2.0, caller, &[CANARY]));
        found(&check(play))
    };
    assert_eq!(movers(2), (Status::Pass, Some(2.0), 2));
    assert_eq!(movers(3), (Status::Fail, Some(3.0), 3));
}

/// Where a request ends up is no matter: only who took it first.
#[test]
fn a_fallback_is_no_move() {
    let mut fallen = play(spec());
    visit(&mut fallen, 0.0, 7, &[CANARY]);
    visit(&mut fallen, 1.0, 7, &[CANARY, STABLE]);
    visit(&mut fallen, 2.0, 7, &[CANARY]);
    assert_eq!(found(&check(fallen)), (Status::Pass, Some(0.0), 1));
    // Nor is one from a canary that could not be reached.
    let mut refused = play(spec());
    visit(&mut refused, 0.0, 7, &[CANARY]);
    let unreached = To {
        arrives: false,
        ..to(CANARY, Outcome::Connect)
    };
    refused.request(1.0, &[unreached, to(STABLE, OK)]);
    assert_eq!(check(refused).status, Status::Inconclusive);
}

#[test]
fn what_a_rule_or_somebody_decides_is_no_move() {
    let mut play = play(spec());
    visit(&mut play, 0.0, 7, &[STABLE]);
    for named in [Intent::Pinned(CANARY), Intent::Forced(CANARY)] {
        play.intent = named;
        visit(&mut play, 1.0, 7, &[CANARY]);
    }
    play.intent = Intent::Sticky(7);
    visit(&mut play, 2.0, 7, &[STABLE]);
    assert_eq!(found(&check(play)), (Status::Pass, Some(0.0), 1));
}

/// Callers come to a canary that grows, and never go back.
#[test]
fn a_canary_that_grows_is_given_callers() {
    let after_growth = |versions: &[VersionId]| {
        let mut play = play(spec());
        visit(&mut play, 0.0, 7, &versions[..1]);
        stand(&mut play, 1.0, None, 0.5);
        for version in &versions[1..] {
            visit(&mut play, 2.0, 7, &[*version]);
        }
        check(play).status
    };
    assert_eq!(after_growth(&[STABLE, CANARY, CANARY]), Status::Pass);
    assert_eq!(after_growth(&[STABLE, STABLE, STABLE]), Status::Pass);
    assert_eq!(after_growth(&[CANARY, CANARY]), Status::Pass);
    assert_eq!(after_growth(&[CANARY, STABLE]), Status::Fail);
    assert_eq!(after_growth(&[STABLE, CANARY, STABLE]), Status::Fail);
    assert_eq!(after_growth(&[STABLE, STABLE, CANARY]), Status::Fail);
}

/// And leave one that shrinks; when it grows as far as before, they are the same again.
#[test]
fn a_canary_that_shrinks_loses_callers() {
    let run = |then: VersionId, again: VersionId| {
        let mut play = play(spec());
        visit(&mut play, 0.0, 7, &[CANARY]);
        stand(&mut play, 1.0, None, 0.05);
        visit(&mut play, 2.0, 7, &[then]);
        stand(&mut play, 3.0, None, 0.1);
        visit(&mut play, 4.0, 7, &[again]);
        check(play).status
    };
    assert_eq!(run(STABLE, CANARY), Status::Pass);
    assert_eq!(run(CANARY, CANARY), Status::Pass);
    assert_eq!(
        run(STABLE, STABLE),
        Status::Fail,
        "this place is the canary's"
    );
}

/// After a rollback everybody is at stable: that shows nothing, for or against.
#[test]
fn a_closed_canary_moves_nobody() {
    let mut rolled_back = play(spec());
    visit(&mut rolled_back, 0.0, 7, &[CANARY]);
    rolled_back.roll_back(1.0);
    for caller in [7, 7, 3, 3] {
        visit(&mut rolled_back, 2.0, caller, &[STABLE]);
    }
    assert_eq!(found(&check(rolled_back)), (Status::Inconclusive, None, 0));
    // Whoever moved before has moved.
    let mut late = play(spec());
    visit(&mut late, 0.0, 7, &[CANARY]);
    visit(&mut late, 0.5, 7, &[STABLE]);
    late.roll_back(1.0);
    assert_eq!(check(late).status, Status::Fail);
    // A canary that has everybody shows as little.
    let mut promoted = play(StickinessSpec {
        canary_share: 1.0,
        ..spec()
    });
    visit(&mut promoted, 0.0, 7, &[CANARY]);
    visit(&mut promoted, 1.0, 7, &[CANARY]);
    assert_eq!(check(promoted).status, Status::Inconclusive);
}

/// A request that waited on its way was given to its version under the weights of before, whoever overtook it.
#[test]
fn what_arrives_late_may_have_been_assigned_before() {
    let scheduled_at = |second: f64| {
        let mut play = play(spec());
        stand(&mut play, 10.0, None, 0.5);
        visit(&mut play, 11.0, 7, &[CANARY]);
        let at = Timestamp::from_secs_f64(12.0);
        let sent = Sent {
            key: RequestKey(1_000),
            scheduled_at: Timestamp::from_secs_f64(second),
            intent: Intent::Random,
            caller: 7,
            input_tokens: 1,
            stream: false,
        };
        play.event(at, What::Sent(sent));
        play.arrive(at, RequestKey(1_000), &to(STABLE, OK));
        check(play)
    };
    // The answer never comes, which spoils the run; the check says what it saw.
    let moved = |second| scheduled_at(second).evidence.estimate;
    assert_eq!(moved(9.0), Some(0.0));
    assert_eq!(moved(10.5), Some(1.0));
}

#[test]
fn callers_of_one_name_are_one_and_callers_without_are_nobody() {
    let tenants = StickinessSpec {
        callers: Arc::new([Some(0), Some(0), None, None]),
        ..spec()
    };
    let pair = |(first, second): (u32, u32)| {
        let mut play = play(tenants.clone());
        visit(&mut play, 0.0, first, &[STABLE]);
        visit(&mut play, 1.0, second, &[CANARY]);
        check(play).status
    };
    assert_eq!(pair((0, 1)), Status::Fail);
    assert_eq!(pair((2, 2)), Status::Inconclusive);
    assert_eq!(
        pair((9, 9)),
        Status::Inconclusive,
        "nobody knows of caller 9"
    );
}

#[test]
fn what_was_scheduled_at_another_time_does_not_count() {
    let until = |second| {
        let scope = Scope {
            to: Some(Timestamp::from_secs_f64(second)),
            ..Scope::default()
        };
        visits(
            StickinessSpec { scope, ..spec() },
            &[STABLE, STABLE, CANARY],
        )
        .status
    };
    assert_eq!(until(2.0), Status::Pass);
    assert_eq!(until(2.5), Status::Fail);
}

#[test]
fn a_leaky_join_shows_nothing() {
    let mut leaky = play(spec());
    visit(&mut leaky, 0.0, 7, &[STABLE]);
    visit(&mut leaky, 1.0, 7, &[STABLE]);
    leaky.arrive(
        Timestamp::from_secs_f64(2.0),
        RequestKey(77),
        &to(STABLE, OK),
    );
    assert_eq!(check(leaky).status, Status::Inconclusive);
}

#[test]
fn a_bound_from_below_needs_callers() {
    let restless = StickinessSpec {
        moved: count(Op::AtLeast, 1),
        ..spec()
    };
    assert_eq!(play(restless.clone()).status(), Status::Inconclusive);
    assert_eq!(
        visits(restless.clone(), &[STABLE, STABLE]).status,
        Status::Fail
    );
    assert_eq!(visits(restless, &[STABLE, CANARY]).status, Status::Pass);
}

/// Another gateway that may close its canary at any time, and takes a second to do what it says.
fn silent() -> StickinessSpec {
    StickinessSpec {
        grace: Duration::from_secs(1),
        may_close_in_silence: true,
        closing_moves: true,
        ..spec()
    }
}

/// What is told of the closing comes when later requests have shown it.
#[test]
fn who_leaves_a_canary_that_was_closed_in_silence_has_not_moved() {
    let closed = |tell: bool, then: &[(f64, VersionId)]| {
        let mut play = play(silent());
        visit(&mut play, 0.0, 7, &[CANARY]);
        visit(&mut play, 5.0, 7, &[STABLE]);
        // On its way since before the closing.
        visit(&mut play, 5.5, 3, &[CANARY]);
        visit(&mut play, 6.0, 7, &[STABLE]);
        if tell {
            play.roll_back(9.0);
        }
        for (second, version) in then {
            visit(&mut play, *second, 7, &[*version]);
        }
        check(play)
    };
    assert_eq!(closed(true, &[(9.5, STABLE)]).status, Status::Inconclusive);
    let unknown = closed(false, &[]);
    assert_eq!(found(&unknown), (Status::Inconclusive, Some(0.0), 1));
    assert_eq!(
        unknown.seen,
        "0 of 1 callers who came again moved, and 1 may have left a canary that was closed, which is not shown"
    );
    // It was open all the time.
    assert_eq!(closed(false, &[(9.0, CANARY)]).status, Status::Fail);
    assert_eq!(closed(true, &[(11.0, CANARY)]).status, Status::Fail);
}

fn order((number, share): (u16, Option<f64>)) -> OrderFacts {
    OrderFacts {
        number,
        kind: OrderKind::for_share(share),
    }
}

fn ordered(play: &mut Play, second: f64, what: (u16, Option<f64>)) {
    play.event(Timestamp::from_secs_f64(second), What::Ordered(order(what)));
}

fn answered(play: &mut Play, second: f64, what: (u16, Option<f64>), status: Option<u16>) {
    let end = OrderEnd {
        order: order(what),
        status,
        took: Duration::ZERO,
        answer: String::new(),
    };
    play.event(Timestamp::from_secs_f64(second), What::OrderEnded(end));
}

/// Callers follow the weights that a gateway is told to have, and a rollback that it is told to make.
#[test]
fn who_follows_an_order_has_not_moved() {
    let follow = |share: Option<f64>, status: Option<u16>, from: VersionId, to: VersionId| {
        let mut play = play(silent());
        visit(&mut play, 0.0, 7, &[from]);
        // It is open before the order.
        visit(&mut play, 1.5, 4, &[CANARY]);
        ordered(&mut play, 1.6, (1, share));
        answered(&mut play, 1.7, (1, share), status);
        visit(&mut play, 3.0, 7, &[to]);
        // Somebody else shows that it is open, or nobody does.
        let is_closed = share.is_none() && status == Some(200);
        visit(
            &mut play,
            5.0,
            3,
            &[if is_closed { STABLE } else { CANARY }],
        );
        check(play).status
    };
    let grown = |status| follow(Some(0.5), status, STABLE, CANARY);
    assert_eq!(grown(Some(200)), Status::Pass);
    assert_eq!(grown(None), Status::Inconclusive, "nobody knows");
    assert_eq!(grown(Some(409)), Status::Fail, "it has refused");
    assert_eq!(follow(Some(0.05), Some(200), CANARY, STABLE), Status::Pass);
    assert_eq!(follow(Some(0.5), Some(200), CANARY, STABLE), Status::Fail);
    let closed = follow(None, Some(200), CANARY, STABLE);
    assert_eq!(closed, Status::Inconclusive, "it shows nothing");
    assert_eq!(follow(None, Some(200), STABLE, CANARY), Status::Fail);
}

/// The first order is answered late, after another one was carried out: nobody knows which was the last, and who moves.
#[test]
fn while_two_orders_may_be_in_force_nobody_shows_anything() {
    let status = |is_answered_late: bool, version: VersionId| {
        let (more, less) = ((1, Some(0.5)), (2, Some(0.05)));
        let mut play = play(silent());
        visit(&mut play, 0.0, 7, &[CANARY]);
        ordered(&mut play, 1.0, more);
        if !is_answered_late {
            answered(&mut play, 1.1, more, Some(200));
        }
        ordered(&mut play, 1.2, less);
        answered(&mut play, 1.3, less, Some(200));
        if is_answered_late {
            answered(&mut play, 1.4, more, Some(200));
        }
        for second in [3.0, 3.1, 3.2] {
            visit(&mut play, second, 7, &[version]);
        }
        visit(&mut play, 3.3, 7, &[STABLE]);
        visit(&mut play, 5.0, 3, &[CANARY]);
        check(play).status
    };
    assert_eq!(status(true, STABLE), Status::Inconclusive);
    assert_eq!(status(false, STABLE), Status::Pass);
    assert_eq!(status(true, CANARY), Status::Inconclusive);
    assert_eq!(status(false, CANARY), Status::Fail);
}

/// Ledgers show that it was closed when an order to open it again is under way already.
#[test]
fn what_ledgers_show_late_is_replaced_by_what_was_ordered_since() {
    let status = |versions: [VersionId; 2]| {
        let mut play = play(silent());
        visit(&mut play, 0.0, 3, &[CANARY]);
        ordered(&mut play, 1.0, (1, None));
        answered(&mut play, 1.1, (1, None), Some(200));
        ordered(&mut play, 5.0, (2, Some(0.5)));
        play.event(Timestamp::from_secs_f64(6.0), closed(0.0));
        answered(&mut play, 8.0, (2, Some(0.5)), Some(200));
        for (second, version) in [10.0, 11.0].into_iter().zip(versions) {
            visit(&mut play, second, 7, &[version]);
        }
        visit(&mut play, 15.0, 3, &[CANARY]);
        check(play).status
    };
    assert_eq!(status([CANARY, CANARY]), Status::Pass);
    assert_eq!(status([CANARY, STABLE]), Status::Fail);
}

/// A hash with a new salt.
#[test]
fn who_was_at_stable_before_a_closing_may_be_anywhere_too() {
    let status = |closing: Option<f64>| {
        let mut play = play(silent());
        visit(&mut play, 0.0, 7, &[STABLE]);
        visit(&mut play, 1.5, 3, &[CANARY]);
        for (second, what) in [(1.6, (1, closing)), (4.0, (2, Some(0.1)))] {
            ordered(&mut play, second, what);
            answered(&mut play, second + 0.1, what, Some(200));
        }
        for second in [7.0, 8.0] {
            visit(&mut play, second, 7, &[CANARY]);
        }
        check(play).status
    };
    assert_eq!(status(None), Status::Pass);
    assert_eq!(status(Some(0.2)), Status::Fail, "it was never closed");
}

/// It was closed of itself, and opened by order before anything could show that.
#[test]
fn who_leaves_a_canary_that_an_order_opens_again_has_not_moved() {
    let status = |is_opened: bool, missed: u32| {
        let mut play = play(silent());
        visit(&mut play, 0.0, 7, &[CANARY]);
        visit(&mut play, 0.1, 3, &[CANARY]);
        for i in 0..missed {
            visit(&mut play, 3.0 + f64::from(i) / 100.0, 7, &[STABLE]);
        }
        if is_opened {
            ordered(&mut play, 5.0, (1, Some(0.2)));
            answered(&mut play, 5.1, (1, Some(0.2)), Some(200));
        }
        for second in [8.0, 9.0] {
            visit(&mut play, second, 7, &[STABLE]);
        }
        visit(&mut play, 15.0, 3, &[CANARY]);
        check(play).status
    };
    // At 10 %, 66 in a row are rarer than one in a thousand, and 44 than one in a hundred.
    assert_eq!(status(true, 66), Status::Pass);
    assert_eq!(status(true, 65), Status::Inconclusive, "it may have been");
    assert_eq!(status(true, 44), Status::Inconclusive);
    assert_eq!(
        status(true, 43),
        Status::Fail,
        "whoever had it open lost a caller"
    );
    assert_eq!(status(false, 44), Status::Fail);
}

/// A table may have given them to stable for good.
#[test]
fn who_was_at_a_canary_before_it_was_closed_may_be_anywhere_when_it_opens() {
    let reopened = |closing: Option<f64>, closing_moves: bool, later: &[VersionId]| {
        let mut play = play(StickinessSpec {
            closing_moves,
            ..silent()
        });
        visit(&mut play, 0.0, 7, &[CANARY]);
        for (second, what) in [(1.0, (1, closing)), (10.0, (2, Some(0.5)))] {
            ordered(&mut play, second, what);
            // On its way to a canary that is still open.
            visit(&mut play, second + 0.05, 7, &[CANARY]);
            answered(&mut play, second + 0.1, what, Some(200));
            visit(&mut play, second + 3.0, 7, &[STABLE]);
        }
        for version in later {
            visit(&mut play, 14.0, 7, &[*version]);
        }
        visit(&mut play, 17.0, 3, &[CANARY]);
        check(play).status
    };
    assert_eq!(reopened(None, true, &[STABLE]), Status::Pass);
    assert_eq!(reopened(Some(0.0), true, &[STABLE]), Status::Pass);
    assert_eq!(reopened(Some(0.05), true, &[STABLE]), Status::Fail);
    assert_eq!(reopened(None, false, &[STABLE]), Status::Fail);
    // And whoever moves then has moved.
    assert_eq!(reopened(None, true, &[CANARY]), Status::Fail);
}

/// Once before a closing, and once after it: nobody is seen twice.
#[test]
fn who_was_seen_once_before_a_closing_and_once_after_it_shows_nothing() {
    let status = |more: usize| {
        let mut play = play(silent());
        visit(&mut play, 0.0, 7, &[STABLE]);
        visit(&mut play, 1.5, 3, &[CANARY]);
        for (second, what) in [(1.6, (1, None)), (4.0, (2, Some(0.1)))] {
            ordered(&mut play, second, what);
            answered(&mut play, second + 0.1, what, Some(200));
        }
        for second in [7.0, 8.0].into_iter().take(more) {
            visit(&mut play, second, 7, &[CANARY]);
        }
        check(play).status
    };
    assert_eq!(status(1), Status::Inconclusive);
    assert_eq!(status(2), Status::Pass);
}

/// Where the canary cannot be closed in silence, callers who stay at stable are no sign of it, and no order excuses who moves.
#[test]
fn an_order_excuses_nobody_who_had_nothing_to_leave() {
    let status = |may_close_in_silence: bool| {
        let mut play = play(StickinessSpec {
            may_close_in_silence,
            ..silent()
        });
        visit(&mut play, 0.0, 7, &[CANARY]);
        for i in 0..50 {
            visit(&mut play, 2.0 + f64::from(i) / 100.0, 5, &[STABLE]);
        }
        ordered(&mut play, 5.0, (1, Some(0.11)));
        answered(&mut play, 5.1, (1, Some(0.11)), Some(200));
        for second in [8.0, 9.0] {
            visit(&mut play, second, 7, &[STABLE]);
        }
        visit(&mut play, 15.0, 3, &[CANARY]);
        check(play).status
    };
    assert_eq!(status(false), Status::Fail);
    assert_eq!(status(true), Status::Inconclusive);
}
