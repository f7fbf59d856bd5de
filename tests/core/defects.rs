//! The defects of the articles' sketches that must be absent from the core, one test each. The
//! numbers are those of the list in docs/defects.md.

use std::sync::Arc;

use graygate::canonical;
use graygate::protocol::chat::{ChatHead, forward};
use graygate::protocol::outcome::Outcome;
use graygate::router::config::{FallbackPolicy, Features, JudgeConfig, RouterConfig};
use graygate::router::control::{Order, Refusal};
use graygate::router::deployment::{CheckpointKind, Deployment};
use graygate::router::gray::GrayRouter;
use graygate::router::io::{Choice, Event, Input, Measure, Reason};
use graygate::router::limit::RateLimit;
use graygate::router::ramp::{Inconclusive, RampConfig, StepConfig};
use graygate::time::Timestamp;

use crate::rig::{CANARY, Rig, SEED, STABLE, config, ms};

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

/// Three steps of ten seconds, a tenth of which the judge needs.
fn ramped() -> RouterConfig {
    let mut config = judged();
    let step = |name: &str, share: f64, hold: u64| StepConfig {
        name: name.to_owned(),
        share,
        hold: ms(hold),
        limit: ms(hold * 3),
    };
    config.ramp = Some(RampConfig {
        steps: vec![
            step("initial", 0.05, 10_000),
            step("minority", 0.15, 10_000),
            step("full", 1.0, 0),
        ],
        inconclusive: Inconclusive::Hold,
    });
    config
}

/// The canary's share right now.
fn share(rig: &mut Rig) -> f64 {
    let standing = rig.order(Order::Look).expect("an answer");
    standing.expect("where it stands").share
}

/// Ten good requests a second at the canary, for so long.
fn good_seconds(rig: &mut Rig, seconds: u32) {
    for _ in 0..seconds * 10 {
        at_canary(rig, 1, Outcome::Success);
        rig.advance(ms(100));
    }
}

#[test]
fn defect_04_the_ramp_begins_at_its_first_step_and_leaves_none_out() {
    let mut rig = Rig::new(ramped());
    assert_eq!(share(&mut rig), 0.05);
    good_seconds(&mut rig, 9);
    assert_eq!(share(&mut rig), 0.05, "held for its time");
    good_seconds(&mut rig, 30);
    let steps: Vec<_> = rig
        .events
        .iter()
        .filter_map(|e| match e {
            Event::Standing(standing) => standing.step.clone().map(|(_, name)| name),
            _ => None,
        })
        .collect();
    assert_eq!(steps, ["minority", "full"]);
    assert_eq!(share(&mut rig), 1.0);
}

#[test]
fn defect_05_nothing_goes_on_after_a_failed_step() {
    let mut rig = Rig::new(ramped());
    good_seconds(&mut rig, 15);
    assert_eq!(share(&mut rig), 0.15);
    at_canary(&mut rig, 10, Outcome::ServerError);
    assert!(rig.is_rolled_back());
    for _ in 0..10 {
        good_seconds(&mut rig, 10);
        assert_eq!(share(&mut rig), 0.0);
    }
    assert_eq!(rig.order(Order::Promote), Some(Err(Refusal::RolledBack)));
}

#[test]
fn defect_05_a_step_nobody_measured_is_no_success() {
    let mut rig = Rig::new(ramped());
    for _ in 0..60 {
        rig.advance(ms(60_000));
    }
    assert_eq!(share(&mut rig), 0.05);
}

#[test]
fn defect_06_what_the_judge_sees_is_what_happened() {
    let mut config = judged();
    let JudgeConfig::Literal(judge) = &mut config.judge else {
        panic!("judged")
    };
    judge.min_requests = 1_000;
    let last = |rig: &Rig| {
        rig.events.iter().rev().find_map(|e| match e {
            Event::Judged(evidence) => Some((evidence.measure, evidence.value, evidence.samples)),
            _ => None,
        })
    };
    let mut rig = Rig::new(config);
    rig.advance(ms(1_000));
    assert_eq!(last(&rig), Some((Measure::ErrorRate, None, 0)));
    for (bad, good, expected) in [(1, 3, 0.25), (0, 4, 0.125), (8, 0, 0.5625)] {
        at_canary(&mut rig, bad, Outcome::ServerError);
        at_canary(&mut rig, good, Outcome::Success);
        rig.advance(ms(500));
        let (_, value, _) = last(&rig).expect("a look");
        assert_eq!(value, Some(expected));
    }
}

/// All of these begin with the same words.
#[test]
fn defect_07_configurations_that_differ_anywhere_have_other_hashes() {
    let changes: [fn(&mut RouterConfig); 9] = [
        |_| {},
        |c| c.split.weights[CANARY] += 0.000_001,
        |c| c.versions[CANARY].model.push('x'),
        |c| c.versions[CANARY].api_key_env = None,
        |c| c.versions[CANARY].features = Features::default(),
        |c| c.routes.clear(),
        |c| c.retry.max_retries += 1,
        |c| c.timeouts.request += ms(1),
        |c| c.judge = JudgeConfig::Off,
    ];
    let hash = |change: &fn(&mut RouterConfig)| {
        let mut config = config();
        change(&mut config);
        canonical::sha256(&config)
    };
    let all: std::collections::BTreeSet<String> = changes.iter().map(hash).collect();
    assert_eq!(all.len(), changes.len());
    assert!(all.iter().all(|sha| sha.len() == 64));
    assert_eq!(hash(&changes[0]), hash(&changes[0]));
}

