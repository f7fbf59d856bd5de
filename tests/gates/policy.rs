//! `policy`: tries, waits and limits, at their edges.

use std::time::Duration;

use graygate::id::{PerVersion, RequestKey, VersionId};
use graygate::observe::event::{
    Accepted, Answered, AttemptKind, Booked, Claim, Origin, Sent, UpstreamEnded, What,
};
use graygate::protocol::drift::Drift;
use graygate::protocol::outcome::Outcome;
use graygate::time::Timestamp;
use graygate::traffic::caller::Intent;
use graygate::verdict::result::Status;
use graygate::verdict::spec::{GateSpec, PolicySpec};

use crate::play::{CANARY, Play, STABLE};

const OK: Outcome = Outcome::Success;
const ERROR: Outcome = Outcome::ServerError;
const KEY: RequestKey = RequestKey(1);

/// Two retries after 100 ms and 200 ms, up to half of which chance may take off; one second an
/// attempt, three a request.
fn spec() -> PolicySpec {
    PolicySpec {
        max_retries: 2,
        base: Duration::from_millis(100),
        factor: 2.0,
        jitter: 0.5,
        max_wait: Duration::from_millis(150),
        attempt: Duration::from_secs(1),
        escalation: None,
        limits: PerVersion::from_fn(2, |_| None),
        recalled: None,
        request: Duration::from_secs(3),
        tolerance: Duration::ZERO,
    }
}

/// One attempt: where, from when to when (ms), how it ended; `None` when the driver stopped it.
type Try = (VersionId, u64, u64, Option<Outcome>);

fn at(ms: u64) -> Timestamp {
    Timestamp(ms * 1_000_000)
}

fn play(spec: PolicySpec, tries: &[Try], answered: (u64, Outcome), asked: Option<u64>) -> Play {
    let mut play = Play::new(&[GateSpec::Policy(spec)]);
    let sent = Sent {
        key: KEY,
        scheduled_at: at(0),
        intent: Intent::Random,
        caller: 0,
        input_tokens: 1,
    };
    play.event(at(0), What::Sent(sent));
    for (n, (version, from, until, outcome)) in (0..).zip(tries) {
        one(&mut play, n, *version, (*from, *until), *outcome, asked);
    }
    let answer = Answered {
        key: KEY,
        outcome: answered.1,
        claim: Claim {
            attempts: Some(tries.len() as u32),
            ..Claim::default()
        },
        usage: None,
        origin: Origin::default(),
    };
    play.event(at(answered.0), What::Answered(answer));
    play
}

fn one(
    play: &mut Play,
    n: u32,
    version: VersionId,
    (from, until): (u64, u64),
    outcome: Option<Outcome>,
    asked: Option<u64>,
) {
    let key = KEY;
    let row = u64::from(n);
    play.event(at(from), What::Dispatched { key, n, version });
    let accepted = Accepted {
        row,
        key: Some(key),
        version,
        ordinal: n,
        n: Some(n),
        fault: None,
        retry_after: asked.map(Duration::from_millis),
        altered: None,
    };
    play.event(at(from), What::Accepted(accepted));
    if outcome.is_none() {
        play.event(at(until), What::Cancelled { key, n });
    }
    let ended = UpstreamEnded {
        row,
        key: Some(key),
        version,
        ordinal: n,
        outcome: outcome.unwrap_or(Outcome::ClientGone),
        usage: None,
    };
    play.event(at(until), What::UpstreamEnded(ended));
    let booked = Booked {
        key,
        n,
        version,
        kind: AttemptKind::First,
        outcome: outcome.unwrap_or(Outcome::Timeout),
        latency: Duration::ZERO,
        usage: None,
        drift: Drift::NONE,
    };
    play.event(at(until), What::Booked(booked));
}

/// The conditions that do not hold.
fn broken(tries: &[Try], answered: (u64, Outcome)) -> Vec<String> {
    broken_with(spec(), tries, answered, None)
}

