//! When nothing can be kept: the canary gets nothing, stable serves, and nobody is promised anything.

use std::sync::Arc;

use graygate::protocol::outcome::Outcome;
use graygate::router::config::RouterConfig;
use graygate::router::control::{Order, Refusal};
use graygate::router::deployment::Deployment;
use graygate::router::gray::GrayRouter;
use graygate::router::io::{Cause, Event, Input};
use graygate::router::ramp::Phase;
use graygate::time::Timestamp;

use crate::release::{another, apply, checkpoint, ramped, roll_back, weights};
use crate::rig::{CANARY, Rig, SEED, STABLE, config, ms};

impl Rig {
    fn path_of_another(&mut self) -> Vec<graygate::id::VersionId> {
        let request = self.arrive(true);
        let path = self.path(request);
        self.end(request, Outcome::Success);
        path
    }
}

#[test]
fn a_store_that_fails_closes_the_canary_until_it_is_back() {
    let mut rig = Rig::new(config());
    rig.store = Some(false);
    assert_eq!(rig.must(weights(0.0, 1.0)), Err(Refusal::StoreFailed));
    assert_eq!(rig.path_of_another(), [STABLE]);
    assert_eq!(rig.look().share, 0.0);
    rig.advance(ms(300_000));
    assert_eq!(
        rig.path_of_another(),
        [STABLE],
        "stable serves as long as it takes"
    );
    rig.store = Some(true);
    rig.advance(ms(31_000));
    assert_eq!(rig.path_of_another(), [CANARY], "it opens by itself");
    assert_eq!(rig.look().share, 0.5, "at the weight that was acknowledged");
    let causes: Vec<Cause> = rig
        .events
        .iter()
        .filter_map(|event| match event {
            Event::Standing(standing) => Some(standing.cause),
            _ => None,
        })
        .collect();
    assert_eq!(
        causes,
        [Cause::StoreFailed, Cause::StoreBack],
        "said once each"
    );
}

#[test]
fn it_does_not_open_again_if_it_was_rolled_back_meanwhile() {
    let mut rig = Rig::new(config());
    rig.store = Some(false);
    assert_eq!(rig.must(checkpoint("mine")), Err(Refusal::StoreFailed));
    assert_eq!(
        rig.order(roll_back()),
        None,
        "it is in force; whoever asked hears once it is kept"
    );
    assert!(rig.is_rolled_back());
    rig.advance(ms(60_000));
    rig.store = Some(true);
    rig.advance(ms(31_000));
    assert_eq!(rig.path_of_another(), [STABLE]);
    let (_, answer) = rig.answers.last().unwrap();
    assert_eq!(answer.as_ref().unwrap().phase, Phase::RolledBack);
    let written: Vec<_> = rig
        .kept
        .iter()
        .filter_map(|change| change.rollback.clone())
        .collect();
    assert_eq!(written, rig.rollbacks(), "its record is written, once");
}

/// Retries, too: a request that waits for its next try does not go back to a closed canary.
#[test]
fn requests_under_way_fall_back_when_the_store_fails() {
    let mut retrying = config();
    retrying.fallback = graygate::router::config::FallbackPolicy::AfterRetries;
    let mut rig = Rig::new(retrying);
    let request = rig.arrive(true);
    rig.end(request, Outcome::ServerError);
    rig.store = Some(false);
    rig.must(checkpoint("mine")).unwrap_err();
    rig.advance(ms(900));
    assert_eq!(rig.path(request), [CANARY, STABLE]);
}

#[test]
fn the_ramp_stands_while_nothing_can_be_kept() {
    let mut rig = Rig::new(ramped());
    rig.store = Some(false);
    rig.advance(ms(11_000));
    assert_eq!(rig.look().share, 0.0);
    for _ in 0..600 {
        rig.canary_ends(Outcome::Success);
        rig.advance(ms(100));
    }
    rig.store = Some(true);
    rig.advance(ms(31_000));
    assert_eq!(rig.look().share, 0.2, "its step is the one it was");
}

