//! Rate limits and the retry budget, step by step: who waits, who goes, who is told what.

use std::sync::Arc;
use std::time::Duration;

use graygate::protocol::outcome::Outcome;
use graygate::router::budget::RetryBudget;
use graygate::router::config::{FallbackPolicy, Features, InFlight, JudgeConfig, RouterConfig};
use graygate::router::control::Order;
use graygate::router::io::{Action, ChoiceNote, Chosen, Failure, Input, RequestFacts};
use graygate::router::limit::RateLimit;

use crate::rig::{CANARY, Rig, STABLE, config, ms};

/// Two a second to each version, whoever cannot go waits up to 1.5 s; nobody judges.
fn limited() -> RouterConfig {
    let mut config = config();
    config.judge = JudgeConfig::Off;
    config.retry.jitter = 0.0;
    config.timeouts.attempt = ms(2_500);
    for version in [STABLE, CANARY] {
        config.versions[version].rate_limit = Some(RateLimit {
            requests: 2,
            window: ms(1_000),
            guard: ms(50),
            max_wait: ms(1_500),
        });
    }
    config
}

fn failure(rig: &Rig) -> Failure {
    let failures = rig.actions.iter().rev().find_map(|a| match a {
        Action::Fail { failure, .. } => Some(failure.clone()),
        _ => None,
    });
    failures.expect("an error")
}

fn roll_back() -> Order {
    Order::RollBack {
        why: "a test".to_owned(),
    }
}

fn chooser() -> Arc<RequestFacts> {
    Arc::new(RequestFacts {
        chosen: Some(Chosen::Version(CANARY)),
        ..RequestFacts::default()
    })
}

#[test]
fn whoever_cannot_go_waits_in_line_and_the_rest_are_turned_away() {
    let mut rig = Rig::new(limited());
    let all: Vec<_> = (0..6).map(|_| rig.arrive(true)).collect();
    let gone = |rig: &Rig| all.iter().filter(|r| !rig.path(**r).is_empty()).count();
    assert_eq!(gone(&rig), 2);
    rig.advance(ms(1_049));
    assert_eq!(gone(&rig), 2);
    rig.advance(ms(1));
    assert_eq!(gone(&rig), 4, "a window and a guard later");
    assert!(rig.path(all[3]) == [CANARY] && rig.path(all[4]).is_empty());
    rig.advance(ms(450));
    assert_eq!(rig.ended(all[4]), Some(Outcome::Limited));
    assert_eq!(rig.ended(all[5]), Some(Outcome::Limited));
    let told = failure(&rig);
    assert_eq!(told.retry_after, Some(ms(600)), "the next slot frees then");
    assert_eq!((told.version, told.attempts), (None, 0));
}

/// However short the line: no slot is free before the wait is over.
#[test]
fn who_would_wait_in_vain_is_turned_away_at_once() {
    let mut rig = Rig::new(limited());
    let request = |rig: &mut Rig| rig.arrive(true);
    let first = [request(&mut rig), request(&mut rig)];
    assert!(first.iter().all(|r| rig.path(*r) == [CANARY]));
    let mut config = limited();
    for version in [STABLE, CANARY] {
        let limit = config.versions[version].rate_limit.as_mut();
        limit.expect("a limit").max_wait = ms(1_000);
    }
    let mut rig = Rig::new(config);
    let out = [request(&mut rig), request(&mut rig)];
    assert!(out.iter().all(|r| rig.path(*r) == [CANARY]));
    let in_vain = request(&mut rig);
    assert_eq!(rig.ended(in_vain), Some(Outcome::Limited), "at once");
    let told = failure(&rig);
    assert_eq!(
        told.retry_after,
        Some(ms(1_050)),
        "the next slot frees then"
    );
    assert_eq!((told.version, told.attempts), (None, 0));
    rig.advance(ms(51));
    let waits = request(&mut rig);
    assert_eq!(rig.ended(waits), None, "it may get one");
    rig.advance(ms(999));
    assert_eq!(rig.path(waits), [CANARY]);
}

