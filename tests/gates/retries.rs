//! `retries`: how much load trying again makes.

use graygate::id::{RequestKey, VersionId};
use graygate::observe::event::{Accepted, What};
use graygate::protocol::outcome::Outcome;
use graygate::stats::compare::{Comparison, Op, Ratio};
use graygate::time::Timestamp;
use graygate::verdict::result::{GateResult, Status};
use graygate::verdict::spec::{GateSpec, RetriesSpec, Scope};

use crate::play::{CANARY, Play, STABLE, To, count, to};

const OK: Outcome = Outcome::Success;
const BUSY: Outcome = Outcome::Overloaded;

fn ratio(op: Op, text: &str) -> Option<Comparison<Ratio>> {
    let bound = Ratio::parse(text).expect("a plain number");
    Some(Comparison { op, bound })
}

fn at_most(text: &str) -> RetriesSpec {
    RetriesSpec {
        amplification: ratio(Op::AtMost, text),
        ..RetriesSpec::default()
    }
}

fn at_most_each(attempts: u64) -> RetriesSpec {
    RetriesSpec {
        per_request: Some(count(Op::AtMost, attempts)),
        ..RetriesSpec::default()
    }
}

fn play(spec: RetriesSpec) -> Play {
    Play::new(&[GateSpec::Retries(spec)])
}

/// Each of these lists of attempts is a request, a second after the one before.
fn judged(spec: RetriesSpec, requests: &[&[To]]) -> GateResult {
    let mut play = play(spec);
    for (second, attempts) in (0..).zip(requests) {
        play.request(f64::from(second), attempts);
    }
    play.gate()
}

fn retried() -> [To; 2] {
    [to(STABLE, BUSY), to(STABLE, OK)]
}

fn once() -> [To; 1] {
    [to(STABLE, OK)]
}

#[test]
fn the_bound_itself_is_kept_and_one_attempt_more_is_not() {
    let storm = |retries: u64| {
        let mut play = play(at_most("1.2"));
        play.requests(1_000 - retries, (0.0, 1.0), &once());
        play.requests(retries, (1.0, 2.0), &retried());
        play.gate()
    };
    let kept = storm(200);
    assert_eq!(kept.status, Status::Pass, "{kept:#?}");
    assert_eq!(kept.checks[0].evidence.estimate, Some(1.2));
    assert_eq!(kept.checks[0].evidence.n, 1_000);
    let broken = storm(201);
    assert_eq!(broken.status, Status::Fail);
    let keys: Vec<u64> = broken.checks[0].offenders.iter().map(|k| k.0).collect();
    assert_eq!(
        keys,
        [799, 800, 801, 802, 803],
        "the first that were tried again"
    );
    assert_eq!(
        broken.checks[0].seen,
        "1.201 (1,201 attempts of 1,000 requests)"
    );
}

#[test]
fn without_requests_nothing_is_shown() {
    for spec in [
        at_most("2"),
        at_most_each(2),
        RetriesSpec {
            amplification: ratio(Op::AtLeast, "1.1"),
            per_request: Some(count(Op::AtLeast, 1)),
            ..RetriesSpec::default()
        },
    ] {
        assert_eq!(play(spec).status(), Status::Inconclusive);
    }
    let few = RetriesSpec {
        min_n: 3,
        ..at_most("2")
    };
    let gate = judged(few, &[&once(), &once()]);
    assert_eq!(gate.status, Status::Inconclusive);
    assert_eq!(gate.checks[0].more_requests, Some(1));
}

/// A storm multiplies the load, whichever version it hits.
#[test]
fn a_fallback_is_an_attempt() {
    let fallen = [to(CANARY, BUSY), to(STABLE, OK)];
    assert_eq!(judged(at_most("1"), &[&once()]).status, Status::Pass);
    assert_eq!(
        judged(at_most("1"), &[&once(), &fallen]).status,
        Status::Fail
    );
    assert_eq!(judged(at_most_each(1), &[&fallen]).status, Status::Fail);
}

/// A refused connection loads nobody.
#[test]
fn what_never_arrived_is_no_load() {
    let refused = To {
        arrives: false,
        ..to(CANARY, Outcome::Connect)
    };
    let gate = judged(at_most("1"), &[&[refused, to(STABLE, OK)], &[refused]]);
    assert_eq!((gate.status, gate.checks[0].evidence.n), (Status::Pass, 1));
    assert_eq!(
        judged(at_most("1"), &[&[refused]]).status,
        Status::Inconclusive
    );
}

