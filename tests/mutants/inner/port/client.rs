//! The client: `chatCompletion` with its tries, its fallback and its limits of time.

use std::sync::Arc;
use std::time::Duration;

use graygate::id::{AttemptId, RequestId, RequestKey, VersionId};
use graygate::protocol::outcome::{Fallback, Outcome};
use graygate::router::config::FallbackPolicy;
use graygate::router::io::{
    Action, AnswerTraits, AttemptKind, Choice, Event, Failure, RequestFacts, Served,
};
use graygate::time::{Timestamp, seconds};

use super::core::Port;
use super::flaws::Flaw;
use super::limiter::RateLimiter;
use super::request::{Out, Request};
use super::timers::Due;

/// How an attempt ended, by its answer.
type End = (Outcome, Option<Duration>, AnswerTraits);

impl Port {
    pub(super) fn arrive(
        &mut self,
        now: Timestamp,
        request: RequestId,
        key: RequestKey,
        facts: Arc<RequestFacts>,
    ) {
        let (meant, choice) = self.versions.select(&self.config, key, &facts);
        let is_shut = meant == self.config.canary && self.closed;
        let (version, choice) = match is_shut {
            true => (self.config.stable, Choice::CanaryClosed),
            false => (meant, choice),
        };
        self.given += u64::from(version == self.config.canary);
        self.events.push_back(Event::Assigned {
            request,
            key,
            version,
            choice,
        });
        let deadline = now + self.config.timeouts.request;
        let tries = self.config.versions.values().map(|_| 0).collect();
        self.requests.insert(
            request,
            Request {
                key,
                facts,
                deadline,
                version,
                kind: AttemptKind::First,
                fallback: false,
                tries,
                attempts: 0,
                out: None,
                tried: None,
                causes: Default::default(),
                retry_after: None,
            },
        );
        if !self.has(Flaw::NoTimeouts) {
            self.timers.set(deadline, Due::Deadline(request));
        }
        self.acquire(now, request);
    }

    /// `limiter.acquire()`, where its version has a limit.
    fn acquire(&mut self, now: Timestamp, request: RequestId) {
        let Some(version) = self.requests.get(request).map(|r| r.version) else {
            return;
        };
        let Some(limiter) = &mut self.limiters[version] else {
            return self.post(now, request);
        };
        match limiter.acquire(now, request) {
            Ok(()) => self.post(now, request),
            Err(at) => {
                let longest = now + limiter.max_wait();
                self.timers.set(at, Due::Slot(version));
                self.timers.set(longest, Due::Slotless(request));
            }
        }
    }

    pub(super) fn slot(&mut self, now: Timestamp, version: VersionId) {
        while let Some(limiter) = &mut self.limiters[version]
            && let Some(request) = limiter.release(now)
        {
            self.post(now, request);
        }
        let next = self.limiters[version]
            .as_ref()
            .and_then(|limiter| limiter.next());
        if let Some(next) = next.filter(|next| *next > now) {
            self.timers.set(next, Due::Slot(version));
        }
    }

    pub(super) fn slotless(&mut self, now: Timestamp, request: RequestId) {
        let waits = |limiter: &RateLimiter| limiter.is_limited_by(request);
        if self.limiters.values().flatten().any(waits) {
            self.give_up(now, request, Outcome::Limited);
        }
    }

    /// `axios.post`.
    fn post(&mut self, now: Timestamp, id: RequestId) {
        let has_limits = !self.has(Flaw::NoTimeouts);
        let Some(request) = self.requests.get_mut(id) else {
            return;
        };
        let attempt = AttemptId {
            request: id,
            n: request.attempts,
        };
        let (version, timeouts) = (request.version, &self.config.timeouts);
        let whole = timeouts.of_try(request.tries[version]);
        let first = timeouts
            .first_token
            .filter(|_| request.facts.needs.streaming);
        request.attempts += 1;
        request.tries[version] += 1;
        request.out = Some(Out {
            n: attempt.n,
            version,
            since: now,
            kind: request.kind,
            committed: false,
            heard: now,
        });
        if has_limits {
            let limit = first.map_or(whole, |first| first.min(whole));
            self.timers.set(now + limit, Due::Limit(attempt));
            self.timers.set(now + whole, Due::Limit(attempt));
        }
        self.actions.push_back(Action::Send { attempt, version });
    }

    fn out(&mut self, attempt: AttemptId) -> Option<&mut Out> {
        let out = self.requests.get_mut(attempt.request)?.out.as_mut();
        out.filter(|out| out.n == attempt.n)
    }

