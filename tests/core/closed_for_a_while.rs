//! What a canary that is closed for a while must not do to its release: time, evidence, limits.

use std::sync::Arc;

use graygate::id::VersionId;
use graygate::protocol::outcome::Outcome;
use graygate::router::config::{InFlight, JudgeConfig, RouterConfig};
use graygate::router::control::Order;
use graygate::router::deployment::Deployment;
use graygate::router::gray::GrayRouter;
use graygate::router::io::{Event, Evidence, Input, Measure};
use graygate::router::judge::sequential::{HoldReason, Metric, SequentialConfig};
use graygate::router::limit::RateLimit;
use graygate::router::ramp::{Inconclusive, Phase};
use graygate::time::Timestamp;

use crate::release::{another, apply, checkpoint, ramped, roll_back};
use crate::rig::{CANARY, Rig, SEED, STABLE, config, ms};

fn one_a_second() -> RateLimit {
    RateLimit {
        requests: 1,
        window: ms(1_000),
        max_wait: ms(2_500),
        guard: ms(0),
    }
}

fn inconclusive_is_bad() -> RouterConfig {
    let mut config = ramped();
    if let Some(ramp) = &mut config.ramp {
        ramp.inconclusive = Inconclusive::Rollback;
    }
    config
}

fn sequential(config: RouterConfig) -> RouterConfig {
    let judge = SequentialConfig {
        every: ms(500),
        ..SequentialConfig::default()
    };
    RouterConfig {
        judge: JudgeConfig::Sequential(judge),
        ..config
    }
}

impl Rig {
    fn holds(&self) -> Vec<HoldReason> {
        let holds = self.events.iter().filter_map(|event| match event {
            Event::Held(reason) => *reason,
            _ => None,
        });
        holds.collect()
    }

    /// The last that the judge said of a metric.
    fn judged(&self, metric: Metric) -> Option<Evidence> {
        let mut looks = self.events.iter().rev();
        looks.find_map(|event| match event {
            Event::Judged(e) if e.measure == Measure::Sequential(metric) => Some(*e),
            _ => None,
        })
    }

    /// Requests that chance splits, each answered at once.
    fn random(&mut self, n: u32) {
        for _ in 0..n {
            let request = self.arrive(false);
            self.end(request, Outcome::Success);
            self.advance(ms(10));
        }
    }
}

/// A canary that gets nothing is not being tried: the night it was withheld is no part of its hold,
/// nor of its limit.
#[test]
fn the_time_a_canary_is_withheld_does_not_count() {
    let mut rig = Rig::new(inconclusive_is_bad());
    rig.advance(ms(4_000));
    rig.must(Order::Withhold).unwrap();
    rig.advance(ms(3_600_000));
    assert_eq!(rig.look().held, ms(4_000));
    assert_eq!(rig.must(Order::Resume).unwrap().held, ms(4_000));
    rig.advance(ms(5_000));
    assert!(
        !rig.is_rolled_back(),
        "it was tried for nine seconds of thirty"
    );
    assert_eq!(rig.look().held, ms(9_000));
    assert_eq!(rig.look().phase, Phase::Progressing);
}

#[test]
fn the_time_the_store_fails_does_not_count() {
    let mut rig = Rig::new(inconclusive_is_bad());
    rig.advance(ms(4_000));
    rig.store = Some(false);
    rig.must(checkpoint("mine")).unwrap_err();
    rig.advance(ms(3_600_000));
    rig.store = Some(true);
    while rig.look().share == 0.0 {
        assert_eq!(rig.look().held, ms(4_000));
        rig.advance(ms(500));
    }
    rig.advance(ms(3_000));
    assert!(!rig.is_rolled_back());
    let held = rig.look().held;
    assert!(
        held >= ms(7_000) && held < ms(7_500),
        "it goes on: {held:?}"
    );
}

/// What is withheld has no weight: stable's requests alone are no broken split.
#[test]
fn the_judge_knows_that_a_canary_is_withheld() {
    let mut rig = Rig::new(sequential(config()));
    rig.random(50);
    rig.must(Order::Withhold).unwrap();
    rig.random(500);
    rig.must(Order::Resume).unwrap();
    rig.random(500);
    assert!(
        !rig.holds().contains(&HoldReason::BrokenSplit),
        "{:?}",
        rig.holds()
    );
}

