//! The gray router: chooses a version, sees the request through, judges the canary, rolls back.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use crate::id::{AttemptId, IdMap, PerVersion, RequestId, RequestKey, Seed, VersionId};
use crate::protocol::outcome::{Judgement, Outcome};
use crate::rng::{Purpose, draw};
use crate::router::config::{JudgeConfig, RouterConfig};
use crate::router::core::{Core, Footprint};
use crate::router::fallback::{self, FailedAttempt, Next};
use crate::router::health::{HealthWindow, WindowBounds};
use crate::router::io::{Action, Choice, Event, Evidence, Failure, Input, RequestFacts, Served};
use crate::router::judge::{Judge, Occasion};
use crate::router::request::{RequestMachine, Stage};
use crate::router::rollback::CanaryDoor;
use crate::router::timers::Timers;
use crate::router::{retry, routes, split};
use crate::time::Timestamp;

/// The built-in router core. See [`Core`] for how to drive it.
pub struct GrayRouter {
    config: Arc<RouterConfig>,
    seed: Seed,
    sticky_salt: u64,
    door: CanaryDoor,
    requests: IdMap<RequestId, RequestMachine>,
    timers: Timers,
    health: Option<PerVersion<HealthWindow>>,
    judge: Judge,
    given_to_canary: u64,
    actions: VecDeque<Action>,
    events: VecDeque<Event>,
}

impl GrayRouter {
    /// A router at work from `now` on. `seed` decides every random draw.
    pub fn new(config: Arc<RouterConfig>, seed: Seed, now: Timestamp) -> Self {
        let health = match &config.judge {
            JudgeConfig::Off => None,
            JudgeConfig::Literal(literal) => Some(WindowBounds::of(literal)),
        };
        let versions = config.versions.len();
        Self {
            judge: Judge::new(&config.judge, config.canary, now),
            health: health
                .map(|bounds| PerVersion::from_fn(versions, |_| HealthWindow::new(bounds.clone()))),
            sticky_salt: split::salt(&config),
            door: CanaryDoor::default(),
            requests: IdMap::default(),
            timers: Timers::default(),
            given_to_canary: 0,
            actions: VecDeque::new(),
            events: VecDeque::new(),
            config,
            seed,
        }
    }

    fn arrive(
        &mut self,
        now: Timestamp,
        request: RequestId,
        key: RequestKey,
        facts: &RequestFacts,
    ) {
        let (version, choice) = self.choose(key, facts);
        if version == self.config.canary {
            self.given_to_canary += 1;
        }
        self.events.push_back(Event::Assigned {
            request,
            key,
            version,
            choice,
        });
        let machine = RequestMachine::new(key, version, now, self.config.timeouts.request);
        self.send(now, request, machine);
    }

    fn choose(&self, key: RequestKey, facts: &RequestFacts) -> (VersionId, Choice) {
        let (version, choice) = match routes::find(&self.config.routes, facts) {
            Some((position, version)) => (version, Choice::Route(position)),
            None => split::assign(&self.config, self.seed, self.sticky_salt, key, facts),
        };
        if self.door.admits(&self.config, version) {
            (version, choice)
        } else {
            (self.config.stable, Choice::CanaryClosed)
        }
    }

    /// Starts the next attempt of a request at the machine's version.
    fn send(&mut self, now: Timestamp, request: RequestId, mut machine: RequestMachine) {
        let n = machine.begin_attempt(now, self.config.timeouts.attempt);
        self.actions.push_back(Action::Send {
            attempt: AttemptId { request, n },
            version: machine.version,
        });
        self.keep(request, machine);
    }

    /// Puts a machine back, with its timer.
    fn keep(&mut self, request: RequestId, machine: RequestMachine) {
        self.timers.set(machine.deadline(), request);
        self.requests.insert(request, machine);
    }

