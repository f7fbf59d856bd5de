//! Who meets which version: stickiness, headers, names.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use graygate::id::{RequestId, RequestKey, Seed, VersionId};
use graygate::protocol::outcome::Outcome;
use graygate::router::config::{Condition, InFlight, Limit, Route, RouterConfig, StickyBy};
use graygate::router::control::Order;
use graygate::router::gray::GrayRouter;
use graygate::router::io::{Action, AnswerTraits, Choice, Chosen, Event, Input, RequestFacts};
use graygate::router::limit::RateLimit;
use graygate::router::split;
use graygate::time::Timestamp;
use proptest::prelude::*;

use crate::rig::{CANARY, Rig, STABLE, config, ms};

fn sticky(by: StickyBy, canary_percent: f64) -> RouterConfig {
    let mut config = config();
    config.routes.clear();
    config.split.sticky = Some(by);
    config.split.weights = [100.0 - canary_percent, canary_percent]
        .into_iter()
        .collect();
    config
}

fn user(name: &str) -> Arc<RequestFacts> {
    Arc::new(RequestFacts {
        user: Some(name.to_owned()),
        ..RequestFacts::default()
    })
}

/// Of 2,000 users, those who meet the canary.
fn at_canary(config: &RouterConfig) -> BTreeSet<u32> {
    let mut rig = Rig::new(config.clone());
    let is_at_canary = |i: &u32| {
        let request = rig.arrive_as(user(&format!("user {i}")));
        rig.path(request) == [CANARY]
    };
    (0..2_000).filter(is_at_canary).collect()
}

#[test]
fn a_caller_meets_the_same_version_every_time() {
    let mut rig = Rig::new(sticky(StickyBy::User, 30.0));
    for name in ["ann", "bob", "cid", "dee", "eve"] {
        let first = rig.arrive_as(user(name));
        let path = rig.path(first);
        for _ in 0..20 {
            let again = rig.arrive_as(user(name));
            assert_eq!(rig.path(again), path, "{name}");
        }
    }
}

#[test]
fn growing_the_canary_moves_callers_only_to_it() {
    let small = at_canary(&sticky(StickyBy::User, 5.0));
    let large = at_canary(&sticky(StickyBy::User, 15.0));
    assert!(small.is_subset(&large));
    assert!(
        (60..=145).contains(&small.len()),
        "{} of 2,000",
        small.len()
    );
    assert!(
        (230..=375).contains(&large.len()),
        "{} of 2,000",
        large.len()
    );
}

#[test]
fn another_canary_meets_other_callers() {
    let config = sticky(StickyBy::User, 15.0);
    let mut next = config.clone();
    next.versions[CANARY].name = "v3".to_owned();
    assert_ne!(at_canary(&config), at_canary(&next));
}

/// Nobody's name, an empty one included, is no bucket that all of them share.
#[test]
fn callers_without_a_name_are_split_one_by_one() {
    for facts in [Arc::default(), user("")] {
        let mut rig = Rig::new(sticky(StickyBy::User, 50.0));
        let at_canary = (0..400)
            .filter(|_| {
                let request = rig.arrive_as(facts.clone());
                rig.path(request) == [CANARY]
            })
            .count();
        assert!((140..=260).contains(&at_canary), "{at_canary} of 400");
        let is_random =
            |e: &Event| !matches!(e, Event::Assigned { choice, .. } if *choice != Choice::Random);
        assert!(rig.events.iter().all(is_random));
    }
}

#[test]
fn the_headers_that_matter_are_those_of_rules_and_of_the_split() {
    let mut config = sticky(StickyBy::Header("x-session".to_owned()), 50.0);
    let header = |name: &str| Condition::Header {
        name: name.to_owned(),
        value: "on".to_owned(),
    };
    config.routes = vec![Route {
        when: vec![Condition::Model("m".to_owned()), header("x-beta")],
        to: CANARY,
    }];
    let names: Vec<&str> = config.headers_looked_at().collect();
    assert_eq!(names, ["x-beta", "x-session"]);
    let seen = |name: &str| match name {
        "x-beta" => Some("on"),
        "x-other" => Some("secret"),
        _ => None,
    };
    let facts = RequestFacts::collect(&config, "m", Some("ann"), seen);
    assert_eq!(facts.headers, [("x-beta".to_owned(), "on".to_owned())]);
    assert_eq!(facts.user.as_deref(), Some("ann"));
}

