//! `requests`: shares of outcomes and latency percentiles, as facts of this run.
//!
//! Without a version the unit is the request as its caller saw it, and latency runs from the
//! scheduled moment. With a version the unit is the attempt at that version, as its upstream's
//! ledger tells it, and latency runs from sending: a dead canary is dead here even when fallback
//! hides it from every caller. Latency percentiles are over successes only and are decided by exact
//! counting.
//!
//! Callers who hang up by themselves are neither successes nor failures: `success` is a share of those who
//! stayed. An attempt that they cut off is treated the same; one that had failed before is a failure.

use std::time::Duration;

use crate::id::{RequestKey, VersionId};
use crate::observe::event::RunEvent;
use crate::observe::join::Joined;
use crate::observe::story::{Attempt, Story};
use crate::observe::summary::OutcomeCounts;
use crate::protocol::outcome::{Fallback, Outcome};
use crate::stats::compare::{Comparison, Op, Share};
use crate::verdict::gates::misrouted::Misrouted;
use crate::verdict::gates::quantiles::{Limits, Words};
use crate::verdict::gates::tokens::Tokens;
use crate::verdict::gates::{End, Gate, SoFar};
use crate::verdict::result::{Check, GateResult, Offenders, Status, grouped, share_of, weaken};
use crate::verdict::spec::RequestsSpec;

/// The gate at work.
pub struct RequestsGate {
    spec: RequestsSpec,
    /// Requests that were to be sent in the scope.
    in_scope: u64,
    /// Requests that were answered, or attempts that the upstream took.
    units: u64,
    outcomes: OutcomeCounts,
    /// Those whose caller hung up before they were over.
    cut_off: u64,
    failed: Offenders,
    /// The first with each of the outcomes that the spec has a limit for.
    of_outcome: Vec<Offenders>,
    latencies: Limits,
    tokens: Tokens,
    altered: Tally,
    misrouted: Misrouted,
    hopeless: Tally,
}

/// How many of those that could have offended did.
#[derive(Clone, Debug, Default)]
struct Tally {
    looked_at: u64,
    found: u64,
    offenders: Offenders,
}

impl Tally {
    fn note(&mut self, key: RequestKey, is_offender: bool) {
        self.looked_at += 1;
        if is_offender {
            self.found += 1;
            self.offenders.note(key);
        }
    }

    /// A limit on their number. Where nothing could have offended, nothing is shown.
    fn check(&self, name: &str, what: &str, limit: Comparison<u64>, min_n: u64) -> Check {
        let (x, n) = (self.found, self.looked_at);
        let status = match limit.holds(x) {
            true => Status::Pass,
            false => Status::Fail,
        };
        let seen = format!("{} of {} {what}", grouped(x), grouped(n));
        Check::census(format!("{name} {limit}"), status, seen)
            .figure((n > 0).then_some(x as f64), "requests", n)
            .offenders(self.offenders.keys())
            .needs(n, min_n.max(1))
    }
}

impl RequestsGate {
    /// A gate that has seen nothing.
    pub fn new(spec: RequestsSpec) -> Self {
        Self {
            latencies: Limits::new(&spec.quantiles),
            tokens: Tokens::new(&spec.tokens),
            of_outcome: vec![Offenders::default(); spec.outcomes.len()],
            spec,
            in_scope: 0,
            units: 0,
            outcomes: OutcomeCounts::default(),
            cut_off: 0,
            failed: Offenders::default(),
            altered: Tally::default(),
            misrouted: Misrouted::default(),
            hopeless: Tally::default(),
        }
    }

    fn count(&mut self, story: &Story, outcome: Outcome, latency: Option<Duration>) {
        let key = story.key;
        self.outcomes.count(outcome);
        for ((wanted, _), first) in self.spec.outcomes.iter().zip(&mut self.of_outcome) {
            if *wanted == outcome {
                first.note(key);
            }
        }
        if outcome == Outcome::ClientGone && story.client_hung_up() {
            self.cut_off += 1;
            return;
        }
        if !outcome.is_success() {
            self.failed.note(key);
            return;
        }
        if let Some(latency) = latency {
            self.latencies.note(key, latency);
        }
    }

    fn attempts(&mut self, story: &Story, version: VersionId) {
        for attempt in story.attempts.iter().filter(|a| a.version == version) {
            self.units += u64::from(attempt.was_accepted());
            if let Some(outcome) = attempt.truth() {
                self.count(story, outcome, attempt_latency(attempt));
            }
        }
    }

    fn note_altered(&mut self, story: &Story) {
        let version = self.spec.version;
        let known = story
            .attempts
            .iter()
            .filter(|a| version.is_none_or(|v| v == a.version))
            .filter_map(|a| a.altered);
        if let Some(is_altered) = known.reduce(|a, b| a | b) {
            self.altered.note(story.key, is_altered);
        }
    }

    fn note_hopeless(&mut self, story: &Story) {
        let refused = |a: &&Attempt| a.truth().is_some_and(is_refusal);
        if story.attempts.iter().any(|a| refused(&a)) {
            let pairs = story.attempts.windows(2);
            let is_hopeless = pairs
                .into_iter()
                .any(|pair| self.is_hopeless(&pair[0], &pair[1]));
            self.hopeless.note(story.key, is_hopeless);
        }
    }

