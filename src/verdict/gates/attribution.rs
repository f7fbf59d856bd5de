//! `attribution`: the router's own numbers agree with the upstreams' ledgers.
//!
//! For every request: each attempt is booked on the version whose upstream took it, with the outcome
//! that upstream tells, and the answer's headers name the version that really served. A census.

use crate::observe::story::{Attempt, Story};
use crate::protocol::outcome::Outcome;
use crate::verdict::gates::{End, Gate, SoFar};
use crate::verdict::result::{Check, GateResult, Offenders, Status, grouped};

/// The gate at work.
pub struct AttributionGate {
    min_n: u64,
    version: Agreement,
    outcome: Agreement,
    headers: Agreement,
    attempts: Agreement,
}

/// How often two witnesses agreed.
#[derive(Clone, Debug, Default)]
struct Agreement {
    compared: u64,
    differ: u64,
    offenders: Offenders,
}

impl Agreement {
    fn compare(&mut self, story: &Story, agree: bool) {
        self.compared += 1;
        if !agree {
            self.differ += 1;
            self.offenders.note(story.key);
        }
    }

    fn check(&self, condition: &str, what: &str, min_n: u64) -> Check {
        let status = match self.differ {
            0 => Status::Pass,
            _ => Status::Fail,
        };
        let seen = format!(
            "{} of {} {what} differ",
            grouped(self.differ),
            grouped(self.compared)
        );
        Check::census(condition, status, seen)
            .figure(Some(self.differ as f64), "differences", self.compared)
            .offenders(self.offenders.keys())
            .needs(self.compared, min_n)
    }
}

impl AttributionGate {
    /// A gate that has seen nothing.
    pub fn new(min_n: u64) -> Self {
        Self {
            min_n,
            version: Agreement::default(),
            outcome: Agreement::default(),
            headers: Agreement::default(),
            attempts: Agreement::default(),
        }
    }

    fn attempt(&mut self, story: &Story, attempt: &Attempt) {
        let Some((_, booked)) = attempt.booked else {
            return;
        };
        self.version
            .compare(story, booked.version == attempt.version);
        if let Some(truth) = attempt.truth() {
            self.outcome.compare(story, booked.outcome == truth);
        }
    }
}

impl Gate for AttributionGate {
    fn story(&mut self, story: &Story, _so_far: &SoFar) {
        for attempt in &story.attempts {
            self.attempt(story, attempt);
        }
        let Some((_, answered)) = story.answered else {
            return;
        };
        if answered.outcome.is_success() && answered.claim.version.is_some() {
            let served_by = story.served_by();
            let is_fallback = story.rescued_from().is_some();
            let fallback_agrees = answered.claim.fallback.is_none_or(|f| f == is_fallback);
            let version_agrees = answered.claim.version == served_by;
            self.headers
                .compare(story, version_agrees && fallback_agrees);
        }
        if let Some((outcome, attempts)) = story.settled
            && outcome != Outcome::ClientGone
        {
            let made = story.attempts.len() as u32;
            self.attempts.compare(story, attempts == made);
        }
    }

    fn finish(&self, end: &End<'_>) -> GateResult {
        let all = [
            (
                &self.version,
                "attempts are booked on the version tried",
                "attempts",
            ),
            (
                &self.outcome,
                "attempts are booked with their real outcome",
                "attempts",
            ),
            (
                &self.headers,
                "x-version and x-fallback tell the truth",
                "answers",
            ),
            (
                &self.attempts,
                "the router counts its attempts right",
                "requests",
            ),
        ];
        let mut checks: Vec<Check> = all
            .into_iter()
            .map(|(agreement, condition, what)| agreement.check(condition, what, self.min_n))
            .collect();
        if end.join_is_leaky {
            for check in checks.iter_mut().filter(|c| c.status == Status::Pass) {
                check.status = Status::Inconclusive;
            }
        }
        GateResult::of("attribution", checks)
    }
}