#[test]
fn versions_are_found_by_name_and_by_model() {
    let mut config = config();
    assert_eq!(config.version_named("v2"), Some(CANARY));
    assert_eq!(config.version_named("v1"), Some(STABLE));
    assert_eq!(config.version_named("v3"), None);
    assert_eq!(config.version_of_model("model-v1"), Some(STABLE));
    assert_eq!(config.version_of_model("model-v3"), None);
    config.versions[VersionId(1)].model = "model-v1".to_owned();
    assert_eq!(config.version_of_model("model-v1"), None, "two of them");
}

#[test]
fn a_bound_is_a_share_or_seconds() {
    assert_eq!(Limit::ErrorRate(0.05).bound(), 0.05);
    assert_eq!(Limit::SuccessRate(0.95).bound(), 0.95);
    assert_eq!(Limit::P99(Duration::from_millis(500)).bound(), 0.5);
}

/// By a session's header or by the user.
fn any_key() -> impl Strategy<Value = StickyBy> {
    prop_oneof![
        Just(StickyBy::User),
        Just(StickyBy::Header("x-session".to_owned()))
    ]
}

/// A caller with this key.
fn keyed(by: &StickyBy, key: &str) -> Arc<RequestFacts> {
    match by {
        StickyBy::User => user(key),
        StickyBy::Header(header) => Arc::new(RequestFacts {
            headers: vec![(header.clone(), key.to_owned())],
            ..RequestFacts::default()
        }),
    }
}

/// Does a caller meet the canary, at a fresh router with this seed?
fn meets_canary(config: &RouterConfig, seed: u64, who: Arc<RequestFacts>) -> bool {
    let core = GrayRouter::new(Arc::new(config.clone()), Seed(seed), Timestamp::ZERO);
    let mut rig = Rig::of(Box::new(core));
    let request = rig.arrive_as(who);
    rig.path(request) == [CANARY]
}

proptest! {
    /// Whatever the weights, growing the canary moves callers only to it, shrinking it only away.
    #[test]
    fn places_are_intervals_that_begin_at_zero(
        by in any_key(),
        keys in prop::collection::vec("[a-z0-9-]{1,12}", 1..20),
        mut shares in prop::collection::vec(0.0..100.0_f64, 2..8),
    ) {
        shares.sort_by(f64::total_cmp);
        for key in keys {
            let meets = |share: &f64| meets_canary(&sticky(by.clone(), *share), 1, keyed(&by, &key));
            let met: Vec<bool> = shares.iter().map(meets).collect();
            prop_assert!(met.is_sorted(), "{key}: {met:?} at {shares:?}");
        }
    }

    /// Neither a restart, nor another seed, nor the weights' scale moves anybody.
    #[test]
    fn nobody_moves_without_a_reason(
        by in any_key(),
        key in "[a-z0-9-]{1,12}",
        share in 0.0..100.0_f64,
        scale in 0.001..1_000.0_f64,
        seeds in (any::<u64>(), any::<u64>()),
    ) {
        let config = sticky(by.clone(), share);
        let here = meets_canary(&config, seeds.0, keyed(&by, &key));
        prop_assert_eq!(meets_canary(&config, seeds.1, keyed(&by, &key)), here);
        let mut scaled = config;
        for (_, weight) in scaled.split.weights.iter_mut() {
            *weight *= scale;
        }
        // Rounding may move a place by one part in 2⁵², which none of these keys has.
        prop_assert_eq!(meets_canary(&scaled, seeds.0, keyed(&by, &key)), here);
    }

    /// Chance, a rule, a choice, force, and the caller's own key: none of them leads to a canary that
    /// was rolled back, whatever happens around it.
    #[test]
    fn after_a_rollback_no_way_leads_to_the_canary(
        steps in prop::collection::vec((0..9_u8, 0..5_u8, 0..400_u64), 30..80),
        at in 0..30_usize,
        is_sticky in any::<bool>(),
        in_flight in prop::sample::select(vec![InFlight::Drain, InFlight::Cancel]),
    ) {
        let mut config = config();
        config.split.sticky = is_sticky.then_some(StickyBy::User);
        config.rollback.in_flight = in_flight;
        config.versions[CANARY].rate_limit = Some(RateLimit {
            requests: 3,
            window: ms(500),
            ..RateLimit::default()
        });
        let mut rig = Rig::new(config);
        let mut requests = Vec::new();
        let mut closed = None;
        for (i, (what, way, wait)) in steps.into_iter().enumerate() {
            if i == at {
                let why = "a test".to_owned();
                rig.order(Order::RollBack { why });
            }
            if rig.is_rolled_back() && closed.is_none() {
                closed = Some(rig.actions.len());
            }
            match what {
                0..4 => requests.push(rig.arrive_as(by_way(way))),
                4 => rig.advance(ms(wait)),
                5 => { rig.order(Order::SetWeights([1.0, 99.0].into_iter().collect())); }
                6 => { rig.order(Order::Promote); }
                _ => end_one(&mut rig, &requests, wait as usize, what),
            }
        }
        prop_assume!(rig.is_rolled_back());
        let closed = closed.unwrap_or(rig.actions.len());
        rig.advance(ms(60_000));
        let to_canary = rig.actions[closed..].iter().filter(|action| {
            matches!(action, Action::Send { version, .. } if *version == CANARY)
        });
        prop_assert_eq!(to_canary.count(), 0);
    }
}

