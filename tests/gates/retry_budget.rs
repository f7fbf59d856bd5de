//! `policy`: retries against the retry budget.

use std::time::Duration;

use graygate::id::{PerVersion, RequestKey, VersionId};
use graygate::observe::event::{Answered, AttemptKind, Booked, Claim, Origin, Sent, What};
use graygate::protocol::drift::Drift;
use graygate::protocol::outcome::Outcome;
use graygate::router::budget::{BudgetAccount, RetryBudget};
use graygate::time::Timestamp;
use graygate::traffic::caller::Intent;
use graygate::verdict::result::Status;
use graygate::verdict::spec::{BudgetSpec, GateSpec, PolicySpec};
use proptest::prelude::*;

use crate::play::{CANARY, Play, STABLE};

const RULE: &str = "retries stay within their budget";
const MS: u64 = 1_000_000;

/// A memory of a second, in slots of 100 ms.
fn spec(share: f64, reserve_per_second: f64) -> PolicySpec {
    PolicySpec {
        max_retries: 1_000,
        base: Duration::ZERO,
        factor: 1.0,
        jitter: 0.0,
        max_wait: Duration::from_secs(1),
        attempt: Duration::from_millis(500),
        escalation: None,
        first_token: None,
        idle: None,
        is_only_tokens: true,
        budget: Some(BudgetSpec {
            share,
            reserve_per_second,
            memory: Duration::from_secs(1),
        }),
        limits: PerVersion::from_fn(2, |_| None),
        recalled: None,
        request: Duration::from_secs(3),
        tolerance: Duration::ZERO,
    }
}

fn play(spec: PolicySpec) -> Play {
    Play::new(&[GateSpec::Policy(spec)])
}

fn at(ms: u64) -> Timestamp {
    Timestamp(ms * MS)
}

/// Keys that the play itself gives nobody.
fn named(key: u64) -> RequestKey {
    RequestKey(1_000_000 + key)
}

fn send(play: &mut Play, ms: u64, key: u64, n: u32, version: VersionId) {
    let key = named(key);
    if n == 0 {
        // What no client admits to would spoil the verdict.
        let sent = Sent {
            key,
            scheduled_at: at(ms),
            intent: Intent::Random,
            caller: 0,
            input_tokens: 1,
            stream: false,
        };
        play.event(at(ms), What::Sent(sent));
    }
    play.event(at(ms), What::Dispatched { key, n, version });
}

fn fails(play: &mut Play, ms: u64, key: u64, n: u32) {
    let booked = Booked {
        key: named(key),
        n,
        version: STABLE,
        kind: AttemptKind::First,
        fallback: false,
        outcome: Outcome::Overloaded,
        latency: Duration::ZERO,
        usage: None,
        is_estimated: false,
        drift: Drift::NONE,
    };
    play.event(at(ms), What::Booked(booked));
}

fn ends(play: &mut Play, ms: u64, key: u64) {
    let answered = Answered {
        key: named(key),
        outcome: Outcome::Overloaded,
        claim: Claim::default(),
        usage: None,
        origin: Origin::default(),
        streamed: None,
        drift: Drift::NONE,
    };
    play.event(at(ms), What::Answered(answered));
}

/// What the rule says, and of how many windows; none when nothing could have broken it.
fn ruled(play: Play) -> Option<(Status, u64)> {
    let gate = play.gate();
    let check = gate.checks.iter().find(|c| c.condition == RULE)?;
    Some((check.status, check.evidence.n))
}

fn status(play: Play) -> Option<Status> {
    ruled(play).map(|(status, _)| status)
}

/// `firsts` requests at `from`, of which `retries` fail at `decided` and are tried again at `sent`.
fn storm(play: &mut Play, firsts: u64, from: u64, retries: u64, (decided, sent): (u64, u64)) {
    (0..firsts).for_each(|key| send(play, from, key, 0, STABLE));
    (0..retries).for_each(|key| fails(play, decided, key, 0));
    (0..retries).for_each(|key| send(play, sent, key, 1, STABLE));
}

