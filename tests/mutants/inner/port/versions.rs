//! The version manager: rules first, then users by name, then chance.

use graygate::id::{RequestKey, Seed, VersionId};
use graygate::rng::{Purpose, draw, keyed_hash};
use graygate::router::config::{Condition, Route, RouterConfig, StickyBy};
use graygate::router::io::{Choice, RequestFacts};

/// Chooses versions.
#[derive(Debug)]
pub(super) struct VersionManager {
    seed: Seed,
    /// The canary's share, 0 to 1.
    pub(super) share: f64,
}

impl VersionManager {
    pub(super) fn new(config: &RouterConfig, seed: Seed) -> Self {
        let steps = config.ramp.as_ref().map(|ramp| &ramp.steps);
        let first = steps.and_then(|steps| steps.first());
        Self {
            seed,
            share: first.map_or_else(|| config.canary_share(), |step| step.share),
        }
    }

    /// `selectVersion`, of an open canary.
    pub(super) fn select(
        &self,
        config: &RouterConfig,
        key: RequestKey,
        facts: &RequestFacts,
    ) -> (VersionId, Choice) {
        if let Some(version) = facts.forced {
            return (version, Choice::Forced);
        }
        let rules = (0_u16..).zip(&config.routes);
        let mut matching = rules.filter(|(_, rule)| is_met(rule, facts));
        if let Some((number, rule)) = matching.next() {
            return (rule.to, Choice::Route(number));
        }
        self.by_weight(config, key, facts)
    }

    fn by_weight(
        &self,
        config: &RouterConfig,
        key: RequestKey,
        facts: &RequestFacts,
    ) -> (VersionId, Choice) {
        let (place, choice) = match caller(config, facts) {
            Some(name) => (keyed_hash(0, name).unit(), Choice::Sticky),
            None => {
                let random = draw(self.seed, Purpose::Split, key, VersionId::default(), 0);
                (random.unit(), Choice::Random)
            }
        };
        match place < self.share {
            true => (config.canary, choice),
            false => (config.stable, choice),
        }
    }
}

fn is_met(rule: &Route, facts: &RequestFacts) -> bool {
    rule.when.iter().all(|condition| match condition {
        Condition::Tier(tier) => facts.tier.as_ref() == Some(tier),
        Condition::Tenant(tenant) => facts.tenant.as_ref() == Some(tenant),
        Condition::Model(model) => facts.model == *model,
        Condition::Header { name, value } => facts.header(name) == Some(value),
    })
}

fn caller<'f>(config: &RouterConfig, facts: &'f RequestFacts) -> Option<&'f str> {
    match config.split.sticky.as_ref()? {
        StickyBy::User => facts.user.as_deref(),
        StickyBy::Header(name) => facts.header(name),
    }
}
