//! What the judge does when things are odd: silence, leaping clocks, numbers that are none, callers
//! without end, a split that is not as it should be, a step without a control.

use std::time::Duration;

use graygate::id::RequestId;
use graygate::protocol::outcome::Outcome;
use graygate::router::judge::Occasion;
use graygate::router::judge::sequential::{
    Arm, Batch, Decision, HoldReason, Metric, Promotion, Refusal, SequentialConfig,
    SequentialEvidence, SequentialJudge, Test,
};
use graygate::time::Timestamp;

use crate::lab::{at, step};

fn judge(config: SequentialConfig, share: f64) -> SequentialJudge {
    let mut judge = SequentialJudge::new(config, 4, Timestamp::ZERO);
    judge.begin_step(Timestamp::ZERO, step(0, share, 0));
    judge
}

fn quick() -> SequentialConfig {
    SequentialConfig {
        slow: None,
        attempt_limit: Duration::ZERO,
        ..SequentialConfig::default()
    }
}

fn tell(judge: &mut SequentialJudge, now: f64, arm: Arm, units: u64, failed: u64) {
    judge.tally(at(now), arm, Batch { units, failed });
}

fn look(judge: &mut SequentialJudge, now: f64) -> Decision {
    judge.look(at(now), Occasion::Tick, &mut |_| ())
}

fn rollback(decision: Decision) -> SequentialEvidence {
    match decision {
        Decision::RollBack(evidence) => evidence,
        other => panic!("{other:?}"),
    }
}

#[test]
fn four_dead_requests_at_five_percent_close_the_canary() {
    let mut judge = judge(SequentialConfig::default(), 0.05);
    let mut fail = |n: u64| {
        judge.assigned(at(1.0), RequestId(n), None, Arm::Canary);
        judge.ended(at(1.1), RequestId(n), Outcome::Unauthorized, false);
        let occasion = judge.wants_look(at(1.1)).expect("an event is looked at");
        judge.look(at(1.1), occasion, &mut |_| ())
    };
    for n in 0..3 {
        assert_eq!(fail(n), Decision::Continue);
    }
    let evidence = rollback(fail(3));
    assert_eq!(evidence.metric, Metric::Error);
    assert_eq!((evidence.canary.events, evidence.stable.events), (4, 0));
    assert!(evidence.ln_e >= evidence.threshold && (evidence.threshold - 7.6).abs() < 0.01);
}

#[test]
fn stable_s_events_and_unknown_units_are_not_looked_at() {
    let mut judge = judge(SequentialConfig::default(), 0.05);
    judge.assigned(at(1.0), RequestId(1), None, Arm::Stable);
    judge.ended(at(1.0), RequestId(1), Outcome::ServerError, false);
    judge.ended(at(1.0), RequestId(2), Outcome::ServerError, false);
    assert_eq!(judge.wants_look(at(1.0)), None);
    assert_eq!(judge.wants_look(at(60.0)), Some(Occasion::Tick));
}

#[test]
fn an_attempt_is_slow_at_its_age_whatever_comes_later() {
    let mut judge = judge(SequentialConfig::default(), 0.05);
    for n in 0..6 {
        judge.assigned(at(1.0), RequestId(n), None, Arm::Canary);
    }
    judge.ended(at(1.5), RequestId(0), Outcome::Success, false);
    assert_eq!(judge.next_timeout(), Some(at(1.5)));
    judge.handle_timeout(at(1.5));
    let mut slow = 0;
    let decision = judge.look(at(1.5), Occasion::Tick, &mut |e| {
        if e.metric == Metric::Slow {
            slow = e.canary.events;
        }
    });
    assert_eq!(slow, 5, "the one that ended at the limit was in time");
    assert_eq!(rollback(decision).metric, Metric::Slow);
    for n in 1..6 {
        judge.ended(at(9.0), RequestId(n), Outcome::Success, false);
    }
    assert_eq!(
        judge.next_timeout(),
        Some(at(61.5)),
        "only the tick is left"
    );
}

