//! Whatever is asked of a release, in whatever order, while requests come and the store fails now and
//! then: what must hold always.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use proptest::prelude::*;

use graygate::id::RequestId;
use graygate::protocol::outcome::Outcome;
use graygate::router::budget::RetryBudget;
use graygate::router::config::{FallbackPolicy, InFlight, JudgeConfig, RouterConfig, StickyBy};
use graygate::router::control::Order;
use graygate::router::io::{Action, Cause, Event, Input, RequestFacts};
use graygate::router::judge::sequential::SequentialConfig;
use graygate::router::limit::RateLimit;
use graygate::router::ramp::{Inconclusive, Phase};

use crate::release::{apply, checkpoint, ramped, roll_back, weights};
use crate::rig::{CANARY, Rig, config, ms};

#[derive(Clone, Debug)]
enum Act {
    Arrive(Option<u8>),
    Content(usize),
    End(usize, Outcome),
    Gone(usize),
    Pass(u64),
    PassLate(u64),
    Ask(u8),
    Apply(Box<RouterConfig>),
    Store(Option<bool>),
    Written(bool),
}

fn outcome() -> impl Strategy<Value = Outcome> {
    prop_oneof![
        4 => Just(Outcome::Success),
        3 => Just(Outcome::ServerError),
        1 => Just(Outcome::Unauthorized),
        1 => Just(Outcome::BadRequest),
        1 => Just(Outcome::RateLimited),
    ]
}

prop_compose! {
    fn any_config()(
        has_ramp in any::<bool>(),
        judge in 0..3_u8,
        limit in prop::option::of(1..4_u32),
        stable_limit in prop::option::of(2..6_u32),
        cancels in any::<bool>(),
        is_sticky in any::<bool>(),
        after_retries in any::<bool>(),
        rolls_back in any::<bool>(),
        budget in prop::option::of(0.0..1.0_f64),
        is_swapped in prop::bool::weighted(0.1),
        n in 0..5_u32,
    ) -> RouterConfig {
        let mut c = if has_ramp { ramped() } else { config() };
        c.versions[CANARY].model = format!("model-{n}");
        match judge {
            0 => {}
            1 => c.judge = JudgeConfig::Off,
            _ => c.judge = JudgeConfig::Sequential(SequentialConfig { every: ms(500), ..SequentialConfig::default() }),
        }
        let limited = |requests| RateLimit { requests, window: ms(1_000), guard: ms(50), max_wait: ms(700) };
        c.versions[CANARY].rate_limit = limit.map(limited);
        c.versions[c.stable].rate_limit = stable_limit.map(limited);
        if cancels { c.rollback.in_flight = InFlight::Cancel; }
        if is_sticky { c.split.sticky = Some(StickyBy::User); }
        if after_retries { c.fallback = FallbackPolicy::AfterRetries; }
        if let (true, Some(ramp)) = (rolls_back, &mut c.ramp) { ramp.inconclusive = Inconclusive::Rollback; }
        c.retry.budget = budget.map(|share| RetryBudget { share, reserve_per_second: 0.1, memory: ms(1_000) });
        if is_swapped { std::mem::swap(&mut c.stable, &mut c.canary); }
        c
    }
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        12 => prop::option::of(0..20_u8).prop_map(Act::Arrive),
        3 => (0..8_usize).prop_map(Act::Content),
        12 => (0..8_usize, outcome()).prop_map(|(i, o)| Act::End(i, o)),
        2 => (0..8_usize).prop_map(Act::Gone),
        8 => (0..1_500_u64).prop_map(Act::Pass),
        1 => (0..40_000_u64).prop_map(Act::Pass),
        2 => (0..8_000_u64).prop_map(Act::PassLate),
        6 => (0..10_u8).prop_map(Act::Ask),
        1 => any_config().prop_map(|c| Act::Apply(Box::new(c))),
        2 => prop_oneof![Just(Some(true)), Just(Some(false)), Just(None)].prop_map(Act::Store),
        2 => any::<bool>().prop_map(Act::Written),
    ]
}

struct Watched {
    rig: Rig,
    canary: graygate::id::VersionId,
    open: Vec<RequestId>,
    of_release: BTreeSet<RequestId>,
    canary_of: BTreeMap<RequestId, graygate::id::VersionId>,
    is_rolled_back: bool,
    is_withheld: bool,
    is_failing: bool,
    asked: usize,
    next: (usize, usize),
    rollbacks: usize,
}

impl Watched {
    fn act(&mut self, act: &Act) {
        match act {
            Act::Arrive(user) => {
                let who = RequestFacts {
                    tier: user.is_none().then(|| "premium".to_owned()),
                    user: user.map(|u| u.to_string()),
                    model: "m".to_owned(),
                    ..RequestFacts::default()
                };
                let request = self.rig.arrive_as(Arc::new(who));
                self.open.push(request);
                self.of_release.insert(request);
                self.canary_of.insert(request, self.canary);
            }
            Act::Content(i) | Act::End(i, _) | Act::Gone(i) => self.answer(*i, act),
            Act::Pass(by) => self.pass(*by),
            Act::PassLate(by) => self.rig.advance_late(ms(*by)),
            Act::Ask(n) => {
                let order = match n {
                    0 => Order::Promote,
                    1 => Order::Pause,
                    2 | 3 => Order::Resume,
                    4 => roll_back(),
                    5 => checkpoint("mine"),
                    6 => weights(3.0, 1.0),
                    7 => Order::Withhold,
                    8 => Order::Restore {
                        checkpoint: "cp-1".to_owned(),
                    },
                    _ => Order::InstantRollback {
                        why: "x".to_owned(),
                    },
                };
                self.asked += 1;
                self.rig.order(order);
            }
            Act::Apply(config) => {
                self.asked += 1;
                self.rig.order(apply((**config).clone()));
            }
            Act::Store(works) => {
                if works.is_some() && self.rig.store.is_none() {
                    self.rig.written(works.unwrap_or_default());
                }
                self.rig.store = *works;
            }
            Act::Written(ok) => self.rig.written(*ok),
        }
        self.watch();
    }

