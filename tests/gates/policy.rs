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
use graygate::verdict::result::{Check, Status};
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
        first_token: None,
        idle: None,
        is_only_tokens: true,
        budget: None,
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
    tell(&mut play, tries, answered, asked);
    play
}

/// Tells of one request.
fn tell(play: &mut Play, tries: &[Try], answered: (u64, Outcome), asked: Option<u64>) {
    let sent = Sent {
        key: KEY,
        scheduled_at: at(0),
        intent: Intent::Random,
        caller: 0,
        input_tokens: 1,
        stream: false,
    };
    play.event(at(0), What::Sent(sent));
    for (n, (version, from, until, outcome)) in (0..).zip(tries) {
        one(play, n, *version, (*from, *until), *outcome, asked);
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
        streamed: None,
        drift: Drift::NONE,
    };
    play.event(at(answered.0), What::Answered(answer));
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
        is_told: None,
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
        cost: None,
        drift: Drift::NONE,
    };
    play.event(at(until), What::UpstreamEnded(ended));
    let booked = Booked {
        key,
        n,
        version,
        kind: AttemptKind::First,
        fallback: false,
        outcome: outcome.unwrap_or(Outcome::Timeout),
        latency: Duration::ZERO,
        usage: None,
        is_estimated: false,
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

/// Tells of a request whose caller hangs up after 300 ms, with an attempt that is out; what the driver and the
/// router say of it comes at these moments. Returns the conditions that do not hold.
fn departed(cancelled: Option<u64>, booked: Option<(u64, Outcome)>) -> Vec<String> {
    let mut play = Play::new(&[GateSpec::Policy(spec())]);
    let (key, n, version) = (KEY, 0, CANARY);
    let sent = Sent {
        key,
        scheduled_at: at(0),
        intent: Intent::Random,
        caller: 0,
        input_tokens: 1,
        stream: false,
    };
    let answer = Answered {
        key,
        outcome: Outcome::ClientGone,
        claim: Claim::default(),
        usage: None,
        origin: Origin::default(),
        drift: Drift::NONE,
        streamed: None,
    };
    let booked = booked.map(|(ms, outcome)| {
        let booked = Booked {
            key,
            n,
            version,
            kind: AttemptKind::First,
            fallback: false,
            outcome,
            latency: Duration::ZERO,
            usage: None,
            is_estimated: false,
            drift: Drift::NONE,
        };
        (ms, What::Booked(booked))
    });
    let cancelled = cancelled.map(|ms| (ms, What::Cancelled { key, n }));
    play.event(at(0), What::Sent(sent));
    play.event(at(0), What::Dispatched { key, n, version });
    play.event(at(300), What::Answered(answer));
    for (ms, what) in cancelled.into_iter().chain(booked) {
        play.event(at(ms), what);
    }
    let gate = play.gate();
    let failed = gate.checks.iter().filter(|c| c.status == Status::Fail);
    failed.map(|c| c.condition.clone()).collect()
}

#[test]
fn nothing_goes_on_for_callers_who_left() {
    let gone = Outcome::ClientGone;
    assert!(departed(Some(300), Some((300, gone))).is_empty());
    assert!(departed(None, Some((200, ERROR))).is_empty(), "it was over");
    let rule = "nothing goes on for callers who left";
    assert_eq!(departed(Some(302), Some((302, gone))), [rule]);
    assert_eq!(departed(None, None), [rule]);
    // A caller's leaving is no timeout of the version.
    let early = departed(Some(300), Some((300, Outcome::Timeout)));
    assert_eq!(early, ["no attempt is given up early"]);
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

/// The second try at a version has twice the step, the third three times.
#[test]
fn later_tries_have_more_time_where_it_escalates() {
    let escalating = || PolicySpec {
        escalation: Some(Duration::from_millis(300)),
        ..spec()
    };
    let second = |ms: u64| {
        let tries = [
            (STABLE, 0, 1_000, None),
            (STABLE, 1_100, 1_100 + ms, None),
            (STABLE, 2_500, 2_510, Some(OK)),
        ];
        broken_with(escalating(), &tries, (2_510, OK), None)
    };
    assert!(second(600).is_empty());
    assert_eq!(second(599), ["no attempt is given up early"]);
    assert_eq!(second(601), ["no attempt takes more than 1 s"]);
    // Its own count begins at each version.
    let other = [(CANARY, 0, 1_000, None), (STABLE, 1_000, 1_600, None)];
    let seen = broken_with(escalating(), &other, (1_600, Outcome::Timeout), None);
    assert_eq!(seen, ["no attempt is given up early"]);
}

/// What a rollback takes back is not given up early; anything else is.
#[test]
fn a_rollback_may_take_attempts_back_where_it_is_told_to() {
    let cancelled = |version: VersionId, second: f64, recalled: Option<VersionId>| {
        let spec = PolicySpec { recalled, ..spec() };
        let mut play = Play::new(&[GateSpec::Policy(spec)]);
        play.roll_back(second);
        let tries = [(version, 0, 300, None), (STABLE, 300, 310, Some(OK))];
        tell(&mut play, &tries, (310, OK), None);
        let failed = play.gate().checks.into_iter();
        let early = |c: &Check| c.condition == "no attempt is given up early";
        failed
            .filter(|c| c.status == Status::Fail)
            .filter(early)
            .count()
    };
    assert_eq!(cancelled(CANARY, 0.3, Some(CANARY)), 0);
    assert_eq!(cancelled(CANARY, 0.2, Some(CANARY)), 1, "not then");
    assert_eq!(cancelled(STABLE, 0.3, Some(CANARY)), 1, "not there");
    assert_eq!(cancelled(CANARY, 0.3, None), 1, "they must drain");
}

/// Three in any second at the canary; stable takes what comes.
#[test]
fn no_window_sees_more_than_its_limit() {
    let limited = |tolerance| PolicySpec {
        limits: [None, Some((3, Duration::from_secs(1)))]
            .into_iter()
            .collect(),
        tolerance: Duration::from_millis(tolerance),
        ..spec()
    };
    let arriving = |ms: &[u64], version: VersionId, tolerance: u64| {
        let mut play = Play::new(&[GateSpec::Policy(limited(tolerance))]);
        for at in ms {
            let second = *at as f64 / 1e3;
            play.request(second, &[crate::play::to(version, OK)]);
        }
        let gate = play.gate();
        let rule = |c: &&Check| c.condition.contains("rate limit");
        gate.checks.iter().find(rule).map(|c| c.status)
    };
    assert_eq!(arriving(&[0, 1, 2, 1_000], CANARY, 0), Some(Status::Pass));
    assert_eq!(arriving(&[0, 1, 2, 999], CANARY, 0), Some(Status::Fail));
    // Edges of a clock's windows are no excuse.
    let edge = [700, 800, 900, 1_100, 1_200, 1_300];
    assert_eq!(arriving(&edge, CANARY, 0), Some(Status::Fail));
    assert_eq!(arriving(&[0, 1, 2, 999], STABLE, 0), None, "it has none");
    assert_eq!(arriving(&[0, 1, 2], CANARY, 0), None, "nothing to break");
    // A busy machine may hold something up on its way, within a tenth.
    assert_eq!(arriving(&[0, 1, 2, 900], CANARY, 200), Some(Status::Pass));
    assert_eq!(arriving(&[0, 1, 2, 899], CANARY, 200), Some(Status::Fail));
}

/// The wait begins at the limit, not when a busy machine's timer rang at last.
#[test]
fn a_wait_after_a_late_hang_up_begins_at_the_limit() {
    let late = || PolicySpec {
        jitter: 0.0,
        tolerance: Duration::from_millis(200),
        ..spec()
    };
    let again = |ms: u64| {
        let tries = [(STABLE, 0, 1_030, None), (STABLE, ms, ms + 10, Some(OK))];
        broken_with(late(), &tries, (ms + 10, OK), None)
    };
    assert!(again(1_100).is_empty());
    assert_eq!(again(1_099), ["retries wait as long as they must"]);
}
