//! `split`: the equivalence test, at its edges and over many seeds.

use std::time::Duration;

use graygate::id::{RequestKey, Seed, VersionId};
use graygate::protocol::outcome::Outcome;
use graygate::rng::{Purpose, draw};
use graygate::stats::proportion::{binomial_two_sided, clopper_pearson, samples_for_split};
use graygate::time::Timestamp;
use graygate::traffic::caller::Intent;
use graygate::verdict::evaluate::FLAKE;
use graygate::verdict::gates::split::judge;
use graygate::verdict::result::{GateResult, Status};
use graygate::verdict::spec::{GateSpec, Scope, SplitSpec};

use crate::play::{CANARY, Play, STABLE, to};
use crate::ramp::stand;

fn spec(share: f64, tolerance: f64) -> SplitSpec {
    SplitSpec {
        version: CANARY,
        share,
        tolerance,
        confidence: 0.999,
        scope: Scope::default(),
        from_the_start: true,
        of_canary: true,
    }
}

fn play(spec: &SplitSpec) -> Play {
    Play::new(&[GateSpec::Split(spec.clone())])
}

/// `x` of `n` requests go to the canary.
fn judged(spec: &SplitSpec, x: u64, n: u64) -> GateResult {
    let mut play = play(spec);
    for i in 0..n {
        let version = if i < x { CANARY } else { STABLE };
        play.request(i as f64 * 1e-3, &[to(version, Outcome::Success)]);
    }
    play.gate()
}

/// What it rests on is stated; scipy 1.17.1: st.beta.ppf(1 - .999, 555, 5370), st.beta.ppf(.999, 556, 5369)
#[test]
fn it_states_estimate_limits_and_confidence() {
    let evidence = &judged(&spec(0.1, 0.03), 555, 5_924).checks[0].evidence;
    assert_eq!(evidence.estimate, Some(555.0 / 5_924.0));
    assert_eq!((evidence.n, evidence.confidence), (5_924, Some(0.999)));
    let [low, high] = evidence.interval.unwrap();
    assert!((low - 0.082_367_223_311_666_17).abs() < 1e-10, "{low}");
    assert!((high - 0.105_933_975_468_665_41).abs() < 1e-10, "{high}");
}

#[test]
fn it_passes_exactly_while_both_limits_are_inside_the_band() {
    let spec = spec(0.1, 0.03);
    let n = 4_000;
    let inside = |x| {
        let limits = clopper_pearson(x, n, 0.999).unwrap();
        limits.low >= 0.07 && limits.high <= 0.13
    };
    let passing: Vec<u64> = (250..550).filter(|x| inside(*x)).collect();
    let (first, last) = (passing[0], passing[passing.len() - 1]);
    for (x, passes) in [
        (first - 1, false),
        (first, true),
        (last, true),
        (last + 1, false),
    ] {
        let status = judged(&spec, x, n).status;
        assert_eq!(status == Status::Pass, passes, "{x} of {n}: {status:?}");
    }
}

#[test]
fn it_fails_only_beyond_its_error_budget() {
    let spec = spec(0.1, 0.03);
    let n = 1_000;
    let p = |x| binomial_two_sided(x, n, 0.1);
    let edge = (100..200).find(|x| p(*x) < FLAKE).unwrap();
    assert_eq!(judged(&spec, edge, n).status, Status::Fail);
    assert_eq!(judged(&spec, edge - 1, n).status, Status::Inconclusive);
}

#[test]
fn too_few_requests_are_inconclusive_and_say_how_many_are_missing() {
    let spec = spec(0.1, 0.03);
    let result = judged(&spec, 10, 100);
    assert_eq!(result.status, Status::Inconclusive);
    let needed = samples_for_split(0.1, 0.03, 0.999, FLAKE);
    assert_eq!(result.checks[0].more_requests, Some(needed - 100));
}

#[test]
fn nothing_at_the_canary_never_passes() {
    // Tolerance wider than the share itself: the limits alone would let nothing pass for 1 %.
    let wide = spec(0.01, 0.03);
    assert_ne!(judged(&wide, 0, 300).status, Status::Pass);
    assert_eq!(judged(&wide, 0, 5_000).status, Status::Fail);
    assert_eq!(
        play(&wide).status(),
        Status::Inconclusive,
        "no request at all"
    );
}

#[test]
fn a_bias_inside_the_band_passes_with_a_remark() {
    let result = judged(&spec(0.1, 0.05), 1_150, 10_000);
    assert_eq!(result.status, Status::Pass);
    assert!(result.warnings[0].contains("biased but within tolerance"));
}

