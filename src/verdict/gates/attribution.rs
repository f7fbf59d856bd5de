//! `attribution`: the router's own numbers agree with the upstreams' ledgers.
//!
//! For every request: each attempt is booked once, on the version whose upstream took it, with the
//! outcome that upstream tells; the request is given to the version that was tried first and ends
//! for the router as it ended for its caller; the answer is the one that its upstream gave to this
//! very request, and its headers name the version that really served. A census.

use crate::observe::event::{Answered, AttemptKind, Settled};
use crate::observe::story::{Attempt, Story};
use crate::protocol::gateway;
use crate::protocol::outcome::Outcome;
use crate::verdict::gates::{End, Gate, SoFar};
use crate::verdict::result::{Check, GateResult, Offenders, Status, grouped, weaken};

/// The gate at work.
pub struct AttributionGate {
    min_n: u64,
    version: Agreement,
    outcome: Agreement,
    headers: Agreement,
    origin: Agreement,
    attempts: Agreement,
    tokens: Agreement,
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
            origin: Agreement::default(),
            attempts: Agreement::default(),
            tokens: Agreement::default(),
        }
    }

    fn attempt(&mut self, story: &Story, attempt: &Attempt, so_far: &SoFar) {
        let Some((_, booked)) = attempt.booked else {
            // Of a request that is done with, nothing is left to be booked.
            if owes(story) || story.settled.is_some() {
                self.version.compare(story, false);
            }
            return;
        };
        self.version
            .compare(story, booked.version == attempt.version);
        // An attempt that is booked as left by a caller who stayed is booked wrong.
        let is_excuse = match booked.outcome {
            Outcome::ClientGone => !story.client_left(),
            // The router takes attempts back only from a canary that it closes.
            Outcome::Shutdown => so_far.closed() != Some(attempt.version),
            _ => false,
        };
        let is_true = attempt.truth() == Some(booked.outcome) && !is_excuse;
        if attempt.truth().is_some() || owes(story) {
            self.outcome.compare(story, is_true);
        }
        // Of an answer that was cut off, the router cannot know the tokens.
        if attempt.usage.is_some() && booked.outcome.is_success() {
            self.tokens.compare(story, booked.usage == attempt.usage);
        }
    }

    /// The version that the router says it chose is the one that it tried first, unless that was closed
    /// while the request waited for its slot there.
    fn assignment(&mut self, story: &Story, so_far: &SoFar) {
        let first = story.attempts.iter().find(|a| a.dispatched_at.is_some());
        if let (Some(assigned), Some(first)) = (story.assigned, first) {
            let closed = so_far.rollback.as_ref().filter(|r| r.from == assigned);
            let was_closed = closed.is_some_and(|r| {
                let sent_at = story.sent.map(|(at, _)| at);
                sent_at <= Some(r.decided_at) && first.dispatched_at >= Some(r.decided_at)
            });
            let agree = assigned == first.version || was_closed;
            self.version.compare(story, agree);
        }
        for _ in 0..story.misbooked {
            self.version.compare(story, false);
        }
    }

    /// What the answer says of itself, by headers and body.
    fn answer(&mut self, story: &Story, answered: &Answered) {
        let made = story.attempts.len() as u32;
        let server = story.served_by();
        let counts_agree = answered.claim.attempts.is_none_or(|n| n == made);
        if answered.outcome.is_success() {
            let is_fallback = story.rescued_from().is_some();
            let fallback_agrees = answered.claim.fallback == Some(is_fallback);
            let version_agrees = server.is_some() && answered.claim.version == server;
            let all_agree = version_agrees && fallback_agrees && counts_agree;
            self.headers.compare(story, all_agree);
            if let Some(key) = answered.origin.key {
                let version_agrees = answered.origin.version.is_none_or(|v| Some(v) == server);
                self.origin
                    .compare(story, key == story.key && version_agrees);
            }
        } else if !story.client_left() {
            // An error names the version that was tried last.
            let last = story.attempts.last().map(|a| a.version);
            let version_agrees = answered.claim.version.is_none_or(|v| Some(v) == last);
            self.headers.compare(story, counts_agree && version_agrees);
        }
    }

    /// What the router says of the request as a whole.
    fn settlement(&mut self, story: &Story) {
        let Some(settled) = story.settled else {
            if owes(story) {
                self.attempts.compare(story, false);
            }
            return;
        };
        if story.sent.is_none() {
            // Settled a second time, or never sent.
            self.attempts.compare(story, false);
        }
        if story.client_left() {
            return;
        }
        let made = story.attempts.len() as u32;
        let kinds_agree = kinds(story).all(|(real, booked)| real == booked);
        let counts_agree = settled.attempts == made;
        self.attempts.compare(story, counts_agree && kinds_agree);
        self.outcome
            .compare(story, is_settled_right(story, &settled));
        if settled.outcome.is_success() {
            let is_fallback = story.rescued_from().is_some();
            let servers_agree = settled.served_by == story.served_by();
            self.version
                .compare(story, servers_agree && settled.fallback == is_fallback);
        }
    }
}