#[test]
fn a_single_request_may_not_make_too_many() {
    let thrice = [to(STABLE, BUSY), to(STABLE, BUSY), to(STABLE, OK)];
    let gate = judged(at_most_each(2), &[&retried(), &thrice, &once()]);
    assert_eq!(gate.status, Status::Fail);
    assert_eq!(gate.checks[0].offenders, [RequestKey(1)]);
    assert_eq!(gate.checks[0].evidence.estimate, Some(3.0));
    assert_eq!(judged(at_most_each(3), &[&thrice]).status, Status::Pass);
    let both = RetriesSpec {
        per_request: at_most_each(2).per_request,
        ..at_most("1.5")
    };
    let gate = judged(both, &[&thrice, &once(), &once(), &once()]);
    let statuses: Vec<Status> = gate.checks.iter().map(|c| c.status).collect();
    assert_eq!(statuses, [Status::Pass, Status::Fail], "each by itself");
}

#[test]
fn with_a_version_its_attempts_and_its_requests_count_alone() {
    let fallen = [to(CANARY, BUSY), to(CANARY, BUSY), to(STABLE, OK)];
    let run = |version: VersionId, bound: &str, each: u64| {
        let spec = RetriesSpec {
            version: Some(version),
            per_request: Some(count(Op::AtMost, each)),
            ..at_most(bound)
        };
        let gate = judged(spec, &[&fallen, &once(), &once()]);
        (gate.status, gate.checks[0].evidence.n)
    };
    assert_eq!(run(STABLE, "1", 1), (Status::Pass, 3));
    assert_eq!(run(CANARY, "2", 2), (Status::Pass, 1));
    assert_eq!(run(CANARY, "1.9", 2), (Status::Fail, 1));
    assert_eq!(run(CANARY, "2", 1), (Status::Fail, 1));
}

#[test]
fn what_was_scheduled_at_another_time_does_not_count() {
    let scope = Scope {
        from: Timestamp::from_secs_f64(1.0),
        to: Some(Timestamp::from_secs_f64(2.0)),
    };
    let calm = RetriesSpec {
        scope,
        ..at_most("1")
    };
    let gate = judged(calm, &[&retried(), &once(), &retried()]);
    assert_eq!((gate.status, gate.checks[0].evidence.n), (Status::Pass, 1));
}

/// Another attempt of a request that was over.
fn come_late(play: &mut Play, key: RequestKey, second: f64) {
    let accepted = Accepted {
        row: 9,
        key: Some(key),
        version: STABLE,
        ordinal: 1,
        n: None,
        fault: None,
        retry_after: None,
        altered: None,
        is_told: None,
    };
    play.event(Timestamp::from_secs_f64(second), What::Accepted(accepted));
}

/// Whoever goes on for a caller who has long been answered is found, too.
#[test]
fn an_attempt_that_comes_when_all_is_over_is_load() {
    let late_at = |second, scope| {
        let spec = RetriesSpec {
            scope,
            ..at_most("1")
        };
        let mut play = play(spec);
        let key = play.request(0.0, &once());
        play.requests(5_000, (1.0, 2.0), &once());
        come_late(&mut play, key, second);
        let check = play.gate().checks.remove(0);
        (check.status, check.evidence.n, check.offenders == [key])
    };
    let ever = Scope::default();
    assert_eq!(late_at(3.0, ever), (Status::Fail, 5_001, true));
    let until = Scope {
        to: Some(Timestamp::from_secs_f64(2.5)),
        ..ever
    };
    assert_eq!(late_at(3.0, until), (Status::Pass, 5_001, false));
    assert_eq!(late_at(2.4, until), (Status::Fail, 5_001, true));
}

#[test]
fn a_leaky_join_shows_nothing() {
    let mut play = play(at_most("2"));
    let key = play.request(0.0, &once());
    come_late(&mut play, key, 1.0);
    assert_eq!(play.status(), Status::Inconclusive);
}

/// A bound from below says that there was a storm at all; nobody is guilty where there was none.
#[test]
fn a_bound_from_below_blames_nobody() {
    let stormy = RetriesSpec {
        amplification: ratio(Op::AtLeast, "1.5"),
        per_request: Some(count(Op::AtLeast, 2)),
        ..RetriesSpec::default()
    };
    let gate = judged(stormy, &[&retried(), &once()]);
    assert_eq!(gate.status, Status::Pass);
    let gate = judged(stormy, &[&once()]);
    assert_eq!(gate.status, Status::Fail);
    assert!(gate.checks.iter().all(|c| c.offenders.is_empty()));
    let mut play = play(stormy);
    play.request(0.0, &once());
    let gate = play.interrupted().gates.remove(0);
    assert_eq!(
        gate.checks[1].status,
        Status::Inconclusive,
        "it may yet come"
    );
}