#[test]
fn pinned_and_forced_requests_and_those_after_a_rollback_do_not_count() {
    let spec = spec(0.5, 0.1);
    let mut play = play(&spec);
    for named in [Intent::Pinned(CANARY), Intent::Forced(CANARY)] {
        play.intent = named;
        play.requests(500, (0.0, 1.0), &[to(CANARY, Outcome::Success)]);
    }
    play.intent = Intent::Random;
    play.requests(40, (1.0, 2.0), &[to(CANARY, Outcome::Success)]);
    play.requests(60, (2.0, 3.0), &[to(STABLE, Outcome::Success)]);
    play.roll_back(3.0);
    play.requests(500, (3.1, 4.0), &[to(STABLE, Outcome::Success)]);
    assert_eq!(play.gate().checks[0].evidence.n, 100);
}

#[test]
fn a_sticky_caller_counts_once() {
    let mut play = play(&spec(0.5, 0.1));
    for i in 0..50 {
        play.intent = Intent::Sticky(i % 10);
        let version = if i % 10 < 5 { CANARY } else { STABLE };
        play.request(f64::from(i), &[to(version, Outcome::Success)]);
    }
    assert_eq!(play.gate().checks[0].evidence.n, 10);
}

/// A caller who is seen on two versions is a failure, whatever the share.
#[test]
fn a_sticky_caller_stays() {
    let visits = |versions: [VersionId; 3]| {
        let mut play = play(&spec(0.5, 0.1));
        play.intent = Intent::Sticky(7);
        for (i, version) in (0..3).zip(versions) {
            play.request(f64::from(i), &[to(version, Outcome::Success)]);
        }
        let gate = play.gate();
        (gate.checks[1].status, gate.checks[1].offenders.len())
    };
    assert_eq!(visits([CANARY; 3]), (Status::Pass, 0));
    assert_eq!(visits([CANARY, STABLE, CANARY]), (Status::Fail, 1));
}

/// What was sent under the step before, and arrives under this one, says nothing of this one: callers
/// move to the canary when its share grows.
#[test]
fn what_was_sent_under_other_weights_does_not_count() {
    let at_half = SplitSpec {
        from_the_start: false,
        ..spec(0.5, 0.1)
    };
    let mut play = play(&at_half);
    stand(&mut play, 0.0, Some("minority"), 0.2);
    stand(&mut play, 10.0, Some("majority"), 0.5);
    play.intent = Intent::Sticky(7);
    play.delay = Duration::from_millis(100);
    play.request(9.95, &[to(STABLE, Outcome::Success)]);
    // Whatever else the router says of the same weight.
    stand(&mut play, 12.0, Some("majority"), 0.5);
    play.request(11.0, &[to(CANARY, Outcome::Success)]);
    play.request(13.0, &[to(CANARY, Outcome::Success)]);
    let gate = play.gate();
    assert_eq!(gate.checks[0].evidence.n, 1);
    assert_eq!(gate.checks[1].status, Status::Pass, "{gate:#?}");
}

#[test]
fn only_the_first_attempt_and_only_its_time_count() {
    let mut scoped = spec(0.5, 0.1);
    scoped.scope = Scope {
        from: Timestamp::from_secs_f64(10.0),
        to: Some(Timestamp::from_secs_f64(20.0)),
    };
    let mut play = play(&scoped);
    let fallback = [
        to(CANARY, Outcome::ServerError),
        to(STABLE, Outcome::Success),
    ];
    play.requests(7, (0.0, 10.0), &fallback);
    play.requests(5, (10.0, 20.0), &fallback);
    play.requests(9, (20.0, 30.0), &fallback);
    let evidence = play.gate().checks.remove(0).evidence;
    assert_eq!((evidence.n, evidence.estimate), (5, Some(1.0)));
}

/// 10,000 published seeds (0 to 9,999), n = 6,300 at 10 % ± 3 pp: a fair split is never red, and is
/// hardly ever inconclusive; a split that sends half of what it should is never green.
#[test]
fn its_errors_are_as_rare_as_they_must_be() {
    let spec = spec(0.1, 0.03);
    let n = 6_300;
    let drawn = |seed: u64, share: f64| {
        let hit = |key| {
            let drawn = draw(Seed(seed), Purpose::Split, RequestKey(key), VersionId(0), 0);
            drawn.unit() < share
        };
        (0..n).filter(|k| hit(*k)).count() as u64
    };
    let status = |x| judge(&spec, (x, n), FLAKE).0;
    let (mut red, mut unclear, mut missed) = (0, 0, 0);
    for seed in 0..10_000 {
        match status(drawn(seed, 0.1)) {
            Status::Pass => {}
            Status::Fail => red += 1,
            Status::Inconclusive | Status::Invalid => unclear += 1,
        }
        if seed < 3_000 {
            missed += u32::from(status(drawn(seed, 0.05)) == Status::Pass);
        }
    }
    assert!(red <= 4, "{red} of 10,000 fair splits are red");
    assert!(
        unclear <= 4,
        "{unclear} of 10,000 fair splits are inconclusive"
    );
    assert_eq!(missed, 0, "of 3,000 halved splits");
}