fn broken_with(
    spec: PolicySpec,
    tries: &[Try],
    answered: (u64, Outcome),
    asked: Option<u64>,
) -> Vec<String> {
    let gate = play(spec, tries, answered, asked).gate();
    let failed = gate.checks.iter().filter(|c| c.status == Status::Fail);
    failed.map(|c| c.condition.clone()).collect()
}

#[test]
fn tries_are_counted_for_each_version() {
    let bad = |from: u64| (CANARY, from, from + 10, Some(ERROR));
    let good = |from: u64| (STABLE, from, from + 10, Some(OK));
    let three = [bad(0), bad(200), bad(400), good(410)];
    assert!(broken(&three, (420, OK)).is_empty());
    let four = [bad(0), bad(200), bad(400), bad(600), good(610)];
    assert_eq!(broken(&four, (620, OK)), ["at most 3 tries a version"]);
}

#[test]
fn an_answer_is_the_last_thing_that_is_asked_for() {
    let twice = [(STABLE, 0, 10, Some(OK)), (CANARY, 10, 20, Some(OK))];
    assert_eq!(
        broken(&twice, (20, OK)),
        ["nothing is sent after an answer"]
    );
    // An answer that crossed a hang-up is none.
    let crossed = [(CANARY, 0, 1_000, None), (STABLE, 1_000, 1_010, Some(OK))];
    assert!(broken(&crossed, (1_010, OK)).is_empty());
}

#[test]
fn retries_wait_for_the_backoff_and_for_what_was_asked() {
    let after = |wait: u64| {
        [
            (STABLE, 0, 10, Some(ERROR)),
            (STABLE, 10 + wait, 20 + wait, Some(OK)),
        ]
    };
    let rule = "retries wait as long as they must";
    assert!(broken(&after(50), (500, OK)).is_empty(), "half is jitter");
    assert_eq!(broken(&after(49), (500, OK)), [rule]);
    let asked = |wait| broken_with(spec(), &after(wait), (1_500, OK), Some(700));
    assert!(asked(700).is_empty());
    assert_eq!(asked(699), [rule]);
    // The second wait doubles, up to the longest: 150 ms, half of which is jitter.
    let second = |wait: u64| {
        let tries = [
            (STABLE, 0, 10, Some(ERROR)),
            (STABLE, 110, 120, Some(ERROR)),
            (STABLE, 120 + wait, 130 + wait, Some(OK)),
        ];
        broken(&tries, (900, OK))
    };
    assert!(second(75).is_empty());
    assert_eq!(second(74), [rule]);
    // A fallback waits for nothing.
    let fallback = [(CANARY, 0, 10, Some(ERROR)), (STABLE, 10, 20, Some(OK))];
    assert!(broken(&fallback, (20, OK)).is_empty());
}

#[test]
fn hang_ups_come_at_the_limit() {
    let stopped = |ms| {
        let tries = [(CANARY, 0, ms, None), (STABLE, ms, ms + 10, Some(OK))];
        broken(&tries, (ms + 10, OK))
    };
    assert!(stopped(1_000).is_empty());
    assert_eq!(stopped(999), ["no attempt is given up early"]);
    assert_eq!(stopped(1_001), ["no attempt takes more than 1 s"]);
    // The deadline may come first.
    let deadline = [(STABLE, 0, 10, Some(ERROR)), (STABLE, 2_500, 3_000, None)];
    assert!(broken(&deadline, (3_000, Outcome::Timeout)).is_empty());
    // Slow answers are late whether anybody hangs up or not.
    let slow = [(STABLE, 0, 1_200, Some(OK))];
    assert_eq!(
        broken(&slow, (1_200, OK)),
        ["no attempt takes more than 1 s"]
    );
    let tolerant = PolicySpec {
        tolerance: Duration::from_millis(200),
        ..spec()
    };
    assert!(broken_with(tolerant, &slow, (1_200, OK), None).is_empty());
}

#[test]
fn callers_wait_no_longer_than_the_deadline() {
    let quick = [(STABLE, 0, 10, Some(OK))];
    assert!(broken(&quick, (3_000, OK)).is_empty());
    assert_eq!(
        broken(&quick, (3_001, OK)),
        ["no request takes more than 3 s"]
    );
}