#[test]
fn the_slo_needs_a_stable_that_is_proven_good() {
    let slo_only = |judge: &mut SequentialJudge| {
        // A difference that counts for nothing leaves the SLO to decide.
        tell(judge, 1.0, Arm::Canary, 1_000, 400);
        look(judge, 1.0)
    };
    let config = SequentialConfig {
        material: graygate::router::judge::sequential::Material {
            min_events: 1_000_000,
            ..Default::default()
        },
        ..quick()
    };
    let mut unsure = judge(config.clone(), 0.5);
    tell(&mut unsure, 1.0, Arm::Stable, 1_000, 40);
    assert_eq!(
        slo_only(&mut unsure),
        Decision::Hold(HoldReason::Immaterial),
        "4 % may be 5 %"
    );
    let mut with_good_stable = judge(config.clone(), 0.5);
    tell(&mut with_good_stable, 1.0, Arm::Stable, 1_000, 5);
    let evidence = rollback(slo_only(&mut with_good_stable));
    assert_eq!(
        (evidence.metric, evidence.test),
        (Metric::ErrorSlo, Test::Slo)
    );
    let mut outage = judge(config, 0.5);
    tell(&mut outage, 1.0, Arm::Stable, 1_000, 400);
    assert_eq!(
        slo_only(&mut outage),
        Decision::Hold(HoldReason::SharedOutage)
    );
}

#[test]
fn a_late_driver_changes_nothing() {
    let mut judge = judge(SequentialConfig::default(), 0.05);
    for n in 0..5 {
        judge.assigned(at(1.0), RequestId(n), None, Arm::Canary);
    }
    for n in 0..5 {
        judge.ended(at(9.0), RequestId(n), Outcome::Success, false);
    }
    let decision = judge.look(at(9.0), Occasion::Failure, &mut |_| ());
    assert_eq!(rollback(decision).metric, Metric::Slow);
}

/// What stable has in flight may fail yet, what the canary has may not: neither is held against it.
#[test]
fn what_is_in_flight_proves_nothing() {
    let config = SequentialConfig {
        material: graygate::router::judge::sequential::Material {
            min_events: 1_000_000,
            ..Default::default()
        },
        ..quick()
    };
    let mut judge = judge(config, 0.5);
    tell(&mut judge, 1.0, Arm::Stable, 1_000, 5);
    tell(&mut judge, 1.0, Arm::Canary, 1_000, 400);
    for n in 0..200 {
        judge.assigned(at(1.0), RequestId(n), None, Arm::Stable);
        judge.assigned(at(1.0), RequestId(1_000 + n), None, Arm::Canary);
    }
    let decision = look(&mut judge, 1.0);
    assert_eq!(decision, Decision::Hold(HoldReason::Immaterial));
    for n in 0..200 {
        judge.ended(at(1.0), RequestId(n), Outcome::Success, false);
    }
    assert_eq!(judge.wants_look(at(1.0)), Some(Occasion::Failure));
    rollback(judge.look(at(1.0), Occasion::Failure, &mut |_| ()));
}

#[test]
fn without_a_control_the_frozen_baseline_speaks() {
    let mut judge = judge(quick(), 0.5);
    tell(&mut judge, 1.0, Arm::Stable, 3_000, 3);
    tell(&mut judge, 1.0, Arm::Canary, 3_000, 3);
    assert_eq!(look(&mut judge, 60.0), Decision::Continue);
    judge.begin_step(at(60.0), step(1, 1.0, 0));
    tell(&mut judge, 61.0, Arm::Canary, 3_000, 3);
    assert_eq!(judge.promotion(at(61.0)), Promotion::Yes);
    tell(&mut judge, 62.0, Arm::Canary, 3_000, 900);
    let evidence = rollback(look(&mut judge, 62.0));
    assert!(evidence.frozen_baseline);
    assert_eq!(evidence.stable.units, 3_000);
    assert_ne!(judge.promotion(at(62.0)), Promotion::Yes);
}