    fn is_hopeless(&self, before: &Attempt, after: &Attempt) -> bool {
        let Some(outcome) = before.truth().filter(|o| is_refusal(*o)) else {
            return false;
        };
        let same_version = before.version == after.version;
        same_version
            || match outcome.fallback() {
                Fallback::Always => false,
                Fallback::WithOtherCredentials => !self.spec.other_credentials,
                Fallback::Never => true,
            }
    }

    fn unit(&self) -> &'static str {
        match self.spec.version {
            Some(_) => "attempts",
            None => "requests",
        }
    }

    fn share_check(
        &self,
        name: &str,
        (x, n): (u64, u64),
        limit: Comparison<Share>,
        offenders: &[RequestKey],
    ) -> Check {
        let holds = n > 0 && limit.holds_for(x, n);
        let status = match (holds, n) {
            (true, _) => Status::Pass,
            (false, 0) => Status::Inconclusive,
            (false, _) => Status::Fail,
        };
        let seen = format!("{} of {}", share_of(x, n), self.unit());
        Check::census(format!("{name} {limit}"), status, seen)
            .figure((n > 0).then(|| x as f64 / n as f64), "share", n)
            .offenders(offenders)
            .needs(n, self.spec.min_n.max(1))
    }

    fn count_check(&self, limit: Comparison<u64>, cut_short: bool) -> Check {
        let n = self.units;
        // What was not to be too few may just not have come yet.
        let may_come = cut_short && limit.is_still_to_come(n);
        let status = match (limit.holds(n), may_come) {
            (true, _) => Status::Pass,
            (false, true) => Status::Inconclusive,
            (false, false) => Status::Fail,
        };
        let seen = format!("{} {}", grouped(n), self.unit());
        // A count of none means something only while requests come.
        let mut check = Check::census(format!("count {limit}"), status, seen)
            .figure(Some(n as f64), self.unit(), n)
            .needs(self.in_scope, 1);
        // Of the attempts at a version, nobody knows how many requests bring one.
        if status == Status::Inconclusive && self.spec.version.is_none() {
            let least = limit.bound + u64::from(limit.op == Op::Greater);
            check.more_requests = Some(least.saturating_sub(n));
        }
        check
    }
}

/// An answer that the same question will get again.
fn is_refusal(outcome: Outcome) -> bool {
    !outcome.is_success()
        && !outcome.is_retryable()
        && !matches!(outcome, Outcome::ClientGone | Outcome::Deadline)
}

fn attempt_latency(attempt: &Attempt) -> Option<Duration> {
    Some(attempt.ended_at?.since(attempt.started_at()?))
}

impl Gate for RequestsGate {
    fn event(&mut self, event: &RunEvent, _joined: &Joined) {
        self.misrouted.event(event);
    }

    fn story(&mut self, story: &Story, so_far: &SoFar) {
        let in_scope = story
            .scheduled_at()
            .is_some_and(|at| self.spec.scope.contains(at));
        if !in_scope {
            return;
        }
        self.in_scope += 1;
        match (self.spec.version, story.outcome()) {
            (Some(version), _) => self.attempts(story, version),
            (None, Some(outcome)) => {
                self.units += 1;
                self.count(story, outcome, story.latency());
            }
            (None, None) => {}
        }
        self.tokens.note(story, self.spec.version);
        self.note_altered(story);
        self.misrouted.note(story, so_far.rollback.as_ref());
        self.note_hopeless(story);
    }

    fn finish(&self, end: &End<'_>) -> GateResult {
        let spec = &self.spec;
        let mut checks = Vec::new();
        if let Some(limit) = spec.success {
            let successes = self.outcomes.of(Outcome::Success);
            let of = (successes, self.outcomes.total() - self.cut_off);
            checks.push(self.share_check("success", of, limit, self.failed.keys()));
        }
        for ((outcome, limit), first) in spec.outcomes.iter().zip(&self.of_outcome) {
            // Of an outcome that is too rare, nobody is guilty in particular.
            let is_too_rare = matches!(limit.op, Op::AtLeast | Op::Greater);
            let offenders = if is_too_rare { &[] } else { first.keys() };
            let of = (self.outcomes.of(*outcome), self.outcomes.total());
            checks.push(self.share_check(outcome.name(), of, *limit, offenders));
        }
        let words = Words {
            measure: "",
            of_none: &format!("successful {}", self.unit()),
            samples: "successes",
        };
        checks.extend(self.latencies.checks(words, spec.min_n));
        checks.extend(self.tokens.checks(spec.min_n));
        checks.extend(
            spec.count
                .map(|limit| self.count_check(limit, end.cut_short)),
        );
        let (astray, looked_at) = self.misrouted.finish(end.summary.rollbacks.first());
        let mut misrouted = Tally::default();
        astray.iter().for_each(|key| misrouted.note(*key, true));
        misrouted.looked_at = looked_at;
        let tallies = [
            (
                "altered",
                "arrived changed in more than their model",
                spec.altered,
                &self.altered,
            ),
            (
                "misrouted",
                "pinned or forced requests met another version",
                spec.misrouted,
                &misrouted,
            ),
            (
                "hopeless_retries",
                "requests refused for good were tried there again",
                spec.hopeless_retries,
                &self.hopeless,
            ),
        ];
        for (name, what, limit, tally) in tallies {
            checks.extend(limit.map(|limit| tally.check(name, what, limit, spec.min_n)));
        }
        // Only attempts come from the join; answers are the callers' own.
        if end.join_is_leaky && spec.version.is_some() {
            weaken(&mut checks);
        }
        GateResult::of("requests", checks)
    }
}
