//! What a change of the release means for requests under way and for callers who come back.

use std::sync::Arc;

use graygate::protocol::outcome::Outcome;
use graygate::router::config::{InFlight, JudgeConfig, RouterConfig, StickyBy};
use graygate::router::control::Order;
use graygate::router::io::{Action, RequestFacts};

use crate::release::{another, apply, checkpoint, roll_back, weights};
use crate::rig::{CANARY, Rig, STABLE, config, ms};

fn with_in_flight(in_flight: InFlight) -> RouterConfig {
    let mut config = config();
    config.rollback.in_flight = in_flight;
    config
}

#[test]
fn requests_in_flight_drain_if_so_configured() {
    let mut rig = Rig::new(with_in_flight(InFlight::Drain));
    let request = rig.arrive(true);
    rig.must(roll_back()).unwrap();
    assert!(
        !rig.actions
            .iter()
            .any(|a| matches!(a, Action::Cancel { .. }))
    );
    rig.end(request, Outcome::Success);
    assert_eq!(rig.ended(request), Some(Outcome::Success));
    assert_eq!(rig.path(request), [CANARY]);
}

#[test]
fn requests_in_flight_are_taken_back_if_so_configured_unless_their_caller_saw_something() {
    let mut rig = Rig::new(with_in_flight(InFlight::Cancel));
    let (unseen, seen) = (rig.arrive(true), rig.arrive(true));
    let attempt = rig.out(seen);
    rig.input(graygate::router::io::Input::FirstContent { attempt });
    rig.must(roll_back()).unwrap();
    assert_eq!(rig.path(unseen), [CANARY, STABLE]);
    assert_eq!(rig.path(seen), [CANARY]);
    rig.end(unseen, Outcome::Success);
    assert_eq!(rig.ended(unseen), Some(Outcome::Success));
    let cancelled: Vec<_> = rig
        .actions
        .iter()
        .filter(|a| matches!(a, Action::Cancel { .. }))
        .collect();
    assert_eq!(cancelled.len(), 1);
}

#[test]
fn a_rollback_shuffles_sticky_callers_and_a_change_of_weights_does_not() {
    let mut config = config();
    config.split.sticky = Some(StickyBy::User);
    let places = |rig: &mut Rig| -> Vec<bool> {
        let user = |n| RequestFacts {
            user: Some(format!("user {n}")),
            ..RequestFacts::default()
        };
        let place = |n| {
            let request = rig.arrive_as(Arc::new(user(n)));
            rig.path(request) == [CANARY]
        };
        (0..200).map(place).collect()
    };
    let mut rig = Rig::new(config.clone());
    let before = places(&mut rig);
    rig.must(weights(50.0, 50.0)).unwrap();
    assert_eq!(places(&mut rig), before);
    rig.must(roll_back()).unwrap();
    let salt = rig.last_kept().deployment.salt;
    let config = Arc::new(config);
    rig.must(Order::Apply {
        config,
        again: true,
    })
    .unwrap();
    let after = places(&mut rig);
    assert_ne!(after, before);
    // A restart shuffles nobody.
    let kept = rig.last_kept().deployment.clone();
    assert_eq!(kept.salt, salt);
    assert_eq!(places(&mut Rig::resumed(kept)), after);
}

#[test]
fn requests_under_way_keep_the_limits_they_arrived_under() {
    let mut rig = Rig::new(config());
    let request = rig.arrive(true);
    let mut patient = another();
    patient.timeouts.attempt = ms(60_000);
    patient.timeouts.request = ms(90_000);
    patient.fallback = graygate::router::config::FallbackPolicy::Off;
    rig.must(apply(patient)).unwrap();
    let later = rig.arrive(true);
    rig.advance(ms(1_500));
    assert_eq!(
        rig.path(request),
        [CANARY, STABLE],
        "its attempt had a second"
    );
    assert_eq!(rig.path(later), [CANARY], "its attempt has a minute");
}

#[test]
fn a_canary_that_was_rolled_back_gets_no_attempt_even_when_another_one_is_open() {
    let mut retrying = config();
    retrying.fallback = graygate::router::config::FallbackPolicy::AfterRetries;
    retrying.judge = JudgeConfig::Off;
    let mut rig = Rig::new(retrying);
    let request = rig.arrive(true);
    rig.end(request, Outcome::ServerError);
    assert_eq!(rig.ended(request), None, "it waits for its retry");
    rig.must(roll_back()).unwrap();
    rig.must(apply(another())).unwrap();
    let fresh = rig.arrive(true);
    assert_eq!(rig.path(fresh), [CANARY], "the new canary is open");
    rig.advance(ms(900));
    assert_eq!(rig.path(request), [CANARY, STABLE]);
}

#[test]
fn a_withheld_canary_stays_so_until_somebody_resumes_it() {
    let mut rig = Rig::new(config());
    assert_eq!(rig.must(Order::Withhold).unwrap().share, 0.0);
    rig.must(checkpoint("meanwhile")).unwrap();
    rig.must(weights(1.0, 9.0)).unwrap();
    let request = rig.arrive(true);
    assert_eq!(rig.path(request), [STABLE], "other orders do not open it");
    assert_eq!(rig.must(Order::Resume).unwrap().share, 0.9);
    let request = rig.arrive(true);
    assert_eq!(rig.path(request), [CANARY]);
}