/// Waiting for the router's own limiter is not the version's doing.
#[test]
fn the_queue_of_a_limiter_is_no_evidence() {
    let mut config = sequential(config());
    config.versions[CANARY].rate_limit = Some(one_a_second());
    let mut rig = Rig::new(config);
    for n in 0..400 {
        let request = rig.arrive(false);
        let is_out = !rig.path(request).is_empty();
        if is_out {
            rig.end(request, Outcome::Success);
        }
        if !is_out && n % 2 == 0 {
            rig.advance(ms(5));
            rig.input(Input::ClientGone { request });
        }
        rig.advance(ms(100));
        let waited: Vec<_> = (0..=n)
            .map(graygate::id::RequestId)
            .filter(|r| rig.ended(*r).is_none() && !rig.path(*r).is_empty())
            .collect();
        for request in waited {
            rig.end(request, Outcome::Success);
        }
    }
    assert_eq!(rig.judged(Metric::Slow).map_or(0, |e| e.samples), 0);
    assert_eq!(rig.judged(Metric::ClientGone).map_or(0, |e| e.samples), 0);
    assert!(!rig.is_rolled_back());
}

/// Who was turned away from the canary's queue is answered by stable, whose failure is its own.
#[test]
fn stables_answer_is_not_booked_on_the_canary() {
    let mut config = sequential(config());
    config.retry.max_retries = 0;
    config.versions[CANARY].rate_limit = Some(one_a_second());
    let mut rig = Rig::new(config);
    let all: Vec<_> = (0..20).map(|_| rig.arrive(false)).collect();
    let queued: Vec<_> = all
        .into_iter()
        .filter(|r| rig.path(*r).is_empty())
        .collect();
    assert!(queued.len() > 3);
    rig.must(Order::Withhold).unwrap();
    for request in &queued {
        assert_eq!(rig.path(*request), [STABLE]);
        rig.end(*request, Outcome::ServerError);
    }
    rig.must(Order::Resume).unwrap();
    rig.advance(ms(1_000));
    assert_eq!(rig.judged(Metric::Error).map_or(0, |e| e.samples), 0);
    assert!(!rig.is_rolled_back());
}

fn sent_at_once(rig: &mut Rig, version: VersionId) -> usize {
    let all: Vec<_> = (0..5).map(|_| rig.arrive(false)).collect();
    let paths = all.iter().map(|r| rig.path(*r));
    paths.filter(|path| *path == [version]).count()
}

/// What a rollback restores is in force as a whole, its limits as well.
#[test]
fn a_restored_configuration_has_its_rate_limits() {
    let mut limited = config();
    limited.versions[STABLE].rate_limit = Some(one_a_second());
    let mut rig = Rig::new(limited);
    rig.must(apply(another())).unwrap();
    rig.must(roll_back()).unwrap();
    assert_eq!(sent_at_once(&mut rig, STABLE), 1);
}

/// And whoever waits at the closed canary is not let through because the restored one has no limit.
#[test]
fn a_queue_at_a_closed_canary_is_not_let_through() {
    let mut rig = Rig::new(config());
    let mut limited = another();
    limited.rollback.in_flight = InFlight::Cancel;
    limited.versions[CANARY].rate_limit = Some(one_a_second());
    rig.must(apply(limited)).unwrap();
    let all: Vec<_> = (0..5).map(|_| rig.arrive(true)).collect();
    rig.must(roll_back()).unwrap();
    assert_eq!(rig.path(all[0]), [CANARY, STABLE]);
    for request in &all[1..] {
        assert_eq!(rig.path(*request), [STABLE]);
    }
}

#[test]
fn what_is_found_has_its_rate_limits() {
    let mut limited = another();
    limited.versions[STABLE].rate_limit = Some(one_a_second());
    let file = Arc::new(config());
    let kept = Deployment::first(file.clone()).with_applied(Arc::new(limited), None);
    let core = GrayRouter::unknown(file, SEED, Timestamp::ZERO, Some(1_000_000));
    let mut rig = Rig::of(Box::new(core));
    rig.input(Input::Found {
        kept: Some(Box::new(kept)),
        checkpoints: Vec::new(),
    });
    rig.must(roll_back()).unwrap();
    assert_eq!(sent_at_once(&mut rig, STABLE), 1);
}

/// Whoever tries again and again while nothing can be kept does not fill the memory.
#[test]
fn orders_that_fail_leave_one_thing_to_write_again() {
    let mut rig = Rig::new(config());
    rig.store = Some(false);
    for _ in 0..50 {
        rig.must(checkpoint("mine")).unwrap_err();
    }
    rig.store = Some(true);
    rig.advance(ms(60_000));
    assert_eq!(rig.kept.len(), 1);
}

/// The way back does not lead to the version that was just found bad.
#[test]
fn a_refuge_whose_stable_is_the_bad_canary_is_none() {
    let mut rig = Rig::new(config());
    let swapped = RouterConfig {
        stable: CANARY,
        canary: STABLE,
        ..config()
    };
    rig.must(apply(swapped)).unwrap();
    rig.must(roll_back()).unwrap();
    assert_eq!(rig.rollbacks()[0].restored, None);
    let request = rig.arrive(false);
    assert_eq!(rig.path(request), [CANARY], "which is the stable one there");
}
