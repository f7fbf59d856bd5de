//! `rollback` and `no_rollback`: moments, records, silence.

use std::time::Duration;

use graygate::observe::event::{Finding, RollbackFacts};
use graygate::protocol::outcome::Outcome;
use graygate::stats::compare::Op;
use graygate::time::Timestamp;
use graygate::verdict::result::Status;
use graygate::verdict::spec::{GateSpec, NoRollbackSpec, RollbackSpec};

use crate::play::{CANARY, Play, STABLE, To, count, to};

const OK: Outcome = Outcome::Success;
const ERROR: Outcome = Outcome::ServerError;

fn rescued() -> [To; 2] {
    [to(CANARY, ERROR), to(STABLE, OK)]
}

fn rollback() -> RollbackSpec {
    RollbackSpec {
        reason: Some("error_rate".to_owned()),
        since: Timestamp::from_secs_f64(10.0),
        within: Some(Duration::from_secs(5)),
        canary_requests: Some(count(Op::AtMost, 20)),
        user_errors: Some(count(Op::Equal, 0)),
        in_ledgers: None,
    }
}

/// Healthy until 10 s, then the canary fails `n` requests.
fn broken_at_ten(spec: RollbackSpec, n: u64) -> Play {
    let mut play = Play::new(&[GateSpec::Rollback(spec)]);
    play.requests(100, (0.0, 10.0), &[to(CANARY, OK)]);
    play.requests(n, (10.0, 12.0), &rescued());
    play
}

#[test]
fn rollback_in_time_for_the_right_reason_passes() {
    let mut play = broken_at_ten(rollback(), 10);
    play.roll_back(12.0);
    play.requests(10, (12.1, 30.0), &[to(STABLE, OK)]);
    let gate = play.gate();
    assert_eq!(gate.status, Status::Pass, "{gate:#?}");
    assert_eq!(gate.checks.len(), 6);
}

/// What people will read afterwards must be true.
#[test]
fn rollback_needs_a_record_that_fits_the_run() {
    let flaw = |change: fn(&mut RollbackFacts)| {
        let mut play = broken_at_ten(rollback(), 10);
        play.roll_back_as(12.0, change);
        let gate = play.gate();
        let failed: Vec<_> = gate.open_checks().collect();
        assert_eq!(failed.len(), 1, "{gate:#?}");
        assert_eq!(failed[0].condition, "its record fits the run");
        failed[0].seen.clone()
    };
    assert_eq!(flaw(|r| r.id.clear()), "it has no id");
    assert_eq!(flaw(|r| r.to = CANARY), "it leads nowhere");
    assert!(flaw(|r| finding(r).version = STABLE).contains("another version"));
    assert!(flaw(|r| finding(r).value = None).contains("crosses no bound"));
    assert!(flaw(|r| finding(r).value = Some(0.05)).contains("crosses no bound"));
    assert!(flaw(|r| finding(r).violated = false).contains("crosses no bound"));
    assert!(flaw(|r| finding(r).action = "alert").contains("asks for no rollback"));
    assert!(flaw(|r| finding(r).samples = 49).contains("too little"));
    assert!(flaw(|r| r.affected_requests += 1).contains("other requests"));
}

/// A canary of 10 % that 132 randomised requests in a row have missed is closed, whatever is said.
#[test]
fn no_rollback_hears_a_canary_that_is_closed_in_silence() {
    let status = |missed: u64| {
        let gates = [GateSpec::NoRollback(NoRollbackSpec {
            min_n: 10,
            in_ledgers: false,
            share: 0.1,
        })];
        let mut play = Play::new(&gates);
        play.requests(100, (0.0, 10.0), &[to(CANARY, OK)]);
        play.requests(missed, (10.0, 20.0), &[to(STABLE, OK)]);
        play.status()
    };
    assert_eq!(status(131), Status::Pass);
    assert_eq!(status(132), Status::Fail);
}

#[test]
fn rollback_is_told_once_of_the_canary_and_not_before_its_time() {
    let status = |tell: fn(&mut Play)| {
        let mut play = broken_at_ten(
            RollbackSpec {
                reason: None,
                ..rollback()
            },
            10,
        );
        tell(&mut play);
        play.gate().checks[0].status
    };
    assert_eq!(status(|play| play.roll_back(10.0)), Status::Pass);
    assert_eq!(status(|play| play.roll_back(9.999)), Status::Fail);
    let of_stable = |play: &mut Play| {
        play.roll_back_as(12.0, |record| record.from = STABLE);
    };
    assert_eq!(status(of_stable), Status::Fail);
    let twice = |play: &mut Play| {
        play.roll_back(12.0);
        play.roll_back(13.0);
    };
    assert_eq!(status(twice), Status::Fail);
}

