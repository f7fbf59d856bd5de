//! The weighted split: at random a request, or sticky by the caller's key.
//!
//! Both place a request on the unit interval; the canary owns `[0, share)`. Growing the share
//! therefore moves only callers *to* the canary, and shrinking only away from it.

use crate::id::{RequestKey, Seed, VersionId};
use crate::rng::{Purpose, draw, keyed_hash};
use crate::router::config::{RouterConfig, StickyBy};
use crate::router::io::{Choice, RequestFacts};

/// The version for a request that no rule pins.
pub fn assign(
    config: &RouterConfig,
    seed: Seed,
    salt: u64,
    key: RequestKey,
    facts: &RequestFacts,
) -> (VersionId, Choice) {
    let sticky = config.split.sticky.as_ref();
    let (position, choice) = match sticky.and_then(|by| caller(by, facts)) {
        Some(name) => (keyed_hash(salt, name).unit(), Choice::Sticky),
        // Callers without a key are split one by one, never pooled into one bucket.
        None => {
            let drawn = draw(seed, Purpose::Split, key, VersionId::default(), 0);
            (drawn.unit(), Choice::Random)
        }
    };
    let version = if position < config.canary_share() {
        config.canary
    } else {
        config.stable
    };
    (version, choice)
}

/// What keeps the places of callers of one release from those of another. It follows the canary's
/// name: another canary meets other callers, a change of weights or a restart moves nobody. Each
/// reshuffle (a rollback's) counts `epoch` up, and all callers get new places.
pub fn salt(config: &RouterConfig, epoch: u64) -> u64 {
    keyed_hash(epoch, config.name(config.canary)).0
}

/// What identifies the caller, when anything does.
pub fn caller<'a>(by: &StickyBy, facts: &'a RequestFacts) -> Option<&'a str> {
    let name = match by {
        StickyBy::User => facts.user.as_deref(),
        StickyBy::Header(header) => facts.header(header),
    };
    name.filter(|n| !n.is_empty())
}
