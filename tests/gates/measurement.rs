//! The gates that every run has: was there anything to judge, and can the measurement be trusted?

use std::time::Duration;

use graygate::id::RequestKey;
use graygate::observe::event::{Accepted, What};
use graygate::protocol::outcome::Outcome;
use graygate::stats::compare::Op;
use graygate::time::Timestamp;
use graygate::verdict::result::{Status, Verdict};
use graygate::verdict::spec::{GateSpec, RequestsSpec};

use crate::play::{CANARY, Play, STABLE, percent, to};

fn all_succeed() -> [GateSpec; 1] {
    [GateSpec::Requests(RequestsSpec {
        success: Some(percent(Op::Equal, "100%")),
        min_n: 1,
        ..RequestsSpec::default()
    })]
}

fn gate(verdict: &Verdict, name: &str) -> Status {
    verdict
        .gates
        .iter()
        .find(|g| g.name == name)
        .expect(name)
        .status
}

/// A run that is good in every respect, with as many requests at both versions.
fn good() -> Play {
    let mut play = Play::new(&all_succeed());
    play.requests(500, (0.0, 5.0), &[to(STABLE, Outcome::Success)]);
    play.requests(500, (0.0, 5.0), &[to(CANARY, Outcome::Success)]);
    play
}

#[test]
fn a_good_run_passes() {
    let verdict = good().verdict();
    assert_eq!(verdict.status, Status::Pass, "{verdict:#?}");
    let names: Vec<&str> = verdict.gates.iter().map(|g| g.name.as_str()).collect();
    assert_eq!(names, ["requests", "generator", "join", "sample"]);
}

#[test]
fn nothing_sent_or_nothing_at_the_canary_never_passes() {
    assert_eq!(
        Play::new(&all_succeed()).verdict().status,
        Status::Inconclusive
    );
    let mut stable_only = Play::new(&all_succeed());
    stable_only.requests(500, (0.0, 5.0), &[to(STABLE, Outcome::Success)]);
    let verdict = stable_only.verdict();
    assert_eq!(gate(&verdict, "requests"), Status::Pass);
    assert_eq!(gate(&verdict, "sample"), Status::Inconclusive);
    assert_eq!(verdict.status, Status::Inconclusive);
}

#[test]
fn a_late_generator_makes_everything_invalid_even_a_failure() {
    let mut late = good();
    late.request(5.0, &[to(STABLE, Outcome::ServerError)]);
    late.delay = Duration::from_millis(20);
    late.requests(50, (5.0, 6.0), &[to(STABLE, Outcome::Success)]);
    let verdict = late.verdict();
    assert_eq!(verdict.status, Status::Invalid);
    assert!(verdict.gates.iter().all(|g| g.status == Status::Invalid));
}

#[test]
fn one_late_request_in_a_hundred_is_tolerated() {
    let mut play = good();
    play.delay = Duration::from_millis(20);
    play.requests(10, (4.0, 4.5), &[to(STABLE, Outcome::Success)]);
    assert_eq!(gate(&play.verdict(), "generator"), Status::Pass);
}

#[test]
fn a_rate_that_was_missed_is_invalid() {
    let mut play = good();
    // The last request leaves 60 ms late: the whole took 1.2 % longer than planned.
    play.delay = Duration::from_millis(60);
    play.request(5.0, &[to(STABLE, Outcome::Success)]);
    assert_eq!(gate(&play.verdict(), "generator"), Status::Invalid);
}

fn ledger_row(key: Option<u64>) -> What {
    What::Accepted(Accepted {
        row: 0,
        key: key.map(RequestKey),
        version: CANARY,
        ordinal: 7,
        n: None,
        fault: None,
        altered: None,
    })
}

#[test]
fn rows_that_cannot_be_told_apart_weaken_what_counts_them() {
    let at = Timestamp::from_secs_f64(5.0);
    let mut few = good();
    few.event(at, ledger_row(None));
    assert_eq!(few.verdict().status, Status::Pass, "1 of 1,001");
    let mut many = Play::new(&[
        GateSpec::NoRollback { min_n: 1 },
        GateSpec::Attribution { min_n: 1 },
    ]);
    many.requests(500, (0.0, 5.0), &[to(CANARY, Outcome::Success)]);
    for _ in 0..2 {
        many.event(at, ledger_row(None));
    }
    let verdict = many.verdict();
    assert_eq!(gate(&verdict, "join"), Status::Inconclusive);
    assert_eq!(gate(&verdict, "attribution"), Status::Inconclusive);
    // Rows of requests that nobody sent are as bad.
    let mut orphans = good();
    for key in 90_000..90_003 {
        orphans.event(at, ledger_row(Some(key)));
    }
    assert_eq!(gate(&orphans.verdict(), "join"), Status::Inconclusive);
}

#[test]
fn answers_that_no_upstream_gave_break_the_measurement() {
    let mut play = good();
    for _ in 0..3 {
        // Answered with success, without any attempt in any ledger.
        play.request_out_of_thin_air(5.0);
    }
    let verdict = play.verdict();
    assert_eq!(gate(&verdict, "join"), Status::Invalid);
    assert_eq!(verdict.status, Status::Invalid);
}

#[test]
fn requests_that_vanish_break_the_measurement() {
    let mut play = good();
    for _ in 0..3 {
        play.request_without_answer(5.0);
    }
    assert_eq!(gate(&play.verdict(), "join"), Status::Invalid);
}

#[test]
fn gates_of_one_name_are_told_apart() {
    let [one] = all_succeed();
    let mut play = Play::new(&[one.clone(), one]);
    play.request(0.0, &[to(CANARY, Outcome::Success)]);
    let names: Vec<String> = play.verdict().gates.into_iter().map(|g| g.name).collect();
    assert_eq!(names[..2], ["requests#1", "requests#2"]);
}
