//! A slow router, written down straight from the specification: it keeps every request and every
//! sample in plain lists and looks through all of them every time. No timers, no windows, no tables
//! of its own making are shared with the real one; only the configuration, the random draws and the
//! names of things.

mod choosing;
mod judging;
mod queueing;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use graygate::id::{AttemptId, RequestId, RequestKey, Seed, VersionId};
use graygate::protocol::outcome::Outcome;
use graygate::rng::{Purpose, draw, keyed_hash};
use graygate::router::config::{
    Condition, FallbackPolicy, Features, InFlight, JudgeConfig, Limit, LiteralConfig, RouterConfig,
    StickyBy, ThresholdAction,
};
use graygate::router::core::{Core, Footprint};
use graygate::router::io::{
    Action, AnswerTraits, AttemptKind, Causes, Choice, ChoiceNote, Chosen, Event, Evidence,
    Failure, Input, Reason, RequestFacts, Rollback, Served,
};
use graygate::router::split::salt;
use graygate::time::Timestamp;

struct Request {
    key: RequestKey,
    version: VersionId,
    arrived: Timestamp,
    /// Version of every attempt so far.
    attempts: Vec<VersionId>,
    choice: Option<ChoiceNote>,
    /// When the attempt that is out was sent; none while waiting.
    out_since: Option<Timestamp>,
    /// Its number in the queue of its version, and since when; none when it does not queue.
    queued: Option<(u64, Timestamp)>,
    wait_until: Timestamp,
    forwarded: bool,
    /// Does it want a stream?
    streams: bool,
    /// When the attempt that is out was heard of last, once anything of it was.
    heard: Option<Timestamp>,
    causes: Causes,
    retry_after: Option<Duration>,
}

struct Sample {
    at: Timestamp,
    version: VersionId,
    outcome: Outcome,
    latency: Duration,
}

pub(crate) struct ReferenceRouter {
    config: RouterConfig,
    seed: Seed,
    /// The time of the driver's last call.
    clock: Timestamp,
    requests: BTreeMap<RequestId, Request>,
    /// Every attempt there ever was.
    sent: Vec<(Timestamp, VersionId)>,
    tickets: u64,
    /// When every request was first tried, and every retry was decided on.
    firsts: Vec<Timestamp>,
    retries: Vec<Timestamp>,
    samples: Vec<Sample>,
    violated: Vec<bool>,
    next_tick: Timestamp,
    closed: bool,
    given_to_canary: u64,
    actions: VecDeque<Action>,
    events: VecDeque<Event>,
}

/// The table of outcome classes in the specification: retried, falls back, judged.
fn class(outcome: Outcome) -> (bool, &'static str, &'static str) {
    match outcome {
        Outcome::Success => (false, "never", "good"),
        Outcome::Unauthorized | Outcome::Forbidden => (false, "own key", "bad"),
        Outcome::ModelNotFound | Outcome::Malformed | Outcome::QuotaExhausted => {
            (false, "always", "bad")
        }
        Outcome::RateLimited
        | Outcome::ServerError
        | Outcome::Overloaded
        | Outcome::Timeout
        | Outcome::Connect
        | Outcome::Reset
        | Outcome::Truncated
        | Outcome::StreamError => (true, "always", "bad"),
        Outcome::BadRequest | Outcome::ClientGone | Outcome::Deadline | Outcome::Limited => {
            (false, "never", "no")
        }
        Outcome::Shutdown => (false, "always", "no"),
    }
}

impl ReferenceRouter {
    pub(crate) fn new(config: RouterConfig, seed: Seed) -> Self {
        let (next_tick, thresholds) = match &config.judge {
            // It only knows the literal one.
            JudgeConfig::Off | JudgeConfig::Sequential(_) => (Timestamp::MAX, 0),
            JudgeConfig::Literal(l) => (Timestamp::ZERO + l.every, l.thresholds.len()),
        };
        Self {
            config,
            seed,
            clock: Timestamp::ZERO,
            requests: BTreeMap::new(),
            sent: Vec::new(),
            tickets: 0,
            firsts: Vec::new(),
            retries: Vec::new(),
            samples: Vec::new(),
            violated: vec![false; thresholds],
            next_tick,
            closed: false,
            given_to_canary: 0,
            actions: VecDeque::new(),
            events: VecDeque::new(),
        }
    }

