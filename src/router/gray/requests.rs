//! The life of a request: its version, its attempts, its end.

use std::time::Duration;

use crate::id::{AttemptId, RequestId, RequestKey, VersionId};
use crate::protocol::drift::DriftKind;
use crate::protocol::outcome::Outcome;
use crate::rng::{Purpose, draw, keyed_hash};
use crate::router::config::RouterConfig;
use crate::router::fallback::{self, FailedAttempt, Next};
use crate::router::gray::GrayRouter;
use crate::router::io::{
    Action, AnswerTraits, Choice, ChoiceNote, Chosen, Event, Failure, RequestFacts, Served,
};
use crate::router::request::{RequestMachine, Stage};
use crate::router::{retry, routes, split};
use crate::time::Timestamp;

/// How an attempt ended.
#[derive(Clone, Copy, Debug)]
pub(super) struct End {
    pub(super) outcome: Outcome,
    pub(super) retry_after: Option<Duration>,
    pub(super) answer: AnswerTraits,
}

impl GrayRouter {
    pub(super) fn arrive(
        &mut self,
        now: Timestamp,
        request: RequestId,
        key: RequestKey,
        facts: &RequestFacts,
    ) {
        let (version, choice) = self.choose(key, facts);
        let config = self.config();
        if version == config.canary {
            self.given_to_canary += 1;
        }
        self.events.push_back(Event::Assigned {
            request,
            key,
            version,
            choice,
        });
        let release = self.deployment.release;
        let config = self.config().clone();
        let mut machine = RequestMachine::new(key, config, release, version, now);
        machine.choice = note(choice);
        machine.is_stream = facts.needs.streaming;
        if matches!(choice, Choice::Random | Choice::Sticky) {
            let caller = self.caller(choice, facts);
            self.tell_assigned(now, request, caller, version);
        }
        self.send(now, request, machine);
    }

    /// A hash of the key that decided, when one did.
    fn caller(&self, choice: Choice, facts: &RequestFacts) -> Option<u64> {
        let sticky = self.config().split.sticky.as_ref();
        let by = sticky.filter(|_| choice == Choice::Sticky)?;
        split::caller(by, facts).map(|name| keyed_hash(0, name).0)
    }

    /// The version of a new request: first match wins, and nothing opens a closed door.
    fn choose(&self, key: RequestKey, facts: &RequestFacts) -> (VersionId, Choice) {
        let config = self.config();
        let (version, choice) = self.wanted(config, key, facts);
        let is_refused = |version| {
            let is_closed = version == config.canary && !self.door.is_open();
            is_closed || !config.versions[version].features.cover(facts.needs)
        };
        match choice {
            _ if version == config.stable => (version, choice),
            Choice::Override if is_refused(version) => (config.stable, Choice::OverrideRefused),
            _ if !self.door.is_open() => (config.stable, Choice::CanaryClosed),
            _ if is_refused(version) => (config.stable, Choice::Features),
            _ => (version, choice),
        }
    }

    fn wanted(
        &self,
        config: &RouterConfig,
        key: RequestKey,
        facts: &RequestFacts,
    ) -> (VersionId, Choice) {
        if let Some(version) = facts.forced.filter(|v| v.index() < config.versions.len()) {
            return (version, Choice::Forced);
        }
        match facts.chosen {
            Some(Chosen::Version(version)) if version.index() < config.versions.len() => {
                return (version, Choice::Override);
            }
            Some(_) => return (config.stable, Choice::OverrideRefused),
            None => {}
        }
        // Chance and rules must not send a request where it cannot be answered.
        if !config.versions[config.canary].features.cover(facts.needs) {
            return (config.stable, Choice::Features);
        }
        match routes::find(&config.routes, facts) {
            Some((position, version)) => (version, Choice::Route(position)),
            None => split::assign(config, self.seed, self.sticky_salt, key, facts),
        }
    }

    /// Starts the next attempt of a request at the machine's version.
    pub(super) fn dispatch(
        &mut self,
        now: Timestamp,
        request: RequestId,
        mut machine: RequestMachine,
    ) {
        // A late driver sends late, whenever this was due: limits count from when it is sent.
        let n = machine.begin_attempt(now.max(self.clock));
        if n == 0 {
            self.judge.sent(now.max(self.clock), request);
            if let Some(budget) = &mut self.budget {
                budget.deposit(now);
            }
        }
        self.actions.push_back(Action::Send {
            attempt: AttemptId { request, n },
            version: machine.version,
        });
        self.keep(request, machine);
    }

    /// Puts a machine back, with its timer.
    pub(super) fn keep(&mut self, request: RequestId, machine: RequestMachine) {
        self.timers.set(machine.deadline(), request);
        self.requests.insert(request, machine);
    }

