//! Routers that do not know what it means to force a version.

use std::sync::Arc;

use graygate::experiment::Experiment;
use graygate::id::{IdMap, RequestId, RequestKey, Seed, VersionId};
use graygate::rng::{Purpose, draw};
use graygate::router::io::{Event, Input, RequestFacts};

use crate::broken::Defect;
use crate::catalogue::{Mutant, Source};

const FORCED: &str = "forced-requests-are-no-evidence";

pub(super) fn all() -> Vec<Mutant> {
    vec![
        Mutant::of_defect(
            "force-ignored",
            "lets chance and rules decide whatever was forced",
            Source::Entries(&[43], 17),
            |_| Ignores,
        )
        .caught("rollback-is-final", "requests#2", "misrouted == 0")
        .caught(FORCED, "requests", "misrouted == 0"),
        Mutant::of_defect(
            "forced-requests-as-evidence",
            "books forced requests as the judge's evidence",
            Source::Family(17),
            BooksAsChance::new,
        )
        .caught(FORCED, "promotion", "reaches full"),
    ]
}

fn unforced(facts: &RequestFacts) -> Arc<RequestFacts> {
    Arc::new(RequestFacts {
        forced: None,
        ..facts.clone()
    })
}

struct Ignores;

impl Defect for Ignores {
    fn input(&mut self, mut input: Input) -> Vec<Input> {
        if let Input::Arrival { facts, .. } = &mut input {
            *facts = unforced(facts);
        }
        vec![input]
    }
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