#[test]
fn a_broken_split_blocks_promotion_but_not_rollback() {
    let mut judge = judge(quick(), 0.05);
    tell(&mut judge, 1.0, Arm::Canary, 500, 0);
    tell(&mut judge, 1.0, Arm::Stable, 4_500, 0);
    assert_eq!(
        look(&mut judge, 1.0),
        Decision::Hold(HoldReason::BrokenSplit)
    );
    let no = judge.promotion(at(1.0));
    assert_eq!(
        no,
        Promotion::No(vec![Refusal::Held(HoldReason::BrokenSplit)])
    );
    // With the share that it really has, ten failures of 50 are what is to be expected …
    tell(&mut judge, 2.0, Arm::Canary, 10, 10);
    tell(&mut judge, 2.0, Arm::Stable, 90, 80);
    assert!(matches!(look(&mut judge, 2.0), Decision::Hold(_)));
    // … and a dead canary is still found.
    tell(&mut judge, 3.0, Arm::Canary, 40, 40);
    rollback(look(&mut judge, 3.0));
}

#[test]
fn silence_and_staleness_hold() {
    let mut judge = judge(quick(), 0.05);
    tell(&mut judge, 1.0, Arm::Canary, 500, 0);
    tell(&mut judge, 1.0, Arm::Stable, 9_500, 0);
    assert_eq!(look(&mut judge, 60.0), Decision::Continue);
    assert_eq!(judge.promotion(at(60.0)), Promotion::Yes);
    assert_eq!(look(&mut judge, 120.0), Decision::Continue);
    assert_eq!(look(&mut judge, 180.0), Decision::Hold(HoldReason::NoData));
    assert_ne!(judge.promotion(at(180.0)), Promotion::Yes);
    assert_ne!(judge.promotion(at(400.0)), Promotion::Yes, "nobody looked");
}

#[test]
fn a_leaping_clock_neither_promotes_nor_rolls_back() {
    let config = SequentialConfig {
        attempt_limit: Duration::ZERO,
        ..SequentialConfig::default()
    };
    let mut judge = SequentialJudge::new(config, 4, Timestamp::ZERO);
    judge.begin_step(at(0.0), step(0, 0.05, 3_600));
    tell(&mut judge, 1.0, Arm::Canary, 500, 0);
    tell(&mut judge, 1.0, Arm::Stable, 9_500, 0);
    for n in 0..20 {
        judge.assigned(at(2.0), RequestId(n), None, Arm::Canary);
    }
    judge.handle_timeout(at(7_200.0));
    let decision = look(&mut judge, 7_200.0);
    assert_eq!(
        decision,
        Decision::Hold(HoldReason::Stale),
        "twenty seem slow, and are not"
    );
    for n in 0..20 {
        judge.ended(at(7_200.0), RequestId(n), Outcome::Timeout, false);
    }
    assert!(matches!(look(&mut judge, 7_201.0), Decision::Hold(_)));
    let Promotion::No(why) = judge.promotion(at(7_300.0)) else {
        panic!("promoted after a leap");
    };
    assert!(
        why.iter().any(|r| matches!(r, Refusal::HoldNotOver { .. })),
        "the leap was no hold: {why:?}"
    );
    assert!(
        matches!(look(&mut judge, 1.0), Decision::Hold(_)),
        "time never goes back"
    );
}

#[test]
fn a_weight_that_is_no_number_decides_nothing() {
    for share in [f64::NAN, f64::INFINITY, -0.5, 0.0] {
        let mut judge = judge(quick(), share);
        tell(&mut judge, 1.0, Arm::Canary, 1_000, 1_000);
        tell(&mut judge, 1.0, Arm::Stable, 9_000, 0);
        assert!(
            !matches!(look(&mut judge, 1.0), Decision::RollBack(_)),
            "{share}"
        );
        assert_ne!(judge.promotion(at(1.0)), Promotion::Yes, "{share}");
    }
    let config = SequentialConfig {
        alpha: f64::NAN,
        alpha_promotion: f64::NAN,
        slo_error_rate: f64::NAN,
        ..quick()
    };
    let mut judge = judge(config, 0.05);
    tell(&mut judge, 1.0, Arm::Canary, 1_000, 1_000);
    tell(&mut judge, 1.0, Arm::Stable, 19_000, 0);
    assert!(!matches!(look(&mut judge, 1.0), Decision::RollBack(_)));
    assert_ne!(judge.promotion(at(1.0)), Promotion::Yes);
}

