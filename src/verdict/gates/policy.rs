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
//!   after the attempt's limit, unless a rollback takes attempts back; no stream of tokens alone is silent for more
//!   than its limit and a quarter of it;
//! * for a caller who has left, nothing is sent any more, and what is out is given up at once;
//! * the caller has an answer by the request's deadline;
//! * no window of a version's rate limit sees more attempts arrive at its upstream than the limit;
//! * retries over all requests stay within the retry budget (`retry_budget`).
//!
//! It knows the configuration that the run begins with, and this is enough: nothing in a scenario can
//! order another one while it runs, and what a rollback or a step of the ramp adopts has other weights, never
//! other limits. Where a run could change them, every request would have to be held to those that it
//! arrived under.
//!
//! Limits of a live run may be passed by the spec's tolerance: timers of a busy machine are late.

use std::time::Duration;

use crate::id::{PerVersion, RequestKey};
use crate::observe::event::{Accepted, RunEvent, Streamed, What};
use crate::observe::join::Joined;
use crate::observe::story::{Attempt, Story};
use crate::protocol::outcome::Outcome;
use crate::time::{Human, Timestamp, seconds};
use crate::verdict::gates::retry_budget::BudgetWatch;
use crate::verdict::gates::window::Window;
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
    silences: Rule,
    departures: Rule,
    requests: Rule,
    rate: Rule,
    /// Absent where any number of retries is allowed.
    budget: Option<BudgetWatch>,
    /// What each upstream with a limit took last.
    taken: PerVersion<Option<Window>>,
}

/// How many of those that could break a rule did.
#[derive(Clone, Default)]
pub(super) struct Rule {
    looked_at: u64,
    broken: u64,
    offenders: Offenders,
}

impl Rule {
    /// Notes one more, which `key` is guilty of if it broke the rule.
    pub(super) fn look(&mut self, key: Option<RequestKey>, is_kept: bool) {
        self.looked_at += 1;
        if !is_kept {
            self.broken += 1;
            key.into_iter().for_each(|key| self.offenders.note(key));
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
            budget: BudgetWatch::new(&spec),
            taken: windows(&spec),
            spec,
            tries: Rule::default(),
            after_answer: Rule::default(),
            waits: Rule::default(),
            patience: Rule::default(),
            attempts: Rule::default(),
            silences: Rule::default(),
            departures: Rule::default(),
            requests: Rule::default(),
            rate: Rule::default(),
        }
    }

    fn longest(&self) -> Duration {
        let spec = &self.spec;
        spec.limit(spec.max_retries).max(spec.attempt)
    }

    fn most_tries(&self) -> u32 {
        self.spec.max_retries.saturating_add(1)
    }

    /// Notes what an upstream took: within any window no more than its limit.
    fn accepted(&mut self, at: Timestamp, row: &Accepted) {
        let Some(window) = &mut self.taken[row.version] else {
            return;
        };
        let inside = window.take(at);
        // As many as the limit break it in no window.
        if window.seen() > window.most() {
            self.rate.look(row.key, inside <= window.most());
        }
    }

    fn attempt(&mut self, story: &Story, attempt: &Attempt, so_far: &SoFar) {
        let Some(since) = attempt.dispatched_at else {
            return;
        };
        let limit = self.limit(story, attempt);
        let was_recalled = |at| {
            self.spec.recalled == Some(attempt.version) && so_far.is_recall(at, self.spec.tolerance)
        };
        if let Some(at) = attempt
            .cancelled_at
            .filter(|at| !is_departure(story, attempt) && !was_recalled(*at))
        {
            let deadline = story.sent.map(|(sent_at, _)| sent_at + self.spec.request);
            let limit = since + limit;
            let limit = self
                .silence(story, attempt)
                .map_or(limit, |end| limit.min(end));
            let earliest = deadline.map_or(limit, |deadline| limit.min(deadline));
            self.patience
                .look(Some(story.key), at + ROUNDING >= earliest);
        }
        if let Some(end) = attempt.cancelled_at.or(attempt.ended_at) {
            let is_kept = self.is_in_time(end.since(since), limit);
            self.attempts.look(Some(story.key), is_kept);
            self.silence_kept(story, attempt, end);
        }
    }

    /// A stream that says no more is given up, too.
    fn silence_kept(&mut self, story: &Story, attempt: &Attempt, end: Timestamp) {
        let since = begun(story, attempt).filter(|_| self.spec.is_only_tokens);
        if let (Some(streamed), Some(idle)) = (since, self.spec.idle) {
            let is_kept = self.is_in_time(end.since(streamed.last_token), longest_silence(idle));
            self.silences.look(Some(story.key), is_kept);
        }
    }

    /// What the attempt may take, as a whole or to its first token.
    fn limit(&self, story: &Story, attempt: &Attempt) -> Duration {
        let whole = self.spec.limit(attempt.ordinal);
        let is_stream = story.sent.is_some_and(|(_, sent)| sent.stream);
        match self.spec.first_token.filter(|_| is_stream) {
            Some(first) if begun(story, attempt).is_none() => whole.min(first),
            Some(_) | None => whole,
        }
    }

