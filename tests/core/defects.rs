//! The defects of the articles' sketches that must be absent from the core, one test each. The
//! numbers are those of the list in docs/defects.md.

use graygate::protocol::outcome::Outcome;
use graygate::router::config::{FallbackPolicy, JudgeConfig, RouterConfig};
use graygate::router::io::{Choice, Event};

use crate::rig::{CANARY, Rig, STABLE, config, ms};

/// Ends requests at the canary (pinned there) with an outcome.
fn at_canary(rig: &mut Rig, n: u32, outcome: Outcome) {
    for _ in 0..n {
        let request = rig.arrive(true);
        rig.end(request, outcome);
        if rig.ended(request).is_none() {
            rig.end(request, Outcome::Success);
        }
    }
}

/// Ends requests at stable with success.
fn at_stable(rig: &mut Rig, n: u32) {
    let mut left = n;
    while left > 0 {
        let request = rig.arrive(false);
        if rig.path(request) == [STABLE] {
            left -= 1;
        }
        rig.end(request, Outcome::Success);
    }
}

/// A judge with a low minimum that rolls back above 5 %.
fn judged() -> RouterConfig {
    let mut config = config();
    config.split.weights = [95.0, 5.0].into_iter().collect();
    if let JudgeConfig::Literal(judge) = &mut config.judge {
        judge.min_requests = 10;
        judge.thresholds.truncate(1);
        judge.thresholds[0].limit = graygate::router::config::Limit::ErrorRate(0.05);
    }
    config
}

#[test]
fn defect_01_a_dead_canary_is_not_diluted_by_a_healthy_stable() {
    let mut rig = Rig::new(judged());
    at_stable(&mut rig, 400);
    at_canary(&mut rig, 10, Outcome::ServerError);
    assert!(
        rig.is_rolled_back(),
        "10 of 10 at the canary, 10 of 410 overall"
    );
}

#[test]
fn defect_02_failures_are_booked_on_the_version_that_was_tried() {
    let mut rig = Rig::new(judged());
    let request = rig.arrive(true);
    rig.end(request, Outcome::ServerError);
    rig.end(request, Outcome::Success);
    let booked: Vec<_> = rig
        .events
        .iter()
        .filter_map(|e| match e {
            Event::AttemptEnded {
                version, outcome, ..
            } => Some((*version, *outcome)),
            _ => None,
        })
        .collect();
    assert_eq!(
        booked,
        [(CANARY, Outcome::ServerError), (STABLE, Outcome::Success)]
    );
}

#[test]
fn defect_03_nothing_reaches_the_canary_after_its_rollback() {
    let mut rig = Rig::new(judged());
    // One request is backing off towards the canary when the canary is closed.
    at_canary(&mut rig, 10, Outcome::ServerError);
    assert!(rig.is_rolled_back());
    for premium in [true, false].repeat(200) {
        let request = rig.arrive(premium);
        assert_eq!(rig.path(request), [STABLE]);
    }
    let told = rig.events.iter().filter(|e| {
        matches!(
            e,
            Event::Assigned {
                choice: Choice::CanaryClosed,
                ..
            }
        )
    });
    assert!(told.count() >= 200, "refused rules are told apart");
    rig.advance(ms(600_000));
    let rollbacks = rig
        .events
        .iter()
        .filter(|e| matches!(e, Event::RolledBack(_)));
    assert_eq!(rollbacks.count(), 1, "for good, and once");
}

#[test]
fn defect_03_a_retry_under_way_does_not_slip_through() {
    let mut config = judged();
    config.fallback = FallbackPolicy::AfterRetries;
    let mut rig = Rig::new(config);
    let waiting = rig.arrive(true);
    rig.end(waiting, Outcome::Reset);
    assert_eq!(rig.path(waiting), [CANARY], "backing off");
    at_canary(&mut rig, 12, Outcome::ModelNotFound);
    assert!(rig.is_rolled_back());
    rig.advance(ms(400));
    assert_eq!(rig.path(waiting), [CANARY, STABLE]);
}

#[test]
fn defect_09_old_good_traffic_does_not_hide_new_failures() {
    let mut rig = Rig::new(judged());
    at_canary(&mut rig, 2_000, Outcome::Success);
    rig.advance(ms(10_000));
    at_canary(&mut rig, 10, Outcome::ServerError);
    assert!(
        rig.is_rolled_back(),
        "10 of 10 in the window, 10 of 2,010 ever"
    );
}

#[test]
fn defect_09_old_failures_do_not_condemn_a_healed_canary() {
    let mut config = judged();
    if let JudgeConfig::Literal(judge) = &mut config.judge {
        judge.min_requests = 40;
    }
    let mut rig = Rig::new(config);
    at_canary(&mut rig, 20, Outcome::ServerError);
    rig.advance(ms(10_000));
    at_canary(&mut rig, 100, Outcome::Success);
    rig.advance(ms(2_000));
    assert!(!rig.is_rolled_back(), "20 of 120 ever, none in the window");
}

#[test]
fn defect_11_a_refused_key_or_missing_model_is_not_tried_again() {
    for outcome in [Outcome::Unauthorized, Outcome::ModelNotFound] {
        let mut config = judged();
        config.fallback = FallbackPolicy::AfterRetries;
        let mut rig = Rig::new(config);
        let request = rig.arrive(true);
        rig.end(request, outcome);
        assert_eq!(rig.path(request), [CANARY, STABLE], "{outcome:?}");
    }
}

#[test]
fn defect_11_a_refused_key_does_not_fall_back_with_the_same_key() {
    let mut config = judged();
    config.versions[CANARY].api_key_env = config.versions[STABLE].api_key_env.clone();
    let mut rig = Rig::new(config);
    let request = rig.arrive(true);
    rig.end(request, Outcome::Unauthorized);
    assert_eq!(rig.path(request), [CANARY]);
    assert_eq!(rig.ended(request), Some(Outcome::Unauthorized));
}

#[test]
fn defect_15_memory_does_not_grow_with_traffic() {
    let mut rig = Rig::new(judged());
    let mut after = |n: u32| {
        for _ in 0..n {
            let request = rig.arrive(false);
            rig.end(request, Outcome::Success);
            rig.advance(ms(20));
            rig.actions.clear();
            rig.events.clear();
        }
        rig.core.footprint().bytes
    };
    let early = after(2_000);
    let late = after(40_000);
    assert!(late <= early + early / 10, "{early} bytes, then {late}");
}