    fn due(&self, request: &Request) -> Timestamp {
        let own = match request.out_since {
            Some(since) => self.attempt_due(since, request),
            None => request.wait_until,
        };
        own.min(request.arrived + self.config.timeouts.request)
    }

    /// When the attempt that is out since then has taken too long.
    fn attempt_due(&self, since: Timestamp, request: &Request) -> Timestamp {
        let timeouts = &self.config.timeouts;
        let whole = since + self.attempt_limit(request);
        let part = match (request.streams, request.heard) {
            (false, _) => None,
            (true, None) => timeouts.first_token.map(|limit| since + limit),
            // A quarter more: what is told may be that late.
            (true, Some(at)) => timeouts.idle.map(|limit| at + limit + limit / 4),
        };
        part.map_or(whole, |part| part.min(whole))
    }

    /// What the attempt that is out may take: the second try at a version twice the step, and so on.
    fn attempt_limit(&self, request: &Request) -> Duration {
        let same = request.attempts.iter().filter(|v| **v == request.version);
        match (same.count() as u32, self.config.timeouts.escalation) {
            (0 | 1, _) | (_, None) => self.config.timeouts.attempt,
            (tries, Some(step)) => step * tries,
        }
    }

    /// Sends the next attempt, or queues for it.
    fn send(&mut self, now: Timestamp, id: RequestId) {
        let version = self.requests[&id].version;
        let max_wait = self.config.versions[version]
            .rate_limit
            .as_ref()
            .map(|l| l.max_wait);
        let must_wait = !self.queue(version).is_empty() || self.free_at(version) > now;
        match max_wait.filter(|_| must_wait) {
            None => self.dispatch(now, id),
            Some(max_wait) if self.is_in_vain(now, id, now + max_wait) => {
                let free = self.free_at(version).since(now);
                let request = self.requests.get_mut(&id).expect("a request under way");
                request.out_since = None;
                request.retry_after = Some(free);
                self.fail(id, Outcome::Limited, false);
            }
            Some(max_wait) => {
                self.tickets += 1;
                let request = self.requests.get_mut(&id).expect("a request under way");
                request.queued = Some((self.tickets, now));
                request.out_since = None;
                request.wait_until = now + max_wait;
            }
        }
    }

    fn dispatch(&mut self, now: Timestamp, id: RequestId) {
        let request = self.requests.get_mut(&id).expect("a request under way");
        let n = request.attempts.len() as u32;
        let version = request.version;
        request.attempts.push(version);
        request.out_since = Some(self.clock);
        request.heard = None;
        request.queued = None;
        request.forwarded = false;
        self.sent.push((self.clock, version));
        if n == 0 {
            self.firsts.push(now);
        }
        let attempt = AttemptId { request: id, n };
        self.actions.push_back(Action::Send { attempt, version });
    }

    fn end(&mut self, id: RequestId, outcome: Outcome) {
        let request = self.requests.remove(&id).expect("a request under way");
        let is_success = outcome == Outcome::Success;
        self.events.push_back(Event::RequestEnded {
            request: id,
            key: request.key,
            outcome,
            served_by: is_success.then_some(request.version),
            fallback: request.attempts.windows(2).any(|w| w[0] != w[1]),
            attempts: request.attempts.len() as u32,
        });
    }

