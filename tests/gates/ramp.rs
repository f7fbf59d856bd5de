//! `ramp` and `promotion`: when they pass, fail and cannot tell, check by check.

use std::time::Duration;

use graygate::observe::event::{Missing, StandingFacts, What};
use graygate::protocol::outcome::Outcome;
use graygate::time::Timestamp;
use graygate::traffic::caller::Intent;
use graygate::verdict::result::{GateResult, Status};
use graygate::verdict::spec::{GateSpec, RampSpec, StepSpec};

use crate::play::{CANARY, Play, STABLE, to};

const STEPS: [(&str, f64); 3] = [("initial", 0.05), ("minority", 0.2), ("full", 1.0)];

/// Three steps, the first two of a minute each; all must be reached.
fn spec() -> RampSpec {
    let step = |(name, share): (&str, f64)| StepSpec {
        name: name.to_owned(),
        share,
        hold: Duration::from_secs(if share < 1.0 { 60 } else { 0 }),
    };
    RampSpec {
        name: "promotion",
        steps: STEPS.into_iter().map(step).collect(),
        reaches: 2,
        stays: false,
        within: None,
        tolerance: Duration::ZERO,
    }
}

fn play(spec: RampSpec) -> Play {
    Play::new(&[GateSpec::Ramp(spec)])
}

/// The router says that a step began; by its position.
fn begin(play: &mut Play, second: f64, step: usize) {
    let (name, share) = STEPS[step];
    stand(play, second, Some(name), share);
}

pub(crate) fn stand(play: &mut Play, second: f64, step: Option<&str>, share: f64) {
    let standing = StandingFacts {
        revision: 1,
        phase: "progressing",
        step: step.map(str::to_owned),
        share,
        cause: "judged",
        closed: Vec::new(),
    };
    let at = Timestamp::from_secs_f64(second);
    play.event(at, What::Standing(standing));
}

/// Requests at a tenth of a second, every `nth` of which meets the canary.
fn traffic(play: &mut Play, (from, until): (u32, u32), nth: u32) {
    for i in from * 10..until * 10 {
        let version = match i % nth {
            0 => CANARY,
            _ => STABLE,
        };
        let second = f64::from(i) / 10.0 + 0.01;
        play.request(second, &[to(version, Outcome::Success)]);
    }
}

fn check(gate: &GateResult, about: &str) -> Status {
    let found = gate.checks.iter().find(|c| c.condition.contains(about));
    found
        .unwrap_or_else(|| panic!("no check {about}: {gate:#?}"))
        .status
}

/// The whole ramp as it should be.
fn good(play: &mut Play) {
    traffic(play, (0, 60), 20);
    begin(play, 60.0, 1);
    traffic(play, (60, 120), 5);
    begin(play, 120.0, 2);
    traffic(play, (120, 180), 1);
}

#[test]
fn a_ramp_that_goes_step_by_step_passes() {
    let mut play = play(spec());
    good(&mut play);
    let gate = play.gate();
    assert_eq!(gate.name, "promotion");
    assert_eq!(gate.status, Status::Pass, "{gate:#?}");
    assert_eq!(
        gate.checks.len(),
        3 + 3,
        "reached, order, holds, three weights"
    );
}

/// A step that no other one follows, though there was time for it.
#[test]
fn a_ramp_that_must_stay_stays() {
    let stays = |length: u32, steps: &[(f64, usize)]| {
        let mut play = play(RampSpec {
            reaches: 1,
            stays: true,
            ..spec()
        });
        for (second, step) in steps {
            begin(&mut play, *second, *step);
        }
        traffic(&mut play, (length - 10, length), 5);
        check(&play.gate(), "stays at minority")
    };
    assert_eq!(stays(130, &[(60.0, 1)]), Status::Pass);
    assert_eq!(stays(110, &[(60.0, 1)]), Status::Inconclusive);
    assert_eq!(stays(130, &[(60.0, 1), (120.0, 2)]), Status::Fail);
    assert_eq!(
        stays(110, &[(60.0, 1), (90.0, 2)]),
        Status::Fail,
        "too early"
    );
    assert_eq!(stays(130, &[]), Status::Fail, "never came so far");
    // Whoever goes on and comes back has gone on.
    assert_eq!(
        stays(190, &[(60.0, 1), (90.0, 2), (120.0, 1)]),
        Status::Fail
    );
}

