//! Who meets which version: stickiness, headers, names.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use graygate::id::VersionId;
use graygate::router::config::{Condition, Limit, Route, RouterConfig, StickyBy};
use graygate::router::io::{Choice, Event, RequestFacts};

use crate::rig::{CANARY, Rig, STABLE, config};

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