    fn answer(&mut self, i: usize, act: &Act) {
        self.open.retain(|r| self.rig.ended(*r).is_none());
        let Some(request) = self.open.get(i).copied() else {
            return;
        };
        if matches!(act, Act::Gone(_)) {
            return self.rig.input(Input::ClientGone { request });
        }
        if self.rig.path(request).is_empty() {
            return;
        }
        match act {
            Act::End(_, outcome) => self.rig.end(request, *outcome),
            _ => {
                let attempt = self.rig.out(request);
                self.rig.input(Input::FirstContent { attempt });
            }
        }
    }

    fn pass(&mut self, by: u64) {
        let until = self.rig.now + ms(by);
        let mut calls = 0;
        while let Some(due) = self.rig.core.poll_timeout().filter(|due| *due <= until) {
            let left = due.since(self.rig.now);
            self.rig.advance_late(left);
            calls = if left.is_zero() { calls + 1 } else { 0 };
            assert!(calls < 5, "a timer spins");
            self.watch();
        }
        self.rig.now = until;
    }

    fn watch(&mut self) {
        let (a, e) = self.next;
        let was = (self.is_rolled_back, self.is_failing, self.is_withheld);
        let changed = self.rig.events[e..]
            .iter()
            .any(|e| matches!(e, Event::Standing(_)));
        for action in &self.rig.actions[a..] {
            if let Action::Send { attempt, version } = action
                && self.canary_of.get(&attempt.request) == Some(version)
                && !changed
            {
                let mine = self.of_release.contains(&attempt.request);
                assert!(!(was.0 && mine), "rolled back, and yet {attempt:?}");
                assert!(!was.1 && !was.2, "closed, and yet {attempt:?}");
            }
        }
        for event in &self.rig.events[e..] {
            match event {
                Event::RolledBack(_) => {
                    assert!(!self.is_rolled_back, "twice");
                    self.is_rolled_back = true;
                    self.rollbacks += 1;
                }
                Event::Standing(s) => match s.cause {
                    Cause::StoreFailed => self.is_failing = true,
                    Cause::StoreBack => {
                        self.is_failing = false;
                        self.is_withheld &= s.share == 0.0;
                    }
                    Cause::ModelMissing => self.is_withheld = true,
                    Cause::Applied => {
                        self.is_rolled_back = false;
                        self.is_withheld = false;
                        self.of_release.clear();
                    }
                    _ => self.is_withheld &= s.share == 0.0,
                },
                _ => {}
            }
        }
        self.next = (self.rig.actions.len(), self.rig.events.len());
        if let Some(adopted) = self.rig.adopted.last() {
            self.canary = adopted.canary;
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, ..ProptestConfig::default() })]

    #[test]
    fn what_must_hold_always_holds(
        config in any_config(),
        acts in prop::collection::vec(act(), 1..250),
    ) {
        let canary = config.canary;
        let mut watched = Watched {
            rig: Rig::new(config),
            canary,
            open: Vec::new(),
            of_release: BTreeSet::new(),
            canary_of: BTreeMap::new(),
            is_rolled_back: false,
            is_withheld: false,
            is_failing: false,
            asked: 0,
            next: (0, 0),
            rollbacks: 0,
        };
        for act in &acts {
            watched.act(act);
        }
        watched.act(&Act::Store(Some(true)));
        watched.pass(90_000);
        let mut ends: BTreeMap<RequestId, u32> = BTreeMap::new();
        for event in &watched.rig.events {
            if let Event::RequestEnded { request, .. } = event {
                *ends.entry(*request).or_default() += 1;
            }
        }
        prop_assert!(ends.values().all(|n| *n == 1));
        prop_assert_eq!(watched.rig.core.footprint().in_flight, 0);
        prop_assert_eq!(watched.rig.answers.len(), watched.asked, "every order is answered once");
        let records: Vec<_> = watched.rig.kept.iter().filter_map(|c| c.rollback.clone()).map(|r| r.id).collect();
        let distinct: BTreeSet<_> = records.iter().cloned().collect();
        prop_assert_eq!(records.len(), distinct.len(), "written once");
        prop_assert_eq!(distinct.len(), watched.rollbacks, "every rollback is written");
        let standing = watched.rig.look();
        if let Some(kept) = watched.rig.kept.last() {
            prop_assert_eq!(kept.deployment.revision, standing.revision);
            prop_assert_eq!(kept.deployment.phase, standing.phase);
            prop_assert_eq!(kept.deployment.phase == Phase::RolledBack, watched.is_rolled_back);
        }
        prop_assert!(!watched.is_failing, "the store works again");
    }
}
