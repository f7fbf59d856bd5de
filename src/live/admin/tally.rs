//! What the gateway has done since it started, counted: a fold of its events, made to be cheap.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::id::VersionId;
use crate::live::admin::latency::Latency;
use crate::live::gateway::driver::Driver;
use crate::observe::cost::VersionCosts;
use crate::observe::event::{
    AttemptKind, Booked, Finding, RunEvent, Settled, Sink, StandingFacts, What,
};
use crate::pricing::Price;
use crate::protocol::drift::DriftKind;
use crate::protocol::outcome::Outcome;
use crate::router::config::RouterConfig;
use crate::time::Timestamp;

/// Errors that are kept.
pub const ERRORS: usize = 50;
/// Names of versions that are counted on their own. Whatever is applied later is counted as
/// [`OTHER`]: what is scraped must not grow for ever.
const NAMES: usize = 32;
/// The name under which versions beyond those are counted.
pub const OTHER: &str = "other";
/// How many outcomes there are.
const OUTCOMES: usize = Outcome::ALL.len();

/// How often each outcome came.
pub type PerOutcome = [u64; OUTCOMES];

/// What is counted of one version.
#[derive(Clone, Debug, Default)]
pub struct VersionTally {
    /// Its name.
    pub name: String,
    /// Requests that were given to it as they arrived.
    pub assigned: u64,
    /// Requests that it answered, of its own and in the canary's stead.
    pub served: u64,
    /// Those of them in the canary's stead.
    pub served_as_fallback: u64,
    /// Attempts by why they were made, in the order of [`WHYS`], and outcome.
    pub attempts: [PerOutcome; WHYS.len()],
    /// How long attempts took: those that succeeded, and those that failed.
    pub latency: [Latency; 2],
    /// Answers that differ from the OpenAI shape, by how they do, in the order of [`DriftKind::ALL`].
    pub drift: [u64; DriftKind::ALL.len()],
    /// What its attempts cost while it had a price, by what their answers state.
    pub costs: VersionCosts,
}

impl VersionTally {
    fn booked(&mut self, booked: &Booked, price: Option<Price>) {
        self.attempts[why_index(booked)][booked.outcome.index()] += 1;
        let is_failure = usize::from(!booked.outcome.is_success());
        self.latency[is_failure].add(booked.latency);
        for (kind, count) in DriftKind::ALL.into_iter().zip(&mut self.drift) {
            *count += u64::from(booked.drift.has(kind));
        }
        if price.is_some() {
            self.costs.price = price;
            self.costs.booked(booked);
        }
    }
}

/// Where a version of the present configuration is counted.
#[derive(Clone, Copy, Debug)]
struct Place {
    index: usize,
    price: Option<Price>,
}

/// Something that went wrong: an attempt, or a request as its caller saw it.
#[derive(Clone, Debug, PartialEq)]
pub struct Mishap {
    /// When.
    pub at: Timestamp,
    /// The gateway's number of the request.
    pub request: u64,
    /// The version that was tried; none for a request.
    pub version: Option<String>,
    /// Which attempt of the request, from 0, and why it was made; none for a request.
    pub attempt: Option<(u32, &'static str)>,
    /// How it ended.
    pub outcome: Outcome,
    /// How long it took; none for a request.
    pub latency_ms: Option<f64>,
}

/// Everything that is counted.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// By version, in the order in which they were first seen.
    pub versions: Vec<VersionTally>,
    /// Where each [`VersionId`] of the present configuration is counted.
    places: Vec<Place>,
    /// Requests that ended, by outcome.
    pub ended: PerOutcome,
    /// Requests that failed, by outcome, without and with stable tried after the canary.
    pub failed: [PerOutcome; 2],
    /// The newest errors, oldest first.
    pub errors: VecDeque<Mishap>,
    /// The judge's newest finding of each measure.
    pub findings: BTreeMap<(VersionId, &'static str), Finding>,
    /// Why the judge holds; none when it does not.
    pub held: Option<&'static str>,
    /// Rollbacks by their reason.
    pub rollbacks: BTreeMap<&'static str, u64>,
    /// How often the store failed.
    pub store_failures: u64,
    /// Does it fail now?
    pub is_store_broken: bool,
    /// Is the canary's model missing?
    pub is_model_missing: bool,
    /// What changed the standing last.
    pub cause: Option<&'static str>,
}

impl Tally {
    /// Requests that arrived.
    pub fn arrived(&self) -> u64 {
        self.versions.iter().map(|v| v.assigned).sum()
    }

