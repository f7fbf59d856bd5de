//! Routers that do not know what it means to force a version.

use std::sync::Arc;

use graygate::experiment::Experiment;
use graygate::id::{IdMap, RequestId, RequestKey, Seed, VersionId};
use graygate::rng::{Purpose, draw};
use graygate::router::io::{Action, Event, Input, RequestFacts};

use super::{Defect, assert_red, with_defect};

fn unforced(facts: &RequestFacts) -> Arc<RequestFacts> {
    Arc::new(RequestFacts {
        forced: None,
        ..facts.clone()
    })
}

/// Chance and rules decide whatever was forced.
#[test]
fn a_router_that_ignores_what_is_forced_is_caught() {
    struct Ignores;
    impl Defect for Ignores {
        fn input(&mut self, mut input: Input) -> Vec<Input> {
            if let Input::Arrival { facts, .. } = &mut input {
                *facts = unforced(facts);
            }
            vec![input]
        }
    }
    let output = with_defect("rollback-is-final", |_| Ignores);
    assert_red(&output, "requests#2", "misrouted == 0");
    let output = with_defect("forced-requests-are-no-evidence", |_| Ignores);
    assert_red(&output, "requests", "misrouted == 0");
}

/// Forced requests go where they must, and are booked as if chance had sent them: to the core each of them
/// has a key that chance sends to the canary at any weight.
struct BooksAsChance {
    canary: VersionId,
    chosen: RequestKey,
    real: IdMap<RequestId, RequestKey>,
}

impl BooksAsChance {
    fn new(experiment: &Experiment) -> Self {
        let is_chosen = |key: &RequestKey| position(experiment.seed, *key) < 0.01;
        let mut far = (1_u64 << 40..).map(RequestKey);
        Self {
            canary: experiment.router.canary,
            chosen: far.find(is_chosen).expect("one in a hundred"),
            real: IdMap::default(),
        }
    }

    fn real_key(&self, request: RequestId, key: &mut RequestKey) {
        *key = self.real.get(request).copied().unwrap_or(*key);
    }
}

/// Where the split places a request.
fn position(seed: Seed, key: RequestKey) -> f64 {
    draw(seed, Purpose::Split, key, VersionId::default(), 0).unit()
}

impl Defect for BooksAsChance {
    fn input(&mut self, mut input: Input) -> Vec<Input> {
        if let Input::Arrival {
            request,
            key,
            facts,
        } = &mut input
            && facts.forced == Some(self.canary)
        {
            self.real.insert(*request, *key);
            *key = self.chosen;
            *facts = unforced(facts);
        }
        vec![input]
    }
    fn event(&mut self, mut event: Event) -> Vec<Event> {
        match &mut event {
            Event::Assigned { request, key, .. } | Event::RequestEnded { request, key, .. } => {
                self.real_key(*request, key);
            }
            Event::AttemptEnded { attempt, key, .. } => self.real_key(attempt.request, key),
            _ => {}
        }
        vec![event]
    }
}

#[test]
fn forced_requests_that_are_booked_as_evidence_are_caught() {
    let output = with_defect("forced-requests-are-no-evidence", BooksAsChance::new);
    assert_red(&output, "promotion", "reaches full");
}

/// What is forced to the canary goes there after its rollback, too.
#[test]
fn force_that_outlives_the_rollback_is_caught() {
    struct Outlives {
        canary: VersionId,
        forced: IdMap<RequestId, ()>,
        closed: bool,
    }
    impl Defect for Outlives {
        fn input(&mut self, input: Input) -> Vec<Input> {
            if let Input::Arrival { request, facts, .. } = &input
                && facts.forced == Some(self.canary)
            {
                self.forced.insert(*request, ());
            }
            vec![input]
        }
        fn action(&mut self, mut action: Action) -> Option<Action> {
            if let Action::Send { attempt, version } = &mut action
                && self.closed
                && attempt.n == 0
                && self.forced.get(attempt.request).is_some()
            {
                *version = self.canary;
            }
            Some(action)
        }
        fn event(&mut self, event: Event) -> Vec<Event> {
            self.closed |= matches!(event, Event::RolledBack(_));
            vec![event]
        }
    }
    let output = with_defect("rollback-is-final", |e| Outlives {
        canary: e.router.canary,
        forced: IdMap::default(),
        closed: false,
    });
    assert_red(&output, "after_rollback", "canary_requests == 0");
}