#[test]
fn retries_are_a_share_of_the_first_attempts() {
    let of_hundred = |retries| {
        let mut play = play(spec(0.2, 0.0));
        storm(&mut play, 100, 0, retries, (50, 60));
        status(play)
    };
    assert_eq!(of_hundred(0), None, "nothing could have broken it");
    assert_eq!(of_hundred(20), Some(Status::Pass));
    assert_eq!(of_hundred(21), Some(Status::Fail));
}

#[test]
fn the_reserve_needs_no_first_attempts() {
    let of_ten = |retries| {
        let mut play = play(spec(0.0, 5.0));
        storm(&mut play, 10, 0, retries, (50, 60));
        status(play)
    };
    assert_eq!(of_ten(5), Some(Status::Pass), "five a second, for a second");
    assert_eq!(of_ten(6), Some(Status::Fail));
}

/// What is older than the memory earns nothing, and costs nothing.
#[test]
fn first_attempts_and_retries_are_forgotten_together() {
    let decided_at = |ms| {
        let mut play = play(spec(0.2, 0.0));
        storm(&mut play, 100, 0, 20, (ms, ms));
        status(play)
    };
    assert_eq!(decided_at(999), Some(Status::Pass));
    assert_eq!(decided_at(1_000), Some(Status::Fail));
    // Two storms, each within its own second.
    let second_at = |from: u64| {
        let mut play = play(spec(0.2, 0.0));
        storm(&mut play, 100, 0, 20, (100, 110));
        (0..100).for_each(|i| send(&mut play, from, 1_000 + i, 0, STABLE));
        (0..21).for_each(|i| fails(&mut play, from, 1_000 + i, 0));
        (0..20).for_each(|i| send(&mut play, from, 1_000 + i, 1, STABLE));
        status(play)
    };
    assert_eq!(second_at(1_100), Some(Status::Pass));
}

/// A retry is decided on when the attempt before it is over, however long it waits then.
#[test]
fn a_retry_counts_when_it_is_decided_on() {
    let mut late = play(spec(0.2, 0.0));
    storm(&mut late, 100, 0, 20, (900, 1_900));
    assert_eq!(status(late), Some(Status::Pass));
    // An attempt that nobody ever booked counts when it is tried again.
    let mut silent = play(spec(0.2, 0.0));
    (0..100).for_each(|key| send(&mut silent, 0, key, 0, STABLE));
    (0..20).for_each(|key| send(&mut silent, 1_900, key, 1, STABLE));
    assert_eq!(status(silent), Some(Status::Fail));
}

#[test]
fn an_attempt_that_ran_into_its_limit_was_over_then() {
    // 20 of 100 are given up at their limit, which is in the last slot that remembers the hundred.
    let timer_rings_at = |ms| {
        let mut play = play(spec(0.2, 0.0));
        (0..100).for_each(|key| send(&mut play, 0, key, 0, STABLE));
        (0..20).for_each(|key| send(&mut play, 450, 1_000 + key, 0, CANARY));
        for key in (0..20).map(|key| named(1_000 + key)) {
            play.event(at(ms), What::Cancelled { key, n: 0 });
        }
        (0..20).for_each(|key| send(&mut play, ms, 1_000 + key, 1, CANARY));
        status(play)
    };
    assert_eq!(timer_rings_at(950), Some(Status::Pass));
    assert_eq!(timer_rings_at(1_050), Some(Status::Pass));
}

#[test]
fn a_fallback_is_no_retry_and_its_retries_are() {
    let mut free = play(spec(0.0, 0.0));
    send(&mut free, 0, 1, 0, CANARY);
    fails(&mut free, 1, 1, 0);
    send(&mut free, 1, 1, 1, STABLE);
    assert_eq!(status(free), None);
    let mut again = play(spec(0.0, 0.0));
    send(&mut again, 0, 1, 0, CANARY);
    fails(&mut again, 1, 1, 0);
    send(&mut again, 1, 1, 1, STABLE);
    fails(&mut again, 2, 1, 1);
    send(&mut again, 3, 1, 2, STABLE);
    assert_eq!(status(again), Some(Status::Fail));
}