    fn first_content(&mut self, attempt: AttemptId) {
        let Some(machine) = self.requests.get_mut(attempt.request) else {
            return;
        };
        if !machine.is_trying(attempt.n) {
            return;
        }
        if let Stage::Trying { committed, .. } = &mut machine.stage
            && !*committed
        {
            *committed = true;
            self.actions.push_back(Action::Forward {
                attempt,
                served: Served {
                    version: machine.version,
                    fallback: machine.fallback,
                    attempts: machine.attempts,
                },
            });
        }
    }

    fn attempt_ended(
        &mut self,
        now: Timestamp,
        attempt: AttemptId,
        outcome: Outcome,
        retry_after: Option<Duration>,
    ) {
        let is_current = |m: &RequestMachine| m.is_trying(attempt.n);
        if !self.requests.get(attempt.request).is_some_and(is_current) {
            return;
        }
        if outcome.is_success() {
            // A success always forwards, even when the driver left its first content out.
            self.first_content(attempt);
        }
        let Some(mut machine) = self.requests.remove(attempt.request) else {
            return;
        };
        let committed = self.book(now, attempt.request, &machine, outcome);
        if outcome.is_success() {
            self.end(attempt.request, &machine, outcome);
            return;
        }
        machine.note_failure(outcome, retry_after);
        if committed {
            // The caller has part of this answer: nothing may be spliced onto it.
            self.fail(attempt.request, &machine, outcome, false);
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
            outcome,
            latency,
        });
        if let Some(health) = &mut self.health {
            health[machine.version].record(now, outcome, latency);
        }
        if machine.version == self.config.canary && outcome.judgement() == Judgement::Bad {
            self.look(now, Occasion::Failure);
        }
        committed
    }

    fn after_failure(
        &mut self,
        now: Timestamp,
        request: RequestId,
        mut machine: RequestMachine,
        outcome: Outcome,
    ) {
        let failed = self.failed_attempt(now, &machine, outcome);
        match fallback::after(&self.config, &failed) {
            Next::Retry(wait) => {
                machine.stage = Stage::Waiting { until: now + wait };
                self.keep(request, machine);
            }
            Next::Fallback => {
                machine.fall_back(self.config.stable);
                self.send(now, request, machine);
            }
            Next::GiveUp => self.fail(request, &machine, outcome, outcome == Outcome::BadRequest),
        }
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
                &self.config.retry,
                retry_number,
                machine.retry_after,
                jitter,
            ),
            left: machine.expires.since(now),
            canary_open: self.door.is_open(),
        }
    }

    /// The wait before a retry is over. The canary may have been closed meanwhile.
    fn wait_is_over(&mut self, now: Timestamp, request: RequestId, mut machine: RequestMachine) {
        if self.door.admits(&self.config, machine.version) {
            self.send(now, request, machine);
            return;
        }
        let outcome = machine.causes.last().map_or(Outcome::Deadline, |(_, o)| *o);
        let failed = self.failed_attempt(now, &machine, outcome);
        if fallback::may_fall_back(&self.config, &failed) {
            machine.fall_back(self.config.stable);
            self.send(now, request, machine);
        } else {
            self.fail(request, &machine, outcome, false);
        }
    }

    fn client_gone(&mut self, now: Timestamp, request: RequestId) {
        if let Some(machine) = self.requests.remove(request) {
            self.cancel(now, request, &machine, Outcome::ClientGone);
            self.end(request, &machine, Outcome::ClientGone);
        }
    }

    /// Stops the attempt that is out, if one is, and books it.
    fn cancel(
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
            self.book(now, request, machine, outcome);
        }
    }

    /// A request's own timer is due.
    fn request_due(&mut self, now: Timestamp, request: RequestId) {
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
                    self.fail(request, &machine, Outcome::Timeout, false);
                } else {
                    self.after_failure(now, request, machine, Outcome::Timeout);
                }
            }
            Stage::Waiting { until } if until <= now && now < machine.expires => {
                self.wait_is_over(now, request, machine);
            }
            _ => {
                self.cancel(now, request, &machine, Outcome::Deadline);
                self.fail(request, &machine, Outcome::Deadline, false);
            }
        }
    }

    fn fail(
        &mut self,
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
                version: (machine.attempts > 0).then_some(machine.version),
                fallback: machine.fallback,
                attempts: machine.attempts,
                relay,
            },
        });
        self.end(request, machine, outcome);
    }

    fn end(&mut self, request: RequestId, machine: &RequestMachine, outcome: Outcome) {
        self.events.push_back(Event::RequestEnded {
            request,
            key: machine.key,
            outcome,
            served_by: outcome.is_success().then_some(machine.version),
            fallback: machine.fallback,
            attempts: machine.attempts,
        });
    }

    fn look(&mut self, now: Timestamp, occasion: Occasion) {
        if !self.door.is_open() {
            return;
        }
        let Some(health) = &mut self.health else {
            return;
        };
        let window = &mut health[self.config.canary];
        window.advance(now);
        let events = &mut self.events;
        let decisive = self.judge.look(now, occasion, window, |evidence| {
            events.push_back(Event::Judged(evidence));
        });
        if let Some(evidence) = decisive {
            self.roll_back(now, evidence);
        }
    }

    /// Closes the canary within this very call: nothing that comes later can reach it.
    fn roll_back(&mut self, now: Timestamp, reason: Evidence) {
        let closed = self
            .door
            .close(&self.config, reason, now, self.given_to_canary);
        if let Some(record) = closed {
            self.events.push_back(Event::RolledBack(record.clone()));
        }
        if let Some(health) = &mut self.health {
            health.iter_mut().for_each(|(_, window)| window.clear());
        }
    }

    fn next_tick(&self) -> Option<Timestamp> {
        self.judge.next_tick().filter(|_| self.door.is_open())
    }

    /// Handles what was due before `now`, each at its own time.
    fn catch_up(&mut self, now: Timestamp) {
        while let Some(due) = self.poll_timeout().filter(|due| *due < now) {
            self.handle_timeout(due);
        }
    }

    fn tidy_timers(&mut self) {
        let requests = &self.requests;
        self.timers.tidy(requests.len(), |at, request| {
            requests.get(request).is_some_and(|m| m.deadline() == at)
        });
    }
}