    fn fail(&mut self, id: RequestId, outcome: Outcome, relay: bool) {
        let request = &self.requests[&id];
        self.actions.push_back(Action::Fail {
            request: id,
            failure: Failure {
                outcome,
                causes: request.causes.clone(),
                retry_after: request.retry_after,
                version: request.attempts.last().copied(),
                fallback: request.attempts.windows(2).any(|w| w[0] != w[1]),
                attempts: request.attempts.len() as u32,
                relay,
                choice: request.choice,
            },
        });
        self.end(id, outcome);
    }

    /// Books the end of the attempt that is out, on the version that was tried.
    fn book(&mut self, now: Timestamp, id: RequestId, outcome: Outcome) {
        let request = &self.requests[&id];
        let n = request.attempts.len() - 1;
        let version = request.attempts[n];
        let same = request.attempts.iter().filter(|v| **v == version).count();
        let kind = match (n, same) {
            (0, _) => AttemptKind::First,
            (_, 1) => AttemptKind::Fallback,
            _ => AttemptKind::Retry,
        };
        let latency = now.since(request.out_since.expect("an attempt is out"));
        self.events.push_back(Event::AttemptEnded {
            attempt: AttemptId {
                request: id,
                n: n as u32,
            },
            key: request.key,
            version,
            kind,
            fallback: version != request.attempts[0],
            outcome,
            latency,
            answer: AnswerTraits::default(),
        });
        self.samples.push(Sample {
            at: now,
            version,
            outcome,
            latency,
        });
        // What comes of a rollback is no matter of the request whose attempt just ended.
        let ended = self.requests.remove(&id).expect("a request under way");
        if version == self.config.canary && class(outcome).2 == "bad" {
            self.look(now, false);
        }
        self.requests.insert(id, ended);
    }

    /// Of every tenth of the memory that is not over: retries, this one included, against what first
    /// attempts and the reserve allow.
    fn has_budget(&self, now: Timestamp) -> bool {
        let Some(budget) = &self.config.retry.budget else {
            return true;
        };
        let tenth = budget.memory.as_nanos() as u64 / 10;
        let count = |all: &[Timestamp]| {
            let counts = |at: &&Timestamp| at.0 / tenth + 10 > now.0 / tenth;
            all.iter().filter(counts).count() as f64
        };
        let reserve = budget.reserve_per_second * budget.memory.as_secs_f64();
        count(&self.retries) + 1.0 <= budget.share * count(&self.firsts) + reserve + 1e-9
    }

    fn after_failure(&mut self, now: Timestamp, id: RequestId, outcome: Outcome) {
        let request = &self.requests[&id];
        let version = request.version;
        let left = (request.arrived + self.config.timeouts.request).since(now);
        let tries = request.attempts.iter().filter(|v| **v == version).count() as u32;
        let is_canary = version == self.config.canary;
        let (retried, falls_back, _) = class(outcome);

        let nth = request.attempts.len() as u32 - 1;
        let policy = &self.config.retry;
        let jitter = draw(self.seed, Purpose::Backoff, request.key, version, nth).unit();
        let mut wait = policy.base.as_secs_f64();
        for _ in 1..tries {
            wait *= policy.factor;
        }
        wait = wait.min(policy.max_wait.as_secs_f64()) * (1.0 - policy.jitter * jitter);
        let wait = Duration::from_secs_f64(wait).max(request.retry_after.unwrap_or_default());
        let may_retry = retried
            && tries <= policy.max_retries
            && wait <= policy.max_wait
            && wait < left
            && !(is_canary && self.closed);

        let may_fall_back = is_canary && self.may_fall_back(falls_back, left);
        let retry_first = self.config.fallback != FallbackPolicy::Immediately;
        let comes_first = may_retry && (retry_first || !may_fall_back);
        let is_paid = comes_first && self.has_budget(now);
        if may_fall_back && !is_paid {
            self.fall_back(now, id);
        } else if is_paid {
            self.retries.push(now);
            let request = self.requests.get_mut(&id).expect("a request under way");
            request.out_since = None;
            request.wait_until = now + wait;
        } else {
            self.fail(id, outcome, outcome == Outcome::BadRequest);
        }
    }