/// A request that wants to go to the canary by one of the five ways.
fn by_way(way: u8) -> Arc<RequestFacts> {
    let mut facts = RequestFacts::default();
    match way {
        0 => facts.forced = Some(CANARY),
        1 => facts.chosen = Some(Chosen::Version(CANARY)),
        2 => facts.tier = Some("premium".to_owned()),
        3 => facts.user = Some("ann".to_owned()),
        _ => {}
    }
    Arc::new(facts)
}

fn end_one(rig: &mut Rig, requests: &[RequestId], which: usize, what: u8) {
    let Some(request) = requests.get(which % requests.len().max(1)) else {
        return;
    };
    let out = rig.sent(*request).last().map(|(attempt, _)| *attempt);
    if let Some(attempt) = out {
        let outcome = match what {
            7 => Outcome::ServerError,
            _ => Outcome::Success,
        };
        rig.input(Input::AttemptEnded {
            attempt,
            outcome,
            retry_after: None,
            answer: AnswerTraits::default(),
        });
    }
}

/// The canary's callers are as many as its share says, at 0.5 % as at 50 %: of 200,000, within five
/// standard deviations.
#[test]
fn shares_are_exact_however_small() {
    for share in [0.005, 0.05, 0.5] {
        let config = sticky(StickyBy::User, share * 100.0);
        let salt = split::salt(&config, 0);
        let n = 200_000;
        let met = (0..n)
            .filter(|i| {
                let who = user(&format!("caller-{i}"));
                let (version, choice) = split::assign(&config, Seed(1), salt, RequestKey(*i), &who);
                assert_eq!(choice, Choice::Sticky);
                version == CANARY
            })
            .count();
        let (mean, deviation) = (n as f64 * share, (n as f64 * share * (1.0 - share)).sqrt());
        let off = (met as f64 - mean).abs() / deviation;
        assert!(off < 5.0, "{met} of {n} at {share}: {off} deviations");
    }
}

/// A changed weight moves nobody who need not move, in the very router that runs.
#[test]
fn a_weight_that_changes_at_work_moves_only_new_callers() {
    let mut rig = Rig::new(sticky(StickyBy::User, 5.0));
    let mut those = |canary: f64| -> BTreeSet<u32> {
        rig.order(Order::SetWeights(
            [100.0 - canary, canary].into_iter().collect(),
        ));
        let meets = |i: &u32| {
            let request = rig.arrive_as(user(&format!("user {i}")));
            rig.path(request) == [CANARY]
        };
        (0..500).filter(meets).collect()
    };
    let (small, large, again) = (those(5.0), those(15.0), those(5.0));
    assert!(small.is_subset(&large) && small.len() < large.len());
    assert_eq!(small, again);
}