    /// The name of a version of the present configuration.
    pub fn name(&self, version: VersionId) -> &str {
        let place = self.places.get(version.index());
        let found = place.and_then(|place| self.versions.get(place.index));
        found.map_or(OTHER, |version| version.name.as_str())
    }

    /// Takes the names of another configuration in.
    fn bind(&mut self, config: &RouterConfig) {
        let versions = config.versions.values();
        self.places = versions.map(|v| self.place(&v.name, v.price)).collect();
    }

    fn place(&mut self, name: &str, price: Option<Price>) -> Place {
        let index = self.place_of(name);
        // What was spent stays spent under a configuration without prices.
        let costs = &mut self.versions[index].costs;
        costs.price = price.or(costs.price);
        Place { index, price }
    }

    fn place_of(&mut self, name: &str) -> usize {
        let find = |list: &[VersionTally], name: &str| list.iter().position(|v| v.name == name);
        let name = match find(&self.versions, name) {
            Some(place) => return place,
            None if self.versions.len() < NAMES => name,
            None => OTHER,
        };
        find(&self.versions, name).unwrap_or_else(|| {
            self.versions.push(VersionTally {
                name: name.to_owned(),
                ..VersionTally::default()
            });
            self.versions.len() - 1
        })
    }

    fn version(&mut self, version: VersionId) -> Option<&mut VersionTally> {
        let place = self.places.get(version.index())?;
        self.versions.get_mut(place.index)
    }

    fn booked(&mut self, at: Timestamp, booked: &Booked) {
        let Some(&Place { index, price }) = self.places.get(booked.version.index()) else {
            return;
        };
        let version = &mut self.versions[index];
        version.booked(booked, price);
        if booked.outcome.is_success() {
            return;
        }
        let name = version.name.clone();
        self.note(Mishap {
            at,
            request: booked.key.0,
            version: Some(name),
            attempt: Some((booked.n, booked.kind.name())),
            outcome: booked.outcome,
            latency_ms: Some(booked.latency.as_secs_f64() * 1e3),
        });
    }

    fn settled(&mut self, at: Timestamp, settled: &Settled) {
        self.ended[settled.outcome.index()] += 1;
        if let Some(version) = settled.served_by.and_then(|v| self.version(v)) {
            version.served += 1;
            version.served_as_fallback += u64::from(settled.fallback);
        }
        if settled.outcome.is_success() {
            return;
        }
        self.failed[usize::from(settled.fallback)][settled.outcome.index()] += 1;
        self.note(Mishap {
            at,
            request: settled.key.0,
            version: None,
            attempt: None,
            outcome: settled.outcome,
            latency_ms: None,
        });
    }

    fn note(&mut self, mishap: Mishap) {
        if self.errors.len() == ERRORS {
            self.errors.pop_front();
        }
        self.errors.push_back(mishap);
    }

