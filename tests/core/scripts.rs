//! Short stories of single requests, step by step.

use std::time::Duration;

use graygate::protocol::outcome::Outcome;
use graygate::router::config::{FallbackPolicy, JudgeConfig};
use graygate::router::io::{Action, AnswerTraits, Event, Input};

use crate::rig::{CANARY, Rig, STABLE, config, ms};

/// No judge, retries without jitter.
fn calm() -> graygate::router::config::RouterConfig {
    let mut config = config();
    config.judge = JudgeConfig::Off;
    config.retry.jitter = 0.0;
    config
}

#[test]
fn a_canary_failure_is_answered_by_stable_at_once() {
    let mut rig = Rig::new(calm());
    let request = rig.arrive(true);
    rig.end(request, Outcome::ServerError);
    assert_eq!(rig.path(request), [CANARY, STABLE]);
    rig.end(request, Outcome::Success);
    assert_eq!(rig.ended(request), Some(Outcome::Success));
    let forwarded = rig.actions.iter().find_map(|a| match a {
        Action::Forward { served, .. } => Some(*served),
        _ => None,
    });
    let served = forwarded.expect("an answer");
    assert!(served.fallback && served.version == STABLE && served.attempts == 2);
}

#[test]
fn retries_come_first_when_asked_for_and_back_off() {
    let mut config = calm();
    config.fallback = FallbackPolicy::AfterRetries;
    let mut rig = Rig::new(config);
    let request = rig.arrive(true);
    rig.end(request, Outcome::Reset);
    assert_eq!(rig.path(request), [CANARY], "backing off");
    rig.advance(ms(99));
    assert_eq!(rig.path(request), [CANARY]);
    rig.advance(ms(1));
    assert_eq!(rig.path(request), [CANARY, CANARY]);
    rig.end(request, Outcome::Reset);
    rig.advance(ms(200));
    rig.end(request, Outcome::Reset);
    assert_eq!(rig.path(request), [CANARY, CANARY, CANARY, STABLE]);
}

#[test]
fn retry_after_is_waited_for_if_there_is_time() {
    let mut rig = Rig::new(calm());
    let mut on_stable = rig.arrive(false);
    while rig.path(on_stable) != [STABLE] {
        on_stable = rig.arrive(false);
    }
    let limited = |rig: &Rig, wait| Input::AttemptEnded {
        attempt: rig.out(on_stable),
        outcome: Outcome::RateLimited,
        retry_after: Some(wait),
        answer: AnswerTraits::default(),
    };
    let wait = limited(&rig, ms(1_500));
    rig.input(wait);
    rig.advance(ms(1_499));
    assert_eq!(rig.path(on_stable).len(), 1);
    rig.advance(ms(1));
    assert_eq!(rig.path(on_stable).len(), 2);
    let too_long = limited(&rig, Duration::from_secs(5));
    rig.input(too_long);
    assert_eq!(rig.ended(on_stable), Some(Outcome::RateLimited));
}

#[test]
fn an_attempt_that_hangs_is_cancelled_booked_and_replaced() {
    let mut rig = Rig::new(calm());
    let request = rig.arrive(true);
    let attempt = rig.out(request);
    rig.advance(ms(1_000));
    assert!(rig.actions.contains(&Action::Cancel { attempt }));
    assert_eq!(rig.path(request), [CANARY, STABLE]);
    let booked = rig.events.iter().any(|e| {
        matches!(e, Event::AttemptEnded { version, outcome: Outcome::Timeout, latency, .. }
            if *version == CANARY && *latency == ms(1_000))
    });
    assert!(booked);
}

#[test]
fn later_tries_have_more_time_where_it_escalates() {
    let mut config = calm();
    config.timeouts.escalation = Some(ms(700));
    config.timeouts.request = ms(20_000);
    let mut rig = Rig::new(config);
    let mut request = rig.arrive(false);
    while rig.path(request) != [STABLE] {
        request = rig.arrive(false);
    }
    let began = rig.now;
    // A first try of 1 s, 0.1 s of backoff, twice and, after 0.2 s, three times the step.
    for (limit, wait) in [(1_000, 100), (1_400, 200), (2_100, 0)] {
        let attempt = rig.out(request);
        rig.advance(ms(limit - 1));
        assert!(
            !rig.actions.contains(&Action::Cancel { attempt }),
            "{limit}"
        );
        rig.advance(ms(1));
        assert!(rig.actions.contains(&Action::Cancel { attempt }), "{limit}");
        rig.advance(ms(wait));
    }
    assert_eq!(rig.now.since(began), ms(4_800));
    assert_eq!(rig.ended(request), Some(Outcome::Timeout));
}