    pub(super) fn first_content(&mut self, now: Timestamp, attempt: AttemptId) {
        let Some(machine) = self.trying(attempt) else {
            return;
        };
        let is_first = machine.goes_on(now);
        let deadline = machine.is_stream.then(|| machine.deadline());
        let served = Served {
            version: machine.version,
            fallback: machine.fallback,
            attempts: machine.attempts,
            choice: machine.choice,
        };
        if let Some(deadline) = deadline {
            self.timers.set(deadline, attempt.request);
        }
        if is_first {
            self.actions.push_back(Action::Forward { attempt, served });
        }
    }

    /// A stream goes on: what was not begun does not.
    pub(super) fn progress(&mut self, now: Timestamp, attempt: AttemptId) {
        let Some(machine) = self.trying(attempt) else {
            return;
        };
        if !machine.is_uncommitted() {
            machine.goes_on(now);
            let deadline = machine.deadline();
            self.timers.set(deadline, attempt.request);
        }
    }

    /// The request whose attempt that is, if it is out.
    fn trying(&mut self, attempt: AttemptId) -> Option<&mut RequestMachine> {
        let machine = self.requests.get_mut(attempt.request)?;
        machine.is_trying(attempt.n).then_some(machine)
    }

    pub(super) fn attempt_ended(&mut self, now: Timestamp, attempt: AttemptId, end: End) {
        let End {
            outcome,
            retry_after,
            answer,
        } = end;
        let is_current = |m: &RequestMachine| m.is_trying(attempt.n);
        if !self.requests.get(attempt.request).is_some_and(is_current) {
            return;
        }
        if outcome.is_success() {
            // A success always forwards, even when the driver left its first content out.
            self.first_content(now, attempt);
        }
        let Some(mut machine) = self.requests.remove(attempt.request) else {
            return;
        };
        let committed = self.book(now, attempt.request, &machine, outcome, answer);
        if outcome.is_success() {
            self.end(now, attempt.request, &machine, outcome);
            return;
        }
        machine.note_failure(outcome, retry_after);
        if committed {
            // The caller has part of this answer: nothing may be spliced onto it.
            self.fail(now, attempt.request, &machine, outcome, false);
        } else {
            self.after_failure(now, attempt.request, machine, outcome);
        }
    }

    /// Books the end of the attempt that is out on the version that was tried, and lets the judge
    /// look. Returns whether any of its answer had reached the caller.
    fn book(
        &mut self,
        now: Timestamp,
        request: RequestId,
        machine: &RequestMachine,
        outcome: Outcome,
        answer: AnswerTraits,
    ) -> bool {
        let Stage::Trying {
            since, committed, ..
        } = machine.stage
        else {
            return false;
        };
        let latency = now.since(since);
        self.events.push_back(Event::AttemptEnded {
            attempt: AttemptId {
                request,
                n: machine.attempts - 1,
            },
            key: machine.key,
            version: machine.version,
            kind: machine.kind,
            fallback: machine.fallback,
            outcome,
            latency,
            answer,
        });
        // What an earlier release did says nothing of this one.
        if machine.release == self.deployment.release {
            if let Some(health) = &mut self.health {
                health[machine.version].record(now, outcome, latency);
            }
            if machine.attempts == 1 {
                let missing_usage = answer.drift.has(DriftKind::MissingUsage);
                self.judge.ended(now, request, outcome, missing_usage);
            }
            self.look_after(now, outcome, machine.is_at_canary());
        }
        committed
    }

    pub(super) fn after_failure(
        &mut self,
        now: Timestamp,
        request: RequestId,
        mut machine: RequestMachine,
        outcome: Outcome,
    ) {
        match self.next(now, &machine, outcome) {
            Next::Retry(wait) => {
                machine.stage = Stage::Waiting { until: now + wait };
                self.keep(request, machine);
            }
            Next::Fallback => {
                machine.fall_back();
                self.send(now, request, machine);
            }
            Next::GiveUp => self.fail(
                now,
                request,
                &machine,
                outcome,
                outcome == Outcome::BadRequest,
            ),
        }
    }

    /// What follows, with the retry paid for if it is one.
    fn next(&mut self, now: Timestamp, machine: &RequestMachine, outcome: Outcome) -> Next {
        let mut failed = self.failed_attempt(now, machine, outcome);
        let next = fallback::after(&machine.config, &failed);
        if matches!(next, Next::Retry(_))
            && let Some(budget) = &mut self.budget
            && !budget.try_withdraw(now)
        {
            failed.has_budget = false;
            return fallback::after(&machine.config, &failed);
        }
        next
    }

    fn failed_attempt(
        &self,
        now: Timestamp,
        machine: &RequestMachine,
        outcome: Outcome,
    ) -> FailedAttempt {
        let nth = machine.attempts - 1;
        let jitter = draw(
            self.seed,
            Purpose::Backoff,
            machine.key,
            machine.version,
            nth,
        );
        let retry_number = machine.tries - 1;
        FailedAttempt {
            version: machine.version,
            outcome,
            tries: machine.tries,
            wait: retry::wait(
                &machine.config.retry,
                retry_number,
                machine.retry_after,
                jitter,
            ),
            left: machine.expires.since(now),
            canary_open: self.door.admits(machine.release),
            has_budget: true,
        }
    }