    fn may_fall_back(&self, falls_back: &str, left: Duration) -> bool {
        let versions = &self.config.versions;
        let own_keys = versions[VersionId(0)].api_key_env != versions[VersionId(1)].api_key_env;
        let permitted = falls_back == "always" || (falls_back == "own key" && own_keys);
        permitted && self.config.fallback != FallbackPolicy::Off && left > Duration::ZERO
    }

    fn fall_back(&mut self, now: Timestamp, id: RequestId) {
        let stable = self.config.stable;
        let request = self.requests.get_mut(&id).expect("a request under way");
        request.version = stable;
        self.send(now, id);
    }

    fn note(&mut self, id: RequestId, outcome: Outcome, retry_after: Option<Duration>) {
        let request = self.requests.get_mut(&id).expect("a request under way");
        request.retry_after = retry_after;
        let version = request.version;
        match request.causes.iter_mut().find(|(v, _)| *v == version) {
            Some(cause) => cause.1 = outcome,
            None => request.causes.push((version, outcome)),
        }
    }

    fn attempt_ended(
        &mut self,
        now: Timestamp,
        attempt: AttemptId,
        outcome: Outcome,
        retry_after: Option<Duration>,
    ) {
        if !self.is_out(attempt) {
            return;
        }
        if outcome == Outcome::Success {
            self.first_content(now, attempt);
        }
        let id = attempt.request;
        self.book(now, id, outcome);
        if outcome == Outcome::Success {
            self.end(id, outcome);
            return;
        }
        let forwarded = self.requests[&id].forwarded;
        self.note(id, outcome, retry_after);
        if forwarded {
            self.fail(id, outcome, false);
        } else {
            self.after_failure(now, id, outcome);
        }
    }

    fn is_out(&self, attempt: AttemptId) -> bool {
        self.requests.get(&attempt.request).is_some_and(|r| {
            r.out_since.is_some() && attempt.n.checked_add(1) == Some(r.attempts.len() as u32)
        })
    }

    fn progress(&mut self, now: Timestamp, attempt: AttemptId) {
        if self.is_out(attempt) {
            let request = self.requests.get_mut(&attempt.request).expect("is out");
            if request.forwarded {
                request.heard = Some(now);
            }
        }
    }

    fn first_content(&mut self, now: Timestamp, attempt: AttemptId) {
        if !self.is_out(attempt) {
            return;
        }
        let stable = self.config.stable;
        let request = self.requests.get_mut(&attempt.request).expect("is out");
        request.heard = Some(now);
        if request.forwarded {
            return;
        }
        request.forwarded = true;
        self.actions.push_back(Action::Forward {
            attempt,
            served: Served {
                version: request.version,
                fallback: request.version == stable && request.attempts[0] != stable,
                attempts: request.attempts.len() as u32,
                choice: request.choice,
            },
        });
    }

    fn cancel(&mut self, now: Timestamp, id: RequestId, outcome: Outcome) {
        let request = &self.requests[&id];
        if request.out_since.is_some() {
            let n = request.attempts.len() as u32 - 1;
            let attempt = AttemptId { request: id, n };
            self.actions.push_back(Action::Cancel { attempt });
            self.book(now, id, outcome);
        }
    }

    fn request_due(&mut self, now: Timestamp, id: RequestId) {
        let request = &self.requests[&id];
        let expires = request.arrived + self.config.timeouts.request;
        let forwarded = request.forwarded;
        match request.out_since {
            Some(since) if self.attempt_due(since, request) <= now => {
                self.cancel(now, id, Outcome::Timeout);
                self.note(id, Outcome::Timeout, None);
                if forwarded {
                    self.fail(id, Outcome::Timeout, false);
                } else {
                    self.after_failure(now, id, Outcome::Timeout);
                }
            }
            None if request.wait_until <= now && now < expires => match request.queued {
                None => self.wait_over(now, id),
                Some(_) => {
                    let free = self.free_at(request.version).since(now);
                    self.requests.get_mut(&id).expect("due").retry_after = Some(free);
                    self.fail(id, Outcome::Limited, false);
                }
            },
            _ => {
                self.cancel(now, id, Outcome::Deadline);
                self.fail(id, Outcome::Deadline, false);
            }
        }
    }