/// Was the request the router's to the end, so that it must have had its say?
fn owes(story: &Story) -> bool {
    story.assigned.is_some() && story.answered.is_some() && !story.client_left()
}

/// A success is one for the caller; a failure is that of the last attempt (or the deadline), and the
/// caller is told what this failure is told as.
fn is_settled_right(story: &Story, settled: &Settled) -> bool {
    let told = story.outcome();
    if settled.outcome.is_success() {
        return told.is_some_and(Outcome::is_success);
    }
    let last = story.attempts.last().and_then(Attempt::truth);
    let own = [Outcome::Deadline, Outcome::Limited, Outcome::Shutdown];
    let is_real = own.contains(&settled.outcome) || last == Some(settled.outcome);
    let streamed = story.answered.and_then(|(_, answered)| answered.streamed);
    is_real
        && told
            == Some(gateway::failure_outcome(
                settled.outcome,
                streamed.is_some(),
            ))
}

/// Why each booked attempt was made, as the order of attempts shows it, and as it was booked.
fn kinds(story: &Story) -> impl Iterator<Item = (AttemptKind, AttemptKind)> {
    let before = std::iter::once(None).chain(story.attempts.iter().map(|a| Some(a.version)));
    let pairs = before.zip(&story.attempts);
    pairs.filter_map(|(before, attempt)| {
        let (_, booked) = attempt.booked?;
        let real = match before {
            None => AttemptKind::First,
            Some(version) if version == attempt.version => AttemptKind::Retry,
            Some(_) => AttemptKind::Fallback,
        };
        Some((real, booked.kind))
    })
}

impl Gate for AttributionGate {
    fn story(&mut self, story: &Story, so_far: &SoFar) {
        for attempt in &story.attempts {
            self.attempt(story, attempt, so_far);
        }
        self.assignment(story, so_far);
        if let Some((_, answered)) = &story.answered {
            self.answer(story, answered);
        }
        self.settlement(story);
    }

    fn finish(&self, end: &End<'_>) -> GateResult {
        let all = [
            (
                &self.version,
                "attempts are booked on the version tried",
                "bookings",
            ),
            (
                &self.outcome,
                "attempts and requests are booked with their real outcome",
                "outcomes",
            ),
            (
                &self.headers,
                "x-version, x-fallback and x-attempts tell the truth",
                "answers",
            ),
            (
                &self.origin,
                "answers are those of the version that served",
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
        // Not every upstream states tokens.
        if self.tokens.compared > 0 {
            let condition = "answers are booked with the tokens that their upstream spent";
            checks.push(self.tokens.check(condition, "answers", 1));
        }
        if end.join_is_leaky {
            weaken(&mut checks);
        }
        GateResult::of("attribution", checks)
    }
}