#[test]
fn without_a_budget_any_number_goes() {
    let mut play = play(PolicySpec {
        budget: None,
        ..spec(0.0, 0.0)
    });
    storm(&mut play, 100, 0, 100, (50, 60));
    assert_eq!(status(play), None);
}

/// Live, what is seen may be off by a slot: no verdict hangs on that.
#[test]
fn a_busy_machine_is_given_a_slot_either_way() {
    let decided_at = |ms, retries| {
        let mut play = play(PolicySpec {
            tolerance: Duration::from_secs(1),
            ..spec(0.2, 0.0)
        });
        storm(&mut play, 100, 0, retries, (ms, ms));
        status(play)
    };
    assert_eq!(decided_at(1_050, 20), Some(Status::Pass));
    assert_eq!(decided_at(1_050, 21), Some(Status::Fail));
    assert_eq!(decided_at(1_250, 20), Some(Status::Fail));
}

/// Slots are judged while the run goes on, and forgotten; a storm is not.
#[test]
fn a_storm_long_ago_is_remembered() {
    let mut play = play(spec(0.2, 0.0));
    storm(&mut play, 100, 0, 21, (50, 60));
    (0..100).for_each(|i| send(&mut play, 60_000 + i * 100, 10_000 + i, 0, STABLE));
    let (status, windows) = ruled(play).expect("a rule");
    assert_eq!((status, windows), (Status::Fail, 1));
}

/// A request of a random run: when it comes, how long its tries take, how long they wait.
type Request = (u64, u64, u64);

/// Plays requests that fail for ever and may be retried `most` times each, by a router with this account
/// or with none, in order of time.
fn endless(play: &mut Play, requests: &[Request], mut account: Option<BudgetAccount>, most: u32) {
    let mut next: Vec<(u64, u64, u32, bool)> = Vec::new();
    let mut come = 0;
    for (key, (gap, ..)) in (0..).zip(requests) {
        come += gap;
        next.push((come, key, 0, true));
    }
    while let Some(first) = (0..next.len()).min_by_key(|i| next[*i]) {
        let (ms, key, n, is_sent) = next.swap_remove(first);
        let (_, takes, waits) = requests[key as usize];
        if is_sent {
            send(play, ms, key, n, STABLE);
            if let Some(account) = account.as_mut().filter(|_| n == 0) {
                account.deposit(at(ms));
            }
            next.push((ms + takes, key, n, false));
            continue;
        }
        fails(play, ms, key, n);
        let may = |account: &mut BudgetAccount| account.try_withdraw(at(ms));
        match n < most && account.as_mut().is_none_or(may) {
            true => next.push((ms + waits, key, n + 1, true)),
            false => ends(play, ms, key),
        }
    }
}

fn requests() -> impl Strategy<Value = Vec<Request>> {
    prop::collection::vec((0..60_u64, 0..200_u64, 0..900_u64), 1..200)
}

proptest! {
    /// Whoever keeps the account is never red.
    #[test]
    fn a_router_that_keeps_its_budget_is_never_red(
        per_mille in 0..1_500_u32,
        reserve in 0..5_u32,
        requests in requests(),
    ) {
        let (share, reserve) = (f64::from(per_mille) / 1e3, f64::from(reserve));
        let mut play = play(spec(share, reserve));
        let account = BudgetAccount::new(&RetryBudget {
            share,
            reserve_per_second: reserve,
            memory: Duration::from_secs(1),
        });
        endless(&mut play, &requests, Some(account), 2);
        prop_assert_ne!(status(play), Some(Status::Fail));
    }

    /// Whoever has none is red, as soon as there is enough to retry.
    #[test]
    fn a_router_without_a_budget_is_red(requests in prop::collection::vec((0..10_u64, 0..50_u64, 0..100_u64), 60..200)) {
        let mut play = play(spec(0.2, 5.0));
        endless(&mut play, &requests, None, 2);
        prop_assert_eq!(status(play), Some(Status::Fail));
    }
}