    pub(super) fn first_content(&mut self, now: Timestamp, attempt: AttemptId) {
        let Some(out) = self.out(attempt).filter(|out| !out.committed) else {
            return;
        };
        (out.committed, out.heard) = (true, now);
        let version = out.version;
        self.listen(now, attempt);
        let request = self.requests.get(attempt.request);
        let served = Served {
            version,
            fallback: request.is_some_and(|r| r.fallback),
            attempts: attempt.n + 1,
            choice: None,
        };
        self.actions.push_back(Action::Forward { attempt, served });
    }

    pub(super) fn progress(&mut self, now: Timestamp, attempt: AttemptId) {
        if let Some(out) = self.out(attempt) {
            out.heard = now;
            self.listen(now, attempt);
        }
    }

    /// A stream may be silent for so long.
    fn listen(&mut self, now: Timestamp, attempt: AttemptId) {
        let idle = self
            .config
            .timeouts
            .idle
            .filter(|_| !self.has(Flaw::NoTimeouts));
        if let Some(idle) = idle {
            self.timers.set(now + idle, Due::Limit(attempt));
        }
    }

    /// One of the attempt's limits may have been reached: its first token's, its silence's, or its own.
    pub(super) fn limit_reached(&mut self, now: Timestamp, attempt: AttemptId) {
        let Some(request) = self.requests.get(attempt.request) else {
            return;
        };
        let Some(out) = request.out.filter(|out| out.n == attempt.n) else {
            return;
        };
        let timeouts = &self.config.timeouts;
        let whole = timeouts.of_try(request.tries[out.version] - 1);
        let is_silent = timeouts
            .idle
            .is_some_and(|idle| now.since(out.heard) >= idle);
        let is_over = now.since(out.since) >= whole;
        if is_over || !out.committed || is_silent {
            self.actions.push_back(Action::Cancel { attempt });
            self.ended(
                now,
                attempt,
                (Outcome::Timeout, None, AnswerTraits::default()),
            );
        }
    }

    pub(super) fn ended(&mut self, now: Timestamp, attempt: AttemptId, end: End) {
        let Some(mut request) = self.requests.remove(attempt.request) else {
            return;
        };
        let Some(out) = request.out.take_if(|out| out.n == attempt.n) else {
            self.requests.insert(attempt.request, request);
            return;
        };
        let (outcome, asked, _) = end;
        self.book(now, attempt, &request, &out, end);
        if outcome.is_success() {
            self.mended(&request);
            self.settle(attempt.request, &request, outcome, Some(out.version));
            return;
        }
        request.note(out.version, outcome, asked);
        if out.committed {
            // What the caller has of it cannot be taken back.
            return self.fail(attempt.request, &request, outcome);
        }
        self.caught(now, attempt.request, request, (outcome, asked));
    }

    /// `logRequest`, and the look that follows a failure.
    fn book(&mut self, now: Timestamp, attempt: AttemptId, request: &Request, out: &Out, end: End) {
        let (outcome, _, answer) = end;
        let latency = now.since(out.since);
        let is_current = self.has(Flaw::FailuresOnCurrentVersion) && !outcome.is_success();
        let version = if is_current {
            self.config.stable
        } else {
            out.version
        };
        self.events.push_back(Event::AttemptEnded {
            attempt,
            key: request.key,
            version,
            kind: out.kind,
            fallback: request.fallback,
            outcome,
            latency,
            answer,
        });
        self.metrics.log(now, version, outcome, latency);
        if !outcome.is_success() && !self.has(Flaw::JudgesByWhatUsersSee) {
            self.look(now);
        }
    }

    /// Stable answered what the canary failed.
    fn mended(&mut self, request: &Request) {
        if self.has(Flaw::JudgesByWhatUsersSee) && request.fallback {
            self.metrics.forgive(self.config.canary);
        }
    }

    /// `catch (error)`: once more, or stable instead, or it has failed.
    fn caught(
        &mut self,
        now: Timestamp,
        id: RequestId,
        mut request: Request,
        (outcome, asked): (Outcome, Option<Duration>),
    ) {
        let wait = self.wait(now, &request, outcome, asked);
        let falls_back = self.falls_back(&request, outcome);
        let first = self.config.fallback == FallbackPolicy::Immediately;
        if let Some(wait) = wait.filter(|_| !(first && falls_back)) {
            request.kind = AttemptKind::Retry;
            self.requests.insert(id, request);
            self.timers.set(now + wait, Due::Retry(id));
        } else if falls_back {
            self.fall_back(&mut request);
            self.requests.insert(id, request);
            self.acquire(now, id);
        } else {
            self.fail(id, &request, outcome);
        }
    }