/// A success rate is too low where the others are too high; the fewest samples are enough; and what
/// is given to the canary later is none of the record's business.
#[test]
fn rollback_reads_a_record_by_its_measure() {
    let record_with = |change: fn(&mut RollbackFacts)| {
        let mut play = broken_at_ten(
            RollbackSpec {
                reason: None,
                ..rollback()
            },
            10,
        );
        play.roll_back_as(12.0, change);
        play.requests(5, (12.5, 13.0), &[to(CANARY, OK)]);
        play.roll_back_as(14.0, |_| {});
        play.gate().checks[1].status
    };
    assert_eq!(record_with(|_| {}), Status::Pass);
    assert_eq!(record_with(|r| finding(r).samples = 50), Status::Pass);
    assert_eq!(record_with(|r| too_low(r, 0.94)), Status::Pass);
    assert_eq!(record_with(|r| too_low(r, 0.95)), Status::Fail);
    assert_eq!(record_with(|r| too_low(r, 0.96)), Status::Fail);
}

fn too_low(record: &mut RollbackFacts, value: f64) {
    let reason = finding(record);
    reason.measure = "success_rate";
    reason.bound = 0.95;
    reason.value = Some(value);
}

/// The judge's evidence in a record.
fn finding(record: &mut RollbackFacts) -> &mut Finding {
    record.reason.as_mut().expect("the judge's evidence")
}

/// Whoever reached no upstream at all may have been meant for the canary.
#[test]
fn rollback_counts_users_who_reached_nobody() {
    let mut play = broken_at_ten(rollback(), 10);
    let key = play.request(11.0, &[]);
    play.roll_back(12.0);
    let gate = play.gate();
    let failed: Vec<_> = gate.open_checks().collect();
    assert_eq!(failed.len(), 1, "{gate:#?}");
    assert_eq!(failed[0].condition, "user_errors == 0");
    assert_eq!(failed[0].offenders, [key]);
}

#[test]
fn rollback_each_condition_can_fail_alone() {
    let failing = |play: Play| -> Vec<String> {
        let gate = play.gate();
        let failed = gate.checks.iter().filter(|c| c.status == Status::Fail);
        failed.map(|c| c.condition.clone()).collect()
    };
    let mut late = broken_at_ten(rollback(), 10);
    late.roll_back(15.1);
    assert_eq!(failing(late), ["within 5 s"]);

    let mut costly = broken_at_ten(rollback(), 21);
    costly.roll_back(12.0);
    assert_eq!(failing(costly), ["canary_requests <= 20"]);

    let mut seen = broken_at_ten(rollback(), 10);
    seen.request(11.0, &[to(CANARY, ERROR)]);
    seen.roll_back(12.0);
    assert_eq!(failing(seen), ["user_errors == 0"]);

    let slow = RollbackSpec {
        reason: Some("p99".to_owned()),
        ..rollback()
    };
    let mut other = broken_at_ten(slow, 10);
    other.roll_back(12.0);
    assert_eq!(failing(other), ["reason p99"]);

    let mut twice = broken_at_ten(rollback(), 10);
    twice.roll_back(12.0);
    twice.roll_back(13.0);
    assert_eq!(failing(twice), ["the canary is rolled back once"]);

    let mut early = broken_at_ten(rollback(), 0);
    early.roll_back(9.0);
    let early = failing(early);
    assert!(
        early.contains(&"the canary is rolled back once".to_owned()),
        "{early:?}"
    );
}

#[test]
fn rollback_user_errors_count_after_the_rollback_too() {
    let mut play = broken_at_ten(rollback(), 5);
    // On its way to the canary at the decision, and lost afterwards.
    play.latency = Duration::from_secs(4);
    play.request(11.5, &[to(CANARY, Outcome::Timeout)]);
    play.roll_back(12.0);
    let gate = play.gate();
    assert_eq!(gate.status, Status::Fail);
}

#[test]
fn rollback_that_never_came_fails_only_if_it_was_due() {
    let early = broken_at_ten(rollback(), 10).gate();
    assert_eq!(early.status, Status::Inconclusive, "the run ended early");
    // Three of the five seconds are missing, at 110 requests in twelve seconds.
    let more = early.checks[0].more_requests;
    assert!(more.is_some_and(|n| (25..=35).contains(&n)), "{more:?}");
    let mut due = broken_at_ten(rollback(), 10);
    due.requests(10, (12.0, 16.0), &[to(STABLE, OK)]);
    assert_eq!(due.status(), Status::Fail);
    let mut unseen = broken_at_ten(rollback(), 0);
    unseen.requests(10, (12.0, 16.0), &[to(STABLE, OK)]);
    assert_eq!(
        unseen.status(),
        Status::Inconclusive,
        "nothing met the canary"
    );
}

#[test]
fn no_rollback_needs_requests_at_the_canary() {
    let gates = [GateSpec::NoRollback(NoRollbackSpec {
        min_n: 10,
        in_ledgers: false,
        share: 0.1,
    })];
    let mut quiet = Play::new(&gates);
    quiet.requests(10, (0.0, 1.0), &[to(CANARY, OK)]);
    assert_eq!(quiet.status(), Status::Pass);
    let mut few = Play::new(&gates);
    few.requests(9, (0.0, 1.0), &[to(CANARY, OK)]);
    assert_eq!(few.status(), Status::Inconclusive);
    let mut fired = Play::new(&gates);
    fired.requests(10, (0.0, 1.0), &[to(CANARY, OK)]);
    fired.roll_back(1.0);
    assert_eq!(fired.status(), Status::Fail);
}
