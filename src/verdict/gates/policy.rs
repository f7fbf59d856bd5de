//! `policy`: the router keeps to its own configuration. Every run of the built-in router has this
//! gate: tries, waits and limits that nobody asked about still cost money and patience.
//!
//! A census over what the driver was ordered and the ledgers saw:
//!
//! * no version is tried more often than `1 + max_retries` times for one request;
//! * nothing is sent once an upstream has answered with success;
//! * a retry comes no sooner after the failure than `base · factorᵏ · (1 − jitter)` (cut at
//!   `max_wait`), and than `Retry-After` asked for;
//! * the driver is told to hang up neither before the attempt's limit or the request's deadline, nor
//!   after the attempt's limit;
//! * the caller has an answer by the request's deadline.
//!
//! Limits of a live run may be passed by the spec's tolerance: timers of a busy machine are late.

use std::time::Duration;

use crate::observe::story::{Attempt, Story};
use crate::time::{Human, Timestamp, seconds};
use crate::verdict::gates::{End, Gate, SoFar};
use crate::verdict::result::{Check, GateResult, Offenders, Status, grouped, weaken};
use crate::verdict::spec::PolicySpec;

/// What reckoning in floating point may be off by.
const ROUNDING: Duration = Duration::from_micros(1);

/// The gate at work.
pub struct PolicyGate {
    spec: PolicySpec,
    tries: Rule,
    after_answer: Rule,
    waits: Rule,
    patience: Rule,
    attempts: Rule,
    requests: Rule,
}

/// How many of those that could break a rule did.
#[derive(Default)]
struct Rule {
    looked_at: u64,
    broken: u64,
    offenders: Offenders,
}

impl Rule {
    fn look(&mut self, story: &Story, is_kept: bool) {
        self.looked_at += 1;
        if !is_kept {
            self.broken += 1;
            self.offenders.note(story.key);
        }
    }

    /// None where nothing could have broken it.
    fn check(&self, condition: String, what: &str) -> Option<Check> {
        let (x, n) = (self.broken, self.looked_at);
        let status = if x == 0 { Status::Pass } else { Status::Fail };
        let seen = match x {
            0 => format!("true of all {} {what}", grouped(n)),
            _ => format!("not true of {} of {} {what}", grouped(x), grouped(n)),
        };
        let check = Check::census(condition, status, seen)
            .figure(Some(x as f64), "differences", n)
            .offenders(self.offenders.keys());
        (n > 0).then_some(check)
    }
}

impl PolicyGate {
    /// A gate that has seen nothing.
    pub fn new(spec: PolicySpec) -> Self {
        Self {
            spec,
            tries: Rule::default(),
            after_answer: Rule::default(),
            waits: Rule::default(),
            patience: Rule::default(),
            attempts: Rule::default(),
            requests: Rule::default(),
        }
    }

    fn most_tries(&self) -> u32 {
        self.spec.max_retries.saturating_add(1)
    }

    fn attempt(&mut self, story: &Story, attempt: &Attempt) {
        let Some(since) = attempt.dispatched_at else {
            return;
        };
        if let Some(at) = attempt.cancelled_at.filter(|_| !story.client_left()) {
            let deadline = story.sent.map(|(sent_at, _)| sent_at + self.spec.request);
            let limit = since + self.spec.attempt;
            let earliest = deadline.map_or(limit, |deadline| limit.min(deadline));
            self.patience.look(story, at + ROUNDING >= earliest);
        }
        if let Some(end) = attempt.cancelled_at.or(attempt.ended_at) {
            let is_kept = self.is_in_time(end.since(since), self.spec.attempt);
            self.attempts.look(story, is_kept);
        }
    }

    fn is_in_time(&self, took: Duration, limit: Duration) -> bool {
        took <= limit
            .saturating_add(self.spec.tolerance)
            .saturating_add(ROUNDING)
    }

    /// Retries: attempts at the version that was tried just before.
    fn waits(&mut self, story: &Story) {
        for pair in story.attempts.windows(2) {
            let [before, after] = pair else {
                continue;
            };
            let (Some(ended), Some(again)) = (over_at(before), after.dispatched_at) else {
                continue;
            };
            if before.version == after.version {
                let asked = before.retry_after.unwrap_or_default();
                let wait = self.wait(before.ordinal).max(asked);
                self.waits
                    .look(story, again.since(ended) + ROUNDING >= wait);
            }
        }
    }

    /// The shortest wait before the retry with this number, from 0.
    fn wait(&self, retry: u32) -> Duration {
        let spec = &self.spec;
        let wait = spec.base.as_secs_f64() * libm::pow(spec.factor, f64::from(retry));
        seconds(wait.min(spec.max_wait.as_secs_f64()) * (1.0 - spec.jitter))
    }
}

/// When the router could know that an attempt was over, at the earliest.
fn over_at(attempt: &Attempt) -> Option<Timestamp> {
    let booked_at = attempt.booked.map(|(at, _)| at);
    attempt.cancelled_at.or(attempt.ended_at).or(booked_at)
}

/// Was anything sent although there was an answer?
fn is_wasted(attempts: &[Attempt]) -> bool {
    let is_answer = |a: &Attempt| {
        let is_success = a.outcome.is_some_and(|o| o.is_success());
        is_success && !a.was_given_up()
    };
    attempts
        .split_last()
        .is_some_and(|(_, before)| before.iter().any(is_answer))
}

impl Gate for PolicyGate {
    fn story(&mut self, story: &Story, _so_far: &SoFar) {
        let most = self.most_tries();
        let is_kept = story.attempts.iter().all(|a| a.ordinal < most);
        self.tries.look(story, is_kept);
        self.after_answer.look(story, !is_wasted(&story.attempts));
        self.waits(story);
        for attempt in &story.attempts {
            self.attempt(story, attempt);
        }
        if let Some(took) = story.latency_from_sent() {
            let is_kept = self.is_in_time(took, self.spec.request);
            self.requests.look(story, is_kept);
        }
    }

    fn finish(&self, end: &End<'_>) -> GateResult {
        let most = self.most_tries();
        let (attempt, request) = (Human(self.spec.attempt), Human(self.spec.request));
        let checks = [
            self.tries
                .check(format!("at most {most} tries a version"), "requests"),
            self.after_answer
                .check("nothing is sent after an answer".to_owned(), "requests"),
            self.waits
                .check("retries wait as long as they must".to_owned(), "retries"),
            self.patience
                .check("no attempt is given up early".to_owned(), "hang-ups"),
            self.attempts
                .check(format!("no attempt takes more than {attempt}"), "attempts"),
            self.requests
                .check(format!("no request takes more than {request}"), "requests"),
        ];
        let mut checks: Vec<Check> = checks.into_iter().flatten().collect();
        if end.join_is_leaky {
            weaken(&mut checks);
        }
        GateResult::of("policy", checks)
    }
}
