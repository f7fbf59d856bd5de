//! `retries`: trying again does not multiply the load.
//!
//! Counted is what arrived at upstreams, by their ledgers: retries and fallbacks alike, since a storm is a
//! storm whichever version it hits. What never arrived was no load. An attempt that arrives when its request
//! is over already (its story is closed, and no client admits to it any more) is load, too: it counts where
//! the attempts do, and its request is not counted a second time. A census.

use crate::observe::story::Story;
use crate::stats::compare::{Comparison, Op, Ratio};
use crate::verdict::gates::{End, Gate, SoFar};
use crate::verdict::result::{Check, GateResult, Offenders, Status, grouped, weaken};
use crate::verdict::spec::RetriesSpec;

/// The gate at work.
pub struct RetriesGate {
    spec: RetriesSpec,
    /// Requests that reached an upstream.
    requests: u64,
    /// Attempts that arrived.
    attempts: u64,
    /// The most attempts of one request.
    most: u64,
    /// Requests that made more than one attempt.
    repeated: Offenders,
    /// Requests that made more than they may.
    insistent: Offenders,
}

impl RetriesGate {
    /// A gate that has seen nothing.
    pub fn new(spec: RetriesSpec) -> Self {
        Self {
            spec,
            requests: 0,
            attempts: 0,
            most: 0,
            repeated: Offenders::default(),
            insistent: Offenders::default(),
        }
    }

    /// How many attempts of a request arrived, where it counts. Late ones have no schedule but their own.
    fn arrivals(&self, story: &Story) -> u64 {
        let scope = self.spec.scope;
        let is_in_scope = |at| scope.contains(story.scheduled_at().unwrap_or(at));
        let is_wanted = |version| self.spec.version.is_none_or(|wanted| wanted == version);
        let arrived = story.attempts.iter().filter(|a| is_wanted(a.version));
        let arrived = arrived.filter(|a| a.accepted_at.is_some_and(is_in_scope));
        arrived.count() as u64
    }

    fn amplification(&self, limit: Comparison<Ratio>) -> Check {
        let (x, n) = (self.attempts, self.requests);
        let status = match (n, limit.holds_for(x, n)) {
            (0, _) => Status::Inconclusive,
            (_, true) => Status::Pass,
            (_, false) => Status::Fail,
        };
        // Of too few attempts, nobody is guilty in particular.
        let guilty = match limit.op {
            Op::Less | Op::AtMost | Op::Equal => self.repeated.keys(),
            Op::AtLeast | Op::Greater => &[],
        };
        let ratio = (n > 0).then(|| x as f64 / n as f64);
        let seen = format!(
            "{} ({} attempts of {} requests)",
            ratio.map_or_else(|| "nothing".to_owned(), decimal),
            grouped(x),
            grouped(n)
        );
        Check::census(format!("amplification {limit}"), status, seen)
            .figure(ratio, "ratio", n)
            .offenders(guilty)
            .needs(n, self.spec.min_n.max(1))
    }

    fn per_request(&self, limit: Comparison<u64>, cut_short: bool) -> Check {
        let (most, n) = (self.most, self.requests);
        let may_come = cut_short && limit.is_still_to_come(most);
        let status = match limit.holds(most) {
            _ if n == 0 || may_come => Status::Inconclusive,
            true => Status::Pass,
            false => Status::Fail,
        };
        let seen = format!("at most {} of one request", grouped(most));
        Check::census(format!("per_request {limit}"), status, seen)
            .figure((n > 0).then_some(most as f64), "attempts", n)
            .offenders(self.insistent.keys())
            .needs(n, self.spec.min_n.max(1))
    }
}

/// A ratio for people: `1.2`, `1.0004`.
fn decimal(ratio: f64) -> String {
    let text = format!("{ratio:.4}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

impl Gate for RetriesGate {
    fn story(&mut self, story: &Story, _so_far: &SoFar) {
        let arrived = self.arrivals(story);
        if arrived == 0 {
            return;
        }
        let is_late = story.sent.is_none();
        self.attempts += arrived;
        self.requests += u64::from(!is_late);
        self.most = self.most.max(arrived);
        if arrived > 1 || is_late {
            self.repeated.note(story.key);
        }
        let limit = self.spec.per_request;
        if limit.is_some_and(|limit| limit.is_exceeded_by(arrived)) {
            self.insistent.note(story.key);
        }
    }

    fn finish(&self, end: &End<'_>) -> GateResult {
        let amplification = self.spec.amplification;
        let amplification = amplification.map(|limit| self.amplification(limit));
        let per_request = self.spec.per_request;
        let per_request = per_request.map(|limit| self.per_request(limit, end.cut_short));
        let mut checks: Vec<Check> = amplification.into_iter().chain(per_request).collect();
        if end.join_is_leaky {
            weaken(&mut checks);
        }
        GateResult::of("retries", checks)
    }
}
