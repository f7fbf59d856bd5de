//! The gates that state facts of a run.

use std::time::Duration;

use graygate::observe::event::{RollbackFacts, What};
use graygate::protocol::outcome::Outcome;
use graygate::stats::compare::{Comparison, Op};
use graygate::stats::quantile::Quantile;
use graygate::time::Timestamp;
use graygate::traffic::caller::Intent;
use graygate::verdict::result::Status;
use graygate::verdict::spec::{
    AfterRollbackSpec, FallbackSpec, GateSpec, NoRollbackSpec, RequestsSpec, RollbackSpec, Scope,
};

use crate::play::{CANARY, Play, STABLE, To, count, percent, to};

const OK: Outcome = Outcome::Success;
const ERROR: Outcome = Outcome::ServerError;

fn rescued() -> [To; 2] {
    [to(CANARY, ERROR), to(STABLE, OK)]
}

// fallback

fn fallback() -> FallbackSpec {
    FallbackSpec {
        succeeds: percent(Op::Equal, "100%"),
        min_n: 1,
        scope: Scope::default(),
        other_credentials: true,
    }
}

fn fallback_play(spec: FallbackSpec) -> Play {
    Play::new(&[GateSpec::Fallback(spec)])
}

#[test]
fn fallback_is_a_census_with_one_counterexample() {
    let mut play = fallback_play(fallback());
    play.requests(999, (0.0, 1.0), &rescued());
    let lost = play.request(1.0, &[to(CANARY, ERROR)]);
    let gate = play.gate();
    assert_eq!(gate.status, Status::Fail);
    assert_eq!(gate.checks[0].offenders, [lost]);
    assert_eq!(gate.checks[0].evidence.n, 1_000);
}

#[test]
fn fallback_without_failures_shows_nothing() {
    let mut play = fallback_play(fallback());
    play.requests(1_000, (0.0, 1.0), &[to(CANARY, OK)]);
    // Failures of stable, bad requests, and failures that a retry healed are none of its business.
    play.request(1.0, &[to(STABLE, ERROR)]);
    play.request(1.0, &[to(CANARY, Outcome::BadRequest)]);
    play.request(1.0, &[to(CANARY, ERROR), to(CANARY, OK)]);
    assert_eq!(play.status(), Status::Inconclusive);
}

#[test]
fn fallback_with_one_key_is_not_expected_of_a_refused_key() {
    let refused = [to(CANARY, Outcome::Unauthorized)];
    let mut separate = fallback_play(fallback());
    separate.request(0.0, &refused);
    assert_eq!(separate.status(), Status::Fail);
    let mut shared = fallback_play(FallbackSpec {
        other_credentials: false,
        ..fallback()
    });
    shared.request(0.0, &refused);
    assert_eq!(shared.status(), Status::Inconclusive);
}

/// Nobody but the caller excuses a canary that was hung up on, and no success but stable's own is a
/// rescue.
#[test]
fn fallback_is_owed_for_hang_ups_and_only_stable_pays_it() {
    let given_up = |reason| To {
        booked: Some((CANARY, reason)),
        cancelled: true,
        ..to(CANARY, Outcome::ClientGone)
    };
    for reason in [Outcome::Timeout, Outcome::Deadline, Outcome::ClientGone] {
        let mut play = fallback_play(fallback());
        play.request(0.0, &[given_up(reason), to(STABLE, ERROR)]);
        assert_eq!(play.status(), Status::Fail, "{reason:?}");
    }
    let mut nobodys = fallback_play(fallback());
    nobodys.request(0.0, &rescued());
    let key = nobodys.send(0.0, CANARY, ERROR);
    nobodys.answer(0.1, key, OK);
    assert_eq!(nobodys.status(), Status::Fail);
}

#[test]
fn fallback_never_goes_back_to_the_canary() {
    let mut play = fallback_play(fallback());
    play.requests(10, (0.0, 1.0), &rescued());
    let twice = play.request(1.0, &[to(CANARY, ERROR), to(STABLE, ERROR), to(CANARY, OK)]);
    let gate = play.gate();
    assert_eq!(gate.checks[1].status, Status::Fail);
    assert_eq!(gate.checks[1].offenders, [twice]);
}

#[test]
fn fallback_keeps_to_its_time_and_its_minimum() {
    let scope = Scope {
        from: Timestamp::from_secs_f64(1.0),
        to: Some(Timestamp::from_secs_f64(2.0)),
    };
    let spec = FallbackSpec {
        scope,
        min_n: 3,
        ..fallback()
    };
    let mut play = fallback_play(spec);
    play.requests(5, (0.0, 1.0), &[to(CANARY, ERROR)]);
    play.requests(2, (1.0, 2.0), &rescued());
    play.requests(5, (2.0, 3.0), &[to(CANARY, ERROR)]);
    let gate = play.gate();
    assert_eq!(gate.status, Status::Inconclusive);
    assert_eq!(gate.checks[0].more_requests, Some(1));
}