    fn stands(&mut self, standing: &StandingFacts) {
        self.cause = Some(standing.cause);
        self.store_failures += u64::from(standing.cause == "store_failed");
        self.is_store_broken = standing.closed.contains(&"store_failed");
        self.is_model_missing = standing.closed.contains(&"model_missing");
        if standing.cause == "applied" {
            self.findings.clear();
            self.held = None;
        }
    }
}

fn why_index(booked: &Booked) -> usize {
    match (booked.kind, booked.fallback) {
        (AttemptKind::First, _) => 0,
        (AttemptKind::Retry, false) => 1,
        (AttemptKind::Fallback, _) => 2,
        (AttemptKind::Retry, true) => 3,
    }
}

/// Why an attempt is made, in the order in which that is counted: its kind, and how often its request
/// had fallen back to another version before.
pub const WHYS: [(AttemptKind, u32); 4] = [
    (AttemptKind::First, 0),
    (AttemptKind::Retry, 0),
    (AttemptKind::Fallback, 1),
    (AttemptKind::Retry, 1),
];

/// A tally that many look at.
#[derive(Clone, Debug, Default)]
pub struct SharedTally(Arc<Mutex<Tally>>);

impl SharedTally {
    /// The tally of a gateway with this configuration.
    pub fn new(config: &RouterConfig) -> Self {
        let mut tally = Tally::default();
        tally.bind(config);
        Self(Arc::new(Mutex::new(tally)))
    }