#[test]
fn the_deadline_bounds_everything_and_is_held_against_nobody() {
    let mut rig = Rig::new(calm());
    let request = rig.arrive(true);
    // Canary 1 s, stable 1 s, backoff 0.1 s, stable until the deadline at 3 s.
    rig.advance(ms(3_000));
    assert_eq!(rig.ended(request), Some(Outcome::Deadline));
    assert_eq!(rig.path(request), [CANARY, STABLE, STABLE]);
    let last = rig.events.iter().rev().find_map(|e| match e {
        Event::AttemptEnded { outcome, .. } => Some(*outcome),
        _ => None,
    });
    assert_eq!(last, Some(Outcome::Deadline));
}

#[test]
fn nothing_is_spliced_onto_an_answer_that_began() {
    let mut rig = Rig::new(calm());
    let request = rig.arrive(true);
    let attempt = rig.out(request);
    rig.input(Input::FirstContent { attempt });
    rig.input(Input::FirstContent { attempt });
    let forwards = rig
        .actions
        .iter()
        .filter(|a| matches!(a, Action::Forward { .. }));
    assert_eq!(forwards.count(), 1);
    rig.input(Input::AttemptEnded {
        attempt,
        outcome: Outcome::Reset,
        retry_after: None,
        answer: AnswerTraits::default(),
    });
    assert_eq!(
        rig.path(request),
        [CANARY],
        "neither retried nor fallen back"
    );
    assert_eq!(rig.ended(request), Some(Outcome::Reset));
}

#[test]
fn a_caller_who_leaves_cancels_the_attempt() {
    let mut rig = Rig::new(calm());
    let request = rig.arrive(true);
    let attempt = rig.out(request);
    rig.input(Input::ClientGone { request });
    assert_eq!(rig.actions.last(), Some(&Action::Cancel { attempt }));
    assert_eq!(rig.ended(request), Some(Outcome::ClientGone));
    rig.end_stale(attempt);
    assert_eq!(rig.core.poll_timeout(), None, "nothing is left behind");
}

#[test]
fn a_bad_request_is_passed_on_as_it_is() {
    let mut rig = Rig::new(calm());
    let request = rig.arrive(true);
    rig.end(request, Outcome::BadRequest);
    let failure = rig.actions.iter().find_map(|a| match a {
        Action::Fail { failure, .. } => Some(failure.clone()),
        _ => None,
    });
    let failure = failure.expect("an error");
    assert!(failure.relay);
    assert_eq!(rig.path(request), [CANARY]);
}

#[test]
fn both_causes_of_a_double_failure_are_kept() {
    let mut rig = Rig::new(calm());
    let request = rig.arrive(true);
    rig.end(request, Outcome::Unauthorized);
    rig.end(request, Outcome::ModelNotFound);
    let Some(Action::Fail { failure, .. }) = rig.actions.last() else {
        panic!("an error")
    };
    assert_eq!(
        failure.causes.as_slice(),
        [
            (CANARY, Outcome::Unauthorized),
            (STABLE, Outcome::ModelNotFound)
        ]
    );
}

#[test]
fn stable_never_falls_back_to_anything() {
    let mut rig = Rig::new(calm());
    for _ in 0..20 {
        let request = rig.arrive(false);
        if rig.path(request) == [STABLE] {
            rig.end(request, Outcome::ModelNotFound);
            assert_eq!(rig.path(request), [STABLE]);
            assert_eq!(rig.ended(request), Some(Outcome::ModelNotFound));
        }
    }
}

#[test]
fn weights_are_exact_even_when_tiny() {
    let mut config = calm();
    config.split.weights = [99.5, 0.5].into_iter().collect();
    let mut rig = Rig::new(config);
    let n = 100_000;
    let canary = (0..n)
        .filter(|_| {
            let request = rig.arrive(false);
            let to_canary = rig.actions.last()
                != Some(&Action::Send {
                    attempt: graygate::id::AttemptId { request, n: 0 },
                    version: STABLE,
                });
            rig.input(Input::ClientGone { request });
            rig.actions.clear();
            rig.events.clear();
            to_canary
        })
        .count();
    // Binomial(100,000, 0.5 %): 500 ± 5 standard deviations of 22.3.
    assert!((389..=611).contains(&canary), "{canary}");
}