#[test]
fn defect_08_what_is_in_force_after_a_rollback_is_what_was_verified() {
    let mut rig = Rig::new(judged());
    rig.order(Order::Checkpoint {
        name: "good".to_owned(),
    });
    at_canary(&mut rig, 10, Outcome::ServerError);
    let change = rig.kept.last().expect("a change").clone();
    let record = change.rollback.expect("a rollback");
    assert_eq!(record.sha256, canonical::sha256(&*change.deployment.config));
    assert_eq!(change.deployment.config.canary_share(), 0.0);
    let written = change.checkpoints.expect("checkpoints");
    assert_eq!(written.len(), 2, "a backup of what was");
    assert!(
        written
            .iter()
            .all(|c| c.sha256 == canonical::sha256(&*c.config))
    );
}

#[test]
fn defect_08_a_checkpoint_that_was_tampered_with_is_refused() {
    let first = Deployment::first(Arc::new(judged()));
    let mut kept = first.with_checkpoint("good".to_owned(), CheckpointKind::Manual, None);
    let mut other = judged();
    other.versions[STABLE].model = "another".to_owned();
    kept.checkpoints[0].config = Arc::new(other);
    let core = GrayRouter::resume(kept, SEED, Timestamp::ZERO, None);
    let mut rig = Rig::of(Box::new(core));
    let checkpoint = "cp-1".to_owned();
    let answer = rig.order(Order::Restore { checkpoint });
    assert_eq!(answer, Some(Err(Refusal::CorruptCheckpoint)));
    at_canary(&mut rig, 10, Outcome::ServerError);
    let record = rig.kept.last().and_then(|change| change.rollback.clone());
    let record = record.expect("a rollback all the same");
    assert_eq!(record.restored, None);
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
fn defect_10_stable_that_failed_is_not_its_own_fallback() {
    let mut rig = Rig::new(judged());
    for outcome in [Outcome::ModelNotFound, Outcome::Unauthorized] {
        let mut request = rig.arrive(false);
        while rig.path(request) != [STABLE] {
            request = rig.arrive(false);
        }
        rig.end(request, outcome);
        assert_eq!(rig.path(request), [STABLE]);
        assert_eq!(rig.ended(request), Some(outcome));
        let fallen = rig.arrive(true);
        rig.end(fallen, Outcome::ServerError);
        rig.end(fallen, outcome);
        assert_eq!(rig.path(fallen), [CANARY, STABLE], "and none after it");
        assert_eq!(rig.ended(fallen), Some(outcome));
    }
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

/// Two hundred come in one moment, some leave, others come meanwhile.
#[test]
fn defect_12_no_window_sees_more_than_the_limit() {
    let mut config = config();
    config.judge = JudgeConfig::Off;
    config.timeouts.request = ms(600_000);
    config.timeouts.attempt = ms(500_000);
    config.versions[CANARY].rate_limit = Some(RateLimit {
        requests: 20,
        window: ms(1_000),
        max_wait: ms(600_000),
        guard: ms(50),
    });
    let mut rig = Rig::new(config);
    let mut all: Vec<_> = (0..200).map(|_| rig.arrive(true)).collect();
    let mut sent = Vec::new();
    for i in 0..2_000_u64 {
        if i % 7 == 0 && i < 600 {
            all.push(rig.arrive(true));
            let request = all[(i as usize * 13) % all.len()];
            rig.input(Input::ClientGone { request });
        }
        let before = rig.actions.len();
        rig.advance(ms(10));
        let is_send = |a: &&graygate::router::io::Action| {
            matches!(a, graygate::router::io::Action::Send { .. })
        };
        let new = rig.actions[before..].iter().filter(is_send).count();
        sent.extend(std::iter::repeat_n(i * 10, new));
    }
    assert!(sent.len() > 150, "{}", sent.len());
    for from in &sent {
        let within = sent.iter().filter(|at| (*from..from + 1_000).contains(*at));
        assert!(within.count() <= 20);
    }
    let is_done = |r| !rig.path(r).is_empty() || rig.ended(r) == Some(Outcome::ClientGone);
    assert!(all.into_iter().all(is_done), "nobody starves");
}

#[test]
fn defect_13_nothing_but_the_model_is_replaced() {
    let body =
        br#"{ "temperature": 0, "model":"gpt-4.1", "top_p": 0.0, "seed":null, "x": [1.50] }"#;
    let head = ChatHead::parse(body).expect("a chat request");
    let sent = String::from_utf8(forward(body, &head, "v2-model")).expect("UTF-8");
    let expected =
        r#"{ "temperature": 0, "model":"v2-model", "top_p": 0.0, "seed":null, "x": [1.50] }"#;
    assert_eq!(sent, expected);
}

/// What is kept, and told from there, is the whole record.
#[test]
fn defect_14_a_rollback_is_kept_with_its_data() {
    let mut rig = Rig::new(ramped());
    at_canary(&mut rig, 12, Outcome::ServerError);
    let told = rig.events.iter().find_map(|e| match e {
        Event::RolledBack(record) => Some(record.clone()),
        _ => None,
    });
    let told = told.expect("a rollback");
    let kept: Vec<_> = rig.kept.iter().filter_map(|c| c.rollback.clone()).collect();
    assert_eq!(kept, std::slice::from_ref(&told), "once, and the same");
    assert_eq!((told.from, told.to, told.revision), (CANARY, STABLE, 1));
    assert_eq!(told.affected_requests, 10);
    assert_eq!(told.step.as_deref(), Some("initial"));
    assert!(!told.id.is_empty() && told.sha256.len() == 64);
    let Reason::Judged(evidence) = told.reason else {
        panic!("judged")
    };
    assert!(evidence.violated && evidence.samples == 10 && evidence.value == Some(1.0));
    let entry = rig.kept.iter().rev().find_map(|c| c.entry.clone());
    assert_eq!(entry.expect("a line of history").kind, "rolled_back");
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