// rollback, no_rollback

fn rollback() -> RollbackSpec {
    RollbackSpec {
        reason: Some("error_rate".to_owned()),
        since: Timestamp::from_secs_f64(10.0),
        within: Some(Duration::from_secs(5)),
        canary_requests: Some(count(Op::AtMost, 20)),
        user_errors: Some(count(Op::Equal, 0)),
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
    assert!(flaw(|r| r.reason.version = STABLE).contains("another version"));
    assert!(flaw(|r| r.reason.value = None).contains("crosses no bound"));
    assert!(flaw(|r| r.reason.value = Some(0.05)).contains("crosses no bound"));
    assert!(flaw(|r| r.reason.violated = false).contains("crosses no bound"));
    assert!(flaw(|r| r.reason.action = "alert").contains("asks for no rollback"));
    assert!(flaw(|r| r.reason.samples = 49).contains("too little"));
    assert!(flaw(|r| r.affected_requests += 1).contains("other requests"));
}

/// A canary of 10 % that 132 randomised requests in a row have missed is closed, whatever is said.
#[test]
fn no_rollback_hears_a_canary_that_is_closed_in_silence() {
    let status = |missed: u64| {
        let gates = [GateSpec::NoRollback(NoRollbackSpec {
            min_n: 10,
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
    assert_eq!(record_with(|r| r.reason.samples = 50), Status::Pass);
    assert_eq!(record_with(|r| too_low(r, 0.94)), Status::Pass);
    assert_eq!(record_with(|r| too_low(r, 0.95)), Status::Fail);
    assert_eq!(record_with(|r| too_low(r, 0.96)), Status::Fail);
}

fn too_low(record: &mut RollbackFacts, value: f64) {
    record.reason.measure = "success_rate";
    record.reason.bound = 0.95;
    record.reason.value = Some(value);
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

// after_rollback

fn after(min_n: u64) -> [GateSpec; 1] {
    [GateSpec::AfterRollback(AfterRollbackSpec {
        canary_requests: count(Op::Equal, 0),
        grace: Duration::ZERO,
        min_n,
    })]
}

#[test]
fn after_rollback_needs_enough_requests_that_could_have_met_the_canary() {
    let play = |later: u64| {
        let mut play = Play::new(&after(66));
        play.requests(10, (0.0, 1.0), &[to(CANARY, ERROR), to(STABLE, OK)]);
        play.roll_back(1.0);
        play.requests(later, (1.1, 2.0), &[to(STABLE, OK)]);
        play
    };
    assert_eq!(play(66).status(), Status::Pass);
    assert_eq!(play(65).status(), Status::Inconclusive);
    let mut leaky = play(66);
    let leak = leaky.request(3.0, &[to(CANARY, OK)]);
    let gate = leaky.gate();
    assert_eq!(
        (gate.status, gate.checks[0].offenders.clone()),
        (Status::Fail, vec![leak])
    );
    assert_eq!(
        Play::new(&after(66)).status(),
        Status::Inconclusive,
        "no rollback"
    );
}

#[test]
fn after_rollback_counts_attempts_by_when_they_were_sent() {
    let mut play = Play::new(&after(1));
    play.latency = Duration::from_secs(5);
    // Sent before, ends after: it was on its way.
    play.request(0.5, &[to(CANARY, OK)]);
    play.roll_back(1.0);
    play.request(1.1, &[to(STABLE, OK)]);
    assert_eq!(play.status(), Status::Pass);
}

#[test]
fn after_rollback_without_a_split_needs_pinned_requests() {
    let play = |intent| {
        let mut play = Play::new(&after(0));
        play.roll_back(1.0);
        play.intent = intent;
        play.requests(50, (1.1, 2.0), &[to(STABLE, OK)]);
        play
    };
    assert_eq!(play(Intent::Pinned(CANARY)).status(), Status::Pass);
    assert_eq!(play(Intent::Random).status(), Status::Inconclusive);
}

// requests

fn requests(spec: RequestsSpec) -> Play {
    Play::new(&[GateSpec::Requests(RequestsSpec { min_n: 1, ..spec })])
}

#[test]
fn requests_success_is_exact_at_its_bound() {
    let spec = RequestsSpec {
        success: Some(percent(Op::AtLeast, "99.9%")),
        ..RequestsSpec::default()
    };
    let play = |failures: u64| {
        let mut play = requests(spec.clone());
        play.requests(1_000 - failures, (0.0, 1.0), &[to(STABLE, OK)]);
        play.requests(failures, (0.0, 1.0), &[to(STABLE, ERROR)]);
        play
    };
    assert_eq!(play(1).status(), Status::Pass);
    assert_eq!(play(2).status(), Status::Fail);
    assert_eq!(
        requests(spec).status(),
        Status::Inconclusive,
        "zero requests"
    );
}

#[test]
fn requests_of_a_version_are_its_attempts_whatever_callers_see() {
    let spec = RequestsSpec {
        version: Some(CANARY),
        success: Some(percent(Op::AtLeast, "99%")),
        ..RequestsSpec::default()
    };
    let mut play = requests(spec);
    play.requests(50, (0.0, 1.0), &rescued());
    assert_eq!(play.status(), Status::Fail, "callers saw 100 % success");
}

#[test]
fn requests_percentiles_are_exact_at_their_bound_and_need_enough_samples() {
    let bound = Duration::from_millis(500);
    let spec = |op| RequestsSpec {
        quantiles: vec![(Quantile::P99, Comparison { op, bound })],
        ..RequestsSpec::default()
    };
    // 990 fast, 10 at `slow`: the 99th percentile is the 990th.
    let play = |op, fast: Duration, n: u64| {
        let mut play = requests(spec(op));
        play.latency = fast;
        play.requests(n, (0.0, 1.0), &[to(STABLE, OK)]);
        play.latency = Duration::from_secs(9);
        play.requests(10, (0.0, 1.0), &[to(STABLE, OK)]);
        play.status()
    };
    let just_below = bound - Duration::from_nanos(1);
    assert_eq!(play(Op::Less, just_below, 990), Status::Pass);
    assert_eq!(play(Op::Less, bound, 990), Status::Fail);
    assert_eq!(play(Op::AtMost, bound, 990), Status::Pass);
    assert_eq!(play(Op::Greater, bound, 990), Status::Fail);
    assert_eq!(play(Op::AtLeast, bound, 990), Status::Pass);
    assert_eq!(
        play(Op::Less, just_below, 989),
        Status::Fail,
        "989 of 999 are not 99 %"
    );
    let mut few = requests(spec(Op::Less));
    few.requests(999, (0.0, 1.0), &[to(STABLE, OK)]);
    assert_eq!(few.status(), Status::Inconclusive);
}

#[test]
fn requests_failures_never_enter_the_latency() {
    let spec = RequestsSpec {
        quantiles: vec![(
            Quantile::P50,
            Comparison {
                op: Op::Less,
                bound: Duration::from_secs(1),
            },
        )],
        ..RequestsSpec::default()
    };
    let mut play = requests(spec);
    play.requests(20, (0.0, 1.0), &[to(STABLE, OK)]);
    play.latency = Duration::from_secs(30);
    play.requests(500, (0.0, 1.0), &[to(STABLE, Outcome::Timeout)]);
    assert_eq!(play.status(), Status::Pass);
}

#[test]
fn requests_latency_runs_from_the_schedule() {
    let bound = Duration::from_millis(100);
    let spec = RequestsSpec {
        quantiles: vec![(
            Quantile::P50,
            Comparison {
                op: Op::Less,
                bound,
            },
        )],
        ..RequestsSpec::default()
    };
    let mut play = requests(spec);
    play.latency = Duration::from_millis(90);
    play.delay = Duration::from_millis(20);
    play.requests(20, (0.0, 1.0), &[to(STABLE, OK)]);
    let verdict = play.verdict();
    // 90 ms since sending, 110 ms since it was due. (And the generator was late, on top.)
    assert_eq!(verdict.gates[0].checks[0].status, Status::Fail);
}

#[test]
fn requests_count_altered_misrouted_and_hopeless() {
    let zero = Some(count(Op::Equal, 0));
    let spec = RequestsSpec {
        altered: zero,
        misrouted: zero,
        hopeless_retries: zero,
        other_credentials: true,
        ..RequestsSpec::default()
    };
    let statuses =
        |play: Play| -> Vec<Status> { play.gate().checks.iter().map(|c| c.status).collect() };
    let good = |play: &mut Play| {
        play.request(0.0, &[to(CANARY, Outcome::Unauthorized), to(STABLE, OK)]);
        play.intent = Intent::Pinned(CANARY);
        play.request(0.0, &[to(CANARY, OK)]);
    };
    let mut fine = requests(spec.clone());
    good(&mut fine);
    assert_eq!(statuses(fine), [Status::Pass; 3]);

    let mut bad = requests(spec.clone());
    good(&mut bad);
    bad.request(
        0.0,
        &[To {
            altered: true,
            ..to(STABLE, OK)
        }],
    );
    bad.request(0.0, &[to(CANARY, Outcome::ModelNotFound), to(CANARY, OK)]);
    assert_eq!(statuses(bad), [Status::Fail; 3]);

    assert_eq!(statuses(requests(spec)), [Status::Inconclusive; 3]);
}

/// Nothing there because nobody came says nothing.
#[test]
fn requests_that_nobody_sent_are_not_counted_to_be_none() {
    let spec = |from| RequestsSpec {
        version: Some(CANARY),
        count: Some(count(Op::Equal, 0)),
        scope: Scope {
            from: Timestamp::from_secs_f64(from),
            to: None,
        },
        ..RequestsSpec::default()
    };
    for (from, status) in [(0.0, Status::Pass), (5.0, Status::Inconclusive)] {
        let mut play = requests(spec(from));
        play.requests(5, (1.0, 2.0), &[to(STABLE, OK)]);
        assert_eq!(play.status(), status, "from {from} s");
    }
}

/// A refused connection to the version it was pinned to is not that version's missing.
#[test]
fn requests_that_never_arrived_where_they_were_pinned_are_not_misrouted() {
    let spec = RequestsSpec {
        misrouted: Some(count(Op::Equal, 0)),
        ..RequestsSpec::default()
    };
    let mut play = requests(spec);
    play.intent = Intent::Pinned(CANARY);
    play.request(
        0.0,
        &[
            To {
                arrives: false,
                ..to(CANARY, Outcome::Connect)
            },
            to(STABLE, OK),
        ],
    );
    assert_eq!(play.status(), Status::Pass);
}

/// Those who are named are guilty of the very outcome that there is too much of.
#[test]
fn requests_name_the_offenders_of_each_outcome() {
    let limits = |timeout, refused| RequestsSpec {
        outcomes: vec![
            (Outcome::Timeout, percent(Op::AtMost, timeout)),
            (Outcome::RateLimited, percent(Op::AtLeast, refused)),
        ],
        ..RequestsSpec::default()
    };
    let mut play = requests(limits("1%", "99%"));
    play.request(0.0, &[to(STABLE, ERROR)]);
    let late = play.request(0.1, &[to(STABLE, Outcome::Timeout)]);
    play.request(0.2, &[to(STABLE, Outcome::RateLimited)]);
    let gate = play.gate();
    assert_eq!(gate.checks[0].offenders, [late]);
    assert_eq!(gate.checks[1].status, Status::Fail);
    assert_eq!(gate.checks[1].offenders, [], "too few are nobody's fault");
}

/// What was taken counts, were it never answered.
#[test]
fn requests_at_a_version_are_counted_when_they_are_taken() {
    let spec = RequestsSpec {
        version: Some(CANARY),
        count: Some(count(Op::Equal, 0)),
        ..RequestsSpec::default()
    };
    let mut play = requests(spec);
    play.take_only(1.0, CANARY);
    assert_eq!(play.interrupted().gates[0].status, Status::Fail);
}

#[test]
fn requests_of_an_interrupted_run_may_still_have_come() {
    let status = |limit| {
        let mut play = requests(RequestsSpec {
            count: Some(limit),
            ..RequestsSpec::default()
        });
        play.requests(5, (0.0, 1.0), &[to(STABLE, OK)]);
        play.interrupted().gates.remove(0).status
    };
    assert_eq!(status(count(Op::AtLeast, 6)), Status::Inconclusive);
    assert_eq!(status(count(Op::Equal, 6)), Status::Inconclusive);
    assert_eq!(status(count(Op::Greater, 5)), Status::Inconclusive);
    assert_eq!(status(count(Op::Equal, 4)), Status::Fail);
    assert_eq!(status(count(Op::AtMost, 4)), Status::Fail);
    assert_eq!(status(count(Op::AtMost, 5)), Status::Pass);
}

#[test]
fn requests_pinned_to_a_closed_canary_belong_to_stable() {
    let spec = RequestsSpec {
        misrouted: Some(count(Op::Equal, 0)),
        ..RequestsSpec::default()
    };
    let mut play = requests(spec);
    play.intent = Intent::Pinned(CANARY);
    play.request(0.0, &[to(CANARY, OK)]);
    play.roll_back(1.0);
    play.requests(5, (2.0, 3.0), &[to(STABLE, OK)]);
    assert_eq!(play.status(), Status::Pass);
}

// memory

#[test]
fn memory_is_judged_by_its_peak() {
    let gates = [GateSpec::Memory {
        router: count(Op::AtMost, 1_000),
    }];
    let play = |sizes: &[usize]| {
        let mut play = Play::new(&gates);
        for (i, bytes) in sizes.iter().enumerate() {
            let memory = What::Memory {
                in_flight: 0,
                bytes: *bytes,
            };
            play.event(Timestamp(i as u64), memory);
        }
        play.status()
    };
    assert_eq!(play(&[10, 1_000, 20]), Status::Pass);
    assert_eq!(play(&[10, 1_001, 20]), Status::Fail);
    assert_eq!(play(&[]), Status::Inconclusive);
}
