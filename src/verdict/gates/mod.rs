//! The gates, one file each. Every gate folds what it sees into a few counters, so that a run of
//! any length is judged in constant memory.

pub mod after_rollback;
pub mod attribution;
pub mod budget;
pub mod contract;
pub mod cost;
pub mod fallback;
pub mod generator;
pub mod join;
pub mod log;
pub mod machine;
pub mod memory;
mod misrouted;
pub mod no_rollback;
pub mod notification;
pub mod orders;
pub mod policy;
mod quantiles;
pub mod ramp;
pub mod rate_limit;
mod reopened;
pub mod requests;
pub mod retries;
mod retry_budget;
pub mod rollback;
pub mod sample;
pub mod split;
pub mod stickiness;
pub mod stream;
mod tokens;
pub mod unsupported;
mod window;

use std::time::Duration;

use crate::id::VersionId;
use crate::observe::event::{RollbackFacts, RunEvent};
use crate::observe::join::Joined;
use crate::observe::story::Story;
use crate::observe::summary::Summary;
use crate::time::Timestamp;
use crate::verdict::result::GateResult;

/// A silence that chance makes less often than this may be a closed canary's.
pub const SUSPECT: f64 = 0.01;

/// So rarely may enough requests miss an open canary, or a fault, by chance alone.
pub const MISSED: f64 = 0.001;

/// So rarely does chance alone keep a fair router from an open canary for so long that nobody takes it for chance.
pub const SILENCE: f64 = 1e-6;

/// A gate at work.
pub trait Gate: Send {
    /// An event, with what the join made of it. Stories are given to [`story`](Self::story).
    fn event(&mut self, _event: &RunEvent, _joined: &Joined) {}

    /// A request that is over (or, at the end of the run, one that is not).
    fn story(&mut self, _story: &Story, _so_far: &SoFar) {}

    /// What it says.
    fn finish(&self, end: &End<'_>) -> GateResult;
}

/// What is known at the moment a story closes.
#[derive(Clone, Debug, Default)]
pub struct SoFar {
    /// The first rollback.
    pub rollback: Option<RollbackFacts>,
}

impl SoFar {
    /// The version that was closed.
    pub fn closed(&self) -> Option<VersionId> {
        self.rollback.as_ref().map(|record| record.from)
    }

    /// Was a rollback decided at this moment, give or take?
    pub fn is_recall(&self, at: Timestamp, tolerance: Duration) -> bool {
        self.rollback.as_ref().is_some_and(|record| {
            let (early, late) = (record.decided_at.min(at), record.decided_at.max(at));
            late.since(early) <= tolerance
        })
    }
}

/// What is known at the end of a run.
pub struct End<'a> {
    /// The totals.
    pub summary: &'a Summary,
    /// Which version is on trial.
    pub canary: VersionId,
    /// Largest probability of a false failure that one statistical gate may have.
    pub flake: f64,
    /// Was the run stopped before its end?
    pub cut_short: bool,
    /// How many requests a recorded log has to be sent; none where nobody knows before.
    pub planned: Option<u64>,
    /// Was the log another one at the end of the run than before it?
    pub has_log_changed: bool,
    /// Is the join of requests with the upstreams' ledgers too incomplete to count on?
    pub join_is_leaky: bool,
}