    /// The tally as it is now.
    pub fn read(&self) -> Tally {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Tally> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Counts what a gateway's events say.
pub struct Counter {
    tally: SharedTally,
    driver: Arc<Driver>,
}

impl Counter {
    /// Counts into this tally; the driver knows which configuration the events are about.
    pub fn new(tally: SharedTally, driver: Arc<Driver>) -> Self {
        Self { tally, driver }
    }
}

impl Counter {
    /// The events that are counted.
    pub fn hears(what: &What) -> bool {
        matches!(
            what,
            What::Assigned { .. }
                | What::Booked(_)
                | What::Settled(_)
                | What::Judged(_)
                | What::Held(_)
                | What::RolledBack(_)
                | What::Standing(_)
        )
    }
}

impl Sink for Counter {
    fn event(&mut self, event: &RunEvent) {
        // Asked before the lock is taken: nobody may wait for two locks.
        let adopted = matches!(event.what, What::Standing(_)).then(|| self.driver.adopted().config);
        let mut tally = self.tally.lock();
        if let Some(config) = adopted {
            tally.bind(&config);
        }
        tally.take(event);
    }
}

impl Tally {
    fn take(&mut self, event: &RunEvent) {
        match &event.what {
            What::Assigned { version, .. } => {
                if let Some(version) = self.version(*version) {
                    version.assigned += 1;
                }
            }
            What::Booked(booked) => self.booked(event.at, booked),
            What::Settled(settled) => self.settled(event.at, settled),
            What::Judged(finding) => {
                let key = (finding.version, finding.measure);
                self.findings.insert(key, finding.clone());
            }
            What::Held(reason) => self.held = *reason,
            What::RolledBack(record) => {
                *self.rollbacks.entry(record.cause).or_default() += 1;
                // Nobody judges a closed canary.
                self.held = None;
            }
            What::Standing(standing) => self.stands(standing),
            What::Sent(_)
            | What::Dispatched { .. }
            | What::Cancelled { .. }
            | What::Accepted(_)
            | What::UpstreamEnded(_)
            | What::Answered(_)
            | What::NotPromoted(_)
            | What::Fault { .. }
            | What::Gaps(_)
            | What::Told(_)
            | What::HeldBack { .. }
            | What::Purse(_)
            | What::Ordered(_)
            | What::OrderEnded(_)
            | What::OutOfFiles
            | What::ClockJumped(_)
            | What::Machine(_)
            | What::Keys(_)
            | What::Memory { .. } => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::id::RequestKey;
    use crate::pricing::Cost;
    use crate::protocol::openai::Usage;

    fn tally() -> Tally {
        let mut tally = Tally::default();
        tally.places = ["v1", "v2"].map(|name| tally.place(name, None)).to_vec();
        tally
    }

    fn booked(key: u64, outcome: Outcome) -> Booked {
        Booked {
            key: RequestKey(key),
            n: 0,
            version: VersionId(1),
            kind: AttemptKind::First,
            fallback: false,
            outcome,
            latency: Duration::from_millis(20),
            usage: None,
            is_estimated: false,
            drift: crate::protocol::drift::Drift::NONE,
        }
    }

    #[test]
    fn attempts_count_on_the_version_that_was_tried() {
        let mut tally = tally();
        tally.booked(Timestamp::ZERO, &booked(1, Outcome::Unauthorized));
        let settled = Settled {
            key: RequestKey(1),
            outcome: Outcome::Success,
            served_by: Some(VersionId(0)),
            fallback: true,
            attempts: 2,
        };
        tally.settled(Timestamp::ZERO, &settled);
        let [v1, v2] = &tally.versions[..] else {
            panic!("two versions");
        };
        assert_eq!(v2.attempts[0][Outcome::Unauthorized.index()], 1);
        assert_eq!((v1.served, v1.served_as_fallback, v2.served), (1, 1, 0));
        assert_eq!(tally.errors.len(), 1);
    }

    #[test]
    fn an_attempt_counts_by_its_kind_and_by_the_fallback_before_it() {
        for (place, (kind, index)) in WHYS.into_iter().enumerate() {
            let mut tally = tally();
            let fallback = index > 0;
            let attempt = Booked {
                kind,
                fallback,
                ..booked(1, Outcome::Success)
            };
            tally.booked(Timestamp::ZERO, &attempt);
            let counts = tally.versions[1].attempts.map(|c| c.iter().sum::<u64>());
            assert_eq!(counts[place], 1, "{kind:?} {fallback}");
            assert_eq!(counts.iter().sum::<u64>(), 1);
        }
    }

    #[test]
    fn drift_and_cost_count_by_version_at_the_price_in_force() {
        let mut tally = tally();
        tally.places[1].price = Some(Price {
            input: Cost::from_nanos(2_000_000_000),
            output: Cost::from_nanos(8_000_000_000),
        });
        let drift = [DriftKind::Wrapped].into_iter().collect();
        let usage = Some(Usage {
            prompt_tokens: 1_000,
            completion_tokens: 500,
        });
        let answer = Booked {
            drift,
            usage,
            is_estimated: false,
            ..booked(1, Outcome::Success)
        };
        tally.booked(Timestamp::ZERO, &answer);
        tally.booked(Timestamp::ZERO, &booked(2, Outcome::Timeout));
        let [v1, v2] = &tally.versions[..] else {
            panic!("two versions");
        };
        assert_eq!((v1.costs.total(), v1.drift), (None, [0; 7]));
        assert_eq!(v2.drift[0], 1);
        assert_eq!(v2.costs.total(), Some(Cost::from_nanos(6_000_000)));
        assert_eq!(v2.costs.unknown, 1);
    }

    #[test]
    fn a_judge_that_is_gone_does_not_hold() {
        let mut tally = tally();
        let mut take = |what| {
            let at = Timestamp::ZERO;
            tally.take(&RunEvent { at, what });
            tally.held
        };
        assert_eq!(take(What::Held(Some("no_data"))), Some("no_data"));
        let standing = StandingFacts {
            revision: 2,
            phase: "progressing",
            step: None,
            share: 0.1,
            cause: "applied",
            closed: Vec::new(),
        };
        assert_eq!(take(What::Standing(standing)), None);
        assert_eq!(take(What::Held(Some("stale"))), Some("stale"));
        assert_eq!(take(What::Held(None)), None);
    }

    #[test]
    fn the_last_fifty_errors_are_kept_and_no_more() {
        let mut tally = tally();
        (0..120).for_each(|key| tally.booked(Timestamp::ZERO, &booked(key, Outcome::Reset)));
        tally.booked(Timestamp::ZERO, &booked(999, Outcome::Success));
        let kept: Vec<u64> = tally.errors.iter().map(|e| e.request).collect();
        assert_eq!(kept, (70..120).collect::<Vec<u64>>());
    }

    #[test]
    fn names_without_end_are_counted_together() {
        let mut tally = tally();
        let places: Vec<usize> = (0..100)
            .map(|i| tally.place_of(&format!("canary-{i}")))
            .collect();
        assert_eq!(tally.versions.len(), NAMES + 1);
        assert_eq!(tally.versions[places[99]].name, OTHER);
        assert_eq!(tally.place_of("v2"), 1, "known names keep their place");
    }
}