#[test]
fn who_leaves_or_runs_out_of_time_makes_room() {
    let mut config = limited();
    config.timeouts.request = ms(3_000);
    config.versions[CANARY]
        .rate_limit
        .as_mut()
        .expect("a limit")
        .max_wait = ms(60_000);
    let mut rig = Rig::new(config);
    let all: Vec<_> = (0..9).map(|_| rig.arrive(true)).collect();
    rig.input(Input::ClientGone { request: all[2] });
    assert_eq!(rig.ended(all[2]), Some(Outcome::ClientGone));
    rig.advance(ms(1_050));
    assert_eq!(rig.path(all[3]), [CANARY]);
    assert_eq!(
        rig.path(all[4]),
        [CANARY],
        "in the place of the one that left"
    );
    rig.advance(ms(1_950));
    assert_eq!(rig.ended(all[8]), Some(Outcome::Deadline), "still in line");
    let told = failure(&rig);
    assert_eq!((told.version, told.attempts), (None, 0));
    assert_eq!(rig.core.footprint().in_flight, 0);
}

/// A fallback waits for its slot, too. Until it has one, stable was not tried.
#[test]
fn a_failure_names_what_was_really_tried() {
    let mut rig = Rig::new(limited());
    let at_stable = Arc::new(RequestFacts {
        forced: Some(STABLE),
        ..RequestFacts::default()
    });
    for _ in 0..4 {
        rig.arrive_as(at_stable.clone());
    }
    let request = rig.arrive(true);
    rig.end(request, Outcome::ServerError);
    assert_eq!(rig.path(request), [CANARY]);
    rig.advance(ms(1_500));
    assert_eq!(rig.ended(request), Some(Outcome::Limited));
    let told = failure(&rig);
    assert_eq!(told.version, Some(CANARY));
    assert!(!told.fallback);
    assert_eq!(told.causes.as_slice(), [(CANARY, Outcome::ServerError)]);
}

#[test]
fn nobody_waits_at_a_closed_canary() {
    let mut rig = Rig::new(limited());
    let out = [rig.arrive(true), rig.arrive(true)];
    let (waits, chose) = (rig.arrive(true), rig.arrive_as(chooser()));
    assert!(rig.path(waits).is_empty() && rig.path(chose).is_empty());
    rig.order(roll_back());
    assert_eq!(rig.path(waits), [STABLE], "at once");
    assert_eq!(rig.path(chose), [STABLE]);
    rig.end(chose, Outcome::Success);
    let Some(Action::Forward { served, .. }) = rig.actions.last() else {
        panic!("an answer")
    };
    assert_eq!(served.choice, Some(ChoiceNote::Refused));
    assert!(!served.fallback, "the canary was never asked");
    assert_eq!(rig.path(out[0]), [CANARY], "what is out may finish");
}

/// With no fallback at all, too: it is not the canary that failed.
#[test]
fn what_a_rollback_takes_back_is_asked_of_stable() {
    let mut config = limited();
    config.fallback = FallbackPolicy::Off;
    config.rollback.in_flight = InFlight::Cancel;
    let mut rig = Rig::new(config);
    let (seen, unseen) = (rig.arrive(true), rig.arrive(true));
    let waits = rig.arrive(true);
    let attempt = rig.out(seen);
    rig.input(Input::FirstContent { attempt });
    rig.order(roll_back());
    assert_eq!(rig.path(seen), [CANARY], "its caller has the beginning");
    assert_eq!(rig.path(unseen), [CANARY, STABLE]);
    assert_eq!(rig.path(waits), [STABLE]);
    assert!(rig.actions.contains(&Action::Cancel {
        attempt: graygate::id::AttemptId {
            request: unseen,
            n: 0
        }
    }));
}

/// A release that was replaced is not the one that is rolled back.
#[test]
fn a_rollback_takes_nothing_of_an_earlier_release_back() {
    let mut config = limited();
    config.rollback.in_flight = InFlight::Cancel;
    let mut rig = Rig::new(config.clone());
    let earlier = rig.arrive(true);
    config.retry.max_retries = 1;
    let config = Arc::new(config);
    let again = false;
    rig.order(Order::Apply { config, again });
    let later = rig.arrive(true);
    rig.order(roll_back());
    assert_eq!(rig.path(earlier), [CANARY]);
    assert_eq!(rig.path(later), [CANARY, STABLE]);
}

