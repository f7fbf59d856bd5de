//! `contract`: answers have the OpenAI shape, whichever version gives them.
//!
//! What versions send is told by their upstreams' ledgers (`drift`); what callers get, after the gateway
//! has put right what it can, by the callers (`answers`). Streams are looked at
//! chunk by chunk; what broke off shows nothing, and the gate says how many did. A gateway that counts drift itself must count
//! what was there. A census.

use crate::id::{PerVersion, VersionId};
use crate::observe::story::{Attempt, Story, StreamEnd};
use crate::protocol::drift::Drift;
use crate::protocol::outcome::Outcome;
use crate::stats::compare::Comparison;
use crate::verdict::gates::{End, Gate, SoFar};
use crate::verdict::result::{Check, GateResult, Offenders, Status, grouped, weaken};
use crate::verdict::spec::ContractSpec;

/// The gate at work.
pub struct ContractGate {
    spec: ContractSpec,
    /// What each version's upstream sent.
    sent: PerVersion<Differing>,
    /// What callers got of each version.
    got: PerVersion<Differing>,
    /// What the router made of an answer, where it says so.
    counted: Differing,
}

/// How many of the answers differ.
#[derive(Clone, Debug, Default)]
struct Differing {
    answers: u64,
    differ: u64,
    kinds: Drift,
    offenders: Offenders,
    /// Answers that broke off: what there was of them is not looked at.
    broken: u64,
}

impl Differing {
    fn note(&mut self, story: &Story, drift: Drift) {
        self.note_kinds(story, drift, !drift.is_none());
    }

    fn note_kinds(&mut self, story: &Story, drift: Drift, differs: bool) {
        self.answers += 1;
        if differs {
            self.differ += 1;
            self.kinds = self.kinds.kinds().chain(drift.kinds()).collect();
            self.offenders.note(story.key);
        }
    }

    fn check(&self, condition: String, is_fine: bool, min_n: u64) -> Check {
        let status = match is_fine {
            true => Status::Pass,
            false => Status::Fail,
        };
        let (differ, answers) = (grouped(self.differ), grouped(self.answers));
        let seen = match self.kinds.is_none() {
            true => format!("{differ} of {answers} answers"),
            false => format!("{differ} of {answers} answers: {}", self.kinds),
        };
        let seen = match self.broken {
            0 => seen,
            n => format!(
                "{seen}; {} more broke off and were not looked at",
                grouped(n)
            ),
        };
        Check::census(condition, status, seen)
            .figure(Some(self.differ as f64), "answers", self.answers)
            .offenders(self.offenders.keys())
            .needs(self.answers, min_n.max(1))
    }
}

impl ContractGate {
    /// A gate that has seen nothing.
    pub fn new(spec: ContractSpec) -> Self {
        let nothing = || PerVersion::from_fn(spec.names.len(), |_| Differing::default());
        Self {
            sent: nothing(),
            got: nothing(),
            counted: Differing::default(),
            spec,
        }
    }

    fn attempt(&mut self, story: &Story, attempt: &Attempt) {
        if let Some(Outcome::Truncated | Outcome::StreamError) = attempt.outcome {
            self.sent[attempt.version].broken += 1;
        }
        let should_be_completion = |o: Outcome| matches!(o, Outcome::Success | Outcome::Malformed);
        if attempt.was_given_up() || !attempt.outcome.is_some_and(should_be_completion) {
            return;
        }
        self.sent[attempt.version].note(story, attempt.drift);
        if let Some((_, booked)) = attempt.booked {
            let differs = booked.drift != attempt.drift;
            let either = booked.drift.kinds().chain(attempt.drift.kinds()).collect();
            self.counted.note_kinds(story, either, differs);
        }
    }

    /// The checks of one limit, a version each.
    fn limit(
        &self,
        what: &str,
        limit: Option<Comparison<u64>>,
        of: &PerVersion<Differing>,
    ) -> Vec<Check> {
        let Some(limit) = limit else {
            return Vec::new();
        };
        let is_meant = |id: &VersionId| self.spec.version.is_none_or(|only| only == *id);
        of.iter()
            .filter(|(id, _)| is_meant(id))
            .map(|(id, differing)| {
                let condition = format!("{what} of {} {limit}", self.spec.names[id]);
                let is_fine = limit.holds(differing.differ);
                differing.check(condition, is_fine, self.spec.min_n)
            })
            .collect()
    }
}

impl Gate for ContractGate {
    fn story(&mut self, story: &Story, _so_far: &SoFar) {
        let is_meant = |at| self.spec.scope.contains(at);
        if !story.scheduled_at().is_some_and(is_meant) {
            return;
        }
        for attempt in &story.attempts {
            self.attempt(story, attempt);
        }
        if let (Some(StreamEnd::Broken), Some(last)) = (story.stream_end(), story.attempts.last()) {
            self.got[last.version].broken += 1;
        }
        if let (Some(server), Some((_, answered))) = (story.served_by(), story.answered) {
            self.got[server].note(story, answered.drift);
        }
    }

    fn finish(&self, end: &End<'_>) -> GateResult {
        let mut checks = self.limit("drift", self.spec.drift, &self.sent);
        checks.extend(self.limit("answers", self.spec.answers, &self.got));
        if self.counted.answers > 0 {
            let condition = "the router counts the drift that was there".to_owned();
            let is_fine = self.counted.differ == 0;
            checks.push(self.counted.check(condition, is_fine, 1));
        }
        if end.join_is_leaky {
            weaken(&mut checks);
        }
        GateResult::of("contract", checks)
    }
}