    /// The wait before a retry is over. The canary may have been closed meanwhile.
    fn wait_is_over(&mut self, now: Timestamp, request: RequestId, machine: RequestMachine) {
        match self.is_shut_out(&machine) {
            true => self.turn_away(now, request, machine),
            false => self.send(now, request, machine),
        }
    }

    /// Does it wait for a canary that has been closed?
    pub(super) fn is_shut_out(&self, machine: &RequestMachine) -> bool {
        machine.is_at_canary() && !self.door.admits(machine.release)
    }

    /// What becomes of a request that no attempt is out for, and that may not go to the canary any
    /// more. One that never was there goes to stable as if it came now.
    pub(super) fn turn_away(
        &mut self,
        now: Timestamp,
        request: RequestId,
        mut machine: RequestMachine,
    ) {
        if machine.tried.is_none() {
            if machine.release == self.deployment.release {
                // What stable answers is nothing that the canary did.
                self.judge.ended(now, request, Outcome::Limited, false);
            }
            machine.fall_back();
            self.send(now, request, machine);
            return;
        }
        let outcome = machine.causes.last().map_or(Outcome::Deadline, |(_, o)| *o);
        let failed = self.failed_attempt(now, &machine, outcome);
        if fallback::may_fall_back(&machine.config, &failed) {
            machine.fall_back();
            self.send(now, request, machine);
        } else {
            self.fail(now, request, &machine, outcome, false);
        }
    }

    pub(super) fn client_gone(&mut self, now: Timestamp, request: RequestId) {
        if let Some(machine) = self.requests.remove(request) {
            self.leave_queue(request, &machine);
            self.cancel(now, request, &machine, Outcome::ClientGone);
            self.end(now, request, &machine, Outcome::ClientGone);
        }
    }

    /// Stops the attempt that is out, if one is, and books it.
    pub(super) fn cancel(
        &mut self,
        now: Timestamp,
        request: RequestId,
        machine: &RequestMachine,
        outcome: Outcome,
    ) {
        if let Stage::Trying { .. } = machine.stage {
            let n = machine.attempts - 1;
            self.actions.push_back(Action::Cancel {
                attempt: AttemptId { request, n },
            });
            self.book(now, request, machine, outcome, AnswerTraits::default());
        }
    }

    /// A request's own timer is due.
    pub(super) fn request_due(&mut self, now: Timestamp, request: RequestId) {
        let Some(mut machine) = self.requests.remove(request) else {
            return;
        };
        match machine.stage {
            Stage::Trying {
                until, committed, ..
            } if until <= now => {
                self.cancel(now, request, &machine, Outcome::Timeout);
                machine.note_failure(Outcome::Timeout, None);
                if committed {
                    self.fail(now, request, &machine, Outcome::Timeout, false);
                } else {
                    self.after_failure(now, request, machine, Outcome::Timeout);
                }
            }
            Stage::Waiting { until } if until <= now && now < machine.expires => {
                self.wait_is_over(now, request, machine);
            }
            Stage::Queued { until } if until <= now && now < machine.expires => {
                self.is_limited(now, request, machine);
            }
            _ => {
                self.leave_queue(request, &machine);
                self.cancel(now, request, &machine, Outcome::Deadline);
                self.fail(now, request, &machine, Outcome::Deadline, false);
            }
        }
    }

    pub(super) fn fail(
        &mut self,
        now: Timestamp,
        request: RequestId,
        machine: &RequestMachine,
        outcome: Outcome,
        relay: bool,
    ) {
        self.actions.push_back(Action::Fail {
            request,
            failure: Failure {
                outcome,
                causes: machine.causes.clone(),
                retry_after: machine.retry_after,
                version: machine.tried,
                fallback: machine.fallback,
                attempts: machine.attempts,
                relay,
                choice: machine.choice,
            },
        });
        self.end(now, request, machine, outcome);
    }

    fn end(
        &mut self,
        now: Timestamp,
        request: RequestId,
        machine: &RequestMachine,
        outcome: Outcome,
    ) {
        if machine.attempts == 0 && machine.release == self.deployment.release {
            // It left the queue of a rate limiter without any attempt, which says nothing of a version.
            self.judge.ended(now, request, Outcome::Limited, false);
        }
        self.events.push_back(Event::RequestEnded {
            request,
            key: machine.key,
            outcome,
            served_by: outcome.is_success().then_some(machine.version),
            fallback: machine.fallback,
            attempts: machine.attempts,
        });
    }
}

/// What a caller is told of its choice.
fn note(choice: Choice) -> Option<ChoiceNote> {
    match choice {
        Choice::Override => Some(ChoiceNote::Honoured),
        Choice::OverrideRefused => Some(ChoiceNote::Refused),
        Choice::Forced
        | Choice::Features
        | Choice::Route(_)
        | Choice::Sticky
        | Choice::Random
        | Choice::CanaryClosed => None,
    }
}