#[test]
fn no_data_says_nothing() {
    let mut judge = SequentialJudge::new(quick(), 0, Timestamp::ZERO);
    tell(&mut judge, 1.0, Arm::Canary, 10, 10);
    assert_eq!(look(&mut judge, 1.0), Decision::Continue);
    assert_eq!(
        judge.promotion(at(1.0)),
        Promotion::No(vec![Refusal::NoStep])
    );
    judge.begin_step(at(2.0), step(0, 0.05, 0));
    assert_eq!(look(&mut judge, 2.0), Decision::Continue);
    assert_ne!(judge.promotion(at(2.0)), Promotion::Yes);
}

#[test]
fn callers_without_end_hold() {
    let config = SequentialConfig {
        max_callers: 50,
        ..quick()
    };
    let mut judge = judge(config, 0.5);
    for n in 0..200 {
        let arm = if n % 2 == 0 { Arm::Canary } else { Arm::Stable };
        judge.assigned(at(1.0), RequestId(n), Some(n), arm);
        judge.ended(at(1.0), RequestId(n), Outcome::ServerError, false);
    }
    let held = [HoldReason::Overflow, HoldReason::SharedOutage];
    assert!(matches!(look(&mut judge, 1.0), Decision::Hold(reason) if held.contains(&reason)));
    let Promotion::No(_) = judge.promotion(at(1.0)) else {
        panic!("promoted");
    };
}

#[test]
fn weights_without_end_hold_and_take_no_memory() {
    let mut judge = judge(quick(), 0.5);
    for n in 0..10_000 {
        judge.begin_step(at(1.0), step(0, 0.1 + 1e-5 * f64::from(n), 0));
        tell(&mut judge, 1.0, Arm::Canary, 1, 0);
    }
    let decision = look(&mut judge, 1.0);
    assert!(matches!(decision, Decision::Hold(_)), "{decision:?}");
    assert!(judge.bytes() < 500_000, "{}", judge.bytes());
}

#[test]
fn memory_follows_what_is_in_flight() {
    let mut judge = judge(SequentialConfig::default(), 0.05);
    for n in 0..200_000_u64 {
        let now = at(n as f64 * 0.001);
        while let Some(due) = judge.next_timeout().filter(|due| *due <= now) {
            judge.handle_timeout(due);
            look(&mut judge, due.as_secs_f64());
        }
        judge.assigned(now, RequestId(n), None, Arm::Stable);
        if n >= 10 {
            judge.ended(now, RequestId(n - 10), Outcome::Success, false);
        }
    }
    assert!(judge.bytes() < 50_000, "{}", judge.bytes());
}

#[test]
fn evidence_is_told_on_ticks_and_when_it_changes() {
    let mut judge = judge(quick(), 0.05);
    let mut told = Vec::new();
    tell(&mut judge, 1.0, Arm::Canary, 10, 1);
    judge.look(at(1.0), Occasion::Failure, &mut |e| told.push(e.metric));
    assert_eq!(
        told,
        [Metric::Error, Metric::ErrorSlo],
        "now there is a finding"
    );
    judge.look(at(2.0), Occasion::Failure, &mut |e| told.push(e.metric));
    assert_eq!(told.len(), 2, "nothing changed");
    judge.look(at(60.0), Occasion::Tick, &mut |e| told.push(e.metric));
    assert_eq!(told.len(), 10, "all but the metric that is off");
}
