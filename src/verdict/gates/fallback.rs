//! `fallback`: of the requests that the canary failed in a way that stable can mend, the share
//! that stable answered; and none of them went back to the canary. A census by the upstreams'
//! ledgers and the callers' answers.
//!
//! A canary that was hung up on has failed as well, whatever reason the router gives for it, unless
//! the caller left by itself.

use crate::id::VersionId;
use crate::observe::story::{Attempt, Story, StreamEnd};
use crate::protocol::outcome::{Fallback, Outcome};
use crate::stats::compare::{Comparison, Share};
use crate::verdict::gates::{End, Gate, SoFar};
use crate::verdict::result::{Check, GateResult, Offenders, Status, grouped, share_of, weaken};
use crate::verdict::spec::FallbackSpec;

/// The gate at work.
pub struct FallbackGate {
    spec: FallbackSpec,
    canary: VersionId,
    failed_by_canary: u64,
    answered: u64,
    offenders: Offenders,
    tried_again: u64,
    went_back: Offenders,
    times_back: u64,
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
            tried_again: 0,
            went_back: Offenders::default(),
            times_back: 0,
        }
    }

    fn must_fall_back(&self, outcome: Outcome) -> bool {
        match outcome.fallback() {
            Fallback::Always => true,
            Fallback::WithOtherCredentials => self.spec.other_credentials,
            Fallback::Never => false,
        }
    }

    fn is_failure(&self, story: &Story, attempt: &Attempt) -> bool {
        let is_given_up = attempt.was_given_up() && !story.client_left();
        is_given_up || attempt.truth().is_some_and(|o| self.must_fall_back(o))
    }

    /// Once stable was tried, the canary must not be: neither again, nor in stable's place.
    fn note_direction(&mut self, story: &Story) {
        if story.attempts.len() < 2 {
            return;
        }
        let is_canary = |a: &Attempt| a.version == self.canary;
        let mut versions = story.attempts.iter().skip_while(|a| is_canary(a));
        let is_back = versions.any(is_canary);
        self.tried_again += 1;
        if is_back {
            self.times_back += 1;
            self.went_back.note(story.key);
        }
    }

    fn answered_check(&self) -> Check {
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
        Check::census(format!("succeeds {condition}"), status, seen)
            .figure((n > 0).then(|| x as f64 / n as f64), "share", n)
            .offenders(self.offenders.keys())
            .needs(n, self.spec.min_n)
    }

    /// Only where anything was tried again; the other check says when nothing fell back.
    fn direction_check(&self) -> Option<Check> {
        let (x, n) = (self.times_back, self.tried_again);
        let status = if x == 0 { Status::Pass } else { Status::Fail };
        let seen = format!("{} of {} requests", grouped(x), grouped(n));
        let check = Check::census("never from stable to the canary", status, seen)
            .figure(Some(x as f64), "requests", n)
            .offenders(self.went_back.keys());
        (n > 0).then_some(check)
    }
}

impl Gate for FallbackGate {
    fn story(&mut self, story: &Story, _so_far: &SoFar) {
        // At any time: a scope is about what the canary fails.
        self.note_direction(story);
        let in_scope = story
            .scheduled_at()
            .is_some_and(|at| self.spec.scope.contains(at));
        let is_asked = story.outcome().is_some_and(|o| o != Outcome::ClientGone);
        // Once the caller has part of a stream, nobody can mend it.
        let is_begun = story.stream_end() == Some(StreamEnd::Broken);
        if !in_scope || !is_asked || is_begun {
            return;
        }
        let at_canary = |a: &&Attempt| a.version == self.canary;
        let mut at_canary = story.attempts.iter().filter(at_canary);
        let server = story.served_by();
        // A retry that the canary itself answered needed no fallback.
        let is_healed = server == Some(self.canary);
        if is_healed || !at_canary.any(|a| self.is_failure(story, a)) {
            return;
        }
        self.failed_by_canary += 1;
        // A success that no upstream's ledger knows of is nobody's answer.
        if server.is_some() {
            self.answered += 1;
        } else {
            self.offenders.note(story.key);
        }
    }

    fn finish(&self, end: &End<'_>) -> GateResult {
        let mut checks = vec![self.answered_check()];
        checks.extend(self.direction_check());
        if end.join_is_leaky {
            weaken(&mut checks);
        }
        GateResult::of("fallback", checks)
    }
}