impl Core for GrayRouter {
    fn handle(&mut self, now: Timestamp, input: Input) {
        self.catch_up(now);
        match input {
            Input::Arrival {
                request,
                key,
                facts,
            } => self.arrive(now, request, key, &facts),
            Input::FirstContent { attempt } => self.first_content(attempt),
            Input::AttemptEnded {
                attempt,
                outcome,
                retry_after,
            } => self.attempt_ended(now, attempt, outcome, retry_after),
            Input::ClientGone { request } => self.client_gone(now, request),
        }
        self.tidy_timers();
    }

    fn handle_timeout(&mut self, now: Timestamp) {
        while let Some((at, request)) = self.timers.pop_due(now) {
            let is_due = |m: &RequestMachine| m.deadline() == at;
            if self.requests.get(request).is_some_and(is_due) {
                self.request_due(now, request);
            }
        }
        if self.next_tick().is_some_and(|tick| tick <= now) {
            self.look(now, Occasion::Tick);
        }
        self.tidy_timers();
    }

    fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    fn poll_timeout(&self) -> Option<Timestamp> {
        let request = self.timers.next();
        let tick = self.next_tick();
        request.into_iter().chain(tick).min()
    }

    fn footprint(&self) -> Footprint {
        let machine = size_of::<(RequestId, RequestMachine)>();
        let windows = self.health.iter().flat_map(PerVersion::values);
        Footprint {
            in_flight: self.requests.len(),
            bytes: self.requests.capacity() * machine
                + self.timers.bytes()
                + windows.map(HealthWindow::bytes).sum::<usize>()
                + self.actions.capacity() * size_of::<Action>()
                + self.events.capacity() * size_of::<Event>(),
        }
    }
}