#[test]
fn a_limit_that_is_gone_holds_nobody_and_costs_nothing() {
    let mut rig = Rig::new(limited());
    for _ in 0..4 {
        rig.arrive(true);
    }
    let mut config = limited();
    for version in [STABLE, CANARY] {
        config.versions[version].rate_limit = None;
    }
    let config = Arc::new(config);
    let again = false;
    rig.order(Order::Apply { config, again });
    let sends = |rig: &Rig| {
        rig.actions
            .iter()
            .filter(|a| matches!(a, Action::Send { .. }))
            .count()
    };
    assert_eq!(sends(&rig), 4);
    rig.advance(Duration::from_secs(60));
    let mut after = |n: u32| {
        for _ in 0..n {
            let request = rig.arrive(true);
            rig.end(request, Outcome::Success);
            rig.actions.clear();
            rig.events.clear();
        }
        rig.core.footprint().bytes
    };
    let (early, late) = (after(1_000), after(20_000));
    assert!(late <= early + 1_000, "{early} bytes, then {late}");
}

/// A driver that was held up sends late, and the upstream sees when it was sent.
#[test]
fn a_slot_that_is_used_late_is_kept_from_then_on() {
    let mut config = limited();
    config.versions[CANARY]
        .rate_limit
        .as_mut()
        .expect("a limit")
        .max_wait = ms(20_000);
    config.timeouts.request = ms(60_000);
    let mut rig = Rig::new(config);
    let all: Vec<_> = (0..6).map(|_| rig.arrive(true)).collect();
    // Another request comes before the driver looks.
    rig.now = rig.now + ms(1_550);
    rig.arrive(false);
    assert_eq!(rig.path(all[3]), [CANARY], "half a second late");
    rig.advance(ms(1_049));
    assert!(rig.path(all[4]).is_empty());
    rig.advance(ms(1));
    assert_eq!(rig.path(all[4]), [CANARY]);
    assert_eq!(rig.path(all[5]), [CANARY]);
}

/// Its slot was free before its patience was over; that nobody looked in time is not its fault.
#[test]
fn a_late_driver_turns_nobody_away() {
    let mut rig = Rig::new(limited());
    let all: Vec<_> = (0..4).map(|_| rig.arrive(true)).collect();
    rig.advance_late(ms(1_700));
    assert_eq!(rig.path(all[2]), [CANARY]);
    assert_eq!(rig.path(all[3]), [CANARY]);
}

#[test]
fn nothing_is_sent_where_it_cannot_be_answered_not_even_by_force() {
    let mut config = limited();
    config.versions[CANARY].features = Features {
        streaming: false,
        tools: true,
    };
    let mut rig = Rig::new(config);
    let needs = Features {
        streaming: true,
        tools: false,
    };
    for (forced, chosen) in [
        (Some(CANARY), None),
        (None, Some(Chosen::Version(CANARY))),
        (None, None),
    ] {
        let request = rig.arrive_as(Arc::new(RequestFacts {
            tier: Some("premium".to_owned()),
            forced,
            chosen,
            needs,
            ..RequestFacts::default()
        }));
        rig.advance(ms(2_000));
        assert_eq!(rig.path(request), [STABLE]);
        rig.end(request, Outcome::Success);
    }
}

/// Without a budget every request tries three times; with one, retries are a fifth of the requests.
#[test]
fn an_outage_is_no_storm() {
    let attempts = |budget| {
        let mut config = config();
        config.judge = JudgeConfig::Off;
        config.retry.budget = budget;
        let mut rig = Rig::new(config);
        for _ in 0..300 {
            let request = rig.arrive_as(Arc::new(RequestFacts {
                forced: Some(STABLE),
                ..RequestFacts::default()
            }));
            rig.end(request, Outcome::ServerError);
            rig.advance(ms(10));
        }
        let waiting: Vec<_> = rig
            .actions
            .iter()
            .filter(|a| matches!(a, Action::Send { .. }))
            .collect();
        waiting.len()
    };
    let budget = RetryBudget {
        share: 0.2,
        reserve_per_second: 0.0,
        memory: ms(10_000),
    };
    let with = attempts(Some(budget));
    assert!((340..=360).contains(&with), "{with}");
    assert!(attempts(None) > 550);
}
