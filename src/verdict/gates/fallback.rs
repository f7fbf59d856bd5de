//! `fallback`: of the requests that the canary failed in a way that stable can mend, the share
//! that stable answered. A census by the upstreams' ledgers and the callers' answers.

use crate::id::VersionId;
use crate::observe::story::Story;
use crate::protocol::outcome::{Fallback, Outcome};
use crate::stats::compare::{Comparison, Share};
use crate::verdict::gates::{End, Gate, SoFar};
use crate::verdict::result::{Check, GateResult, Offenders, Status, share_of};
use crate::verdict::spec::FallbackSpec;

/// The gate at work.
pub struct FallbackGate {
    spec: FallbackSpec,
    canary: VersionId,
    failed_by_canary: u64,
    answered: u64,
    offenders: Offenders,
}

impl FallbackGate {
    /// A gate that has seen nothing.
    pub fn new(spec: FallbackSpec, canary: VersionId) -> Self {
        Self {
            spec,
            canary,
            failed_by_canary: 0,
            answered: 0,
            offenders: Offenders::default(),
        }
    }

    fn must_fall_back(&self, outcome: Outcome) -> bool {
        match outcome.fallback() {
            Fallback::Always => true,
            Fallback::WithOtherCredentials => self.spec.other_credentials,
            Fallback::Never => false,
        }
    }
}

impl Gate for FallbackGate {
    fn story(&mut self, story: &Story, _so_far: &SoFar) {
        let in_scope = story
            .scheduled_at()
            .is_some_and(|at| self.spec.scope.contains(at));
        let Some(outcome) = story.outcome().filter(|o| *o != Outcome::ClientGone) else {
            return;
        };
        let is_failed_by_canary = story
            .attempts
            .iter()
            .any(|a| a.version == self.canary && a.truth().is_some_and(|o| self.must_fall_back(o)));
        // A retry that the canary itself answered needed no fallback.
        let is_healed = story.served_by() == Some(self.canary);
        if !in_scope || !is_failed_by_canary || is_healed {
            return;
        }
        self.failed_by_canary += 1;
        if outcome.is_success() {
            self.answered += 1;
        } else {
            self.offenders.note(story.key);
        }
    }

    fn finish(&self, end: &End<'_>) -> GateResult {
        let (x, n) = (self.answered, self.failed_by_canary);
        let holds = n > 0 && self.spec.succeeds.holds_for(x, n);
        let status = match (holds, n > 0) {
            (true, _) => Status::Pass,
            (false, true) => Status::Fail,
            (false, false) => Status::Inconclusive,
        };
        let condition: Comparison<Share> = self.spec.succeeds;
        let seen = match n {
            0 => "the canary failed no request in a way that calls for a fallback".to_owned(),
            _ => format!(
                "{} of the canary's failures were answered by stable",
                share_of(x, n)
            ),
        };
        let mut check = Check::census(format!("succeeds {condition}"), status, seen)
            .figure((n > 0).then(|| x as f64 / n as f64), "share", n)
            .offenders(self.offenders.keys())
            .needs(n, self.spec.min_n);
        if end.join_is_leaky && check.status == Status::Pass {
            check.status = Status::Inconclusive;
        }
        GateResult::of("fallback", vec![check])
    }
}
