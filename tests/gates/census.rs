//! The gates that state facts of a run.

use std::time::Duration;

use graygate::observe::event::What;
use graygate::protocol::outcome::Outcome;
use graygate::stats::compare::{Comparison, Op};
use graygate::stats::quantile::Quantile;
use graygate::time::Timestamp;
use graygate::traffic::caller::Intent;
use graygate::verdict::result::Status;
use graygate::verdict::spec::{AfterRollbackSpec, FallbackSpec, GateSpec, RequestsSpec, Scope};

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

/// Whoever hangs up is neither served nor failed: nine of ten who stayed were answered, whoever left. What had
/// failed before they left has failed.
#[test]
fn requests_of_callers_who_hang_up_are_neither_successes_nor_failures() {
    const GONE: Outcome = Outcome::ClientGone;
    let left = To {
        cancelled: true,
        ..to(CANARY, GONE)
    };
    let play = |version, limit: &str| {
        let spec = RequestsSpec {
            version,
            success: Some(percent(Op::Equal, limit)),
            outcomes: vec![(GONE, percent(Op::Equal, "50%"))],
            ..RequestsSpec::default()
        };
        let mut play = requests(spec);
        play.requests(9, (0.0, 1.0), &[to(CANARY, OK)]);
        play.requests(1, (0.0, 1.0), &[to(CANARY, ERROR)]);
        for _ in 0..10 {
            play.request_told(1.0, &[left], GONE);
        }
        play
    };
    assert_eq!(play(None, "90%").status(), Status::Pass);
    assert_eq!(play(Some(CANARY), "90%").status(), Status::Pass);
    let mut failed_before = play(Some(CANARY), "90%");
    failed_before.request_told(1.0, &[to(CANARY, ERROR)], GONE);
    assert_eq!(failed_before.status(), Status::Fail);
    // Out of patience is not the same: the version had its time.
    let mut bored = play(Some(CANARY), "90%");
    bored.request_told(1.0, &[left], Outcome::Timeout);
    assert_eq!(bored.status(), Status::Fail);
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

/// Whoever is forced to a version must meet it, until it is closed.
#[test]
fn requests_that_are_forced_elsewhere_are_misrouted() {
    let spec = RequestsSpec {
        misrouted: Some(count(Op::Equal, 0)),
        ..RequestsSpec::default()
    };
    let forced = |to_version, met, rolled_back: bool| {
        let mut play = requests(spec.clone());
        if rolled_back {
            play.roll_back(0.0);
        }
        play.intent = Intent::Forced(CANARY);
        play.request(1.0, &[to(CANARY, OK)]);
        play.intent = Intent::Forced(to_version);
        play.request(2.0, &[to(met, OK)]);
        play.status()
    };
    assert_eq!(forced(CANARY, CANARY, false), Status::Pass);
    assert_eq!(forced(STABLE, STABLE, false), Status::Pass);
    assert_eq!(forced(CANARY, STABLE, false), Status::Fail);
    assert_eq!(forced(STABLE, CANARY, false), Status::Fail);
    assert_eq!(forced(STABLE, STABLE, true), Status::Pass);
    assert_eq!(forced(STABLE, CANARY, true), Status::Fail);
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
    let gate = |limit| {
        let mut play = requests(RequestsSpec {
            count: Some(limit),
            ..RequestsSpec::default()
        });
        play.requests(5, (0.0, 1.0), &[to(STABLE, OK)]);
        play.interrupted().gates.remove(0)
    };
    let status = |limit| gate(limit).status;
    let more = |limit| gate(limit).checks[0].more_requests;
    assert_eq!(more(count(Op::AtLeast, 8)), Some(3));
    assert_eq!(more(count(Op::Greater, 8)), Some(4));
    assert_eq!(more(count(Op::AtMost, 4)), None);
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