    /// How long to wait before the same version is tried again; none when it is not.
    fn wait(
        &self,
        now: Timestamp,
        request: &Request,
        outcome: Outcome,
        asked: Option<Duration>,
    ) -> Option<Duration> {
        let policy = &self.config.retry;
        let tries = request.tries[request.version];
        let is_refusal = matches!(outcome, Outcome::Unauthorized | Outcome::ModelNotFound);
        let once_more = match self.flaw {
            Some(Flaw::RetriesRefusals) => outcome.is_retryable() || is_refusal,
            Some(Flaw::FallbackToTheSameModel) if request.version == self.config.stable => {
                outcome.is_retryable() || is_refusal
            }
            _ => outcome.is_retryable(),
        };
        let is_open = request.version != self.config.canary || !self.closed;
        let factor = libm::pow(policy.factor, f64::from(tries.saturating_sub(1)));
        let backoff = (policy.base.as_secs_f64() * factor).min(policy.max_wait.as_secs_f64());
        let asked = asked.filter(|_| !self.has(Flaw::RetryAfterIgnored));
        let wait = seconds(backoff).max(asked.unwrap_or_default());
        let left = request.deadline.since(now);
        let may = once_more && is_open && tries <= policy.max_retries;
        (may && wait <= policy.max_wait && wait < left).then_some(wait)
    }

    fn falls_back(&self, request: &Request, outcome: Outcome) -> bool {
        let can_help = match outcome.fallback() {
            Fallback::Always => true,
            Fallback::WithOtherCredentials => {
                self.config.has_separate_credentials() || self.has(Flaw::FallbackWithTheSameKey)
            }
            Fallback::Never => false,
        };
        let is_at_canary = request.version == self.config.canary;
        let goes_round = self.has(Flaw::FallbackLoops) && request.attempts < 6;
        can_help && (is_at_canary || goes_round) && self.config.fallback != FallbackPolicy::Off
    }

    /// `fallbackToOldModel`; and, in a loop, back.
    fn fall_back(&self, request: &mut Request) {
        let is_at_canary = request.version == self.config.canary;
        request.version = match is_at_canary {
            true => self.config.stable,
            false => self.config.canary,
        };
        request.kind = AttemptKind::Fallback;
        request.fallback = is_at_canary;
    }

    /// The wait is over. Who waited for a canary that was closed meanwhile goes to stable.
    pub(super) fn try_again(&mut self, now: Timestamp, id: RequestId) {
        let is_shut = self.closed && !self.has(Flaw::RetriesIgnoreRollback);
        let Some(mut request) = self.requests.remove(id) else {
            return;
        };
        if is_shut && request.version == self.config.canary {
            self.fall_back(&mut request);
        }
        self.requests.insert(id, request);
        self.acquire(now, id);
    }

    /// The caller, the deadline or the limiter ends it.
    pub(super) fn give_up(&mut self, now: Timestamp, id: RequestId, outcome: Outcome) {
        let Some(mut request) = self.requests.remove(id) else {
            return;
        };
        for limiter in self
            .limiters
            .iter_mut()
            .filter_map(|(_, limiter)| limiter.as_mut())
        {
            limiter.leave(id);
        }
        if let Some(out) = request.out.take() {
            let attempt = AttemptId {
                request: id,
                n: out.n,
            };
            self.actions.push_back(Action::Cancel { attempt });
            let end = (outcome, None, AnswerTraits::default());
            self.book(now, attempt, &request, &out, end);
            request.tried = Some(out.version);
        }
        match outcome {
            Outcome::ClientGone => self.settle(id, &request, outcome, None),
            _ => self.fail(id, &request, outcome),
        }
    }

    fn fail(&mut self, id: RequestId, request: &Request, outcome: Outcome) {
        let failure = Failure {
            outcome,
            causes: request.causes.clone(),
            retry_after: request.retry_after,
            version: request.tried,
            fallback: request.fallback,
            attempts: request.attempts,
            relay: outcome == Outcome::BadRequest,
            choice: None,
        };
        let request_id = id;
        self.actions.push_back(Action::Fail {
            request: request_id,
            failure,
        });
        self.settle(id, request, outcome, None);
    }

    fn settle(
        &mut self,
        request: RequestId,
        of: &Request,
        outcome: Outcome,
        served_by: Option<VersionId>,
    ) {
        self.events.push_back(Event::RequestEnded {
            request,
            key: of.key,
            outcome,
            served_by,
            fallback: of.fallback,
            attempts: of.attempts,
        });
    }
}