#[test]
fn a_weight_is_an_estimate_with_its_interval() {
    let mut play = play(spec());
    good(&mut play);
    let gate = play.gate();
    let weight = gate
        .checks
        .iter()
        .find(|c| c.condition == "initial has 5 %");
    let evidence = &weight.expect("a check").evidence;
    // 30 of 600; the scenario's 1e-4 is shared by one gate's three steps.
    assert_eq!((evidence.estimate, evidence.n), (Some(0.05), 600));
    assert_eq!(evidence.method, "exact binomial");
    assert!((evidence.confidence.unwrap() - (1.0 - 1e-4 / 3.0)).abs() < 1e-12);
    // scipy 1.17.1, t = 1e-4 / 6: st.beta.ppf(t, 30, 571), st.beta.ppf(1 - t, 31, 570)
    let [low, high] = evidence.interval.expect("limits");
    assert!((low - 0.020989680351358307).abs() < 1e-10, "{low}");
    assert!((high - 0.0970239549847317).abs() < 1e-10, "{high}");
}

#[test]
fn the_wanted_step_must_come_in_its_time() {
    let reached = |within: Option<u64>, step: usize| {
        let mut play = play(RampSpec {
            within: within.map(Duration::from_secs),
            reaches: step,
            ..spec()
        });
        good(&mut play);
        check(&play.gate(), "reaches")
    };
    assert_eq!(reached(None, 2), Status::Pass);
    assert_eq!(reached(Some(120), 2), Status::Pass);
    assert_eq!(reached(Some(119), 2), Status::Fail);
    assert_eq!(reached(Some(60), 1), Status::Pass);
    assert_eq!(reached(Some(59), 1), Status::Fail);
}

#[test]
fn a_run_that_was_too_short_cannot_tell() {
    let came_to = |seconds: u32| {
        let mut play = play(spec());
        traffic(&mut play, (0, 60), 20);
        begin(&mut play, 60.0, 1);
        let missing = Missing {
            code: "too_few_requests",
            words: "12 of 271".to_owned(),
            have: Some(12.0),
            need: Some(271.0),
            unit: Some("requests"),
        };
        play.event(
            Timestamp::from_secs_f64(90.0),
            What::NotPromoted(vec![missing]),
        );
        traffic(&mut play, (60, seconds), 5);
        play.gate()
    };
    for gate in [came_to(100), came_to(121)] {
        let seen = &gate.checks[0].seen;
        assert!(seen.ends_with("the step still lacked: 12 of 271"), "{seen}");
    }
    let short = came_to(100);
    assert_eq!(check(&short, "reaches full"), Status::Inconclusive);
    assert_eq!(short.status, Status::Inconclusive, "nothing else is wrong");
    // The last came at 99.91 s, and 120 s are planned: ten a second for the rest.
    assert_eq!(short.checks[0].more_requests, Some(201));
    assert_eq!(check(&came_to(121), "reaches full"), Status::Fail);
}

#[test]
fn a_rollback_before_the_wanted_step_fails_it() {
    let mut play = play(spec());
    traffic(&mut play, (0, 30), 20);
    play.roll_back(30.0);
    assert_eq!(check(&play.gate(), "reaches full"), Status::Fail);
}

#[test]
fn no_step_may_be_left_out_or_taken_back() {
    let order = |steps: &[usize]| {
        let mut play = play(spec());
        for (i, step) in (1..).zip(steps) {
            begin(&mut play, f64::from(i) * 70.0, *step);
        }
        traffic(&mut play, (300, 301), 20);
        check(&play.gate(), "no step is left out")
    };
    assert_eq!(order(&[1, 2]), Status::Pass);
    assert_eq!(order(&[1, 1, 2]), Status::Pass, "the same one told twice");
    assert_eq!(order(&[2]), Status::Fail);
    assert_eq!(order(&[1, 0]), Status::Fail);
}