fn unknown(file: RouterConfig) -> Rig {
    let core = GrayRouter::unknown(Arc::new(file), SEED, Timestamp::ZERO, Some(1_000_000));
    let mut rig = Rig::of(Box::new(core));
    rig.store = Some(false);
    rig.look();
    rig
}

fn found(rig: &mut Rig, kept: Option<Deployment>) {
    rig.store = Some(true);
    let checkpoints = kept.as_ref().map(|kept| kept.checkpoints.clone());
    rig.input(Input::Found {
        kept: kept.map(Box::new),
        checkpoints: checkpoints.unwrap_or_default(),
    });
}

#[test]
fn who_does_not_know_what_was_kept_sends_nothing_to_the_canary() {
    let mut rig = unknown(config());
    assert_eq!(rig.path_of_another(), [STABLE]);
    assert_eq!(rig.must(apply(another())), Err(Refusal::StoreFailed));
    assert_eq!(rig.must(Order::Resume), Err(Refusal::StoreFailed));
    rig.advance(ms(600_000));
    assert_eq!(rig.path_of_another(), [STABLE]);
    // It asks again and again, but a yes is no news of what was kept.
    rig.store = Some(true);
    rig.advance(ms(60_000));
    assert_eq!(rig.path_of_another(), [STABLE]);
    assert!(!rig.kept.is_empty());
}

#[test]
fn it_goes_on_from_what_is_found() {
    let mut first = Rig::new(ramped());
    first.must(Order::Promote).unwrap();
    let kept = first.last_kept().deployment.clone();
    let mut rig = unknown(ramped());
    found(&mut rig, Some(kept));
    let standing = rig.look();
    assert_eq!((standing.share, standing.revision), (0.5, 2));
    assert_eq!(rig.path_of_another(), [CANARY]);

    let mut rig = unknown(ramped());
    found(&mut rig, None);
    assert_eq!(rig.look().share, 0.2, "nothing was kept: the first step");
}

#[test]
fn what_was_rolled_back_is_found_rolled_back() {
    let mut first = Rig::new(config());
    first.must(roll_back()).unwrap();
    let kept = first.last_kept().deployment.clone();
    let mut rig = unknown(config());
    found(&mut rig, Some(kept.clone()));
    assert_eq!(rig.look().phase, Phase::RolledBack);
    assert_eq!(rig.path_of_another(), [STABLE]);
    assert!(!rig.is_rolled_back(), "once is enough");
    // Another file is another release.
    let mut rig = unknown(another());
    found(&mut rig, Some(kept));
    assert_eq!(rig.path_of_another(), [CANARY]);
}

#[test]
fn a_rollback_before_it_is_known_of_what_is_done_then() {
    let mut rig = unknown(config());
    assert_eq!(rig.order(roll_back()), None);
    assert_eq!(rig.path_of_another(), [STABLE]);
    let kept = Deployment::first(Arc::new(config()));
    found(&mut rig, Some(kept));
    assert_eq!(rig.rollbacks().len(), 1);
    let (_, answer) = rig.answers.last().unwrap();
    assert_eq!(answer.as_ref().unwrap().phase, Phase::RolledBack);
    assert_eq!(rig.path_of_another(), [STABLE]);
}

/// What an admin applied survives a restart with the file that it replaced, and so does a rollback.
#[test]
fn the_file_counts_only_when_it_changed() {
    let file = Arc::new(config());
    let mut rig = Rig::resumed(Deployment::first(file.clone()));
    rig.must(roll_back()).unwrap();
    rig.must(apply(another())).unwrap();
    let kept = rig.last_kept().deployment.clone();
    let resumed = Deployment::resumed(Some(kept.clone()), file, None);
    assert_eq!(
        resumed.release, 2,
        "not the one that was rolled back, again"
    );
    assert_eq!(*resumed.config, another());
    let resumed = Deployment::resumed(Some(kept), Arc::new(ramped()), None);
    assert_eq!((resumed.release, resumed.share()), (3, 0.2));
    assert_eq!(resumed.checkpoints.last().unwrap().release, 2);
}
