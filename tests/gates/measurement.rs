//! The gates that every run has: was there anything to judge, and can the measurement be trusted?

use std::time::Duration;

use graygate::id::{RequestKey, VersionId};
use graygate::observe::event::{Accepted, What};
use graygate::observe::machine::{MachineFacts, Stall};
use graygate::observe::meta::FaultMeta;
use graygate::protocol::outcome::Outcome;
use graygate::stats::compare::Op;
use graygate::time::Timestamp;
use graygate::verdict::result::{Status, Verdict};
use graygate::verdict::spec::{GateSpec, NoRollbackSpec, RequestsSpec};

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

/// What failed for want of files is no failure of the router.
#[test]
fn a_machine_that_runs_out_of_files_makes_everything_invalid() {
    let failing = || {
        let mut play = good();
        play.requests(5, (5.0, 6.0), &[to(STABLE, Outcome::Connect)]);
        play
    };
    assert_eq!(failing().verdict().status, Status::Fail);
    let mut play = failing();
    play.event(Timestamp::from_secs_f64(7.0), What::OutOfFiles);
    let verdict = play.verdict();
    assert_eq!(gate(&verdict, "generator"), Status::Invalid);
    assert_eq!(verdict.status, Status::Invalid);
}

/// Times across a sleep of the machine are nobody's latency, and what failed in it is nobody's failure.
#[test]
fn a_clock_that_jumped_makes_everything_invalid() {
    let mut play = good();
    play.requests(5, (5.0, 6.0), &[to(STABLE, Outcome::Timeout)]);
    let by = Duration::from_secs(60);
    play.event(Timestamp::from_secs_f64(7.0), What::ClockJumped(by));
    let verdict = play.verdict();
    assert_eq!(gate(&verdict, "generator"), Status::Invalid);
    assert_eq!(verdict.status, Status::Invalid);
}

/// Everything was sent in time, and what was measured between is the machine's all the same.
#[test]
fn a_machine_that_stalled_makes_everything_invalid() {
    let played = |length| {
        let mut play = good();
        play.requests(5, (5.0, 6.0), &[to(STABLE, Outcome::Timeout)]);
        let until = Timestamp::from_secs_f64(6.0);
        let facts = MachineFacts {
            moments: 1_400,
            wake_delay_p99: Some(Duration::from_millis(2)),
            stall: Some(Stall { length, until }),
            ..MachineFacts::default()
        };
        play.event(Timestamp::from_secs_f64(7.0), What::Machine(facts));
        play.verdict()
    };
    assert_eq!(played(Duration::from_millis(40)).status, Status::Fail);
    let verdict = played(Duration::from_secs(1));
    assert_eq!(gate(&verdict, "generator"), Status::Invalid);
    assert_eq!(verdict.status, Status::Invalid);
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

/// What is in time for one request is no missed rate, however short the run.
#[test]
fn a_short_run_is_not_off_schedule_for_a_few_milliseconds() {
    let mut play = Play::new(&all_succeed());
    play.request(0.0, &[to(CANARY, Outcome::Success)]);
    play.delay = Duration::from_millis(9);
    play.request(0.1, &[to(CANARY, Outcome::Success)]);
    assert_eq!(gate(&play.verdict(), "generator"), Status::Pass);
}

fn ledger_row(key: Option<u64>) -> What {
    What::Accepted(Accepted {
        row: 0,
        key: key.map(RequestKey),
        version: CANARY,
        ordinal: 7,
        n: None,
        fault: None,
        retry_after: None,
        altered: None,
        is_told: None,
    })
}

#[test]
fn rows_that_cannot_be_told_apart_weaken_what_counts_them() {
    let at = Timestamp::from_secs_f64(5.0);
    let mut few = good();
    few.event(at, ledger_row(None));
    assert_eq!(few.verdict().status, Status::Pass, "1 of 1,001");
    let mut many = Play::new(&[
        GateSpec::NoRollback(NoRollbackSpec {
            min_n: 1,
            in_ledgers: false,
            share: 0.1,
        }),
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

/// One answer without any attempt in any ledger is a failure of the router, as long as no row of a
/// ledger could be its attempt.
#[test]
fn answers_that_no_upstream_gave_fail_and_those_that_cannot_be_told_are_invalid() {
    let mut play = good();
    play.request_out_of_thin_air(5.0);
    let verdict = play.verdict();
    assert_eq!(gate(&verdict, "join"), Status::Fail);
    assert_eq!(verdict.status, Status::Fail);
    let mut leaky = good();
    for key in 90_000..90_003 {
        leaky.request_out_of_thin_air(5.0);
        leaky.event(Timestamp::from_secs_f64(5.0), ledger_row(Some(key)));
    }
    assert_eq!(leaky.verdict().status, Status::Invalid);
}

/// 66 requests miss a canary of a tenth with probability 0.1 %, 227 a fault on three in ten of it.
#[test]
fn what_was_not_met_says_how_many_requests_it_takes() {
    let fault = FaultMeta {
        kind: "reset",
        on: vec![CANARY],
        from: Timestamp::ZERO,
        until: None,
        share: 0.3,
        keeps_out: false,
        only_delays: false,
    };
    let mut play = Play::with_faults(&all_succeed(), &[fault]);
    play.requests(5, (0.0, 1.0), &[to(STABLE, Outcome::Success)]);
    let verdict = play.verdict();
    let sample = verdict.gates.iter().find(|g| g.name == "sample").unwrap();
    let more: Vec<_> = sample.checks.iter().map(|c| c.more_requests).collect();
    assert_eq!(more, [None, Some(66), Some(227)]);
}

#[test]
fn a_fault_that_hit_nothing_shows_nothing() {
    let fault = |on| FaultMeta {
        kind: "reset",
        on,
        from: Timestamp::from_secs_f64(4.0),
        until: None,
        share: 0.3,
        keeps_out: false,
        only_delays: false,
    };
    let sample = |on: &[VersionId], hits: bool, closed_at: Option<f64>| {
        let mut play = Play::with_faults(&all_succeed(), &[fault(on.to_vec())]);
        play.fault = hits.then_some(0);
        play.requests(1, (0.0, 1.0), &[to(CANARY, Outcome::Success)]);
        if let Some(second) = closed_at {
            play.roll_back(second);
        }
        play.requests(9, (4.0, 5.0), &[to(STABLE, Outcome::Success)]);
        gate(&play.verdict(), "sample")
    };
    assert_eq!(sample(&[STABLE], true, None), Status::Pass);
    assert_eq!(sample(&[STABLE], false, None), Status::Inconclusive);
    // Nobody can meet a fault of a canary that is closed; of stable, everybody can.
    assert_eq!(sample(&[CANARY], false, Some(3.0)), Status::Pass);
    assert_eq!(sample(&[CANARY], false, Some(4.5)), Status::Inconclusive);
    assert_eq!(
        sample(&[STABLE, CANARY], false, Some(3.0)),
        Status::Inconclusive
    );
}

#[test]
fn a_request_that_vanishes_breaks_the_measurement() {
    let mut play = good();
    play.request_without_answer(5.0);
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