    /// When the stream that its caller was given has been silent for too long.
    fn silence(&self, story: &Story, attempt: &Attempt) -> Option<Timestamp> {
        Some(begun(story, attempt)?.last_token + self.spec.idle?)
    }

    /// The caller's leaving ends the request: nothing of it is out any more.
    fn departure(&mut self, story: &Story) {
        let Some((left_at, _)) = story.answered.filter(|_| story.client_left()) else {
            return;
        };
        let latest = left_at + self.spec.tolerance + ROUNDING;
        let is_given_up = |attempt: &Attempt| {
            let booked_at = attempt.booked.map(|(at, _)| at);
            let over_at = attempt.cancelled_at.or(booked_at);
            over_at.is_some_and(|at| at <= latest)
        };
        let mut made = story.attempts.iter().filter(|a| a.dispatched_at.is_some());
        self.departures.look(Some(story.key), made.all(is_given_up));
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
            let (Some(ended), Some(again)) = (self.over_at(before), after.dispatched_at) else {
                continue;
            };
            if before.version == after.version {
                let asked = before.retry_after.unwrap_or_default();
                let wait = self.wait(before.ordinal).max(asked);
                self.waits
                    .look(Some(story.key), again.since(ended) + ROUNDING >= wait);
            }
        }
    }

    /// When the router could know that an attempt was over, at the earliest. One that ran into its limit
    /// was over then, however late the timer of a live run rang: its wait begins there.
    fn over_at(&self, attempt: &Attempt) -> Option<Timestamp> {
        let limit = attempt.dispatched_at;
        let limit = limit.map(|since| since + self.spec.limit(attempt.ordinal));
        let given_up_at = attempt.cancelled_at.map(|at| at.min(limit.unwrap_or(at)));
        let booked_at = attempt.booked.map(|(at, _)| at);
        given_up_at.or(attempt.ended_at).or(booked_at)
    }

    /// The shortest wait before the retry with this number, from 0.
    fn wait(&self, retry: u32) -> Duration {
        let spec = &self.spec;
        let wait = spec.base.as_secs_f64() * libm::pow(spec.factor, f64::from(retry));
        seconds(wait.min(spec.max_wait.as_secs_f64()) * (1.0 - spec.jitter))
    }
}

fn windows(spec: &PolicySpec) -> PerVersion<Option<Window>> {
    let watch = |(most, window)| Window::new(most, window, spec.tolerance);
    spec.limits.values().map(|limit| limit.map(watch)).collect()
}

/// The longest silence of a stream with this limit. The core hears of a stream that goes on only now and then, and
/// grants a quarter for that.
fn longest_silence(idle: Duration) -> Duration {
    idle.saturating_add(idle / 4)
}

/// The stream of this attempt, if that is what the caller was given: of the last one there was.
fn begun(story: &Story, attempt: &Attempt) -> Option<Streamed> {
    let is_last = story.attempts.last() == Some(attempt);
    let (_, answered) = story.answered.filter(|_| is_last)?;
    answered.streamed
}

/// Did the caller's leaving end this attempt? One that is booked with another reason must have had it.
fn is_departure(story: &Story, attempt: &Attempt) -> bool {
    let booked = attempt.booked.map(|(_, booked)| booked.outcome);
    story.client_left() && booked.is_none_or(|outcome| outcome == Outcome::ClientGone)
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
    fn event(&mut self, event: &RunEvent, _joined: &Joined) {
        if let Some(budget) = &mut self.budget {
            budget.event(event);
        }
        if let What::Accepted(row) = &event.what {
            self.accepted(event.at, row);
        }
    }

    fn story(&mut self, story: &Story, so_far: &SoFar) {
        let most = self.most_tries();
        let is_kept = story.attempts.iter().all(|a| a.ordinal < most);
        self.tries.look(Some(story.key), is_kept);
        self.after_answer
            .look(Some(story.key), !is_wasted(&story.attempts));
        self.waits(story);
        self.departure(story);
        for attempt in &story.attempts {
            self.attempt(story, attempt, so_far);
        }
        if let Some(took) = story.latency_from_sent() {
            let is_kept = self.is_in_time(took, self.spec.request);
            self.requests.look(Some(story.key), is_kept);
        }
    }

    fn finish(&self, end: &End<'_>) -> GateResult {
        let most = self.most_tries();
        let (attempt, request) = (Human(self.longest()), Human(self.spec.request));
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
            self.silences.check(
                format!(
                    "no stream is silent for more than {}",
                    Human(longest_silence(self.spec.idle.unwrap_or_default()))
                ),
                "streams",
            ),
            self.departures.check(
                "nothing goes on for callers who left".to_owned(),
                "departures",
            ),
            self.requests
                .check(format!("no request takes more than {request}"), "requests"),
            self.rate.check(
                "no window sees more than its rate limit".to_owned(),
                "attempts",
            ),
        ];
        let budget = self.budget.as_ref().map(BudgetWatch::rule);
        let budget = budget
            .and_then(|rule| rule.check("retries stay within their budget".to_owned(), "windows"));
        let mut checks: Vec<Check> = checks.into_iter().flatten().chain(budget).collect();
        if end.join_is_leaky {
            weaken(&mut checks);
        }
        GateResult::of("policy", checks)
    }
}