#[test]
fn each_step_is_held_for_its_time() {
    let held = |second: f64, tolerance: u64| {
        let mut play = play(RampSpec {
            tolerance: Duration::from_millis(tolerance),
            ..spec()
        });
        begin(&mut play, second, 1);
        traffic(&mut play, (70, 71), 5);
        check(&play.gate(), "held as long as it must")
    };
    assert_eq!(held(60.0, 0), Status::Pass);
    assert_eq!(held(59.9, 0), Status::Fail);
    assert_eq!(held(59.9, 100), Status::Pass);
}

/// By what the upstreams saw, whatever the router says.
#[test]
fn the_canary_gets_the_weight_of_the_step() {
    let weight = |nth: u32| {
        let mut play = play(spec());
        traffic(&mut play, (0, 60), nth);
        play.gate()
    };
    assert_eq!(check(&weight(20), "initial has 5 %"), Status::Pass);
    assert_eq!(check(&weight(5), "initial has 5 %"), Status::Fail);
    assert_eq!(check(&weight(1_000), "initial has 5 %"), Status::Fail);
}

#[test]
fn those_whom_a_rule_pins_say_nothing_of_a_weight_and_sticky_callers_count_once() {
    let mut pinned = play(spec());
    pinned.intent = Intent::Pinned(CANARY);
    traffic(&mut pinned, (0, 60), 1);
    pinned.intent = Intent::Random;
    traffic(&mut pinned, (60, 120), 20);
    assert_eq!(check(&pinned.gate(), "initial has 5 %"), Status::Pass);
    let mut sticky = play(spec());
    sticky.intent = Intent::Sticky(1);
    traffic(&mut sticky, (0, 60), 1);
    assert_eq!(
        check(&sticky.gate(), "initial has 5 %"),
        Status::Inconclusive,
        "one of one fits every weight"
    );
}

/// Nobody came while it was in force: whether it was given, nobody saw.
#[test]
fn a_step_that_nobody_met_is_not_shown() {
    let mut play = play(spec());
    traffic(&mut play, (0, 60), 20);
    begin(&mut play, 60.0, 1);
    let gate = play.gate();
    assert_eq!(check(&gate, "initial has 5 %"), Status::Pass);
    assert_eq!(gate.status, Status::Inconclusive);
}

/// It was not asked for, and the run may end as it begins. What is wrong beyond doubt is wrong all the same.
#[test]
fn a_step_beyond_the_wanted_one_need_not_be_shown() {
    let beyond = |requests: u32, nth: u32| {
        let mut play = play(RampSpec {
            reaches: 1,
            ..spec()
        });
        traffic(&mut play, (0, 60), 20);
        begin(&mut play, 60.0, 1);
        traffic(&mut play, (60, 120), 5);
        begin(&mut play, 120.0, 2);
        traffic(&mut play, (120, 120 + requests), nth);
        play.gate()
    };
    assert_eq!(beyond(0, 1).status, Status::Pass);
    let lasting = beyond(60, 1);
    assert_eq!(check(&lasting, "full has 100 %"), Status::Pass);
    assert_eq!(check(&beyond(1, 2), "full has 100 %"), Status::Fail);
}

#[test]
fn nothing_rises_after_a_rollback() {
    let after = |share: f64| {
        let mut play = play(RampSpec {
            reaches: 0,
            stays: false,
            ..spec()
        });
        traffic(&mut play, (0, 60), 20);
        play.roll_back(60.0);
        stand(&mut play, 60.0, Some("initial"), 0.0);
        stand(&mut play, 61.0, Some("initial"), share);
        traffic(&mut play, (62, 63), 1_000);
        check(&play.gate(), "a rollback is final")
    };
    assert_eq!(after(0.0), Status::Pass);
    assert_eq!(after(0.05), Status::Fail);
}
