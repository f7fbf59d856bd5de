//! What an audit finds in a log, beyond what every run shows: when judges would have rolled back, whether the log itself
//! shows an end of the canary, and how canary and stable compare.

use serde::Serialize;

use crate::id::{PerVersion, VersionId};
use crate::observe::event::Finding;
use crate::observe::latency::Latencies;
use crate::stats::difference::{Difference, newcombe};
use crate::stats::proportion::{Limits, clopper_pearson};
use crate::time::Timestamp;

/// The confidence of all intervals here: 95 %, two-sided.
pub const CONFIDENCE: f64 = 0.95;

/// What an audit found.
#[derive(Clone, Debug)]
pub struct AuditFindings {
    /// What every judge would have done.
    pub judges: Vec<WouldHave>,
    /// Where the log shows that the canary was closed.
    pub closed: Option<ClosedInLog>,
    /// How the versions fared.
    pub arms: PerVersion<Arm>,
    /// Attempts that came after a failed one of their request.
    pub again: Again,
    /// Others that the log has, with their attempts, the commonest first.
    pub others: Vec<(String, u64)>,
}

/// Attempts that came after a failed one of their request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Again {
    /// Requests with more than one attempt.
    pub requests: u64,
    /// Attempts at the version that had just failed.
    pub retries: u64,
    /// Attempts at stable after another version had failed.
    pub fallbacks: u64,
    /// Attempts at another version than stable after one had failed.
    pub other: u64,
    /// Attempts that began before a failed one of their trace was over: of other requests, or clocks differ.
    pub overlapping: u64,
}

/// What one judge would have done with the log.
#[derive(Clone, Debug, PartialEq)]
pub struct WouldHave {
    /// `literal` or `sequential`.
    pub judge: &'static str,
    /// Does its decision count as the rollback of the audit?
    pub decides: bool,
    /// Its decision; none when it would have kept the canary.
    pub decided: Option<Decided>,
    /// Why it could not tell when the log ended, if it could not.
    pub held: Option<&'static str>,
    /// Until its decision; all of the log without one.
    pub until: Exposure,
    /// After its decision: what a rollback would have spared.
    pub after: Exposure,
}

/// A rollback that a judge would have ordered.
#[derive(Clone, Debug, PartialEq)]
pub struct Decided {
    /// When.
    pub at: Timestamp,
    /// By what evidence.
    pub because: Finding,
}

/// Whom the canary met.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Exposure {
    /// Requests that met the canary.
    pub canary_requests: u64,
    /// Those of them that ended with an error for their caller.
    pub user_errors: u64,
}

/// The canary got nothing more from here on, longer than chance explains.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClosedInLog {
    /// When the last attempt at the canary began.
    pub last_at: Timestamp,
    /// When the last attempt at the canary was over.
    pub over_at: Timestamp,
    /// Requests since then that chance assigned.
    pub later_requests: u64,
    /// When it got something again, if it did.
    pub reopened_at: Option<Timestamp>,
}

/// How a version fared: the first attempts of those requests that chance gave it.
#[derive(Clone, Debug, Default)]
pub struct Arm {
    /// First attempts that say something of the version: its successes and its own failures.
    pub judged: u64,
    /// Its failures.
    pub failed: u64,
    /// How long its successes took, from the beginning of the attempt.
    pub latency: Latencies,
}

impl Arm {
    /// The share of failures; none without a judged attempt.
    pub fn error_rate(&self) -> Option<f64> {
        (self.judged > 0).then(|| self.failed as f64 / self.judged as f64)
    }

    /// Two-sided limits of that share.
    pub fn limits(&self) -> Option<Limits> {
        clopper_pearson(self.failed, self.judged, 1.0 - (1.0 - CONFIDENCE) / 2.0)
    }
}

impl Again {
    /// Notes the attempt of this number at a version, which comes after one at `before`.
    pub fn note(
        &mut self,
        n: u32,
        before: Option<VersionId>,
        version: VersionId,
        stable: VersionId,
    ) {
        let Some(before) = before else {
            return;
        };
        self.requests += u64::from(n == 1);
        let kind = match (before == version, version == stable) {
            (true, _) => &mut self.retries,
            (false, true) => &mut self.fallbacks,
            (false, false) => &mut self.other,
        };
        *kind += 1;
    }
}

impl AuditFindings {
    /// The error rate of a version less that of another one, with its limits.
    pub fn difference(&self, version: VersionId, from: VersionId) -> Option<Difference> {
        let of = |version: VersionId| (self.arms[version].failed, self.arms[version].judged);
        newcombe(of(version), of(from), CONFIDENCE)
    }
}
