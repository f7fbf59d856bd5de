//! `rate_limit`: how many attempts arrive in any window.

use std::time::Duration;

use graygate::id::{RequestKey, VersionId};
use graygate::observe::event::{Accepted, What};
use graygate::protocol::outcome::Outcome;
use graygate::stats::compare::Share;
use graygate::time::Timestamp;
use graygate::verdict::result::{Check, Status};
use graygate::verdict::spec::{GateSpec, RateLimitSpec, Scope};

use crate::play::{CANARY, Play, STABLE, to};

const MS: u64 = 1_000_000;

/// Three in any second, at the canary.
fn spec() -> RateLimitSpec {
    RateLimitSpec {
        version: CANARY,
        name: "v2".to_owned(),
        most: 3,
        window: Duration::from_secs(1),
        fullest: Share::parse_percent("80%").expect("a share"),
        min_n: 4,
        scope: Scope::default(),
        tolerance: Duration::ZERO,
    }
}

/// Requests, each with one attempt at this version, at these milliseconds.
fn visit(play: &mut Play, version: VersionId, arrivals: &[u64]) {
    for ms in arrivals {
        play.request(*ms as f64 / 1e3, &[to(version, Outcome::Success)]);
    }
}

fn judged(spec: RateLimitSpec, arrivals: &[u64]) -> Check {
    let mut play = Play::new(&[GateSpec::RateLimit(spec)]);
    visit(&mut play, CANARY, arrivals);
    play.gate().checks.remove(0)
}

fn status(spec: RateLimitSpec, arrivals: &[u64]) -> Status {
    judged(spec, arrivals).status
}

#[test]
fn as_many_as_the_limit_may_come_in_any_window() {
    let check = judged(spec(), &[0, 400, 999, 1_000, 1_400, 1_999]);
    assert_eq!(check.status, Status::Pass, "{check:#?}");
    assert_eq!(check.condition, "at most 3 attempts at v2 in any 1 s");
    assert_eq!(check.seen, "3 of 6 in the 1 s until 0.999 s");
    assert_eq!(check.evidence.estimate, Some(3.0));
    assert_eq!(check.evidence.n, 6);
}

#[test]
fn one_more_in_a_window_fails_and_is_named() {
    let check = judged(spec(), &[0, 400, 999, 1_000, 1_399, 2_600]);
    assert_eq!(check.status, Status::Fail);
    assert_eq!(check.offenders, [RequestKey(4)]);
    assert_eq!(check.evidence.estimate, Some(4.0));
    let seen = "4 of 6 in the 1 s until 1.399 s; 1 came beyond the limit, the first at 1.399 s";
    assert_eq!(check.seen, seen);
}

/// Three at the end of one second of the clock, and three at the beginning of the next.
#[test]
fn windows_may_begin_at_any_moment() {
    let check = judged(spec(), &[900, 950, 990, 1_000, 1_050, 1_100]);
    assert_eq!(check.status, Status::Fail);
    assert_eq!(check.evidence.estimate, Some(6.0));
    assert_eq!(check.offenders, [3, 4, 5].map(RequestKey));
}

/// Memory is bounded by the limit: of more than twice of it, nothing more is known.
#[test]
fn a_flood_is_told_as_one() {
    let check = judged(spec(), &[0; 50]);
    assert!(
        check.seen.starts_with("more than 6 of 50"),
        "{}",
        check.seen
    );
    assert!(check.seen.contains("47 came beyond"), "{}", check.seen);
}

#[test]
fn a_limit_that_nobody_pressed_against_shows_nothing() {
    assert_eq!(status(spec(), &[]), Status::Inconclusive);
    // No more than the limit in all: they could not have broken it.
    let check = judged(spec(), &[0, 1, 2]);
    assert_eq!(check.status, Status::Inconclusive);
    assert_eq!(check.more_requests, Some(1));
    // Many, and always two in a second: no limiter is needed for that.
    let apart: Vec<u64> = (0..40).map(|i| i * 500).collect();
    let check = judged(spec(), &apart);
    assert_eq!(check.status, Status::Inconclusive);
    assert!(check.seen.contains("nobody pressed"), "{}", check.seen);
    // Unless somebody says that it is enough.
    let enough = RateLimitSpec {
        fullest: Share::parse_percent("66%").expect("a share"),
        ..spec()
    };
    assert_eq!(status(enough.clone(), &apart), Status::Pass);
    let all_of_it = RateLimitSpec {
        fullest: Share::parse_percent("67%").expect("a share"),
        ..enough
    };
    assert_eq!(status(all_of_it, &apart), Status::Inconclusive);
}

#[test]
fn too_many_fail_however_few_they_are() {
    let demanding = RateLimitSpec {
        min_n: 1_000,
        ..spec()
    };
    assert_eq!(status(demanding, &[0; 4]), Status::Fail);
}

#[test]
fn other_versions_and_other_times_do_not_count() {
    let mut play = Play::new(&[GateSpec::RateLimit(spec())]);
    visit(&mut play, CANARY, &[0, 0, 0]);
    visit(&mut play, STABLE, &[0, 0, 0, 0]);
    visit(&mut play, CANARY, &[1_000]);
    assert_eq!(play.status(), Status::Pass);
    let later = RateLimitSpec {
        scope: Scope {
            from: Timestamp(1_000 * MS),
            to: Some(Timestamp(3_000 * MS)),
        },
        ..spec()
    };
    let burst_at = |ms| status(later.clone(), &[ms, ms, ms, ms, 1_500, 1_500, 1_500, 2_600]);
    assert_eq!(burst_at(0), Status::Pass);
    assert_eq!(burst_at(1_000), Status::Fail);
}

/// Retries and fallbacks take their room like everybody, and so does what nobody can tell the sender of.
#[test]
fn whatever_arrives_counts() {
    let mut play = Play::new(&[GateSpec::RateLimit(spec())]);
    let busy = to(CANARY, Outcome::Overloaded);
    play.request(0.0, &[busy, busy, busy, busy]);
    assert_eq!(play.status(), Status::Fail);
    let mut play = Play::new(&[GateSpec::RateLimit(spec())]);
    visit(&mut play, CANARY, &[0, 0, 0]);
    let stranger = Accepted {
        row: 9,
        key: None,
        version: CANARY,
        ordinal: 0,
        n: None,
        fault: None,
        retry_after: None,
        altered: None,
        is_told: None,
    };
    play.event(Timestamp(500 * MS), What::Accepted(stranger));
    let gate = play.gate();
    assert_eq!(gate.status, Status::Fail);
    assert!(gate.checks[0].offenders.is_empty());
}

/// Live, what a busy machine holds up on the way is nobody's fault.
#[test]
fn a_busy_machine_is_given_a_tenth_of_the_window() {
    let live = RateLimitSpec {
        tolerance: Duration::from_secs(1),
        ..spec()
    };
    let last_at = |spec: &RateLimitSpec, ms| status(spec.clone(), &[0, 0, 0, ms]);
    assert_eq!(last_at(&spec(), 900), Status::Fail);
    assert_eq!(last_at(&live, 900), Status::Pass);
    assert_eq!(last_at(&live, 899), Status::Fail);
    let check = judged(live, &[0, 0, 0, 899]);
    assert!(check.seen.contains("in the 900 ms"), "{}", check.seen);
}
