//! Judges from a log alone: nothing is sent, the log says who served whom and how that ended.
//!
//! A third driver beside the simulator and the live one. It has no router to ask and no upstream to be asked; its
//! witness is the log, which takes the place of the upstreams' ledgers and of the callers. So what comes out are the same
//! events, without a word of any router, and everything downstream (summary, timeline, gates, reports) is what it is for a run.
//! The router's judges look at the same attempts ([`mod@bench`]); the one that is configured takes the router's place: when
//! it would have rolled back, that is the rollback.
//!
//! A log is gone through twice, in order of time. The first pass ([`survey`]) finds out what the second one ([`telling`]) must
//! know beforehand: when the log begins, which failed attempts another one followed, and whether the canary was closed.

pub mod bench;
pub mod order;
pub mod requests;
pub mod survey;
pub mod telling;
pub mod tried;

use std::sync::Arc;
use std::time::Duration;

use crate::router::config::{LiteralConfig, RouterConfig};
use crate::router::judge::sequential::SequentialConfig;

/// What a log is held against.
#[derive(Clone, Debug)]
pub struct Terms {
    /// The router's configuration: versions, weights, judge.
    pub router: Arc<RouterConfig>,
    /// The canary's share over time: what the router file says from the start, and what is said to have come later.
    pub weights: Vec<Weight>,
    /// The literal judge: the router's own, or the articles'.
    pub literal: LiteralConfig,
    /// The sequential judge: the router's own, or that of docs/statistics.md.
    pub sequential: SequentialConfig,
    /// Does the sequential judge count even where another one is configured? Where nobody says what to expect, it does: the literal
    /// one sees little of a canary that gets little.
    pub heeds_sequential: bool,
}

/// A share of the canary that came into force.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Weight {
    /// So long after the beginning of what is audited.
    pub at: Duration,
    /// The canary's share from then on, 0 to 1.
    pub share: f64,
}

/// The canary's share at this time.
pub fn share_at(weights: &[Weight], at: Duration) -> f64 {
    let before = weights.iter().take_while(|weight| weight.at <= at);
    before.last().map_or(0.0, |weight| weight.share)
}