    fn wait_over(&mut self, now: Timestamp, id: RequestId) {
        let request = &self.requests[&id];
        if !(self.closed && request.version == self.config.canary) {
            self.send(now, id);
            return;
        }
        self.turn_away(now, id);
    }

    fn due_now(&mut self, now: Timestamp) {
        while let Some(id) = self.due_request(now) {
            self.request_due(now, id);
        }
        self.let_through(now);
        if !self.closed && self.next_tick <= now {
            if let JudgeConfig::Literal(judge) = &self.config.judge {
                self.next_tick = now + judge.every;
            }
            self.look(now, true);
        }
    }

    fn due_request(&self, now: Timestamp) -> Option<RequestId> {
        let due = self.requests.iter().map(|(id, r)| (self.due(r), *id));
        due.filter(|(at, _)| *at <= now).min().map(|(_, id)| id)
    }

    fn catch_up(&mut self, now: Timestamp) {
        self.clock = now;
        while let Some(due) = self.poll_timeout().filter(|due| *due < now) {
            self.due_now(due);
        }
    }
}

impl Core for ReferenceRouter {
    fn handle(&mut self, now: Timestamp, input: Input) {
        self.catch_up(now);
        match input {
            Input::Arrival {
                request,
                key,
                facts,
            } => {
                let (version, choice) = self.choose(key, &facts);
                self.given_to_canary += u64::from(version == self.config.canary);
                self.events.push_back(Event::Assigned {
                    request,
                    key,
                    version,
                    choice,
                });
                let fresh = Request {
                    key,
                    version,
                    arrived: now,
                    choice: match choice {
                        Choice::Override => Some(ChoiceNote::Honoured),
                        Choice::OverrideRefused => Some(ChoiceNote::Refused),
                        _ => None,
                    },
                    queued: None,
                    attempts: Vec::new(),
                    out_since: None,
                    wait_until: now,
                    forwarded: false,
                    streams: facts.needs.streaming,
                    heard: None,
                    causes: Causes::new(),
                    retry_after: None,
                };
                self.requests.insert(request, fresh);
                self.send(now, request);
            }
            Input::FirstContent { attempt } => self.first_content(now, attempt),
            Input::Progress { attempt } => self.progress(now, attempt),
            Input::AttemptEnded {
                attempt,
                outcome,
                retry_after,
                ..
            } => self.attempt_ended(now, attempt, outcome, retry_after),
            Input::ClientGone { request } => {
                if self.requests.contains_key(&request) {
                    self.cancel(now, request, Outcome::ClientGone);
                    self.end(request, Outcome::ClientGone);
                }
            }
            // It keeps nothing and obeys nobody.
            Input::Control { .. } | Input::Persisted { .. } | Input::Found { .. } => {}
        }
    }

    fn handle_timeout(&mut self, now: Timestamp) {
        self.catch_up(now);
        self.due_now(now);
    }

    fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    fn poll_timeout(&self) -> Option<Timestamp> {
        let requests = self.requests.values().map(|r| self.due(r));
        let is_judging = !self.closed && self.next_tick < Timestamp::MAX;
        let heads = [VersionId(0), VersionId(1)]
            .into_iter()
            .filter_map(|version| {
                let (_, since, _) = *self.queue(version).first()?;
                Some(self.free_at(version).max(since))
            });
        requests
            .chain(heads)
            .chain(is_judging.then_some(self.next_tick))
            .min()
    }

    fn footprint(&self) -> Footprint {
        Footprint::default()
    }
}
