//! Routers that split requests in another way than their weights and rules say.

use std::sync::Arc;

use graygate::experiment::Experiment;
use graygate::id::{PerVersion, VersionId};
use graygate::router::config::RouterConfig;
use graygate::router::io::{Event, Input, RequestFacts};

use crate::broken::Defect;
use crate::catalogue::{Mutant, Source};

pub(super) fn all() -> Vec<Mutant> {
    [weights(), rules(), instances()]
        .into_iter()
        .flatten()
        .collect()
}

fn weights() -> Vec<Mutant> {
    vec![
        // The cheapest lie: a split that is a little off.
        weighing(
            "nine-percent-for-ten",
            "splits 9 % instead of 10 %",
            Source::Entries(&[3], 1),
            |_, config| {
                (
                    config.split.weights[config.stable],
                    config.split.weights[config.canary],
                ) = (91.0, 9.0)
            },
        )
        .caught("split-proven-at-scale", "split", "share 10 %"),
        weighing(
            "weights-ignored",
            "ignores its weights: one half each",
            Source::Entries(&[1], 1),
            |_, config| config.split.weights = config.split.weights.values().map(|_| 1.0).collect(),
        )
        .caught("weights-below-one-count", "split", "share 25 %"),
        weighing(
            "weights-truncated",
            "cuts its weights down to whole numbers",
            Source::Entries(&[2], 1),
            |weights, config| config.split.weights = weights.values().map(|w| w.trunc()).collect(),
        )
        .caught("weights-below-one-count", "split", "share 25 %"),
        weighing(
            "weight-zero-not-accepted",
            "takes a weight of zero for none given (`weight || 1`)",
            Source::Entries(&[5], 1),
            |weights, config| {
                let or_one = |w: &f64| if *w == 0.0 { 1.0 } else { *w };
                config.split.weights = weights.values().map(or_one).collect();
            },
        )
        .caught("canary-at-zero-gets-nothing", "split", "share 0 %"),
        weighing(
            "weights-swapped",
            "gives each version the weight of the other",
            Source::Entries(&[1], 1),
            |_, config| {
                let (stable, canary) = (config.stable, config.canary);
                let weights = &mut config.split.weights;
                (weights[stable], weights[canary]) = (weights[canary], weights[stable]);
            },
        )
        .caught("weights-below-one-count", "split", "share 25 %"),
    ]
}

fn weighing(
    id: &'static str,
    says: &'static str,
    source: Source,
    change: fn(PerVersion<f64>, &mut RouterConfig),
) -> Mutant {
    Mutant::of_config(id, says, source, move |config| {
        change(config.split.weights.clone(), config);
    })
}

fn rules() -> Vec<Mutant> {
    let deaf = |id, says, source| {
        Mutant::of_config(id, says, source, |config: &mut RouterConfig| {
            config.routes.clear()
        })
    };
    vec![
        deaf(
            "rule-on-tiers-ignored",
            "ignores its rule on tiers",
            Source::Family(17),
        )
        .caught("premium-users-first", "requests", "misrouted == 0"),
        deaf(
            "rule-on-tenants-ignored",
            "ignores its rule on tenants",
            Source::Family(17),
        )
        .caught(
            "sessions-stay-through-the-rush",
            "requests#1",
            "misrouted == 0",
        ),
        deaf(
            "override-header-ignored",
            "sends whoever chooses a version by a header wherever chance says",
            Source::Entries(&[43], 17),
        )
        .caught(
            "sticky-users-leave-a-closed-canary",
            "requests#2",
            "misrouted == 0",
        ),
    ]
}

fn instances() -> Vec<Mutant> {
    vec![
        Mutant::of_defect(
            "split-restarts-with-every-worker",
            "splits by a sequence that every short-lived worker begins anew: one in ten, the first one first",
            Source::Family(1),
            |e| Workers::new(e, 5),
        )
        .caught("healthy-canary", "split", "share 10 %"),
        Mutant::of_defect(
            "anonymous-callers-pooled",
            "puts all callers without a name into one bucket",
            Source::Entries(&[6], 2),
            |_| Pools,
        )
        .caught("anonymous-callers-are-split", "split", "share 30 %"),
        Mutant::of_defect(
            "fast-failures-attract",
            "sends more to the version that answers faster, whatever it answers",
            Source::Entries(&[33], 18),
            Greedy::new,
        )
        .caught("s15-flapping-canary", "split", "share 20 %"),
    ]
}

/// Who sends requests elsewhere than chance would.
fn sent_to(facts: &RequestFacts, version: VersionId) -> Arc<RequestFacts> {
    let forced = Some(version);
    Arc::new(RequestFacts {
        forced,
        ..facts.clone()
    })
}

/// One request in ten goes to the canary, beginning with the first, by each worker's own count; a worker serves
/// `life` requests and another one takes over.
struct Workers {
    stable: VersionId,
    canary: VersionId,
    life: u32,
    served: u32,
}

impl Workers {
    fn new(experiment: &Experiment, life: u32) -> Self {
        Self {
            stable: experiment.router.stable,
            canary: experiment.router.canary,
            life,
            served: 0,
        }
    }
}

impl Defect for Workers {
    fn input(&mut self, mut input: Input) -> Vec<Input> {
        if let Input::Arrival { facts, .. } = &mut input {
            let version = match (self.served % self.life) % 10 {
                0 => self.canary,
                _ => self.stable,
            };
            self.served += 1;
            *facts = sent_to(facts, version);
        }
        vec![input]
    }
}

struct Pools;

impl Defect for Pools {
    fn input(&mut self, mut input: Input) -> Vec<Input> {
        if let Input::Arrival { facts, .. } = &mut input
            && facts.user.is_none()
        {
            *facts = Arc::new(RequestFacts {
                user: Some("anonymous".to_owned()),
                ..(**facts).clone()
            });
        }
        vec![input]
    }
}

/// Keeps a moving average of how long attempts at each version take, and sends every second request to the faster one
/// when the other takes twice as long.
struct Greedy {
    averages: PerVersion<f64>,
    count: u32,
}

impl Greedy {
    fn new(experiment: &Experiment) -> Self {
        Self {
            averages: experiment.router.versions.values().map(|_| 0.05).collect(),
            count: 0,
        }
    }

    fn fastest(&self) -> Option<VersionId> {
        let (fast, least) = self.averages.iter().min_by(|a, b| a.1.total_cmp(b.1))?;
        let others = self
            .averages
            .values()
            .filter(|average| **average > 2.0 * least);
        (others.count() > 0).then_some(fast)
    }
}

impl Defect for Greedy {
    fn input(&mut self, mut input: Input) -> Vec<Input> {
        if let Input::Arrival { facts, .. } = &mut input {
            self.count += 1;
            let fastest = self.fastest().filter(|_| self.count.is_multiple_of(2));
            *facts = fastest.map_or_else(|| facts.clone(), |fastest| sent_to(facts, fastest));
        }
        vec![input]
    }
    fn event(&mut self, event: Event) -> Vec<Event> {
        if let Event::AttemptEnded {
            version, latency, ..
        } = &event
        {
            let average = &mut self.averages[*version];
            *average += 0.2 * (latency.as_secs_f64() - *average);
        }
        vec![event]
    }
}
